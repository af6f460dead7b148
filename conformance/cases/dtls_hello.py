"""What a DTLS server does with ClientHellos: those of today's clients, and those of nobody.

A hello proves nothing and may be anybody's. So a broken one may be refused or let go, but a good
hello from the same address must lead to keys afterwards.
"""

from collections.abc import Callable
from typing import Any

from conformance.case import Case, Level, Observed, Rule, Unsupported, case
from conformance.probe.dtls import (
    COMPLETED,
    NEITHER_COMPLETED_NOR_ALERTED,
    NOT_COMPLETED,
    NOT_REFUSED,
    REFUSED,
    Handshaken,
    Refusal,
)
from conformance.probe.dtls_client import ClientPuppet
from conformance.probe.dtls_hello import (
    DTLS_1_3,
    GREASE,
    Hello,
    encode_extensions,
    post_quantum,
    supported_versions,
)
from conformance.probe.dtls_wire import in_pieces, together
from conformance.probe.look import Checked
from conformance.probe.profiles import DTLS
from conformance.stage import Stage
from transceiver.dtls.extensions import Extension, encode_list
from transceiver.dtls.messages import HandshakeType
from transceiver.dtls.parameters import RENEGOTIATION_SCSV, SUITES, Group
from transceiver.dtls.record import DTLS_1_0, DTLS_1_2, ContentType
from transceiver.dtls.wire import vector

TLS_1_2 = 0x0303

Shaping = Callable[[Hello, ClientPuppet], Hello]


def _accepted(
    rule: Rule,
    *,
    sends: str,
    shape: Shaping = lambda hello, puppet: hello,
    look: Callable[[ClientPuppet], str | None] = lambda puppet: None,
    **how: Any,
) -> Case:
    """A case in which a hello of that shape leads to a handshake. ``look`` says afterwards what is
    wrong all the same."""

    @rule.asked(sends=sends, profiles=DTLS, good=COMPLETED, bad=NOT_COMPLETED)
    def steps(stage: Stage) -> Observed:
        puppet = ClientPuppet.reach(stage)
        puppet.offer = shape(puppet.offer, puppet)
        seen, detail = puppet.handshake(**how)
        if seen is Handshaken.COMPLETED and (wrong := look(puppet)) is not None:
            return Handshaken.UNSOUND, wrong
        return seen, detail

    return steps


def _refused(rule: Rule, *, sends: str, body: Callable[[Hello, ClientPuppet], bytes]) -> Case:
    """A case in which a hello with that body is not answered with a ServerHello."""

    @rule.asked(sends=sends, profiles=DTLS, good=REFUSED, lenient=(Refusal.STUCK,), bad=NOT_REFUSED)
    def steps(stage: Stage) -> Observed:
        puppet = ClientPuppet.reach(stage)
        puppet.greet(body(puppet.offer, puppet), tries=1)
        return puppet.refusal(puppet.said(HandshakeType.SERVER_HELLO) is not None, puppet.recover)

    return steps


whole_handshake = _accepted(
    Rule(
        "rfc6347/4.2.4/handshake-as-server",
        "A DTLS server ends a handshake with a client that does everything right.",
    ),
    sends="a ClientHello as plain as today's, and what belongs after it",
)

# --- versions -----------------------------------------------------------------------------------


post_quantum_hello = _accepted(
    Rule(
        "traps/dtls/post-quantum-hello",
        "A hello that is longer than a datagram and offers DTLS 1.3 with a post-quantum key share "
        "is put together and answered.",
        requirements=("rfc6347/4.2.3/4",),
        traps=("DTLS 1", "Facts"),
    ),
    sends="a ClientHello of more than 1,400 bytes in two datagrams",
    shape=lambda hello, puppet: post_quantum(hello, puppet.call.stage.entropy),
)

versions_in_the_second_fragment = _accepted(
    Rule(
        "traps/dtls/versions-in-a-later-fragment",
        "The versions a client offers are read from the whole hello, also where the first fragment "
        "ends before they are named.",
        requirements=("rfc6347/4.2.3/4",),
        traps=("DTLS 1",),
    ),
    sends="a post-quantum ClientHello in pieces of 900 bytes, supported_versions in the last",
    shape=lambda hello, puppet: post_quantum(hello, puppet.call.stage.entropy),
    hello_pack=in_pieces(900),
)

