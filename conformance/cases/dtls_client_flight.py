"""What a DTLS server does with a client's second flight: whom it believes, and in which order.

All of these are wrong in one place, and right in every other: what is signed and hashed is what was
sent. A server that goes on here has let somebody in who has not shown who it is.
"""

from collections.abc import Callable
from typing import Any

import attrs

from conformance.case import Case, Level, Observed, Rule, Unsupported, case
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
from conformance.probe.dtls_client import ClientPuppet
from conformance.probe.dtls_hello import Hello
from conformance.probe.dtls_identity import RSA_PKCS1_SHA256, rsa_identity
from conformance.probe.dtls_wire import CHANGE_CIPHER_SPEC, Part, apart
from conformance.probe.look import Checked
from conformance.probe.profiles import DTLS
from conformance.stage import Stage
from transceiver.dtls.extensions import Extension, encode_list
from transceiver.dtls.messages import HandshakeType
from transceiver.dtls.parameters import Group
from transceiver.dtls.record import ContentType
from transceiver.dtls.wire import vector


def _impostor(
    rule: Rule,
    *,
    sends: str,
    deviate: Callable[[ClientPuppet], dict[str, Any]],
    group: Group | None = None,
    only_sent_wrongly: bool = False,
    by_use: bool = False,
) -> Case:
    """A second flight that must not lead to a Finished of the server's. ``deviate`` says how it
    differs from a good one; ``only_sent_wrongly`` that its messages do not, so that the same ones
    complete the handshake; ``by_use`` that the handshake may end, if nothing comes of it."""

    @rule.asked(
        sends=sends,
        profiles=DTLS,
        good=REFUSED_IN_TIME if by_use else REFUSED,
        lenient=(Refusal.STUCK,),
        bad=NOT_REFUSED_IN_TIME if by_use else NOT_REFUSED,
    )
    def steps(stage: Stage) -> Observed:
        puppet = ClientPuppet.reach(stage)
        if group is not None:
            puppet.offer = _with_group(puppet.offer, group)
            if not puppet.greet():
                raise Unsupported(f"a hello for {group.name} alone is not answered")
        puppet.need_flight()
        puppet.send_second(**deviate(puppet))
        puppet.wait(puppet.patience, lambda: puppet.is_finished or puppet.fatal)
        if only_sent_wrongly:
            return puppet.refusal(puppet.is_finished, lambda: _says_it_right(puppet, puppet.flight))
        return puppet.flight_refusal(by_use=by_use)

    return steps


def _with_group(hello: Hello, group: Group) -> Hello:
    return hello.with_extension(Extension.SUPPORTED_GROUPS, encode_list([group]))


def _changed(change: Change) -> Callable[[ClientPuppet], dict[str, Any]]:
    return lambda puppet: {"change": change}


# --- who it is ----------------------------------------------------------------------------------


another_certificate = _impostor(
    Rule(
        "rfc8842/5.1/another-certificate",
        "A client whose certificate has another fingerprint than its offer gave is not let in.",
        requirements=("rfc8842/5.1/7",),
        traps=("DTLS 10",),
    ),
    sends="a whole second flight of somebody with a certificate and key of its own",
    deviate=lambda puppet: {"signer": fixed_identity(puppet.call.stage.entropy)},
    by_use=True,
)

no_certificate = _impostor(
    Rule(
        "rfc8827/6.5/no-certificate",
        "A client that shows no certificate is not let in.",
        traps=("DTLS 10",),
    ),
    sends="an empty list of certificates, no CertificateVerify, and a Finished that fits",
    deviate=_changed(
        {HandshakeType.CERTIFICATE: b"\x00\x00\x00", HandshakeType.CERTIFICATE_VERIFY: None}
    ),
    by_use=True,
)

certificate_left_out = _impostor(
    Rule(
        "rfc5246/7.4.6/certificate-left-out",
        "A client that leaves its Certificate message out is not let in.",
        traps=("DTLS 10",),
    ),
    sends="ClientKeyExchange and Finished alone",
    deviate=_changed({HandshakeType.CERTIFICATE: None, HandshakeType.CERTIFICATE_VERIFY: None}),
    by_use=True,
)

