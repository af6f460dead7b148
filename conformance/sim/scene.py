"""Who takes part: addresses, names, keys, and bounds, all of them drawn from the seed.

Some bounds are drawn tight, since one that is never reached proves nothing; but none so tight that
a call which is entitled to its place would not get it.
"""

from attrs import define, field, frozen

from conformance.client import seeded
from stunroute.address import Address
from stunroute.config import RelayConfig, Verify
from stunroute.directory import NextHop, NodeState
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.store.entry import SECOND, EntryCodec
from transceiver.config import EndpointConfig, IceLimits, SessionLimits

from .dice import Dice
from .network import Conditions
from .store import TTL

CLUSTER = 1
SLOW_PROBE = 2.5
"""``SessionLimits.probe_interval`` where audio comes once a second instead of fifty times."""


@define(slots=True)
class Nodes:
    """A ``stunroute.directory.Directory`` that may change."""

    hops: dict[int, NextHop]

    def resolve(self, cluster: int, node: int) -> NextHop | None:
        return self.hops.get(node) if cluster == CLUSTER else None

    def knows(self, address: Address) -> bool:
        return any(hop.address == address for hop in self.hops.values())

    def mark(self, node: int, state: NodeState) -> None:
        """The operator, or Kubernetes, says what a node may still be given."""
        self.hops[node] = NextHop(self.hops[node].address, state)


@frozen(slots=True)
class Scene:
    """``relays`` are the public addresses, each with the inner addresses of its workers."""

    seed: str
    keyring: KeyRing = field(repr=False)
    codec: EntryCodec = field(repr=False)
    relays: tuple[tuple[Address, tuple[Address, ...]], ...]
    nodes: tuple[tuple[int, Address], ...]
    relay_config: RelayConfig
    endpoint_config: EndpointConfig
    conditions: Conditions
    pace: float
    """Seconds between two packets of a client's audio."""

    @property
    def inner(self) -> tuple[Address, ...]:
        return tuple(inner for _, workers in self.relays for inner in workers)


def draw(seed: str, sessions: int, *, plain: bool = False, pace: float = 1.0) -> Scene:
    """``plain``: one relay with one worker before one transceiver, no store and default bounds: for
    measuring."""
    dice = Dice(f"{seed} scene")
    keyring = KeyRing((HintConfiguration.generate("0", seeded(f"{seed} hints")),))
    relays = 1 if plain else 1 + dice.happens(0.4)
    workers = 1 if plain else 1 + dice.below(3)
    nodes = 1 if plain else 2 + dice.below(2)
    publics = [Address.of(f"203.0.113.{1 + number}", 3478) for number in range(relays)]
    inner = [
        tuple(Address.of(f"10.1.0.{1 + number}", 4000 + each) for each in range(workers))
        for number in range(relays)
    ]
    return Scene(
        seed=seed,
        keyring=keyring,
        codec=EntryCodec(seeded(f"{seed} store")(32), "stunroute:", round(TTL * SECOND)),
        relays=tuple(zip(publics, inner, strict=True)),
        nodes=tuple((7 + node, Address.of(f"10.1.1.{7 + node}", 5000)) for node in range(nodes)),
        relay_config=RelayConfig() if plain else _relay_config(dice),
        endpoint_config=EndpointConfig(
            cluster=CLUSTER,
            node=0,
            candidates=tuple(publics),
            relays=frozenset(each for group in inner for each in group),
            sessions=3 * sessions + 8,
            ice=IceLimits(validated_paths=16 if plain else dice.pick((2, 4, 16))),
            session=SessionLimits(
                probe_interval=SLOW_PROBE,
                early_media=16 if plain else dice.pick((1, 16)),
                remote_sources=8 if plain else dice.pick((1, 8)),
            ),
        ),
        conditions=Conditions(
            delay=dice.between(0.002, 0.08), jitter=0.0 if plain else dice.between(0.0, 0.02)
        ),
        pace=pace,
    )


def _relay_config(dice: Dice) -> RelayConfig:
    return RelayConfig(
        verify=dice.pick((None, Verify.OWNER)),
        flows=4096,
        idle_timeout=dice.pick((6.0, 10.0, 30.0)),
        takeover_idle=dice.pick((4.0, 10.0)),
        contenders=256,
        ssrcs_per_flow=dice.pick((1, 4)),
        ssrc_peeks=dice.pick((1, 16)),
        store=dice.happens(0.7),
        waiting_clients=dice.pick((1, 1024)),
        waiting_packets=dice.pick((1, 8)),
        changes=dice.pick((4, 65_536)),
    )
