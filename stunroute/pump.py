"""Draining a core.

A core has two verbs in (``receive_datagram``, ``handle_timeout``) and three out
(``next_transmit``, ``next_event``, ``next_timeout``). After every verb in, whoever drives the core
asks the three out until they have nothing more to say. Who drives one by hand, as tests do, calls
``pump`` for that. The transceiver's adapter and replay ask by themselves: the one has a batch of
inputs to drain between two calls to the kernel, and tells its applications of events before it
fetches datagrams, so that their answers may share them; the other compares each thing as it comes.
"""

from typing import Generic, Protocol, TypeVar

from attrs import frozen

from .instant import Instant

T_co = TypeVar("T_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)
T = TypeVar("T")
E = TypeVar("E")


class Core(Protocol[T_co, E_co]):
    """The three verbs out. ``next_timeout`` is a pure query."""

    def next_transmit(self) -> T_co | None: ...
    def next_event(self) -> E_co | None: ...
    def next_timeout(self) -> Instant | None: ...


@frozen(slots=True)
class Output(Generic[T, E]):
    """All that a core had to say: datagrams in sending order, events in the order they happened,
    and when it wants to be woken (None: only by input)."""

    transmits: list[T]
    events: list[E]
    timeout: Instant | None


def pump(core: Core[T, E]) -> Output[T, E]:
    """Drain ``core`` and return what it wants sent, what happened and its next deadline."""
    transmits: list[T] = []
    while (transmit := core.next_transmit()) is not None:
        transmits.append(transmit)
    events: list[E] = []
    while (event := core.next_event()) is not None:
        events.append(event)
    return Output(transmits, events, core.next_timeout())
