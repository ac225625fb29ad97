"""Support vector machine with a Gaussian kernel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler
from sklearn.svm import SVC

from excise.types import FittedProbe, Probe
from excise.types.probe import Classes, Rows

_C = (0.3, 1.0, 3.0, 10.0)
_GAMMA = (0.03, 0.1, 0.3, 1.0)  # Times the inverse of the median squared distance.
_FOLDS = 5


@dataclass(frozen=True)
class RbfSvm(Probe):
    """RBF-SVM, C and gamma tuned by cross-validation on the probe rows.

    The study's grader took scikit-learn's defaults, which read up to 5 points less.
    """

    title = "RBF-SVM"
    source = "adversary of the agents' study (2026), here tuned"

    def fit(self, x: Rows, z: Classes, groups: Classes, seed: int) -> FittedProbe:
        # Median and quartiles: one outlying row must not set the scale for all others.
        scaler = RobustScaler()
        distances = euclidean_distances(scaler.fit_transform(x), squared=True)
        typical = float(np.median(distances[np.triu_indices(len(x), 1)])) or 1.0
        accuracy = np.zeros((len(_GAMMA), len(_C)))
        folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
        # All distances once; GridSearchCV would compute them anew for each of the 80 fits (ten times slower).
        for train, held_out in folds.split(x, z, groups):
            for i, gamma in enumerate(_GAMMA):
                kernel = np.exp(-gamma / typical * distances)
                for j, c in enumerate(_C):
                    svm = SVC(C=c, kernel="precomputed").fit(kernel[np.ix_(train, train)], z[train])
                    accuracy[i, j] += np.sum(svm.predict(kernel[np.ix_(held_out, train)]) == z[held_out]) / len(z)
        # Ties go to the widest kernel and the strongest penalty.
        i, j = max(product(range(len(_GAMMA)), range(len(_C))), key=lambda ij: (accuracy[ij], -ij[0], -ij[1]))
        model = make_pipeline(scaler, SVC(C=_C[j], gamma=_GAMMA[i] / typical)).fit(x, z)
        return FittedProbe(model, float(accuracy[i, j]))
