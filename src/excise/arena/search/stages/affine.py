"""An affine map trained to bring the class distributions together by MMD."""

from excise.arena.search.stages.shared import Arrays, Rows
from excise.arena.search.stages.trained import apply_trained, train


def fit_affine(x: Rows, z: Rows, seed: int, *, rank: int, steps: int, rate: float, price: float) -> Arrays:
    """See `train`; without hidden units."""
    return train(x, z, seed, rank=rank, hidden=0, steps=steps, rate=rate, price=price, loss="mmd")


def transform_affine(arrays: Arrays, x: Rows) -> Rows:
    """See `apply_trained`."""
    return apply_trained(arrays, x)
