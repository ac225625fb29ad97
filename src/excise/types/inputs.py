"""Checks of what users hand in: every error names the row and says what to do."""

from __future__ import annotations

import numpy.typing as npt
import torch
from torch import Tensor

from excise.types.errors import ExciseError


def check_activations(x: Tensor | npt.ArrayLike, name: str = "x") -> Tensor:
    """Returns x as a finite, non-empty float tensor [n, d], in its own dtype and on its own device.

    Raises:
        ExciseError: wrong number of dimensions, no rows or columns, integers, NaN or infinity.
    """
    tensor = x.detach() if isinstance(x, Tensor) else as_tensor(x)
    if tensor.ndim != 2:
        raise ExciseError(
            f"{name} has shape {tuple(tensor.shape)}; it must be [rows, dimensions]. Flatten other axes into rows first"
        )
    if 0 in tensor.shape:
        raise ExciseError(f"{name} is empty (shape {tuple(tensor.shape)}); there is nothing to fit or to measure")
    if not tensor.is_floating_point():
        raise ExciseError(
            f"{name} has dtype {tensor.dtype}; activations must be floating point ({name}.float() if they are counts)"
        )
    check_finite(tensor, name)
    return tensor


def check_background(rows: Tensor | npt.ArrayLike, x: Tensor) -> Tensor:
    """Returns activations of other texts [m, d] for x [n, d], as `check_activations` does.

    Raises:
        ExciseError: what `check_activations` refuses, other dimensions than x has, or rows that are all the same.
    """
    background = check_activations(rows, "background")
    if background.shape[1] != x.shape[1]:
        raise ExciseError(
            f"background has {background.shape[1]} dimensions and x has {x.shape[1]}; capture both at one site"
        )
    if bool((background == background[:1]).all()):
        raise ExciseError("background is the same in every row; give activations of a few thousand other texts")
    return background


def check_finite(x: Tensor, name: str) -> None:
    """Raises ExciseError with the first row of x [n, ...] that holds NaN or infinity."""
    # A sum is NaN or infinite when any entry is (or when it overflows, which the mask then clears up): one pass, no
    # mask of x's size on the usual path.
    if torch.isfinite(x.sum(dtype=torch.promote_types(x.dtype, torch.float32))):
        return
    bad = (~torch.isfinite(x)).reshape(len(x), -1).any(dim=1).nonzero().flatten().tolist()
    if bad:
        raise ExciseError(
            f"{name} has NaN or infinite values in {len(bad)} of {len(x)} rows, the first in row {bad[0]}; "
            "drop these rows, or capture again in float32 if they come from an overflow"
        )


def as_tensor(values: npt.ArrayLike) -> Tensor:
    """Array-like numbers as a tensor; raises ExciseError for anything else."""
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as err:
        raise ExciseError(
            f"cannot read the array as numbers: {err}. Text labels must be mapped to integers first"
        ) from err
