"""`excise bench`."""

from __future__ import annotations

from dataclasses import asdict
from math import inf, nan
from pathlib import Path
from typing import Annotated, TypeGuard

import typer

from excise.bench.frontier import at_own_size, frontiers
from excise.bench.leaderboard import leaderboard
from excise.bench.records import Cell, read_records
from excise.bench.sweep import run_sweep
from excise.cli.show import Json, print_board, print_frontiers, print_json, progress, stderr
from excise.cli.texts import find_concept
from excise.concepts import builtin_concepts
from excise.concepts.builtin import STARTERS
from excise.erasers import all_erasers, all_oracles
from excise.erasers.scaled import Scaled
from excise.models import DEFAULT_MODEL, capture, language_model
from excise.probes import panel
from excise.report import write_report
from excise.types import ConceptData, Encoder, Eraser, ExciseError, Oracle, Site


def bench(
    concepts: Annotated[str, typer.Option(help="Names, .jsonl files, or 'all', separated by commas.")] = ",".join(
        STARTERS
    ),
    erasers: Annotated[
        str,
        typer.Option(
            help="Class names (also of oracles) separated by commas, 'all' (every eraser: hours, the trained ones are "
            "slow), or 'none' for the unerased figure alone. Controls and LEACE are always added."
        ),
    ] = "Leace,MeanProjection,GaussianTransport",
    budgets: Annotated[
        str | None,
        typer.Option(
            help="Grade every eraser also scaled back to at most these many LEACE edits, separated by commas: "
            ".25,.5,1,2,4 draws the frontier of leakage against budget."
        ),
    ] = None,
    probes: Annotated[
        str,
        typer.Option(
            "--panel",
            help="Adversaries: study (SVM, forest), fast, full, or class names separated by commas.",
        ),
    ] = "fast",
    model: Annotated[str, typer.Option(help="Packaged model, Hugging Face id, or local folder.")] = DEFAULT_MODEL,
    site: Annotated[
        str, typer.Option(help="Module path or block number, and pooling: 14:mean, encoder.layer.3:last.")
    ] = "14:mean",
    seeds: Annotated[int, typer.Option(help="Repeat with this many seeds of splits and probes.", min=1)] = 1,
    out: Annotated[Path, typer.Option(help="Folder for records and report.html.")] = Path("results"),
    jobs: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = -1,
    force: Annotated[bool, typer.Option("--force", help="Grade again what has a record.")] = False,
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
    device: Annotated[str, typer.Option(help="Device of the forward pass, as torch names it.")] = "cpu",
    accept_terms: Annotated[bool, typer.Option("--accept-terms", help="Accept the model's terms of use.")] = False,
    json: Json = False,
) -> None:
    """Grade erasers on concepts: how much of each concept survives each eraser, and at what edit.

    Writes one record a cell as it goes. Stop it at any time: the next run computes only what is missing.
    """
    names = builtin_concepts() if concepts == "all" else tuple(concepts.split(","))
    found = [find_concept(name) for name in names]
    kinds: dict[str, type[Eraser] | type[Oracle]] = {**all_erasers(), **all_oracles()}
    named = {"all": list(all_erasers()), "none": ["NoEdit"]}.get(erasers, erasers.split(","))
    unknown = [name for name in named if name not in kinds]
    if unknown:
        raise ExciseError(f"no eraser {unknown[0]!r}; there are: {', '.join(kinds)}")
    always = {name for name, kind in kinds.items() if kind.control} | {"Leace"} if erasers != "none" else set()
    chosen = [name for name in kinds if name in named or name in always]
    methods = [kinds[name]() for name in chosen]
    asked = _read_budgets(budgets)
    methods += [Scaled(method, budget) for method in methods if _has_frontier(method) for budget in asked]
    adversaries = panel(probes)
    where = Site.parse(site)
    if where.pooling == "all":
        raise ExciseError("bench grades one row a text; choose the pooling 'mean' or 'last'")
    if jobs == 0:
        raise ExciseError("--jobs 0 would do nothing; give a number of processes, or -1 for one per core")
    if repeated := {c.name for c in found if [d.name for d in found].count(c.name) > 1}:
        raise ExciseError(f"two concepts are called {min(repeated)!r}; name the files differently")
    out.mkdir(parents=True, exist_ok=True)  # Before any work: a folder that cannot be written should fail now.
    lm = language_model(model, dtype, device, accept_terms)  # type: ignore[arg-type]  # checked inside

    with progress("reading activations") as step:
        texts = [text for concept in found for text in concept.texts]
        x = capture(lm, texts, [where], progress=step)[where].x
    cells, start = [], 0
    for concept in found:
        data = ConceptData.of(x[start : start + len(concept)], concept.labels, concept.groups, concept.name)
        start += len(concept)
        origin = {
            "model": lm.name,
            "revision": lm.revision,
            "dtype": lm.dtype,
            "site": str(where),
            "texts": concept.digest,
        }
        cells += [Cell(method, data, origin, adversaries, seed) for method in methods for seed in range(seeds)]
    with progress("grading") as step:
        errors = run_sweep(cells, out / "records", jobs=jobs, force=force, progress=step)
    for error in errors.values():
        stderr.print(f"not graded: {error}", markup=False)
    if len(errors) == len(cells):
        raise ExciseError("nothing could be graded; the reasons are above")
    records = read_records(out / "records", [cell.key for cell in cells])
    report = write_report(records, out / "report.html")
    grades = [record.grade for record in records]
    board, curves = leaderboard(at_own_size(grades)), frontiers(grades)
    if json:
        print_json({**asdict(board), "frontiers": [asdict(curve) for curve in curves]})
    else:
        print_board(board)
        print_frontiers(curves)
        print(f"Report: {report.resolve()}")
    if errors:
        raise typer.Exit(1)


def _read_budgets(text: str | None) -> list[float]:
    """ ".25,1" as numbers, smallest first.

    Raises:
        ExciseError: not numbers above 0.
    """
    found = set()
    for part in text.split(",") if text else ():
        try:
            budget = float(part)
        except ValueError:
            budget = nan
        if not 0 < budget < inf:
            raise ExciseError(f"--budgets has {part!r}; give multiples of LEACE's edit above 0, such as .25,.5,1,2,4")
        found.add(budget)
    return sorted(found)


def _has_frontier(method: Eraser | Oracle) -> TypeGuard[Eraser]:
    """Controls are references; oracles and encoders have no budget to keep to."""
    return isinstance(method, Eraser) and not isinstance(method, Encoder) and not method.control
