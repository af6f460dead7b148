"""Inputs that no capture holds: they travel sealed, or not as datagrams at all.

A fuzzer that starts from nothing seldom finds the way into a nested format; these are the ways in,
written by the project's own encoders.
"""

import json
from collections.abc import Iterator

from stunroute import forward, stun
from stunroute.address import Address
from transceiver.datachannel.messages import Ack, Open
from transceiver.sctp import causes, chunks, packet, parameters
from transceiver.srtp import rtcp

from . import operations
from .seeds import Seeds

EVENTS = (
    {"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief."}},
    {"type": "session.update", "session": {"audio": {"output": {"voice": "x"}}}, "event_id": "a"},
    {
        "type": "session.update",
        "session": {"audio": {"input": {"turn_detection": {"type": "server_vad"}}}},
    },
    {"type": "input_audio_buffer.append", "audio": "AAAA"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "output_audio_buffer.clear"},
    {
        "type": "conversation.item.create",
        "item": {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "hi"}],
        },
    },
    {"type": "conversation.item.retrieve", "item_id": "x"},
    {"type": "conversation.item.delete", "item_id": "x"},
    {
        "type": "conversation.item.truncate",
        "item_id": "x",
        "content_index": 0,
        "audio_end_ms": 100,
    },
    {"type": "response.create", "response": {"instructions": "x", "metadata": {"a": "b"}}},
    {"type": "response.cancel", "response_id": "x"},
)
AGENT_EVENTS = (
    {"type": "session.created", "session": {"type": "realtime", "id": "s"}},
    {"type": "response.created", "response": {"id": "r", "object": "realtime.response"}},
    {"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": "AAAA"},
    {"type": "response.output_audio.done", "response_id": "r", "item_id": "i"},
    {"type": "response.done", "response": {"id": "r", "status": "completed"}},
    {"type": "input_audio_buffer.speech_started", "audio_start_ms": 5},
    {"type": "error", "error": {"type": "x", "event_id": "event_1"}},
)
SDP_TAIL = (
    "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
    "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n"
)


def add(seeds: Seeds) -> None:
    """Enter all of them."""
    _add_rows(seeds)
    client, proxy = Address.of("192.0.2.1", 4000), Address.of("2001:db8::1", 3478)
    seeds.add("leg", forward.encode(client, proxy) + b"payload", forward.encode(proxy, client))
    seeds.add("octets", bytes(8), bytes(range(48)), b"\xff" * 33, b"\x01" + bytes(range(60)))
    seeds.add("ufrag", b"0" * 26, bytes(range(11)), b"z" + b"0" * 25, b"0abc")
    seeds.add("value", b"\x00\x01\x11\x22\xc0\x00\x02\x01", b"\x00\x04\x00\x1d\x00\x17")
    seeds.add("fingerprint", b"sha-256 " + b":".join([b"AB"] * 32), b"SHA-1 " + b"00:" * 19 + b"00")
    _add_json(seeds)
    _add_sctp(seeds)
    _add_rtcp(seeds)
    seeds.add("frames", b"\x00\x01\x00\x10" + bytes(16) + b"\x10\x00\x02\x00\x00\x00\x00\x00")
    seeds.add("frames", b"\x03\xf0\x00\x00\xf0\x00\x04\x00\x00\x00\x09\xff\x00\x01\x02")
    seeds.add("stun", stun.build(1, stun.MessageClass.REQUEST, bytes(12), []))
    for code in range(0, 256, 9):
        seeds.add("opus", bytes((code & 3, 16, code)) + bytes(range(40)))
    seeds.add("secret", b"ek_" + b"A" * 60, b"\x07AAAA")
    fragment = "a=ice-options:trickle\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n" + SDP_TAIL
    seeds.add("sdp", SDP_TAIL.encode(), fragment.encode())


def _add_rows(seeds: Seeds) -> None:
    """The rows that the cores' own modules list. They are imported here because they take their
    chunks from this module."""
    from . import cores_call, cores_dtls, cores_endpoint, cores_ice, cores_relay, cores_sctp

    seeds.add("dtls-row", *cores_dtls.SEEDS)
    seeds.add("sctp-row", *cores_sctp.SEEDS)
    seeds.add("channel-row", *cores_sctp.SEEDS)
    seeds.add("relay-row", *cores_relay.SEEDS)
    seeds.add("ice-row", *cores_ice.SEEDS)
    seeds.add("call-row", *cores_endpoint.SEEDS)
    seeds.add("jitter-row", *cores_call.JITTER_SEEDS)


def _add_json(seeds: Seeds) -> None:
    for event in (*EVENTS, *AGENT_EVENTS):
        seeds.add("json", json.dumps(event).encode())
    seeds.add("json", b'"AAAA"', b'"//8="', b"12", b"[]", b'{"command": "flows", "limit": 20}')
    for event in EVENTS:
        session = event.get("session")
        if session is not None:
            text = json.dumps(session).encode()
            seeds.add("session", text, b'{"session": ' + text + b"}")
            seeds.add("query", b"model=m&dcid=5\n" + text)
            seeds.add("form", _form(text))
    seeds.add("session", b'{"expires_after": {"anchor": "created_at", "seconds": 60}}')
    seeds.add("query", b"model=gpt&dcid=65534", b"dcid=1")
    wire = [json.dumps(event).encode() for event in EVENTS]
    said = [json.dumps(event).encode() for event in AGENT_EVENTS]
    seeds.add("event-row", operations.encode(0, [(0, text) for text in wire]))
    seeds.add("event-row", operations.encode(0, [(15, text) for text in said]))
    talk = [(9, b"hello"), (14, b""), (11, b""), (7, b"x"), (8, b""), (10, b""), (12, b"")]
    for text in (*wire, *said):
        kind = 15 if text in said else 1
        seeds.add("event-row", operations.encode(0, [(kind, text), *talk, (kind, text), (13, b"")]))


