"""``conformance run``: ask the cases of a server."""

import contextlib
import shlex
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import click
from attrs import frozen
from rich.console import Console

from conformance import catalogue
from conformance.blackbox import trial
from conformance.blackbox.abreast import in_order
from conformance.blackbox.door import Style
from conformance.blackbox.driver import UdpDriver
from conformance.blackbox.presence import Finding, Presence, Trial
from conformance.blackbox.relay import UdpRelayDriver
from conformance.blackbox.wire import resolve
from conformance.case import Blocked, Case, Profile
from conformance.drivers.memory import MemoryDriver, SimulatedDriver
from conformance.expectations import ExpectationError, Expectations, parse
from conformance.relay_stage import Node, Upstream
from conformance.report import console as table
from conformance.report import writing
from conformance.report.plain import one_line
from conformance.report.run import Run
from conformance.report.writing import Wanted
from conformance.runner import Driver, Result, run_case
from conformance.stage import PATIENCE, Target
from stunroute.address import Address
from stunroute.errors import ConfigError
from stunroute.hint import HintConfiguration, KeyRing

_Decorator: TypeAlias = Callable[[Callable[..., None]], Callable[..., None]]
_FILE = click.Path(dir_okay=False, path_type=Path)

LONGEST = 10.0
"""Seconds that a case may want, unless told otherwise."""
EXIT_FAILED = 1
EXIT_OUTLIVED = 3
EXIT_BROKEN = 4
EXIT_NOBODY = 5
EXIT_INTERRUPTED = 130

_SUBJECTS = ("whip", "calls", "stun", "relay", "memory", "simulator")


@frozen(slots=True)
class Subject:
    """Whom to ask: a driver, what it is called, and the options that lead there. ``stop`` has
    cases in other threads come to an end. ``presence`` is None where nobody can be missing, or
    nobody wants to know."""

    driver: Driver
    title: str
    options: tuple[str, ...]
    stop: Callable[[], None] = lambda: None
    presence: Presence | None = None


_WHOM = (
    click.option("--whip", metavar="URL", help="A server's WHIP endpoint."),
    click.option("--calls", metavar="URL", help="A server's /v1/realtime/calls."),
    click.option("--stun", metavar="HOST:PORT", help="A STUN server, or an ICE agent's address."),
    click.option("--ufrag", help="With --stun: the server's ufrag."),
    click.option("--pwd", help="With --stun: the server's password."),
    click.option("--relay", metavar="HOST:PORT", help="A relay's public address."),
    click.option(
        "--hint-key",
        "hint_keys",
        multiple=True,
        metavar="ID:ROUTING[:PASSWORD]",
        help="With --relay: a hint configuration, keys in hexadecimal. @FILE reads it from a file, "
        "which may also be what `stunroute hint keygen` prints, or a relay.toml.",
    ),
    click.option(
        "--next-hop",
        "next_hops",
        multiple=True,
        metavar="CLUSTER/NODE=HOST:PORT",
        help="With --relay: where it believes a node to be; we listen there.",
    ),
    click.option("--verifies", is_flag=True, help="With --relay: it checks MESSAGE-INTEGRITY."),
    click.option(
        "--restart", metavar="COMMAND", help="With --relay: kills it and starts an empty one."
    ),
    click.option(
        "--also",
        multiple=True,
        metavar="HOST:PORT",
        help="With --relay: another of its public addresses.",
    ),
    click.option(
        "--upstream",
        metavar="HOST:PORT=HOST:PORT",
        help="With --relay: the inner address of a relay that it believes in front of it, where we "
        "listen, and a public address of that one.",
    ),
    click.option(
        "--drain",
        metavar="COMMAND",
        help="With --relay: given CLUSTER/NODE and 'drained' or 'active', changes its directory.",
    ),
    click.option("--memory", is_flag=True, help="Our own cores, in memory."),
    click.option("--simulator", is_flag=True, help="Our own cores behind a relay, simulated."),
)
"""Who is asked."""
_HOW = (
    click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="For HTTP."),
    click.option("--token", help="A bearer token for HTTP."),
    click.option(
        "--allow",
        multiple=True,
        metavar="HOST[:PORT]",
        help="Another address that answers may lead to, besides the URL's host (and, where that is "
        "this machine, this machine's other addresses). Nothing else is ever sent to.",
    ),
    click.option(
        "--profile",
        "profiles",
        multiple=True,
        type=click.Choice([profile.value for profile in Profile]),
        help="Only cases of this profile.",
    ),
    click.option(
        "--wait",
        default=0.0,
        show_default=True,
        type=click.FloatRange(0, 3600),
        help="Seconds to wait for a server that is not up yet, or has gone in mid-run.",
    ),
    click.option("--anyway", is_flag=True, help="Ask the cases even where nobody seems to be."),
    click.option("--list", "listing", is_flag=True, help="List the cases and ask nothing."),
    click.option("--all", "everything", is_flag=True, help="Show what passes too."),
    click.option("--strict", is_flag=True, help="Lenient is a failure."),
    click.option("--jobs", default=1, show_default=True, type=click.IntRange(1, 32)),
    click.option("--known", type=click.Path(exists=True, path_type=Path), help="Known failures."),
    click.option(
        "--patience", default=PATIENCE, show_default=True, help="Seconds to wait for an answer."
    ),
    click.option("--longest", default=LONGEST, show_default=True, help="Seconds a case may want."),
    click.option("--seed", default="0", help="What is drawn for cases."),
)
"""What is asked, and how."""
_REPORTS = (
    click.option("--junit", type=_FILE, metavar="FILE", help="Write JUnit XML, for CI."),
    click.option("--json", metavar="FILE", help="Write JSON, for programs; - is standard output."),
    click.option("--html", type=_FILE, metavar="FILE", help="Write one HTML page, for people."),
    click.option(
        "--pcap",
        "captures",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Write NAME.pcapng and NAME.keys of each case that is not well.",
    ),
    click.option("--keep-all", is_flag=True, help="With --pcap and --html: captures of all cases."),
)
"""What is told of it, and where."""


