"""The supervisor and its workers as real processes: who dies, who is told what, what is lost."""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import supervised
from fleet import CONFIGURATION
from relay_process import PATIENCE, free_ports
from source import ROOT

HOST = "127.0.0.1"


def settings_text(*, workers: int = 1, public: int = 0, inner: int = 0, ids: str = "0") -> str:
    configurations = "".join(
        f"""
[[hint.configurations]]
id = "{identifier}"
routing_key = "{CONFIGURATION.routing_key.hex()}"
password_key = "{(CONFIGURATION.password_key or b"").hex()}"
"""
        for identifier in ids
    )
    return f"""
inner = "{HOST}:{inner}"
workers = {workers}
[[listen]]
bind = "{HOST}:{public}"
[[directory.nodes]]
cluster = 1
node = 1
address = "{HOST}:9"
{configurations}
"""


class Supervised:
    """``tests/supervised.py``, running. ``lines`` is what it has said so far."""

    def __init__(self, folder: Path, text: str, **environ: str) -> None:
        self.path = folder / "relay.toml"
        self.path.write_text(text)
        self.trouble = folder / "trouble"
        self.errors = folder / "errors"
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, supervised.__file__, str(self.path)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(["tests", os.environ.get("PYTHONPATH", "")]),
                    "TROUBLE": str(self.trouble),
                    **environ,
                },
                start_new_session=True,
            )
        self.lines: list[dict[str, Any]] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line)
        self._queue.put(None)

    # What it says

    def until(
        self, condition: Callable[[dict[str, Any]], object], what: str = "the line"
    ) -> dict[str, Any]:
        """The first line from now on that ``condition`` holds for."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            assert line is not None, f"{what} has not come: {self.lines[-20:]}\n{self.complaints}"
            self.lines.append(json.loads(line))
            if condition(self.lines[-1]):
                return self.lines[-1]

    def event(self, event: str) -> dict[str, Any]:
        return self.until(lambda line: line["event"] == event, event)

    def happened(self, *words: str) -> str:
        """Something that is said to have happened, with all ``words``."""
        line = self.until(
            lambda line: (
                line["event"] == "happened" and all(word in line["text"] for word in words)
            ),
            f"news of {words}",
        )
        return str(line["text"])

    def start(self) -> "Supervised":
        self.started = self.event("started")
        self.address = (HOST, int(self.started["listen"][0].rpartition(":")[2]))
        return self

    @property
    def workers(self) -> list[int]:
        """By the kernel's word: its child processes."""
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    @property
    def complaints(self) -> str:
        return self.errors.read_text()

    # What is done to it

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def told(self) -> dict[str, Any]:
        self.send(signal.SIGUSR1)
        return self.event("told")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> dict[str, Any]:
        self.send(number)
        stopped = self.event("stopped")
        assert self.process.wait(PATIENCE) == 0
        return stopped

    def end(self) -> None:
        """However it is."""
        if self.process.poll() is None:
            pids = [self.process.pid, *self.workers]
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    made: list[Supervised] = []

    def make(text: str = "", **environ: str) -> Supervised:
        made.append(Supervised(tmp_path, text or settings_text(), **environ))
        return made[-1]

    yield make
    for one in made:
        one.end()


class Client:
    def __init__(self, relay: Supervised) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((HOST, 0))
        self.sock.settimeout(PATIENCE)
        self.sock.connect(relay.address)

    def send(self, data: bytes) -> None:
        self.sock.send(data)

    def receive(self) -> tuple[int, int, str]:
        """Who sent it (worker and process id) and what it was."""
        worker, pid, data = self.sock.recv(4096).decode().split(" ", 2)
        return int(worker), int(pid), data

    def ask(self, data: bytes) -> tuple[int, int, str]:
        self.send(data)
        return self.receive()


@pytest.fixture
def client() -> Iterator[Callable[[Supervised], Client]]:
    made: list[Client] = []

    def make(relay: Supervised) -> Client:
        made.append(Client(relay))
        return made[-1]

    yield make
    for one in made:
        one.sock.close()


Run = Callable[..., Supervised]
Connect = Callable[[Supervised], Client]


