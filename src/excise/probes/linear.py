"""Logistic regression."""

from __future__ import annotations

from dataclasses import dataclass

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from excise.probes.tuning import Candidate, tuned
from excise.types import FittedProbe, Probe, TrainingRows

_C = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class Linear(Probe):
    """Logistic regression on standardised activations, its penalty tuned.

    On fresh rows it reads what an affine eraser left by its own estimation error.
    """

    title = "linear"
    source = "Alain and Bengio 2016, arXiv:1610.01644"

    def fit_on(self, rows: TrainingRows) -> FittedProbe:
        standard = StandardScaler().fit_transform(rows.x)
        candidates = []
        for c in _C:
            model = LogisticRegression(C=c, max_iter=2000, tol=1e-3)
            candidates.append(Candidate(model, standard, make_pipeline(StandardScaler(), model)))
        return tuned(rows, rows.folds, candidates)
