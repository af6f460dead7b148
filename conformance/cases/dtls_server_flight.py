"""Whom a server believes that is the DTLS client: the flights of the DTLS server, right and wrong.

Each deviation is one; what is signed and hashed is what was sent.
"""

from collections.abc import Callable
from typing import Any

import attrs

from conformance.case import Case, Level, Observed, Profile, Rule, Unsupported, case
from conformance.client import fixed_identity
from conformance.probe.dtls import (
    COMPLETED,
    NOT_COMPLETED,
    NOT_REFUSED,
    NOT_REFUSED_IN_TIME,
    REFUSED,
    REFUSED_IN_TIME,
    Change,
    Handshaken,
    Odd,
    Refusal,
)
from conformance.probe.dtls_hello import GREASE, server_hello, use_srtp
from conformance.probe.dtls_identity import RSA_PKCS1_SHA256, rsa_identity
from conformance.probe.dtls_server import ServerPuppet
from conformance.probe.dtls_wire import (
    apart,
    at_once,
    backwards,
    cut_up,
    doubled,
    in_one_record,
    in_pieces,
)
from conformance.probe.profiles import DTLS, DTLS_AND_SRTP
from conformance.stage import Stage
from transceiver.dtls.extensions import Extension
from transceiver.dtls.messages import HandshakeType, Message, decode_client_hello_untrusted
from transceiver.dtls.parameters import Authentication, Group
from transceiver.dtls.record import DTLS_1_0, ContentType
from transceiver.dtls.wire import vector


def _accepted(rule: Rule, *, sends: str, options: dict[str, Any] | None = None, **how: Any) -> Case:
    """A handshake that is right but for how it is cut, or in what it chooses."""

    @rule.asked(sends=sends, profiles=DTLS, good=COMPLETED, bad=NOT_COMPLETED)
    def steps(stage: Stage) -> Observed:
        return ServerPuppet.reach(stage, **(options or {})).handshake(**how)

    return steps


def _impostor(
    rule: Rule,
    *,
    sends: str,
    deviate: Callable[[ServerPuppet], dict[str, Any]],
    by_use: bool = False,
    profiles: tuple[Profile, ...] = DTLS,
) -> Case:
    """A first flight of the server's to which a client must not answer with its second, or, with
    ``by_use``, from which nothing must come."""

    @rule.asked(
        sends=sends,
        profiles=profiles,
        good=REFUSED_IN_TIME if by_use else REFUSED,
        lenient=(Refusal.STUCK,),
        bad=NOT_REFUSED_IN_TIME if by_use else NOT_REFUSED,
    )
    def steps(stage: Stage) -> Observed:
        puppet = ServerPuppet.reach(stage)
        puppet.need_hello()
        puppet.send_first(**deviate(puppet))
        return puppet.flight_refusal(by_use=by_use)

    return steps


def _changed(change: Change) -> Callable[[ServerPuppet], dict[str, Any]]:
    return lambda puppet: {"change": change}


whole_handshake = _accepted(
    Rule(
        "rfc6347/4.2.4/handshake-as-client",
        "A DTLS client ends a handshake with a server that does everything right.",
    ),
    sends="the two flights of a server",
)

# --- flights, however they are cut --------------------------------------------------------------


flight_in_pieces = _accepted(
    Rule(
        "rfc6347/4.2.3/server-flight-in-pieces",
        "A client puts a server's flight together however finely it is cut.",
        requirements=("rfc6347/4.2.3/4",),
    ),
    sends="ServerHello to ServerHelloDone in fragments of 23 bytes, each in its datagram",
    pack=in_pieces(23),
)

flight_overlapping = _accepted(
    Rule(
        "rfc6347/4.2.3/server-flight-cut-in-two-ways",
        "Fragments of two ways to cut a flight fit together.",
        requirements=("rfc6347/4.2.3/5",),
    ),
    sends="ServerHello to ServerHelloDone in pieces of 40 bytes and in pieces of 70, mixed",
    arrange=lambda parts: (
        [each for pair in zip(cut_up(70)(parts), cut_up(40)(parts), strict=False) for each in pair]
        + cut_up(40)(parts)
    ),
    pack=apart,
)

