"""The rollover counter, which no packet carries (RFC 3711, section 3.3.1).

Both sides count the wraps of the sequence number for themselves. Who has guessed wrongly once hears
nothing any more, so each case ends with good audio that has to come through.
"""

from conformance.case import Observed, Unsupported, case
from conformance.probe.media import HEARD, NOT_HEARD, Heard, Media, open_media, prepare
from conformance.probe.profiles import SRTP
from conformance.stage import Stage


@case(
    "rfc3711/3.3.1/rollover",
    "Where the sequence number wraps the rollover counter goes up, and no packet is lost by it.",
    sends="SRTP packets with sequence numbers that wrap",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3.1/2", "rfc3711/3.3.1/7", "rfc3711/3.3.1/1"),
    traps=("SRTP, RTP, RTCP 1",),
)
def rollover(stage: Stage) -> Observed:
    media = open_media(stage, first=65510)
    return media.fire(media.shots(40))


@case(
    "rfc3711/3.3.1/rollover-reordered",
    "Packets that overtook one another across the wrap are all taken.",
    sends="SRTP packets 0, 65534, 1, 65535, 3, 2",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3.1/7", "rfc3711/3.3.2/3"),
    traps=("SRTP, RTP, RTCP 1",),
)
def rollover_reordered(stage: Stage) -> Observed:
    media = open_media(stage, first=65510)
    shots = media.shots((65534 - media.sequence) & 0xFFFF)
    across = media.shots(6)
    return media.fire([*shots, *(across[place] for place in (2, 0, 3, 1, 5, 4))])


@case(
    "rfc3711/3.3.1/rollover-replayed",
    "A packet from before the wrap that comes again after it is a replay still.",
    sends="SRTP packets across the wrap, then the one before it again",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3.2/3", "rfc3711/3.3/3"),
    traps=("SRTP, RTP, RTCP 1",),
)
def rollover_replayed(stage: Stage) -> Observed:
    media = open_media(stage, first=65510)
    shots = media.shots(40)
    last = next(shot for shot in shots if shot.data[2:4] == b"\xff\xff")
    return media.fire([*shots, last])


@case(
    "traps/srtp/burst-loss-across-the-wrap",
    "When a burst is lost that contains the wrap, the packets behind it are taken.",
    sends="SRTP packets up to 65530, then from 300 on: all between are lost",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3.1/7",),
    traps=("SRTP, RTP, RTCP 1",),
)
def burst_loss(stage: Stage) -> Observed:
    media = open_media(stage, first=65510)
    before = media.shots(10)
    media.skip(300)
    return media.fire([*before, *media.shots(10)])


@case(
    "traps/srtp/lost-and-late-across-the-wrap",
    "When the last packets before the wrap are late and some are lost, all that come are taken.",
    sends="SRTP packets around the wrap: one in three lost, the rest in pairs that are swapped",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3.1/7", "rfc3711/3.3.2/3"),
    traps=("SRTP, RTP, RTCP 1",),
)
def lost_and_late(stage: Stage) -> Observed:
    media = open_media(stage, first=65500)
    kept = [shot for place, shot in enumerate(media.shots(60)) if place % 3]
    pairs = zip(kept[::2], kept[1::2], strict=True)
    return media.fire([shot for one, two in pairs for shot in (two, one)])


@case(
    "traps/srtp/first-is-65535",
    "A source whose first packet is the last before the wrap is heard before it and after.",
    sends="SRTP packets 65535, 0, 1 and on, the first that there are of this source",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3.1/3", "rfc3711/3.3.1/5"),
    traps=("SRTP, RTP, RTCP 1",),
)
def first_is_65535(stage: Stage) -> Observed:
    open_media(stage)
    media = prepare(stage, first=65535)
    return _from_the_first_packet(media)


def _from_the_first_packet(media: Media) -> tuple[Heard, str]:
    """A source from its very first packet on, at a server that shows what it takes."""
    try:
        media.warm()
    except Unsupported:
        return Heard.SILENCE, "nothing was heard from the first packet on"
    return media.fire(media.shots(5))


@case(
    "traps/srtp/first-before-the-wrap-lost",
    "A source that begins just below 65536 and whose packets before the wrap are lost is heard all "
    "the same.",
    sends="SRTP packets 65532 to 65535, which are lost, then 0 and on",
    profiles=SRTP,
    good=(Heard.RIGHT,),
    # RFC 3711 leaves a receiver no way to know; to guess is more than it asks for.
    lenient=(Heard.SILENCE,),
    bad=(Heard.LESS, Heard.MORE, Heard.ALTERED, Heard.DEAD),
    traps=("SRTP, RTP, RTCP 1",),
)
def first_lost(stage: Stage) -> Observed:
    open_media(stage)
    media = prepare(stage, first=65532)
    media.skip(4)
    return _from_the_first_packet(media)


@case(
    "traps/srtp/first-before-the-wrap-late",
    "A source that begins just below 65536 is heard when its packets from before the wrap come "
    "after those behind it.",
    sends="SRTP packets 0 and 1, then 65534 and 65535, then 2 and on",
    profiles=SRTP,
    good=(Heard.RIGHT,),
    lenient=(Heard.SILENCE,),  # as above
    bad=(Heard.LESS, Heard.MORE, Heard.ALTERED, Heard.DEAD),
    traps=("SRTP, RTP, RTCP 1",),
)
def first_late(stage: Stage) -> Observed:
    open_media(stage)
    media = prepare(stage, first=65534)
    shots = media.shots(4)
    for place in (2, 3, 0, 1):
        media.call.send(shots[place].data, note="across the wrap")
    return _from_the_first_packet(media)


@case(
    "rfc3711/3.3.1/two-rollovers",
    "The counter goes up with each wrap, not only the first.",
    sends="SRTP packets that leap through two cycles of sequence numbers, in steps that are less "
    "than half of one",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3.1/2", "rfc3711/3.3.1/7"),
    traps=("SRTP, RTP, RTCP 1",),
)
def two_rollovers(stage: Stage) -> Observed:
    media = open_media(stage, first=65500)
    if not media.by_echo:
        raise Unsupported("sends no audio back, and its reports count no packet after a leap")
    shots = media.shots(50)
    for sequence in (20_000, 40_000, 60_000):
        # RFC 3550 has a receiver wait for a second packet before it believes a leap.
        shots.append(media.shot(sequence=sequence, wanted=None))
        shots += media.shots(2)
    shots.append(media.shot(sequence=65_530, wanted=None))
    return media.fire([*shots, *media.shots(20)])


@case(
    "rfc3711/3.3.1/leap-within-half-a-cycle",
    "A packet less than half a cycle ahead is of this cycle, one just behind the wrap of the next.",
    sends="SRTP packets after a leap of 30000",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3.1/7",),
)
def leap(stage: Stage) -> Observed:
    media = open_media(stage, first=50_000)
    if not media.by_echo:
        raise Unsupported("sends no audio back, and its reports count no packet after a leap")
    shots = media.shots(3)
    shots.append(media.shot(sequence=(media.sequence + 30_000) & 0xFFFF, wanted=None))
    return media.fire([*shots, *media.shots(4)])
