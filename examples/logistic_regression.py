"""Logistic regression by SciPy's minimizers, with gradient, Hessian and Hessian-vector products.

`cr.grad(f)`, `cr.hessian(f)` and `cr.hvp(f)` are what `minimize` expects as `jac`, `hess` and
`hessp`; nothing is wrapped. The last line is Newton's method by hand: `H.solve(g)`.

    python examples/logistic_regression.py
"""

import numpy as np
from scipy.optimize import minimize

import chainrule as cr


def data(m=400, n=12, seed=0):
    """Features (m, n) and labels -1 and 1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(m, n))
    weights = rng.normal(size=n)
    y = np.where(rng.uniform(size=m) < 1 / (1 + np.exp(-x @ weights)), 1.0, -1.0)
    return x, y


def loss_of(x, y, penalty=1.0):
    """The penalized negative log-likelihood as a function of the weights."""

    def loss(w):
        return np.sum(np.logaddexp(0.0, -y * (x @ w))) + 0.5 * penalty * np.sum(w**2)

    return loss


def newton(loss, w, steps=20):
    """Newton's method, steps halved until they descend."""
    both, hessian = cr.value_and_grad(loss), cr.hessian(loss)
    for _ in range(steps):
        value, g = both(w)
        if np.max(np.abs(g)) < 1e-9:
            break
        step = hessian(w).solve(g)
        while loss(w - step) > value:
            step /= 2
        w = w - step
    return w


def main():
    """The same minimum five times."""
    x, y = data()
    loss = loss_of(x, y)
    start = np.zeros(x.shape[1])
    gradient = cr.grad(loss)
    results = {
        "BFGS": minimize(loss, start, jac=gradient, method="BFGS"),
        "L-BFGS-B": minimize(cr.value_and_grad(loss), start, jac=True, method="L-BFGS-B"),
        "Newton-CG": minimize(loss, start, jac=gradient, hessp=cr.hvp(loss), method="Newton-CG"),
        "trust-exact": minimize(
            loss, start, jac=gradient, hess=cr.hessian(loss), method="trust-exact"
        ),
        "trust-constr": minimize(
            loss, start, jac=gradient, hess=cr.hessian(loss), method="trust-constr"
        ),
    }
    for name, found in results.items():
        print(f"{name:13} {found.fun:.10f} after {found.nit} steps")
    by_hand = newton(loss, start)
    print(f"{'Newton':13} {loss(by_hand):.10f}")
    return results, by_hand, loss


if __name__ == "__main__":
    main()
