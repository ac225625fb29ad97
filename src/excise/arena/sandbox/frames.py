"""Arrays on a pipe: length-prefixed .npy frames, read with suspicion.

The writer may be hostile, so the reader takes only what `pack` writes: plain numbers, in C order, little-endian, under
one exact form of the .npy header (numpy.lib.format, version 1.0). It evaluates nothing and allocates nothing that the
stream did not pay for in bytes. This file is also mounted into the sandbox: numpy and the standard library only.
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

MAGIC = b"EXCISE-FRAMES-1\n"
MOST_FRAMES = 4096
LONGEST_NAME = 200
_COUNT, _FRAME = struct.Struct("<I"), struct.Struct("<HQ")
_NPY, _LENGTH = b"\x93NUMPY\x01\x00", struct.Struct("<H")
_TYPES = {"|b1", "|i1", "|u1", "<i2", "<u2", "<f2", "<i4", "<u4", "<f4", "<i8", "<u8", "<f8"}
_HEADER = re.compile(rb"\{'descr': '([<|][a-z][0-9])', 'fortran_order': False, 'shape': \(([0-9, ]{0,200})\), \} *\n")


class FrameError(ValueError):
    """The stream is not what `pack` writes."""


def pack(arrays: Mapping[str, npt.NDArray]) -> bytes:  # type: ignore[type-arg]
    """Writes named arrays of booleans, integers or floats (up to 64 bits).

    Raises:
        FrameError: an array of another type, or a name that is empty, longer than 200 bytes or not text.
    """
    if len(arrays) > MOST_FRAMES:
        raise FrameError(f"{len(arrays)} arrays; at most {MOST_FRAMES}")
    parts = [MAGIC, _COUNT.pack(len(arrays))]
    for name, value in arrays.items():
        # Not ascontiguousarray: it would give a scalar one dimension.
        array = np.asarray(value, order="C")
        if array.dtype.newbyteorder("<").str not in _TYPES:
            raise FrameError(f"array {name!r} has type {array.dtype}; only booleans, integers and floats can cross")
        array = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        label = name.encode() if isinstance(name, str) else b""
        if not 0 < len(label) <= LONGEST_NAME:
            raise FrameError(f"name {name!r:.50} is not text of 1 to {LONGEST_NAME} bytes")
        payload = io.BytesIO()
        np.lib.format.write_array(payload, array, version=(1, 0), allow_pickle=False)
        parts += [_FRAME.pack(len(label), payload.getbuffer().nbytes), label, payload.getvalue()]
    return b"".join(parts)


def unpack(stream: bytes, *, limit: int = 1 << 30) -> dict[str, npt.NDArray]:  # type: ignore[type-arg]
    """Reads what `pack` wrote, in its order. Values are not judged: they may be NaN.

    Args:
        limit: bytes of stream that are read at most.

    Raises:
        FrameError: the stream is too long, cut short, has bytes left over, or holds anything but such arrays.
    """
    if len(stream) > limit:
        raise FrameError(f"{len(stream)} bytes; at most {limit}")
    cursor = _Cursor(stream)
    if bytes(cursor.take(len(MAGIC))) != MAGIC:
        raise FrameError("not a stream of frames")
    (count,) = _COUNT.unpack(cursor.take(_COUNT.size))
    if count > MOST_FRAMES:
        raise FrameError(f"{count} frames; at most {MOST_FRAMES}")
    arrays: dict[str, npt.NDArray] = {}  # type: ignore[type-arg]
    for _ in range(count):
        name_length, length = _FRAME.unpack(cursor.take(_FRAME.size))
        name = _name(cursor.take(name_length))
        if name in arrays:
            raise FrameError(f"two frames are named {name!r}")
        arrays[name] = _array(name, cursor.take(length))
    if cursor.left:
        raise FrameError(f"{cursor.left} bytes follow the last frame")
    return arrays


class _Cursor:
    def __init__(self, stream: bytes) -> None:
        self._view, self._at = memoryview(stream), 0

    @property
    def left(self) -> int:
        return len(self._view) - self._at

    def take(self, length: int) -> memoryview:
        if length > self.left:
            raise FrameError(f"cut short: {length} bytes announced, {self.left} left")
        self._at += length
        return self._view[self._at - length : self._at]


def _name(label: memoryview) -> str:
    try:
        name = bytes(label).decode()
    except UnicodeDecodeError:
        raise FrameError("a name is not text") from None
    if not 0 < len(label) <= LONGEST_NAME:
        raise FrameError(f"a name has {len(label)} bytes; 1 to {LONGEST_NAME} are allowed")
    return name


def _array(name: str, payload: memoryview) -> npt.NDArray:  # type: ignore[type-arg]
    start = len(_NPY) + _LENGTH.size
    if bytes(payload[: len(_NPY)]) != _NPY or len(payload) < start:
        raise FrameError(f"frame {name!r} is not .npy of version 1.0")
    (length,) = _LENGTH.unpack(payload[len(_NPY) : start])
    found = _HEADER.fullmatch(bytes(payload[start : start + length]))
    if found is None or (descr := found[1].decode()) not in _TYPES:
        raise FrameError(f"frame {name!r} has a foreign header or type")
    try:
        shape = tuple(int(size) for size in found[2].decode().split(",") if size.strip())
        values = np.frombuffer(payload[start + length :], dtype=descr)
        # Not reshape alone: it would be asked to make (0, 2**70) of nothing.
        if values.size != math.prod(shape) or any(size > len(payload) for size in shape):
            raise FrameError(f"frame {name!r} of shape {shape} holds {values.size} values")
        return values.reshape(shape).copy()
    except FrameError:
        raise
    except ValueError as error:
        raise FrameError(f"frame {name!r}: {error}") from None
