"""A search without a language model against the arena: does the best of N tries hold up on rows that did not choose it?

    python benchmarks/arena_search.py --tries 12 --concepts 10 --jobs 2

GEPA (extra "gepa") keeps the candidates; each try is a program of the six families, put together and changed by
`excise.arena.search`, run in the sandbox and scored on the select rows of one development concept. Only then are the
report rows attacked, by more probes, with every program that was the best of its concept at some time.
Records go to results/arena-search; what is there already is not computed again. Writes docs/arena-search.csv and .png.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import joblib
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from gepa.optimize_anything import EngineConfig, GEPAConfig, ReflectionConfig, TrackingConfig, optimize_anything

from excise.arena import Score, dev_concepts, prepare
from excise.arena.adapters.gepa_objective import Objective
from excise.arena.adapters.judge import Judge
from excise.arena.sandbox import find_sandbox
from excise.arena.search import Program, Proposer
from excise.concepts import load_concept
from excise.models import DEFAULT_MODEL
from excise.stats.bootstrap import interval
from excise.types import Site

DOCS = Path(__file__).parents[1] / "docs"
SITE = Site.parse("14:mean")
CHANCE = 0.5
_DRAWS = 1000


class Quiet:
    def log(self, message: str) -> None:
        pass


@dataclass(frozen=True)
class Try:
    """Accuracies of the strongest probe; `best` and `report` are of the best program so far, by select rows."""

    concept: str
    number: int
    program: str
    verdict: str
    select: float
    best: float
    report: float
    leace_select: float
    leace_report: float


class Listening(Judge):
    """Keeps every source in the order of its first trial: GEPA tries a candidate again before it changes it."""

    def score(self, source: bytes) -> Score:
        found = super().score(source)
        self.tried.setdefault(source, found)
        return found

    @property
    def tried(self) -> dict[bytes, Score]:
        return self.__dict__.setdefault("_tried", {})


def searched(name: str, tries: int, folder: Path, seed: int) -> list[Try]:
    """One search on one concept, then the report rows."""
    private = prepare(load_concept(name), DEFAULT_MODEL, SITE, 0)[1]
    sandbox, author = find_sandbox(), f"program search, seed {seed}"
    judge = Listening(private, sandbox, folder, author)
    proposer = Proposer(seed)
    optimize_anything(
        seed_candidate=proposer.start().source,
        evaluator=Objective(judge),
        config=GEPAConfig(
            engine=EngineConfig(
                seed=seed,
                max_candidate_proposals=tries - 1,
                parallel=False,
                acceptance_criterion="improvement_or_equal",
                candidate_selection_strategy="top_k_pareto",
            ),
            reflection=ReflectionConfig(reflection_lm=None, custom_candidate_proposer=proposer),
            tracking=TrackingConfig(logger=Quiet()),
        ),
    )
    last = Judge(private, sandbox, folder, author, part="report")
    tried, reports = judge.tried, dict[bytes, Score]()
    best: bytes | None = None
    bests = []
    for source, found in tried.items():
        if found.grade and (best is None or worst(found, math.inf) < worst(tried[best], math.inf)):
            best, reports[source] = source, last.score(source)
        bests.append(best)
    leace_select = leace(next(iter(tried.values())))
    leace_report = leace(next(iter(reports.values()))) if reports else last.baselines.leace.worst_accuracy.value
    rows = [
        Try(
            concept=name,
            number=number,
            program=Program.parse(source.decode()).name,
            verdict=found.verdict,
            select=worst(found, math.nan),
            # Without a sound program, or with one that is refused on other rows, one is left with LEACE.
            best=worst(tried[best], leace_select) if best else leace_select,
            report=worst(reports[best], leace_report) if best else leace_report,
            leace_select=leace_select,
            leace_report=leace_report,
        )
        for number, ((source, found), best) in enumerate(zip(tried.items(), bests, strict=True), 1)
    ]
    print(f"{name}: {rows[-1].best:.3f} on select rows, {rows[-1].report:.3f} on report rows", flush=True)
    return rows


def worst(found: Score, otherwise: float) -> float:
    return found.grade.worst_accuracy.value if found.grade else otherwise


def leace(found: Score) -> float:
    assert found.leace is not None
    return found.leace.worst_accuracy.value


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tries", type=int, default=12)
    parser.add_argument("--concepts", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/arena-search"))
    given = parser.parse_args()
    names = dev_concepts()[: given.concepts]
    found = joblib.Parallel(given.jobs)(
        joblib.delayed(searched)(name, given.tries, given.out, seed) for seed, name in enumerate(names)
    )
    tries = [row for rows in found for row in rows]
    with (DOCS / "arena-search.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(vars(tries[0]))
        writer.writerows([f"{v:.4f}" if isinstance(v, float) else v for v in vars(row).values()] for row in tries)
    show(found)


def show(found: list[list[Try]]) -> None:
    """Prints and draws the means over concepts after every try."""
    length = min(len(rows) for rows in found)
    best, report = (
        np.array([[getattr(r, key) for r in rows[:length]] for rows in found]) for key in ("best", "report")
    )
    select_leace, report_leace = (
        np.array([getattr(rows[0], f"leace_{p}") for rows in found]) for p in ("select", "report")
    )
    print(
        f"\nMean of {len(found)} concepts, %: strongest probe on the best program so far, [95% of resampled concepts]"
    )
    print(f"  LEACE      select {mean(select_leace)}   report {mean(report_leace)}")
    for t in range(length):
        print(f"  {t + 1:2} tries   select {mean(best[:, t])}   report {mean(report[:, t])}")
    for part, end, leace in (("select", best, select_leace), ("report", report, report_leace)):
        way = (leace - end[:, -1]).mean() / (leace - CHANCE).mean()
        print(f"Way from LEACE to chance on {part} rows: {way:.0%}")
    tries = [row for rows in found for row in rows]
    print("Verdicts:", ", ".join(f"{v} {n}" for v, n in Counter(row.verdict for row in tries).most_common()))
    winners = [next((r.program for r in reversed(rows) if r.select == r.best), "none") for rows in found]
    print("Winners:", ", ".join(f"{p} {n}" for p, n in Counter(winners).most_common()))
    figure, axes = plt.subplots(figsize=(7, 4))
    numbers = np.arange(1, length + 1)
    axes.plot(numbers, 100 * best.mean(0), marker="o", color="#4477aa", label="select rows, which chose it")
    axes.plot(numbers, 100 * report.mean(0), marker="s", color="#cc6677", label="report rows, more probes")
    axes.axhline(100 * select_leace.mean(), color="#4477aa", linestyle=":", label="LEACE, select rows")
    axes.axhline(100 * report_leace.mean(), color="#cc6677", linestyle=":", label="LEACE, report rows")
    axes.set_xlabel("tries per concept")
    axes.set_ylabel("accuracy of the strongest probe, %")
    axes.set_title(f"The best program so far, mean of {len(found)} concepts; chance is 50%")
    axes.legend()
    figure.tight_layout()
    figure.savefig(DOCS / "arena-search.png", dpi=100)


def mean(values: np.ndarray) -> str:
    draws = np.random.default_rng(0).choice(values, (_DRAWS, len(values))).mean(1)
    found = interval(values.mean(), draws)
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


if __name__ == "__main__":
    main()
