"""A problem with its baselines, and a folder to put records in."""

from __future__ import annotations

from pathlib import Path

import pytest

from excise.arena import Private, prepare_rows
from excise.bench import grade
from excise.bench.grade import Grade
from excise.erasers import Leace, NoEdit
from excise.probes import Linear
from excise.types import ConceptData
from tests.arena.records import Folder, by_two

PANEL = (Linear(),)


@pytest.fixture(scope="session")
def tried(pairs: ConceptData) -> Private:
    return prepare_rows(pairs, ["a text"] * len(pairs), {"model": "tiny", "site": "2:mean"}, 0)[1]


@pytest.fixture(scope="session")
def beside(tried: Private) -> dict[str, dict[str, Grade]]:
    return {
        part: {
            kind.__name__: by_two(grade(kind(), tried.data, probes=PANEL, splits=tried.splits(part)))
            for kind in (NoEdit, Leace)
        }
        for part in ("feedback", "select", "report")
    }


@pytest.fixture
def folder(tmp_path: Path, tried: Private, beside: dict[str, dict[str, Grade]]) -> Folder:
    return Folder(tmp_path / "arena", tried, beside)
