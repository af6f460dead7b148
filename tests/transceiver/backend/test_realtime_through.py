"""A Realtime server behind a call, with the conversation of events that the edge holds between the
two: what each side sees of an answer that is interrupted, and of a connection that is lost."""

import json

import pytest
from attrs import define, field

from lines import FakeLine, run, until
from realtime_server import RealtimeServer, check, tone
from transceiver.backend.agent import ClientEvent, Ended, Started
from transceiver.backend.realtime import Dialect, RealtimeAgent, RealtimeOptions
from transceiver.realtime.exchange import Flush, Play, ToAgent, ToClient
from transceiver.realtime.through import ThroughExchange


@define(eq=False)
class Wired(FakeLine):
    """A line whose events pass through the exchange, with one client on it."""

    exchange: ThroughExchange = field(factory=lambda: ThroughExchange(bytes))
    client: list = field(factory=list)
    agent: RealtimeAgent | None = None

    def connect(self):
        self.exchange.connected(1, 0.0)
        self.pump()

    def send(self, event):
        self.exchange.agent_event(event, 0.0)
        self.pump()

    def backend_lost(self, detail):
        self.exchange.backend_lost(detail, 0.0)
        self.pump()

    def backend_restored(self):
        self.exchange.backend_restored(0.0)
        self.pump()

    def say(self, **event):
        self.exchange.receive_untrusted(json.dumps(event), 1, 0.0)
        self.pump()

    def pump(self):
        while (output := self.exchange.next_output()) is not None:
            match output:
                case ToClient(event):
                    self.client.append(event)
                case ToAgent(event):
                    self.agent.receive(ClientEvent(event))
                case Play(pcm):
                    if not self.waiting_bytes and not self.played_bytes:
                        self.exchange.playback_started(0.0)
                    self.play(pcm)
                case Flush():
                    waiting = self.waiting
                    self.exchange.flushed(self.flush(), waiting, 0.0)

    @property
    def kinds(self):
        return [event["type"] for event in self.client]


@pytest.mark.parametrize("dialect", Dialect)
def test_an_answer_is_heard_interrupted_and_begun_anew(dialect):
    async def story():
        async with RealtimeServer(beta=dialect is Dialect.BETA) as server:
            line = Wired()
            line.agent = RealtimeAgent(line, RealtimeOptions(server.url, dialect=dialect))
            line.connect()
            line.agent.receive(Started())
            await until(lambda: "session.created" in line.kinds)
            (talk,) = server.conversations
            await talk.say(tone(2.0), "two seconds")
            await until(lambda: "response.done" in line.kinds)
            assert bytes(line.said) == tone(2.0)
            assert "response.output_audio.delta" not in line.kinds
            line.pass_time(0.75)
            await talk.interrupt()
            await until(lambda: talk.truncated)
            item = next(e for e in line.client if e["type"] == "response.output_item.added")["item"]
            assert talk.truncated == [(item["id"], 750)]
            await until(lambda: "conversation.item.truncated" in line.kinds)
            assert "output_audio_buffer.cleared" in line.kinds
            assert line.waiting_bytes == 0

            talk.drop()
            await until(lambda: "error" in line.kinds)
            line.say(type="response.create")
            await until(lambda: "backend.restored" in line.kinds)
            await until(lambda: line.kinds.count("response.done") == 2)
            assert line.kinds.count("session.created") == 1
            assert len(line.said) > len(tone(2.0))
            for event in line.client:
                if event["type"] != "backend.restored":
                    check(event)
            line.agent.receive(Ended("over"))
            await until(lambda: server.conversations[-1].over)

    run(story)
