"""JAX as a target of emitted code."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from .numpy_target import _PAIRS, _SAME
from .syntax import Expr, call, literal, subscript, tuple_of
from .target import Target

__all__ = ["JaxTarget"]


class JaxTarget(Target):
    name = "jax"
    module = "jnp"
    imports: ClassVar[Mapping[str, str]] = {
        "jax": "import jax",
        "jnp": "import jax.numpy as jnp",
        "linalg": "from jax.scipy import linalg",
        "special": "from jax.scipy import special",
    }
    elementwise: ClassVar[Mapping[str, str]] = {
        **{op: f"jnp.{op}(a)" for op in _SAME.split()},
        **{op: f"jnp.{op}(a, b)" for op in _PAIRS.split()},
        **{
            op: f"special.{op}(a)"
            for op in [
                "expit",
                "logit",
                "erf",
                "erfc",
                "erfinv",
                "gammaln",
                "digamma",
                "i0e",
                "i1e",
            ]
        },
        "log_expit": "jax.nn.log_sigmoid(a)",
        "root": "jnp.sqrt(a)",
        "imag": "jnp.imag(a)",
        "xlogy": "special.xlogy(a, b)",
        "xlog1py": "special.xlog1py(a, b)",
        "polygamma": "special.polygamma(p, a)",
        "where": "jnp.where(a, b, c)",
    }
    calls: ClassVar[Mapping[str, str]] = {
        "softmax": "jax.nn.softmax(a, axis=p)",
        "logsumexp": "special.logsumexp(a, axis=p)",
        "inv": "jnp.linalg.inv(a)",
        "inverse": "jnp.linalg.inv(a)",
        "solve": "jnp.linalg.solve(a, b)",
        "solve_triangular": "linalg.solve_triangular(a, b, lower=p, unit_diagonal=q)",
        "triangular_inverse": (
            "linalg.solve_triangular(a, jnp.eye(a.shape[-1], dtype=a.dtype), lower=p, "
            "unit_diagonal=q)"
        ),
        "det": "jnp.linalg.det(a)",
        "cofactor": "jnp.linalg.det(a)[..., None, None] * jnp.linalg.inv(a).mT",
        "slogdet": "jnp.linalg.slogdet(a)",
        "cholesky": "jnp.linalg.cholesky(a, symmetrize_input=False)",
        "eigh": "jnp.linalg.eigh(a, UPLO=p, symmetrize_input=False)",
        "eigvalsh": "jnp.linalg.eigvalsh(a, UPLO=p, symmetrize_input=False)",
        "svd": "jnp.linalg.svd(a, full_matrices=False)",
        "svdvals": "jnp.linalg.svd(a, compute_uv=False)",
        "qr": "jnp.linalg.qr(a)",
        "expm": "linalg.expm(a)",
        "other_products": "products_of_others(a)",
        "recurrence": "recurrence(a, b, reverse=p)",
        "cumprod": "jnp.cumprod(a, axis=-1)",
        "argmax": "jnp.argmax(a, axis=-1)",
        "argmin": "jnp.argmin(a, axis=-1)",
        "argsort": "jnp.argsort(a, axis=-1)",
    }

    helpers: ClassVar[Mapping[str, str]] = {
        "products_of_others": '''
def products_of_others(x):
    """For each place along the last axis the product of the other elements, without division."""
    one = jnp.ones_like(x[..., :1])
    before = jnp.cumprod(jnp.concatenate([one, x[..., :-1]], axis=-1), axis=-1)
    after = jnp.cumprod(jnp.concatenate([one, x[..., :0:-1]], axis=-1), axis=-1)
    return before * after[..., ::-1]
''',
        "recurrence": '''
def recurrence(a, b, reverse):
    """y[i] = a[i] y[i-1] + b[i] along the last axis; reversed y[i] = a[i+1] y[i+1] + b[i]."""
    factors = jnp.roll(a, -1, axis=-1) if reverse else a

    def step(y, at):
        y = at[0] * y + at[1]
        return y, y

    given = jnp.moveaxis(factors, -1, 0), jnp.moveaxis(b, -1, 0)
    _, y = jax.lax.scan(step, jnp.zeros_like(b[..., 0]), given, reverse=reverse)
    return jnp.moveaxis(y, 0, -1)
''',
    }

    def number(self) -> Callable[[Expr], Expr]:
        return lambda value: call("jnp.asarray", value, dtype=self.dtype())

    def whole(self, op: str, args: Sequence[Expr], params: Sequence[object]) -> Expr:
        if op == "pinv":
            bounds = [literal(p) for p in params if isinstance(p, float)]
            return call("jnp.linalg.pinv", *args, *bounds)
        if op in ("amax", "amin", "prod", "any", "all"):
            (count,) = params
            assert isinstance(count, int)
            return self.last_axes(op[1:] if op[0:2] == "am" else op, args[0], count)
        return super().whole(op, args, params)

    def scattered(
        self, shape: Sequence[Expr], index: Sequence[Expr], value: Expr
    ) -> tuple[Expr, Callable[[str], Expr] | None]:
        where = index[0] if len(index) == 1 else tuple_of(index)
        zeros = self.full(shape, literal(0))
        at = subscript(_attribute(zeros, "at"), [where])
        return call(_attribute(at, "add"), value), None


def _attribute(target: Expr, attribute: str) -> Expr:
    return ast.Attribute(target, attribute, ast.Load())
