"""Is a concept's text file fit to be a benchmark? Everything but the concept must leave the label open."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from excise.types import Concept, ExciseError

MIN_PAIRS = 300
WORDS = (8, 40)
MIN_TOPICS = 25
NEAR_DUPLICATE = 0.7
"""Jaccard overlap of character 5-grams."""
LENGTH_AUC = (0.42, 0.58)
MAX_OPENING = 0.03
PUNCTUATION_AUC = (0.4, 0.6)
MAX_WORDS_AUC = 0.95
_FOLDS = 5


@dataclass(frozen=True)
class Shortcuts:
    """What a lazy probe could use, and what is wrong with the file.

    Attributes:
        length_auc: of the number of words; 0.5 says nothing about the label.
        opening: share of rows that begin with the commonest three words.
        punctuation_auc: of the last character, cross-validated.
        words_auc: of a logistic regression on single words, cross-validated with pairs kept together.
        problems: limits that are not kept, in words.
    """

    name: str
    pairs: int
    topics: int
    length_auc: float
    opening: float
    punctuation_auc: float
    words_auc: float
    problems: tuple[str, ...]


def check_concept(concept: Concept) -> Shortcuts:
    """Measures the shortcuts of a concept that is made of pairs, and lists what breaks a limit.

    Raises:
        ExciseError: rows that are not pairs of one positive and one negative.
    """
    texts, z = list(concept.texts), np.asarray(concept.labels)
    sides: dict[str, list[int]] = {}
    for group, label in zip(concept.groups, concept.labels, strict=True):
        sides.setdefault(group, []).append(label)
    odd = [group for group, labels in sides.items() if sorted(labels) != [0, 1]]
    if odd:
        raise ExciseError(f"{concept.name}: {odd[0]} is not a pair of one positive and one negative row")
    if len(sides) < _FOLDS:
        raise ExciseError(f"{concept.name}: has {len(sides)} pairs; {_FOLDS} are the least that can be checked")
    groups = np.unique(np.asarray(concept.groups), return_inverse=True)[1]
    lengths = np.array([len(text.split()) for text in texts])
    openings = Counter(" ".join(_words(text)[:3]) for text in texts)
    opening, times = openings.most_common(1)[0]
    last = np.array([[text[-1] == mark for mark in sorted({t[-1] for t in texts})] for text in texts], dtype=float)
    words = make_pipeline(
        CountVectorizer(binary=True, token_pattern=r"(?u)\b\w[\w']*\b"), LogisticRegression(max_iter=2000)
    )
    found = Shortcuts(
        name=concept.name,
        pairs=len(sides),
        topics=len(set(concept.topics)),
        length_auc=float(roc_auc_score(z, lengths)),
        opening=times / len(texts),
        punctuation_auc=_auc(LogisticRegression(), last, z, groups),
        words_auc=_auc(words, texts, z, groups),
        problems=(),
    )
    card = concept.card
    limits = {
        f"{found.pairs} pairs; at least {MIN_PAIRS} are needed": found.pairs < MIN_PAIRS,
        f"{found.topics} topics; at least {MIN_TOPICS} are needed": found.topics < MIN_TOPICS,
        f"the label shows in the length (AUC {found.length_auc:.2f})": not _within(found.length_auc, LENGTH_AUC),
        f"{found.opening:.1%} of rows open with '{opening}'": found.opening > MAX_OPENING,
        f"the label shows in the final punctuation (AUC {found.punctuation_auc:.2f})": not _within(
            found.punctuation_auc, PUNCTUATION_AUC
        )
        and not (card and card.sentence_type),
        f"single words tell the label (AUC {found.words_auc:.2f}) and the card does not call the concept lexical": (
            found.words_auc > MAX_WORDS_AUC and not (card and card.lexical)
        ),
    }
    problems = [words for words, broken in limits.items() if broken]
    problems += [f"row {i} has {n} words: {texts[i][:50]!r}" for i, n in enumerate(lengths) if not _within(n, WORDS)]
    problems += [f"rows {a} and {b} say nearly the same: {texts[b][:50]!r}" for a, b in near_duplicates(texts, groups)]
    return Shortcuts(**{**vars(found), "problems": tuple(problems)})


def near_duplicates(texts: list[str], groups: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Row numbers of texts outside one pair that share too many character 5-grams, copies among them."""
    grams = CountVectorizer(analyzer="char", ngram_range=(5, 5), binary=True, dtype=np.int32).fit_transform(texts)
    shared = (grams @ grams.T).tocoo()
    sizes = np.asarray(grams.sum(axis=1)).ravel()
    later = shared.row > shared.col
    a, b, both = shared.col[later], shared.row[later], shared.data[later]
    close = (both > NEAR_DUPLICATE * (sizes[a] + sizes[b] - both)) & (groups[a] != groups[b])
    return list(zip(a[close].tolist(), b[close].tolist(), strict=True))


def _auc(model: LogisticRegression, x: object, z: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]) -> float:
    scores = cross_val_predict(model, x, z, groups=groups, cv=GroupKFold(_FOLDS), method="predict_proba")[:, 1]
    return float(roc_auc_score(z, scores))


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
