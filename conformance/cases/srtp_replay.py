"""Packets that come again, late, out of order and from elsewhere (RFC 3711, section 3.3.2).

A replay is authentic to the last bit, and so is a packet after a rebinding. What tells them apart
is the window alone, and the address is no help.
"""

import attrs

from conformance.case import Observed, case
from conformance.probe.media import HEARD, NOT_HEARD, Heard, flip, open_media
from conformance.probe.profiles import SRTP
from conformance.probe.stun import ask, check
from conformance.stage import Stage


@case(
    "rfc3711/3.3.2/replayed-at-once",
    "A packet that comes twice is taken once.",
    sends="an SRTP packet three times in a row",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3/3", "rfc3711/3.3.2/3", "rfc3711/3.3.2/4"),
)
def replayed_at_once(stage: Stage) -> Observed:
    media = open_media(stage)
    shot = media.shot()
    return media.fire([shot, shot, shot, media.shot()])


@case(
    "rfc3711/3.3.2/replayed-later",
    "A packet that comes again when others have come since is discarded.",
    sends="an SRTP packet again after 20, and after 50 others",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3/3", "rfc3711/3.3.2/3"),
)
def replayed_later(stage: Stage) -> Observed:
    media = open_media(stage)
    shot = media.shot()
    return media.fire([shot, *media.shots(20), shot, *media.shots(30), shot])


@case(
    "rfc3711/3.3.2/replayed-from-elsewhere",
    "A packet that somebody has copied and sends from another address is discarded.",
    sends="an SRTP packet, and the same from another socket",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3/3",),
)
def replayed_from_elsewhere(stage: Stage) -> Observed:
    media = open_media(stage)
    shot = media.shot()
    copy = attrs.evolve(shot, socket=stage.open_socket(), note="a copy from elsewhere")
    return media.fire([shot, copy, media.shot(), copy])


@case(
    "rfc3711/3.3.2/reordered",
    "Packets that overtook one another are all taken.",
    sends="eight SRTP packets in another order",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3.2/3",),
)
def reordered(stage: Stage) -> Observed:
    media = open_media(stage)
    shots = media.shots(8)
    return media.fire([shots[place] for place in (2, 0, 1, 5, 4, 3, 7, 6)])


@case(
    "rfc3711/3.3.2/late-within-64",
    "The replay window is 64 packets at least: one that comes 60 behind the newest is taken.",
    sends="60 SRTP packets, then one that was sent before them",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3.2/2",),
)
def late_within_64(stage: Stage) -> Observed:
    media = open_media(stage)
    late, *others = media.shots(61)
    return media.fire([*others, late])


@case(
    "traps/srtp/window-not-moved-by-forgery",
    "A packet that does not authenticate moves neither the replay window nor the rollover counter.",
    sends="SRTP packets with sequence numbers far ahead and wrong tags, and good ones after each",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3.2/4", "rfc3711/3.3.1/7"),
    traps=("SRTP, RTP, RTCP 2",),
)
def window_not_moved(stage: Stage) -> Observed:
    media = open_media(stage)
    shots = [media.shot()]
    for ahead in (100, 2000, 20_000, 32_000, 40_000, 65_000):
        shot = media.shot()
        sequence = (media.sequence + ahead) & 0xFFFF
        data = shot.data[:2] + sequence.to_bytes(2, "big") + flip(shot.data, -1)[4:]
        # The true one does not leave: only what follows shows what the forgery has done.
        forged = shot.refused(data, f"forged, {ahead} ahead")
        shots += [forged, forged, *media.shots(2)]
    return media.fire(shots)


@case(
    "traps/srtp/forged-sources",
    "Packets of sources that do not authenticate use nothing up: a good one goes on being heard.",
    sends="300 SRTP packets with wrong tags, each of another source, among good ones",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3/4",),
    traps=("SRTP, RTP, RTCP 2",),
)
def forged_sources(stage: Stage) -> Observed:
    media = open_media(stage)
    good = media.shot()
    shots = [good]
    for _ in range(300):
        data = good.data[:8] + stage.entropy(4) + flip(good.data, -1)[12:]
        shots.append(attrs.evolve(good.refused(data, "forged"), payload=media.payload()))
    return media.fire([*shots, *media.shots(3)])


@case(
    "rfc3711/3.2.3/sources-have-their-own-lists",
    "Replay lists are kept per source: two sources with the same sequence numbers are both heard.",
    sends="SRTP packets of two sources with equal sequence numbers",
    profiles=SRTP,
    good=(Heard.RIGHT,),
    lenient=(Heard.LESS,),  # a server may keep to the source that signalling named
    bad=(Heard.SILENCE, Heard.MORE, Heard.ALTERED, Heard.DEAD),
    requirements=("rfc3711/3.2.3/1", "rfc3711/3.2.1/9"),
)
def own_lists(stage: Stage) -> Observed:
    media = open_media(stage)
    other = media.another_source(media.ssrc ^ 0x00FF00FF, media.sequence)
    shots = [shot for _ in range(5) for shot in (media.shot(), other.shot())]
    return media.fire(shots)