later_fragment_first = _accepted(
    Rule(
        "traps/dtls/post-quantum-hello-reordered",
        "A hello whose second datagram overtakes its first is answered all the same.",
        requirements=("rfc6347/4.2.3/4",),
        traps=("DTLS 1",),
    ),
    sends="a post-quantum ClientHello in two datagrams, the second one first",
    shape=lambda hello, puppet: post_quantum(hello, puppet.call.stage.entropy),
    hello_pack=lambda writer, parts: together(writer, parts)[::-1],
)

both_versions = _accepted(
    Rule(
        "rfc8446/4.2.1/both-versions-offered",
        "A client that offers DTLS 1.3 and 1.2 together gets one of them.",
    ),
    sends="a ClientHello with 1.3 and 1.2 in supported_versions",
    shape=lambda hello, puppet: hello.also(
        Extension.SUPPORTED_VERSIONS, supported_versions(DTLS_1_3, DTLS_1_2)
    ),
)

tls_form = _accepted(
    Rule(
        "traps/dtls/version-in-the-form-of-tls",
        "A client that writes 1.2 into supported_versions as TLS does, 0x0303, still gets DTLS "
        "1.2.",
        traps=("DTLS 1", "Facts"),
    ),
    sends="a ClientHello with 0xfefc and 0x0303 in supported_versions",
    shape=lambda hello, puppet: hello.also(
        Extension.SUPPORTED_VERSIONS, supported_versions(DTLS_1_3, TLS_1_2)
    ),
)

old_record_version = _accepted(
    Rule(
        "rfc6347/4.2.1/hello-in-a-record-of-version-1.0",
        "The version of the record around a first hello says nothing about what is negotiated.",
    ),
    sends="a ClientHello for DTLS 1.2 in a record of version 1.0",
    hello_pack=lambda writer, parts: [
        each[:1] + DTLS_1_0.to_bytes(2) + each[3:] for each in together(writer, parts)
    ],
)

only_version_1_0 = _refused(
    Rule(
        "rfc8996/5/dtls-1.0",
        "DTLS 1.0 is not spoken any more, and 1.2 not to a client that offers 1.0 alone.",
    ),
    sends="a ClientHello whose version is 1.0",
    body=lambda hello, puppet: hello.but(version=DTLS_1_0).encode(),
)