flight_backwards = _accepted(
    Rule(
        "rfc6347/4.2.2/server-flight-backwards",
        "Messages of a server that come too early wait for those before them.",
        level=Level.SHOULD,
    ),
    sends="ServerHello to ServerHelloDone in five datagrams, the last first",
    arrange=backwards,
    pack=apart,
)

flight_doubled = _accepted(
    Rule(
        "rfc6347/4.2.2/server-flight-doubled",
        "A server's messages that come twice have no second effect.",
        requirements=("rfc6347/4.2.2/1",),
    ),
    sends="ServerHello to ServerHelloDone, each twice under numbers of their own",
    arrange=doubled,
    pack=apart,
)

flight_in_one_record = _accepted(
    Rule(
        "rfc6347/4.2.3/server-flight-in-one-record",
        "A record may hold a server's whole flight.",
        traps=("DTLS 11",),
    ),
    sends="ServerHello to ServerHelloDone in one record",
    pack=in_one_record,
)

flight_in_one_datagram = _accepted(
    Rule(
        "rfc6347/4.1.1/server-flight-in-one-datagram",
        "A datagram may hold a server's whole flight.",
        requirements=("rfc6347/4.1.1/1",),
        traps=("DTLS 11",),
    ),
    sends="ServerHello to ServerHelloDone in one datagram, and so ChangeCipherSpec and Finished",
    pack=at_once,
    last_pack=at_once,
)

finished_in_pieces = _accepted(
    Rule(
        "rfc6347/4.2.3/server-finished-in-pieces",
        "A Finished under its keys may come in fragments.",
        requirements=("rfc6347/4.2.3/4",),
    ),
    sends="the server's Finished in pieces of five bytes",
    last_pack=in_pieces(5),
)

finished_first = _accepted(
    Rule(
        "traps/dtls/server-finished-before-change-cipher-spec",
        "A ChangeCipherSpec of the server's that is overtaken does not spoil the handshake.",
        traps=("DTLS 11",),
    ),
    sends="the server's Finished, then its ChangeCipherSpec",
    last_arrange=backwards,
    last_pack=apart,
)

p256 = _accepted(
    Rule("rfc8422/5.1.1/server-picks-p256", "A client goes along with P-256.", traps=("Facts",)),
    sends="a ServerKeyExchange on P-256",
    group=Group.SECP256R1,
)

session_id = _accepted(
    Rule(
        "rfc5246/7.4.1.3/session-id-of-the-server",
        "A server may give its session a name; the client need not remember it.",
    ),
    sends="a ServerHello with a session id of 32 bytes",
    hello=lambda *args: server_hello(*args, session_id=bytes(range(32))),
)


@case(
    "rfc5246/7.4.3/rsa-certificate-of-the-server",
    "A client that offers suites for RSA certificates takes one.",
    sends="an offer with an RSA certificate's fingerprint, and a flight signed by its key",
    profiles=DTLS,
    good=COMPLETED,
    bad=NOT_COMPLETED,
    traps=("Facts",),
)
def rsa_certificate(stage: Stage) -> Observed:
    puppet = ServerPuppet.reach(stage, identity=rsa_identity())
    puppet.need_hello()
    schemes = puppet.offered(Extension.SIGNATURE_ALGORITHMS)
    if 0xC02F not in puppet.offer.cipher_suites or RSA_PKCS1_SHA256 not in schemes:
        raise Unsupported("the client does not offer RSA")
    return puppet.handshake(authentication=Authentication.RSA, scheme=RSA_PKCS1_SHA256)


# --- who it is ----------------------------------------------------------------------------------


another_certificate = _impostor(
    Rule(
        "rfc8842/5.1/another-certificate-of-the-server",
        "A DTLS server whose certificate has another fingerprint than the offer gave is not "
        "believed.",
        requirements=("rfc8842/5.1/7",),
        traps=("DTLS 10",),
    ),
    sends="a whole flight of somebody with a certificate and key of its own",
    deviate=lambda puppet: {"signer": fixed_identity(puppet.call.stage.entropy)},
    by_use=True,
)

