"""Data sets that come with an installed package, so that nothing is downloaded."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from chainrule.nn.tree import Array

Labels: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Dataset:
    """A classification problem, split: x (rows, features), labels (rows,) in 0 … classes - 1."""

    x_train: Array
    labels_train: Labels
    x_test: Array
    labels_test: Labels
    classes: int

    @property
    def y_train(self) -> Array:
        """The training labels one-hot, (rows, classes)."""
        return self._one_hot(self.labels_train)

    @property
    def y_test(self) -> Array:
        """The test labels one-hot, (rows, classes)."""
        return self._one_hot(self.labels_test)

    def _one_hot(self, labels: Labels) -> Array:
        identity: Array = np.eye(self.classes, dtype=self.x_train.dtype)
        return identity[labels]


def load_digits(seed: int = 0, test_share: float = 0.2) -> Dataset:
    """Handwritten digits: 1797 images of 8 by 8 pixels, bundled with scikit-learn.

    The split keeps the share of every class; pixels are centred by their training mean and divided
    by the one scale of all pixels in the training set. (A scale for each pixel would blow up the
    ones at the border, which are almost always blank.)
    """
    from sklearn import datasets, model_selection

    images, labels = datasets.load_digits(return_X_y=True)
    x_train, x_test, labels_train, labels_test = model_selection.train_test_split(
        images, labels, test_size=test_share, stratify=labels, random_state=seed
    )
    mean, scale = x_train.mean(axis=0), x_train.std()
    return Dataset(
        x_train=(x_train - mean) / scale,
        labels_train=labels_train.astype(np.int64),
        x_test=(x_test - mean) / scale,
        labels_test=labels_test.astype(np.int64),
        classes=10,
    )
