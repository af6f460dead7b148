"""Sound in events: base64 of PCM."""

from base64 import b64decode

from .shape import missing, wrong_type
from .wire import EventError


def bytes_untrusted(audio: object, path: str) -> bytes:
    """The bytes in a field of an event. Raises EventError with ``path``."""
    if audio is None:
        raise missing(path)
    if not isinstance(audio, str):
        raise wrong_type(path, "a string", audio)
    try:
        return b64decode(audio, validate=True)
    except ValueError:
        raise _invalid(path, "it is not base64") from None


def pcm_untrusted(audio: object, path: str) -> bytes:
    """The PCM in a field of an event: whole samples of 16 bits, little-endian. Raises EventError
    with ``path``."""
    pcm = bytes_untrusted(audio, path)
    if len(pcm) % 2:
        raise _invalid(path, "it ends in the middle of a sample")
    return pcm


def _invalid(path: str, problem: str) -> EventError:
    return EventError(f"Invalid '{path}': {problem}.", code="invalid_value", param=path)
