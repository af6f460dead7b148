"""The line: a call as an agent holds it, and an agent as a call holds it."""

import base64
import json
import math
from array import array

import pytest
from attrs import define, field

from transceiver.backend import agent as told
from transceiver.backend.echo import Echo
from transceiver.backend.interface import CallRequest
from transceiver.backend.line import OnLine, on_line
from transceiver.config import RealtimeLimits
from transceiver.errors import NoEvents
from transceiver.events import (
    AudioReceived,
    ChannelClosed,
    ChannelOpened,
    Ended,
    EndReason,
    Established,
    MessageReceived,
)
from transceiver.voice.activity import SpeechBegan
from transceiver.voice.codec import make_encoder
from virtual_call import VirtualCall

EVENTS = 4
FRAME = 160  # ticks of 8 kHz in 20 ms
CALL = "rtc_virtual"


@define
class Sound:
    """Stands for a piece of sound among the things that an agent is told."""

    pcm: bytes


@define(eq=False)
class Scripted:
    """An agent that writes down what it is told and does what the test says at each turn."""

    line: object
    rate: int | None = 8000
    speaks_realtime: bool = False
    heard: bytearray = field(factory=bytearray)
    told: list = field(factory=list)
    reply: object = None
    sound_too: bool = False

    def hear(self, pcm):
        self.heard += pcm
        if self.sound_too:
            self.receive(Sound(pcm))

    def receive(self, event):
        self.told.append(event)
        if self.reply is not None:
            self.reply(self, event)

    def kinds(self):
        return [type(event).__name__ for event in self.told]


def tone(seconds, rate=8000, level=0.4):
    step = 2 * math.pi * 440 / rate
    count = int(seconds * rate)
    return array(
        "h", [int(32767 * level * math.sin(step * each)) for each in range(count)]
    ).tobytes()


def silence(seconds, rate=8000):
    return bytes(int(seconds * rate) * 2)


def opened(channel=EVENTS, label="oai-events"):
    return ChannelOpened(CALL, channel, label, "", True, False)


def start(*, channel=True, call=None, limits=None, **options):
    """An established call with an agent, and its events channel."""
    call = call or VirtualCall()
    made = []

    def make(line):
        made.append(Scripted(line, **options))
        return made[0]

    backend = on_line(make, events=limits)(call)
    backend.receive(Established(CALL, "AEAD_AES_128_GCM"))
    if channel:
        backend.receive(opened())
    return call, backend, made[0]


def event(backend, kind, channel=EVENTS, **fields):
    backend.receive(MessageReceived(CALL, channel, json.dumps({"type": kind, **fields})))


def hear(call, backend, pcm, sequence=0):
    """The client's packets, in real time."""
    encoder = make_encoder("PCMU", 8000)
    for index in range(0, len(pcm), 320):
        number = sequence + index // 320
        payload = encoder.encode(pcm[index : index + 320])
        backend.receive(
            AudioReceived(CALL, "PCMU", payload, number, number * FRAME, 8000, number == 0)
        )
        call.advance(0.02)
    return sequence + len(pcm) // 320


def test_it_greets_each_connection():
    call, _backend, agent = start()
    assert call.kinds() == ["session.created"]
    assert call.events()[0]["session"]["model"] is None
    assert agent.kinds() == ["Started"]


def test_a_client_whose_channel_opens_late_sees_what_it_has_missed():
    call, backend, agent = start(channel=False)
    agent.line.say_text("Hello.")
    agent.line.play(tone(1.0))
    assert call.kinds() == []
    call.advance(0.1)
    backend.receive(opened())
    kinds = call.kinds()
    assert kinds[:2] == ["session.created", "response.created"]
    assert kinds.count("output_audio_buffer.started") == 1
    agent.line.finish()
    call.advance(2.0)
    assert call.kinds()[-1] == "output_audio_buffer.stopped"
    # A later one does not.
    others = []
    backend.attach(lambda text: others.append(json.loads(text)["type"]), lambda: None)
    assert others == ["session.created"]


