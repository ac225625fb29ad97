"""A concept: labelled texts and the card that says what they are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Card:
    """What a reader needs to label a text, and what a lazy probe could use instead of the concept."""

    definition: str
    counts: tuple[str, ...] = ()
    does_not_count: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    lexical: bool = False
    sentence_type: bool = False
    shortcuts: tuple[str, ...] = ()
    length_auc: float | None = None
    """Measured strength of three shortcuts, as `excise concepts check` prints them: AUC of the label, 0.5 is none."""
    punctuation_auc: float | None = None
    words_auc: float | None = None
    first_agreement: float | None = None
    """Share of 40 rows that a blind reader of this card labelled as the writer did, before any row was mended."""


@dataclass(frozen=True)
class Concept:
    """Labelled texts. All tuples have one entry a row.

    Attributes:
        labels: class of each row, 0 .. k-1.
        groups: rows of one group (a pair, a topic, paraphrases) are never split between fit, probe and test rows.
        topics: what each text is about; "" where that is not known.
    """

    name: str
    texts: tuple[str, ...]
    labels: tuple[int, ...]
    groups: tuple[str, ...]
    topics: tuple[str, ...]
    card: Card | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def digest(self) -> str:
        """sha256 of rows and labels in order: two concepts with one digest hold the same data."""
        rows = [self.texts, self.labels, self.groups]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()
