"""Bundle adjustment: cameras and points from their pictures, by sparse least squares.

Each of the M observations says where a camera sees a point, and depends on nothing else: of the
2 M rows of the Jacobian each has 6 + 3 + 3 nonzeros. `cr.jacobian` finds that from the indexing in
`residuals`; nobody states a sparsity pattern.

    python examples/bundle_adjustment.py
"""

import numpy as np
from scipy.optimize import least_squares

import chainrule as cr


def project(cameras, points):
    """Points (M, 3) in pictures (M, 2) of cameras (M, 9): rotation vector, shift, focal, k1, k2."""
    turn = cameras[:, 0:3]
    angle = np.sqrt(np.sum(turn**2, axis=1, keepdims=True) + 1e-24)
    axis = turn / angle
    along = np.sum(points * axis, axis=1, keepdims=True)
    turned = (
        np.cos(angle) * points
        + np.sin(angle) * np.cross(axis, points)
        + (1 - np.cos(angle)) * along * axis
    )
    seen = turned + cameras[:, 3:6]
    picture = -seen[:, :2] / seen[:, 2:]
    r2 = np.sum(picture**2, axis=1, keepdims=True)
    focal, k1, k2 = cameras[:, 6:7], cameras[:, 7:8], cameras[:, 8:9]
    return focal * (1 + k1 * r2 + k2 * r2**2) * picture


def problem(n_cameras=6, n_points=80, noise=0.3, seed=0):
    """Observations of random points from a ring of cameras: every point from every second one."""
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, n_cameras, endpoint=False)
    cameras = np.zeros((n_cameras, 9))
    cameras[:, 1] = angles / 4
    cameras[:, 5] = -8
    cameras[:, 6:9] = 500, -0.05, 0.01
    points = rng.uniform(-1, 1, (n_points, 3))
    which, what = np.nonzero(np.add.outer(np.arange(n_cameras), np.arange(n_points)) % 2 == 0)
    seen = project(cameras[which], points[what]) + noise * rng.normal(size=(len(which), 2))
    return cameras, points, which, what, seen


def fit(cameras, points, which, what, seen):
    """Adjust cameras and points, both given roughly; SciPy's result and the Jacobian there."""
    n_cameras, n_points = len(cameras), len(points)

    def residuals(x):
        c = x[: n_cameras * 9].reshape(n_cameras, 9)
        p = x[n_cameras * 9 :].reshape(n_points, 3)
        return np.ravel(project(c[which], p[what]) - seen)

    jacobian = cr.compile(cr.jacobian(residuals))
    found = least_squares(
        residuals,
        np.concatenate([cameras.ravel(), points.ravel()]),
        jac=lambda x: jacobian(x).to_sparse(),
        x_scale="jac",
        max_nfev=50,
    )
    return found, jacobian(found.x)


def main():
    """A rough start is adjusted until only the noise is left."""
    cameras, points, which, what, seen = problem()
    rng = np.random.default_rng(1)
    start = cameras + 0.01 * rng.normal(size=cameras.shape) * [1, 1, 1, 1, 1, 1, 100, 0.1, 0.1]
    found, j = fit(start, points + 0.05 * rng.normal(size=points.shape), which, what, seen)
    pixels = np.sqrt(2 * found.cost / len(which))
    print(f"{found.nfev} evaluations, {pixels:.3f} pixels off on average")
    print(f"Jacobian {j.to_matrix().shape}, {j.to_sparse().nnz} nonzeros")
    return found, j, len(which)


if __name__ == "__main__":
    main()
