"""Tracing: the user's NumPy function runs once on traced arrays, which record an expression."""
