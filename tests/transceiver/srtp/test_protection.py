"""SRTP and SRTCP against the printed vectors, an oracle of our own, and hostile packets.

The oracle seals by RFC 7714 and RFC 3711 directly over ``cryptography``: it shares no code with
libsrtp. It is itself held to the vectors printed in those RFCs.
"""

import hmac
import json
from struct import pack

import pytest
from attrs import evolve
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus import corpus_path
from stunroute.errors import DecodeError
from stunroute.trace import Drop
from transceiver.config import SrtpLimits
from transceiver.keying import SrtpKeys, SrtpProfile
from transceiver.srtp import ProtectionError, SrtpContext, SrtpError

GCM = (SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AEAD_AES_256_GCM)
PROFILES = tuple(SrtpProfile)
every_profile = pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)

# --- the oracle -----------------------------------------------------------------------------------


def keystream(key: bytes, counter: bytes, length: int) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
    return encryptor.update(bytes(length)) + encryptor.finalize()


def derive(key: bytes, salt: bytes, label: int, length: int) -> bytes:
    """RFC 3711 section 4.3.3 with a key derivation rate of zero."""
    salted = bytearray(salt.ljust(14, b"\x00"))
    salted[7] ^= label
    return keystream(key, bytes(salted) + b"\x00\x00", length)


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


class Oracle:
    """Seals what a peer would. ``master`` is key and salt."""

    def __init__(self, profile: SrtpProfile, master: bytes) -> None:
        self.profile = profile
        self.key, self.salt = master[: profile.key_length], master[profile.key_length :]

    def _session(self, label: int) -> tuple[bytes, bytes, bytes]:
        cipher = derive(self.key, self.salt, label, self.profile.key_length)
        authentication = derive(self.key, self.salt, label + 1, 20)
        salt = derive(self.key, self.salt, label + 2, self.profile.salt_length)
        return cipher, authentication, salt

    def rtp(self, packet: bytes, rollover: int = 0, header: int = 12) -> bytes:
        cipher, authentication, salt = self._session(0)
        clear, payload = packet[:header], packet[header:]
        if self.profile in GCM:
            return clear + seal_rtp_gcm(cipher, salt, packet, rollover, header)
        iv = xor(
            salt + b"\x00\x00",
            bytes(4) + packet[8:12] + pack("!I", rollover) + packet[2:4] + b"\x00\x00",
        )
        sealed = clear + xor(payload, keystream(cipher, iv, len(payload)))
        tag = hmac.digest(authentication, sealed + pack("!I", rollover), "sha1")
        return sealed + tag[:10]

    def rtcp(self, packet: bytes, index: int) -> bytes:
        cipher, authentication, salt = self._session(3)
        flagged = pack("!I", index | 0x80000000)
        if self.profile in GCM:
            return seal_rtcp_gcm(cipher, salt, packet, index)
        iv = xor(salt + b"\x00\x00", bytes(4) + packet[4:8] + pack("!Q", index << 16))
        sealed = packet[:8] + xor(packet[8:], keystream(cipher, iv, len(packet) - 8)) + flagged
        return sealed + hmac.digest(authentication, sealed, "sha1")[:10]


def seal_rtp_gcm(
    cipher: bytes, salt: bytes, packet: bytes, rollover: int = 0, header: int = 12
) -> bytes:
    """RFC 7714 section 8.1 onward: what follows the header."""
    iv = xor(salt, b"\x00\x00" + packet[8:12] + pack("!I", rollover) + packet[2:4])
    return AESGCM(cipher).encrypt(iv, packet[header:], packet[:header])


def seal_rtcp_gcm(cipher: bytes, salt: bytes, packet: bytes, index: int) -> bytes:
    """RFC 7714 section 9.1 onward, encrypted: the whole packet."""
    flagged = pack("!I", index | 0x80000000)
    iv = xor(salt, b"\x00\x00" + packet[4:8] + b"\x00\x00" + pack("!I", index))
    return packet[:8] + AESGCM(cipher).encrypt(iv, packet[8:], packet[:8] + flagged) + flagged


