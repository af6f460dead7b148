"""How an association begins: INIT and the answer to it (RFC 9260, sections 3.3.2, 5.1).

Nothing can be asked by HEARTBEAT before there is an association; life shows in the INIT ACK to a
good INIT. INITs as today's clients send them have to lead to a channel that works.
"""

from conformance.case import Observed, Unsupported, case
from conformance.probe.profiles import DATACHANNEL
from conformance.probe.sctp import ABILITIES, ANSWERED, NOT_ANSWERED, Puppet, Reaction, prepare
from conformance.probe.sctp_opening import answer_to, draws_nothing, greets_still, stands
from conformance.stage import Stage
from transceiver.sctp.chunks import Heartbeat, InitAck
from transceiver.sctp.packet import Packet
from transceiver.sctp.parameters import (
    HOST_NAME,
    ForwardTsnSupported,
    OverIp,
    Parameter,
    StateCookie,
    SupportedExtensions,
    UnknownParameter,
    UnrecognizedParameter,
)


def _faults(puppet: Puppet, chunk: InitAck) -> str:
    """What is wrong with an INIT ACK."""
    received = next(each for each in reversed(puppet.came) if chunk in each.chunks)
    cookies = [each for each in chunk.parameters if isinstance(each, StateCookie)]
    if len(received.chunks) > 1:
        return "bundled with other chunks"
    if not chunk.tag:
        return "tag 0"
    if not chunk.outbound or not chunk.inbound:
        return "no streams"
    if chunk.window < 1500:
        return f"a window of {chunk.window}"
    if len(cookies) != 1:
        return f"{len(cookies)} cookies"
    return ""


@case(
    "rfc9260/5.1/init-answered",
    "INIT is answered with INIT ACK: alone in its packet, under our tag, with a tag, streams, a "
    "window and one cookie.",
    sends="INIT",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=(
        *("rfc9260/5.1/4", "rfc9260/5.1/5", "rfc9260/5.1/9", "rfc9260/3/1"),
        *("rfc9260/3.3.3/5", "rfc9260/3.3.3/8", "rfc9260/3.3.3/14"),
    ),
)
def init_answered(stage: Stage) -> Observed:
    puppet = prepare(stage)
    seen, chunk = answer_to(puppet, puppet.init())
    wrong = _faults(puppet, chunk) if chunk is not None else ""
    return (Reaction.WRONG, wrong) if wrong else seen


@case(
    "rfc8261/6.1/no-addresses",
    "Over DTLS there are no addresses: INIT ACK names none, nor kinds of them.",
    sends="INIT",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc8261/6.1/4", "rfc8261/6.1/5", "rfc9260/3.3.3/1"),
)
def no_addresses(stage: Stage) -> Observed:
    puppet = prepare(stage)
    seen, chunk = answer_to(puppet, puppet.init())
    named = [each for each in chunk.parameters if isinstance(each, OverIp)] if chunk else []
    return (Reaction.WRONG, f"{len(named)} of them") if named else seen


@case(
    "rfc8831/6.1/extensions-announced",
    "What data channels need is announced: FORWARD-TSN, and RE-CONFIG among the supported "
    "extensions.",
    sends="INIT that announces the same",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc8831/6.1/3", "rfc8831/6.1/4", "rfc8831/6.1/6", "rfc8831/5/1"),
)
def extensions_announced(stage: Stage) -> Observed:
    puppet = prepare(stage)
    seen, chunk = answer_to(puppet, puppet.init())
    if chunk is None:
        return seen
    types = [
        kind
        for each in chunk.parameters
        if isinstance(each, SupportedExtensions)
        for kind in each.types
    ]
    if 130 not in types:
        return Reaction.WRONG, "no RE-CONFIG"
    if 192 not in types and ForwardTsnSupported() not in chunk.parameters:
        return Reaction.WRONG, "no FORWARD-TSN"
    return seen


