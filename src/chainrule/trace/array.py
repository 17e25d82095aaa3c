"""The traced array: a handle on a shared cell, with NumPy's protocols, operators and methods.

A cell holds the expression of one array as it is now.  Views (basic indexing, transposes,
reshapes) are handles on the same cell with a way to read and to write it; writing through any of
them replaces the cell's expression.  Nothing is ever mutated outside the trace.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from ..errors import EscapedTracerError, TraceError, located, scipy_caller, user_line
from ..expr.nodes import Const, Node
from ..expr.walk import substitute_nodes
from .session import LOCAL, Session, require_session

__all__ = [
    "METHODS",
    "OPERATORS",
    "TracedArray",
    "as_node",
    "install_methods",
    "is_traced",
    "traced",
]

# Filled by trace.functions: NumPy function or ufunc -> implementation on traced arrays.
FUNCTIONS: dict[Any, Callable[..., Any]] = {}
UFUNCS: dict[Any, Callable[..., Any]] = {}
METHODS: dict[str, Callable[..., Any] | property] = {}
OPERATORS: dict[str, Callable[..., Any]] = {}


#: what NumPy calls functions of ``math`` that it has under another name
_TWINS = {"pow": "power", "fabs": "abs", "atan2": "arctan2"} | {
    f"a{name}": f"arc{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")
}


class _Cell:
    """The expression of one array that has views or was written to, replaced by every write."""

    __slots__ = ("node", "version")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.version = 0


class _Route:
    """How a view reads its parent and writes to it."""

    __slots__ = ("parent", "read", "write")

    def __init__(
        self,
        parent: TracedArray,
        read: Callable[[Node], Node],
        write: Callable[[Node, Node], Node],
    ) -> None:
        self.parent = parent
        self.read = read
        self.write = write


class TracedArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array whose values are not computed yet; behaves as NumPy's array does."""

    __slots__ = ("_cell", "_node", "_route", "_session", "_version", "weak")
    __array_priority__ = 1000

    def __init__(self, node: Node, weak: bool = False) -> None:
        self._node = node
        self._session: Session | None = LOCAL.session
        self._cell: _Cell | None = None  # most arrays are never written to
        self._route: _Route | None = None
        self._version = 0
        self.weak = weak

    # -- the node, and views ------------------------------------------------------------------
    @property
    def node(self) -> Node:
        """The expression as it is now (writes through other views are seen)."""
        if self._session is not LOCAL.session:
            raise EscapedTracerError(
                located(
                    "a traced array is used outside of the function call that it belongs to",
                    "return it from the traced function; do not keep it in a global",
                )
            )
        cell = self._cell
        if cell is not None and self._version != cell.version:
            chain: list[TracedArray] = []
            handle = self
            while handle._version != cell.version and handle._route is not None:
                chain.append(handle)
                handle = handle._route.parent
            if handle._route is None:
                handle._node, handle._version = cell.node, cell.version
            node = handle._node
            for view in reversed(chain):
                assert view._route is not None
                node = view._route.read(node)
                view._node, view._version = node, cell.version
        return self._node

    @property
    def _shared(self) -> _Cell:
        """The cell, made now where there was none."""
        if self._cell is None:
            self._cell = _Cell(self._node)
        return self._cell

    def shares(self, other: TracedArray) -> bool:
        """Whether a write through one is seen through the other."""
        return self._cell is not None and self._cell is other._cell

    def view_by(
        self, read: Callable[[Node], Node], write: Callable[[Node, Node], Node]
    ) -> TracedArray:
        """A view: ``read(whole)`` gives its node, ``write(whole, part)`` the whole rewritten."""
        cell = self._shared
        result = TracedArray(read(self.node))
        result._cell = cell
        result._route = _Route(self, read, write)
        result._version = cell.version
        return result

    def assign(self, node: Node) -> None:
        """Replace the whole of what this handle shows."""
        handle = self
        while handle._route is not None:
            route = handle._route
            node = route.write(route.parent.node, node)
            handle = route.parent
        cell = self._shared
        cell.node = node
        cell.version += 1

    def continue_expression(
        self, nodes: Sequence[Node], bindings: Mapping[Node, Any]
    ) -> list[TracedArray]:
        """Nodes over bound leaves as traced arrays of this trace (see jacobian.values)."""
        new = {leaf: as_node(value) for leaf, value in bindings.items()}
        return [traced(node) for node in substitute_nodes(list(nodes), new)]

    # -- attributes ---------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        return self._node.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._node.dtype

    @property
    def ndim(self) -> int:
        return len(self._node.shape)

    @property
    def size(self) -> int:
        return self._node.size

    @property
    def nbytes(self) -> int:
        return self._node.nbytes

    @property
    def itemsize(self) -> int:
        return self._node.dtype.itemsize

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __repr__(self) -> str:
        return f"TracedArray({self.dtype}{list(self.shape)})"

    def __hash__(self) -> int:
        raise TypeError("unhashable type: 'TracedArray'")

    # -- NumPy's protocols --------------------------------------------------------------------
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if not kwargs and method == "__call__" and (len(inputs) == 1 or type(inputs[1]) in PLAIN):
            implementation = UFUNCS.get(ufunc)
            if implementation is not None:
                return implementation(*inputs)
        if method == "at":
            return _ufunc_at(ufunc, *inputs)
        if len(inputs) == 2 and getattr(inputs[1], "__array_priority__", 0) > 1000:
            return NotImplemented  # a Jacobian: u @ J is its own affair
        out = kwargs.pop("out", None)
        if method == "__call__":
            implementation = UFUNCS.get(ufunc)
            where = kwargs.pop("where", True)
            if implementation is None:
                unsupported(_full_name(ufunc))
            if where is not True:
                _refuse_where(ufunc)
            for name in ("casting", "order", "subok"):
                kwargs.pop(name, None)
            dtype = kwargs.pop("dtype", None)
            result = implementation(*inputs, **kwargs)
            if dtype is not None:
                result = result.astype(dtype)
        else:
            implementation = UFUNCS.get((ufunc, method))
            if implementation is None:
                unsupported(f"{_full_name(ufunc)}.{method}")
            result = implementation(*inputs, **kwargs)
        return result if out is None else write_out(out, result)

    def __array_function__(
        self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        implementation = FUNCTIONS.get(func)
        if implementation is None:
            name = f"{func.__module__}.{func.__name__}"
            unsupported(name)
        out = kwargs.pop("out", None)
        result = implementation(*args, **kwargs)
        return result if out is None else write_out(out, result)

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        caller = scipy_caller()
        if caller is not None:
            room, name = caller
            raise TraceError(
                located(
                    f"scipy.{room}.{name} takes plain NumPy arrays only",
                    f"import it from chainrule: from chainrule.scipy.{room} import {name}",
                )
            )
        raise TraceError(
            located(
                "a traced array cannot become a plain NumPy array (its values are not known "
                "while tracing)",
                "build arrays from traced values with np.stack([x, y]) or np.concatenate, or "
                "with chainrule.numpy.array([x, y]); keep the computation in NumPy functions",
            )
        )

    # -- asking for values --------------------------------------------------------------------
    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. "
                "Use a.any() or a.all()"
            )
        session = require_session()
        if session.symbolic:
            raise TraceError(
                located(
                    "a branch depends on values, which are not known here",
                    "use np.where, or call the derivative with numbers",
                )
            )
        values = np.asarray(session.value(self.node)) != 0
        outcome = bool(values.flat[0]) if values.size else False
        if values.size > 1 and not (values == outcome).all():
            raise TraceError(
                located(
                    "a branch goes both ways within one vmap",
                    "use np.where to choose by element",
                )
            )
        session.guard(self.node, outcome, user_line())
        return outcome

    def _no_number(self, name: str, remedy: str) -> NoReturn:
        raise TraceError(
            located(f"{name} of a traced array would cut the derivative off here", remedy)
        )

    def __float__(self) -> float:
        called = re.search(r"\bmath\.(\w+)\(", user_line())
        if called is not None:
            name = called.group(1)
            twin = _TWINS.get(name, name)
            raise TraceError(
                located(
                    f"math.{name} takes plain numbers only, and this one is traced",
                    f"use np.{twin}" if hasattr(np, twin) else "use a function of NumPy or SciPy",
                )
            )
        self._no_number(
            "float()",
            "leave float() out: a 0-d array computes like a number; use np.sin(x) for math.sin(x), "
            "and chainrule.numpy.zeros for an array that traced values are written into",
        )

    def __int__(self) -> int:
        self._no_number("int()", "leave int() out, or use np.floor(x), np.rint(x), x.astype(...)")

    def __complex__(self) -> complex:
        self._no_number("complex()", "leave complex() out, or use x.astype(complex)")

    def __index__(self) -> int:
        self._no_number(
            "use as an integer index", "index with np.take or x[i] on an integer array i"
        )

    def __round__(self, ndigits: int | None = None) -> Any:
        return np.round(self, ndigits or 0)

    def item(self, *args: Any) -> NoReturn:
        self._no_number("item()", "leave .item() out: a 0-d array computes like a number")

    def tolist(self) -> NoReturn:
        self._no_number("tolist()", "leave .tolist() out and compute with the array")

    # -- operators that the mixin does not know -----------------------------------------------
    def __neg__(self) -> Any:
        return UFUNCS[np.negative](self)

    def __pow__(self, other: Any) -> Any:
        return OPERATORS["pow"](self, other)

    def __getitem__(self, key: Any) -> Any:
        return OPERATORS["getitem"](self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        OPERATORS["setitem"](self, key, value)

    def _inplace(self, ufunc: Any, other: Any) -> TracedArray:
        result: TracedArray = ufunc(self, other)
        if result.shape != self.shape:
            raise ValueError(
                f"non-broadcastable output operand with shape {self.shape} doesn't match the "
                f"broadcast shape {result.shape}"
            )
        if not np.can_cast(result.dtype, self.dtype, "same_kind"):
            raise TypeError(f"cannot cast the result from {result.dtype} to {self.dtype} in place")
        if self.ndim == 0 and self._route is None:
            return result  # NumPy scalars are immutable: the name is rebound
        self.assign(OPERATORS["cast"](result, self.dtype))
        return self

    def __iadd__(self, other: Any) -> Any:
        return self._inplace(np.add, other)

    def __isub__(self, other: Any) -> Any:
        return self._inplace(np.subtract, other)

    def __imul__(self, other: Any) -> Any:
        return self._inplace(np.multiply, other)

    def __itruediv__(self, other: Any) -> Any:
        return self._inplace(np.divide, other)

    def __ipow__(self, other: Any) -> Any:
        return self._inplace(np.power, other)

    def __imatmul__(self, other: Any) -> Any:
        return self._inplace(np.matmul, other)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            located(
                f"a traced array has no attribute {name!r}",
                "use the NumPy function of that name, if there is one",
            )
        )


