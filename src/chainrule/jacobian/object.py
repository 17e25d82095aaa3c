"""The Jacobian object: what it is, and the way to everything that it can do.

It holds terms (:class:`chainrule.expr.nodes.Term`) of shape out + in over placeholder leaves, and
a value for each leaf: an array, or a traced array inside a traced function.  The values are
computed when first needed.  What is done with them has a module a subject: products and sums
(:mod:`.algebra`), indices (:mod:`.indexing`), dense and linearized forms (:mod:`.matrices`),
linear systems (:mod:`.solve`), pictures (:mod:`.show`), NumPy's functions (:mod:`.protocols`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse

from ..expr.draft import Draft, zeros
from ..expr.nodes import Leaf, Node, Term
from ..simplify.sums import accumulate
from . import algebra, indexing, matrices
from .exports import blocks, linear_operator
from .memory import readable
from .protocols import Protocols
from .show import html, show
from .solve import Factorization, factorize
from .sparse import csr
from .structure import structure_of
from .terms import bound, differing, factor_nodes, over, scaled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from scipy.sparse.linalg import LinearOperator

__all__ = ["Jacobian", "Layout", "Order"]

Layout = Literal["numerator", "denominator"]
Order = Literal["C", "F"]


class Jacobian(Protocols):
    """A generalized Jacobian: the linear map from tensors of ``in_shape`` to ``out_shape``.

    ``J.shape`` is out + in in numerator layout and in + out in denominator layout.  ``J @ v``
    contracts all input axes (denominator layout: all output axes) with ``v``, ``u @ J`` the other
    group.  Products, sums and multiples are Jacobians; ``J.T`` is the transposed map.
    ``np.asarray(J)`` and ``J.to_dense()`` form the dense array, if it fits.

    It refers to the arrays that it was computed from, it does not copy them.

    NumPy's functions accept it: ``np.trace``, ``np.linalg.norm``, ``np.linalg.solve``, ``np.abs``
    and the linear ones use the structure, all others get the dense array.  SciPy's iterative
    solvers take one of vectors by vectors as it is, others as ``J.to_linear_operator()``.
    """

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
        renamed = over(terms, placeholders)
        values: Any = (lambda: resolve(nodes)) if lazy else resolve(nodes)
        return cls(renamed, values, out_shape, in_shape, dtype, layout, report)

    @property
    def _values(self) -> list[Any]:
        if callable(self._source):
            self._source = self._source()
        return self._source

    def _bound(self, offset: int = 0) -> tuple[list[Term], dict[Node, Any]]:
        """The terms with leaves numbered from ``offset``, and the values of the leaves."""
        return bound(self._terms, self._values, offset)

    @classmethod
    def from_matrix(
        cls,
        matrix: Any,
        out_shape: int | tuple[int, ...],
        in_shape: int | tuple[int, ...],
        order: Order = "C",
        layout: Layout = "numerator",
    ) -> Jacobian:
        """The Jacobian of a linearized matrix; undoes ``to_matrix``.

        The matrix is [size of out, size of in], in denominator layout [size of in, size of out];
        a SciPy sparse array stays sparse.  ``order`` says how the groups were linearized: by
        rows ("C") or by columns ("F").  ValueError where shapes do not fit.

        >>> import chainrule as cr, numpy as np
        >>> row = np.arange(6.0).reshape(1, 6)  # of a scalar function of a [2, 3] array
        >>> cr.Jacobian.from_matrix(row, (), (2, 3)).to_dense().tolist()
        [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
        """
        return matrices.from_matrix(cls, matrix, out_shape, in_shape, order, layout)

    @classmethod
    def identity(
        cls, shape: int | tuple[int, ...], dtype: Any = float, layout: Layout = "numerator"
    ) -> Jacobian:
        """The identity on tensors of a shape; nothing is stored.

        >>> import chainrule as cr
        >>> (2 * cr.Jacobian.identity((3, 4))).structure
        '->ab|ab'
        """
        matrices.check_layout(layout)
        axes, kind = matrices.as_shape(shape), np.dtype(dtype)
        labels = list(range(len(axes)))
        term = Draft(axes + axes, kind, 1, dict(enumerate(axes)), [], [*labels, *labels]).term()
        return cls([] if term is None else [term], [], axes, axes, kind, layout)

    @classmethod
    def _dense(
        cls,
        array: Any,
        out_shape: tuple[int, ...],
        in_shape: tuple[int, ...],
        layout: Layout = "numerator",
    ) -> Jacobian:
        """From an array (or traced array) of shape out + in."""
        leaf = Leaf(0, tuple(array.shape), array.dtype)
        labels = tuple(range(array.ndim))
        extents = dict(enumerate(leaf.shape))
        term = Draft(leaf.shape, array.dtype, 1, extents, [(leaf, labels)], labels).term()
        terms = [] if term is None else [term]
        return cls(terms, [array], out_shape, in_shape, array.dtype, layout)

    # -- what it is ---------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        """out + in (numerator layout) or in + out (denominator layout)."""
        if self.layout == "numerator":
            return self.out_shape + self.in_shape
        return self.in_shape + self.out_shape

    @property
    def ndim(self) -> int:
        """Axes of the dense array."""
        return len(self.out_shape) + len(self.in_shape)

    @property
    def size(self) -> int:
        """Elements of the dense array."""
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

    @property
    def node(self) -> Node:
        """The dense array (out + in) as an expression over the placeholders."""
        shape = self.out_shape + self.in_shape
        return (
            accumulate(self._terms, shape, self.dtype) if self._terms else zeros(shape, self.dtype)
        )

    def __repr__(self) -> str:
        return (
            f"Jacobian({list(self.out_shape)} by {list(self.in_shape)}, {self.dtype}, "
            f"{self.layout} layout, structure {self.structure}, stored {readable(self.nbytes)}, "
            f"dense {readable(self.dense_nbytes)})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles hold the values of the factors (and nothing of the trace)."""
        groups = self.out_shape, self.in_shape
        return (
            Jacobian,
            (self._terms, self._values, *groups, self.dtype, self.layout, self._report),
        )

    # -- as a number or a sequence ------------------------------------------------------------
    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a Jacobian of a scalar by a scalar")
        return self.shape[0]

    def _only(self, name: str) -> Any:
        if self.size != 1:
            raise TypeError(
                f"{name}: only a Jacobian of one element is a number, not one of shape "
                f"{self.shape}; take an element J[i, j], J.norm() or J.trace()"
            )
        value = self.to_dense()
        return value.reshape(()) if hasattr(value, "reshape") else value

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth value of a Jacobian of shape {self.shape} is ambiguous; ask "
                "np.any(J.to_dense()), or J is not None"
            )
        return bool(self._only("bool()"))

    def __float__(self) -> float:
        return float(self._only("float()"))

    def __int__(self) -> int:
        return int(self._only("int()"))

    def __complex__(self) -> complex:
        return complex(self._only("complex()"))

    def __iter__(self) -> Any:
        if not self.shape:
            raise TypeError("iteration over a Jacobian of a scalar by a scalar")
        if self.size > 2**20:
            raise TypeError(
                f"iterating over a Jacobian of shape {self.shape} would form it row by row; "
                "use J[i, :], J @ v or J.to_dense()"
            )
        return iter(self.to_dense())

    # -- products -----------------------------------------------------------------------------
    def _check_operand(self, value: Any, group: tuple[int, ...], text: str) -> None:
        shape = tuple(np.shape(value))
        if shape != group:
            where = differing(shape, group)
            raise ValueError(
                f"{text}: an operand of shape {shape} meets axes of shape {group} ({where}); this "
                f"Jacobian has out_shape {self.out_shape} and in_shape {self.in_shape} "
                f"({self.layout} layout)"
            )

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, Jacobian):
            if self.layout != other.layout:
                raise ValueError(
                    f"J @ K: layouts differ ({self.layout}, {other.layout}); use with_layout"
                )
            numerator = self.layout == "numerator"
            meets = self.in_shape if numerator else self.out_shape
            given = other.out_shape if numerator else other.in_shape
            if meets != given:
                raise ValueError(
                    f"J @ K: J's last axes {meets} meet K's first axes {given} "
                    f"({differing(meets, given)}; J maps {self.in_shape} to {self.out_shape}, "
                    f"K {other.in_shape} to {other.out_shape}, {self.layout} layout)"
                )
            return algebra.compose(self, other) if numerator else algebra.compose(other, self)
        if scipy.sparse.issparse(other):
            return self @ algebra.sparse_factor(self, other, "right")
        if self.layout == "numerator":
            self._check_operand(other, self.in_shape, "J @ v")
            return algebra.contract(self, other, "in")
        self._check_operand(other, self.out_shape, "J @ v")
        return algebra.contract(self, other, "out")

    def __rmatmul__(self, other: Any) -> Any:
        if scipy.sparse.issparse(other):
            return algebra.sparse_factor(self, other, "left") @ self
        if self.layout == "numerator":
            self._check_operand(other, self.out_shape, "u @ J")
            return algebra.contract(self, other, "out")
        self._check_operand(other, self.in_shape, "u @ J")
        return algebra.contract(self, other, "in")

    def solve(self, b: Any, max_bytes: int | None = None) -> Any:
        """The ``v`` of ``in_shape`` with ``J v = b``, for ``b`` of ``out_shape``; J is square.

        Further axes of ``b`` are right-hand sides of their own, and further axes of the result.
        The structure decides how: see :meth:`factorize`, which also shows the choice and keeps
        the factors for further right-hand sides.

        ValueError where J is not square or shapes do not fit, ``numpy.linalg.LinAlgError`` where
        it is singular, TooLargeError where the factors would not fit.

        >>> import chainrule as cr, numpy as np
        >>> H = cr.hessian(lambda x: np.sum(x**4))(np.array([1.0, 2.0]))
        >>> H.solve(np.array([12.0, 12.0])).tolist()
        [1.0, 0.25]
        """
        return factorize(self, max_bytes).solve(b)

    def factorize(self, max_bytes: int | None = None) -> Factorization:
        """J made ready to solve with: ``F.solve(b)``, and ``F.method``, how it is done.

        - *diagonal*: elements are divided;
        - *axes apart* (labels that no factor has, Kronecker products): one small system for each
          group of axes, many right-hand sides;
        - *blocks*: labels diagonal in every term number small dense systems;
        - *low rank* next to terms with few entries: by Woodbury's formula on the factors, refined
          once against J itself;
        - *banded*, *triangular*, *sparse* (LU) where entries are few, else *dense*.
          Positive definite blocks, bands and dense systems go by Cholesky.

        >>> import chainrule as cr, numpy as np
        >>> v = np.ones((9, 2))
        >>> H = cr.hessian(lambda u: np.sum((u @ v.T) ** 2) + np.sum(u**2))(np.ones((4, 2)))
        >>> H.factorize().method
        'axes apart: identity on out axis 0, dense Cholesky of 2 x 2 on out axis 1'
        """
        return factorize(self, max_bytes)

    # -- sums and multiples -------------------------------------------------------------------
    def __add__(self, other: Any) -> Jacobian:
        if isinstance(other, int) and other == 0:  # sum([J, K])
            return self
        return algebra.plus(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Jacobian:
        return algebra.plus(self, other, -1)

    def __rsub__(self, other: Any) -> Jacobian:
        return algebra.plus(-self, other, 1)

    def __mul__(self, factor: Any) -> Jacobian:
        """Elementwise: a number, an array that broadcasts to ``J.shape``, or another Jacobian."""
        return algebra.times(self, factor)

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> Jacobian:
        return self.__mul__(1 / number)

    def __neg__(self) -> Jacobian:
        return Jacobian(
            [scaled(t, -1) for t in self._terms],
            self._source,
            self.out_shape,
            self.in_shape,
            self.dtype,
            self.layout,
            self._report,
        )

    def __pos__(self) -> Jacobian:
        return self

    def __abs__(self) -> Jacobian:
        return algebra.absolute(self)

    def conj(self) -> Jacobian:
        """The complex conjugate, elementwise."""
        return algebra.conjugate(self)

    @property
    def T(self) -> Jacobian:
        """The transposed map (out and in exchanged), in the same layout."""
        return algebra.transposed(self)

    def with_layout(self, layout: Layout) -> Jacobian:
        """The same map with its axes written out + in or in + out."""
        matrices.check_layout(layout)
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
        """``J[i, j]``: an index for the axes of each group, a tuple where they are several.

        Integers, slices, Ellipsis, boolean and one-dimensional index arrays, as in NumPy;
        missing axes are taken whole.  Where one group is left without axes the result is an
        array: ``J[i, j]`` an element, ``J[i, :]`` a row of the shape of the input, ``J[:, j]`` a
        column of that of the output.  Else it is the Jacobian of the part, ``J[1:3, :]``.

        >>> import chainrule as cr, numpy as np
        >>> J = cr.jacobian(lambda x: x**2)(np.array([[1.0, 2.0], [3.0, 4.0]]))
        >>> float(J[(0, 1), (0, 1)]), J[(1, 0), :].tolist()
        (4.0, [[0.0, 0.0], [6.0, 0.0]])
        >>> J[0, :].shape
        (2, 2, 2)
        """
        return indexing.item(self, key)

    def diagonal(self) -> Any:
        """The elements ``J[i, i]``, of the shape of out (which must equal that of in)."""
        return indexing.diagonal(self, self.out_shape)

    def trace(self) -> Any:
        """``Σ_i J[i, i]`` without forming J."""
        return indexing.diagonal(self, ())

    def norm(self) -> Any:
        """The Frobenius norm, no dense array formed.

        Large Jacobians are not enumerated: the inner products of all pairs of terms are added,
        so where terms cancel against each other, relative accuracy is lost.

        >>> import chainrule as cr, numpy as np
        >>> float(cr.jacobian(lambda x: x**2)(np.array([1.5, 2.0])).norm())
        5.0
        """
        return algebra.norm(self)

    # -- exports ------------------------------------------------------------------------------
    def to_dense(self, max_bytes: int | None = None) -> Any:
        """The dense array of ``J.shape``; TooLargeError where it would not fit."""
        return matrices.to_dense(self, max_bytes)

    def to_matrix(self, order: Order = "C", max_bytes: int | None = None) -> Any:
        """The linearized Jacobian: [size of out, size of in] (denominator layout: transposed).

        ``order``: groups are linearized by rows ("C") or by columns ("F").
        """
        return matrices.to_matrix(self, order, max_bytes)

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

    # -- pictures -----------------------------------------------------------------------------
    def show(self, path: Any = None, pixels: int | None = None) -> Figure | None:
        """A picture: where J may be nonzero, a color a term, and the factors that it stores.

        Rows are the first group of axes, linearized in C order, columns the last; large Jacobians
        are coarsened to at most ``pixels`` a side (400, in HTML 64) from their subscripts, never
        formed.  Returns the matplotlib Figure, written to ``path`` (PNG, PDF, SVG by its suffix) if
        given; a path that ends in ``.html`` needs no matplotlib and gives None.  Notebooks show a
        Jacobian as HTML by themselves.

        ImportError where matplotlib is missing; TooLargeError where so many pixels would not fit.
        """
        return show(self, path, pixels)

    def _repr_html_(self) -> str:
        return html(self)