@case(
    "rfc9260/3.3.2/tag-zero",
    "An INIT that tells a tag of zero is let go without an answer.",
    sends="INIT with Initiate Tag 0",
    profiles=DATACHANNEL,
    good=(Reaction.SILENCE,),
    lenient=(Reaction.ABORTED,),  # as RFC 4960 had it
    bad=(Reaction.ANSWERED, Reaction.WRONG, Reaction.ERROR, Reaction.DEAD),
    requirements=("rfc9260/3.3.2/9",),
)
def tag_zero(stage: Stage) -> Observed:
    puppet = prepare(stage)
    puppet.send(puppet.init(tag=0), tag=0)
    return draws_nothing(puppet)


def _impossible(stage: Stage, **fields: int) -> Observed:
    puppet = prepare(stage)
    return answer_to(puppet, puppet.init(**fields))[0]


@case(
    "rfc9260/3.3.2/no-outbound-streams",
    "An INIT without outbound streams is refused with ABORT.",
    sends="INIT with 0 outbound streams",
    profiles=DATACHANNEL,
    good=(Reaction.ABORTED,),
    lenient=(Reaction.SILENCE,),  # the ABORT is a SHOULD
    bad=(Reaction.ANSWERED, Reaction.WRONG, Reaction.ERROR, Reaction.DEAD),
    requirements=("rfc9260/3.3.2/14", "rfc9260/5.1/17"),
)
def no_outbound_streams(stage: Stage) -> Observed:
    return _impossible(stage, outbound=0)


@case(
    "rfc9260/3.3.2/no-inbound-streams",
    "An INIT without inbound streams is refused with ABORT.",
    sends="INIT with 0 inbound streams",
    profiles=DATACHANNEL,
    good=(Reaction.ABORTED,),
    lenient=(Reaction.SILENCE,),
    bad=(Reaction.ANSWERED, Reaction.WRONG, Reaction.ERROR, Reaction.DEAD),
    requirements=("rfc9260/3.3.2/16", "rfc9260/5.1/17"),
)
def no_inbound_streams(stage: Stage) -> Observed:
    return _impossible(stage, inbound=0)


@case(
    "rfc9260/3.3.2/no-window",
    "An INIT with a window of less than 1,500 bytes is refused.",
    sends="INIT with a window of 1,499 bytes",
    profiles=DATACHANNEL,
    good=(Reaction.ABORTED,),
    lenient=(Reaction.SILENCE,),
    bad=(Reaction.ANSWERED, Reaction.WRONG, Reaction.ERROR, Reaction.DEAD),
    requirements=("rfc9260/3.3.2/11",),
)
def no_window(stage: Stage) -> Observed:
    return _impossible(stage, window=1499)


@case(
    "rfc9260/3.3.2/host-name",
    "An INIT with a host name address is refused with ABORT.",
    sends="INIT with parameter 11",
    profiles=DATACHANNEL,
    good=(Reaction.ABORTED,),
    lenient=(Reaction.SILENCE,),
    bad=(Reaction.ANSWERED, Reaction.WRONG, Reaction.ERROR, Reaction.DEAD),
    requirements=("rfc9260/3.3.2/3",),
)
def host_name(stage: Stage) -> Observed:
    puppet = prepare(stage)
    name = OverIp(HOST_NAME, b"client.invalid\0")
    return answer_to(puppet, puppet.init(parameters=(*ABILITIES, name)))[0]


@case(
    "rfc9260/8.5.1/init-with-a-tag",
    "An INIT in a packet with a verification tag is let go without an answer.",
    sends="INIT in a packet with tag 1",
    profiles=DATACHANNEL,
    good=(Reaction.SILENCE,),
    bad=(
        *(Reaction.ANSWERED, Reaction.WRONG, Reaction.ERROR),
        *(Reaction.ABORTED, Reaction.DEAD),
    ),
    requirements=("rfc9260/8.5.1/3", "rfc9260/12.3/2"),
)
def init_with_a_tag(stage: Stage) -> Observed:
    puppet = prepare(stage)
    puppet.send(puppet.init(), tag=1)
    return draws_nothing(puppet)


