"""The store of the simulator does what Redis and the adapter to it do."""

from attrs import define, field

from conformance.client import seeded
from conformance.sim.dice import Dice
from conformance.sim.loop import Clock, Loop
from conformance.sim.store import LOOKUP_TIMEOUT, TTL, Store, StoreAdapter
from stunroute.address import Address
from stunroute.instant import Instant
from stunroute.store.entry import SECOND, EntryCodec

CLIENT = Address.of("192.0.2.1", 1000)
OTHER = Address.of("192.0.2.2", 2000)
HOP = Address.of("10.1.1.7", 5000)
FAR = Address.of("10.1.1.8", 5000)
CODEC = EntryCodec(seeded("key")(32), "stunroute:", round(TTL * SECOND))


@define
class Bench:
    """A store and two relays' adapters, whose clocks have nothing in common."""

    loop: Loop = field(factory=Loop)
    answers: list[tuple[Address, Address | None, Instant | None]] = field(factory=list)
    store: Store = field(init=False)
    near: StoreAdapter = field(init=False)
    far: StoreAdapter = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.store = Store(self.loop, Dice("store"))
        self.near, self.far = (
            StoreAdapter(self.store, Clock(self.loop, offset), CODEC, self.answered, (HOP, FAR))
            for offset in (0.0, 5000.0)
        )

    def answered(self, client: Address, hop: Address | None, made: Instant | None) -> None:
        self.answers.append((client, hop, made))

    def wait(self, seconds: float) -> None:
        self.loop.run(self.loop.now + seconds)

    def ask(self, adapter: StoreAdapter, client: Address = CLIENT) -> Address | None:
        self.answers.clear()
        adapter.lookup(client)
        self.wait(1.0)
        ((asked, hop, _),) = self.answers
        assert asked == client
        return hop


def test_what_one_relay_remembers_another_finds() -> None:
    bench = Bench()
    made = bench.near.clock.now
    bench.near.record(CLIENT, HOP, made)
    bench.wait(1.0)
    assert bench.ask(bench.far) == HOP
    assert bench.answers[0][2] is not None
    assert abs(bench.answers[0][2] - (made + 5000.0)) < 1e-5  # by the other one's clock
    assert bench.ask(bench.far, OTHER) is None


def test_the_later_flow_wins_in_whatever_order_it_is_written() -> None:
    bench = Bench()
    early, late = bench.near.clock.now, bench.near.clock.now + 2.0
    bench.wait(3.0)
    bench.near.record(CLIENT, HOP, late)
    bench.wait(1.0)
    bench.far.record(CLIENT, FAR, early + 5000.0)
    bench.wait(1.0)
    assert bench.ask(bench.near) == HOP


def test_a_release_takes_its_own_flow_and_no_later_one() -> None:
    bench = Bench()
    made = bench.near.clock.now
    bench.near.record(CLIENT, HOP, made)
    bench.near.forget(CLIENT, HOP, made)
    bench.wait(1.0)
    assert bench.ask(bench.near) is None
    bench.near.record(CLIENT, FAR, made + 1.0)
    bench.near.forget(CLIENT, HOP, made)
    bench.wait(1.0)
    assert bench.ask(bench.near) == FAR


def test_entries_are_forgotten_in_time() -> None:
    bench = Bench()
    bench.near.record(CLIENT, HOP, bench.near.clock.now)
    bench.wait(TTL + 1.0)
    assert bench.ask(bench.near) is None
    bench.store.expire()
    assert bench.store.values == {}


def test_nobody_waits_for_a_store_that_does_not_answer() -> None:
    bench = Bench()
    bench.store.gone = True
    began = bench.loop.now
    bench.near.lookup(CLIENT)
    bench.loop.run(began + LOOKUP_TIMEOUT + 0.01)
    assert bench.answers == [(CLIENT, None, None)]
    for _ in range(3):
        bench.ask(bench.near)
    bench.answers.clear()
    bench.near.lookup(CLIENT)
    assert bench.answers == [(CLIENT, None, None)], "the breaker is open: at once"


def test_what_a_store_missed_is_written_when_it_is_back() -> None:
    bench = Bench()
    bench.store.gone = True
    bench.near.record(CLIENT, HOP, bench.near.clock.now)
    bench.wait(10.0)
    assert bench.near.waiting == 1
    bench.store.gone = False
    bench.wait(15.0)
    assert bench.near.waiting == 0
    assert bench.ask(bench.far) == HOP


def test_an_open_breaker_closes_by_itself() -> None:
    bench = Bench()
    bench.near.record(CLIENT, HOP, bench.near.clock.now)
    bench.wait(1.0)
    bench.store.gone = True
    for _ in range(5):
        bench.ask(bench.near)
    bench.store.gone = False
    bench.wait(12.0)
    assert bench.ask(bench.near) == HOP


def test_a_dead_relay_writes_and_answers_nothing() -> None:
    bench = Bench()
    bench.near.record(CLIENT, HOP, bench.near.clock.now)
    bench.near.lookup(OTHER)
    bench.near.alive = False
    bench.wait(5.0)
    assert bench.answers == []
    assert bench.store.values == {}


def test_a_store_of_the_past_answers_from_it() -> None:
    bench = Bench()
    bench.near.record(CLIENT, HOP, bench.near.clock.now)
    bench.wait(1.0)
    bench.store.past = dict(bench.store.values)
    bench.near.record(CLIENT, FAR, bench.near.clock.now)
    bench.wait(1.0)
    assert bench.ask(bench.far) == HOP
    assert bench.store.faults["stale"] == 1
    bench.store.past = None
    assert bench.ask(bench.far) == FAR


def test_lies_without_the_key_are_refused() -> None:
    bench = Bench()
    bench.near.record(CLIENT, HOP, bench.near.clock.now)
    bench.near.record(OTHER, FAR, bench.near.clock.now)
    bench.wait(1.0)
    name = CODEC.name(CLIENT)
    bench.store.lies = 1.0
    told = {bench.store.read(name) for _ in range(100)}
    bench.store.lies = 0.0
    truth = bench.store.values[name][0]
    for lie in told - {None, truth}:
        bench.store.values[name] = lie, bench.loop.now + TTL
        assert bench.ask(bench.near) is None
    assert len(told) > 3
    assert bench.store.faults["refused"] >= len(told) - 2
