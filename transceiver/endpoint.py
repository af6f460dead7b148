"""All the calls behind one socket.

An endpoint finds the session a datagram belongs to, keeps their deadlines in one heap, bounds
their number, and speaks the leg to the relay: each datagram that arrives carries the header that
names its client, each that leaves carries the header that names its recipient.

*Finding the session.* A Binding request names it by our half of its USERNAME, whatever its source
address is, so an ICE restart or a second call from one address reaches the right one. Everything
else is found by the address a check has validated. SRTP from an address that nobody has validated
is offered to the sessions that know its SSRC, and its tag decides: that is a client whose NAT
has just given it a new port.

*Deadlines.* The heap may hold an entry that is earlier than what its session wants by now. Such
an entry wakes us for nothing and is put back at the right place; in exchange hardly any packet
touches the heap. Entries that nobody waits for any more (of calls that have ended, say) are thrown
out as soon as they outnumber the others.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable
from itertools import count

from attrs import evolve, field, frozen

from stunroute import demux, forward, stun
from stunroute.address import Address, Transmit
from stunroute.errors import DecodeError
from stunroute.hint import Hint, KeyRing
from stunroute.instant import Entropy, Instant
from stunroute.trace import Drop

from . import dtls, ice, journal, negotiation, sdp
from .admission import Admission
from .audio import SourceForgotten, SourceLearned
from .config import EndpointConfig
from .errors import AtCapacity, UnknownCall
from .events import AudioReceived, EndReason, Event, Phase
from .path import Path
from .report import snapshot_of
from .session import AddressValidated, Refused, Signal, UfragRetired
from .slot import Entry, Slot, remove
from .snapshot import Snapshot
from .srtp import rtcp, rtp
from .timers import Deadline

TWINS = 4
"""How many sessions of one client address, the newest, get what names none of them."""


@frozen(slots=True)
class Answered:
    """A call was opened: its id, and the SDP answer that goes back to the client."""

    call: str
    answer: str = field(repr=False)  # holds the call's password


_SPARE_ENTRIES = 64
"""Entries of the heap that may be void before it is worth looking for them."""
_HEADERS = 8
"""Headers of the leg that are remembered for a session: it has few addresses, behind few relays."""


class Endpoint:
    """See the module. ``entropy`` serves calls that bring none of their own; ``journal`` is called
    with every entry of ``transceiver.journal`` as it happens, and must not call back in."""

    def __init__(
        self,
        config: EndpointConfig,
        *,
        keyring: KeyRing,
        identity: dtls.Identity,
        entropy: Entropy,
        journal: Callable[[journal.Entry], None] | None = None,
    ) -> None:
        self.config = config
        self.drops: Counter[Drop] = Counter()
        self._admission = Admission(config, keyring, identity)
        self._entropy = entropy
        self._journal = journal
        self._draining = False
        self._slots: dict[str, Slot] = {}
        self._by_ufrag: dict[bytes, Slot] = {}
        self._by_address: dict[Address, list[Slot]] = {}
        self._by_source: dict[int, list[Slot]] = {}
        self._ways: dict[bytes, tuple[Path, Slot]] = {}  # by the leg's header
        self._heap: list[Entry] = []
        self._turn = count()
        self._transmits: deque[Transmit] = deque()
        self._saying: dict[Slot, Instant] = {}
        self._events: deque[Event] = deque()

    # --- the application's verbs --------------------------------------------------------------

    def open_call(
        self,
        offer: str,
        now: Instant,
        *,
        channel: int | None = None,
        entropy: Entropy | None = None,
    ) -> Answered:
        """Answer an SDP offer and hold a session for it. ``channel`` is the number of a data
        channel for events that the client opens without announcing it (negotiated, RFC 8832, 6);
        ``entropy`` serves this call alone.

        Raises OfferError (naming the line) and AtCapacity.
        """
        if self._draining:
            raise AtCapacity("this transceiver is draining", self.config.retry_after)
        if len(self._slots) >= self.config.sessions:
            raise AtCapacity("this transceiver is full", self.config.retry_after)
        description = sdp.parse_untrusted(offer)
        draw = entropy or self._entropy
        session, answer = self._admission.admit(
            description, draw, now, taken=self._by_ufrag, channel=channel
        )
        ufrag = session.agent.local.ufrag
        hint = self._admission.hint(ufrag, now)
        assert hint is not None, "a hint just minted is ours"
        slot = Slot(session, draw, [ufrag], hint)
        self._slots[session.call] = slot
        self._by_ufrag[ufrag] = slot
        self._note(journal.Opened(session.call, now, offer, answer, self.config.data, channel))
        self._settle(slot, now)
        return Answered(session.call, answer)

    def reoffer(self, call: str, offer: str, now: Instant) -> str:
        """Answer a further offer of a live call, which may restart ICE. Returns the SDP answer.

        Raises UnknownCall, AtCapacity, and OfferError where the offer would change more than that.
        """
        slot = self._slot(call)
        session = slot.session
        description = sdp.parse_untrusted(offer)
        self._note(journal.Acted(call, now, "reoffer", {"offer": offer}))
        fresh = session.agent.local
        if negotiation.is_restart(session.negotiated, description):
            fresh = self._admission.mint(slot.entropy, now, self._by_ufrag)
        local = session.negotiated.local.under(fresh)
        settled = negotiation.renegotiate(session.negotiated, description, local)
        session.negotiated = evolve(settled, answer=sdp.Description())
        session.audio.belongs_to(settled.mid, settled.mid_extension_id)
        if settled.restarted:
            self._restart(slot, fresh, settled.remote, now)
        if session.data is None:
            channels = self._admission.channels(settled, slot.entropy)
            if channels is not None:
                session.add_data(channels, now)
        elif settled.data is not None:
            session.data.max_message_size = settled.data.max_message_size
        self._settle(slot, now)
        return str(settled.answer)

    def restart_ice(self, call: str, fragment: str, now: Instant) -> str | None:
        """Take a fragment of SDP for a live call (RFC 8840). One with new credentials restarts ICE:
        the fragment that answers it. One with candidates alone changes nothing: None. Raises
        UnknownCall, AtCapacity, and OfferError where the fragment makes no sense."""
        slot = self._slot(call)
        session = slot.session
        read = negotiation.parse_fragment_untrusted(fragment)
        if not negotiation.is_restart_by(session.negotiated, read):
            return None
        self._act(slot, now, "restart_ice", fragment=fragment)
        fresh = self._admission.mint(slot.entropy, now, self._by_ufrag)
        local = session.negotiated.local.under(fresh)
        session.negotiated, answer = negotiation.restart_by(session.negotiated, read, local)
        self._restart(slot, fresh, session.negotiated.remote, now)
        self._settle(slot, now)
        return answer

    def _restart(
        self, slot: Slot, fresh: ice.Credentials, remote: ice.Credentials, now: Instant
    ) -> None:
        slot.ufrags.append(fresh.ufrag)
        self._by_ufrag[fresh.ufrag] = slot
        slot.session.restart_ice(fresh, remote, now)

    def ufrag(self, call: str) -> str:
        """Our half of the credentials that the call goes by since its last restart. Raises
        UnknownCall."""
        return self._slot(call).session.negotiated.local.ufrag

    def locate_untrusted(self, call: str, now: Instant) -> Hint | None:
        """Whose call an id names, None where it is no id that our keys can read."""
        prefix, _, ufrag = call.partition("_")
        if prefix != "rtc" or not ufrag.isascii():
            return None
        return self._admission.hint(ufrag.encode(), now)

    def send_audio(
        self, call: str, payload: bytes, timestamp: int, marker: bool, now: Instant
    ) -> bool:
        """Send one packet of the call's codec to the client. ``timestamp`` counts the media clock
        from any origin. False where it could not be sent (not established, the offer takes no
        audio, or more than ``session.LONGEST_PAYLOAD``). Raises UnknownCall."""
        slot = self._slots.get(call) or self._slot(call)
        session = slot.session
        if self._journal is None:  # no deadline moves, so the packet is all that follows
            route = session.route
            packet = session.seal_audio(payload, timestamp, marker, now)
            if packet is None or route is None:
                return False
            self._transmits.append(Transmit(route.header + packet, route.relay))
            return True
        self._act(slot, now, "send_audio", payload=payload, timestamp=timestamp, marker=marker)
        sent = session.send_audio(payload, timestamp, marker, now)
        self._settle(slot, now)
        return sent

    def open_channel(
        self, call: str, label: str, now: Instant, *, protocol: str = "", ordered: bool = True
    ) -> int | None:
        """Open a data channel; its number, None where the call has none (yet) or as many as it may
        have. Raises UnknownCall."""
        slot = self._slot(call)
        self._act(slot, now, "open_channel", label=label, protocol=protocol, ordered=ordered)
        channel = slot.session.open_channel(label, protocol, ordered, now)
        self._settle(slot, now)
        return channel

    def send_message(self, call: str, channel: int, message: str | bytes, now: Instant) -> bool:
        """Send on a data channel; False where it was not taken (not open, longer than the client
        takes, too much waits). Raises UnknownCall."""
        slot = self._slot(call)
        self._act(slot, now, "send_message", channel=channel, message=message)
        taken = slot.session.send_message(channel, message, now)
        self._settle(slot, now)
        return taken

    def close_channel(self, call: str, channel: int, now: Instant) -> None:
        """Close a data channel, if it is open. Raises UnknownCall."""
        slot = self._slot(call)
        self._act(slot, now, "close_channel", channel=channel)
        slot.session.close_channel(channel, now)
        self._settle(slot, now)

    def buffered_amount(self, call: str, channel: int) -> int:
        """Bytes taken on that channel that have not been sent for the first time. Raises
        UnknownCall."""
        data = self._slot(call).session.data
        return 0 if data is None else data.buffered_amount(channel)

    def close_call(self, call: str, reason: EndReason, now: Instant) -> None:
        """End a call and say goodbye to the client. Raises UnknownCall."""
        slot = self._slot(call)
        self._act(slot, now, "close_call", reason=reason.value)
        slot.session.close(reason, now)
        self._settle(slot, now)

    def end_within(self, call: str, seconds: float, now: Instant) -> None:
        """Let a call go on for at most ``seconds``. Raises UnknownCall."""
        slot = self._slot(call)
        self._act(slot, now, "end_within", seconds=seconds)
        slot.session.end_within(seconds, now)
        self._settle(slot, now)

    def reconfigure(self, config: EndpointConfig, keyring: KeyRing) -> None:
        """Open calls under ``config`` and ``keyring`` from now on, and take the leg from its
        relays. Calls that are up keep their credentials and their bounds, whatever has become of
        the keys they were minted under; an ICE restart mints under the new ones. Raises ValueError
        where the transceiver would have another name: calls that are up bear this one."""
        if (config.cluster, config.node) != (self.config.cluster, self.config.node):
            raise ValueError("a transceiver keeps its name")
        self.config = config
        for slot in self._slots.values():
            self._forget_ways(slot)  # a relay's word may not count any more
        self._admission = evolve(self._admission, config=config, keyring=keyring)

    def drain(self, within: float, now: Instant) -> None:
        """Take no more calls, and end those there are in ``within`` seconds."""
        self._draining = True
        for call in self.calls:
            self.end_within(call, within, now)

    @property
    def calls(self) -> list[str]:
        """The ids of the live calls."""
        return list(self._slots)

    def snapshot(self, call: str, now: Instant) -> Snapshot:
        """What the call looks like now. Raises UnknownCall."""
        slot = self._slot(call)
        return snapshot_of(slot.session, slot.hint, now)

    def sizes(self) -> dict[str, int]:
        """How many entries its tables and queues have, by name; none without calls."""
        tables = (*("slots", "by_ufrag", "by_address", "by_source", "ways"), "heap", "saying")
        return {name: len(getattr(self, f"_{name}")) for name in tables}

    def _slot(self, call: str) -> Slot:
        try:
            return self._slots[call]
        except KeyError:
            raise UnknownCall(f"no call {call!r} here") from None

    # --- in -----------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, address: Address, now: Instant) -> None:
        """A datagram from the leg: ``data`` begins with its header, ``address`` is the relay's."""
        event = self.take_datagram(data, address, now)
        if event is not None:
            self._tell(event)

    def take_datagram(self, data: bytes, address: Address, now: Instant) -> AudioReceived | None:
        """``receive_datagram`` for who has fetched all events and delivers this one at once: where
        audio is all that follows it is returned, and waits in no queue.

        Nearly all datagrams are audio, from an address of one session. So the answer to a header is
        kept, and such a packet's way is short: what its session says of it is an event and no more.
        """
        header, payload = data[: forward.HEADER_LENGTH], data[forward.HEADER_LENGTH :]
        way = self._ways.get(header)
        if way is None or way[0].relay != address or self._journal is not None:
            self._receive_leg(header, payload, address, now)
            return None
        path, slot = way
        kind = demux.classify(payload)
        if kind is demux.Kind.RTP:
            event = slot.session.receive_rtp(payload, path, now)
            if event is None:
                self._settle(slot, now)
            return event
        if kind is demux.Kind.DTLS:
            self._let_say()
            slot.session.receive_datagram(payload, path, now)
            self._settle(slot, now)
        else:
            self._receive(payload, path, now)
        return None

    def _receive_leg(self, header: bytes, payload: bytes, address: Address, now: Instant) -> None:
        if address not in self.config.relays:
            return self._drop(Drop.LEG_STRANGER)
        try:
            leg = forward.decode_untrusted(header)
        except DecodeError:
            return self._drop(Drop.LEG_MALFORMED)
        path = Path(leg.client, leg.proxy, address)
        self._receive(payload, path, now)
        return self._remember_way(header, path)

    def _remember_way(self, header: bytes, path: Path) -> None:
        """Keep what a header came to, until anything changes in who is at its client's address."""
        at_address = self._by_address.get(path.client, ())
        if len(at_address) == 1:
            (slot,) = at_address
            if len(slot.headers) >= _HEADERS:
                self._forget_ways(slot)
            slot.headers.append(header)
            self._ways[header] = path, slot

    def _forget_ways(self, slot: Slot) -> None:
        for header in slot.headers:
            self._ways.pop(header, None)
        slot.headers.clear()

    def _receive(self, payload: bytes, path: Path, now: Instant) -> None:
        self._let_say()
        found = self._find(payload, path)
        if isinstance(found, Drop):
            self._note(journal.Dropped("", now, found, path.client))
            return self._drop(found)
        for slot in found:
            if self._journal is not None:
                self._journal(journal.Received(slot.session.call, now, path, payload))
            slot.session.receive_datagram(payload, path, now)
            self._settle(slot, now)
        return None

    def _find(self, payload: bytes, path: Path) -> list[Slot] | Drop:
        """Whose datagram this is. Pure. Where several sessions were validated at one address and
        the packet names none of them, all are asked (the newest few): what is not its own a session
        drops as it drops a stranger's, while a choice made here could be the wrong one, and made so
        by whoever can forge the address."""
        kind = demux.classify(payload)
        at_address = self._by_address.get(path.client, [])[-TWINS:]
        match kind:
            case demux.Kind.STUN:
                username = stun.peek_username_untrusted(payload)
                if username is not None:
                    named = self._by_ufrag.get(username.partition(b":")[0])
                    return [named] if named else Drop.UFRAG_UNKNOWN
            case demux.Kind.RTP | demux.Kind.RTCP if len(at_address) != 1:
                return self._find_by_source(payload, kind, at_address)
            case demux.Kind.EMPTY:
                return Drop.EMPTY
        return at_address or Drop.SESSION_UNKNOWN

    def _find_by_source(
        self, payload: bytes, kind: demux.Kind, at_address: list[Slot]
    ) -> list[Slot] | Drop:
        """Of several sessions at an address, or of none, the one that knows the packet's SSRC. Off
        a known address it must be one alone: a stranger must not pick whose tags we spend time on.
        """
        try:
            if kind is demux.Kind.RTCP:
                ssrc = rtcp.peek_ssrc_untrusted(payload)
            else:
                ssrc = rtp.peek_ssrc_untrusted(payload)
        except DecodeError:
            return Drop.SRTP_TOO_SHORT
        known = self._by_source.get(ssrc, [])
        if at_address:
            return [slot for slot in at_address if slot in known] or at_address
        return known[:] if len(known) == 1 else Drop.SESSION_UNKNOWN

    def handle_timeout(self, now: Instant) -> None:
        """Serve what is due by ``now``, each session once: one that is at once due again waits for
        the next call, and cannot keep us here."""
        self._catch_up()
        entries = []
        while self._heap and self._heap[0][0] <= now:
            entries.append(heapq.heappop(self._heap))
        for entry in entries:
            slot = entry[2]
            if slot.scheduled is not entry:
                continue  # another entry took this one's place
            slot.scheduled = None
            due = slot.session.next_deadline()
            if due is not None and due.at > now:  # put off by what has come since, as most are
                self._wake(slot, due.at)
                continue
            if due is not None:
                self._note(journal.Fired(slot.session.call, now, due.reason.value))
                slot.session.handle_timeout(now)
            self._settle(slot, now, after_input=due is not None)

    # --- out ----------------------------------------------------------------------------------

    def next_transmit(self) -> Transmit | None:
        """A datagram for a relay, the leg's header on it."""
        if self._saying:
            self._catch_up()
        return self._transmits.popleft() if self._transmits else None

    def take_transmits(self) -> list[Transmit]:
        """All that ``next_transmit`` has, at once."""
        if self._saying:
            self._catch_up()
        transmits = list(self._transmits)
        self._transmits.clear()
        return transmits

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> Instant | None:
        if self._saying:
            return min(self._saying.values())
        return self._heap[0][0] if self._heap else None

    # --- after every input --------------------------------------------------------------------

    def _settle(self, slot: Slot, now: Instant, *, after_input: bool = True) -> None:
        """Move what a session has to say to the endpoint's queues, and see to its deadline. What
        its data channels have to say waits until datagrams are fetched, or until something else
        arrives; only who keeps a journal wants it beside what it follows from."""
        session = slot.session
        if session.saying and self._journal is None and session.phase is not Phase.CLOSED:
            self._saying[slot] = now
            self._hear(slot, now)
            return
        self._collect(slot, now)
        due = self._schedule(slot)
        if after_input and self._journal is not None:
            at, reason = (due.at, due.reason.value) if due else (None, "")
            self._journal(journal.Settled(session.call, now, at, reason))
        if session.phase is Phase.CLOSED:
            self._release(slot)

    def _schedule(self, slot: Slot) -> Deadline | None:
        """See to a session's deadline; what it is."""
        due = slot.session.next_deadline()
        if due is not None and (slot.scheduled is None or due.at < slot.scheduled[0]):
            self._wake(slot, due.at)
            self._prune()
        return due

    def _wake(self, slot: Slot, at: Instant) -> None:
        slot.scheduled = at, next(self._turn), slot
        heapq.heappush(self._heap, slot.scheduled)

    def _collect(self, slot: Slot, now: Instant) -> None:
        """Move what a session has to say to the endpoint's queues."""
        session = slot.session
        while (out := session.next_transmit()) is not None:
            if self._journal is not None:
                self._journal(journal.Sent(session.call, now, out.path, out.payload))
            self._transmits.append(Transmit(out.path.header + out.payload, out.path.relay))
        self._hear(slot, now)

    def _let_say(self) -> None:
        """Collect what data channels have to say to what has come so far. More is about to come,
        or to be asked for, and the deadlines are seen to then (``_catch_up``)."""
        for slot, since in self._saying.items():
            if slot.session.saying:
                self._collect(slot, since)

    def _catch_up(self) -> None:
        """Collect what data channels have to say, and see to their sessions' deadlines."""
        self._let_say()
        while self._saying:
            slot, _ = self._saying.popitem()
            self._schedule(slot)

    def _hear(self, slot: Slot, now: Instant) -> None:
        """Move what has happened in a session to where it is wanted."""
        session = slot.session
        while (event := session.next_event()) is not None:
            if isinstance(event, Signal):
                self._heed(slot, event, now)
            else:
                self._tell(event)

    def _heed(self, slot: Slot, signal: Signal, now: Instant) -> None:
        match signal:
            case AddressValidated(path=path):
                self._claim(slot, path)
            case UfragRetired(ufrag=ufrag):
                self._by_ufrag.pop(ufrag, None)
                if ufrag in slot.ufrags:
                    slot.ufrags.remove(ufrag)
            case SourceLearned(ssrc=ssrc):
                slot.sources.add(ssrc)
                self._by_source.setdefault(ssrc, []).append(slot)
            case SourceForgotten(ssrc=ssrc):
                slot.sources.discard(ssrc)
                remove(self._by_source, ssrc, slot)
            case Refused(drop=drop):
                self.drops[drop] += 1
                self._note(journal.Dropped(slot.session.call, now, drop, None))

    def _claim(self, slot: Slot, path: Path) -> None:
        """List the session at an address, as its newest; earlier ones stay listed, so that one
        call's end does not cut off its twin."""
        for listed in (slot, *self._by_address.get(path.client, ())):
            self._forget_ways(listed)
        remove(self._by_address, path.client, slot)
        self._by_address.setdefault(path.client, []).append(slot)
        slot.addresses[path.client] = path
        agent = slot.session.agent
        for address, known in list(slot.addresses.items()):
            if not agent.is_validated(known):  # it has made room for this one
                del slot.addresses[address]
                remove(self._by_address, address, slot)

    def _release(self, slot: Slot) -> None:
        """Forget an ended session, and let its relays forget its client."""
        self._slots.pop(slot.session.call, None)
        self._forget_ways(slot)
        for ufrag in slot.ufrags:
            self._by_ufrag.pop(ufrag, None)
        for ssrc in slot.sources:
            remove(self._by_source, ssrc, slot)
        route = slot.session.route
        if route is not None and route.client in slot.addresses:
            slot.addresses[route.client] = route  # the relay may be another by now
        for address, path in slot.addresses.items():
            remove(self._by_address, address, slot)
            if address not in self._by_address:
                self._transmits.append(Transmit(path.header, path.relay))
        slot.scheduled = None
        self._prune()

    def _prune(self) -> None:
        """Let no more void entries gather than there are calls, and none at the head."""
        if len(self._heap) > 2 * len(self._slots) + _SPARE_ENTRIES:
            self._heap = [entry for entry in self._heap if entry[2].scheduled is entry]
            heapq.heapify(self._heap)
        while self._heap and self._heap[0][2].scheduled is not self._heap[0]:
            heapq.heappop(self._heap)

    def _tell(self, event: Event) -> None:
        """Queue an event. Audio that nobody fetches goes first, oldest first."""
        if len(self._events) >= self.config.events:
            audio = next((e for e in self._events if isinstance(e, AudioReceived)), None)
            if audio is not None:
                self._events.remove(audio)
        self._events.append(event)

    def _act(self, slot: Slot, now: Instant, verb: str, **arguments: object) -> None:
        if self._journal is not None:
            self._journal(journal.Acted(slot.session.call, now, verb, arguments))

    def _note(self, entry: journal.Entry) -> None:
        if self._journal is not None:
            self._journal(entry)

    def _drop(self, drop: Drop) -> None:
        self.drops[drop] += 1
