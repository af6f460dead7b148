"""Chromium and Firefox, driven by what they speak themselves.

Chromium answers the DevTools protocol and Firefox WebDriver BiDi, both as JSON over a WebSocket,
so a driver of a few lines does and no driver program has to match the browser's version. What a
test needs is small: open a page, evaluate, click as a person clicks (with user activation), look,
close. ``launch`` gives one of the two behind the same methods. Each browser gets a fresh profile
that is also its home directory, and ends with it.

Nothing here switches off what a stock browser does in a call: host candidates stay hidden behind
mDNS names, DTLS 1.3 stays on. Only the sound devices are stand-ins, and the microphone needs no
permission dialogue.
"""

import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

from namespace import Namespace

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_FIREFOX = ("firefox-esr", "firefox")

_ANSWER_TIMEOUT = 60.0

_CHROMIUM_SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
)

_FIREFOX_PREFERENCES: dict[str, bool | int | str] = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    # Without sound hardware an AudioContext would never start; this is Firefox's own stand-in.
    "media.cubeb.force_mock_context": True,
    "app.update.enabled": False,
    "app.update.auto": False,
    "app.normandy.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.newtabpage.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.search.update": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "extensions.update.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "",
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}


class BrowserError(Exception):
    """The browser refused a command, a page's script threw, or it did not start."""


