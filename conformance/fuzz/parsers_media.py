"""How the parsers of sound and of what carries it are called, and what must hold of what they
return."""

from .operations import decode as operations_of
from .stock import Stream
from .target import Run, Table, again, insist, only

TABLE = Table()
_KEYS = bytes(range(64))


@TABLE.target("transceiver.srtp.rtp.decode_untrusted", seeds="rtp", length=300, weight=2.0)
def _rtp() -> Run:
    from transceiver.srtp import rtp

    def run(data: bytes) -> None:
        packet = rtp.decode_untrusted(data)
        insist(rtp.peek_ssrc_untrusted(data) == packet.ssrc, "what is peeked is what is there")
        clear = rtp.header_length_untrusted(data)
        size = clear + len(packet.payload) + packet.padding
        insist(size == len(data), "header, payload and padding are the packet")
        seen = rtp.audio_untrusted(data)
        same = (packet.payload_type, packet.marker, packet.sequence, packet.timestamp)
        insist(seen[:4] == same, "both ways read the same")
        rest = (packet.ssrc, packet.payload, packet.extensions)
        insist(seen[4:] == rest, "both ways read the same")
        try:
            written = rtp.encode(packet)
        except ValueError:  # an element that one form can say and neither can repeat
            return
        insist(again(rtp.decode_untrusted, written) == packet, "a packet is encoded as it was read")

    return only(run)


@TABLE.target("transceiver.srtp.rtcp.decode_compound_untrusted", seeds="rtcp", length=400)
def _rtcp() -> Run:
    from transceiver.srtp import rtcp

    def run(data: bytes) -> None:
        packets = rtcp.decode_compound_untrusted(data)
        insist(bool(packets), "a compound has a packet")
        written = rtcp.encode_compound(packets)
        insist(
            again(rtcp.decode_compound_untrusted, written) == packets,
            "a compound is encoded as it was read",
        )

    return only(run)


@TABLE.target("transceiver.srtp.rtcp._decode_untrusted", seeds="rtcp", length=200)
def _rtcp_packet() -> Run:
    from transceiver.srtp.rtcp import _decode_untrusted

    def run(data: bytes) -> None:
        if len(data) >= 4:
            _decode_untrusted(data[1], data[0] & 0x1F, data[4 : len(data) & ~3])

    return only(run)


def _counted(name: str) -> Run:
    from transceiver.srtp import rtcp

    decode = getattr(rtcp, name)
    return only(lambda data: decode(data[1:], data[0] & 0x1F if data else 0))


@TABLE.target("transceiver.srtp.rtcp._reports_untrusted", seeds="rtcp", length=120)
def _reports() -> Run:
    from transceiver.srtp.rtcp import _reports_untrusted

    def run(data: bytes) -> None:
        count = data[0] & 0x1F if data else 0
        blocks, rest = _reports_untrusted(data[1:], count)
        insist(len(blocks) == count, "as many blocks as were announced")
        insist(len(rest) == max(0, len(data) - 1) - 24 * count, "the rest is what follows them")

    return only(run)


@TABLE.target("transceiver.srtp.rtcp._description_untrusted", seeds="rtcp", length=120)
def _description() -> Run:
    return _counted("_description_untrusted")


@TABLE.target("transceiver.srtp.rtcp._bye_untrusted", seeds="rtcp", length=120)
def _bye() -> Run:
    return _counted("_bye_untrusted")


# --- SRTP ---------------------------------------------------------------------------------------


def _unprotect(rtcp: bool) -> Run:
    """A row of packets for one context: odd operations as they are, even ones after the peer has
    protected them, one octet changed where the kind has its high bit."""
    from transceiver.config import SrtpLimits
    from transceiver.keying import SrtpKeys, SrtpProfile
    from transceiver.srtp import SrtpContext, SrtpError
    from transceiver.srtp.protection import ProtectionError

    limits = SrtpLimits(sources=3, rollover_guesses=2)

    def contexts(choice: int) -> tuple[SrtpContext, SrtpContext]:
        profile = tuple(SrtpProfile)[choice % 3]
        size = profile.key_length + profile.salt_length
        one, other = _KEYS[:size], _KEYS[-size:]
        ours = SrtpContext(SrtpKeys(profile, one, other), limits)
        return ours, SrtpContext(SrtpKeys(profile, other, one), limits)

    def run(data: bytes) -> None:
        setting, row = operations_of(data, 8)
        ours, peer = contexts(setting)
        seal = peer.protect_rtcp if rtcp else peer.protect_rtp
        unseal = ours.unprotect_rtcp_untrusted if rtcp else ours.unprotect_rtp_untrusted
        for kind, packet in row:
            if not kind & 1:
                try:
                    packet = seal(packet)
                except ProtectionError:
                    continue
                if kind & 0x80 and packet:
                    at = kind % len(packet)
                    packet = packet[:at] + bytes((packet[at] ^ 0x10,)) + packet[at + 1 :]
            try:
                unseal(packet)
            except SrtpError:
                continue
            insist(not kind & 1, "nothing opens that the peer has not sealed")
            try:
                unseal(packet)
            except SrtpError:
                continue
            insist(False, "a packet is taken once")

    return run


