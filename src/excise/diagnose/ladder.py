"""The ladder of causes: what of the leakage comes from means, covariances, higher moments, support, or the eraser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from sklearn.model_selection import StratifiedGroupKFold

from excise.bench.fresh import fresh_rows
from excise.diagnose.copies import Copy, class_free_copy, gaussian_copy, in_blocks, mean_free, pooled_copy
from excise.diagnose.labels import shuffled_labels
from excise.measures.leakage import chance, fold, strongest_probes
from excise.probes import all_probes
from excise.stats.bootstrap import Interval, interval, resampled_means
from excise.stats.splits import N_ROTATIONS, Split, rotations
from excise.types import ConceptData, Eraser, Oracle, Probe, TrainingRows

Draws = npt.NDArray[np.float64]

CAUSES = ("written in", "means", "covariances", "higher moments", "support")
"""In the order in which leakage is charged to them."""
DEFAULT_PROBES = ("Linear", "Quadratic", "PolynomialSvm", "RbfSvm", "Knn")
# What these read is a function of moments up to their degree.
_OF_MOMENTS = ("Linear", "Quadratic", "PolynomialSvm")
_STEPS: dict[str, Copy] = {
    "Gaussian copy": gaussian_copy,
    "pooled copy": pooled_copy,
    "class-free copy": class_free_copy,
}
_N_BLOCKS = 5
# Copies of the test rows that a figure is averaged over: they cost no training.
_TEST_COPIES = 4


@dataclass(frozen=True)
class Ladder:
    """Leakage after one eraser on one concept, split by cause. Accuracies are those of the strongest probe of each
    rotation, chosen on probe rows; all intervals are 95% and paired.

    Attributes:
        unerased: before erasure.
        erased: after it.
        gaussian: on copies of the erased rows that keep class means and covariances only.
        pooled: on copies that keep class means and the pooled covariance only.
        mean_free: on the erased rows themselves with class means made equal: what an eraser with a perfect estimate of
            the means would leave.
        class_free: on copies whose classes differ in nothing: a control, which must read chance.
        moments: the strongest of the probes that read moments (linear, quadratic, polynomial), on the erased rows.
        null: after erasing labels that were shuffled and so have nothing to do with the rows: what is read there, the
            eraser has written in.
        excess: points of accuracy over chance that each of CAUSES explains; they add up to `erased` less `chance`.
    """

    concept: str
    eraser: str
    n_fit: int
    chance: float
    unerased: Interval
    erased: Interval
    gaussian: Interval
    pooled: Interval
    mean_free: Interval
    class_free: Interval
    moments: Interval
    null: Interval
    excess: dict[str, Interval]

    @property
    def readable(self) -> bool:
        """Whether the panel clearly reads anything after erasure."""
        return self.erased.low > self.chance

    def share(self, cause: str) -> float:
        """Part of the excess over chance that a cause explains, in [0, 1]; NaN when nothing is read."""
        total = sum(max(part.value, 0.0) for part in self.excess.values())
        return max(self.excess[cause].value, 0.0) / total if self.readable and total else float("nan")

    @property
    def main_cause(self) -> str:
        """The cause that explains most."""
        return max(CAUSES, key=lambda cause: self.excess[cause].value)


@dataclass
class _Reading:
    """What each probe named right on one version of the rows; figures a row in [0, 1]."""

    correct: dict[str, npt.NDArray[np.float64]]
    cv: dict[str, list[float]]


def ladder(
    eraser: Eraser | Oracle, data: ConceptData, *, probes: Sequence[Probe] | None = None, seed: int = 0
) -> Ladder:
    """Charges leakage to causes, simplest first: what means and covariances explain is not charged to higher moments,
    and what means and covariances can each explain is halved between them.

    In each of five rotations the panel is trained and scored on fresh rows, then on copies of them from which one
    component after the other has been removed (`excise.diagnose.copies`): support and higher moments, covariances,
    means. Probe and test rows are copied apart. The drop at each step is what the component explains. What lies above
    the Gaussian copy is charged to higher moments as far as a linear, quadratic or polynomial probe reads it too, and
    else to the support (clusters, topology).

    Args:
        probes: the panel; default DEFAULT_PROBES.

    Raises:
        ExciseError: as `grade`.
    """
    panel = list(probes) if probes is not None else [all_probes()[name]() for name in DEFAULT_PROBES]
    z, groups, k = data.z.cpu().numpy(), data.groups, len(data.classes)
    base, splits = chance(z), list(rotations(z, groups, seed))
    names = ("unerased", "erased", "mean-free", *_STEPS, "null")
    readings = {name: _Reading({}, {}) for name in names}
    rotation = np.zeros(len(z), dtype=np.int64)
    for turn, split in enumerate(splits):
        rotation[split.test] = turn
        rng = np.random.default_rng([seed, turn])
        turn_seed = seed * N_ROTATIONS + turn
        before = data.x[split.probe].double().cpu().numpy(), data.x[split.test].double().cpu().numpy()
        after = _erased(eraser, data, split, turn_seed)
        blocks = _blocks(TrainingRows(after[0], z[split.probe], groups[split.probe], turn_seed))
        _read(readings["unerased"], panel, before[0], [before[1]], z, z, groups, split, turn_seed)
        _read(readings["erased"], panel, after[0], [after[1]], z, z, groups, split, turn_seed)
        block_of = groups.copy()
        block_of[split.probe] = blocks
        for name, copy in {"mean-free": mean_free, **_STEPS}.items():
            trained = in_blocks(copy, after[0], z[split.probe], blocks, rng)
            copies = _TEST_COPIES if name in _STEPS else 1
            tested = [copy(after[1], z[split.test], rng) for _ in range(copies)]
            _read(readings[name], panel, trained, tested, z, z, block_of, split, turn_seed)
        shuffled = shuffled_labels(z, groups, rng)
        other = replace(data, z=torch.from_numpy(shuffled).to(data.z.device), task=None)
        rows = _erased(eraser, other, split, turn_seed)
        _read(readings["null"], panel, rows[0], [rows[1]], shuffled, shuffled, groups, split, turn_seed)
    read = {name: _strongest(reading, rotation, groups, k) for name, reading in readings.items()}
    of_moments = {name for name in readings["erased"].cv if name in _OF_MOMENTS}
    erased = readings["erased"]
    some = _Reading({p: erased.correct[p] for p in of_moments}, {p: erased.cv[p] for p in of_moments})
    read["moments"] = _strongest(some, rotation, groups, k) if of_moments else read["Gaussian copy"]
    return Ladder(
        concept=data.name,
        eraser=eraser.name,
        n_fit=len(splits[0].fit),
        chance=base,
        unerased=interval(*read["unerased"]),
        erased=interval(*read["erased"]),
        gaussian=interval(*read["Gaussian copy"]),
        pooled=interval(*read["pooled copy"]),
        mean_free=interval(*read["mean-free"]),
        class_free=interval(*read["class-free copy"]),
        moments=interval(*read["moments"]),
        null=interval(*read["null"]),
        excess=_charged(read, base),
    )


def _erased(eraser: Eraser | Oracle, data: ConceptData, split: Split, seed: int) -> tuple[Draws, Draws]:
    fresh = fresh_rows(eraser, data, split, seed)
    return fresh.probe.double().cpu().numpy(), fresh.test.double().cpu().numpy()


def _blocks(rows: TrainingRows) -> npt.NDArray[np.int64]:
    """The cross-validation fold of each probe row: a copy that mixed rows across folds would show a probe, in
    training, parts of the rows that it is tuned on."""
    blocks = np.zeros(len(rows.z), dtype=np.int64)
    folds = StratifiedGroupKFold(_N_BLOCKS, shuffle=True, random_state=rows.seed).split(rows.x, rows.z, rows.groups)
    for number, (_, held) in enumerate(folds):
        blocks[held] = number
    return blocks


def _read(
    reading: _Reading,
    panel: Sequence[Probe],
    trained: Draws,
    tested: Sequence[Draws],
    z_trained: npt.NDArray[np.int64],
    z_tested: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    split: Split,
    seed: int,
) -> None:
    """Adds one rotation: trains the panel on `trained` and scores it on every copy in `tested`."""
    rows = TrainingRows(trained, z_trained[split.probe], groups[split.probe], seed)
    for probe in panel:
        if not probe.applies(rows):
            continue
        name, fitted = type(probe).__name__, probe.fit_on(rows)
        right = [fitted.predict(x) == z_tested[split.test] for x in tested]
        reading.correct.setdefault(name, np.zeros(len(groups)))[split.test] = np.mean(right, axis=0)
        reading.cv.setdefault(name, []).append(fitted.cv_accuracy)


def _strongest(
    reading: _Reading, rotation: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], k: int
) -> tuple[float, Draws]:
    """Folded accuracy of the strongest probe of each rotation, with bootstrap draws."""
    chosen = strongest_probes(reading.cv, k)
    correct = np.choose(rotation, [reading.correct[name] for name in chosen])
    value, draws = float(correct.mean()), resampled_means(correct, groups)
    # Folded once, by the estimate; see `folded_accuracy`.
    return float(fold(value, k)), 1 - draws if k == 2 and value < 0.5 else draws


def _charged(read: dict[str, tuple[float, Draws]], base: float) -> dict[str, Interval]:
    """Points of each cause; they add up to the excess. A part may come out below 0: by noise, or because a component
    hid another."""
    written = (
        read["null"] if np.quantile(read["null"][1], 0.025) > base else (base, np.full_like(read["null"][1], base))
    )
    moments = max(read["moments"], read["Gaussian copy"], key=lambda reading: reading[0])
    parts = []
    for at in (0, 1):
        whole, label = np.asarray(read["erased"][at]) - base, np.asarray(written[at]) - base
        rungs = (read["mean-free"], read["pooled copy"], read["Gaussian copy"], moments)
        free, alone, gaussian, polynomial = (np.asarray(rung[at]) - base for rung in rungs)
        # What means carry alone, and what is lost without them: each may carry what the other does too, and the mean
        # of the two orders (Shapley 1953) shares that between means and covariances.
        means = (alone + whole - free) / 2
        steps = np.stack([means, gaussian - means, polynomial - gaussian, whole - polynomial])
        # The label that the eraser writes in is in the other components too: they share what it leaves.
        label = np.clip(label, 0, np.maximum(whole, 0))
        left = 1 - np.divide(label, whole, out=np.zeros_like(whole), where=whole > 0)
        parts.append([label, *(steps * left)])
    return {cause: interval(float(parts[0][i]), parts[1][i]) for i, cause in enumerate(CAUSES)}
