"""``stunroute top``: a running relay, drawn once a second.

It asks at the admin socket like anybody else, and survives the relay: whoever opened it to see a
restart wants to see the other side of it. The keyboard is read with the terminal's own echo and
line editing off, which is put back however it ends.
"""

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.live import Live

from stunroute.status import RelayStatus

from .admin import AdminError
from .model import Model
from .screen import draw

INTERVAL = 1.0
"""Seconds between two pictures."""
SECOND_PICTURE = 3.0
"""Seconds that ``once`` waits for a second picture, without which there are no rates."""
PLAIN_WIDTH = 140
PLAIN_HEIGHT = 60
"""The room where there is no terminal: enough for everything."""


class Source(Protocol):
    """Where pictures come from: ``admin.AdminClient``."""

    def status(self) -> RelayStatus: ...


def once(source: Source, console: Console) -> None:
    """Print one picture. Raises AdminError if the relay does not answer."""
    model = Model()
    first = source.status()
    model.arrived(first, time.time())
    deadline = time.monotonic() + SECOND_PICTURE
    while not model.changes and time.monotonic() < deadline:
        time.sleep(0.1)
        model.arrived(source.status(), time.time())
    height = console.height if console.is_terminal else PLAIN_HEIGHT
    console.print(draw(model, console.width, max(height, 24)))


def watch(source: Source, console: Console) -> None:
    """Draw until the user presses q, or interrupts."""
    model = Model()
    with (
        contextlib.suppress(KeyboardInterrupt),
        _keys() as keys,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            _look(model, source)
            live.update(draw(model, console.width, console.height), refresh=True)
            if _leaves(keys):
                return


def _look(model: Model, source: Source) -> None:
    try:
        model.arrived(source.status(), time.time())
    except AdminError as error:
        model.failed(str(error), time.time())


def _leaves(keys: int | None) -> bool:
    """Wait until the next picture is due; True if the user pressed q meanwhile."""
    until = time.monotonic() + INTERVAL
    while (left := until - time.monotonic()) > 0:
        if keys is None:
            time.sleep(left)
        elif select.select([keys], [], [], left)[0]:
            pressed = os.read(keys, 1024)
            if not pressed or {b"q", b"Q", b"\x03", b"\x04"} & {bytes([key]) for key in pressed}:
                return True
    return False


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """The keyboard, key by key; None if there is none."""
    if not sys.stdin.isatty():
        yield None
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
