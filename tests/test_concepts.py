"""Concepts: the built-in ones, files, datasets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from excise.concepts import builtin_concepts, from_dataset, load_concept, read_jsonl
from excise.concepts.builtin import STARTERS
from excise.types import ExciseError


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
