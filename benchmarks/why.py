"""Why does erasure fall short? `python benchmarks/why.py` diagnoses LEACE on the built-in concepts at several sites of
both models, keeps a file a cell under results/why (a rerun computes what is missing), writes docs/why.csv and prints
the blocks of docs/why-erasure-falls-short.md. `--report` prints from the files that are there.

The first capture fetches the models; running this accepts Gemma's terms. Hours on 2 cores; what is done is kept.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed, parallel_config

from excise.concepts import builtin_concepts, load_concept
from excise.diagnose import CAUSES, diagnose
from excise.erasers import Leace
from excise.models import capture, language_model
from excise.types import ConceptData, Site, write_atomically

ROOT = Path(__file__).parents[1]
CELLS = ROOT / "results" / "why"
# The middle layer of both models over every concept, the other layers over every fifth.
SITES = {"smollm2-135m-instruct": ("14:mean", "8:mean", "20:mean"), "gemma-3-270m": ("9:mean",)}
MIDDLE = ("14:mean", "9:mean")


def planned(model: str, site: str) -> tuple[str, ...]:
    """Concepts of one site."""
    return builtin_concepts()[:: 1 if site in MIDDLE else 5]


def cell_path(model: str, site: str, concept: str) -> Path:
    return CELLS / f"{model}-{site.replace(':', '-')}-{concept}.json"


def run_cell(data: ConceptData, path: Path) -> None:
    torch.set_num_threads(1)
    found = diagnose(Leace(), data)
    shares = {cause: found.ladder.share(cause) for cause in CAUSES}
    budgets = None if found.slack is None else [found.slack.gaussian_budgets, found.slack.budgets]
    content = asdict(found) | {"shares": shares, "main": found.ladder.main_cause, "budgets": budgets}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content).encode())


def missing() -> Iterator[tuple[ConceptData, Path]]:
    """Cells that have no file yet, the main site first."""
    for model, sites in SITES.items():
        for site in sites:
            todo = [c for c in planned(model, site) if not cell_path(model, site, c).exists()]
            concepts = [load_concept(name) for name in todo]
            if not concepts:
                continue
            lm = language_model(model, accept_terms=True)
            texts = [text for concept in concepts for text in concept.texts]
            every = [Site.parse(name) for name in sites]  # One pass reads them all.
            x, start = capture(lm, texts, every)[Site.parse(site)].x, 0
            for concept in concepts:
                rows = x[start : start + len(concept)]
                start += len(concept)
                data = ConceptData.of(rows, concept.labels, concept.groups, concept.name)
                yield data, cell_path(model, site, concept.name)


def mean_and_interval(values: list[float], sign: str = "") -> str:
    """Mean over concepts with its 95% interval over resampled concepts; `sign`: "+" to print one always."""
    array = np.asarray(values)
    draws = np.random.default_rng(0).choice(array, (2000, len(array))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{array.mean():{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def report() -> None:
    rows: list[dict[str, Any]] = []
    for model, sites in SITES.items():
        for site in sites:
            cells = {c: cell_path(model, site, c) for c in planned(model, site)}
            found = {c: json.loads(path.read_text()) for c, path in cells.items() if path.exists()}
            # Little to erase, little to explain: set apart, as on every board.
            kept = {c: one for c, one in found.items() if one["ladder"]["unerased"]["value"] >= 0.85}
            if not kept:
                continue
            ladders = [one["ladder"] for one in kept.values()]
            print(f"\n{model}, {site}: {len(kept)} concepts ({len(found) - len(kept)} under 0.85 unerased set apart), "
                  f"{ladders[0]['n_fit']} fitting rows")  # fmt: skip
            for name in ("unerased", "erased", "mean_free", "class_free"):
                print(f"  {name:<16}{mean_and_interval([one[name]['value'] for one in ladders])}")
            for cause in CAUSES:
                points = [one["excess"][cause]["value"] for one in ladders]
                share = sum(points) / sum(one["erased"]["value"] - one["chance"] for one in ladders)
                print(f"  {cause:<16}{mean_and_interval(points)} points over chance, {share:5.0%} of the excess")
            main = {cause: sum(one["main"] == cause for one in kept.values()) for cause in CAUSES}
            print(f"  main cause      {', '.join(f'{cause} {n}' for cause, n in main.items() if n)}")
            curves = [one["curve"] for one in kept.values()]
            for i, n in enumerate(curves[0]["n_fit"]):
                print(f"  at {n:>4} labels  {mean_and_interval([c['accuracy'][i]['value'] for c in curves])}")
            print(f"  rate            {mean_and_interval([c['rate']['value'] for c in curves])}")
            for i, name in enumerate(("means and covariances", "full erasure")):
                print(f"  {name}: {mean_and_interval([one['budgets'][i] for one in kept.values()])} LEACE edits, "
                      "bias taken off")  # fmt: skip
            for concept, one in found.items():
                figures = {name: one["ladder"][name]["value"] for name in ("unerased", "erased", "gaussian", "pooled")}
                parts = {cause: one["ladder"]["excess"][cause]["value"] for cause in CAUSES}
                rows.append({"model": model, "site": site, "concept": concept, **figures, **parts, "main": one["main"]})
    with (ROOT / "docs" / "why.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", action="store_true", help="only print what is there")
    if not parser.parse_args().report:
        with parallel_config(backend="loky", inner_max_num_threads=1):
            jobs = (delayed(run_cell)(data, path) for data, path in missing())
            for done, _ in enumerate(Parallel(n_jobs=-1, return_as="generator_unordered", pre_dispatch=4)(jobs), 1):
                print(f"{done} cells", flush=True)
    report()


if __name__ == "__main__":
    main()
