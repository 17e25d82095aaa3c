"""``scipy.special`` for traced and for plain arrays.

SciPy's ufuncs (``expit``, ``erf``, ``xlogy`` …) take traced arrays themselves and are SciPy's own;
``logsumexp``, ``softmax``, ``log_softmax``, ``multigammaln`` and ``polygamma`` are plain Python
functions there, and stand here with the same signatures.  On plain arrays all return plain arrays.
"""

from __future__ import annotations

from typing import Any

import scipy.special as _sp
from scipy.special import (
    beta,
    betaln,
    binom,
    boxcox,
    boxcox1p,
    cbrt,
    cosm1,
    digamma,
    entr,
    erf,
    erfc,
    erfcinv,
    erfcx,
    erfinv,
    exp2,
    exp10,
    expit,
    expm1,
    exprel,
    gamma,
    gammainc,
    gammaincc,
    gammaln,
    huber,
    i0,
    i0e,
    i1,
    i1e,
    j0,
    j1,
    k0,
    k0e,
    k1,
    k1e,
    kl_div,
    log1p,
    log_expit,
    log_ndtr,
    logit,
    ndtr,
    ndtri,
    poch,
    pseudo_huber,
    psi,
    rel_entr,
    xlog1py,
    xlogy,
    y0,
    y1,
)

from ..trace.array import is_traced as _is_traced
from ..trace.functions import special as _traced

__all__ = [
    "beta",
    "betaln",
    "binom",
    "boxcox",
    "boxcox1p",
    "cbrt",
    "cosm1",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcinv",
    "erfcx",
    "erfinv",
    "exp2",
    "exp10",
    "expit",
    "expm1",
    "exprel",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammaln",
    "huber",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "j0",
    "j1",
    "k0",
    "k0e",
    "k1",
    "k1e",
    "kl_div",
    "log1p",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "poch",
    "polygamma",
    "pseudo_huber",
    "psi",
    "rel_entr",
    "softmax",
    "xlog1py",
    "xlogy",
    "y0",
    "y1",
]


def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """``log Σ b exp a`` over ``axis``; with ``return_sign`` also the sign of the sum."""
    module = _traced if _is_traced(a) or _is_traced(b) else _sp
    return module.logsumexp(a, axis=axis, b=b, keepdims=keepdims, return_sign=return_sign)


def softmax(x: Any, axis: Any = None) -> Any:
    """``exp x / Σ exp x`` along ``axis`` (all axes by default)."""
    return (_traced if _is_traced(x) else _sp).softmax(x, axis=axis)


def log_softmax(x: Any, axis: Any = None) -> Any:
    """``log softmax x`` along ``axis`` (all axes by default)."""
    return (_traced if _is_traced(x) else _sp).log_softmax(x, axis=axis)


def multigammaln(a: Any, d: int) -> Any:
    """The logarithm of the multivariate gamma function of dimension ``d``."""
    return (_traced if _is_traced(a) else _sp).multigammaln(a, d)


def polygamma(n: Any, x: Any) -> Any:
    """The ``n``-th derivative of ``digamma``."""
    return (_traced if _is_traced(x) or _is_traced(n) else _sp).polygamma(n, x)


def __getattr__(name: str) -> Any:
    return getattr(_sp, name)
