"""How inputs are read, altered, and cut out of what others have recorded."""

import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.fuzz import corpus, operations, smoke
from conformance.fuzz.catalogue import targets
from conformance.fuzz.mutate import Dice, mutated, mutated_operations
from conformance.fuzz.seeds import MOST, Seeds, dtls_records
from corpus import corpus_path
from fuzzing import FRAGILE, seeds
from stunroute import stun
from transceiver.dtls import record

_rows = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=50)), max_size=operations.MOST)


@given(st.integers(0, 255), _rows)
def test_a_row_is_read_as_it_was_written(setting: int, row: list[operations.Operation]) -> None:
    assert operations.decode(operations.encode(setting, row)) == (setting, row)


@given(st.binary(max_size=300))
def test_all_bytes_are_a_row(data: bytes) -> None:
    setting, row = operations.decode(data)
    assert operations.decode(operations.encode(setting, row)) == (setting, row)
    assert len(row) <= operations.MOST


def test_dice_are_the_same_everywhere() -> None:
    dice = Dice(0)
    assert [hex(dice.roll()) for _ in range(2)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]
    assert dice.below(0) == 0
    assert dice.take([]) == b""
    assert len(dice.octets(13)) == 13


@given(st.binary(max_size=80), st.integers(0, 1 << 64), st.lists(st.binary(max_size=20)))
def test_mutations_hang_on_the_dice_alone(data: bytes, seed: int, others: list[bytes]) -> None:
    one = mutated(data, Dice(seed), 64, others)
    assert one == mutated(data, Dice(seed), 64, others)
    assert len(one) <= 64


@given(st.integers(0, 255), _rows, st.integers(0, 1 << 64))
def test_a_mutated_row_is_a_row(setting: int, row: list[operations.Operation], seed: int) -> None:
    data = operations.encode(setting, row)
    found = mutated_operations(data, Dice(seed), 5000, lambda one, _: one[::-1], [data])
    assert operations.encode(*operations.decode(found)) == found


def test_mutations_do_change_things() -> None:
    changed = {mutated(b"0123456789", Dice(seed), 64) for seed in range(200)}
    assert len(changed) > 150
    row = operations.encode(0, [(1, b"one"), (2, b"two")])
    same = lambda one, _: one  # noqa: E731
    rows = {mutated_operations(row, Dice(seed), 64, same, [row]) for seed in range(200)}
    assert len(rows) > 50


def test_the_same_inputs_come_every_time() -> None:
    for target in (FRAGILE, targets()["core.ice"]):
        found = seeds().of(target.seeds)
        first = list(smoke.inputs(target, found, 90))
        assert first == list(smoke.inputs(target, found, 90))
        assert len(first) == 90
        assert all(len(data) <= target.length for data in first)


def test_a_datagram_is_entered_with_its_parts() -> None:
    found = Seeds()
    hello = next(iter(seeds().of("fragment")))
    check = stun.build(1, stun.MessageClass.REQUEST, bytes(12), [(6, b"abcd:efgh")])
    leg = b"\x56\xec" + bytes(36)
    found.add_datagrams([leg + check, record.encode(22, 0, hello), b"\x80\x00" + bytes(20)])
    assert found.of("stun") == [check]
    assert found.of("ufrag") == [b"abcd"]
    assert b"abcd:efgh" in found.of("value")
    assert found.of("fragment") == [hello]
    assert found.of("rtp") == [b"\x80\x00" + bytes(20)]
    assert len(found.of("leg")) == 1
    assert operations.decode(found.of("rtp-row")[0]) == (0, [(0, b"\x80\x00" + bytes(20))])


def test_seeds_of_a_kind_are_bounded_and_taken_evenly() -> None:
    found = Seeds()
    found.add("rtp", *(number.to_bytes(2, "big") for number in range(MOST * 5)))
    chosen = [int.from_bytes(data, "big") for data in found.of("rtp")]
    assert len(chosen) <= MOST
    assert chosen[-1] > MOST * 4
    assert found.of("nothing") == []


def test_captures_give_parts_of_handshakes() -> None:
    for kind in ("hello", "certificate", "extensions", "rtcp", "sdp", "capture", "sidecar"):
        assert seeds().of(kind), kind


def test_records_are_found_in_other_framings() -> None:
    one, other = record.encode(22, 5, b"abc"), record.encode(20, 6, b"\x01")
    assert list(dtls_records(b"\x00\x00junk\xfe" + one + b"\xff\xfe" + other + b"\x16\xfe")) == [
        one,
        other,
    ]


def test_the_forms_that_others_keep_their_inputs_in(tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_bytes(b'go test fuzz v1\n[]byte("\\x00A\\"\\n\xc3\xa4")\nint(5)\n[]byte("\\q\\")')
    assert next(iter(corpus._contents(go))) == b'\x00A"\n\xc3\xa4'
    digits = tmp_path / "one.hex"
    digits.write_text("00 ff\n")
    assert list(corpus._contents(digits)) == [b"\x00\xff"]
    digits.write_text("nonsense")
    assert list(corpus._contents(digits)) == []
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a", b"first")
    assert list(corpus._contents(tmp_path / "two.zip")) == [b"first"]


@pytest.mark.corpus
def test_every_folder_of_the_corpus_gives_seeds() -> None:
    root = corpus_path("fuzz")
    for folder, read in corpus.FOLDERS.items():
        found = Seeds()
        for path in sorted(path for path in (root / folder).rglob("*") if path.is_file())[:80]:
            for data in corpus._contents(path):
                read(found, data)
        assert sum(found.kinds().values()), folder
