"""Several cases at a time, each in a thread of its own: what they do most is wait.

Our SRTP has one buffer for all calls and is for one thread (``transceiver.srtp.library`` says why),
and the library lets other threads run while it works on the buffer. Two cases that seal a packet in
the same moment would each send a piece of the other's, and judge the server by it. So they take
turns there.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from transceiver.srtp import library

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_Crypt = Callable[[library.Handle, bytes], bytes]


def in_order(
    things: Iterable[_In],
    ask: Callable[[_In], _Out],
    jobs: int,
    stop: Callable[[], None] = lambda: None,
) -> list[_Out]:
    """``ask`` of every one, up to ``jobs`` at a time; the answers in the order of the things.
    Whoever interrupts it waits for those that are being asked, whom ``stop`` tells to end."""
    if jobs == 1:
        return [ask(thing) for thing in things]
    with taking_turns(), ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(ask, things))
        except KeyboardInterrupt:
            stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def taking_turns() -> Iterator[None]:
    """For the length of the block SRTP may be used from several threads."""
    lock = threading.Lock()

    def locked(crypt: _Crypt) -> _Crypt:
        def taking_its_turn(session: library.Handle, packet: bytes) -> bytes:
            with lock:
                return crypt(session, packet)

        return taking_its_turn

    alone = library.seal, library.unseal
    library.seal, library.unseal = map(locked, alone)  # type: ignore[assignment]
    try:
        yield
    finally:
        library.seal, library.unseal = alone
