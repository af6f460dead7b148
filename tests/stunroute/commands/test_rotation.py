"""A change of hint keys: its dates, its ids, and the file it is written into."""

import itertools
import tomllib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stunroute.commands import rotation
from stunroute.commands.rotation import IDENTIFIERS, configurations_of, edited, plan
from stunroute.errors import ConfigError
from stunroute.hint import Hint
from stunroute.settings import Configuration, Hints
from stunroute.trace import Drop

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
LEAD = timedelta(minutes=10)
KEEP = timedelta(hours=1, minutes=10)


def at(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


_numbers = itertools.count(1)


def fresh(n: int) -> bytes:
    return next(_numbers).to_bytes(n, "big")


def known(identifier: str = "0", **times: datetime) -> Configuration:
    return Configuration(identifier, fresh(16), fresh(32), **times)


def planned(*entries: Configuration, **options: object) -> rotation.Rotation:
    facts = {"now": NOW, "lead": LEAD, "keep": KEEP, "entropy": fresh} | options
    return plan(entries, **facts)  # type: ignore[arg-type]


def applied(entries: tuple[Configuration, ...], done: rotation.Rotation) -> Hints:
    """What relays and transceivers have after a rotation."""
    text = "".join(map(rotation.table, entries))
    return Hints(configurations_of(edited(text, done)))


# --- dates ----------------------------------------------------------------------------------------


def test_the_three_dates() -> None:
    done = planned(known())
    assert done.fresh.read_from == NOW
    assert done.fresh.mint_from == NOW + LEAD
    assert done.fresh.read_until is None
    assert done.ends == {"0": NOW + LEAD + KEEP}
    assert done.gap is None


def test_no_call_notices_a_rotation() -> None:
    """A call begun at any time, and as long as one may be, is read by relays all its life, however
    late within the lead the two of them got the new settings."""
    entries = (known(),)
    before = Hints(entries)
    after = applied(entries, planned(*entries))
    for minutes in range(180):
        begin = minutes * 60.0
        wall = NOW.timestamp()
        minter = (before if minutes < LEAD.seconds // 60 else after).keyring(wall=wall, now=0.0)
        ufrag = minter.mint(1, 1, fresh, begin).encode()
        for age in (0.0, 600.0, 3600.0, KEEP.total_seconds() - 1):
            # From the end of the lead on, all have the new settings.
            hints = after if begin + age >= LEAD.total_seconds() else before
            reader = hints.keyring(wall=wall, now=0.0)
            assert isinstance(reader.decode_untrusted(ufrag, begin + age), Hint), (minutes, age)


def test_the_former_keys_end() -> None:
    entries = (known(),)
    ring = applied(entries, planned(*entries)).keyring(wall=NOW.timestamp(), now=0.0)
    old = Hints(entries).keyring(wall=NOW.timestamp(), now=0.0).mint(1, 1, fresh, 0.0).encode()
    end = (LEAD + KEEP).total_seconds()
    assert isinstance(ring.decode_untrusted(old, end - 1), Hint)
    assert ring.decode_untrusted(old, end) is Drop.HINT_OUTSIDE_WINDOW


def test_an_earlier_end_stays() -> None:
    done = planned(known("0", read_until=at(0.5)), known("1"))
    assert done.ends == {"1": NOW + LEAD + KEEP}


def test_a_rotation_that_is_under_way_is_let_end() -> None:
    with pytest.raises(ConfigError, match="'1' is not minted under before 2026-11-01T13:00:00Z"):
        planned(known("0"), known("1", read_from=NOW, mint_from=at(1)))
    with pytest.raises(ConfigError, match="let that rotation end"):
        planned(known("0"), known("1", read_from=at(1)))


def test_a_gap_in_minting_is_told() -> None:
    done = planned(known("0", read_until=NOW + timedelta(minutes=3)))
    assert done.gap == (NOW + timedelta(minutes=3), NOW + LEAD)
    assert "Nothing can be minted" in rotation.instructions(done)[-1]
    assert planned(known("0", read_until=at(-1))).gap == (NOW, NOW + LEAD)


# --- ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("last", "follows"), [("0", "1"), ("9", "a"), ("x", "y"), ("y", "0")])
def test_ids_follow_in_turn(last: str, follows: str) -> None:
    assert planned(known(last)).fresh.id == follows


def test_an_id_in_use_is_passed_over_or_refused() -> None:
    entries = (known("1", read_until=at(-5)), known("0"))
    assert planned(*entries).fresh.id == "2"
    with pytest.raises(ConfigError, match="'1' is in use"):
        planned(*entries, identifier="1")
    assert planned(*entries, identifier="k").fresh.id == "k"
    for bad in ("z", "ab", "", "A"):
        with pytest.raises(ConfigError, match="not one character"):
            planned(*entries, identifier=bad)


def test_35_ids_are_all_there_are() -> None:
    entries = [known(identifier) for identifier in IDENTIFIERS]
    with pytest.raises(ConfigError, match="all 35 are in use"):
        planned(*entries)
    ended = [known(identifier, read_until=at(-1)) for identifier in IDENTIFIERS]
    with pytest.raises(ConfigError, match="--prune"):
        planned(*ended)
    assert planned(*ended, prune=True).fresh.id == "0"


def test_prune_lets_go_of_those_that_have_ended_alone() -> None:
    entries = (known("0", read_until=at(-1)), known("1", read_until=at(1)), known("2"))
    done = planned(*entries, prune=True)
    assert done.removed == ("0",)
    assert [entry.id for entry in applied(entries, done).configurations] == ["1", "2", "3"]
    assert planned(*entries).removed == ()


@settings(max_examples=10)
@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=40))
def test_any_rotations_one_after_the_other(steps: list[tuple[int, bool]]) -> None:
    """No id comes back while a call under it may live, there is always something to mint under,
    and what was minted before a step is read after it."""
    text = "# of a relay\n" + rotation.table(known())
    now = NOW
    for hours, prune in steps:
        now += timedelta(hours=hours)
        before = configurations_of(text)
        if len(before) == len(IDENTIFIERS) and not prune:
            with pytest.raises(ConfigError, match="--prune"):
                planned(*before, now=now)
            return
        done = planned(*before, now=now, prune=prune)
        assert done.gap is None
        assert done.fresh.id not in {entry.id for entry in done.former}
        text = edited(text, done)
        wall = now.timestamp()
        ring = Hints(before).keyring(wall=wall, now=0.0)
        ufrag = ring.mint(1, 1, fresh, 0.0).encode()
        after = Hints(configurations_of(text)).keyring(wall=wall, now=0.0)
        assert isinstance(after.decode_untrusted(ufrag, KEEP.total_seconds()), Hint)
        assert after.mint(1, 1, fresh, LEAD.total_seconds())[0] == done.fresh.id