def _form(session: bytes) -> bytes:
    part = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    return part % (b"sdp", b"v=0") + part % (b"session", session) + b"--b--\r\n"


def sample_reports() -> tuple[bytes, ...]:
    """RTCP packets, then four of them in one datagram."""
    packets = _reports()
    return (*map(rtcp.encode, packets), rtcp.encode_compound(packets[:4]))


def _reports() -> tuple[rtcp.Packet, ...]:
    blocks = (rtcp.ReportBlock(7, 1, -5, 70_000, 30, 40, 50), rtcp.ReportBlock(8, 0, 0, 1, 2, 3, 4))
    return (
        rtcp.SenderReport(7, 1 << 40, 960, 10, 1600, blocks[:1]),
        rtcp.ReceiverReport(7, blocks),
        rtcp.SourceDescription((rtcp.Chunk(7, ((rtcp.CNAME, b"name"),)), rtcp.Chunk(8, ()))),
        rtcp.Bye((7, 8), b"enough"),
        rtcp.Bye((7,)),
        rtcp.Feedback(205, 15, 7, 8, b"\x00\x01\x00\x02"),
        rtcp.Unknown(207, 1, bytes(8)),
    )


def _add_rtcp(seeds: Seeds) -> None:
    """In the clear: what captures hold is protected behind the first eight octets."""
    packets = _reports()
    for one in packets:
        seeds.add("rtcp", rtcp.encode(one), b"\x01" + rtcp.encode(one)[4:])
    compound = rtcp.encode_compound(packets[:4])
    seeds.add("rtcp", compound)
    row = [(number & 1, rtcp.encode(one)) for number, one in enumerate(packets)]
    seeds.add("rtcp-row", operations.encode(0, row), operations.encode(1, [(1, compound)]))


def sample_chunks() -> Iterator[chunks.Chunk]:
    """One of every kind of chunk."""
    cookie = parameters.StateCookie(b"c" * 12)
    said = (parameters.ForwardTsnSupported(), parameters.SupportedExtensions((130, 192)))
    yield chunks.Data(7, 1, 0, 51, b"hello", True, True)
    yield chunks.Data(8, 1, 0, 50, Open("label", "proto").encode(), True, True)
    yield chunks.Data(9, 2, 1, 53, b"part", True, False, unordered=True)
    yield chunks.Init(77, 100_000, 10, 10, 88, said)
    yield chunks.InitAck(77, 100_000, 10, 10, 88, (cookie, *said))
    yield chunks.Sack(6, 100_000)
    yield chunks.Sack(6, 100_000, ((2, 3), (5, 5)), (4,))
    yield chunks.Heartbeat(b"are you there")
    yield chunks.HeartbeatAck(b"are you there")
    yield chunks.Abort((causes.UserAbort("enough"),))
    yield chunks.Shutdown(6)
    yield chunks.ShutdownAck()
    yield chunks.Error((causes.StaleCookie(5), causes.UnrecognizedChunk(b"\xfe\x00\x00\x04")))
    yield chunks.CookieEcho(b"made up")
    yield chunks.CookieAck()
    yield chunks.ShutdownComplete()
    yield chunks.ReConfig((parameters.OutgoingReset(7, 0, 6, (1, 2)),))
    yield chunks.ReConfig((parameters.IncomingReset(7, (1,)),))
    yield chunks.ReConfig((parameters.ReconfigResponse(7, 1),))
    yield chunks.ReConfig((parameters.AddOutgoingStreams(7, 3), parameters.TsnReset(8)))
    yield chunks.ForwardTsn(9, ((1, 0), (2, 5)))
    yield chunks.Unknown(0x3F, 0, b"what")
    yield chunks.Unknown(0xFE, 0, b"what")


def _add_sctp(seeds: Seeds) -> None:
    every = list(sample_chunks())
    for chunk in every:
        data = chunk.encode()
        whole = packet.encode(5000, 5000, 77, (chunk,))
        seeds.add("chunk", data)
        seeds.add("sctp", b"\xff" + whole, b"\x00" + whole, whole)
        match chunk:
            case chunks.Init() | chunks.InitAck():
                seeds.add("parameters", parameters.encode(chunk.parameters))
                seeds.add("value", b"\x00" + data[4:])
            case chunks.ReConfig():
                seeds.add("parameters", data[4:])
            case chunks.Abort() | chunks.Error():
                seeds.add("causes", data[4:])
    pair = packet.encode(5000, 5000, 77, (every[5], every[0], every[1]))
    seeds.add("sctp", b"\xff" + pair, pair)
    seeds.add("chunk", every[0].encode() + every[1].encode())
    for message in (Open("label"), Open("", "p", False, retransmissions=3), Ack()):
        seeds.add("channel", message.encode(), b"\x01" + message.encode())
    seeds.add("channel", b"\x02hello", b"\x04\x00\x01")
