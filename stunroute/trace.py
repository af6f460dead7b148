"""Why a packet went nowhere.

``Drop`` is the closed list of reasons for which anything in this project lets go of a packet that
came from the network. A core counts them, a trace names them, and a test hits each one (a test
reads this enum and fails when a member has none). The text beside each is for operators.

The records before it tell the life of the relay's flows to whoever asks for it with ``observe``.
They are made when something changes, never for a packet that merely passes.
"""

from collections.abc import Callable
from enum import Enum, unique
from typing import TypeAlias

from attrs import frozen

from .address import Address
from .instant import Instant


class Origin(Enum):
    """What made a flow."""

    CHECK = "check"  # a Binding request that names a node
    DOWNLINK = "downlink"  # a packet from a transceiver to a client the relay did not know
    ANSWER = "answer"  # a waiting contender's owner answered when the address was free again
    STORE = "store"  # the shared store remembered it


@frozen(slots=True)
class FlowMade:
    at: Instant
    client: Address
    next_hop: Address
    origin: Origin


@frozen(slots=True)
class FlowMoved:
    """Another session took the client address over."""

    at: Instant
    client: Address
    old: Address
    next_hop: Address


@frozen(slots=True)
class FlowContended:
    """A check named another next hop than the live flow's. ``next_hop`` waits to take over."""

    at: Instant
    client: Address
    owner: Address
    next_hop: Address


@frozen(slots=True)
class FlowReleased:
    """The owner said that it is done with the client address. ``made`` is when the flow was made
    or moved."""

    at: Instant
    client: Address
    next_hop: Address
    made: Instant


@frozen(slots=True)
class FlowExpired:
    """Nothing passed for a whole generation."""

    at: Instant
    client: Address
    next_hop: Address


@frozen(slots=True)
class FlowRenewed:
    """The first packet of a flow in a new generation: it lives on. ``made`` is when it was made or
    moved."""

    at: Instant
    client: Address
    next_hop: Address
    made: Instant


@frozen(slots=True)
class Dropped:
    """A packet was let go of. ``address`` is the client's, or the sender's on the inner leg."""

    at: Instant
    address: Address
    drop: "Drop"


FlowRecord: TypeAlias = (
    FlowMade | FlowMoved | FlowContended | FlowReleased | FlowExpired | FlowRenewed
)
Record: TypeAlias = FlowRecord | Dropped
Observe: TypeAlias = Callable[[Record], None]


