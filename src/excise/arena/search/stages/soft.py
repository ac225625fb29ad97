"""The class mean taken off as far as the row is predicted to be of the class, then variances matched."""

import numpy as np

from excise.arena.search.stages.shared import Arrays, Rows, axes_of, router, sigmoid


def fit_soft(x: Rows, z: Rows, seed: int, *, penalty: float, amount: float, rank: int) -> Arrays:
    """weight [d], bias, share of the router; gap [d]; axes [d, r]; stretch [2, r] of each class; mean [d]."""
    weight, bias, held_out = router(x, z, penalty, seed)
    gap = amount * (x[z == 1].mean(0) - x[z == 0].mean(0))
    # Held-out posteriors: new rows meet no better ones.
    moved = x - (held_out - held_out.mean())[:, None] * gap
    axes, mean = axes_of(moved, z, rank), moved.mean(0)
    spread = np.stack([((moved - mean)[z == c] @ axes).std(0) for c in (0, 1)])
    stretch = np.clip(spread.mean(0) / np.maximum(spread, 1e-9), 0.5, 2) - 1
    found = {"weight": weight, "bias": bias, "share": held_out.mean(), "gap": gap}
    return {**{k: np.asarray(v) for k, v in found.items()}, "axes": axes, "stretch": stretch, "mean": mean}


def transform_soft(arrays: Arrays, x: Rows) -> Rows:
    """Means first, then variances, both weighted by the posterior."""
    p = sigmoid(x @ arrays["weight"] + arrays["bias"])[:, None]
    moved = x - (p - arrays["share"]) * arrays["gap"]
    scores = (moved - arrays["mean"]) @ arrays["axes"]
    return moved + (scores * ((1 - p) * arrays["stretch"][0] + p * arrays["stretch"][1])) @ arrays["axes"].T
