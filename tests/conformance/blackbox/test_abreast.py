"""Cases side by side do not get into one another's packets."""

from conformance.blackbox.abreast import in_order, taking_turns
from conformance.client import seeded
from transceiver.keying import SrtpKeys, SrtpProfile
from transceiver.srtp import SrtpContext, library, rtp

PROFILE = SrtpProfile.AES128_CM_SHA1_80


def _keys(seed: str) -> tuple[SrtpKeys, SrtpKeys]:
    entropy = seeded(seed)
    size = PROFILE.key_length + PROFILE.salt_length
    one, other = entropy(size), entropy(size)
    return SrtpKeys(PROFILE, one, other), SrtpKeys(PROFILE, other, one)


def _seal_and_open(place: int) -> int:
    """How many packets of a call come out as they went in."""
    near, far = (SrtpContext(keys) for keys in _keys(str(place)))
    right = 0
    for sequence in range(300):
        payload = bytes((place,)) * (20 + place * 20)
        fields = {"payload_type": 111, "marker": False, "timestamp": 0, "ssrc": place}
        packet = rtp.encode(rtp.RtpPacket(sequence=sequence, payload=payload, **fields))
        sealed = near.protect_rtp(packet)
        right += far.unprotect_rtp_untrusted(sealed) == packet
    return right


def test_answers_come_in_the_order_of_the_questions() -> None:
    assert in_order(range(20), lambda number: number * 2, 4) == list(range(0, 40, 2))
    assert in_order("abc", str.upper, 1) == ["A", "B", "C"]


def test_srtp_can_be_used_by_several_at_a_time() -> None:
    assert in_order(range(1, 7), _seal_and_open, 6) == [300] * 6


def test_all_is_as_before_when_they_are_done() -> None:
    before = library.seal, library.unseal
    with taking_turns():
        assert (library.seal, library.unseal) != before
    assert (library.seal, library.unseal) == before
