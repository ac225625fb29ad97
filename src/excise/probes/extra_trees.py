"""Extremely randomised trees."""

from __future__ import annotations

from dataclasses import dataclass

from sklearn.ensemble import ExtraTreesClassifier

from excise.probes.tuning import Candidate, tuned
from excise.types import FittedProbe, Probe, TrainingRows


@dataclass(frozen=True)
class ExtraTrees(Probe):
    """Trees that split at random thresholds, every one of them on all rows.

    The averaged borders are smoother than a forest's; on erased activations it often reads more than the forest.
    """

    title = "extra tr."
    source = "Geurts, Ernst, Wehenkel 2006, doi:10.1007/s10994-006-6226-1"

    def fit_on(self, rows: TrainingRows) -> FittedProbe:
        # Half the trees estimate nearly as well, and the folds are most of the cost.
        in_folds, final = (ExtraTreesClassifier(n_estimators=n, random_state=rows.seed) for n in (50, 100))
        return tuned(rows, rows.few_folds, [Candidate(in_folds, rows.x, final)])
