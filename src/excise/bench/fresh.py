"""What an eraser makes of rows that it was not fitted on, and which rules its map breaks."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from excise.measures.edit import TOTAL_DAMAGE, checked_apply, row_dependence, variance_kept
from excise.stats.splits import Split
from excise.types import ConceptData, EncodingMap, Eraser, ErasureMap, Oracle

Kind = Literal["eraser", "encoder", "oracle"]


@dataclass(frozen=True, eq=False)
class FreshRows:
    """Erased rows of one rotation.

    Attributes:
        probe, test: erased rows, float, in the order of the split.
        flags: rules that the map broke.
    """

    probe: Tensor
    test: Tensor
    kind: Kind
    flags: frozenset[str] = frozenset()


def fresh_rows(
    eraser: Eraser | Oracle, data: ConceptData, split: Split, seed: int, fitted: ErasureMap | None = None
) -> FreshRows:
    """Fits on the split's fit rows, unless a map fitted on them is given, and erases the others.

    Probe and test rows go through the map in one shuffled stream, so that nothing tells it which are which: a map that
    counts calls or rows could otherwise edit the two parts in opposite ways.

    Raises:
        ExciseError: bad input of the fit, or a map that breaks its contract (NaN, shape, dtype, type, input changed).
    """
    x, z = data.x, data.z
    fit, probe, test = (torch.from_numpy(rows).to(x.device) for rows in (split.fit, split.probe, split.test))
    if isinstance(eraser, Oracle):
        oracle = eraser.fit(x[fit], z[fit])
        return FreshRows(oracle(x[probe], z[probe]), oracle(x[test], z[test]), "oracle")
    erasure = fit_on_split(eraser, data, split) if fitted is None else fitted
    rows = torch.cat([probe, test])
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).to(x.device)
    stream = checked_apply(deepcopy(erasure), x[rows[order]])
    erased = torch.empty_like(stream)
    erased[order] = stream
    flags = {f"row depends on {way}" for way in row_dependence(erasure, x[test], x[probe])}
    kind: Kind = "encoder" if isinstance(erasure, EncodingMap) else "eraser"
    if kind == "eraser" and variance_kept(x[rows], erased) < TOTAL_DAMAGE:
        flags.add(f"total damage: under {TOTAL_DAMAGE:.1%} of the variance is left")
    return FreshRows(erased[: len(probe)], erased[len(probe) :], kind, frozenset(flags))


def fit_on_split(eraser: Eraser, data: ConceptData, split: Split) -> ErasureMap:
    """The eraser's map from the split's fit rows and their groups, with the task to keep and the background where it
    takes them."""
    fit = torch.from_numpy(split.fit).to(data.x.device)
    task = data.task[fit] if data.task is not None and eraser.keeps_task() else None
    background = data.background if eraser.reads_background() else None
    return eraser.fit(data.x[fit], data.z[fit], task, data.groups[split.fit], background)
