"""A demo as its operator sees it: through the relay's admin socket and metrics, and by the settings
files and processes that the demo tells of. What is broken here is broken as by hand.
"""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from demo import Demo
from stunroute.__main__ import main
from stunroute.commands.rotation import configurations_of, table
from stunroute.operations.admin import AdminClient, AdminError
from stunroute.operations.history import BY_CHECK, HEALED, RESTORED
from stunroute.operations.picture import made as flows_made
from stunroute.status import RelayStatus, WorkerStatus
from stunroute.trace import Origin

PATIENCE = 30.0
"""Seconds that anything may take on a busy machine."""
HTTP = "127.0.0.1:9464"
STORE_KEY = "4041424344454647" * 4
BY = (HEALED, RESTORED, BY_CHECK)
HINTS = "[[hint.configurations]]"


def environ(admin: Path, store: str | None = None) -> dict[str, str]:
    """What makes the demo's relay one that can be looked at, and gives it the store at this URL."""
    told = {"OPERATIONS__HTTP": HTTP, "OPERATIONS__ADMIN": str(admin)}
    if store is not None:
        told |= {"STORE__URL": store, "STORE__KEY": STORE_KEY}
    return {f"STUNROUTE_RELAY_{name}": text for name, text in told.items()}


class Operator:
    """``admin`` is the relay's socket. Worker counts in ``status`` are since the worker's start."""

    def __init__(self, demo: Demo, admin: Path) -> None:
        self.demo = demo
        self.admin = admin
        self.client = AdminClient(admin)

    # Looking

    def until(self, holds: Callable[[RelayStatus], object], what: str) -> RelayStatus:
        """The first picture of the relay that runs now of which that holds."""
        deadline = time.monotonic() + PATIENCE
        seen: object = None
        while True:
            try:
                status = self.client.status()
                if holds(status):
                    return status
                seen = status
            except AdminError as error:
                seen = error
            assert time.monotonic() < deadline, f"{what} did not come about: {seen}"
            time.sleep(0.05)

    def told(self, *texts: str) -> RelayStatus:
        """The first picture among whose sentences is one with one of ``texts``."""
        return self.until(
            lambda status: any(text in each.text for each in status.happenings for text in texts),
            " or ".join(texts),
        )

    def healed(self, flows: int = 1, worker: int = 0) -> str:
        """Wait until this many flows of calls that outlived a worker are there again; by what
        means, as told."""

        def are_there(status: RelayStatus) -> bool:
            return sum(made_by(status, worker).values()) >= flows

        self.until(are_there, "flows made again")
        self.told(*(words for sort in BY for words in (sort.one, sort.many)))
        made = made_by(self.until(are_there, "flows made again"), worker)
        return ", ".join(f"{by.value} {count}" for by, count in made.items() if count)

    @property
    def workers(self) -> tuple[WorkerStatus, ...]:
        """All of them, once all are up."""
        return self.until(lambda status: len(status.workers) == status.wanted, "workers").workers

    def store(self, state: str) -> RelayStatus:
        """Wait until every worker's breaker is in this state."""
        return self.until(lambda status: states(status) == {state}, f"the store {state}")

    @property
    def metrics(self) -> dict[str, float]:
        """Sums over workers, by the sample's name and its other labels' values."""
        status, text = self.demo.get_text("/metrics", HTTP)
        assert status == 200
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values = [value for name, value in sample.labels.items() if name != "worker"]
                key = " ".join([sample.name, *values])
                found[key] = found.get(key, 0.0) + sample.value
        return found

    @property
    def top(self) -> str:
        """What ``stunroute top --once`` shows."""
        return run("top", "--admin", str(self.admin), "--once")

    def configuration(self, ufrag: str) -> str:
        """The hint configuration that ``ufrag`` was minted under."""
        told = run("hint", "decode", "--config", str(self.relay_file), ufrag)
        found = re.search(r'"configuration": ?"(.)"', told)
        assert found is not None, told
        return found[1]

    # Breaking, and changing

    @property
    def relay_file(self) -> Path:
        return Path(self.demo.state["relay"]["config"])

    def kill_worker(self, number: int = 0) -> WorkerStatus:
        """``kill -9``; what it last told of itself."""
        victim = self.workers[number]
        os.kill(victim.pid, signal.SIGKILL)
        return victim

    def kill_relay(self) -> None:
        """``kill -9`` of the supervisor, and wait until another one is up."""
        began = time.time()
        self.demo.kill_relay()
        self.until(
            lambda status: status.started > began and len(status.workers) == status.wanted,
            "another relay",
        )

    def rotate(self, lead: str) -> None:
        """Plan it in the relay's file, and have the relay read that."""
        run("hint", "rotate", "--config", str(self.relay_file), "--lead", lead, "--write")
        os.kill(self.demo.state["relay"]["pid"], signal.SIGHUP)

    def hand_on(self) -> None:
        """Give the relay's hint configurations to the transceivers."""
        tables = map(table, configurations_of(self.relay_file.read_text()))
        text = "".join(tables)
        for each in self.demo.state["transceivers"]:
            path = Path(each["config"])
            path.write_text(path.read_text().partition(HINTS)[0] + text)
            os.kill(each["pid"], signal.SIGHUP)


def made_by(status: RelayStatus, number: int = 0) -> dict[Origin, int]:
    """Flows made in a worker, by what made them."""
    for worker in status.workers:
        if worker.worker == number:
            return flows_made(worker.counters)
    return {}


def states(status: RelayStatus) -> set[str | None]:
    return {worker.store.state if worker.store else None for worker in status.workers}


def run(*arguments: str) -> str:
    """A command of ``stunroute`` that succeeds; what it printed."""
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return done.output
