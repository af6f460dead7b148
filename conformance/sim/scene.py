"""Who takes part: addresses, names, keys, and bounds, all of them drawn from the seed."""

from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field, frozen

from conformance.client import seeded
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.directory import NextHop, NodeState
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.store.entry import SECOND, EntryCodec
from transceiver.config import EndpointConfig, IceLimits, SessionLimits

from . import layout
from .dice import Dice
from .layout import Feature, Site
from .network import Conditions
from .store import TTL

CLUSTER = 1
SLOW_PROBE = 2.5
"""``SessionLimits.probe_interval`` where audio comes once a second instead of fifty times."""


@define(slots=True)
class Nodes:
    """A ``stunroute.directory.Directory`` that may change."""

    hops: dict[int, NextHop]

    @classmethod
    def of(cls, hops: Iterable[tuple[int, Address]]) -> "Nodes":
        """All of them active."""
        return cls({node: NextHop(address) for node, address in hops})

    def resolve(self, cluster: int, node: int) -> NextHop | None:
        return self.hops.get(node) if cluster == CLUSTER else None

    def knows(self, address: Address) -> bool:
        return any(hop.address == address for hop in self.hops.values())

    def mark(self, node: int, state: NodeState) -> None:
        """The operator, or Kubernetes, says what a node may still be given."""
        self.hops[node] = NextHop(self.hops[node].address, state)


@frozen(slots=True)
class Scene:
    """An upstream relay is the last of ``relays``."""

    seed: str
    keyring: KeyRing = field(repr=False)
    store_key: bytes = field(repr=False)
    relays: tuple[Site, ...]
    nodes: tuple[tuple[int, Address], ...]
    endpoint_config: EndpointConfig
    conditions: Conditions
    pace: float
    """Seconds between two packets of a client's audio."""

    @property
    def upstream(self) -> Mapping[Address, Address]:
        """For the relays behind it: the inner address of the upstream relay, by its public ones."""
        site = self.relays[-1]
        return {public: site.workers[0] for public in site.publics if site.is_upstream}

    @property
    def takeover(self) -> float:
        """Seconds of silence after which a client address may change hands at every relay."""
        return max(site.config.takeover_idle for site in self.relays)

    def codec(self, site: Site) -> EntryCodec:
        """What a relay's entries in the store are written with. Tiers that share a store have names
        of their own there, since to each a client's next hop is another."""
        tier = "front:" if site.is_upstream else ""
        return EntryCodec(self.store_key, f"stunroute:{tier}", round(TTL * SECOND))


def draw(
    seed: str,
    sessions: int,
    *,
    plain: bool = False,
    pace: float = 1.0,
    features: Sequence[Feature] = (),
) -> Scene:
    """``plain``: one relay with one worker before one transceiver, no store and default bounds: for
    measuring."""
    dice = Dice(f"{seed} scene")
    keyring = KeyRing((HintConfiguration.generate("0", seeded(f"{seed} hints")),))
    relays = 1 if plain else 1 + dice.happens(0.4)
    workers = 1 if plain else 1 + dice.below(3)
    count = 1 if plain else 2 + dice.below(2)
    nodes = tuple((7 + node, Address.of(f"10.1.1.{7 + node}", 5000)) for node in range(count))
    config = RelayConfig() if plain else layout.bounds(dice)
    sites: Sequence[Site] = [
        Site(
            (Address.of(f"203.0.113.{1 + number}", 3478),),
            tuple(Address.of(f"10.1.0.{1 + number}", 4000 + each) for each in range(workers)),
            config,
            nodes,
        )
        for number in range(relays)
    ]
    if features and not plain:
        sites = layout.draw(features, sites, nodes, Dice(f"{seed} layout"))
    return Scene(
        seed=seed,
        keyring=keyring,
        store_key=seeded(f"{seed} store")(32),
        relays=tuple(sites),
        nodes=nodes,
        endpoint_config=_endpoint_config(sites, sessions, dice, plain=plain),
        conditions=Conditions(
            delay=dice.between(0.002, 0.08), jitter=0.0 if plain else dice.between(0.0, 0.02)
        ),
        pace=pace,
    )


def _endpoint_config(
    sites: Sequence[Site], sessions: int, dice: Dice, *, plain: bool
) -> EndpointConfig:
    return EndpointConfig(
        cluster=CLUSTER,
        node=0,
        candidates=tuple(public for site in sites for public in site.publics),
        relays=frozenset(inner for site in sites for inner in site.workers),
        sessions=3 * sessions + 8,
        ice=IceLimits(validated_paths=16 if plain else dice.pick((2, 4, 16))),
        session=SessionLimits(
            probe_interval=SLOW_PROBE,
            early_media=16 if plain else dice.pick((1, 16)),
            remote_sources=8 if plain else dice.pick((1, 8)),
        ),
    )
