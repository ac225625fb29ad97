"""The score of an eraser on a concept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from excise.bench.fresh import Kind, fit_on_split, fresh_rows
from excise.erasers import all_erasers
from excise.measures.damage import cosine, mahalanobis, neighbour_overlap
from excise.measures.edit import ROW_CAP, squared_edit
from excise.measures.information import area_under_roc, usable_information
from excise.measures.leakage import chance, folded_accuracy, strongest_probes
from excise.probes import panel
from excise.stats.bootstrap import Interval, interval, resampled_means
from excise.stats.splits import N_ROTATIONS, Split, rotations
from excise.types import ConceptData, Eraser, ExciseError, Oracle, Probe, TrainingRows

_DAMAGE = {"cosine": cosine, "mahalanobis": mahalanobis, "neighbours": neighbour_overlap}


@dataclass(frozen=True, eq=False)
class Grade:
    """What probes read of one concept after one eraser. Arrays have one entry a row; every row is tested once.

    Attributes:
        eraser, settings: what was graded.
        chance: accuracy of always naming the commonest class.
        n_fit, n_probe, n_test: rows of the three parts in the first rotation.
        rotation: number of the rotation in which each row was tested.
        z: class of each row.
        correct: for each probe, whether it named the class of each row.
        probability: for each probe, the probability that it gave to each class, [n, k].
        cv: for each probe and rotation, cross-validated accuracy on the probe rows; the only figure by which anything
            is chosen.
        edit, reference: squared edit of each row, by the eraser and by LEACE fitted on the same rows.
        damage: of each row beside the size of its edit: "cosine" to what it was, squared edit in "mahalanobis" units
            of the unedited test rows, share of its ten nearest "neighbours" kept; empty for an encoder.
        flags: ways in which the map broke the rules; a flagged grade is never ranked.
        kind: "eraser"; "encoder" for a map into a space of its own, whose `edit` is empty because it has no size;
            "oracle" for a method that was told the labels of the test rows. Only erasers are ranked.
        task: for each probe, whether one trained on erased rows named each row's class of the task to keep; empty
            without a task.
        task_chance: accuracy of always naming the task's commonest class.
        n_background: rows of other texts, without labels, that the eraser learned from in every rotation; 0 for one
            that cannot use them or left them out.
    """

    concept: str
    eraser: str
    settings: dict[str, Any]
    seed: int
    n_classes: int
    d: int
    chance: float
    n_fit: int
    n_probe: int
    n_test: int
    groups: npt.NDArray[np.int64]
    rotation: npt.NDArray[np.int64]
    z: npt.NDArray[np.int64]
    correct: dict[str, npt.NDArray[np.bool_]]
    probability: dict[str, npt.NDArray[np.float32]]
    cv: dict[str, list[float]]
    edit: npt.NDArray[np.float64]
    reference: npt.NDArray[np.float64]
    damage: dict[str, npt.NDArray[np.float64]]
    flags: tuple[str, ...]
    kind: Kind = "eraser"
    task: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    task_chance: float = 0.0
    n_background: int = 0

    def accuracy(self, probe: str) -> Interval:
        """Folded accuracy of a probe on test rows with its 95% interval."""
        return folded_accuracy(self.correct[probe], self.groups, self.n_classes)[0]

    def auc(self, probe: str) -> Interval:
        """Area under the ROC curve on test rows, one class against the others, folded; 0.5 is chance."""
        return area_under_roc(self.probability[probe], self.z, self.rotation, self.groups)

    def information(self, probe: str) -> Interval:
        """Bits that the probe has about the class of a row, usable information, on test rows; 0 or less is none."""
        return usable_information(self.probability[probe], self.z, self.groups)

    def task_accuracy(self, probe: str) -> Interval:
        """Accuracy of a probe for the task to keep, on test rows, not folded; higher is better."""
        correct = self.task[probe].astype(np.float64)
        return interval(correct.mean(), resampled_means(correct, self.groups))

    @property
    def strongest(self) -> list[str]:
        """The strongest probe of each rotation; see `strongest_probes`."""
        return strongest_probes(self.cv, self.n_classes)

    @property
    def worst(self) -> str:
        """The probe that is the strongest in most rotations."""
        return Counter(self.strongest).most_common(1)[0][0]

    @property
    def worst_correct(self) -> npt.NDArray[np.bool_]:
        """Whether the strongest probe of its rotation named each row's class, [n]."""
        return np.choose(self.rotation, [self.correct[probe] for probe in self.strongest])

    @property
    def worst_accuracy(self) -> Interval:
        """Folded accuracy of the strongest probe, with its 95% interval."""
        return folded_accuracy(self.worst_correct, self.groups, self.n_classes)[0]

    @property
    def budget(self) -> Interval:
        """Mean squared edit on test rows as a multiple of LEACE's; NaN for an encoder."""
        if self.kind == "encoder":
            return Interval(np.nan, np.nan, np.nan)
        reference = self.reference.mean()
        draws = resampled_means(np.stack([self.edit, self.reference]), self.groups)
        return interval(self.edit.mean() / reference, draws[0] / draws[1])

    def to_json(self) -> dict[str, Any]:
        """Plain Python values; `from_json` gives the grade back."""
        out = asdict(self)
        for key in ("groups", "rotation", "z", "edit", "reference"):
            out[key] = out[key].tolist()
        # Four digits are more than a probability from a few hundred rows is worth.
        out["probability"] = {probe: given.round(4).tolist() for probe, given in self.probability.items()}
        out["damage"] = {name: values.tolist() for name, values in self.damage.items()}
        for key, rows in (("correct", self.correct), ("task", self.task)):
            out[key] = {probe: named.astype(int).tolist() for probe, named in rows.items()}
        return out

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Grade:
        """Reads what `to_json` wrote."""
        values = dict(record)
        for key in ("groups", "rotation", "z"):
            values[key] = np.asarray(record[key], dtype=np.int64)
        for key in ("correct", "task"):
            values[key] = {probe: np.asarray(rows, dtype=bool) for probe, rows in record[key].items()}
        given = record["probability"]
        values["probability"] = {probe: np.asarray(rows, dtype=np.float32) for probe, rows in given.items()}
        values["damage"] = {name: np.asarray(rows) for name, rows in record["damage"].items()}
        for key in ("edit", "reference"):
            values[key] = np.asarray(record[key], dtype=np.float64)
        values["flags"] = tuple(record["flags"])
        return cls(**values)


