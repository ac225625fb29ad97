"""Activations of texts at sites, in one truncated forward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from excise.models.cache import CaptureCache
from excise.models.language_model import LanguageModel, cache_root
from excise.types import ExciseError, Site

BATCH_TOKENS = 1024  # Past about a thousand tokens a batch, 2 cores gain nothing more; padding grows with the batch.
# Times the text's median norm; benchmarks/attention_sinks.py: no ordinary token is over 8.2, sinks reach 148.
SINK_NORM = 10.0
_SHARD_TEXTS = 512  # What a killed capture loses at most.


@dataclass(frozen=True)
class Capture:
    """Activations at one site.

    Attributes:
        x: float32 [rows, d]; one row a text, or one a token with "all" pooling.
        text: number of the text of each row, int64 [rows].
    """

    x: Tensor
    text: Tensor


def capture(
    model: LanguageModel,
    texts: Sequence[str],
    sites: Sequence[Site],
    *,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[Site, Capture]:
    """Reads activations at every site in one pass, which stops once the last of them has been seen.

    Texts are captured once and kept: a repeated call, or one with a few new texts, computes what is missing.

    Args:
        texts: one string a row.
        sites: places to read; see `Site`.
        cache: folder to keep captures in; the default is the user's cache.
        progress: called with (texts done, texts to do).

    Raises:
        ExciseError: an empty or too long text, an unknown module, activations that overflow: each with the row's
        number.
    """
    _check_texts(texts)
    if not sites:
        raise ExciseError("no site given; for instance Site('14', 'mean')")
    stores = {
        site: CaptureCache(cache or cache_root() / "captures", [model.name, model.revision, model.dtype, str(site)])
        for site in sites
    }
    missing = sorted({i for store in stores.values() for i in store.missing(texts)})
    if missing:
        _compute(model, {texts[i]: i for i in reversed(missing)}, stores, progress)
    out = {}
    for site, store in stores.items():
        rows, lengths = store.read(texts)
        out[site] = Capture(rows, torch.arange(len(texts)).repeat_interleave(lengths))
    return out


def _compute(
    model: LanguageModel,
    numbers: dict[str, int],
    stores: dict[Site, CaptureCache],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Captures distinct texts (with the row number of each, for errors) into the stores."""
    module, tokenizer = model.parts
    sites = {site: find_module(module, site.module) for site in stores}
    texts = list(numbers)
    tokens = _tokenize(tokenizer, texts, numbers, module.config, any(site.pooling == "mean" for site in sites))
    pending: dict[Site, list[tuple[str, Tensor]]] = {site: [] for site in sites}
    done = 0
    for batch in length_batches([len(t) for t in tokens]):
        ids, mask = pad([tokens[i] for i in batch], tokenizer.pad_token_id)
        hidden = truncated_forward(module, ids.to(model.device), mask.to(model.device), list(sites.values()))
        for site, target in sites.items():
            for i, rows in zip(batch, _pool(hidden[target], mask, site), strict=True):
                if not torch.isfinite(rows).all():
                    raise ExciseError(
                        f"text {numbers[texts[i]]}: activations at {site} overflow in {model.dtype}; capture in "
                        f"float32 or bfloat16"
                    )
                pending[site].append((texts[i], rows))
        done += len(batch)
        if progress:
            progress(done, len(texts))
        if len(next(iter(pending.values()))) >= _SHARD_TEXTS or done == len(texts):
            for site, rows_of in pending.items():
                stores[site].write(rows_of)
                rows_of.clear()


def find_module(model: nn.Module, path: str) -> nn.Module:
    """The module at a path; a bare number is that block of the main stack, whatever the architecture calls it.

    Raises:
        ExciseError: no such module; lists what there is.
    """
    modules = dict(model.named_modules())
    if path.isdigit():
        depth: int = model.config.num_hidden_layers  # type: ignore[union-attr,assignment]
        stacks = [m for m in modules.values() if isinstance(m, nn.ModuleList) and len(m) == depth]
        if not stacks:
            raise ExciseError(
                f"found no stack of {depth} blocks in this model; name the module instead, one of: {_some(modules)}"
            )
        if int(path) >= depth:
            raise ExciseError(f"the model has blocks 0 to {depth - 1}; there is no block {path}")
        return stacks[0][int(path)]
    if not path or path not in modules:
        raise ExciseError(f"the model has no module {path!r}; there are: {_some(modules)}")
    return modules[path]


