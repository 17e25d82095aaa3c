"""Functions written element by element, as one writes a small case on paper."""

import math

import numpy as np

TABLE = np.array([2, 0, 1, 1])


def linear(x, w):
    N, D = x.shape
    M = w.shape[1]
    y = np.zeros((N, M))
    for i in range(N):
        for j in range(M):
            s = 0.0
            for k in range(D):
                s += x[i, k] * w[k, j]
            y[i, j] = s
    return y


def product_in_place(x, w):
    y = np.zeros((x.shape[0], w.shape[1]))
    for k in range(x.shape[1]):
        for i in range(x.shape[0]):
            for j in range(w.shape[1]):
                y[i, j] += w[k, j] * x[i, k]
    return y


def softmax(x):
    N, D = x.shape
    y = np.empty((N, D))
    for i in range(N):
        m = max(x[i, j] for j in range(D))
        s = 0.0
        for j in range(D):
            s += math.exp(x[i, j] - m)
        for j in range(D):
            y[i, j] = math.exp(x[i, j] - m) / s
    return y


def plain_softmax(x):
    N, D = x.shape
    y = np.zeros((N, D))
    for i in range(N):
        s = sum(np.exp(x[i, j]) for j in range(D))
        for j in range(D):
            y[i, j] = np.exp(x[i, j]) / s
    return y


def distances(x, y):
    d = np.zeros((len(x), len(y)))
    for i in range(len(x)):
        for j in range(len(y)):
            for k in range(x.shape[1]):
                d[i, j] += (x[i, k] - y[j, k]) ** 2
    return d


def convolution(x, w):
    n = len(x) - len(w) + 1
    y = np.zeros(n)
    for i in range(n):
        for b in range(len(w)):
            y[i] += x[i + b] * w[b]
    return y


def padded(x, w):
    n, r = len(x), 1
    y = np.zeros(n)
    for i in range(n):
        s = 0.0
        for b in range(len(w)):
            if 0 <= i + b - r < n:
                s += x[i + b - r] * w[b]
        y[i] = math.tanh(s)
    return y


def images(x, w):
    H, W = x.shape
    A, B = w.shape
    y = np.zeros((H - A + 1, W - B + 1))
    for i in range(H - A + 1):
        for j in range(W - B + 1):
            for a in range(A):
                for b in range(B):
                    y[i, j] += x[i + a, j + b] * w[a, b]
    return y


def layer(W, X, b):
    T, N = W.shape
    B = X.shape[1]
    Y = np.empty((T, B))
    for t in range(T):
        for c in range(B):
            s = b[t]
            for n in range(N):
                s = s + W[t, n] * X[n, c]
            Y[t, c] = math.tanh(s)
    return Y


def row_layer(x, w, b):
    y = np.zeros((x.shape[0], w.shape[1]))
    for i in range(x.shape[0]):
        for j in range(w.shape[1]):
            s = 0
            for k in range(x.shape[1]):
                s += x[i, k] * w[k, j]
            y[i, j] = max(0, s + b[j])
    return y


def dot(a, b):
    s = 0
    for i in range(len(a)):
        s += a[i] * b[i]
    return s


def trace(A):
    return sum(A[i, i] for i in range(len(A)))


def outer(a, b):
    return np.array([[a[i] * b[j] for j in range(len(b))] for i in range(len(a))])


def row_means(x):
    N, D = x.shape
    m = np.zeros(N)
    for i in range(N):
        for k in range(D):
            m[i] += x[i, k] / D
    return m


def row_variances(x):
    N, D = x.shape
    v = np.zeros(N)
    for i in range(N):
        m = sum(x[i, k] for k in range(D)) / D
        for k in range(D):
            v[i] += (x[i, k] - m) ** 2 / D
    return v


def apply(A, x):
    y = []
    for i in range(A.shape[0]):
        s = 0.0
        for j in range(A.shape[1]):
            s += A[i, j] * x[j]
        y.append(s)
    return np.array(y)


def running(x):
    y = np.zeros(len(x))
    y[0] = x[0]
    for i in range(1, len(x)):
        y[i] = y[i - 1] + x[i]
    return y


def squashed_running(x):
    y = np.zeros(len(x))
    s = 0.0
    for i in range(len(x)):
        s += x[i]
        y[i] = math.tanh(s)
    return y


def transposed(x):
    y = np.zeros((x.shape[1], x.shape[0]))
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[j, i] = x[i, j]
    return y


