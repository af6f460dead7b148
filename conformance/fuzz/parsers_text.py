"""How the parsers of text are called: descriptions, forms, JSON, and what agents send."""

import json

from .operations import decode as operations_of
from .stock import Stream
from .target import Run, Table, again, insist, only, text_of

TABLE = Table()


# --- descriptions -------------------------------------------------------------------------------


@TABLE.target("transceiver.sdp.parse_untrusted", seeds="sdp", length=4000)
def _sdp() -> Run:
    from transceiver import sdp
    from transceiver.errors import OfferError

    def run(data: bytes) -> None:
        found = sdp.parse_untrusted(text_of(data))
        written = again(sdp.parse_untrusted, str(found))
        insist(written == found and str(written) == str(found), "a description is written as read")

    return only(run, OfferError)


@TABLE.target("transceiver.sdp.lines_untrusted", seeds="sdp", length=2000)
def _sdp_lines() -> Run:
    from transceiver import sdp
    from transceiver.errors import OfferError

    def run(data: bytes) -> None:
        lines = sdp.lines_untrusted(text_of(data))
        written = "".join(f"{line}\r\n" for line in lines)
        insist(again(sdp.lines_untrusted, written) == lines, "lines are written as they were read")

    return only(run, OfferError)


@TABLE.target("transceiver.sdp.cut_untrusted", seeds="sdp", length=2000)
def _sdp_cut() -> Run:
    from transceiver import sdp
    from transceiver.errors import OfferError

    def run(data: bytes) -> None:
        lines = sdp.lines_untrusted(text_of(data))
        found = sdp.cut_untrusted(lines)
        told = [line for line in lines if line.kind == "m"]
        insist(len(found.media) == len(told), "there is a section for each m= line")

    return only(run, OfferError)


for _name in ("_line", "_media"):
    TABLE.cover(
        f"transceiver.sdp.{_name}_untrusted",
        "transceiver.sdp.parse_untrusted",
        "Each line of a description goes through it.",
    )


@TABLE.target("transceiver.negotiation.fragment.parse_untrusted", seeds="sdp", length=2000)
def _fragment() -> Run:
    from transceiver.errors import OfferError
    from transceiver.negotiation import fragment

    def run(data: bytes) -> None:
        found = fragment.parse_untrusted(text_of(data))
        found.credentials((*found.mids, None))

    return only(run, OfferError)


# --- HTTP ---------------------------------------------------------------------------------------