def test_what_a_client_has_missed_is_bounded():
    call, backend, agent = start(channel=False)
    for number in range(100):
        agent.line.send({"type": "some", "number": number, "text": "x" * 1000})
    backend.receive(opened())
    numbers = [each["number"] for each in call.events() if each["type"] == "some"]
    assert numbers == list(range(100 - len(numbers), 100))
    assert 60 <= len(numbers) < 66
    assert backend.dropped_events == 100 - len(numbers)


def test_sound_goes_out_at_the_pace_of_speech():
    call, _backend, agent = start()
    agent.line.play(tone(1.0))
    agent.line.finish()
    assert len(call.sent) == 1  # nothing is sent ahead, so that all can be taken back
    call.advance(0.5)
    assert len(call.sent) == 26
    assert agent.line.waiting == pytest.approx(0.48)
    assert agent.line.played == pytest.approx(0.52)
    call.advance(5.0)
    sounding = [packet for packet in call.sent if packet[0] < 1001.0]
    assert [stamp for _, _, stamp, _ in sounding] == [FRAME * each for each in range(50)]
    assert told.Heard(1.0) in agent.told
    assert call.timers == 0  # an idle call costs nothing
    kinds = call.kinds()
    assert kinds.index("response.created") < kinds.index("output_audio_buffer.started")
    assert kinds.index("response.done") < kinds.index("output_audio_buffer.stopped")


def test_what_the_client_says_reaches_the_agent():
    call, backend, agent = start()
    hear(call, backend, tone(1.0))
    assert len(agent.heard) >= 0.9 * 16000
    call.advance(0.2)
    assert max(map(abs, array("h", bytes(agent.heard)))) > 8000


def test_a_client_that_speaks_silences_the_agent():
    call, backend, agent = start()
    sequence = hear(call, backend, silence(0.5))
    agent.line.play(tone(10.0))
    agent.line.finish()
    sequence = hear(call, backend, silence(0.5), sequence)
    sent = len(call.sent)
    sequence = hear(call, backend, tone(0.4), sequence)
    names = [name for name in agent.kinds() if name != "Started"]
    assert names[:2] == ["Interrupted", "SpeechStarted"]
    interrupted = next(each for each in agent.told if isinstance(each, told.Interrupted))
    assert interrupted.played + interrupted.unplayed == pytest.approx(10.0)
    assert agent.line.waiting == 0.0
    assert len(call.sent) - sent < 20
    hear(call, backend, silence(1.0), sequence)
    assert agent.kinds()[-1] == "SpeechStopped"
    kinds = call.kinds()
    for kind in (
        "input_audio_buffer.speech_started",
        "output_audio_buffer.cleared",
        "conversation.item.truncated",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
    ):
        assert kind in kinds, kind


def test_turn_detection_can_be_turned_off():
    call, backend, agent = start()
    off = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    event(backend, "session.update", session=off)
    assert "session.updated" in call.kinds()
    assert isinstance(agent.told[-1], told.SessionChanged)
    hear(call, backend, silence(0.4) + tone(0.6) + silence(1.0))
    assert "SpeechStarted" not in agent.kinds()
    assert agent.line.session["audio"]["input"]["turn_detection"] is None


def test_what_hears_speech_can_be_another():
    asked = []

    class Clapper:
        def observe(self, pcm, level, at):
            return SpeechBegan(at) if at > 0.1 else None

    def make(wanted):
        asked.append(wanted)
        return Clapper()

    call = VirtualCall()
    agents = []

    def agent(line):
        agents.append(Scripted(line))
        return agents[0]

    backend = on_line(agent, activity=make)(call)
    backend.receive(Established(CALL, "AEAD_AES_128_GCM"))
    hear(call, backend, silence(0.5))
    assert [wanted.threshold for wanted in asked] == [0.5]
    assert isinstance(agents[0].told[-1], told.SpeechStarted)