def grade(
    eraser: Eraser | Oracle,
    data: ConceptData,
    *,
    probes: Sequence[Probe] | None = None,
    seed: int = 0,
    splits: Sequence[Split] | None = None,
) -> Grade:
    """Grades an eraser: pure, no files, no global state; the same arguments give the same report.

    In every rotation the eraser is fitted on `fit` rows, probes are trained afresh on erased `probe` rows and
    scored on erased `test` rows. Splits keep groups together. The edit is measured on test rows, in float64.

    Args:
        eraser: settings; fitted anew in every rotation. An oracle is told the labels of the rows that it erases, and
            its grade says so.
        data: one concept at one site.
        probes: the panel; default: the preset "fast" of `excise.probes.panel`.
        seed: of splits and probes.
        splits: rows of each rotation; default: five rotations of all rows, 40 / 40 / 20. Rows that are never tested
            are left out of the grade, and rotations in a row with the same fitting rows share one fitted map.

    Raises:
        ExciseError: too few groups of a class, activations that never vary, or a map that breaks its contract (NaN,
            shape, dtype, input changed).
    """
    adversaries = panel() if probes is None else tuple(probes)
    leace = all_erasers()["Leace"]()
    x, z, groups = data.x, data.z.cpu().numpy(), data.groups
    n, k = len(z), len(data.classes)
    edit, reference, rotation = np.zeros(n), np.zeros(n), np.full(n, -1)
    correct: dict[str, npt.NDArray[np.bool_]] = {}
    probability: dict[str, npt.NDArray[np.float32]] = {}
    task: dict[str, npt.NDArray[np.bool_]] = {}
    cv: dict[str, list[float]] = {}
    y = None if data.task is None else data.task.cpu().numpy()
    damage = {name: np.zeros(n) for name in _DAMAGE}
    flags: set[str] = set()
    n_background: list[int] = []
    kind: Kind = "eraser"
    splits = list(rotations(z, groups, seed) if splits is None else splits)
    for turn, split in enumerate(splits):
        turn_seed = seed * N_ROTATIONS + turn
        if turn == 0 or not np.array_equal(split.fit, splits[turn - 1].fit):
            erasure = None if isinstance(eraser, Oracle) else fit_on_split(eraser, data, split)
            budget = fit_on_split(leace, data, split)
            n_background.append(0 if erasure is None else erasure.provenance.get("background", 0))
        fresh = fresh_rows(eraser, data, split, turn_seed, erasure)
        kind, flags = fresh.kind, flags | fresh.flags
        test = torch.from_numpy(split.test).to(x.device)
        rotation[split.test] = turn
        if kind != "encoder":
            edit[split.test] = squared_edit(x[test], fresh.test).cpu().numpy()
            for name, measure in _DAMAGE.items():
                damage[name][split.test] = np.asarray(measure(x[test], fresh.test).cpu())
        reference[split.test] = squared_edit(x[test], budget(x[test])).cpu().numpy()
        x_probe, x_test = fresh.probe.double().cpu().numpy(), fresh.test.double().cpu().numpy()
        rows = TrainingRows(x_probe, z[split.probe], groups[split.probe], turn_seed)
        kept = None if y is None else TrainingRows(x_probe, y[split.probe], groups[split.probe], turn_seed)
        for probe in adversaries:
            if not probe.applies(rows):
                continue
            name, fitted = type(probe).__name__, probe.fit_on(rows)
            correct.setdefault(name, np.zeros(n, dtype=bool))[split.test] = fitted.predict(x_test) == z[split.test]
            cv.setdefault(name, []).append(fitted.cv_accuracy)
            given = probability.setdefault(name, np.zeros((n, k), dtype=np.float32))
            given[split.test] = fitted.probabilities(x_test)
            if y is not None and kept is not None:
                named = probe.fit_on(kept).predict(x_test) == y[split.test]
                task.setdefault(name, np.zeros(n, dtype=bool))[split.test] = named
    if not reference.any():
        raise ExciseError(
            f"{data.name}: LEACE changes no row, so there is no budget to measure an edit in. Are all activations "
            "equal? Check the site, or how the array was made"
        )
    if edit.max() > ROW_CAP * edit[rotation >= 0].mean():
        flags.add(f"one row takes over {ROW_CAP:.0f} times the mean edit")
    first, tested = splits[0], rotation >= 0
    return Grade(
        concept=data.name,
        eraser=eraser.name,
        settings=eraser.settings(),
        seed=seed,
        n_classes=len(data.classes),
        d=x.shape[1],
        chance=chance(z[tested]),
        n_fit=len(first.fit),
        n_probe=len(first.probe),
        n_test=len(first.test),
        groups=groups[tested],
        rotation=rotation[tested],
        z=z[tested],
        correct={probe: rows[tested] for probe, rows in correct.items()},
        probability={probe: rows[tested] for probe, rows in probability.items()},
        cv=cv,
        edit=np.zeros(0) if kind == "encoder" else edit[tested],
        reference=reference[tested],
        damage={} if kind == "encoder" else {name: rows[tested] for name, rows in damage.items()},
        flags=tuple(sorted(flags)),
        kind=kind,
        task={probe: rows[tested] for probe, rows in task.items()},
        task_chance=0.0 if y is None else chance(y[tested]),
        n_background=min(n_background),
    )
