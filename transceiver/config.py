"""Every bound and every duration of the cores, by name.

Durations are seconds, sizes bytes unless the name says otherwise. What happens when a bound is
reached stands beside it. The settings of the programs (addresses, files) build on these.
"""

from attrs import field, frozen

from stunroute.address import Address


@frozen(slots=True)
class IceLimits:
    validated_paths: int = 16
    """Pairs of client and relay address that a session keeps as validated, at least 2; the one
    longest silent makes room."""
    requests: int = 256
    """Authenticated requests remembered, to tell a retransmission from a copy sent from elsewhere;
    the oldest is forgotten."""
    pending: int = 64
    """Answers that nobody has fetched yet, of which the oldest goes (the client asks again), and
    unfetched events beyond which further drops are not reported."""
    restart_overlap: float = 30.0
    """How long the previous credentials are honoured after an ICE restart."""
    takeover_silence: float = 3.0
    """A check without USE-CANDIDATE from a validated path moves the session there when the selected
    path has been silent for this long (RFC 8445 leaves it to the lite side; a NAT rebinding looks
    like this to clients that nominate once). Longer than the 2.5 s between libwebrtc's checks on a
    pair in use, lest its rarer checks on the others take over a call that sends no media."""


@frozen(slots=True)
class DtlsLimits:
    first_resend: float = 0.05
    """As client the first flight is repeated after this, then after twice and four times this, then
    doubling from ``resend_initial``. Also the least time between two repetitions that the peer's
    own repetitions ask for."""
    resend_initial: float = 0.4
    resend_maximum: float = 10.0
    mtu: int = 1200
    """Largest datagram of ours before the network's headers."""
    message_length: int = 16384
    """Largest handshake message reassembled; a longer one is dropped."""
    messages_ahead: int = 10
    """Handshake messages beyond the next expected that are kept."""
    reassembly_bytes: int = 65536
    """Sum of the lengths of the messages in reassembly; the oldest of them makes room."""
    records_ahead: int = 8
    """Records of the next epoch kept until its keys exist, and application data kept until the
    peer's Finished has come; one more is dropped."""
    hello_verifications: int = 4
    """HelloVerifyRequests answered as client; one more is dropped."""
    answered_hellos: int = 4
    """Different hellos that a server keeps as answered until one of them is shown to be the
    peer's; the oldest makes room."""
    outgoing_messages: int = 64
    """Application messages accepted before the handshake is done; one more raises to the caller."""


@frozen(slots=True)
class SrtpLimits:
    replay_window: int = 1024
    """Packets behind the newest that are still taken, 64 to 32767; an older one is dropped. At 50
    packets per second this is 20 s of reordering. (SRTCP: 128, fixed by libsrtp.)"""
    sources: int = 32
    """Synchronisation sources (SSRC) of one peer that may authenticate in one session; another is
    dropped, because forgetting one would forget its replay window."""
    rollover_guesses: int = 64
    """How often in a session the first packet of a source is tried with a rollover counter of one
    after it failed with zero; beyond it such a source stays unheard."""


@frozen(slots=True)
class SdpLimits:
    size: int = 65536
    """Bytes of one description in UTF-8; a longer one is refused."""
    lines: int = 2000
    """Lines of one description; a longer one is refused."""
    sections: int = 64
    """Media sections of one description; one with more is refused."""


@frozen(slots=True)
class SctpLimits:
    """Timers are those of libwebrtc's SCTP, which the other end of most calls is."""

    packet: int = 1191
    """Bytes of one SCTP packet at most; in a DTLS record, in the leg, over UDP and IPv6 that stays
    inside an Ethernet frame."""
    streams: int = 1024
    """Streams in each direction at most, so channels 0 to one less."""
    receive_window: int = 1_048_576
    """Bytes kept for messages that are not whole, or not in their turn, yet: what we advertise as
    our window. Beyond it DATA is dropped, and its sender sends it again."""
    chunks_ahead: int = 4096
    """Messages and pieces of messages kept so, however small, and how far beyond a gap the TSN of
    DATA may lie; what exceeds either is dropped like what exceeds the window."""
    message: int = 262_144
    """Bytes of one message that we take, and announce in the answer. What grows beyond it is let
    go, and its channel is closed."""
    send_buffer: int = 4_194_304
    """Bytes of messages waiting to be sent or acknowledged, all streams together, each counted for
    128 more than it has; one more message raises to the caller."""
    rto_initial: float = 0.5
    """How long an acknowledgement is waited for before the way has been measured, and the bounds of
    that once it has; each time in vain doubles it, up to the maximum (RFC 9260, 6.3)."""
    rto_minimum: float = 0.4
    rto_maximum: float = 10.0
    init_retransmissions: int = 0
    """How often INIT and COOKIE ECHO are sent again; 0: as long as the session lives."""
    delayed_ack: float = 0.2
    """A lone packet of DATA is acknowledged at the latest after this (RFC 9260, 6.2)."""
    heartbeat_interval: float = 30.0
    """How often an association that has no data under way measures how long the way is."""
    cookie_lifetime: float = 60.0
    """How long a state cookie may take to come back; a later one is answered as stale."""
    control_rate: int = 50
    """Control chunks of the peer that want an answer (INIT, COOKIE ECHO, HEARTBEAT, RE-CONFIG, a
    chunk not known) served per second, with twice as many in one go; more are dropped."""
    events: int = 4096
    """Unfetched events; when there are more, further messages are refused as if the window were
    shut, and drops are not reported."""


