"""Logistic regression."""

from __future__ import annotations

from dataclasses import dataclass

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from excise.probes.tuning import tuned
from excise.types import FittedProbe, Probe
from excise.types.probe import Classes, Rows


@dataclass(frozen=True)
class Linear(Probe):
    """Logistic regression on standardised activations, its penalty tuned.

    On fresh rows it reads what an affine eraser left by its own estimation error.
    """

    title = "linear"
    source = "Alain and Bengio 2016, arXiv:1610.01644"

    def fit(self, x: Rows, z: Classes, groups: Classes, seed: int) -> FittedProbe:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, tol=1e-3))
        return tuned(model, {"logisticregression__C": [1e-4, 1e-3, 1e-2, 1e-1, 1.0]}, x, z, groups, seed)
