"""What is refused before anything runs, each with its code and advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from excise.arena import Refused, Submission, Verdict
from tests.arena.sources import IDENTITY, SOUND


def refusal(path: Path) -> Refused:
    with pytest.raises(Refused) as caught:
        Submission.read(path)
    assert caught.value.verdict.advice in str(caught.value)
    return caught.value


def test_a_file_or_a_folder_with_one(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no code")
    (tmp_path / "mine.py").write_text(SOUND)
    assert Submission.read(tmp_path) == Submission.read(tmp_path / "mine.py")


def test_the_digest_is_of_what_was_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOUND)
    read = Submission.read(file)
    before = read.sha256
    file.write_text(IDENTITY)
    assert read.sha256 == Submission(SOUND.encode()).sha256 == before
    assert Submission.read(file).sha256 != before


def test_no_file_and_two_files(tmp_path: Path) -> None:
    assert refusal(tmp_path).verdict is Verdict.NO_FILE
    assert refusal(tmp_path / "mine.py").verdict is Verdict.NO_FILE
    for name in "ab":
        (tmp_path / f"{name}.py").write_text(IDENTITY)
    refused = refusal(tmp_path)
    assert refused.verdict is Verdict.TWO_FILES
    assert "a.py, b.py" in refused.detail


@pytest.mark.parametrize(
    ("content", "verdict", "said"),
    [
        (b"", Verdict.MISSING_FUNCTION, "fit and transform"),
        (b"def fit(x, z, budget, seed): ...", Verdict.MISSING_FUNCTION, "transform"),
        (b"class A:\n def fit(): ...\n def transform(): ...", Verdict.MISSING_FUNCTION, "fit and transform"),
        (b"x = 1\ndef fit(:", Verdict.SYNTAX_ERROR, "line 2"),
        (b"# -*- coding: nonsense -*-", Verdict.SYNTAX_ERROR, "nonsense"),
        (b"x = " + b"-" * 100_000 + b"1", Verdict.SYNTAX_ERROR, "deeply"),
        (b"x = 1" + b"+1" * 100_000, Verdict.SYNTAX_ERROR, "deeply"),
        ("naïve = 1".encode("latin-1"), Verdict.NOT_TEXT, "byte 2"),
        (IDENTITY.encode() + b"\0", Verdict.NOT_TEXT, "NUL"),
        (b"#" * 1_000_001, Verdict.TOO_LARGE, "1000000"),
    ],
    ids=lambda value: value.value if isinstance(value, Verdict) else "",
)
def test_bad_files(tmp_path: Path, content: bytes, verdict: Verdict, said: str) -> None:
    (tmp_path / "mine.py").write_bytes(content)
    refused = refusal(tmp_path / "mine.py")
    assert refused.verdict is verdict
    assert said in refused.detail


def test_fifty_megabytes_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "mine.py").open("wb") as file:
        file.truncate(50 << 20)
    assert refusal(tmp_path).verdict is Verdict.TOO_LARGE


def test_functions_may_be_bound_in_other_ways() -> None:
    Submission(b"from os.path import join as fit\ntransform = lambda arrays, x: x").check()


def test_every_verdict_has_advice() -> None:
    assert len({verdict.advice for verdict in Verdict}) == len(Verdict)
