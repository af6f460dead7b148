"""The program: what it prints, and the status it leaves with."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from conformance.__main__ import main
from corpus import corpus_path
from recordings import recorded

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("main"), "main")


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    """A recording of one's own to spoil."""
    for suffix in (".pcap", ".toml"):
        shutil.copy(made.with_suffix(suffix), tmp_path / f"call{suffix}")
    return tmp_path / "call.pcap"


def spoil(path: Path, old: str = "srtp-authentication", new: str = "srtp-replay") -> None:
    text = path.with_suffix(".toml").read_text(encoding="utf-8")
    assert old in text
    path.with_suffix(".toml").write_text(text.replace(old, new), encoding="utf-8")


def test_an_exact_replay(path: Path) -> None:
    result = run("replay", path)
    assert result.exit_code == 0
    assert "exact" in result.stdout
    assert "call" in result.stdout
    assert result.stderr == ""


def test_the_sidecar_names_the_recording_as_well(path: Path) -> None:
    assert run("replay", path.with_suffix(".toml")).exit_code == 0


def test_a_trace_tells_the_whole_story_without_addresses(path: Path) -> None:
    result = run("replay", "--trace", path)
    assert result.exit_code == 0
    for words in (
        "Binding request",
        "flight 1: ClientHello",
        "keys agreed, AEAD_AES_128_GCM",
        "SRTP ssrc=",
        "SRTCP SENDER_REPORT",
        "client2 → relay  SRTP",
    ):
        assert words in result.stdout
    assert "192.0.2.33" not in result.stdout
    assert "192.0.2.33:50000" in run("replay", "--trace", "--show-addresses", path).stdout


def test_a_parted_replay_says_where(path: Path) -> None:
    spoil(path)
    result = run("replay", path)
    assert result.exit_code == 1
    assert "call.pcap: parted at step " in result.stdout
    result = run("replay", "--no-checks", path)
    assert result.exit_code == 1
    assert "other datagrams were let go" in result.stdout


def test_json_is_one_object_per_recording(path: Path) -> None:
    (told,) = [json.loads(line) for line in run("replay", "--json", path).stdout.splitlines()]
    assert told["verdict"] == "exact"
    assert told["file"] == str(path)
    assert "trace" not in told
    (told,) = [
        json.loads(line) for line in run("replay", "--json", "--trace", path).stdout.splitlines()
    ]
    assert [line["packet"] for line in told["trace"]][:2] == [1, 2]
    spoil(path)
    result = run("replay", "--json", path)
    told = json.loads(result.stdout)
    assert (told["verdict"], result.exit_code) == ("parted", 1)
    assert told["step"] > 1
    path.write_bytes(b"")
    result = run("replay", "--json", path)
    told = json.loads(result.stdout)
    assert (told["verdict"], result.exit_code) == ("unreadable", 2)


def test_directories_are_searched(path: Path) -> None:
    deeper = path.parent / "deeper"
    deeper.mkdir()
    for suffix in (".pcap", ".toml"):
        shutil.copy(path.with_suffix(suffix), deeper / f"two{suffix}")
    shutil.copy(path, deeper / "alone.pcap")
    result = run("replay", "--json", path.parent)
    assert result.exit_code == 0
    assert [Path(json.loads(line)["file"]).stem for line in result.stdout.splitlines()] == [
        "call",
        "two",
    ]