@TABLE.target(
    "transceiver.srtp.protection.SrtpContext.unprotect_rtp_untrusted",
    seeds="rtp-row",
    length=600,
    operations=True,
)
def _unprotect_rtp() -> Run:
    return _unprotect(rtcp=False)


@TABLE.target(
    "transceiver.srtp.protection.SrtpContext.unprotect_rtcp_untrusted",
    seeds="rtcp-row",
    length=600,
    operations=True,
)
def _unprotect_rtcp() -> Run:
    return _unprotect(rtcp=True)


for _name in ("_admit", "_open_after_wrap"):
    TABLE.cover(
        f"transceiver.srtp.protection.SrtpContext.{_name}_untrusted",
        "transceiver.srtp.protection.SrtpContext.unprotect_rtp_untrusted",
        "It is a step of opening a packet and wants the context that the packet came to.",
    )


def _audio(rtcp: bool) -> Run:
    """A row of packets for one stream."""
    from stunroute.errors import DecodeError
    from transceiver.audio import AudioStream
    from transceiver.config import SessionLimits
    from transceiver.srtp.rtcp import decode_compound_untrusted

    limits = SessionLimits()

    def run(data: bytes) -> None:
        stream = AudioStream("rtc_x", "opus", 111, 48000, 7, "us", Stream("audio"), limits)
        stream.belongs_to("0", 4)
        stream.start(0.0)
        now = 0.0
        for kind, packet in operations_of(data, 24)[1]:
            now += kind / 100
            try:
                if rtcp and kind & 1:
                    stream.receive_rtcp_untrusted(packet, now)
                else:
                    stream.receive_rtp_untrusted(packet, now)
            except DecodeError:
                continue
            insist(len(stream._sources) <= limits.remote_sources, "sources are bounded")
            stream.changes.clear()
        if stream.next_report is not None:
            again(decode_compound_untrusted, stream.report(now))

    return run


@TABLE.target(
    "transceiver.audio.AudioStream.receive_rtp_untrusted",
    seeds="rtp-row",
    length=800,
    operations=True,
)
def _audio_rtp() -> Run:
    return _audio(rtcp=False)


@TABLE.target(
    "transceiver.audio.AudioStream.receive_rtcp_untrusted",
    seeds="rtcp-row",
    length=800,
    operations=True,
)
def _audio_rtcp() -> Run:
    return _audio(rtcp=True)


# --- codecs -------------------------------------------------------------------------------------


def _decoder(codec: str, recover: bool) -> Run:
    from transceiver.voice.codec import make_decoder

    make_decoder(codec, 8000)  # imports the codec, now that it is instrumented

    def run(data: bytes) -> None:
        rate = (8000, 16000, 24000, 48000)[data[0] & 3 if data else 0]
        decoder = make_decoder(codec, rate)
        if recover:
            samples = data[1] * 60 if len(data) > 1 else 0
            made = decoder.recover_untrusted(data[2:], samples)
            insist(len(made) == 2 * samples, "as much is made up as was asked for")
        decoded = decoder.decode_untrusted(data[2:])
        insist(len(decoded) % 2 == 0 and len(decoded) <= rate // 2, "whole samples, within bounds")

    return only(run)


@TABLE.target("transceiver.voice.g711.G711Decoder.decode_untrusted", seeds="octets", length=1700)
def _g711() -> Run:
    return _decoder("PCMU", recover=False)


@TABLE.target("transceiver.voice.g711.G711Decoder.recover_untrusted", seeds="octets", length=200)
def _g711_recover() -> Run:
    return _decoder("PCMA", recover=True)


@TABLE.target("transceiver.voice.opus.OpusDecoder.decode_untrusted", seeds="opus", length=400)
def _opus() -> Run:
    return _decoder("opus", recover=False)


@TABLE.target("transceiver.voice.opus.OpusDecoder.recover_untrusted", seeds="opus", length=400)
def _opus_recover() -> Run:
    return _decoder("opus", recover=True)


for _name in ("decode", "recover"):
    TABLE.cover(
        f"transceiver.voice.codec.Decoder.{_name}_untrusted",
        f"transceiver.voice.opus.OpusDecoder.{_name}_untrusted",
        "A protocol without a body; what implements it is there.",
        traced=False,
    )


@TABLE.target("transceiver.voice.payloads.duration_untrusted", seeds="opus", length=64)
def _duration() -> Run:
    from transceiver.voice import payloads

    def run(data: bytes) -> None:
        codec = "opus" if data[:1] < b"\x80" else "PCMU"
        carried = payloads.carries_copy(codec, data[1:])
        insist(not carried or codec == "opus", "only Opus carries copies")
        ticks = payloads.duration_untrusted(codec, data[1:])
        most = payloads.LONGEST_OPUS if codec == "opus" else payloads.LONGEST_G711
        insist(0 < ticks <= most, "a packet holds some sound, and not too much")

    return only(run)
