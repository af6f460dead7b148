"""One trial at each kind of door: is it worth asking?

Whoever says anything that belongs there is worth it. A server may refuse our plain offer, answer it
and then say nothing by UDP, or turn a Binding request down: all of that is for the cases to judge.
Not worth it is where nothing answers, and where what answers says itself that it takes no offers
at this URL, or none from us. Somebody who means it all the same can say so (``--anyway``).
"""

import socket
from typing import TYPE_CHECKING

from conformance.case import Blocked, Unsupported
from conformance.client import AnswerError, Client, read_answer_untrusted
from conformance.probe.call import Call, take_answer
from conformance.probe.stun import TRIES, Bare, ask, check
from conformance.relay_stage import Delivery
from conformance.stage import Refused, Stage
from conformance.wire import Forbidden
from stunroute import stun
from stunroute.address import Address

from .presence import Finding
from .wire import UdpWire

if TYPE_CHECKING:
    from .driver import UdpDriver
    from .relay import UdpRelayDriver

PATIENCE = 1.0
"""Seconds that each try waits at least: who is slow is there."""
SHUT_SECONDS = 0.2
"""How long the host may take to say that a port is shut."""
_KEYS = frozenset({401, 403, 407})
_NO_DOOR = frozenset({404, 405, 410, 501})
_NOBODY_BEHIND = frozenset({502, 503, 504})


def of_server(driver: "UdpDriver") -> Finding:
    """Open a call, and send a few checks to where the answer leads; from there on the driver's
    sockets are bound where they reach it."""
    finding = _tried(driver)
    if finding.server is None or finding.server == driver.media:
        return finding
    driver.media = finding.server
    return finding if finding.remark is None else _tried(driver)


def _tried(driver: "UdpDriver") -> Finding:
    try:
        with driver.open("trial") as stage:
            stage.patience = max(stage.patience, PATIENCE)
            return _call(stage, driver.url or "")
    except (OSError, Forbidden) as error:
        return Finding(nobody=f"{driver.url} cannot be reached: {error}")


def _call(stage: Stage, url: str) -> Finding:
    if stage.door is None:
        raise ValueError("a server has a door")
    client = Client(
        entropy=stage.entropy,
        address=stage.open_socket(),
        announces=True,
        usable=stage.wire.may_send_to,
    )
    try:
        opened = stage.door.open(client.offer())
    except (Refused, Forbidden) as error:
        return _refusal(url, error)
    if not opened.answer.lstrip("\ufeff \t\r\n").startswith("v="):
        said = " ".join(opened.answer[:60].split()) or "nothing"
        return Finding(nobody=f"POST {url} got a response without SDP in it, but {said!r}")
    try:
        call = take_answer(stage, client, opened)
    except (Unsupported, Blocked) as error:
        return Finding(remark=f"Of a plain offer: {error}.", server=_given(stage, opened.answer))
    return _checks(call)


def _given(stage: Stage, answer: str) -> Address | None:
    """Where an answer leads that our sockets, as they are, do not reach."""
    if not isinstance(stage.wire, UdpWire):
        return None
    try:
        return read_answer_untrusted(answer).server(stage.wire.is_given)
    except AnswerError:
        return None


def _refusal(url: str, error: Refused | Forbidden) -> Finding:
    status = error.status if isinstance(error, Refused) else None
    if status is None:
        return Finding(nobody=f"POST {url} got no response: {error}")
    said = f"POST {url} got {error}"
    if 300 <= status < 400:
        return Finding(nobody=f"{said}; redirects are not followed, so give the URL it leads to")
    if status in _KEYS:
        return Finding(nobody=f"{said}; give credentials by --token or --header")
    if status in _NO_DOOR:
        return Finding(nobody=f"{said}; nothing takes offers at this URL")
    if status in _NOBODY_BEHIND:
        return Finding(nobody=f"{said}; it takes no calls at present")
    return Finding(remark=f"A plain offer is refused with {error}.")


def _checks(call: Call) -> Finding:
    """Anything that comes counts: a full agent checks by itself, and some begin with DTLS."""
    shut = ""
    for _ in range(TRIES):
        ask(call, check(call))
        if call.stage.trail.received_bytes:
            return Finding(server=call.server)
        if is_shut(call.server):
            shut = " (its port is shut)"
            break
    said = f"a call is opened, but nothing comes by UDP from {call.server}{shut}"
    return Finding(silent=said, remark=f"In the trial {said}.", server=call.server)


def of_target(driver: "UdpDriver") -> Finding:
    """A few Binding requests, half of them without FINGERPRINT where they are not signed, for old
    servers."""
    target = driver.target
    if target is None:
        raise ValueError("there is no target")
    shut, tries = "", 0
    try:
        with driver.open("trial") as stage:
            stage.patience = max(stage.patience, PATIENCE)
            asker = Bare(stage, stage.open_socket(), target.address, target.ufrag, target.password)
            while tries < TRIES and not shut:
                plain = target.ufrag is None and tries % 2 == 1
                ask(asker, check(asker, fingerprint=not plain))
                tries += 1
                if stage.trail.received_bytes:
                    return Finding()
                shut = ": the port is shut" if is_shut(target.address) else ""
    except (OSError, Forbidden) as error:
        return Finding(nobody=f"{target.address} cannot be reached: {error}")
    requests = "a Binding request" if tries == 1 else f"{tries} Binding requests"
    said = f"{requests} to {target.address} got no answer{shut}"
    if target.ufrag is None and not shut:
        said += " (an ICE agent answers who names its credentials: --ufrag, --pwd)"
    return Finding(nobody=said)


def of_relay(driver: "UdpRelayDriver") -> Finding:
    """Checks for sessions on our nodes, one node after the other, each from a client of its own. A
    relay that lets none through would pass every case in which something has to be dropped."""
    shut = ""
    try:
        with driver.open("trial") as stage:
            stage.patience = max(stage.patience, PATIENCE)
            for number in range(max(TRIES, len(stage.nodes))):
                node = stage.nodes[number % len(stage.nodes)]
                stage.up(stage.check(stage.mint(node)), stage.client())
                until = stage.now + stage.patience
                while (got := stage.next(until - stage.now)) is not None:
                    if isinstance(got, Delivery):
                        return Finding()
                if is_shut(driver.public):
                    shut = ": the port is shut"
                    break
    except (OSError, Forbidden) as error:
        return Finding(nobody=f"there is no way to {driver.public} or to our nodes: {error}")
    said = f"no client's check to {driver.public} came out at a next hop{shut}"
    if not shut:
        said += " (has the relay our --hint-key, and the --next-hops in its directory?)"
    return Finding(nobody=said)


def is_shut(address: Address) -> bool:
    """Whether the host says itself that nobody has that port. Only a connected socket is told."""
    request = stun.build(stun.Method.BINDING, stun.MessageClass.REQUEST, bytes(12), [])
    family = socket.AF_INET if address.is_ipv4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(SHUT_SECONDS)
        try:
            asking.connect((address.ip, address.port))
            asking.send(request)
            asking.recv(1)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
