"""Record ``pcaps/`` again: real clients, the real demo, a few seconds of test tone or
some messages each.

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
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aiortc
import click
import httpx
from attrs import evolve

from aiortc_calls import Heard, until
from browser import Browser, launch
from channel_page import Lab
from conformance import golden, sidecar
from conformance.replay import Exact, replay
from demo import Demo, Page
from impair import CLEAR, Weather
from namespace import Namespace
from stories import NAMES, PCAPS, STORIES, marks, story_of
from tone import Tone, listen
from transceiver.events import EVENTS_CHANNEL

BEFORE = 1.5
"""Seconds of tone before what the story is about, and after it."""
PLAIN = 4.0
AIORTC = 3.0
"""aiortc's packets are twice as large as a browser's."""
MESSAGES = [(kind, size) for size in (0, 1, 1200, 10_000) for kind in ("text", "binary")]
SMALL = [(kind, size) for size in (0, 1, 300) for kind in ("text", "binary")]
UPDATE = """{"type": "session.update", "event_id": "%s", "session": {"type": "realtime", %s}}"""
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
    with (
        Namespace() as network,
        Demo(network, "--record", str(directory), weather=WEATHER.get(story)) as demo,
    ):
        if client == "aiortc":
            call = CALLS_OF_AIORTC[story]
            network.inside(lambda: asyncio.run(call(demo.page)))
            version: str = aiortc.__version__
        else:
            with launch(client, namespace=network) as browser:
                ACTS[story](browser, demo)
                version = browser.version
        demo.stop()
    return version


WEATHER = {
    "rebinding": CLEAR,
    "loss": Weather(loss=0.1, reorder=0.1, delay=0.005),
    "data-loss": Weather(loss=0.1, reorder=0.1, delay=0.005),
}


def called(act: Callable[[Page], None]) -> Callable[[Browser, Demo], None]:
    """A call by the buttons of the demo's page, during which ``act`` happens."""

    def all_of_it(browser: Browser, demo: Demo) -> None:
        page = Page(browser, demo)
        page.call()
        act(page)
        page.hang_up()

    return all_of_it


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


def data(browser: Browser, demo: Demo) -> None:
    lab = Lab(browser, demo)
    lab.begin()
    lab.do("sing")
    lab.open(EVENTS_CHANNEL)
    lab.open("ordered", protocol="of its own")
    lab.open("unordered", ordered=False, maxRetransmits=5)
    lab.call()
    lab.until_event(EVENTS_CHANNEL, "session.created")
    lab.do("say", EVENTS_CHANNEL, UPDATE % ("good", '"instructions": "Be brief."'))
    lab.until_event(EVENTS_CHANNEL, "session.updated")
    lab.do("say", EVENTS_CHANNEL, UPDATE % ("bad", '"audio": {"output": {"speed": "fast"}}'))
    lab.until_event(EVENTS_CHANNEL, "error")
    lab.until_open("ordered", "unordered")
    lab.check_exchange("ordered", MESSAGES)
    lab.check_exchange("unordered", SMALL, ordered=False)
    lab.do("close", "ordered")
    lab.until_state("ordered", "closed")
    lab.open("again")
    lab.until_open("again")
    lab.check_exchange("again", SMALL)
    lab.until_heard(25)
    lab.do("hangUp")
    lab.until_state("again", "closed")


def data_loss(browser: Browser, demo: Demo) -> None:
    lab = Lab(browser, demo)
    lab.begin()
    lab.open("main")
    lab.call()
    lab.until_open("main")
    lab.do("pour", "main", 50, 700, 7_000)
    lab.until_poured("main")
    lab.do("close", "main")
    lab.until_state("main", "closed")
    lab.do("hangUp")


ACTS: dict[str, Callable[[Browser, Demo], None]] = {
    "plain": called(plain),
    "rebinding": called(rebinding),
    "restart": called(restart),
    "loss": called(plain),
    "relay-restart": called(relay_restart),
    "data": data,
    "data-loss": data_loss,
}


async def plain_of_aiortc(page: str) -> None:
    """Call with a tone, and listen until some seconds of it have come back."""
    async with calling(page) as (client, open_call):
        tracks: asyncio.Queue[aiortc.MediaStreamTrack] = asyncio.Queue()
        client.on("track", tracks.put_nowait)
        client.addTrack(Tone())
        await open_call()
        await listen(await tracks.get(), AIORTC)


async def data_of_aiortc(page: str) -> None:
    """Call with channels alone, and have messages come back."""
    async with calling(page) as (client, open_call):
        events = Heard(client.createDataChannel(EVENTS_CHANNEL))
        ordered = Heard(client.createDataChannel("ordered"))
        unordered = Heard(client.createDataChannel("unordered", ordered=False, maxRetransmits=5))
        await open_call()
        await until(lambda: events.messages)
        await events.exchange([UPDATE % ("bad", '"instructions": 5')])
        await until(lambda: "open" == ordered.state == unordered.state)
        messages = ["", b"", "text", b"binary", "x" * 1200, bytes(1200), "y" * 10_000]
        for each in (ordered, unordered):
            await each.exchange(messages)
        ordered.channel.close()
        await until(lambda: ordered.state == "closed")
        again = Heard(client.createDataChannel("again"))
        await until(lambda: again.state == "open")
        await again.exchange(messages)


CALLS_OF_AIORTC = {"plain": plain_of_aiortc, "data": data_of_aiortc}


@asynccontextmanager
async def calling(
    page: str,
) -> AsyncIterator[tuple[aiortc.RTCPeerConnection, Callable[[], Awaitable[None]]]]:
    """A client, and what calls with what it offers by then. The call is ended in the end."""
    async with asyncio.timeout(60), httpx.AsyncClient(base_url=page) as web:
        client = aiortc.RTCPeerConnection()
        location = ""

        async def open_call() -> None:
            nonlocal location
            await client.setLocalDescription(await client.createOffer())
            headers = {"Content-Type": "application/sdp"}
            offer = client.localDescription.sdp
            made = await web.post("/v1/realtime/calls", content=offer, headers=headers)
            made.raise_for_status()
            location = made.headers["location"]
            answer = aiortc.RTCSessionDescription(made.text, "answer")
            await client.setRemoteDescription(answer)

        yield client, open_call
        (await web.delete(location)).raise_for_status()
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
