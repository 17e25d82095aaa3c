"""Loop counters that know what they are: ``i * x[i]`` depends on ``i``, not on one number.

A loop runs over plain numbers while it is traced, and ``2 * x[2]`` tells nothing of where the first
2 came from.  So ``range`` gives :class:`Counted` numbers: as indices and in conditions they are
what they were; where one meets a traced value it is read from an array of counts, at its own value,
so that it is found by its subscript as the elements of all other arrays are.
"""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..trace.array import is_traced, traced
from ..trace.session import require_session

__all__ = [
    "COUNTS",
    "SHIFT",
    "Counted",
    "CountedRange",
    "counted",
    "counter_tuples",
    "counting",
    "plain",
]

SHIFT = 64
#: ``COUNTS[SHIFT + i]`` is i
COUNTS = np.arange(-SHIFT, 1024, dtype=float)


class Counted:
    """A number made of loop counters: a plain number, and how it was computed from them.

    ``make`` computes it anew from ``parts``; a counter itself has none.
    """

    __slots__ = ("make", "parts", "value")

    def __init__(
        self, value: Any, make: Callable[..., Any] | None = None, parts: tuple[Any, ...] = ()
    ) -> None:
        self.value = value
        self.make = make
        self.parts = parts

    def as_traced(self) -> Any:
        """The number as a traced one, computed from elements of :data:`COUNTS`."""
        done: dict[int, Any] = {}
        stack: list[tuple[Counted, bool]] = [(self, False)]
        while stack:
            number, ready = stack.pop()
            if id(number) in done:
                continue
            inner = [p for p in number.parts if isinstance(p, Counted)]
            if not ready:
                stack.append((number, True))
                stack.extend((p, False) for p in inner)
            elif number.make is None:
                require_session().counters_met += 1
                done[id(number)] = traced(require_session().capture(COUNTS))[SHIFT + number.value]
            else:
                given = [done[id(p)] if isinstance(p, Counted) else p for p in number.parts]
                done[id(number)] = number.make(*given)
        return done[id(self)]

    # -- as a number --------------------------------------------------------------------------
    def __index__(self) -> int:
        return operator.index(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return repr(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.value, name)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return np.asarray(self.value)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            return getattr(ufunc, method)(*map(plain, inputs), **kwargs)
        return counted(ufunc, ufunc, *inputs)

    def __abs__(self) -> Any:
        return counted(abs, np.abs, self)

    def __neg__(self) -> Any:
        return counted(operator.neg, np.negative, self)

    def __pos__(self) -> Counted:
        return self

    def __round__(self, digits: int | None = None) -> Any:
        return round(self.value, digits)

    def __floor__(self) -> Any:
        return counted(math.floor, np.floor, self)

    def __ceil__(self) -> Any:
        return counted(math.ceil, np.ceil, self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other


def _is_number(value: Any) -> bool:
    return isinstance(value, Counted | int | float | np.number) or is_traced(value)


def plain(value: Any) -> Any:
    """A number without its history."""
    return value.value if isinstance(value, Counted) else value


def counted(function: Callable[..., Any], dispatched: Callable[..., Any], *args: Any) -> Any:
    """``function`` of numbers some of which are counted; ``dispatched`` takes traced ones, too."""
    if any(map(is_traced, args)):
        return dispatched(*(a.as_traced() if isinstance(a, Counted) else a for a in args))
    value = function(*map(plain, args))
    return value if np.ndim(value) else Counted(value, dispatched, args)


def _binary(name: str, function: Callable[..., Any], dispatched: Any) -> None:
    def forward(self: Counted, other: Any) -> Any:
        if not _is_number(other):
            return _with_array(function, self, other)
        return counted(function, dispatched, self, other)

    def backward(self: Counted, other: Any) -> Any:
        if not _is_number(other):
            return _with_array(function, other, self)
        return counted(function, dispatched, other, self)

    setattr(Counted, f"__{name}__", forward)
    setattr(Counted, f"__r{name}__", backward)


def _with_array(function: Callable[..., Any], left: Any, right: Any) -> Any:
    """With something that is no number: an array takes the plain value, lists do as they do."""
    other = right if isinstance(left, Counted) else left
    return function(plain(left), plain(right)) if isinstance(other, np.ndarray) else NotImplemented


def _floored(a: Any, b: Any) -> Any:
    return np.floor(np.divide(a, b))


def _rest(a: Any, b: Any) -> Any:
    return a - b * _floored(a, b)


def _power(a: Any, b: Any) -> Any:
    return np.power(float(a) if isinstance(a, int) else a, b)


for _name, _function, _dispatched in (
    ("add", operator.add, np.add),
    ("sub", operator.sub, np.subtract),
    ("mul", operator.mul, np.multiply),
    ("truediv", operator.truediv, np.divide),
    ("floordiv", operator.floordiv, _floored),
    ("mod", operator.mod, _rest),
    ("pow", operator.pow, _power),
):
    _binary(_name, _function, _dispatched)


def _comparison(name: str) -> None:
    compare = getattr(operator, name)

    def call(self: Counted, other: Any) -> Any:
        if is_traced(other):
            return compare(self.as_traced(), other)
        return compare(self.value, plain(other))

    setattr(Counted, f"__{name}__", call)


for _name in ("lt", "le", "eq", "ne", "gt", "ge"):
    _comparison(_name)


class CountedRange:
    """``range`` whose numbers are counters, where they are within :data:`COUNTS`."""

    def __init__(self, *args: Any) -> None:
        self.numbers = range(*map(operator.index, args))

    def __iter__(self) -> Iterator[Any]:
        return map(_counter, self.numbers)

    def __reversed__(self) -> Iterator[Any]:
        return map(_counter, reversed(self.numbers))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            found = self.numbers[key]
            return CountedRange(found.start, found.stop, found.step)
        return _counter(self.numbers[key])

    def __contains__(self, value: Any) -> bool:
        return plain(value) in self.numbers

    def __eq__(self, other: object) -> bool:
        return self.numbers == (other.numbers if isinstance(other, CountedRange) else other)

    def __hash__(self) -> int:
        return hash(self.numbers)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return np.asarray(self.numbers, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.numbers, name)


def _counter(value: int) -> Any:
    return Counted(value) if -SHIFT <= value < len(COUNTS) - SHIFT else value


def counting(iterable: Any, start: int = 0) -> Iterator[tuple[Any, Any]]:
    """``enumerate``."""
    for number, value in builtins.enumerate(iterable, operator.index(start)):
        yield _counter(number), value


def counter_tuples(*shape: Any) -> Iterator[tuple[Any, ...]]:
    """``np.ndindex``."""
    return (tuple(map(_counter, at)) for at in np.ndindex(*shape))