def test_the_client_can_silence_it_with_an_event():
    call, backend, agent = start()
    agent.line.play(tone(3.0))
    call.advance(1.0)
    event(backend, "output_audio_buffer.clear")
    assert isinstance(agent.told[-1], told.Interrupted)
    assert agent.told[-1].played == pytest.approx(1.02)
    sent = len(call.sent)
    call.advance(1.0)
    assert len(call.sent) - sent <= 6  # frames of silence
    assert "output_audio_buffer.cleared" in call.kinds()


def test_an_agent_can_silence_itself():
    call, _backend, agent = start()
    agent.line.play(tone(3.0))
    call.advance(0.99)
    assert agent.line.flush() == pytest.approx(1.0)
    assert not any(isinstance(each, told.Interrupted) for each in agent.told)
    assert "output_audio_buffer.cleared" in call.kinds()


def test_a_response_is_asked_for_with_what_was_written():
    call, backend, agent = start()
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    event(backend, "conversation.item.create", item=item)
    event(backend, "response.create")
    asked = agent.told[-1]
    assert isinstance(asked, told.ResponseRequested)
    assert asked.text == "hi"
    agent.line.say_text("hello")
    agent.line.play(tone(0.1))
    agent.line.finish()
    call.advance(1.0)
    (done,) = [each for each in call.events() if each["type"] == "response.done"]
    assert done["response"]["status"] == "completed"
    assert done["response"]["output"][0]["content"][0]["transcript"] == "hello"


def test_a_bad_event_is_answered_and_the_call_goes_on():
    call, backend, agent = start()
    event(backend, "session.update", event_id="mine", session={"type": "realtime", "tools": 7})
    error = call.events()[-1]
    assert error["type"] == "error"
    assert error["error"]["param"] == "session.tools"
    assert error["error"]["event_id"] == "mine"
    agent.line.play(tone(0.1))
    assert call.sent


def test_the_other_channels_are_the_agents():
    call, backend, agent = start()
    backend.receive(opened(6, "chat"))
    backend.receive(MessageReceived(CALL, 6, b"raw"))
    backend.receive(ChannelClosed(CALL, 6))
    assert agent.kinds()[-3:] == ["ChannelOpened", "MessageReceived", "ChannelClosed"]
    assert agent.line.send_message(6, "text")
    assert not agent.line.send_message(EVENTS, "text")
    assert call.messages[-1] == (6, "text")


@define
class Side:
    got: list = field(factory=list)
    closed: bool = False

    def send(self, text):
        self.got.append(json.loads(text))

    def close(self):
        self.closed = True


def test_connections_on_the_side_see_and_say_the_same():
    call, backend, agent = start()
    side = Side()
    attached = backend.attach(side.send, side.close)
    assert [each["type"] for each in side.got] == ["session.created"]
    attached.receive('{"type": "output_audio_buffer.clear"}')
    agent.line.send({"type": "stunroute.note", "text": "to all"})
    assert call.kinds()[-1] == side.got[-1]["type"] == "stunroute.note"
    attached.receive("not JSON")
    assert side.got[-1]["type"] == "error"
    assert call.kinds()[-1] == "stunroute.note"  # the one who erred is told
    backend.receive(Ended(CALL, EndReason.HANGUP, ""))
    assert side.closed
    attached.receive("{}")
    attached.detach()
    assert agent.told[-1] == told.Ended("hangup")


def test_connections_are_bounded():
    call, backend, _agent = start(limits=RealtimeLimits(connections=2))
    side = Side()
    attached = backend.attach(side.send, side.close)
    with pytest.raises(NoEvents):
        backend.attach(side.send, side.close)
    backend.receive(opened(8))
    assert call.closed == [8]
    attached.detach()
    backend.attach(side.send, side.close)


def test_of_a_channel_for_events_too_many_the_agent_hears_nothing():
    call, backend, agent = start(limits=RealtimeLimits(connections=1))
    for channel in range(10, 110):
        backend.receive(opened(channel))
        event(backend, "response.create", channel)
        backend.receive(ChannelClosed(CALL, channel))
    assert call.closed == list(range(10, 110))
    assert agent.kinds() == ["Started"]
    backend.receive(opened(10, "chat"))
    assert agent.kinds() == ["Started", "ChannelOpened"]


