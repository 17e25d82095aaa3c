"""A blurred picture sharpened: linear maps as operators for lsmr and cg.

The blur is a NumPy function. Its Jacobian is the linear map, which SciPy's iterative solvers take
as `J.to_linear_operator()`; for functions of vectors they take J itself.

    python examples/deblurring.py
"""

import numpy as np
from scipy.sparse.linalg import aslinearoperator, cg, lsmr

import chainrule as cr

KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def blur(image):
    """A 5 × 5 binomial filter; black around the picture."""
    padded = np.pad(image, 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, KERNEL.shape)
    return np.einsum("ijkl,kl->ij", windows, KERNEL)


def picture(n=48):
    """A disc and a bar."""
    y, x = np.mgrid[:n, :n] / n
    return 1.0 * ((x - 0.35) ** 2 + (y - 0.4) ** 2 < 0.05) + 0.7 * (np.abs(x - 0.75) < 0.06)


def sharpened(seen, damp=0.02):
    """The image that comes closest, small images preferred: lsmr on the Jacobian of the blur."""
    j = cr.jacobian(blur)(np.zeros_like(seen))
    found = lsmr(j.to_linear_operator(), seen.ravel(), damp=damp, maxiter=200)
    return found[0].reshape(seen.shape), j


def smoothed(seen, weight=0.02):
    """The minimum of ‖blur(x) - seen‖² + weight·‖differences‖²: cg on the Hessian."""

    def objective(flat):
        x = flat.reshape(seen.shape)
        rough = np.sum(np.diff(x, axis=0) ** 2) + np.sum(np.diff(x, axis=1) ** 2)
        return np.sum((blur(x) - seen) ** 2) + weight * rough

    zero = np.zeros(seen.size)
    h, g = cr.hessian(objective)(zero), cr.grad(objective)(zero)
    x, info = cg(h, -g, rtol=1e-8, maxiter=2000)  # the Hessian goes to SciPy as it is
    assert info == 0
    assert aslinearoperator(h).shape == h.shape
    return x.reshape(seen.shape), h


def main():
    """Errors before and after."""
    image = picture()
    seen = blur(image) + 0.005 * np.random.default_rng(0).normal(size=image.shape)
    by_lsmr, j = sharpened(seen)
    by_cg, h = smoothed(seen)
    errors = {
        name: np.linalg.norm(x - image) / np.linalg.norm(image)
        for name, x in (("blurred", seen), ("lsmr", by_lsmr), ("cg", by_cg))
    }
    for name, error in errors.items():
        print(f"{name:8} {error:.3f}")
    return errors, j, h


if __name__ == "__main__":
    main()
