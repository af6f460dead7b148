"""The matrix of peers: what is kept of runs, what is said of them by hand, and the page of both."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define, evolve, field
from click.testing import CliRunner

from conformance import catalogue
from conformance.case import Profile
from conformance.commands import matrix as command
from conformance.peers import PEERS, PeerError, areas, asking, by_name, judging, matrix, results
from conformance.peers.areas import Area
from conformance.peers.asking import Asked, Manner, Told
from conformance.peers.judging import Fault, Judgement
from conformance.peers.table import Door

PAGE = command.PAGE.read_text(encoding="utf-8")
COMMITTED = results.read(results.FILE.read_text(encoding="utf-8"))
JUDGEMENTS = judging.load()

STUN, DTLS = Area.STUN.value, Area.DTLS.value
TOLD = Told(
    "pion",
    "3.1",
    "2026-01-02",
    (
        Asked("rfc8489/5/a", STUN, "pass"),
        Asked("rfc8489/5/b", STUN, "fail", "silence", "of a\nkind"),
        Asked("rfc8489/5/c", STUN, "unsupported", detail="no reason"),
        Asked("rfc8489/5/d", STUN, "noted", "nothing"),
        Asked("rfc8489/5/e", STUN, "pass", flaky=True),
        Asked("rfc6347/4/f", DTLS, "blocked", detail="x" * 300),
    ),
    ("dtls-0: it ended with status 2: panic",),
)
BEFORE = f"By hand.\n\n{matrix.MARK}\n\nold\n"


def of_one(told: Told = TOLD) -> results.Results:
    return results.Results({told.name: results.of(told)})


def entry(
    case: str, peer: str = "*", fault: Fault = Fault.PEER, note: str = "So.", read: str = ""
) -> Judgement:
    return Judgement((case,), (peer,), fault, note, read)


# What is committed.


def test_the_page_is_what_results_and_judgements_give() -> None:
    assert matrix.page(PAGE, COMMITTED, JUDGEMENTS) == PAGE


def test_the_results_are_written_as_the_tool_writes_them() -> None:
    assert results.render(COMMITTED) == results.FILE.read_text(encoding="utf-8")


def test_every_judgement_fits_a_failure() -> None:
    assert matrix.outlived(COMMITTED, JUDGEMENTS) == []


def test_the_results_are_those_of_peers_and_cases_that_there_are() -> None:
    known = {case.name for case in catalogue.load()}
    assert set(COMMITTED.peers) <= set(by_name())
    for told in COMMITTED.peers.values():
        for found in told.areas.values():
            named = {name for cases in found.cases.values() for name in cases}
            named.update(name for cases in found.unsupported.values() for name in cases)
            assert named <= known


# Areas.


def test_every_case_of_a_server_is_in_one_area() -> None:
    found = [case.name for cases in areas.by_area().values() for case in cases]
    servers = [case.name for case in catalogue.load() if Profile.RELAY not in case.profiles]
    assert sorted(found) == servers


def test_a_stun_server_is_asked_nothing_about_calls() -> None:
    for peer in PEERS:
        asked = areas.asked_of(peer)
        cases = [case for found in asked.values() for case in found]
        assert Area.SIGNALING not in asked
        if peer.door is Door.STUN:
            assert cases
            assert all(Profile.STUN in case.profiles for case in cases)
        else:
            assert set(asked) == set(Area) - {Area.SIGNALING}


def test_who_has_signalling_of_his_own_is_asked_about_it() -> None:
    peer = evolve(by_name()["pion"], own_signaling=True)
    assert areas.asked_of(peer)[Area.SIGNALING]


# Judgements.


def test_judgements_are_read() -> None:
    text = '[[judgement]]\ncases = ["a/*"]\npeers = ["p*", "q"]\nfault = "taste"\nnote = "Why."\n'
    (found,) = judging.parse(text)
    assert found == Judgement(("a/*",), ("p*", "q"), Fault.TASTE, "Why.")
    assert found.fits("pion", "a/b/c")
    assert found.fits("q", "a/b")
    assert not found.fits("aiortc", "a/b")
    assert not found.fits("q", "b/a")
    assert judging.parse("") == ()
    (followed,) = judging.parse(text + 'read = "`a.c` of 3.1"\n')
    assert followed == evolve(found, read="`a.c` of 3.1")


@pytest.mark.parametrize(
    "text",
    [
        "what",
        '[[judgement]]\ncases = "a"\npeers = ["b"]\nfault = "peer"\nnote = "x"\n',
        '[[judgement]]\ncases = ["a"]\npeers = ["b"]\nfault = "nobody"\nnote = "x"\n',
        '[[judgement]]\ncases = ["a"]\npeers = ["b"]\nfault = "peer"\nnote = " "\n',
        '[[judgement]]\ncases = []\npeers = ["b"]\nfault = "peer"\nnote = "x"\n',
        '[[judgement]]\ncases = ["a"]\npeers = ["b"]\nfault = "peer"\nnote = "x"\nwho = "me"\n',
        '[[judged]]\ncases = ["a"]\n',
    ],
)
def test_what_is_no_judgement_is_refused_by_its_files_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "some.toml").write_text(text)
    with pytest.raises(PeerError, match=r"^some\.toml: "):
        judging.load(tmp_path)


def test_the_first_that_fits_judges() -> None:
    first, second = entry("a/*"), entry("*", fault=Fault.TASTE)
    assert judging.judge([first, second], "pion", "a/b") is first
    assert judging.judge([first, second], "pion", "b") is second
    assert judging.judge([first], "pion", "b") is None


# Results.


def test_results_keep_what_did_not_pass() -> None:
    found = results.of(TOLD)
    stun = found.areas[STUN]
    assert stun.counts == {"pass": 2, "fail": 1, "unsupported": 1, "noted": 1}
    assert stun.cases == {
        "fail": {"rfc8489/5/b": "silence: of a kind"},
        "noted": {"rfc8489/5/d": "nothing"},
    }
    assert stun.unsupported == {"no reason": ["rfc8489/5/c"]}
    assert found.flaky == ["rfc8489/5/e"]
    failures = [(area, case) for area, case, _ in found.failures()]
    assert failures == [(Area.STUN, "rfc8489/5/b"), (Area.DTLS, "rfc6347/4/f")]
    (seen,) = found.areas[DTLS].cases["blocked"].values()
    assert len(seen) == results.LONGEST
    assert seen.endswith("…")


def test_results_are_read_as_they_were_written() -> None:
    assert results.read(results.render(of_one())) == of_one()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"peers": {"pion": 1}}', '{"peers": {}, "a": 1}']
)
def test_what_are_no_results_is_refused(text: str) -> None:
    with pytest.raises(PeerError):
        results.read(text)


# The page.


def test_the_half_by_hand_stays_and_the_other_is_new() -> None:
    told = matrix.page(BEFORE, of_one(), [])
    assert told.startswith(f"By hand.\n\n{matrix.MARK}\n\n## Results\n")
    assert "\nold\n" not in told
    assert matrix.page(told, of_one(), []) == told


def test_cells_count() -> None:
    told = matrix.page(BEFORE, of_one(), [])
    row = "| pion 3.1 | 2026-01-02 | 2 / 1 / **1** / 0 / 1 |  |  | 0 / 0 / 0 / 1 / 0 |  |  |  |"
    assert row in told.splitlines()


def test_what_nobody_has_looked_at_is_told() -> None:
    told = matrix.page(BEFORE, of_one(), [])
    assert "- Not looked at yet (1):\n  - `rfc8489/5/b`: silence: of a kind\n" in told
    assert "| pion | 2 | 0 | 0 | 0 | 0 | 2 | 0 | 1 | 1 |" in told.splitlines()
    assert "dtls-0: it ended with status 2: panic" in told


def test_judgements_stand_with_what_they_judge() -> None:
    judgements = [entry("rfc8489/*", note="It\nsleeps."), entry("rfc6347/*", fault=Fault.TASTE)]
    told = matrix.page(BEFORE, of_one(), judgements)
    assert "- `rfc8489/5/b`: the peer is wrong. It sleeps.\n" in told
    assert "- `rfc6347/4/f`: a matter of taste. So.\n" in told
    assert "Not looked at yet" not in told
    assert "| pion | 2 | 1 | 1 | 0 | 0 | 0 | 0 | 1 | 1 |" in told.splitlines()


def test_what_was_followed_up_in_the_source_is_told_and_counted() -> None:
    judgements = [entry("rfc8489/*", read="`a.c` of 3.1"), entry("rfc6347/*", fault=Fault.TASTE)]
    told = matrix.page(BEFORE, of_one(), judgements)
    assert "- `rfc8489/5/b`: the peer is wrong. So. Read: `a.c` of 3.1.\n" in told
    assert "- `rfc6347/4/f`: a matter of taste. So.\n" in told
    assert "| pion | 2 | 1 | 1 | 0 | 0 | 0 | 1 | 1 | 1 |" in told.splitlines()


@pytest.mark.parametrize(
    "idle",
    [entry("rfc8489/5/a"), entry("rfc8489/5/b", "aiortc"), entry("rfc8489/5/b", note="Later.")],
)
def test_a_judgement_that_judges_nothing_is_refused(idle: Judgement) -> None:
    """Also one that comes after another which fits all that it does."""
    with pytest.raises(PeerError, match="fit no failure"):
        matrix.page(BEFORE, of_one(), [entry("rfc8489/5/b"), idle])


def test_a_page_without_the_mark_is_left_alone() -> None:
    with pytest.raises(PeerError, match="has no line"):
        matrix.page("By hand.\n", of_one(), [])


def test_one_of_whom_nothing_failed_says_so() -> None:
    told = Told("coturn", "1", "2026-01-02", (Asked("rfc8489/5/a", STUN, "pass"),))
    assert "Nothing failed." in matrix.page(BEFORE, of_one(told), [])


# Asking. A stand-in for ``conformance run`` says what it is told to; no peer is started.

STAND_IN = """
import json, sys
words = sys.argv[1:]
report = words[words.index("--json") + 1]
again = "--html" in words
plan = json.loads(open(PLAN).read())
results = []
for name in [word for word in words if word in plan]:
    told = plan[name][1 if again else 0]
    if told == "hang":
        import time
        time.sleep(60)
    if told == "break":
        sys.exit("broken")
    if told == "nobody":
        results = []
        break
    results.append(dict(name=name, verdict=told, seen=None, detail="", seconds=0.0, rerun=""))
