"""`excise diagnose`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from joblib import Parallel, delayed, parallel_config
from rich.table import Table

from excise.cli.arrays import check_writable, read_data
from excise.cli.show import Json, console, figure, print_json, progress
from excise.diagnose import CAUSES, Diagnosis
from excise.diagnose import diagnose as run_diagnosis
from excise.erasers import all_erasers, all_oracles, title_of
from excise.report import write_diagnosis
from excise.types import Eraser, ExciseError, Oracle


def diagnose(
    x: Annotated[
        list[Path],
        typer.Argument(help="Activations before erasure, one concept a file: of `excise capture`, or with --labels."),
    ],
    labels: Annotated[Path | None, typer.Option(help="One label a row, for a single file without labels.")] = None,
    groups: Annotated[Path | None, typer.Option(help="Group of each row (pair, topic, person).")] = None,
    eraser: Annotated[str, typer.Option(help="Class name of the eraser (or oracle).")] = "Leace",
    out: Annotated[Path, typer.Option(help="File for the page, .html.")] = Path("diagnosis.html"),
    seed: Annotated[int, typer.Option(help="Of splits, copies and probes.", min=0)] = 0,
    json: Json = False,
) -> None:
    """Why is it not gone? Split what probes still read by cause, and say what would help.

    The eraser is fitted here on part of the rows, and judged on the others, five times.
    """
    check_writable(out, ".html")
    if len(x) > 1 and (labels or groups):
        raise ExciseError("--labels and --groups go with one file; files of `excise capture` hold their own")
    kinds: dict[str, type[Eraser] | type[Oracle]] = {**all_erasers(), **all_oracles()}
    if eraser not in kinds:
        raise ExciseError(f"no eraser {eraser!r}; there are: {', '.join(kinds)}")
    data = [read_data(path, labels, groups) for path in x]
    found: list[Diagnosis] = []
    with progress("diagnosing") as step, parallel_config(backend="loky", inner_max_num_threads=1):
        running = Parallel(n_jobs=-1 if len(data) > 1 else 1, return_as="generator")
        for done, one in enumerate(running(delayed(run_diagnosis)(kinds[eraser](), d, seed=seed) for d in data), 1):
            found.append(one)
            step(done, len(data))
    write_diagnosis(found, out)
    if json:
        print_json([asdict(one) | {"main_cause": one.ladder.main_cause} for one in found])
        return
    for one in found:
        steps = one.ladder
        table = Table(
            title=f"{steps.concept} after {title_of(steps.eraser)}, fitted on {steps.n_fit} rows: "
            f"{figure(steps.erased)} (unerased {figure(steps.unerased)}, chance {steps.chance:.3f})"
        )
        table.add_column("cause")
        table.add_column("points over chance", justify="right")
        table.add_column("share", justify="right")
        for cause in CAUSES:
            share = steps.share(cause)
            table.add_row(cause, figure(steps.excess[cause]), "" if share != share else f"{share:.0%}")
        console.print(table)
        console.print(f"With class means made equal on these very rows: {figure(steps.mean_free)}.")
        console.print(f"Control: copies whose classes differ in nothing read {figure(steps.class_free)}.")
        console.print(one.verdict)
    print(f"Page: {out.resolve()}")
