"""A derivation at small sizes, element by element, and whether the general formula agrees."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DerivativeError
from ..expr.extents import extent
from ..formula.conditions import Clause, clauses, holds
from ..formula.derivation import Definition, Derivation, JacobianForm
from ..formula.elements import Elements, NoElements, Numbers, Scalar, TooLong
from ..formula.evaluate import evaluate
from ..formula.quantity import Add, Num, Pow, Quantity, Sym, ordered
from ..formula.smallcase import Line, Matrix, Section, SmallCase
from ..formula.symbols import meanings
from ..formula.writing import ATOM, Env, latex_name
from .checking import formula_functions
from .sampling import drawn

if TYPE_CHECKING:
    from .writer import Writer

__all__ = ["write_small_case"]

_BUDGET = 30_000  # products of terms, beyond which definitions are not opened
_MOST = 400  # elements of one Jacobian on paper
_SLOPES = "cuvstqek"  # names of derivatives of activations
_LINEAR = {"N": 1, "D": 2, "M": 3}


def write_small_case(writer: Writer, derivation: Derivation, given: Mapping[str, int]) -> SmallCase:
    """The small case at sizes of the names."""
    sizes = _sizes(writer.signature.names, given)
    return _Small(writer, derivation, _allowed(sizes, derivation.condition, given)).run()


def _allowed(sizes: dict[str, int], condition: str, given: Mapping[str, int]) -> dict[str, int]:
    """Sizes under a condition such as ``K ≤ N``; raises ValueError where those given break it."""
    found = clauses(condition)
    for _ in range(len(sizes) + 1):
        for clause in found:
            if not clause.holds(sizes):
                sizes.update(_changed(clause, sizes, given))
    if not holds(condition, sizes):
        raise ValueError(f"the formulas hold for {condition}, not at {sizes}")
    return sizes


def _changed(clause: Clause, sizes: Mapping[str, int], given: Mapping[str, int]) -> dict[str, int]:
    """The least change of sizes that are not given by which a clause holds."""
    left, right = clause.left, clause.right
    if isinstance(right, str) and right:
        gap = clause.relation == "<"
        if right not in given:
            return {right: sizes[left] + gap}
        return {} if left in given else {left: max(sizes[right] - gap, 1)}
    if left in given:
        return {}
    return {left: right if isinstance(right, int) else sizes[left] + 1}


def _sizes(names: list[str], given: Mapping[str, Any]) -> dict[str, int]:
    """Sizes of all names: those given; else N = 1, D = 2, M = 3, or 2 and 3 in turn."""
    for name, value in given.items():
        if name not in names:
            known = ", ".join(names) or "none: all sizes are numbers"
            raise TypeError(f"there is no extent {name!r}; the names are {known}")
        if not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name}={value!r}: give a size of at least 1")
    default = _LINEAR if set(names) == set(_LINEAR) else {}
    return {
        name: int(given.get(name, default.get(name, 2 + k % 2))) for k, name in enumerate(names)
    }


class _Small:
    def __init__(self, writer: Writer, derivation: Derivation, sizes: dict[str, int]) -> None:
        self.writer = writer
        self.derivation = derivation
        self.sizes = sizes
        self.jacobians = derivation.jacobians if derivation.value.shape else None
        self.new = [*self.jacobians.parts] if self.jacobians is not None else []
        self.new += self._slopes({p.quantity for p in (*derivation.parts, *self.new)})
        self.parts: list[Definition] = [*derivation.parts, *self.new]
        names = {p.quantity: p.name for p in self.parts}
        self.integers = self._integers()
        indices = Env(self.integers, sizes, formula_functions())
        self.elements = Elements(sizes, names, self._opaque, indices=indices)
        self.opened = Elements(
            sizes, {}, self._opaque, expand=True, budget=_BUDGET, indices=indices
        )
        value = derivation.value
        self.out = self.elements.shape(value.quantity)
        for path, gradient in derivation.gradients.items():
            into = self.elements.shape(gradient.quantity)
            if prod(self.out) * prod(into) > _MOST:
                raise NoElements(
                    f"the Jacobian by {path} has {prod(self.out)}·{prod(into)} elements at "
                    f"{sizes or 'these sizes'}; a small case has at most {_MOST}: give smaller "
                    "sizes"
                )

    def _integers(self) -> dict[str, Any]:
        """The values of arrays that are used as indices: as given or captured, else 1, 0, 1, …"""
        signature = self.writer.signature
        found = {s: a for s, a in self.writer.captured.items() if np.asarray(a).dtype.kind in "iu"}
        most = 1 if 1 in (*self.sizes.values(), *signature.numbers) else 2
        for k, array in signature.integers.items():
            shape = signature.sizes(signature.dims[k], self.sizes)
            free = (np.arange(prod(shape)) + 1).reshape(shape) % most
            found[self.writer.symbols[k]] = free if array is None else np.asarray(array)
        return found

    def _slopes(self, known: Collection[Quantity]) -> Iterator[Definition]:
        """Names for ``1 − h²`` in Jacobians: elements are multiplied out, which would hide them."""
        taken = self.writer.taken | set(self.writer.names.values())
        letters = iter([c for c in _SLOPES if c not in taken])
        forms = self.jacobians.values() if self.jacobians is not None else ()
        for q in ordered([form.quantity for form in forms]):
            if isinstance(q, Add) and q.shape and len(q.parts) == 2 and q not in known:
                one, other = (part for _, part in q.parts)
                base = other.base if isinstance(other, Pow) else other
                name = next(letters, None) if isinstance(one, Num) and base in known else None
                if name is not None:
                    yield Definition(**self.writer.pen.fields(name, q, top=True))

    def _opaque(self, q: Quantity) -> tuple[str, str]:
        notation = self.writer.pen.notation(q)
        return tuple(notation.write(latex).within(ATOM, latex) for latex in (False, True))  # type: ignore[return-value]

    # -- sections -----------------------------------------------------------------------------
    def run(self) -> SmallCase:
        """All sections."""
        sections = [self._given(), self._forward()]
        agreement: dict[str, str] = {}
        for path in self.derivation.gradients:
            if self.jacobians is not None:
                sections.append(self._rows(path, self.jacobians[path]))
            sections.append(self._gradient(path))
            agreement[path], section = self._agrees(path)
            sections.append(section)
        return SmallCase(self.sizes, tuple(sections), agreement)

    def _given(self) -> Section:
        items = []
        arguments = [
            (name, tuple(dims))
            for name, dims in zip(self.writer.symbols, self.writer.signature.dims, strict=True)
        ]
        for position, (name, _) in enumerate(arguments):
            symbol = self.writer.symbol(position)
            items.append(Matrix((name, latex_name(name)), self._flat(self.elements.of(symbol))))
        indices = [self.writer.symbols[k] for k in self.writer.signature.integers]
        for name in self.integers.keys() - set(indices):
            symbol = Sym(name, tuple(map(extent, np.shape(self.integers[name]))))
            items.append(Matrix((name, latex_name(name)), self._flat(self.elements.of(symbol))))
            indices.append(name)
        if self.derivation.arriving is not None:
            name = self.derivation.arriving[0]
            symbol = Sym(name, self.derivation.value.quantity.shape)
            items.append(Matrix((name, latex_name(name)), self._flat(self.elements.of(symbol))))
        at = ", ".join(f"{n} = {v}" for n, v in self.sizes.items())
        title = f"{self.derivation.function} at {at}" if at else "The arrays"
        note = f"{', '.join(indices)}: indices, counted from 0" if indices else ""
        return Section(title, tuple(items), note)

    def _flat(self, cells: Any) -> Any:
        """Arrays as they are written: vectors as columns or rows, batches of matrices stacked."""
        if cells.ndim == 1:
            return cells[None, :] if self.derivation.convention == "row" else cells[:, None]
        if cells.ndim > 2:
            return cells.reshape(-1, cells.shape[-1])
        return cells

    def _equations(self, name: str, q: Quantity, cells: Any, prefix: str = "") -> list[Line]:
        """One line an element."""
        left = self.elements.symbols(name, q)
        lines = []
        for index in np.ndindex(cells.shape):
            symbol, cell = left[index], cells[index]
            if prefix:
                sides = (
                    f"∂{prefix}/∂{symbol.text}",
                    rf"\frac{{\partial {prefix}}}{{\partial {symbol.latex}}}",
                )
            else:
                sides = (symbol.text, symbol.latex)
            lines.append(Line(sides, (cell.text, cell.latex)))
        return lines

    def _forward(self) -> Section:
        """The value, element by element, by way of the named parts it is made of."""
        value = self.derivation.value
        inside = set(_under(value.quantity))
        items: list[Line] = []
        for part in self.parts:
            if part.quantity in inside:
                cells = self.elements.of(part.quantity, top=True)
                items += self._equations(part.name, part.quantity, cells)
        if value.quantity not in self.elements.names:
            items += self._equations(value.name, value.quantity, self.elements.of(value.quantity))
        return Section("The function, element by element", tuple(items))

    def _jacobian(self, form: JacobianForm, elements: Elements) -> Any:
        """The elements of a Jacobian in the order out + in."""
        cells = elements.of(form.quantity)
        if form.layout == "denominator":
            n = form.lead
            cells = np.transpose(cells, [*range(n, cells.ndim), *range(n)])
        return cells

    def _rows(self, path: str, form: JacobianForm) -> Section:
        cells = self._jacobian(form, self.elements)
        value = self.derivation.value
        left = self.elements.symbols(value.name, value.quantity)
        name = form.name
        items: list[Line | Matrix] = []
        inside = set(_under(form.quantity))
        for part in self.new:
            if part.quantity in inside:
                opened = self.elements.of(part.quantity, top=True)
                items += self._equations(part.name, part.quantity, opened)
        for index in np.ndindex(self.out):
            over = left[index]
            sides = (
                f"∂{over.text}/∂{name}",
                rf"\frac{{\partial {over.latex}}}{{\partial {latex_name(name)}}}",
            )
            items.append(Matrix(sides, self._flat(_array(cells[index]))))
        note = f"each row of the Jacobian has the shape of {name}"
        return Section(f"The Jacobian by {name}, row by row", tuple(items), note)

    def _gradient(self, path: str) -> Section:
        """Each element of the gradient as the sum of products over the elements of y."""
        gradient = self.derivation.gradients[path]
        L = self.derivation.output
        cells = self._by_hand(path, self.elements)
        items: list[Line | Matrix] = []
        if self.jacobians is None:
            inside = set(_under(gradient.quantity)) - set(_under(self.derivation.value.quantity))
            for part in self.parts:
                if part.quantity in inside:
                    opened = self.elements.of(part.quantity, top=True)
                    items += self._equations(part.name, part.quantity, opened)
        symbol = Sym(gradient.name, gradient.quantity.shape)
        items += self._equations(gradient.name, symbol, cells, prefix=L)
        title = f"The chain rule for each element of {gradient.name}"
        if self.derivation.arriving is not None:
            value, arriving = self.derivation.value.name, self.derivation.arriving[0]
            title += f": Σ over the elements of {value} of {arriving} · ∂{value}/∂{gradient.name}"
        return Section(title, tuple(items))

    def _by_hand(self, path: str, elements: Elements) -> Any:
        """``Σ_i G_i ∂y_i/∂x_j``, multiplied out from the Jacobian's rows."""
        gradient = self.derivation.gradients[path]
        if self.jacobians is None or self.derivation.arriving is None:
            return elements.of(gradient.quantity)
        rows = self._jacobian(self.jacobians[path], elements)
        arriving = Sym(self.derivation.arriving[0], self.derivation.value.quantity.shape)
        weights = elements.of(arriving)
        shape = elements.shape(gradient.quantity)
        total = np.empty(shape, object)
        for j in np.ndindex(shape):
            total[j] = Scalar()
            for i in np.ndindex(self.out):
                total[j] = total[j] + weights[i] * rows[(*i, *j)]
        return total

    # -- agreement ----------------------------------------------------------------------------
    def _agrees(self, path: str) -> tuple[str, Section]:
        """The general formula, written out, against the elements differentiated one by one."""
        gradient = self.derivation.gradients[path]
        try:
            general = self.opened.of(gradient.quantity)
            found = self._differentiated(path)
        except TooLong:  # the definitions stay closed
            general = self.elements.of(gradient.quantity)
            found = self._by_hand(path, self.elements)
        same = all(a == b for a, b in zip(general.flat, found.flat, strict=True))
        if not same:
            self._numerically(path, general, found)
        how = "symbolically" if same else "at random values"
        item = Line((gradient.left(), gradient.left(True)), (gradient.text, gradient.latex))
        shown = Matrix(
            (gradient.left(), gradient.left(True)),
            self._flat(self.elements.of(gradient.quantity)),
        )
        note = f"the elements agree with those above {how}"
        title = f"The general formula for {gradient.name}"
        used = set(_under(gradient.quantity))
        of_value = set(_under(self.derivation.value.quantity))
        parts = [p for p in self.derivation.parts if p.quantity in used - of_value]
        lines = [Line((p.left(), p.left(True)), (p.text, p.latex)) for p in parts]
        said = tuple(meanings([*parts, gradient]))
        return how, Section(title, (*lines, item, shown), note, said)

    def _differentiated(self, path: str) -> Any:
        """The gradient from the elements of y alone, where school's rules suffice."""
        gradient = self.derivation.gradients[path]
        value = self.opened.of(self.derivation.value.quantity)
        symbol = self.writer.symbol(self.writer.symbols.index(gradient.name))
        arguments = self.opened.of(symbol)
        if self.derivation.arriving is not None:
            arriving = self.derivation.arriving[0]
            weights = self.opened.of(Sym(arriving, self.derivation.value.quantity.shape))
        else:
            weights = np.array(Scalar.number(Fraction(1)), dtype=object)
        total = np.empty(arguments.shape, object)
        for j in np.ndindex(arguments.shape):
            total[j] = Scalar()
            ((wanted, _),) = next(iter(arguments[j].terms.values()))[1]
            for i in np.ndindex(value.shape):
                slope = value[i].by(wanted)
                if slope is None:
                    return self._by_hand(path, self.opened)
                if symbol.symmetric and j[0] != j[1]:  # K₁₂ stands for K₂₁ as well
                    slope = slope.scaled(Fraction(1, 2))
                total[j] = total[j] + weights[i] * slope
        return total

    def _numerically(self, path: str, general: Any, found: Any) -> None:
        """The same by numbers; raises DerivativeError where they differ."""
        signature = self.writer.signature
        rng = np.random.default_rng(0)
        for attempt in range(3):
            given = drawn(signature, self.sizes, rng, attempt)
            values: dict[str, Any] = dict(zip(self.writer.symbols, given, strict=True))
            values |= self.integers
            values |= dict(self.writer.captured)
            if self.derivation.arriving is not None:
                values[self.derivation.arriving[0]] = rng.normal(size=self.out)
            env = Env(values, self.sizes, formula_functions())
            with np.errstate(all="ignore"):
                for part in self.parts:
                    names = {p.quantity: p.name for p in self.parts if p.name in values}
                    values[part.name] = evaluate(part.quantity, env, names)
                numbers = Numbers(env)
                pairs = [
                    (a.value(numbers), b.value(numbers))
                    for a, b in zip(general.flat, found.flat, strict=True)
                ]
            if not np.isfinite(pairs).all():
                continue
            scale = max((abs(a) for a, _ in pairs), default=0.0) + 1e-9
            worst = max((abs(a - b) for a, b in pairs), default=0.0) / scale
            if worst > 1e-8:
                raise DerivativeError(
                    f"element by element the gradient by {path} differs from its formula by "
                    f"{worst:.2g} (relative); please report it"
                )
            return
        raise DerivativeError(
            f"the gradient by {path} has no finite values at {self.sizes}: its small case cannot "
            "be compared"
        )


def _array(cells: Any) -> Any:
    """An element as an array of no axes."""
    if isinstance(cells, Scalar):
        whole = np.empty((), object)
        whole[()] = cells
        return whole
    return cells


def _under(q: Quantity) -> list[Quantity]:
    return ordered([q])
