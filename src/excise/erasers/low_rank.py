"""The map of every eraser that removes a few directions."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor, linalg

from excise.types import ErasureMap

# Numbers in a piece of rows: 1 MB of float32, the fastest of 2^16 to 2^21.
_PIECE = 1 << 18


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
        offset = mean @ right
        if torch.is_grad_enabled() or x.numel() <= _PIECE:
            return x - (x @ right - offset) @ left.mT
        # Pieces that stay in cache between reading and writing: memory is passed over once.
        rows, out = x.reshape(-1, len(mean)), torch.empty(x.shape, dtype=x.dtype, device=x.device)
        step = max(1, _PIECE // len(mean))
        for piece, erased in zip(rows.split(step), out.reshape(-1, len(mean)).split(step), strict=True):
            amount = torch.addmm(offset, piece, right, beta=-1)
            torch.addmm(piece, amount, left.mT, alpha=-1, out=erased)
        return out


def column_space(matrix: Float64[Tensor, "d k"]) -> Float64[Tensor, "d r"]:
    """Orthonormal basis of the columns; singular values under 1e-9 of the largest count as zero.

    Relative, not absolute: a concept of tiny scale is still a concept.
    """
    u, s, _ = linalg.svd(matrix, full_matrices=False)
    return u[:, s > 1e-9 * s.max()]
