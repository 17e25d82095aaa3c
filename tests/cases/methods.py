"""Methods and attributes of the traced array, and Python's protocols on it."""

import numpy as onp

from ._case import away, case, distinct, normal, program

METHODS = {
    # name: (maker, function)
    "T": (normal(2, 3), lambda np, x: x.T),
    "T-3d": (normal(2, 3, 2), lambda np, x: x.T),
    "mT": (normal(2, 3, 2), lambda np, x: x.mT),
    "sum": (normal(2, 3), lambda np, x: x.sum()),
    "sum-axis": (normal(2, 3), lambda np, x: x.sum(0)),
    "sum-keepdims": (normal(2, 3), lambda np, x: x.sum(axis=1, keepdims=True)),
    "mean": (normal(2, 3), lambda np, x: x.mean()),
    "mean-axis": (normal(2, 3), lambda np, x: x.mean(axis=-1)),
    "var": (normal(2, 3), lambda np, x: x.var(axis=0)),
    "std": (normal(2, 3), lambda np, x: x.std(axis=1, ddof=1)),
    "prod": (away(2, 2), lambda np, x: x.prod(axis=0)),
    "max": (distinct(2, 3), lambda np, x: x.max()),
    "max-axis": (distinct(2, 3), lambda np, x: x.max(axis=1)),
    "min": (distinct(2, 3), lambda np, x: x.min(axis=0, keepdims=True)),
    "cumsum": (normal(2, 3), lambda np, x: x.cumsum(axis=1)),
    "cumprod": (away(3), lambda np, x: x.cumprod()),
    "reshape": (normal(2, 3), lambda np, x: x.reshape(3, 2)),
    "reshape-tuple": (normal(2, 3), lambda np, x: x.reshape((3, 2))),
    "reshape-minus-one": (normal(2, 3), lambda np, x: x.reshape(-1)),
    "reshape-F": (normal(2, 3), lambda np, x: x.reshape((3, 2), order="F")),
    "ravel": (normal(2, 3), lambda np, x: x.ravel()),
    "flatten": (normal(2, 3), lambda np, x: x.flatten()),
    "transpose": (normal(2, 3, 4), lambda np, x: x.transpose()),
    "transpose-args": (normal(2, 3, 4), lambda np, x: x.transpose(1, 2, 0)),
    "transpose-tuple": (normal(2, 3, 4), lambda np, x: x.transpose((1, 2, 0))),
    "swapaxes": (normal(2, 3, 4), lambda np, x: x.swapaxes(0, 2)),
    "squeeze": (normal(1, 3), lambda np, x: x.squeeze()),
    "repeat": (normal(2, 2), lambda np, x: x.repeat(2, axis=0)),
    "diagonal": (normal(3, 3), lambda np, x: x.diagonal()),
    "trace": (normal(3, 3), lambda np, x: x.trace()),
    "copy": (normal(3), lambda np, x: x.copy() * x),
    "astype": (normal(3), lambda np, x: x.astype(onp.float64) ** 2),
    "clip": (distinct(2, 4), lambda np, x: x.clip(-1.0, 1.0)),
    "dot": (normal(3, 3), lambda np, x: x.dot(x)),
    "conj": (normal(3), lambda np, x: x.conj() * x),
    "real": (normal(3), lambda np, x: x.real**2),
    "imag": (normal(3), lambda np, x: x.imag + x),
    "shape": (normal(2, 3), lambda np, x: x / x.shape[0] + x.ndim * x.size),
    "len": (normal(4), lambda np, x: x / len(x)),
    "dtype": (normal(4), lambda np, x: x * onp.ones(4, x.dtype)),
    "builtin-sum": (normal(3, 2), lambda np, x: sum(x)),
    "iterate": (normal(3, 2), lambda np, x: np.stack([row * i for i, row in enumerate(x)])),
    "unpack": (normal(2), lambda np, x: np.multiply(*x)),
    "like": (normal(2, 3), lambda np, x: np.zeros_like(x) + np.ones_like(x) * x),
    "empty": (normal(0, 3), lambda np, x: x.sum(axis=0) + x.T.sum()),
}
for _name, (_maker, _fn) in METHODS.items():
    case(
        f"method-{_name}", _fn, _maker, complex=_name in ("conj", "real", "imag", "sum-axis", "var")
    )
case("method-dot-pair", lambda np, x, y: x.dot(y), normal(2, 3), normal(3))


@program("method-unpack-names", normal(3))
def _(np, x):
    a, b, c = x
    return np.stack([a * b, b * c, c * a])


@program("method-accumulate", normal(4))
def _(np, x):
    total = 0.0
    for i in range(4):
        total = total + np.sin(x[i]) * x[i - 1]
    return total


@program("method-horner", normal(), normal(4))
def _(np, t, c):
    value = 0 * t
    for k in range(4):
        value = value * t + c[k]
    return value
