"""Concepts out of Hugging Face datasets (extra `excise[datasets]`)."""

from __future__ import annotations

from excise.concepts.reader import concept_from_rows
from excise.types import Concept, ExciseError


def from_dataset(
    path: str, *, split: str = "train", text: str = "text", label: str = "label", group: str | None = None
) -> Concept:
    """Labelled texts of any dataset that `datasets.load_dataset` finds: a hub id or a local folder.

    Args:
        split: which split, also a slice such as "train[:1000]".
        text, label, group: names of the columns.

    Raises:
        ExciseError: `datasets` is not installed, the dataset cannot be loaded, or a column is missing.
    """
    try:
        import datasets
    except ImportError as err:
        raise ExciseError("reading Hugging Face datasets needs an extra: pip install 'excise[datasets]'") from err
    try:
        table = datasets.load_dataset(path, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as err:
        raise ExciseError(
            f"cannot load the dataset {path!r}, split {split!r}: {str(err).strip().splitlines()[0]}"
        ) from err
    columns = {"text": text, "label": label} | ({"group": group} if group else {})
    for column in columns.values():
        if column not in table.column_names:
            raise ExciseError(f"{path} has no column {column!r}; it has {', '.join(table.column_names)}")
    rows = ((f"{path}[{i}]", {ours: row[theirs] for ours, theirs in columns.items()}) for i, row in enumerate(table))
    return concept_from_rows(path.rstrip("/").rsplit("/", 1)[-1], rows)
