"""Figures of docs/champion.md: how far budgeted transport and the best trained eraser go from LEACE towards chance.

    python benchmarks/champion.py sites      # both models, three layers, two poolings; two concepts, no network
    python benchmarks/champion.py labels     # 100, 200 and 400 fitting rows of four; 96 train the probes
    python benchmarks/champion.py held-out   # the concepts that nothing was chosen on, full panel

Keeps a file a cell under results/champion and computes what is missing; running it accepts Gemma's terms. Half an hour
each, at most, on 2 cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed

from excise.arena import dev_concepts, held_out_concepts
from excise.bench import grade
from excise.concepts import load_concept
from excise.erasers import BudgetedTransport, Leace, MmdNetwork, NoEdit
from excise.models import capture, language_model
from excise.probes import panel
from excise.stats.splits import Split, rotations
from excise.types import ConceptData, Site, write_atomically

CELLS = Path(__file__).parents[1] / "results" / "champion"
ERASERS = {e.title: e for e in (NoEdit(), Leace(), MmdNetwork(), BudgetedTransport())}
LAYERS = {"smollm2-135m-instruct": (8, 14, 20), "gemma-3-270m": (5, 9, 13)}
MAIN = ("smollm2-135m-instruct", "14:mean")
FEW = "Linear,PolynomialSvm,RbfSvm,Forest"


@dataclass(frozen=True)
class Cell:
    """One eraser on one concept at one site; `n_fit` fitting rows, or the protocol's two fifths."""

    model: str
    site: str
    concept: str
    eraser: str
    probes: str
    n_fit: int | None = None

    @property
    def path(self) -> Path:
        parts = (self.model, self.site.replace(":", "-"), self.concept, self.eraser.replace(" ", "-"), self.n_fit)
        return CELLS / ("full" if self.probes == "full" else "few") / f"{'-'.join(map(str, parts))}.json"

    def read(self) -> dict[str, float]:
        found: dict[str, float] = json.loads(self.path.read_text())
        return found


def planned(part: str) -> list[Cell]:
    """Cells of one part."""
    few = dev_concepts()[::8]
    if part == "held-out":
        return [Cell(*MAIN, concept, eraser, "full") for concept in held_out_concepts() for eraser in ERASERS]
    if part == "labels":
        return [Cell(*MAIN, c, eraser, FEW, n) for n in (100, 200, 400) for c in few for eraser in ERASERS]
    sites = [(m, f"{layer}:{how}") for m, layers in LAYERS.items() for layer in layers for how in ("mean", "last")]
    closed = [name for name in ERASERS if name != MmdNetwork.title]
    return [Cell(*where, concept, eraser, FEW) for where in sites for concept in few[::2] for eraser in closed]


def with_fitting_rows(data: ConceptData, n: int) -> Iterator[Split]:
    """Rotations of the protocol with `n` fitting rows in whole groups; of the rest, 96 rows train the probes."""
    for split in rotations(data.z.numpy(), data.groups, 0):
        rest = np.concatenate([split.fit, split.probe])
        groups = np.random.default_rng(0).permutation(np.unique(data.groups[rest]))
        ordered = np.concatenate([rest[data.groups[rest] == group] for group in groups])
        yield Split(np.sort(ordered[:n]), np.sort(ordered[-96:]), split.test)


def run(cell: Cell, data: ConceptData) -> None:
    torch.set_num_threads(1)
    splits = None if cell.n_fit is None else list(with_fitting_rows(data, cell.n_fit))
    found = grade(ERASERS[cell.eraser], data, probes=panel(cell.probes), splits=splits)
    figures = {probe: found.accuracy(probe).value for probe in found.correct}
    figures |= {"worst": found.worst_accuracy.value, "chance": found.chance, "spent": found.budget.value}
    figures |= {name: float(values.mean()) for name, values in found.damage.items()}
    cell.path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(cell.path, json.dumps(figures).encode())


def compute(cells: list[Cell]) -> None:
    todo = [cell for cell in cells if not cell.path.exists()]
    rows: dict[tuple[str, str, str], ConceptData] = {}
    for model in dict.fromkeys(cell.model for cell in todo):
        sites = [Site.parse(name) for name in dict.fromkeys(cell.site for cell in todo if cell.model == model)]
        lm = language_model(model, accept_terms=True)
        for name in dict.fromkeys(cell.concept for cell in todo if cell.model == model):
            concept = load_concept(name)
            for site, found in capture(lm, concept.texts, sites).items():
                data = ConceptData.of(found.x, concept.labels, concept.groups, name)
                rows[model, str(site), name] = data
    jobs = (delayed(run)(cell, rows[cell.model, cell.site, cell.concept]) for cell in todo)
    for done, _ in enumerate(Parallel(n_jobs=-1, return_as="generator_unordered")(jobs), 1):
        if done % 20 == 0:
            print(f"{done} of {len(todo)} cells", flush=True)


def with_interval(values: np.ndarray, digits: int = 3) -> str:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return f"{values[0]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]".replace("0.", ".")


def report(title: str, cells: list[Cell]) -> None:
    """One block: means over concepts, with 95% intervals over resampled concepts; the first of `draws` is all of them.
    The last columns: per cent of the way from LEACE to chance."""
    concepts = list(dict.fromkeys(cell.concept for cell in cells))
    numbers = np.random.default_rng(0).integers(len(concepts), size=(2000, len(concepts)))
    draws = np.concatenate([np.arange(len(concepts))[None], numbers])
    erasers = list(dict.fromkeys(cell.eraser for cell in cells))
    found = {name: [cell.read() for cell in cells if cell.eraser == name] for name in erasers}
    mean = {
        name: {key: np.array([one[key] for one in ones])[draws].mean(axis=1) for key in ones[0]}
        for name, ones in found.items()
    }
    print(f"\n{title}: {len(concepts)} concepts")
    beyond = erasers[2:]
    heads = [f"{name:>20}" for name in erasers] + [f"{name.split()[0] + ', %':>15}" for name in beyond]
    print(f"{'':<14}{''.join(heads)}")
    for key in ("spent", "cosine", "neighbours"):
        print(f"{key:<14}{''.join(f'{mean[name][key][0]:>20.3f}' for name in erasers)}")
    leace = mean["LEACE"]
    for probe in (key for key in leace if key not in ("chance", "spent", "cosine", "mahalanobis", "neighbours")):
        shares = [100 * (leace[probe] - mean[name][probe]) / (leace[probe] - leace["chance"]) for name in beyond]
        line = "".join(f"{with_interval(mean[name][probe]):>20}" for name in erasers)
        print(f"{probe:<14}{line}{''.join(f'{with_interval(share, 0):>15}' for share in shares)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["sites", "labels", "held-out"])
    part = parser.parse_args().part
    cells = planned(part)
    compute(cells)
    for block in dict.fromkeys((cell.model, cell.site, cell.n_fit) for cell in cells):
        model, site, n = block
        title = f"{model}, {site}" + (f", {n} fitting rows" if n else "")
        report(title, [cell for cell in cells if (cell.model, cell.site, cell.n_fit) == block])


if __name__ == "__main__":
    main()
