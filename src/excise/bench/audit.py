"""Is it gone? The panel on activations that somebody erased, with or without Excise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from excise.erasers import all_erasers
from excise.measures.edit import squared_edit
from excise.measures.leakage import chance, folded_accuracy
from excise.probes import all_probes
from excise.stats.bootstrap import Interval
from excise.stats.splits import N_ROTATIONS, rotations
from excise.types import ConceptData, ExciseError, Probe, check_activations


@dataclass(frozen=True)
class Audit:
    """What the panel reads. Accuracies are folded, on rows that the probe was not trained on.

    Attributes:
        unerased, erased: for each probe; `erased` is empty when only one array was given.
        worst: the strongest probe on the array in question, chosen on probe rows by cross-validation.
        budget: mean squared edit in multiples of LEACE's on the same rows, or None.
        detectable: excess over chance that this many rows could just show (half the interval's width).
        verdict: the answer in one sentence.
    """

    n: int
    d: int
    n_classes: int
    chance: float
    unerased: dict[str, Interval]
    erased: dict[str, Interval]
    worst: str
    budget: float | None
    detectable: float
    verdict: str


def audit(
    data: ConceptData, erased: Tensor | None = None, *, probes: Sequence[Probe] | None = None, seed: int = 0
) -> Audit:
    """Answers "is it gone?" for arrays that are already erased, or "is it there?" for unerased ones.

    Five rotations by group: probes train on four fifths of the rows and are scored on the rest, so every row is tested
    once.
    The rows must be ones that the eraser was not fitted on: on its own rows it looks better than it is.

    Args:
        data: activations before erasure, with labels and groups.
        erased: the same rows after erasure, [n, d'].

    Raises:
        ExciseError: erased rows that do not match data, NaN, or too few groups of a class.
    """
    panel = list(probes) if probes is not None else [probe() for probe in all_probes().values()]
    z = data.z.cpu().numpy()
    before, worst, draws = _read(data.x, data, panel, seed)
    after: dict[str, Interval] = {}
    budget = None
    if erased is not None:
        erased = check_activations(erased)
        if len(erased) != len(data):
            raise ExciseError(
                f"the erased array has {len(erased)} rows and the labels {len(data)}; give the same rows in the same "
                f"order"
            )
        after, worst, draws = _read(erased, data, panel, seed)
        if erased.shape == data.x.shape:
            reference = all_erasers()["Leace"]().fit(data.x, data.z)(data.x)
            budget = float(squared_edit(data.x, erased).mean() / squared_edit(data.x, reference).mean())
    base = chance(z)
    # Predictions that never vary have no spread at all; the binomial figure is what n rows can show at best.
    detectable = max(
        float(np.ptp(np.quantile(draws, [0.025, 0.975])) / 2), 1.96 * float(np.sqrt(base * (1 - base) / len(z)))
    )
    verdict = _verdict(before, after, worst, base, detectable)
    return Audit(len(data), data.x.shape[1], len(data.classes), base, before, after, worst, budget, detectable, verdict)


def _read(
    x: Tensor, data: ConceptData, panel: Sequence[Probe], seed: int
) -> tuple[dict[str, Interval], str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Interval of each probe, the strongest one, and the unfolded draws of its accuracy."""
    rows, z = x.double().cpu().numpy(), data.z.cpu().numpy()
    correct = {type(p).__name__: np.zeros(len(z), dtype=bool) for p in panel}
    cv: dict[str, list[float]] = {name: [] for name in correct}
    for turn, split in enumerate(rotations(z, data.groups, seed)):
        train = np.sort(np.concatenate([split.fit, split.probe]))
        for name, probe in zip(correct, panel, strict=True):
            fitted = probe.fit(rows[train], z[train], data.groups[train], seed * N_ROTATIONS + turn)
            correct[name][split.test] = fitted.predict(rows[split.test]) == z[split.test]
            cv[name].append(fitted.cv_accuracy)
    worst = max(cv, key=lambda name: float(np.mean(cv[name])))
    figures = {name: folded_accuracy(c, data.groups, len(data.classes)) for name, c in correct.items()}
    plain = folded_accuracy(correct[worst], data.groups, n_classes=0)[
        1
    ]  # Unfolded: folding narrows intervals at chance.
    return {name: figure[0] for name, figure in figures.items()}, worst, plain


def _verdict(
    before: dict[str, Interval], after: dict[str, Interval], worst: str, base: float, detectable: float
) -> str:
    figure = (after or before)[worst]
    read = f"{worst} reads {figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}] where chance is {base:.3f}"
    if figure.value - detectable > base:
        if not after:
            return f"It is there: {read}."
        was = max(interval.value for interval in before.values())
        share = (figure.value - base) / max(was - base, 1e-9)
        return f"It is not gone: {read}, {min(share, 1):.0%} of the unerased excess."
    if not after:
        return f"This panel does not find it on these rows: {read}. An excess of {detectable:.3f} would have shown."
    if max(interval.value for interval in before.values()) - detectable <= base:
        return f"Nothing to judge: this panel did not read the concept before erasure either. {read}."
    return (
        f"This panel no longer reads it on these rows: {read}. An excess of {detectable:.3f} would have shown; a "
        "smaller one, or another adversary, might not."
    )