no_certificate = _impostor(
    Rule(
        "rfc5246/7.4.2/no-certificate-of-the-server",
        "A DTLS server that shows no certificate is not believed.",
        traps=("DTLS 10",),
    ),
    sends="a flight whose list of certificates is empty",
    deviate=_changed({HandshakeType.CERTIFICATE: b"\x00\x00\x00"}),
)

signed_by_another = _impostor(
    Rule(
        "rfc8422/5.4/exchange-signed-by-another-key",
        "A share that the certificate's key has not signed is not used.",
        traps=("DTLS 10",),
    ),
    sends="the right certificate, and a ServerKeyExchange signed by somebody else's key",
    deviate=lambda puppet: {"sign": fixed_identity(puppet.call.stage.entropy).sign},
)

signed_for_another = _impostor(
    Rule(
        "rfc8422/5.4/exchange-of-another-handshake",
        "A share that was signed for another handshake is not used in this one.",
        traps=("DTLS 10",),
    ),
    sends="a ServerKeyExchange signed by the right key, with another client's random",
    deviate=lambda puppet: {"sign": lambda data: puppet.identity.sign(bytes(32) + data[32:])},
)

no_key_exchange = _impostor(
    Rule("rfc5246/7.4.3/no-key-exchange", "A flight without a ServerKeyExchange leads to no keys."),
    sends="a flight without ServerKeyExchange",
    deviate=_changed({HandshakeType.SERVER_KEY_EXCHANGE: None}),
)

zero_share = _impostor(
    Rule(
        "rfc8422/5.11/share-of-zeros-of-the-server",
        "An X25519 share of a server that makes the secret zero is refused.",
    ),
    sends="a ServerKeyExchange with 32 zero bytes, well signed",
    deviate=lambda puppet: {"group": Group.X25519, "public": bytes(32)},
)

unknown_group = _impostor(
    Rule("rfc8422/5.4/group-not-offered", "A share in a group that was not offered is refused."),
    sends="a ServerKeyExchange in a group of nobody, well signed",
    deviate=lambda puppet: {"group": GREASE, "public": bytes(32)},
)

cut_exchange = _impostor(
    Rule(
        "rfc8422/5.4/exchange-cut-short",
        "A ServerKeyExchange that ends inside its signature is refused.",
    ),
    sends="a ServerKeyExchange without its last ten bytes",
    deviate=_changed({HandshakeType.SERVER_KEY_EXCHANGE: lambda body: body[:-10]}),
)

# --- what was not offered -----------------------------------------------------------------------


def _extensions(
    more: Callable[[list[tuple[int, bytes]]], list[tuple[int, bytes]]],
) -> Callable[[ServerPuppet], dict[str, Any]]:
    return lambda puppet: {"extensions": more}


def _but(code: int, body: bytes | None) -> Callable[[ServerPuppet], dict[str, Any]]:
    """Another body for an extension of the ServerHello, or none."""
    return _extensions(
        lambda given: [
            *(each for each in given if each[0] != code),
            *([] if body is None else [(code, body)]),
        ]
    )


unoffered_suite = _impostor(
    Rule(
        "rfc5246/7.4.1.3/suite-not-offered",
        "A ServerHello with a suite that was not offered is refused.",
        requirements=("rfc6347/4.1.2.2/1",),
    ),
    sends="a ServerHello that picks RC4",
    deviate=lambda puppet: {
        "hello": lambda random, suite, extensions: server_hello(random, 0xC007, extensions)
    },
)

older_version = _impostor(
    Rule("rfc8996/5/dtls-1.0-of-the-server", "A client does not go along with DTLS 1.0."),
    sends="a ServerHello of version 1.0",
    deviate=lambda puppet: {
        "hello": lambda random, suite, extensions: server_hello(
            random, suite, extensions, version=DTLS_1_0
        )
    },
)

