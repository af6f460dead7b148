"""Programs are started, waited for, and ended with their children and nobody else's."""

import os
import threading
import time
from pathlib import Path

import pytest

from conformance import peers
from conformance.peers import PeerError, Running
from conformance.peers.table import Door, Package, Peer, Runner, Source

SHELL = Package(Source.DEBIAN, "shell", marker="/bin/sh")
READY = 'printf \'{"url": "http://%s/whip", "version": "7"}\' "$PEER_HOST" > "$PEER_READY"\n'


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A peer that is a shell script."""
    path = tmp_path / "server"
    path.touch()
    peer = Peer("made", "Made", Door.WHIP, Runner.NODE, "node/made.mjs", (SHELL,), ("stun",))
    monkeypatch.setattr("conformance.peers.running.by_name", lambda: {"made": peer})
    monkeypatch.setattr("conformance.peers.process.command_of", lambda _: ["sh", str(path)])
    return path


def alive(pid: int) -> bool:
    """Whether there is such a process; one that has ended and was not reaped is none."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_it_is_up_while_the_block_runs(script: Path) -> None:
    script.write_text(READY + "exec cat\n")
    with peers.start("made") as running:
        assert (running.name, running.door) == ("made", Door.WHIP)
        assert (running.url, running.version) == ("http://127.0.0.1/whip", "7")
        assert running.command(["true", "-x"]) == ["true", "-x"]
        assert running.inside(os.getpid) == os.getpid()
        assert alive(running.pid)
    assert not alive(running.pid)


def test_half_a_word_is_waited_for(script: Path) -> None:
    # A program that writes its file in two goes was once read between them.
    script.write_text(
        'exec 3> "$PEER_READY"; sleep 0.1\n'
        'printf \'{"url": "http://%s/whip", \' "$PEER_HOST" >&3; sleep 0.1\n'
        'printf \'"version": "7"}\' >&3\n'
        "exec cat\n"
    )
    with peers.start("made") as running:
        assert running.version == "7"
        assert running.ended is None


def test_its_children_end_with_it(script: Path, tmp_path: Path) -> None:
    # The child ignores being asked, and the program itself leaves before it is asked.
    noted = tmp_path / "child"
    script.write_text(
        f"(trap '' TERM; while :; do sleep 1; done) & echo $! > {noted}\n{READY}exit 0\n"
    )
    with peers.start("made"):
        child = int(noted.read_text())
        assert alive(child)
    deadline = time.monotonic() + 10
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(child)


def test_a_block_that_fails_ends_it_too(script: Path) -> None:
    script.write_text(READY + "exec cat\n")
    with pytest.raises(ZeroDivisionError), peers.start("made") as running:
        raise ZeroDivisionError
    assert not alive(running.pid)


def test_one_that_ends_by_itself_is_noticed(script: Path) -> None:
    script.write_text(READY + "read line; echo it was too much; exit 1\n")
    with peers.start("made") as running:
        assert running.ended is None
        assert running.name == "made"
    script.write_text("echo it was too much\n" + READY + "exit 1\n")
    with peers.start("made") as running:
        deadline = time.monotonic() + 10
        while running.ended is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert running.ended == "it ended with status 1: it was too much"


def test_who_asks_while_another_thread_ends_it_is_told(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.write_text(READY + "exec cat\n")
    with peers.start("made") as running:
        process = running._process
        reaped = threading.Event()

        def reap() -> None:
            os.waitpid(process.pid, 0)
            reaped.set()
            time.sleep(0.1)  # now there is no such process, and nobody knows yet how it ended
            process._process.returncode = -9

        monkeypatch.setattr(process._process, "wait", reap)
        ending = threading.Thread(target=process.end)
        ending.start()
        assert reaped.wait(10)
        assert running.ended == "it was ended by signal 9: it said nothing"
        ending.join()


def test_one_that_does_not_survive_is_started_again(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.peers.running.LOOK_SECONDS", 0.01)
    monkeypatch.setattr(Running, "answers", lambda _: True)
    script.write_text(
        READY.replace("/whip", ":7/whip") + 'test "$PEER_PORT" = 7 && exec cat; kill -9 $$\n'
    )
    with peers.start("made", revive=True) as running:
        deadline = time.monotonic() + 10
        while (not running.losses or running.ended) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert running.losses == ["it was ended by signal 9: it said nothing"]
        assert running.ended is None
        assert alive(running.pid)
    assert not alive(running.pid)


def test_one_that_answers_no_more_is_started_again(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.peers.running.LOOK_SECONDS", 0.01)
    looks = iter([True, False, False, True, False, False, False])
    monkeypatch.setattr(Running, "answers", lambda _: next(looks, True))
    script.write_text(READY.replace("/whip", ":7/whip") + "exec cat\n")
    with peers.start("made", revive=True) as running:
        first = running.pid
        deadline = time.monotonic() + 10
        while running.pid == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert running.losses == ["it answered no more"]
    assert not alive(first)
    assert not alive(running.pid)


def test_one_that_ends_while_starting_has_the_last_word(script: Path) -> None:
    script.write_text("echo the port is taken; exit 1\n")
    with pytest.raises(PeerError, match="ended while starting: the port is taken"):
        peers.start("made").__enter__()


def test_one_that_never_gets_ready_is_given_up(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.peers.process.READY_SECONDS", 0.1)
    script.write_text("exec cat\n")
    with pytest.raises(PeerError, match="not ready in time: it said nothing"):
        peers.start("made").__enter__()