# --- addresses ------------------------------------------------------------------------------------


@case(
    "traps/srtp/dtls-here-and-srtp-there",
    "While a path changes, media may come over one address and the rest over the other: packets "
    "over either are taken, each once.",
    sends="a check over a second socket after the handshake over the first, then audio over both "
    "in turn",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    traps=("SRTP, RTP, RTCP 3",),
)
def here_and_there(stage: Stage) -> Observed:
    media = open_media(stage)
    second = stage.open_socket()
    ask(media.call, check(media.call), socket=second, note="a check over the second socket")
    shots = [attrs.evolve(shot, socket=second) for shot in media.shots(5)]
    mixed = [each for shot in shots for each in (shot, media.shot())]
    # In sequence over both: a server that reports has its count to show for it.
    mixed.sort(key=lambda shot: int.from_bytes(shot.data[2:4], "big"))
    return media.fire(mixed, pause=0.01)


@case(
    "traps/srtp/dtls-over-the-old-address",
    "While a path changes, a record of DTLS may come over the old address when media has moved on: "
    "the call goes on.",
    sends="audio over a second socket that was validated, DTLS application data over the first",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    traps=("SRTP, RTP, RTCP 3",),
)
def dtls_over_the_old_address(stage: Stage) -> Observed:
    media = open_media(stage)
    call = media.call
    second = stage.open_socket()
    ask(call, check(call), socket=second, note="a check over the second socket")
    shots = [attrs.evolve(shot, socket=second) for shot in media.shots(6)]
    dtls = call.client.dtls
    assert dtls is not None
    dtls.send(b"\x13\x88\x13\x88" + bytes(8), stage.now)  # no SCTP that anybody could read
    while (record := dtls.next_transmit()) is not None:
        call.send(record, note="DTLS over the old address")
    return media.fire(shots)


@case(
    "traps/srtp/from-a-new-address",
    "After a rebinding the first packet from the new address is usually SRTP: its tag vouches for "
    "it, and it is taken.",
    sends="SRTP packets from a socket that no check has come from",
    profiles=SRTP,
    good=(Heard.RIGHT,),
    # A server that waits for a check loses some audio and harms nobody.
    lenient=(Heard.SILENCE, Heard.LESS),
    bad=(Heard.MORE, Heard.ALTERED, Heard.DEAD),
    traps=("SRTP, RTP, RTCP 3", "Facts"),
    without={"simulator": "a relay has no flow for an address that no check has come from"},
)
def from_a_new_address(stage: Stage) -> Observed:
    media = open_media(stage)
    new = stage.open_socket()
    return media.fire([attrs.evolve(shot, socket=new) for shot in media.shots(3)])


@case(
    "traps/srtp/forged-from-a-new-address",
    "A forged packet from another address draws nothing there.",
    sends="an SRTP packet with a wrong tag from another socket, then good ones",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3/4",),
    traps=("SRTP, RTP, RTCP 3",),
)
def forged_from_a_new_address(stage: Stage) -> Observed:
    media = open_media(stage)
    other = stage.open_socket()
    forged = media.shot()
    forged = attrs.evolve(forged.refused(flip(forged.data, -1), "forged"), socket=other)
    seen = media.fire([forged, *media.shots(5)], pause=0.02)
    if any(stray.socket == other for stray in media.call.strays):
        return Heard.MORE, "something was sent to the forger"
    return seen


@case(
    "traps/srtp/after-a-rebinding",
    "After a rebinding audio flows again, up and down, once a check has come from the new address.",
    sends="audio from a new socket, then a check, then audio",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    traps=("Facts",),
)
def after_a_rebinding(stage: Stage) -> Observed:
    media = open_media(stage)
    call = media.call
    call.rebind()
    call.send(media.shot().data, note="audio from the new address")
    for _ in range(3):
        call.act(lambda: call.client.check(stage.now))
        call.run(0.1)
    if not media.is_alive():
        return Heard.DEAD
    return media.fire(media.shots(5), pause=0.02)


@case(
    "rfc5764/3/calls-apart",
    "Two calls have two keys: what is sealed for one is not taken in the other.",
    sends="SRTP packets of one call from the address of another",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc5764/3/3", "rfc3711/9.1/3"),
)
def calls_apart(stage: Stage) -> Observed:
    media, other = open_media(stage), open_media(stage)
    strange = [attrs.evolve(shot, wanted=False, note="of another call") for shot in other.shots(3)]
    before, after = media.shots(2)
    return media.fire([before, *strange, after])
