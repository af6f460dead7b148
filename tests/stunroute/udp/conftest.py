"""Worlds for tests of the batched adapter, closed when the test is over."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from batches import World
from stunroute.address import Address


@pytest.fixture
def make() -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def build(*binds: Address, **more: Any) -> World:
        worlds.append(World(*binds, **more))
        return worlds[-1]

    yield build
    for world in worlds:
        world.bound.close()