verify_left_out = _impostor(
    Rule(
        "rfc5246/7.4.8/no-certificate-verify",
        "A client that shows a certificate and does not prove that it holds the key is not let in.",
        traps=("DTLS 10",),
    ),
    sends="the right certificate, no CertificateVerify, and a Finished that fits",
    deviate=_changed({HandshakeType.CERTIFICATE_VERIFY: None}),
)

verify_by_another_key = _impostor(
    Rule(
        "rfc5246/7.4.8/signature-of-another-key",
        "A CertificateVerify that another key has made proves nothing.",
        traps=("DTLS 10",),
    ),
    sends="the right certificate, and a CertificateVerify by somebody else's key",
    deviate=lambda puppet: {"sign": fixed_identity(puppet.call.stage.entropy).sign},
)

verify_over_something_else = _impostor(
    Rule(
        "rfc5246/7.4.8/signature-over-another-handshake",
        "A CertificateVerify of another handshake proves nothing in this one.",
        traps=("DTLS 10",),
    ),
    sends="a CertificateVerify by the right key over other bytes",
    deviate=lambda puppet: {"sign": lambda data: puppet.identity.sign(data[::-1])},
)

verify_empty = _impostor(
    Rule(
        "rfc5246/7.4.8/empty-signature",
        "A CertificateVerify without a signature proves nothing.",
        traps=("DTLS 10",),
    ),
    sends="a CertificateVerify whose signature has no bytes",
    deviate=lambda puppet: {"sign": lambda data: b""},
)

verify_with_unknown_scheme = _impostor(
    Rule(
        "rfc5246/7.4.8/algorithm-not-asked-for",
        "A CertificateVerify by an algorithm that the server has not asked for is refused.",
        traps=("DTLS 10",),
    ),
    sends="a CertificateVerify said to be by ECDSA with SHA-1",
    deviate=lambda puppet: {"scheme": 0x0203},
)

verify_cut_short = _impostor(
    Rule(
        "rfc5246/7.4.8/signature-cut-short",
        "A CertificateVerify that ends inside its signature is refused.",
    ),
    sends="a CertificateVerify without its last ten bytes",
    deviate=_changed({HandshakeType.CERTIFICATE_VERIFY: lambda body: body[:-10]}),
)

rubbish_certificate = _impostor(
    Rule(
        "traps/dtls/certificate-of-rubbish",
        "What is no certificate at all is refused before anything parses it, and harms nobody.",
        requirements=("rfc8842/5.1/7",),
        traps=("DTLS 10",),
    ),
    sends="2,000 bytes of rubbish as certificate",
    deviate=_changed(
        {HandshakeType.CERTIFICATE: vector(vector(b"\x30\x82" + b"\xff" * 1998, 3), 3)}
    ),
)

right_certificate_second = _impostor(
    Rule(
        "rfc5246/7.4.2/right-certificate-second",
        "It is the first certificate of the chain that has to bear the fingerprint.",
        requirements=("rfc8842/5.1/7",),
        traps=("DTLS 10",),
    ),
    sends="somebody's own certificate, with the one that the offer names behind it, signed by "
    "somebody's key",
    deviate=lambda puppet: _behind_another(puppet),
    by_use=True,
)


def _behind_another(puppet: ClientPuppet) -> dict[str, Any]:
    other = fixed_identity(puppet.call.stage.entropy)
    chain = vector(other.certificate_der, 3) + vector(puppet.identity.certificate_der, 3)
    return {"change": {HandshakeType.CERTIFICATE: vector(chain, 3)}, "sign": other.sign}


# --- what keys are made of ----------------------------------------------------------------------


zero_share = _impostor(
    Rule(
        "rfc8422/5.11/share-of-zeros",
        "An X25519 share that makes the secret zero, whatever the other half, is refused.",
    ),
    sends="a ClientKeyExchange of 32 zero bytes, and everything else as if that were a secret",
    deviate=lambda puppet: {"public": bytes(32), "premaster": bytes(32)},
    group=Group.X25519,
)

