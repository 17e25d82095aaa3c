"""Bundle adjustment: cameras look at points, residuals of the projections and of the weights.

Parameters are one vector: n cameras ``[r1 r2 r3, C1 C2 C3, f, u0 v0, k1 k2]``, m points, p weights.
Residuals are one vector: two for every observation, then one for every weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse


class Problem(NamedTuple):
    """Sizes, which camera sees which point (p, 2), where (p, 2), and where to start."""

    cameras: int
    points: int
    observations: Any
    features: Any
    start: Any


def rotated(r: Any, x: Any) -> Any:
    """Rodrigues' rotation of the rows of x by the rows of r; to first order where r is 0."""
    square = np.sum(r * r, axis=1, keepdims=True)
    turns = square > 0
    angle = np.sqrt(np.where(turns, square, 1.0))
    axis = r / angle
    cosine, sine = np.cos(angle), np.sin(angle)
    along = np.sum(axis * x, axis=1, keepdims=True) * (1 - cosine)
    full = x * cosine + np.cross(axis, x) * sine + axis * along
    return np.where(turns, full, x + np.cross(r, x))


def projected(cameras: Any, points: Any) -> Any:
    """Where each camera (p, 11) sees its point (p, 3)."""
    seen = rotated(cameras[:, :3], points - cameras[:, 3:6])
    u = seen[:, :2] / seen[:, 2:]
    square = np.sum(u * u, axis=1, keepdims=True)
    radial = 1 + cameras[:, 9:10] * square + cameras[:, 10:11] * square**2
    return cameras[:, 6:7] * radial * u + cameras[:, 7:9]


def residuals(problem: Problem) -> Callable[[Any], Any]:
    """The residuals (3 p,) as a function of all parameters."""
    n, m = problem.cameras, problem.points
    camera, point = problem.observations.T

    def f(parameters: Any) -> Any:
        cameras = parameters[: 11 * n].reshape(n, 11)
        points = parameters[11 * n : 11 * n + 3 * m].reshape(m, 3)
        weights = parameters[11 * n + 3 * m :]
        errors = projected(cameras[camera], points[point]) - problem.features
        return np.concatenate([(weights[:, None] * errors).reshape(-1), 1 - weights**2])

    return f


def random_problem(n: int, m: int, p: int, seed: int = 0) -> Problem:
    """Cameras in front of a cloud of points, every point seen by some cameras."""
    rng = np.random.default_rng(seed)
    cameras = np.zeros((n, 11))
    cameras[:, :6] = 0.1 * rng.normal(size=(n, 6))
    cameras[:, 5] -= 5
    cameras[:, 6] = 500
    cameras[:, 7:9] = rng.normal(size=(n, 2))
    cameras[:, 9:] = 0.01 * rng.normal(size=(n, 2))
    observations = np.stack([rng.integers(0, n, p), rng.integers(0, m, p)], 1)
    start = [cameras.reshape(-1), rng.normal(size=3 * m), 1 - 0.1 * rng.random(p)]
    return Problem(n, m, observations, rng.normal(size=(p, 2)), np.concatenate(start))


