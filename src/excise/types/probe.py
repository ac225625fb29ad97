"""Adversaries: what they train on (`TrainingRows`), settings (`Probe`) and result (`FittedProbe`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import RobustScaler

from excise.types.errors import ExciseError

Rows = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]
Folds = list[tuple[Classes, Classes]]

_FOLDS = 5
_FEW_FOLDS = 3
# Added to a share of votes before its logarithm is taken: a unanimous vote of 100 trees is no certainty.
_SMOOTHING = 0.01


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """The rows that every probe of a panel trains on, with the work that probes share, done once when first asked for.

    Attributes:
        x: erased activations [n, d].
        z: classes [n].
        groups: rows of a group (a pair, a topic) stay together in cross-validation, [n].
        seed: of folds and of probes.
    """

    x: Rows
    z: Classes
    groups: Classes
    seed: int

    @cached_property
    def n_classes(self) -> int:
        """Classes among these rows."""
        return len(np.unique(self.z))

    @cached_property
    def folds(self) -> Folds:
        """Row numbers (train, held out) of five folds.

        Raises:
            ExciseError: some fold would have to be read by a probe that never saw one of its classes.
        """
        return self._folds(_FOLDS)

    @cached_property
    def few_folds(self) -> Folds:
        """As `folds`, three of them, for probes that take long to train."""
        return self._folds(_FEW_FOLDS)

    def _folds(self, n: int) -> Folds:
        for c in np.unique(self.z):
            there = len(np.unique(self.groups[self.z == c]))
            if there < n:
                raise ExciseError(
                    f"class {c} stands in {there} groups; probes are tuned in {n} folds by group and need as many of "
                    "each class. Add rows, or merge the class with another"
                )
        splitter = StratifiedGroupKFold(n, shuffle=True, random_state=self.seed)
        folds = [(train, held_out) for train, held_out in splitter.split(self.x, self.z, self.groups)]
        for train, _ in folds:
            if len(np.unique(self.z[train])) < self.n_classes:
                raise ExciseError(
                    "one group holds nearly all rows of a class, so probes cannot be tuned by group; break it up"
                )
        return folds

    @cached_property
    def scaled(self) -> Rows:
        """Rows less their median, over their interquartile range, [n, d]: one outlying row must not set the scale for
        all others."""
        return RobustScaler().fit_transform(self.x)

    @cached_property
    def squared_distances(self) -> Rows:
        """Between scaled rows, [n, n]."""
        return euclidean_distances(self.scaled, squared=True)

    @cached_property
    def manhattan_distances(self) -> Rows:
        """Between scaled rows, [n, n]."""
        return cdist(self.scaled, self.scaled, "cityblock")

    @cached_property
    def products(self) -> Rows:
        """Inner products of scaled rows, [n, n]."""
        return self.scaled @ self.scaled.T

    @cached_property
    def components(self) -> Rows:
        """Principal components of the scaled rows, the largest first, [n, min(n, d)]. All of them are a mere rotation
        of the rows, which most classifiers do not notice except by their speed."""
        with np.errstate(invalid="ignore"):  # Of shares of a variance of zero, when an eraser gives one output for all.
            return PCA(svd_solver="full").fit_transform(self.scaled)


def scores(estimator: Any, x: Rows) -> Rows:
    """How much a fitted classifier is for each class: [n, 1] for two classes (positive is for the second), otherwise
    [n, k]. Decision values where it has them, otherwise `vote_scores`."""
    if hasattr(estimator, "decision_function"):
        found = np.asarray(estimator.decision_function(x), dtype=np.float64)
        return found[:, None] if found.ndim == 1 else found
    return vote_scores(estimator.predict_proba(x))


def vote_scores(shares: Rows) -> Rows:
    """Scores of shares of votes [n, k]: smoothed logarithms; their difference, [n, 1], for two classes."""
    found = np.log(shares + _SMOOTHING)
    return found[:, 1:] - found[:, :1] if found.shape[1] == 2 else found


@dataclass(frozen=True)
class FittedProbe:
    """A probe trained on erased activations.

    Attributes:
        estimator: a fitted scikit-learn classifier.
        cv_accuracy: its cross-validated accuracy on its own training rows, the figure by which probes are tuned and
            compared, so that test rows only report.
        calibration: fitted scikit-learn classifier from `scores` to the class: a logistic regression on the scores of
            training rows by models of the cross-validation that had not seen them (Platt 1999, with several classes).
            A model's scores on its own rows would be far too sure.
    """

    estimator: Any
    cv_accuracy: float
    calibration: Any

    def predict(self, x: Rows) -> Classes:
        """x [n, d] -> classes [n], by the estimator alone; the calibration has no part in it."""
        return np.asarray(self.estimator.predict(x), dtype=np.int64)

    def probabilities(self, x: Rows) -> Rows:
        """x [n, d] -> calibrated probability of each class of the training rows in ascending order, [n, k]."""
        return np.asarray(self.calibration.predict_proba(scores(self.estimator, x)), dtype=np.float64)


@dataclass(frozen=True)
class Probe(ABC):
    """Settings of one family of adversary."""

    title: ClassVar[str]
    """Name in tables and plots, nine characters at most."""
    source: ClassVar[str]
    """Where its settings come from."""

    @abstractmethod
    def fit_on(self, rows: TrainingRows) -> FittedProbe:
        """Trains on the rows; hyperparameters are chosen by cross-validation that keeps groups together."""

    def applies(self, rows: TrainingRows) -> bool:
        """Whether this probe can be trained on such rows; the panel leaves it out where it cannot."""
        return True

    def fit(self, x: Rows, z: Classes, groups: Classes, seed: int) -> FittedProbe:
        """Trains on x [n, d], classes z [n], groups [n]."""
        return self.fit_on(TrainingRows(x, z, groups, seed))
