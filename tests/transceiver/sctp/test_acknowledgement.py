from transceiver.sctp.acknowledgement import Acknowledgement


def begun() -> Acknowledgement:
    """One whose first packet is behind it."""
    acknowledgement = Acknowledgement(0.2)
    acknowledgement.packet_received(0.0, False)
    assert acknowledgement.due
    acknowledgement.sent()
    return acknowledgement


def test_nothing_to_say_at_first() -> None:
    acknowledgement = Acknowledgement(0.2)
    assert not acknowledgement.due
    assert not acknowledgement.wanted
    assert acknowledgement.next_timeout() is None
    acknowledgement.handle_timeout(100.0)
    assert not acknowledgement.due


def test_every_second_packet() -> None:
    acknowledgement = begun()
    for now in (1.0, 2.0, 3.0):
        acknowledgement.packet_received(now, False)
        assert not acknowledgement.due
        assert acknowledgement.wanted
        acknowledgement.packet_received(now + 0.1, False)
        assert acknowledgement.due
        assert acknowledgement.next_timeout() is None
        acknowledgement.sent()
        assert not acknowledgement.wanted


def test_a_lone_packet_waits() -> None:
    acknowledgement = begun()
    acknowledgement.packet_received(1.0, False)
    assert acknowledgement.next_timeout() == 1.2
    acknowledgement.handle_timeout(1.19)
    assert not acknowledgement.due
    acknowledgement.handle_timeout(1.2)
    assert acknowledgement.due
    acknowledgement.sent()
    assert acknowledgement.next_timeout() is None


def test_at_once() -> None:
    acknowledgement = begun()
    acknowledgement.packet_received(1.0, True)
    assert acknowledgement.due
    acknowledgement.sent()
    acknowledgement.hasten()
    assert acknowledgement.due


def test_one_that_travelled_with_something_else_is_not_sent_again() -> None:
    acknowledgement = begun()
    acknowledgement.packet_received(1.0, False)
    acknowledgement.sent()
    acknowledgement.handle_timeout(5.0)
    assert not acknowledgement.due
