"""Requests to a signalling resource, and what the responses amount to.

A status says less than it seems to: a server may answer rightly and be broken by the question. So
nothing is said of a response before a plain offer has been answered after it.
"""

from attrs import define, field

from conformance.case import Blocked, Seen, Unsupported
from conformance.client import Client, ice_text
from conformance.stage import Http, Refused, Response, Stage

from .sdp import answers, faults

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
WITHOUT = {
    "memory": "calls are opened in memory, without HTTP",
    "simulator": "calls are opened in memory, without HTTP",
}
"""For ``Case.without`` of every case here."""


class Said(Seen):
    """What a response to a request is."""

    RIGHT = "the response that is asked for"
    UNSOUND = "that response, but something in it is wrong"
    OTHER_SUCCESS = "another kind of success"
    OTHER_REFUSAL = "another refusal than the one asked for"
    BROKE = "an error of the server's own, or no response at all"
    DEAD = "afterwards not even a plain offer is answered"

    @property
    def is_grave(self) -> bool:
        return self is Said.DEAD


@define(slots=True)
class Resource:
    """A call that was opened by HTTP: its URL, what was offered and what came."""

    http: Http
    stage: Stage
    client: Client
    response: Response
    url: str = field(default="")

    def patch(self, body: str, kind: str = FRAGMENT, **headers: str) -> Response:
        """``headers`` with underscores for hyphens. Raises Unsupported where the server knows no
        PATCH."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        said = self.http.request(
            "PATCH", self.url, headers={"Content-Type": kind, **named}, body=body.encode()
        )
        if said.status in (405, 501):
            raise Unsupported(f"takes no PATCH ({said.status})")
        return said

    def fragment(self, *, restart: bool = False) -> str:
        """A candidate for the call, under its credentials or under fresh ones."""
        ufrag, password = self.client.ufrag, self.client.password
        if restart:
            ufrag, password = ice_text(self.stage.entropy, 8), ice_text(self.stage.entropy, 24)
        where = self.client.address
        lines = (
            f"a=ice-ufrag:{ufrag}",
            f"a=ice-pwd:{password}",
            "m=audio 9 RTP/AVP 0",
            "a=mid:0",
            f"a=candidate:1 1 udp 2130706431 {where.ip} {where.port} typ host",
            "a=end-of-candidates",
        )
        return "".join(f"{line}\r\n" for line in lines)

    @property
    def tag(self) -> str:
        """Of the ICE session; ``*`` where the server told none."""
        return self.response.headers.get("etag", "*")


def need_http(stage: Stage) -> Http:
    """Raises Unsupported where there is none."""
    if stage.door is None or stage.door.http is None:
        raise Unsupported("there is no HTTP here")
    return stage.door.http


def post(stage: Stage, body: str, kind: str = SDP) -> Response:
    """To the endpoint. Raises Unsupported, Refused where no response comes."""
    http = need_http(stage)
    return http.request("POST", http.url, headers={"Content-Type": kind}, body=body.encode())


def open_resource(stage: Stage) -> Resource:
    """A plain call. Raises Unsupported, Blocked."""
    client = Client(entropy=stage.entropy, address=stage.open_socket(), announces=True)
    http = need_http(stage)
    try:
        said = post(stage, client.offer())
    except Refused as error:
        raise Blocked(str(error)) from error
    if said.status != 201:
        raise Blocked(f"a plain offer got {said.status}")
    where = said.headers.get("location")
    if not where:
        raise Blocked("a plain offer got no Location")
    return Resource(http, stage, client, said, where)


def answer_faults(resource: Resource) -> str:
    """What is wrong with the answer in a 201."""
    text = resource.response.body.decode("utf-8", "replace")
    return "; ".join(faults(resource.client.offer(), text))


def amounts_to(stage: Stage, response: Response, wanted: tuple[int, ...]) -> tuple[Said, str]:
    """Whether the status is one that is asked for; with that, whether the server lives."""
    told = f"{response.status}"
    if not answers(stage):
        return Said.DEAD, told
    if response.status in wanted:
        return Said.RIGHT, told
    if response.status >= 500:
        return Said.BROKE, told
    return (Said.OTHER_SUCCESS if response.status < 300 else Said.OTHER_REFUSAL), told