#: Types of operands that have no protocol of their own beside a traced array's.
PLAIN = frozenset(
    [TracedArray, bool, int, float, complex, np.ndarray, np.bool_, np.float32, np.float64]
)


def _binary(name: str, function: np.ufunc, swapped: bool = False) -> Callable[[Any, Any], Any]:
    """An operator that goes straight to the implementation, by NumPy's protocol for the rest."""
    general = getattr(np.lib.mixins.NDArrayOperatorsMixin, name)

    def operator(self: TracedArray, other: Any) -> Any:
        if type(other) in PLAIN:
            return UFUNCS[function](other, self) if swapped else UFUNCS[function](self, other)
        return general(self, other)

    operator.__name__ = name
    return operator


_OPERATORS: dict[str, np.ufunc] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.divide,
    "matmul": np.matmul,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
for _name, _function in _OPERATORS.items():
    setattr(TracedArray, f"__{_name}__", _binary(f"__{_name}__", _function))
    if _function.__name__ in ("add", "subtract", "multiply", "divide", "matmul"):
        setattr(TracedArray, f"__r{_name}__", _binary(f"__r{_name}__", _function, swapped=True))


def install_methods() -> None:
    """Make the methods of the table, once it is filled, attributes of the class."""
    for name, method in METHODS.items():
        setattr(TracedArray, name, method if isinstance(method, property) else _method(method))


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: TracedArray, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    return method


