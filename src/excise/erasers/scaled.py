"""Any eraser at a stated edit size."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from excise.erasers.leace import Leace
from excise.erasers.low_rank import LowRankMap
from excise.types import Encoder, Eraser, ErasureMap, ExciseError, Labels

_FOLDS = 3


class ScaledMap(ErasureMap):
    """x -> x + share (inner(x) - x)."""

    share: Tensor
    inner: ErasureMap

    def __init__(self, inner: ErasureMap, share: Tensor) -> None:
        super().__init__(share=share)
        self.inner = inner

    @property
    def d(self) -> int:
        return self.inner.d

    def _map(self, x: Tensor) -> Tensor:
        return x + self.share.to(x.dtype) * (self.inner(x) - x)


@dataclass(frozen=True)
class Scaled(Eraser):
    """Another eraser, its edit scaled back so that it costs at most `budget` LEACE edits on new rows.

    The cost in LEACE edits is measured on rows held out inside `fit` (three folds; both erasers are fitted on the
    others), and every edit is multiplied by sqrt(budget / cost). An edit is never scaled up: past its own end it would
    write the concept back with the sign reversed. An eraser that has a setting `budget` is fitted with that instead.

    A guarantee of the inner eraser does not survive being scaled back.

    Attributes:
        eraser: settings of the method.
        budget: mean squared edit as a multiple of LEACE's.
    """

    title = "scaled"
    idea = "another eraser at a stated multiple of LEACE's edit"
    source = "Excise"

    eraser: Eraser
    budget: float = 1.0

    def __post_init__(self) -> None:
        if not self.budget > 0:
            raise ExciseError(f"budget is {self.budget}; it must be above 0 (a multiple of LEACE's mean squared edit)")

    @property
    def name(self) -> str:
        return f"{self.eraser.name}@{self.budget:g}"

    def settings(self) -> dict[str, Any]:
        return {**self.eraser.settings(), "budget": self.budget}

    def _fit(self, x: Tensor, z: Labels) -> ErasureMap:
        return self._scaled(x, z, None)

    def _fit_keeping(self, x: Tensor, z: Labels, y: Labels) -> ErasureMap:
        return self._scaled(x, z, y)

    def reads_background(self) -> bool:
        return _has_budget(self.eraser) and self.eraser.reads_background()

    def _fit_beside(self, x: Tensor, z: Labels, background: Tensor) -> ErasureMap | None:
        own: Any = self.eraser
        own._check(z)
        beside: ErasureMap | None = replace(own, budget=self.budget)._fit_beside(x, z, background)
        return beside

    def _scaled(self, x: Tensor, z: Labels, y: Labels | None) -> ErasureMap:
        if _has_budget(self.eraser):
            own: Any = self.eraser
            return _fitted(replace(own, budget=self.budget), x, z, y)
        if isinstance(self.eraser, Encoder):
            raise ExciseError(f"{self.eraser.name} maps into a space of its own, where an edit has no size to scale")
        erasure = _fitted(self.eraser, x, z, y)
        cost = self._cost(x, z, y)
        share = min(1.0, (self.budget / cost) ** 0.5) if cost else 1.0
        if isinstance(erasure, LowRankMap):
            return LowRankMap(erasure.mean, erasure.left * share, erasure.right)
        return ScaledMap(erasure, x.new_tensor(share))

    def _cost(self, x: Tensor, z: Labels, y: Labels | None) -> float:
        """Mean squared edit in LEACE edits, both on rows that they were not fitted on."""
        spent, reference = 0.0, 0.0
        for kept, held in _folds(z, len(x)):
            erasure = _fitted(self.eraser, x[kept], z.rows(kept), None if y is None else y.rows(kept))
            leace = Leace()._fit(x[kept], z.rows(kept))
            spent += float((erasure(x[held]) - x[held]).square().sum())
            reference += float((leace(x[held]) - x[held]).square().sum())
        # No budget at all (activations that do not vary): nothing is edited either.
        return spent / reference if reference else 0.0


def _has_budget(eraser: Eraser) -> bool:
    return any(field.name == "budget" for field in fields(eraser))


def _fitted(eraser: Eraser, x: Tensor, z: Labels, y: Labels | None) -> ErasureMap:
    eraser._check(z)
    if y is None:
        return eraser._fit(x, z)
    if not eraser.keeps_task():
        eraser._refuse_task()
    return eraser._fit_keeping(x, z, y)


def _folds(z: Labels, n: int) -> list[tuple[Tensor, Tensor]]:
    """Rows kept and held out; each class is dealt out evenly."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(n, generator=generator)
    if z.classes is not None:
        order = order[z.classes.cpu()[order].argsort(stable=True)]
    fold = torch.empty(n, dtype=torch.int64)
    fold[order] = torch.arange(n) % _FOLDS
    fold = fold.to(z.columns.device)
    return [((fold != f).nonzero().flatten(), (fold == f).nonzero().flatten()) for f in range(_FOLDS)]
