"""Which concepts travel together: the linear probe of every concept on the rows of every other.

    excise bench --concepts all --erasers none    # captures the texts
    python benchmarks/concept_matrix.py

Probes are tuned and trained on all rows of concept A and name the classes of concept B's rows, B's own scores cut at
their median: a probe that was trained on other topics has an offset that says nothing. 0.5 is no relation; under 0.5
A's probe calls B's negatives A. On the diagonal, A's own rows in five folds by pair.
Writes docs/concept-matrix.png and .csv.
"""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage

from excise.concepts import builtin_concepts, load_concept
from excise.models import capture, language_model
from excise.probes import Linear
from excise.stats.splits import rotations
from excise.types import Site

DOCS = Path(__file__).parents[1] / "docs"
SITE = Site("14")


def above_median(scores: np.ndarray) -> np.ndarray:
    return (scores > np.median(scores)).astype(int)


def main() -> None:
    names = builtin_concepts()
    concepts = {name: load_concept(name) for name in names}
    model = language_model()
    x = {n: capture(model, c.texts, [SITE])[SITE].x.double().numpy() for n, c in concepts.items()}
    z = {n: np.asarray(c.labels) for n, c in concepts.items()}
    groups = {n: np.unique(np.asarray(c.groups), return_inverse=True)[1] for n, c in concepts.items()}
    matrix = np.zeros((len(names), len(names)))
    for i, a in enumerate(names):
        probe = Linear().fit(x[a], z[a], groups[a], seed=0).estimator
        for j, b in enumerate(names):
            matrix[i, j] = np.mean(above_median(probe.decision_function(x[b])) == z[b])
        own = np.zeros(len(z[a]))
        for split in rotations(z[a], groups[a], seed=0):
            train = np.concatenate([split.fit, split.probe])
            fold = Linear().fit(x[a][train], z[a][train], groups[a][train], seed=0)
            own[split.test] = fold.predict(x[a][split.test]) == z[a][split.test]
        matrix[i, i] = own.mean()
    with (DOCS / "concept-matrix.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["probe of", *names])
        writer.writerows([name, *(f"{v:.3f}" for v in row)] for name, row in zip(names, matrix, strict=True))
    order = leaves_list(linkage(np.hstack([matrix, matrix.T]), "average", optimal_ordering=True))
    figure, axes = plt.subplots(figsize=(13, 12))
    image = axes.imshow(matrix[np.ix_(order, order)], cmap="RdBu_r", vmin=0, vmax=1)
    labels = [names[i] for i in order]
    axes.set_xticks(range(len(names)), labels, rotation=90, fontsize=9)
    axes.set_yticks(range(len(names)), labels, fontsize=9)
    axes.set_xlabel("rows of")
    axes.set_ylabel("linear probe of")
    axes.set_title(f"Accuracy of a concept's linear probe on another's rows ({model.name}, {SITE}); white is chance")
    figure.colorbar(image, shrink=0.6)
    figure.tight_layout()
    figure.savefig(DOCS / "concept-matrix.png", dpi=80)
    off = matrix[~np.eye(len(names), dtype=bool)]
    pairs = sorted((matrix[i, j], a, b) for i, a in enumerate(names) for j, b in enumerate(names) if a != b)
    print(f"{len(names)} concepts; own rows: median {np.median(np.diag(matrix)):.3f}")
    print(f"others' rows: median {np.median(off):.3f}, {np.mean(np.abs(off - 0.5) > 0.1):.0%} more than .1 from chance")
    print("closest:", "; ".join(f"{a} on {b} {v:.2f}" for v, a, b in reversed(pairs[-8:])))
    print("most opposed:", "; ".join(f"{a} on {b} {v:.2f}" for v, a, b in pairs[:5]))


if __name__ == "__main__":
    main()
