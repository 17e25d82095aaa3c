"""The corpus: functions whose derivatives textbooks print, as plain NumPy.

``CORPUS`` lists every :class:`Entry` by subject; ``NAMED`` has them by name.
"""

from . import (
    distances,
    gaussian,
    layers,
    matrices,
    networks,
    normalization,
    regression,
    scalar,
    softmax,
)
from ._entry import CORPUS, Entry, rebound

NAMED = {entry.name: entry for entry in CORPUS}

__all__ = [
    "CORPUS",
    "NAMED",
    "Entry",
    "distances",
    "gaussian",
    "layers",
    "matrices",
    "networks",
    "normalization",
    "rebound",
    "regression",
    "scalar",
    "softmax",
]
