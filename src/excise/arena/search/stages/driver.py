"""`fit` and `transform` of a submission: the stages of PLAN one after the other, scaled to the budget."""

from typing import Any

import numpy as np
import numpy.typing as npt

from excise.arena.search.stages.shared import Arrays, Rows, folds_of, leace_edit

PLAN: dict[str, Any] = {"stages": [], "spend": 1.0, "scale": "all"}  # Replaced by the program's.


def fit_chain(x: Rows, z: Rows, seed: int) -> Arrays:
    """Arrays of all stages, by number and name."""
    arrays = {}
    for number, (name, knobs) in enumerate(PLAN["stages"]):
        own = globals()[f"fit_{name}"](x, z, seed, **knobs)
        arrays.update({f"{number} {key}": value for key, value in own.items()})
        x = globals()[f"transform_{name}"](own, x)
    return arrays


def run_chain(arrays: Arrays, x: Rows) -> tuple[Rows, Rows]:
    """Rows after the first stage, and after all."""
    out = []
    for number, (name, _) in enumerate(PLAN["stages"]):
        own = {k.split(" ", 1)[1]: v for k, v in arrays.items() if k.startswith(f"{number} ")}
        x = globals()[f"transform_{name}"](own, x)
        out.append(x)
    return out[0], out[-1]


def scales(first: Rows, rest: Rows, allowed: float) -> tuple[float, float]:
    """Factors of the first stage's edit and of the rest's [n, d] that keep the mean squared edit within `allowed`.

    Scaled by "rest", the first stage stays whole, where that leaves anything to spend.
    """

    def mean(a: Rows, b: Rows) -> float:
        return (a * b).sum(1).mean()

    whole = mean(first + rest, first + rest)
    if whole <= allowed:
        return 1.0, 1.0
    a, b, c = mean(rest, rest), mean(first, rest), mean(first, first) - allowed
    if PLAN["scale"] == "rest" and c < 0 and a > 0:
        return 1.0, min(1.0, (-b + np.sqrt(b * b - a * c)) / a)
    return np.sqrt(allowed / whole), np.sqrt(allowed / whole)


def fit(x: npt.NDArray[np.float32], z: npt.NDArray[np.int64], budget: float, seed: int) -> Arrays:
    """Arrays of the stages, and the two factors. The cost of new rows is measured on halves left out: it is mostly
    larger than that of fitted rows."""
    rows, classes = x.astype(np.float64), z.astype(np.float64)
    fold, edits, allowed = folds_of(classes, 2, seed), [], 0.0
    for k in (0, 1):
        own, new = fold != k, rows[fold == k]
        first, out = run_chain(fit_chain(rows[own], classes[own], seed), new)
        edits.append((first - new, out - first))
        mean, seen, gap = leace_edit(rows[own], classes[own])
        allowed += np.square((new - mean) @ seen).mean() * (gap @ gap) / 2
    first, rest = (np.concatenate(parts) for parts in zip(*edits, strict=True))
    factors = scales(first, rest, PLAN["spend"] * allowed)
    return {"scales": np.asarray(factors), **fit_chain(rows, classes, seed)}


def transform(arrays: Arrays, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """x plus the scaled edits."""
    rows = x.astype(np.float64)
    first, out = run_chain(arrays, rows)
    return (rows + arrays["scales"][0] * (first - rows) + arrays["scales"][1] * (out - first)).astype(np.float32)
