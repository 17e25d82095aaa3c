"""Bratu's problem u'' + λ exp(u) = 0, u(0) = u(1) = 0: a nonlinear system by its Jacobian.

The same residual is solved three ways: `scipy.optimize.root` gets `cr.jacobian(residual)` as it
is; Newton's method solves with the Jacobian's bands; Newton–Krylov hands the Jacobian itself to
`gmres`, which asks for products only.

    python examples/boundary_value.py
"""

import numpy as np
from scipy.optimize import root
from scipy.sparse.linalg import gmres

import chainrule as cr

LAMBDA = 2.0


def residual(u):
    """Second differences on n inner points, scaled by h²."""
    h = 1 / (len(u) + 1)
    padded = np.pad(u, 1)
    return padded[2:] - 2 * u + padded[:-2] + h**2 * LAMBDA * np.exp(u)


def exact(n):
    """Bratu's solution -2 log(cosh((x - 1/2) θ/2) / cosh(θ/4)), θ = √(2λ) cosh(θ/4)."""
    theta = 1.0
    for _ in range(200):
        theta = np.sqrt(2 * LAMBDA) * np.cosh(theta / 4)
    x = np.arange(1, n + 1) / (n + 1)
    return -2 * np.log(np.cosh((x - 0.5) * theta / 2) / np.cosh(theta / 4))


def newton(u, solve, steps=20, tolerance=1e-13):
    """Newton's method; `solve(J, r)` gives the step."""
    jacobian = cr.jacobian(residual)
    for _ in range(steps):
        r = residual(u)
        if np.max(np.abs(r)) < tolerance:
            break
        u = u - solve(jacobian(u), r)
    return u


def by_gmres(j, r):
    """One linear system by products with J; J goes to SciPy as it is."""
    step, info = gmres(j, r, rtol=1e-10, restart=len(r), maxiter=5)
    assert info == 0
    return step


def main(n=60, large=100_000):
    """Distance from the exact solution, which shrinks like h²."""
    solutions = {
        "root": root(residual, np.zeros(n), jac=cr.jacobian(residual)).x,
        "Newton": newton(np.zeros(n), lambda j, r: j.solve(r)),
        "Newton-Krylov": newton(np.zeros(n), by_gmres),
    }
    errors = {name: np.max(np.abs(u - exact(n))) for name, u in solutions.items()}
    j = cr.jacobian(residual)(np.zeros(large))
    print(f"{large} points: {j.factorize().method}")
    solutions["large"] = newton(np.zeros(large), lambda j, r: j.solve(r), tolerance=1e-15)
    errors["large"] = np.max(np.abs(solutions["large"] - exact(large)))
    for name, error in errors.items():
        print(f"{name:14} {error:.2e}")
    return errors


if __name__ == "__main__":
    main()