with open(report, "w") as out:
    json.dump({"results": results, "nobody": None if results else "a knock got no answer"}, out)
"""


@define
class Fake:
    """A peer that is up, and the plan of what its cases will say."""

    folder: Path
    door: Door = Door.STUN
    url: str = "127.0.0.1:1"
    version: str = "1.0"
    losses: list[str] = field(factory=list)
    ended: str | None = None
    starts: int = 0
    mortal: bool = False
    """It ends over whatever it is asked by more than one case at a time."""

    def command(self, argv: list[str]) -> list[str]:
        names = [word for word in argv if word in CASES.values()]
        self.ended = "it ended" if self.mortal and len(names) > 1 else None
        return [sys.executable, str(self.folder / "run.py"), *argv[4:]]

    @contextmanager
    def start(self, name: str, *, revive: bool) -> Iterator["Fake"]:
        assert name == "coturn"
        assert revive
        self.starts += 1
        self.ended = None
        yield self

    def plan(self, **told: tuple[str, str]) -> None:
        plan = {name: told.get(short, ("pass", "pass")) for short, name in CASES.items()}
        (self.folder / "plan.json").write_text(json.dumps(plan))


CASES = {
    "first": "rfc8489/12/binding",
    "second": "rfc8489/12/fingerprint-taken",
    "third": "rfc8489/12/fingerprint-not-required",
}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    made = Fake(tmp_path)
    plan = repr(str(tmp_path / "plan.json"))
    (tmp_path / "run.py").write_text(STAND_IN.replace("PLAN", plan))
    monkeypatch.setattr(asking, "start", made.start)
    return made


def manner(fake: Fake, **changes: object) -> Manner:
    names = CASES.values()
    return evolve(Manner(fake.folder / "state", only=lambda case: case in names), **changes)


def verdicts(told: Told) -> dict[str, tuple[str, bool]]:
    by_case = {each.name: (each.verdict, each.flaky) for each in told.cases}
    return {short: by_case[name] for short, name in CASES.items() if name in by_case}


def test_who_is_not_there_is_told_as_the_run_told_it(fake: Fake) -> None:
    fake.plan(first=("nobody", "nobody"))
    told = asking.ask(by_name()["coturn"], manner(fake))
    by_name_of_case = {each.name: each for each in told.cases}
    assert by_name_of_case[CASES["first"]].verdict == "blocked"
    assert by_name_of_case[CASES["first"]].detail == "a knock got no answer"


def test_the_second_word_counts(fake: Fake) -> None:
    fake.plan(first=("fail", "pass"), second=("blocked", "fail"), third=("lenient", "fail"))
    told = asking.ask(by_name()["coturn"], manner(fake))
    assert verdicts(told) == {
        "first": ("pass", True),
        "second": ("fail", False),
        "third": ("lenient", False),
    }
    assert fake.starts == 2
    assert asking.load(fake.folder / "state", "coturn") == told
    assert told.version == "1.0"


def test_what_hangs_is_given_up_with_its_piece(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PIECE", 1)
    monkeypatch.setattr(asking, "PIECE_AGAIN", 1)
    monkeypatch.setattr(asking, "_limit", lambda *_: 0.5)
    fake.plan(first=("hang", "hang"), second=("pass", "pass"))
    told = asking.ask(by_name()["coturn"], manner(fake, only=lambda case: case == CASES["first"]))
    assert verdicts(told) == {"first": ("blocked", False)}
    assert "given up" in told.cases[0].detail


def test_without_time_nothing_more_is_asked(fake: Fake) -> None:
    fake.plan()
    told = asking.ask(by_name()["coturn"], manner(fake, seconds=-1.0))
    # Asked again alone, all the same: there were few.
    assert set(verdicts(told).values()) == {("pass", True)}


def test_a_suite_that_breaks_is_no_fault_of_the_peers(fake: Fake) -> None:
    fake.plan(first=("break", "break"))
    with pytest.raises(PeerError, match="broke"):
        asking.ask(by_name()["coturn"], manner(fake))
    assert asking.load(fake.folder / "state", "coturn") is None


def test_where_the_peer_ends_each_is_asked_of_one_of_its_own(fake: Fake) -> None:
    fake.mortal = True
    fake.plan(first=("fail", "fail"), second=("blocked", "blocked"), third=("fail", "pass"))
    told = asking.ask(by_name()["coturn"], manner(fake))
    assert verdicts(told) == {
        "first": ("fail", False),
        "second": ("blocked", False),
        "third": ("pass", True),
    }
    # Once for all, once for the three again, and once for each of the two that went wrong.
    assert fake.starts == 4
    assert told.losses == ("stun-0: it ended",)


def test_what_is_not_asked_again_stays(fake: Fake) -> None:
    fake.plan(first=("fail", "fail"), second=("fail", "fail"))
    fake.losses.append("before anything")
    asking.ask(by_name()["coturn"], manner(fake))
    fake.plan()
    told = asking.ask(by_name()["coturn"], manner(fake, only=lambda case: case == CASES["first"]))
    assert verdicts(told) == {
        "first": ("pass", False),
        "second": ("fail", False),
        "third": ("pass", False),
    }


def test_losses_of_areas_that_are_asked_again_are_forgotten(fake: Fake) -> None:
    fake.mortal = True
    fake.plan()
    asking.ask(by_name()["coturn"], manner(fake))
    told = asking.ask(by_name()["coturn"], manner(fake, areas=[Area.ICE]))
    assert told.losses == ("stun-0: it ended",)
    fake.mortal = False
    assert asking.ask(by_name()["coturn"], manner(fake)).losses == ()


def test_only_what_went_wrong_is_asked_again(fake: Fake) -> None:
    fake.plan(first=("fail", "fail"), second=("fail", "fail"), third=("pass", "pass"))
    asking.ask(by_name()["coturn"], manner(fake))
    fake.plan(first=("break", "pass"), second=("break", "fail"), third=("break", "fail"))
    told = asking.ask(by_name()["coturn"], manner(fake, wrong=True))
    assert verdicts(told) == {
        "first": ("pass", False),
        "second": ("fail", False),
        "third": ("pass", False),
    }
    assert told.version == "1.0"


def test_where_nothing_went_wrong_nobody_is_asked(fake: Fake) -> None:
    fake.plan()
    asking.ask(by_name()["coturn"], manner(fake))
    starts = fake.starts
    told = asking.ask(by_name()["coturn"], manner(fake, wrong=True))
    assert fake.starts == starts
    assert told.version == "1.0"


def test_another_file_in_the_place_of_a_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "coturn").mkdir()
    (tmp_path / "coturn" / "report.json").write_text("[]")
    with pytest.raises(PeerError, match="is no report"):
        asking.load(tmp_path, "coturn")


# The command.


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The page and the results in a folder of their own, without judgements."""
    monkeypatch.setattr(command, "PAGE", tmp_path / "MATRIX.md")
    monkeypatch.setattr(results, "FILE", tmp_path / "results.json")
    monkeypatch.setattr(judging, "load", lambda: ())
    command.PAGE.write_text(BEFORE)
    results.FILE.write_text('{"peers": {}}')
    return tmp_path


