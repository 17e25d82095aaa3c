"""Reading by every kind of index, and writing into arrays through every kind of index and view."""

import numpy as onp

from ._case import away, case, distinct, normal, program

MASK = onp.array([True, False, True, True])
MASK2 = onp.array([[True, False, True], [False, False, True]])
ROWS = onp.array([2, 0, 2])
COLS = onp.array([1, 1, 0])

READ = {
    # name: (shape of x, function)
    "int": ((3, 2), lambda x: x[1]),
    "int-negative": ((3, 2), lambda x: x[-1]),
    "int-all": ((3, 2), lambda x: x[1, 0]),
    "int-chained": ((3, 2), lambda x: x[1][0]),
    "numpy-int": ((3, 2), lambda x: x[onp.int64(1)]),
    "slice": ((5,), lambda x: x[1:4]),
    "slice-open": ((5,), lambda x: x[2:]),
    "slice-negative": ((5,), lambda x: x[:-2]),
    "slice-step": ((5,), lambda x: x[::2]),
    "slice-offset-step": ((7,), lambda x: x[1:6:3]),
    "slice-reverse": ((5,), lambda x: x[::-1]),
    "slice-reverse-step": ((6,), lambda x: x[4:0:-2]),
    "slice-beyond": ((3,), lambda x: x[1:9]),
    "slice-empty": ((3,), lambda x: x[2:1]),
    "slice-of-slice": ((8,), lambda x: x[1:7][::2][1:]),
    "slices": ((3, 4), lambda x: x[1:, ::-1]),
    "column": ((3, 4), lambda x: x[:, 2]),
    "ellipsis": ((2, 3, 2), lambda x: x[..., 1]),
    "ellipsis-middle": ((2, 3, 2), lambda x: x[0, ..., ::-1]),
    "ellipsis-alone": ((2, 3), lambda x: x[...]),
    "ellipsis-0d": ((), lambda x: x[...]),
    "empty-tuple": ((2,), lambda x: x[()]),
    "newaxis": ((3,), lambda x: x[:, None]),
    "newaxis-mixed": ((2, 3), lambda x: x[None, :, 1:, None]),
    "newaxis-0d": ((), lambda x: x[None]),
    "list": ((4, 2), lambda x: x[onp.array([0, 2])]),
    "list-literal": ((4,), lambda x: x[[3, 0]]),
    "array-repeated": ((3, 2), lambda x: x[ROWS]),
    "array-negative": ((4,), lambda x: x[onp.array([-1, -4, 1])]),
    "array-2d": ((4,), lambda x: x[onp.array([[0, 1], [3, 3]])]),
    "array-empty": ((4, 2), lambda x: x[onp.array([], dtype=int)]),
    "array-second-axis": ((2, 3), lambda x: x[:, ROWS]),
    "arrays": ((3, 2), lambda x: x[ROWS, COLS]),
    "arrays-broadcast": ((3, 2), lambda x: x[ROWS[:, None], onp.array([1, 0])]),
    "ix_": ((3, 4), lambda x: x[onp.ix_([0, 2], [1, 3, 1])]),
    "array-and-slice": ((3, 4), lambda x: x[ROWS, 1:3]),
    "array-and-int": ((3, 4), lambda x: x[ROWS, 1]),
    "arrays-apart": ((3, 2, 3), lambda x: x[ROWS, :, COLS]),
    "arrays-together": ((2, 3, 2), lambda x: x[:, ROWS, COLS]),
    "int-and-array-apart": ((2, 3, 3), lambda x: x[0, :, ROWS]),
    "array-newaxis": ((3, 2), lambda x: x[ROWS, None, COLS]),
    "array-ellipsis": ((2, 2, 3), lambda x: x[..., ROWS]),
    "array-step": ((3, 5), lambda x: x[ROWS, ::-2]),
    "mask": ((4,), lambda x: x[MASK]),
    "mask-first-axis": ((4, 2), lambda x: x[MASK]),
    "mask-second-axis": ((2, 4), lambda x: x[:, MASK]),
    "mask-2d": ((2, 3), lambda x: x[MASK2]),
    "mask-2d-leading": ((2, 3, 2), lambda x: x[MASK2]),
    "mask-and-int": ((4, 2), lambda x: x[MASK, 1]),
    "mask-and-array": ((4, 3), lambda x: x[MASK, ROWS]),
    "mask-none": ((4,), lambda x: x[onp.zeros(4, bool)]),
    "gather-of-gather": ((4,), lambda x: x[onp.array([3, 1, 1])][onp.array([0, 0, 2])]),
    "diag_indices": ((3, 3), lambda x: x[onp.diag_indices(3)]),
    "tril_indices": ((3, 3), lambda x: x[onp.tril_indices(3, -1)]),
    "triu_indices": ((3, 3), lambda x: x[onp.triu_indices(3)]),
    "tril_indices-k-m": ((3, 4), lambda x: x[onp.tril_indices(3, 1, 4)]),
    "differences": ((5,), lambda x: x[1:] - x[:-1]),
    "stencil": ((6,), lambda x: x[2:] * x[1:-1] - x[:-2] ** 2),
    "rosenbrock": ((5,), lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()),
}
for _name, (_shape, _fn) in READ.items():
    case(
        f"index-{_name}",
        lambda np, x, fn=_fn: fn(x),
        normal(*_shape),
        complex=_name in ("slice-step", "arrays", "mask-2d"),
        # Central differences of the sum of 10^5-sized curvatures are what float32 cannot hold.
        f32=2e-3 if _name == "rosenbrock" else 1e-4,
        # JAX refuses a list as an index.
        jax=(lambda np, x: x[onp.array([3, 0])]) if _name == "list-literal" else None,
    )
