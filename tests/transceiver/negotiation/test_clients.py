"""What clients in the field offer, and what other projects keep as examples."""

import contextlib

import pytest

from corpus import corpus_path
from negotiating import FRESH, LOCAL, PLAIN, VOICE_ALONE, answer_to, check
from sdp_strategies import OFFERS
from transceiver.dtls import Role
from transceiver.errors import OfferError
from transceiver.negotiation import (
    DataChoice,
    Direction,
    LocalDescription,
    negotiate,
    parse_fragment_untrusted,
    renegotiate,
    restart_by,
)
from transceiver.sdp import parse_untrusted

EXPECTED = {
    "aiortc": ("opus", 96, "0", 1, Role.CLIENT, Direction.SENDRECV, "pL4q"),
    "aiortc-data-alone": (None, None, None, None, Role.CLIENT, Direction.INACTIVE, "fNEh"),
    "chromium": ("opus", 111, "0", 4, Role.CLIENT, Direction.SENDRECV, "k3Yt"),
    "chromium-data-alone": (None, None, None, None, Role.CLIENT, Direction.INACTIVE, "57BT"),
    "chromium-data-first": ("opus", 111, "1", 4, Role.CLIENT, Direction.SENDRECV, "K4Oa"),
    "chromium-video-first": ("opus", 111, "a", None, Role.CLIENT, Direction.RECVONLY, "k3Yt"),
    "firefox": ("opus", 109, "0", 3, Role.CLIENT, Direction.SENDRECV, "7ae04c1d"),
    "firefox-data-alone": (None, None, None, None, Role.CLIENT, Direction.INACTIVE, "a2278214"),
    "firefox-data-first": ("opus", 109, "1", 3, Role.CLIENT, Direction.SENDRECV, "f425d508"),
    "pion": ("opus", 111, "0", None, Role.CLIENT, Direction.SENDRECV, "QfVhUxRkLmTzAbCd"),
    "safari": ("opus", 111, "0", 4, Role.CLIENT, Direction.SENDONLY, "Zq+9"),
    "session-level": ("opus", 96, None, None, Role.SERVER, Direction.SENDRECV, "x_9-"),
}
DATA = {
    "aiortc-data-alone": DataChoice("0", 0, 5000, 262144),
    "chromium": DataChoice("1", 1, 5000, 262144),
    "chromium-data-alone": DataChoice("0", 0, 5000, 262144),
    "chromium-data-first": DataChoice("0", 0, 5000, 262144),
    "chromium-video-first": DataChoice("d", 1, 5000, 65536),
    "firefox": DataChoice("1", 1, 5000, 1073741823),
    "firefox-data-alone": DataChoice("0", 0, 5000, 1073741823),
    "firefox-data-first": DataChoice("0", 0, 5000, 1073741823),
}


@pytest.mark.parametrize("name", OFFERS)
def test_each_kind_of_client_is_answered(name: str) -> None:
    settled = answer_to(OFFERS[name])
    codec = settled.codec
    assert EXPECTED[name] == (
        codec and codec.name,
        codec and codec.payload_type,
        settled.mid,
        settled.mid_extension_id,
        settled.role,
        settled.direction,
        settled.remote.ufrag.decode(),
    )
    assert settled.data == DATA.get(name)


# --- the corpus -------------------------------------------------------------------------------


@pytest.mark.corpus
def test_real_offers_are_answered() -> None:
    paths = sorted(corpus_path("pcaps", "clients").glob("*.offer.sdp"))
    assert paths
    for path in paths:
        settled = answer_to(path.read_bytes().decode())
        assert settled.codec.name == "opus", path


@pytest.mark.corpus
@pytest.mark.parametrize("local", [LOCAL, VOICE_ALONE], ids=["data and all", "no data"])
@pytest.mark.parametrize("part", ["sdp", "fuzz"])
def test_other_projects_examples_are_answered_or_refused(
    part: str, local: LocalDescription
) -> None:
    """Each as a first offer, as a later one, and as a fragment."""
    first = answer_to(PLAIN, local)
    answered = 0
    for path in sorted(corpus_path(part).rglob("*")):
        if not path.is_file() or "sdp" not in str(path.relative_to(corpus_path(part).parent)):
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        with contextlib.suppress(OfferError):
            restart_by(first, parse_fragment_untrusted(text), FRESH)
        try:
            offer = parse_untrusted(text)
            with contextlib.suppress(OfferError):
                check(offer, renegotiate(first, offer, local))
            settled = negotiate(offer, local)
        except OfferError:
            continue
        check(offer, settled)
        again = renegotiate(settled, offer, local)
        check(offer, again)
        assert not again.restarted
        assert again.data == settled.data
        answered += 1
    assert answered, "nothing of the corpus was as good as an offer"