def test_reports_are_collected_into_results_and_page(elsewhere: Path, fake: Fake) -> None:
    fake.plan(first=("fail", "fail"))
    asking.ask(by_name()["coturn"], manner(fake))
    arguments = ["--collect", "--state", str(fake.folder / "state")]
    done = CliRunner().invoke(command.command, arguments)
    assert done.exit_code == 0, done.output
    kept = results.read(results.FILE.read_text())
    assert kept.peers["coturn"].areas[STUN].counts == {"pass": 2, "fail": 1}
    assert command.PAGE.read_text() == matrix.page(BEFORE, kept, [])
    before = command.PAGE.read_text()
    assert CliRunner().invoke(command.command, ["--no-run"]).exit_code == 0
    assert command.PAGE.read_text() == before


def test_an_idle_judgement_fails_the_command(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "load", lambda: (entry("nothing"),))
    done = CliRunner().invoke(command.command, ["--no-run"])
    assert done.exit_code == 1
    assert "fit no failure:\n  nothing at *" in done.stderr
    assert command.PAGE.read_text() == BEFORE


def test_a_peer_that_is_none_makes_no_sense() -> None:
    done = CliRunner().invoke(command.command, ["nobody", "--no-run"])
    assert done.exit_code == 2
    assert "there is no peer nobody" in done.stderr
