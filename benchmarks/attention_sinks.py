"""Why mean pooling leaves out attention sinks: how many there are, and what they do to the mean.

    python benchmarks/attention_sinks.py

On the starter concepts' texts, block 14 of the default model.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from excise.concepts import load_concept
from excise.concepts.builtin import STARTERS
from excise.models import capture, language_model
from excise.models.capture import SINK_NORM
from excise.types import Site


def main() -> None:
    texts = [text for name in STARTERS for text in load_concept(name).texts]
    tokens, mean = Site("14", "all"), Site("14", "mean")
    with tempfile.TemporaryDirectory() as folder:
        got = capture(language_model(), texts, [tokens, mean], cache=Path(folder))
    norms = got[tokens].x.norm(dim=1)
    first, later, second, naive, ordinary = [], [], 0, [], []
    for i in range(len(texts)):
        rows = got[tokens].text == i
        own = norms[rows]
        typical = own[1:].median()
        first.append(float(own[0] / typical))
        sinks = own[1:] > SINK_NORM * typical
        second += bool(sinks.any())
        later += (own[1:][sinks] / typical).tolist()
        ordinary.append(float((own[1:][~sinks] / typical).max()))
        naive.append(got[tokens].x[rows][1:].mean(dim=0))
    print(f"{len(texts)} texts; norms as multiples of the text's median token")
    print(f"first token: median {torch.tensor(first).median():.0f}")
    span = f", their norms {min(later):.0f} to {max(later):.0f}" if later else ""
    print(f"texts with a further sink: {second} (1 in {len(texts) // max(second, 1)}){span}")
    print(
        f"largest ordinary token of a text: median {torch.tensor(ordinary).median():.2f}, at most {max(ordinary):.2f}"
    )
    for what, x in (("first token left out", torch.stack(naive)), ("all sinks left out", got[mean].x)):
        variance = x.var(dim=0)
        row = (x - x.mean(dim=0)).square().sum(dim=1)
        print(
            f"{what}: largest share of variance in one dimension {variance.max() / variance.sum():.1%}, "
            f"largest row {row.max() / row.mean():.0f} times the mean"
        )


if __name__ == "__main__":
    main()
