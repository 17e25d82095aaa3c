"""The Jacobian object: shapes, layouts, products, exports.

It holds terms (:class:`chainrule.expr.nodes.Term`) of shape out + in over placeholder leaves, and
a value for each leaf: an array, or a traced array inside a traced function.  The values are
computed when first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..expr.draft import Draft, opened, zeros
from ..expr.nodes import Leaf, Node, Term
from ..expr.subs import Sub, const, looks_of
from ..expr.walk import substitute_nodes
from ..simplify.network import compress, finalize
from ..simplify.sums import accumulate
from ..simplify.terms import derived
from .exports import blocks, linear_operator, norm, numpy_function
from .memory import check_size, readable
from .sparse import csr
from .structure import structure_of
from .values import bound_operand, factor_values, value_of

if TYPE_CHECKING:
    import scipy.sparse
    from scipy.sparse.linalg import LinearOperator

__all__ = ["Jacobian", "Layout", "Order"]

Layout = Literal["numerator", "denominator"]
Order = Literal["C", "F"]

_REMEDY = "J @ v, u @ J, J.T @ u (no dense array is formed), J[i, j], or max_bytes=… to insist"


def factor_nodes(terms: Sequence[Term]) -> list[Node]:
    """The distinct nodes that a network stores: factors and tables."""
    found: dict[Node, None] = {}
    for term in terms:
        found.update(dict.fromkeys(n for n, _ in term.factors))
        for subs in (*(s for _, s in term.factors), term.out, term.constraints):
            for sub in subs:
                found.update(dict.fromkeys(look.table for look in looks_of(sub)))
    return list(found)


class Jacobian:
    """A generalized Jacobian: the linear map from tensors of ``in_shape`` to ``out_shape``.

    ``J.shape`` is out + in in numerator layout and in + out in denominator layout.  ``J @ v``
    contracts all input axes (denominator layout: all output axes) with ``v``, ``u @ J`` the other
    group.  Products, sums and multiples are Jacobians; ``J.T`` is the transposed map.
    ``np.asarray(J)`` and ``J.to_dense()`` form the dense array, if it fits.

    It refers to the arrays that it was computed from, it does not copy them.
    """

    __array_priority__ = 2000
    # ndarray @ J asks J, and no ufunc loops over it
    __array_ufunc__ = None

    def __init__(
        self,
        terms: Sequence[Term],
        values: Callable[[], list[Any]] | list[Any],
        out_shape: tuple[int, ...],
        in_shape: tuple[int, ...],
        dtype: np.dtype[Any],
        layout: Layout = "numerator",
        report: tuple[str, int] | None = None,
    ) -> None:
        self._terms = list(terms)
        self._source = values
        self.out_shape = out_shape
        self.in_shape = in_shape
        self.dtype = dtype
        self.layout: Layout = layout
        self._report = report

    # -- building -----------------------------------------------------------------------------
    @classmethod
    def build(
        cls,
        terms: Sequence[Term],
        resolve: Callable[[list[Node]], list[Any]],
        out_shape: tuple[int, ...],
        in_shape: tuple[int, ...],
        dtype: np.dtype[Any],
        layout: Layout = "numerator",
        report: tuple[str, int] | None = None,
        lazy: bool = True,
    ) -> Jacobian:
        """A Jacobian from terms over any nodes; ``resolve`` gives the values of the factors."""
        nodes = factor_nodes(terms)
        placeholders: dict[Node, Node] = {
            node: Leaf(i, node.shape, node.dtype) for i, node in enumerate(nodes)
        }
        renamed = [t for t in _over(terms, placeholders) if isinstance(t, Term)]
        values: Any = (lambda: resolve(nodes)) if lazy else resolve(nodes)
        return cls(renamed, values, out_shape, in_shape, dtype, layout, report)

    @property
    def _values(self) -> list[Any]:
        if callable(self._source):
            self._source = self._source()
        return self._source

    @classmethod
    def from_matrix(
        cls,
        matrix: Any,
        out_shape: tuple[int, ...],
        in_shape: tuple[int, ...],
        order: Order = "C",
    ) -> Jacobian:
        """The Jacobian of a linearized matrix [size of out, size of in]; undoes ``to_matrix``.

        ``order`` says how the groups were linearized: by rows ("C") or by columns ("F").
        """
        array = np.asarray(matrix)
        rows, columns = prod(out_shape), prod(in_shape)
        if array.shape != (rows, columns):
            raise ValueError(
                f"from_matrix: a matrix of shape {array.shape} cannot be a map from {in_shape} to "
                f"{out_shape}, which needs {(rows, columns)}"
            )
        if order == "F":
            array = array.reshape((*out_shape[::-1], *in_shape[::-1]))
            array = array.transpose(
                *range(len(out_shape))[::-1],
                *(len(out_shape) + i for i in range(len(in_shape))[::-1]),
            )
        array = array.reshape((*out_shape, *in_shape))
        return cls._dense(array, tuple(out_shape), tuple(in_shape))

    @classmethod
    def _dense(cls, array: Any, out_shape: tuple[int, ...], in_shape: tuple[int, ...]) -> Jacobian:
        leaf = Leaf(0, array.shape, array.dtype)
        labels = tuple(range(array.ndim))
        term = Term(array.shape, array.dtype, 1, array.shape, ((leaf, labels),), labels)
        return cls([term], [array], out_shape, in_shape, array.dtype)

    # -- what it is ---------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        """out + in (numerator layout) or in + out (denominator layout)."""
        if self.layout == "numerator":
            return self.out_shape + self.in_shape
        return self.in_shape + self.out_shape

    @property
    def ndim(self) -> int:
        return len(self.out_shape) + len(self.in_shape)

    @property
    def size(self) -> int:
        return prod(self.out_shape) * prod(self.in_shape)

    @property
    def structure(self) -> str:
        """The network as a string: factors, ``->``, output letters, ``|``, input letters."""
        if self._report is not None:
            return self._report[0]
        return structure_of(self._terms, len(self.out_shape))

    @property
    def nbytes(self) -> int:
        """Bytes stored: every distinct factor once."""
        if self._report is not None:
            return self._report[1]
        return sum(node.nbytes for node in factor_nodes(self._terms))

    @property
    def dense_nbytes(self) -> int:
        """Bytes that the dense array would take."""
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        return (
            f"Jacobian({list(self.out_shape)} by {list(self.in_shape)}, {self.dtype}, "
            f"{self.layout} layout, structure {self.structure}, stored {readable(self.nbytes)}, "
            f"dense {readable(self.dense_nbytes)})"
        )

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a Jacobian of a scalar by a scalar")
        return self.shape[0]

    def __bool__(self) -> bool:
        raise ValueError("the truth value of a Jacobian is ambiguous; compare J.to_dense()")

    def __float__(self) -> float:
        if self.size != 1:
            raise TypeError(f"only a 1 x 1 Jacobian is a number, not one of shape {self.shape}")
        return float(np.asarray(self.to_dense()).reshape(()))

    def __iter__(self) -> Any:
        if self.size > 2**20:
            raise TypeError(
                f"iterating over a Jacobian of shape {self.shape} would form it row by row; "
                "use J[i, :], J @ v or J.to_dense()"
            )
        return iter(self.to_dense())

    # -- computing ----------------------------------------------------------------------------
    def _bound(self, offset: int = 0) -> tuple[list[Term], dict[Node, Any]]:
        """The terms with leaves numbered from ``offset``, and the values of the leaves."""
        if not offset:
            values = self._values
            found = [n for n in factor_nodes(self._terms) if isinstance(n, Leaf)]
            return self._terms, {n: values[n.slot] for n in found}
        nodes = factor_nodes(self._terms)
        moved: dict[Node, Node] = {
            n: Leaf(n.slot + offset, n.shape, n.dtype) for n in nodes if isinstance(n, Leaf)
        }
        terms = [t for t in _over(self._terms, moved) if isinstance(t, Term)]
        values = self._values
        return terms, {moved[n]: values[n.slot] for n in nodes if isinstance(n, Leaf)}

    def _contract(self, value: Any, group: Literal["out", "in"]) -> Any:
        """Contract a tensor with all axes of one group."""
        terms, bindings = self._bound()
        node, bindings = bound_operand(value, len(self._values), bindings)
        n_out, n_in = len(self.out_shape), len(self.in_shape)
        labels = tuple(range(n_out + n_in))
        mine = labels[:n_out] if group == "out" else labels[n_out:]
        rest = labels[n_out:] if group == "out" else labels[:n_out]
        result_shape = self.in_shape if group == "out" else self.out_shape
        dtype = np.result_type(self.dtype, node.dtype)
        extents = dict(enumerate(self.out_shape + self.in_shape))
        parts = []
        for term in terms:
            kind = np.result_type(term.dtype, node.dtype)
            draft = Draft(
                result_shape, kind, 1, dict(extents), [(term, labels), (node, mine)], rest
            )
            draft.inline(0)
            parts.append(derived(draft))
        return value_of(accumulate(parts, result_shape, dtype), bindings)

    def _check_operand(self, value: Any, group: tuple[int, ...], text: str) -> None:
        if np.shape(value) != group:
            raise ValueError(
                f"{text}: an operand of shape {np.shape(value)} meets axes of shape {group}; this "
                f"Jacobian has out_shape {self.out_shape} and in_shape {self.in_shape} "
                f"({self.layout} layout)"
            )

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, Jacobian):
            if self.layout != other.layout:
                raise ValueError(
                    f"J @ K: layouts differ ({self.layout}, {other.layout}); use with_layout"
                )
            if self.layout == "denominator":
                return other._compose(self)
            return self._compose(other)
        if self.layout == "numerator":
            self._check_operand(other, self.in_shape, "J @ v")
            return self._contract(other, "in")
        self._check_operand(other, self.out_shape, "J @ v")
        return self._contract(other, "out")

    def __rmatmul__(self, other: Any) -> Any:
        if self.layout == "numerator":
            self._check_operand(other, self.out_shape, "u @ J")
            return self._contract(other, "out")
        self._check_operand(other, self.in_shape, "u @ J")
        return self._contract(other, "in")

    def _compose(self, inner: Jacobian) -> Jacobian:
        """The chain rule: self after inner (both in numerator terms)."""
        if self.in_shape != inner.out_shape:
            raise ValueError(
                f"J @ K: J takes tensors of shape {self.in_shape}, K gives {inner.out_shape} "
                f"(J maps {self.in_shape} to {self.out_shape}, K {inner.in_shape} to "
                f"{inner.out_shape})"
            )
        mine, bindings = self._bound()
        theirs, more = inner._bound(len(self._values) + 1)
        bindings = {**bindings, **more}
        n_out, n_mid, n_in = len(self.out_shape), len(self.in_shape), len(inner.in_shape)
        labels = tuple(range(n_out + n_mid + n_in))
        shape = self.out_shape + inner.in_shape
        dtype = np.result_type(self.dtype, inner.dtype)
        extents = dict(enumerate(self.out_shape + self.in_shape + inner.in_shape))
        out = (*labels[:n_out], *labels[n_out + n_mid :])
        made = []
        for a in mine:
            for b in theirs:
                factors = [(a, labels[: n_out + n_mid]), (b, labels[n_out:])]
                draft = Draft(shape, dtype, 1, dict(extents), factors, out)
                draft.inline(1)
                draft.inline(0)
                node = draft.term()
                if node is not None:
                    made.append(compress(node))
        return _rebuilt(made, bindings, self.out_shape, inner.in_shape, dtype, self.layout)

    def __add__(self, other: Any) -> Jacobian:
        return self._plus(other, 1)

    def __sub__(self, other: Any) -> Jacobian:
        return self._plus(other, -1)

    def _plus(self, other: Any, sign: int) -> Jacobian:
        if not isinstance(other, Jacobian):
            raise TypeError(f"a Jacobian can be added to a Jacobian, not to {type(other).__name__}")
        if (self.out_shape, self.in_shape) != (other.out_shape, other.in_shape):
            raise ValueError(
                f"J + K: J maps {self.in_shape} to {self.out_shape}, K {other.in_shape} to "
                f"{other.out_shape}"
            )
        mine, bindings = self._bound()
        theirs, more = other._bound(len(self._values) + 1)
        dtype = np.result_type(self.dtype, other.dtype)
        terms = finalize([*mine, *(_scaled(t, sign) for t in theirs)])
        return _rebuilt(
            terms, {**bindings, **more}, self.out_shape, self.in_shape, dtype, self.layout
        )

    def __mul__(self, factor: Any) -> Jacobian:
        if not isinstance(factor, int | float | complex | np.number):
            raise TypeError(
                f"a Jacobian can be multiplied by a number, not by {type(factor).__name__}; "
                "use @ for products with tensors and Jacobians"
            )
        number = factor.item() if isinstance(factor, np.number) else factor
        dtype = np.result_type(self.dtype, number)
        terms = [_scaled(t, number, dtype) for t in self._terms] if number else []
        return Jacobian(terms, self._source, self.out_shape, self.in_shape, dtype, self.layout)

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> Jacobian:
        return self.__mul__(1 / number)

    def __neg__(self) -> Jacobian:
        return self * -1

    @property
    def T(self) -> Jacobian:
        """The transposed map (out and in exchanged), in the same layout."""
        n_out = len(self.out_shape)
        turned = []
        for term in self._terms:
            draft = opened(term)
            assert draft is not None
            draft.out = [*term.out[n_out:], *term.out[:n_out]]
            draft.shape = self.in_shape + self.out_shape
            node = draft.term()
            assert node is not None
            turned.append(node)
        return Jacobian(
            turned, self._source, self.in_shape, self.out_shape, self.dtype, self.layout
        )

    def with_layout(self, layout: Layout) -> Jacobian:
        """The same map with its axes written out + in or in + out."""
        _check_layout(layout)
        return Jacobian(
            self._terms,
            self._source,
            self.out_shape,
            self.in_shape,
            self.dtype,
            layout,
            self._report,
        )

    # -- elements -----------------------------------------------------------------------------
    def __getitem__(self, key: Any) -> Any:
        """``J[i, j]``: i and j are an index (tuple for several axes) or ``:``, one a group."""
        if not isinstance(key, tuple) or len(key) != 2:
            raise IndexError(
                "a Jacobian takes two indices, one a group: J[i, j], J[(i1, i2), (j1, j2)], "
                "J[i, :], J[:, j]"
            )
        first, second = key if self.layout == "numerator" else key[::-1]
        out = _group_index(first, self.out_shape, "output")
        into = _group_index(second, self.in_shape, "input")
        terms, bindings = self._bound()
        extents: dict[int, int] = {}
        subs: list[Sub] = []
        shape: list[int] = []
        for item, axes in ((out, self.out_shape), (into, self.in_shape)):
            for axis, extent in enumerate(axes):
                if item is None:
                    label = len(extents)
                    extents[label] = extent
                    subs.append(label)
                    shape.append(extent)
                else:
                    subs.append(const(item[axis]))
        parts = []
        for term in terms:
            draft = Draft(
                tuple(shape), term.dtype, 1, dict(extents), [(term, tuple(subs))], range(len(shape))
            )
            draft.inline(0)
            parts.append(derived(draft))
        return value_of(accumulate(parts, tuple(shape), self.dtype), bindings)

    def diagonal(self) -> Any:
        """The elements ``J[i, i]``, of the shape of out (which must equal that of in)."""
        return value_of(*self._diagonal(self.out_shape))

    def trace(self) -> Any:
        """``Σ_i J[i, i]`` without forming J."""
        return value_of(*self._diagonal(()))

    def _diagonal(self, shape: tuple[int, ...]) -> tuple[Node, dict[Node, Any]]:
        if self.out_shape != self.in_shape:
            raise ValueError(
                f"the diagonal needs equal groups, not out_shape {self.out_shape} and in_shape "
                f"{self.in_shape}"
            )
        terms, bindings = self._bound()
        labels = tuple(range(len(self.out_shape)))
        parts = []
        for term in terms:
            draft = Draft(
                shape,
                term.dtype,
                1,
                dict(enumerate(self.out_shape)),
                [(term, labels + labels)],
                labels[: len(shape)],
            )
            draft.inline(0)
            parts.append(derived(draft))
        return accumulate(parts, shape, self.dtype), bindings

    # -- exports ------------------------------------------------------------------------------
    @property
    def node(self) -> Node:
        """The dense array as an expression over the placeholders."""
        shape = self.out_shape + self.in_shape
        return (
            accumulate(self._terms, shape, self.dtype) if self._terms else zeros(shape, self.dtype)
        )

    def to_dense(self, max_bytes: int | None = None) -> Any:
        """The dense array of ``J.shape``; TooLargeError where it would not fit."""
        check_size(
            self.dense_nbytes,
            f"a dense Jacobian of shape {self.shape} ({self.dtype})",
            max_bytes,
            _REMEDY,
        )
        array = value_of(self.node, self._bound()[1])
        if self.layout == "denominator":
            n_out = len(self.out_shape)
            order = [*range(n_out, self.ndim), *range(n_out)]
            array = np.transpose(array, order)
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self.to_dense(), dtype)

    def to_matrix(self, order: Order = "C", max_bytes: int | None = None) -> Any:
        """The linearized Jacobian: [size of out, size of in] (denominator layout: transposed).

        ``order``: groups are linearized by rows ("C") or by columns ("F").
        """
        if order not in ("C", "F"):
            raise ValueError(f"order must be 'C' or 'F', not {order!r}")
        array = self.to_dense(max_bytes)
        first, second = (
            (self.out_shape, self.in_shape)
            if self.layout == "numerator"
            else (self.in_shape, self.out_shape)
        )
        if order == "F":
            n = len(first)
            axes = [*range(n)[::-1], *(n + i for i in range(len(second))[::-1])]
            array = np.transpose(array, axes)
        return np.reshape(array, (prod(first), prod(second)))

    def to_sparse(self, max_bytes: int | None = None) -> scipy.sparse.csr_array[Any]:
        """The linearized Jacobian (C order; denominator layout: transposed) as a CSR array.

        It comes straight from the factors, with neither a dense array nor coloring.  Rows hold
        ascending columns, each once.  Its pattern follows from the structure alone: elements
        that a term reaches are stored, also where they happen to be 0.  TooLargeError where the
        entries would not fit.

        >>> import chainrule as cr, numpy as np
        >>> J = cr.jacobian(np.diff)(np.array([1.0, 4.0, 9.0]))
        >>> S = J.to_sparse()
        >>> S.data.tolist(), S.indices.tolist(), S.indptr.tolist()
        ([-1.0, 1.0, -1.0, 1.0], [0, 1, 1, 2], [0, 2, 4])
        """
        return csr(self, max_bytes)

    def to_linear_operator(self) -> LinearOperator[Any]:
        """The linearized Jacobian (C order) as a SciPy operator: products, nothing formed.

        ``matvec``, ``rmatvec`` (with the conjugate transpose), ``matmat`` and ``rmatmat``.

        >>> import chainrule as cr, numpy as np
        >>> A = cr.jacobian(np.cumsum)(np.ones(3)).to_linear_operator()
        >>> A.matvec(np.array([1.0, 2.0, 3.0])).tolist()
        [1.0, 3.0, 6.0]
        """
        return linear_operator(self)

    def blocks(self, max_bytes: int | None = None) -> Any:
        """Per-example Jacobians: batch + out + in, where the first axes of out and in are a batch.

        (Denominator layout: batch + in + out.)  ValueError where an example of the output
        depends on another example of the input.

        >>> import chainrule as cr, numpy as np
        >>> J = cr.jacobian(lambda x: np.sum(x**2, axis=1))(np.array([[1.0, 2.0], [3.0, 4.0]]))
        >>> J.blocks().tolist()
        [[2.0, 4.0], [6.0, 8.0]]
        """
        return blocks(self, max_bytes)

    def norm(self) -> Any:
        """The Frobenius norm, no dense array formed.

        Large Jacobians are not enumerated: the inner products of all pairs of terms are added,
        so where terms cancel against each other, relative accuracy is lost.

        >>> import chainrule as cr, numpy as np
        >>> float(cr.jacobian(lambda x: x**2)(np.array([1.5, 2.0])).norm())
        5.0
        """
        return norm(self)

    def __array_function__(
        self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        return numpy_function(self, func, args, kwargs)


def _over(terms: Sequence[Term], new: Mapping[Node, Node]) -> list[Node]:
    """Terms over replaced factors (of equal shapes)."""
    return substitute_nodes(list(terms), new)


def _scaled(term: Term, number: Any, dtype: np.dtype[Any] | None = None) -> Term:
    draft = opened(term)
    assert draft is not None
    draft.coef = term.coef * number
    draft.dtype = term.dtype if dtype is None else dtype
    node = draft.term()
    assert node is not None
    return node


def _check_layout(layout: str) -> None:
    if layout not in ("numerator", "denominator"):
        raise ValueError(f"layout must be 'numerator' or 'denominator', not {layout!r}")


def _group_index(item: Any, shape: tuple[int, ...], name: str) -> tuple[int, ...] | None:
    if isinstance(item, slice) and item == slice(None):
        return None
    index = item if isinstance(item, tuple) else (item,)
    if len(index) != len(shape) or not all(isinstance(i, int | np.integer) for i in index):
        raise IndexError(f"the {name} group has shape {shape}: index it with one integer an axis")
    for axis, (i, extent) in enumerate(zip(index, shape, strict=True)):
        if not -extent <= i < extent:
            raise IndexError(f"{name} index {i} is out of bounds for axis {axis} of size {extent}")
    return tuple(int(i) % e for i, e in zip(index, shape, strict=True))


def _rebuilt(
    terms: Sequence[Term],
    bindings: Mapping[Node, Any],
    out_shape: tuple[int, ...],
    in_shape: tuple[int, ...],
    dtype: np.dtype[Any],
    layout: Layout,
) -> Jacobian:
    def resolve(nodes: list[Node]) -> list[Any]:
        return factor_values(nodes, bindings)

    return Jacobian.build(
        finalize(list(terms)), resolve, out_shape, in_shape, dtype, layout, lazy=False
    )
