"""Record ``pcaps/`` again: real clients, the real demo, a few seconds of test tone each.

    python tests/live/record.py [--into DIRECTORY] [NAME...]

NAME is one of ``stories.NAMES``, such as ``firefox-rebinding``; without one all are made. Needs
root (for a network namespace), Chromium and Firefox. Each recording is made by
``transceiver demo --record``, gets its provenance, must show the mark of its story and replay
exactly, and only then replaces the one before, golden trace included. Where browsers or what we
send have changed, that is all there is to do; look at the golden traces' diff before you commit.
"""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aiortc
import click
import httpx
from attrs import evolve

from browser import launch
from channel_page import Lab
from conformance import golden, sidecar
from conformance.replay import Exact, replay
from demo import Demo, Page
from impair import CLEAR, Weather
from namespace import Namespace
from stories import NAMES, PCAPS, STORIES, marks, story_of
from tone import Tone, listen

BEFORE = 1.5
"""Seconds of tone before what the story is about, and after it."""
PLAIN = 4.0
AIORTC = 3.0
"""aiortc's packets are twice as large as a browser's."""
MESSAGES = [("text", 20), ("binary", 20), ("text", 0), ("binary", 0), ("text", 3000)]
LARGEST = 150_000
"""Bytes of a capture; its sidecar may have twice as many."""


def main() -> None:
    record()


