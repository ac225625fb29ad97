"""The task as its author reads it. No method is named: the arena asks what authors come up with themselves."""

from __future__ import annotations

from excise.arena.verdict import OVER_BUDGET
from excise.measures.edit import ROW_CAP

_TASK = """\
# Make a concept unreadable

Some of the texts in `texts.jsonl` have a property (label 1, say) that the others lack. `activations.npy` holds what a
language model ({model}, read at {site}) makes of each text: {n} rows of {d} numbers, float32. `labels.npy` holds the
labels, int64. The property can be read off the activations by a simple classifier.

Write **one Python file** that edits activations so that no classifier can read the property any more, and that changes
them as little as the budget says.

```python
import numpy as np


def fit(x: np.ndarray, z: np.ndarray, budget: float, seed: int) -> dict[str, np.ndarray]:
    \"\"\"x float32 [n, {d}], z int64 [n] -> whatever numeric arrays `transform` needs, by name.\"\"\"
    return {{}}


def transform(arrays: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    \"\"\"x float32 [m, {d}], no labels -> edited activations of the same shape.\"\"\"
    return x
```

## How it is judged

1. `fit` is called with a labelled sample of the same size and kind as yours, but of other texts.
2. `transform` is called with activations of further texts that neither you nor `fit` have seen.
3. New classifiers, linear and nonlinear, are trained on edited rows with their true labels and tested on other edited
   rows. **The score is the accuracy of the strongest of them; lower is better, and chance is the best there is.**
   A classifier that is mostly wrong has read the property too: accuracy p counts as max(p, 1 - p).

## Rules

* **Budget.** The mean over rows of the squared length of the edit, |transform(x) - x|^2, may be at most {over} times
  that of a reference edit on the same new rows. On your sample the reference is {budget:.4g} (also in `problem.json`);
  `fit` gets as `budget` what the reference spends on the rows that `fit` is given. No row may take more than {cap:.0f}
  times the mean: the edit cannot be dumped on a few of them.
* **Row by row.** The output for a row must not depend on the other rows of the call, on their order, or on earlier
  calls: rows come alone, repeated, shuffled and mixed, every call in a new process. Nothing but the arrays that `fit`
  returned survives: no files, no globals.
* **Deterministic.** `fit` is run twice and must return the same arrays bit for bit: draw all randomness from `seed`.
* **Keep the activations.** A constant output, NaN, another shape or integers do not count.
* **Limits.** Two minutes a call on one processor, 4 GB of memory, 64 MB of arrays, a file under 1 MB. No network.
  Python 3.11 with numpy, scipy, scikit-learn and torch.
* Do not look for the grader, its data or its answers. Attempts are reported.
"""


def statement(n: int, d: int, model: str, site: str, budget: float) -> str:
    """task.md for a sample of n rows in d dimensions."""
    where = {"model": model or "not named", "site": site or "a place not named"}
    return _TASK.format(n=n, d=d, budget=budget, over=OVER_BUDGET, cap=ROW_CAP, **where)
