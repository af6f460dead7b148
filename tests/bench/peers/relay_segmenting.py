"""The relay program with segmentation offload toward the transceivers: an experiment.

    python tests/bench/peers/relay_segmenting.py equal|sorted relay --config FILE

*equal*: a batch that is all of one length and for one next hop is one message, others are sent as
ever. *sorted*: a batch for one next hop with one packet per flow is put in the order of its
lengths, and what is equally long shares a message, with one shorter packet at its end.
"""

import socket
import sys
from struct import Struct
from typing import Any

import stunroute.udp.batched as batched
from stunroute.__main__ import main
from stunroute.udp.batch import BATCH, NAME_LENGTH, STRIDE, send_all

UDP_SEGMENT = 103  # linux/udp.h
HEADER = 38
CONTROL = Struct("<QiiH6x")
LENGTHS = [length.to_bytes(8, "little") for length in range(STRIDE)]
MESSAGE = 8  # 64-bit words of a struct mmsghdr


class Segmenting(batched._Uplink):
    """A public socket whose batches go out in as few messages as may be."""

    sorting = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        arena = self.arena
        self._controls_at = arena.take(CONTROL.size * BATCH)
        self._vectors_at = arena.take(32 * BATCH)
        self._vectors = arena.words(self._vectors_at, 32 * BATCH)
        self._grouped = batched.Port(self, self.adapter.bound.inner).sent  # type: ignore[attr-defined]
        self._slots = [
            b"".join(
                word.to_bytes(8, "little")
                for word in (
                    arena.address(self.records_at + n * self.record_length),
                    HEADER,
                    arena.address(self.buffers_at + n * STRIDE),
                )
            )
            for n in range(BATCH)
        ]
        words = self._grouped.words
        for n in range(BATCH):
            words[MESSAGE * n] = arena.address(self.records_at + self.name_at)
            words[MESSAGE * n + 4] = arena.address(self._controls_at + n * CONTROL.size)

    def _send_batch(self, cut: Any, records: bytes, received: bytes) -> memoryview:
        count = cut.count
        name = records[self.name_at : self.name_at + NAME_LENGTH]
        lengths = memoryview(received).cast("H")
        if count < 2 or records.count(name) != count:
            return super()._send_batch(cut, records, received)
        sizes = lengths.tolist()
        if sizes.count(sizes[0]) == count:
            order = list(range(count))
        elif self.sorting and len(set(cut.keys())) == count:
            order = sorted(range(count), key=sizes.__getitem__, reverse=True)
        else:
            return super()._send_batch(cut, records, received)
        cut.records[:] = records
        pieces = [b""] * (2 * count)
        pieces[::2] = [self._slots[n] for n in order]
        pieces[1::2] = [LENGTHS[sizes[n]] for n in order]
        self._vectors[: 4 * count] = memoryview(b"".join(pieces)).cast("Q")
        self._send_groups([sizes[n] for n in order])
        return lengths

    def _send_groups(self, lengths: list[int]) -> None:
        words, start, messages = self._grouped.words, 0, 0
        count = len(lengths)
        while start < count:
            length = lengths[start]
            end = min(start + lengths.count(length) + 1, count)
            at = self._controls_at + messages * CONTROL.size
            CONTROL.pack_into(self.arena.view, at, 18, socket.SOL_UDP, UDP_SEGMENT, HEADER + length)
            word = MESSAGE * messages
            words[word + 2] = self.arena.address(self._vectors_at + 32 * start)
            words[word + 3] = 2 * (end - start)
            words[word + 5] = CONTROL.size if end - start > 1 else 0
            start, messages = end, messages + 1
        sent = send_all(self.send, self._grouped, messages)
        self.errors += sent.refused


if __name__ == "__main__":
    Segmenting.sorting = sys.argv.pop(1) == "sorted"
    batched._Uplink = Segmenting  # type: ignore[misc]
    sys.exit(main())