def is_gone(pid: int) -> bool:
    """Dead; one that nobody has waited for yet counts as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.005)


class TestLife:
    def test_it_says_where_it_is_and_what_became_of_it(self, run: Run, client: Connect) -> None:
        inner = free_ports(2)
        relay = run(settings_text(workers=2, inner=inner)).start()
        assert relay.started["inner"] == f"{HOST}:{inner}"
        assert relay.started["inners"] == [f"{HOST}:{inner}", f"{HOST}:{inner + 1}"]
        assert relay.started["advertise"] == relay.started["listen"]
        assert relay.started["pid"] == relay.process.pid
        assert relay.started["workers"] == relay.workers
        for _ in range(3):
            client(relay).ask(b"hello")
        stopped = relay.stop()
        assert stopped == {
            "event": "stopped",
            "flows": 3,  # the first worker says that it has one, the second two
            "uplink_packets": 3,
            "socket_errors": 2,
            "kernel_drops": 4,
            "drops": {"empty": 2},
        }
        assert relay.complaints == ""

    def test_workers_share_the_port(self, run: Run, client: Connect) -> None:
        relay = run(settings_text(workers=2)).start()
        answers = [client(relay).ask(b"hello") for _ in range(64)]
        assert {(worker, pid) for worker, pid, _ in answers} == set(enumerate(relay.workers))

    def test_workers_are_pinned_only_where_there_are_several(
        self, run: Run, client: Connect
    ) -> None:
        cores = sorted(os.sched_getaffinity(0))
        relay = run(settings_text(workers=3)).start()
        seen = {
            worker: text for worker, _, text in (client(relay).ask(b"cores") for _ in range(64))
        }
        assert seen == {worker: str(cores[worker % len(cores)]) for worker in range(3)}
        relay.stop()
        relay = run(settings_text()).start()
        assert client(relay).ask(b"cores")[2] == " ".join(map(str, cores))

    def test_a_worker_has_nothing_open_that_is_not_its_own(self, run: Run, client: Connect) -> None:
        relay = run(settings_text(workers=3)).start()
        for worker in relay.workers[1:]:
            os.kill(worker, signal.SIGKILL)
            relay.happened("is up again")
        for _ in range(32):
            kinds = client(relay).ask(b"fds")[2].split()
            # Its public and inner sockets, its channel and its loop's own pair; its loop's epoll.
            assert len([kind for kind in kinds if kind.startswith("socket:")]) == 5
            assert len(kinds) - 5 == len([kind for kind in kinds if "eventpoll" in kind]) == 1

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_what_is_in_the_buffers_is_forwarded_before_the_end(
        self, run: Run, client: Connect, number: signal.Signals
    ) -> None:
        relay = run().start()
        (worker,) = relay.workers
        peer = client(relay)
        os.kill(worker, signal.SIGSTOP)
        for index in range(100):
            peer.send(b"%d" % index)
        # As Ctrl-C does: to every process of the terminal.
        os.killpg(relay.process.pid, number)
        os.kill(worker, signal.SIGCONT)
        assert [peer.receive()[2] for _ in range(100)] == [str(index) for index in range(100)]
        assert relay.event("flushed")["pid"] == worker
        assert relay.event("stopped")["uplink_packets"] == 100
        assert relay.process.wait(PATIENCE) == 0
        assert relay.complaints == ""

    def test_a_worker_that_does_not_stop_is_stopped(self, run: Run, client: Connect) -> None:
        relay = run(BEAT="60").start()
        client(relay).ask(b"hello")
        relay.told()
        client(relay).send(b"hang")
        time.sleep(0.1)
        stopped = relay.stop()
        assert stopped["uplink_packets"] == 1  # what it had told last
        assert relay.process.wait(PATIENCE) == 0

    def test_an_address_that_is_taken_is_tried_for_a_while(self, run: Run) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind((HOST, 0))
            relay = run(settings_text(public=taken.getsockname()[1]))
            time.sleep(0.5)
            assert relay.process.poll() is None
            taken.close()
            assert relay.start()

    def test_an_address_that_stays_taken_is_refused(self, run: Run) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind((HOST, 0))
            relay = run(settings_text(public=taken.getsockname()[1], workers=2))
            assert "in use" in relay.event("refused")["text"]
        assert relay.process.wait(PATIENCE) == 1

    @pytest.mark.parametrize(
        ("trouble", "error", "text"),
        [
            ("config", "ConfigError", "limits.flows: is not to its liking"),
            ("os", "OSError", "no batch adapter"),
            ("exit", "OSError", "ended with exit code 3 while starting"),
            ("crash", "OSError", "ended with exit code 1 while starting"),
        ],
    )
    def test_a_first_start_that_fails_is_the_end(
        self, run: Run, tmp_path: Path, trouble: str, error: str, text: str
    ) -> None:
        (tmp_path / "trouble").write_text(trouble)
        relay = run(settings_text(workers=2))
        refused = relay.event("refused")
        assert refused["error"] == error
        assert text in refused["text"]
        assert relay.process.wait(PATIENCE) == 1
        assert ("a mistake" in relay.complaints) is (trouble == "crash")


class TestDeath:
    def test_packets_sent_while_nobody_is_there_are_not_lost(
        self, run: Run, client: Connect
    ) -> None:
        relay = run().start()
        (worker,) = relay.workers
        peer = client(relay)
        assert peer.ask(b"hello") == (0, worker, "hello")
        os.kill(worker, signal.SIGSTOP)
        for index in range(100):
            peer.send(b"%d" % index)
        os.kill(worker, signal.SIGKILL)
        answers = [peer.receive() for _ in range(100)]
        assert [text for _, _, text in answers] == [str(index) for index in range(100)]
        (successor,) = {pid for _, pid, _ in answers}
        assert successor != worker
        assert relay.happened("was killed by SIGKILL") == (
            f"worker 0 (process {worker}) was killed by SIGKILL"
        )
        assert f"process {successor}" in relay.happened("worker 0 is up again")
        told = relay.told()
        assert (told["ready"], told["restarts"], told["pids"]) == (True, 1, [successor])
        assert len(told["happenings"]) == 2
        relay.stop()

    def test_the_others_do_not_notice(self, run: Run, client: Connect) -> None:
        relay = run(settings_text(workers=2)).start()
        peers = [client(relay) for _ in range(32)]
        before = [peer.ask(b"hello") for peer in peers]
        victim, survivor = relay.workers
        os.kill(victim, signal.SIGKILL)
        relay.happened("worker 0 is up again")
        for peer, (worker, _, _) in zip(peers, before, strict=True):
            now, pid, _ = peer.ask(b"hello")
            assert now == worker
            assert (pid == survivor) is (worker == 1)

    def test_what_the_dead_had_counted_is_not_forgotten(self, run: Run, client: Connect) -> None:
        relay = run().start()
        for _ in range(5):
            client(relay).ask(b"hello")
        relay.told()
        client(relay).send(b"exit")
        assert "ended with exit code 7" in relay.happened("worker 0")
        relay.happened("is up again")
        client(relay).ask(b"hello")
        stopped = relay.stop()
        assert (stopped["uplink_packets"], stopped["socket_errors"]) == (6, 2)
        # Those of the socket, which both workers had.
        assert stopped["kernel_drops"] == 2

    def test_a_worker_that_hangs_is_replaced(self, run: Run, client: Connect) -> None:
        relay = run(settings_text(workers=2)).start()
        peer = client(relay)
        worker, hung, _ = peer.ask(b"hello")
        peer.send(b"hang")
        peer.send(b"still there?")
        assert f"worker {worker} (process {hung}) did not answer" in relay.happened("was killed")
        again, pid, text = peer.receive()
        assert (again, text) == (worker, "still there?")
        assert pid != hung

    def test_a_worker_that_stands_still_is_missing_and_then_replaced(
        self, run: Run, client: Connect
    ) -> None:
        relay = run(settings_text(workers=2), BEAT="0.5").start()
        first, second = relay.workers
        os.kill(second, signal.SIGSTOP)
        told = relay.told()
        assert told["pids"] == [first]
        assert told["wanted"] == 2
        assert set(told["flows"]) == {0}
        relay.happened("worker 1", "did not answer")
        relay.happened("worker 1 is up again")
        assert set(relay.told()["flows"]) == {0, 1}

    def test_a_supervisor_that_stood_still_does_not_blame_its_workers(self, run: Run) -> None:
        relay = run(settings_text(workers=2)).start()
        relay.event("picture")
        workers = relay.workers
        relay.send(signal.SIGSTOP)
        time.sleep(2)  # ten beats
        relay.send(signal.SIGCONT)
        told = relay.told()
        assert (told["pids"], told["restarts"]) == (workers, 0)

    def test_a_worker_that_is_told_to_end_ends_well_and_is_replaced(
        self, run: Run, client: Connect
    ) -> None:
        relay = run().start()
        client(relay).ask(b"hello")
        (worker,) = relay.workers
        os.kill(worker, signal.SIGTERM)
        assert relay.event("flushed")["pid"] == worker
        assert "ended with exit code 0" in relay.happened(f"process {worker}")
        relay.happened("is up again")
        assert relay.stop()["uplink_packets"] == 1

    def test_workers_do_not_outlive_the_supervisor(self, run: Run, client: Connect) -> None:
        text = settings_text(workers=2, public=free_ports(), inner=free_ports(2))
        relay = run(text).start()
        workers = relay.workers
        os.kill(relay.process.pid, signal.SIGKILL)
        successor = run(text).start()
        assert all(map(is_gone, workers))
        assert successor.address == relay.address
        assert client(successor).ask(b"hello")[1] in successor.workers

    def test_not_even_one_that_hangs(self, run: Run, client: Connect) -> None:
        """It would never see that its channel has ended."""
        text = settings_text(public=free_ports(), inner=free_ports())
        relay = run(text).start()
        [worker] = relay.workers
        client(relay).send(b"hang")
        os.kill(relay.process.pid, signal.SIGKILL)
        successor = run(text).start()
        assert is_gone(worker)
        assert client(successor).ask(b"hello")[1] in successor.workers

    def test_a_worker_that_cannot_start_again_is_tried_ever_more_slowly(
        self, run: Run, client: Connect
    ) -> None:
        relay = run().start()
        relay.trouble.write_text("config")
        os.kill(relay.workers[0], signal.SIGKILL)
        begin = time.monotonic()
        for _ in range(4):
            relay.happened("worker 0", "could not start: limits.flows: is not to its liking")
        # Waits of 0, 0.1, 0.2 and 0.4 s lie between those; a machine that is slow adds to them.
        assert time.monotonic() - begin > 0.5
        told = relay.told()
        assert (told["ready"], told["pids"], told["wanted"]) == (False, [], 1)
        peer = client(relay)
        peer.send(b"patience")
        relay.trouble.unlink()
        assert peer.receive()[2] == "patience"
        relay.happened("is up again")
        assert relay.told()["ready"]

    def test_a_relay_without_workers_can_be_stopped(self, run: Run) -> None:
        relay = run().start()
        relay.trouble.write_text("exit")
        os.kill(relay.workers[0], signal.SIGKILL)
        for _ in range(5):
            relay.happened("worker 0", "exit code 3")
        relay.stop()


class TestReload:
    def test_new_settings_reach_every_worker(self, run: Run, client: Connect) -> None:
        relay = run(settings_text(workers=2)).start()
        workers = relay.workers
        assert {client(relay).ask(b"keys")[2] for _ in range(32)} == {"0"}
        relay.path.write_text(settings_text(workers=2, ids="01"))
        relay.send(signal.SIGHUP)
        assert relay.happened("reloaded") == (
            "reloaded: hint configurations 0 1, 1 nodes, 0 clusters, 0 upstream relays"
        )
        assert {client(relay).ask(b"keys")[2] for _ in range(32)} == {"0 1"}
        assert relay.workers == workers
        # A worker that comes later starts with them.
        os.kill(workers[0], signal.SIGKILL)
        relay.happened("is up again")
        assert {client(relay).ask(b"keys")[2] for _ in range(32)} == {"0 1"}
        assert relay.told()["reloads"] == 1

    @pytest.mark.parametrize(
        ("spoil", "problem"),
        [
            (lambda path: path.write_text("inner = ["), "is not TOML"),
            (lambda path: path.write_text(settings_text(ids="z")), "hint.configurations.0"),
            (lambda path: path.write_text(settings_text(ids="00")), "hint"),
            (lambda path: path.unlink(), "cannot be read"),
            (
                lambda path: path.write_text(
                    settings_text() + f"[limits]\nedge_keys = 1{'0' * 30}\n"
                ),
                "limits.edge_keys",
            ),
        ],
    )
    def test_wrong_settings_change_nothing(
        self, run: Run, client: Connect, spoil: Callable[[Path], object], problem: str
    ) -> None:
        relay = run().start()
        spoil(relay.path)
        relay.send(signal.SIGHUP)
        assert problem in relay.happened("reload refused, the old settings stay")
        _worker, pid, keys = client(relay).ask(b"keys")
        assert ([pid], keys) == (relay.workers, "0")
        told = relay.told()
        assert (told["reloads"], told["ready"]) == (0, True)
        relay.path.write_text(settings_text(ids="1"))
        relay.send(signal.SIGHUP)
        relay.happened("reloaded")
        assert client(relay).ask(b"keys")[2] == "1"
        relay.stop()

    def test_what_needs_a_restart_is_said_and_not_done(self, run: Run, client: Connect) -> None:
        relay = run().start()
        relay.path.write_text(settings_text(workers=2, public=1, ids="1"))
        relay.send(signal.SIGHUP)
        relay.happened("reloaded")
        assert relay.happened("restart") == "changed, but waiting for a restart: listen, workers"
        (worker,) = relay.workers
        os.kill(worker, signal.SIGKILL)
        relay.happened("is up again")
        assert len(relay.workers) == 1
        assert client(relay).ask(b"keys")[2] == "1"

    def test_many_at_once(self, run: Run, client: Connect) -> None:
        relay = run(settings_text(workers=2)).start()
        relay.path.write_text(settings_text(workers=2, ids="1"))
        for _ in range(50):
            relay.send(signal.SIGHUP)
        relay.happened("reloaded")
        assert client(relay).ask(b"keys")[2] == "1"
        relay.stop()
