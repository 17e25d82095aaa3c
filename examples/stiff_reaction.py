"""The Brusselator with diffusion, a stiff system, by SciPy's implicit methods.

`solve_ivp` wants ∂f/∂y; `cr.jacobian(f, argnums=1)` is that function, and its `to_sparse()` has
exactly the entries that the stencil has: no `jac_sparsity`, no finite differences.

    python examples/stiff_reaction.py
"""

import numpy as np
from scipy.integrate import solve_ivp

import chainrule as cr

A, B, DIFFUSION = 1.0, 3.0, 1 / 50


def rates(t, y):
    """Change of two concentrations on n points between walls that hold them at 1 and 3."""
    u, v = y[: len(y) // 2], y[len(y) // 2 :]
    h = 1 / (len(u) + 1)

    def diffusion(c, wall):
        p = np.pad(c, 1, constant_values=wall)
        return DIFFUSION * (p[2:] - 2 * c + p[:-2]) / h**2

    reaction = u * u * v
    return np.concatenate(
        [A + reaction - (B + 1) * u + diffusion(u, 1.0), B * u - reaction + diffusion(v, 3.0)]
    )


def start(n):
    """A sine wave above one steady state."""
    x = np.arange(1, n + 1) / (n + 1)
    return np.concatenate([1 + np.sin(2 * np.pi * x), np.full(n, 3.0)])


def main(n=60, end=10.0):
    """The same solution with a sparse Jacobian, a dense one, and none."""
    jacobian = cr.compile(cr.jacobian(rates, argnums=1))
    y0 = start(n)
    found = {}
    for name, method, jac in (
        ("BDF, sparse", "BDF", lambda t, y: jacobian(t, y).to_sparse()),
        ("BDF, as it is", "BDF", cr.jacobian(rates, argnums=1)),
        ("Radau, sparse", "Radau", lambda t, y: jacobian(t, y).to_sparse()),
        ("BDF, differences", "BDF", None),
    ):
        found[name] = solve_ivp(rates, (0, end), y0, method, jac=jac, rtol=1e-6, atol=1e-8)
        s = found[name]
        print(f"{name:17} {s.nfev:6} evaluations, {s.njev:3} Jacobians, {s.nlu:4} factorizations")
    return found, jacobian(0.0, y0)


if __name__ == "__main__":
    main()
