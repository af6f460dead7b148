"""The DTLS puppet against our own connection and against OpenSSL: left alone it is a good peer,
told to misbehave it does."""

from typing import Any

import pytest
from attrs import define, field

from conformance.client import Answer, Client, fixed_identity, seeded
from conformance.drivers.virtual import Emission, VirtualWire
from conformance.probe.call import Call
from conformance.probe.dtls import Handshaken, HeardAlert, Puppet
from conformance.probe.dtls_client import ClientPuppet, stranger
from conformance.probe.dtls_hello import Hello, post_quantum
from conformance.probe.dtls_identity import RSA_PKCS1_SHA256, rsa_identity
from conformance.probe.dtls_server import ServerPuppet
from conformance.probe.dtls_wire import (
    apart,
    backwards,
    cut_up,
    doubled,
    in_one_record,
    in_pieces,
    interleaved,
)
from conformance.stage import Stage
from dtls_openssl import Certified, OpenSslPeer, make_context
from stunroute.address import Address
from stunroute.errors import DecodeError
from transceiver.config import DtlsLimits
from transceiver.dtls import DtlsConnection, Fingerprint, Role
from transceiver.dtls.extensions import Extension
from transceiver.dtls.messages import HandshakeType, decode_client_hello_untrusted
from transceiver.dtls.parameters import Authentication
from transceiver.keying import SrtpProfile

SERVER = Address.of("203.0.113.1", 3478)


@define
class Ours:
    """Our connection as the far end."""

    role: Role
    client: Client
    connection: DtlsConnection = field(init=False)
    identity = fixed_identity(seeded("far end"))
    peer: Address | None = None

    def __attrs_post_init__(self) -> None:
        self.connection = DtlsConnection(
            role=self.role,
            identity=self.identity,
            fingerprints=(self.client.identity.fingerprint,),
            entropy=seeded("far end's entropy"),
            limits=DtlsLimits(),
            key_log=True,
        )

    @property
    def fingerprint(self) -> Fingerprint:
        return self.identity.fingerprint

    @property
    def done(self) -> bool:
        return self.connection.key_log_line is not None

    def start(self, now: float) -> None:
        self.connection.start(now)

    def receive(self, data: bytes, source: Address, destination: Address, now: float) -> None:
        self.connection.receive_datagram(data, now)

    def next_emission(self) -> Emission | None:
        data = self.connection.next_transmit()
        return None if data is None else Emission(data, SERVER, self.client.address)

    def handle_timeout(self, now: float) -> None:
        self.connection.handle_timeout(now)

    def next_timeout(self) -> float | None:
        return self.connection.next_timeout()


@define
class Theirs:
    """OpenSSL as the far end."""

    role: Role
    client: Client
    peer: OpenSslPeer = field(init=False)
    certified: Certified = field(init=False)
    waiting: list[bytes] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.certified = Certified.of(fixed_identity(seeded("far end")))
        self.peer = OpenSslPeer(self.role, make_context(self.certified))

    @property
    def fingerprint(self) -> Fingerprint:
        return self.certified.fingerprint

    @property
    def done(self) -> bool:
        return self.peer.done

    def start(self, now: float) -> None:
        if self.role is Role.CLIENT:
            self.peer.advance()

    def receive(self, data: bytes, source: Address, destination: Address, now: float) -> None:
        self.peer.receive(data)

    def next_emission(self) -> Emission | None:
        self.waiting += self.peer.transmits()
        return Emission(self.waiting.pop(0), SERVER, self.client.address) if self.waiting else None

    def handle_timeout(self, now: float) -> None: ...

    def next_timeout(self) -> float | None:
        return None


