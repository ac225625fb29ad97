"""First and second moments of activations and concept, in float64."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Moments of x and z over n rows.

    Attributes:
        n: number of rows.
        mean: of x, [d].
        sigma_xx: covariance of x (divided by n), [d, d].
        sigma_xz: cross-covariance with the concept's columns, each scaled to unit variance, [d, k].
    """

    n: int
    mean: Float64[Tensor, " d"]
    sigma_xx: Float64[Tensor, "d d"]
    sigma_xz: Float64[Tensor, "d k"]

    @classmethod
    def of(cls, x: Float64[Tensor, "n d"], z: Float64[Tensor, "n k"]) -> Moments:
        """Columns of z that never vary are left out: they say nothing about x."""
        n = len(x)
        mean = x.mean(dim=0)
        centred = x - mean
        z = z - z.mean(dim=0)
        scale = z.square().mean(dim=0).sqrt()
        # Unit variance, so that a rare class weighs as much as a common one when singular values are cut.
        z = z[:, scale > 0] / scale[scale > 0]
        return cls(n, mean, centred.T @ centred / n, centred.T @ z / n)
