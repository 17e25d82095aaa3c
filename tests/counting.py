"""Functions written element by element in which loop counters are numbers, too."""

import math

import numpy as np


def weighted(x):
    s = 0.0
    for i in range(len(x)):
        s += i * x[i]
    return s


def from_one(x):
    return sum((i + 1) * v for i, v in enumerate(x))


def harmonic(x):
    s = 0.0
    for i in range(len(x)):
        s += x[i] / (i + 1)
    return s


def squares(x):
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = i**2 * x[i]
    return y


def doubling(x):
    s = 0.0
    for i in range(len(x)):
        s += x[i] * 2**i
    return s


def polynomial(a, x):
    s = 0.0
    for k in range(len(a)):
        s += a[k] * x**k
    return s


def targets(x):
    s = 0.0
    for i in range(len(x)):
        s += (x[i] - i / len(x)) ** 2
    return s


def waves(x):
    y = np.zeros(len(x))
    for i in range(1, len(x)):
        y[i] = math.sin(0.1 * i * x[i])
    return y


def decaying(x):
    n = len(x)
    s = 0.0
    for i in range(n):
        for j in range(n):
            s += x[i] * x[j] * math.exp(-abs(i - j))
    return s


def cosines(x):
    n = len(x)
    y = np.zeros(n)
    for k in range(n):
        for i in range(n):
            y[k] += x[i] * math.cos(math.pi * (i + 0.5) * k / n)
    return y


def moments(x):
    n = len(x)
    s = 0.0
    for i in range(1, n - 1):
        for d in range(-1, 2):
            s += d * x[i + d]
    return s


def positions(X):
    N, D = X.shape
    Y = np.zeros((N, D))
    for n, k in np.ndindex(N, D):
        Y[n, k] = X[n, k] + np.sin(n / 10 ** (k / D))
    return Y


def grid(x):
    y = np.zeros(len(x))
    for i in reversed(range(len(x))):
        y[i] = max(x[i], i) + float(i)
    return y