compressed = _impostor(
    Rule(
        "rfc5246/7.4.1.3/compression-not-offered",
        "A client does not go along with a compression that it has not offered.",
    ),
    sends="a ServerHello with DEFLATE",
    deviate=lambda puppet: {
        "hello": lambda random, suite, extensions: server_hello(
            random, suite, extensions, compression=1
        )
    },
)

unoffered_extension = _impostor(
    Rule(
        "rfc5246/7.4.1.4/extension-not-offered",
        "A ServerHello with an extension that was not offered is refused.",
        traps=("DTLS 11",),
    ),
    sends="a ServerHello with an extension of nobody",
    deviate=_extensions(lambda given: [*given, (GREASE, b"")]),
)

doubled_extension = _impostor(
    Rule(
        "rfc5246/7.4.1.4/extension-of-the-server-twice",
        "A ServerHello with an extension twice is refused.",
        traps=("DTLS 11",),
    ),
    sends="a ServerHello with extended_master_secret twice",
    deviate=_extensions(lambda given: [*given, (Extension.EXTENDED_MASTER_SECRET, b"")]),
)

renegotiation_of_nothing = _impostor(
    Rule(
        "rfc5746/3.4/renegotiation-of-nothing",
        "A ServerHello of a first handshake with bytes in its renegotiation_info is refused.",
        traps=("DTLS 11",),
    ),
    sends="a ServerHello with 24 bytes in renegotiation_info",
    deviate=_but(Extension.RENEGOTIATION_INFO, vector(bytes(24), 1)),
)

no_extended_secret = _impostor(
    Rule(
        "rfc7627/5.3/no-extended-master-secret-of-the-server",
        "A client does not go on without the extended master secret.",
        level=Level.SHOULD,
        traps=("DTLS 11",),
    ),
    sends="a ServerHello without extended_master_secret",
    deviate=_but(Extension.EXTENDED_MASTER_SECRET, None),
)

mki_of_the_server = _impostor(
    Rule(
        "rfc5764/4.1.3/mki-of-the-server",
        "A client gives up a handshake in which the server's MKI is not its own.",
        requirements=("rfc5764/4.1.3/5",),
        traps=("DTLS 13",),
    ),
    sends="a ServerHello whose use_srtp has an MKI of four bytes",
    deviate=lambda puppet: _but(
        Extension.USE_SRTP, use_srtp([puppet.offered_profiles()[0]], b"\x01\x02\x03\x04")
    )(puppet),
    profiles=DTLS_AND_SRTP,
)

two_profiles = _impostor(
    Rule(
        "rfc5764/4.1.1/two-profiles-of-the-server",
        "A use_srtp of the server's with two profiles is refused.",
        requirements=("rfc5764/4.1.1/3",),
    ),
    sends="a ServerHello whose use_srtp picks AES128_CM_SHA1_80 and AEAD_AES_128_GCM",
    deviate=_but(Extension.USE_SRTP, use_srtp([1, 7])),
    profiles=DTLS_AND_SRTP,
)

unoffered_profile = _impostor(
    Rule(
        "rfc5764/4.1.1/profile-not-offered",
        "A profile that the client has not offered is refused.",
        requirements=("rfc5764/4.1.1/4",),
    ),
    sends="a ServerHello whose use_srtp picks a profile of nobody",
    deviate=_but(Extension.USE_SRTP, use_srtp([GREASE])),
    profiles=DTLS_AND_SRTP,
)

null_profile = _impostor(
    Rule(
        "rfc5764/4.1.2/null-profile",
        "A client does not go along with SRTP that encrypts nothing.",
        requirements=("rfc5764/4.1.1/4",),
    ),
    sends="a ServerHello whose use_srtp picks NULL_HMAC_SHA1_80",
    deviate=_but(Extension.USE_SRTP, use_srtp([5])),
    profiles=DTLS_AND_SRTP,
)

# --- the end of it ------------------------------------------------------------------------------


