"""What segmentation offload (UDP_SEGMENT) adds toward the transceivers, and why the relay has none.

    python tests/bench/bench_segmentation.py [--seconds S] [--rounds N]

Packets of one length to one next hop can be given to the kernel as one message, which it cuts apart
late. Only the inner leg has such packets: on the way back each client is an address of its own. Two
ways are tried, in the C forwarder and, as an experiment in ``peers/relay_segmenting.py``, in the
relay: taking together what happens to lie side by side (*runs*; in the relay only a batch that is
*equal* throughout), and sorting a batch by next hop and length first (*sorted*), which may be done
because the packets of different flows have no order, and is not done to those of one flow. The last
packet of a message may be shorter, so even unlike lengths go in twos.

*Equal* packets are 172 bytes long. *Voice* is Opus with a variable bit rate about 32 kbit/s: 20 ms
in 24 to 170 bytes, 80 in the mean, a standard deviation of 18, drawn anew for each packet from a
seeded generator, behind 20 bytes of RTP header with the level of the sound and before 16 of tag. A
browser that plays a tone, as in ``pcaps``, sends more equal packets than one that carries a voice.
Each packet is of another client than the one before.

Under the heading *full* the forwarder is stopped while 2,048 packets are sent to it, so all its
batches are of 64: that is the most there is to gain, and only a relay at its limit is given such
batches. The rates below are of a relay that keeps up, and *at 100,000/s* already near its limit.
What is compared is packets per CPU second of the forwarder, within interleaved rounds.

What came out: equal packets in full batches gain 1.8 in the relay and 2.3 in C. Of a voice hardly
two packets fit into a message. C gains a third when it sorts, and only in full batches; at rates
that a relay keeps up with its batches are short and the gain is within the noise. In Python the
sorting costs more than the kernel saves: 0.88 in full batches, 0.96 to 1.06 at the rates. Several
transceivers leave less still, and without sorting nothing. Voice is what the relay is for, so it
goes without.
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import machine
from attrs import field, frozen
from building import SOURCES, Unavailable, c_program
from figures import line, median, ratio
from generator import LENGTH, WINDOW, Generator, Result
from subjects import Fleet, Forwarder, peer, relay

FLOWS = 1_000
RATES = (20_000, 100_000)
SIZES = 4_099
"""How many sizes are drawn; a prime, so that no client always has the same."""
AROUND = 20 + 16
FULL: Mapping[str, object] = {"hold": 1, "window": WINDOW}


@frozen(slots=True)
class Traffic:
    """``next_hops`` transceivers; the relay is measured with one, the peer in C with more too."""

    name: str
    voice: bool
    next_hops: int = 1
    options: Mapping[str, object] = field(factory=dict)


TRAFFIC = (
    Traffic("equal, full", voice=False, options=FULL),
    Traffic("equal, 4 transceivers, full", voice=False, next_hops=4, options=FULL),
    Traffic("voice, full", voice=True, options=FULL),
    Traffic("voice, 4 transceivers, full", voice=True, next_hops=4, options=FULL),
    Traffic("voice, 16 transceivers, full", voice=True, next_hops=16, options=FULL),
    *(Traffic(f"voice, {rate:,}/s", voice=True, options={"rate": rate}) for rate in RATES),
)
PAIRS = {
    "C, runs": "C",
    "C, sorted": "C",
    "stunroute, equal": "stunroute",
    "stunroute, sorted": "stunroute",
}
"""With offload, and what it is compared with."""


def voice() -> bytes:
    """Lengths of packets, as the generator reads them."""
    draw = random.Random(3)
    lengths = [AROUND + min(170, max(24, round(draw.gauss(80, 18)))) for _ in range(SIZES)]
    return b"".join(length.to_bytes(2, "little") for length in lengths)


def start(traffic: Traffic, transceiver: str) -> dict[str, Callable[[], Forwarder]]:
    """How to start each forwarder. Raises Unavailable."""

    def peer_in_c(name: str, segment: str) -> Callable[[], Forwarder]:
        command = [str(c_program("forward_c")), "--segment", segment]
        return lambda: peer(name, [*command, "--nexts", str(traffic.next_hops)], transceiver)

    def experiment(name: str, way: str) -> Callable[[], Forwarder]:
        program = (str(SOURCES / "relay_segmenting.py"), way)
        return lambda: relay(transceiver, name=name, program=program)

    starts = {
        "C": peer_in_c("C", "no"),
        "C, runs": peer_in_c("C, runs", "runs"),
        "C, sorted": peer_in_c("C, sorted", "sorted"),
    }
    if traffic.next_hops == 1:
        starts |= {
            "stunroute": lambda: relay(transceiver),
            "stunroute, equal": experiment("stunroute, equal", "equal"),
            "stunroute, sorted": experiment("stunroute, sorted", "sorted"),
        }
    return starts


def measure(
    generator: Generator, traffic: Traffic, sizes: Path, rounds: int, seconds: float
) -> tuple[dict[str, list[Result]], dict[str, float]]:
    """Results by forwarder, and how many packets a message of the peers in C held."""
    found: dict[str, list[Result]] = defaultdict(list)
    options = {"burst": 1, **traffic.options}
    if traffic.voice:
        options["sizes"] = sizes
    host, _, port = generator.transceiver.rpartition(":")
    with Fleet() as fleet:
        for begin in start(traffic, f"{host}:{port}").values():
            fleet.add(begin())
        for _ in range(rounds):
            for forwarder in fleet.forwarders:
                result = generator.run(
                    forwarder.public,
                    forwarder.pids,
                    transceiver=f"0.0.0.0:{port}",
                    flows=FLOWS,
                    length=LENGTH,
                    seconds=seconds,
                    warm=forwarder.settles,
                    **options,
                )
                found[forwarder.name].append(result)
    packets = {}
    for forwarder in fleet.forwarders:
        if forwarder.name.startswith("C"):
            said = json.loads(forwarder.said)
            packets[forwarder.name] = said["packets"] / said["messages"]
    return found, packets


def show(traffic: Traffic, found: dict[str, list[Result]], packets: dict[str, float]) -> None:
    print(f"{traffic.name}: packets per CPU second, and times as many as without offload")
    per_cpu = {name: [r.per_cpu_second for r in results] for name, results in found.items()}
    for name, values in per_cpu.items():
        shown = f"{median(values):,.0f}"
        if name in PAIRS:
            shown += f" = {ratio(values, per_cpu[PAIRS[name]]):.2f}"
        each = f"{packets[name]:.1f} packets in a message" if packets.get(name, 1) > 1 else ""
        line(name, shown, each)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.25, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    try:
        generator = Generator(FLOWS)
    except Unavailable as reason:
        print(f"nothing can be measured: {reason}")
        return
    machine.begin()
    try:
        sizes = generator.write("sizes", ())
        sizes.write_bytes(voice())
        for traffic in TRAFFIC:
            show(traffic, *measure(generator, traffic, sizes, options.rounds, options.seconds))
    except Unavailable as reason:
        print(f"nothing can be measured: {reason}")
    finally:
        generator.close()


if __name__ == "__main__":
    main()
