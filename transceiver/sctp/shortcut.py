"""The short way of packets in.

Nearly all packets of a busy association hold DATA, a SACK without gaps, or such a SACK and DATA
behind it. These are read here with a ``struct`` call for each chunk, and their fields handed to
where they belong without a record of the packet or its chunks. Nothing is decided here that is not
decided on the long way too: what is out of the ordinary in any respect is left to that, untouched,
and the tests hold the two to the same effects.
"""

from struct import Struct
from typing import Final

from stunroute.instant import Instant

from .block import Block
from .chunks import DATA_HEADER_LENGTH, Data, Sack
from .packet import HEADER_LENGTH, checksum_matches
from .states import Established

_DATA_PACKET: Final = Struct("!HHIIBBHIHHI")
_SACK_PACKET: Final = Struct("!HHIIBBHIIHH")
_DATA: Final = Struct("!BBHIHHI")
_DATA_TYPE: Final = Data.type
_SACK_TYPE: Final = Sack.type
_SACK_LENGTH: Final = 16
_LEAST: Final = HEADER_LENGTH + _SACK_LENGTH
"""Bytes of a packet with a SACK, or with the header of a DATA chunk, which is as long."""


def receive_untrusted(
    block: Block,
    data: bytes,
    now: Instant,
    source_port: int,
    destination_port: int,
    accept_zero_checksum: bool,
) -> bool:
    """Take the packet ``data``, if it is one of these, from and to these ports. False: it is not,
    and nothing has changed."""
    size, transfer = len(data), block.transfer
    if size < _LEAST or transfer is None or block.state.__class__ is not Established:
        return False
    kind, sack = data[HEADER_LENGTH], False
    if kind == _DATA_TYPE:
        begin = _LEAST
        source, destination, tag, stated, _, flags, length, tsn, stream, ssn, ppid = (
            _DATA_PACKET.unpack_from(data)
        )
    elif kind == _SACK_TYPE:
        source, destination, tag, stated, _, _, length, cumulative, window, gaps, duplicates = (
            _SACK_PACKET.unpack_from(data)
        )
        if length != _SACK_LENGTH or gaps or duplicates:
            return False
        if block.outbound.outstanding.has_not_sent(cumulative):
            return False
        sack, begin = True, 0
        if size > _LEAST:
            begin = _LEAST + DATA_HEADER_LENGTH
            if size < begin or data[_LEAST] != _DATA_TYPE:
                return False
            _, flags, length, tsn, stream, ssn, ppid = _DATA.unpack_from(data, _LEAST)
    else:
        return False
    if tag != block.tag or source != source_port or destination != destination_port:
        return False
    if (stated or not accept_zero_checksum) and not checksum_matches(data):
        return False
    if transfer.reconfiguration.waiting:
        return False
    if begin:
        end = begin + length - DATA_HEADER_LENGTH
        # There is a payload, and behind it nothing but padding, or more chunks.
        if not begin < end <= size:
            return False
        if size > end + (-length & 3):
            found = _bundle_untrusted(data, begin - DATA_HEADER_LENGTH)
            if found is None:
                return False
            if sack:
                _receive_sack(block, cumulative, window, now)
            for chunk in found:
                drop = transfer.receive_bundled(*chunk)
                if drop is not None:
                    block.drop(drop)
            transfer.packet_read(now)
            return True
        if not transfer.receive_in_turn(tsn, stream, ssn, ppid, flags, data[begin:end], now):
            return False
    if sack:
        _receive_sack(block, cumulative, window, now)
    return True


def _receive_sack(block: Block, cumulative: int, window: int, now: Instant) -> None:
    drop = block.outbound.receive_plain_sack(cumulative, window, now)
    if drop is not None:
        block.drop(drop)


def _bundle_untrusted(
    data: bytes, offset: int
) -> list[tuple[int, int, int, int, int, bytes]] | None:
    """The DATA chunks from ``offset`` on, all of them before any is taken: a packet is
    taken whole or not at all. None: something else is among them."""
    found, size = [], len(data)
    while offset < size:
        begin = offset + DATA_HEADER_LENGTH
        if begin >= size or data[offset] != _DATA_TYPE:
            return None
        _, flags, length, tsn, stream, ssn, ppid = _DATA.unpack_from(data, offset)
        end = offset + length
        if not begin < end <= size:
            return None
        found.append((tsn, stream, ssn, ppid, flags, data[begin:end]))
        offset = end + (-length & 3)
    return found