@unique
class Drop(Enum):
    """A reason for letting go of a packet. The value is the metric label."""

    # Members are counted for every packet of a flood; their identity hashes in C, their name not.
    __hash__ = object.__hash__

    # Demultiplexing (RFC 7983, RFC 9443)
    EMPTY = "empty"  # a datagram without a payload
    NOT_OURS = "not-ours"  # a kind that nothing behind the relay speaks (ZRTP, TURN, QUIC, none)

    NO_WAY_BACK = "no-way-back"  # a check from an address that nothing can be sent to (port 0)

    # STUN as the relay reads it
    STUN_MALFORMED = "stun-malformed"  # first octet says STUN, the rest does not
    STUN_NOT_BINDING = "stun-not-binding"  # a request of another method
    STUN_NO_USERNAME = "stun-no-username"  # a Binding request that names nobody

    # The routing hint
    HINT_MALFORMED = "hint-malformed"  # not 26 characters of 0-9a-z, or no colon behind them
    HINT_UNROUTABLE = "hint-unroutable"  # configuration z: minted plain, not to be routed
    HINT_UNKNOWN_CONFIGURATION = "hint-unknown-configuration"
    HINT_OUTSIDE_WINDOW = "hint-outside-window"  # a configuration not readable yet, or no more
    HINT_FORGED = "hint-forged"  # does not decipher to a hint of ours
    HINT_UNKNOWN_NODE = "hint-unknown-node"
    HINT_DRAINED_NODE = "hint-drained-node"
    EDGE_RATE = "edge-rate"  # more checks of one network than are verified in a second
    SESSION_RATE = "session-rate"  # more flows of one session than it may make in a second
    EDGE_INTEGRITY = "edge-integrity"  # MESSAGE-INTEGRITY missing or wrong at the relay

    # Flows
    NO_FLOW = "no-flow"  # not a check, and the sender has no flow
    FLOWS_FULL = "flows-full"  # the table is at its bound and nothing in it is idle

    # The leg between relay and transceiver
    LEG_MALFORMED = "leg-malformed"  # no header, not its magic, or a client nothing can be sent to
    LEG_STRANGER = "leg-stranger"  # the sender is not on the list of peers
    LEG_NOT_OWNER = "leg-not-owner"  # a transceiver sends to a client that is another's
    LEG_HEAL_RATE = "leg-heal-rate"  # flows made from the downlink are rate-bounded
    LEG_UNKNOWN_PROXY = "leg-unknown-proxy"  # the header names a public address that is not ours

    # Sockets
    TOO_LONG = "too-long"  # longer than what is read of a datagram, so it would be cut
    SEND_BACKLOG = "send-backlog"  # the kernel takes no more, and the bounded backlog is full

    # Sessions and their endpoint
    UFRAG_UNKNOWN = "ufrag-unknown"  # a check for a session that is not here, or no more
    SESSION_UNKNOWN = "session-unknown"  # from an address that no check has validated
    SESSION_CLOSED = "session-closed"  # its session has ended
    DTLS_UNVALIDATED_ADDRESS = "dtls-unvalidated-address"  # a handshake nobody vouched for
    SRTP_UNVALIDATED_ADDRESS = "srtp-unvalidated-address"  # media before keys, from a stranger
    SRTP_NO_KEYS = "srtp-no-keys"  # media before keys, more than is kept for them
    DATA_NOT_NEGOTIATED = "data-not-negotiated"  # application data, and no section asked for it
    RTP_MALFORMED = "rtp-malformed"  # authentic, and still no RTP packet
    RTCP_MALFORMED = "rtcp-malformed"
    RTP_PAYLOAD_TYPE = "rtp-payload-type"  # a codec that was not agreed
    RTP_SECTION = "rtp-section"  # of a source that names another section (RFC 8843, 9.2)
    RTP_DISCONTINUITY = "rtp-discontinuity"  # a sequence number far from its neighbours
    RTP_NO_PAYLOAD = "rtp-no-payload"  # padding alone: a probe, counted and let go

    # SRTP and SRTCP
    SRTP_TOO_SHORT = "srtp-too-short"  # ends before its own header and tag do
    SRTP_TOO_LONG = "srtp-too-long"  # more than the library's buffer holds
    SRTP_AUTHENTICATION = "srtp-authentication"  # the tag does not verify
    SRTP_REPLAY = "srtp-replay"  # seen before
    SRTP_TOO_OLD = "srtp-too-old"  # behind the replay window
    SRTP_SOURCES = "srtp-sources"  # one synchronisation source more than is allowed
    SRTP_REFUSED = "srtp-refused"  # SRTCP in the clear, or a header libsrtp cannot take

    # DTLS records
    DTLS_RECORD_MALFORMED = "dtls-record-malformed"  # no whole record of a DTLS version
    DTLS_RECORD_TYPE = "dtls-record-type"  # a content type that is not spoken here
    DTLS_EPOCH = "dtls-epoch"  # an epoch that this connection cannot have
    DTLS_RECORDS_AHEAD = "dtls-records-ahead"  # protected, no keys yet, and enough are kept
    DTLS_PLAINTEXT = "dtls-plaintext"  # unprotected although there are keys
    DTLS_AUTHENTICATION = "dtls-authentication"  # does not open under the connection's keys
    DTLS_REPLAY = "dtls-replay"  # seen before, or behind the replay window
    DTLS_CONTENT = "dtls-content"  # authentic, but no content that can be meant
    DTLS_CLOSED = "dtls-closed"  # the connection has ended, or has not begun

    # DTLS handshake
    DTLS_ALERT_UNAUTHENTICATED = "dtls-alert-unauthenticated"  # anybody could have sent it
    DTLS_FRAGMENT_MALFORMED = "dtls-fragment-malformed"  # a handshake header at odds with itself
    DTLS_FRAGMENT_OVERSIZED = "dtls-fragment-oversized"  # of a message longer than the bound
    DTLS_FRAGMENT_AHEAD = "dtls-fragment-ahead"  # of a message too far in the future
    DTLS_FRAGMENT_CONTRADICTION = "dtls-fragment-contradiction"  # says otherwise than its siblings
    DTLS_REASSEMBLY_FULL = "dtls-reassembly-full"  # an unfinished message had to make room
    DTLS_OLD_MESSAGE = "dtls-old-message"  # dealt with before
    DTLS_MESSAGE_MALFORMED = "dtls-message-malformed"  # whole, and not readable
    DTLS_MESSAGE_UNEXPECTED = "dtls-message-unexpected"  # readable, not its turn
    DTLS_NOT_NEGOTIABLE = "dtls-not-negotiable"  # no version, suite, group or profile in common
    DTLS_FINGERPRINT = "dtls-fingerprint"  # a certificate that the SDP does not know
    DTLS_SIGNATURE = "dtls-signature"  # the certificate's key did not sign this handshake
    DTLS_RENEGOTIATION = "dtls-renegotiation"  # a second handshake is not held

    # SCTP, all of it authentic by DTLS
    SCTP_MALFORMED = "sctp-malformed"  # no common header, or a chunk at odds with its length
    SCTP_CHECKSUM = "sctp-checksum"  # a CRC that is wrong, or missing and not agreed to be
    SCTP_PORT = "sctp-port"  # ports other than those of the descriptions
    SCTP_TAG = "sctp-tag"  # a verification tag that is not this association's (RFC 9260, 8.5)
    SCTP_COOKIE = "sctp-cookie"  # a state cookie that is not ours, or stale
    SCTP_UNEXPECTED = "sctp-unexpected"  # a chunk that means nothing in this state (RFC 9260, 8.4)
    SCTP_BUNDLED = "sctp-bundled"  # INIT or its like that is not alone, or a second SACK
    SCTP_UNKNOWN_CHUNK = "sctp-unknown-chunk"  # skipped or stopped at, as its type says
    SCTP_ACK = "sctp-ack"  # acknowledges what was never sent
    SCTP_DUPLICATE = "sctp-duplicate"  # DATA that has come before
    SCTP_WINDOW = "sctp-window"  # DATA beyond the window or the gaps we keep
    SCTP_STREAM = "sctp-stream"  # DATA on a stream that was not agreed
    SCTP_FRAGMENT = "sctp-fragment"  # a fragment that contradicts its neighbours
    SCTP_MESSAGE_TOO_LONG = "sctp-message-too-long"  # more than was announced
    SCTP_REQUEST = "sctp-request"  # a RE-CONFIG request out of sequence, or in vain
    SCTP_RATE = "sctp-rate"  # more control chunks than are answered in a second
    SCTP_CLOSED = "sctp-closed"  # the association is over

    # Data channels
    CHANNEL_MALFORMED = "channel-malformed"  # no DCEP message, or one that cannot be meant
    CHANNEL_REFUSED = "channel-refused"  # beyond the channels there may be, or opened too fast
    CHANNEL_UNKNOWN = "channel-unknown"  # a message on a stream without a channel
    CHANNEL_PROTOCOL = "channel-protocol"  # a payload protocol that carries no message (RFC 8831)

    # ICE, after the relay's checks of STUN
    ICE_UFRAG = "ice-ufrag"  # USERNAME's first half is no ufrag that this agent honours
    ICE_PEER_UFRAG = "ice-peer-ufrag"  # it has no second half
    ICE_FINGERPRINT = "ice-fingerprint"  # FINGERPRINT is there and wrong
    ICE_NO_INTEGRITY = "ice-no-integrity"  # a check that nobody signed
    ICE_INTEGRITY = "ice-integrity"  # signed with another password
    ICE_COPIED = "ice-copied"  # an authentic check that came from another address before
    ICE_INDICATION = "ice-indication"  # a keepalive: asks nothing and proves nothing
    ICE_RESPONSE = "ice-response"  # an answer to a request that a lite agent never sends
