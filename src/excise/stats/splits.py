"""Fit, probe and test rows, by group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from excise.types import ExciseError

Index = npt.NDArray[np.int64]

N_ROTATIONS = 5
MIN_GROUPS = 16
MIN_PART_GROUPS = 5  # Probes are tuned in five folds by group.
# The rows outside the test fold are halved: eraser and adversary learn from equally many, 40 / 40 / 20 of all rows.
_PARTS = 2


@dataclass(frozen=True)
class Split:
    """Row numbers of one rotation; no group is in two of the three."""

    fit: Index
    probe: Index
    test: Index


def rotations(z: Index, groups: Index, seed: int) -> Iterator[Split]:
    """Five splits whose test rows are disjoint and together are all rows.

    Args:
        z: classes [n]; class shares are kept in every part as far as the groups allow.
        groups: group numbers [n].
        seed: order of the groups.

    Raises:
        ExciseError: a class with too few groups to stand in every part of every rotation.
    """
    for c in np.unique(z):
        rows = int((z == c).sum())
        n_groups = len(np.unique(groups[z == c]))
        if n_groups < MIN_GROUPS:
            raise ExciseError(
                f"class {c} has {rows} rows in {n_groups} groups; grading with {N_ROTATIONS} rotations needs at least "
                f"{MIN_GROUPS} groups of each class. Add rows, or merge the class with another"
            )
    for turn, (rest, test) in enumerate(_folds(N_ROTATIONS, z, groups, seed)):
        fit, probe = next(_folds(_PARTS, z[rest], groups[rest], seed * N_ROTATIONS + turn))
        for part in (rest[fit], rest[probe]):
            for c in np.unique(z):
                left = len(np.unique(groups[part][z[part] == c]))
                if left < MIN_PART_GROUPS:
                    raise ExciseError(
                        f"class {c} stands in only {left} groups of one part; one group is too large to split the rest "
                        f"evenly. Break large groups up, or add rows of that class in other groups"
                    )
        yield Split(rest[fit], rest[probe], test)


def _folds(n: int, z: Index, groups: Index, seed: int) -> Iterator[tuple[Index, Index]]:
    folds = StratifiedGroupKFold(n, shuffle=True, random_state=seed)
    yield from folds.split(np.zeros((len(z), 1)), z, groups)
