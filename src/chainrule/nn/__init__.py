"""What it takes to train a network on top of the derivatives: small, and over any tree of arrays.

Models are plain NumPy functions of their parameters; nothing here knows a layer or a loss.
"""

from chainrule.nn.batches import batches
from chainrule.nn.datasets import Dataset, load_digits
from chainrule.nn.init import dense
from chainrule.nn.optimizers import Adam, GradientDescent, Optimizer
from chainrule.nn.training import Epoch, fit
from chainrule.nn.tree import Tree

__all__ = [
    "Adam",
    "Dataset",
    "Epoch",
    "GradientDescent",
    "Optimizer",
    "Tree",
    "batches",
    "dense",
    "fit",
    "load_digits",
]
