"""Contrast-consistent search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin

from excise.probes.tuning import calibrated, gathered
from excise.types import ExciseError, FittedProbe, Probe, TrainingRows
from excise.types.probe import Classes, Rows

_DIMENSIONS = 8
_STARTS = 10
_STEPS = 100
_RATE = 0.05


class ContrastConsistent(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn publishes no types
    """Direction w and threshold b for which p = sigmoid(w'x + b) of the two rows of a pair sum to 1 and are far from
    1/2: mean of (p1 + p2 - 1)^2 + min(p1, p2)^2.

    No label takes part, only which rows are a pair; swapping the rows of one changes nothing. The direction is sought
    among the leading principal components of the differences of pairs: in more dimensions than pairs every
    direction could be made consistent.

    Args:
        seed: of the random starts, of which the one with the least loss is kept.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, x: Rows, z: Classes, groups: Classes) -> ContrastConsistent:
        """x [n, d], groups [n] of two rows each; z [n] only says which end of the direction is the second class."""
        self.classes_ = np.unique(z)
        order = np.argsort(groups, kind="stable")
        first, second = x[order[::2]], x[order[1::2]]
        _, _, axes = np.linalg.svd(first - second, full_matrices=False)
        axes = axes[:_DIMENSIONS]
        centre = x.mean(axis=0)
        scale = float(np.std((first - second) @ axes.T)) or 1.0
        pairs = torch.from_numpy(np.stack([(side - centre) @ axes.T / scale for side in (first, second)]))
        w, b = self._search(pairs)
        self.weights_ = w @ axes / scale
        self.threshold_ = b - float(centre @ self.weights_)
        # The only use of labels. Without it each answer is right up to being inverted throughout.
        if np.mean(self.predict(x) == z) < 0.5:
            self.weights_, self.threshold_ = -self.weights_, -self.threshold_
        return self

    def _search(self, pairs: torch.Tensor) -> tuple[Rows, float]:
        """Direction [p] and threshold of least loss; pairs: [2, m, p]."""
        p = pairs.shape[2]
        start = torch.randn(_STARTS, p, generator=torch.Generator().manual_seed(self.seed), dtype=pairs.dtype)
        w, b = start.requires_grad_(), torch.zeros(_STARTS, dtype=pairs.dtype, requires_grad=True)
        optimiser = torch.optim.AdamW([w, b], lr=_RATE)
        for _ in range(_STEPS):
            first, second = torch.sigmoid(pairs @ w.mT + b)
            losses = ((first + second - 1).square() + torch.minimum(first, second).square()).mean(dim=0)
            optimiser.zero_grad()
            losses.sum().backward()
            optimiser.step()
        best = int(losses.argmin())
        return w[best].detach().numpy(), float(b[best].detach())

    def decision_function(self, x: Rows) -> Rows:
        """x [n, d] -> w'x + b, [n]."""
        return x @ self.weights_ + self.threshold_

    def predict(self, x: Rows) -> Classes:
        """x [n, d] -> classes [n]."""
        return self.classes_[(self.decision_function(x) > 0).astype(int)]


@dataclass(frozen=True)
class Ccs(Probe):
    """Finds the concept without labels, from contrast pairs: groups of one row of either class.

    It cannot overfit labels that it never sees; what it reads is there for anybody who knows the pairs.
    """

    title = "CCS"
    source = "Burns, Ye, Klein, Steinhardt 2022, arXiv:2212.03827"

    def applies(self, rows: TrainingRows) -> bool:
        return are_pairs(rows.z, rows.groups)

    def fit_on(self, rows: TrainingRows) -> FittedProbe:
        """Raises:
        ExciseError: the groups are no contrast pairs.
        """
        if not self.applies(rows):
            raise ExciseError(
                "CCS learns from contrast pairs: two classes, every group one row of either. Leave it out"
            )
        right, parts = 0, []
        for train, held_out in rows.few_folds:
            model = ContrastConsistent(rows.seed).fit(rows.x[train], rows.z[train], rows.groups[train])
            right += int(np.sum(model.predict(rows.x[held_out]) == rows.z[held_out]))
            parts.append((held_out, model.decision_function(rows.x[held_out])[:, None]))
        final = ContrastConsistent(rows.seed).fit(rows.x, rows.z, rows.groups)
        return calibrated(final, right / len(rows.z), gathered(parts), rows.z)


def are_pairs(z: Classes, groups: Classes) -> bool:
    """Whether there are two classes and every group is one row of either."""
    if len(np.unique(z)) != 2:
        return False
    _, numbers = np.unique(groups, return_inverse=True)
    table = np.zeros((numbers.max() + 1, 2), dtype=int)
    np.add.at(table, (numbers, (z == z.max()).astype(int)), 1)
    return bool(np.all(table == 1))
