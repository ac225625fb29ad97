"""Checks of what users hand in: every error names the row and says what to do."""

from __future__ import annotations

import numpy.typing as npt
import torch
from jaxtyping import Float64
from torch import Tensor

from excise.types.errors import ExciseError


def check_activations(x: Tensor | npt.ArrayLike) -> Tensor:
    """Returns x as a finite, non-empty float tensor [n, d], in its own dtype and on its own device.

    Raises:
        ExciseError: wrong number of dimensions, no rows or columns, integers, NaN or infinity.
    """
    tensor = x.detach() if isinstance(x, Tensor) else as_tensor(x)
    if tensor.ndim != 2:
        raise ExciseError(
            f"x has shape {tuple(tensor.shape)}; it must be [rows, dimensions]. Flatten other axes into rows first"
        )
    if 0 in tensor.shape:
        raise ExciseError(f"x is empty (shape {tuple(tensor.shape)}); there is nothing to fit or to measure")
    if not tensor.is_floating_point():
        raise ExciseError(
            f"x has dtype {tensor.dtype}; activations must be floating point (x.float() if they are counts)"
        )
    check_finite(tensor, "x")
    return tensor


def check_finite(x: Tensor, name: str) -> None:
    """Raises ExciseError with the first row of x [n, ...] that holds NaN or infinity."""
    # A sum is NaN or infinite when any entry is: one pass, no mask of x's size on the usual path.
    if torch.isfinite(x.sum(dtype=torch.float64)):
        return
    bad = (~torch.isfinite(x)).reshape(len(x), -1).any(dim=1).nonzero().flatten().tolist()
    if bad:
        raise ExciseError(
            f"{name} has NaN or infinite values in {len(bad)} of {len(x)} rows, the first in row {bad[0]}; "
            "drop these rows, or capture again in float32 if they come from an overflow"
        )


def check_labels(z: Tensor | npt.ArrayLike, n: int) -> Float64[Tensor, "n k"]:
    """The concept as columns: one-hot for classes, as given for continuous z.

    Integer or boolean z [n] is read as classes, whatever their number. Floating z [n] is continuous (two values are a
    binary concept); z [n, k] is taken column by column.

    Raises:
        ExciseError: length other than n, NaN, one class only, or floats that are probably class numbers.
    """
    tensor = z.detach() if isinstance(z, Tensor) else as_tensor(z)
    if tensor.ndim == 2 and tensor.shape[1] == 1 and not tensor.is_floating_point():
        tensor = tensor[:, 0]  # Class numbers in a column are still classes.
    if tensor.ndim not in (1, 2) or len(tensor) != n:
        raise ExciseError(
            f"z has shape {tuple(tensor.shape)} but x has {n} rows; give one label (or one row of k values) per row "
            f"of x"
        )
    if tensor.is_floating_point():
        check_finite(tensor, "z")
    if tensor.ndim == 1:
        values = tensor.unique()
        if len(values) < 2:
            raise ExciseError(f"z has 1 class (every row is {values[0].item()}); erasure needs at least 2")
        if not tensor.is_floating_point():
            return (tensor[:, None] == values).double()
        if 2 < len(values) <= 20 and bool((values == values.round()).all()):
            # Treated as one continuous column, class numbers would be half erased without a word.
            raise ExciseError(
                f"z holds {len(values)} whole numbers as floats. Pass integers if they are classes, or a column "
                "z[:, None] if the concept is continuous"
            )
        tensor = tensor[:, None]
    columns = tensor.double()
    if bool((columns == columns[:1]).all()):
        raise ExciseError("z is the same in every row; erasure needs at least 2 classes or a varying value")
    return columns


def check_classes(z: Tensor | npt.ArrayLike, n: int, eraser: str) -> Tensor:
    """z as class numbers 0 .. k-1, int64 [n], for methods that need classes.

    Raises:
        ExciseError: as `check_labels`, or a z that is continuous.
    """
    columns = check_labels(z, n)
    if columns.shape[1] == 1:
        values = columns.unique()
        if len(values) != 2:
            raise ExciseError(
                f"{eraser} needs classes and z is continuous; use Leace or MeanProjection, or bin z into integers"
            )
        return (columns[:, 0] == values[1]).long()
    if not bool(((columns == 0) | (columns == 1)).all() and (columns.sum(dim=1) == 1).all()):
        raise ExciseError(f"{eraser} needs one class per row; z [n, k] is not one-hot. Use Leace or MeanProjection")
    return columns.argmax(dim=1)


def as_tensor(values: npt.ArrayLike) -> Tensor:
    """Array-like numbers as a tensor; raises ExciseError for anything else."""
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as err:
        raise ExciseError(
            f"cannot read the array as numbers: {err}. Text labels must be mapped to integers first"
        ) from err
