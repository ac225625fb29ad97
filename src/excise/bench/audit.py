"""Is it gone? The panel on activations that somebody erased, with or without Excise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from excise.erasers import all_erasers
from excise.measures.edit import squared_edit
from excise.measures.leakage import chance, folded_accuracy, strongest_probes
from excise.probes import all_probes
from excise.stats.bootstrap import Interval
from excise.stats.splits import N_ROTATIONS, rotations
from excise.types import ConceptData, ExciseError, Probe, check_activations


@dataclass(frozen=True)
class Audit:
    """What the panel reads. Accuracies are folded, on rows that the probe was not trained on.

    Attributes:
        unerased, erased: for each probe; `erased` is empty when only one array was given.
        worst: the probe that is strongest on the array in question, in most rotations.
        strongest: accuracy of the strongest probe of each rotation, chosen there on probe rows by cross-validation.
        budget: mean squared edit in multiples of LEACE's on the same rows, or None.
        detectable: excess over chance that this many rows would show in four samples of five (2.8 standard errors).
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
    panel = list(probes) if probes is not None else [probe() for probe in all_probes().values()]
    z = data.z.cpu().numpy()
    before, worst, strongest = _read(data.x, data, panel, seed)
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
        after, worst, strongest = _read(erased, data, panel, seed)
        if erased.shape == data.x.shape:
            reference = all_erasers()["Leace"]().fit(data.x, data.z)(data.x)
            spent = float(squared_edit(data.x, reference).mean())
            budget = float(squared_edit(data.x, erased).mean()) / spent if spent else None
    base = chance(z)
    # Predictions that never vary have no spread at all; the binomial figure is what n rows can show at best.
    half = max((strongest.high - strongest.low) / 2, 1.96 * float(np.sqrt(base * (1 - base) / len(z))))
    detectable = half * (1.96 + 0.84) / 1.96
    verdict = _verdict(was, strongest if after else None, worst, base, half, detectable)
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
        detectable=detectable,
        verdict=verdict,
    )


def _read(x: Tensor, data: ConceptData, panel: Sequence[Probe], seed: int) -> tuple[dict[str, Interval], str, Interval]:
    """Interval of each probe, the probe that is strongest in most rotations, and the interval of the strongest."""
    rows, z, k = x.double().cpu().numpy(), data.z.cpu().numpy(), len(data.classes)
    correct = {type(p).__name__: np.zeros(len(z), dtype=bool) for p in panel}
    cv: dict[str, list[float]] = {name: [] for name in correct}
    tested = []
    for turn, split in enumerate(rotations(z, data.groups, seed)):
        train = np.sort(np.concatenate([split.fit, split.probe]))
        tested.append(split.test)
        for name, probe in zip(correct, panel, strict=True):
            fitted = probe.fit(rows[train], z[train], data.groups[train], seed * N_ROTATIONS + turn)
            correct[name][split.test] = fitted.predict(rows[split.test]) == z[split.test]
            cv[name].append(fitted.cv_accuracy)
    chosen = strongest_probes(cv, k)
    best = np.zeros(len(z), dtype=bool)
    for name, test in zip(chosen, tested, strict=True):
        best[test] = correct[name][test]
    figures = {name: folded_accuracy(c, data.groups, k)[0] for name, c in correct.items()}
    return figures, Counter(chosen).most_common(1)[0][0], folded_accuracy(best, data.groups, k)[0]


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