def test_an_event_that_a_channel_does_not_take_is_counted():
    call, backend, agent = start()
    call.takes = lambda channel, message: len(message) < 100
    agent.line.send({"type": "stunroute.note", "text": "x" * 100})
    assert backend.dropped_events == 1
    agent.line.send({"type": "stunroute.note"})
    assert call.kinds()[-1] == "stunroute.note"


def test_after_the_end_nothing_is_done():
    call, backend, agent = start()
    agent.line.play(tone(1.0))
    backend.receive(Ended(CALL, EndReason.HANGUP, ""))
    assert call.timers == 0
    sent, messages = len(call.sent), len(call.messages)
    agent.line.play(tone(1.0))
    agent.line.finish()
    agent.line.send({"type": "x"})
    agent.line.say_text("x")
    agent.line.backend_lost("x")
    agent.line.backend_restored()
    assert agent.line.flush() == 0.0
    call.advance(2.0)
    assert (len(call.sent), len(call.messages)) == (sent, messages)


class HangsUp(VirtualCall):
    """A call whose end is heard of at once, in the middle of whatever the agent is told."""

    backend = None

    def hang_up(self):
        if not self.hung_up:
            self.hung_up = True
            self.backend.receive(Ended(CALL, EndReason.HANGUP, ""))


@pytest.mark.parametrize("at", ["Sound", "SpeechStarted", "ResponseRequested", "Interrupted"])
def test_the_end_is_the_last_an_agent_hears(at):
    def reply(agent, event):
        if type(event).__name__ == at:
            agent.line.hang_up()

    call = HangsUp()
    call, backend, agent = start(call=call, sound_too=True)
    call.backend = backend
    agent.reply = reply
    event(backend, "response.create")
    agent.line.play(tone(5.0))
    for number, piece in enumerate([silence(0.4), tone(0.3), silence(0.4)]):
        for index in range(0, len(piece), 320):
            payload = make_encoder("PCMU", 8000).encode(piece[index : index + 320])
            place = number * 20 + index // 320
            backend.receive(AudioReceived(CALL, "PCMU", payload, place, place * FRAME, 8000, False))
            call.time += 0.02  # late timers, so that much is found out at once
    call.advance(1.0)
    event(backend, "input_audio_buffer.append", audio=base64.b64encode(bytes(4800)).decode())
    assert call.hung_up
    assert agent.kinds().count("Ended") == 1
    assert agent.kinds()[-1] == "Ended"


def test_the_client_is_told_that_the_backend_is_away():
    call, _backend, agent = start()
    agent.line.backend_lost("the model does not answer")
    agent.line.backend_restored()
    told_of = call.events()[1:]
    assert told_of[0]["type"] == "error"
    assert "the model does not answer" in told_of[0]["error"]["message"]
    assert len(told_of) == 2


def test_an_agent_that_answers_itself_for_ever_does_not_hold_the_loop():
    call, backend, agent = through(limits=RealtimeLimits(work=1 << 40))
    side = Side()
    attached = backend.attach(side.send, side.close)
    agent.reply = lambda agent, event: attached.receive('{"type": "made.up"}')
    attached.receive('{"type": "made.up"}')
    assert len(agent.told) > 1000
    assert call.timers == 1  # it goes on when others have had their turn
    agent.reply = None
    call.advance(1.0)
    assert call.timers == 0


def test_an_agent_without_a_rate_gets_packets():
    call, backend, agent = start(rate=None)
    packet = AudioReceived(CALL, "PCMU", b"\xff" * 160, 0, 0, 8000, True)
    backend.receive(packet)
    assert agent.told[-1] is packet
    assert agent.line.send_audio(b"back", 0)
    agent.line.play(b"\0" * 320)  # nothing to encode it with
    assert [payload for _, payload, _, _ in call.sent] == [b"back"]


