"""Where labelled texts come from on the command line."""

from __future__ import annotations

from pathlib import Path

from excise.concepts import load_concept, read_jsonl
from excise.types import Concept


def find_concept(name: str) -> Concept:
    """A built-in concept by name, or a .jsonl file."""
    return read_jsonl(Path(name)) if name.endswith(".jsonl") else load_concept(name)
