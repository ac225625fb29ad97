"""Optimal transport of one Gaussian a class to a common one, weighted by a classifier's posterior.

Map between Gaussians: doi:10.1016/0047-259X(82)90077-X.
"""

import numpy as np

from excise.arena.search.stages.shared import Arrays, Rows, axes_of, router, sigmoid


def root(matrix: Rows, power: float) -> Rows:
    """A power of a symmetric positive matrix [r, r]."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-12) ** power) @ vectors.T


def fit_gaussian(x: Rows, z: Rows, seed: int, *, rank: int, shrink: float, penalty: float, sharpness: float) -> Arrays:
    """axes [d, r]; map [2, r, r] and shift [2, r] of each class; weight [d] and bias of the router."""
    weight, bias, _ = router(x, z, penalty, seed)
    axes = axes_of(x, z, rank)
    means = np.stack([(x[z == c] @ axes).mean(0) for c in (0, 1)])
    covs = [np.cov((x[z == c] @ axes).T, ddof=0).reshape(axes.shape[1], -1) for c in (0, 1)]
    pooled = (covs[0] + covs[1]) / 2 + 1e-9 * np.trace(covs[0]) * np.eye(axes.shape[1])
    maps = []
    for cov in covs:
        cov = (1 - shrink) * cov + shrink * pooled
        half, back = root(cov, 0.5), root(cov, -0.5)
        maps.append(back @ root(half @ pooled @ half, 0.5) @ back)
    shift = np.stack([means.mean(0) - m @ mean for m, mean in zip(maps, means, strict=True)])
    return {
        "axes": axes,
        "map": np.stack(maps),
        "shift": shift,
        "weight": sharpness * weight,
        "bias": sharpness * np.asarray(bias),
    }


def transform_gaussian(arrays: Arrays, x: Rows) -> Rows:
    """Each class's map, weighted by the posterior."""
    scores, p = x @ arrays["axes"], sigmoid(x @ arrays["weight"] + arrays["bias"])[:, None]
    moved = [scores @ arrays["map"][c] + arrays["shift"][c] - scores for c in (0, 1)]
    return x + ((1 - p) * moved[0] + p * moved[1]) @ arrays["axes"].T
