"""Sorting, medians, quantiles, positions, tests, and products along axes in their other forms."""

import numpy as onp

from ._case import away, case, distinct, normal, positive, with_zero

for _axis in (-1, 0, 1, None):
    case(f"sort-axis[{_axis}]", lambda np, x, a=_axis: np.sort(x, axis=a) ** 2, distinct(3, 2))
    case(
        f"argsort-axis[{_axis}]",
        lambda np, x, a=_axis: np.argsort(x, axis=a) * np.sort(x, axis=a),
        distinct(3, 2),
    )
    case(f"median-axis[{_axis}]", lambda np, x, a=_axis: np.median(x, axis=a), distinct(3, 4))
    case(
        f"quantile-axis[{_axis}]",
        lambda np, x, a=_axis: np.quantile(x, 0.3, axis=a),
        distinct(3, 4),
    )
    case(
        f"argmax-axis[{_axis}]",
        lambda np, x, a=_axis: x.sum() * np.argmax(x, axis=a) + np.argmin(x, axis=a),
        distinct(3, 4),
        f32=None,
    )
    case(f"ptp-axis[{_axis}]", lambda np, x, a=_axis: np.ptp(x, axis=a), distinct(3, 4))
    case(
        f"any-axis[{_axis}]",
        lambda np, x, a=_axis: np.any(x > 1.5, axis=a) * x.sum() + np.all(x > -9, axis=a),
        distinct(3, 4),
        f32=None,
    )
case("sort-empty", lambda np, x: np.sort(x), normal(0))
case("median-odd", lambda np, x: np.median(x), distinct(5))
case("median-axes", lambda np, x: np.median(x, axis=(0, 2), keepdims=True), distinct(2, 3, 2))
case("quantile-many", lambda np, x: np.quantile(x, onp.array([0.1, 0.7]), axis=1), distinct(2, 4))
case(
    "percentile-keepdims",
    lambda np, x: np.percentile(x, 60, axis=0, keepdims=True),
    distinct(4, 2),
)
case("take-argmax", lambda np, x: x[np.argmax(x)] ** 2, distinct(5))
case("topk-by-argsort", lambda np, x: x[np.argsort(x)[-2:]] ** 2, distinct(5))
case("sort-of-product", lambda np, x, y: np.sort(x * y)[:2], positive(4), positive(4))
case(
    "nonzero-sum",
    lambda np, x: np.sum(x[np.nonzero(x > 0)] ** 2),
    away(2, 3),
    jax=lambda np, x: np.sum(np.where(x > 0, x, 0) ** 2),
)
case(
    "flatnonzero-sum",
    lambda np, x: np.sum(x[np.flatnonzero(x)] ** 2),
    away(4),
    jax=lambda np, x: np.sum(x**2),
)
case(
    "count_nonzero",
    lambda np, x: np.count_nonzero(x > 0, axis=0) * x.sum(),
    away(2, 3),
    f32=None,
)
case("prod-initial", lambda np, x: np.prod(x, axis=0, initial=2.0), away(2, 3))
case("prod-one", lambda np, x: np.prod(x, axis=1), away(3, 1))
case("prod-axes-middle", lambda np, x: np.prod(x, axis=(0, 2)), with_zero(2, 2, 2))
case("prod-axis-empty-tuple", lambda np, x: np.prod(x, axis=()), away(2, 2))
case(
    "multiply-reduce",
    lambda np, x: np.multiply.reduce(x, axis=1) + np.maximum.reduce(x, axis=1),
    distinct(2, 3),
)
case("minimum-reduce", lambda np, x: np.minimum.reduce(x), distinct(3, 2))
case("multiply-accumulate", lambda np, x: np.multiply.accumulate(x, axis=0), with_zero(3, 2))
case("cumulative_prod", lambda np, x: np.cumulative_prod(x, axis=1), away(2, 3))
case("cumprod-two-zeros", lambda np, x: np.cumprod(x * x[::-1]), with_zero(4))
case("max-keepdims-tuple", lambda np, x: x - np.max(x, axis=(0, 1), keepdims=True), distinct(2, 3))
case("max-axis-empty-tuple", lambda np, x: np.max(x, axis=()), normal(2, 2))
