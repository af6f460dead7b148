"""Hints that the project's own key ring would not mint.

A relay reads a hint in steps (its form, the configuration, the number, the block, the directory),
and each step has a way to be wrong. So hints are put together here from the block upwards, with the
routing key that the relay was given.
"""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from conformance.case import Unsupported
from conformance.relay_stage import RelayStage, Session
from stunroute.hint import HintConfiguration, HintError

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
BODY = 25
BLOCK = 1 << 128


def number_of(body: bytes) -> int:
    """A body of base-36 digits, most significant first, as a number."""
    return int(body, 36)


def body_of(number: int) -> bytes:
    """The 25 digits of a number. Raises ValueError if it has more."""
    if not 0 <= number < 36**BODY:
        raise ValueError("more than 25 digits of base 36")
    digits = ""
    for _ in range(BODY):
        number, digit = divmod(number, 36)
        digits = DIGITS[digit] + digits
    return digits.encode()


def seal(stage: RelayStage, cluster: int, node: int, tail: bytes) -> bytes:
    """A hint whose block ends with ``tail``, five bytes, where a good one has zeros."""
    known = configuration(stage)
    block = cluster.to_bytes(2, "big") + node.to_bytes(4, "big") + stage.entropy(5) + tail
    # A hint is a single block: there is no mode to choose.
    encrypt = Cipher(AES(known.routing_key), ECB()).encryptor().update
    sealed = encrypt(block)
    return known.identifier.encode() + body_of(int.from_bytes(sealed, "big"))


def configuration(stage: RelayStage) -> HintConfiguration:
    """The one that the stage mints under."""
    return stage.keyring.configurations[-1]


def unknown_identifier(stage: RelayStage) -> bytes:
    """The id of a configuration that the relay does not have. Raises Unsupported where it has
    all."""
    taken = {each.identifier for each in stage.keyring.configurations}
    for identifier in reversed(DIGITS[:-1]):
        if identifier not in taken:
            return identifier.encode()
    raise Unsupported("every configuration id is taken")


def renamed(stage: RelayStage, session: Session, ufrag: bytes) -> Session:
    """A session under another ufrag, with the password that belongs to that one if there is one: a
    relay that verifies must have no other reason to refuse it than the hint."""
    try:
        password = stage.keyring.password(ufrag)
    except HintError:
        password = session.password
    return Session(session.node, ufrag, password)
