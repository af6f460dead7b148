"""ClientHellos and ServerHellos field by field, so that a case can put anything into any of them.

Nothing is checked here: lengths are written as the fields are long, and a body may be cut or padded
afterwards by whoever wants a broken one.
"""

from collections.abc import Iterable
from typing import Self

import attrs
from attrs import field, frozen

from stunroute.instant import Entropy
from transceiver.dtls.extensions import NO_RENEGOTIATION, UNCOMPRESSED, Extension, encode_list
from transceiver.dtls.parameters import SUITES, Group
from transceiver.dtls.record import DTLS_1_2
from transceiver.dtls.signatures import SCHEMES
from transceiver.dtls.wire import integers, vector
from transceiver.keying import SrtpProfile

GREASE = 0x5A5A
"""A code point that stands for nothing, ever (RFC 8701)."""
DTLS_1_3 = 0xFEFC
POST_QUANTUM_GROUP = 0x11EC
"""X25519MLKEM768, whose key share is what makes hellos of today so long."""
POST_QUANTUM_SHARE = 1184 + 32
KEY_SHARE = 51
PSK_MODES = 45


@frozen(slots=True)
class Hello:
    """A ClientHello. ``tail`` follows the block of extensions, where nothing should be;
    ``extensions`` is None for a hello that ends before the block."""

    random: bytes
    extensions: tuple[tuple[int, bytes], ...] | None
    version: int = DTLS_1_2
    session_id: bytes = b""
    cookie: bytes = b""
    suites: tuple[int, ...] = tuple(suite.code for suite in SUITES)
    compression: bytes = b"\x00"
    tail: bytes = field(default=b"", repr=False)

    @classmethod
    def honest(cls, entropy: Entropy, profiles: Iterable[SrtpProfile]) -> Self:
        """What a client of today offers, but for DTLS 1.3."""
        return cls(
            entropy(32),
            (
                (Extension.EXTENDED_MASTER_SECRET, b""),
                (Extension.RENEGOTIATION_INFO, NO_RENEGOTIATION),
                (Extension.SUPPORTED_GROUPS, encode_list(Group)),
                (Extension.EC_POINT_FORMATS, UNCOMPRESSED),
                (Extension.SIGNATURE_ALGORITHMS, encode_list(SCHEMES)),
                (Extension.USE_SRTP, use_srtp(profile.value for profile in profiles)),
            ),
        )

    def extension(self, code: int) -> bytes | None:
        """The body of the first of that code."""
        return next((body for each, body in self.extensions or () if each == code), None)

    def with_extension(self, code: int, body: bytes | None) -> Self:
        """Another body for that extension, appended where there was none; None: without it."""
        block = self.extensions or ()
        if body is None:
            return self.but(extensions=tuple(each for each in block if each[0] != code))
        if self.extension(code) is None:
            return self.also(code, body)
        return self.but(
            extensions=tuple((each, body if each == code else old) for each, old in block)
        )

    def also(self, code: int, body: bytes) -> Self:
        """One more at the end, whether it is there already or not."""
        return self.but(extensions=(*(self.extensions or ()), (code, body)))

    def but(self, **changes: object) -> Self:
        """With other fields."""
        return attrs.evolve(self, **changes)  # type: ignore[arg-type]

    def encode(self) -> bytes:
        """The body of the message."""
        block = b"" if self.extensions is None else vector(encode_extensions(self.extensions), 2)
        return b"".join(
            (
                self.version.to_bytes(2),
                self.random,
                vector(self.session_id, 1),
                vector(self.cookie, 1),
                vector(integers(self.suites, 2), 2),
                vector(self.compression, 1),
                block,
                self.tail,
            )
        )


def encode_extensions(extensions: Iterable[tuple[int, bytes]]) -> bytes:
    """A block without its length."""
    return b"".join(code.to_bytes(2) + vector(body, 2) for code, body in extensions)


def use_srtp(profiles: Iterable[int], mki: bytes = b"") -> bytes:
    """The body of use_srtp."""
    return vector(integers(profiles, 2), 2) + vector(mki, 1)


def supported_versions(*versions: int) -> bytes:
    """The body of supported_versions in a ClientHello."""
    return vector(integers(versions, 2), 1)


def post_quantum(hello: Hello, entropy: Entropy, *versions: int) -> Hello:
    """As browsers say it: DTLS 1.3 offered beside 1.2, and a key share that makes the hello longer
    than a datagram. ``supported_versions`` stands last, in what will be the last fragment."""
    shares = b"".join(
        group.to_bytes(2) + vector(entropy(length), 2)
        for group, length in ((POST_QUANTUM_GROUP, POST_QUANTUM_SHARE), (Group.X25519, 32))
    )
    groups = encode_list((POST_QUANTUM_GROUP, *Group))
    with_groups = hello.with_extension(Extension.SUPPORTED_GROUPS, groups)
    return (
        with_groups.but(suites=(0x1301, 0x1303, *hello.suites))
        .also(GREASE, b"\x00")
        .also(PSK_MODES, b"\x01\x01")
        .also(KEY_SHARE, vector(shares, 2))
        .also(Extension.SUPPORTED_VERSIONS, supported_versions(*(versions or (DTLS_1_3, DTLS_1_2))))
    )


def server_hello(
    random: bytes,
    suite: int,
    extensions: Iterable[tuple[int, bytes]],
    *,
    version: int = DTLS_1_2,
    session_id: bytes = b"",
    compression: int = 0,
) -> bytes:
    """The body of a ServerHello."""
    return b"".join(
        (
            version.to_bytes(2),
            random,
            vector(session_id, 1),
            suite.to_bytes(2),
            bytes((compression,)),
            vector(encode_extensions(extensions), 2),
        )
    )
