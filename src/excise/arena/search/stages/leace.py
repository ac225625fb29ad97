"""The reference itself, in part: `amount` of the way to equal class means."""

from excise.arena.search.stages.shared import Arrays, Rows, leace_edit


def fit_leace(x: Rows, z: Rows, seed: int, *, amount: float) -> Arrays:
    """mean, seen, gap: [d] each."""
    mean, seen, gap = leace_edit(x, z)
    return {"mean": mean, "seen": seen, "gap": amount * gap}


def transform_leace(arrays: Arrays, x: Rows) -> Rows:
    """x less the part along the gap."""
    return x - ((x - arrays["mean"]) @ arrays["seen"])[:, None] * arrays["gap"]
