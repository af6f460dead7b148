"""Servers that begin or end an SCTP association in another way than they say."""

from collections.abc import Iterator
from typing import Any

import attrs

from transceiver.sctp import greeting, handshake
from transceiver.sctp.block import Block
from transceiver.sctp.causes import UserAbort
from transceiver.sctp.chunks import InitAck
from transceiver.sctp.parameters import ZeroChecksumAcceptable

from .model import mutant, swapped


@mutant(
    "data/another-cause",
    "It ends an association because of DATA without a payload, and names another cause.",
    killer="rfc9260/6.2/no-user-data",
)
def another_cause() -> Iterator[None]:
    abort = Block.abort

    def otherwise(block: Block, cause: Any, reason: str) -> None:
        abort(block, UserAbort("no"), reason)

    with swapped(Block, "abort", otherwise):
        yield


@mutant(
    "data/gone-without-a-word",
    "An association that it gives up is over, and nobody is told.",
    killer="rfc9260/12.4/sack-for-what-was-never-sent",
)
def gone_without_a_word() -> Iterator[None]:
    def silently(block: Block, cause: Any, reason: str) -> None:
        block.end(reason, by_peer=False)

    with swapped(Block, "abort", silently):
        yield


@mutant(
    "data/zero-checksum-taken-unsaid",
    "It takes packets without a checksum and does not say so in its INIT ACK.",
    killer="traps/sctp/init-without-a-checksum",
)
def zero_checksum_taken_unsaid() -> Iterator[None]:
    make = handshake.make_init_ack

    def make_init_ack(*what: Any, **more: Any) -> InitAck:
        made = make(*what, **more)
        kept = [each for each in made.parameters if each != ZeroChecksumAcceptable()]
        return attrs.evolve(made, parameters=tuple(kept))

    with swapped(greeting, "make_init_ack", make_init_ack):
        yield
