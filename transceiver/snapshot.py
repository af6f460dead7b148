"""What one call looks like from outside, for people and their dashboards.

A snapshot is a value: taking it changes nothing. Durations are seconds; None means *not yet* or
*nothing to tell*. It holds no secret and no address.
"""

from attrs import frozen


@frozen(slots=True)
class Timings:
    """Seconds from the answer to each step of the set-up."""

    first_check: float | None
    dtls_started: float | None
    established: float | None
    first_audio_in: float | None
    first_audio_out: float | None


@frozen(slots=True)
class Audio:
    """The media of one call. ``lost`` and ``expected`` count the client's packets as RFC 3550
    (A.3) defines them; ``remote_*`` is what the client reports of ours. ``codec`` is None in a call
    without audio."""

    codec: str | None
    packets_in: int
    packets_out: int
    jitter: float | None
    lost: int
    expected: int
    round_trip: float | None
    remote_jitter: float | None
    remote_lost: int | None


@frozen(slots=True)
class Snapshot:
    """``cluster`` and ``node`` are what this call's routing hint says in clear; ``dtls_role`` is
    ours (``client`` or ``server``); ``channels`` how many data channels are open, None where the
    call has no section for them."""

    call: str
    phase: str
    age: float
    ufrag: str
    cluster: int
    node: int
    ice_validated: int
    ice_nominated: bool
    dtls_role: str
    dtls_version: str | None
    cipher_suite: str | None
    srtp_profile: str | None
    timings: Timings
    audio: Audio
    channels: int | None
    drops: dict[str, int]
