"""What cases do with the checks of a server that is a full ICE agent: ours is none."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define

from conformance import catalogue
from conformance.case import Case, Verdict
from conformance.drivers.memory import EchoServer, MemoryDoor, MemoryDriver
from conformance.drivers.virtual import Emission
from conformance.runner import run_case
from conformance.stage import Opened, Stage
from stunroute import stun
from stunroute.address import Address
from stunroute.demux import Kind, classify

_PASSWORD = re.compile(r"^a=ice-pwd:(\S+)", re.MULTILINE)
TRANSACTION = b"of its own.."


class Hearing(MemoryDoor):
    """Keeps the password that the client told."""

    password: bytes = b""

    def open(self, offer: str) -> Opened:
        told = _PASSWORD.search(offer)
        assert told is not None
        self.password = told[1].encode()
        return MemoryDoor.open(self, offer)


@define
class Checking(EchoServer):
    """Checks the address that DTLS comes from, and keeps what it hears: of the client's checks, and
    of its answers, in turn."""

    door: Hearing
    heard: list[str]
    due: Emission | None = None

    def receive(self, data: bytes, source: Address, destination: Address, now: float) -> None:
        EchoServer.receive(self, data, source, destination, now)
        match classify(data):
            case Kind.DTLS if not self.heard:
                key = stun.IntegrityKey(self.door.password)
                check = stun.build(
                    stun.Method.BINDING, stun.MessageClass.REQUEST, TRANSACTION, integrity=key
                )
                self.due = Emission(check, destination, source)
                self.heard.append("DTLS")
            case Kind.STUN:
                answer = stun.decode_untrusted(data).transaction_id == TRANSACTION
                self.heard.append("answer" if answer else "check")

    def next_emission(self) -> Emission | None:
        if self.due is not None:
            due, self.due = self.due, None
            return due
        return EchoServer.next_emission(self)


@define
class FullAgent:
    """A driver whose server is one."""

    heard: list[str]
    name: str = "memory"

    @contextmanager
    def stage(self, case: Case) -> Iterator[Stage]:
        with MemoryDriver().stage(case) as stage:
            endpoint = stage.wire.server.endpoint
            stage.door = Hearing(endpoint, lambda: stage.now)
            stage.wire.server = Checking(endpoint, stage.door, self.heard)
            yield stage


def test_who_asks_what_comes_before_a_check_answers_none() -> None:
    """An answer would validate us, and whatever comes then may come."""
    heard: list[str] = []
    (asked,) = catalogue.select(catalogue.load(), ["traps/dtls/no-answer-before-a-check"])
    assert run_case(asked, FullAgent(heard)).verdict is Verdict.PASS
    assert heard[:2] == ["DTLS", "check"]


def test_who_asks_something_else_answers_it() -> None:
    heard: list[str] = []
    (asked,) = catalogue.select(catalogue.load(), ["traps/dtls/hello-before-the-first-check"])
    assert run_case(asked, FullAgent(heard)).verdict is Verdict.PASS
    assert "answer" in heard