case(
    "index-traced-mask",
    lambda np, x: x[x > 0] ** 2,
    lambda rng: onp.array([0.5, -1.0, 2.0, -0.3]),
    jax=lambda np, x: x[onp.array([0, 2])] ** 2,
)
case(
    "index-fill-triangle",
    lambda np, x: np.tril(np.ones((3, 3))) @ x[onp.array([[0, 1], [2, 0], [1, 1]])],
    normal(3),
)


def _write(index, op="set"):
    """The write by NumPy and by JAX, on a copy of the first argument."""

    def numpy_version(np, x, v):
        y = x.copy()
        if op == "set":
            y[index] = v
        elif op == "add":
            y[index] += v
        elif op == "multiply":
            y[index] *= v
        else:
            y[index] -= v
        return y

    def jax_version(np, x, v):
        at = x.at[index]
        if op == "set":
            return at.set(v)
        # NumPy's a[i] += v reads, adds and writes: repeated indices count once.
        new = {"add": x[index] + v, "multiply": x[index] * v, "subtract": x[index] - v}[op]
        return at.set(new)

    return numpy_version, jax_version


WRITE = {
    # name: (shape of x, index, shape of v)
    "int": ((3, 2), 1, (2,)),
    "int-negative": ((3, 2), -1, (2,)),
    "int-broadcast": ((3, 2), 0, ()),
    "element": ((3, 2), (1, 0), ()),
    "slice": ((5,), slice(1, 4), (3,)),
    "slice-broadcast": ((5,), slice(1, 4), ()),
    "slice-step": ((6,), slice(None, None, 2), (3,)),
    "slice-reverse": ((4,), slice(None, None, -1), (4,)),
    "slices": ((3, 4), (slice(1, None), slice(0, 2)), (2, 2)),
    "slices-broadcast-row": ((3, 4), (slice(1, None), slice(0, 2)), (2,)),
    "column": ((3, 4), (slice(None), 2), (3,)),
    "everything": ((2, 3), slice(None), (3,)),
    "ellipsis": ((2, 2, 3), (Ellipsis, 1), (2, 2)),
    "newaxis": ((3,), (None, slice(1, None)), (1, 2)),
    "array": ((4, 2), onp.array([0, 2]), (2, 2)),
    "array-broadcast": ((4, 2), onp.array([0, 2]), ()),
    "arrays": ((3, 3), (onp.array([0, 2]), onp.array([1, 1])), (2,)),
    "array-and-slice": ((3, 4), (onp.array([2, 0]), slice(1, 3)), (2, 2)),
    "mask": ((4,), MASK, (3,)),
    "mask-broadcast": ((4, 2), MASK, (2,)),
    "mask-2d": ((2, 3), MASK2, (3,)),
    "mask-2d-scalar": ((2, 3), MASK2, ()),
    "diag_indices": ((3, 3), onp.diag_indices(3), (3,)),
    "tril_indices": ((3, 3), onp.tril_indices(3, -1), (3,)),
    "empty-slice": ((3,), slice(2, 1), ()),
}
for _name, (_shape, _index, _value) in WRITE.items():
    for _op in ("set", "add"):
        _numpy, _jax = _write(_index, _op)
        case(f"write-{_op}-{_name}", _numpy, normal(*_shape), normal(*_value), jax=_jax)
