"""What an author of an eraser may see, and what only the grader sees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from excise.arena.statement import statement
from excise.concepts import builtin_concepts
from excise.concepts.builtin import STARTERS
from excise.erasers import all_erasers
from excise.measures.edit import squared_edit
from excise.models import capture, language_model
from excise.stats.splits import MIN_PART_GROUPS, N_ROTATIONS, Index, Split
from excise.types import Concept, ConceptData, ExciseError, Site, write_atomically

Part = Literal["feedback", "select", "report"]
"""Hidden rows that a submission is attacked on: what its author hears of while working, what the winner is chosen on,
and what the winner is reported on."""
# In twentieths of the rows, by group.
SHARES = {"shown": 4, "feedback": 3, "fit": 4, "select": 3, "report": 6}
SHARES_OF_LABELS = (0.25, 0.5, 0.75, 1.0)
MIN_GROUPS = 60
MIN_TEST = 11
"""Rows of the smallest fold: damage is measured on each row's ten nearest neighbours there."""

# A byte of a hash: a concept keeps its side when others come or go. Holds out 25 of the 50 concepts of this version.
_HELD_OUT_BELOW = 132


@dataclass(frozen=True, eq=False)
class Public:
    """Handed to the author. Holds nothing of hidden rows.

    Attributes:
        texts, x, z: the labelled sample: n texts, their activations float32 [n, d] and classes int64 [n].
        classes: the label of each class.
        budget: mean squared edit that a map may make on this sample: LEACE's, or the problem's multiple of it.
        model, site, seed: where the activations come from; seed of the draw.
    """

    texts: tuple[str, ...]
    x: Tensor
    z: Tensor
    classes: tuple[str, ...]
    budget: float
    model: str
    site: str
    seed: int

    def write(self, folder: Path) -> None:
        """Writes the statement of the task (task.md) and the sample: texts.jsonl, activations.npy, labels.npy and
        problem.json."""
        folder.mkdir(parents=True, exist_ok=True)
        z = self.z.tolist()
        lines = [json.dumps({"text": t, "label": c}, ensure_ascii=False) for t, c in zip(self.texts, z, strict=True)]
        facts = {
            "budget": self.budget,
            "model": self.model,
            "site": self.site,
            "d": self.x.shape[1],
            "n": len(z),
            "classes": self.classes,
            "seed": self.seed,
        }
        write_atomically(folder / "texts.jsonl", ("\n".join(lines) + "\n").encode())
        write_atomically(folder / "problem.json", (json.dumps(facts, indent=2) + "\n").encode())
        write_atomically(
            folder / "task.md", statement(len(z), self.x.shape[1], self.model, self.site, self.budget).encode()
        )
        np.save(folder / "activations.npy", self.x.numpy())
        np.save(folder / "labels.npy", self.z.numpy())


@dataclass(frozen=True, eq=False)
class Private:
    """Stays with the grader.

    Attributes:
        data: all rows of the concept, shown and hidden.
        parts: row numbers of "shown" and of each hidden part: "fit" (the labelled draw, as large as the shown sample,
            that a submission is fitted on anew for "select" and "report"), "feedback", "select", "report".
        origin: model, revision, site and digest of the texts, as far as known.
            A problem with a budget or a number of labels of its own says so here, so that records say it too.
        seed: of the draw; also given to the submission's `fit`, and to the probes.
    """

    data: ConceptData
    parts: dict[str, Index]
    origin: dict[str, str]
    seed: int

    @property
    def budget(self) -> float:
        """What may be spent, as a multiple of LEACE's mean squared edit on the same rows."""
        return float(self.origin.get("budget", 1))

    @cached_property
    def id(self) -> str:
        """Names rows, labels and draw: 32 hex digits."""
        digest = hashlib.sha256(json.dumps([self.data.name, self.origin, self.seed], sort_keys=True).encode())
        for array in (self.data.x.numpy(), self.data.z.numpy(), self.data.groups, *self.parts.values()):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:32]

    def splits(self, part: Part) -> list[Split]:
        """Five folds of the part's rows; fitted on the shown rows for "feedback", otherwise on the fit rows."""
        rows, fit = self.parts[part], self.parts["shown" if part == "feedback" else "fit"]
        folds = StratifiedGroupKFold(N_ROTATIONS, shuffle=True, random_state=self.seed)
        z, groups = self.data.z.numpy()[rows], self.data.groups[rows]
        return [Split(fit, rows[probe], rows[test]) for probe, test in folds.split(rows[:, None], z, groups)]


def prepare(
    concept: Concept,
    model: str,
    site: Site,
    seed: int,
    *,
    budget: float = 1.0,
    labels: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Public, Private]:
    """Reads activations (kept in the user's cache) and draws one problem of them; budget and labels: `prepare_rows`.

    Raises:
        ExciseError: see `capture` and `prepare_rows`; a site that gives more than one row a text.
    """
    if site.pooling == "all":
        raise ExciseError("a problem has one row a text; choose the pooling 'mean' or 'last'")
    lm = language_model(model)
    x = capture(lm, concept.texts, [site], progress=progress)[site].x
    data = ConceptData.of(x, concept.labels, concept.groups, concept.name)
    origin = {"model": lm.name, "revision": lm.revision, "site": str(site), "texts": concept.digest}
    return prepare_rows(data, concept.texts, origin, seed, budget=budget, labels=labels)


