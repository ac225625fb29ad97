"""RBF-SVM after dimension reduction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler
from sklearn.svm import SVC

from excise.probes.components import Principal
from excise.probes.tuning import Candidate, tuned, typical
from excise.types import FittedProbe, Probe, TrainingRows

_DIMENSIONS = (8, 16, 32, 64)
_GAMMA = (0.1, 0.3, 1.0)  # Times the inverse of the median squared distance.
_C = (1.0, 10.0)


@dataclass(frozen=True)
class PcaSvm(Probe):
    """RBF-SVM on the leading principal components; their number, C and gamma tuned.

    Distances in hundreds of dimensions are nearly all alike; in a few they show curves and clusters.
    """

    title = "PCA-SVM"
    source = "Pearson 1901, doi:10.1080/14786440109462720, before the study's SVM"

    def fit_on(self, rows: TrainingRows) -> FittedProbe:
        most = rows.components.shape[1]
        candidates = []
        for p in sorted({min(p, most) for p in _DIMENSIONS}):
            distances = euclidean_distances(rows.components[:, :p], squared=True)
            for gamma in np.divide(_GAMMA, typical(distances)):
                kernel = np.exp(-gamma * distances)
                for c in _C:
                    final = make_pipeline(RobustScaler(), Principal(p, svd_solver="full"), SVC(C=c, gamma=gamma))
                    candidates.append(Candidate(SVC(C=c, kernel="precomputed"), kernel, final))
        return tuned(rows, rows.folds, candidates)