class Browser(ABC):
    """One running browser with one page. Use as a context manager. ``version`` is what the
    browser says of itself."""

    name: str
    version: str = ""

    def __init__(
        self,
        program: str,
        *,
        namespace: Namespace | None,
        dark: bool,
        microphone: Path | None = None,
    ) -> None:
        self.namespace = namespace
        self.microphone = microphone
        self._home = Path(tempfile.mkdtemp(prefix=f"stunroute-{self.name}-"))
        self._log = (self._home / "log").open("wb")
        self._ids = itertools.count(1)
        self._socket: ClientConnection | None = None
        self._open_things = contextlib.ExitStack()
        self.dark = dark
        argv = [program, *self._arguments()]
        environment = {**os.environ, "HOME": str(self._home), "XDG_CACHE_HOME": str(self._home)}
        environment.pop("DBUS_SESSION_BUS_ADDRESS", None)
        self._process = subprocess.Popen(
            namespace.command(argv) if namespace else argv,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=environment,
            start_new_session=True,
        )
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _arguments(self) -> list[str]: ...

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def navigate(self, url: str) -> None:
        """Load ``url`` and wait until it is loaded."""

    @abstractmethod
    def evaluate(self, script: str) -> Any:
        """The JSON value of the JavaScript expression ``script``; a promise is awaited."""

    @abstractmethod
    def click_at(self, x: float, y: float) -> None:
        """Press and release the first mouse button there, in CSS pixels of the viewport."""

    @abstractmethod
    def resize(self, width: int, height: int) -> None:
        """Give the viewport this size in CSS pixels."""

    @abstractmethod
    def screenshot(self, path: Path) -> None:
        """Write what the whole page looks like as PNG."""

    def click(self, selector: str) -> None:
        """Click the middle of the element that ``selector`` finds."""
        place = self.evaluate(
            "(() => { const e = document.querySelector(" + json.dumps(selector) + ");"
            "if (!e) return null; e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const r = e.getBoundingClientRect();"
            "return [r.left + r.width / 2, r.top + r.height / 2]; })()"
        )
        if place is None:
            raise BrowserError(f"no element {selector}")
        self.click_at(*place)

    def wait_for(self, script: str, timeout: float = 15.0, interval: float = 0.1) -> Any:
        """Evaluate ``script`` until it is truthy, and return that. TimeoutError after
        ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            value = self.evaluate(script)
            if value:
                return value
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: not within {timeout:g} s: {script}")
            time.sleep(interval)

    def close(self) -> None:
        """End the browser, and remove its profile."""
        if self._socket is not None:
            with contextlib.suppress(Exception):
                self._farewell()
            with contextlib.suppress(Exception):
                self._open_things.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5 if self._socket is not None else 0)
        # The session it was started in: its helpers, and nobody else's processes.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()
        for _ in range(20):
            shutil.rmtree(self._home, ignore_errors=True)
            if not self._home.exists():
                break
            time.sleep(0.05)

    @abstractmethod
    def _farewell(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _await_file(self, name: str, timeout: float = 60.0) -> str:
        path = self._home / name
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                text = path.read_text()
                if text.strip():
                    return text
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        log = (self._home / "log").read_text(errors="replace")[-2000:]
        raise BrowserError(f"{self.name} did not start:\n{log}")

    def _attach(self, port: int, path: str) -> None:
        carrier = self.namespace.connect("127.0.0.1", port) if self.namespace else None
        connection = connect(
            f"ws://127.0.0.1:{port}{path}",
            sock=carrier,
            max_size=None,
            compression=None,
            ping_interval=None,
            proxy=None,
        )
        self._socket = self._open_things.enter_context(connection)

    def _command(self, method: str, **extra: Any) -> dict[str, Any]:
        assert self._socket is not None
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, **extra}))
        deadline = time.monotonic() + _ANSWER_TIMEOUT
        while True:
            answer = json.loads(self._socket.recv(timeout=max(0.0, deadline - time.monotonic())))
            if answer.get("id") != number:
                continue
            if "error" in answer:
                raise BrowserError(f"{method}: {answer['error']} {answer.get('message', '')}")
            result: dict[str, Any] = answer["result"]
            return result


class Chromium(Browser):
    """Over the Chrome DevTools Protocol."""

    name = "chromium"

    def _arguments(self) -> list[str]:
        switches = [*_CHROMIUM_SWITCHES, f"--user-data-dir={self._home}"]
        if self.microphone is not None:
            switches.append(f"--use-file-for-fake-audio-capture={self.microphone}%noloop")
        return [*switches, "about:blank"]

    def _open(self) -> None:
        lines = self._await_file("DevToolsActivePort").splitlines()
        self._session: str | None = None
        self._attach(int(lines[0]), lines[1])
        self.version = self._cdp("Browser.getVersion")["product"].rpartition("/")[2]
        targets = self._cdp("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self._cdp("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        self._cdp("Page.enable")
        scheme = "dark" if self.dark else "light"
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._cdp("Emulation.setEmulatedMedia", features=features)

    def _cdp(self, method: str, **parameters: Any) -> dict[str, Any]:
        session = {} if self._session is None else {"sessionId": self._session}
        return self._command(method, params=parameters, **session)

    def navigate(self, url: str) -> None:
        answer = self._cdp("Page.navigate", url=url)
        if answer.get("errorText"):
            raise BrowserError(f"{url}: {answer['errorText']}")
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, script: str) -> Any:
        answer = self._cdp(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            thrown = details.get("exception", {}).get("description", details.get("text"))
            raise BrowserError(f"{script}: {thrown}")
        return answer["result"].get("value")

    def click_at(self, x: float, y: float) -> None:
        at = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self._cdp("Input.dispatchMouseEvent", type="mousePressed", **at)
        self._cdp("Input.dispatchMouseEvent", type="mouseReleased", **at)

    def resize(self, width: int, height: int) -> None:
        self._cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def screenshot(self, path: Path) -> None:
        answer = self._cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _farewell(self) -> None:
        self._session = None
        self._cdp("Browser.close")


class Firefox(Browser):
    """Over WebDriver BiDi."""

    name = "firefox"

    def _arguments(self) -> list[str]:
        lines = [
            f'user_pref("{name}", {json.dumps(value)});'
            for name, value in _FIREFOX_PREFERENCES.items()
        ]
        scheme = 0 if self.dark else 1
        lines.append(f'user_pref("layout.css.prefers-color-scheme.content-override", {scheme});')
        (self._home / "user.js").write_text("\n".join(lines) + "\n")
        return [
            "--headless",
            "--no-remote",
            "--new-instance",
            "--profile",
            str(self._home),
            "--remote-debugging-port",
            "0",
            "about:blank",
        ]

    def _open(self) -> None:
        server = json.loads(self._await_file("WebDriverBiDiServer.json"))
        self._attach(server["ws_port"], "/session")
        session = self._bidi("session.new", capabilities={})
        self.version = session["capabilities"]["browserVersion"]
        tree = self._bidi("browsingContext.getTree", maxDepth=0)
        self._context = tree["contexts"][0]["context"]

    def _bidi(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._command(method, params=parameters)

    def navigate(self, url: str) -> None:
        self._bidi("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def evaluate(self, script: str) -> Any:
        answer = self._bidi(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({script})))()",
            target={"context": self._context},
            awaitPromise=True,
            userActivation=False,
        )
        if answer["type"] == "exception":
            raise BrowserError(f"{script}: {answer['exceptionDetails'].get('text')}")
        text = answer["result"].get("value")
        return None if text is None else json.loads(text)

    def click_at(self, x: float, y: float) -> None:
        actions = [
            {"type": "pointerMove", "x": round(x), "y": round(y)},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self._bidi(
            "input.performActions",
            context=self._context,
            actions=[{"type": "pointer", "id": "mouse", "actions": actions}],
        )

    def resize(self, width: int, height: int) -> None:
        self._bidi(
            "browsingContext.setViewport",
            context=self._context,
            viewport={"width": width, "height": height},
        )

    def screenshot(self, path: Path) -> None:
        answer = self._bidi(
            "browsingContext.captureScreenshot", context=self._context, origin="document"
        )
        path.write_bytes(base64.b64decode(answer["data"]))

    def _farewell(self) -> None:
        self._bidi("browser.close")


def find(name: str) -> str | None:
    """The path of the installed browser called ``name`` ("chromium" or "firefox"), or None."""
    candidates = {"chromium": _CHROMIUM, "firefox": _FIREFOX}[name]
    return next((path for each in candidates if (path := shutil.which(each))), None)


def names(name: str) -> tuple[str, ...]:
    """The programs that ``find`` looks for."""
    return {"chromium": _CHROMIUM, "firefox": _FIREFOX}[name]


def launch(
    name: str,
    *,
    namespace: Namespace | None = None,
    dark: bool = False,
    microphone: Path | None = None,
) -> Browser:
    """Start the browser called ``name`` with a fresh profile, inside ``namespace`` if given. What
    its microphone hears is ``microphone``, a WAVE file that begins anew whenever a page asks for
    the microphone; only Chromium can do that."""
    program = find(name)
    if program is None:
        raise BrowserError(f"{name} is not installed")
    if name == "chromium":
        return Chromium(program, namespace=namespace, dark=dark, microphone=microphone)
    if microphone is not None:
        raise BrowserError(f"{name} plays no file for a microphone")
    return Firefox(program, namespace=namespace, dark=dark)
