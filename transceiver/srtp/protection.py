"""SRTP and SRTCP (RFC 3711, RFC 7714) over libsrtp.

One context serves one session: every source of the peer comes under one master key, every source
of ours under the other. libsrtp makes a source's state from a template when its first packet
authenticates and never before, moves its replay windows only after authentication, and keeps those
of SRTCP per source as well. What it leaves to its caller is done here:

* A packet too short for its tag, or longer than the library's buffer, is refused unseen.
* The number of sources is bounded. A source beyond the bound is refused rather than traded for an
  older one, because forgetting a source would forget its replay window.
* The rollover counter of a new source is guessed as zero, and the guess cannot be corrected from
  inside: a source that begins just below 65536, and whose packets before the wrap are lost or come
  late, would never authenticate. So when the first packet of a source fails and its sequence number
  is in the lower half, it is tried once more as if the counter stood at one. The Python binding has
  no call for that, but the state can be led there: a packet made up under the peer's key, half a
  cycle behind, is fed to the context first. It never leaves this module, and a trial context is
  asked before the real one is touched. A guess costs as much as a dozen ordinary packets, so a
  session has a fixed number of them and forgers can use up no more.
"""

from collections.abc import Callable

import pylibsrtp
from attrs import define, field

from stunroute.errors import DecodeError, StunrouteError
from stunroute.trace import Drop
from transceiver.config import SrtpLimits
from transceiver.keying import SrtpKeys, SrtpProfile

from . import library, rtp

_PROFILES = {
    SrtpProfile.AEAD_AES_128_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    SrtpProfile.AEAD_AES_256_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    SrtpProfile.AES128_CM_SHA1_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}

_TAG_LENGTH = {
    SrtpProfile.AEAD_AES_128_GCM: 16,
    SrtpProfile.AEAD_AES_256_GCM: 16,
    SrtpProfile.AES128_CM_SHA1_80: 10,
}

# The binding reports by message alone.
_DROPS = {
    "authentication failure": Drop.SRTP_AUTHENTICATION,
    "cipher failure": Drop.SRTP_AUTHENTICATION,
    "replay check failed (bad index)": Drop.SRTP_REPLAY,
    "replay check failed (index too old)": Drop.SRTP_TOO_OLD,
}

_LATEST_SECOND_GUESS = b"\x7f\xfe"  # sequence number with room for another 2**15 above it
_RTCP_HEADER = 8  # first header and SSRC, in the clear
_RTCP_INDEX = 4  # E flag and SRTCP index


class SrtpError(DecodeError):
    """A packet that protection refuses; ``drop`` says why."""

    def __init__(self, drop: Drop) -> None:
        super().__init__(drop.value)
        self.drop = drop


class ProtectionError(StunrouteError):
    """Our own packet cannot be protected: it is no RTP or RTCP, is too long, or repeats a sequence
    number. Always a caller's mistake."""