for _op in ("multiply", "subtract"):
    for _name in ("slice", "mask", "arrays", "element"):
        _shape, _index, _value = WRITE[_name]
        _numpy, _jax = _write(_index, _op)
        case(f"write-{_op}-{_name}", _numpy, normal(*_shape), normal(*_value), jax=_jax)


@program(
    "write-add-repeated-counts-once",
    normal(3),
    normal(4),
    jax=lambda np, x, v: x.at[onp.array([0, 2])].add(v[onp.array([1, 3])]),
)
def _(np, x, v):
    y = x.copy()
    y[onp.array([0, 0, 2, 2])] += v
    return y


@program(
    "write-set-repeated-last-wins",
    normal(3),
    normal(4),
    jax=lambda np, x, v: x.at[onp.array([0, 2])].set(v[onp.array([1, 3])]),
)
def _(np, x, v):
    y = x.copy()
    y[onp.array([0, 0, 2, 2])] = v
    return y


@program("write-constant", normal(4), jax=lambda np, x: x.at[1:3].set(0.0) * x)
def _(np, x):
    y = x.copy()
    y[1:3] = 0.0
    return y * x


@program("write-constant-array", normal(2, 3), jax=lambda np, x: x.at[0].set(onp.arange(3.0)) * x)
def _(np, x):
    y = x.copy()
    y[0] = onp.arange(3.0)
    return y * x


@program("write-argument-itself", normal(4), jax=lambda np, x: x.at[0].set(x[1] ** 2))
def _(np, x):
    x[0] = x[1] ** 2
    return x


@program("write-through-view", normal(5), normal(), jax=lambda np, x, v: x.at[1].set(v))
def _(np, x, v):
    a = x * 1.0
    b = a[1:]
    b[0] = v
    return a


@program(
    "write-base-seen-by-view", normal(5), normal(2), jax=lambda np, x, v: x.at[2:4].set(v)[1:] ** 2
)
def _(np, x, v):
    a = x * 1.0
    b = a[1:]
    a[2:4] = v
    return b**2


@program(
    "write-through-view-of-view",
    normal(3, 4),
    normal(2),
    jax=lambda np, x, v: x.at[1:, 3].set(v),
)
def _(np, x, v):
    a = x + 0.0
    b = a[1:]
    c = b[:, ::-1]
    c[:, 0] = v
    return a


@program("write-through-transpose", normal(3, 2), normal(3), jax=lambda np, x, v: x.at[:, 1].set(v))
def _(np, x, v):
    a = x + 0.0
    a.T[1] = v
    return a


@program("write-through-reshape", normal(2, 3), normal(2), jax=lambda np, x, v: x.at[1, :2].set(v))
def _(np, x, v):
    a = x + 0.0
    a.reshape(-1)[3:5] = v
    return a


@program("write-copy-is-apart", normal(4), normal(), jax=lambda np, x, v: x * x.at[0].set(v))
def _(np, x, v):
    a = x + 0.0
    b = a.copy()
    b[0] = v
    return a * b


@program("write-gather-is-apart", normal(4), normal(), jax=lambda np, x, v: x * v)
def _(np, x, v):
    a = x + 0.0
    b = a[onp.array([0, 1])]
    b[0] = 7.0
    return a * v


@program("write-inplace-operators", away(4), normal(4), jax=lambda np, x, v: ((x + v) * v - x) / x)
def _(np, x, v):
    a = x.copy()
    a += v
    a *= v
    a -= x
    a /= x
    return a


