"""Servers whose STUN responses hold what nobody asked for."""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from stunroute.stun import Attribute, MessageClass

from .model import Mutant, mutant, swapped

building = import_module("stunroute.stun.build")
"""The module; the package has a function of that name."""


@mutant(
    "stun/pads-with-spaces",
    "It pads attributes with spaces.",
    killer="rfc8489/14/padding-is-zero",
)
def pads_with_spaces() -> Iterator[None]:
    def encode(type: int, value: bytes) -> bytes:
        encoded: bytes = honest(type, value)
        padding = -len(value) % 4
        return encoded[: len(encoded) - padding] + b" " * padding

    honest = building._encode_attribute
    with swapped(building, "_encode_attribute", encode):
        yield


def _told(
    name: str,
    breaks: str,
    killer: str,
    kinds: tuple[MessageClass, ...],
    edit: Callable[[list[tuple[int, bytes]]], list[tuple[int, bytes]]],
) -> Mutant:
    """One whose responses of these classes have other attributes."""

    @mutant(name, breaks, killer=killer)
    def building_otherwise() -> Iterator[None]:
        def build(
            method: int, kind: MessageClass, number: bytes, told: Any = (), **how: Any
        ) -> bytes:
            attributes = edit(list(told)) if kind in kinds else told
            built: bytes = honest(method, kind, number, attributes, **how)
            return built

        honest = building.build
        with swapped(building, "build", build):
            yield

    return building_otherwise


def _named(told: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    return [(int(Attribute.USERNAME), b"me"), *told]


def _reasoned(told: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    wrong = int(Attribute.ERROR_CODE)
    return [(kind, value + b"x" * 150 if kind == wrong else value) for kind, value in told]


username_in_the_error = _told(
    "stun/username-in-the-error",
    "It puts a USERNAME into its refusals.",
    "rfc8489/9.1.3/no-username-in-the-error",
    (MessageClass.ERROR,),
    _named,
)
reason_without_end = _told(
    "stun/reason-without-end",
    "It tells the whole story in the reason of an error.",
    "rfc8489/14.8/error-code",
    (MessageClass.ERROR,),
    _reasoned,
)
