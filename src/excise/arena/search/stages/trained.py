"""Maps trained to make the classes' distributions equal. Torch is imported in `fit` alone: it takes seconds.

MMD: JMLR 13:723-773; HSIC: doi:10.1007/11564089_7.
"""

import numpy as np

from excise.arena.search.stages.shared import Arrays, Rows, axes_of, leace_edit


def train(
    x: Rows, z: Rows, seed: int, *, rank: int, hidden: int, steps: int, rate: float, price: float, loss: str
) -> Arrays:
    """mean [d]; axes [d, r]; linear [r + 1, r], the last row an offset; and with hidden units
    inner [r + 1, h], outer [h, r]."""
    import torch

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    mean, axes = x.mean(0), axes_of(x, z, rank)
    _, seen, gap = leace_edit(x, z)
    # A start at LEACE, as far as it lies in the axes.
    start = -np.outer(axes.T @ seen, gap @ axes)
    scores = torch.from_numpy((x - mean) @ axes).float()
    size = scores.square().sum(1).mean().sqrt()
    rows = torch.cat([scores / size, torch.ones(len(x), 1)], 1)
    classes = torch.from_numpy(z).float()
    r = scores.shape[1]
    linear = torch.cat([torch.from_numpy(start).float(), torch.zeros(1, r)]).requires_grad_()
    inner = (torch.randn(r + 1, hidden, generator=generator) * 2 / r**0.5).requires_grad_()
    outer = torch.zeros(hidden, r, requires_grad=True)
    allowed = torch.from_numpy(x @ seen - mean @ seen).float().square().mean() * float(gap @ gap) / size**2
    near = torch.cdist(rows, rows).square().median()
    optimiser = torch.optim.Adam([linear, inner, outer], lr=rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        batch = torch.randperm(len(x), generator=generator)[: max(len(x) * 2 // 3, 2)]
        edit = rows[batch] @ linear + torch.tanh(rows[batch] @ inner) @ outer
        moved, c = rows[batch, :r] + edit, classes[batch]
        distances = (moved[:, None] - moved[None]).square().sum(-1) / near
        kernel = sum(torch.exp(-distances / width) for width in (0.25, 0.5, 1.0, 2.0)) / 4
        if loss == "mmd":
            sign = c / c.sum() - (1 - c) / (1 - c).sum()
            gained = sign @ kernel @ sign
        else:
            centre = torch.eye(len(c)) - 1 / len(c)
            k, same = centre @ kernel @ centre, torch.outer(c - c.mean(), c - c.mean())
            gained = (k * same).sum() / (k.norm() * same.norm())
        over = (edit.square().sum(1).mean() / allowed - 1).clamp(min=0)
        optimiser.zero_grad()
        (gained + price * over).backward()
        optimiser.step()
        decay.step()
    found = {"linear": linear, "inner": inner, "outer": outer}
    arrays = {name: value.detach().double().numpy() for name, value in found.items()}
    return {**arrays, "mean": mean, "axes": axes, "size": np.asarray(size.double())}


def apply_trained(arrays: Arrays, x: Rows) -> Rows:
    """x plus the trained edit, in its axes."""
    scores = (x - arrays["mean"]) @ arrays["axes"] / arrays["size"]
    rows = np.column_stack([scores, np.ones(len(x))])
    edit = rows @ arrays["linear"] + np.tanh(rows @ arrays["inner"]) @ arrays["outer"]
    return x + arrays["size"] * edit @ arrays["axes"].T
