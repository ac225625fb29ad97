"""The concepts that come with Excise: NAME.jsonl holds the rows, NAME.toml the card."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files

from excise.concepts.reader import concept_from_rows
from excise.types import Card, Concept, ExciseError

_DATA = files("excise.concepts") / "data"
STARTERS = ("hedging", "numerical", "passive", "politeness", "sarcasm", "urgency")
"""What `excise bench` grades when no concept is named: enough to see the effect within minutes."""


def builtin_concepts() -> tuple[str, ...]:
    """Names of the built-in concepts, sorted."""
    return tuple(sorted(path.name.removesuffix(".toml") for path in _DATA.iterdir() if path.name.endswith(".toml")))


def load_concept(name: str) -> Concept:
    """Rows and card of a built-in concept; label 1 has the concept, label 0 does not, a group is a pair.

    Raises:
        ExciseError: no such concept.
    """
    if name not in builtin_concepts():
        raise ExciseError(
            f"no built-in concept {name!r}; there are: {', '.join(builtin_concepts())}. For your own, give a .jsonl "
            f"file"
        )
    lines = (_DATA / f"{name}.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
    rows = ((f"{name}.jsonl:{number}", json.loads(line)) for number, line in enumerate(lines, 1))
    return concept_from_rows(name, rows, read_card(name))


def read_card(name: str) -> Card:
    """The card alone, without reading the rows."""
    values = tomllib.loads((_DATA / f"{name}.toml").read_text(encoding="utf-8"))
    return Card(
        definition=values["definition"],
        counts=tuple(values["counts"]),
        does_not_count=tuple(values["does_not_count"]),
        neighbours=tuple(values["neighbours"]),
        lexical=values["lexical"],
        sentence_type=values["sentence_type"],
        shortcuts=tuple(values["shortcuts"]),
        length_auc=values.get("length_auc"),
        punctuation_auc=values.get("punctuation_auc"),
        words_auc=values.get("words_auc"),
        first_agreement=values.get("first_agreement"),
    )