@case(
    "rfc8446/4.2.1/only-1.3-offered",
    "A client that lists DTLS 1.3 alone is not answered with 1.2.",
    sends="a ClientHello with 1.3 alone in supported_versions",
    profiles=DTLS,
    level=Level.SHOULD,
    good=REFUSED,
    lenient=(Refusal.STUCK,),
    bad=NOT_REFUSED,
)
def only_version_1_3(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    hello = puppet.offer.also(Extension.SUPPORTED_VERSIONS, supported_versions(DTLS_1_3))
    puppet.greet(hello.encode(), tries=1)
    answer = puppet.said(HandshakeType.SERVER_HELLO)
    if answer is not None and Extension.SUPPORTED_VERSIONS.to_bytes(2) in answer.body[38:]:
        raise Unsupported("the server speaks DTLS 1.3")
    return puppet.refusal(answer is not None, puppet.recover)


# --- extensions ---------------------------------------------------------------------------------


unknown_extensions = _accepted(
    Rule(
        "rfc5246/7.4.1.4/unknown-extensions",
        "Extensions that a server does not know are passed over and not answered.",
        traps=("DTLS 11",),
    ),
    sends="a ClientHello with two extensions that nobody has defined, one empty and one long",
    shape=lambda hello, puppet: hello.also(GREASE, b"").also(0xFAFA, bytes(200)),
)

shuffled_extensions = _accepted(
    Rule(
        "rfc5246/7.4.1.4/order-of-extensions",
        "The order of a client's extensions means nothing.",
        traps=("Facts",),
    ),
    sends="a ClientHello with its extensions in reverse",
    shape=lambda hello, puppet: hello.but(extensions=(hello.extensions or ())[::-1]),
)

duplicate_extension = _refused(
    Rule(
        "rfc5246/7.4.1.4/duplicate-extension",
        "A hello that holds an extension twice is refused.",
        traps=("DTLS 11",),
    ),
    sends="a ClientHello with use_srtp twice",
    body=lambda hello, puppet: hello.also(
        Extension.USE_SRTP, hello.extension(Extension.USE_SRTP) or b""
    ).encode(),
)


def _overrunning(hello: Hello) -> bytes:
    block = encode_extensions(hello.extensions or ()) + GREASE.to_bytes(2) + b"\xff\xff"
    return hello.but(extensions=None, tail=vector(block, 2)).encode()


oversized_extension = _refused(
    Rule(
        "rfc5246/7.4.1.4/extension-past-the-end",
        "A hello with an extension that is longer than what is left of it is refused.",
        traps=("DTLS 11",),
    ),
    sends="a ClientHello whose last extension claims 65,535 bytes and has none",
    body=lambda hello, puppet: _overrunning(hello),
)

oversized_block = _refused(
    Rule(
        "rfc5246/7.4.1.4/block-past-the-end",
        "A hello whose extensions are said to be longer than the message is refused.",
        traps=("DTLS 11",),
    ),
    sends="a ClientHello whose block of extensions claims 100 bytes more than there are",
    body=lambda hello, puppet: hello.but(
        extensions=None,
        tail=(len(block := encode_extensions(hello.extensions or ())) + 100).to_bytes(2) + block,
    ).encode(),
)

trailing_bytes = _refused(
    Rule(
        "rfc5246/7.4.1.2/bytes-behind-the-extensions",
        "A hello is refused where bytes follow its extensions.",
    ),
    sends="a ClientHello with three bytes behind its block of extensions",
    body=lambda hello, puppet: hello.but(tail=b"\x00\x01\x02").encode(),
)

large_hello = _accepted(
    Rule(
        "rfc6347/4.2.3/hello-of-4000-bytes",
        "A hello of several thousand bytes is put together and answered.",
        requirements=("rfc6347/4.2.3/4",),
        traps=("DTLS 11",),
    ),
    sends="a ClientHello of 4,000 bytes, most of them in an extension that nobody knows",
    shape=lambda hello, puppet: hello.also(GREASE, bytes(3800)),
)

renegotiation_info = _accepted(
    Rule(
        "rfc5746/3.6/empty-renegotiation-info",
        "A client that sends an empty renegotiation_info gets one back.",
    ),
    sends="a ClientHello with renegotiation_info and without the cipher suite that stands for it",
    look=lambda puppet: (
        None
        if puppet.server_hello.extensions.get(Extension.RENEGOTIATION_INFO) == b"\x00"
        else "renegotiation_info is not answered"
    ),
)

renegotiation_scsv = _accepted(
    Rule(
        "rfc5746/3.6/signalling-suite",
        "A client that sends the signalling suite instead of renegotiation_info gets the "
        "extension.",
    ),
    sends="a ClientHello with TLS_EMPTY_RENEGOTIATION_INFO_SCSV",
    shape=lambda hello, puppet: hello.with_extension(Extension.RENEGOTIATION_INFO, None).but(
        suites=(*hello.suites, RENEGOTIATION_SCSV)
    ),
    look=lambda puppet: (
        None
        if puppet.server_hello.extensions.get(Extension.RENEGOTIATION_INFO) == b"\x00"
        else "renegotiation_info is not answered"
    ),
)

renegotiation_of_nothing = _refused(
    Rule(
        "rfc5746/3.6/renegotiation-of-nothing",
        "A first hello whose renegotiation_info is not empty is refused.",
        traps=("DTLS 11",),
    ),
    sends="a ClientHello with twelve bytes of an earlier handshake in renegotiation_info",
    body=lambda hello, puppet: hello.with_extension(
        Extension.RENEGOTIATION_INFO, vector(bytes(12), 1)
    ).encode(),
)

no_extended_master_secret = _refused(
    Rule(
        "rfc7627/5.3/no-extended-master-secret",
        "A client without the extended master secret is turned down.",
        level=Level.SHOULD,
        traps=("DTLS 11",),
    ),
    sends="a ClientHello without extended_master_secret",
    body=lambda hello, puppet: hello.with_extension(
        Extension.EXTENDED_MASTER_SECRET, None
    ).encode(),
)

extended_master_secret = _accepted(
    Rule(
        "rfc7627/5.2/extended-master-secret",
        "A client that offers the extended master secret gets it.",
        traps=("DTLS 11",),
    ),
    sends="a ClientHello with extended_master_secret",
    look=lambda puppet: None if puppet.extended else "no extended_master_secret in the ServerHello",
)

# --- what is negotiated -------------------------------------------------------------------------


p256_alone = _accepted(
    Rule(
        "rfc8422/5.1.1/p256-alone",
        "A client that knows no group but P-256 is served.",
        traps=("Facts",),
    ),
    sends="a ClientHello with P-256 as its only group",
    shape=lambda hello, puppet: hello.with_extension(
        Extension.SUPPORTED_GROUPS, encode_list([Group.SECP256R1])
    ),
    look=lambda puppet: (
        None
        if puppet.exchange.group == Group.SECP256R1
        else f"group {puppet.exchange.group} was not offered"
    ),
)

unknown_groups_first = _accepted(
    Rule(
        "rfc8422/5.1.1/unknown-groups-first",
        "Groups that a server does not know are passed over, also where a client likes them best.",
    ),
    sends="a ClientHello that lists a post-quantum group and one of nobody before P-256",
    shape=lambda hello, puppet: hello.with_extension(
        Extension.SUPPORTED_GROUPS, encode_list([GREASE, 0x11EC, Group.SECP256R1])
    ),
)

no_common_group = _refused(
    Rule("rfc8422/5.1/no-common-group", "Without a group in common there is no handshake."),
    sends="a ClientHello whose only group is one that nobody has defined",
    body=lambda hello, puppet: hello.with_extension(
        Extension.SUPPORTED_GROUPS, encode_list([GREASE])
    ).encode(),
)

no_common_suite = _refused(
    Rule(
        "rfc5246/7.4.1.3/no-common-suite",
        "Without a cipher suite in common there is no handshake.",
        requirements=("rfc6347/4.1.2.2/1",),
    ),
    sends="a ClientHello with RC4 and a suite of nobody",
    body=lambda hello, puppet: hello.but(suites=(0xC007, GREASE)).encode(),
)

unknown_suites_first = _accepted(
    Rule(
        "rfc5246/7.4.1.3/unknown-suites-first",
        "Suites that a server does not know are passed over.",
    ),
    sends="a ClientHello with suites of nobody before and behind AES-128-GCM",
    shape=lambda hello, puppet: hello.but(suites=(GREASE, 0x1301, 0xC02B, 0xC02F, 0x0A0A)),
)

no_common_signature = _refused(
    Rule(
        "rfc5246/7.4.1.4.1/no-common-signature",
        "A server does not sign with an algorithm that the client has not offered.",
    ),
    sends="a ClientHello whose only signature algorithm is one that nobody has defined",
    body=lambda hello, puppet: hello.with_extension(
        Extension.SIGNATURE_ALGORITHMS, encode_list([GREASE])
    ).encode(),
)

EACH_SUITE = tuple(
    _accepted(
        Rule(
            f"rfc5246/7.4.1.3/{suite.name.lower().removeprefix('tls_').replace('_', '-')}",
            f"A server with an ECDSA certificate can be talked to with {suite.name}.",
            level=Level.MUST if suite is SUITES[0] else Level.MAY,
        ),
        sends=f"a ClientHello with {suite.name} and its twin for RSA certificates",
        shape=lambda hello, puppet, both=(suite.code, rsa.code): hello.but(  # type: ignore[misc]
            suites=both
        ),
    )
    for suite, rsa in zip(SUITES[::2], SUITES[1::2], strict=True)
)

more_compressions = _accepted(
    Rule(
        "rfc5246/7.4.1.2/unknown-compression",
        "Of several compression methods the server takes none at all.",
    ),
    sends="a ClientHello with DEFLATE, one method of nobody, and null",
    shape=lambda hello, puppet: hello.but(compression=b"\x01\x5a\x00"),
)

no_null_compression = _refused(
    Rule(
        "rfc5246/7.4.1.2/compression-demanded",
        "A hello that does not offer to do without compression is refused.",
    ),
    sends="a ClientHello with DEFLATE as its only compression method",
    body=lambda hello, puppet: hello.but(compression=b"\x01").encode(),
)

session_to_resume = _accepted(
    Rule(
        "rfc5246/7.4.1.2/unknown-session",
        "A session that the server does not know is not resumed, and a whole handshake follows.",
    ),
    sends="a ClientHello with a session id of 32 random bytes",
    shape=lambda hello, puppet: hello.but(session_id=puppet.call.stage.entropy(32)),
    look=lambda puppet: (
        "the server says that it resumes a session that never was"
        if puppet.server_hello.session_id == puppet.offer.session_id
        else None
    ),
)

session_too_long = _refused(
    Rule(
        "rfc5246/7.4.1.2/session-id-too-long",
        "A hello whose session id is longer than 32 bytes is refused.",
    ),
    sends="a ClientHello with a session id of 33 bytes",
    body=lambda hello, puppet: hello.but(session_id=bytes(33)).encode(),
)

# --- broken hellos ------------------------------------------------------------------------------


empty_hello = _refused(
    Rule(
        "rfc5246/7.4.1.2/empty-hello",
        "A hello without a content is refused and harms nobody.",
        traps=("DTLS 6",),
    ),
    sends="a ClientHello of no bytes",
    body=lambda hello, puppet: b"",
)

truncated_hello = _refused(
    Rule(
        "rfc5246/7.4.1.2/truncated-hello",
        "A hello that ends inside a field is refused and harms nobody.",
        traps=("DTLS 6",),
    ),
    sends="the first 50 bytes of a ClientHello, as a whole message",
    body=lambda hello, puppet: hello.encode()[:50],
)

odd_suites = _refused(
    Rule(
        "rfc5246/7.4.1.2/half-a-suite", "A hello whose list of suites ends inside one is refused."
    ),
    sends="a ClientHello with three bytes of cipher suites",
    body=lambda hello, puppet: (
        hello.version.to_bytes(2) + hello.random + b"\x00\x00\x00\x03\xc0\x2b\xc0\x01\x00"
    ),
)


@case(
    "rfc5246/7.4/unknown-message-first",
    "A handshake message of no known type, where a hello belongs, does not keep the hello from "
    "being answered.",
    sends="a message of type 99 with message_seq 0, then a ClientHello",
    profiles=DTLS,
    good=COMPLETED,
    lenient=(Handshaken.ALERTED,),
    bad=NEITHER_COMPLETED_NOR_ALERTED,
    traps=("DTLS 6",),
)
def unknown_message_first(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.send_record(
        ContentType.HANDSHAKE, b"\x63\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x04what"
    )
    return puppet.handshake()


# --- cookies ------------------------------------------------------------------------------------


@case(
    "rfc6347/4.2.1/second-hello-with-cookie",
    "A server that asks for a cookie takes the second hello, with message_seq 1.",
    sends="a ClientHello, and it again with the cookie",
    profiles=DTLS,
    good=COMPLETED,
    bad=NOT_COMPLETED,
    requirements=("rfc6347/4.2.6/2",),
    traps=("DTLS 2",),
)
def second_hello_with_cookie(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    seen = puppet.handshake()
    if not puppet.verifications:
        raise Unsupported("the server asks for no cookie")
    return seen


cookie_of_somebody_else = _accepted(
    Rule(
        "traps/dtls/cookie-that-another-asked-for",
        "A hello with a cookie and message_seq 1 is answered where whoever asked for the cookie "
        "stood before this server.",
        level=Level.MAY,
        traps=("DTLS 2",),
    ),
    sends="a ClientHello with message_seq 1 and a cookie",
    shape=lambda hello, puppet: _verified(hello, puppet),
)


def _verified(hello: Hello, puppet: ClientPuppet) -> Hello:
    puppet.sequence = 1
    return hello.but(cookie=puppet.call.stage.entropy(20))


@case(
    "rfc6347/4.2.1/number-of-the-hello",
    "The first ServerHello, or the request for a cookie, bears the record number of the hello.",
    sends="a ClientHello under record number 5",
    profiles=DTLS,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    # Whoever keeps state from the first hello on cannot repeat a number, and harms nobody.
    level=Level.SHOULD,
    requirements=("rfc6347/4.2.1/10", "rfc6347/4.2.1/12"),
)
def number_of_the_hello(stage: Stage) -> Observed:
    puppet = ClientPuppet.reach(stage)
    puppet.writer.plain = 5
    puppet.need_flight()
    first = next(each.record for each in puppet.heard)
    if first.sequence == 5:
        return Checked.RIGHT
    return Checked.WRONG, f"it is {first.sequence}"
