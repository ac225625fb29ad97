"""What an edit may cost: the size of LEACE's, measured on rows that neither map has seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float64, Int64
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from torch import Tensor

from excise.erasers.leace import Leace
from excise.erasers.low_rank import LowRankMap
from excise.types import Eraser, ErasureMap, ExciseError, Labels

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BudgetedEraser(Eraser):
    """An eraser that spends what it is given.

    Attributes:
        budget: the largest mean squared edit, in those of LEACE. It is measured on rows held out inside `fit`: on
            fitted rows an edit looks smaller or larger than it is on new ones, by as much as the map overfits.
    """

    budget: float = 1.0

    def __post_init__(self) -> None:
        if not self.budget > 0:
            raise ExciseError(f"budget is {self.budget}; give a positive multiple of LEACE's mean squared edit")


@dataclass(frozen=True, eq=False)
class Fold:
    """One part of the fitted rows set aside.

    Attributes:
        x, classes: the rows to fit on.
        x_out, classes_out: the rows set aside.
        leace: mean squared edit that LEACE, fitted on x, makes on x_out.
        groups: of x, or None.
    """

    x: Float64[Tensor, "n d"]
    classes: Int64[Tensor, " n"]
    x_out: Float64[Tensor, "m d"]
    classes_out: Int64[Tensor, " m"]
    leace: float
    groups: Int64[Tensor, " n"] | None


def row_folds(
    classes: Int64[Tensor, " n"], groups: Int64[Tensor, " n"] | None, n_folds: int
) -> list[tuple[Index, Index]]:
    """Numbers of the rows to fit on and of those set aside, with the classes' shares as far as groups allow.

    Raises:
        ExciseError: a class of fewer groups than folds, or one that a single group could take away.
    """
    numbers = classes.cpu().numpy()
    if groups is None:
        return list(StratifiedKFold(n_folds, shuffle=True, random_state=0).split(numbers, numbers))
    together = groups.cpu().numpy()
    present = np.unique(numbers)
    fewest = min(len(np.unique(together[numbers == c])) for c in present)
    if fewest >= n_folds:
        parts = list(StratifiedGroupKFold(n_folds, shuffle=True, random_state=0).split(numbers, numbers, together))
        if all(len(np.unique(numbers[fitted])) == len(present) for fitted, _ in parts):
            return parts
    raise ExciseError(
        f"a class stands in {fewest} groups only, or nearly all of it in one; rows are held out by group in {n_folds} "
        f"parts. Give smaller groups, or none"
    )


def folds(
    x: Float64[Tensor, "n d"],
    classes: Int64[Tensor, " n"],
    n_folds: int,
    groups: Int64[Tensor, " n"] | None = None,
) -> list[Fold]:
    """Folds with the classes' shares, each set aside once. Needs `n_folds` rows of each class."""
    found = []
    for fitted, aside in row_folds(classes, groups, n_folds):
        i, o = (torch.from_numpy(part).to(x.device) for part in (fitted, aside))
        leace = mean_squared_edit(leace_map(x[i], classes[i]), x[o])
        found.append(Fold(x[i], classes[i], x[o], classes[o], leace, None if groups is None else groups[i]))
    return found


def leace_map(x: Float64[Tensor, "n d"], classes: Int64[Tensor, " n"]) -> LowRankMap:
    """LEACE with its default settings, whose edit is the unit of a budget."""
    erasure = Leace()._fit(x, Labels.classed(classes))
    assert isinstance(erasure, LowRankMap)
    return erasure


def mean_squared_edit(erasure: ErasureMap, x: Float64[Tensor, "n d"]) -> float:
    """Mean of |x' - x|^2 over rows."""
    with torch.no_grad():
        return float((erasure(x) - x).square().sum(dim=1).mean())
