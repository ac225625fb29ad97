"""How close capture comes to a bare forward pass. Ratios of rows/s in one run; prints a table.

    make bench-speed          (or: python benchmarks/capture.py)

Peers, on the same model, texts and cores:
  bare: the truncated forward pass alone, over the very token batches that capture uses;
  plain: `output_hidden_states=True`, all layers, in the texts' own order, 32 at a time: what most scripts do.
Each is timed several times in turn, so that a change of the machine's speed hits all alike; medians are compared.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from excise.concepts import load_concept
from excise.concepts.builtin import STARTERS
from excise.models import capture, language_model
from excise.models.capture import find_module, length_batches, pad, truncated_forward
from excise.types import Site

BLOCK, ROUNDS, TEXTS = "14", 5, 600


def main() -> None:
    model = language_model()
    module, tokenizer = model.parts
    # A slice of every starter concept, interleaved: lengths come in the order in which a user would have them.
    texts = [text for row in zip(*(load_concept(name).texts for name in STARTERS), strict=False) for text in row][
        :TEXTS
    ]
    tokens = tokenizer(texts)["input_ids"]
    target = find_module(module, BLOCK)

    def bare() -> None:
        for batch in length_batches([len(t) for t in tokens]):
            truncated_forward(module, *pad([tokens[i] for i in batch], tokenizer.pad_token_id), [target])

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            capture(model, texts, [Site(BLOCK)], cache=Path(folder))

    def plain() -> None:
        for start in range(0, len(texts), 32):
            inputs = tokenizer(texts[start : start + 32], return_tensors="pt", padding=True)
            with torch.inference_mode():
                hidden = module(**inputs, output_hidden_states=True).hidden_states[int(BLOCK) + 1]
            (hidden * inputs["attention_mask"][..., None]).sum(dim=1)

    bare()  # Warm-up.
    seconds: dict[str, list[float]] = {"bare": [], "capture": [], "plain": []}
    runs: dict[str, Callable[[], None]] = {"bare": bare, "capture": ours, "plain": plain}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{TEXTS} texts, {sum(map(len, tokens))} tokens, block {BLOCK}, {torch.get_num_threads()} threads")
    for name, values in seconds.items():
        print(f"{name:8} {TEXTS / median[name]:7.1f} rows/s   {min(values):.2f} to {max(values):.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS.
    print(f"peak memory {peak / (2**20 if sys.platform == 'darwin' else 2**10):.0f} MiB")

    def ratio(over: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[over], seconds["capture"], strict=True))

    print(f"capture / bare  = {ratio('bare'):.2f}   (must be >= 0.90)")
    print(f"capture / plain = {ratio('plain'):.2f}   (must be >= 1.50)")


if __name__ == "__main__":
    main()
