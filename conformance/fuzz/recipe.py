"""Copies of a core in some state, many a second.

A core that stands is a few hundred objects, and finding out anew for every input how each is copied
takes longer than what the input does. So that is found out once: the objects are walked, and what
would have to be done is written as a function in Python, one line for each object, which is then
compiled. Whatever cannot change is not copied: records that are frozen through and through, and
objects of other people's classes (keys, ciphers, hashes), which the cores do not change either.

What cannot be copied so is an error when the recipe is written, and no copy that is half shared.
"""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import partial
from itertools import count
from types import (
    BuiltinMethodType,
    FunctionType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, TypeVar

import attrs
from attrs import define, field

T = TypeVar("T")
_OURS = ("stunroute", "transceiver", "conformance")
_PLAIN = (str, bytes, int, float, complex, type(None), type, Enum, BaseException, ModuleType)
_CONTAINERS = (list, dict, set, deque, defaultdict, Counter, OrderedDict, bytearray)


def recipe(original: T) -> Callable[[], T]:
    """A function that makes copies of ``original`` as it is now. Raises TypeError where something
    in it is neither shared nor copied safely."""
    writer = _Writer()
    root = writer.expression(original)
    writer.write_out()
    lines = [*writer.made, *writer.filled, f"return {root}"]
    source = "def copy():\n" + "".join(f"    {line}\n" for line in lines)
    names = dict(writer.names)
    exec(compile(source, "<recipe>", "exec"), names)
    made: Callable[[], T] = names["copy"]
    return made


@define(slots=True, eq=False)
class _Writer:
    """``made`` are the lines that make the objects, ``filled`` those that fill them once all are
    there, ``names`` what the lines mean."""

    made: list[str] = field(factory=list)
    filled: list[str] = field(factory=list)
    names: dict[str, Any] = field(factory=dict)
    _known: dict[int, str] = field(factory=dict)
    _shared: dict[int, bool] = field(factory=dict)
    _kept: list[object] = field(factory=list)
    """All that was looked at: an identity means something only as long as its object lives."""
    _waiting: list[tuple[str, object]] = field(factory=list)

    def name(self, thing: object) -> str:
        """A name for what is shared."""
        known = self._known.get(id(thing))
        if known is None:
            self._kept.append(thing)
            known = self._known[id(thing)] = f"c{len(self.names)}"
            self.names[known] = thing
        return known

    def write_out(self) -> None:
        """Write how each object is filled, which may make more known."""
        while self._waiting:
            variable, one = self._waiting.pop()
            if type(one) in _CONTAINERS:
                self._fill_container(variable, one)
            else:
                for name, value in _parts(one):
                    self._set(variable, one, name, self.expression(value))

    def _set(self, variable: str, one: object, name: str, value: str) -> None:
        descriptor = _slots(type(one)).get(name)
        if descriptor is not None:
            self.filled.append(f"{self.name(descriptor.__set__)}({variable}, {value})")
        else:
            self.filled.append(f"{variable}.__dict__[{name!r}] = {value}")

    # --- what is shared -------------------------------------------------------------------------

    def is_shared(self, one: object) -> bool:
        found = self._shared.get(id(one))
        if found is None:
            self._kept.append(one)
            found = self._shared[id(one)] = self._judge(one)
        return found

    def _judge(self, one: object) -> bool:
        match one:
            case _ if isinstance(one, _PLAIN):
                return True
            case tuple() | frozenset():
                return all(map(self.is_shared, one))
            case MethodType() | BuiltinMethodType():
                return self.is_shared(one.__self__)
            case FunctionType():
                cells = [cell.cell_contents for cell in one.__closure__ or ()]
                if not all(map(self.is_shared, cells)):
                    raise TypeError(f"{one} closes over what changes")
                return True
            case _ if type(one) in _CONTAINERS or isinstance(one, count):
                return False
            case _ if _is_ours(one):
                return _is_frozen(type(one)) and all(
                    self.is_shared(part) for _, part in _parts(one)
                )
            case Iterator() | partial() | memoryview() | list() | dict() | set() | deque():
                raise TypeError(f"no way to copy {type(one)}")
        return True  # somebody else's

    # --- what is copied -------------------------------------------------------------------------

    def expression(self, one: object) -> str:
        """What stands for ``one`` in a line."""
        known = self._known.get(id(one))
        if known is not None:
            return known
        if self.is_shared(one):
            return self.name(one)
        match one:
            case tuple() | frozenset():
                made = self._immutable(one)
            case MethodType():
                made = f"{self.name(MethodType)}({self.name(one.__func__)}, {self._self(one)})"
            case BuiltinMethodType():
                made = f"{self._self(one)}.{one.__name__}"
            case count():
                made = f"{self.name(count)}({int(repr(one)[len('count(') : -1])})"
            case _ if type(one) in _CONTAINERS:
                made = self._empty(one)
                variable = self._variable(one, made)
                self._waiting.append((variable, one))
                return variable
            case _:
                made = f"{self.name(object.__new__)}({self.name(type(one))})"
                variable = self._variable(one, made)
                self._waiting.append((variable, one))
                return variable
        return self._variable(one, made)

    def _self(self, one: MethodType | BuiltinMethodType) -> str:
        return self.expression(one.__self__)

    def _variable(self, one: object, made: str) -> str:
        variable = self._known[id(one)] = f"v{len(self._known)}"
        self.made.append(f"{variable} = {made}")
        return variable

    def _immutable(self, one: tuple[object, ...] | frozenset[object]) -> str:
        parts = "".join(f"{self.expression(part)}, " for part in one)
        match one:
            case tuple() if type(one) is tuple:
                return f"({parts})"
            case tuple():
                return f"{self.name(type(one))}._make(({parts}))"
            case _:
                return f"{self.name(frozenset)}(({parts}))"

    def _empty(self, one: object) -> str:
        match one:
            case deque():
                return f"{self.name(deque)}((), {one.maxlen})"
            case defaultdict():
                return f"{self.name(defaultdict)}({self.expression(one.default_factory)})"
            case _:
                return f"{self.name(type(one))}()"

    def _fill_container(self, variable: str, one: object) -> None:
        if not one:
            return
        if isinstance(one, dict):
            pairs = list(one.items())
            if all(self.is_shared(part) for pair in pairs for part in pair):
                self._update(variable, "update", dict(pairs))
                return
            for key, value in pairs:
                self.filled.append(f"{variable}[{self.expression(key)}] = {self.expression(value)}")
            return
        verb = "update" if isinstance(one, set) else "extend"
        assert isinstance(one, set | list | deque | bytearray)
        if all(map(self.is_shared, one)):
            self._update(variable, verb, tuple(one))
        else:
            parts = "".join(f"{self.expression(part)}, " for part in one)
            self.filled.append(f"{variable}.{verb}(({parts}))")

    def _update(self, variable: str, verb: str, whole: object) -> None:
        self.filled.append(f"{variable}.{verb}({self.name(whole)})")


def _is_ours(one: object) -> bool:
    return type(one).__module__.partition(".")[0] in _OURS


def _slots(cls: type) -> dict[str, Any]:
    return {
        name: value
        for base in reversed(cls.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, MemberDescriptorType)
    }


def _parts(one: object) -> Iterator[tuple[str, object]]:
    """The attributes of one of ours that are set."""
    if isinstance(one, _CONTAINERS):
        raise TypeError(f"no way to copy {type(one)}")
    for name, descriptor in _slots(type(one)).items():
        try:
            yield name, descriptor.__get__(one)
        except AttributeError:
            continue
    yield from _namespace(one)


def _namespace(one: object) -> Iterable[tuple[str, object]]:
    return list(getattr(one, "__dict__", {}).items())


def _is_frozen(cls: type) -> bool:
    """Whether attrs lets nobody set its attributes."""
    if not attrs.has(cls):
        return False
    try:
        object.__new__(cls).__setattr__("_", None)
    except attrs.exceptions.FrozenInstanceError:
        return True
    except AttributeError:
        return False
    return False
