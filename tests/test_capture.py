"""Capture: the right activations, once, on any architecture."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from excise.models import capture, language_model
from excise.models.cache import CaptureCache
from excise.models.capture import BATCH_TOKENS, _mean_weights, length_batches
from excise.types import ExciseError, Site

BLOCKS = {"llama": "layers.{}", "gpt2": "h.{}", "neox": "layers.{}", "bert": "encoder.layer.{}"}


@pytest.mark.parametrize("name", list(BLOCKS))
@pytest.mark.parametrize("pooling", ["mean", "last", "all"])
def test_equals_a_plain_full_pass(
    tiny_models: dict[str, Path], sentences: list[str], tmp_path: Path, name: str, pooling: str
) -> None:
    """Against `output_hidden_states`, one text at a time, in the texts' own order, pooled by hand."""
    folder = tiny_models[name]
    sites = [Site(BLOCKS[name].format(1), pooling), Site("2", pooling)]  # type: ignore[arg-type]
    got = capture(language_model(str(folder)), sentences, sites, cache=tmp_path)
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for site, block in zip(sites, (1, 2), strict=True):
        expected = []
        for text in sentences:
            with torch.no_grad():
                hidden = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[
                    block + 1
                ][0]
            expected.append({"mean": hidden[1:].mean(dim=0)[None], "last": hidden[-1:], "all": hidden}[pooling])
        assert torch.allclose(got[site].x, torch.cat(expected), atol=1e-5)
        assert got[site].text.tolist() == [i for i, rows in enumerate(expected) for _ in rows]


def test_sinks_stay_out_of_the_mean() -> None:
    norms = torch.tensor([[900.0, 1, 1.2, 0.9, 1], [900.0, 850, 1, 1.1, 1], [1.0, 2, 1, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    expected = [[0, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 1, 1, 0, 0]]
    assert _mean_weights(norms, mask).tolist() == expected


def test_batches_hold_every_text_once_and_little_padding() -> None:
    lengths = torch.randint(3, 60, (1000,), generator=torch.Generator().manual_seed(0)).tolist()
    batches = list(length_batches(lengths))
    assert sorted(i for batch in batches for i in batch) == list(range(1000))
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
    assert padded < 1.05 * sum(lengths)
    assert all(max(lengths[i] for i in batch) * len(batch) <= BATCH_TOKENS for batch in batches)


def test_second_call_loads_no_weights(tiny_models: dict[str, Path], sentences: list[str], tmp_path: Path) -> None:
    site = Site("2")
    first = capture(language_model(str(tiny_models["llama"])), sentences, [site], cache=tmp_path)[site].x
    fresh = language_model(str(tiny_models["llama"]))
    again = capture(fresh, sentences[::-1], [site], cache=tmp_path)[site].x
    assert torch.equal(again, first.flip(0))
    assert "parts" not in vars(fresh)


def test_only_new_texts_are_computed(tiny_models: dict[str, Path], sentences: list[str], tmp_path: Path) -> None:
    model, steps = language_model(str(tiny_models["llama"])), []
    capture(model, sentences[:40], [Site("1")], cache=tmp_path)
    capture(model, [*sentences, sentences[0]], [Site("1")], cache=tmp_path, progress=lambda done, of: steps.append(of))
    assert set(steps) == {20}


def test_other_weights_dtype_or_site_is_another_capture(
    tiny_models: dict[str, Path], sentences: list[str], tmp_path: Path
) -> None:
    def folders() -> int:
        return len(list(tmp_path.iterdir()))

    for model in (
        language_model(str(tiny_models["llama"])),
        language_model(str(tiny_models["llama"]), dtype="bfloat16"),
    ):
        capture(model, sentences[:5], [Site("1"), Site("1", "last")], cache=tmp_path)
    assert folders() == 4
    copy = tiny_models["llama"].parent / "copy"
    AutoModel.from_pretrained(tiny_models["llama"]).save_pretrained(copy)
    AutoTokenizer.from_pretrained(tiny_models["llama"]).save_pretrained(copy)
    module = AutoModel.from_pretrained(copy)
    module.embed_tokens.weight.data += 0.1
    module.save_pretrained(copy)
    capture(language_model(str(copy)), sentences[:5], [Site("1")], cache=tmp_path)
    assert folders() == 5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_gives_float32_rows(
    tiny_models: dict[str, Path], sentences: list[str], tmp_path: Path, dtype: str
) -> None:
    site = Site("3")
    half = capture(language_model(str(tiny_models["llama"]), dtype=dtype), sentences, [site], cache=tmp_path)[site].x  # type: ignore[arg-type]
    full = capture(language_model(str(tiny_models["llama"])), sentences, [site], cache=tmp_path)[site].x
    assert half.dtype == torch.float32
    assert (half - full).norm() < 0.05 * full.norm()


def _write_for_ever(folder: str, worker: int) -> None:
    cache = CaptureCache(Path(folder), ["key"])
    number = 0
    while True:
        texts = [f"text {(number + i) % 50}" for i in range(10)]
        cache.write([(text, torch.full((1, 20_000), float(text.split()[1]))) for text in texts])
        number += 7 + worker


def test_two_writers_killed_in_the_middle(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_for_ever, args=(str(tmp_path), w)) for w in (0, 1)]
    for writer in writers:
        writer.start()
    deadline = time.time() + 60
    while len(list(tmp_path.rglob("*.safetensors"))) < 15 and time.time() < deadline:
        time.sleep(0.01)
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)  # type: ignore[arg-type]
        writer.join()
    cache = CaptureCache(tmp_path, ["key"])
    known = [f"text {i}" for i in range(50) if not cache.missing([f"text {i}"])]
    assert known
    rows, lengths = cache.read(known)
    assert rows[:, 0].tolist() == rows[:, -1].tolist() == [float(text.split()[1]) for text in known]
    assert lengths.tolist() == [1] * len(known)


def test_a_damaged_shard_is_captured_again(tiny_models: dict[str, Path], sentences: list[str], tmp_path: Path) -> None:
    model = language_model(str(tiny_models["llama"]))
    first = capture(model, sentences, [Site("1")], cache=tmp_path)[Site("1")].x
    shard = next(tmp_path.rglob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-100])
    assert torch.equal(capture(model, sentences, [Site("1")], cache=tmp_path)[Site("1")].x, first)