def _some(modules: dict[str, nn.Module]) -> str:
    """Paths down to the blocks, short enough to read."""
    names = [name for name in modules if name and name.count(".") <= 2]
    return ", ".join(names[:40]) + (" ..." if len(names) > 40 else "")


class _AllSeenError(Exception):
    """Leaves the forward pass; never seen by a caller."""


def truncated_forward(model: Any, ids: Tensor, mask: Tensor, targets: Sequence[nn.Module]) -> dict[nn.Module, Tensor]:
    """Outputs [batch, tokens, d] of the target modules; nothing after the last of them runs."""
    seen: dict[nn.Module, Tensor] = {}

    def hook(module: nn.Module, _: Any, output: Any) -> None:
        hidden = output if isinstance(output, Tensor) else output[0]
        seen.setdefault(module, hidden)  # A module that is shared between layers is read at its first call.
        if len(seen) == len(set(targets)):
            raise _AllSeenError

    handles = [target.register_forward_hook(hook) for target in set(targets)]
    try:
        with torch.inference_mode(), contextlib.suppress(_AllSeenError):
            model(input_ids=ids, attention_mask=mask)
    finally:
        for handle in handles:
            handle.remove()
    if len(seen) < len(set(targets)):
        raise ExciseError(
            "the forward pass never reached one of the sites; is it part of a head or of an unused branch?"
        )
    for hidden in seen.values():
        if hidden.shape[:2] != ids.shape:
            raise ExciseError(
                f"a site's output has shape {tuple(hidden.shape)}, not [texts, tokens, d]; choose a module that "
                f"outputs hidden states"
            )
    return seen


def length_batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Text numbers in batches of similar length, longest first, each at most BATCH_TOKENS with its padding."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        size = max(1, BATCH_TOKENS // lengths[order[start]])
        yield order[start : start + size]
        start += size


def pad(tokens: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, int64 [batch, longest]."""
    longest = max(len(t) for t in tokens)
    ids = torch.tensor([[*t, *[pad_id] * (longest - len(t))] for t in tokens])
    mask = torch.tensor([[1] * len(t) + [0] * (longest - len(t)) for t in tokens])
    return ids, mask


def _pool(hidden: Tensor, mask: Tensor, site: Site) -> list[Tensor]:
    """One float32 tensor [rows, d] a text, on the CPU."""
    lengths = mask.sum(dim=1).tolist()
    if site.pooling == "all":
        return [h[:n].float().cpu() for h, n in zip(hidden, lengths, strict=True)]
    if site.pooling == "last":
        return [h[n - 1 : n].float().cpu() for h, n in zip(hidden, lengths, strict=True)]
    hidden = hidden.float()
    weights = _mean_weights(hidden.norm(dim=2), mask.to(hidden.device).bool())
    pooled = torch.einsum("btd,bt->bd", hidden, weights) / weights.sum(dim=1, keepdim=True)
    return list(pooled.cpu().split(1))


def _mean_weights(norms: Tensor, mask: Tensor) -> Tensor:
    """1 for tokens that enter the mean, [batch, tokens]: all but padding, the first token, and attention sinks.

    Sinks are not always first: in SmolLM2 about one short text in 200 has a further one, and one such row can hold
    hundreds of times the variance of any other.
    """
    kept = mask.clone()
    kept[:, 0] = False
    typical = norms.masked_fill(~kept, torch.nan).nanmedian(dim=1, keepdim=True).values
    return (kept & (norms <= SINK_NORM * typical)).float()


def _check_texts(texts: Sequence[str]) -> None:
    if isinstance(texts, str) or not len(texts):
        raise ExciseError("no texts; give a list with one string a row")
    for i, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise ExciseError(f"text {i} is empty or not a string ({text!r}); drop the row")


def _tokenize(tokenizer: Any, texts: list[str], numbers: dict[str, int], config: Any, mean: bool) -> list[list[int]]:
    longest = getattr(config, "max_position_embeddings", None) or 1 << 30
    tokens: list[list[int]] = tokenizer(texts, truncation=False, verbose=False)["input_ids"]
    for text, ids in zip(texts, tokens, strict=True):
        if len(ids) > longest:
            raise ExciseError(f"text {numbers[text]} has {len(ids)} tokens and the model takes {longest}; shorten it")
        if len(ids) < (2 if mean else 1):
            raise ExciseError(
                f"text {numbers[text]} ({text!r}) has {len(ids)} token(s); mean pooling leaves the first one out. "
                f"Use 'last' pooling or drop the row"
            )
    return tokens
