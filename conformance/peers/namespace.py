"""A network namespace for a peer that takes no loopback address for a candidate.

It belongs to a process that only waits for us to be gone, however that happens; it is gone itself
when that process and the peer are. It has ``lo`` and one veth whose two ends are both inside, so
that no packet leaves it; whoever wants to talk to the peer has to enter: as a program with
``command``, with one socket through ``inside``.
The interfaces are not called veth: some agents pass over those, taking them for a container's.
"""

import contextlib
import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

from attrs import define, field

from .errors import PeerError

T = TypeVar("T")

ADDRESS = "10.78.0.1"
_GATEWAY = "10.78.0.2"
_CLONE_NEWNET = 0x40000000


@define(slots=True, eq=False)
class Namespace:
    """A network namespace of its own. Root only. Raises PeerError where none can be made."""

    address: str = ADDRESS
    _holder: "subprocess.Popen[bytes]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        if os.geteuid() != 0:
            raise PeerError("a network namespace is made by root only")
        self._holder = subprocess.Popen(
            ["unshare", "--net", "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._await_holder()
            for line in (
                "link set lo up",
                "link add edge0 type veth peer name edge1",
                f"address add {ADDRESS}/24 dev edge0",
                "link set edge0 up",
                "link set edge1 up",
                # Some agents enumerate no interface where there is no default route.
                f"route add default via {_GATEWAY}",
            ):
                self._ip(line)
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> str:
        """What ``nsenter --net=`` and setns(2) take."""
        return f"/proc/{self._holder.pid}/ns/net"

    def _await_holder(self) -> None:
        own = os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self._holder.poll() is None:
            with contextlib.suppress(OSError):
                if os.readlink(self.path) != own:
                    return
            time.sleep(0.01)
        raise PeerError("no network namespace could be made")

    def _ip(self, line: str) -> None:
        done = subprocess.run(self.command(["ip", *line.split()]), capture_output=True, text=True)
        if done.returncode:
            raise PeerError(f"ip {line}: {done.stderr.strip()}")

    def command(self, argv: Sequence[str]) -> list[str]:
        """``argv`` so that it runs inside; the process keeps the pid it is started with."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def inside(self, act: Callable[[], T]) -> T:
        """What ``act`` returns when called inside: a socket made there stays there."""
        outcome: list[T] = []
        failure: list[BaseException] = []

        def run() -> None:
            # A namespace belongs to a thread; this one ends with the call, so nothing to undo.
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                with open(self.path, "rb") as handle:
                    if libc.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                        number = ctypes.get_errno()
                        raise OSError(number, os.strerror(number))
                outcome.append(act())
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=run, name="inside-namespace")
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return outcome[0]

    def close(self) -> None:
        """End the holder, and with it the namespace once its last process is gone."""
        if self._holder.poll() is None:
            self._holder.kill()
        self._holder.wait()
        if self._holder.stdin is not None:
            self._holder.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
