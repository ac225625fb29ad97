"""Erasers of known kinds as an author would write them, each in two hands where that is not one formula."""

from __future__ import annotations

from tests.arena.sources import SOUND

# Every class is moved by one vector, by a hard readout of the label.
CLASS_SHIFT = """
import numpy as np
from sklearn.linear_model import LogisticRegression

def fit(x, z, budget, seed):
    model = LogisticRegression(C=0.01, max_iter=2000).fit(x, z)
    means = np.stack([x[z == c].mean(0) for c in (0, 1)])
    return {"w": model.coef_[0], "b": model.intercept_, "shift": x.mean(0) - means}

def transform(arrays, x):
    return x + arrays["shift"][(x @ arrays["w"] + arrays["b"] > 0).astype(int)]
"""

CLASS_SHIFT_BY_CENTROID = """
import numpy as np

def fit(x, z, budget, seed):
    means = np.stack([x[z == 0].mean(0), x[z == 1].mean(0)])
    spread = x.std(0) + 1e-6
    return {"near": means / spread, "spread": spread, "shift": x.mean(0) - means}

def transform(arrays, x):
    rows = x / arrays["spread"]
    far = ((rows[:, None] - arrays["near"]) ** 2).sum(-1)
    return x + arrays["shift"][far.argmin(1)]
"""

MEAN_PROJECTION = """
import numpy as np

def fit(x, z, budget, seed):
    gap = x[z == 1].mean(0) - x[z == 0].mean(0)
    return {"u": gap / np.linalg.norm(gap), "mean": x.mean(0)}

def transform(arrays, x):
    return x - ((x - arrays["mean"]) @ arrays["u"])[:, None] * arrays["u"]
"""

# Class-wise Gaussians to a common one, by a readout of the label.
GAUSSIAN = """
import numpy as np

def readout(x, z):
    s = np.cov(x.T)
    gap = x[z == 1].mean(0) - x[z == 0].mean(0)
    w = np.linalg.solve(0.8 * s + 0.2 * np.trace(s) / len(s) * np.eye(len(s)), gap)
    return w, -(x[z == 1].mean(0) + x[z == 0].mean(0)) @ w / 2

def root(s, power):
    values, vectors = np.linalg.eigh(s)
    return (vectors * np.maximum(values, 1e-9 * values.max()) ** power) @ vectors.T

def fit(x, z, budget, seed):
    x = x.astype(np.float64)
    covs, means = [], []
    for c in (0, 1):
        rows = x[z == c]
        s = np.cov(rows.T)
        covs.append(0.9 * s + 0.1 * np.trace(s) / len(s) * np.eye(len(s)))
        means.append(rows.mean(0))
    middle = (covs[0] + covs[1]) / 2
    maps = []
    for s in covs:
        half, back = root(s, 0.5), root(s, -0.5)
        maps.append(back @ root(half @ middle @ half, 0.5) @ back)
    w, b = readout(x, z)
    return {"w": w, "b": b, "means": np.stack(means), "maps": np.stack(maps),
            "to": np.mean(means, axis=0)}

def transform(arrays, x):
    p = 1 / (1 + np.exp(-np.clip(4 * (x @ arrays["w"] + arrays["b"]), -30, 30)))
    out = 0
    for c, weight in ((0, 1 - p), (1, p)):
        out = out + weight[:, None] * ((x - arrays["means"][c]) @ arrays["maps"][c] + arrays["to"])
    return out
"""