def lower(x):
    y = np.zeros_like(x)
    for i in range(len(x)):
        for j in range(i + 1):
            y[i, j] = x[i, j]
    return y


def triangle(L, x):
    y = np.zeros(len(x))
    for i in range(len(x)):
        for j in range(i + 1):
            y[i] += L[i, j] * x[j]
    return y


def squares(p, t):
    N, D = p.shape
    total = 0.0
    for i in range(N):
        for j in range(D):
            total += (p[i, j] - t[i, j]) ** 2
    return total / (N * D)


def embedding(E):
    y = np.zeros((len(TABLE), E.shape[1]))
    for i in range(len(TABLE)):
        for k in range(E.shape[1]):
            y[i, k] = E[TABLE[i], k]
    return y


def embedded(E, at):
    y = np.zeros((len(at), E.shape[1]))
    for i in range(len(at)):
        for k in range(E.shape[1]):
            y[i, k] = E[at[i], k]
    return y


def by_rows(x, w):
    y = np.zeros((x.shape[0], w.shape[1]))
    for i in range(x.shape[0]):
        y[i] = np.tanh(x[i] @ w)
    return y


def everything(x):
    total = 1.0
    for i in range(len(x)):
        total *= x[i]
    return total


def pairs(x):
    y = np.zeros(len(x) // 2)
    for i in range(len(x) // 2):
        y[i] = x[2 * i] + x[2 * i + 1]
    return y


def flattened(x):
    N, D = x.shape
    y = np.zeros(N * D)
    for i in range(N):
        for k in range(D):
            y[i * D + k] = x[i, k]
    return y


def helper(x, i):
    return np.exp(x[i])


def helped(x):
    return np.array([helper(x, i) for i in range(len(x))])


def horner(a, x):
    s = 0.0
    for k in range(len(a)):
        s = s * x + a[k]
    return s


def quadratic(x):
    return sum(x[(i * i) % 7] for i in range(len(x)))


def apart(x, y):
    n = len(x)
    A = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j:
                A[i, j] = (x[i] - y[j]) ** 2
    return A


def attention(q, k, v):
    T, D = q.shape
    out = np.zeros((T, D))
    for i in range(T):
        e = [sum(q[i, c] * k[j, c] for c in range(D)) / math.sqrt(D) for j in range(i + 1)]
        w = [math.exp(a) for a in e]
        s = sum(w)
        for j in range(i + 1):
            for c in range(D):
                out[i, c] += w[j] / s * v[j, c]
    return out


def rolled(x):
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = x[i - 1]
    return y


def two(x):
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = x[i]
    return y, y


def scattered(x):
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = x[(i * i) % 7]
    return y


def squared(X, i, Y, j):
    s = 0.0
    for k in range(X.shape[1]):
        s += (X[i, k] - Y[j, k]) ** 2
    return s


def squared_distances(X):
    out = np.zeros((len(X), len(X)))
    for i in range(len(X)):
        for j in range(len(X)):
            out[i, j] = squared(X, i, X, j)
    return out


def city_distances(X):
    out = np.zeros((len(X), len(X)))
    for i, j in np.ndindex(out.shape):
        for k in range(X.shape[1]):
            out[i, j] += abs(X[i, k] - X[j, k])
    return out


def norms_of_differences(X):
    out = np.zeros((len(X), len(X)))
    for i, j in np.ndindex(out.shape):
        s = 0.0
        for k in range(X.shape[1]):
            t = X[i, k] - X[j, k]
            s += t * t
        out[i, j] = s
    return out


def kernel(X, kept):
    out = np.zeros((len(X), len(X)))
    for i in range(len(X)):
        for j in range(len(X)):
            if kept(i, j):
                out[i, j] = math.exp(-squared(X, i, X, j))
    return out


def gaussian_kernel(X):
    out = kernel(X, lambda i, j: True)
    return out


def gaussian_kernel_apart(X):
    out = kernel(X, lambda i, j: i != j)
    return out


def gaussian_kernel_below(X):
    out = kernel(X, lambda i, j: j <= i)
    return out


def phases(x, w):
    out = np.zeros(len(x))
    for i in range(len(x)):
        for j in range(len(x)):
            out[i] += math.sin(x[j] - x[i])
        out[i] += w[i]
    return out


def gaps(x, y):
    out = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        for j in range(len(x)):
            out[i, j] = x[i] - x[j] + y[i]
    return out


def telescope(x):
    s = 0.0
    for i in range(len(x) - 1):
        s += x[i + 1] - x[i]
    return s
