"""Labels that have nothing to do with the rows: what any method makes of those is noise or its own doing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]


def shuffled_labels(z: Index, groups: Index, rng: np.random.Generator) -> Index:
    """Shuffled classes, grouped as the true ones are: within groups that hold several classes (contrast pairs are
    swapped at random), between groups where each holds one class."""
    out = z.copy()
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    if all(len(np.unique(z[rows])) == 1 for rows in members):
        for rows, label in zip(members, rng.permutation([z[rows[0]] for rows in members]), strict=True):
            out[rows] = label
    else:
        for rows in members:
            out[rows] = rng.permutation(z[rows])
    return out
