"""Cross-validation within the probe rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

from excise.types import FittedProbe
from excise.types.probe import Classes, Rows


def tuned(
    estimator: Any, grid: Mapping[str, Sequence[Any]], x: Rows, z: Classes, groups: Classes, seed: int, n_folds: int = 5
) -> FittedProbe:
    """The estimator with the best cross-validated accuracy of the grid, refitted on all rows.

    Groups stay together in the folds, as they do between probe and test rows.
    """
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    search = GridSearchCV(estimator, dict(grid), cv=folds, error_score="raise").fit(x, z, groups=groups)
    return FittedProbe(search.best_estimator_, float(search.best_score_))
