"""An OpenSSL peer in memory, through pyOpenSSL: the other implementation at the table.

OpenSSL takes no clock and no entropy, so tests with it are exact about outcomes and not about
bytes. Its retransmission timer is served by ``tick``, which tells it that time has passed.
"""

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from transceiver.dtls import Fingerprint, Identity, Role
from transceiver.keying import SrtpProfile

PROFILE_NAMES = {
    SrtpProfile.AEAD_AES_128_GCM: b"SRTP_AEAD_AES_128_GCM",
    SrtpProfile.AEAD_AES_256_GCM: b"SRTP_AEAD_AES_256_GCM",
    SrtpProfile.AES128_CM_SHA1_80: b"SRTP_AES128_CM_SHA1_80",
}
DEFAULT_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"


@define
class Certified:
    """A certificate with its key, of whatever kind."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @classmethod
    def of(cls, identity: Identity) -> "Certified":
        return cls(x509.load_der_x509_certificate(identity.certificate_der), identity.private_key)

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint.of(self.certificate.public_bytes(Encoding.DER))


def make_context(
    certified: Certified,
    *,
    profiles: tuple[SrtpProfile, ...] = tuple(SrtpProfile),
    ciphers: bytes = DEFAULT_CIPHERS,
    group: ec.EllipticCurve | None = None,
    verify: bool = True,
) -> SSL.Context:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.use_certificate(certified.certificate)
    context.use_privatekey(certified.key)
    context.set_cipher_list(ciphers)
    context.set_options(SSL.OP_NO_TICKET)
    if profiles:
        context.set_tlsext_use_srtp(b":".join(PROFILE_NAMES[profile] for profile in profiles))
    if group is not None:
        context.set_tmp_ecdh(group)
    if verify:
        context.set_verify(
            SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_arguments: True
        )
    return context


@define
class OpenSslPeer:
    """``receive`` and ``transmits`` are its network, ``done`` whether its handshake is over."""

    role: Role
    context: SSL.Context
    mtu: int = 1200
    connection: SSL.Connection = field(init=False)
    done: bool = field(default=False, init=False)
    received: list[bytes] = field(factory=list, init=False)
    failure: Exception | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.connection = SSL.Connection(self.context)
        self.connection.set_options(SSL.OP_NO_QUERY_MTU)
        self.connection.set_ciphertext_mtu(self.mtu)
        if self.role is Role.CLIENT:
            self.connection.set_connect_state()
        else:
            self.connection.set_accept_state()

    def advance(self) -> None:
        if self.failure is not None:
            return
        try:
            if not self.done:
                self.connection.do_handshake()
                self.done = True
            while True:
                self.received.append(self.connection.recv(65535))
        except SSL.WantReadError:
            pass
        except (SSL.Error, SSL.ZeroReturnError) as error:
            self.failure = error

    def receive(self, datagram: bytes) -> None:
        self.connection.bio_write(datagram)
        self.advance()

    def tick(self) -> None:
        """Let its timer fire if it is due."""
        self.connection.DTLSv1_handle_timeout()

    def transmits(self) -> list[bytes]:
        """What it wants sent, one record a datagram: a memory BIO keeps no borders."""
        try:
            data = self.connection.bio_read(1 << 20)
        except SSL.WantReadError:
            return []
        records = []
        while data:
            length = 13 + int.from_bytes(data[11:13])
            records.append(data[:length])
            data = data[length:]
        return records

    def srtp_material(self, profile: SrtpProfile) -> bytes:
        length = 2 * (profile.key_length + profile.salt_length)
        return self.connection.export_keying_material(b"EXTRACTOR-dtls_srtp", length)

    def selected_profile(self) -> bytes:
        return self.connection.get_selected_srtp_profile()
