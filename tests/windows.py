"""Functions of windows and of steps, written element by element."""

import math

import numpy as np


def strided(x, w):
    y = np.zeros((len(x) - len(w)) // 2 + 1)
    for i in range(len(y)):
        for k in range(len(w)):
            y[i] += x[2 * i + k] * w[k]
    return y


def average_pool(x):
    y = np.zeros((x.shape[0] // 2, x.shape[1] // 2))
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            for a in range(2):
                for b in range(2):
                    y[i, j] += x[2 * i + a, 2 * j + b] / 4
    return y


def max_pool(x):
    y = np.zeros((x.shape[0] // 2, x.shape[1] // 2))
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            a, b = 2 * i, 2 * j
            y[i, j] = max(x[a, b], x[a, b + 1], x[a + 1, b], x[a + 1, b + 1])
    return y


def periodic(u):
    n, m = u.shape
    v = np.zeros((n, m))
    for i in range(n):
        for j in range(m):
            s = u[(i + 1) % n, j] + u[(i - 1) % n, j] + u[i, (j + 1) % m] + u[i, (j - 1) % m]
            v[i, j] = s - 4 * u[i, j]
    return v


def circulant(c, x):
    n = len(c)
    y = np.zeros(n)
    for i in range(n):
        for j in range(n):
            y[i] += c[(i - j) % n] * x[j]
    return y


def shifted(x):
    return np.array([np.tanh(x[(i + 3) % len(x)]) for i in range(len(x))])


def repeated(x):
    return np.array([x[i // 2] for i in range(2 * len(x))])


def unfolded(x):
    n, d = x.shape
    return np.array([x[i // d, i % d] for i in range(n * d)])


def covariance(X):
    N, D = X.shape
    mean = [sum(X[n, d] for n in range(N)) / N for d in range(D)]
    C = np.zeros((D, D))
    for a in range(D):
        for b in range(D):
            for n in range(N):
                C[a, b] += (X[n, a] - mean[a]) * (X[n, b] - mean[b]) / (N - 1)
    return C


def recurrent(W, U, x, h):
    for t in range(len(x)):
        h = np.tanh(W @ h + U @ x[t])
    return h


def smoothed(x):
    s = x[0]
    for t in range(1, len(x)):
        s = 0.9 * s + 0.1 * x[t]
    return s


def counts(w, bins):
    h = np.zeros(4)
    for i in range(len(w)):
        h[bins[i]] += w[i]
    return h


def branching(x):
    y = np.zeros(len(x))
    for i in range(len(x)):
        if x[i] > 0:
            y[i] = math.sqrt(x[i])
    return y


def arcs(x):
    return sum(math.asin(v) for v in x)


def running_products(x):
    y = np.zeros(x.shape)
    for i in range(x.shape[0]):
        p = 1.0
        for j in range(x.shape[1]):
            p *= x[i, j]
            y[i, j] = p
    return y


def survival(x):
    y = []
    p = 1.0
    for v in x:
        p = p * (1 - v)
        y.append(p)
    return np.array(y)