def write_out(out: Any, result: Any) -> Any:
    outs = out if isinstance(out, tuple) else (out,)
    results = result if isinstance(result, tuple) else (result,)
    for target, value in zip(outs, results, strict=True):
        if target is None:
            continue
        if not isinstance(target, TracedArray):
            raise TraceError(
                located(
                    "out= names a plain array, which a traced result cannot be written to",
                    "leave out= away, or make the array with chainrule.numpy.zeros",
                )
            )
        target.assign(OPERATORS["cast"](value, target.dtype))
    return out[0] if isinstance(out, tuple) and len(out) == 1 else out


def _refuse_where(ufunc: Any) -> NoReturn:
    raise TraceError(
        located(
            f"np.{ufunc.__name__}(where=…) leaves the other elements undefined",
            "use np.where(condition, value, other)",
        )
    )


def _ufunc_at(ufunc: Any, target: Any, index: Any, value: Any = None) -> None:
    if (ufunc is not np.add and ufunc is not np.subtract) or not isinstance(target, TracedArray):
        unsupported(f"{_full_name(ufunc)}.at")
    OPERATORS["add_at"](target, index, value if ufunc is np.add else -value)


def _full_name(ufunc: Any) -> str:
    """NumPy's ufuncs do not say where they come from."""
    name = ufunc.__name__
    return f"numpy.{name}" if getattr(np, name, None) is ufunc else f"the ufunc {name}"


