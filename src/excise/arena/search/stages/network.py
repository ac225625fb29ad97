"""A small residual network trained to bring the class distributions together by MMD, or the label out by HSIC."""

from excise.arena.search.stages.shared import Arrays, Rows
from excise.arena.search.stages.trained import apply_trained, train


def fit_network(
    x: Rows, z: Rows, seed: int, *, rank: int, hidden: int, steps: int, rate: float, price: float, loss: str
) -> Arrays:
    """See `train`."""
    return train(x, z, seed, rank=rank, hidden=hidden, steps=steps, rate=rate, price=price, loss=loss)


def transform_network(arrays: Arrays, x: Rows) -> Rows:
    """See `apply_trained`."""
    return apply_trained(arrays, x)