def by_hand(problem: Problem) -> Callable[[Any], Any]:
    """The CSR Jacobian written out in NumPy: derivatives by hand, then the three arrays."""
    n, m = problem.cameras, problem.points
    camera, point = problem.observations.T
    p = len(camera)  # axes of observations go last until all is known

    def jacobian(parameters: Any) -> Any:
        cam = parameters[: 11 * n].reshape(n, 11).T[:, camera]
        pts = parameters[11 * n : 11 * n + 3 * m].reshape(m, 3).T[:, point]
        w = parameters[11 * n + 3 * m :]
        r, x = cam[:3], pts - cam[3:6]
        f, k1, k2 = cam[6], cam[9], cam[10]
        angle = np.sqrt(np.sum(r * r, 0))
        a = r / angle
        c, s = np.cos(angle), np.sin(angle)
        dot = np.sum(a * x, 0)
        cross = np.cross(a, x, axis=0)
        seen = x * c + cross * s + a * (dot * (1 - c))
        # the rotation R (rows, columns, observations) and its derivative by r
        turn = np.zeros((3, 3, p))
        turn[0, 1], turn[0, 2], turn[1, 2] = -a[2], a[1], -a[0]
        turn[1, 0], turn[2, 0], turn[2, 1] = a[2], -a[1], a[0]
        outer = a[:, None] * a[None]
        rotation = turn * s + outer * (1 - c)
        swing = np.zeros((3, 3, p))  # of a × x by a
        swing[0, 1], swing[0, 2], swing[1, 2] = x[2], -x[1], x[0]
        swing[1, 0], swing[2, 0], swing[2, 1] = -x[2], x[1], -x[0]
        by_axis = swing * s + a[:, None] * (x * (1 - c))[None]
        for i in range(3):
            rotation[i, i] += c
            by_axis[i, i] += dot * (1 - c)
        by_angle = -x * s + cross * c + a * (dot * s)
        slope = np.einsum("ijp,jp->ip", by_axis, a)
        by_r = (by_axis - slope[:, None] * a[None]) / angle + by_angle[:, None] * a[None]
        # the projection and its derivative by what is seen
        u = seen[:2] / seen[2]
        square = np.sum(u * u, 0)
        radial = 1 + k1 * square + k2 * square**2
        bend = 2 * (k1 + 2 * k2 * square)
        by_u = u[:, None] * (u * bend)[None]
        by_u[0, 0] += radial
        by_u[1, 1] += radial
        by_u *= f * w
        by_seen = np.empty((2, 3, p))
        by_seen[:, :2] = by_u / seen[2]
        by_seen[:, 2] = -np.einsum("ijp,jp->ip", by_u, u) / seen[2]
        by_point = np.einsum("ijp,jkp->ikp", by_seen, rotation)
        errors = f * radial * u + cam[7:9] - problem.features.T

        cameras = np.empty((2, 11, p))
        cameras[:, :3] = np.einsum("ijp,jkp->ikp", by_seen, by_r)
        cameras[:, 3:6] = -by_point
        cameras[:, 6] = w * radial * u
        cameras[:, 7:9] = 0
        cameras[0, 7] = cameras[1, 8] = w
        cameras[:, 9] = w * f * square * u
        cameras[:, 10] = w * f * square**2 * u
        parts = [part.transpose(2, 0, 1) for part in (cameras, by_point, errors[:, None])]
        return written(problem, parts, -2 * w)

    return jacobian


def written(problem: Problem, parts: list[Any], weights: Any) -> Any:
    """The CSR array of blocks (p, 2, 11), (p, 2, 3), (p, 2, 1) and the weights' own entries."""
    n, m = problem.cameras, problem.points
    camera, point = problem.observations.T
    p = len(camera)
    data, columns = np.empty(31 * p), np.empty(31 * p, np.int32)
    block, where = data[: 30 * p].reshape(p, 2, 15), columns[: 30 * p].reshape(p, 2, 15)
    block[:, :, :11], block[:, :, 11:14], block[:, :, 14:] = parts
    data[30 * p :] = weights
    first, second = (11 * camera).astype(np.int32), (11 * n + 3 * point).astype(np.int32)
    where[:, :, :11] = first[:, None, None] + np.arange(11, dtype=np.int32)
    where[:, :, 11:14] = second[:, None, None] + np.arange(3, dtype=np.int32)
    own = np.arange(11 * n + 3 * m, 11 * n + 3 * m + p, dtype=np.int32)
    where[:, :, 14] = own[:, None]
    columns[30 * p :] = own
    pointers = np.empty(3 * p + 1, np.int32)
    pointers[: 2 * p] = np.arange(0, 30 * p, 15)
    pointers[2 * p :] = np.arange(30 * p, 31 * p + 1)
    shape = (3 * p, 11 * n + 3 * m + p)
    return scipy.sparse.csr_array((data, columns, pointers), shape=shape)
