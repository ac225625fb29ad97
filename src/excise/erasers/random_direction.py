"""Control: an edit of LEACE's rank and size in a random place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, linalg

from excise.erasers.leace import Leace
from excise.erasers.low_rank import LowRankMap
from excise.types import Eraser


@dataclass(frozen=True)
class RandomDirection(Eraser):
    """x - s Q Q' (x - mu), Q random orthonormal of LEACE's rank, s such that the mean squared edit is LEACE's.

    What an eraser must beat to show that it found the concept rather than spent the budget.
    """

    title = "random direction"
    source = "control, matched to LEACE in rank and norm"
    control = True

    seed: int = 0

    def _fit(self, x: Tensor, z: Tensor) -> LowRankMap:
        leace = Leace()._fit(x, z)
        rank = leace.left.shape[1]
        generator = torch.Generator().manual_seed(self.seed)
        gauss = torch.randn(x.shape[1], rank, generator=generator, dtype=torch.float64).to(x.device)
        basis, _ = linalg.qr(gauss)
        along = (x - leace.mean) @ basis
        spent = (leace(x) - x).square().sum()
        # No variance along Q (a constant dimension was drawn): nothing to scale.
        scale = (spent / along.square().sum()).sqrt() if along.any() else spent.new_tensor(0.0)
        return LowRankMap(leace.mean, basis * scale, basis)
