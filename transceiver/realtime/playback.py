"""Which response is being heard.

Responses are made faster than they are heard, so several may wait to be heard while their making is
long over. Whoever paces the sound knows utterances, one after the other, and not what they are part
of; this is the list that says it. A client is told once per response that its sound began and that
it ended, the latter not before the response itself is done.
"""

from collections import deque

from attrs import define, field

_LONGEST = 256
"""Utterances that wait to be heard; the oldest is forgotten."""


@define(slots=True)
class Utterance:
    """Sound of one item. ``response`` is None where nobody asked to be told."""

    response: str | None
    item: str = ""
    part: int = 0
    complete: bool = False
    """Whether all of it has been queued."""
    begun: bool = False
    """Whether it is being sent."""
    done: bool = False
    """Whether its response is done."""


@define(slots=True)
class Cleared:
    """What was silenced. ``responses`` are those whose sound waited or went out, ``utterances`` all
    that were cut, the one being heard first, if any."""

    responses: tuple[str, ...]
    utterances: tuple[Utterance, ...]


@define(slots=True)
class Playback:
    """The utterances that wait to be heard, oldest first."""

    _waiting: deque[Utterance] = field(init=False, factory=deque)
    _sounding: str | None = field(init=False, default=None)
    """The response whose sound has begun and not ended, for all the client knows."""
    _done: bool = field(init=False, default=True)
    """Whether that response is done."""

    @property
    def busy(self) -> bool:
        """Whether anything is being heard, or waits to be."""
        return bool(self._waiting)

    @property
    def open(self) -> Utterance | None:
        """The utterance that is still growing."""
        return self._waiting[-1] if self._waiting and not self._waiting[-1].complete else None

    def begin(self, response: str | None, item: str = "", part: int = 0) -> None:
        """A new utterance, after the others, which are complete."""
        if len(self._waiting) >= _LONGEST:
            self._waiting.popleft()
        self._waiting.append(Utterance(response, item, part))

    def complete(self) -> bool:
        """The growing utterance is whole; whether there was one."""
        growing = self.open
        if growing is not None:
            growing.complete = True
        return growing is not None

    def started(self) -> tuple[str | None, str | None]:
        """The next utterance is being sent. The response that has therefore ended (another's sound
        begins before its own was known to end), and the one to say ``started`` of."""
        if not self._waiting:
            return None, None
        current = self._waiting[0]
        current.begun = True
        if current.response is None or current.response == self._sounding:
            return None, None
        ended, self._sounding = self._sounding, current.response
        self._done = current.done
        return ended, current.response

    def ended(self) -> tuple[Utterance | None, str | None]:
        """The current utterance has been sent to its end. It, and the response to say ``stopped``
        of if there is one."""
        utterance = self._waiting.popleft() if self._waiting else None
        return utterance, self._stop()

    def response_done(self, response: str) -> str | None:
        """A response is done. It, if ``stopped`` is to be said of it now."""
        for waiting in self._waiting:
            waiting.done = waiting.done or waiting.response == response
        if response != self._sounding:
            return None
        self._done = True
        return self._stop()

    def _stop(self) -> str | None:
        sounding = self._sounding
        if sounding is None or not self._done:
            return None
        if any(waiting.response == sounding for waiting in self._waiting):
            return None
        self._sounding = None
        return sounding

    def clear(self) -> Cleared:
        """Nothing waits any more."""
        utterances = tuple(self._waiting)
        said = [waiting.response for waiting in utterances]
        if self._sounding is not None:
            said.insert(0, self._sounding)
        responses = tuple(dict.fromkeys(name for name in said if name is not None))
        self._waiting.clear()
        self._sounding = None
        return Cleared(responses, utterances)
