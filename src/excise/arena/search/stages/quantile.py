"""Each dimension's distribution moved to the mean of the classes' quantile functions, weighted by a posterior.

One-dimensional barycentre: arXiv:1806.03195.
"""

import numpy as np

from excise.arena.search.stages.shared import Arrays, Rows, axes_of, router, sigmoid


def fit_quantile(x: Rows, z: Rows, seed: int, *, basis: str, dims: int, knots: int, penalty: float) -> Arrays:
    """axes [d, q]; knots and moves [2, q, m] of each class; weight [d] and bias of the router."""
    weight, bias, _ = router(x, z, penalty, seed)
    if basis == "principal":
        axes = axes_of(x, z, dims)
    else:
        gap = np.abs(x[z == 1].mean(0) - x[z == 0].mean(0)) / (x.std(0) + 1e-9)
        axes = np.eye(x.shape[1])[:, np.argsort(-gap)[:dims]]
    levels = (np.arange(knots) + 0.5) / knots
    places = np.stack([np.quantile(x[z == c] @ axes, levels, axis=0).T for c in (0, 1)])
    found = {"axes": axes, "knots": places, "moves": places.mean(0) - places, "weight": weight}
    return {**found, "bias": np.asarray(bias)}


def transform_quantile(arrays: Arrays, x: Rows) -> Rows:
    """x plus each class's moves, interpolated between knots and constant outside them."""
    scores, p = x @ arrays["axes"], sigmoid(x @ arrays["weight"] + arrays["bias"])
    moved = np.zeros_like(scores)
    for c, share in enumerate((1 - p, p)):
        for j in range(scores.shape[1]):
            moved[:, j] += share * np.interp(scores[:, j], arrays["knots"][c, j], arrays["moves"][c, j])
    return x + moved @ arrays["axes"].T
