"""Random forest."""

from __future__ import annotations

from dataclasses import dataclass

from sklearn.ensemble import RandomForestClassifier

from excise.probes.tuning import tuned
from excise.types import FittedProbe, Probe
from excise.types.probe import Classes, Rows


@dataclass(frozen=True)
class Forest(Probe):
    """100 trees of depth 10: the study's second adversary, which no agent was given as feedback."""

    title = "forest"
    source = "adversary of the agents' study (2026)"

    def fit(self, x: Rows, z: Classes, groups: Classes, seed: int) -> FittedProbe:
        model = RandomForestClassifier(n_estimators=100, max_depth=10, random_state=seed)
        return tuned(model, {}, x, z, groups, seed, n_folds=3)
