"""One handle for packaged models, Hugging Face ids and local folders."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from excise.models.packaged import PACKAGED, local_folder, quiet
from excise.types import ExciseError

DEFAULT_MODEL = "smollm2-135m-instruct"
Dtype = Literal["float32", "float16", "bfloat16"]


def cache_root() -> Path:
    """Where models and captures are kept: $EXCISE_CACHE, or `excise` in the user's cache folder."""
    chosen = os.environ.get("EXCISE_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "excise"


@dataclass(frozen=True)
class LanguageModel:
    """A model that loads its weights when they are first needed: with every text in the cache, it never does.

    Attributes:
        name: packaged model, Hugging Face id or folder.
        revision: changes whenever the weights do; part of every cache key.
        folder: what `from_pretrained` is given.
        dtype, device: of the forward pass; pooled activations are float32.
    """

    name: str
    revision: str
    dtype: Dtype = "float32"
    device: str = "cpu"
    folder: str = field(default="", repr=False)
    accept_terms: bool = field(default=False, repr=False)

    @cached_property
    def parts(self) -> tuple[Any, Any]:
        """(model without its head, tokenizer), in evaluation mode."""
        # Here, not at import time: transformers takes seconds to import.
        import torch
        import transformers

        packaged = PACKAGED.get(self.name)
        source = local_folder(packaged, cache_root() / "models", self.accept_terms) if packaged else self.folder
        revision = None if packaged or Path(self.folder).is_dir() else self.revision
        try:
            with quiet(transformers):
                tokenizer = transformers.AutoTokenizer.from_pretrained(source, revision=revision)
                model = transformers.AutoModel.from_pretrained(
                    source, revision=revision, dtype=getattr(torch, self.dtype)
                )
        except (OSError, ValueError, KeyError) as err:
            raise ExciseError(f"cannot load {self.name}: {str(err).strip().splitlines()[0]}. {_HELP}") from err
        model.config.use_cache = False
        tokenizer.padding_side = "right"  # Left padding shifts absolute positions in models that are not told of it.
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        try:
            return model.to(self.device).eval(), tokenizer
        except (RuntimeError, AssertionError) as err:
            raise ExciseError(f"cannot use the device {self.device!r}: {str(err).strip().splitlines()[0]}") from err


_HELP = (
    f"Give a packaged model ({', '.join(PACKAGED)}), a Hugging Face id that can be reached, or a folder with config, "
    "weights and tokenizer"
)


def language_model(
    name: str = DEFAULT_MODEL, dtype: Dtype = "float32", device: str = "cpu", accept_terms: bool = False
) -> LanguageModel:
    """Finds a model and its revision; weights are fetched and loaded when the first text is captured.

    Args:
        name: "smollm2-135m-instruct" (default), "gemma-3-270m", any Hugging Face id, or a local folder.
        dtype: "float32", "float16" or "bfloat16".
        device: as torch names it.
        accept_terms: for models whose terms must be accepted.

    Raises:
        ExciseError: unknown name or dtype, or a hub that cannot be reached.
    """
    if dtype not in get_args(Dtype):
        raise ExciseError(f"unknown dtype {dtype!r}; choose one of {', '.join(get_args(Dtype))}")
    if name in PACKAGED:
        return LanguageModel(name, PACKAGED[name].revision, dtype, device, accept_terms=accept_terms)
    if Path(name).is_dir():
        return LanguageModel(name, _folder_revision(Path(name)), dtype, device, folder=name)
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as err:
        raise ExciseError(f"no model {name!r}: {str(err).strip().splitlines()[0]}. {_HELP}") from err
    return LanguageModel(name, str(config._commit_hash), dtype, device, folder=name)


def _folder_revision(folder: Path) -> str:
    if not (folder / "config.json").exists():
        raise ExciseError(f"{folder} has no config.json. {_HELP}")
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        with path.open("rb") as file:
            digest.update(f"{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]
