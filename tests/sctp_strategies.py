"""What Hypothesis is told about SCTP: parameters, causes, chunks and whole packets.

Every value can be encoded and stands for one that decodes to it again, so that round trips need no
filter of their own.
"""

from hypothesis import strategies as st

from transceiver.sctp import causes, chunks, packet, parameters

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
values = st.binary(max_size=20)
stream_lists = st.lists(u16, max_size=4).map(tuple)

KNOWN_CAUSES = frozenset((1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13))
KNOWN_PARAMETERS = frozenset(
    (5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 0x8001, 0x8008, 0xC000)
)
KNOWN_CHUNKS = frozenset((*range(12), 14, 130, 192))

a_cause = st.one_of(
    st.builds(causes.InvalidStream, u16),
    st.builds(causes.MissingParameters, stream_lists),
    st.builds(causes.StaleCookie, u32),
    st.just(causes.OutOfResource()),
    st.builds(causes.UnrecognizedChunk, values),
    st.just(causes.InvalidMandatoryParameter()),
    st.builds(causes.UnrecognizedParameters, values),
    st.builds(causes.NoUserData, u32),
    st.just(causes.CookieWhileShuttingDown()),
    st.builds(causes.RestartWithNewAddresses, values),
    st.builds(causes.UserAbort, st.text(st.characters(exclude_categories=["Cs"]), max_size=8)),
    st.builds(
        causes.ProtocolViolation, st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    ),
    st.builds(causes.OtherCause, u16.filter(lambda code: code not in KNOWN_CAUSES), values),
)
a_cause_list = st.lists(a_cause, max_size=3).map(tuple)

a_parameter = st.one_of(
    st.builds(parameters.StateCookie, values),
    st.builds(parameters.UnrecognizedParameter, values),
    st.builds(parameters.OutgoingReset, u32, u32, u32, stream_lists),
    st.builds(parameters.IncomingReset, u32, stream_lists),
    st.builds(parameters.TsnReset, u32),
    st.builds(parameters.ReconfigResponse, u32, u32, st.none() | st.tuples(u32, u32)),
    st.builds(parameters.AddOutgoingStreams, u32, u16),
    st.builds(parameters.AddIncomingStreams, u32, u16),
    st.builds(parameters.ZeroChecksumAcceptable, u32),
    st.builds(parameters.SupportedExtensions, st.binary(max_size=6).map(tuple)),
    st.just(parameters.ForwardTsnSupported()),
    st.builds(parameters.OverIp, st.sampled_from([5, 6, 9, 11, 12]), values),
    st.builds(
        parameters.UnknownParameter,
        st.integers(0x8000, 0xFFFF).filter(lambda kind: kind not in KNOWN_PARAMETERS),
        values,
    ),
)
a_stopping_parameter = st.builds(
    parameters.UnknownParameter,
    st.integers(0, 0x7FFF).filter(lambda kind: kind not in KNOWN_PARAMETERS),
    values,
)
a_parameter_list = st.lists(a_parameter, max_size=4).map(tuple)
"""Of parameters that do not end the reading."""

a_gap = st.tuples(st.integers(1, 0xFFFF), st.integers(1, 0xFFFF)).map(
    lambda ends: (min(ends), max(ends))
)
a_data = st.builds(
    chunks.Data,
    tsn=u32,
    stream=u16,
    ssn=u16,
    ppid=u32,
    payload=st.binary(min_size=1, max_size=40),
    beginning=st.booleans(),
    ending=st.booleans(),
    unordered=st.booleans(),
    immediate=st.booleans(),
)
a_sack = st.builds(
    chunks.Sack,
    cumulative=u32,
    window=u32,
    gaps=st.lists(a_gap, max_size=4).map(tuple),
    duplicates=st.lists(u32, max_size=4).map(tuple),
)
an_init = st.builds(chunks.Init, u32, u32, u16, u16, u32, a_parameter_list)
an_init_ack = st.builds(chunks.InitAck, u32, u32, u16, u16, u32, a_parameter_list)
an_abort = st.builds(chunks.Abort, a_cause_list, st.booleans())
a_forward = st.builds(chunks.ForwardTsn, u32, st.lists(st.tuples(u16, u16), max_size=4).map(tuple))
a_reconfig = st.builds(chunks.ReConfig, st.lists(a_parameter, min_size=1, max_size=2).map(tuple))

BY_KIND: dict[type, st.SearchStrategy[chunks.Chunk]] = {
    chunks.Data: a_data,
    chunks.Init: an_init,
    chunks.InitAck: an_init_ack,
    chunks.Sack: a_sack,
    chunks.Heartbeat: st.builds(chunks.Heartbeat, values),
    chunks.HeartbeatAck: st.builds(chunks.HeartbeatAck, values),
    chunks.Abort: an_abort,
    chunks.Shutdown: st.builds(chunks.Shutdown, u32),
    chunks.ShutdownAck: st.just(chunks.ShutdownAck()),
    chunks.Error: st.builds(chunks.Error, a_cause_list),
    chunks.CookieEcho: st.builds(chunks.CookieEcho, values),
    chunks.CookieAck: st.just(chunks.CookieAck()),
    chunks.ShutdownComplete: st.builds(chunks.ShutdownComplete, st.booleans()),
    chunks.ReConfig: a_reconfig,
    chunks.ForwardTsn: a_forward,
    chunks.Unknown: st.builds(
        chunks.Unknown,
        st.integers(128, 255).filter(lambda kind: kind not in KNOWN_CHUNKS),
        st.integers(0, 255),
        values,
    ),
}
"""Each kind of chunk; of unknown ones those behind which the packet is read on."""

a_chunk = st.one_of(*BY_KIND.values())
a_stopping_chunk = st.builds(
    chunks.Unknown,
    st.integers(0, 127).filter(lambda kind: kind not in KNOWN_CHUNKS),
    st.integers(0, 255),
    values,
)
a_packet = st.builds(
    packet.Packet, u16, u16, u32, st.lists(a_chunk, min_size=1, max_size=4).map(tuple)
)


@st.composite
def packet_bytes(draw: st.DrawFn) -> bytes:
    """A packet of sound structure with a right checksum, now and then with a byte changed before
    the checksum was made."""
    drawn = draw(a_packet)
    data = packet.encode(drawn.source_port, drawn.destination_port, drawn.tag, drawn.chunks)
    if draw(st.booleans()):
        at = draw(st.integers(packet.HEADER_LENGTH, len(data) - 1))
        body = data[packet.HEADER_LENGTH : at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
        data = packet.assemble(drawn.source_port, drawn.destination_port, drawn.tag, [body])
    return data
