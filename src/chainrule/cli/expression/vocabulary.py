"""What an expression may name: functions, array methods, attributes, keywords, constants."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

import chainrule.numpy
import chainrule.scipy.linalg
import chainrule.scipy.special
from chainrule.trace.array import is_traced

__all__ = ["ALIASES", "ATTRIBUTES", "CONSTANTS", "FUNCTIONS", "KEYWORDS", "METHODS", "MODULES"]

Function = Callable[..., Any]


def _along(name: str, z: Any, axis: Any) -> Any:
    """The axis given; None for a vector; an error where it must be said."""
    if not isinstance(axis, str):
        return axis
    if np.ndim(z) > 1:
        raise ValueError(
            f"{name} of an array with {np.ndim(z)} axes needs axis=: axis=1 along rows, "
            "axis=0 along columns, axis=None over all elements"
        )
    return None


def _softmax(z: Any, axis: Any = "missing") -> Any:
    return chainrule.scipy.special.softmax(z, axis=_along("softmax", z, axis))


def _log_softmax(z: Any, axis: Any = "missing") -> Any:
    return chainrule.scipy.special.log_softmax(z, axis=_along("log_softmax", z, axis))


def _logdet(a: Any) -> Any:
    return np.linalg.slogdet(a)[1]


def _gelu(x: Any) -> Any:
    return x * (1 + scipy.special.erf(x / math.sqrt(2))) / 2


_NUMPY = (
    # elementwise
    "abs absolute arccos arccosh arcsin arcsinh arctan arctan2 arctanh cbrt ceil clip conj copysign"
    " cos cosh deg2rad exp exp2 expm1 floor fmax fmin heaviside hypot imag isfinite isnan log log10"
    " log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or maximum minimum multiply"
    " add subtract divide negative power rad2deg real reciprocal rint round sign sin sinc sinh sqrt"
    " square tan tanh trunc where nan_to_num"
    # reductions and accumulations
    " all any amax amin argmax argmin argsort average count_nonzero cumprod cumsum diff max mean"
    " median min prod ptp std sum trace trapezoid var"
    # products
    " convolve correlate cross dot einsum inner kron matmul outer tensordot vdot vecdot"
    # shape
    " atleast_1d atleast_2d broadcast_to column_stack concatenate diag diagonal expand_dims flip"
    " fliplr flipud hstack moveaxis pad ravel repeat reshape roll rot90 sort squeeze stack swapaxes"
    " take take_along_axis tile transpose tril triu vstack"
    # constants
    " arange array eye full full_like identity linspace ones ones_like tri zeros zeros_like"
)
_NUMPY_LINALG = (
    "cholesky det eigh eigvalsh inv matrix_power norm pinv qr slogdet solve svd svdvals multi_dot"
)
_SPECIAL = (
    "boxcox boxcox1p cbrt cosm1 digamma entr erf erfc erfcinv erfcx erfinv exp2 expit expm1"
    " exprel gammainc gammaincc gammaln huber i0e i1e kl_div log1p log_expit log_ndtr"
    " log_softmax logit logsumexp ndtr polygamma psi rel_entr softmax xlog1py xlogy"
)
# as parameters are often called: these have their module's name before them
_QUALIFIED = "beta binom gamma j0 j1 k0 k0e k1 k1e poch y0 y1"
_SCIPY_LINALG = "cho_factor cho_solve cholesky det expm inv solve solve_triangular"


def _taken(names: str, *modules: Any) -> dict[str, Function]:
    """The functions of these names, from the first module that has them."""
    return {
        name: next(getattr(module, name) for module in modules if hasattr(module, name))
        for name in names.split()
    }


#: Modules by the names under which people import them.
MODULES: dict[str, dict[str, Function]] = {}
for _alias in ("np", "numpy", "cnp", "jnp"):
    MODULES[_alias] = _taken(_NUMPY, chainrule.numpy, np)
    MODULES[f"{_alias}.linalg"] = _taken(_NUMPY_LINALG, np.linalg)
for _alias in ("scipy.special", "special", "sp.special"):
    MODULES[_alias] = _taken(_SPECIAL, chainrule.scipy.special, scipy.special)
for _alias in ("scipy.linalg", "linalg", "sp.linalg"):
    MODULES[_alias] = _taken(_SCIPY_LINALG, chainrule.scipy.linalg)

#: Short names; where NumPy and SciPy both have one, it is NumPy's.
FUNCTIONS: dict[str, Function] = (
    MODULES["scipy.linalg"] | MODULES["scipy.special"] | MODULES["np.linalg"] | MODULES["np"]
)
for _alias in ("scipy.special", "special", "sp.special"):
    MODULES[_alias] = MODULES[_alias] | _taken(_QUALIFIED, scipy.special)
FUNCTIONS |= {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logdet": _logdet,
    "tr": np.trace,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": scipy.special.expit,
    "softplus": lambda x: np.logaddexp(x, 0),
    "silu": lambda x: x * scipy.special.expit(x),
    "gelu": _gelu,
    "len": lambda a: a.shape[0],
}

#: What people write for one of these; shown as the suggestion.
ALIASES = {
    "ln": "log",
    "arctg": "arctan",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "atan2": "arctan2",
    "lgamma": "gammaln",
    "logistic": "sigmoid",
    "inverse": "inv",
    "mm": "matmul",
    "cat": "concatenate",
}

_METHODS = (
    "all any argmax argmin argsort clip conj conjugate copy cumprod cumsum diagonal dot flatten max"
    " mean min prod ravel repeat reshape round squeeze std sum swapaxes take trace transpose"
    " var"
)
_KEYWORDS = (
    "a_max a_min append axes axis axis1 axis2 b check_finite constant_values ddof decimals delta"
    " full_matrices hermitian indexing initial k keepdims kind lower mode n num offset ord order"
    " prepend rcond shape shift trans unit_diagonal weights x"
)
METHODS = frozenset(_METHODS.split())
KEYWORDS = frozenset(_KEYWORDS.split())
ATTRIBUTES = frozenset({"T", "mT", "imag", "ndim", "real", "shape", "size"})
CONSTANTS = {"pi": math.pi, "inf": math.inf, "newaxis": None}

#: Functions whose result can be much larger than their arguments, with the size they would make.
SIZES: dict[str, Callable[..., float]] = {
    "zeros": lambda shape, *_: _product(shape),
    "ones": lambda shape, *_: _product(shape),
    "full": lambda shape, *_: _product(shape),
    "eye": lambda n, m=None, *_: float(n) * float(n if m is None else m),
    "identity": lambda n: float(n) ** 2,
    "tri": lambda n, m=None, *_: float(n) * float(n if m is None else m),
    "linspace": lambda start, stop, num=50, *_: float(num),
    "arange": lambda start, stop=None, step=1, *_: _range(start, stop, step),
    "broadcast_to": lambda a, shape: _product(shape),
    "tile": lambda a, reps: np.size(a) * _product(reps),
    "repeat": lambda a, repeats, *_: np.size(a) * _largest(repeats),
    "pad": lambda a, width, *_: (np.size(a) + 1) * (2 * _largest(width) + 1) ** np.ndim(a),
    "kron": lambda a, b: float(np.size(a)) * np.size(b),
    "outer": lambda a, b: float(np.size(a)) * np.size(b),
    "diag": lambda a, k=0: (np.size(a) + abs(float(k))) ** (2 if np.ndim(a) == 1 else 1),
    "matrix_power": lambda a, n: np.size(a) * max(1.0, math.log2(abs(n) + 1)),
}


def _product(shape: Any) -> float:
    return math.prod(float(n) for n in (shape if isinstance(shape, tuple | list) else (shape,)))


def _range(start: Any, stop: Any, step: Any) -> float:
    low, high = (0, start) if stop is None else (start, stop)
    return abs((float(high) - float(low)) / float(step)) if step else 0.0


def _largest(value: Any) -> float:
    if is_traced(value):
        return 0.0
    return float(np.max(np.abs(np.asarray(value)), initial=0))