# --- helpers --------------------------------------------------------------------------------------


def masters(profile: SrtpProfile) -> tuple[bytes, bytes]:
    length = profile.key_length + profile.salt_length
    return bytes(range(length)), bytes(range(100, 100 + length))


def context(profile: SrtpProfile, **limits: int) -> SrtpContext:
    """Our end; the peer of ``Oracle(profile, masters(profile)[1])``."""
    local, remote = masters(profile)
    return SrtpContext(SrtpKeys(profile, local, remote), SrtpLimits(**limits))


def peer_context(profile: SrtpProfile) -> SrtpContext:
    local, remote = masters(profile)
    return SrtpContext(SrtpKeys(profile, remote, local))


def oracle(profile: SrtpProfile) -> Oracle:
    return Oracle(profile, masters(profile)[1])


def rtp(sequence: int, ssrc: int = 0x11223344, payload: bytes = b"audio") -> bytes:
    return pack("!BBHII", 0x80, 111, sequence & 0xFFFF, sequence * 960, ssrc) + payload


def sealed(profile: SrtpProfile, index: int, ssrc: int = 0x11223344) -> bytes:
    """The packet with this index (rollover counter and sequence number)."""
    return oracle(profile).rtp(rtp(index, ssrc), index >> 16)


def rtcp(ssrc: int = 0x11223344) -> bytes:
    return pack("!BBHI", 0x80, 201, 1, ssrc)


def refused(operation, data: bytes) -> Drop:  # type: ignore[no-untyped-def]
    with pytest.raises(SrtpError) as caught:
        operation(data)
    assert isinstance(caught.value, DecodeError)
    assert str(caught.value) == caught.value.drop.value
    return caught.value.drop


# --- the oracle is right --------------------------------------------------------------------------

RFC7714_SALT = bytes.fromhex("517569642070726f2071756f")
RFC7714_RTP = bytes.fromhex(
    "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e697320646976697361"
    "20696e207061727465732074726573"
)
RFC7714_SRTP = {
    16: "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b"
    "36de3adf8833899d7f27beb16a9152cf765ee4390cce",
    32: "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f"
    "1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
}


@pytest.mark.parametrize("length", [16, 32])
def test_oracle_meets_rfc_7714_section_16(length: int) -> None:
    tail = seal_rtp_gcm(bytes(range(length)), RFC7714_SALT, RFC7714_RTP)
    assert (RFC7714_RTP[:12] + tail).hex() == RFC7714_SRTP[length]


def test_oracle_meets_rfc_7714_section_17() -> None:
    packet = bytes.fromhex(
        "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61"
        "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef"
    )
    assert seal_rtcp_gcm(bytes(range(16)), RFC7714_SALT, packet, 0x5D4).hex() == (
        "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda"
        "4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4"
    )


def test_oracle_meets_rfc_3711_appendix_b() -> None:
    stream = keystream(
        bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"),
        bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000"),
        48,
    )
    assert stream.hex() == (
        "e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab"
        "41e95b3bb0a2e8dd477901e4fca894c0"
    )
    key = bytes.fromhex("e1f97a0d3e018be0d64fa32c06de4139")
    salt = bytes.fromhex("0ec675ad498afeebb6960b3aabe6")
    assert derive(key, salt, 0, 16).hex() == "c61e7a93744f39ee10734afe3ff7a087"
    assert derive(key, salt, 2, 14).hex() == "30cbbc08863d8c85d49db34a9ae1"
    assert derive(key, salt, 1, 20).hex() == "cebe321f6ff7716b6fd4ab49af256a156d38baa4"