def meet(kind: type, role: Role, **options: Any) -> tuple[Puppet, Ours | Theirs]:
    """A puppet, and the far end in that role."""
    entropy = seeded("puppet")
    client = Client(entropy=entropy, address=Address.of("192.0.2.33", 50000), **options)
    far = kind(role, client)
    wire = VirtualWire(far, frozenset({SERVER}))
    assert wire.open() == client.address
    stage = Stage(wire, entropy)
    setup = "active" if role is Role.CLIENT else "passive"
    told = Answer("u", "p" * 22, (far.fingerprint,), setup, (), 111, None, True)
    call = Call(stage, client, "call", "", told, SERVER)
    far.start(stage.now)
    puppet = ClientPuppet if role is Role.SERVER else ServerPuppet
    return puppet(call=call, identity=client.identity), far


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
@pytest.mark.parametrize("kind", [Ours, Theirs], ids=["ours", "openssl"])
def test_left_alone_it_completes(kind: type, role: Role) -> None:
    puppet, far = meet(kind, role)
    assert puppet.handshake() == (Handshaken.COMPLETED, "")
    assert far.done
    assert puppet.profile is not None
    if isinstance(far, Theirs):
        material = far.peer.srtp_material(puppet.profile)
        keys = puppet.secrets.srtp_keys(puppet.profile, client=puppet.is_client)
        length = puppet.profile.key_length
        local = material[:length] if puppet.is_client else material[length : 2 * length]
        assert keys.local[:length] == local
    else:
        assert far.connection.key_log_line in puppet.call.stage.trail.secrets


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
@pytest.mark.parametrize("kind", [Ours, Theirs], ids=["ours", "openssl"])
@pytest.mark.parametrize(
    "how",
    [
        {"pack": in_pieces(40)},
        {"pack": in_pieces(230, datagram=700)},
        {"arrange": interleaved(60), "pack": apart},
        {"arrange": doubled, "pack": apart},
        {"pack": in_one_record},
    ],
    ids=["pieces", "pieces-together", "interleaved", "doubled", "one-record"],
)
def test_however_it_is_cut_the_handshake_is_right(kind: type, role: Role, how: dict) -> None:
    puppet, far = meet(kind, role)
    assert puppet.handshake(**how) == (Handshaken.COMPLETED, "")
    assert far.done


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
def test_a_flight_may_be_sent_backwards(role: Role) -> None:
    puppet, far = meet(Ours, role)
    arrange = backwards
    assert puppet.handshake(arrange=arrange, pack=apart) == (Handshaken.COMPLETED, "")
    assert far.done


@pytest.mark.parametrize(
    ("role", "wrong"),
    [
        (Role.SERVER, {"change": {HandshakeType.FINISHED: bytes(12)}}),
        (Role.SERVER, {"change": {HandshakeType.CERTIFICATE_VERIFY: None}}),
        (Role.SERVER, {"sign": lambda data: b"no signature"}),
        (Role.SERVER, {"arrange": lambda parts: parts[:-1]}),
        (Role.CLIENT, {"change": {HandshakeType.CERTIFICATE: b"\x00\x00\x00"}}),
        (Role.CLIENT, {"sign": lambda data: b"no signature"}),
        (Role.CLIENT, {"last_change": {HandshakeType.FINISHED: bytes(12)}}),
        (Role.CLIENT, {"extensions": lambda given: [*given, (Extension.USE_SRTP, b"")]}),
    ],
)
@pytest.mark.parametrize("kind", [Ours, Theirs], ids=["ours", "openssl"])
def test_told_to_misbehave_it_does(kind: type, role: Role, wrong: dict) -> None:
    puppet, far = meet(kind, role)
    if "arrange" in wrong:  # what is not said the first time is said when it is repeated
        wrong["tries"] = 1
    puppet.call.stage.patience = 0.01
    seen, _ = puppet.handshake(**wrong)
    assert seen in (Handshaken.ALERTED, Handshaken.DEAD)  # nobody answers checks here
    assert not far.done


def test_a_changed_message_is_part_of_what_is_hashed() -> None:
    puppet, _ = meet(Ours, Role.SERVER)
    puppet.need_flight()
    parts = puppet.second({HandshakeType.CERTIFICATE_VERIFY: lambda body: body + b"!"})
    verify = next(
        part.message
        for part in parts
        if part.message is not None and part.message.type == HandshakeType.CERTIFICATE_VERIFY
    )
    assert verify.body.endswith(b"!")
    assert verify.raw in puppet.transcript
    finished = parts[-1].message
    before = puppet.transcript.removesuffix(finished.raw)
    assert finished.body == puppet.secrets.client_finished(before)


