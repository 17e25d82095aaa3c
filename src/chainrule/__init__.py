"""Derivatives of tensor functions written in plain NumPy."""
