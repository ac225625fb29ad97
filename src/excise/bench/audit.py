"""Is it gone? The panel on activations that somebody erased, with or without Excise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from excise.erasers import all_erasers
from excise.measures.edit import squared_edit
from excise.measures.leakage import chance, folded_accuracy, strongest_probes
from excise.probes import panel
from excise.stats.bootstrap import Interval
from excise.stats.mmd import evenly_thinned
from excise.stats.permutation import mmd_test
from excise.stats.selection import chance_interval, detectable
from excise.stats.splits import N_ROTATIONS, rotations
from excise.types import ConceptData, ExciseError, Probe, TrainingRows, check_activations

_MMD_ROWS = 1000  # Its kernel takes the square of the rows in memory.


@dataclass(frozen=True)
class Audit:
    """What the panel reads. Accuracies are folded, on rows that the probe was not trained on.

    Attributes:
        unerased, erased: for each probe; `erased` is empty when only one array was given.
        worst: the probe that is strongest on the array in question, in most rotations.
        strongest: accuracy of the strongest probe of each rotation, chosen there on probe rows by cross-validation.
        budget: mean squared edit in multiples of LEACE's on the same rows, or None.
        detectable: excess over chance that this many rows would show in four samples of five (2.8 standard errors).
        mmd_p: p-value of a kernel two-sample test (MMD, five widths, labels permuted) on the array in question: the
            chance of such a difference between the classes if there were none; NaN where groups leave too few ways to
            relabel.
        verdict: the answer in one sentence.
    """

    n: int
    d: int
    n_classes: int
    chance: float
    unerased: dict[str, Interval]
    erased: dict[str, Interval]
    worst: str
    strongest: Interval
    budget: float | None
    detectable: float
    mmd_p: float
    verdict: str


def audit(
    data: ConceptData, erased: Tensor | None = None, *, probes: Sequence[Probe] | None = None, seed: int = 0
) -> Audit:
    """Answers "is it gone?" for arrays that are already erased, or "is it there?" for unerased ones.

    Five rotations by group: probes train on four fifths of the rows and are scored on the rest, so every row is tested
    once. The rows must be ones that the eraser was not fitted on: on its own rows it looks better than it is.

    Args:
        data: activations before erasure, with labels and groups.
        erased: the same rows after erasure, [n, d'].

    Raises:
        ExciseError: erased rows that do not match data, NaN, or too few groups of a class.
    """
    adversaries = panel() if probes is None else tuple(probes)
    z = data.z.cpu().numpy()
    before, worst, strongest = _read(data.x, data, adversaries, seed)
    was = strongest
    after: dict[str, Interval] = {}
    budget = None
    if erased is not None:
        erased = check_activations(erased)
        if len(erased) != len(data):
            raise ExciseError(
                f"the erased array has {len(erased)} rows and the labels {len(data)}; give the same rows in the same "
                f"order"
            )
        after, worst, strongest = _read(erased, data, adversaries, seed)
        if erased.shape == data.x.shape:
            reference = all_erasers()["Leace"]().fit(data.x, data.z)(data.x)
            spent = float(squared_edit(data.x, reference).mean())
            budget = float(squared_edit(data.x, erased).mean()) / spent if spent else None
    base = chance(z)
    # Predictions that never vary have no spread at all; the binomial figure is what n rows can show at best.
    widest = max(strongest, chance_interval(base, len(z)), key=lambda found: found.high - found.low)
    half, shows = (widest.high - widest.low) / 2, detectable(widest)
    verdict = _verdict(was, strongest if after else None, worst, base, half, shows)
    return Audit(
        n=len(data),
        d=data.x.shape[1],
        n_classes=len(data.classes),
        chance=base,
        unerased=before,
        erased=after,
        worst=worst,
        strongest=strongest,
        budget=budget,
        detectable=shows,
        mmd_p=_mmd_p(data.x if erased is None else erased, data, seed),
        verdict=verdict,
    )


def _read(
    x: Tensor, data: ConceptData, adversaries: Sequence[Probe], seed: int
) -> tuple[dict[str, Interval], str, Interval]:
    """Interval of each probe, the probe that is strongest in most rotations, and the interval of the strongest."""
    rows, z, k = x.double().cpu().numpy(), data.z.cpu().numpy(), len(data.classes)
    correct: dict[str, npt.NDArray[np.bool_]] = {}
    cv: dict[str, list[float]] = {}
    tested = []
    for turn, split in enumerate(rotations(z, data.groups, seed)):
        train = np.sort(np.concatenate([split.fit, split.probe]))
        tested.append(split.test)
        shared = TrainingRows(rows[train], z[train], data.groups[train], seed * N_ROTATIONS + turn)
        for probe in adversaries:
            if probe.applies(shared):
                name, fitted = type(probe).__name__, probe.fit_on(shared)
                named = fitted.predict(rows[split.test]) == z[split.test]
                correct.setdefault(name, np.zeros(len(z), dtype=bool))[split.test] = named
                cv.setdefault(name, []).append(fitted.cv_accuracy)
    chosen = strongest_probes(cv, k)
    best = np.zeros(len(z), dtype=bool)
    for name, test in zip(chosen, tested, strict=True):
        best[test] = correct[name][test]
    figures = {name: folded_accuracy(c, data.groups, k)[0] for name, c in correct.items()}
    return figures, Counter(chosen).most_common(1)[0][0], folded_accuracy(best, data.groups, k)[0]


def _mmd_p(x: Tensor, data: ConceptData, seed: int) -> float:
    """On at most _MMD_ROWS rows of a class; NaN where groups leave too few ways to relabel."""
    rows = evenly_thinned(data.z.cpu(), _MMD_ROWS)
    try:
        return mmd_test(x.double().cpu()[rows], data.z.cpu()[rows], data.groups[rows.numpy()], seed).p
    except ExciseError:
        return float("nan")


def _verdict(was: Interval, now: Interval | None, worst: str, base: float, half: float, detectable: float) -> str:
    """The answer in a sentence; `half` is half the interval's width."""
    figure = now or was
    read = f"the strongest probe ({worst}) reads {figure.value:.3f} where chance is {base:.3f} (±{half:.3f})"
    shows = f"An excess of {detectable:.3f} would have shown in four samples of five"
    if figure.value - half > base:
        if now is None:
            return f"It is there: {read}."
        share = min((figure.value - base) / max(was.value - base, 1e-9), 1.0)
        return f"It is not gone: {read}, {share:.0%} of the unerased excess."
    if now is None:
        return f"This panel does not find it on these rows: {read}. {shows}."
    if was.value - half <= base:
        return f"Nothing to judge: this panel did not read the concept before erasure either; {read}."
    return (
        f"This panel no longer reads it on these rows: {read}. {shows}; a smaller one, or another adversary, may not."
    )
