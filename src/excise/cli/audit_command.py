"""`excise audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table

from excise.bench.audit import audit as run_audit
from excise.cli.arrays import read_array, read_data
from excise.cli.show import Json, console, figure, print_json, stderr
from excise.erasers.saving import load_map
from excise.probes import panel
from excise.types import ExciseError


def audit(
    x: Annotated[Path, typer.Argument(help="Activations before erasure [n, d]: .npy, .safetensors or .csv.")],
    labels: Annotated[
        Path | None, typer.Option(help="One label a row: .npy, .csv, .txt; not needed for a file of `excise capture`.")
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="Group of each row (pair, topic, person): such rows stay together.")
    ] = None,
    erased: Annotated[Path | None, typer.Option(help="The same rows after erasure, by any tool.")] = None,
    erasure: Annotated[
        Path | None, typer.Option("--map", help="Or a map that `excise fit` wrote, fitted on other rows.")
    ] = None,
    probes: Annotated[
        str, typer.Option("--panel", help="study, fast, full, or class names of probes separated by commas.")
    ] = "fast",
    seed: Annotated[int, typer.Option(help="Of splits and probes.", min=0)] = 0,
    json: Json = False,
) -> None:
    """Is it gone? Train every probe afresh on your erased activations and say what it reads.

    Use rows that the eraser was not fitted on: on its own rows any eraser looks better than it is.
    """
    if erased and erasure:
        raise ExciseError("give either --erased or --map")
    data = read_data(x, labels, groups)
    after = read_array(erased) if erased else None
    if erasure:
        with torch.inference_mode():
            after = load_map(erasure)(data.x)
    with stderr.status("training probes"):
        result = run_audit(data, after, probes=panel(probes), seed=seed)
    if json:
        print_json(result)
        return
    table = Table(
        title=f"{result.n} rows, {result.d} dimensions, {result.n_classes} classes; chance is {result.chance:.3f}"
    )
    table.add_column("probe")
    table.add_column("unerased", justify="right")
    if result.erased:
        table.add_column("erased", justify="right")
    for probe, before in result.unerased.items():
        table.add_row(
            probe + (" (strongest)" if probe == result.worst else ""),
            figure(before),
            *([figure(result.erased[probe])] if result.erased else []),
        )
    console.print(table)
    if result.budget is not None:
        print(f"Edit: {result.budget:.2f} times LEACE's on these rows.")
    print(f"Kernel two-sample test (MMD, labels permuted): p = {result.mmd_p:.3g}.")
    print(result.verdict)