@click.command(help=__doc__)
@click.argument("names", nargs=-1, type=click.Choice(NAMES), metavar="[NAME]...")
@click.option("--into", default=PCAPS, type=click.Path(file_okay=False, path_type=Path))
def record(names: tuple[str, ...], into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    for name in names or NAMES:
        with tempfile.TemporaryDirectory(prefix="stunroute-record-") as scratch:
            client, story = name.split("-", 1)
            version = make(client, story, Path(scratch))
            (made,) = Path(scratch).glob("*.pcap")
            named = made.rename(made.with_name(f"{name}.pcap"))
            made.with_suffix(".toml").rename(named.with_suffix(".toml"))
            finish(named, f"{client} {version}")
            sizes = []
            for suffix in (".pcap", ".toml", ".jsonl"):
                shutil.copyfile(named.with_suffix(suffix), into / f"{name}{suffix}")
                sizes.append(f"{suffix} {named.with_suffix(suffix).stat().st_size // 1000} kB")
        click.echo(f"{name}: {version}, {', '.join(sizes)}")


# --- making ---------------------------------------------------------------------------------------


def make(client: str, story: str, directory: Path) -> str:
    """Let ``story`` happen to ``client``; the client's version. One recording is in ``directory``
    afterwards."""
    weather = {"rebinding": CLEAR, "loss": Weather(loss=0.1, reorder=0.1, delay=0.005)}.get(story)
    with (
        Namespace() as network,
        Demo(network, "--record", str(directory), weather=weather) as demo,
    ):
        if client == "aiortc":
            call = {"plain": hear, "data": converse}[story]
            network.inside(lambda: asyncio.run(call_with_aiortc(demo.page, call)))
            version: str = aiortc.__version__
        else:
            with launch(client, namespace=network) as browser:
                if story == "data":
                    data(Lab(browser, demo))
                else:
                    page = Page(browser, demo)
                    page.call()
                    ACTS[story](page)
                    page.hang_up()
                version = browser.version
        demo.stop()
    return version


def plain(page: Page) -> None:
    time.sleep(PLAIN)


def rebinding(page: Page) -> None:
    time.sleep(BEFORE)
    assert page.demo.network is not None
    page.demo.network.rebind()
    # The echo is heard again after the client's next check.
    page.until_audio(round(BEFORE * 50))


def restart(page: Page) -> None:
    time.sleep(BEFORE)
    page.restart_ice()
    page.until_audio(round(BEFORE * 50))


def relay_restart(page: Page) -> None:
    time.sleep(BEFORE)
    page.demo.kill_relay()
    page.until(lambda report: report["fleet"]["relay"]["restarts"] == 1)
    page.until_audio(round(BEFORE * 50))


ACTS: dict[str, Callable[[Page], None]] = {
    "plain": plain,
    "rebinding": rebinding,
    "restart": restart,
    "loss": plain,
    "relay-restart": relay_restart,
}


def data(lab: Lab) -> None:
    lab.begin()
    lab.do("sing")
    lab.open("first", "test")
    lab.call()
    lab.until_open("first")
    lab.check_exchange("first", MESSAGES)
    lab.do("close", "first")
    lab.until_state("first", "closed")
    lab.open("second", "test")
    lab.until_open("second")
    lab.check_exchange("second", MESSAGES)
    lab.do("hangUp")


Call = Callable[[aiortc.RTCPeerConnection], Awaitable[Callable[[], Awaitable[None]]]]
"""Adds to a connection what is to be offered, and gives what is to be done once there is an
answer."""


async def hear(client: aiortc.RTCPeerConnection) -> Callable[[], Awaitable[None]]:
    """Send a tone, and listen until enough of it has come back."""
    tracks: asyncio.Queue[aiortc.MediaStreamTrack] = asyncio.Queue()
    client.on("track", tracks.put_nowait)
    client.addTrack(Tone())

    async def then() -> None:
        await listen(await tracks.get(), AIORTC)

    return then


async def converse(client: aiortc.RTCPeerConnection) -> Callable[[], Awaitable[None]]:
    """Data alone: two channels, one after the other."""

    def opened() -> tuple[aiortc.RTCDataChannel, asyncio.Event, asyncio.Queue[str | bytes]]:
        channel = client.createDataChannel("test")
        ready, came = asyncio.Event(), asyncio.Queue[str | bytes]()
        channel.on("open", ready.set)
        channel.on("message", came.put_nowait)
        return channel, ready, came

    channel, ready, came = opened()

    async def then() -> None:
        nonlocal channel, ready, came
        for last in (False, True):
            await ready.wait()
            for kind, size in MESSAGES:
                message = "x" * size if kind == "text" else bytes(size)
                channel.send(message)
                assert await came.get() == message
            if not last:
                closed = asyncio.Event()
                channel.on("close", closed.set)
                channel.close()
                await closed.wait()
                channel, ready, came = opened()

    return then


async def call_with_aiortc(page: str, call: Call) -> None:
    """Call as aiortc."""
    async with asyncio.timeout(60), httpx.AsyncClient(base_url=page) as web:
        client = aiortc.RTCPeerConnection()
        then = await call(client)
        await client.setLocalDescription(await client.createOffer())
        headers = {"Content-Type": "application/sdp"}
        offer = client.localDescription.sdp
        made = await web.post("/v1/realtime/calls", content=offer, headers=headers)
        made.raise_for_status()
        answer = aiortc.RTCSessionDescription(made.text, "answer")
        await client.setRemoteDescription(answer)
        await then()
        (await web.delete(made.headers["location"])).raise_for_status()
        await client.close()


# --- finishing ------------------------------------------------------------------------------------


def finish(path: Path, client: str) -> None:
    """Write the provenance and the golden trace of a recording that is as it should be."""
    told = path.with_suffix(".toml")
    made = sidecar.load(told)
    story = story_of(path)
    provenance = evolve(made.provenance, client=client, story=STORIES[story])
    text = evolve(made, provenance=provenance).dumps()
    told.write_text(text, encoding="utf-8", newline="\n")
    trace = golden.Trace()
    verdict = replay(path, witness=trace)
    golden.write(path, golden.render(trace, verdict))
    wrong = []
    if not isinstance(verdict, Exact) or verdict.truncated:
        wrong.append(str(verdict))
    if (found := marks(path)) != {story} - {"plain"}:
        wrong.append(f"it shows the marks of {', '.join(sorted(found)) or 'no story'}")
    if path.stat().st_size > LARGEST or told.stat().st_size > 2 * LARGEST:
        wrong.append(f"it has {path.stat().st_size} and {told.stat().st_size} bytes")
    if wrong:
        raise click.ClickException(f"{path.stem}: {'; '.join(wrong)}")


if __name__ == "__main__":
    main()
