"""Functions over pairs of indices, written element by element: ``i != j``, ``i < j``, stencils."""

import math

import numpy as np


def distance(X, i, j):
    s = 0.0
    for k in range(X.shape[1]):
        s += (X[i, k] - X[j, k]) ** 2
    return math.sqrt(s)


def spread(X):
    total = 0.0
    for i in range(len(X)):
        for j in range(len(X)):
            if i != j:
                total += distance(X, i, j)
    return total


def spread_once(X):
    total = 0.0
    for i in range(len(X)):
        for j in range(i + 1, len(X)):
            total += distance(X, i, j)
    return total


def distance_matrix(X):
    out = np.zeros((len(X), len(X)))
    for i in range(len(X)):
        for j in range(len(X)):
            if i != j:
                out[i, j] = distance(X, i, j)
    return out


def coulomb(q, x):
    e = 0.0
    for i in range(len(q)):
        for j in range(len(q)):
            if i < j:
                e += q[i] * q[j] / abs(x[i] - x[j])
    return e


def others(x):
    y = np.zeros(len(x))
    for i in range(len(x)):
        for j in range(len(x)):
            if j != i:
                y[i] += x[j]
    return y


def off(A):
    B = np.zeros(A.shape)
    for i in range(len(A)):
        for j in range(len(A)):
            if i != j:
                B[i, j] = A[i, j]
    return B


def off_squares(A):
    return sum(A[i, j] ** 2 for i in range(len(A)) for j in range(len(A)) if i != j)


def damped(A):
    B = np.zeros(A.shape)
    for i in range(len(A)):
        for j in range(len(A)):
            B[i, j] = A[i, j] if i != j else A[i, j] / 2
    return B


def above(A):
    B = np.zeros(A.shape)
    for i in range(len(A)):
        for j in range(len(A)):
            if i < j:
                B[i, j] = A[i, j]
    return B


def below(A):
    B = np.zeros(A.shape)
    for i in range(len(A)):
        for j in range(i):
            B[i, j] = A[i, j]
    return B


def before(x):
    y = np.zeros(len(x))
    for i in range(len(x)):
        for j in range(i):
            y[i] += x[j] * math.exp(x[i])
    return y


def toeplitz(c):
    n = len(c)
    return np.array([[c[abs(i - j)] for j in range(n)] for i in range(n)])


def laplacian(u):
    n, m = u.shape
    v = np.zeros((n, m))
    for i in range(1, n - 1):
        for j in range(1, m - 1):
            v[i, j] = u[i + 1, j] + u[i - 1, j] + u[i, j + 1] + u[i, j - 1] - 4 * u[i, j]
    return v