def test_numbers_go_on_where_parts_are_sent_again() -> None:
    puppet, _ = meet(Ours, Role.SERVER)
    puppet.need_flight()
    parts = puppet.second()
    first = [each[5:11] for each in puppet.send(parts, pack=apart)]
    second = [each[5:11] for each in puppet.send(parts, pack=apart)]
    assert len(first) == 5
    assert not set(first[:-1]) & set(second[:-1])
    assert first[-1] != second[-1]


def test_fragments_cover_the_message() -> None:
    puppet, _ = meet(Ours, Role.SERVER)
    puppet.send_hello()
    pieces = cut_up(7)(puppet.flight)
    body = b"".join(each.content[12:] for each in pieces)
    assert body == puppet.hello.body
    assert {each.content[:6] for each in pieces} == {puppet.hello.raw[:6]}


@pytest.mark.parametrize("kind", [Ours, Theirs], ids=["ours", "openssl"])
def test_a_server_puppet_asks_for_a_cookie(kind: type) -> None:
    puppet, far = meet(kind, Role.CLIENT)
    puppet.need_hello()
    puppet.ask_cookie(b"a cookie of some bytes")
    assert puppet.hear_hello(1)
    assert puppet.offer.cookie == b"a cookie of some bytes"
    assert puppet.handshake() == (Handshaken.COMPLETED, "")
    assert far.done


@pytest.mark.parametrize("kind", [Ours, Theirs], ids=["ours", "openssl"])
def test_a_puppet_may_have_an_rsa_certificate(kind: type) -> None:
    puppet, far = meet(kind, Role.CLIENT, identity=rsa_identity())
    how = {"authentication": Authentication.RSA, "scheme": RSA_PKCS1_SHA256}
    assert puppet.handshake(**how) == (Handshaken.COMPLETED, "")
    assert far.done


def test_the_rsa_identity_is_always_the_same() -> None:
    one, two = rsa_identity(), rsa_identity.__wrapped__()
    assert one.certificate_der == two.certificate_der
    assert one.sign(b"something") == two.sign(b"something")


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_stubborn_puppet_says_it_again_the_same_way(stubborn: bool) -> None:
    puppet, _ = meet(Ours, Role.SERVER)
    puppet.need_flight()
    puppet.send_second(pack=in_pieces(40))
    entries = puppet.call.stage.trail.entries
    before = len(entries)
    puppet.repeat(stubborn=stubborn)
    assert (len(entries) - before > 5) is stubborn


def test_a_hello_of_today_is_longer_than_a_datagram() -> None:
    entropy = seeded("hello")
    hello = Hello.honest(entropy, SrtpProfile)
    body = post_quantum(hello, entropy).encode()
    assert 1400 < len(body) < 1500
    read = decode_client_hello_untrusted(body)
    assert read.extensions[Extension.SUPPORTED_VERSIONS] == b"\x04\xfe\xfc\xfe\xfd"
    assert read.version == 0xFEFD


def test_fields_of_a_hello_are_changed_one_at_a_time() -> None:
    hello = Hello.honest(seeded("hello"), SrtpProfile)
    without = hello.with_extension(Extension.USE_SRTP, None)
    assert without.extension(Extension.USE_SRTP) is None
    assert len(without.extensions) == len(hello.extensions) - 1
    twice = hello.also(Extension.USE_SRTP, b"")
    with pytest.raises(DecodeError, match="twice"):
        decode_client_hello_untrusted(twice.encode())
    with pytest.raises(DecodeError, match="behind"):
        decode_client_hello_untrusted(hello.but(tail=b"x").encode())


def test_a_stranger_is_elsewhere() -> None:
    puppet, _ = meet(Ours, Role.SERVER)
    other = stranger(puppet.call)
    assert other.socket != puppet.socket
    assert other.offer.random != puppet.offer.random


def test_alerts_are_told_apart() -> None:
    puppet, far = meet(Ours, Role.SERVER)
    puppet.establish()
    assert puppet.fatal is None
    far.connection.close(0.0)
    puppet.wait(0.1)
    assert puppet.alerts == [HeardAlert(1, 0, True)]
    assert puppet.fatal is None


def test_without_presumption_silence_is_no_consent() -> None:
    puppet, _ = meet(Ours, Role.CLIENT)
    puppet.establish()  # the far end has neither media nor data
    assert puppet.is_accepted(0.1)
    assert not puppet.is_accepted(0.1, presume=False)
