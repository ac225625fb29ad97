"""What of the host an interpreter needs, and no more: programs, libraries, the venv without `excise`."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from excise.arena.sandbox.base import Completed, SandboxError

VENV = "/venv"
# Not /usr whole: /usr/src and /usr/share often hold the user's own things in container images.
_SYSTEM = ("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec")
_FILES = ("/etc/ld.so.cache", "/etc/alternatives")
_TOP = ("/bin", "/lib", "/lib32", "/lib64")
ENVIRONMENT = {
    "PATH": f"{VENV}/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    # One row's result must not depend on how many cores the grader has.
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")},
}


def in_venv() -> bool:
    return sys.prefix != sys.base_prefix


def python() -> str:
    """The interpreter's path inside: the venv is always found at /venv, as its own path may lie under /work."""
    return f"{VENV}/bin/{Path(sys.executable).name}" if in_venv() else sys.executable


def interpreter_homes() -> list[Path]:
    """Every prefix that the chain of links from this interpreter passes through, the venv's own left out."""
    homes = [Path(sys.base_prefix), Path(os.path.realpath(sys.base_prefix))]
    link = Path(sys.executable)
    while link.is_symlink():
        link = Path(os.path.normpath(link.parent / os.readlink(link)))
        homes.append(link.parent.parent)
    return [home for home in dict.fromkeys(homes) if home != Path(sys.prefix) or not in_venv()]


def read_only() -> dict[str, Path]:
    """Path inside -> host path of all that is mounted read-only for the interpreter."""
    found = {path: Path(path) for path in (*_SYSTEM, *_FILES) if os.path.exists(path)}
    for home in interpreter_homes():
        # bin and lib only: a conda prefix also holds every other environment.
        for part in (home / "bin", home / "lib", home / "lib64"):
            if part.is_dir() and not any(part.is_relative_to(known) for known in found):
                found[str(part)] = part
    if in_venv():
        venv = Path(sys.prefix)
        found |= {f"{VENV}/{n}": venv / n for n in ("bin", "lib", "lib64", "pyvenv.cfg") if (venv / n).exists()}
    return found


def top_links() -> tuple[dict[str, str], dict[str, Path]]:
    """/bin, /lib and the like: as links where the host has links (path -> target), else as folders to mount."""
    links = {path: os.readlink(path) for path in _TOP if os.path.islink(path)}
    return links, {path: Path(path) for path in _TOP if path not in links and os.path.isdir(path)}


def masked(mounted: dict[str, Path]) -> list[str]:
    """Paths inside at which the `excise` package would be found: its data holds the labels of the concepts."""
    hidden = set()
    for inside, host in mounted.items():
        for package in host.glob("python3*/*-packages/excise"):
            hidden.add(f"{inside}/{package.relative_to(host)}")
    return sorted(hidden)


def require(mounts: Mapping[str, Path], work: Path | None) -> None:
    """Raises SandboxError for a mount that is not there."""
    for path in (*mounts.values(), *([work] if work else [])):
        if not path.exists():
            raise SandboxError(f"cannot mount {path}: it does not exist")


def outside(word: str, places: Mapping[str, str]) -> str:
    """Rewrites a word that starts with a path inside, for sandboxes that have no file tree of their own."""
    # Not the interpreter, which may lie under /work. The longest first: /work/data may be mounted from elsewhere.
    for inside in sorted(places, key=len, reverse=True):
        if word != sys.executable and (word == inside or word.startswith(inside.rstrip("/") + "/")):
            return places[inside] + word[len(inside.rstrip("/")) :]
    return word


def signalled(done: Completed) -> Completed:
    """Undoes a launcher's way (128 + number) of saying that a signal ended the program."""
    if done.ended == "exit" and 128 < done.returncode <= 192:
        return dataclasses.replace(done, ended="signal", returncode=128 - done.returncode)
    return done
