"""Which TSNs have come (RFC 9260 sections 3.3.4 and 6.2).

All up to one, the cumulative TSN, and beyond it some blocks. The blocks are kept as the SACK shows
them, sorted and never adjacent, so that a thousand chunks behind one loss are one entry. TSNs are
unwrapped here (see ``serial``).
"""

from bisect import bisect_right

from attrs import define, field


@define(slots=True, eq=False)
class Tsns:
    """``cumulative`` is the last TSN before the first gap."""

    cumulative: int
    _firsts: list[int] = field(factory=list, init=False)
    _lasts: list[int] = field(factory=list, init=False)

    @property
    def has_gaps(self) -> bool:
        return bool(self._firsts)

    def has(self, tsn: int) -> bool:
        if tsn <= self.cumulative:
            return True
        if not self._firsts:
            return False
        block = bisect_right(self._firsts, tsn) - 1
        return block >= 0 and tsn <= self._lasts[block]

    def advance(self) -> None:
        """The TSN behind the cumulative one has come."""
        self.cumulative += 1
        if self._firsts:
            self._absorb()

    def _absorb(self) -> None:
        """Blocks that the cumulative TSN has reached are no longer beyond a gap."""
        firsts, lasts = self._firsts, self._lasts
        done = bisect_right(firsts, self.cumulative + 1)
        if done:
            self.cumulative = max(self.cumulative, lasts[done - 1])
            del firsts[:done], lasts[:done]

    def note(self, tsn: int) -> None:
        """``tsn`` has come, which lies beyond a gap and had not come before."""
        firsts, lasts = self._firsts, self._lasts
        if not firsts or tsn > lasts[-1] + 1:
            firsts.append(tsn)
            lasts.append(tsn)
            return
        behind = bisect_right(firsts, tsn)
        follows = behind > 0 and lasts[behind - 1] == tsn - 1
        precedes = behind < len(firsts) and firsts[behind] == tsn + 1
        if follows and precedes:
            lasts[behind - 1] = lasts[behind]
            del firsts[behind], lasts[behind]
        elif follows:
            lasts[behind - 1] = tsn
        elif precedes:
            firsts[behind] = tsn
        else:
            firsts.insert(behind, tsn)
            lasts.insert(behind, tsn)

    def forward(self, tsn: int) -> None:
        """Count everything up to ``tsn``, which lies ahead of the cumulative TSN, as come."""
        self.cumulative = tsn
        self._absorb()

    def gaps(self, most: int) -> tuple[tuple[int, int], ...]:
        """The first blocks, ``most`` at most, as offsets from the cumulative TSN."""
        base = self.cumulative
        return tuple(
            (first - base, last - base)
            for first, last in zip(self._firsts[:most], self._lasts, strict=False)
        )
