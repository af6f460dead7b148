"""Pictures and flows as JSON and back, for the admin socket. Both ends are ours, not always of the
same version: what a newer one tells in addition is passed over."""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import cattrs

from stunroute.address import Address
from stunroute.status import FlowStatus, RelayStatus

T = TypeVar("T")

_Kinds = Mapping[tuple[str, str], int]


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook(Address, str)
    converter.register_structure_hook(Address, lambda text, _: Address.parse(text))
    converter.register_unstructure_hook(float, lambda n: n if math.isfinite(n) else 0.0)
    # JSON has no pairs for keys.
    converter.register_unstructure_hook_func(
        lambda wanted: wanted == _Kinds,
        lambda kinds: [[*pair, count] for pair, count in kinds.items()],
    )
    converter.register_structure_hook_func(
        lambda wanted: wanted == _Kinds,
        lambda rows, _: {(str(way), str(kind)): int(count) for way, kind, count in rows},
    )
    return converter


_CONVERTER = _converter()


def status_to_json(status: RelayStatus) -> dict[str, Any]:
    told: dict[str, Any] = _CONVERTER.unstructure(status, RelayStatus)
    return told


def status_from_json(told: object) -> RelayStatus:
    """Raises ValueError if it is none."""
    return _structure(told, RelayStatus)


def flows_to_json(flows: list[FlowStatus]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = _CONVERTER.unstructure(flows, list[FlowStatus])
    return told


def flows_from_json(told: object) -> list[FlowStatus]:
    """Raises ValueError if they are none."""
    if not isinstance(told, list):
        raise ValueError("is no list")
    return _structure(told, list[FlowStatus])


def _structure(told: object, wanted: type[T]) -> T:
    try:
        return _CONVERTER.structure(told, wanted)
    except Exception:
        raise ValueError(
            f"is no {getattr(wanted, '__name__', 'answer')} that is understood"
        ) from None
