"""What is printed, evaluated at random sizes and values and compared with numbers.

Two oracles: the derivative by :func:`chainrule.vjp`, and central differences of the function
itself, which share no rule with the formulas.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import floor, prod
from typing import Any, NamedTuple

import numpy as np
import scipy.special

from ..errors import DerivativeError
from ..formula.composing import is_whole
from ..formula.conditions import explaining, holds
from ..formula.derivation import Definition, Derivation, JacobianForm, evaluated
from ..formula.evaluate import evaluate
from ..formula.notation import Indexed
from ..formula.quantity import Prod, Quantity, ordered
from ..formula.reading import CannotRead, value_of_text
from ..formula.writing import Env
from ..lower.calls import CALL_KERNELS
from ..lower.elementwise import ELEMENTWISE
from ..transforms.first import grad, vjp
from .sampling import drawn, is_square, symmetrized
from .signature import Signature

__all__ = ["Checker", "formula_functions"]

_MOST = 40_000  # elements of a dense Jacobian that is checked
_NEAR = 64  # numbers in shapes that sizes are tried next to
_BOX = 4_000_000  # points of the loops by which index notation is evaluated


def formula_functions() -> dict[str, Callable[..., Any]]:
    """NumPy functions by the names that formulas know."""
    table: dict[str, Callable[..., Any]] = dict(ELEMENTWISE)
    for op, kernel in CALL_KERNELS.items():
        table[op] = lambda *args, _kernel=kernel: _kernel(*args)[0]
        for position in (1, 2):
            table[f"{op}:{position}"] = lambda *args, _kernel=kernel, _k=position: _kernel(*args)[
                _k
            ]
    table["logabsdet"] = lambda a: np.linalg.slogdet(a)[1]
    table["signdet"] = lambda a: np.linalg.slogdet(a)[0]
    table["expm_frechet"] = lambda a, e: scipy.linalg.expm_frechet(a, e, compute_expm=False)
    table["gaps"] = lambda u: np.where(np.eye(len(u)), 0.0, 1 / np.where(np.eye(len(u)), 1.0, u))
    table["ndtr"] = scipy.special.ndtr
    table["normpdf"] = lambda z: np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    table["softmax"] = _softmax
    table["logsumexp"] = lambda z: np.log(np.exp(z).sum(axis=_rows(z), keepdims=True))
    return table


def _rows(z: Any) -> int:
    return 0 if z.shape[1] == 1 else 1


def _softmax(z: Any) -> Any:
    e = np.exp(z)
    return e / e.sum(axis=_rows(z), keepdims=True)


#: Sizes of the names: growing as those of the traces do, every name even and odd; then mixed.
POOLS = ((2, 3, 4, 5, 6, 7), (3, 4, 5, 6, 7, 8), (5, 3, 6, 2, 7, 4))
_LARGER = ((8, 9, 10, 11, 12, 13), (11, 13, 17, 19, 23, 29))
_SMALL_POOLS = ((3, 2, 4, 5), (2, 4, 3, 2), (2, 3, 2, 3), (2, 2, 2, 2))
_GROWING_POOLS = ((2, 3, 4, 5, 6, 7), (3, 4, 5, 6, 7, 8))


def _grows(sizes: Mapping[str, int]) -> bool:
    """Whether sizes grow in the order of the names, as those of the traces do."""
    return all(a < b for a, b in itertools.pairwise(sizes.values()))


def _orders(names: Sequence[str]) -> Iterator[dict[str, int]]:
    """Sizes in the order of the names, in the opposite one, with two exchanged, with two equal."""
    sizes = list(range(3, 3 + len(names)))
    yield dict(zip(names, sizes, strict=True))
    yield dict(zip(names, sizes[::-1], strict=True))
    for i, j in itertools.combinations(range(len(names)), 2):
        for at_i, at_j in ((sizes[j], sizes[i]), (sizes[i], sizes[i])):
            changed = list(sizes)
            changed[i], changed[j] = at_i, at_j
            yield dict(zip(names, changed, strict=True))


def _box(quantity: Quantity, sizes: Mapping[str, int]) -> float:
    """The points of the largest loop nest in a quantity (unknown sizes count 1)."""
    known = {**dict.fromkeys(_names(quantity), 1), **sizes}
    loops = [q.extents for q in ordered([quantity]) if isinstance(q, Prod)]
    return max((prod(e.value(known) for e in box) for box in loops), default=1.0)


def _names(quantity: Quantity) -> set[str]:
    shapes = [q.shape for q in ordered([quantity])]
    shapes += [q.extents for q in ordered([quantity]) if isinstance(q, Prod)]
    return {name for shape in shapes for e in shape for name in e.names}


class Point(NamedTuple):
    """One place at which formulas are compared: sizes of the names, values of the leaves."""

    sizes: dict[str, int]
    values: list[Any]


class Checker:
    """Compares written formulas with numbers."""

    def __init__(
        self,
        signature: Signature,
        symbols: Sequence[str],
        captured: Mapping[str, Any],
        derivation: Derivation,
        pools: Sequence[Sequence[int]] = POOLS,
        partly: bool = False,
    ) -> None:
        self.pools = pools
        self.partly = partly  # numbers alone do not stop where tracing does
        self.signature = signature
        self.symbols = symbols
        self.captured = captured
        self.derivation = derivation
        self.functions = formula_functions()

    # -- where --------------------------------------------------------------------------------
    def points(
        self,
        measure: Callable[[Point], Any],
        pools: Sequence[Sequence[int]] | None = None,
        most: int = 2,
    ) -> Iterator[tuple[Point, Any]]:
        """Points at which ``measure`` is finite, and what it gives there."""
        rng = np.random.default_rng(0)
        passed = 0
        refused: Exception | None = None
        condition = self.derivation.condition
        more = _GROWING_POOLS if condition else ()
        for pool in (*(pools or self.pools), *more, *_LARGER):
            if passed == most or (passed and not condition and pool in _LARGER):
                return
            sizes = self._sizes(pool)
            if not holds(condition, sizes):
                continue
            for attempt in range(3):
                point = self._point(sizes, rng, attempt)
                try:
                    with np.errstate(all="ignore"):
                        found = measure(point)
                except np.linalg.LinAlgError:
                    continue
                except (ValueError, IndexError) as error:  # too small for a kernel, a slice …
                    refused = error
                    break
                if all(np.isfinite(e).all() for e in found):
                    passed += 1
                    yield point, found
                    break
            if passed and not self.signature.names and self._is_large():
                return
        if not passed and refused is not None:
            raise refused
        if not passed:
            raise DerivativeError(
                f"{self.derivation.function} has no finite derivative at random values, so its "
                "formula cannot be checked; pass check=False to see it unchecked"
            )

    def _sizes(self, pool: Sequence[int]) -> dict[str, int]:
        """Sizes of the names, those that are small in the traces first."""
        return dict(zip(self.signature.growing, itertools.cycle(pool), strict=False))

    def _point(self, sizes: dict[str, int], rng: np.random.Generator, attempt: int) -> Point:
        """Random values at sizes of the names."""
        return Point(sizes, drawn(self.signature, sizes, rng, attempt))

    def _is_large(self) -> bool:
        return any(_box(g.quantity, {}) > _BOX for g in self.derivation.gradients.values())

    def env(self, point: Point) -> Env:
        """The values that formulas speak of."""
        known = dict(zip(self.symbols, point.values, strict=True)) | dict(self.captured)
        return Env(known, point.sizes, self.functions)

    def function(self, point: Point, wanted: Sequence[int]) -> Callable[..., Any]:
        """The function of the leaves wanted, all others at the point."""

        def of_wanted(*some: Any) -> Any:
            whole = list(point.values)
            for k, value in zip(wanted, some, strict=True):
                # along symmetric matrices only
                whole[k] = symmetrized(value) if k in self.signature.symmetric else value
            return self.signature.call(whole)

        return of_wanted

    # -- the value ----------------------------------------------------------------------------
    def value(self, quantity: Quantity) -> None:
        """The function's own value and its shape, at every size: loops were traced at two only."""

        def measure(point: Point) -> list[Any]:
            return [np.asarray(self.signature.call(point.values))]

        checked = 0
        for point, (expected,) in self.points(measure, most=len(self.pools)):
            shape = [extent.value(point.sizes) for extent in quantity.shape]
            if tuple(map(floor, shape)) != expected.shape:
                raise DerivativeError(
                    f"{self.derivation.function} has the shape {expected.shape} at sizes "
                    f"{point.sizes}, where loops that were traced at other sizes suggest "
                    f"({', '.join(map(str, quantity.shape))})"
                )
            if any(extent != int(extent) for extent in shape):
                continue  # N/2 at an odd N
            checked += 1
            with np.errstate(all="ignore"):
                found = evaluate(quantity, self.env(point), {})
            scale = max(float(np.max(np.abs(expected), initial=0.0)), 1e-6)
            error = float(np.max(np.abs(found - expected), initial=0.0)) / scale
            if not error < 1e-9:
                raise DerivativeError(
                    f"{self.derivation.function} is not what its loops suggest at other sizes: "
                    f"off by {error:.2g} (relative) at sizes {point.sizes}"
                )
        if not checked:
            raise DerivativeError(f"{self.derivation.function} runs at none of the sizes tried")
        if any(not is_whole(extent) for extent in quantity.shape):
            self._rounded_down(quantity)

    def _rounded_down(self, quantity: Quantity) -> None:
        """Shapes with fractions, ``N/2``, mean ``⌊N/2⌋``: compared at odd and even sizes."""
        rng = np.random.default_rng(0)
        for start in range(5, 12):
            sizes = {n: start + k for k, n in enumerate(self.signature.growing)}
            try:
                found = np.shape(self.signature.call(self._point(sizes, rng, 0).values))
            except (ValueError, IndexError):
                continue
            shape = tuple(floor(extent.value(sizes)) for extent in quantity.shape)
            if shape != found:
                raise DerivativeError(
                    f"{self.derivation.function} has the shape {found} at sizes {sizes}, where "
                    "loops that were traced at other sizes suggest "
                    f"({', '.join(map(str, quantity.shape))})"
                )

    def condition(self) -> str:
        """The condition on sizes under which the function's value is what was derived; "" for none.

        Tracing saw one order of the names, and primes only; a function may do otherwise elsewhere.
        """
        if self.partly or not self.signature.names:
            return ""
        found = self._tried(self._doubtful())
        if all(held for _, held in found):
            return ""
        return self._explaining()

    def _explaining(self) -> str:
        """The simplest condition that tells where the value is what was derived."""
        found = self._tried(self._varied())
        if all(held for _, held in found) or not any(held for _, held in found):
            return ""  # right everywhere, or wrong for other reasons
        names = self.signature.growing
        bounds = sorted({size for sizes, _ in found for size in sizes.values()})
        ordered_ = " < ".join(names) if any(h for s, h in found if _grows(s)) else ""
        return explaining(names, found, bounds) or (ordered_ if len(names) > 1 else "")

    def _tried(self, places: Iterable[dict[str, int]]) -> list[tuple[dict[str, int], bool]]:
        """Sizes, and whether the value is what was derived there."""
        return [(sizes, held) for sizes in places if (held := self._agrees(sizes)) is not None]

    def _doubtful(self) -> Iterator[dict[str, int]]:
        """Sizes in other orders than those of the traces, and next to the numbers given."""
        names = self.signature.growing
        if len(names) > 1:
            yield from _orders(names)
        near = {n + d for n in self.signature.numbers for d in (-1, 0) if n <= _NEAR}
        yield from (dict.fromkeys(names, size) for size in sorted(near - {0}))

    def _varied(self) -> Iterator[dict[str, int]]:
        """Sizes in several orders, each name even and odd, small and next to the numbers given."""
        names = self.signature.growing
        near = {n + d for n in self.signature.numbers for d in (-1, 0, 1) if n <= _NEAR}
        wide = sorted({*range(1, 8), *near} - {0})
        if len(names) <= 2:
            yield from (
                dict(zip(names, s, strict=True)) for s in itertools.product(wide, repeat=len(names))
            )
            return
        for sizes in _orders(names):
            yield sizes
            yield {name: size + 1 for name, size in sizes.items()}
        base = {name: 3 + k for k, name in enumerate(names)}
        yield from ({**base, name: size} for name in names for size in wide)

    def _agrees(self, sizes: dict[str, int]) -> bool | None:
        """Whether the derived value is the function's at some sizes; None where it has none."""
        rng = np.random.default_rng(0)
        quantity = self.derivation.value.quantity
        for attempt in range(3):
            point = self._point(sizes, rng, attempt)
            try:
                with np.errstate(all="ignore"):
                    expected = np.asarray(self.signature.call(point.values))
            except np.linalg.LinAlgError:
                continue
            except (ValueError, IndexError, TypeError):
                return None
            if not expected.size:
                return None
            if not np.isfinite(expected).all():
                continue
            try:
                with np.errstate(all="ignore"):
                    found = np.asarray(evaluate(quantity, self.env(point), {}))
            except (ValueError, IndexError):
                return False
            scale = max(float(np.max(np.abs(expected))), 1e-6)
            return found.shape == expected.shape and bool(
                np.max(np.abs(found - expected)) < 1e-6 * scale
            )
        return None

    # -- gradients ----------------------------------------------------------------------------
    def gradients(self, wanted: Sequence[int]) -> None:
        """Every gradient in matrix and in index notation, at several sizes."""
        derivation = self.derivation
        rng = np.random.default_rng(1)

        def measure(point: Point) -> list[Any]:
            f = self.function(point, wanted)
            result, back = vjp(f, *(point.values[k] for k in wanted))
            shape = np.shape(result)
            cotangent = rng.normal(size=shape) if shape else np.asarray(1.0)
            if not np.size(result):
                raise ValueError("the result is empty")
            return [cotangent, result, *back(cotangent)]

        held: list[dict[str, int]] = []
        failed: list[tuple[dict[str, int], Exception]] = []
        for point, (cotangent, _, *expected) in self.points(measure, most=len(self.pools)):
            if not self.partly:
                self._differences(point, wanted, cotangent, expected)
            env = self.env(point)
            if derivation.arriving is not None:
                env = env._replace(values={**env.values, derivation.arriving[0]: cotangent})
            try:
                with np.errstate(all="ignore"):
                    inner = env._replace(values=evaluated(derivation.parts, env))
                    for k, value in zip(wanted, expected, strict=True):
                        gradient = derivation.gradients[self.signature.paths[k]]
                        self._compare(gradient, value, inner, derivation.parts, value.ndim)
            except (DerivativeError, ValueError, IndexError) as error:
                failed.append((point.sizes, error))
            else:
                held.append(point.sizes)
        if failed and self._judge(held, failed):
            self.gradients(wanted)

    def _judge(
        self, held: Sequence[dict[str, int]], failed: Sequence[tuple[dict[str, int], Exception]]
    ) -> bool:
        """A formula that is right at some sizes: under a condition on them, or not at all.

        Returns whether it is to be checked again, under a condition.
        """
        sizes, error = failed[0]
        if not self.derivation.condition and not self.partly:
            condition = self._explaining()
            names = self.signature.growing
            grows = held and all(map(_grows, held)) and not any(_grows(s) for s, _ in failed)
            if not condition and grows and len(names) > 1:  # the derivative alone depends on it
                condition = " < ".join(names)
            if condition and not any(holds(condition, s) for s, _ in failed):
                self.derivation.condition = condition
                return True
        if held:
            raise DerivativeError(
                f"the formula of {self.derivation.function} is right at sizes {held[0]} and wrong "
                f"at {sizes}: what is computed depends on the sizes (whether they are even, or "
                "which one is larger). Give the size that it depends on as a number"
            ) from error
        if isinstance(error, DerivativeError):
            raise error
        raise DerivativeError(
            f"the formula cannot be evaluated at sizes {sizes}: {error}"
        ) from error

    def _differences(
        self, point: Point, wanted: Sequence[int], cotangent: Any, expected: Sequence[Any]
    ) -> None:
        """The numbers that formulas are compared with, against the function itself."""
        for k, value in zip(wanted, expected, strict=True):
            found = self._differs(point, k, cotangent, value, False)
            if found is not None and is_square(value):
                # a function of symmetric matrices reads one triangle: its derivative is along them
                turned = point._replace(values=[symmetrized(v) for v in point.values])
                _, back = vjp(self.function(turned, [k]), turned.values[k])
                found = self._differs(turned, k, cotangent, back(cotangent)[0], True)
            if found is not None:
                raise DerivativeError(
                    f"the derivative of {self.derivation.function} by {self.symbols[k]} along a "
                    f"random direction is {found[0]:.6g}, by central differences {found[1]:.6g} "
                    f"(sizes {point.sizes}); please report it"
                )

    def _differs(
        self, point: Point, k: int, cotangent: Any, value: Any, symmetric: bool
    ) -> tuple[float, float] | None:
        """The derivative along a random direction and its central difference, where they differ."""
        f = self.function(point, [k])
        direction = np.random.default_rng(2).normal(size=value.shape)
        direction = symmetrized(direction) if symmetric else direction

        def along(h: float) -> float:
            ahead, back = (np.asarray(f(point.values[k] + s * h * direction)) for s in (1, -1))
            return float(np.sum(cotangent * (ahead - back))) / (2 * h)

        found = float(np.sum(value * direction))
        with np.errstate(all="ignore"):
            slopes = [along(h) for h in (4e-5, 2e-5, 1e-5)]
        scale = float(np.sum(np.abs(value * direction))) + 1e-3 * float(1 + np.abs(cotangent).sum())
        if not np.isfinite(slopes).all() or max(slopes) - min(slopes) > 1e-4 * scale:
            return None  # a kink or an edge of the domain is near
        return None if abs(slopes[-1] - found) <= 1e-3 * scale else (found, slopes[-1])

    # -- Jacobians ----------------------------------------------------------------------------
    def jacobians(
        self, parts: Sequence[Definition], forms: Sequence[JacobianForm], wanted: Sequence[int]
    ) -> None:
        """Jacobians, dense at small sizes, against pullbacks of basis vectors."""

        def measure(point: Point) -> list[Any]:
            f = self.function(point, wanted)
            result, back = vjp(f, *(point.values[k] for k in wanted))
            shape = np.shape(result)
            if not np.size(result):
                raise ValueError("the result is empty")
            columns = [back(e.reshape(shape)) for e in np.eye(prod(shape))]
            return [
                np.reshape([c[i] for c in columns], shape + point.values[k].shape)
                for i, k in enumerate(wanted)
            ]

        self._dense(measure, parts, forms)

    def hessians(
        self,
        parts: Sequence[Definition],
        forms: Sequence[JacobianForm],
        pairs: Sequence[tuple[int, int]],
    ) -> None:
        """Hessians, dense at small sizes, against derivatives of gradients by number."""

        def measure(point: Point) -> list[Any]:
            return [self._second(point, i, j) for i, j in pairs]

        self._dense(measure, parts, forms, 1e-5)

    def _second(self, point: Point, i: int, j: int) -> Any:
        """``∂(∂L/∂x_i)/∂x_j`` by pullbacks of basis vectors."""
        of_both = self.function(point, [i, j] if i != j else [i])
        x, z = point.values[i], point.values[j]

        def slope(other: Any) -> Any:
            if i == j:
                return grad(of_both)(other)
            return grad(of_both)(x, other)

        _, back = vjp(slope, z)
        rows = [back(e.reshape(x.shape))[0] for e in np.eye(x.size)]
        return np.reshape(rows, x.shape + z.shape)

    def _dense(
        self,
        measure: Callable[[Point], list[Any]],
        parts: Sequence[Definition],
        forms: Sequence[JacobianForm],
        tolerance: float = 1e-6,
    ) -> None:
        every = [*self.derivation.parts, *parts]

        def fits(point_sizes: Mapping[str, int]) -> bool:
            return all(
                prod(round(e.value(point_sizes)) for e in form.quantity.shape) <= _MOST
                for form in forms
            )

        pools = [*_SMALL_POOLS, *(_GROWING_POOLS if self.derivation.condition else ())]
        pools = [
            pool
            for pool in pools
            if fits(sizes := self._sizes(pool)) and holds(self.derivation.condition, sizes)
        ]
        if not pools:
            raise DerivativeError(
                "the Jacobian has too many elements at these sizes to be checked: give names in "
                "place of the numbers, or pass check=False"
            )
        for point, expected in self.points(measure, pools):
            env = self.env(point)
            with np.errstate(all="ignore"):
                used = [p for p in every if not self._speaks_of_the_gradient(p)]
                inner = env._replace(values=evaluated(used, env))
                for form, value in zip(forms, expected, strict=True):
                    lead = form.lead
                    if form.layout == "denominator":
                        n = value.ndim - lead
                        value = np.transpose(value, [*range(n, value.ndim), *range(n)])
                    self._compare(form, value, inner, used, lead, tolerance)

    def _speaks_of_the_gradient(self, part: Definition) -> bool:
        arriving = self.derivation.arriving
        if arriving is None:
            return False
        return any(getattr(q, "name", None) == arriving[0] for q in ordered([part.quantity]))

    # -- comparing ----------------------------------------------------------------------------
    def _compare(
        self,
        form: Definition,
        value: Any,
        env: Env,
        parts: Sequence[Definition],
        lead: int,
        tolerance: float = 1e-6,
    ) -> None:
        """Matrix notation and index notation of one formula against its value."""
        names = {part.quantity: part.name for part in parts}
        if _box(form.quantity, env.sizes) > _BOX:
            if isinstance(form.notation, Indexed):
                raise DerivativeError(
                    f"{form.left()} = {form.text} is too large to be checked at these sizes: give "
                    "names in place of the numbers, or pass check=False"
                )
            by_index: Any = value
            printed = None
        else:
            by_index = evaluate(form.quantity, env, names)
            printed = self._printed(form, value, env, parts)
        target = self._matrix(form, value, lead)
        for text, found, wanted in (
            (form.text, np.asarray(form.notation.value(env)), target),
            (form.index, by_index, value),
            (form.index, by_index if printed is None else printed, value),
        ):
            if isinstance(form.notation, Indexed):
                wanted = value
            if found.size == 1:
                found = np.broadcast_to(found.reshape(()), wanted.shape)
            if found.shape != wanted.shape:
                raise DerivativeError(
                    f"the formula {form.left()} = {text} has shape {found.shape} at sizes "
                    f"{env.sizes}, the derivative {wanted.shape}; please report it"
                )
            scale = max(float(np.max(np.abs(wanted), initial=0.0)), 1e-6)
            error = float(np.max(np.abs(found - wanted), initial=0.0)) / scale
            if not error < tolerance:
                raise DerivativeError(
                    f"the formula {form.left()} = {text} is off by {error:.2g} (relative) at "
                    f"sizes {env.sizes}; please report it"
                )

    def _printed(self, form: Definition, value: Any, env: Env, parts: Sequence[Definition]) -> Any:
        """The printed characters of the index notation read back, None where they are not read."""
        shapes = {p.name: tuple(round(e.value(env.sizes)) for e in p.quantity.shape) for p in parts}
        values = {n: np.reshape(v, shapes[n]) if n in shapes else v for n, v in env.values.items()}
        try:
            return value_of_text(form.index, form.letters, value.shape, env._replace(values=values))
        except CannotRead:
            return None

    def _matrix(self, form: Definition, value: Any, lead: int) -> Any:
        """A value as matrix notation shows it: vectors as columns or rows, tensors linearized."""
        by_rows = self.derivation.convention == "row"
        if value.ndim == 1:
            return value[None, :] if by_rows else value[:, None]
        if isinstance(form, JacobianForm) and 0 < lead < value.ndim and value.ndim > 2:
            order = [*range(lead), *range(lead, value.ndim)]
            if not by_rows:
                order = [*range(lead)[::-1], *range(lead, value.ndim)[::-1]]
            rows = prod(value.shape[:lead])
            return np.transpose(value, order).reshape(rows, -1)
        return value