@case(
    "rfc5246/7.4.9/wrong-finished-of-the-server",
    "A Finished of the server's over another handshake ends this one, and no media flows.",
    sends="ChangeCipherSpec, and a Finished of twelve zero bytes under the right keys",
    profiles=DTLS,
    good=(Handshaken.ALERTED, Handshaken.STOPPED),
    bad=(Handshaken.COMPLETED, Handshaken.UNANSWERED, Handshaken.UNSOUND, Handshaken.DEAD),
    lasts=1.5,
)
def wrong_finished(stage: Stage) -> Observed:
    puppet = ServerPuppet.reach(stage)
    wrong: Change = {HandshakeType.FINISHED: bytes(12)}
    return puppet.handshake(last_change=wrong, tries=1, presume=False)


@case(
    "traps/dtls/server-finished-in-the-clear",
    "A Finished of the server's that is not sealed is none, and one that is ends the handshake.",
    sends="ChangeCipherSpec and the right Finished in epoch 0, then the same sealed",
    profiles=DTLS,
    good=COMPLETED,
    lenient=(Handshaken.ALERTED, Handshaken.STOPPED),
    bad=(Handshaken.UNANSWERED, Handshaken.UNSOUND, Handshaken.DEAD),
    traps=("DTLS 7",),
)
def finished_in_the_clear(stage: Stage) -> Observed:
    puppet = ServerPuppet.reach(stage)
    puppet.need_hello()
    puppet.send_first()
    try:
        if not puppet.receive_second():
            return puppet.failure(Handshaken.STOPPED)
    except Odd as error:
        return Handshaken.UNSOUND, str(error)
    puppet.send_last(arrange=lambda parts: [attrs.evolve(each, epoch=0) for each in parts])
    puppet.send_audio()
    puppet.wait(stage.patience / 5)
    if puppet.heard_media():
        return Handshaken.UNSOUND, "media flows after a Finished that nobody has sealed"
    puppet.repeat()
    if puppet.is_accepted():
        return Handshaken.COMPLETED
    return puppet.failure(Handshaken.STOPPED)


@case(
    "rfc5246/7.4.1.1/hello-request-amid-a-handshake",
    "A HelloRequest amid a handshake is let go, and counts for nothing in it.",
    sends="a HelloRequest after the ClientHello, then a handshake",
    profiles=DTLS,
    level=Level.SHOULD,
    good=COMPLETED,
    bad=NOT_COMPLETED,
    traps=("DTLS 11",),
)
def hello_request_amid_a_handshake(stage: Stage) -> Observed:
    puppet = ServerPuppet.reach(stage)
    puppet.need_hello()
    request = Message.of(HandshakeType.HELLO_REQUEST, 0, b"")
    puppet.send_record(ContentType.HANDSHAKE, request.raw, note="HelloRequest")
    return puppet.handshake()


@case(
    "traps/dtls/alert-in-the-clear-to-a-hello",
    "A fatal alert that anybody could have sent does not end a client's handshake.",
    sends="a fatal alert in the clear to the ClientHello, then a handshake",
    profiles=DTLS,
    level=Level.SHOULD,
    good=COMPLETED,
    bad=NOT_COMPLETED,
    traps=("DTLS 6",),
)
def alert_to_a_hello(stage: Stage) -> Observed:
    puppet = ServerPuppet.reach(stage)
    puppet.need_hello()
    puppet.send_alert(40)
    puppet.wait(stage.patience / 10)
    return puppet.handshake()


@case(
    "traps/dtls/first-flight-lost",
    "A client whose hello was heard too late, or not at all, is served by its next one.",
    sends="nothing to the first two hellos, then a handshake",
    profiles=DTLS,
    good=COMPLETED,
    bad=NOT_COMPLETED,
    traps=("DTLS 4", "Facts"),
    lasts=3.0,
)
def first_flight_lost(stage: Stage) -> Observed:
    puppet = ServerPuppet.reach(stage)
    puppet.need_hello()
    before = decode_client_hello_untrusted(puppet.hello.body)
    for _ in range(2):
        if not puppet.hello_again():
            return puppet.failure(Handshaken.UNANSWERED)
    puppet.need_hello()
    if puppet.offer != before:
        return Handshaken.UNSOUND, "the hello changes when it is said again"
    return puppet.handshake()
