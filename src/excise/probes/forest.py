"""Random forest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.tree import DecisionTreeClassifier

from excise.probes.tuning import calibrated
from excise.types import FittedProbe, Probe, TrainingRows
from excise.types.probe import Classes, Rows, vote_scores


@dataclass(frozen=True)
class Forest(Probe):
    """100 trees of depth 10: the study's second adversary, which no agent was given as feedback.

    Every tree learns from a bootstrap of the groups, which is one of the rows where each row is a group of its own. The
    groups that a tree did not draw are its test, so one forest gives what four would with cross-validation.
    """

    title = "forest"
    source = "adversary of the agents' study (2026); out-of-bag estimates: Breiman 2001, doi:10.1023/A:1010933404324"

    def fit_on(self, rows: TrainingRows) -> FittedProbe:
        forest = GroupForest(n_trees=100, max_depth=10, seed=rows.seed).fit(rows.x, rows.z, rows.groups)
        held_out = forest.out_of_bag
        right = forest.classes_[held_out.argmax(axis=1)] == rows.z
        return calibrated(forest, float(right.mean()), vote_scores(held_out), rows.z)


class GroupForest(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Random forest whose trees draw groups of rows; scikit-learn's draws rows, and a row's pair would give it away.

    Attributes:
        out_of_bag: shares of votes for the training rows by trees that drew nothing of their group, [n, k]; equal
            shares where every tree did.
    """

    def __init__(self, n_trees: int, max_depth: int, seed: int) -> None:
        self.n_trees, self.max_depth, self.seed = n_trees, max_depth, seed

    def fit(self, x: Rows, z: Classes, groups: Classes) -> GroupForest:
        """x [n, d], classes z [n], groups [n]."""
        rng = np.random.default_rng(self.seed)
        x = np.asarray(x, dtype=np.float32)  # What trees compute in; asked for once, not by every tree.
        self.classes_, codes = np.unique(z, return_inverse=True)
        n_groups = len(np.unique(groups))
        of_group = np.unique(groups, return_inverse=True)[1]
        votes = np.zeros((len(x), len(self.classes_)))
        self.trees_ = []
        with config_context(assume_finite=True, skip_parameter_validation=True):
            for _ in range(self.n_trees):
                drawn = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
                times = np.repeat(np.arange(len(x)), drawn[of_group])
                tree = DecisionTreeClassifier(
                    max_depth=self.max_depth, max_features="sqrt", random_state=int(rng.integers(2**31))
                )
                self.trees_.append(tree.fit(x[times], codes[times], check_input=False))
                out = drawn[of_group] == 0
                if out.any():
                    votes[np.ix_(out, tree.classes_)] += tree.predict_proba(x[out], check_input=False)
        votes[votes.sum(axis=1) == 0] = 1.0
        self.out_of_bag = votes / votes.sum(axis=1, keepdims=True)
        return self

    def predict_proba(self, x: Rows) -> Rows:
        """x [n, d] -> mean share of each class in the leaves, [n, k]."""
        x = np.asarray(x, dtype=np.float32)
        votes = np.zeros((len(x), len(self.classes_)))
        for tree in self.trees_:
            votes[:, tree.classes_] += tree.predict_proba(x, check_input=False)
        return votes / self.n_trees

    def predict(self, x: Rows) -> Classes:
        """x [n, d] -> classes [n]."""
        return np.asarray(self.classes_[self.predict_proba(x).argmax(axis=1)], dtype=np.int64)
