"""Do the labels bind, or the budget? `python benchmarks/champion_labels.py` makes Gaussian worlds, one like each
starter concept, in which rows can be drawn without end, fits erasers on 248 to 4,000 rows and prints what probes of 248
fresh rows read. `--file rows.jsonl ...` takes other texts (a line: text, label).

A world has the concept's class means and covariances, shrunk by what chance would find: it is a little easier to erase
than the texts, whose fainter differences are lost with the noise. Some ten minutes on 2 cores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from champion_bounds import PROBES, asked
from joblib import Parallel, delayed
from torch import Tensor

from excise.erasers import BudgetedTransport, Leace, NoEdit
from excise.erasers.budgeted_transport import _at_least
from excise.erasers.shrunk_moments import shrunk_differences
from excise.measures.edit import squared_edit
from excise.stats.shrinkage import shrink_covariance
from excise.types import Eraser, TrainingRows

LABELS = (248, 1000, 4000)
PROBE_ROWS, TEST_ROWS = 248, 2000
ERASERS: dict[str, Eraser] = {
    "no edit": NoEdit(),
    "LEACE": Leace(),
    "budgeted transport": BudgetedTransport(),
    "  at 2 budgets": BudgetedTransport(budget=2.0),
}


@dataclass(frozen=True)
class World:
    """Two Gaussian classes of equal size: class means [2, d], and factors [2, d, d] of the class covariances."""

    means: Tensor
    factors: Tensor

    def draw(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """Rows [n, d] and their classes [n]."""
        noise = torch.randn(n, self.means.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        z = torch.arange(n) % 2
        x = self.means[z]
        for c in (0, 1):
            x[z == c] += noise[z == c] @ self.factors[c].mT
        return x, z


def world_like(x: Tensor, z: Tensor) -> World:
    """Means and covariances of the classes of x [n, d]; the gap and the difference of covariances are shrunk."""
    n = len(x)
    means = torch.stack([x[z == c].mean(dim=0) for c in (0, 1)])
    centred = x - means[z]
    _, sd, axes = torch.linalg.svd(centred, full_matrices=True)
    axes = axes.mT
    spectrum = torch.zeros(x.shape[1], dtype=x.dtype)
    spectrum[: len(sd)] = sd.square() / n
    pooled = shrink_covariance(torch.diag(spectrum), n)
    covariances = torch.stack(
        [
            _at_least(pooled + found, 0.05 * float(pooled.diagonal().min()))
            for found in shrunk_differences(centred @ axes, z)
        ]
    )
    values, vectors = torch.linalg.eigh(covariances)
    factors = axes @ (vectors * values.clamp(min=0).sqrt().unsqueeze(-2))
    gap = means[1] - means[0]
    kept = (1 - 4 * pooled.trace() / n / gap.square().sum()).clamp(min=0).sqrt()
    middle = means.mean(dim=0)
    return World(middle + (means - middle) * kept, factors)


def read(x: Tensor, z: Tensor) -> dict[tuple[str, int], list[float]]:
    """By eraser and number of labels: spend, accuracy of each probe, and of the strongest by cross-validation."""
    torch.set_num_threads(1)
    world = world_like(x, z)
    x_probe, z_probe = world.draw(PROBE_ROWS, 1)
    x_test, z_test = world.draw(TEST_ROWS, 2)
    found = {}
    for n in LABELS:
        x_fit, z_fit = world.draw(n, 3)
        unit = squared_edit(x_test, Leace().fit(x_fit, z_fit)(x_test)).mean()
        for name, eraser in ERASERS.items():
            erasure = eraser.fit(x_fit, z_fit)
            with torch.no_grad():
                probed, tested = erasure(x_probe), erasure(x_test)
            training = TrainingRows(probed.numpy(), z_probe.numpy(), np.arange(PROBE_ROWS), 0)
            fitted = [one.fit_on(training) for one in PROBES]
            right = [float((one.predict(tested.numpy()) == z_test.numpy()).mean()) for one in fitted]
            worst = right[int(np.argmax([one.cv_accuracy for one in fitted]))]
            found[name, n] = [float(squared_edit(x_test, tested).mean() / unit), *right, worst]
    return found


def main() -> None:
    rows = asked(__doc__)
    found = Parallel(n_jobs=-1)(delayed(read)(data.x.double(), data.z) for data in rows)
    print(f"{len(rows)} Gaussian worlds, means over them")
    print(f"{'':30}labels  spent  {'  '.join(f'{p.title:>8}' for p in PROBES)}     worst")
    for name, n in found[0]:
        if name == "no edit" and n > LABELS[0]:
            continue
        values = np.array([one[name, n] for one in found]).mean(axis=0)
        print(f"{name:30}{n:>6}  {values[0]:5.2f}  {'  '.join(f'{v:8.3f}' for v in values[1:])}", flush=True)


if __name__ == "__main__":
    main()