# Dimension by dimension, class-wise quantiles to their mean.
QUANTILES = """
import numpy as np

def readout(x, z):
    s = np.cov(x.T)
    gap = x[z == 1].mean(0) - x[z == 0].mean(0)
    w = np.linalg.solve(0.8 * s + 0.2 * np.trace(s) / len(s) * np.eye(len(s)), gap)
    return w, -(x[z == 1].mean(0) + x[z == 0].mean(0)) @ w / 2

def fit(x, z, budget, seed):
    levels = (np.arange(24) + 0.5) / 24
    tables = np.stack([np.quantile(x[z == c], levels, axis=0) for c in (0, 1)])
    w, b = readout(x, z)
    return {"w": w, "b": b, "tables": tables, "to": tables.mean(0)}

def transform(arrays, x):
    hard = (x @ arrays["w"] + arrays["b"] > 0).astype(int)
    out = x.copy()
    for c in (0, 1):
        rows = hard == c
        for j in range(x.shape[1]):
            knots = arrays["tables"][c][:, j]
            out[rows, j] += np.interp(x[rows, j], knots, arrays["to"][:, j] - knots)
    return out
"""

# A network that is trained to move rows where a kernel no longer tells the classes apart.
NETWORK = """
import numpy as np
import torch

def fit(x, z, budget, seed):
    g = torch.Generator().manual_seed(seed)
    mean, scale = x.mean(0), float(x.std())
    rows, labels = torch.from_numpy((x - mean) / scale), torch.from_numpy(z)
    d = x.shape[1]
    w1 = (torch.randn(d, 32, generator=g) / d ** 0.5).requires_grad_()
    b1 = torch.zeros(32).requires_grad_()
    w2 = (0.01 * torch.randn(32, d, generator=g)).requires_grad_()
    steps = torch.optim.Adam([w1, b1, w2], lr=0.01)
    sign = (labels == 1).float() / (labels == 1).sum() - (labels == 0).float() / (labels == 0).sum()
    for _ in range(60):
        edit = torch.tanh(rows @ w1 + b1) @ w2
        out = rows + edit
        far = torch.cdist(out, out).square()
        kernel = torch.exp(-far / far.detach().median())
        loss = sign @ kernel @ sign + 0.05 * torch.relu(edit.square().sum(1).mean() - budget / scale ** 2)
        steps.zero_grad()
        loss.backward()
        steps.step()
    arrays = {"w1": w1, "b1": b1, "w2": w2}
    return {"mean": mean, "scale": np.float32(scale), **{k: v.detach().numpy() for k, v in arrays.items()}}

def transform(arrays, x):
    rows = (x - arrays["mean"]) / arrays["scale"]
    return x + np.tanh(rows @ arrays["w1"] + arrays["b1"]) @ arrays["w2"] * arrays["scale"]
"""

# The same formulas in another hand: whitening written out, a half edit, other constants.
LEACE_WHITENED = """
import numpy as np

def fit(x, z, budget, seed):
    x = x.astype(np.float64)
    mean = x.mean(0)
    s = np.cov(x.T, bias=True)
    s = 0.8 * s + 0.2 * np.trace(s) / len(s) * np.eye(len(s))
    values, vectors = np.linalg.eigh(s)
    whiten, colour = (vectors * values ** p @ vectors.T for p in (-0.5, 0.5))
    u = whiten @ (x - mean).T @ (z - z.mean())
    u = u / np.linalg.norm(u)
    return {"mean": mean, "left": colour @ u, "right": whiten @ u}

def transform(arrays, x):
    return x - np.outer((x - arrays["mean"]) @ arrays["right"], arrays["left"])
"""

SOURCES = {
    "leace": SOUND,
    "leace whitened": LEACE_WHITENED,
    "mean projection": MEAN_PROJECTION,
    "shift": CLASS_SHIFT,
    "shift by centroid": CLASS_SHIFT_BY_CENTROID,
    "gaussian": GAUSSIAN,
    "gaussian shrunk": GAUSSIAN.replace("0.9 * s + 0.1", "0.7 * s + 0.3").replace("4 * (x", "8 * (x"),
    "quantiles": QUANTILES,
    "quantiles coarse": QUANTILES.replace("24", "12"),
    "network": NETWORK,
    "network wide": NETWORK.replace("d, 32", "d, 48")
    .replace("zeros(32)", "zeros(48)")
    .replace("randn(32", "randn(48")
    .replace("0.01 * torch", "0.02 * torch"),
}
