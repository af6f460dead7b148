"""The numbers of STUN and their names, as IANA keeps them.

Only what ICE, TURN and their extensions put on the wire today is listed; the rest stays a number.
``UNDERSTOOD`` is what the codec in this package can read, and so what a request may demand of an
ICE agent built on it: any other type below 0x8000 is "unknown" in the sense of RFC 8489, 6.3.1.
"""

from enum import IntEnum, unique

MAGIC_COOKIE = 0x2112A442
"""The 32 bits that follow the length in every header since RFC 5389."""

COMPREHENSION_OPTIONAL = 0x8000
"""The first attribute type that a receiver may ignore when it does not know it."""


@unique
class MessageClass(IntEnum):
    """What a message is to its transaction; the value is the two class bits of the type."""

    REQUEST = 0b00
    INDICATION = 0b01
    SUCCESS = 0b10
    ERROR = 0b11


@unique
class Method(IntEnum):
    """Binding is STUN's own and all that ICE uses; the others are TURN's (RFC 8656, 6062)."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009
    CONNECT = 0x00A
    CONNECTION_BIND = 0x00B
    CONNECTION_ATTEMPT = 0x00C


@unique
class Attribute(IntEnum):
    """Attribute types. Where clients in the field use a name of their own, theirs is here."""

    # Comprehension required
    MAPPED_ADDRESS = 0x0001
    CHANGE_REQUEST = 0x0003
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    EVEN_PORT = 0x0018
    REQUESTED_TRANSPORT = 0x0019
    DONT_FRAGMENT = 0x001A
    ACCESS_TOKEN = 0x001B
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    PASSWORD_ALGORITHM = 0x001D
    USERHASH = 0x001E
    XOR_MAPPED_ADDRESS = 0x0020
    RESERVATION_TOKEN = 0x0022
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    PADDING = 0x0026
    RESPONSE_PORT = 0x0027
    CONNECTION_ID = 0x002A

    # Comprehension optional
    ADDITIONAL_ADDRESS_FAMILY = 0x8000
    ADDRESS_ERROR_CODE = 0x8001
    PASSWORD_ALGORITHMS = 0x8002
    ALTERNATE_DOMAIN = 0x8003
    ICMP = 0x8004
    SOFTWARE = 0x8022
    ALTERNATE_SERVER = 0x8023
    CACHE_TIMEOUT = 0x8027
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A
    RESPONSE_ORIGIN = 0x802B
    OTHER_ADDRESS = 0x802C
    THIRD_PARTY_AUTHORIZATION = 0x802E
    MOBILITY_TICKET = 0x8030
    NOMINATION = 0xC001
    """Renomination as libwebrtc sends it. IANA lists the number as ENF-FLOW-DESCRIPTION."""
    NETWORK_COST = 0xC057
    """libwebrtc's network id and cost. IANA lists it as GOOG-NETWORK-INFO."""
    GOOG_LAST_ICE_CHECK_RECEIVED = 0xC058
    GOOG_MISC_INFO = 0xC059
    GOOG_CONNECTION_ID = 0xC05B
    GOOG_DELTA = 0xC05C
    GOOG_DELTA_ACK = 0xC05D
    GOOG_MESSAGE_INTEGRITY_32 = 0xC060
    DTLS_IN_STUN = 0xC070
    """SPED: a DTLS flight carried in a check."""
    DTLS_IN_STUN_ACKNOWLEDGEMENT = 0xC071


UNDERSTOOD = frozenset(
    {
        Attribute.MAPPED_ADDRESS,
        Attribute.USERNAME,
        Attribute.MESSAGE_INTEGRITY,
        Attribute.ERROR_CODE,
        Attribute.UNKNOWN_ATTRIBUTES,
        Attribute.REALM,
        Attribute.NONCE,
        Attribute.MESSAGE_INTEGRITY_SHA256,
        Attribute.PASSWORD_ALGORITHM,
        Attribute.USERHASH,
        Attribute.XOR_MAPPED_ADDRESS,
        Attribute.PRIORITY,
        Attribute.USE_CANDIDATE,
    }
)
"""The comprehension-required attributes that this package reads."""


@unique
class PasswordAlgorithm(IntEnum):
    """How a long-term key comes from a password (RFC 8489, 18.5)."""

    MD5 = 0x0001
    SHA_256 = 0x0002


@unique
class ErrorCode(IntEnum):
    """Error codes of STUN and ICE (RFC 8489, 14.8; RFC 8445, 7.3.1.1)."""

    TRY_ALTERNATE = 300
    BAD_REQUEST = 400
    UNAUTHENTICATED = 401
    FORBIDDEN = 403
    UNKNOWN_ATTRIBUTE = 420
    STALE_NONCE = 438
    ROLE_CONFLICT = 487
    SERVER_ERROR = 500

    @property
    def reason(self) -> str:
        """The reason phrase that goes with it: ``Role Conflict``."""
        return self.name.replace("_", " ").title()


def attribute_name(type: int) -> str:
    """The name as the RFCs print it (``XOR-MAPPED-ADDRESS``), or the number as ``0x4000``."""
    try:
        return Attribute(type).name.replace("_", "-")
    except ValueError:
        return f"{type:#06x}"
