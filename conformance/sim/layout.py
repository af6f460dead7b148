"""Where the relays of a world stand, and by which addresses its people reach them.

The plainest fleet is one tier of relays with a public IPv4 address each. Others have more addresses
than one, also of IPv6, or an upstream relay in front of the rest, which knows nothing of sessions
but where to send them on. What a seed has of this is drawn from dice of its own: a seed whose
features are turned off is to the last byte what it was before there were any.
"""

from collections.abc import Sequence
from enum import Enum, unique

from attrs import frozen

from stunroute.address import Address
from stunroute.config import RelayConfig, Verify

from .dice import Dice


@unique
class Feature(Enum):
    """The value is its name on the command line."""

    IPV6 = "ipv6"  # relays have an IPv6 address too, and some people have nothing else, or both
    ADDRESSES = "addresses"  # relays have several of a family
    TIERS = "tiers"  # a relay in front of the others


_ADDRESSES = 0.6
_TIERS = 0.5
"""How likely a seed has the feature; IPv6 is in each."""

UNCHECKED = 8.0
"""``RelayConfig.takeover_unchecked``, in seconds: of three checks in a row (``client.KEEPALIVE``)
one comes through, and a session that has been left is not long in anybody's way."""


class UnknownFeature(ValueError):
    """No feature of that name."""


@frozen(slots=True)
class Site:
    """One relay. ``publics`` are its public addresses, ``workers`` the inner address of each of its
    processes, ``hops`` where it sends what is for a node. ``is_upstream``: it lies in front of the
    others, and may send a node's packets to one of their workers."""

    publics: tuple[Address, ...]
    workers: tuple[Address, ...]
    config: RelayConfig
    hops: tuple[tuple[int, Address], ...]
    is_upstream: bool = False


def parse(text: str) -> tuple[Feature, ...]:
    """``all``, ``none``, or names with commas between them. Raises UnknownFeature."""
    match text.strip():
        case "all":
            return tuple(Feature)
        case "none" | "":
            return ()
    known = {feature.value: feature for feature in Feature}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise UnknownFeature(f"{name!r} is none of {', '.join(known)}")
    return tuple(dict.fromkeys(known[name] for name in names))


def draw(
    features: Sequence[Feature],
    sites: Sequence[Site],
    nodes: Sequence[tuple[int, Address]],
    dice: Dice,
) -> tuple[Site, ...]:
    """What becomes of a plain fleet: its relays with more addresses, and the upstream one last."""
    several = Feature.ADDRESSES in features and dice.happens(_ADDRESSES)
    tiers = Feature.TIERS in features and dice.happens(_TIERS)
    drawn = [
        Site(
            (*site.publics, *_more(features, several, site.publics[0], dice)),
            site.workers,
            site.config,
            site.hops,
        )
        for site in sites
    ]
    if tiers:
        drawn.append(_upstream(features, several, sites, nodes, dice))
    return tuple(drawn)


def _more(
    features: Sequence[Feature], several: bool, first: Address, dice: Dice
) -> tuple[Address, ...]:
    """Another port of the first address, another host, and what the relay has of IPv6."""
    last = first.packed[-1]
    more = []
    if several:
        more.append(Address(first.host, first.port + 1))
        if dice.happens(0.5):
            more.append(Address.of(f"203.0.113.{50 + last}", first.port))
    if Feature.IPV6 in features:
        host = f"2001:db8:{first.packed[0]:x}::{last:x}"
        more.append(Address.of(host, first.port))
        if several and dice.happens(0.5):
            more.append(Address.of(host, first.port + 1))
    return tuple(more)


def _upstream(
    features: Sequence[Feature],
    several: bool,
    sites: Sequence[Site],
    nodes: Sequence[tuple[int, Address]],
    dice: Dice,
) -> Site:
    """It has one worker, since a relay behind it sends all that is for a public address to one
    inner address. What is for a node goes to a worker of some relay, or to the node itself."""
    first = Address.of("198.51.100.200", 3478)
    hops = [
        (node, address if dice.happens(0.2) else dice.pick(dice.pick(sites).workers))
        for node, address in nodes
    ]
    publics = (first, *_more(features, several, first, dice))
    inner = Address.of("10.2.0.1", 4000)
    return Site(publics, (inner,), bounds(dice), tuple(hops), is_upstream=True)


def bounds(dice: Dice) -> RelayConfig:
    """Some are drawn tight, since one that is never reached proves nothing; but none so tight that
    a call which is entitled to its place would not get it."""
    return RelayConfig(
        verify=dice.pick((None, Verify.OWNER)),
        flows=4096,
        idle_timeout=dice.pick((6.0, 10.0, 30.0)),
        takeover_idle=dice.pick((4.0, 10.0)),
        takeover_unchecked=UNCHECKED,
        contenders=256,
        ssrcs_per_flow=dice.pick((1, 4)),
        ssrc_peeks=dice.pick((1, 16)),
        store=dice.happens(0.7),
        waiting_clients=dice.pick((1, 1024)),
        waiting_packets=dice.pick((1, 8)),
        changes=dice.pick((4, 65_536)),
    )


def reachable(
    features: Sequence[Feature], sites: Sequence[Site], home: Site, dice: Dice
) -> tuple[Address, ...]:
    """The public addresses that somebody may use, one of them for the first call: those of the
    families that they have, at the relay nearest to them or at all that an answer names."""
    if Feature.TIERS in features and sites[-1].is_upstream and dice.happens(0.6):
        home = sites[-1]
    roams = Feature.ADDRESSES in features and dice.happens(0.3)
    named = [each for site in (sites if roams else (home,)) for each in site.publics]
    families: tuple[bool, ...] = (True,)
    if Feature.IPV6 in features:
        families = dice.pick(((True,), (False,), (True, False), (True, False)))
    found = [each for each in named if each.is_ipv4 in families]
    at = dice.below(len(found))
    return (found[at], *found[:at], *found[at + 1 :])
