"""Trails in words: who stood where, what was said, and what the keys open."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance import catalogue
from conformance.case import Profile
from conformance.report.decoding import MOST_TOLD, Remark, tell
from conformance.report.opening import Opener, records, sctp
from conformance.trail import Crossing, Note
from reports import CLIENT, HOSTILE, SERVER, a_result, played, received, sent
from stunroute import forward, stun
from stunroute.address import Address
from transceiver.sctp import packet
from transceiver.sctp.chunks import Abort, Data, Init

RELAY = {"profiles": (Profile.RELAY,)}
INNER, NODE = Address.of("10.1.0.1", 4000), Address.of("10.1.0.11", 5000)
CHECK = stun.build(stun.Method.BINDING, stun.MessageClass.REQUEST, bytes(12), [])


def titles(result: object) -> list[str]:
    return [lane.title for lane in tell(result).lanes]  # type: ignore[arg-type]


def test_a_client_stands_left_and_the_server_right() -> None:
    account = tell(a_result(entries=[sent(1.0, CHECK, "check"), received(1.5, b"")]))
    assert [(lane.title, lane.below) for lane in account.lanes] == [
        ("client", "192.0.2.33:50000"),
        ("server", "203.0.113.1:3478"),
    ]
    there, back = account.datagrams
    assert (there.source, there.destination, there.sent, there.at) == (0, 1, True, 0.0)
    assert (back.source, back.destination, back.sent, back.at) == (1, 0, False, 0.5)
    assert (there.label, there.note, there.size, there.number) == (
        "Binding request",
        "check",
        28,
        1,
    )
    assert back.label == "empty datagram"


def test_many_sockets_share_the_last_lane() -> None:
    clients = [Address.of("192.0.2.33", 50000 + number) for number in range(6)]
    account = tell(a_result(entries=[sent(0.0, b"", near=each) for each in clients]))
    assert [lane.title for lane in account.lanes] == [
        *("client 1", "client 2", "clients 3 to 6", "server"),
    ]
    assert [told.source for told in account.datagrams] == [0, 1, 2, 2, 2, 2]
    assert account.lanes[2].below == "4 addresses"


def test_a_relay_stands_between_clients_and_nodes() -> None:
    leg = forward.encode(CLIENT, SERVER)
    entries = [
        sent(0.0, CHECK),
        Crossing(0.1, NODE, INNER, False, leg + CHECK),
        Crossing(0.2, NODE, INNER, True, leg + CHECK),
        Crossing(0.3, NODE, INNER, True, b"no header"),
        Crossing(0.4, NODE, INNER, True, leg),
        received(0.5, CHECK),
    ]
    account = tell(a_result(entries=entries, **RELAY))
    assert [lane.title for lane in account.lanes] == ["client", "relay", "node"]
    assert [(told.source, told.destination) for told in account.datagrams] == [
        *((0, 1), (1, 2), (2, 1), (2, 1), (2, 1), (1, 0)),
    ]
    assert [told.label for told in account.datagrams] == [
        *("Binding request", "Binding request", "Binding request", "no header of the leg"),
        *("releases the flow", "Binding request"),
    ]
    assert account.datagrams[1].text.startswith(
        "leg header, from 192.0.2.33:50000 by way of 203.0.113.1:3478; STUN Binding request"
    )


def test_a_client_that_sends_what_looks_like_a_leg_is_no_node() -> None:
    forged = forward.encode(CLIENT, SERVER) + CHECK
    entries = [sent(0.0, CHECK), sent(0.1, forged)]
    assert titles(a_result(entries=entries, **RELAY)) == ["client", "relay"]


def test_notes_keep_their_first_line_apart_and_no_password() -> None:
    entries = [Note(3.0, "answer\nv=0\na=ice-pwd:sEcReTpAsSwOrD"), sent(3.0, b"")]
    assert tell(a_result(entries=entries)).rows[0] == Remark(0.0, "answer", "v=0\na=ice-pwd:***")


def test_a_handshake_is_told_by_its_messages() -> None:
    labels = [told.label for told in tell(played("rfc5764/3/before-dtls")).datagrams]
    assert "ClientHello" in labels
    assert "ChangeCipherSpec, Finished" in labels
    assert not any("sealed" in label for label in labels)


def test_what_is_inside_a_channel_is_told() -> None:
    account = tell(played("rfc8832/5.1/label-that-is-no-text"))
    labels = " ".join(told.label for told in account.datagrams)
    for chunk in ("INIT", "INIT ACK", "COOKIE ECHO", "COOKIE ACK", "DATA DCEP OPEN", "SACK"):
        assert chunk in labels


def test_without_keys_what_is_sealed_stays_sealed() -> None:
    result = played("rfc8832/5.1/label-that-is-no-text")
    labels = " ".join(told.label for told in tell(a_result(entries=result.trail.entries)).datagrams)
    assert "sealed application data" in labels
    assert "COOKIE" not in labels


@pytest.mark.parametrize(
    "line", ["", "CLIENT_RANDOM", "CLIENT_RANDOM zz zz", "CLIENT_RANDOM 00 00", "x y z"]
)
def test_a_key_log_that_is_none_opens_nothing(line: str) -> None:
    crossings = played("rfc5764/3/before-dtls").trail.entries
    datagrams = [each.data for each in crossings if isinstance(each, Crossing)]
    opener = Opener.of([line], datagrams)
    sealed = [each for datagram in datagrams for each in records(datagram) if each.epoch]
    assert sealed
    assert all(opener.open(each) is None for each in sealed)


def test_chunks_are_told_in_words() -> None:
    found = packet.encode(
        1, 2, 3, [Init(1, 2, 3, 4, 5), Data(1, 7, 0, 51, b"abc", True, True), Abort(())]
    )
    assert sctp(found) == ["INIT", "DATA text, stream 7, 3 bytes", "ABORT"]
    assert sctp(found[:-1] + b"\xff") == ["SCTP with a wrong checksum"]
    assert sctp(b"")[0].startswith("not SCTP")


def test_a_long_trail_is_told_in_part() -> None:
    account = tell(a_result(entries=[sent(0.0, b"x")] * (MOST_TOLD + 7)))
    assert len(account.datagrams) == MOST_TOLD
    assert account.left_out == 7


def test_hostile_names_are_shown_as_escapes() -> None:
    name = HOSTILE.encode(errors="replace")
    request = stun.build(
        stun.Method.BINDING, stun.MessageClass.REQUEST, bytes(12), [(stun.Attribute.USERNAME, name)]
    )
    (told,) = tell(a_result(entries=[received(0.0, request)])).datagrams
    assert told.text.isascii()
    assert "\x1b" not in told.text


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.binary(max_size=80)
            | st.binary(max_size=40).map(lambda tail: b"\x16\xfe\xfd" + bytes(8) + tail)
            | st.binary(max_size=40).map(lambda tail: b"\x17\xfe\xfd\x00\x01" + tail)
            | st.binary(max_size=40).map(lambda tail: forward.encode(CLIENT, SERVER) + tail),
            st.sampled_from([CLIENT, NODE]),
            st.sampled_from([SERVER, INNER, CLIENT]),
            st.booleans(),
            st.floats(0, 100),
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_anything_can_be_told(
    crossed: list[tuple[bytes, Address, Address, bool, float]], relay: bool
) -> None:
    entries = [Crossing(at, near, far, way, data) for data, near, far, way, at in crossed]
    account = tell(a_result(entries=entries, **(RELAY if relay else {})))
    assert len(account.datagrams) == len(crossed)
    lanes = range(len(account.lanes))
    assert all(told.source in lanes and told.destination in lanes for told in account.datagrams)
    assert all(told.label for told in account.datagrams)


def test_every_group_of_the_catalogue_can_be_told() -> None:
    """One case of each part, played: nothing there is a surprise for the words."""
    parts = {each.name.split("/")[0]: each.name for each in catalogue.load()}
    for name in parts.values():
        result = played(name)
        assert len(tell(result).datagrams) <= len(result.trail.entries)
