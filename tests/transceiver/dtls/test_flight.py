import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_pair import Pair
from transceiver.config import DtlsLimits
from transceiver.dtls.flight import (
    LEAST_MTU,
    ChangeCipherSpec,
    Flight,
    Part,
    Protected,
    Sender,
    pack,
)
from transceiver.dtls.keys import protection
from transceiver.dtls.messages import Fragment, Message, decode_fragment_untrusted
from transceiver.dtls.parameters import SUITES
from transceiver.dtls.reassembly import Reassembly
from transceiver.dtls.record import ContentType, decode_untrusted

PARTS = st.lists(
    st.one_of(
        st.builds(lambda n, body: (n, body), st.booleans(), st.binary(max_size=900)),
        st.none(),
    ),
    max_size=6,
)


def armed() -> Sender:
    sender = Sender()
    sender.arm(protection(SUITES[0], bytes(16), bytes(4)))
    return sender


@given(description=PARTS, mtu=st.integers(150, 1500))
def test_packing(description: list[tuple[bool, bytes] | None], mtu: int) -> None:
    """Everything gets there, in order, in datagrams within the bound, under new numbers."""
    parts: list[Part] = []
    for sequence, item in enumerate(description):
        if item is None:
            parts.append(ChangeCipherSpec())
        else:
            message = Message.of(11, sequence, item[1])
            parts.append(Protected(message) if item[0] else message)
    sender = armed()
    opener = protection(SUITES[0], bytes(16), bytes(4))
    numbers: list[int] = []
    for _ in range(2):
        fragments: list[Fragment] = []
        specs = 0
        for datagram in pack(parts, sender, mtu):
            assert 0 < len(datagram) <= mtu
            offset = 0
            while offset < len(datagram):
                record, offset = decode_untrusted(datagram, offset)
                numbers.append(record.number)
                if record.content_type == ContentType.CHANGE_CIPHER_SPEC:
                    specs += 1
                    continue
                content = record.fragment
                if record.epoch == 1:
                    content = opener.open_untrusted(22, record.number, content)
                fragment, end = decode_fragment_untrusted(content, 0)
                assert end == len(content)
                fragments.append(fragment)
        reassembly = Reassembly(DtlsLimits())
        found = []
        for fragment in fragments:
            reassembly.add(fragment)
            if (message := reassembly.take(fragment.sequence)) is not None:
                found.append(message)
        assert found == [
            part.message if isinstance(part, Protected) else part
            for part in parts
            if not isinstance(part, ChangeCipherSpec)
        ]
        assert specs == sum(isinstance(part, ChangeCipherSpec) for part in parts)
    assert len(set(numbers)) == len(numbers)


def test_nothing_is_sealed_without_keys() -> None:
    with pytest.raises(RuntimeError):
        Sender().sealed(23, b"")


def test_delays_of_early_and_of_later_flights() -> None:
    limits = DtlsLimits()

    def delays(early: bool, count: int) -> list[float]:
        flight, now, found = Flight((), limits, early, True), 0.0, []
        for _ in range(count):
            flight.sent(now)
            assert flight.deadline is not None
            found.append(round(flight.deadline - now, 9))
            now = flight.deadline
        return found

    assert delays(True, 6) == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6]
    assert delays(False, 7) == [0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert delays(False, 2000)[-1] == 10.0


def test_a_flight_without_a_timer() -> None:
    flight = Flight((), DtlsLimits(), False, False)
    flight.sent(5.0)
    assert flight.deadline is None
    assert not flight.may_repeat(5.04)
    assert flight.may_repeat(5.06)


def test_the_least_datagram_that_a_handshake_fits_into() -> None:
    pair = Pair.make(limits=DtlsLimits(mtu=LEAST_MTU))
    pair.client.start(0.0)
    pair.run()
    assert pair.settled
    with pytest.raises(ValueError, match="mtu"):
        Pair.make(limits=DtlsLimits(mtu=LEAST_MTU - 1))
