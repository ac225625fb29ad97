"""`excise arena`, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from excise.arena.records import read_scores
from excise.arena.sandbox import SandboxError, find_sandbox
from tests.arena.sources import CONSTANT, SOUND, source
from tests.test_cli import excise, ok


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, sentences: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("arena")
    rows = [
        {"text": f"{word} {s}", "label": label, "group": f"{i} {start}"}
        for i, s in enumerate(sentences)
        for start in ("old", "new", "red", "very")
        for label, word in enumerate((f"the cat {start}", f"a dog {start}"))
    ]
    (folder / "animals.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "sound.py").write_text(SOUND)
    (folder / "constant.py").write_text(CONSTANT)
    return folder


@pytest.fixture
def closed() -> None:
    try:
        find_sandbox()
    except SandboxError as err:
        pytest.skip(str(err))


def test_prepare(files: Path, tiny_models: dict[str, Path]) -> None:
    where = ("--model", tiny_models["llama"], "--site", "2:mean")
    ok("arena", "prepare", files / "animals.jsonl", files / "task", *where)
    assert "one Python file" in (files / "task" / "task.md").read_text()
    assert len((files / "task" / "texts.jsonl").read_text().splitlines()) == 96


@pytest.fixture
def place(files: Path, tiny_models: dict[str, Path]) -> tuple[object, ...]:
    return ("--concept", files / "animals.jsonl", "--model", tiny_models["llama"], "--site", "2:mean")


@pytest.mark.usefixtures("closed")
def test_a_broken_submission_has_its_code_and_record(files: Path, place: tuple[object, ...]) -> None:
    (files / "broken.py").write_text(source(transform="return 1 / 0"))
    done = excise("arena", "score", files / "broken.py", *place, "--out", files / "broken")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stdout
    assert "transform_raised" in done.stdout
    (record,) = read_scores(files / "broken")
    assert record.score.verdict == "transform_raised"


@pytest.mark.slow
@pytest.mark.usefixtures("closed")
def test_score_and_evaluate(files: Path, place: tuple[object, ...]) -> None:
    out = ok("arena", "score", files / "sound.py", *place, "--part", "select", "--out", files / "records")
    assert "submission" in out
    assert "Chance is 0.500" in out
    (record,) = read_scores(files / "records")
    assert record.score.part == "select"
    assert f"{record.key}.json" in out
    heard = excise("arena", "evaluate", files / "constant.py", *place, "--json")
    assert heard.returncode == 1
    assert json.loads(heard.stdout)["verdict"] == "total_damage"


def test_bad_files_are_one_line_of_advice(files: Path) -> None:
    done = excise("arena", "score", files / "none.py", "--concept", "hedging")
    assert done.returncode == 2
    assert "no_file" in done.stderr
    assert "Write one Python file" in done.stderr
    assert "Traceback" not in done.stderr