@case(
    "rfc9260/3/init-bundled",
    "An INIT that is not alone in its packet is let go, with all that stands beside it.",
    sends="INIT and HEARTBEAT in one packet",
    profiles=DATACHANNEL,
    good=(Reaction.SILENCE,),
    # Some read the INIT and leave the rest.
    lenient=(Reaction.ANSWERED,),
    bad=(Reaction.WRONG, Reaction.ERROR, Reaction.ABORTED, Reaction.DEAD),
    requirements=("rfc9260/12.3/2", "rfc9260/3/1"),
)
def init_bundled(stage: Stage) -> Observed:
    puppet = prepare(stage)
    puppet.send(puppet.init(), Heartbeat(b"beside"), tag=0)
    return draws_nothing(puppet)


@case(
    "rfc9260/5.2.1/init-again",
    "An INIT that comes again is answered again, for the answer may be lost.",
    sends="INIT twice",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/5.1/6", "rfc9260/5.2.1/1"),
)
def init_again(stage: Stage) -> Observed:
    puppet = prepare(stage)
    puppet.greet()
    return answer_to(puppet, puppet.init())[0]


# --- parameters -----------------------------------------------------------------------------------


def _with(stage: Stage, *parameters: Parameter) -> tuple[Reaction, InitAck | None]:
    puppet = prepare(stage)
    return answer_to(puppet, puppet.init(parameters=parameters))


def _reported(chunk: InitAck | None, kind: int) -> bool:
    wanted = kind.to_bytes(2, "big")
    return chunk is not None and any(
        isinstance(each, UnrecognizedParameter) and each.value[:2] == wanted
        for each in chunk.parameters
    )


def _unknown_parameter(stage: Stage, kind: int, *, skip: bool, report: bool) -> Observed:
    """An INIT with an unknown parameter before one that the server reports if it reads it."""
    unknown, behind = UnknownParameter(kind, b"what"), UnknownParameter(0xC0FE, b"more")
    seen, chunk = _with(stage, *ABILITIES, unknown, behind)
    if chunk is None:
        return seen
    if _reported(chunk, kind) != report:
        return Reaction.WRONG, "reported" if not report else "not reported"
    if _reported(chunk, 0xC0FE) != skip:
        return Reaction.WRONG, "read on" if not skip else "what stands behind it was not read"
    return seen


@case(
    "rfc9260/3.2.1/unknown-parameter-skipped",
    "An unknown parameter whose upper bits are 10 is skipped and not reported.",
    sends="INIT with parameter 0x80fe, then one that is to be reported",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/3.2.2/1",),
)
def unknown_parameter_skipped(stage: Stage) -> Observed:
    return _unknown_parameter(stage, 0x80FE, skip=True, report=False)


@case(
    "rfc9260/3.2.1/unknown-parameter-reported",
    "An unknown parameter whose upper bits are 11 is skipped, and reported in INIT ACK.",
    sends="INIT with parameter 0xc0fd, then one that is to be reported too",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/3.2.2/1",),
)
def unknown_parameter_reported(stage: Stage) -> Observed:
    return _unknown_parameter(stage, 0xC0FD, skip=True, report=True)


@case(
    "rfc9260/3.2.1/unknown-parameter-stops",
    "An unknown parameter whose upper bits are 00 ends the reading of parameters; the INIT is "
    "answered all the same.",
    sends="INIT with parameter 0x00fe, then one that would be reported",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
)
def unknown_parameter_stops(stage: Stage) -> Observed:
    return _unknown_parameter(stage, 0x00FE, skip=False, report=False)


@case(
    "rfc9260/3.2.1/unknown-parameter-stops-and-is-reported",
    "An unknown parameter whose upper bits are 01 ends the reading of parameters and is reported.",
    sends="INIT with parameter 0x40fe, then one that would be reported",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/3.2.2/1",),
)
def unknown_parameter_stops_reported(stage: Stage) -> Observed:
    return _unknown_parameter(stage, 0x40FE, skip=False, report=True)


