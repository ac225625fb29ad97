"""Figures of docs/champion.md: how far budgeted transport goes from LEACE towards chance, with a background of other
texts and without.

    python benchmarks/champion.py sites        # both models, three layers, two poolings; two concepts
    python benchmarks/champion.py labels       # 100, 200 and 400 fitting rows of four; 96 train the probes
    python benchmarks/champion.py background   # by number of background rows
    python benchmarks/champion.py ablation     # with one part taken out
    python benchmarks/champion.py held-out     # the concepts that nothing was chosen on, full panel
    python benchmarks/champion.py held-out-400 # the same with 400 fitting rows; 96 train the probes
    python benchmarks/champion.py published    # against every published method: three budgets, three numbers of labels

The background is the texts of the concepts to develop on, without their labels and without the concept itself. Keeps a
file a cell under results/champion and computes what is missing; running it accepts Gemma's terms. 20 to 40 minutes
each, at most, on 2 cores, once activations are captured; `published` an hour and a quarter.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from joblib import Parallel, delayed

from excise.arena import dev_concepts, held_out_concepts
from excise.bench import grade
from excise.concepts import load_concept
from excise.erasers import BudgetedTransport, Leace, NoEdit, Scaled, all_erasers, budgeted_transport, shrunk_moments
from excise.models import capture, language_model
from excise.probes import panel
from excise.stats.splits import Split, rotations
from excise.types import ConceptData, Encoder, Site, write_atomically

CELLS = Path(__file__).parents[1] / "results" / "champion"
ERASERS = {e.title: e for e in (NoEdit(), Leace(), BudgetedTransport())}
WITH = "with background"
# Every eraser that maps into the space of x, LEACE among them; at a budget each is scaled back as far as it needs.
PUBLISHED = {
    kind.title: kind()
    for kind in all_erasers().values()
    if not (kind.control or issubclass(kind, Encoder | BudgetedTransport))
}
# (fitting rows or the protocol's, budget): columns of the comparison with published methods.
ASKED = ((None, 0.5), (None, 1.0), (None, 2.0), (100, 1.0), (200, 1.0), (400, 1.0))
DIFFERENCES = shrunk_moments.shrunk_differences
SIZES = {f"{n} rows": n for n in (1000, 4000)}
# Parts of budgeted transport with a background, taken out one at a time.
WITHOUT = {
    "no prediction": ("predicted_differences", lambda background, gaps: None),
    "means as found": ("shrunk_gaps", lambda x, centred, classes, *_: _gaps_as_found(x, classes)),
    "prediction alone": ("shrunk_differences", lambda *given: _prediction_alone(*given)),
    "256 directions": ("_RANK", 256),
}
LAYERS = {"smollm2-135m-instruct": (8, 14, 20), "gemma-3-270m": (5, 9, 13)}
MAIN = ("smollm2-135m-instruct", "14:mean")
HELD_OUT = {"held-out": None, "held-out-400": 400}
FEW = "Linear,PolynomialSvm,RbfSvm,Forest"


def _gaps_as_found(x: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    return torch.stack([x[classes == c].mean(dim=0) for c in range(int(classes.max()) + 1)]) - x.mean(dim=0)


def _prediction_alone(*given: torch.Tensor) -> torch.Tensor:
    with patch.object(shrunk_moments, "_kept", lambda noise, found: torch.zeros_like(found)):
        return DIFFERENCES(*given)


@dataclass(frozen=True)
class Cell:
    """One eraser on one concept at one site; `n_fit` fitting rows, or the protocol's two fifths; as it is, or at most a
    budget."""

    model: str
    site: str
    concept: str
    eraser: str
    probes: str
    n_fit: int | None = None
    budget: float | None = None

    @property
    def path(self) -> Path:
        parts = [self.model, self.site.replace(":", "-"), self.concept, self.eraser.replace(" ", "-"), self.n_fit]
        parts += [] if self.budget is None else [self.budget]
        return CELLS / ("full" if self.probes == "full" else "few") / f"{'-'.join(map(str, parts))}.json"

    def read(self) -> dict[str, float]:
        found: dict[str, float] = json.loads(self.path.read_text())
        return found


def planned(part: str) -> list[Cell]:
    """Cells of one part."""
    few = dev_concepts()[::8]
    if part in HELD_OUT:
        shown = (*ERASERS, WITH)
        return [Cell(*MAIN, c, eraser, "full", HELD_OUT[part]) for c in held_out_concepts() for eraser in shown]
    if part == "published":
        shown = ("no edit", *PUBLISHED, BudgetedTransport.title, WITH)
        some = held_out_concepts()[::6]
        return [Cell(*MAIN, c, eraser, FEW, n, at) for c in some for n, at in ASKED for eraser in shown]
    if part == "labels":
        return [Cell(*MAIN, c, eraser, FEW, n) for n in (100, 200, 400) for c in few for eraser in (*ERASERS, WITH)]
    if part == "background":
        return [Cell(*MAIN, c, eraser, FEW) for c in dev_concepts()[::4] for eraser in (*ERASERS, *SIZES, WITH)]
    if part == "ablation":
        shown = ("no edit", "LEACE", WITH, *WITHOUT)
        return [Cell(*MAIN, c, eraser, FEW) for c in dev_concepts()[::4] for eraser in shown]
    sites = [(m, f"{layer}:{how}") for m, layers in LAYERS.items() for layer in layers for how in ("mean", "last")]
    return [
        Cell(*where, concept, eraser, FEW) for where in sites for concept in few[::2] for eraser in (*ERASERS, WITH)
    ]


def with_fitting_rows(data: ConceptData, n: int) -> Iterator[Split]:
    """Rotations of the protocol with `n` fitting rows in whole groups; of the rest, 96 rows train the probes."""
    for split in rotations(data.z.numpy(), data.groups, 0):
        rest = np.concatenate([split.fit, split.probe])
        groups = np.random.default_rng(0).permutation(np.unique(data.groups[rest]))
        ordered = np.concatenate([rest[data.groups[rest] == group] for group in groups])
        yield Split(np.sort(ordered[:n]), np.sort(ordered[-96:]), split.test)


def run(cell: Cell, data: ConceptData, pool: np.ndarray) -> None:
    """pool: activations of other texts [m, d]."""
    torch.set_num_threads(1)
    splits = None if cell.n_fit is None else list(with_fitting_rows(data, cell.n_fit))
    methods = ERASERS | PUBLISHED
    if cell.eraser not in methods:
        order = np.random.default_rng(0).permutation(len(pool))[: SIZES.get(cell.eraser)]
        data = replace(data, background=torch.from_numpy(pool[order]))
    part, instead = WITHOUT.get(cell.eraser, ("_RANK", budgeted_transport._RANK))
    with patch.object(budgeted_transport, part, instead):
        eraser = methods.get(cell.eraser, BudgetedTransport())
        eraser = eraser if cell.budget is None else Scaled(eraser, cell.budget)
        found = grade(eraser, data, probes=panel(cell.probes), splits=splits)
    figures = {probe: found.accuracy(probe).value for probe in found.correct}
    figures |= {"worst": found.worst_accuracy.value, "chance": found.chance, "spent": found.budget.value}
    figures |= {name: float(values.mean()) for name, values in found.damage.items()}
    cell.path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(cell.path, json.dumps(figures).encode())


def compute(cells: list[Cell]) -> None:
    todo = [cell for cell in cells if not cell.path.exists()]
    jobs = []
    for model in dict.fromkeys(cell.model for cell in todo):
        sites = [Site.parse(name) for name in dict.fromkeys(cell.site for cell in todo if cell.model == model)]
        lm = language_model(model, accept_terms=True)
        asked = [cell.concept for cell in todo if cell.model == model]
        concepts = {name: load_concept(name) for name in dict.fromkeys((*dev_concepts(), *asked))}
        rows = {name: capture(lm, concept.texts, sites) for name, concept in concepts.items()}
        for site in sites:
            x = {name: found[site].x.numpy() for name, found in rows.items()}
            for name in dict.fromkeys(asked):
                data = ConceptData.of(x[name], concepts[name].labels, concepts[name].groups, name)
                pool = np.concatenate([x[other] for other in dev_concepts() if other != name])
                here = [c for c in todo if (c.model, c.site, c.concept) == (model, str(site), name)]
                jobs += [delayed(run)(cell, data, pool) for cell in here]
    for done, _ in enumerate(Parallel(n_jobs=-1, return_as="generator_unordered")(jobs), 1):
        if done % 20 == 0:
            print(f"{done} of {len(todo)} cells", flush=True)


def with_interval(values: np.ndarray, digits: int = 3) -> str:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return f"{values[0]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]".replace("0.", ".")


def report(title: str, cells: list[Cell], wide: bool) -> None:
    """One block: means over concepts, with 95% intervals over resampled concepts; the first of `draws` is all of them.
    "way": per cent of the way from LEACE to chance. wide: a column an eraser, with intervals; else a line an eraser."""
    concepts = list(dict.fromkeys(cell.concept for cell in cells))
    numbers = np.random.default_rng(0).integers(len(concepts), size=(2000, len(concepts)))
    draws = np.concatenate([np.arange(len(concepts))[None], numbers])
    erasers = list(dict.fromkeys(cell.eraser for cell in cells))
    found = {name: [cell.read() for cell in cells if cell.eraser == name] for name in erasers}
    mean = {
        name: {key: np.array([one[key] for one in ones])[draws].mean(axis=1) for key in ones[0]}
        for name, ones in found.items()
    }
    leace = mean["LEACE"]
    aside = ("chance", "spent", "cosine", "mahalanobis", "neighbours")
    probes = [key for key in leace if key not in aside]

    def way(name: str, probe: str) -> str:
        share = 100 * (leace[probe] - mean[name][probe]) / (leace[probe] - leace["chance"])
        return with_interval(share, 0)

    print(f"\n{title}: {len(concepts)} concepts")
    if not wide:
        print(f"{'':<20}spent{''.join(f'{probe:>15}' for probe in probes)}           way")
        for name in erasers:
            figures = "".join(f"{mean[name][probe][0]:>15.3f}" for probe in probes)
            share = way(name, "worst") if name not in ("no edit", "LEACE") else ""
            print(f"{name:<20}{mean[name]['spent'][0]:.3f}{figures}{share:>14}", flush=True)
        return
    beyond = erasers[2:]
    heads = [f"{name:>20}" for name in erasers] + [f"{f'way of {name}'[:18]:>20}" for name in beyond]
    print(f"{'':<14}{''.join(heads)}")
    for key in ("spent", "cosine", "neighbours"):
        print(f"{key:<14}{''.join(f'{mean[name][key][0]:>20.3f}' for name in erasers)}")
    for probe in probes:
        line = "".join(f"{with_interval(mean[name][probe]):>20}" for name in erasers)
        print(f"{probe:<14}{line}{''.join(f'{way(name, probe):>20}' for name in beyond)}", flush=True)


def report_published(cells: list[Cell]) -> None:
    """The strongest probe's accuracy, a line a method, a column a budget or number of labels."""
    concepts = list(dict.fromkeys(cell.concept for cell in cells))
    draws = np.random.default_rng(0).integers(len(concepts), size=(2000, len(concepts)))
    found = {
        name: {at: [c.read() for c in cells if (c.eraser, c.n_fit, c.budget) == (name, *at)] for at in ASKED}
        for name in dict.fromkeys(cell.eraser for cell in cells)
    }
    worst = {
        name: {at: np.array([one["worst"] for one in ones]) for at, ones in by.items()} for name, by in found.items()
    }
    print(f"\nsmollm2-135m-instruct, 14:mean, strongest of four probes: {len(concepts)} concepts")
    heads = [f"{b:g} budgets" if n is None else f"{n} rows" for n, b in ASKED]
    print(f"{'':<22}{''.join(f'{head:>13}' for head in heads)}{'spent at 1':>13}")
    for name in sorted(worst, key=lambda name: -sum(values.mean() for values in worst[name].values())):
        spent = np.mean([one["spent"] for one in found[name][None, 1.0]])
        print(f"{name:<22}{''.join(f'{values.mean():>13.3f}' for values in worst[name].values())}{spent:>13.2f}")
    for name in (BudgetedTransport.title, WITH):
        print(f"\n{name} less the best published method of each column, points, with 95% intervals over concepts")
        for head, at in zip(heads, ASKED, strict=True):
            best = min(PUBLISHED, key=lambda other: worst[other][at].mean())
            gain = 100 * (worst[name][at] - worst[best][at])
            low, high = np.quantile(gain[draws].mean(axis=1), [0.025, 0.975])
            print(f"{head:<14}{gain.mean():>6.1f} [{low:.1f}, {high:.1f}]   {best}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["sites", "labels", "background", "ablation", "published", *HELD_OUT])
    part = parser.parse_args().part
    cells = planned(part)
    compute(cells)
    if part == "published":
        report_published(cells)
        return
    for block in dict.fromkeys((cell.model, cell.site, cell.n_fit) for cell in cells):
        model, site, n = block
        title = f"{model}, {site}" + (f", {n} fitting rows" if n else "")
        here = [cell for cell in cells if (cell.model, cell.site, cell.n_fit) == block]
        report(title, here, wide=part in HELD_OUT)


if __name__ == "__main__":
    main()
