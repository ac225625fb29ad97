"""Maps on disk."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import excise
from excise.erasers import Leace
from excise.types import ErasureMap, ExciseError
from tests.conftest import gaussian_classes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    excise.save(Leace().fit(*gaussian_classes(100, 8)), tmp_path / "map.safetensors")
    return tmp_path / "map.safetensors"


def test_header_is_readable(path: Path) -> None:
    with safe_open(path, "pt") as file:
        header = file.metadata()
    assert header["map"] == "LowRankMap"
    assert json.loads(header["provenance"]) == {"eraser": "Leace", "settings": {"shrinkage": True}, "n": 100, "d": 8}


def test_truncated_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ExciseError, match="truncated"):
        excise.load(path)


def test_foreign_files(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ExciseError, match="not an erasure map"):
        excise.load(tmp_path / "other.safetensors")
    (tmp_path / "pickled").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ExciseError, match="not a readable safetensors"):
        excise.load(tmp_path / "pickled")
    with pytest.raises(ExciseError, match="no such file"):
        excise.load(tmp_path / "missing")


def test_wrong_tensors_under_a_right_header(tmp_path: Path) -> None:
    header = {"format": "excise-map-1", "map": "LowRankMap", "provenance": "{}"}
    save_file({"mean": torch.ones(3)}, tmp_path / "half.safetensors", header)
    with pytest.raises(ExciseError, match="damaged"):
        excise.load(tmp_path / "half.safetensors")


def test_a_map_that_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    class Mine(ErasureMap):
        d = 3

        def _map(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with pytest.raises(ExciseError, match="could not rebuild"):
        excise.save(Mine(), tmp_path / "mine.safetensors")
    assert not list(tmp_path.iterdir())