@TABLE.target("transceiver.http.accounts.ApiKeys.account_of_untrusted", seeds="octets", length=80)
def _account() -> Run:
    from transceiver.http.accounts import ApiKeys, digest
    from transceiver.settings import ApiKey

    keys = ApiKeys([ApiKey(name="one", sha256=digest("sk-one"))])

    def run(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        insist((keys.account_of_untrusted(text) == "one") == (text == "sk-one"), "a key is its own")

    return run


@TABLE.target("transceiver.http.bodies.offer_untrusted", seeds="sdp", length=400)
def _offer() -> Run:
    from transceiver.errors import OfferError
    from transceiver.http.bodies import offer_untrusted

    def run(data: bytes) -> None:
        insist(offer_untrusted(data).encode() == data, "an offer is its text")

    return only(run, OfferError)


@TABLE.target("transceiver.http.bodies.form_untrusted", seeds="form", length=1500)
def _form() -> Run:
    """The first line is the header where it names a form, else the boundary is a plain one."""
    from transceiver.http.bodies import form_untrusted

    def run(data: bytes) -> None:
        head, _, body = data.partition(b"\n")
        if not head.startswith(b"multipart/"):
            head, body = b"multipart/form-data; boundary=b", data
        parts = form_untrusted(body, head.decode("latin-1"))
        insist(sum(map(len, parts.values())) <= len(body), "parts lie in the body")

    return only(run)


@TABLE.target(
    "transceiver.http.client_secrets.ClientSecrets.open_untrusted", seeds="secret", length=300
)
def _secret() -> Run:
    from transceiver.http.client_secrets import PREFIX, ClientSecrets

    secrets = ClientSecrets(bytes(range(32)), Stream("secret"))
    known = secrets.seal("one", {"model": "m"}, 1000)

    def run(data: bytes) -> None:
        text = text_of(data)
        for secret in (text, PREFIX + text):
            insist(secret == known or secrets.open_untrusted(secret) is None, "only ours opens")
        if text:
            at, size = ord(text[0]) % len(known), len(text) - 1
            changed = known[:at] + text[1:] + known[at + size :]
            opened = secrets.open_untrusted(changed)
            insist(opened is None or opened.account == "one", "what opens is what was sealed")

    return run


@TABLE.target("transceiver.http.requests.object_untrusted", seeds="json", length=600)
def _object() -> Run:
    from transceiver.http.refusals import Refusal
    from transceiver.http.requests import object_untrusted

    def run(data: bytes) -> None:
        insist(isinstance(object_untrusted(data, "session"), dict), "an object or a refusal")

    return only(run, Refusal)


@TABLE.target("transceiver.http.requests.session_untrusted", seeds="session", length=1500)
def _session() -> Run:
    from transceiver.http.refusals import Refusal
    from transceiver.http.requests import session_untrusted

    def run(data: bytes) -> None:
        value = _json(data)
        session = session_untrusted(value)
        insist(again(session_untrusted, session) == session, "what was validated is valid")

    return only(run, Refusal)


@TABLE.target("transceiver.http.requests.offer_of_form_untrusted", seeds="form", length=1500)
def _offer_of_form() -> Run:
    from transceiver.errors import OfferError
    from transceiver.http.refusals import Refusal
    from transceiver.http.requests import offer_of_form_untrusted

    kind = "multipart/form-data; boundary=b"
    return only(lambda data: offer_of_form_untrusted(data, kind), Refusal, OfferError)


@TABLE.target("transceiver.http.requests.call_request_untrusted", seeds="query", length=600)
def _call_request() -> Run:
    from starlette.datastructures import QueryParams

    from transceiver.http.access import Caller
    from transceiver.http.refusals import Refusal
    from transceiver.http.requests import CHANNELS, call_request_untrusted, session_untrusted

    def run(data: bytes) -> None:
        query, _, rest = data.partition(b"\n")
        session = session_untrusted(_json(rest)) if rest else {}
        caller = Caller("one", session={"model": "m"})
        asked = call_request_untrusted(caller, session, QueryParams(query.decode("latin-1")))
        channel = asked.channel
        insist(channel is None or 0 <= channel < CHANNELS, "a channel has a number it may have")

    return only(run, Refusal)


@TABLE.target("transceiver.http.requests.secret_request_untrusted", seeds="session", length=1200)
def _secret_request() -> Run:
    from transceiver.http.refusals import Refusal
    from transceiver.http.requests import secret_request_untrusted

    def run(data: bytes) -> None:
        insist(10 <= secret_request_untrusted(data).seconds <= 7200, "a secret expires")

    return only(run, Refusal)


@TABLE.target("transceiver.endpoint.Endpoint.locate_untrusted", seeds="ufrag", length=48)
def _locate() -> Run:
    from transceiver.endpoint import Endpoint

    from .stock_calls import make_endpoint

    core: Endpoint = make_endpoint()

    def run(data: bytes) -> None:
        text = text_of(data)
        for name in (text, f"rtc_{text}"):
            hint = core.locate_untrusted(name, 0.0)
            insist(hint is None or hint.configuration == "0", "a hint of ours or none")

    return run


for _name in ("Keys.node_of", "Fleet.holder"):
    TABLE.cover(
        f"transceiver.fleet.{_name}_untrusted",
        "stunroute.hint.KeyRing.decode_untrusted",
        "It asks such a ring of keys, after a look at the file that they are in.",
        traced=False,
    )


# --- events -------------------------------------------------------------------------------------


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return text_of(data)


@TABLE.target("transceiver.realtime.wire.parse_untrusted", seeds="json", length=600)
def _parse_event() -> Run:
    from transceiver.config import RealtimeLimits
    from transceiver.realtime.wire import parse_untrusted, write

    limits = RealtimeLimits(event=500, depth=4, containers=12)

    def run(data: bytes) -> None:
        event = parse_untrusted(data, limits)
        insist(json.loads(write(event)) == event, "an event is written as it was read")

    return only(run)


@TABLE.target("transceiver.realtime.wire.read_untrusted", seeds="json", length=600)
def _read_event() -> Run:
    from transceiver.config import RealtimeLimits
    from transceiver.realtime.wire import read_untrusted

    limits = RealtimeLimits()

    def run(data: bytes) -> None:
        event = read_untrusted(text_of(data), limits)
        insist(isinstance(event["type"], str), "an event has a type")

    return only(run)


@TABLE.target("transceiver.realtime.sound.bytes_untrusted", seeds="json", length=200)
def _sound_bytes() -> Run:
    from transceiver.realtime.sound import bytes_untrusted

    return only(lambda data: bytes_untrusted(_json(data), "audio"))


@TABLE.target("transceiver.realtime.sound.pcm_untrusted", seeds="json", length=200)
def _sound_pcm() -> Run:
    from transceiver.realtime.sound import pcm_untrusted

    def run(data: bytes) -> None:
        insist(len(pcm_untrusted(_json(data), "audio")) % 2 == 0, "sound is whole samples")

    return only(run)


def _exchange(through: bool) -> Run:
    """Events of a client on two connections, with the call and the agent going on meanwhile."""
    from transceiver.config import RealtimeLimits
    from transceiver.realtime import ThroughExchange, make_exchange, write
    from transceiver.realtime.exchange import Flush, ToClient

    limits = RealtimeLimits(items=8, item_bytes=4096, transcript=512, connections=3)

    def run(data: bytes) -> None:
        exchange = make_exchange(
            speaks_realtime=through, entropy=Stream("exchange"), asked={}, limits=limits
        )
        exchange.open(0.0)
        exchange.connected(0, 0.0)
        exchange.connected(70000, 0.0)
        now = 1.0
        for kind, argument in operations_of(data, 24)[1]:
            now += (kind >> 4) / 10
            match kind & 15:
                case 0 | 1 | 2 | 3 | 4 | 5:
                    exchange.receive_untrusted(argument, 70000 * (kind & 1), now)
                case 6:
                    exchange.receive_untrusted(text_of(argument), 0, now)
                case 7:
                    exchange.speech_started(now - 0.5, now, bool(argument))
                case 8:
                    exchange.speech_stopped(now, now)
                case 9 if not isinstance(exchange, ThroughExchange):
                    exchange.said(text_of(argument), now)
                case 10:
                    exchange.finish(now) if not through else exchange.backend_lost("x", now)
                case 11:
                    exchange.playback_started(now)
                case 12:
                    exchange.playback_ended(0.5, now)
                case 13:
                    exchange.handle_timeout(now)
                case 14 if not through:
                    exchange.speaking(now)
                case 15:
                    event = _json(argument)
                    if isinstance(event, dict) and isinstance(event.get("type"), str):
                        exchange.agent_event(event, now)
            for _ in range(2000):
                output = exchange.next_output()
                if output is None:
                    break
                if isinstance(output, ToClient):
                    write(output.event)
                elif isinstance(output, Flush):
                    exchange.flushed(0.3, 0.2, now)
            else:
                insist(False, "an exchange comes to an end of what it has to say")
        write(exchange.session)
        exchange.end(now)
        insist(exchange.next_output() is None, "after the end nothing comes out")

    return run


@TABLE.target(
    "transceiver.realtime.plain.PlainExchange.receive_untrusted",
    seeds="event-row",
    length=2000,
    operations=True,
)
def _plain() -> Run:
    return _exchange(through=False)


@TABLE.target(
    "transceiver.realtime.through.ThroughExchange.receive_untrusted",
    seeds="event-row",
    length=2000,
    operations=True,
)
def _through() -> Run:
    return _exchange(through=True)


TABLE.cover(
    "transceiver.realtime.exchange.Exchange.receive_untrusted",
    "transceiver.realtime.plain.PlainExchange.receive_untrusted",
    "A protocol without a body; both exchanges are there.",
    traced=False,
)
TABLE.cover(
    "transceiver.backend.line.OnLine.receive_event_untrusted",
    "transceiver.realtime.plain.PlainExchange.receive_untrusted",
    "It hands a message to the call's exchange unread.",
    traced=False,
)


@TABLE.target(
    "transceiver.backend.audiosocket_frames.FrameReader.receive_untrusted",
    seeds="frames",
    length=700,
)
def _frames() -> Run:
    """Frames do not depend on where the stream was cut into pieces."""
    from stunroute.errors import DecodeError
    from transceiver.backend.audiosocket_frames import Frame, FrameReader, encode

    def read(*pieces: bytes) -> list[Frame] | None:
        reader = FrameReader()
        try:
            return [frame for piece in pieces for frame in reader.receive_untrusted(piece)]
        except DecodeError:
            return None

    def run(data: bytes) -> None:
        at, stream = data[0] if data else 0, data[1:]
        whole = read(stream)
        insist(whole == read(stream[:at], stream[at:]), "frames do not depend on the pieces")
        for frame in whole or ():
            insist(read(encode(frame)) == [frame], "a frame is encoded as it was read")

    return run
