"""``stunroute store``."""

import tomllib

from click.testing import CliRunner

from stunroute.__main__ import main
from stunroute.settings import StoreSettings


def test_a_key_is_fresh_and_long_enough() -> None:
    keys = {
        tomllib.loads(CliRunner().invoke(main, ["store", "keygen"]).stdout)["key"] for _ in range(3)
    }
    assert len(keys) == 3
    for key in keys:
        assert len(bytes.fromhex(key)) == 32
        StoreSettings("redis://localhost", bytes.fromhex(key))
