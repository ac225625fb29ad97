"""Captured activations on disk, by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from excise.types import write_atomically

_FORMAT = "excise-capture-2"  # Raise it when captured values change.


class CaptureCache:
    """Rows of one model and site, found by the sha256 of their text.

    A folder of shards that are written once, under a temporary name, and renamed: a killed writer leaves nothing behind
    that a reader would see, and two writers of the same text leave two equal rows.

    Args:
        root: folder of all captures.
        key: what, beside the text, determines the activations.
    """

    def __init__(self, root: Path, key: Sequence[str]) -> None:
        self.folder = root / hashlib.sha256(json.dumps([_FORMAT, *key]).encode()).hexdigest()[:32]
        self.key = list(key)
        self._index: dict[bytes, tuple[Path, int, int]] = {}
        self._read_index()

    def _read_index(self) -> None:
        for shard in sorted(self.folder.glob("*.safetensors")):
            try:
                with safe_open(str(shard), "pt") as file:
                    keys, lengths = file.get_tensor("keys"), file.get_tensor("lengths")
            except (SafetensorError, OSError):
                # Only a failing disk or a foreign hand can leave a broken shard; it holds nothing that cannot be
                # computed again.
                shard.unlink(missing_ok=True)
                continue
            starts = (lengths.cumsum(0) - lengths).tolist()
            for key, start, length in zip(keys.numpy(), starts, lengths.tolist(), strict=True):
                self._index[key.tobytes()] = (shard, start, length)

    def missing(self, texts: Sequence[str]) -> list[int]:
        """Numbers of the texts that are not in the cache."""
        return [i for i, text in enumerate(texts) if _digest(text) not in self._index]

    def read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Rows [sum of lengths, d] in the order of the texts, and the number of rows of each text [n]."""
        places = [self._index[_digest(text)] for text in texts]
        shards: dict[Path, Tensor] = {}
        for shard in {place[0] for place in places}:
            with safe_open(str(shard), "pt") as file:
                shards[shard] = file.get_tensor("rows")
        rows = torch.cat([shards[shard][start : start + length] for shard, start, length in places])
        return rows, torch.tensor([length for *_, length in places])

    def write(self, rows_of: Sequence[tuple[str, Tensor]]) -> None:
        """Adds one shard with the rows [length, d] of each text."""
        digests = [_digest(text) for text, _ in rows_of]
        tensors = {
            "keys": torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8).reshape(-1, 32),
            "lengths": torch.tensor([len(rows) for _, rows in rows_of]),
            "rows": torch.cat([rows for _, rows in rows_of]),
        }
        shard = self.folder / f"{hashlib.sha256(b''.join(digests)).hexdigest()[:32]}.safetensors"
        write_atomically(shard, save(tensors, {"format": _FORMAT, "key": json.dumps(self.key)}))
        starts = (tensors["lengths"].cumsum(0) - tensors["lengths"]).tolist()
        for digest, start, length in zip(digests, starts, tensors["lengths"].tolist(), strict=True):
            self._index[digest] = (shard, start, length)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
