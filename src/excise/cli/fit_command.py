"""`excise fit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from excise.cli.arrays import check_writable, read_data
from excise.erasers import all_erasers
from excise.erasers.saving import save_map
from excise.measures.edit import squared_edit
from excise.types import ExciseError


def fit(
    x: Annotated[Path, typer.Argument(help="Activations [n, d]: .npy, .safetensors or .csv.")],
    out: Annotated[Path, typer.Option(help="File for the map, .safetensors.")],
    labels: Annotated[
        Path | None, typer.Option(help="One label a row: .npy, .csv, .txt; not needed for a file of `excise capture`.")
    ] = None,
    eraser: Annotated[str, typer.Option(help="Class name of the eraser.")] = "Leace",
) -> None:
    """Fit an eraser on activations and labels and save its map."""
    check_writable(out, ".safetensors")
    kinds = all_erasers()
    if eraser not in kinds:
        raise ExciseError(f"no eraser {eraser!r}; there are: {', '.join(kinds)}")
    data = read_data(x, labels, None)
    erasure = kinds[eraser]().fit(data.x, data.z)
    save_map(erasure, out)
    share = float(
        squared_edit(data.x, erasure(data.x)).sum() / (data.x.double() - data.x.double().mean(dim=0)).square().sum()
    )
    print(
        f"{out}: {kinds[eraser].title} on {len(data)} rows, {data.x.shape[1]} dimensions; the edit is {share:.1%} of "
        f"the variance"
    )
    print("Audit it on rows that were not used here: excise audit X --labels Z --map " + str(out))
