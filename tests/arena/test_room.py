"""The sandbox that Inspect's tools get."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("inspect_ai")

import anyio
from inspect_ai.util import OutputLimitExceededError, SandboxUserUnsupportedError

from excise.arena.agents.room import Room, RoomEnvironment
from excise.arena.sandbox import SandboxError, find_sandbox


@pytest.fixture
def room() -> Iterator[RoomEnvironment]:
    try:
        find_sandbox()
    except SandboxError as err:
        pytest.skip(str(err))
    environment = RoomEnvironment(find_sandbox(), Room())
    yield environment
    environment.remove()


def test_files_are_written_from_inside_and_read_without_links(room: RoomEnvironment, tmp_path: Path) -> None:
    async def tried() -> None:
        await room.write_file("a/b.txt", "kept\r\n")
        assert await room.read_file("/work/a/b.txt") == "kept\r\n"
        assert await room.read_file("a/b.txt", text=False) == b"kept\r\n"
        for path in ("../x", "/etc/passwd", "a/../../x"):
            with pytest.raises(PermissionError):
                await room.read_file(path)
            with pytest.raises(PermissionError):
                await room.write_file(path, "no")
        with pytest.raises(FileNotFoundError):
            await room.read_file("none")
        await room.exec(["ln", "-s", str(tmp_path), "out"])
        with pytest.raises(PermissionError):
            await room.write_file("out/x", "escaped")
        assert not list(tmp_path.iterdir())
        (tmp_path / "secret").write_text("secret")
        with pytest.raises(PermissionError):
            await room.read_file("out/secret")

    anyio.run(tried)


def test_commands_have_input_folder_variables_and_limits(room: RoomEnvironment) -> None:
    async def tried() -> None:
        await room.write_file("a/b.txt", "")
        done = await room.exec(["bash", "-c", "cat; ls; echo $V; echo bad >&2; exit 3"], "in,", cwd="a", env={"V": "v"})
        assert (done.stdout, done.stderr, done.returncode, done.success) == ("in,b.txt\nv\n", "bad\n", 3, False)
        with pytest.raises(TimeoutError):
            await room.exec(["sleep", "9"], timeout=1)
        with pytest.raises(OutputLimitExceededError):
            await room.exec(["cat", "/dev/zero"])
        with pytest.raises(SandboxUserUnsupportedError):
            await room.exec(["true"], user="root")
        killed = await room.exec(["bash", "-c", "kill -9 $$"])
        assert not killed.success
        assert "SIGKILL" in killed.stderr

    anyio.run(tried)


def test_a_folder_that_resists_is_removed(room: RoomEnvironment) -> None:
    nest = "import os\nfor _ in range(3000):\n os.mkdir('d'); os.chdir('d')"
    subprocess.run([sys.executable, "-c", nest], cwd=room.work, check=True)
    subprocess.run(["sh", "-c", "mkdir -p closed/in && chmod 0 closed"], cwd=room.work, check=True)
    room.remove()
    assert not room.work.exists()