@program("write-inplace-power", away(3), jax=lambda np, x: x**3)
def _(np, x):
    a = x.copy()
    a **= 3
    return a


@program("write-inplace-through-view", normal(4), jax=lambda np, x: x.at[1:3].multiply(x[:2]))
def _(np, x):
    a = x.copy()
    b = a[1:3]
    b *= x[:2]
    return a


@program("write-then-read-then-write", normal(4), jax=lambda np, x: x.at[0].set(x[1] * x[2] ** 2))
def _(np, x):
    a = x.copy()
    a[0] = a[1]
    a[0] *= a[2]
    a[0] = a[0] * a[2]
    return a


@program("write-recurrence", normal(5), jax=lambda np, x: np.cumsum(x))
def _(np, x):
    a = x.copy()
    for i in range(1, 5):
        a[i] = a[i - 1] + x[i]
    return a


@program("write-swap", normal(2, 3), jax=lambda np, x: x[::-1] * x)
def _(np, x):
    a = x.copy()
    a[0], a[1] = a[1].copy(), a[0].copy()
    return a * x


@program("write-fill", normal(3), normal(), jax=lambda np, x, v: np.broadcast_to(v, 3) * x)
def _(np, x, v):
    a = np.zeros_like(x)
    a[:] = v
    return a * x


@program("write-zeros_like", normal(2, 3), jax=lambda np, x: np.zeros((2, 3)).at[:, 1].set(x[:, 0]))
def _(np, x):
    a = np.zeros_like(x)
    a[:, 1] = x[:, 0]
    return a


@program("write-ones_like", normal(3), jax=lambda np, x: np.ones(3).at[1].set(x[0] ** 2) * x)
def _(np, x):
    a = np.ones_like(x)
    a[1] = x[0] ** 2
    return a * x


@program("write-full_like", normal(3), jax=lambda np, x: np.full(3, 2.5).at[1].set(x[0]) * x)
def _(np, x):
    a = np.full_like(x, 2.5)
    a[1] = x[0]
    return a * x


@program(
    "write-cnp-zeros",
    normal(3),
    lib="cnp",
    f32=None,
    jax=lambda np, x: np.zeros((2, 3)).at[1].set(x**2),
)
def _(np, x):
    a = np.zeros((2, 3))
    a[1] = x**2
    return a


@program(
    "write-cnp-triangle",
    normal(3),
    lib="cnp",
    f32=None,
    jax=lambda np, x: np.zeros((3, 3)).at[onp.tril_indices(3, -1)].set(x) + 2 * np.eye(3),
)
def _(np, x):
    a = np.zeros((3, 3))
    a[onp.tril_indices(3, -1)] = x
    return a + 2 * np.eye(3)


# What NumPy cannot dispatch on its own.
case("cnp-array", lambda np, x, y: np.array([x, y, x * y]), normal(), normal(), lib="cnp")
case("cnp-array-nested", lambda np, x: np.array([[x[0], 1.0], [2.0, x[1]]]), normal(2), lib="cnp")
case("cnp-array-rows", lambda np, x, y: np.array([x, y]), normal(3), normal(3), lib="cnp")
case("cnp-asarray", lambda np, x: np.asarray(x) ** 2, normal(3), lib="cnp")
case("cnp-asarray-list", lambda np, x: np.asarray([x[1], x[0]]), normal(2), lib="cnp")
case("cnp-ones", lambda np, x: x * np.ones((2, 3)), normal(3), lib="cnp", f32=None)
case("cnp-full", lambda np, x: x * np.full((2, 3), 2.0), normal(3), lib="cnp", f32=None)
case("cnp-full-traced", lambda np, x: np.full((2, 3), x), normal(), lib="cnp")
case("cnp-arange", lambda np, x: x * np.arange(3), normal(3), lib="cnp", f32=None)
case("cnp-eye", lambda np, x: x @ np.eye(3), normal(2, 3), lib="cnp", f32=None)
case("cnp-max-of-distinct", lambda np, x: np.array([x.max(), x.min()]), distinct(4), lib="cnp")
