"""Activations with labels: what is graded."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from excise.types.errors import ExciseError
from excise.types.inputs import check_activations, check_background


@dataclass(frozen=True, eq=False)
class ConceptData:
    """One concept at one site.

    Attributes:
        name: of the concept.
        x: activations, float tensor [n, d].
        z: classes 0 .. k-1, int64 tensor [n].
        groups: group number of each row, int64 array [n].
        classes: the original label of each class.
        task: classes of another label whose readability erasure should not harm, int64 tensor [n], or None. Methods
            that can are told to keep it; all are graded on it.
        background: activations of other texts at the same site [m, d], without labels, or None. Methods that can learn
            from them.
    """

    name: str
    x: Tensor
    z: Tensor
    groups: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    task: Tensor | None = None
    background: Tensor | None = None

    @classmethod
    def of(
        cls,
        x: Tensor | npt.ArrayLike,
        labels: Sequence[Hashable],
        groups: Sequence[Hashable] | None = None,
        name: str = "data",
        task: Sequence[Hashable] | None = None,
        background: Tensor | npt.ArrayLike | None = None,
    ) -> ConceptData:
        """Checks and numbers arbitrary labels and groups; without groups every row is a group of its own.

        Raises:
            ExciseError: shapes that do not fit together, NaN, an empty array, fewer than two classes, or a background
                that holds rows of x: probes are tested on those.
        """
        tensor = check_activations(x)
        n = len(tensor)
        for what, values in (("labels", labels), ("groups", groups), ("task labels", task)):
            if values is not None and len(values) != n:
                raise ExciseError(
                    f"x has {n} rows but there are {len(values)} {what}; give one per row, in the same order"
                )
        if getattr(labels, "ndim", 1) != 1:
            raise ExciseError(f"labels have shape {tuple(labels.shape)}; give one class per row, not one-hot columns")  # type: ignore[attr-defined]
        numbers, classes = _numbered(labels, "label")
        z = torch.tensor(numbers, dtype=torch.int64, device=tensor.device)
        kept = None
        if task is not None:
            kept = torch.tensor(_numbered(task, "task label")[0], dtype=torch.int64, device=tensor.device)
        others = None
        if background is not None:
            others = check_background(background, tensor).to(tensor.device)
            # In the coarser of the two dtypes: the same rows may have been saved in both.
            dtype = max(tensor.dtype, others.dtype, key=lambda dtype: torch.finfo(dtype).eps)
            known = set(_bytes_of_rows(tensor.to(dtype)))
            shared = sum(row in known for row in _bytes_of_rows(others.to(dtype)))
            if shared:
                raise ExciseError(
                    f"{shared} rows of the background are rows of x, which probes are tested on; take them out"
                )
        order: dict[Hashable, int] = {}
        numbered = [order.setdefault(_plain(g), len(order)) for g in (range(n) if groups is None else groups)]
        return cls(name, tensor, z, np.asarray(numbered, dtype=np.int64), classes, kept, others)

    def __len__(self) -> int:
        return len(self.z)


def _bytes_of_rows(rows: Tensor) -> list[bytes]:
    return [row.tobytes() for row in (rows.double().cpu() + 0.0).numpy()]  # -0.0 becomes 0.0.


def _numbered(labels: Sequence[Hashable], what: str) -> tuple[list[int], tuple[str, ...]]:
    """Class number of each row, and the original labels of the classes."""
    plain = [_plain(v) for v in labels]
    for i, label in enumerate(plain):
        if label is None or label != label:
            raise ExciseError(f"row {i} has no {what} (got {label!r}); drop the row or label it")
        if isinstance(label, float) and not label.is_integer():
            raise ExciseError(
                f"row {i} has {what} {label!r}; probes need classes. For a continuous concept, bin it first (two "
                f"to five bins)"
            )
    classes = sorted(set(plain), key=lambda v: (str(type(v)), v))
    if len(classes) < 2:
        raise ExciseError(f"all {len(plain)} rows have the {what} {classes[0]!r}; erasure needs at least 2 classes")
    number = {c: i for i, c in enumerate(classes)}
    return [number[v] for v in plain], tuple(str(c) for c in classes)


def _plain(value: Hashable) -> Hashable:
    """numpy and torch scalars as Python values, so that equal labels compare equal."""
    item = getattr(value, "item", None)
    return item() if callable(item) else value
