"""The map of every eraser that removes a few directions."""

from __future__ import annotations

from jaxtyping import Float64
from torch import Tensor, linalg

from excise.types import ErasureMap


class LowRankMap(ErasureMap):
    """x -> x - left right' (x - mean).

    Two thin products: 4 d r operations a row, where the full matrix would need 2 d^2.
    """

    mean: Float64[Tensor, " d"]
    left: Float64[Tensor, "d r"]
    right: Float64[Tensor, "d r"]

    def __init__(self, mean: Tensor, left: Tensor, right: Tensor) -> None:
        super().__init__(mean=mean, left=left, right=right)

    @property
    def d(self) -> int:
        return len(self.mean)

    def _map(self, x: Tensor) -> Tensor:
        mean, left, right = (t.to(x.dtype) for t in (self.mean, self.left, self.right))
        return x - ((x - mean) @ right) @ left.mT


def column_space(matrix: Float64[Tensor, "d k"]) -> Float64[Tensor, "d r"]:
    """Orthonormal basis of the columns; singular values under 1e-9 of the largest count as zero.

    Relative, not absolute: a concept of tiny scale is still a concept.
    """
    u, s, _ = linalg.svd(matrix, full_matrices=False)
    return u[:, s > 1e-9 * s.max()]
