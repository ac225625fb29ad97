"""Concepts: the built-in ones, files, datasets."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import excise.concepts
from excise.concepts import builtin_concepts, from_dataset, load_concept, read_jsonl
from excise.concepts.builtin import STARTERS, read_card
from excise.concepts.check import check_concept
from excise.types import Concept, ExciseError


@pytest.mark.parametrize("name", builtin_concepts())
def test_builtin_concepts_are_matched_pairs(name: str) -> None:
    concept = load_concept(name)
    pairs: dict[str, list[int]] = {}
    for group, label in zip(concept.groups, concept.labels, strict=True):
        pairs.setdefault(group, []).append(label)
    assert len(pairs) >= 120
    assert all(sorted(labels) == [0, 1] for labels in pairs.values())
    assert len(set(concept.texts)) == len(concept)
    assert all(8 <= len(text.split()) <= 40 for text in concept.texts)
    assert concept.card is not None
    assert len(concept.card.counts) >= 3
    assert len(concept.card.does_not_count) >= 3


@pytest.mark.parametrize("name", builtin_concepts())
def test_cards_name_neighbours_that_exist_and_what_a_blind_reader_said(name: str) -> None:
    card = read_card(name)
    assert card.neighbours
    assert set(card.neighbours) <= set(builtin_concepts()) - {name}
    assert card.first_agreement is not None
    assert card.first_agreement >= 0.95


def test_starters_are_there() -> None:
    assert set(STARTERS) <= set(builtin_concepts())
    with pytest.raises(ExciseError, match=r"no built-in concept 'irony'.*sarcasm"):
        load_concept("irony")


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_reads_json_lines(tmp_path: Path) -> None:
    rows = [
        {"text": "a b", "label": "yes", "group": 7},
        {"text": "c d", "label": "no"},
        {"text": "e f", "label": "yes", "group": 7},
    ]
    concept = read_jsonl(write(tmp_path / "mine.jsonl", rows[0], "", rows[1], rows[2]))
    assert concept.name == "mine"
    assert concept.labels == (1, 0, 1)
    assert concept.groups[0] == concept.groups[2] != concept.groups[1]


def test_line_separators_inside_a_text_are_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"text": "a\u2028b", "label": 1}\n{"text": "c\x85d", "label": 0}\n', encoding="utf-8")
    assert read_jsonl(path).texts == ("a\u2028b", "c\x85d")


def test_rows_without_group_never_share_one(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.jsonl",
        {"text": "a", "label": 0, "group": 1},
        {"text": "b", "label": 1},
        {"text": "c", "label": 1},
    )
    assert len(set(read_jsonl(path).groups)) == 3


GOOD = {"text": "a b", "label": 0}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no rows"),
        ([GOOD, '{"text": "a", "la'], ":2: not JSON.*truncated"),
        ([GOOD, ["a", 1]], ":2: must be an object"),
        ([GOOD, {"label": 1}], ":2: 'text' is missing"),
        ([GOOD, {"text": " ", "label": 1}], ":2: 'text' is missing or empty"),
        ([GOOD, {"text": "a"}], ":2: 'label' must be"),
        ([GOOD, {"text": "a", "label": None}], ":2: 'label' must be"),
        ([GOOD, {"text": "a", "label": 0.5}], ":2: 'label' must be"),
        ([GOOD, {"text": "a", "label": "one"}], "mix numbers and words"),
        ([GOOD, GOOD], "every row has the label 0"),
    ],
)
def test_bad_rows_name_file_and_line(tmp_path: Path, rows: list[object], words: str) -> None:
    with pytest.raises(ExciseError, match=words) as err:
        read_jsonl(write(tmp_path / "bad.jsonl", *rows))
    assert "bad" in str(err.value)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\x00\x81")
    for path in (tmp_path / "bytes.jsonl", tmp_path / "missing.jsonl"):
        with pytest.raises(ExciseError, match=path.name):
            read_jsonl(path)


@pytest.fixture
def dataset_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "reviews"
    folder.mkdir()
    rows = [{"sentence": f"review number {i}", "stars": i % 2, "author": i // 4} for i in range(20)]
    write(folder / "train.jsonl", *rows)
    write(folder / "test.jsonl", *rows[:6])
    return folder


def test_reads_a_hugging_face_dataset(dataset_folder: Path) -> None:
    columns = {"text": "sentence", "label": "stars", "group": "author"}
    concept = from_dataset(str(dataset_folder), **columns)  # type: ignore[arg-type]
    assert concept.name == "reviews"
    assert len(concept) == 20
    assert concept.texts[3] == "review number 3"
    assert concept.labels[:4] == (0, 1, 0, 1)
    assert len(set(concept.groups)) == 5
    assert len(from_dataset(str(dataset_folder), split="test", **columns)) == 6  # type: ignore[arg-type]
    assert len(from_dataset(str(dataset_folder), split="train[:8]", **columns)) == 8  # type: ignore[arg-type]


def test_dataset_errors(dataset_folder: Path) -> None:
    with pytest.raises(ExciseError, match="no column 'text'; it has sentence, stars, author"):
        from_dataset(str(dataset_folder))
    with pytest.raises(ExciseError, match="split 'dev'"):
        from_dataset(str(dataset_folder), split="dev")
    with pytest.raises(ExciseError, match="cannot load the dataset"):
        from_dataset(str(dataset_folder / "nothing-here"))


@pytest.fixture
def good() -> Concept:
    return load_concept("hedging")


def edited(concept: Concept, change: Callable[[str, int, int], str]) -> Concept:
    """The concept with every text passed through change(text, label, row)."""
    texts = (change(t, z, i) for i, (t, z) in enumerate(zip(concept.texts, concept.labels, strict=True)))
    return dataclasses.replace(concept, texts=tuple(texts))


@pytest.mark.parametrize("name", builtin_concepts())
def test_builtin_concepts_leave_no_shortcut(name: str) -> None:
    found, card = check_concept(load_concept(name)), read_card(name)
    assert found.problems == ()
    assert card.length_auc == pytest.approx(found.length_auc, abs=0.006)
    assert card.punctuation_auc == pytest.approx(found.punctuation_auc, abs=0.006)
    assert card.words_auc == pytest.approx(found.words_auc, abs=0.006)


def test_no_text_stands_in_two_concepts() -> None:
    texts = [text for name in builtin_concepts() for text in load_concept(name).texts]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, z, i: t + " and a few more words than before" * z, "shows in the length"),
        (lambda t, z, i: t.rstrip(".!?") + ("!" if z else "."), "final punctuation"),
        (lambda t, z, i: f"It is said {t}" if i % 20 == 0 else t, "open with 'it is said'"),
        (lambda t, z, i: f"{t} Verily, so." if z else f"{t} Quite, so.", "single words tell"),
        (lambda t, z, i: "Too short." if i == 5 else t, "row 5 has 2 words"),
        (
            lambda t, z, i: "The quick brown fox jumps over the lazy dog again." if i in (4, 40) else t,
            "rows 4 and 40 say",
        ),
        (
            lambda t, z, i: f"The quick brown fox jumps over the lazy dog {i}." if i in (4, 40) else t,
            "rows 4 and 40 say",
        ),
    ],
)
def test_each_limit_can_break(good: Concept, change: Callable[[str, int, int], str], words: str) -> None:
    problems = check_concept(edited(good, change)).problems
    assert any(words in problem for problem in problems), problems


def test_too_few_pairs_or_topics_and_odd_pairs(good: Concept) -> None:
    few = dataclasses.replace(
        good, texts=good.texts[:100], labels=good.labels[:100], groups=good.groups[:100], topics=("one",) * 100
    )
    problems = check_concept(few).problems
    assert any("50 pairs" in p for p in problems)
    assert any("1 topics" in p for p in problems)
    with pytest.raises(ExciseError, match="is not a pair"):
        check_concept(dataclasses.replace(good, labels=(1, 1, *good.labels[2:])))


def test_loading_all_is_fast_enough_to_do_at_will() -> None:
    """All rows are read in one pass without a model; the size on disk is bounded here, the time in docs/concepts.md."""
    folder = Path(excise.concepts.__file__).parent / "data"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6_000_000
