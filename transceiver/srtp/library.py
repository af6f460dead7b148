"""The two functions of libsrtp that every packet of audio takes, called as cheaply as can be.

The methods of ``pylibsrtp.Session`` spend more time around the library's work than the library on
the work: for each packet they make a place for its length, look up the session and ask for the
size of a buffer that never changes. Here all of that is done once. What is called is the same C
function, on the same session and in the same buffer, so the bytes are the same.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import pylibsrtp
from pylibsrtp._binding import ffi, lib

Transform: TypeAlias = Callable[[bytes], bytes]
"""A whole packet in, a whole packet out. Raises pylibsrtp.Error with the library's word for what
is wrong; then no state has changed. The caller keeps the session, and keeps to the lengths."""

LONGEST_SEALED = 1500
"""Bytes of a session's buffer, in which packets are sealed and opened."""
LONGEST_CLEAR = LONGEST_SEALED - pylibsrtp.SRTP_MAX_TRAILER_LEN
"""Bytes of the longest packet that can be sealed there, with whatever the library may add."""


def sealing(session: pylibsrtp.Session) -> Transform:
    """Seals RTP packets of up to ``LONGEST_CLEAR``."""
    return _transform(session, lib.srtp_protect)


def opening(session: pylibsrtp.Session) -> Transform:
    """Opens SRTP packets of up to ``LONGEST_SEALED``."""
    return _transform(session, lib.srtp_unprotect)


def _transform(session: pylibsrtp.Session, function: Callable[[Any, Any, Any], int]) -> Transform:
    handle, memory, buffer = session._srtp[0], session._cdata, session._buffer
    length = ffi.new("int *")

    def transform(packet: bytes) -> bytes:
        length[0] = size = len(packet)
        buffer[:size] = packet
        if status := function(handle, memory, length):
            raise pylibsrtp.Error(pylibsrtp.ERRORS[status])
        return buffer[: length[0]]  # type: ignore[no-any-return]

    return transform
