"""JSON lines: one object with `text`, `label` and, where rows belong together, `group`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from excise.types import Card, Concept, ExciseError


def read_jsonl(path: str | Path) -> Concept:
    """Reads labelled texts; the concept is named after the file.

    Raises:
        ExciseError: missing, empty or truncated file, or a row without text or label: with file and line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")  # Not splitlines: JSON may hold U+2028.
    except (OSError, UnicodeDecodeError) as err:
        raise ExciseError(f"{path}: cannot be read as UTF-8 text ({err})") from err
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as err:
            last = " The last line may be truncated." if number == len(lines) else ""
            raise ExciseError(f"{path}:{number}: not JSON ({err.msg}); each line must be one object.{last}") from err
        if not isinstance(row, dict):
            raise ExciseError(
                f'{path}:{number}: must be an object like {{"text": "...", "label": 1}}, got {type(row).__name__}'
            )
        rows.append((f"{path}:{number}", row))
    return concept_from_rows(path.stem, rows)


def concept_from_rows(name: str, rows: Iterable[tuple[str, Mapping[str, Any]]], card: Card | None = None) -> Concept:
    """Checks rows, each with the place it came from, and numbers their labels in sorted order."""
    texts: list[str] = []
    labels: list[int | str] = []
    groups: list[str] = []
    topics: list[str] = []
    for place, row in rows:
        text, label = row.get("text"), row.get("label")
        if not isinstance(text, str) or not text.strip():
            raise ExciseError(f"{place}: 'text' is missing or empty (got {text!r}); drop the row or give it a text")
        if not isinstance(label, int | str) or label == "":
            raise ExciseError(f"{place}: 'label' must be a whole number or a word, got {label!r}")
        texts.append(text)
        labels.append(label)
        topics.append(str(row.get("topic") or ""))
        # Rows without a group stand alone; the prefix keeps them apart from any group that is a number.
        groups.append(f"group {row['group']}" if row.get("group") is not None else f"row {len(groups)}")
    if not texts:
        raise ExciseError(f"{name}: no rows; each line must hold an object with 'text' and 'label'")
    kinds = {type(label) for label in labels} - {bool}
    if len(kinds) > 1:
        raise ExciseError(f"{name}: labels mix numbers and words ({sorted(map(str, set(labels)))[:6]}); use one kind")
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise ExciseError(f"{name}: every row has the label {classes[0]!r}; a concept needs at least 2 classes")
    return Concept(
        name, tuple(texts), tuple(classes.index(label) for label in labels), tuple(groups), tuple(topics), card
    )
