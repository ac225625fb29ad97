"""Covariance estimates that stay invertible with fewer rows than dimensions."""

from __future__ import annotations

from jaxtyping import Float64
from torch import Tensor, diagonal


def shrink_covariance(sigma: Float64[Tensor, "d d"], n: int) -> Float64[Tensor, "d d"]:
    """Optimal linear shrinkage towards the isotropic matrix of the same trace.

    With s = tr(sigma)/d and b2 = tr(sigma)^2 / (n d), the weight of the target is b2 / (|sigma|_F^2 / d - s^2), at most
    1: distribution-free and asymptotically optimal in Frobenius norm among linear estimators.

    Args:
        sigma: sample covariance, divided by n.
        n: rows it was computed from.

    Source:
        Bodnar, Gupta, Parolya 2014, arXiv:1308.2608, with an isotropic target.
    """
    d = len(sigma)
    s = sigma.trace() / d
    spread = sigma.square().sum() / d - s * s  # dispersion of the eigenvalues
    noise = sigma.trace().square() / (n * d)
    # Equal eigenvalues (a sphere, or no variance at all) are already the target.
    weight = (noise / spread).clamp(max=1.0) if spread > 0 else sigma.new_tensor(1.0)
    shrunk = (1 - weight) * sigma
    diagonal(shrunk).add_(weight * s)
    return shrunk
