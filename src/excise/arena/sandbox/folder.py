"""Reading back what a stranger left in a work folder: no link is followed, no pipe is waited for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from excise.arena.sandbox.base import SandboxError


def read_inside(folder: Path, name: str, *, limit: int = 1 << 20) -> bytes:
    """The bytes of one plain file below a folder.

    Args:
        name: relative path, its parts divided by "/".
        limit: bytes that are read at most.

    Raises:
        SandboxError: the name leaves the folder, a part of it is a link, or it is no plain file or too large.
    """
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts):
        raise SandboxError(f"{name!r:.100} is not a plain relative path")
    # Part by part with O_NOFOLLOW, not resolve(): a running program could swap a folder for a link in between.
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = below
        # O_NONBLOCK: opening a named pipe would wait for a writer.
        descriptor = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
    except (OSError, ValueError) as error:
        raise SandboxError(f"cannot read {name!r:.100} in the work folder: {error}") from None
    finally:
        os.close(here)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        # A second name of a file elsewhere looks plain, but has two links.
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise SandboxError(f"{name!r:.100} in the work folder is not a plain file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise SandboxError(f"{name!r:.100} in the work folder has more than {limit} bytes")
    return data
