"""Arrays in the formats that users have: .npy, .safetensors, .csv."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from excise.types import ConceptData, ExciseError, check_activations, write_atomically

_FORMATS = ".npy, .safetensors (tensor 'x', or the only one) or .csv (numbers, with or without a header)"


def read_array(path: Path, name: str = "x") -> Tensor:
    """Numbers [n, d] in their own dtype. name: what errors call them.

    Raises:
        ExciseError: missing, truncated or foreign file, with what to do.
    """
    if path.suffix == ".npy":
        return check_activations(_named(path, _read_npy(path)), name)
    if path.suffix == ".safetensors":
        tensors = read_safetensors(path)
        if "x" in tensors or len(tensors) == 1:
            return check_activations(tensors.get("x", next(iter(tensors.values()))), name)
        raise ExciseError(f"{path}: holds {', '.join(tensors) or 'no tensors'}; name the activations 'x'")
    if path.suffix == ".csv":
        return check_activations(torch.tensor(_read_csv(path), dtype=torch.float64), name)
    raise ExciseError(f"{path}: unknown kind of file; give {_FORMATS}")


def read_column(path: Path, name: str) -> list[Any]:
    """One label or group a row: .npy [n], .safetensors with a tensor of that name, .csv with one column, or .txt
    lines."""
    if path.suffix == ".npy":
        values = _read_npy(path)
        if values.ndim != 1:
            raise ExciseError(f"{path}: has shape {values.shape}; {name} must be one value a row")
        return list(values.tolist())
    if path.suffix == ".safetensors":
        tensors = read_safetensors(path)
        if name not in tensors:
            raise ExciseError(f"{path}: has no tensor {name!r}; it holds {', '.join(tensors)}")
        if tensors[name].ndim != 1:
            raise ExciseError(
                f"{path}: tensor {name!r} has shape {tuple(tensors[name].shape)}; it must be one value a row"
            )
        return list(tensors[name].tolist())
    if path.suffix in (".csv", ".txt"):
        rows = [row for row in csv.reader(io.StringIO(_read_text(path))) if row]
        for number, row in enumerate(rows, 1):
            if len(row) != 1:
                raise ExciseError(f"{path}:{number}: has {len(row)} columns; {name} must be one value a row")
        lines = [row[0].strip() for row in rows]
        # A header, unless the same word is used as a label further down.
        if (
            lines
            and lines[0].lower() in (name, "label", "labels", "group", "groups", "z", "y")
            and lines[0] not in lines[1:]
        ):
            del lines[0]
        return lines
    raise ExciseError(f"{path}: unknown kind of file; give .npy, .safetensors, .csv or .txt")


def read_data(x: Path, labels: Path | None, groups: Path | None) -> ConceptData:
    """Activations with labels; a file that `excise capture` wrote holds both."""
    if labels is None and x.suffix != ".safetensors":
        raise ExciseError(f"{x} holds no labels; give them with --labels")
    z = read_column(labels or x, "z")
    found = read_column(groups, "group") if groups else None
    if groups is None and x.suffix == ".safetensors" and "group" in read_safetensors(x):
        found = read_column(x, "group")
    return ConceptData.of(read_array(x), z, found, name=x.stem)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file."""
    try:
        with safe_open(str(path), "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except (OSError, SafetensorError) as err:
        raise ExciseError(
            f"{path}: not a readable safetensors file ({err}); is it truncated or another format?"
        ) from err


def write_array(path: Path, x: Tensor) -> None:
    """Writes activations [n, d] in the format of the name, whole or not at all; .csv and .npy hold float32 for half
    precision."""
    if path.suffix == ".safetensors":
        content = save({"x": x.contiguous()})
    else:
        values = x.to(torch.promote_types(x.dtype, torch.float32)).numpy()
        buffer = io.BytesIO()
        if path.suffix == ".npy":
            np.save(buffer, values, allow_pickle=False)
        elif path.suffix == ".csv":
            np.savetxt(buffer, values, delimiter=",", fmt="%.9g")
        else:
            raise ExciseError(f"{path}: unknown kind of file; write {_FORMATS}")
        content = buffer.getvalue()
    write_atomically(path, content)


def check_writable(path: Path, *suffixes: str) -> None:
    """Refuses a name that could not be written, before any work is done."""
    if path.suffix not in suffixes:
        raise ExciseError(f"{path}: the name must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise ExciseError(f"{path}: is a folder; give a file name")


def _named(path: Path, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if values.dtype.kind not in "fiub":
        raise ExciseError(f"{path}: holds {values.dtype}, not numbers")
    return values


def _read_npy(path: Path) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError, BadZipFile) as err:
        raise ExciseError(
            f"{path}: not a readable .npy file ({err}); is it truncated, or an array of objects?"
        ) from err


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise ExciseError(f"{path}: cannot be read as text ({err})") from err


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _read_csv(path: Path) -> list[list[float]]:
    rows: list[list[float]] = []
    for number, line in enumerate(csv.reader(io.StringIO(_read_text(path))), 1):
        if not line:
            continue
        try:
            row = [float(value) for value in line]
        except ValueError as err:
            if number == 1 and not any(_is_number(value) for value in line):
                continue  # A header.
            raise ExciseError(f"{path}:{number}: {err}; every line must hold numbers only") from err
        if rows and len(row) != len(rows[0]):
            raise ExciseError(
                f"{path}:{number}: has {len(row)} columns, the lines before it {len(rows[0])}; is the file truncated?"
            )
        rows.append(row)
    if not rows:
        raise ExciseError(f"{path}: is empty; give one row of numbers a line")
    return rows
