"""Rows of the two classes matched one to one; matched rows meet in the middle, and new rows follow their neighbours.

Assignment: doi:10.1002/nav.3800020109.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax

from excise.arena.search.stages.shared import Arrays, Rows, axes_of


def fit_hungarian(x: Rows, z: Rows, seed: int, *, rank: int, width: float, amount: float) -> Arrays:
    """axes [d, r]; places and moves [m, r]; width, a squared distance."""
    axes = axes_of(x, z, rank)
    zero, one = (x[z == c] @ axes for c in (0, 1))
    cost = np.square(zero[:, None] - one[None]).sum(-1)
    first, second = linear_sum_assignment(cost)
    half = amount * (one[second] - zero[first]) / 2
    places = np.concatenate([zero[first], one[second]])
    distances = np.square(places[:, None] - places[None]).sum(-1)
    near = np.median(distances[distances > 0])
    return {"axes": axes, "places": places, "moves": np.concatenate([half, -half]), "width": np.asarray(width * near)}


def transform_hungarian(arrays: Arrays, x: Rows) -> Rows:
    """x plus the kernel-weighted mean of the moves nearby."""
    distances = np.square((x @ arrays["axes"])[:, None] - arrays["places"]).sum(-1)
    return x + softmax(-distances / arrays["width"], axis=1) @ arrays["moves"] @ arrays["axes"].T