def unsupported(name: str) -> NoReturn:
    """Raise: this function has no derivative here yet."""
    raise TraceError(
        located(
            f"{name} is not supported on traced arrays",
            "write it with supported NumPy functions, or state its derivative with "
            "chainrule.custom",
        )
    )


def traced(node: Node, weak: bool = False) -> TracedArray:
    """A new handle on a node."""
    return TracedArray(node, weak)


def is_traced(value: Any) -> bool:
    """Whether a value is a traced array."""
    return isinstance(value, TracedArray)


_SCALARS = frozenset([bool, int, float, complex])


def as_node(value: Any) -> Node:
    """The node of anything array-like: traced, Python scalar (Const, weak) or captured array."""
    if isinstance(value, TracedArray):
        return value.node
    if type(value) in _SCALARS or (
        isinstance(value, bool | int | float | complex) and not isinstance(value, np.generic)
    ):
        return Const(value)
    if isinstance(value, list | tuple):
        value = _sequence(value)
        if isinstance(value, TracedArray):
            return value.node
    if not isinstance(value, np.ndarray | np.generic):
        made = getattr(value, "as_traced", None)  # a number that knows where it comes from
        if made is not None:
            return as_node(made())
        value = np.asarray(value)
    if value.dtype.kind not in "biufc":
        raise TraceError(
            located(f"an array of dtype {value.dtype} meets a traced array", "use numbers")
        )
    return require_session().capture(value)


def _sequence(value: Any) -> Any:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, TracedArray):
            return OPERATORS["array"](value)
        if isinstance(item, list | tuple):
            stack.extend(item)
    return np.asarray(value)
