"""Support vector machine with a Laplace kernel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.metrics.pairwise import laplacian_kernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler
from sklearn.svm import SVC

from excise.probes.tuning import Candidate, tuned, typical
from excise.types import FittedProbe, Probe, TrainingRows

_C = (1.0, 10.0)
_GAMMA = (0.1, 0.3, 1.0, 3.0)  # Times the inverse of the median Manhattan distance.


@dataclass(frozen=True)
class LaplaceSvm(Probe):
    """SVM with kernel exp(-gamma |x - y|_1), C and gamma tuned.

    Its kernel is a product over dimensions with a kink at zero: it reads the shape of single dimensions and sharp
    borders that a Gaussian kernel smooths over.
    """

    title = "Laplace"
    source = "kernel: Schölkopf and Smola 2002, Learning with Kernels, section 4"

    def fit_on(self, rows: TrainingRows) -> FittedProbe:
        candidates = []
        for gamma in np.divide(_GAMMA, typical(rows.manhattan_distances)):
            kernel = np.exp(-gamma * rows.manhattan_distances)
            for c in _C:
                final = make_pipeline(RobustScaler(), SVC(C=c, kernel=partial(laplacian_kernel, gamma=gamma)))
                candidates.append(Candidate(SVC(C=c, kernel="precomputed"), kernel, final))
        return tuned(rows, rows.folds, candidates)