@case(
    "rfc9260/3.2.1/padding-not-zero",
    "Bytes of padding behind a parameter are ignored, whatever they are.",
    sends="INIT with a parameter of seven bytes and padding that is not zero",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/3.2.1/3", "rfc9260/3.2/4"),
)
def padding_not_zero(stage: Stage) -> Observed:
    puppet = prepare(stage)
    encoded = puppet.init(parameters=()).encode()
    # Three supported extensions, so that one byte of padding follows. ASCONF is none of them: who
    # claims it has to claim AUTH as well (RFC 5061), and is refused for that.
    parameter = b"\x80\x08\x00\x07\x82\xc0\x84\xff" + ForwardTsnSupported().encode()
    length = len(encoded) + len(parameter)
    whole = encoded[:2] + length.to_bytes(2, "big") + encoded[4:] + parameter
    puppet.send_raw(puppet.assembled(whole, tag=0))

    def find(received: Packet) -> InitAck | None:
        match received.chunks[0]:
            case InitAck() as chunk if received.tag == puppet.tag:
                return chunk
        return None

    answer = puppet.wait(find)
    if answer is not None:
        return Reaction.ANSWERED
    return Reaction.SILENCE if greets_still(puppet) else Reaction.DEAD


# --- what clients of today send -------------------------------------------------------------------


@case(
    "traps/sctp/streams-65535",
    "An INIT with as many streams as there are numbers is answered, with as many as the server "
    "wants.",
    sends="INIT with 65535 streams each way, then a data channel",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("Facts",),
)
def streams_65535(stage: Stage) -> Observed:
    puppet = prepare(stage)
    return stands(puppet, puppet.init(outbound=65535, inbound=65535))


@case(
    "traps/sctp/streams-1024-and-2048",
    "An INIT with different numbers of streams each way is answered.",
    sends="INIT with 1024 streams out and 2048 in, then a data channel",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("Facts",),
)
def streams_1024_and_2048(stage: Stage) -> Observed:
    puppet = prepare(stage)
    return stands(puppet, puppet.init(outbound=1024, inbound=2048))


@case(
    "rfc9260/5.1.1/streams-within-ours",
    "The server takes no more outbound streams than we accept.",
    sends="INIT with 16 inbound streams",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    requirements=("rfc9260/3.3.3/11", "rfc9260/5.1.1/3", "rfc9260/5.1.1/1"),
    traps=("Facts",),
)
def streams_within_ours(stage: Stage) -> Observed:
    puppet = prepare(stage)
    seen, chunk = answer_to(puppet, puppet.init(inbound=16))
    if chunk is not None and chunk.outbound > 16:
        return Reaction.WRONG, f"{chunk.outbound} outbound streams"
    return seen


@case(
    "traps/sctp/no-parameters",
    "An INIT that announces nothing is answered, and data channels work.",
    sends="INIT without parameters, then a data channel",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("Facts",),
)
def no_parameters(stage: Stage) -> Observed:
    puppet = prepare(stage)
    return stands(puppet, puppet.init(parameters=()))


@case(
    "traps/sctp/forward-tsn-among-the-extensions-only",
    "FORWARD-TSN may be announced as a supported extension without its own parameter.",
    sends="INIT with FORWARD-TSN and RE-CONFIG in the list alone, then a data channel",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("Facts",),
)
def forward_tsn_listed(stage: Stage) -> Observed:
    puppet = prepare(stage)
    return stands(puppet, puppet.init(parameters=(SupportedExtensions((192, 130)),)))


@case(
    "traps/sctp/i-data-offered",
    "A client that offers I-DATA must be able to do without: a server that does not announce it "
    "goes on with DATA.",
    sends="INIT with I-DATA among the extensions, then a data channel and a message",
    profiles=DATACHANNEL,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("Facts",),
)
def i_data_offered(stage: Stage) -> Observed:
    puppet = prepare(stage)
    init = puppet.init(parameters=(ForwardTsnSupported(), SupportedExtensions((130, 192, 64, 194))))
    seen, chunk = answer_to(puppet, init)
    if chunk is not None and any(
        isinstance(each, SupportedExtensions) and 64 in each.types for each in chunk.parameters
    ):
        raise Unsupported("announces I-DATA itself, and may use it")
    return seen if chunk is None else stands(puppet, init)
