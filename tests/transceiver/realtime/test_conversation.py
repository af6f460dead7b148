"""The memory of a conversation: what it weighs, and that it forgets exactly what it must."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transceiver.config import RealtimeLimits
from transceiver.realtime.conversation import Conversation
from transceiver.realtime.wire import EventError, write


def said(name: str, length: int) -> dict[str, object]:
    return {"id": name, "role": "assistant", "content": [{"transcript": "x" * length}]}


NAMES = st.sampled_from("abcdef")


@given(
    st.lists(st.tuples(st.sampled_from(["add", "front", "replace", "remove"]), NAMES,
                       st.integers(0, 60)), max_size=40)
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_it_holds_what_fits_and_no_less(what: list[tuple[str, str, int]]) -> None:
    limits = RealtimeLimits(items=4, item_bytes=400)
    conversation = Conversation(limits)
    order: list[str] = []
    kept: dict[str, dict[str, object]] = {}
    for verb, name, length in what:
        item = said(name, length)
        match verb:
            case "add" | "front" if name not in kept:
                place = 0 if verb == "front" else len(order)
                before = order[place - 1] if place else None
                assert conversation.add(item, place) == before
                order.insert(place, name)
                kept[name] = item
            case "replace":
                conversation.replace(item)
                if name in kept:
                    kept[name] = item
            case "remove" if name in kept:
                conversation.remove(name)
                order.remove(name)
                del kept[name]
        while len(order) > 4 or sum(len(write(one)) for one in kept.values()) > 400:
            del kept[order.pop(0)]
        assert {one: conversation.get(one) for one in order} == kept
        for one in set("abcdef") - set(order):
            assert one not in conversation
            with pytest.raises(EventError):
                conversation.get(one)
