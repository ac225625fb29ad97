"""Seconds of every probe on one core, at the rows of a usual rotation: `python benchmarks/probes.py` prints a table for
each preset and what a sweep of 50 concepts, 10 erasers and 5 rotations would take on 2 cores.

Rows are Gaussian with a weak concept: about what a probe meets after erasure, when it works longest.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # Read by the libraries below when they load.

import time

import numpy as np
import torch

from excise.probes import PRESETS, panel
from excise.types import TrainingRows

TRAINING, TEST, D = 248, 124, 576
CELLS, CORES = 50 * 10 * 5, 2


def main() -> None:
    """Prints both tables."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    z = np.arange(TRAINING) % 2
    x = rng.normal(size=(TRAINING, D)) * np.exp(rng.normal(size=D)) + 0.15 * z[:, None]
    x_test = rng.normal(size=(TEST, D))
    for preset in PRESETS:
        # Fresh rows for every preset: the first probe that asks for distances pays for them.
        seconds: dict[str, float] = {}
        for _ in range(3):
            rows = TrainingRows(x, z, np.arange(TRAINING) // 2, seed=0)
            for probe in panel(preset):
                start = time.perf_counter()
                fitted = probe.fit_on(rows)
                fitted.predict(x_test)
                fitted.probabilities(x_test)
                taken = time.perf_counter() - start
                seconds[probe.title] = min(taken, seconds.get(probe.title, np.inf))
        total = sum(seconds.values())
        print(f"{preset}: {total:.2f} s a rotation; sweep {CELLS * total / CORES / 3600:.2f} h")
        for title, taken in sorted(seconds.items(), key=lambda item: -item[1]):
            print(f"  {title:9} {taken:5.2f} s {taken / total:4.0%}")


if __name__ == "__main__":
    main()
