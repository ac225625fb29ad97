"""Nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler

from excise.probes.tuning import Candidate, tuned
from excise.types import FittedProbe, Probe, TrainingRows

_K = (31, 15, 7, 3, 1)


@dataclass(frozen=True)
class Knn(Probe):
    """Vote of the k nearest rows, k tuned.

    It reads point-wise traces: an eraser that sends rows to a few places, or leaves each near its old neighbours.
    """

    title = "kNN"
    source = "Cover and Hart 1967, doi:10.1109/TIT.1967.1053964"

    def fit_on(self, rows: TrainingRows) -> FittedProbe:
        distances = np.sqrt(rows.squared_distances)
        fewest = min(len(train) for train, _ in rows.folds)
        candidates = []
        for k in _K:
            if k <= fewest:
                model = KNeighborsClassifier(k, metric="precomputed")
                candidates.append(Candidate(model, distances, make_pipeline(RobustScaler(), KNeighborsClassifier(k))))
        return tuned(rows, rows.folds, candidates)
