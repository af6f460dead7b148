from transceiver.timers import Deadline, Wake, earliest


def test_the_earliest_of_none_is_none() -> None:
    assert earliest() is None
    assert earliest(None, None) is None


def test_the_earliest_keeps_its_reason_and_the_first_named_wins_a_tie() -> None:
    first, second = Deadline(2.0, Wake.DTLS), Deadline(2.0, Wake.REPORT)
    assert earliest(Deadline(3.0, Wake.ICE), None, first, second) is first
