"""Adversaries: settings (`Probe`) and result (`FittedProbe`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FittedProbe:
    """A probe trained on erased activations.

    Attributes:
        estimator: a fitted scikit-learn classifier.
        cv_accuracy: its cross-validated accuracy on its own training rows, the figure by which probes are tuned and
            compared, so that test rows only report.
    """

    estimator: Any
    cv_accuracy: float

    def predict(self, x: Rows) -> Classes:
        """x [n, d] -> classes [n]."""
        return np.asarray(self.estimator.predict(x), dtype=np.int64)


@dataclass(frozen=True)
class Probe(ABC):
    """Settings of one family of adversary."""

    title: ClassVar[str]
    """Name in tables and plots."""
    source: ClassVar[str]
    """Where its settings come from."""

    @abstractmethod
    def fit(self, x: Rows, z: Classes, groups: Classes, seed: int) -> FittedProbe:
        """Trains on x [n, d], classes z [n]; hyperparameters are chosen by cross-validation that keeps groups
        together."""
