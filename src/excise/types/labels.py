"""What a concept (or a task to keep) looks like once it has been read: columns, and classes if there are any."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy.typing as npt
import torch
from torch import Tensor

from excise.types.errors import ExciseError
from excise.types.inputs import as_tensor, check_finite

Kind = Literal["binary", "classes", "continuous"]


@dataclass(frozen=True, eq=False)
class Labels:
    """One concept over n rows.

    Attributes:
        columns: float64 [n, k]; one-hot for classes, as given for continuous and multi-column z.
        classes: int64 [n] in 0 .. c-1, or None when z is continuous or several classes hold at once.
        values: the original value of each class, [c], or None. Shards of one data set are matched by these.
        groups: int64 [n], the same number for rows that belong together (two phrasings of one text), or None when no
            two do.
    """

    columns: Tensor
    classes: Tensor | None
    values: Tensor | None
    groups: Tensor | None = None

    @classmethod
    def of(cls, z: Tensor | npt.ArrayLike, n: int, name: str = "z") -> Labels:
        """Reads labels of n rows.

        Integer or boolean z [n] (or [n, 1]) is read as classes, whatever their number. Floating z [n] is continuous;
        when it takes two values it is a binary concept. z [n, k] is taken column by column, and is classes when it is
        one-hot.

        Raises:
            ExciseError: length other than n, NaN, one class only, or floats that are probably class numbers.
        """
        tensor = read_labels(z, n, name)
        if tensor.ndim == 1:
            values = tensor.unique()
            if len(values) < 2:
                raise ExciseError(f"{name} has 1 class (every row is {values[0].item()}); erasure needs at least 2")
            if not tensor.is_floating_point():
                return cls.classed(tensor)
            if 2 < len(values) <= 20 and bool((values == values.round()).all()):
                # Treated as one continuous column, class numbers would be half erased without a word.
                raise ExciseError(
                    f"{name} holds {len(values)} whole numbers as floats. Pass integers if they are classes, or a "
                    f"column {name}[:, None] if the concept is continuous"
                )
            tensor = tensor[:, None]
        columns = tensor.double()
        if bool((columns == columns[:1]).all()):
            raise ExciseError(f"{name} is the same in every row; erasure needs at least 2 classes or a varying value")
        if columns.shape[1] == 1:
            values = columns.unique()
            if len(values) == 2:
                return cls(columns, (columns[:, 0] == values[1]).long(), values)
        elif bool(((columns == 0) | (columns == 1)).all() and (columns.sum(dim=1) == 1).all()):
            values, classes = columns.argmax(dim=1).unique(return_inverse=True)
            return cls(columns, classes, values)
        return cls(columns, None, None)

    @classmethod
    def classed(cls, numbers: Tensor) -> Labels:
        """Class numbers, int or bool [n], one class or more."""
        values, classes = numbers.unique(return_inverse=True)
        return cls((numbers[:, None] == values).double(), classes, values)

    @property
    def kind(self) -> Kind:
        if self.classes is None or self.values is None:
            return "continuous"
        return "binary" if len(self.values) == 2 else "classes"

    @property
    def k(self) -> int:
        """Number of classes.

        Raises:
            TypeError: the concept is continuous; an eraser that needs classes says so in `accepts`.
        """
        if self.values is None:
            raise TypeError("continuous labels have no classes; this eraser should declare what it accepts")
        return len(self.values)

    @property
    def of_rows(self) -> Tensor:
        """Class numbers 0 .. k-1, int64 [n]; for erasers that declare that they need classes."""
        if self.classes is None:
            raise TypeError("continuous labels have no classes; this eraser should declare what it accepts")
        return self.classes

    def rows(self, index: Tensor) -> Labels:
        """The labels of some rows; the columns stay the same even if a class is not among them."""
        classes, groups = (None if t is None else t[index] for t in (self.classes, self.groups))
        return Labels(self.columns[index], classes, self.values, groups)

    def in_groups(self, groups: Tensor | npt.ArrayLike) -> Labels:
        """The labels with whole numbers [n] that say which rows belong together.

        Raises:
            ExciseError: not one whole number a row.
        """
        numbers = groups.detach() if isinstance(groups, Tensor) else as_tensor(groups)
        if numbers.shape != self.columns.shape[:1] or numbers.is_floating_point():
            raise ExciseError(
                f"groups is {numbers.dtype} of shape {tuple(numbers.shape)}; give one whole number for each of the "
                f"{len(self.columns)} rows, the same for rows that belong together"
            )
        _, inverse, counts = numbers.unique(return_inverse=True, return_counts=True)
        alone = int(counts.max()) == 1
        return replace(self, groups=None if alone else inverse.to(self.columns.device))

    def to(self, device: torch.device) -> Labels:
        """The same labels on another device."""
        moved = (None if t is None else t.to(device) for t in (self.classes, self.values, self.groups))
        return Labels(self.columns.to(device), *moved)


def read_labels(z: Tensor | npt.ArrayLike, n: int, name: str = "z") -> Tensor:
    """z as a finite tensor [n] or [n, k] in its own dtype; class numbers in a column [n, 1] become [n].

    Raises:
        ExciseError: length other than n, too many axes, NaN, or not numbers.
    """
    tensor = z.detach() if isinstance(z, Tensor) else as_tensor(z)
    if tensor.ndim == 2 and tensor.shape[1] == 1 and not tensor.is_floating_point():
        tensor = tensor[:, 0]  # Class numbers in a column are still classes.
    if tensor.ndim not in (1, 2) or len(tensor) != n:
        raise ExciseError(
            f"{name} has shape {tuple(tensor.shape)} but x has {n} rows; give one label (or one row of k values) per "
            "row of x"
        )
    if tensor.is_floating_point():
        check_finite(tensor, name)
    return tensor
