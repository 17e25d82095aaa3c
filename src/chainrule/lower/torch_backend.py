"""The PyTorch backend: a plan step by step on tensors, on the device of the arguments.

Imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from ..expr.ops import OPS
from .functional import FunctionalProgram
from .steps import Plan

__all__ = ["TorchProgram"]

Array = Any
Results = tuple[Array, ...]

_KINDS = (
    "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64 complex64 "
    "complex128"
)
_DTYPES = {np.dtype(kind): getattr(torch, kind) for kind in _KINDS.split()}


_OTHER: dict[str, Callable[..., Array]] = {
    "stop": lambda x: x,
    "root": torch.sqrt,
    "conj": torch.conj_physical,
    "cbrt": lambda x: torch.sign(x) * torch.abs(x) ** (1 / 3),
    "expit": torch.sigmoid,
    "log_expit": torch.nn.functional.logsigmoid,
    "gammaln": torch.lgamma,
    "i0e": torch.special.i0e,
    "i1e": torch.special.i1e,
    "erfc": torch.special.erfc,
    **{op: getattr(torch.special, op) for op in ("log_ndtr", "erfcx", "gammainc", "gammaincc")},
    **{op: getattr(torch.special, f"bessel_{op}") for op in ("j0", "j1", "y0", "y1")},
    **{op: getattr(torch.special, f"modified_bessel_{op}") for op in ("k0", "k1")},
    "polygamma": lambda x, order: torch.polygamma(order, x),
    "rint": torch.round,
    "power": torch.pow,
    "equal": torch.eq,
    "xlog1py": torch.special.xlog1py,
    "real": lambda x: torch.real(x) if x.is_complex() else x,
    "imag": lambda x: torch.imag(x) if x.is_complex() else torch.zeros_like(x),
    "invert": torch.bitwise_not,
    "left_shift": torch.bitwise_left_shift,
    "right_shift": torch.bitwise_right_shift,
    "sign": torch.sgn,
}


def _elementwise() -> dict[str, Callable[..., Array]]:
    table = dict(_OTHER)
    for op in OPS:
        function = _OTHER.get(op) or getattr(torch, op, None)
        if function is not None:
            table[op] = function
    return table


# -- calls ----------------------------------------------------------------------------------------
def _single(function: Callable[..., Array]) -> Callable[..., Results]:
    return lambda *args: (function(*args),)


def _flat(x: Array, count: int) -> Array:
    """The last axes as one."""
    return x.flatten(-count) if count > 1 else x


def _solve_triangular(t: Array, b: Array, lower: bool, unit: bool) -> Array:
    return torch.linalg.solve_triangular(t, b, upper=not lower, unitriangular=unit)


def _triangular_inverse(t: Array, lower: bool, unit: bool) -> Array:
    eye = torch.eye(t.shape[-1], dtype=t.dtype, device=t.device).expand(t.shape)
    return _solve_triangular(t, eye, lower, unit)


def _symmetric(a: Array, uplo: str) -> Array:
    """A matrix of one triangle of another, as LAPACK reads it."""
    half = torch.tril(a) if uplo == "L" else torch.triu(a)
    strict = torch.tril(a, -1) if uplo == "L" else torch.triu(a, 1)
    return half + strict.mH


def _cofactor(a: Array) -> Array:
    """det U · det Vᴴ · conj(U) diag(Π s[m], m ≠ i) conj(Vᴴ): right where A is singular, too."""
    u, s, vh = torch.linalg.svd(a)
    eye = torch.eye(s.shape[-1], dtype=torch.bool, device=a.device)
    others = torch.where(eye, torch.ones_like(s[..., :1, None]), s[..., None, :]).prod(dim=-1)
    sign = torch.linalg.det(u) * torch.linalg.det(vh)
    return (u.conj() * (sign[..., None] * others)[..., None, :]) @ vh.conj()


def _expm_jacobian(a: Array) -> Array:
    n = a.shape[-1]
    blocks = a.new_zeros((*a.shape[:-2], n, n, 2 * n, 2 * n))
    blocks[..., :n, :n] = a[..., None, None, :, :]
    blocks[..., n:, n:] = a[..., None, None, :, :]
    k, l = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    blocks[..., k, l, k, n + l] = 1
    corner = torch.linalg.matrix_exp(blocks)[..., :n, n:]
    return torch.movedim(corner, (-4, -3), (-2, -1))


def _segment_products(a: Array) -> Array:
    m = a.shape[-1]
    ones = torch.ones((m, m), dtype=torch.bool, device=a.device)
    steps = torch.where(torch.tril(ones, -1), a[..., :, None], torch.ones_like(a[..., :1, None]))
    return torch.cumprod(steps, dim=-2) * torch.tril(ones)


def _recurrence(a: Array, b: Array, reverse: bool) -> Array:
    count = b.shape[-1]
    if count == 0:
        return b
    y = [b[..., -1 if reverse else 0]]
    for i in reversed(range(count - 1)) if reverse else range(1, count):
        y.append(b[..., i] + a[..., i + 1 if reverse else i] * y[-1])
    return torch.stack(y[::-1] if reverse else y, dim=-1)


def _other_products(x: Array) -> Array:
    one = torch.ones_like(x[..., :1])
    before = torch.cumprod(torch.cat([one, x[..., :-1]], dim=-1), dim=-1)
    after = torch.cumprod(torch.cat([one, x[..., 1:].flip(-1)], dim=-1), dim=-1)
    return before * after.flip(-1)


def _last_writer(*args: Array) -> Array:
    """True where no later entry names the same element: the last of its run in a stable order."""
    tables, core = args, args[0].ndim
    if isinstance(args[-1], int):
        tables, core = args[:-1], args[-1]
    shape = tables[0].shape
    cut = len(shape) - core
    names = torch.zeros_like(tables[0]).reshape(*shape[:cut], -1)
    for table in tables:
        flat = table.reshape(names.shape)
        names = names * (flat.max() + 1 if flat.numel() else 1) + flat
    order = torch.argsort(names, dim=-1, stable=True)
    ordered = names.gather(-1, order)
    ends = torch.ones_like(ordered, dtype=torch.bool)
    ends[..., :-1] = ordered[..., 1:] != ordered[..., :-1]
    winners = torch.zeros_like(ends).scatter(-1, order, ends)
    return winners.reshape(shape)


def _extreme(name: str) -> Callable[..., Results]:
    return lambda x, k: (getattr(torch, name)(x, dim=tuple(range(-k, 0))),)


_CALLS: dict[str, Callable[..., Results]] = {
    "inv": _single(torch.linalg.inv),
    "inverse": _single(torch.linalg.inv),
    "solve": _single(torch.linalg.solve),
    "solve_triangular": _single(_solve_triangular),
    "triangular_inverse": _single(_triangular_inverse),
    "det": _single(torch.linalg.det),
    "cofactor": _single(_cofactor),
    "slogdet": lambda a: tuple(torch.linalg.slogdet(a)),
    "cholesky": lambda a: (torch.linalg.cholesky(_symmetric(a, "L")),),
    "eigh": lambda a, uplo: tuple(torch.linalg.eigh(a, UPLO=uplo)),
    "eigvalsh": lambda a, uplo: (torch.linalg.eigvalsh(a, UPLO=uplo),),
    "svd": lambda a: tuple(torch.linalg.svd(a, full_matrices=False)),
    "svdvals": lambda a: (torch.linalg.svdvals(a),),
    "qr": lambda a: tuple(torch.linalg.qr(a)),
    "pinv": lambda a, rcond: (torch.linalg.pinv(a, rtol=1e-15 if rcond is None else rcond),),
    "expm": _single(torch.linalg.matrix_exp),
    "expm_jacobian": _single(_expm_jacobian),
    "segment_products": _single(_segment_products),
    "recurrence": _single(_recurrence),
    "cumprod": lambda x: (torch.cumprod(x, dim=-1),),
    "other_products": _single(_other_products),
    "prod": lambda x, k: (torch.prod(_flat(x, k), dim=-1, dtype=x.dtype),),
    "amax": _extreme("amax"),
    "amin": _extreme("amin"),
    "any": lambda x, k: (torch.any(_flat(x, k), dim=-1),),
    "all": lambda x, k: (torch.all(_flat(x, k), dim=-1),),
    "argmax": lambda x: (torch.argmax(x, dim=-1),),
    "argmin": lambda x: (torch.argmin(x, dim=-1),),
    "argsort": lambda x: (torch.argsort(x, dim=-1, stable=True),),
    "nonzero": lambda x: torch.nonzero(x, as_tuple=True),
    "last_writer": _single(_last_writer),
}


class TorchProgram(FunctionalProgram):
    """A plan on PyTorch.  NumPy arrays in, NumPy arrays out; tensors in, tensors out."""

    name = "torch"
    elementwise: ClassVar[Mapping[str, Callable[..., Array]]] = _elementwise()
    calls = _CALLS

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._device: Any = torch.device("cpu")

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        tensors = [v for v in values if isinstance(v, torch.Tensor)]
        self._device = tensors[0].device if tensors else torch.device("cpu")
        given = [
            v if isinstance(v, torch.Tensor) else self._tensor(v, leaf.dtype)
            for v, leaf in zip(values, self.plan.leaves, strict=True)
        ]
        results = [
            r.clone() if copied else r
            for r, copied in zip(self.run(*given), self.plan.copies, strict=True)
        ]
        if tensors:
            return tuple(results)
        return tuple(r.resolve_conj().resolve_neg().numpy()[()] for r in results)

    def _tensor(self, value: Any, dtype: np.dtype[Any]) -> Array:
        array = np.asarray(value, dtype)
        if not array.flags.writeable or any(s < 0 for s in array.strides):
            array = array.copy()
        return torch.from_numpy(array).to(self._device)

    # -- operations ---------------------------------------------------------------------------
    def constant(self, value: Any) -> Array:
        return torch.as_tensor(value, device=self._device)

    def cast(self, value: Array, dtype: np.dtype[Any]) -> Array:
        wanted = _DTYPES[dtype]
        if value.dtype == wanted:
            return value
        if value.is_complex() and not wanted.is_complex:
            value = torch.real(value)
        return value.to(wanted)

    def permute(self, value: Array, axes: Sequence[int]) -> Array:
        return value.permute(*axes)

    def broadcast(self, value: Array, shape: Sequence[int]) -> Array:
        return torch.broadcast_to(value, tuple(shape))

    def diagonal(self, value: Array, first: int, second: int) -> Array:
        return torch.diagonal(value, 0, first, second)

    def take(self, value: Array, index: Any, axis: int) -> Array:
        return torch.index_select(value, axis, self.constant(index))

    def flip(self, value: Array, axes: Sequence[int]) -> Array:
        return torch.flip(value, tuple(axes))

    def full(self, shape: Sequence[int], value: Any, dtype: np.dtype[Any]) -> Array:
        return torch.full(tuple(shape), value, dtype=_DTYPES[dtype], device=self._device)

    def total(self, value: Array, axes: tuple[int, ...]) -> Array:
        if value.dtype == torch.bool:
            return torch.sum(value, dim=axes) > 0
        return torch.sum(value, dim=axes, dtype=value.dtype)

    def running(self, value: Array, axis: int) -> Array:
        return torch.cumsum(value, dim=axis, dtype=value.dtype)

    def einsum(self, equation: str, left: Array, right: Array) -> Array:
        return torch.einsum(equation, left, right)

    def where(self, mask: Array, value: Array) -> Array:
        return torch.where(mask, value, torch.zeros((), dtype=value.dtype, device=value.device))

    def clip(self, value: Array, high: int) -> Array:
        return torch.clamp(value, 0, high)

    def write(self, flat: Array, at: Array, value: Array, add: bool) -> Array:
        return flat.index_put((at,), value, accumulate=add)

    def write_slices(self, buffer: Array, index: tuple[Any, ...], value: Array, add: bool) -> Array:
        result = buffer.clone()
        if add:
            result[index] += value
        else:
            result[index] = value
        return result

    def nonzero(self, mask: Array, count: int) -> tuple[Array, ...]:
        return tuple(torch.nonzero(mask, as_tuple=True))
