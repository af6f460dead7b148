"""``conformance run`` and its exit status."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import conformance.case
from conformance import catalogue
from conformance.__main__ import main
from conformance.case import Blocked
from conformance.commands import run as run_module
from conformance.expectations import parse
from conformance.report import as_json
from conformance.runner import run_case
from stunroute.commands import hint as hint_commands
from stunroute.hint import HintConfiguration

LENIENT = "rfc8489/9.1.3/wrong-password"
PASSING = "rfc8489/6.3.1/unknown-required-attribute"
SOME = "rfc8489/6.3.1/*"
CASES = catalogue.load()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["run", *arguments])


def test_cases_are_listed_without_asking_anybody() -> None:
    listed = run("--list", "rfc8489/9.1.3/wrong-password")
    assert listed.exit_code == 0
    assert LENIENT in listed.output
    assert PASSING not in listed.output


def test_what_passes_is_status_0() -> None:
    done = run("--memory", PASSING)
    assert done.exit_code == 0
    assert "1 case in" in done.output
    assert "1 pass" in done.output


def test_lenient_fails_only_a_strict_run() -> None:
    assert run("--memory", LENIENT).exit_code == 0
    strictly = run("--memory", "--strict", LENIENT)
    assert strictly.exit_code == 1
    assert f"conformance run --memory {LENIENT}" in strictly.output


def test_known_failures_are_told_from_others(tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    known.write_text(f'[[known]]\ncase = "{LENIENT}"\nreason = "strangers"\n')
    done = run("--memory", "--strict", "--known", str(known), LENIENT)
    assert done.exit_code == 0
    assert "strangers" in done.output


def test_a_known_failure_that_passes_is_status_3(tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    known.write_text(f'[[known]]\ncase = "{PASSING}"\nreason = "it was so"\n')
    done = run("--memory", "--known", str(known), PASSING)
    assert done.exit_code == 3
    assert "it was so" in done.output


@pytest.mark.parametrize(
    "text", [b'[[known]]\ncase = "no/such/*"\nreason = "a slip"\n', b"\xff\xfe"]
)
def test_a_file_of_known_failures_that_knows_nothing_is_status_2(tmp_path: Path, text) -> None:
    known = tmp_path / "known.toml"
    known.write_bytes(text)
    assert run("--memory", "--known", str(known), PASSING).exit_code == 2


def test_jobs_change_no_verdict() -> None:
    one, many = (run("--memory", "--all", "--jobs", jobs, "rfc8489/*") for jobs in ("1", "4"))
    cut = one.output.rindex("cases in")
    assert one.output[:cut] == many.output[: many.output.rindex("cases in")]


def test_reports_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    files = {kind: tmp_path / f"report.{kind}" for kind in ("junit", "json", "html")}
    options = [word for kind, path in files.items() for word in (f"--{kind}", str(path))]
    captures = tmp_path / "new" / "captures"
    done = run("--memory", *options, "--pcap", str(captures), PASSING, LENIENT)
    assert done.exit_code == 0, done.output
    assert files["junit"].read_text().startswith("<?xml")
    assert as_json.read(files["json"].read_text()).counts["lenient"] == 1
    assert files["html"].read_text().startswith("<!doctype html>")
    assert [path.name for path in captures.iterdir()] == ["rfc8489_9.1.3_wrong-password.pcapng"]


def test_all_captures_are_kept_when_asked_for(tmp_path: Path) -> None:
    assert run("--memory", "--pcap", str(tmp_path), "--keep-all", PASSING).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"{PASSING.replace('/', '_')}.pcapng"]


def test_keys_stand_beside_the_capture_of_a_call(tmp_path: Path) -> None:
    call = "rfc5764/3/before-dtls"
    assert run("--memory", "--pcap", str(tmp_path), "--keep-all", call).exit_code == 0
    keys = (tmp_path / "rfc5764_3_before-dtls.keys").read_text()
    assert keys.startswith("CLIENT_RANDOM ")


def test_a_rerun_is_asked_as_the_run_was_but_for_secrets() -> None:
    url = "http://127.0.0.1:1/whip"
    given = ("--header", "X-Key: hush", "--token", "hush", "--allow", "127.0.0.1:9")
    how = ("--patience", "0.25", "--longest", "5", "--anyway")
    done = run("--whip", url, *given, *how, PASSING)
    again = (
        f"conformance run --whip {url} --header 'X-Key: VALUE' --token TOKEN "
        f"--allow 127.0.0.1:9 --patience 0.25 --longest 5 {PASSING}"
    )
    assert again in done.output
    assert "hush" not in done.output


def test_a_password_in_a_url_stays_out_of_reports() -> None:
    done = run("--whip", "http://me:hush@127.0.0.1:1/whip", "--json", "-", PASSING)
    assert "hush" not in done.output
    assert "@127.0.0.1:1/whip" in done.stdout


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_who_interrupts_is_told_what_is_known(monkeypatch, jobs: str) -> None:
    asked = []

    def interrupted(case, driver, clock):
        asked.append(case)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return run_case(case, driver, clock)

    monkeypatch.setattr(run_module, "run_case", interrupted)
    done = run("--memory", "--jobs", jobs, "--json", "-", SOME)
    assert done.exit_code == 130
    assert 1 <= as_json.read(done.stdout).counts["pass"] < len(catalogue.select(CASES, [SOME]))
    assert "cases were asked" in done.stderr


def test_json_may_have_standard_output_to_itself() -> None:
    done = run("--memory", "--json", "-", PASSING)
    assert as_json.read(done.stdout).counts["pass"] == 1
    assert "1 case in" in done.stderr


def test_a_report_that_cannot_be_written_is_refused_before_anybody_is_asked() -> None:
    done = run("--memory", "--html", "/nonexistent/report.html", PASSING)
    assert done.exit_code == 2
    assert "1 case in" not in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--memory", "--simulator"),
        ("--memory", "no/such/case"),
        ("--memory", PASSING, "no/such/case"),
        ("--stun", "127.0.0.1"),
        ("--stun", "127.0.0.1:3478", "--ufrag", "x"),
        ("--stun", "no such host:1"),
        ("--whip", "http://no.such.invalid/"),
        ("--whip", "nonsense"),
        ("--whip", "http://127.0.0.1:1/", "--header", "nonsense"),
        ("--memory", "--known", "/nonexistent"),
    ],
)
def test_a_command_line_without_sense_is_status_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_server_that_is_not_there_blocks_the_cases_of_who_insists() -> None:
    done = run("--whip", "http://127.0.0.1:1/whip", "--anyway", PASSING)
    assert done.exit_code == 1
    assert "blocked" in done.output


def test_our_own_cores_are_strict_but_for_what_has_a_reason() -> None:
    """And every entry of that file is still needed."""
    path = Path(conformance.case.__file__).with_name("stunroute.toml")
    done = run("--memory", "--strict", "--known", str(path))
    assert done.exit_code == 0, done.output
    entries = parse(path.read_text()).known
    assert {entry.case for entry in entries} <= {case.name for case in catalogue.load()}


ROUTING, PASSWORD = "00" * 16, "01" * 32
RELAY = ("--relay", "127.0.0.1:9", "--next-hop", "1/7=127.0.0.1:9", "--longest", "0.01")


def keyring_of(text: str) -> tuple[HintConfiguration, ...]:
    return run_module._hint_keys(text)


def test_keys_of_hints_come_from_a_line_a_file_and_what_keygen_prints(tmp_path: Path) -> None:
    one = HintConfiguration("0", bytes(16), bytes([1]) * 32)
    routes = HintConfiguration("a", bytes(16), None)
    file = tmp_path / "hint.key"
    file.write_text(f"0:{ROUTING}:{PASSWORD}\n")
    assert keyring_of(f"0:{ROUTING}:{PASSWORD}") == keyring_of(f"@{file}") == (one,)
    assert keyring_of(f"a:{ROUTING}") == (routes,)
    printed = CliRunner().invoke(hint_commands.keygen).output
    file.write_text(printed + f'[[hint.configurations]]\nid = "a"\nrouting_key = "{ROUTING}"\n')
    first, second = keyring_of(f"@{file}")
    assert first.routing_key.hex() in printed
    assert first.password_key is not None
    assert first.password_key.hex() in printed
    assert second == routes


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("@nowhere.key", "No such file"),
        (f"0:{ROUTING}:{PASSWORD}:00", "not 3"),
        (f"0:{ROUTING}:no", "not hexadecimal"),
        (b'[hint]\nrouting_key = "00"\n', "no hint.configurations"),
        (b'routing_key = "\n', "not TOML"),
        (b'[[hint.configurations]]\nid = "0"\nrouting_key = 7\n', "hint.configurations"),
        (b'[[hint.configurations]]\nid = 0\nrouting_key = "' + b"00" * 16 + b'"\n', "id"),
        (b"\xff\xfe", "decode"),
    ],
)
def test_a_wrong_key_of_hints_is_told_with_its_reason(
    tmp_path: Path, text: str | bytes, why: str
) -> None:
    if isinstance(text, bytes):
        (tmp_path / "hint.key").write_bytes(text)
        text = f"@{tmp_path / 'hint.key'}"
    done = run(*RELAY, "--hint-key", text, "relay/edge/sha256")
    assert done.exit_code == 2
    assert why in " ".join(done.output.split())


def test_a_restart_that_cannot_be_begun_is_no_fault_of_the_relay() -> None:
    restart = run_module._restarting("/no/such/program --at all")
    with pytest.raises(Blocked, match="the relay was not restarted"):
        restart()
