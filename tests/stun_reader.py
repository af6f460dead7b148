"""Reading a datagram by every function that STUN has for it."""

from contextlib import suppress

from stunroute import stun
from stunroute.errors import DecodeError

KEY = stun.IntegrityKey(b"the password of a session")

GETTERS = [
    name
    for name, value in vars(stun.Message).items()
    if isinstance(value, property | type(stun.Message.username))
]
"""Everything of a message that is read like an attribute."""


def read_everything(data: bytes) -> stun.Message | None:
    """The message, after all that can be asked of it has been asked; None if it is malformed.
    Lets nothing pass but what each function is documented to raise."""
    stun.peek_username_untrusted(data)
    try:
        message = stun.decode_untrusted(data)
    except DecodeError:
        return None
    for name in GETTERS:
        with suppress(DecodeError):
            getattr(message, name)
    message.verify_integrity(KEY, sha256_minimum=16)
    message.unknown_comprehension_required()
    assert repr(message)
    return message