@frozen(slots=True)
class ChannelLimits:
    channels: int = 256
    """Data channels of one session at once, those being opened or closed included; one more that
    the peer opens is closed again, one more of ours raises to the caller."""
    label: int = 1024
    """Bytes of a channel's label, and of its protocol; a channel of the peer's with a longer one is
    closed again, one of ours raises to the caller."""
    opens_per_second: float = 50.0
    """Channels that a peer may open, with twice as many in one go; more are closed unheard."""
    threshold: int = 65_536
    """``buffered_amount`` at or under which a channel that was above it reports that it drained."""


@frozen(slots=True)
class VoiceLimits:
    """Sound between the network and an agent; durations in seconds."""

    target: float = 0.04
    """What the jitter buffer holds back at least, while the network is steady."""
    target_maximum: float = 0.2
    """What it holds back at most, however unsteady."""
    packets: int = 256
    """Packets in the jitter buffer; the oldest goes."""
    conceal: float = 0.1
    """How long a hole is filled with sound made up; then silence."""
    queue: float = 300.0
    """Sound that an agent may have waiting to be heard; the oldest goes, and is counted."""
    idle: float = 10.0
    """Without a packet for this long an agent gets no more silence, until the next packet."""


@frozen(slots=True)
class RealtimeLimits:
    """The conversation of Realtime events of one call; durations in seconds."""

    event: int = 1_048_576
    """Bytes of one event of a client; a longer one is answered with an error. (On a data channel
    ``SctpLimits.message`` comes first.)"""
    depth: int = 32
    """Objects and arrays within each other in one event; a deeper one is answered with an error."""
    containers: int = 16_384
    """Objects and arrays in one event; one with more is answered with an error."""
    connections: int = 8
    """Connections for events at once, the client's channel and those on the side; one more is
    closed."""
    items: int = 512
    """Items of the conversation that are remembered; the oldest is forgotten."""
    item_bytes: int = 1_048_576
    """Characters of their JSON together; the oldest is forgotten."""
    session_bytes: int = 262_144
    """Characters of the session object's JSON; an update that would make it longer is refused."""
    work: int = 4_194_304
    """Bytes of events that are read for a client, or written in answer, in a second, with four
    times as many in one go; an event counts for 4 KiB more than it is long. What comes beyond is
    let go, and once a second an error says so."""
    transcript: int = 65_536
    """Characters of one utterance's words; the rest is let go."""
    answer_wait: float = 30.0
    """A response that the client has asked for, and for which the agent neither says nor plays
    anything for so long, has failed."""


@frozen(slots=True)
class SessionLimits:
    establish_timeout: float = 30.0
    """From the answer to keys agreed."""
    consent_timeout: float = 30.0
    """A session ends after this long without one authenticated packet (RFC 7675)."""
    disconnected_after: float = 6.0
    """Established but silent for this long: phase ``disconnected``."""
    probe_interval: float = 0.5
    """When audio that was flowing stops, a report goes out this often: a relay that has lost its
    flows learns this one from it."""
    probes: int = 10
    """How many of them at most, until audio flows again."""
    maximum_length: float = 3600.0
    """A call's longest life, from the answer."""
    warning_before: float = 60.0
    """How long before that the warning event comes."""
    report_interval: float = 5.0
    """Mean time between RTCP reports (RFC 3550, 6.2); the first comes after half of it."""
    remote_sources: int = 8
    """Synchronisation sources (SSRC) of one peer that are tracked; the one longest silent goes."""
    early_media: int = 16
    """SRTP packets kept while the handshake completes; the oldest goes."""


@frozen(slots=True)
class EndpointConfig:
    """What an ``Endpoint`` needs besides its keys.

    ``cluster`` and ``node`` are this transceiver's name in the routing hint (16 and 32 bits);
    ``candidates`` the public relay addresses that answers advertise, best first; ``relays`` the
    inner addresses from which the leg is accepted (empty: none is).
    """

    cluster: int
    node: int
    candidates: tuple[Address, ...]
    relays: frozenset[Address]
    codecs: tuple[str, ...] = ("opus", "PCMU", "PCMA")
    data: bool = True
    """Whether a section for data channels is accepted."""
    sessions: int = 1000
    """Calls at once; the next one is refused (``AtCapacity``)."""
    retry_after: float = 5.0
    """What a refused caller is told to wait."""
    events: int = 65536
    """Undelivered events kept; beyond it the oldest audio goes first."""
    session: SessionLimits = field(factory=SessionLimits)
    ice: IceLimits = field(factory=IceLimits)
    dtls: DtlsLimits = field(factory=DtlsLimits)
    srtp: SrtpLimits = field(factory=SrtpLimits)
    sctp: SctpLimits = field(factory=SctpLimits)
    channel: ChannelLimits = field(factory=ChannelLimits)
