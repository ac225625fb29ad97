"""`excise apply`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from excise.cli.arrays import check_writable, read_array, write_array
from excise.erasers.saving import load_map


def apply(
    erasure: Annotated[Path, typer.Argument(metavar="MAP", help="A map that `excise fit` wrote.")],
    x: Annotated[Path, typer.Argument(help="Activations [n, d]: .npy, .safetensors or .csv.")],
    out: Annotated[Path, typer.Option(help="File for the erased activations, same formats.")],
) -> None:
    """Erase: apply a saved map to activations. Needs no labels."""
    check_writable(out, ".npy", ".safetensors", ".csv")
    with torch.inference_mode():
        erased = load_map(erasure)(read_array(x))
    write_array(out, erased)
    print(f"{out}: {erased.shape[0]} rows, {erased.shape[1]} dimensions")
