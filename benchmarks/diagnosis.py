"""Does the ladder name the right cause? `python benchmarks/diagnosis.py` plants each cause in 100 draws of synthetic
data and prints how often the ladder names it, with what it named instead; `--draws 5` for a quick look.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
import torch
from joblib import Parallel, delayed

from excise.diagnose import CAUSES, ladder
from excise.erasers import Leace, OracleLeace
from excise.types import ConceptData, Eraser, Oracle


def planted(cause: str, seed: int) -> tuple[Eraser | Oracle, ConceptData]:
    """An eraser and data after which one cause alone leaves something to read."""
    rng = np.random.default_rng([CAUSES.index(cause), seed])
    n, d = {"means": (450, 90), "written in": (300, 90)}.get(cause, (500, 5))
    z = np.arange(n) % 2
    x = rng.normal(size=(n, d))
    # A gap in the means, as every concept has; with many rows a dimension LEACE takes it out.
    x[:, 0] += 2.0 * z
    if cause == "means":  # Many small gaps, 2 labels a dimension: LEACE's estimate of them is noisy.
        x += 3.5 * z[:, None] * rng.normal(size=d) / d**0.5
    elif cause == "covariances":
        x[:, 1:] *= np.where(z == 1, 2.0, 1.0)[:, None]
    elif cause == "higher moments":  # Skewed to one side or to the other; means and variances alike.
        tail = (rng.gamma(0.5, size=(n, d - 1)) - 0.5) / 0.5**0.5
        x[:, 1:] = tail * np.where(z == 1, 1.0, -1.0)[:, None]
    elif cause == "support":  # A chessboard of 4 x 4 clusters.
        cells = rng.integers(0, 4, size=(n, 2))
        cells[:, 1] += (cells.sum(axis=1) + z) % 2 * np.where(cells[:, 1] == 3, -1, 1)
        x[:, 1:3] = 3.0 * (cells - 1.5) + 0.3 * x[:, 1:3]
        x[:, 3:] *= 0.3
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    eraser: Eraser | Oracle = OracleLeace() if cause == "written in" else Leace()
    return eraser, ConceptData.of(torch.from_numpy(x @ turn), z.tolist(), name=f"{cause} {seed}")


def named(cause: str, seed: int) -> str:
    """The cause that the ladder names."""
    torch.set_num_threads(1)
    eraser, data = planted(cause, seed)
    found = ladder(eraser, data, seed=seed)
    return found.main_cause if found.readable else "nothing"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100)
    draws = parser.parse_args().draws
    for cause in CAUSES:
        found = Counter(Parallel(n_jobs=-1)(delayed(named)(cause, seed) for seed in range(draws)))
        others = ", ".join(f"{name} {count}" for name, count in found.most_common() if name != cause)
        print(f"{cause:<16}{found[cause]:>4} of {draws}{'; named instead: ' + others if others else ''}", flush=True)


if __name__ == "__main__":
    main()
