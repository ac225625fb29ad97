"""What a fitted submission makes of hidden rows, checked; then a table, so that probing costs no more processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from excise.arena.submitted import SubmittedEraser, SubmittedMap
from excise.arena.verdict import OVER_BUDGET, Refused, Verdict
from excise.measures.edit import ROW_CAP, TOTAL_DAMAGE, checked_apply, squared_edit, variance_kept
from excise.types import Eraser, ErasureMap, Labels

# As `row_dependence`: float32 products of other shapes differ in their last bits.
_TOLERANCE = 1e-4
_SOME = 3


def erase(erasure: SubmittedMap, own: Tensor, rows: Tensor, seed: int) -> Tensor:
    """Erases hidden rows [n, d] in two shuffled halves, each in a fresh process, and checks that batches do not matter.

    Every hidden row is erased again in another order, in one batch with all the others; some also thrice, mixed with
    `own`, and alone. That is what `excise.measures.edit.row_dependence` asks for, of every row and in fewer processes,
    each of which may spend seconds on imports.

    Args:
        own: the rows that it was fitted on, [m, d]. It runs on them first, and only what happens there is told in
            detail: a message about hidden rows could carry them out.

    Raises:
        Refused: see `Program.transform`; row_dependent, not_deterministic.
    """
    checked_apply(erasure, own)
    try:
        return _erase(erasure, own, rows, seed)
    except Refused as err:
        if err.verdict in (Verdict.ROW_DEPENDENT, Verdict.NOT_DETERMINISTIC):
            raise
        raise Refused(err.verdict, "on new rows; on the rows that fit was given, transform ran") from None


def _erase(erasure: SubmittedMap, own: Tensor, rows: Tensor, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    order, other = torch.randperm(len(rows), generator=g), torch.randperm(len(rows), generator=g)
    half, rest = order.tensor_split(2)
    erased = torch.empty_like(rows)
    for part in (half, rest):
        erased[part] = checked_apply(erasure, rows[part])
    moved = erased - rows
    scale = moved.square().mean().sqrt() + erased.square().mean().sqrt() * 1e-3

    def differs(out: Tensor, index: Tensor) -> bool:
        return bool((out - erased[index]).abs().max() > _TOLERANCE * scale)

    some = other[:_SOME].repeat_interleave(3)
    mixed = checked_apply(erasure, torch.cat([own, rows[some]]))[len(own) :]
    ways = {
        "the other rows or their order": differs(checked_apply(erasure, rows[other]), other),
        "repeats, or rows mixed in": differs(mixed, some),
        "company: alone it is another": any(differs(checked_apply(erasure, rows[i : i + 1]), i) for i in other[:2]),
    }
    if not any(ways.values()):
        return erased
    if differs(checked_apply(erasure, rows[half]), half):
        raise Refused(Verdict.NOT_DETERMINISTIC, "the same rows gave another output when transform ran again")
    raise Refused(Verdict.ROW_DEPENDENT, f"a row's output depends on {'; '.join(w for w, yes in ways.items() if yes)}")


def check_edit(rows: Tensor, erased: Tensor, reference: Tensor) -> float:
    """The mean squared edit as a multiple of the budget.

    Args:
        rows, erased: [n, d].
        reference: what may be spent on each row: LEACE's squared edit, or the problem's multiple of it, [n].

    Raises:
        Refused: total_damage, over_budget or row_cap. Such rows are not attacked.
    """
    edit = squared_edit(rows, erased)
    spent = float(edit.mean() / reference.mean())
    if variance_kept(rows, erased) < TOTAL_DAMAGE:
        raise Refused(Verdict.TOTAL_DAMAGE, "the output hardly varies from row to row")
    if spent > OVER_BUDGET:
        raise Refused(Verdict.OVER_BUDGET, f"spent {spent:.2f} times the reference")
    if edit.max() > ROW_CAP * edit.mean():
        raise Refused(Verdict.ROW_CAP, f"one row took {edit.max() / edit.mean():.0f} times the mean")
    return spent


class _Table(ErasureMap):
    def __init__(self, rows: Tensor, erased: Tensor) -> None:
        super().__init__(rows=rows, erased=erased)
        self._number = {row.numpy().tobytes(): i for i, row in enumerate(rows)}

    @property
    def d(self) -> int:
        return int(self.get_buffer("rows").shape[1])

    def _map(self, x: Tensor) -> Tensor:
        return self.get_buffer("erased")[[self._number[row.numpy().tobytes()] for row in x]]


@dataclass(frozen=True, eq=False)
class Erased(Eraser):
    """Fitted, run and checked already: gives back `erased` [n, d] for `rows` [n, d], one by one."""

    title: ClassVar[str] = "submission"
    idea: ClassVar[str] = "whatever its author wrote"
    source: ClassVar[str] = "the arena"

    by: SubmittedEraser
    rows: Tensor
    erased: Tensor

    @property
    def name(self) -> str:
        return self.by.name

    def settings(self) -> dict[str, Any]:
        """Those of the submission."""
        return self.by.settings()

    def _fit(self, x: Tensor, z: Labels) -> ErasureMap:
        return _Table(self.rows, self.erased)