def _all(*groups: Iterable[_Decorator]) -> _Decorator:
    """The options as one decorator; ``--help`` keeps their order."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate


@click.command("run")
@click.argument("patterns", nargs=-1, metavar="[CASE...]")
@_all(_WHOM, _HOW, _REPORTS)
def command(patterns: tuple[str, ...], listing: bool, **options: Any) -> None:
    """Ask a server the cases, and judge what it does.

    CASE is a name or a glob: 'rfc8489/*'. Without --whip, --calls, --stun, --relay, --memory or
    --simulator only --list makes sense.

    The table goes to standard output, or to standard error where --json - takes that. The HTML page
    needs no server and no network: it has what was sent and received, drawn and decoded, and the
    captures for download. A capture holds the keys of its case's calls, which are worth nothing
    after them.

    Before the first case one call, or one Binding request, tries whether anybody is there. Where
    nobody is, nothing is asked and nothing judged. Where the server goes away in mid-run, the cases
    that meet nobody are blocked; the run waits ten seconds for it once, or --wait, if that is more.

    \b
    Exit status:
      0  every case passed, was lenient or noted, is a known failure, or could not be asked
      1  at least one failed or was blocked (with --strict: or was lenient)
      2  the command line makes no sense
      3  a known failure passes now: take it out of the file
      4  the harness itself broke in at least one case
      5  nobody answers there, so nothing was judged
    130  interrupted: what was known by then is told
    """
    profiles = [Profile(name) for name in options["profiles"]]
    cases = catalogue.select(catalogue.load(), patterns, profiles)
    for pattern in patterns:
        _need_case(pattern)
    if not cases:
        raise click.UsageError("no case fits")
    if listing:
        _list(cases)
        return
    subject = _subject(options)
    wanted = _wanted(options)
    expectations = _expectations(options["known"])
    began, clock = datetime.now(UTC), time.monotonic()
    finding = _trial(subject)
    results = _run_all(cases, subject, options["jobs"]) if finding.nobody is None else []
    run = Run(
        subject=subject.title,
        options=subject.options,
        began=began.isoformat(timespec="seconds"),
        seconds=time.monotonic() - clock,
        version=version("stunroute"),
        results=tuple(results),
        expectations=expectations,
        strict=options["strict"],
        seed=options["seed"],
        nobody=finding.nobody or "",
        remarks=_remarks(subject, finding),
    )
    _tell(run, wanted, everything=options["everything"])
    if run.nobody:
        sys.exit(EXIT_NOBODY)
    if len(results) < len(cases):
        click.echo(f"interrupted: {len(results)} of {len(cases)} cases were asked", err=True)
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(status(run))


def _trial(subject: Subject) -> Finding:
    """Whether anybody is there to be asked."""
    if subject.presence is None:
        return Finding()
    try:
        finding = subject.presence.at_start()
    except KeyboardInterrupt:
        click.echo("interrupted before anything was asked", err=True)
        sys.exit(EXIT_INTERRUPTED)
    if finding.remark is not None:
        click.echo(one_line(finding.remark), err=True)
    return finding


def _remarks(subject: Subject, finding: Finding) -> tuple[str, ...]:
    gone = subject.presence.gone if subject.presence is not None else None
    ended = None if gone is None else f"The server went away in mid-run: {gone}."
    return tuple(remark for remark in (finding.remark, ended) if remark is not None)


def _tell(run: Run, wanted: Wanted, *, everything: bool) -> None:
    """Files first: whoever reads the table may stop reading."""
    try:
        printed = writing.write(run, wanted)
    except OSError as error:
        raise click.UsageError(f"a report cannot be written: {error}") from error
    table.show(run, Console(stderr=wanted.takes_stdout), everything=everything)
    click.echo(printed, nl=False)


def status(run: Run) -> int:
    """The exit status of a run: the gravest reason decides."""
    if any(result.verdict.value == "broken" for result in run.results):
        return EXIT_BROKEN
    if any(run.fails(result) for result in run.results):
        return EXIT_FAILED
    return EXIT_OUTLIVED if run.outlived else 0


def _need_case(pattern: str) -> None:
    """Refuses a glob that no case fits: whoever has mistyped one would take silence for success."""
    if not catalogue.select(catalogue.load(), (pattern,)):
        raise click.UsageError(f"no case fits {pattern!r}")


def _wanted(options: dict[str, Any]) -> Wanted:
    """Refuses what cannot be written before anybody is asked, not afterwards."""
    files = [options["junit"], options["html"]]
    if options["json"] not in (None, writing.STDOUT):
        files.append(Path(options["json"]))
    for path in files:
        if path is not None and not path.absolute().parent.is_dir():
            raise click.UsageError(f"{path}: there is no such directory")
    names = ("junit", "json", "html", "captures", "keep_all")
    return Wanted(**{name: options[name] for name in names})


def _list(cases: Iterable[Case]) -> None:
    for case in cases:
        profiles = ",".join(profile.value for profile in case.profiles)
        click.echo(f"{case.name}  [{case.level.value}; {profiles}]")
        click.echo(f"    {case.requirement}")


def _subject(options: dict[str, Any]) -> Subject:
    given = [name for name in _SUBJECTS if options[name]]
    if len(given) != 1:
        raise click.UsageError(f"say one of {', '.join(f'--{name}' for name in _SUBJECTS)}")
    if given[0] == "memory":
        return Subject(MemoryDriver(), "Our own cores, in memory", ("--memory",))
    if given[0] == "simulator":
        return Subject(SimulatedDriver(), "Our own cores, simulated", ("--simulator",))
    allowed = [_addresses(text) for text in options["allow"]]
    common: dict[str, Any] = {
        "allowed": tuple(address for addresses in allowed for address in addresses),
        "patience": options["patience"],
        "longest": options["longest"],
        "seed": options["seed"],
    }
    if given[0] == "relay":
        return _relay(options, common)
    if given[0] == "stun":
        target = Target(_endpoint(options["stun"]), options["ufrag"], options["pwd"])
        if (target.ufrag is None) != (target.password is None):
            raise click.UsageError("--ufrag and --pwd go together")
        driver = UdpDriver(target=target, **common)
        _look(driver, partial(trial.of_target, driver), options, before_each=True)
        again = ["--stun", options["stun"]]
        if target.ufrag is not None:
            again += ["--ufrag", target.ufrag, "--pwd", "PASSWORD"]
        title = f"STUN at {options['stun']}"
        return _live(driver, title, again, options)
    url = options[given[0]]
    headers = dict(_header(text) for text in options["headers"])
    if options["token"]:
        headers["Authorization"] = f"Bearer {options['token']}"
    driver = UdpDriver(url=url, style=Style(given[0]), headers=headers, **common)
    try:
        driver.known()
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{url}: {error}") from error
    _look(driver, partial(trial.of_server, driver), options)
    return _live(driver, url, [f"--{given[0]}", url], options)


def _look(
    driver: UdpDriver | UdpRelayDriver,
    tries: Trial,
    options: dict[str, Any],
    *,
    before_each: bool = False,
) -> None:
    """Have the driver look whether anybody is there, unless that does not matter."""
    if not options["anyway"]:
        stopped = driver.leash.stopped
        driver.presence = Presence(tries, before_each, options["wait"], stopped=stopped)


def _live(
    driver: UdpDriver | UdpRelayDriver, title: str, again: list[str], options: dict[str, Any]
) -> Subject:
    """``again`` names the door for a rerun."""
    words = (*again, *_again(options))
    return Subject(driver, title, words, driver.leash.stopped.set, driver.presence)


def _relay(options: dict[str, Any], common: dict[str, Any]) -> Subject:
    if not options["hint_keys"] or not options["next_hops"]:
        raise click.UsageError("--relay wants --hint-key and --next-hop")
    if options["jobs"] != 1:
        raise click.UsageError("--relay asks one case at a time: the next hops are where they are")
    driver = UdpRelayDriver(
        public=_endpoint(options["relay"]),
        nodes=tuple(_node(text) for text in options["next_hops"]),
        keyring=_keyring(options["hint_keys"]),
        verifies=options["verifies"],
        restart=_restarting(options["restart"]) if options["restart"] else None,
        beside=tuple(_endpoint(text) for text in options["also"]),
        upstream=_upstream(options["upstream"]) if options["upstream"] else None,
        drained=_draining(options["drain"]) if options["drain"] else None,
        **common,
    )
    again = ["--relay", options["relay"]]
    for name in ("hint_keys", "next_hops"):
        option = f"--{name.replace('_', '-').removesuffix('s')}"
        # A key given in clear stays out of reports.
        for text in options[name]:
            secret = name == "hint_keys" and not text.startswith("@")
            again += [option, "ID:ROUTING:PASSWORD" if secret else text]
    again += ["--verifies"] if options["verifies"] else []
    for name in ("restart", "upstream", "drain"):
        again += [f"--{name}", options[name]] if options[name] else []
    again += [word for text in options["also"] for word in ("--also", text)]
    _look(driver, partial(trial.of_relay, driver), options, before_each=True)
    return _live(driver, f"the relay at {options['relay']}", again, options)


def _again(options: dict[str, Any]) -> list[str]:
    """What a rerun needs besides the server's name. Reports are sent around, so values of headers
    and the token are to be filled in by who reruns."""
    words = [word for text in options["headers"] for word in ("--header", _named(text))]
    words += ["--token", "TOKEN"] if options["token"] else []
    words += [word for text in options["allow"] for word in ("--allow", text)]
    for name, usual in (("patience", PATIENCE), ("longest", LONGEST)):
        words += [f"--{name}", f"{options[name]:g}"] if options[name] != usual else []
    return words


def _named(header: str) -> str:
    return f"{header.partition(':')[0]}: VALUE"


def _keyring(given: Iterable[str]) -> KeyRing:
    try:
        return KeyRing(each for text in given for each in _hint_keys(text))
    except (OSError, ValueError, ConfigError) as error:
        raise click.UsageError(
            f"--hint-key wants ID:ROUTING[:PASSWORD] or @FILE: {error}"
        ) from None


def _hint_keys(text: str) -> tuple[HintConfiguration, ...]:
    """One as the option writes it, or those of a settings file. Errors tell no part of a key."""
    if text.startswith("@"):
        text = Path(text[1:]).read_text().strip()
        if "routing_key" in text:
            return _hints_of_settings(text)
    identifier, *keys = text.split(":")
    if len(keys) not in (1, 2):
        raise ValueError(f"an ID and one or two keys, not {len(keys)}")
    return (_configuration(identifier, *keys),)


def _hints_of_settings(text: str) -> tuple[HintConfiguration, ...]:
    try:
        return tuple(
            _configuration(each["id"], each["routing_key"], each.get("password_key"))
            for each in tomllib.loads(text)["hint"]["configurations"]
        )
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not TOML: {error}") from None
    except (KeyError, TypeError, AttributeError):
        raise ValueError("no hint.configurations, each with id and routing_key") from None


def _configuration(identifier: str, routing: str, password: str | None = None) -> HintConfiguration:
    try:
        keys = [bytes.fromhex(key) if key is not None else None for key in (routing, password)]
    except ValueError:
        raise ValueError("a key is not hexadecimal") from None
    return HintConfiguration(identifier, keys[0] or b"", keys[1])


def _node(text: str) -> Node:
    name, separator, where = text.partition("=")
    cluster, _, number = name.partition("/")
    if not separator or not cluster.isdecimal() or not number.isdecimal():
        raise click.UsageError(f"{text!r} is not CLUSTER/NODE=HOST:PORT")
    return Node(int(cluster), int(number), _endpoint(where))


def _upstream(text: str) -> Upstream:
    inner, separator, public = text.partition("=")
    if not separator:
        raise click.UsageError(f"{text!r} is not HOST:PORT=HOST:PORT")
    return Upstream(Node(0, 0, _endpoint(inner)), _endpoint(public))


def _restarting(text: str) -> Callable[[], None]:
    words = _words("--restart", text)
    return lambda: _command(words, "the relay was not restarted")


def _draining(text: str) -> Callable[[Node], AbstractContextManager[None]]:
    words = _words("--drain", text)

    @contextmanager
    def drained(node: Node) -> Iterator[None]:
        name = f"{node.cluster}/{node.number}"
        _command((*words, name, "drained"), f"{name} was not drained")
        try:
            yield
        finally:
            _command((*words, name, "active"), f"{name} is still drained")

    return drained


def _words(option: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from error


def _command(words: Sequence[str], otherwise: str) -> None:
    """Raises Blocked where it fails."""
    try:
        subprocess.run(words, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise Blocked(f"{otherwise}: {error}") from error


def _endpoint(text: str) -> Address:
    (address, *_) = _addresses(text)
    if not address.port:
        raise click.UsageError(f"{text!r} is not HOST:PORT")
    return address


def _addresses(text: str) -> tuple[Address, ...]:
    """Of ``HOST`` (every address of it, port 0) or ``HOST:PORT``."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdecimal() or (host.count(":") and not host.startswith("[")):
        host, port = text, "0"
    try:
        found = resolve(host.strip("[]"))
    except OSError as error:
        raise click.UsageError(f"{text}: {error}") from error
    return tuple(Address.of(each.ip, int(port)) for each in found)


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(":")
    if not separator or not name.strip():
        raise click.UsageError(f"{text!r} is not 'NAME: VALUE'")
    return name.strip(), value.strip()


def _expectations(path: Path | None) -> Expectations:
    if path is None:
        return Expectations()
    try:
        expectations = parse(path.read_text())
    except (OSError, ValueError, ExpectationError) as error:
        raise click.UsageError(f"{path}: {error}") from error
    for entry in expectations.known:
        _need_case(entry.case)
    return expectations


def _run_all(cases: list[Case], subject: Subject, jobs: int) -> list[Result]:
    """All results in the order of the cases, whoever was done first; where somebody interrupts,
    those of the cases that had come to their end."""
    done: dict[str, Result] = {}
    stopped = threading.Event()
    lock = threading.Lock()

    def stop() -> None:
        stopped.set()
        subject.stop()

    with table.Meter(Console(stderr=True), len(cases)) as meter:

        def ask(case: Case) -> None:
            result = run_case(case, subject.driver, time.monotonic)
            if subject.presence is not None:
                subject.presence.weigh(result)
            with lock:
                if not stopped.is_set():
                    done[case.name] = result
                    meter.done(result)

        with contextlib.suppress(KeyboardInterrupt):
            in_order(cases, ask, jobs, stop)
    return [done[case.name] for case in cases if case.name in done]
