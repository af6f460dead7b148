"""The scenes of the cores' targets: where they begin, and that what is sealed is believed."""

import pytest

from conformance.fuzz import cores_dtls, cores_endpoint
from conformance.fuzz.cores_endpoint import ELSEWHERE, HOME, _Scene
from conformance.fuzz.samples import sample_reports
from conformance.fuzz.stock import Master
from stunroute.trace import Drop
from transceiver.datachannel.messages import Open
from transceiver.dtls import Role, Stage
from transceiver.sctp.chunks import Heartbeat

CHECK = b"q\x00\x24\x04\x6e\x00\x01\xff\x80\x2a\x08" + bytes(8)
RTP = b"\x80\x6f\x7f\x00" + bytes(4) + b"\x00\x00\x11\x11" + b"voice"
SEALED = {
    "check": (0, CHECK),
    "srtp": (2, RTP),
    "srtcp": (4, sample_reports()[1]),
    "sctp": (5, Heartbeat(b"there?").encode()),
    "record": (7, b"\x01\x01\x5a"),
}


@pytest.fixture(scope="module")
def master() -> Master[_Scene]:
    return Master(cores_endpoint._up())


def drops(scene: _Scene) -> list[Drop]:
    (slot,) = scene.endpoint._slots.values()
    return [*scene.endpoint.drops.elements(), *slot.session.drops.elements()]


@pytest.mark.parametrize("name", SEALED)
def test_what_the_client_seals_is_opened(name: str, master: Master[_Scene]) -> None:
    how, argument = SEALED[name]
    scene = cores_endpoint._restored(master)
    before = drops(scene)
    datagram = cores_endpoint._sealed(scene, how, argument)
    assert datagram != argument
    scene.give(datagram)
    assert drops(scene) == before
    spoilt = bytes((*datagram[:-9], datagram[-9] ^ 1, *datagram[-8:]))
    scene = cores_endpoint._restored(master)
    scene.give(spoilt)
    assert len(drops(scene)) > len(before)


def test_forged_data_reaches_the_application(master: Master[_Scene]) -> None:
    scene = cores_endpoint._restored(master)
    for number, payload in enumerate((Open("forged").encode(), b"nobody said this")):
        data = bytes((4 + number, 3, 4, number, 2 + number)) + payload
        scene.give(cores_endpoint._sealed(scene, 6, data))
    assert scene.forged
    assert "ChannelOpened" in scene.said
    assert "MessageReceived" in scene.said


def test_who_has_the_keys_may_come_from_elsewhere(master: Master[_Scene]) -> None:
    scene = cores_endpoint._restored(master)
    assert scene.give(CHECK, ELSEWHERE) == 0
    assert scene.give(cores_endpoint._sealed(scene, 0, CHECK), ELSEWHERE) == 1
    assert scene.give(cores_endpoint._sealed(scene, 1, b"r" + CHECK[1:]), HOME) == 1


def test_without_keys_nothing_is_sealed() -> None:
    scene = cores_endpoint._fresh()
    assert cores_endpoint._sealed(scene, 2, RTP) == RTP
    assert cores_endpoint._sealed(scene, 5, b"chunk") == b"chunk"
    assert cores_endpoint._sealed(scene, 7, b"\x03x") == b"\x03x"
    assert not scene.forged


@pytest.mark.parametrize("role", Role)
def test_handshakes_begin_at_different_places(role: Role) -> None:
    scenes = [cores_dtls._underway(role, count) for count in range(1, 6)]
    assert all(scene.subject.stage is Stage.HANDSHAKING for scene in scenes[:2])
    sizes = [(len(scene.pending), len(scene.out), scene.subject.stage) for scene in scenes]
    assert len({*map(str, sizes)}) >= 3
    done = cores_dtls._underway(role, 100)
    assert done.subject.stage is done.peer.stage is Stage.ESTABLISHED