@define(slots=True)
class SrtpContext:
    """Protection of one session in both directions.

    The ``unprotect`` functions raise SrtpError and nothing else; whatever they refuse leaves no
    trace in any state. Packets are whole datagrams without the relay leg's header.
    """

    keys: SrtpKeys
    limits: SrtpLimits = field(factory=SrtpLimits)
    _outbound: pylibsrtp.Session = field(init=False, repr=False)
    _inbound: pylibsrtp.Session = field(init=False, repr=False)
    _sealing: library.Handle = field(init=False, repr=False)
    _opening: library.Handle = field(init=False, repr=False)
    _sources: set[bytes] = field(factory=set, init=False)
    _rtp_sources: set[bytes] = field(factory=set, init=False)
    _newest: bytes = field(default=b"", init=False)  # one of those, which the next is likely of
    _guesses: int = field(default=0, init=False)
    _shortest_rtcp: int = field(init=False)
    _tag: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        profile = self.keys.profile
        expected = profile.key_length + profile.salt_length
        if len(self.keys.local) != expected or len(self.keys.remote) != expected:
            raise ValueError(f"{profile.name} takes {expected} octets of key and salt")
        self._outbound = self._session(self.keys.local, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self._inbound = self._session(self.keys.remote, pylibsrtp.Policy.SSRC_ANY_INBOUND)
        self._sealing = library.handle(self._outbound)
        self._opening = library.handle(self._inbound)
        self._tag = _TAG_LENGTH[profile]
        self._shortest_rtcp = _RTCP_HEADER + _RTCP_INDEX + self._tag

    def _session(self, key: bytes, direction: int) -> pylibsrtp.Session:
        policy = pylibsrtp.Policy(
            key=key, ssrc_type=direction, srtp_profile=_PROFILES[self.keys.profile]
        )
        policy.window_size = self.limits.replay_window
        return pylibsrtp.Session(policy)

    def protect_rtp(self, packet: bytes) -> bytes:
        """Seal one RTP packet. Raises ProtectionError."""
        if len(packet) > library.LONGEST_CLEAR:
            raise ProtectionError("cannot protect an RTP packet: it is too long")
        try:
            return library.seal(self._sealing, packet)
        except pylibsrtp.Error as error:
            raise ProtectionError(f"cannot protect an RTP packet: {error}") from error

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Seal one RTCP datagram, compound or reduced-size. Raises ProtectionError."""
        try:
            return self._outbound.protect_rtcp(packet)
        except (pylibsrtp.Error, ValueError) as error:
            raise ProtectionError(f"cannot protect an RTCP packet: {error}") from error

    def unprotect_rtp_untrusted(self, data: bytes) -> bytes:
        """Open one SRTP packet. Raises SrtpError."""
        length = len(data)
        if length > library.LONGEST_SEALED:
            raise SrtpError(Drop.SRTP_TOO_LONG)
        # Most packets have the fixed header alone, which needs no reading to know its length.
        if length and data[0] == rtp.PLAIN:
            clear = rtp.HEADER_LENGTH
        else:
            try:
                clear = rtp.header_length_untrusted(data)
            except DecodeError as error:
                raise SrtpError(Drop.SRTP_TOO_SHORT) from error
        if length < clear + self._tag:
            raise SrtpError(Drop.SRTP_TOO_SHORT)
        source = data[8:12]
        if source == self._newest or source in self._rtp_sources:
            if source != self._newest:
                self._newest = source
            try:
                return library.unseal(self._opening, data)
            except pylibsrtp.Error as error:
                raise _refusal(error) from error
        self._admit_untrusted(source)
        try:
            packet = self._open_rtp(data)
        except SrtpError as error:
            if (
                error.drop is not Drop.SRTP_AUTHENTICATION
                or data[2:4] > _LATEST_SECOND_GUESS
                or self._guesses >= self.limits.rollover_guesses
            ):
                raise
            self._guesses += 1
            packet = self._open_after_wrap_untrusted(data)
        self._sources.add(source)
        self._rtp_sources.add(source)
        return packet

    def unprotect_rtcp_untrusted(self, data: bytes) -> bytes:
        """Open one SRTCP datagram. Raises SrtpError."""
        if len(data) > library.LONGEST_SEALED:
            raise SrtpError(Drop.SRTP_TOO_LONG)
        if len(data) < self._shortest_rtcp:
            raise SrtpError(Drop.SRTP_TOO_SHORT)
        source = data[4:8]
        self._admit_untrusted(source)
        packet = _open(self._inbound.unprotect_rtcp, data)
        self._sources.add(source)
        return packet

    def _admit_untrusted(self, source: bytes) -> None:
        if source not in self._sources and len(self._sources) >= self.limits.sources:
            raise SrtpError(Drop.SRTP_SOURCES)

    def _open_after_wrap_untrusted(self, data: bytes) -> bytes:
        """Open the first packet of a source as one sent after its first wrap."""
        # The counter of a packet becomes one more where it lies over 2**15 below the newest index.
        sequence = int.from_bytes(data[2:4], "big") + 0x8001
        stand_in = b"\x80\x00" + sequence.to_bytes(2, "big") + bytes(4) + data[8:12] + bytes(4)
        made_up = self._session(self.keys.remote, pylibsrtp.Policy.SSRC_ANY_OUTBOUND).protect(
            stand_in
        )
        trial = self._session(self.keys.remote, pylibsrtp.Policy.SSRC_ANY_INBOUND)
        trial.unprotect(made_up)
        _open(trial.unprotect, data)
        self._inbound.unprotect(made_up)
        return self._open_rtp(data)

    def _open_rtp(self, data: bytes) -> bytes:
        try:
            return library.unseal(self._opening, data)
        except pylibsrtp.Error as error:
            raise _refusal(error) from error


def _open(unprotect: Callable[[bytes], bytes], data: bytes) -> bytes:
    try:
        return unprotect(data)
    except pylibsrtp.Error as error:
        raise _refusal(error) from error


def _refusal(error: pylibsrtp.Error) -> SrtpError:
    return SrtpError(_DROPS.get(str(error), Drop.SRTP_REFUSED))