def test_an_agent_that_takes_packets_is_given_them_by_the_call_itself():
    _call, backend, agent = start(rate=None)
    packet = AudioReceived(CALL, "PCMU", b"\xff" * 160, 0, 0, 8000, True)
    backend.listen()(packet)
    assert agent.told[-1] is packet
    echo = []
    backend = on_line(lambda line: echo.append(Echo(line)) or echo[0])(call := VirtualCall())
    backend.listen()(packet)
    assert call.sent == [(call.time, packet.payload, 0, True)]
    assert backend.listen() == echo[0].listen()  # past the line


def test_sound_takes_the_short_way_as_it_takes_the_long_one():
    heard = []
    for way in ("receive", "listen"):
        call, backend, agent = start()
        take = backend.receive if way == "receive" else backend.listen()
        encoder = make_encoder("PCMU", 8000)
        for index in range(20):
            payload = encoder.encode(tone(0.02))
            take(AudioReceived(CALL, "PCMU", payload, index, index * FRAME, 8000, not index))
            call.advance(0.02)
        heard.append(bytes(agent.heard))
    assert heard[0] == heard[1]
    assert any(heard[0])


def test_a_call_without_audio_has_its_conversation():
    call, backend, agent = start(call=VirtualCall(codec="", clock_rate=0))
    event(backend, "response.create")
    agent.line.say_text("words alone")
    agent.line.play(tone(0.5))
    agent.line.finish()
    assert "response.done" in call.kinds()
    assert call.sent == []


def through(**options):
    call, backend, agent = start(rate=24000, speaks_realtime=True, **options)
    agent.line.send({"type": "session.created", "session": {"id": "sess_1"}})
    return call, backend, agent


def test_an_agent_that_speaks_realtime_gets_events_untouched():
    call, backend, agent = through()
    assert call.events()[-1]["session"]["id"] == "sess_1"
    event(backend, "made.up", of="this", n=[1, 2])
    assert agent.told[-1] == told.ClientEvent({"type": "made.up", "of": "this", "n": [1, 2]})


def test_its_sound_comes_as_events_and_leaves_as_packets():
    call, _backend, agent = through()
    agent.line.send({"type": "response.created", "response": {"id": "r"}})
    delta = base64.b64encode(tone(2.0, 24000)).decode()
    agent.line.send(
        {
            "type": "response.output_audio.delta",
            "delta": delta,
            "response_id": "r",
            "item_id": "i",
            "content_index": 0,
            "output_index": 0,
        }
    )
    call.advance(0.5)
    assert len(call.sent) == 26
    assert "response.output_audio.delta" not in call.kinds()
    assert "output_audio_buffer.started" in call.kinds()
    agent.line.send({"type": "input_audio_buffer.speech_started", "audio_start_ms": 9})
    assert agent.line.waiting == 0.0
    truncations = [
        each.event
        for each in agent.told
        if isinstance(each, told.ClientEvent) and each.event["type"] == "conversation.item.truncate"
    ]
    assert truncations[-1]["item_id"] == "i"
    assert truncations[-1]["audio_end_ms"] == 520


def test_sound_that_comes_as_an_event_reaches_a_plain_agent():
    _call, backend, agent = start(rate=16000)
    sound = base64.b64encode(tone(0.5, 24000)).decode()
    event(backend, "input_audio_buffer.append", audio=sound)
    assert len(agent.heard) == 16000
    assert max(map(abs, array("h", bytes(agent.heard)))) > 8000


def test_the_request_says_what_was_asked_for():
    request = CallRequest(session={"type": "realtime", "instructions": "be kind"}, model="m")
    call, backend, agent = start(call=VirtualCall(request=request))
    assert agent.line.session["instructions"] == "be kind"
    assert agent.line.session["model"] == "m"
    assert agent.line.request is request
    assert isinstance(backend, OnLine)
    assert agent.line.id == call.id
