"""The size of an edit, and whether it is honest about it."""

from __future__ import annotations

from copy import deepcopy

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from excise.types import EncodingMap, ErasureMap, ExciseError

# A row that takes more than this many times the mean carries the spend of the others. LEACE, whose edit is a squared
# linear functional, stays under 20 on language-model activations; see docs/protocol.md.
ROW_CAP = 40.0
TOTAL_DAMAGE = 0.001
"""Share of the variance under which nothing worth probing is left: a constant output is not an erasure."""
# Batched and single-row matrix products differ in the last bits of float32, nothing more.
_TOLERANCE = 1e-4


def squared_edit(x: Tensor, erased: Tensor) -> Float64[Tensor, " n"]:
    """Squared L2 norm of each row's edit, in float64 whatever the dtype of x [n, d]."""
    return (erased.double() - x.double()).square().sum(dim=1)


def variance_kept(x: Float[Tensor, "n d"], erased: Float[Tensor, "n d"]) -> float:
    """Total variance of erased rows over that of the rows before; 1 when those did not vary either."""
    before, after = (float(rows.double().var(dim=0, correction=0).sum()) for rows in (x, erased))
    return after / before if before > 0 else 1.0


def checked_apply(erasure: ErasureMap, x: Tensor) -> Tensor:
    """x [n, d] -> x', refusing what no eraser may do. Only an `EncodingMap` may change the number of dimensions.

    Raises:
        ExciseError: the map changes shape or dtype, gives NaN, changes its input, or returns no plain tensor.
    """
    before = x.clone()
    erased = erasure(x)
    # A subclass could answer "equal", "finite" or "no edit" to whatever the grader asks of it.
    if type(erased) is not Tensor:
        raise ExciseError(f"the map returned a {type(erased).__name__}; return a plain torch.Tensor")
    if not torch.equal(before, x):
        raise ExciseError("the map changed its input in place; work on a copy")
    d_out = erasure.d_out if isinstance(erasure, EncodingMap) else x.shape[1]
    if erased.shape != (len(x), d_out) or erased.dtype != x.dtype:
        raise ExciseError(
            f"the map turned {tuple(x.shape)} {x.dtype} into {tuple(erased.shape)} {erased.dtype}; it must keep both"
        )
    if not torch.isfinite(erased).all():
        raise ExciseError("the map's output has NaN or infinite values")
    return erased


def row_dependence(erasure: ErasureMap, x: Tensor, others: Tensor) -> list[str]:
    """Which ways of batching x [n, d] change a row's output: "chance" (the same batch again), "order", "single row",
    "duplicates", "mixed batch".

    An eraser whose output depends on the rest of the batch can read the hidden rows' statistics, or count calls. Every
    trial is given to a copy of the map as it was fitted: one that learns from its first batch and keeps to that would
    otherwise agree with itself. (State outside the map is seen only where maps run in processes of their own.)

    Args:
        others: rows [m, d] of another split, to mix in.
    """
    alone = deepcopy(erasure)(x)
    moved = alone if isinstance(erasure, EncodingMap) else alone - x
    scale = moved.square().mean().sqrt() + alone.square().mean().sqrt() * 1e-3
    n = len(x)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0)).to(x.device)
    some = order[: min(n, 5)]
    thrice = some.repeat_interleave(3, dim=0)
    twice, singly = deepcopy(erasure), deepcopy(erasure)
    twice(x)
    trials = {
        "chance": twice(x) - alone,
        "order": deepcopy(erasure)(x[order]) - alone[order],
        "single row": torch.cat([singly(x[i : i + 1]) for i in some.tolist()]) - alone[some],
        "duplicates": deepcopy(erasure)(x[thrice]) - alone[thrice],
        "mixed batch": deepcopy(erasure)(torch.cat([others, x]))[len(others) :] - alone,
    }
    return [name for name, difference in trials.items() if difference.abs().max() > _TOLERANCE * scale]
