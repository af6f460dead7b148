"""A network of its own for a browser and the server it talks to.

Firefox and libnice accept no loopback candidate, so a call on one machine needs an address that is
not loopback, and a test must not depend on which ones the machine happens to have. A namespace
gives the same address everywhere, keeps every packet of the test (a browser's telemetry and mDNS
included) inside, and lets two tests use the same ports at once.

The namespace belongs to a process that only sleeps: it is gone when that process is, whatever
happened to the test. It has ``lo``, and one veth whose two ends are both inside; ``ADDRESS`` is on
the first and the default route leads to the second, where nobody answers. Without a default route
a browser that may not enumerate interfaces finds no address at all.
"""

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

ADDRESS = "10.77.0.1"
ADDRESS6 = "fd77::1"
_PEER = "10.77.0.2"
_PEER6 = "fd77::2"
_CLONE_NEWNET = 0x40000000


class Namespace:
    """A network namespace that lives as long as its holder process. It has ``address6`` only where
    it was made with ``ipv6``, lest every browser there gathers twice as many candidates."""

    address = ADDRESS
    address6 = ADDRESS6

    def __init__(self, *, ipv6: bool = False) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sleep", "infinity"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._await_holder()
            self._ip("link", "set", "lo", "up")
            self._ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
            self._ip("address", "add", f"{ADDRESS}/24", "dev", "veth0")
            self._ip("link", "set", "veth0", "up")
            self._ip("link", "set", "veth1", "up")
            self._ip("route", "add", "default", "via", _PEER)
            if ipv6:
                # The kernel would try the address out for a second before it may be used.
                self._ip("address", "add", f"{ADDRESS6}/64", "dev", "veth0", "nodad")
                self._ip("route", "add", "default", "via", _PEER6)
        except BaseException:
            self.close()
            raise

    def _await_holder(self) -> None:
        own = os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{self._holder.pid}/ns/net") != own:
                    return
            if self._holder.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError("no network namespace could be made")

    def _ip(self, *arguments: str) -> None:
        subprocess.run(self.command(["ip", *arguments]), check=True, capture_output=True)

    def command(self, argv: Sequence[str]) -> list[str]:
        """``argv`` so that it runs inside; the process keeps the pid it is started with."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--", *argv]

    def inside(self, act: Callable[[], T]) -> T:
        """What ``act`` returns when called inside: a socket made there stays there."""
        outcome: list[T] = []
        failure: list[BaseException] = []

        def run() -> None:
            # A namespace belongs to a thread; this one ends with the call, so nothing to undo.
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                with open(f"/proc/{self._holder.pid}/ns/net", "rb") as handle:
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

    def connect(self, host: str, port: int, timeout: float = 10.0) -> socket.socket:
        """A TCP connection inside."""
        return self.inside(lambda: socket.create_connection((host, port), timeout=timeout))

    def udp(self, host: str, port: int = 0) -> socket.socket:
        """A bound UDP socket inside."""

        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((host, port))
            return made

        return self.inside(make)

    def close(self) -> None:
        """End the holder, and with it the namespace once its last process is gone."""
        if self._holder.poll() is None:
            self._holder.kill()
        self._holder.wait()

    def __enter__(self) -> "Namespace":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """A namespace for the length of a ``with`` block. Root only."""
    with Namespace() as made:
        yield made
