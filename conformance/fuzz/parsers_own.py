"""The readers of this package: captures and sidecars are files, and whoever has one to show may
have made it himself."""

import contextlib

from .target import Run, Table, insist, only

TABLE = Table()


@TABLE.target("conformance.story._stun_untrusted", seeds="stun", length=400)
def _stun() -> Run:
    from conformance.story import _stun_untrusted

    return only(lambda data: _stun_untrusted(data, str))


@TABLE.target("conformance.story._dtls_untrusted", seeds="dtls", length=900)
def _dtls() -> Run:
    """An input is cut into the datagrams of one conversation."""
    from conformance.story import _Conversation, _dtls_untrusted
    from stunroute.address import Address
    from stunroute.errors import DecodeError

    one, other = Address.of("192.0.2.1", 1), Address.of("192.0.2.2", 2)

    def run(data: bytes) -> None:
        conversation = _Conversation()
        size = 1 + len(data) // 2
        for source, datagram in ((one, data), (one, data[:size]), (other, data[size:])):
            if datagram:
                with contextlib.suppress(DecodeError):
                    _dtls_untrusted(datagram, source, conversation)
        insist(sum(map(len, conversation.hello.values())) <= 16384, "a hello is bounded")

    return run


@TABLE.target("conformance.story._hello_untrusted", seeds="hello", length=900)
def _hello() -> Run:
    from conformance.story import _hello_untrusted
    from transceiver.dtls.messages import HandshakeType

    kinds = (HandshakeType.CLIENT_HELLO, HandshakeType.SERVER_HELLO, HandshakeType.FINISHED)
    return only(lambda data: _hello_untrusted(kinds[data[0] % 3 if data else 0], data[1:]))


@TABLE.target("conformance.story._rtp_untrusted", seeds="rtp", length=100)
def _rtp() -> Run:
    from conformance.story import _rtp_untrusted

    return only(lambda data: _rtp_untrusted(data, secured=True))


@TABLE.target("conformance.story._rtcp_untrusted", seeds="rtcp", length=200)
def _rtcp() -> Run:
    from conformance.story import _rtcp_untrusted

    return only(lambda data: _rtcp_untrusted(data, secured=bool(data and data[-1] & 1)))


@TABLE.target("core.capture", seeds="capture", length=3000)
def _capture() -> Run:
    """Whole files, pcap and pcapng. Scapy warns where it is not sure, which is its business."""
    import logging
    from io import BytesIO
    from pathlib import Path

    from conformance import capture
    from conformance.story import Teller

    logging.getLogger("scapy").setLevel(logging.ERROR)
    path = Path("input")

    def run(data: bytes) -> None:
        teller = Teller()
        packets = capture._read(path, BytesIO(data), BytesIO(data))
        for number, packet in enumerate(packets, start=1):
            insist(packet.number == number, "packets are numbered without a gap")
            insist(len(packet.payload) <= len(packet.frame), "a payload lies in its frame")
            str(teller.tell(packet))
        insist(len(data) >= 24, "a file has a header")

    return only(run, capture.CaptureError)


@TABLE.target("core.sidecar", seeds="sidecar", length=8000)
def _sidecar() -> Run:
    from conformance import sidecar
    from conformance.tables import SidecarError

    return only(lambda data: sidecar.loads(data.decode("utf-8", "replace")), SidecarError)


@TABLE.target("core.story", seeds="datagram", length=1200)
def _story() -> Run:
    """What is told of a datagram is told without raising, and in one line."""
    from conformance.story import describe

    def run(data: bytes) -> None:
        insist("\n" not in describe(data), "a datagram is told in one line")

    return run
