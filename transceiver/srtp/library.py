"""The two functions of libsrtp that every packet of audio takes, called as cheaply as can be.

The methods of ``pylibsrtp.Session`` spend more time around the library's work than the library on
the work: for each packet they make a place for its length, look up the session and ask for the
size of a buffer that never changes. And each session has a buffer of its own, which the packets of
all the other calls have pushed out of the processor's caches when it is needed again. Here one
buffer serves all calls, and all that is looked up is the session's handle. What is called is the
same C function on the same session, so the bytes are the same.

The buffer makes this a room for one thread: nothing here waits, and whoever runs several loops in
several threads of one process gives each its own process instead.
"""

from typing import Any, TypeAlias

import pylibsrtp
from pylibsrtp._binding import ffi, lib

Handle: TypeAlias = Any
"""A session as the library knows it. It lives as long as its ``pylibsrtp.Session`` does."""

LONGEST_SEALED = 1500
"""Bytes of the longest packet that is taken."""
LONGEST_CLEAR = LONGEST_SEALED - pylibsrtp.SRTP_MAX_TRAILER_LEN
"""Bytes of the longest packet that can be sealed, with whatever the library may add."""

_MEMORY = ffi.new("char[]", LONGEST_SEALED)
_BUFFER = ffi.buffer(_MEMORY)
_LENGTH = ffi.new("int *")
_PROTECT = lib.srtp_protect
_UNPROTECT = lib.srtp_unprotect


def handle(session: pylibsrtp.Session) -> Handle:
    """What the functions below take. The caller keeps the session."""
    return session._srtp[0]


def seal(session: Handle, packet: bytes) -> bytes:
    """Seal an RTP packet of up to ``LONGEST_CLEAR``. Raises pylibsrtp.Error with the library's word
    for what is wrong; then no state has changed."""
    _LENGTH[0] = size = len(packet)
    _BUFFER[:size] = packet
    if status := _PROTECT(session, _MEMORY, _LENGTH):
        raise pylibsrtp.Error(pylibsrtp.ERRORS[status])
    return _BUFFER[: _LENGTH[0]]  # type: ignore[no-any-return]


def unseal(session: Handle, packet: bytes) -> bytes:
    """Open an SRTP packet of up to ``LONGEST_SEALED``. Raises as ``seal`` does."""
    _LENGTH[0] = size = len(packet)
    _BUFFER[:size] = packet
    if status := _UNPROTECT(session, _MEMORY, _LENGTH):
        raise pylibsrtp.Error(pylibsrtp.ERRORS[status])
    return _BUFFER[: _LENGTH[0]]  # type: ignore[no-any-return]
