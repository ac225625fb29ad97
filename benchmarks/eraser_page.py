"""Writes docs/erasers.md: the table comes from the classes, the cost column from docs/eraser-cost.csv (which
`python benchmarks/erasers.py` writes), the rest from the text below. `python benchmarks/eraser_page.py`"""

from __future__ import annotations

import csv
from pathlib import Path

from excise.erasers import all_erasers, all_oracles
from excise.types import Encoder, Eraser
from excise.types.eraser import Method

DOCS = Path(__file__).parents[1] / "docs"

INTRODUCTION = """\
# Erasers

This page is generated: `python benchmarks/eraser_page.py`. A line is a class of `excise.erasers`; its settings and
formula are in its docstring. `fit(x, z)` returns a map that needs no labels and treats every row alone.

- **guarantee**: what holds by construction *on the fitted rows*. linear: class means are equal, so a linear probe
  trained with a convex loss does no better than a constant. On new rows nothing is guaranteed: that is what grading
  is for.
- Defaults that no paper gives (of encoders and of MMD erasers) were picked on held-out rows of the starter concepts,
  which flatters those methods a little there.
- `fit(x, z, background=others)`: `BudgetedTransport` also learns from activations of other texts, without labels.
- **concepts**: *two classes*, *classes* (any number, as integers), *any* (also continuous or several columns).
- **keeps y**: `fit(x, z, y)` keeps a task label. **streams**: `fit_batches(batches)` and `fit_shards(shards)` fit in
  O(d²) memory.
- **space**: *own* means that the output is a code of its own, which cannot be put back into the model; such a method
  is graded on what probes read, not on the size of its edit.
- **cost**: seconds to fit 300 x 576 activations on 2 cores and peak memory beside it, as printed by
  `python benchmarks/erasers.py`.

"""

SPEED = """
LEACE against one bare product X'X of the same rows and dtype, and against the reference library; its map against a
copy of the rows (`python benchmarks/erasers.py`). Sums are in float64 whatever the rows are, so float32 rows cost more
than one bare float32 product:

```text
"""

AFTER = """
Any of them at a stated edit size: `Scaled(Inlp(), budget=0.5)` scales an edit back to at most half of LEACE's,
measured on rows held out inside `fit`; a method with its own `budget` setting is trained for it. On the command line:
`excise fit x.npy --labels z.npy --eraser Inlp --budget 0.5 --out map.safetensors`.

## Oracles

They are told the label of every row when they are applied: bounds for others, with a section of their own on the
board. Out of sample they write the label into the output.

"""

OWN = """
## Add your own in ten lines

Save this as `src/excise/erasers/median_projection.py`. Nothing else needs an edit: the contract tests and this page
find it, and `excise bench --erasers MedianProjection` grades it.

```python
from dataclasses import dataclass
from types import MappingProxyType
import torch
from excise.erasers.low_rank import LowRankMap, column_space
from excise.types import Eraser, Labels


@dataclass(frozen=True)
class MedianProjection(Eraser):
    title, idea, source = "median projection", "project out the differences of class medians", "this page"
    accepts = "classes"
    waivers = MappingProxyType({"rotates_with_the_space": "medians are taken dimension by dimension"})

    def _fit(self, x: torch.Tensor, z: Labels) -> LowRankMap:
        medians = torch.stack([x[z.of_rows == c].median(dim=0).values for c in range(z.k)])
        basis = column_space((medians - medians.mean(dim=0)).mT)
        return LowRankMap(x.mean(dim=0), basis, basis)
```

`x` arrives checked and in float64; `z.of_rows` are class numbers, `z.columns` the concept as columns. Return a map of
the package, or write one: a subclass of `ErasureMap` whose tensors are constructor arguments. A law of the contract
(`tests/erasers/contract.py`) that a method cannot keep is waived with its reason; a waiver that is not needed fails
the tests. A method that keeps a task also has `_fit_keeping(x, z, y)`, one that learns from unlabelled rows of other
texts `_fit_beside(x, z, background)`; a closed form in moments derives from `MomentEraser` and has
`_fit_moments(moments)`, which makes it stream; one whose output is a space of its own derives from `Encoder`.
"""


def page() -> str:
    """The whole page."""
    with (DOCS / "eraser-cost.csv").open() as file:
        cost = {row["eraser"]: row for row in csv.DictReader(file)}
    lines = [
        "| eraser | idea | guarantee | concepts | keeps y | streams | space | fit, s | peak, MB | source |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, kind in all_erasers().items():
        lines.append(_line(name, kind, cost.get(name)))
    oracles = ["| oracle | idea | concepts | source |", "|---|---|---|---|"]
    oracles += [f"| `{n}` {k.title} | {k.idea} | {_concepts(k)} | {k.source} |" for n, k in all_oracles().items()]
    speed = SPEED + (DOCS / "leace-speed.txt").read_text() + "```\n"
    return INTRODUCTION + "\n".join(lines) + "\n" + speed + AFTER + "\n".join(oracles) + "\n" + OWN


def _line(name: str, kind: type[Eraser], cost: dict[str, str] | None) -> str:
    fit, peak = (f"{float(cost['fit_s']):.2g}", f"{float(cost['peak_mb']):.0f}") if cost else ("", "")
    cells = [
        f"`{name}` {kind.title}{' (control)' if kind.control else ''}",
        kind.idea,
        "" if kind.guarantee == "none" else kind.guarantee,
        _concepts(kind),
        "yes" if kind.keeps_task() else "",
        "yes" if kind.streams() else "",
        "own" if issubclass(kind, Encoder) else "",
        fit,
        peak,
        kind.source,
    ]
    return "| " + " | ".join(cells) + " |"


def _concepts(kind: type[Method]) -> str:
    return {"binary": "two classes", "classes": "classes", "any": "any"}[kind.accepts]


if __name__ == "__main__":
    (DOCS / "erasers.md").write_text(page())