# --- the file -------------------------------------------------------------------------------------

FILE = """\
# The relay of the east.
inner = "10.0.0.5:4000"

[[listen]]
bind = "0.0.0.0:3478"

# Made in spring.
[[hint.configurations]]  # the first
id = "0"
routing_key = "000102030405060708090a0b0c0d0e0f"
password_key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
# It has no end.

# Where nodes are.
[[directory.nodes]]
cluster = 1
node = 7
address = "10.0.0.7:4000"

# The last line has no end either.
[limits]
flows = 5"""


def test_comments_stay_where_they_were() -> None:
    done = planned(*configurations_of(FILE))
    text = edited(FILE, done)
    written = iter(text.splitlines())
    assert all(line in written for line in FILE.splitlines())  # each, and in their order
    end = f"read_until = {rotation.iso(NOW + LEAD + KEEP)}\n"
    assert f'1d1e1f"\n{end}# It has no end.' in text
    assert text.endswith(rotation.table(done.fresh))


def test_an_end_that_is_there_is_replaced() -> None:
    text = FILE.replace("# It has no end.", "read_until = 2030-01-01T00:00:00Z  # far away")
    done = planned(*configurations_of(text))
    assert edited(text, done).count("read_until") == 1


def test_comments_above_the_table_behind_one_that_goes_stay() -> None:
    text = FILE.replace("# It has no end.", "read_until = 2026-01-01T00:00:00Z")
    text = text.replace("[limits]", rotation.table(known("1")) + "[limits]")
    done = planned(*configurations_of(text), prune=True)
    after = edited(text, done)
    assert "# Where nodes are.\n[[directory.nodes]]" in after
    assert "000102030405060708090a0b0c0d0e0f" not in after
    assert [entry.id for entry in configurations_of(after)] == ["1", "2"]


@pytest.mark.parametrize(
    "text",
    [
        'hint = { configurations = [{ id = "0", routing_key = "' + "ab" * 16 + '" }] }\n',
        '[hint]\nconfigurations = [{ id = "0", routing_key = "' + "ab" * 16 + '" }]\n',
    ],
)
def test_a_form_that_cannot_be_edited_is_refused(text: str) -> None:
    done = planned(*configurations_of(text))
    with pytest.raises(ConfigError, match="by hand"):
        edited(text, done)


def test_a_header_within_a_string_deceives_nobody() -> None:
    text = FILE.replace("[limits]", 'x = """\n[[hint.configurations]]\n"""\n[limits]')
    done = planned(*configurations_of(text))
    try:
        after = edited(text, done)
    except ConfigError:
        return
    assert tomllib.loads(after)["hint"]["configurations"][0]["read_until"]


def test_a_file_with_line_ends_of_another_system() -> None:
    text = FILE.replace("\n", "\r\n")
    done = planned(*configurations_of(text))
    assert len(configurations_of(edited(text, done))) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("inner = [", "are not TOML"),
        ("", "missing"),
        ("[hint]\nconfigurations = []", "is empty"),
        ('[[hint.configurations]]\nid = "0"\n', "routing_key"),
        (rotation.table(known("a")) * 2, "taken"),
    ],
)
def test_files_that_make_no_sense(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        configurations_of(text)


def test_what_is_said_holds_no_keys() -> None:
    entries = (known("0", read_until=at(-1)), known("1"))
    done = planned(*entries, prune=True)
    text = "\n".join(rotation.instructions(done)) + repr(done)
    for entry in (*entries, done.fresh):
        assert entry.routing_key.hex() not in text
        assert entry.password_key is not None
        assert entry.password_key.hex() not in text
    assert "2026-11-01T12:10:00Z" in text
    assert "Configuration 0 has ended" in text
