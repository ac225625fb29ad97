"""`excise capture`."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save

from excise.cli.arrays import check_writable
from excise.cli.show import progress
from excise.cli.texts import find_concept
from excise.concepts import from_dataset
from excise.models import DEFAULT_MODEL, language_model
from excise.models import capture as read_activations
from excise.types import ExciseError, Site, write_atomically


def capture(
    out: Annotated[Path, typer.Option(help="File to write, .safetensors: x [rows, d], z, group, text.")],
    concept: Annotated[
        str, typer.Option(help="Built-in concept or .jsonl file with text, label, optional group.")
    ] = "",
    dataset: Annotated[str, typer.Option(help="Hugging Face dataset id or folder, instead of --concept.")] = "",
    split: Annotated[str, typer.Option(help="With --dataset: split, also a slice like train[:1000].")] = "train",
    text: Annotated[str, typer.Option(help="With --dataset: column with the text.")] = "text",
    label: Annotated[str, typer.Option(help="With --dataset: column with the label.")] = "label",
    group: Annotated[str, typer.Option(help="With --dataset: column with the group, if there is one.")] = "",
    model: Annotated[str, typer.Option(help="Packaged model, Hugging Face id, or local folder.")] = DEFAULT_MODEL,
    site: Annotated[str, typer.Option(help="Module path or block number, and pooling: mean, last or all.")] = "14:mean",
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
    device: Annotated[str, typer.Option(help="Device of the forward pass, as torch names it.")] = "cpu",
    accept_terms: Annotated[bool, typer.Option("--accept-terms", help="Accept the model's terms of use.")] = False,
) -> None:
    """Write a model's activations on labelled texts to one file, ready for fit, apply and audit."""
    check_writable(out, ".safetensors")
    if bool(concept) == bool(dataset):
        raise ExciseError("give the texts either with --concept or with --dataset")
    found = (
        find_concept(concept)
        if concept
        else from_dataset(dataset, split=split, text=text, label=label, group=group or None)
    )
    where = Site.parse(site)
    lm = language_model(model, dtype, device, accept_terms)  # type: ignore[arg-type]  # checked inside
    with progress("reading activations") as step:
        captured = read_activations(lm, found.texts, [where], progress=step)[where]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(found.groups))}
    tensors = {
        "x": captured.x,
        "z": torch.tensor(found.labels)[captured.text],
        "group": torch.tensor([numbers[name] for name in found.groups])[captured.text],
        "text": captured.text,
    }
    header = {
        "concept": found.name,
        "model": lm.name,
        "revision": lm.revision,
        "site": str(where),
        "texts": found.digest,
    }
    write_atomically(out, save(tensors, {"excise": jsonlib.dumps(header)}))
    print(f"{out}: {captured.x.shape[0]} rows, {captured.x.shape[1]} dimensions, {found.name} at {where} of {lm.name}")