def prepare_rows(
    data: ConceptData,
    texts: Sequence[str],
    origin: dict[str, str],
    seed: int,
    *,
    budget: float = 1.0,
    labels: float = 1.0,
) -> tuple[Public, Private]:
    """Draws one problem of rows: a fifth is shown, the rest is hidden. The signature is the leak boundary.

    Groups stay together and class shares are kept. x is taken in float32 on the CPU, as a submission gets it.

    Args:
        texts: of each row.
        origin: "model" and "site" are told to the author; the rest is for records.
        budget: what may be spent, as a multiple of LEACE's mean squared edit on the same rows.
        labels: share of the shown rows, and of those that `fit` gets anew, that is kept: 1/4, 1/2, 3/4 or all. The
            others are used for nothing, so that the attacked rows are the same.

    Raises:
        ExciseError: too few rows, too few groups of a class, or no such budget or share.
    """
    if not 0 < budget < np.inf:
        raise ExciseError(f"a budget of {budget} LEACE edits leaves nothing to judge; give a number above 0")
    if labels not in SHARES_OF_LABELS:
        raise ExciseError(f"labels {labels}: give the share to keep, one of {', '.join(map(str, SHARES_OF_LABELS))}")
    # Only where they differ: a problem on the usual terms keeps its id.
    origin = origin | {k: f"{v:g}" for k, v in (("budget", budget), ("labels", labels)) if v != 1}
    z = data.z.cpu()
    data = ConceptData(data.name, data.x.detach().cpu().float(), z, data.groups, data.classes)
    for c in z.unique().tolist():
        if (n := len(np.unique(data.groups[z == c]))) < MIN_GROUPS:
            raise ExciseError(
                f"class {data.classes[c]!r} of {data.name} stands in {n} groups; a problem needs {MIN_GROUPS} of each "
                "class. Add rows in other groups, or merge the class with another"
            )
    private = Private(data, _parts(data, seed, labels), origin, seed)
    for part in ("feedback", "select", "report"):
        for split in private.splits(part):
            _check_groups(data, split)
    shown = torch.from_numpy(private.parts["shown"])
    x = data.x[shown]
    model, site = (origin.get(key, "") for key in ("model", "site"))
    chosen = tuple(texts[i] for i in shown.tolist())
    allowed = budget * reference_edit(x, z[shown])
    return Public(chosen, x, z[shown], data.classes, allowed, model, site, seed), private


def reference_edit(x: Tensor, z: Tensor) -> float:
    """LEACE's mean squared edit on the rows that it is fitted on, x [n, d] and z [n]: the unit of budgets."""
    return float(squared_edit(x, all_erasers()["Leace"]().fit(x, z)(x)).mean())


def held_out_concepts() -> tuple[str, ...]:
    """Built-in concepts that nothing may be trained, tuned or searched on: half of them.

    The rule: not a starter (those are seen by whoever tries Excise), and the first byte of the sha256 of the name is
    under 132.
    """
    return tuple(
        name
        for name in builtin_concepts()
        if name not in STARTERS and hashlib.sha256(name.encode()).digest()[0] < _HELD_OUT_BELOW
    )


def dev_concepts() -> tuple[str, ...]:
    """The other built-in concepts: for training, search and trying out."""
    held_out = set(held_out_concepts())
    return tuple(name for name in builtin_concepts() if name not in held_out)


def _parts(data: ConceptData, seed: int, labels: float) -> dict[str, Index]:
    """Row numbers of each part, ascending; of those that are fitted on, the share `labels`."""
    folds = StratifiedGroupKFold(sum(SHARES.values()), shuffle=True, random_state=seed)
    pieces = [rows for _, rows in folds.split(data.groups[:, None], data.z.numpy(), data.groups)]
    parts, start = {}, 0
    for name, share in SHARES.items():
        kept = round(share * labels) if name in ("shown", "fit") else share
        parts[name] = np.sort(np.concatenate(pieces[start : start + kept]))
        start += share
    return parts


def _check_groups(data: ConceptData, split: Split) -> None:
    """Probes are tuned in folds by group, which one huge group can make impossible."""
    z = data.z.numpy()
    if len(split.test) < MIN_TEST:
        raise ExciseError(
            f"{data.name} has {len(z)} rows, which leaves {len(split.test)} in a fold; a problem needs {MIN_TEST} "
            "there, about 400 in all. Add rows"
        )
    for c in np.unique(z):
        for rows in (split.fit, split.probe):
            if (n := len(np.unique(data.groups[rows][z[rows] == c]))) < MIN_PART_GROUPS:
                raise ExciseError(
                    f"class {data.classes[c]!r} of {data.name} stands in only {n} groups of one part; one group is too "
                    "large to split the rest evenly. Break large groups up, or add rows in other groups"
                )
        if not (z[split.test] == c).any():
            raise ExciseError(
                f"class {data.classes[c]!r} of {data.name} is too rare to stand in every fold; add rows of it"
            )
