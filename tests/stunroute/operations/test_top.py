"""``top``: what it knows, and what it shows in whatever room there is."""

import contextlib
import io
import os
import pty
import re
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from pictures import START, relay, worker
from stunroute.operations import top
from stunroute.operations.admin import AdminError
from stunroute.operations.model import Model
from stunroute.operations.screen import draw
from stunroute.status import ConfigurationStatus, Happening, RelayStatus, StoreStatus
from stunroute.trace import Drop

STORE = StoreStatus("open", written=12, hits=3, lost=2, latency=0.004, last_error="TimeoutError")


def picture(second: float, number: int = 2, **facts: object) -> RelayStatus:
    """A relay in which much happens: every second the same."""
    amount = int(second)
    workers = [
        worker(
            n,
            flows=1_234,
            counters={
                "uplink_packets": 50_000 * amount,
                "uplink_bytes": 8_600_000 * amount,
                "downlink_packets": 49_000 * amount,
                "downlink_bytes": 8_400_000 * amount,
                "made": 1_300,
                "healed": 312,
            },
            drops={"edge-integrity": 12_345 * amount, "no-flow": 5},
            kinds={("uplink", "rtp"): 49_000 * amount, ("uplink", "stun"): 1_000 * amount},
            kernel_drops=17,
            configurations=(
                ConfigurationStatus("0", True, False, True, 9 * amount),
                ConfigurationStatus("1", True, True, True, 3 * amount),
            ),
            store=STORE,
            loop_lag=0.15,
        )
        for n in range(number)
    ]
    told = (Happening(START + 1, "worker 1 (process 7) was killed by SIGKILL"),)
    return relay(second, *workers, restarts=1, happenings=told, **facts)  # type: ignore[arg-type]


def watched(*pictures: RelayStatus) -> Model:
    model = Model()
    for status in pictures:
        model.arrived(status, status.at)
    return model


def drawn(model: Model, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), record=True)
    console.print(draw(model, width, height))
    return console.export_text(styles=False).splitlines()


BUSY = watched(picture(10), picture(11))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (140, 40), (200, 60)])
def test_facts_in_every_size(width: int, height: int) -> None:
    lines = drawn(BUSY, width, height)
    text = "\n".join(lines)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert re.search(r"stunroute 0\.1\.0  up 11 s  2 of 2 workers  1 restart  0 reloads", text)
    for name in ("0", "1"):
        row = next(line for line in lines if line.split()[:1] == [name])
        assert row.split()[1:8] == ["50,000", "68.8", "49,000", "67.2", "1,234", "12,345", "17"]
        assert row.split()[8:10] == ["150", "ms"]
    total = next(line for line in lines if line.startswith("all "))
    assert total.split()[1:8] == ["100,000", "138", "98,000", "134", "2,468", "24,690", "34"]
    assert re.search(r"24,690/s\s+271,590  edge-integrity", text)
    assert "rtp 98,000" in text
    assert "check 1,976  downlink 624" in text
    assert "left alone" in text
    assert "TimeoutError" in text
    assert re.search(r"lost 4\b", text)
    assert "0: read, verified here, checks 198 (18/s)" in text
    assert "1: read, may be minted, verified here, checks 66 (6/s)" in text
    assert "was killed by SIGKILL" in text


def test_wide_terminals_show_more() -> None:
    text = "\n".join(drawn(BUSY, 140, 40))
    for word in ("adapter", "batched", "pid", "101", "waiting", "errors"):
        assert word in text


def test_the_first_picture_has_no_rates() -> None:
    lines = drawn(watched(picture(10)), 80, 24)
    row = next(line for line in lines if line.split()[:1] == ["0"])
    assert row.split()[1:7] == ["-", "-", "-", "-", "1,234", "-"]


def test_before_the_first_picture_it_says_why() -> None:
    model = Model()
    assert "waiting" in drawn(model, 80, 24)[0]
    model.failed("no relay answers at a.sock: No such file", START)
    assert drawn(model, 80, 24) == ["no relay answers at a.sock: No such file"]


def test_a_relay_without_store_drops_or_happenings() -> None:
    text = "\n".join(drawn(watched(relay(1, worker()), relay(2, worker())), 80, 24))
    assert "store   none" in text
    assert "drops   none" in text
    assert "nothing yet" in text


def test_missing_workers_are_seen() -> None:
    text = "\n".join(drawn(watched(relay(1, worker(), wanted=4)), 80, 24))
    assert "1 of 4 workers" in text


def test_a_store_in_two_states_says_whose() -> None:
    status = relay(1, worker(0, store=STORE), worker(1, store=StoreStatus("closed")))
    text = "\n".join(drawn(watched(status), 80, 24))
    assert "in use (1)  left alone (0)" in text


