"""The self-test of a sandbox: attacks that are really run, and a look from outside at what they did."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from excise.arena.sandbox import attack_programs as programs
from excise.arena.sandbox import seccomp
from excise.arena.sandbox.base import Completed, Limits, Sandbox, SandboxError
from excise.arena.sandbox.folder import read_inside
from excise.arena.sandbox.frames import FrameError, unpack
from excise.arena.sandbox.process import tree

MB = 1 << 20
TIGHT = Limits(seconds=10, cpu_seconds=10, memory=512 * MB, disk=8 * MB, processes=16, output=8 * MB)


@dataclass(frozen=True)
class AttackResult:
    """One attack: whether the sandbox held, and what stopped it (or what it got)."""

    name: str
    held: bool
    how: str


@dataclass(frozen=True)
class Attack:
    """One program, and how to tell from outside whether it got anywhere.

    Attributes:
        source: a body from `attack_programs`.
        then: a second program, run after it in a sandbox of its own.
        limits: that the program runs under.
        must_end: how a resource attack has to end, "" for the others.
        harmful: not to be run without a sandbox.
        quick: part of `self_test`.
        reads_output: the output is frames to be refused, not evidence.
    """

    name: str
    source: str
    then: str = ""
    limits: Limits = TIGHT
    must_end: Sequence[str] = ()
    harmful: bool = False
    quick: bool = False
    reads_output: bool = False


ATTACKS = [
    Attack("read a file of the grader", programs.READ_FILE, quick=True),
    Attack("list the grader's, home and cache folders", programs.LIST_FOLDERS),
    Attack("find secrets in environments", programs.ENVIRONMENT, quick=True),
    Attack("read the memory of another process", programs.MEMORY_OF_OTHERS, quick=True),
    Attack("send a signal to another process", programs.SIGNALS, quick=True),
    Attack("connect to the host's loopback", programs.LOOPBACK, quick=True),
    Attack("reach the public network", programs.PUBLIC_NETWORK),
    Attack("open a socket to the hypervisor", programs.VIRTUAL_SOCKET),
    Attack("connect to the host's unix sockets", programs.UNIX_SOCKETS, quick=True),
    Attack("write among the installed packages", programs.WRITE_PACKAGES, quick=True),
    Attack("change a file of the grader", programs.WRITE_FILES, quick=True),
    Attack("change settings of the kernel", programs.KERNEL_SETTINGS),
    Attack("open devices", programs.DEVICES),
    Attack("gain privilege", programs.PRIVILEGE, quick=True),
    Attack("open nested namespaces, mount", programs.NAMESPACES, harmful=True),
    Attack("use the kernel keyring", programs.KEYRING),
    Attack("call rare parts of the kernel", programs.KERNEL_CALLS),
    Attack("raise its own limits", programs.RAISE_LIMITS),
    Attack("read the excise package and its labels", programs.LABELS, quick=True),
    Attack("leave links and pipes in the work folder", programs.LINKS),
    Attack("leave a note for the next run", programs.LEAVE_NOTE, then=programs.FIND_NOTE),
    Attack("leave a daemon behind", programs.DAEMON, quick=True),
    Attack("never end", programs.LOOP, limits=replace(TIGHT, seconds=0.3), must_end=("time",), quick=True),
    Attack(
        "fork without end",
        programs.FORK_BOMB,
        limits=replace(TIGHT, seconds=3),
        must_end=("time", "signal"),
        harmful=True,
    ),
    Attack("take three times the memory", programs.MEMORY),
    Attack("take the memory in many processes", programs.MEMORY_OF_MANY),
    Attack("fill the disk", programs.DISK, harmful=True),
    Attack("flood the output", programs.FLOOD, must_end=("output",)),
    Attack("send a pickle as an array", programs.PICKLE, limits=replace(TIGHT, memory=4096 * MB), reads_output=True),
]


def attack_report(sandbox: Sandbox, attacks: Sequence[Attack] = tuple(ATTACKS)) -> list[AttackResult]:
    """Runs attacks, one after the other, about 10 s for all."""
    results = []
    for attack in attacks:
        with Stage() as stage:
            results.append(_judge(attack, sandbox, stage))
    return results


def self_test(sandbox: Sandbox) -> list[AttackResult]:
    """The quick attacks, after a look whether an honest program runs at all.

    Raises:
        SandboxError: the sandbox does not start, or numpy cannot be imported in it.
    """
    done = sandbox.run([sandbox.python, "-c", "import numpy"], limits=Limits(seconds=60))
    if done.returncode != 0 or done.ended != "exit":
        raise SandboxError(
            f"numpy cannot be imported in the {sandbox.name} sandbox: {done.log.strip()[-300:]}. Run Excise from a "
            "virtual environment that holds its dependencies"
        )
    quick = [attack for attack in ATTACKS if attack.quick]
    programs_only = "\n".join(attack.source for attack in quick if not attack.must_end)
    # One launch for all; each on its own only to tell which it was.
    together = [Attack("quick attacks", programs_only), *(attack for attack in quick if attack.must_end)]
    results = attack_report(sandbox, together)
    return results if all(result.held for result in results) else attack_report(sandbox, quick)


@dataclass
class Stage:
    """What there is to be stolen or broken: a secret file, a victim process, listeners. One attack each."""

    tag: str = field(default_factory=lambda: "excise-" + secrets.token_hex(8))
    secret: str = field(default_factory=lambda: secrets.token_hex(16))

    def __enter__(self) -> Stage:
        self._stack = contextlib.ExitStack()
        # Not under /tmp alone: that a sandbox has its own /tmp must not be the only thing that hides it.
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="excise-")))
        self.work = self.folder / "work"
        self.work.mkdir()
        self.file = self.folder / "secret"
        self.file.write_text(self.secret)
        self.before = self.file.stat()
        self.victim = subprocess.Popen(["sleep", "60"], env={"SECRET": self.secret}, stdin=subprocess.DEVNULL)
        self._stack.callback(self.victim.wait)
        self._stack.callback(self.victim.kill)
        self.port = self._listen(socket.AF_INET, ("127.0.0.1", 0)).getsockname()[1]
        self._listen(socket.AF_UNIX, "\0" + self.tag)
        self._listen(socket.AF_UNIX, str(self.folder / "socket"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stack.close()

    def _listen(self, family: int, address: str | tuple[str, int]) -> socket.socket:
        server = socket.socket(family)
        server.bind(address)
        server.listen()
        self._stack.callback(server.close)
        # shutdown, as close alone does not wake a thread that waits in accept.
        self._stack.callback(server.shutdown, socket.SHUT_RDWR)
        threading.Thread(target=self._answer, args=(server,), daemon=True).start()
        return server

    def _answer(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                client.sendall(self.secret.encode())
                client.close()

    def known(self) -> str:
        """What the attacker is told."""
        column = 1 if platform.machine() == "aarch64" else 0
        return json.dumps(
            {
                "tag": self.tag,
                "secret": str(self.file),
                "file": str(self.file),
                "folder": str(self.folder),
                "home": str(Path.home()),
                "package": str(Path(__file__).parents[2] / "concepts"),
                "victim": self.victim.pid,
                "port": self.port,
                "abstract": "\0" + self.tag,
                "socket": str(self.folder / "socket"),
                "calls": {name: numbers[column] for name, numbers in seccomp.REFUSED.items()},
            }
        )

    def damage(self) -> str:
        """What is changed on the host, "" if nothing is."""
        if self.victim.poll() is not None:
            return "another process was ended"
        if not self.file.exists() or self.file.read_text() != self.secret:
            return "a file was changed"
        after = self.file.stat()
        if (after.st_mode, after.st_mtime_ns) != (self.before.st_mode, self.before.st_mtime_ns):
            return "a file's mode or time was changed"
        if {path.name for path in self.folder.iterdir()} != {"work", "secret", "socket"}:
            return "a file was made"
        return "a process was left running" if self._left() else ""

    def _left(self) -> bool:
        left = [pid for pid, line in _command_lines() if self.tag.encode() in line and pid not in tree(os.getpid())]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        return bool(left)


def _command_lines() -> Iterator[tuple[int, bytes]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                yield int(entry.name), (entry / "cmdline").read_bytes()


def _judge(attack: Attack, sandbox: Sandbox, stage: Stage) -> AttackResult:
    done: Completed | None = None
    for source in filter(None, (attack.source, attack.then)):
        program = programs.PREAMBLE + source + (programs.END if not attack.reads_output else "")
        done = sandbox.run(
            [sandbox.python, "-c", program, stage.known()],
            # A note is left without a folder of one's own; a folder that the host gave would be the same twice.
            work=None if attack.then or attack.source == programs.DISK else stage.work,
            limits=attack.limits,
        )
    assert done is not None
    held, how = _evidence(attack, done, stage)
    return AttackResult(attack.name, held, how)


def _evidence(attack: Attack, done: Completed, stage: Stage) -> tuple[bool, str]:
    if damage := stage.damage():
        return False, damage
    if attack.reads_output:
        return _refused(done)
    if stage.secret.encode() in done.output:
        return False, "the secret came out"
    if b"GOT" in done.output:
        return False, "it succeeded"
    # A slow machine may not get as far as the word; one that ran into its limit did run.
    if b"TRIED" not in done.output and done.ended not in attack.must_end:
        return False, f"the attack could not be run: {done.log.strip()[-200:] or done.ended}"
    if attack.must_end and done.ended not in attack.must_end:
        return False, f"ended by {done.ended}"
    for name in ("link", "folder/secret", "second", "pipe"):
        with contextlib.suppress(SandboxError):
            if stage.secret.encode() in read_inside(stage.work, name):
                return False, f"the host followed {name}"
    if done.ended != "exit":
        return True, {"time": "ended by time", "output": "ended by output", "signal": "killed"}[done.ended]
    lines = [line for line in done.output.decode(errors="replace").splitlines() if line.startswith("TRIED")]
    return True, ", ".join(lines[-1].split()[1:]) or "nothing there"


def _refused(done: Completed) -> tuple[bool, str]:
    try:
        unpack(done.output)
    except FrameError as error:
        return (True, str(error)) if done.output.startswith(b"EXCISE") else (False, f"could not be run: {done.log}")
    return False, "foreign frames were read"
