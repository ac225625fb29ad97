"""What an author of an eraser may see, and what only the grader sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from excise.bench.grade import Grade, grade
from excise.erasers import all_erasers
from excise.measures.edit import squared_edit
from excise.stats.splits import rotations
from excise.types import ConceptData, Eraser


@dataclass(frozen=True, eq=False)
class Public:
    """Handed to the author.

    Attributes:
        x, z: a labelled sample, float [n, d] and int64 [n].
        budget: LEACE's mean squared edit on this sample, the most that a submission may spend.
    """

    x: Tensor
    z: Tensor
    budget: float


@dataclass(frozen=True, eq=False)
class Private:
    """Stays with the grader: rows of groups that the public sample has no part of."""

    data: ConceptData

    def score(self, eraser: Eraser, seed: int = 0) -> Grade:
        """Grades settings anew on hidden rows: fitted, probed and tested there, nothing carried over from the public
        sample."""
        return grade(eraser, self.data, seed=seed)


def prepare(data: ConceptData, seed: int) -> tuple[Public, Private]:
    """Splits one concept by group: one fifth public, four fifths private. The signature is the leak boundary."""
    first = next(rotations(data.z.cpu().numpy(), data.groups, seed))
    shown = torch.from_numpy(first.test)
    hidden = torch.ones(len(data), dtype=torch.bool)
    hidden[shown] = False
    x, z = data.x[shown], data.z[shown]
    budget = float(squared_edit(x, all_erasers()["Leace"]().fit(x, z)(x)).mean())
    private = ConceptData(data.name, data.x[hidden], data.z[hidden], data.groups[hidden.numpy()], data.classes)
    return Public(x, z, budget), Private(private)
