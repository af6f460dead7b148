"""What commands have in common."""

import subprocess
import sys
from pathlib import Path

import pytest

from stunroute.commands import common

ROOT = Path(common.__file__).parents[2]
HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
from stunroute.__main__ import main
main({arguments!r}, prog_name="stunroute")
"""
SETTINGS = f"""
inner = "127.0.0.1:0"
[[listen]]
bind = "127.0.0.1:0"
[[hint.configurations]]
id = "0"
routing_key = "{"ab" * 16}"
[operations]
http = "127.0.0.1:0"
"""


def without(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    code = HIDE.format(module=module, arguments=list(arguments))
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )


@pytest.mark.parametrize("module", ["prometheus_client", "starlette", "uvicorn"])
def test_metrics_without_their_extra(tmp_path: Path, module: str) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(SETTINGS)
    done = without(module, "relay", "--config", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"stunroute: needs {module}; install the extra: pip install 'stunroute[operations]'\n"
    )


def test_top_without_its_extra(tmp_path: Path) -> None:
    done = without("rich", "top", "--admin", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "stunroute[operations]" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_store_without_its_extra(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    store = f'[store]\nurl = "redis://:open-sesame@127.0.0.1"\nkey = "{"cd" * 32}"\n'
    path.write_text(SETTINGS + store)
    done = without("redis", "relay", "--config", str(path))
    assert done.returncode == 2
    assert "stunroute[store]" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "sesame" not in done.stderr


@pytest.mark.parametrize("command", [("hint", "keygen"), ("store", "keygen"), ("--help",)])
@pytest.mark.parametrize("module", sorted(common.EXTRAS))
def test_what_needs_no_extra_does_without(module: str, command: tuple[str, ...]) -> None:
    assert without(module, *command).returncode == 0


def test_another_missing_module_is_a_defect_and_not_hidden() -> None:
    done = without("cattrs", "hint", "keygen")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
