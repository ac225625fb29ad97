"""Cross-validation within the probe rows."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, RobustScaler
from sklearn.utils import get_tags

from excise.types import FittedProbe, TrainingRows
from excise.types.probe import Classes, Folds, Rows, scores


@dataclass(frozen=True, eq=False)
class Candidate:
    """One choice of hyperparameters.

    Attributes:
        estimator: unfitted classifier for `inputs`.
        inputs: of the training rows: features [n, p], or a kernel or distance matrix [n, n] for an estimator that
            takes one. Computed once, by no label; the estimator in `final` would compute it anew in every fold.
        final: the same as an unfitted classifier for rows as they come.
    """

    estimator: Any
    inputs: Rows
    final: Any


def tuned(rows: TrainingRows, folds: Folds, candidates: Sequence[Candidate]) -> FittedProbe:
    """The candidate with the best cross-validated accuracy, trained on all rows. Ties go to the first of the list,
    which should therefore start with the simplest.

    Source:
        Groups stay together in the folds, as they do between probe and test rows (docs/protocol.md).
    """
    accuracies, models = [], []
    with config_context(assume_finite=True, skip_parameter_validation=True):  # Checks cost more than a small fit.
        for candidate in candidates:
            right, of_folds = _cross_validated(candidate, rows, folds)
            accuracies.append(right / len(rows.z))
            models.append(of_folds)
        best = int(np.argmax(accuracies))
        held_out_scores = gathered([(held_out, scores(model, seen)) for model, held_out, seen in models[best]])
    return calibrated(candidates[best].final.fit(rows.x, rows.z), accuracies[best], held_out_scores, rows.z)


def _cross_validated(
    candidate: Candidate, rows: TrainingRows, folds: Folds
) -> tuple[int, list[tuple[Any, Classes, Rows]]]:
    """Rows named right, and for every fold the model, the rows held out and its inputs for them."""
    pairwise = get_tags(candidate.estimator).input_tags.pairwise
    right, of_folds = 0, []
    for train, held_out in folds:
        columns = train if pairwise else slice(None)
        # Not sklearn.clone, which looks up every signature anew: settings are shared, what is fitted is not.
        model = copy(candidate.estimator).fit(candidate.inputs[train][:, columns], rows.z[train])
        seen = candidate.inputs[held_out][:, columns]
        right += int(np.sum(model.predict(seen) == rows.z[held_out]))
        of_folds.append((model, held_out, seen))
    return right, of_folds


def gathered(parts: Sequence[tuple[Classes, Rows]]) -> Rows:
    """Scores of the held-out rows of all folds (row numbers, scores), in the order of the rows."""
    order = np.argsort(np.concatenate([held_out for held_out, _ in parts]))
    return np.concatenate([found for _, found in parts])[order]


def calibrated(estimator: Any, cv_accuracy: float, held_out_scores: Rows, z: Classes) -> FittedProbe:
    """A fitted probe whose probabilities are learnt from scores of rows that were held out, [n, 1] or [n, k]."""
    # Scores of polynomial kernels and of QDA have long tails, which would decide the slope for all other rows; arcsinh
    # leaves the middle as it is and takes logarithms of the rest.
    calibration = make_pipeline(RobustScaler(), FunctionTransformer(np.arcsinh), LogisticRegression(C=10.0))
    return FittedProbe(estimator, cv_accuracy, calibration.fit(held_out_scores, z))


def typical(distances: Rows) -> float:
    """Median distance between two rows, the scale of a kernel's width; 1 when all rows coincide. distances: [n, n]."""
    return float(np.median(distances[np.triu_indices(len(distances), 1)])) or 1.0
