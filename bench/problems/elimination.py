"""Scalar programs on which orders of vertex elimination are compared.

The human heart dipole problem is MINPACK-2's (Averick, Carter, Moré and Xue, 1992); the forward
kinematics of an arm of six joints and the Jacobian of the Black-Scholes price (whose derivatives
are the second-order greeks) are as in Lohoff and Neftci, *Optimizing automatic differentiation with
deep reinforcement learning*, NeurIPS 2024, from where the published counts come.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import erf


class Published(NamedTuple):
    """Multiplications of forward and reverse mode, Markowitz' rule, and the best order known."""

    forward: int
    reverse: int
    markowitz: int
    best: int


def heart_dipole(*x: Any) -> tuple[Any, ...]:
    """Eight residuals of eight unknowns; the measured moments are set to 1."""
    a, b, c, d, t, u, v, w = x
    tv, uw = t**2 - v**2, u**2 - w**2
    ttv, vvt = t * (t**2 - 3 * v**2), v * (v**2 - 3 * t**2)
    uuw, wwu = u * (u**2 - 3 * w**2), w * (w**2 - 3 * u**2)
    return (
        a + b - 1.0,
        c + d - 1.0,
        t * a + u * b - v * c - w * d - 1.0,
        v * a + w * b + t * c + u * d - 1.0,
        a * tv - 2 * c * t * v + b * uw - 2 * d * u * w - 1.0,
        c * tv - 2 * a * t * v + d * uw - 2 * b * u * w - 1.0,
        a * ttv + c * vvt + b * uuw + d * wwu - 1.0,
        c * ttv - a * vvt + d * uuw - b * wwu - 1.0,
    )


def robot_arm(*angles: Any) -> tuple[Any, ...]:
    """Position and orientation of the hand of an arm of six joints."""
    t1, t2, t3, t4, t5, t6 = angles
    c1, c2, c4, c5, c6 = (np.cos(t) for t in (t1, t2, t4, t5, t6))
    s1, s2, s4, s5, s6 = (np.sin(t) for t in (t1, t2, t4, t5, t6))
    c23 = np.cos(t2) * np.cos(t3) - np.sin(t2) * np.sin(t3)
    s23 = np.cos(t2) * np.sin(t3) + np.sin(t2) * np.cos(t3)
    ax = s5 * (c1 * c23 * c4 + s1 * s4) + c1 * s23 * c5
    ay = s5 * (s1 * c23 * c4 - c1 * s4) + s1 * s23 * c5
    az = s23 * c4 * s5 - c23 * c5
    nz = c6 * (c23 * s5 + s23 * c4 * c5) - s23 * s4 * s6
    oz = -s6 * (c23 * s5 + s23 * c4 * c5) - s23 * s4 * c6
    px = 185.0 * (s5 * (c1 * c23 * c4 + s1 * s4) + c1 * s23 * c5)
    px = px + c1 * (175.0 + 890.0 * c2 + 50.0 * c23 + 1035.0 * s23)
    py = 185.0 * (s5 * (s1 * c23 * c4 + c1 * s4) + s1 * s23 * c5)
    py = py + s1 * (175.0 + 890.0 * c2 + 50.0 * c23 + 1035.0 * s23)
    pz = 890.0 * s2 + 575.0 + 50.0 * s23 - 1035.0 * c23 + 185.0 * (s23 * c4 * s5 - c23 * c5)
    return (
        px,
        py,
        pz,
        np.arctan2(ay, ax),
        np.arctan2(np.sqrt(1.0 - az**2), az),
        np.arctan2(oz, -nz),
    )


def black_scholes(spot: Any, strike: Any, rate: Any, sigma: Any, time: Any) -> Any:
    """The price of a call, by way of the forward price."""
    forward = np.exp(rate * time) * spot
    d1 = (np.log(forward / strike) + sigma**2 / 2.0 * time) / (sigma * np.sqrt(time))
    d2 = d1 - sigma * np.sqrt(time)

    def normal(z: Any) -> Any:
        return (1.0 + erf(z / np.sqrt(2.0))) / 2

    return np.exp(-rate * time) * (forward * normal(d1) - strike * normal(d2))
