"""How the relay's parsers are called, and what must hold of what they return."""

import contextlib

from .target import Run, Table, again, insist, only

TABLE = Table()
_NOW = 1000.0
_ROUTING_KEY = bytes(range(16))
_PASSWORD_KEY = bytes(range(16, 48))


@TABLE.target("stunroute.demux.classify", length=64, weight=2.0)
def _classify() -> Run:
    from stunroute import demux

    def run(data: bytes) -> None:
        kind = demux.classify(data)
        insist((kind is demux.Kind.EMPTY) == (not data), "only an empty datagram is EMPTY")
        insist(kind is demux.classify(data[:2]), "two octets decide")

    return run


@TABLE.target("stunroute.forward.decode_untrusted", seeds="leg", length=96)
def _forward() -> Run:
    from stunroute import forward

    def run(data: bytes) -> None:
        leg = forward.decode_untrusted(data)
        written = forward.encode(leg.client, leg.proxy)
        insist(written == data[: forward.HEADER_LENGTH], "a header is encoded as it came")

    return only(run)


@TABLE.target("stunroute.hint.KeyRing.decode_untrusted", seeds="ufrag", length=40)
def _hint() -> Run:
    """Half of the inputs are hints of ours, with fields that the input chose."""
    from stunroute.hint import Hint, HintConfiguration, KeyRing
    from stunroute.trace import Drop

    ring = KeyRing(
        [
            HintConfiguration("0", _ROUTING_KEY, _PASSWORD_KEY),
            HintConfiguration("7", _ROUTING_KEY[::-1], None, read_until=_NOW),
        ]
    )

    def run(data: bytes) -> None:
        if len(data) == 11:
            node, cluster = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:6], "big")
            ufrag = ring.mint(cluster, node, lambda count: data[6 : 6 + count], _NOW).encode()
            hint = ring.decode_untrusted(ufrag, _NOW)
            insist(hint == Hint("0", cluster, node, data[6:]), "a minted hint is read back")
            insist(len(ring.password(ufrag)) == 32, "a password has 32 characters")
            return
        result = ring.decode_untrusted(data, _NOW)
        insist(isinstance(result, Hint | Drop), "a hint or the reason why it is none")
        if isinstance(result, Hint):
            insist(result.configuration == "0", "a configuration is read within its window")

    return run


@TABLE.target("stunroute.operations.admin._request_untrusted", seeds="json", length=512)
def _admin() -> Run:
    from stunroute.operations import admin

    return only(admin._request_untrusted, admin._Refused)


@TABLE.target("stunroute.relay._peek_ssrc_untrusted", seeds="rtp", length=64)
def _peek_ssrc() -> Run:
    from stunroute import demux
    from stunroute.relay import _peek_ssrc_untrusted

    def run(data: bytes) -> None:
        for kind in demux.Kind:
            ssrc = _peek_ssrc_untrusted(data, kind)
            insist(ssrc is None or 0 <= ssrc < 1 << 32, "an SSRC has 32 bits")

    return run


@TABLE.target("stunroute.relay.Relay._route_stun_untrusted", seeds="stun", length=600)
def _route_stun() -> Run:
    from stunroute.address import Address
    from stunroute.config import RelayConfig
    from stunroute.directory import StaticDirectory
    from stunroute.errors import DecodeError
    from stunroute.flow import Flow
    from stunroute.hint import HintConfiguration, KeyRing
    from stunroute.relay import Relay
    from stunroute.trace import Drop

    config = RelayConfig(flows=16, contenders=4)
    ring = KeyRing([HintConfiguration("0", _ROUTING_KEY, _PASSWORD_KEY)])
    client, proxy = Address.of("192.0.2.1", 4000), Address.of("198.51.100.1", 3478)

    def run(data: bytes) -> None:
        relay = Relay(config, ring, StaticDirectory({}))
        try:
            route = relay._route_stun_untrusted(data, client, proxy, _NOW)
        except DecodeError:
            return
        insist(isinstance(route, Flow | Drop), "a flow or a reason")
        insist(relay.flows == 0, "nobody gets a flow to a fleet without nodes")

    return run