@pytest.mark.parametrize(
    ("texts", "site", "words"),
    [
        (["the cat", " "], "1", "text 1 is empty"),
        (["the cat", None], "1", "text 1 is empty or not a string"),
        ([], "1", "no texts"),
        ("the cat", "1", "no texts"),
        (["the cat", "dog"], "1", "text 1 .*mean pooling"),
        (["the cat", "the " * 80], "1", "text 1 has 80 tokens and the model takes 64"),
        (["the cat"], "9", "blocks 0 to 3"),
        (["the cat"], "layers.9", "no module 'layers.9'; there are: .*layers.0"),
        (["the cat"], "embed_tokens_2", "no module"),
    ],
)
def test_bad_input_names_the_row(
    tiny_models: dict[str, Path], tmp_path: Path, texts: list[str], site: str, words: str
) -> None:
    with pytest.raises(ExciseError, match=words):
        capture(language_model(str(tiny_models["llama"])), texts, [Site(site)], cache=tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_overflow_names_the_text(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    folder = tiny_models["llama"].parent / "huge"
    module = AutoModel.from_pretrained(tiny_models["llama"])
    module.embed_tokens.weight.data[2 + 2] = 60_000.0  # "cat"
    module.layers[0].mlp.down_proj.weight.data *= 1e7
    module.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_models["llama"]).save_pretrained(folder)
    with pytest.raises(ExciseError, match="overflow in float16; capture in float32"):
        capture(language_model(str(folder), dtype="float16"), ["the cat sat"], [Site("1")], cache=tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("name", "dtype", "words"),
    [
        ("no/such-model-here", "float32", "no model"),
        ("smollm2-135m-instruct", "int8", "unknown dtype"),
        ("tests", "float32", "config.json"),
    ],
)
def test_unknown_models_say_what_to_give(name: str, dtype: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ExciseError, match=words):
        language_model(name, dtype=dtype)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "14:median"])
def test_sites(text: str) -> None:
    assert str(Site.parse("14")) == "14:mean"
    assert Site.parse("encoder.layer.3:last") == Site("encoder.layer.3", "last")
    with pytest.raises(ExciseError):
        Site.parse(text)
