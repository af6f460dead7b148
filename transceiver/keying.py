"""What DTLS agrees on and SRTP uses: the one thing that passes between the two.

They do not import one another; the session carries an ``SrtpKeys`` from the handshake's end to
the protection contexts.
"""

from enum import Enum

from attrs import field, frozen


class SrtpProfile(Enum):
    """Protection profiles by their DTLS number (RFC 5764 section 4.1.2, RFC 7714 section 14.2),
    in our order of preference: GCM is cheaper here than CM with SHA-1."""

    AEAD_AES_128_GCM = 0x0007
    AEAD_AES_256_GCM = 0x0008
    AES128_CM_SHA1_80 = 0x0001

    @property
    def key_length(self) -> int:
        """Bytes of master key."""
        return 32 if self is SrtpProfile.AEAD_AES_256_GCM else 16

    @property
    def salt_length(self) -> int:
        """Bytes of master salt."""
        return 14 if self is SrtpProfile.AES128_CM_SHA1_80 else 12


@frozen(slots=True)
class SrtpKeys:
    """Master keys of one session, seen from our side. ``local`` protects what we send, ``remote``
    what we receive; each is key followed by salt, ``key_length + salt_length`` bytes."""

    profile: SrtpProfile
    local: bytes = field(repr=False)
    remote: bytes = field(repr=False)
