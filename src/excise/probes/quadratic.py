"""Quadratic discriminant analysis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler

from excise.probes.components import Principal
from excise.probes.tuning import Candidate, tuned
from excise.types import FittedProbe, Probe, TrainingRows

_DIMENSIONS = (8, 16, 32, 64)
# Of each class covariance towards the pooled one, which after whitening is nearly the identity.
_SHRINKAGE = (0.9, 0.6, 0.3)


@dataclass(frozen=True)
class Quadratic(Probe):
    """QDA on whitened leading principal components; their number and the shrinkage of class covariances tuned.

    It reads what is left when class means are equal and covariances are not.
    """

    title = "quadratic"
    source = "Friedman 1989, doi:10.1080/01621459.1989.10478752"

    def fit_on(self, rows: TrainingRows) -> FittedProbe:
        # A direction that an eraser emptied holds rounding alone, which whitening would blow up.
        most = max(1, int(np.sum(rows.components.std(axis=0) > 1e-6 * rows.components[:, :1].std())))
        # A class needs more rows than dimensions, in every fold.
        fewest = min(int(np.unique(rows.z[train], return_counts=True)[1].min()) for train, _ in rows.folds) - 1
        whole = rows.components
        spread = whole.std(axis=0)
        candidates = []
        for p in sorted({min(p, most, fewest) for p in _DIMENSIONS}):
            white = whole[:, :p] / (spread[:p] + (spread[:p] == 0))
            for shrinkage in _SHRINKAGE:
                model = QuadraticDiscriminantAnalysis(reg_param=shrinkage)
                final = make_pipeline(RobustScaler(), Principal(p, svd_solver="full", whiten=True), model)
                candidates.append(Candidate(model, white, final))
        return tuned(rows, rows.folds, candidates)
