"""What erasing one concept does to the others: `python benchmarks/collateral.py` fits erasers on each of five built-in
concepts in turn and reads all five with linear probes before and after the edit; prints the block of docs/damage.md and
writes docs/collateral.csv with a row an eraser, concept erased and concept read.

Maps are fitted on two fifths of the erased concept's rows and read on the rest of it, and on all rows of the others.
"+ background": the eraser also learns from rows of the arena's concepts to develop on, without labels and without the
five that are read. Some ten minutes on 2 cores.
"""

from __future__ import annotations

import csv
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from why import mean_and_interval

from excise.arena import dev_concepts
from excise.concepts import builtin_concepts, load_concept
from excise.erasers import BudgetedTransport, all_erasers
from excise.measures.damage import Collateral, other_concepts
from excise.models import capture, language_model
from excise.probes import Linear
from excise.stats.splits import rotations
from excise.types import ConceptData, FittedProbe, Site, TrainingRows

CSV = Path(__file__).parents[1] / "docs" / "collateral.csv"
SITE = Site("14", "mean")
ERASERS = (
    "RandomDirection", "MeanProjection", "Leace", "Inlp", "GaussianTransport", "MmdNetwork", "BudgetedTransport",
    "+ background", "Constant",
)  # fmt: skip


_FITTED: dict[bytes, FittedProbe] = {}


class Remembered(Linear):
    """Linear probes that are trained once: those of unedited rows are the same for every eraser."""

    def fit_on(self, rows: TrainingRows) -> FittedProbe:
        key = sha256(rows.x.tobytes() + rows.z.tobytes()).digest()
        if key not in _FITTED:
            _FITTED[key] = super().fit_on(rows)
        return _FITTED[key]


def rows_of(names: list[str]) -> dict[str, ConceptData]:
    model = language_model()
    found = {}
    for concept in map(load_concept, names):
        x = capture(model, concept.texts, [SITE])[SITE].x.double()
        found[concept.name] = ConceptData.of(x, concept.labels, concept.groups, concept.name)
    return found


def erased(
    eraser: str, name: str, every: dict[str, ConceptData], background: torch.Tensor
) -> tuple[str, str, list[Collateral]]:
    """What probes read of each concept before and after `eraser` erased concept `name`. background: [m, d]."""
    torch.set_num_threads(1)
    own = every[name]
    split = next(rotations(own.z.numpy(), own.groups, seed=0))
    method, beside = (BudgetedTransport, background) if eraser == "+ background" else (all_erasers()[eraser], None)
    erasure = method().fit(own.x[split.fit], own.z[split.fit], groups=own.groups[split.fit], background=beside)
    rest = np.sort(np.concatenate([split.probe, split.test]))
    fresh = ConceptData.of(own.x[rest], own.z[rest], own.groups[rest], name)
    others = [fresh if other == name else data for other, data in every.items()]
    return eraser, name, other_concepts(erasure, others, Remembered(), seed=0)


def main() -> None:
    names = list(builtin_concepts()[::10])
    every = rows_of(names)
    background = torch.cat(
        [data.x for data in rows_of([name for name in dev_concepts() if name not in names]).values()]
    )
    jobs = (delayed(erased)(eraser, name, every, background) for eraser in ERASERS for name in every)
    found: dict[str, dict[str, list[Collateral]]] = {eraser: {} for eraser in ERASERS}
    for done, (eraser, name, readings) in enumerate(Parallel(n_jobs=-1, return_as="generator")(jobs), 1):
        found[eraser][name] = readings
        if done % len(every) == 0:
            print(f"{eraser} done", flush=True)

    print(f"\n{len(every)} concepts erased in turn: {', '.join(every)}")
    columns = ("targeted", "collateral", "targeted, frozen", "collateral, frozen")
    print(f"{'':<18}" + "".join(f"{column:>25}" for column in columns))
    for eraser, cells in found.items():
        terms: list[list[float]] = [[], [], [], []]
        for name, readings in cells.items():
            own = next(one for one in readings if one.concept == name)
            others = [one for one in readings if one.concept != name]
            terms[0].append(own.drop.value)
            terms[1].append(float(np.mean([one.drop.value for one in others])))
            terms[2].append(own.frozen_drop.value)
            terms[3].append(float(np.mean([one.frozen_drop.value for one in others])))
        print(f"{eraser:<18}" + "".join(f"{mean_and_interval(term, '+'):>25}" for term in terms))

    with CSV.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["eraser", "erased", "read", "before", "after", "frozen", "drop", "low", "high"])
        for eraser, cells in found.items():
            for name, readings in cells.items():
                for one in readings:
                    figures = (one.before.value, one.after.value, one.frozen.value)
                    interval = (one.drop.value, one.drop.low, one.drop.high)
                    row = (f"{v:.4f}" for v in (*figures, *interval))
                    writer.writerow([eraser, name, one.concept, *row])


if __name__ == "__main__":
    main()
