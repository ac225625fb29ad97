"""`excise fit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from excise.cli.arrays import check_writable, read_array, read_column, read_data
from excise.erasers import all_erasers, title_of
from excise.erasers.saving import save_map
from excise.erasers.scaled import Scaled
from excise.measures.edit import squared_edit
from excise.types import ConceptData, EncodingMap, ExciseError


def fit(
    x: Annotated[Path, typer.Argument(help="Activations [n, d]: .npy, .safetensors or .csv.")],
    out: Annotated[Path, typer.Option(help="File for the map, .safetensors.")],
    labels: Annotated[
        Path | None, typer.Option(help="One label a row: .npy, .csv, .txt; not needed for a file of `excise capture`.")
    ] = None,
    eraser: Annotated[str, typer.Option(help="Class name of the eraser.")] = "Leace",
    budget: Annotated[
        float | None, typer.Option(help="Scale it back to at most this many LEACE edits, measured on held-out rows.")
    ] = None,
    task: Annotated[
        Path | None, typer.Option(help="One label a row of a task to keep, for erasers that can (Splince, Taco...).")
    ] = None,
    background: Annotated[
        Path | None,
        typer.Option(help="Activations of other texts at the same site, for erasers that can (BudgetedTransport)."),
    ] = None,
) -> None:
    """Fit an eraser on activations and labels and save its map."""
    check_writable(out, ".safetensors")
    kinds = all_erasers()
    if eraser not in kinds:
        raise ExciseError(f"no eraser {eraser!r}; there are: {', '.join(kinds)}")
    data = read_data(x, labels, None)
    method = kinds[eraser]() if budget is None else Scaled(kinds[eraser](), budget)
    keep = None if task is None else ConceptData.of(data.x, read_column(task, "y")).z
    others = None if background is None else read_array(background, "background")
    erasure = method.fit(data.x, data.z, keep, data.groups, others)
    save_map(erasure, out)
    if isinstance(erasure, EncodingMap):
        size = f"the output is a space of its own, {erasure.d_out} dimensions"
    else:
        edit = squared_edit(data.x, erasure(data.x)).sum()
        share = float(edit / (data.x.double() - data.x.double().mean(dim=0)).square().sum())
        size = f"the edit is {share:.1%} of the variance"
    print(f"{out}: {title_of(method.name)} on {len(data)} rows, {data.x.shape[1]} dimensions; {size}")
    print("Audit it on rows that were not used here: excise audit X --labels Z --map " + str(out))