def test_what_cannot_be_read_has_its_own_status(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    result = run("replay", path)
    assert result.exit_code == 2
    assert "cut short" in result.stdout
    path.write_bytes(whole)
    spoil(path, "format = 1", "format = 9")
    result = run("replay", path)
    assert result.exit_code == 2
    assert "call.toml: format: is 9" in result.stdout
    path.with_suffix(".toml").unlink()
    result = run("replay", path)
    assert result.exit_code == 2
    assert "No such file" in result.stdout
    empty = tmp_path / "empty"
    empty.mkdir()
    result = run("replay", empty)
    assert result.exit_code == 2
    assert "holds no recording" in result.stderr
    assert run("replay", tmp_path / "absent").exit_code == 2
    assert run("replay").exit_code == 2


def test_golden_traces(path: Path) -> None:
    result = run("replay", "--golden", path)
    assert result.exit_code == 1
    assert "call.jsonl is not there; --update-golden writes it" in result.stdout
    assert run("replay", "--update-golden", path).exit_code == 0
    golden = path.with_suffix(".jsonl")
    lines = golden.read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["verdict"] == "exact"
    assert run("replay", "--golden", path).exit_code == 0
    golden.write_text("\n".join([*lines[:3], '{"text": "otherwise"}', *lines[4:]]))
    result = run("replay", "--golden", path)
    assert result.exit_code == 1
    assert "call.jsonl, line 4: expected otherwise, got " in result.stdout
    golden.write_text("\n".join(["not JSON", *lines[1:]]))
    assert "line 1: expected not JSON, got STUN" in run("replay", "--golden", path).stdout
    golden.write_text("\n".join(lines[:-1]))
    result = run("replay", "--golden", "--json", path)
    assert "lines, the trace" in json.loads(result.stdout)["golden"]
    golden.write_bytes(b"\xff")
    assert "cannot be read" in run("replay", "--golden", path).stdout
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


def test_a_parted_replay_writes_no_golden_trace(path: Path) -> None:
    spoil(path)
    assert run("replay", "--update-golden", path).exit_code == 1
    assert not path.with_suffix(".jsonl").exists()


def test_options_that_exclude_each_other(path: Path) -> None:
    assert run("replay", "--golden", "--update-golden", path).exit_code == 2
    assert run("replay", "--golden", "--show-addresses", path).exit_code == 2


def test_help_names_every_exit_status() -> None:
    for command, statuses in (("replay", "012"), ("inspect", "02")):
        text = run(command, "--help").stdout
        for status in statuses:
            assert f"\n    {status}  " in text
    assert "replay" in run("--help").stdout


def test_inspect_tells_any_capture(path: Path) -> None:
    result = run("inspect", path)
    assert result.exit_code == 0
    assert "A → B  STUN Binding request" in result.stdout
    told = [json.loads(line) for line in run("inspect", "--json", path).stdout.splitlines()]
    assert [line["packet"] for line in told] == list(range(1, len(told) + 1))
    assert told[0]["kind"] == "stun"
    assert "192.0.2.33:50000" in run("inspect", "--show-addresses", path).stdout
    assert f"{path}:" in run("inspect", path, path).stdout


def test_inspect_tells_what_stands_before_the_break(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])
    result = run("inspect", path)
    assert result.exit_code == 2
    assert "STUN Binding request" in result.stdout
    assert "cut short" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.corpus
def test_inspect_tells_captures_of_browsers() -> None:
    path = corpus_path("pcaps", "own-captures", "ch_avd_lite_dual.pcap")
    result = run("inspect", path)
    assert result.exit_code == 0
    for words in ("versions 0xfefc/0xfefd", "flight 4: ServerHello", "flight 5: ", "SRTP"):
        assert words in result.stdout
    mixed = run("inspect", corpus_path("pcaps", "ntop-nDPI", "whatsapp.pcap"))
    assert "packets that are not UDP" in mixed.stderr
    assert (
        "protocol 6"
        in run("inspect", "--all", corpus_path("pcaps", "ntop-nDPI", "whatsapp.pcap")).stdout
    )


def test_without_the_extra_the_program_says_what_it_needs() -> None:
    block = "import sys; sys.modules['scapy'] = None; import conformance.__main__"
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    assert done.stderr.startswith("conformance needs scapy")
    assert "stunroute[conformance]" in done.stderr
    assert "Traceback" not in done.stderr


def test_only_one_module_knows_scapy() -> None:
    """Scapy's licence is not ours: it stays in one optional room."""
    importing = re.compile(r"^\s*(from|import) scapy", re.MULTILINE)
    sources = [
        path
        for package in ("stunroute", "transceiver", "conformance")
        for path in (ROOT / package).rglob("*.py")
        if importing.search(path.read_text(encoding="utf-8"))
    ]
    assert [path.name for path in sources] == ["capture.py"]
