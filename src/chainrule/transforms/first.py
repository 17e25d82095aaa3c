"""First derivatives: grad, value_and_grad, jvp, vjp, linearize, hvp."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..expr.build import linear, ones, permute
from ..expr.nodes import Leaf, Node
from ..trace.session import Session
from .core import (
    Inputs,
    Later,
    Outputs,
    derived_pullback,
    derived_pushforward,
    enter,
    finish,
    level,
    outputs,
    rolled_up,
)
from .trees import Tree, flatten, paths, unflatten

__all__ = ["LinearMap", "grad", "hvp", "jvp", "linearize", "value_and_grad", "vjp"]

Argnums = int | Sequence[int]
Symmetric = bool | Sequence[bool]


def positions(argnums: Argnums, count: int, name: str = "argnums") -> tuple[int, ...]:
    """Argument numbers as a tuple of distinct non-negative ints."""
    wanted = (argnums,) if isinstance(argnums, int | np.integer) else tuple(argnums)
    result = []
    for number in wanted:
        if not -count <= number < count:
            raise ValueError(
                f"{name}={argnums}, but the function was called with {count} positional arguments"
            )
        result.append(int(number) % count)
    if len(set(result)) < len(result):
        raise ValueError(f"{name}={argnums} names an argument of {count} twice")
    return tuple(result)


def split_arguments(argnums: Argnums, args: tuple[Any, ...]) -> tuple[tuple[int, ...], Tree]:
    """The numbers of the differentiated arguments and these arguments as one tuple."""
    numbers = positions(argnums, len(args))
    return numbers, tuple(args[i] for i in numbers)


def merged(args: tuple[Any, ...], numbers: tuple[int, ...], values: Sequence[Any]) -> list[Any]:
    """The arguments with the differentiated ones replaced."""
    result = list(args)
    for number, value in zip(numbers, values, strict=True):
        result[number] = value
    return result


def _name(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", type(f).__name__)


def _require_scalar(name: str, nodes: list[Node], holomorphic: bool) -> Node:
    if len(nodes) != 1 or nodes[0].shape != ():
        shapes = [list(n.shape) for n in nodes]
        raise TypeError(
            f"grad needs a function with a scalar result; {name} returned "
            + (f"shape {shapes[0]}" if len(nodes) == 1 else f"{len(nodes)} arrays {shapes}")
            + ": sum it, or use chainrule.jacobian or chainrule.vjp"
        )
    kind = nodes[0].dtype.kind
    if kind == "c" and not holomorphic:
        raise TypeError(
            f"{name} returned a complex number: pass holomorphic=True if it is holomorphic, "
            "or take np.real or np.abs of the result"
        )
    if kind not in "fc":
        raise TypeError(f"{name} returned dtype {nodes[0].dtype}: derivatives need floats")
    return nodes[0]


def value_and_grad(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    symmetric: Symmetric = False,
) -> Callable[..., Any]:
    """Value and gradient of a scalar function, in one pass.

    Parameters: ``f`` a function of arrays (or trees of them) with a scalar result, ``argnums``
    the argument(s) to differentiate by, ``has_aux`` if f returns ``(value, aux)``,
    ``holomorphic`` for complex differentiable functions, ``symmetric`` (a bool, or one an
    argument) for arguments that are symmetric matrices: the gradient over these, which is
    ``(G + Gᵀ)/2`` of the unrestricted G (see :func:`jacobian`).

    Returns a function of the same arguments giving ``(value, gradient)``, or
    ``((value, aux), gradient)``.  The gradient has the structure, shapes and dtypes of the
    argument; for a tuple ``argnums`` it is a tuple.

    Raises TypeError where the result is not a scalar or an argument is an integer.

    >>> import numpy as np, chainrule as cr
    >>> value, slope = cr.value_and_grad(lambda x: np.sum(x * x))(np.array([1.0, 2.0]))
    >>> float(value), slope
    (5.0, array([2., 4.]))
    """

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        numbers, chosen = split_arguments(argnums, args)
        with level("grad") as (session, opened):
            inputs = enter(session, opened, chosen, f"argument of {_name(f)}: args")
            _check_holomorphic(inputs.leaves, holomorphic)
            result = f(*merged(args, numbers, inputs.tree), **kwargs)
            result, aux = _split_aux(result, has_aux)
            nodes = outputs(result).nodes
            value = _require_scalar(_name(f), nodes, holomorphic)
            extra = outputs(aux)
            value, *extra.nodes = rolled_up(session, [value, *extra.nodes], backward=True)
            seed = ones((), value.dtype)
            grads = derived_pullback([value], [seed], inputs.leaves)
            flags = symmetric_leaves(inputs, symmetric)
            grads = [projected(g) if flag else g for g, flag in zip(grads, flags, strict=True)]
        done = finish(session, opened, [value, *grads, *extra.nodes])
        gradient = unflatten(inputs.spec, done[1 : 1 + len(grads)])
        if isinstance(argnums, int | np.integer):
            gradient = gradient[0]
        if has_aux:
            return (done[0], extra.rebuild(done[1 + len(grads) :])), gradient
        return done[0], gradient

    return wrapped


def grad(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    symmetric: Symmetric = False,
) -> Callable[..., Any]:
    """Gradient of a scalar function; arguments as :func:`value_and_grad`.

    Returns a function giving the gradient, or ``(gradient, aux)`` with ``has_aux``.

    >>> import numpy as np, chainrule as cr
    >>> cr.grad(lambda x: np.sum(np.sin(x)))(np.array([0.0, np.pi]))
    array([ 1., -1.])
    """
    both = value_and_grad(f, argnums, has_aux, holomorphic, symmetric)

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def symmetric_leaves(inputs: Inputs, symmetric: Symmetric) -> list[bool]:
    """Whether each leaf stands for symmetric matrices; ValueError where it cannot."""
    flags: list[bool] = []
    if isinstance(symmetric, bool | np.bool_):
        flags = [bool(symmetric)] * len(inputs.leaves)
    else:
        if len(symmetric) != len(inputs.tree):
            raise ValueError(
                f"symmetric={tuple(symmetric)} has {len(symmetric)} entries for "
                f"{len(inputs.tree)} differentiated arguments"
            )
        for flag, tree in zip(symmetric, inputs.tree, strict=True):
            flags += [bool(flag)] * len(flatten(tree)[0])
    for flag, leaf in zip(flags, inputs.leaves, strict=True):
        if flag and (leaf.ndim < 2 or leaf.shape[-1] != leaf.shape[-2]):
            raise ValueError(
                f"symmetric=True needs square matrices in the last two axes, not shape {leaf.shape}"
            )
    return flags


def projected(gradient: Node) -> Node:
    """``(G + Gᵀ)/2``, the gradient over symmetric matrices."""
    n = gradient.ndim
    turned = permute(gradient, (*range(n - 2), n - 1, n - 2))
    return linear((0.5, gradient), (0.5, turned), dtype=gradient.dtype)


def _split_aux(result: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError("has_aux=True needs a function that returns a pair (value, aux)")
    return result


def _check_holomorphic(leaves: Sequence[Leaf], holomorphic: bool) -> None:
    if holomorphic and any(leaf.dtype.kind != "c" for leaf in leaves):
        raise TypeError("holomorphic=True needs complex arguments")


def _matching(values: Tree, inputs: Inputs, what: str) -> list[Any]:
    """Tangents for primals: the same structure, shapes checked."""
    flat, spec = flatten(values)
    if spec != inputs.spec:
        raise TypeError(f"{what} have the structure {spec}, primals {inputs.spec}")
    for value, leaf, path in zip(flat, inputs.leaves, paths(spec), strict=True):
        if np.shape(value) != leaf.shape:
            raise ValueError(
                f"{what}{path} has shape {np.shape(value)}, the primal has {leaf.shape}"
            )
    return flat


def jvp(
    f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> Any:
    """Value and directional derivative: ``(y, dy)`` with ``dy = J·tangents`` (forward mode).

    ``primals`` and ``tangents`` are sequences of the same trees of arrays; ``(y, dy, aux)`` with
    ``has_aux``.  Raises ValueError where shapes differ.

    >>> import numpy as np, chainrule as cr
    >>> y, dy = cr.jvp(np.exp, (0.0,), (2.0,))
    >>> float(y), float(dy)
    (1.0, 2.0)
    """
    with level("jvp") as (session, opened):
        inputs = enter(session, opened, tuple(primals), "primals")
        flat = _matching(tuple(tangents), inputs, "tangents")
        directions = _enter_values(session, opened, flat, inputs.leaves)
        result, aux = _split_aux(f(*inputs.tree), has_aux)
        outs = outputs(result)
        extra = outputs(aux)
        _roll(session, outs, extra, forward=True)
        pushed = derived_pushforward(outs.nodes, inputs.leaves, directions)
    done = finish(session, opened, [*outs.nodes, *pushed, *extra.nodes])
    n = len(outs.nodes)
    y, dy = outs.rebuild(done[:n]), outs.rebuild(done[n : 2 * n])
    return (y, dy, extra.rebuild(done[2 * n :])) if has_aux else (y, dy)


def _roll(session: Session, outs: Outputs, extra: Outputs, **directions: bool) -> None:
    """Loops in the results rolled up."""
    made = rolled_up(session, [*outs.nodes, *extra.nodes], **directions)
    count = len(outs.nodes)
    outs.nodes, extra.nodes = made[:count], made[count:]


def _enter_values(
    session: Session, opened: Any, flat: Sequence[Any], like: Sequence[Node]
) -> list[Node]:
    """Leaves for tangents (cast to the primals' dtypes)."""
    cast = [
        value if hasattr(value, "node") else np.asarray(value, node.dtype)
        for value, node in zip(flat, like, strict=True)
    ]
    return list(enter(session, opened, cast, "tangents").leaves)


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Value and pullback: ``(y, pullback)``; ``pullback(G)`` is a tuple, one entry a primal.

    ``G`` has the structure and shapes of ``y``; nothing is summed over a Jacobian that need not
    exist: for ``y = x @ w`` the pullback is the two products ``G wᵀ`` and ``xᵀ G``.  The pullback
    refers to the primals, it does not copy them: changing a primal in place before the pullback is
    called changes its result.  ``(y, pullback, aux)`` with ``has_aux``.

    >>> import numpy as np, chainrule as cr
    >>> y, pullback = cr.vjp(np.multiply, 3.0, 4.0)
    >>> [float(g) for g in pullback(1.0)]
    [4.0, 3.0]
    """
    with level("vjp") as (session, opened):
        inputs = enter(session, opened, primals, f"argument of {_name(f)}: args")
        result, aux = _split_aux(f(*inputs.tree), has_aux)
        outs = outputs(result)
        extra = outputs(aux)
        _roll(session, outs, extra, backward=True)
        seeds = [session.new_leaf(n.shape, n.dtype) for n in outs.nodes]
        pulled = derived_pullback(outs.nodes, seeds, inputs.leaves)
    later = Later(session, opened, pulled, seeds)
    done = finish(session, opened, [*outs.nodes, *extra.nodes])
    y = outs.rebuild(done[: len(outs.nodes)])

    def pull(cotangent: Tree) -> Any:
        flat = _cotangents(cotangent, outs.rebuild(seeds), seeds)
        return unflatten(inputs.spec, later(flat))

    return (y, pull, extra.rebuild(done[len(outs.nodes) :])) if has_aux else (y, pull)


def _cotangents(values: Tree, like: Tree, seeds: Sequence[Leaf]) -> list[Any]:
    flat, spec = flatten(values)
    _, expected = flatten(like)
    if spec != expected:
        raise TypeError(f"the cotangent has the structure {spec}, the result {expected}")
    result = []
    for value, seed in zip(flat, seeds, strict=True):
        if np.shape(value) != seed.shape:
            raise ValueError(
                f"the cotangent has shape {np.shape(value)}, the result of the function "
                f"{seed.shape}"
            )
        result.append(value if hasattr(value, "node") else np.asarray(value, seed.dtype))
    return result


class LinearMap:
    """A linear map at one point: ``L(t)`` (or ``L @ t``) pushes tangents forward, ``L.T`` back."""

    def __init__(self, forward: Callable[..., Any], backward: Callable[[Any], Any]) -> None:
        self._forward = forward
        self._backward = backward

    def __call__(self, *tangents: Any) -> Any:
        return self._forward(*tangents)

    def __matmul__(self, tangent: Any) -> Any:
        return self._forward(tangent)

    @property
    def T(self) -> LinearMap:
        """The transposed map, from cotangents of the result to those of the primals."""
        return LinearMap(self._backward, self._forward)

    def __repr__(self) -> str:
        return "LinearMap(call it, or use @ and .T)"


def linearize(f: Callable[..., Any], *primals: Any) -> tuple[Any, LinearMap]:
    """``(y, L)``: the value and the linear map ``L(*tangents) = J·tangents`` at the primals.

    ``L.T`` is the transposed map (one primal: its cotangent, else a tuple).

    >>> import numpy as np, chainrule as cr
    >>> y, L = cr.linearize(np.sin, 0.0)
    >>> float(L(3.0)), float(L.T(2.0))
    (3.0, 2.0)
    """
    with level("linearize") as (session, opened):
        inputs = enter(session, opened, primals, f"argument of {_name(f)}: args")
        outs = outputs(f(*inputs.tree))
        outs.nodes = rolled_up(session, outs.nodes, forward=True, backward=True)
        directions = [session.new_leaf(n.shape, n.dtype) for n in inputs.leaves]
        seeds = [session.new_leaf(n.shape, n.dtype) for n in outs.nodes]
        pushed = derived_pushforward(outs.nodes, inputs.leaves, directions)
        pulled = derived_pullback(outs.nodes, seeds, inputs.leaves)
    ahead = Later(session, opened, pushed, directions)
    back = Later(session, opened, pulled, seeds)
    y = outs.rebuild(finish(session, opened, outs.nodes))

    def forward(*tangents: Any) -> Any:
        flat = _matching(tuple(tangents), inputs, "tangents")
        flat = [
            v if hasattr(v, "node") else np.asarray(v, leaf.dtype)
            for v, leaf in zip(flat, inputs.leaves, strict=True)
        ]
        return outs.rebuild(ahead(flat))

    def backward(cotangent: Any) -> Any:
        flat = _cotangents(cotangent, outs.rebuild(seeds), seeds)
        result = unflatten(inputs.spec, back(flat))
        return result[0] if len(primals) == 1 else result

    return y, LinearMap(forward, backward)


def hvp(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """Hessian-vector product of a scalar function: a function ``(x, v) -> H v``.

    With several arguments ``(*args, v)``; ``v`` is like the argument number ``argnums``.

    >>> import numpy as np, chainrule as cr
    >>> cr.hvp(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    """
    gradient = grad(f, argnums)

    def product(*args: Any) -> Any:
        if len(args) < 2:
            raise TypeError("hvp needs the function's arguments and a vector: hvp(f)(x, v)")
        *primals, vector = args
        number = positions(argnums, len(primals))[0]

        def along(x: Any) -> Any:
            return gradient(*merged(tuple(primals), (number,), [x]))

        return jvp(along, (primals[number],), (vector,))[1]

    return product
