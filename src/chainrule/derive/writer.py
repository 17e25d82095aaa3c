"""From two traces to a Derivation: translate, simplify, name, write."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..expr.extents import ONE, ZERO, Extent, extent
from ..expr.extents import name as named
from ..expr.nodes import Call, Leaf, Map, Node, Term
from ..expr.walk import topological
from ..formula.adjoints import is_adjoint_name
from ..formula.algebra import Algebra
from ..formula.composing import is_whole
from ..formula.costs import flops, size
from ..formula.derivation import (
    Convention,
    Definition,
    Derivation,
    Forms,
    Gradient,
    Gradients,
    Hessians,
    JacobianForm,
    Layout,
)
from ..formula.grouping import is_normalized
from ..formula.indices import Indices
from ..formula.kronecker import Generalized
from ..formula.lowered import Lowering, NotLowered
from ..formula.matrix import Matrices, NoMatrixForm
from ..formula.naming import choose_names
from ..formula.networks import exchanged, stored_factors, total_of
from ..formula.notation import Name, Notation
from ..formula.quantity import Num, Quantity, Sym, is_view, ordered
from ..formula.refining import refined
from ..formula.rows import in_rows
from ..formula.smallcase import SmallCase
from ..formula.source import PARTS, emit
from ..formula.steps import Steps
from ..formula.structures import named_structure
from ..formula.symbolic import FormulaError, Translator, size_pairs
from ..formula.symbols import Meaning
from ..formula.writing import latex_name
from ..jacobian.structure import structure_of
from .checking import POOLS, Checker
from .emission import check_emitted, program_of
from .loops import EVEN_AND_ODD, LoopPlan
from .loops import POOLS as LOOP_POOLS
from .nested import Closed, closed_form, differentiated
from .signature import Signature, function_name
from .small import write_small_case
from .stepping import Stepper
from .tracing import Kind, Loops, Trace, networks_by, trace

__all__ = ["Options", "Writer"]


@dataclass(frozen=True)
class Options:
    """How derivatives are laid out, and whether they are checked."""

    layout: Layout = "numerator"
    convention: Convention = "column"
    check: bool = True
    conditions: bool = True  # on sizes: sought for loops, too

    @property
    def said(self) -> str:
        """Layout and convention in words."""
        order = "out, in" if self.layout == "numerator" else "in, out"
        lines = "columns" if self.convention == "column" else "rows"
        return f"{self.layout} layout: {order}; vectors are {lines}, vec stacks {lines}"


class Writer:
    """Writes the derivatives of one function; what it names once keeps its name."""

    def __init__(
        self,
        signature: Signature,
        wanted: list[int],
        options: Options,
        loops: LoopPlan | None = None,
    ) -> None:
        self.signature = signature
        self.wanted = wanted
        self.options = options
        self.loops = loops
        if loops is None:
            self.first, self.second = size_pairs(signature.growing, signature.numbers)
        else:
            self.first, self.second = loops.sizes(signature.names)
        self.algebra = Algebra()
        self.translator = Translator(self.algebra, self.first, self.second)
        self.symbols = _short_names(signature.paths)
        self.translator.from_the_end = {
            self.symbols[k]
            for k, array in signature.integers.items()
            if array is not None and np.min(np.asarray(array), initial=0) < 0
        }
        self.translator.symmetric = self.symmetric
        self.taken = set(self.symbols) | set(signature.names)
        self.captured: dict[str, Any] = {}
        self.minor: set[str] = set()  # names that helper functions give
        self.own: dict[Quantity, str] = {}  # names by quantities as translated
        self.primal: set[Quantity] = set()
        self.adjoints: dict[str, Quantity] = {}  # of what named quantities are the adjoint
        self.elements = 0  # how many the function reads one by one
        self._closed: list[Closed] | None = None  # of a function that takes derivatives itself
        self.counters = 0  # how often loop counters are used as numbers
        self._alive: list[tuple[Trace, Trace]] = []  # nodes are interned only while they live

    def traces(self, kind: Kind) -> tuple[Trace, Trace]:
        """The function at both sizes."""
        how = None if self.loops is None else Loops(self.loops.arrays, self.loops.counting)
        pair = (
            trace(self.signature, self.first, self.wanted, kind, how),
            trace(self.signature, self.second, self.wanted, kind, how),
        )
        self.elements = max(t.elements for t in pair)
        self._same(*pair)
        self.counters = max(t.counters for t in pair)
        self._alive.append(pair)
        if not pair[0].nested:
            return pair
        if len(self._alive) == 1:
            self._closed = closed_form(
                pair, self.symbols, self.symmetric, (self.first, self.second)
            )
        if self._closed is None:
            return pair
        return differentiated(pair, self._closed, self.wanted, self.signature.symmetric, kind)

    @property
    def symmetric(self) -> frozenset[str]:
        """The symbols of symmetric matrices."""
        return frozenset(self.symbols[k] for k in self.signature.symmetric)

    def symbol(self, k: int) -> Sym:
        """The symbol of a leaf."""
        return Sym(self.symbols[k], self._leaf_extents(k), k in self.signature.symmetric)

    # -- gradients ----------------------------------------------------------------------------
    def write(self) -> Derivation:
        """The derivation, its gradients written; all else follows when it is asked for."""
        signature, translator, taken = self.signature, self.translator, self.taken
        one, other = self.traces("gradients")
        self._name_leaves(one, other)
        arriving = _fresh("G", taken)
        if one.arriving is not None:
            taken.add(arriving)
            translator.symbols[one.arriving] = arriving
        self.minor = set(one.helpers)
        translator.labels = self._labels(one, taken)
        translator.forward = True
        (value,) = translator.roots([one.output], [other.output])
        translator.forward = False
        self.primal = set(ordered(translator.known.values()))
        roots = translator.roots(one.gradients, other.gradients)
        places = {name: place for place, name in enumerate(translator.labels.values())}
        own = dict(
            sorted(translator.names.items(), key=lambda item: places.get(item[1], len(places)))
        )
        if own.get(value) in self.minor:
            del own[value]
        value_name = "y" if "y" not in taken | set(own.values()) else _fresh("Y", taken)
        if one.arriving is not None and value.children:
            own.setdefault(value, value_name)
        value_name = own.get(value, value_name)
        names, new = self._named(roots, own, [value], adjoints=self._adjoints(one, other, roots))
        self.value = value = new[value]
        self.local_names = {new[q]: name for q, name in own.items() if q in new}
        self.names = names
        taken |= set(names.values())
        self.output = _fresh("ℓ" if "L" in taken else "L", taken)
        self.pen = pen = _Pen(self, names)
        gradients = Gradients()
        for k, raw in zip(self.wanted, roots, strict=True):
            fields = pen.fields(self.symbols[k], new[raw])
            gradients[signature.paths[k]] = Gradient(
                **fields,
                output=self.output,
                _structure=partial(self._structure, signature.paths[k]),
            )
        self.value_name = value_name if one.arriving is not None else self.output
        self.derivation = Derivation(
            function=function_name(signature.function),
            arguments=tuple(
                (s, tuple(map(str, d))) for s, d in zip(self.symbols, signature.dims, strict=True)
            ),
            output=self.output,
            value=Definition(**pen.fields(self.value_name, value)),
            gradients=gradients,
            parts=pen.parts(()),
            arriving=(arriving, tuple(map(str, value.shape))) if one.arriving is not None else None,
            layout=self.options.layout,
            convention=self.options.convention,
            symmetric=self.symmetric,
            author=self,
        )
        return self.derivation

    def _adjoints(
        self, one: Trace, other: Trace, roots: Sequence[Quantity]
    ) -> dict[Quantity, Quantity]:
        """∂L/∂ of what the function computes on the way, and of what; of several the last one."""
        known, partner = self.translator.known, self.translator._partner
        labels = self.translator.labels
        inside = {
            arg for n in topological([one.output]) if isinstance(n, Map | Call) for arg in n.args
        }
        nodes = [
            n
            for n in one.adjoints
            if not isinstance(known.get(n, Num(ONE)), Sym | Num)
            and (n in labels or n in inside or is_normalized(known[n]))
            and (n in labels or not is_view(known[n]))
        ]
        pairs = [(one.adjoints[n], other.adjoints[partner[n]]) for n in nodes]
        found = self.translator.roots([a for a, _ in pairs], [b for _, b in pairs])
        by: dict[Quantity, Quantity] = {}
        for node, adjoint in zip(nodes, found, strict=True):  # from the output on
            if isinstance(adjoint, Sym | Num) or not adjoint.children:
                continue
            of = known[node]
            if adjoint in ordered([of]):
                continue  # a residual is half the adjoint of its own square
            # rather of S than of S with its maximum subtracted
            if adjoint not in by or node in labels or of in ordered([by[adjoint]]):
                by[adjoint] = of
        for k, root in zip(self.wanted, roots, strict=True):
            if root.children:
                by.setdefault(root, known[one.inputs[k]])
        return by

    def _labels(self, one: Trace, taken: set[str]) -> dict[Node, str]:
        """The names of values; one that a size has as well gets a number: ``K1``."""
        labels: dict[Node, str] = {}
        for node, name in one.locals.items():
            if name in self.signature.names:
                name = next(
                    fresh
                    for k in itertools.count(1)
                    if (fresh := f"{name}{k}") not in {*taken, *one.locals.values()}
                )
                self.minor.add(name)
            if name not in taken:
                labels[node] = name
        return labels

    def _structure(self, path: str) -> str:
        """The structure of the Jacobian by an argument."""
        return self.derivation.jacobians[path].structure

    def _name_leaves(self, one: Trace, other: Trace) -> None:
        translator = self.translator
        for leaf, symbol in zip(one.inputs, self.symbols, strict=True):
            translator.symbols[leaf] = symbol
        translator.arrays = (dict(one.captured), dict(other.captured))
        for number, (leaf, array) in enumerate(one.captured):
            symbol = _captured_name(self.signature.function, array) or f"c{number}"
            while symbol in self.taken:
                symbol += "_"
            self.taken.add(symbol)
            self.captured[symbol] = array
            translator.symbols[leaf] = symbol

    def _named(
        self,
        roots: Sequence[Quantity],
        own: Mapping[Quantity, str],
        also: Sequence[Quantity] = (),
        grouping: bool = True,
        adjoints: Mapping[Quantity, Quantity] | None = None,
    ) -> tuple[dict[Quantity, str], dict[Quantity, Quantity]]:
        """Names of the parts of roots, and the roots simplified again, by the old ones."""
        new, named, primal, grouped, by = refined(roots, own, self.primal, also, grouping, adjoints)
        taken = self.taken | {"δ"}
        inner = [new[r] for r in roots]
        names = choose_names(inner, named, primal, taken, self.minor, grouped, by, grouping)
        self.adjoints |= {
            names[q]: of for q, of in by.items() if q in names and is_adjoint_name(names[q])
        }
        self.own = dict(own) | {raw: names[q] for raw, q in new.items() if q in names}
        return names, new

    # -- Jacobians and Hessians ---------------------------------------------------------------
    def jacobians(self) -> Forms[JacobianForm]:
        """∂y/∂x by each argument."""
        one, other = self.traces("jacobians")
        keys = [((self.value_name, self.symbols[k]), k) for k in self.wanted]
        forms: Forms[JacobianForm] = Forms()
        forms.note = self.options.said
        forms.parts, written = self._networks(one, other, keys, self.value.ndim)
        for k, form in zip(self.wanted, written, strict=True):
            forms[self.signature.paths[k]] = form
        if self.options.check:
            self.checker().jacobians(forms.parts, list(forms.values()), self.wanted)
        return forms

    def hessians(self) -> Hessians:
        """∂²L/∂x∂w by each pair of arguments."""
        if self.value.shape:
            shape = ", ".join(map(str, self.value.shape))
            raise ValueError(
                f"{function_name(self.signature.function)} has a result of shape ({shape}), no "
                "scalar: there is no Hessian; take .jacobians, or sum the result"
            )
        pairs = [(i, j) for i in self.wanted for j in self.wanted]
        keys = [((self.output, self.symbols[i], self.symbols[j]), j) for i, j in pairs]
        hessians = Hessians()
        hessians.note = self.options.said
        leads = [len(self.signature.dims[i]) for i, _ in pairs]
        try:
            one, other = self._second_derivatives()
            hessians.parts, written = self._networks(one, other, keys, *leads)
        except (FormulaError, NotLowered):  # the two sizes differ there, or it has no nodes
            one, other = self.traces("hessians")
            hessians.parts, written = self._networks(one, other, keys, *leads)
        paths = self.signature.paths
        for (i, j), form in zip(pairs, written, strict=True):
            hessians[paths[i], paths[j]] = form
        if self.options.check:
            self.checker().hessians(hessians.parts, list(hessians.values()), pairs)
        return hessians

    def _second_derivatives(self) -> tuple[Trace, Trace]:
        """Networks of the closed forms of the gradients.  Raises NotLowered."""
        forms = [self.derivation.gradients[self.signature.paths[k]].quantity for k in self.wanted]
        traces = self._alive[0]
        sizes = self.first, self.second
        lowered = [Lowering(self._leaves(t), s) for t, s in zip(traces, sizes, strict=True)]
        pair = [low.nodes(forms) for low in lowered]
        self.translator.learn(*(low.known for low in lowered))
        found = []
        for t, gradients in zip(traces, pair, strict=True):
            sources = [t.inputs[k] for k in self.wanted]
            flags = [k in self.signature.symmetric for k in self.wanted]
            networks = [terms for g in gradients for terms in networks_by(g, sources, flags)]
            found.append(replace(t, gradients=gradients, networks=networks))
        self._alive.append((found[0], found[1]))
        return found[0], found[1]

    def _leaves(self, t: Trace) -> dict[str, Leaf]:
        """The leaves of a trace by the names of their symbols."""
        leaves = dict(zip(self.symbols, t.inputs, strict=True))
        known = self.translator.symbols
        for leaf, _ in t.captured:
            if leaf in known:
                leaves[known[leaf]] = leaf
        if t.arriving is not None and t.arriving in known:
            leaves[known[t.arriving]] = t.arriving
        return leaves

    def _same(self, one: Trace, other: Trace) -> None:
        first = self._alive[0] if self._alive else (one, other)
        if one.output is not first[0].output or other.output is not first[1].output:
            raise FormulaError(
                f"{function_name(self.signature.function)} computed something else when it was "
                "called again; a function to be derived must not depend on outer state that changes"
            )

    def _networks(
        self,
        one: Trace,
        other: Trace,
        keys: Sequence[tuple[tuple[str, ...], int]],
        *leads: int,
    ) -> tuple[tuple[Definition, ...], list[JacobianForm]]:
        """Definitions that are new, and the closed forms of networks."""
        if len(leads) == 1:
            leads = leads * len(keys)
        translated: list[list[Quantity]] = []
        number = self.translator.number
        for a, b in zip(one.networks, other.networks, strict=True):
            shapes = zip(a[0].shape, b[0].shape, strict=True) if a and b else ()
            shape = tuple(number(x, y) for x, y in shapes)
            translated.append(self.translator.network(a, b, shape))
        raw = [q for terms in translated for q in terms]
        inside = set(ordered(raw))
        own = {q: name for q, name in self.own.items() if q in inside}
        before = set(self.names)
        names, new = self._named(raw, {**self.own, **own}, grouping=False)
        self.taken |= set(names.values())
        self.names = {**self.names, **names}
        pen = _Pen(self, self.names)
        forms = []
        for position, ((of, k), lead) in enumerate(zip(keys, leads, strict=True)):
            terms = [new[q] for q in translated[position]]
            forms.append(
                self._form(
                    pen, of, k, lead, terms, one.networks[position], other.networks[position]
                )
            )
        used = {q for form in forms for q in ordered([form.quantity])}
        return tuple(p for p in pen.parts(before) if p.quantity in used), forms

    def _form(
        self,
        pen: _Pen,
        of: tuple[str, ...],
        k: int,
        lead: int,
        terms: Sequence[Quantity],
        ones: Sequence[Term],
        others: Sequence[Term],
    ) -> JacobianForm:
        out = self._extents(of, lead)
        into = self._leaf_extents(k)
        shape = (*out, *into)
        quantity = total_of(terms, shape)
        if len(of) == 2 and not lead:
            quantity = self.derivation.gradients[self.signature.paths[k]].quantity
        structure = named_structure(
            structure_of(ones, lead), structure_of(others, lead), self.first, self.second
        )
        if structure is None:
            raise self.translator._differs(structure_of(ones, lead), structure_of(others, lead))
        stored = ZERO
        seen: dict[Node, Node] = {
            n: m
            for a, b in zip(ones, others, strict=True)
            for (n, _), (m, _) in zip(a.factors, b.factors, strict=True)
        }
        for n, m in seen.items():
            stored = stored + size(self.translator.shape(n, m))
        if self.options.layout == "denominator":
            quantity = exchanged(quantity, lead)
            lead = len(into)
        fields = pen.fields(of[-1], quantity, lead)
        return JacobianForm(
            **fields,
            of=of[:-1],
            lead=lead,
            structure=structure,
            stored=stored,
            layout=self.options.layout,
        )

    def _extents(self, of: tuple[str, ...], lead: int) -> tuple[Extent, ...]:
        if len(of) == 2:
            return self.value.shape
        return self._leaf_extents(self.symbols.index(of[1]))

    def _leaf_extents(self, k: int) -> tuple[Extent, ...]:
        return tuple(named(e) if isinstance(e, str) else extent(e) for e in self.signature.dims[k])

    def steps(self) -> Steps:
        """How the gradients come about."""
        return Stepper(self, self.derivation).run()

    def small_case(self, sizes: Mapping[str, int]) -> SmallCase:
        """The derivation in explicit matrices."""
        return write_small_case(self, self.derivation, sizes)

    # -- checking -----------------------------------------------------------------------------
    def checker(self) -> Checker:
        """Compares what is written with numbers."""
        pools = POOLS if self.loops is None else LOOP_POOLS
        if self.loops is not None and not all(map(is_whole, self.value.shape)):
            pools = EVEN_AND_ODD
        partly = getattr(self.signature.function, "partly", False)
        return Checker(self.signature, self.symbols, self.captured, self.derivation, pools, partly)

    def check(self, backends: Sequence[str] = ()) -> None:
        """Compare everything that has been written with numbers, emitted code among it."""
        checker = self.checker()
        if self.loops is not None:
            checker.value(self.value)
        checker.gradients(self.wanted)
        if self.loops is None and not self.derivation.condition:
            self.derivation.condition = checker.condition()
        for backend in backends:
            check_emitted(checker, program_of(self, PARTS[:2]), backend, self.wanted)

    def source(self, backend: str, style: str, parts: Sequence[str]) -> str:
        """Code of what has been written."""
        return emit(program_of(self, parts), backend, style, parts)


class _Pen:
    """Writes quantities under names, in the convention asked for."""

    def __init__(self, writer: Writer, names: Mapping[Quantity, str]) -> None:
        self.writer = writer
        self.names = names
        self.indices = Indices(names, writer.taken | set(names.values()))
        self.matrices = Matrices(names)
        self.by_rows = writer.options.convention == "row"
        self.generalized = Generalized(self.matrices, self.by_rows)

    def notation(self, q: Quantity, top: bool = False, lead: int | None = None) -> Notation:
        """Matrix notation where there is one, else index notation."""
        for form in (q, self.writer.algebra.multiplied_out(q)):
            try:
                written = (
                    self.matrices.write(form, top)
                    if lead is None
                    else self.generalized.write(form, lead)
                )
            except NoMatrixForm:
                continue
            vector = q.ndim == 1 and sum(e != ONE for e in q.shape) <= 1
            return in_rows(written, 1 if vector else 2) if self.by_rows else written
        return self.indices.write(q)

    def fields(
        self, name: str, q: Quantity, lead: int | None = None, top: bool = False
    ) -> dict[str, Any]:
        """What every definition holds."""
        return {
            "name": name,
            "quantity": q,
            "notation": self.notation(q, top, lead),
            "index_notation": self.indices.write(q),
            "letters": self.indices.letters(q.shape),
            "shape": tuple(map(str, q.shape)),
            "cost": flops(self._computed(q, lead), set(self.names), self.writer.first),
            "extents": tuple(self.writer.signature.names),
        }

    def _computed(self, q: Quantity, lead: int | None) -> list[Quantity]:
        """What is computed to have a quantity: of a Jacobian its factors, as far as new."""
        return [f for f in stored_factors(q) if f not in self.names] if lead else [q]

    def parts(self, known: Any) -> list[Definition]:
        """The definitions of names that are not in ``known``."""
        return [
            Definition(**self.fields(name, q, top=True), adjoint=self._adjoint(name))
            for q, name in self.names.items()
            if q not in known
        ]

    def _adjoint(self, name: str) -> Meaning | None:
        """``P̄ = ∂L/∂P``, where a name is that of an adjoint."""
        of = self.writer.adjoints.get(name)
        if of is None:
            return None
        notation, output = self.notation(of), self.writer.output
        plain = isinstance(notation, Name)
        text = notation.text if plain else f"({notation.text})"
        latex = notation.latex if plain else rf"\left({notation.latex}\right)"
        return Meaning(
            f"{name} = ∂{output}/∂{text}",
            rf"{latex_name(name)} = \frac{{\partial {latex_name(output)}}}{{\partial {latex}}}",
        )


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "̄" if len(name) == 1 else "_"
    return name


def _short_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path where it is unique, else the path."""
    last = [path.rsplit(".", 1)[-1] for path in paths]
    return [s if last.count(s) == 1 else path for s, path in zip(last, paths, strict=True)]


def _captured_name(f: Callable[..., Any], array: Any) -> str | None:
    code = inspect.unwrap(f)
    try:
        known = inspect.getclosurevars(code)
    except TypeError:
        return None
    for name, value in {**known.globals, **known.nonlocals}.items():
        if value is array:
            return name
    return None
