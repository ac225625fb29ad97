"""What erasing one concept does to others: `python benchmarks/collateral.py` prints docs/damage.md's block.

Each eraser is fitted on two fifths of each starter concept at block 14 of the default model. Linear probes then read
that concept (on the other rows: the targeted drop) and the other five (the collateral drop), before and after.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from joblib import Parallel, delayed, parallel_config
from torch import Tensor

from excise.concepts import load_concept
from excise.concepts.builtin import STARTERS
from excise.erasers import all_erasers
from excise.measures.damage import Collateral, other_concepts
from excise.models import capture, language_model
from excise.probes import Linear
from excise.stats.splits import rotations
from excise.types import ConceptData, Site

ERASERS = ("Leace", "MeanProjection", "GaussianTransport", "MmdAffine", "RandomDirection")
SITE = Site.parse("14:mean")


def part(data: ConceptData, rows: Tensor) -> ConceptData:
    index = rows.numpy()
    labels = [data.classes[int(c)] for c in data.z[rows]]
    return ConceptData.of(data.x[rows], labels, data.groups[index].tolist(), data.name)


def cell(eraser: str, name: str, data: dict[str, ConceptData]) -> tuple[Collateral, list[Collateral]]:
    """Targeted, and each collateral."""
    torch.set_num_threads(1)
    own = data[name]
    split = next(rotations(own.z.numpy(), own.groups, 0))
    fit = torch.from_numpy(split.fit)
    unseen = torch.from_numpy(np.sort(np.concatenate([split.probe, split.test])))
    erasure = all_erasers()[eraser]().fit(own.x[fit], own.z[fit])
    targeted = other_concepts(erasure, [part(own, unseen)], Linear(), 0)[0]
    return targeted, other_concepts(erasure, [d for n, d in data.items() if n != name], Linear(), 0)


def mean(values: list[float]) -> str:
    array = np.asarray(values)
    low, high = np.quantile(np.random.default_rng(0).choice(array, (2000, len(array))).mean(axis=1), [0.025, 0.975])
    return f"{array.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def main() -> None:
    concepts = [load_concept(name) for name in STARTERS]
    lm = language_model()
    data = {}
    for c in concepts:
        x = capture(lm, c.texts, [SITE])[SITE].x
        data[c.name] = ConceptData.of(x, c.labels, c.groups, c.name)
    with parallel_config(backend="loky", inner_max_num_threads=1):
        done = Parallel(n_jobs=-1)(delayed(cell)(e, n, data) for e, n in product(ERASERS, data))
    print("Drop of a linear probe's accuracy, mean over concepts [95% interval over resampled concepts or pairs]")
    for i, eraser in enumerate(ERASERS):
        cells = done[i * len(data) : (i + 1) * len(data)]
        others = [one for _, collateral in cells for one in collateral]
        print(f"\n{all_erasers()[eraser].title}")
        for kind, pick in (("retrained", "drop"), ("frozen", "frozen_drop")):
            target = mean([getattr(t, pick).value for t, _ in cells])
            print(f"  {kind:<10} targeted {target}   collateral {mean([getattr(o, pick).value for o in others])}")


if __name__ == "__main__":
    main()