@pytest.mark.corpus
def test_oracle_meets_the_corpus_vectors() -> None:
    for vector in json.loads(corpus_path("vectors", "rfc7714_srtp.json").read_text())["vectors"]:
        packet = bytes.fromhex(vector["rtp"])
        tail = seal_rtp_gcm(bytes.fromhex(vector["key"]), bytes.fromhex(vector["salt"]), packet)
        assert (packet[:12] + tail).hex() == vector["srtp"]
    kdf = json.loads(corpus_path("vectors", "rfc3711.json").read_text())["kdf"]
    key, salt = bytes.fromhex(kdf["master_key"]), bytes.fromhex(kdf["master_salt"])
    assert derive(key, salt, 0, 16).hex() == kdf["cipher_key"]
    assert derive(key, salt, 2, 14).hex() == kdf["cipher_salt"]
    assert derive(key, salt, 1, len(kdf["auth_key"]) // 2).hex() == kdf["auth_key"]


# --- we agree with the oracle, both ways ----------------------------------------------------------


@every_profile
@given(
    sequence=st.integers(0, 65535), ssrc=st.integers(0, 2**32 - 1), payload=st.binary(max_size=200)
)
@settings(max_examples=40)
def test_rtp_seals_and_opens_as_the_oracle_does(
    profile: SrtpProfile, sequence: int, ssrc: int, payload: bytes
) -> None:
    packet = rtp(sequence, ssrc, payload)
    assert peer_context(profile).protect_rtp(packet) == oracle(profile).rtp(packet)
    assert context(profile).unprotect_rtp_untrusted(oracle(profile).rtp(packet)) == packet


@every_profile
def test_rtp_header_with_csrcs_and_extension_stays_clear(profile: SrtpProfile) -> None:
    head = pack("!BBHII", 0x92, 111, 7, 0, 5) + b"CSRCcsrc" + bytes.fromhex("bede000110ff0000")
    packet = head + b"payload"
    wire = oracle(profile).rtp(packet, header=len(head))
    assert wire[: len(head)] == head
    assert peer_context(profile).protect_rtp(packet) == wire
    assert context(profile).unprotect_rtp_untrusted(wire) == packet


@every_profile
def test_rtcp_seals_and_opens_as_the_oracle_does(profile: SrtpProfile) -> None:
    sender, receiver = peer_context(profile), context(profile)
    for index in range(1, 5):
        packet = rtcp() + bytes(4 * index)
        wire = oracle(profile).rtcp(packet, index)
        assert sender.protect_rtcp(packet) == wire
        assert receiver.unprotect_rtcp_untrusted(wire) == packet


@every_profile
def test_both_directions_use_their_own_key(profile: SrtpProfile) -> None:
    ours = context(profile)
    assert peer_context(profile).unprotect_rtp_untrusted(ours.protect_rtp(rtp(1))) == rtp(1)
    assert refused(ours.unprotect_rtp_untrusted, ours.protect_rtp(rtp(2))) is (
        Drop.SRTP_AUTHENTICATION
    )


# --- rollover -------------------------------------------------------------------------------------


def opens(receiver: SrtpContext, profile: SrtpProfile, index: int) -> bool:
    try:
        return receiver.unprotect_rtp_untrusted(sealed(profile, index)) == rtp(index)
    except SrtpError:
        return False


@every_profile
def test_rollover_in_order(profile: SrtpProfile) -> None:
    """SRTP 1: the sequence number wraps and nothing is lost."""
    receiver = context(profile)
    assert all(opens(receiver, profile, index) for index in range(65500, 65600))


@every_profile
@pytest.mark.parametrize("first", [65536, 65537, 65536 + 500, 65536 + 32766])
def test_rollover_when_all_before_the_wrap_is_lost(profile: SrtpProfile, first: int) -> None:
    """SRTP 1: the source began near 65535 and its first packets never came."""
    receiver = context(profile)
    assert opens(receiver, profile, first)
    assert all(opens(receiver, profile, index) for index in range(first + 1, first + 20))


@every_profile
@pytest.mark.parametrize(
    "order",
    [
        (65536, 65535, 65537),
        (65537, 65535, 65536, 65534, 65538),
        (65535, 65536, 65534, 65537),
        (65533, 65535, 65536, 65537, 65534, 65538),
    ],
)
def test_rollover_when_the_first_packets_are_reordered(
    profile: SrtpProfile, order: tuple[int, ...]
) -> None:
    """SRTP 1: packets from both sides of the wrap come mixed."""
    receiver = context(profile)
    assert [opens(receiver, profile, index) for index in order] == [True] * len(order)
    assert not any(opens(receiver, profile, index) for index in order)


@every_profile
def test_burst_loss_across_the_wrap(profile: SrtpProfile) -> None:
    """SRTP 1: up to half the range of sequence numbers may be missing in one piece."""
    receiver = context(profile)
    for index in (9, 30000, 60000, 65545, 98000, 99000, 131067, 163000):
        assert opens(receiver, profile, index), index


@every_profile
def test_rollover_of_a_source_first_heard_in_rtcp(profile: SrtpProfile) -> None:
    """SRTP 1: its report opened the source before its media did."""
    receiver = context(profile)
    receiver.unprotect_rtcp_untrusted(oracle(profile).rtcp(rtcp(), 1))
    assert opens(receiver, profile, 65536)
    assert opens(receiver, profile, 65535)


@every_profile
def test_second_guess_leaves_no_trace_where_it_fails(profile: SrtpProfile) -> None:
    """SRTP 1: a forged packet past the wrap must not spoil the source for its real first one."""
    receiver = context(profile)
    forged = bytearray(sealed(profile, 65536 + 3))
    forged[-1] ^= 1
    assert refused(receiver.unprotect_rtp_untrusted, bytes(forged)) is Drop.SRTP_AUTHENTICATION
    assert opens(receiver, profile, 2)
    assert opens(receiver, profile, 40000)
    assert opens(receiver, profile, 65536)


@every_profile
def test_a_forged_first_packet_takes_no_guess_from_the_real_one(profile: SrtpProfile) -> None:
    """SRTP 1 and 2: who forges a source's first packet has not made the source known; its real
    first packet, from past the wrap, opens all the same."""
    receiver = context(profile)
    for sequence in (1, 65000):
        forged = bytearray(sealed(profile, sequence))
        forged[-1] ^= 1
        assert refused(receiver.unprotect_rtp_untrusted, bytes(forged)) is Drop.SRTP_AUTHENTICATION
    assert opens(receiver, profile, 65536 + 7)


@every_profile
def test_second_guesses_are_bounded(profile: SrtpProfile) -> None:
    receiver = context(profile, rollover_guesses=3)
    for _ in range(3):
        refused(receiver.unprotect_rtp_untrusted, rtp(1, payload=bytes(40)))
    assert not opens(receiver, profile, 65536)
    assert opens(receiver, profile, 1)


@every_profile
def test_a_known_source_gets_no_second_guess(profile: SrtpProfile) -> None:
    receiver = context(profile)
    assert opens(receiver, profile, 5)
    assert not opens(receiver, profile, 65536 + 6)


@every_profile
def test_rollover_of_what_we_send(profile: SrtpProfile) -> None:
    """rfc3711/3.3.1/2: the counter goes into the nonce and under the tag from the wrap on."""
    sender = peer_context(profile)
    for index in (*range(65530, 65540), 65536 + 30000, 65536 + 60000, 2 * 65536 + 5):
        assert sender.protect_rtp(rtp(index)) == sealed(profile, index)


# --- replay ---------------------------------------------------------------------------------------


@every_profile
def test_replayed_packets_are_dropped(profile: SrtpProfile) -> None:
    receiver = context(profile)
    for index in (10, 12, 11):
        assert opens(receiver, profile, index)
        wire = sealed(profile, index)
        assert refused(receiver.unprotect_rtp_untrusted, wire) is Drop.SRTP_REPLAY
    report = oracle(profile).rtcp(rtcp(), 1)
    receiver.unprotect_rtcp_untrusted(report)
    assert refused(receiver.unprotect_rtcp_untrusted, report) is Drop.SRTP_REPLAY


@every_profile
def test_window_is_as_wide_as_its_setting(profile: SrtpProfile) -> None:
    receiver = context(profile, replay_window=256)
    assert opens(receiver, profile, 1000)
    assert opens(receiver, profile, 1000 - 255)
    assert refused(receiver.unprotect_rtp_untrusted, sealed(profile, 1000 - 256)) is (
        Drop.SRTP_TOO_OLD
    )


@every_profile
def test_forged_packets_do_not_move_the_window(profile: SrtpProfile) -> None:
    """SRTP 2: nothing moves before the tag has verified."""
    receiver = context(profile, replay_window=64)
    assert opens(receiver, profile, 100)
    for ahead in (101, 500, 5000, 30000):
        forged = bytearray(sealed(profile, ahead))
        forged[-1] ^= 0x80
        assert refused(receiver.unprotect_rtp_untrusted, bytes(forged)) is Drop.SRTP_AUTHENTICATION
    assert opens(receiver, profile, 99)
    assert opens(receiver, profile, 101)
    report = bytearray(oracle(profile).rtcp(rtcp(), 5000))
    report[8] ^= 1
    assert refused(receiver.unprotect_rtcp_untrusted, bytes(report)) is Drop.SRTP_AUTHENTICATION
    assert receiver.unprotect_rtcp_untrusted(oracle(profile).rtcp(rtcp(), 1))


@every_profile
def test_rtcp_window_is_per_source(profile: SrtpProfile) -> None:
    """SRTP 2: one source far ahead does not make another's reports old."""
    receiver = context(profile)
    for ssrc, index in ((1, 9000), (2, 1), (3, 4000), (2, 2), (1, 8999), (2, 3)):
        receiver.unprotect_rtcp_untrusted(oracle(profile).rtcp(rtcp(ssrc), index))
    assert refused(receiver.unprotect_rtcp_untrusted, oracle(profile).rtcp(rtcp(1), 10)) is (
        Drop.SRTP_TOO_OLD
    )
    assert refused(receiver.unprotect_rtcp_untrusted, oracle(profile).rtcp(rtcp(2), 1)) is (
        Drop.SRTP_REPLAY
    )


# --- hostile packets ------------------------------------------------------------------------------


@every_profile
def test_too_short_for_header_and_tag(profile: SrtpProfile) -> None:
    """SRTP 2: no packet reaches the library that cannot hold its own tag."""
    receiver = context(profile)
    wire = oracle(profile).rtp(rtp(1, payload=b""))
    for length in range(len(wire)):
        drop = refused(receiver.unprotect_rtp_untrusted, wire[:length])
        assert drop is Drop.SRTP_TOO_SHORT
    assert receiver.unprotect_rtp_untrusted(wire) == rtp(1, payload=b"")
    wire = oracle(profile).rtcp(rtcp(), 1)
    for length in range(len(wire)):
        assert refused(receiver.unprotect_rtcp_untrusted, wire[:length]) is Drop.SRTP_TOO_SHORT


@every_profile
@pytest.mark.parametrize("first", [0x8F, 0x90, 0x9F])
def test_header_that_claims_more_than_there_is(profile: SrtpProfile, first: int) -> None:
    """SRTP 2: contributing sources and an extension count as header."""
    wire = bytes((first,)) + sealed(profile, 1)[1:28] + b"\xff\xff"
    assert refused(context(profile).unprotect_rtp_untrusted, wire) is Drop.SRTP_TOO_SHORT


@every_profile
def test_longer_than_any_datagram_of_ours(profile: SrtpProfile) -> None:
    receiver = context(profile)
    assert refused(receiver.unprotect_rtp_untrusted, rtp(1) + bytes(1500)) is Drop.SRTP_TOO_LONG
    assert refused(receiver.unprotect_rtcp_untrusted, rtcp() + bytes(1500)) is Drop.SRTP_TOO_LONG


@every_profile
def test_rtcp_that_is_not_encrypted_is_refused(profile: SrtpProfile) -> None:
    wire = bytearray(oracle(profile).rtcp(rtcp(), 1))
    at = -4 if profile in GCM else -14
    wire[at] &= 0x7F
    assert refused(context(profile).unprotect_rtcp_untrusted, bytes(wire)) in (
        Drop.SRTP_REFUSED,
        Drop.SRTP_AUTHENTICATION,
    )


def test_library_refusal_without_a_name_of_its_own() -> None:
    profile = SrtpProfile.AES128_CM_SHA1_80
    wire = bytearray(oracle(profile).rtcp(rtcp(), 1))
    wire[-14] &= 0x7F
    assert refused(context(profile).unprotect_rtcp_untrusted, bytes(wire)) is Drop.SRTP_REFUSED


@every_profile
def test_sources_are_bounded_and_none_is_forgotten(profile: SrtpProfile) -> None:
    receiver = context(profile, sources=3)
    assert receiver.unprotect_rtp_untrusted(sealed(profile, 1, ssrc=1))
    assert receiver.unprotect_rtp_untrusted(sealed(profile, 1, ssrc=2))
    assert receiver.unprotect_rtcp_untrusted(oracle(profile).rtcp(rtcp(3), 1))
    for _ in range(3):
        assert refused(receiver.unprotect_rtp_untrusted, sealed(profile, 1, ssrc=4)) is (
            Drop.SRTP_SOURCES
        )
        assert refused(receiver.unprotect_rtcp_untrusted, oracle(profile).rtcp(rtcp(4), 1)) is (
            Drop.SRTP_SOURCES
        )
    assert receiver.unprotect_rtp_untrusted(sealed(profile, 1, ssrc=3))
    assert refused(receiver.unprotect_rtp_untrusted, sealed(profile, 1, ssrc=1)) is Drop.SRTP_REPLAY


@every_profile
def test_forged_sources_take_no_room(profile: SrtpProfile) -> None:
    receiver = context(profile, sources=2)
    for ssrc in range(100, 150):
        refused(receiver.unprotect_rtp_untrusted, rtp(1, ssrc, bytes(40)))
        refused(receiver.unprotect_rtcp_untrusted, rtcp(ssrc) + bytes(40))
    assert opens(receiver, profile, 1)


@every_profile
@given(data=st.binary(max_size=120))
@settings(max_examples=60)
def test_noise_raises_nothing_else(profile: SrtpProfile, data: bytes) -> None:
    receiver = context(profile)
    for prefix in (b"", b"\x80\x6f", b"\x90\x6f", b"\x80\xc8\x00\x06"):
        refused(receiver.unprotect_rtp_untrusted, prefix + data)
        refused(receiver.unprotect_rtcp_untrusted, prefix + data)


@pytest.mark.corpus
def test_fuzz_corpus_raises_nothing_else() -> None:
    receivers = [context(profile) for profile in PROFILES]
    for path in sorted(corpus_path("fuzz", "libsrtp-fuzz", "corpus").iterdir()):
        data = path.read_bytes()
        for receiver in receivers:
            refused(receiver.unprotect_rtp_untrusted, data)
            refused(receiver.unprotect_rtcp_untrusted, data)


@every_profile
def test_every_bit_counts(profile: SrtpProfile) -> None:
    receiver = context(profile)
    wire = sealed(profile, 9)
    for bit in range(8 * len(wire)):
        changed = bytearray(wire)
        changed[bit // 8] ^= 1 << bit % 8
        refused(receiver.unprotect_rtp_untrusted, bytes(changed))
    assert opens(receiver, profile, 9)


# --- our own mistakes -----------------------------------------------------------------------------


@every_profile
def test_what_cannot_be_protected_raises(profile: SrtpProfile) -> None:
    sender = context(profile)
    sender.protect_rtp(rtp(1))
    for packet in (rtp(1), b"", rtp(2) + bytes(1500)):
        with pytest.raises(ProtectionError):
            sender.protect_rtp(packet)
    for packet in (b"", rtcp() + bytes(1500)):
        with pytest.raises(ProtectionError):
            sender.protect_rtcp(packet)


@every_profile
def test_keys_have_the_length_of_their_profile_and_stay_unseen(profile: SrtpProfile) -> None:
    local, remote = masters(profile)
    keys = SrtpKeys(profile, local, remote)
    for wrong in (evolve(keys, local=local[:-1]), evolve(keys, remote=remote + b"x")):
        with pytest.raises(ValueError, match=profile.name):
            SrtpContext(wrong)
    assert local.hex() not in repr(SrtpContext(keys))
    assert repr(local) not in repr(SrtpContext(keys))