@pytest.mark.parametrize("number", [1, 9, 40, 256])
def test_many_workers_leave_room_for_the_rest(number: int) -> None:
    lines = drawn(watched(picture(1, number), picture(2, number)), 80, 24)
    assert len(lines) <= 24
    text = "\n".join(lines)
    assert "what happened" in text
    assert "edge-integrity" in text
    if number > 9:
        assert f"all {number}" in text


@settings(max_examples=60)
@given(
    st.integers(30, 250),
    st.integers(20, 100),
    st.integers(0, 12),
    st.lists(st.text(st.characters(codec="ascii"), max_size=200), max_size=60),
    st.lists(st.sampled_from(Drop), max_size=20, unique=True),
)
def test_anything_fits_anywhere(
    width: int, height: int, number: int, texts: list[str], drops: list[Drop]
) -> None:
    counts = {drop.value: 10**9 for drop in drops}
    workers = [worker(n, drops=counts, store=STORE) for n in range(number)]
    told = tuple(Happening(START + n, text) for n, text in enumerate(texts))
    model = watched(relay(1, *workers), relay(2, *workers, happenings=told))
    for problem in (None, "no relay answers"):
        if problem is not None:
            model.failed(problem, START + 3)
        lines = drawn(model, width, height)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width


# --- the story over restarts ----------------------------------------------------------------------


def texts(model: Model) -> list[str]:
    return [happening.text for happening in model.happenings]


def test_a_relay_that_goes_and_comes_back() -> None:
    model = watched(picture(10), picture(11))
    model.failed("no relay answers at x: Connection refused", START + 12)
    model.failed("no relay answers at x: Connection refused", START + 13)
    lines = drawn(model, 80, 24)
    assert "no relay answers at x: Connection refused; trying again" in lines[1]
    assert texts(model)[0] == "the relay does not answer"
    again = relay(1, worker(flows=7), started=START + 15)
    model.arrived(again, START + 16)
    assert texts(model)[0] == "the relay was restarted and answers, after 4 s"
    # What its former self told is known here alone now.
    assert texts(model).count("worker 1 (process 7) was killed by SIGKILL") == 1
    assert model.changes == {}
    assert "trying again" not in "\n".join(drawn(model, 80, 24))


def test_a_relay_that_was_only_slow() -> None:
    model = watched(picture(10))
    model.failed("does not answer", START + 11)
    model.arrived(picture(13), START + 13)
    assert texts(model)[0] == "the relay answers again, after 2 s"


def test_a_restart_between_two_pictures() -> None:
    model = watched(picture(10), relay(1, worker(), started=START + 10.5))
    assert texts(model)[0] == "the relay was restarted"


def test_the_same_picture_again_keeps_the_rates() -> None:
    model = watched(picture(10), picture(11), picture(11))
    assert model.per_second("uplink_packets") == 100_000


# --- the command ----------------------------------------------------------------------------------


class Source:
    """A relay that goes on and on, or breaks."""

    def __init__(self, *, broken: bool = False) -> None:
        self.second = 1.0
        self.broken = broken
        self.asked = 0

    def status(self) -> RelayStatus:
        self.asked += 1
        if self.broken:
            raise AdminError("no relay answers at x: No such file or directory")
        self.second += 1
        return picture(self.second)


def test_once_prints_rates_without_colour_where_there_is_no_terminal() -> None:
    written = io.StringIO()
    top.once(Source(), Console(file=written, width=100, highlight=False))
    assert "100,000" in written.getvalue()
    assert "\x1b" not in written.getvalue()


def test_once_without_a_relay() -> None:
    with pytest.raises(AdminError):
        top.once(Source(broken=True), Console(file=io.StringIO()))


@pytest.mark.parametrize("key", [b"q", b"Q", b"\x04"])
@pytest.mark.parametrize("broken", [False, True])
def test_a_key_ends_it_and_the_terminal_is_as_it_was(
    monkeypatch: pytest.MonkeyPatch, key: bytes, broken: bool
) -> None:
    import termios

    ours, theirs = pty.openpty()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ours)
        stdin = stack.enter_context(os.fdopen(theirs, "r"))
        before = termios.tcgetattr(theirs)
        monkeypatch.setattr("sys.stdin", stdin)
        source = Source(broken=broken)
        written = io.StringIO()
        console = Console(file=written, force_terminal=True, width=80, height=24)
        running = threading.Thread(target=top.watch, args=(source, console))
        running.start()
        deadline = time.monotonic() + 30
        while source.asked < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.write(ours, b"x" + key)
        running.join(30)
        assert not running.is_alive()
        assert termios.tcgetattr(theirs) == before
        assert ("no relay answers" if broken else "stunroute") in written.getvalue()