TABLE.cover(
    "stunroute.relay.Relay._route_check_untrusted",
    "stunroute.relay.Relay._route_stun_untrusted",
    "It is called behind the check of the header and nowhere else.",
)


@TABLE.target("stunroute.store.entry.EntryCodec.decode_untrusted", seeds="octets", length=80)
def _entry() -> Run:
    """Half of the inputs are signed with the right key: what follows the signature is read too."""
    from stunroute.address import Address
    from stunroute.store.entry import EntryCodec

    codec = EntryCodec(b"key", "stunroute:", 60_000_000)
    client = Address.of("192.0.2.1", 4000)
    now = 1_700_000_000_000_000

    def run(data: bytes) -> None:
        value = data[1:]
        if data[:1] < b"\x80" and len(value) >= 35:
            value = value[:35] + codec._mac(client, value[:35])
        entry = codec.decode_untrusted(client, value, now)
        written = codec.encode(client, entry, now)
        insist(
            again(codec.decode_untrusted, client, written, now) == entry,
            "an entry that was read can be written and read again",
        )

    return only(run)


# --- STUN ---------------------------------------------------------------------------------------


@TABLE.target("stunroute.stun.message.decode_untrusted", seeds="stun", length=600, weight=2.0)
def _message() -> Run:
    """Every property is read as well: attributes are decoded when somebody asks."""
    from stunroute import stun
    from stunroute.errors import DecodeError

    key = stun.IntegrityKey(b"a password that nobody has")
    readers = (
        *("username", "priority", "ice_controlling", "ice_controlled", "nomination"),
        *("network_cost", "use_candidate", "mapped_address", "alternate_server", "error_code"),
        *("unknown_attributes", "software", "realm", "nonce", "userhash", "password_algorithm"),
        *("password_algorithms", "xor_mapped_address"),
    )

    def run(data: bytes) -> None:
        message = stun.decode_untrusted(data)
        for name in readers:
            with contextlib.suppress(DecodeError):
                getattr(message, name)
        insist(0 <= message.method < 1 << 12, "a method has twelve bits")
        insist(not message.verify_integrity(key), "nobody signs with a key that he has not")
        insist(message.fingerprint_ok in (None, False, True), "a fingerprint is right or not")
        size = sum(4 + -(-len(value) // 4) * 4 for _, value in message.attributes)
        insist(size == len(data) - 20, "the attributes fill the message")
        insist(str(message.transaction_id.hex()) in repr(message), "a message can be shown")

    return only(run)


TABLE.cover(
    "stunroute.stun.message._walk_untrusted",
    "stunroute.stun.message.decode_untrusted",
    "It is the decoder's own way through the attributes.",
)
TABLE.cover(
    "stunroute.stun.attributes._decode_address_untrusted",
    "stunroute.stun.attributes.decode_address_untrusted",
    "Both decoders of addresses are this one with their masks.",
)


@TABLE.target("stunroute.stun.attributes.decode_xor_address_untrusted", seeds="value", length=40)
def _xor_address() -> Run:
    from stunroute import stun
    from stunroute.stun import attributes

    def run(data: bytes) -> None:
        transaction = data[:12].ljust(12, b"\x00")
        address = attributes.decode_xor_address_untrusted(data[12:], transaction)
        written = stun.encode_xor_address(address, transaction)
        found = again(attributes.decode_xor_address_untrusted, written, transaction)
        insist(found == address, "an address that was read can be written and read again")

    return only(run)


@TABLE.target("stunroute.stun.header.peek_username_untrusted", seeds="stun", length=600)
def _peek_username() -> Run:
    """What is peeked at a sound request is what its decoder finds."""
    from stunroute import stun
    from stunroute.errors import DecodeError

    def run(data: bytes) -> None:
        peeked = stun.peek_username_untrusted(data)
        try:
            message = stun.decode_untrusted(data)
            username = message.username
        except DecodeError:
            return
        asks = message.message_class is stun.MessageClass.REQUEST
        if asks and message.method == stun.Method.BINDING:
            insist(peeked == username, "what is peeked is what is decoded")

    return only(run)
