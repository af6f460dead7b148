"""Taking the picture of a call that ``snapshot`` describes."""

from stunroute.hint import Hint
from stunroute.instant import Instant

from .session import Session
from .snapshot import Audio, Snapshot, Timings


def snapshot_of(session: Session, hint: Hint, now: Instant) -> Snapshot:
    """A value that says how ``session`` stands at ``now``; changes nothing."""
    secured = session.secured
    return Snapshot(
        call=session.call,
        phase=session.phase.value,
        age=now - session.marks.opened,
        ufrag=session.agent.local.ufrag.decode(),
        cluster=hint.cluster,
        node=hint.node,
        ice_validated=session.agent.validated,
        ice_nominated=session.agent.nominated,
        dtls_role=session.negotiated.role.value,
        dtls_version=secured.version if secured else None,
        cipher_suite=secured.cipher_suite if secured else None,
        srtp_profile=secured.keys.profile.name if secured and secured.keys else None,
        timings=_timings(session),
        audio=_audio(session),
        channels=session.data.count() if session.data else None,
        drops={drop.value: times for drop, times in sorted(session.drops.items(), key=_by_name)},
    )


def _by_name(item: tuple[object, int]) -> str:
    return str(item[0])


def _timings(session: Session) -> Timings:
    marks = session.marks

    def since(at: Instant | None) -> float | None:
        return None if at is None else at - marks.opened

    return Timings(
        first_check=since(marks.first_check),
        dtls_started=since(marks.dtls_started),
        established=since(marks.established),
        first_audio_in=since(marks.first_audio_in),
        first_audio_out=since(marks.first_audio_out),
    )


def _audio(session: Session) -> Audio:
    stream = session.audio
    source, sender = stream.current, stream.sender
    return Audio(
        codec=session.negotiated.codec.name if session.negotiated.codec else None,
        packets_in=stream.packets_in,
        packets_out=sender.packets,
        jitter=source.jitter_seconds if source else None,
        lost=source.lost if source else 0,
        expected=source.expected if source else 0,
        round_trip=sender.round_trip_time,
        remote_jitter=sender.remote_jitter_seconds,
        remote_lost=sender.remote_lost,
    )
