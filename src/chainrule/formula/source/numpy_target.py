"""NumPy (and SciPy's special functions) as a target of emitted code.

JAX writes all but a few names the same way, so its target inherits this one: templates say ``np``
for the library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from .syntax import Expr, literal, method, name, tuple_of
from .target import Target

__all__ = ["NumpyTarget"]

_SAME = (
    "exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan sinh cosh tanh "
    "arcsinh arccosh arctanh sinc sqrt cbrt sign floor ceil trunc rint abs angle imag isnan isinf "
    "isfinite signbit logical_not"
)
_PAIRS = (
    "arctan2 hypot logaddexp logaddexp2 copysign maximum minimum fmax fmin heaviside fmod "
    "logical_and logical_or logical_xor"
)
_SPECIAL = (
    "expit logit log_expit erf erfc erfcx erfinv erfcinv log_ndtr gamma gammaln digamma exprel i0e "
    "i1e j0 j1 y0 y1 k0 k1 k0e k1e"
)
_SPECIAL_PAIRS = "xlogy xlog1py beta binom poch gammainc gammaincc"


class NumpyTarget(Target):
    name = "numpy"
    module = "np"
    imports: ClassVar[Mapping[str, str]] = {
        "np": "import numpy as np",
        "linalg": "from scipy import linalg",
        "special": "from scipy import special",
    }
    elementwise: ClassVar[Mapping[str, str]] = {
        **{op: f"np.{op}(a)" for op in _SAME.split()},
        **{op: f"np.{op}(a, b)" for op in _PAIRS.split()},
        **{op: f"special.{op}(a)" for op in _SPECIAL.split()},
        **{op: f"special.{op}(a, b)" for op in _SPECIAL_PAIRS.split()},
        "root": "np.sqrt(a)",
        "polygamma": "special.polygamma(p, a)",
        "where": "np.where(a, b, c)",
    }
    calls: ClassVar[Mapping[str, str]] = {
        "softmax": "special.softmax(a, axis=p)",
        "logsumexp": "special.logsumexp(a, axis=p)",
        "inv": "np.linalg.inv(a)",
        "inverse": "np.linalg.inv(a)",
        "solve": "np.linalg.solve(a, b)",
        "solve_triangular": "linalg.solve_triangular(a, b, lower=p, unit_diagonal=q)",
        "triangular_inverse": (
            "linalg.solve_triangular(a, np.eye(a.shape[-1], dtype=a.dtype), lower=p, "
            "unit_diagonal=q)"
        ),
        "det": "np.linalg.det(a)",
        "cofactor": "np.linalg.det(a)[..., None, None] * np.linalg.inv(a).mT",
        "slogdet": "np.linalg.slogdet(a)",
        "cholesky": "np.linalg.cholesky(a)",
        "eigh": "np.linalg.eigh(a, UPLO=p)",
        "eigvalsh": "np.linalg.eigvalsh(a, UPLO=p)",
        "svd": "np.linalg.svd(a, full_matrices=False)",
        "svdvals": "np.linalg.svd(a, compute_uv=False)",
        "qr": "np.linalg.qr(a)",
        "expm": "linalg.expm(a)",
        "expm_frechet": "linalg.expm_frechet(a, b, compute_expm=False).astype(a.dtype)",
        "gaps": "reciprocals_off_diagonal(a)",
        "other_products": "products_of_others(a)",
        "recurrence": "recurrence(a, b, reverse=p)",
        "segment_products": "segment_products(a)",
        "expm_jacobian": "expm_jacobian(a)",
        "nonzero": "np.nonzero(a)",
        "cumprod": "np.cumprod(a, axis=-1)",
        "argmax": "np.argmax(a, axis=-1)",
        "argmin": "np.argmin(a, axis=-1)",
        "argsort": 'np.argsort(a, axis=-1, kind="stable")',
    }

    helpers: ClassVar[Mapping[str, str]] = {
        "reciprocals_off_diagonal": '''
def reciprocals_off_diagonal(a):
    """1/a with zeros on the diagonal."""
    diagonal = np.eye(a.shape[-1], dtype=bool)
    return np.where(diagonal, 0, 1 / np.where(diagonal, 1, a))
''',
        "products_of_others": '''
def products_of_others(x):
    """For each place along the last axis the product of the other elements, without division."""
    one = np.ones_like(x[..., :1])
    before = np.cumprod(np.concatenate([one, x[..., :-1]], axis=-1), axis=-1)
    after = np.cumprod(np.concatenate([one, x[..., :0:-1]], axis=-1), axis=-1)
    return before * after[..., ::-1]
''',
        "segment_products": '''
def segment_products(x):
    """For i and j along the last axis the product of x[j+1], ..., x[i]; 0 where j > i."""
    count = x.shape[-1]
    steps = np.where(np.tri(count, k=-1, dtype=bool), x[..., :, None], 1)
    return np.where(np.tri(count, dtype=bool), np.cumprod(steps, axis=-2), 0)
''',
        "expm_jacobian": '''
def expm_jacobian(a):
    """The derivative of expm(a)[i, j] by a[k, l]: a block of expm([[a, e], [0, a]])."""
    n = a.shape[-1]
    a = np.broadcast_to(a[..., None, None, :, :], (*a.shape[:-2], n, n, n, n))
    e = np.broadcast_to(np.eye(n * n, dtype=a.dtype).reshape(n, n, n, n), a.shape)
    upper = np.concatenate([a, e], axis=-1)
    lower = np.concatenate([np.zeros_like(a), a], axis=-1)
    whole = linalg.expm(np.concatenate([upper, lower], axis=-2))
    return np.moveaxis(whole[..., :n, n:], (-4, -3), (-2, -1))
''',
        "last_writer": '''
def last_writer(*places):
    """True where no later entry, in C order, is written to the same place."""
    names = places[0].ravel()
    for place in places[1:]:
        names = names * (place.max() + 1) + place.ravel()
    order = np.argsort(names, stable=True)
    ordered = names[order]
    last = np.concatenate([ordered[1:] != ordered[:-1], np.ones(1, bool)])
    return last[np.argsort(order)].reshape(places[0].shape)
''',
        "recurrence": '''
def recurrence(a, b, reverse):
    """y[i] = a[i] y[i-1] + b[i] along the last axis; reversed y[i] = a[i+1] y[i+1] + b[i]."""
    y = b.copy()
    count = b.shape[-1]
    for i in reversed(range(count - 1)) if reverse else range(1, count):
        y[..., i] += a[..., i + 1] * y[..., i + 1] if reverse else a[..., i] * y[..., i - 1]
    return y
''',
    }

    def number(self) -> Callable[[Expr], Expr]:
        return lambda value: method(self.dtype(), "type", value)

    def whole(self, op: str, args: Sequence[Expr], params: Sequence[object]) -> Expr:
        if op == "pinv":
            bounds = [literal(p) for p in params if isinstance(p, float)]
            return self.call("linalg.pinv", *args, *bounds)
        if op in ("amax", "amin", "prod", "any", "all"):
            (count,) = params
            assert isinstance(count, int)
            return self.last_axes(op[1:] if op[0:2] == "am" else op, args[0], count)
        return super().whole(op, args, params)

    def scattered(
        self, shape: Sequence[Expr], index: Sequence[Expr], value: Expr
    ) -> tuple[Expr, Callable[[str], Expr] | None]:
        where = index[0] if len(index) == 1 else tuple_of(index)
        return (
            self.full(shape, literal(0)),
            lambda target: self.call("add.at", name(target), where, value),
        )
