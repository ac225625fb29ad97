"""Data and models that several tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from excise.types import ConceptData


def gaussian_classes(n: int, d: int, k: int = 2, gap: float = 3.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows of k Gaussian classes with other means and covariances, float64 [n, d] and int64 [n]; not centred."""
    g = torch.Generator().manual_seed(seed)
    z = torch.arange(n) % k
    means = gap * torch.randn(k, d, generator=g, dtype=torch.float64) / d**0.5
    mixing = torch.randn(k, d, d, generator=g, dtype=torch.float64) / d**0.5
    noise = torch.randn(n, d, generator=g, dtype=torch.float64)
    return 5.0 + means[z] + torch.einsum("nd,nde->ne", noise, mixing[z]), z


@pytest.fixture(scope="session")
def pairs() -> ConceptData:
    """200 pairs in 24 dimensions: small enough to grade in a second."""
    x, z = gaussian_classes(400, 24)
    return ConceptData.of(x.float(), z.tolist(), [i // 2 for i in range(400)], "synthetic")


WORDS = """the a cat dog sat ran on under mat road and then it was very old new red house tree""".split()  # noqa: SIM905


def _tokenizer():  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<pad>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of four architectures with random weights: three decoders and an encoder, each of 4 blocks."""
    import transformers as t

    n = len(WORDS) + 2
    small = {
        "vocab_size": n,
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    configs = {
        "llama": t.LlamaConfig(**small, num_key_value_heads=1, max_position_embeddings=64),
        "gpt2": t.GPT2Config(vocab_size=n, n_embd=16, n_layer=4, n_head=2, n_positions=64),
        "neox": t.GPTNeoXConfig(**small, max_position_embeddings=64),
        "bert": t.BertConfig(**small, max_position_embeddings=64),
    }
    folders = {}
    for name, config in configs.items():
        torch.manual_seed(0)
        folders[name] = tmp_path_factory.mktemp("models") / name
        t.AutoModel.from_config(config).save_pretrained(folders[name])
        _tokenizer().save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """60 texts of 2 to 12 known words, no two alike."""
    g = torch.Generator().manual_seed(1)
    lengths = torch.randint(2, 13, (60,), generator=g).tolist()
    return [" ".join(WORDS[i] for i in torch.randint(len(WORDS), (n,), generator=g).tolist()) for n in lengths]
