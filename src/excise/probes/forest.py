"""Random forest."""

from __future__ import annotations

from dataclasses import dataclass

from sklearn.ensemble import RandomForestClassifier

from excise.probes.tuning import Candidate, tuned
from excise.types import FittedProbe, Probe, TrainingRows


@dataclass(frozen=True)
class Forest(Probe):
    """100 trees of depth 10: the study's second adversary, which no agent was given as feedback."""

    title = "forest"
    source = "adversary of the agents' study (2026)"

    def fit_on(self, rows: TrainingRows) -> FittedProbe:
        model = RandomForestClassifier(n_estimators=100, max_depth=10, random_state=rows.seed)
        return tuned(rows, rows.few_folds, [Candidate(model, rows.x, model)])