off_the_curve = _impostor(
    Rule(
        "rfc8422/5.11/point-off-the-curve",
        "A P-256 share that is no point of the curve is refused.",
    ),
    sends="a ClientKeyExchange whose point lies beside the curve",
    deviate=lambda puppet: {"public": b"\x04" + b"\x01" * 64, "premaster": bytes(32)},
    group=Group.SECP256R1,
)

empty_share = _impostor(
    Rule("rfc8422/5.7/empty-share", "A ClientKeyExchange without a share is refused."),
    sends="a ClientKeyExchange whose share has no bytes",
    deviate=lambda puppet: {"public": b"", "premaster": bytes(32)},
)

wrong_finished = _impostor(
    Rule("rfc5246/7.4.9/wrong-finished", "A Finished over another handshake ends this one."),
    sends="a Finished of twelve zero bytes under the right keys",
    deviate=_changed({HandshakeType.FINISHED: bytes(12)}),
)

short_finished = _impostor(
    Rule(
        "rfc5246/7.4.9/short-finished", "A Finished that is right as far as it goes is not enough."
    ),
    sends="the first byte of the right Finished",
    deviate=_changed({HandshakeType.FINISHED: lambda body: body[:1]}),
)

no_key_exchange = _impostor(
    Rule(
        "rfc5246/7.4.7/no-key-exchange",
        "Without a ClientKeyExchange there are no keys and no handshake.",
    ),
    sends="a second flight without ClientKeyExchange, under keys made of zeros",
    deviate=lambda puppet: {
        "change": {HandshakeType.CLIENT_KEY_EXCHANGE: None},
        "premaster": bytes(32),
    },
)


def _plain_finished(parts: list[Part]) -> list[Part]:
    return [attrs.evolve(part, epoch=0) for part in parts]


finished_in_the_clear = _impostor(
    Rule(
        "rfc6347/4.1/finished-in-the-clear",
        "A Finished that is not sealed is none.",
        traps=("DTLS 7",),
    ),
    sends="the right Finished in a record of epoch 0",
    deviate=lambda puppet: {"arrange": _plain_finished},
    only_sent_wrongly=True,
)

no_finished = _impostor(
    Rule(
        "rfc5246/7.4.9/no-finished",
        "A server does not say that it is finished before the client has.",
    ),
    sends="a second flight without Finished",
    deviate=lambda puppet: {"arrange": lambda parts: parts[:-1]},
    only_sent_wrongly=True,
)


