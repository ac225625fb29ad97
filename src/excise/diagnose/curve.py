"""Leakage against the number of fitting labels: what more labels would bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from excise.bench.fresh import fresh_rows
from excise.measures.leakage import chance, fold, strongest_probes
from excise.probes import all_probes
from excise.stats.bootstrap import Interval, interval, resampled_means
from excise.stats.splits import N_ROTATIONS, Split, rotations
from excise.types import ConceptData, Eraser, Probe, TrainingRows

_SHARES = (0.25, 0.5, 1.0)
_LEAST_GROUPS = 8


@dataclass(frozen=True)
class LearningCurve:
    """Accuracy of the strongest probe after an eraser that was fitted on fewer labels.

    Attributes:
        n_fit: labels that the eraser was fitted on, ascending.
        accuracy: at each of them, on the same test rows.
        chance: of the commonest class.
        rate: excess over chance falls as n^-rate, fitted to the points; 0.5 would be the noise of a mean. At most 0
            when more labels do not help.
    """

    n_fit: tuple[int, ...]
    accuracy: tuple[Interval, ...]
    chance: float
    rate: Interval

    def at(self, n: int) -> float:
        """Accuracy extrapolated to n fitting labels."""
        excess = max(self.accuracy[-1].value - self.chance, 0.0)
        return self.chance + excess * (n / self.n_fit[-1]) ** -max(self.rate.value, 0.0)


def learning_curve(
    eraser: Eraser, data: ConceptData, *, probes: Sequence[Probe] | None = None, seed: int = 0
) -> LearningCurve:
    """Refits the eraser on a quarter, half and all of the fit rows of every rotation; probe and test rows stay.

    Args:
        probes: the panel; default a linear probe and the RBF-SVM.

    Raises:
        ExciseError: as `grade`.
    """
    panel = list(probes) if probes is not None else [all_probes()[name]() for name in ("Linear", "RbfSvm")]
    z, groups, k = data.z.cpu().numpy(), data.groups, len(data.classes)
    sizes: list[int] = []
    values, draws = [], []
    for share in _SHARES:
        correct, rows_fitted = np.zeros(len(z)), 0
        for turn, split in enumerate(rotations(z, groups, seed)):
            turn_seed = seed * N_ROTATIONS + turn
            fit = _part(split.fit, z, groups, share, turn_seed)
            rows_fitted += len(fit)
            fresh = fresh_rows(eraser, data, Split(fit, split.probe, split.test), turn_seed)
            x_probe, x_test = fresh.probe.double().cpu().numpy(), fresh.test.double().cpu().numpy()
            rows = TrainingRows(x_probe, z[split.probe], groups[split.probe], turn_seed)
            fitted = {type(probe).__name__: probe.fit_on(rows) for probe in panel if probe.applies(rows)}
            name = strongest_probes({name: [probe.cv_accuracy] for name, probe in fitted.items()}, k)[0]
            correct[split.test] = fitted[name].predict(x_test) == z[split.test]
        sizes.append(round(rows_fitted / N_ROTATIONS))
        drawn = resampled_means(correct, groups)
        # Folded once, by the estimate; see `folded_accuracy`.
        values.append(float(fold(correct.mean(), k)))
        draws.append(1 - drawn if k == 2 and correct.mean() < 0.5 else drawn)
    base = chance(z)
    slope = float(_rate(np.array(sizes), np.array(values)[:, None] - base)[0])
    slopes = _rate(np.array(sizes), np.stack(draws) - base)
    accuracy = tuple(interval(value, drawn) for value, drawn in zip(values, draws, strict=True))
    return LearningCurve(tuple(sizes), accuracy, base, interval(slope, slopes))


def _part(
    fit: npt.NDArray[np.int64], z: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], share: float, seed: int
) -> npt.NDArray[np.int64]:
    """A share of the fit rows by whole groups, of each kind of group (by the classes in it) alike."""
    rng = np.random.default_rng(seed)
    kinds: dict[tuple[int, ...], list[int]] = {}
    for group in np.unique(groups[fit]):
        kinds.setdefault(tuple(sorted(z[fit][groups[fit] == group])), []).append(group)
    kept: list[int] = []
    for members in kinds.values():
        least = min(len(members), -(-_LEAST_GROUPS // len(kinds)))
        kept += rng.permutation(members)[: max(least, round(share * len(members)))].tolist()
    return fit[np.isin(groups[fit], kept)]


def _rate(sizes: npt.NDArray[np.int64], excess: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Slope of -log excess against log n for every column of excess [sizes, draws], by least squares."""
    x = np.log(sizes) - np.log(sizes).mean()
    y = np.log(np.maximum(excess, 1e-3))  # A tenth of a point: nothing smaller is measured.
    return np.asarray(-(x @ y) / (x @ x))
