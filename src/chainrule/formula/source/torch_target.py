"""PyTorch as a target of emitted code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from .syntax import Expr, call, literal, method, template, tuple_of
from .target import Target, _is

__all__ = ["TorchTarget"]

_SAME = (
    "exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan sinh cosh tanh "
    "arcsinh arccosh arctanh sinc sqrt sign floor ceil trunc abs angle isnan isinf isfinite "
    "signbit logit digamma logical_not erf erfc erfinv"
)
_PAIRS = (
    "arctan2 hypot logaddexp logaddexp2 copysign maximum minimum fmax fmin heaviside fmod "
    "logical_and logical_or logical_xor xlogy"
)
#: pairs whose PyTorch version wants two tensors
_TENSORS = (
    "arctan2 hypot logaddexp logaddexp2 maximum minimum fmax fmin heaviside logical_and "
    "logical_or logical_xor"
)


class TorchTarget(Target):
    name = "torch"
    module = "torch"
    axis = "dim"
    keep = "keepdim"
    concatenate = "cat"
    imports: ClassVar[Mapping[str, str]] = {"torch": "import torch"}
    elementwise: ClassVar[Mapping[str, str]] = {
        **{op: f"torch.{op}(a)" for op in _SAME.split()},
        **{op: f"torch.{op}(a, b)" for op in _PAIRS.split()},
        "rint": "torch.round(a)",
        "cbrt": "torch.sign(a) * torch.abs(a) ** (1 / 3)",
        "expit": "torch.sigmoid(a)",
        "log_expit": "torch.nn.functional.logsigmoid(a)",
        "gammaln": "torch.lgamma(a)",
        "i0e": "torch.special.i0e(a)",
        "i1e": "torch.special.i1e(a)",
        **{op: f"torch.special.{op}(a)" for op in ("log_ndtr", "erfcx")},
        **{op: f"torch.special.{op}(a, b)" for op in ("gammainc", "gammaincc")},
        **{op: f"torch.special.bessel_{op}(a)" for op in ("j0", "j1", "y0", "y1")},
        **{op: f"torch.special.modified_bessel_{op}(a)" for op in ("k0", "k1")},
        "root": "torch.sqrt(a)",
        "xlog1py": "torch.special.xlog1py(a, b)",
        "polygamma": "torch.polygamma(p, a)",
        "where": "torch.where(a, b, c)",
    }
    calls: ClassVar[Mapping[str, str]] = {
        "softmax": "torch.softmax(a, dim=p)",
        "logsumexp": "torch.logsumexp(a, dim=p)",
        "inv": "torch.linalg.inv(a)",
        "inverse": "torch.linalg.inv(a)",
        "solve": "torch.linalg.solve(a, b)",
        "det": "torch.linalg.det(a)",
        "cofactor": "torch.linalg.det(a)[..., None, None] * torch.linalg.inv(a).mT",
        "slogdet": "torch.linalg.slogdet(a)",
        "cholesky": "torch.linalg.cholesky(a)",
        "eigh": "torch.linalg.eigh(a, UPLO=p)",
        "eigvalsh": "torch.linalg.eigvalsh(a, UPLO=p)",
        "svd": "torch.linalg.svd(a, full_matrices=False)",
        "svdvals": "torch.linalg.svdvals(a)",
        "qr": "torch.linalg.qr(a)",
        "expm": "torch.linalg.matrix_exp(a)",
        "expm_frechet": "expm_frechet(a, b)",
        "gaps": "reciprocals_off_diagonal(a)",
        "other_products": "products_of_others(a)",
        "recurrence": "recurrence(a, b, reverse=p)",
        "segment_products": "segment_products(a)",
        "expm_jacobian": "expm_jacobian(a)",
        "nonzero": "torch.nonzero(a, as_tuple=True)",
        "cumprod": "torch.cumprod(a, dim=-1)",
        "argmax": "torch.argmax(a, dim=-1)",
        "argmin": "torch.argmin(a, dim=-1)",
        "argsort": "torch.argsort(a, dim=-1, stable=True)",
    }

    helpers: ClassVar[Mapping[str, str]] = {
        "reciprocals_off_diagonal": '''
def reciprocals_off_diagonal(a):
    """1/a with zeros on the diagonal."""
    diagonal = torch.eye(a.shape[-1], dtype=torch.bool, device=a.device)
    return torch.where(diagonal, 0, 1 / torch.where(diagonal, 1, a))
''',
        "expm_frechet": '''
def expm_frechet(a, e):
    """The derivative of exp(a) along e: a block of the exponential of [[a, e], [0, a]]."""
    n = a.shape[-1]
    above = torch.cat([a, e], dim=-1)
    below = torch.cat([torch.zeros_like(a), a], dim=-1)
    return torch.linalg.matrix_exp(torch.cat([above, below], dim=-2))[..., :n, n:]
''',
        "products_of_others": '''
def products_of_others(x):
    """For each place along the last axis the product of the other elements, without division."""
    one = torch.ones_like(x[..., :1])
    before = torch.cumprod(torch.cat([one, x[..., :-1]], dim=-1), dim=-1)
    after = torch.cumprod(torch.cat([one, x[..., 1:].flip(-1)], dim=-1), dim=-1).flip(-1)
    return before * after
''',
        "segment_products": '''
def segment_products(x):
    """For i and j along the last axis the product of x[j+1], ..., x[i]; 0 where j > i."""
    count = x.shape[-1]
    lower = torch.ones(count, count, dtype=torch.bool, device=x.device).tril()
    steps = torch.where(lower.tril(-1), x[..., :, None], 1)
    return torch.where(lower, torch.cumprod(steps, dim=-2), 0)
''',
        "expm_jacobian": '''
def expm_jacobian(a):
    """The derivative of expm(a)[i, j] by a[k, l]: a block of expm([[a, e], [0, a]])."""
    n = a.shape[-1]
    e = torch.eye(n * n, dtype=a.dtype, device=a.device).reshape(n, n, n, n)
    a = torch.broadcast_to(a[..., None, None, :, :], (*a.shape[:-2], n, n, n, n))
    upper = torch.cat([a, torch.broadcast_to(e, a.shape)], dim=-1)
    lower = torch.cat([torch.zeros_like(a), a], dim=-1)
    whole = torch.linalg.matrix_exp(torch.cat([upper, lower], dim=-2))
    return torch.movedim(whole[..., :n, n:], (-4, -3), (-2, -1))
''',
        "last_writer": '''
def last_writer(*places):
    """True where no later entry, in C order, is written to the same place."""
    names = places[0].ravel()
    for place in places[1:]:
        names = names * (place.max() + 1) + place.ravel()
    order = torch.argsort(names, stable=True)
    ordered = names[order]
    last = torch.cat([ordered[1:] != ordered[:-1], torch.ones_like(ordered[:1], dtype=torch.bool)])
    return last[torch.argsort(order)].reshape(places[0].shape)
''',
        "recurrence": '''
def recurrence(a, b, reverse):
    """y[i] = a[i] y[i-1] + b[i] along the last axis; reversed y[i] = a[i+1] y[i+1] + b[i]."""
    count = b.shape[-1]
    y = [b[..., -1 if reverse else 0]]
    for i in reversed(range(count - 1)) if reverse else range(1, count):
        y.append(b[..., i] + a[..., i + 1 if reverse else i] * y[-1])
    return torch.stack(y[::-1] if reverse else y, dim=-1)
''',
    }

    def number(self) -> Callable[[Expr], Expr]:
        return lambda value: method(self.reference, "new_tensor", value)

    def function(
        self, op: str, args: Sequence[Expr], scalar: Sequence[bool], params: Sequence[object]
    ) -> Expr:
        if op in ("maximum", "minimum") and any(scalar) and not all(scalar):
            value, bound = (args[1], args[0]) if scalar[0] else args
            bounds = {"min" if op == "maximum" else "max": bound}
            return call("torch.clamp", value, **bounds)
        if op in _TENSORS.split() and any(scalar):
            other = next((a for a, s in zip(args, scalar, strict=True) if not s), self.reference)
            args = [
                call("torch.full_like", other, a) if s else a
                for a, s in zip(args, scalar, strict=True)
            ]
        return super().function(op, args, scalar, params)

    def element(self, value: Expr) -> Expr:
        return method(self.reference, "new_tensor", value)

    def as_float(self, value: Expr) -> Expr:
        return method(value, "to", self.dtype())

    def as_index(self, value: Expr) -> Expr:
        return method(value, "long")

    def permuted(self, value: Expr, order: Sequence[int]) -> Expr:
        return method(value, "permute", *(literal(k) for k in order))

    def broadcast(self, value: Expr, shape: Sequence[Expr]) -> Expr:
        return call("torch.broadcast_to", value, tuple_of(shape))

    def flipped(self, value: Expr, axis: int) -> Expr:
        return method(value, "flip", literal(axis))

    def padded(self, value: Expr, widths: Sequence[tuple[Expr, Expr]]) -> Expr:
        flat = [w for pair in reversed(widths) for w in pair]
        while len(flat) > 2 and _is(flat[-1], 0) and _is(flat[-2], 0):
            flat = flat[:-2]
        return call("torch.nn.functional.pad", value, tuple_of(flat))

    def arange(self, count: Expr, floating: bool = False) -> Expr:
        kind = {"dtype": self.dtype()} if floating else {}
        return call("torch.arange", count, **kind, device=template("a.device", a=self.reference))

    def eye(self, count: Expr) -> Expr:
        return call(
            "torch.eye",
            count,
            dtype=self.dtype(),
            device=template("a.device", a=self.reference),
        )

    def full(self, shape: Sequence[Expr], value: Expr) -> Expr:
        if _is(value, 0):
            return method(self.reference, "new_zeros", tuple_of(shape))
        if _is(value, 1):
            return method(self.reference, "new_ones", tuple_of(shape))
        return method(self.reference, "new_full", tuple_of(shape), value)

    def full_like(self, like: Expr, value: Expr, number: bool) -> Expr:
        if number:
            return super().full_like(like, value, number)
        return method(value, "expand_as", like)

    def constant(self, data: Expr, floating: bool) -> Expr:
        device = template("a.device", a=self.reference)
        kind = {"dtype": self.dtype()} if floating else {}
        return call("torch.tensor", data, **kind, device=device)

    def clipped(self, index: Expr, last: Expr) -> Expr:
        return method(index, "clamp", literal(0), last)

    def whole(self, op: str, args: Sequence[Expr], params: Sequence[object]) -> Expr:
        if op == "pinv":
            (rcond,) = params
            bounds = {"rcond": literal(rcond)} if isinstance(rcond, float) else {}
            return call("torch.linalg.pinv", *args, **bounds)
        if op in ("solve_triangular", "triangular_inverse"):
            matrix, *rest = args
            right = rest[0] if rest else self.eye(template("a.shape[-1]", a=matrix))
            lower, unit = params
            return call(
                "torch.linalg.solve_triangular",
                matrix,
                right,
                upper=literal(not lower),
                unitriangular=literal(bool(unit)),
            )
        if op in ("amax", "amin"):
            (count,) = params
            assert isinstance(count, int)
            return self.last_axes(op, args[0], count)
        if op in ("prod", "any", "all"):
            (count,) = params
            assert isinstance(count, int)
            value = args[0] if count == 1 else method(args[0], "flatten", literal(-count))
            return method(value, op, dim=literal(-1))
        return super().whole(op, args, params)

    def scattered(
        self, shape: Sequence[Expr], index: Sequence[Expr], value: Expr
    ) -> tuple[Expr, Callable[[str], Expr] | None]:
        zeros = self.full(shape, literal(0))
        return method(zeros, "index_put", tuple_of(index), value, accumulate=literal(True)), None