@case(
    "rfc5246/7.4.9/keys-of-somebody-else",
    "A Finished under other keys than those of the handshake is let go.",
    sends="a second flight whose Finished is sealed with keys of nothing",
    profiles=DTLS,
    good=REFUSED,
    lenient=(Refusal.STUCK,),
    bad=NOT_REFUSED,
    requirements=("rfc6347/4.1.2.6/8",),
    traps=("DTLS 7",),
)
def keys_of_somebody_else(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.need_flight()
    parts = puppet.second()
    right = puppet.writer.protection
    puppet.writer.protection = puppet.reader
    puppet.send(parts, note="Finished under the server's own keys")
    puppet.writer.protection = right
    puppet.wait(puppet.patience, lambda: puppet.is_finished or puppet.fatal)
    return puppet.refusal(puppet.is_finished, lambda: _says_it_right(puppet, parts))


def _says_it_right(puppet: ClientPuppet, parts: list[Part]) -> bool:
    puppet.flight = parts
    puppet.repeat()
    try:
        return puppet.finish() or puppet.again().handshake()[0] is Handshaken.COMPLETED
    except Odd:
        return False


# --- ChangeCipherSpec ---------------------------------------------------------------------------


def _arranged(rule: Rule, *, sends: str, arrange: Callable[[list[Part]], list[Part]]) -> Case:
    """A second flight in an unusual order. A server may wait until it is said again in the usual
    one."""

    @rule.asked(sends=sends, profiles=DTLS, good=COMPLETED, bad=NOT_COMPLETED)
    def steps(stage: Stage) -> Observed:
        return ClientPuppet.reach(stage).handshake(arrange=arrange, pack=apart, stubborn=False)

    return steps


early_change = _arranged(
    Rule(
        "traps/dtls/early-change-cipher-spec",
        "A ChangeCipherSpec that comes before there are keys switches nothing.",
        level=Level.SHOULD,
        traps=("DTLS 11",),
    ),
    sends="ChangeCipherSpec before Certificate, and again in its place",
    arrange=lambda parts: [CHANGE_CIPHER_SPEC, *parts],
)

late_change = _arranged(
    Rule(
        "traps/dtls/late-change-cipher-spec",
        "A ChangeCipherSpec that the Finished has overtaken does not spoil the handshake.",
        requirements=("rfc6347/4.2.5/1",),
        traps=("DTLS 11",),
    ),
    sends="the second flight with Finished before ChangeCipherSpec",
    arrange=lambda parts: [*parts[:-2], parts[-1], parts[-2]],
)

doubled_change = _arranged(
    Rule(
        "rfc6347/4.2.5/doubled-change-cipher-spec",
        "A ChangeCipherSpec that comes twice does no harm.",
    ),
    sends="the second flight with ChangeCipherSpec twice",
    arrange=lambda parts: [*parts[:-2], parts[-2], parts[-2], parts[-1]],
)

odd_change = _arranged(
    Rule(
        "rfc5246/7.1/odd-change-cipher-spec",
        "A ChangeCipherSpec with another content than a one switches nothing.",
        level=Level.SHOULD,
    ),
    sends="a ChangeCipherSpec of three bytes before Certificate, and a right one in its place",
    arrange=lambda parts: [Part(ContentType.CHANGE_CIPHER_SPEC, b"\x02\x01\x00"), *parts],
)

# --- other kinds of client ----------------------------------------------------------------------


@case(
    "rfc5246/7.4.8/rsa-certificate",
    "A client with an RSA certificate is let in.",
    sends="an offer with the fingerprint of an RSA certificate, and a CertificateVerify by its key",
    profiles=DTLS,
    level=Level.SHOULD,
    good=COMPLETED,
    bad=NOT_COMPLETED,
    traps=("Facts",),
)
def rsa_certificate(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage, identity=rsa_identity())
    return puppet.handshake(scheme=RSA_PKCS1_SHA256)


@case(
    "rfc8842/5.1/certificate-shown",
    "A DTLS server shows the certificate that its answer names, asks for the client's, and signs "
    "its share of the exchange with that certificate's key.",
    sends="a good ClientHello",
    profiles=DTLS,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    requirements=("rfc8842/5.3/1",),
    traps=("DTLS 10",),
)
def certificate_shown(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.greet()
    try:
        puppet.read_flight()
    except Odd as error:
        return Checked.WRONG, str(error)
    return Checked.RIGHT


@case(
    "traps/dtls/alert-in-the-clear-amid-a-handshake",
    "A fatal alert that anybody could have sent does not end a handshake.",
    sends="a fatal alert in the clear between the server's flight and ours",
    profiles=DTLS,
    level=Level.SHOULD,
    good=COMPLETED,
    bad=NOT_COMPLETED,
    traps=("DTLS 6",),
)
def alert_amid_a_handshake(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.need_flight()
    puppet.send_alert(40)
    puppet.send_second()
    if puppet.finish():
        return Handshaken.COMPLETED
    return puppet.failure(Handshaken.STOPPED)


@case(
    "rfc6347/4.2.8/client-that-starts-over",
    "A client that starts over amid a handshake is answered.",
    sends="a ClientHello, and when it is answered another one, with another random",
    profiles=DTLS,
    level=Level.SHOULD,
    good=COMPLETED,
    bad=NOT_COMPLETED,
)
def client_that_starts_over(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.need_flight()
    return puppet.again().handshake()
