"""The demo as a person starts it, in a network of its own, and the page as a person uses it.

With ``weather`` the relay's address is kept from clients: the demo is told to advertise an
``Impairment`` instead, which stands in front of the relay.
"""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from browser import Browser
from impair import Impairment, Weather
from namespace import Namespace
from source import ROOT

RELAY_PORT = 3478
PROXY_PORT = 4000
PACKET = 0.02
"""Seconds of audio in one."""


def demo_command(*options: str) -> list[str]:
    return [sys.executable, "-m", "transceiver", "demo", *options]


class Demo:
    """A running ``transceiver demo --json``. ``network`` is what lies between clients and the
    relay, None where nothing does. ``environ`` is added to the environment."""

    def __init__(
        self,
        namespace: Namespace,
        *options: str,
        weather: Weather | None = None,
        seed: int = 1,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.namespace = namespace
        self._open = contextlib.ExitStack()
        self.network: Impairment | None = None
        more: list[str] = []
        if weather is not None:
            relay, proxy = (namespace.address, RELAY_PORT), (namespace.address, PROXY_PORT)
            made = Impairment(proxy, relay, seed=seed, weather=weather, make_socket=namespace.udp)
            self.network = self._open.enter_context(made)
            more = ["--udp", f"{relay[0]}:{relay[1]}", "--advertise", f"{proxy[0]}:{proxy[1]}"]
        with self._open.pop_all() as unless_all_goes_well:
            self.process = subprocess.Popen(
                namespace.command(demo_command("--json", *more, *options)),
                cwd=ROOT,
                env={**os.environ, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
            )
            unless_all_goes_well.callback(self._end)
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("the demo did not start")
            self.ready: dict[str, Any] = json.loads(line)
            self.page: str = self.ready["page"]
            self._open = unless_all_goes_well.pop_all()

    def get(self, path: str, address: str | None = None) -> tuple[int, Any]:
        """Status and JSON of what the demo's web server answers, or the one at ``address``."""
        status, text = self.get_text(path, address)
        return status, json.loads(text)

    def get_text(self, path: str, address: str | None = None) -> tuple[int, str]:
        """As ``get``, for what need not be JSON."""
        host, _, port = (address or self.page.removeprefix("http://").rstrip("/")).rpartition(":")

        def fetch() -> tuple[int, str]:
            connection = HTTPConnection(host, int(port), timeout=10)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            finally:
                connection.close()

        return self.namespace.inside(fetch)

    @property
    def state(self) -> dict[str, Any]:
        """What the demo says of its processes."""
        told: dict[str, Any] = self.get("/demo/state")[1]
        return told

    @property
    def pids(self) -> list[int]:
        """Every process that the demo has told of."""
        state = self.state
        found = [state["relay"]["pid"], *(each["pid"] for each in state["transceivers"])]
        return [pid for pid in found if pid is not None]

    def kill_relay(self) -> None:
        """``kill -9`` the relay that runs now."""
        os.kill(self.state["relay"]["pid"], signal.SIGKILL)

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)

    def _end(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._open.close()


class Page:
    """The demo's page in a browser, by its buttons and by what ``window.demo`` tells."""

    def __init__(self, browser: Browser, demo: Demo) -> None:
        self.browser = browser
        self.demo = demo
        self._owed = 0
        browser.navigate(demo.page)

    def report(self) -> dict[str, Any]:
        told: dict[str, Any] = self.browser.evaluate("window.demo.report()")
        return told

    def until(
        self, meets: Callable[[dict[str, Any]], object], within: float = 30.0
    ) -> dict[str, Any]:
        """The first report that ``meets``. Fails with the last one after ``within`` seconds."""
        deadline = time.monotonic() + within
        while not meets(report := self.report()):
            assert time.monotonic() < deadline, json.dumps(report, indent=1)
            time.sleep(0.05)
        return report

    def call(self) -> dict[str, Any]:
        """Call with the test tone; the report as soon as audio comes back."""
        self.browser.click("#tone")
        return self.until(lambda report: report["layers"]["media"] == "ok")

    def choose(self, backend: str) -> None:
        """Pick what answers the next call."""
        self.browser.wait_for("document.querySelectorAll('#backend option').length")
        self.browser.evaluate(
            f"(() => {{ const e = document.querySelector('#backend'); e.value = {backend!r};"
            "e.dispatchEvent(new Event('change')); return e.value; })()"
        )

    def call_agent(self, backend: str, button: str = "#tone") -> dict[str, Any]:
        """Call ``backend``, muted where the test tone is the voice; the report as soon as events
        pass."""
        self.choose(backend)
        self.browser.click(button)
        return self.until_events()

    def until_events(self) -> dict[str, Any]:
        return self.until(
            lambda report: report["phase"] == "live" and report["events"]["received"] > 0
        )

    def write(self, text: str) -> None:
        """Send the agent a message."""
        self.browser.evaluate(f"document.querySelector('#message').value = {text!r}")
        self.browser.click("#send")

    def until_heard(self) -> dict[str, Any]:
        """Wait until the agent speaks and its voice is there."""
        return self.until(
            lambda report: report["conversation"]["playing"] and (report["level"] or -99) > -40
        )

    def until_cut(self, number: int = 1) -> dict[str, Any]:
        """The interruption with this number of the call, when the ear has found silence."""
        found = self.until(
            lambda report: (
                len(report["conversation"]["cuts"]) >= number
                and report["conversation"]["cuts"][number - 1]["silent"] is not None
            )
        )
        cut: dict[str, Any] = found["conversation"]["cuts"][number - 1]
        return cut

    def speak_over(self, seconds: float) -> None:
        """Unmute the test tone for a while."""
        self.browser.click("#mute")
        time.sleep(seconds)
        self.browser.click("#mute")

    def hang_up(self) -> None:
        self.browser.click("#call")
        self.until(lambda report: report["phase"] == "ended")

    def leave(self) -> None:
        """Close the page, and with it whatever call there is."""
        self.browser.navigate("data:text/html,")

    def restart_ice(self) -> dict[str, Any]:
        before = self.report()
        self.browser.click("#restart")
        return self.until(lambda report: report["restarts"] > before["restarts"])

    def mark(self) -> None:
        """Count silence from now on."""
        self._owed = self._owing()

    @property
    def silence(self) -> float:
        """Seconds of audio that went out since ``mark`` and are not back. It is counted in packets
        and not by the page's clock: on a busy machine a page is held up for seconds while its audio
        flows."""
        return round((self._owing() - self._owed) * PACKET, 2)

    def _owing(self) -> int:
        stats = self.report()["stats"]
        count: int = stats["packetsSent"] - stats["packetsReceived"]
        return count

    def until_audio(self, packets: int = 25, within: float = 30.0) -> dict[str, Any]:
        """Wait for this many more packets of the echo; the report then."""
        known = self.report()["audio"]["packets"]
        return self.until(lambda report: report["audio"]["packets"] >= known + packets, within)

    def tone(self, readings: int = 9) -> float:
        """The pitch heard, in Hz: the middle one of some readings, each of other sound."""
        self.until(lambda report: report["tone"]["heard"] is not None)
        heard = []
        for _ in range(readings):
            time.sleep(0.25)  # a reading of the page takes 0.2 s
            heard.append(self.report()["tone"]["heard"] or 0.0)
        return statistics.median(heard)


def alive(pid: int) -> bool:
    """Whether there is such a process, zombies left out."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def gone(pids: list[int], within: float = 10.0) -> bool:
    """Whether all of ``pids`` end before ``within`` seconds are over."""
    deadline = time.monotonic() + within
    while any(map(alive, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
