"""What STUN costs, beside aioice.

    python tests/bench/bench_stun.py

Rounds are interleaved and the median of each is taken, so that a slow minute of the machine hits
all alike; the ratios are what to look at. Nothing here fails for being slow.

The two do not do the same work. ``decode_untrusted`` refuses an attribute that runs past the end
of its message, too many attributes, and first bits that are not zero; aioice reads what is there.
aioice decodes every value at once, we when it is asked for (so the full check here reads those
that an ICE agent reads). Both verify FINGERPRINT and MESSAGE-INTEGRITY in constant time.
"""

import statistics
import time
from collections.abc import Callable

import machine
from aioice import stun as aioice

from stunroute import stun
from stunroute.address import Address

ROUNDS = 31
CALLS = 1000

PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBtpE"
KEY = stun.IntegrityKey(PASSWORD)
TRANSACTION = bytes(range(1, 13))
CLIENT = Address.of("192.0.2.1", 32853)

# The check of a browser: 26 characters of ours, 4 of its own, one attribute that aioice skips.
CHECK = stun.binding_request(
    TRANSACTION,
    b"0k4f9z0q8w7e6r5t4y3u2i1o0p:TxUk",
    1845501695,
    KEY,
    controlling=0x932FF9B151263B36,
    use_candidate=True,
    attributes=[(stun.Attribute.NETWORK_COST, stun.encode_network_cost(stun.NetworkCost(1, 10)))],
)
REQUEST = stun.decode_untrusted(CHECK)


def peek() -> object:
    return stun.peek_username_untrusted(CHECK)


def parse() -> object:
    return stun.decode_untrusted(CHECK)


def verify() -> object:
    message = stun.decode_untrusted(CHECK)
    return message.fingerprint_ok and message.verify_integrity(KEY)


def verify_and_read() -> object:
    message = stun.decode_untrusted(CHECK)
    assert message.fingerprint_ok
    assert message.verify_integrity(KEY)
    return (
        message.username,
        message.use_candidate,
        message.ice_controlled,
        message.unknown_comprehension_required(),
    )


def answer() -> object:
    return stun.binding_success(REQUEST, CLIENT, KEY)


def aioice_parse() -> object:
    return aioice.parse_message(CHECK)


def aioice_verify() -> object:
    if hasattr(aioice.Message, "check_message_integrity"):
        return aioice.parse_message(CHECK).check_message_integrity(PASSWORD)
    return aioice.parse_message(CHECK, integrity_key=PASSWORD)


def aioice_answer() -> object:
    response = aioice.Message(
        message_method=aioice.Method.BINDING,
        message_class=aioice.Class.RESPONSE,
        transaction_id=TRANSACTION,
    )
    response.attributes["XOR-MAPPED-ADDRESS"] = ("192.0.2.1", 32853)
    response.add_message_integrity(PASSWORD)
    return bytes(response)


def cost(function: Callable[[], object]) -> float:
    """Nanoseconds per call, one round."""
    begin = time.perf_counter_ns()
    for _ in range(CALLS):
        function()
    return (time.perf_counter_ns() - begin) / CALLS


def main() -> None:
    machine.begin()
    assert verify() is True
    assert aioice_verify()
    assert answer() == aioice_answer()
    functions = [
        peek,
        parse,
        verify,
        verify_and_read,
        answer,
        aioice_parse,
        aioice_verify,
        aioice_answer,
    ]
    rounds: dict[str, list[float]] = {function.__name__: [] for function in functions}
    for _ in range(ROUNDS):
        for function in functions:
            rounds[function.__name__].append(cost(function))
    median = {name: statistics.median(costs) for name, costs in rounds.items()}
    print(f"{len(CHECK)}-byte check, nanoseconds, median of {ROUNDS} rounds")
    for name, nanoseconds in median.items():
        print(f"  {name:16} {nanoseconds:8.0f}")
    print("times faster than aioice")
    for ours, theirs, goal in (
        ("peek", "aioice_parse", 12),
        ("parse", "aioice_parse", None),
        ("verify", "aioice_verify", 3),
        ("verify_and_read", "aioice_verify", None),
        ("answer", "aioice_answer", 5),
    ):
        ratio = median[theirs] / median[ours]
        print(f"  {ours:16} {ratio:8.1f}" + (f"   (goal {goal})" if goal else ""))


if __name__ == "__main__":
    main()
