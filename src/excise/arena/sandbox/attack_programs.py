"""Attacks on a sandbox, as programs that run inside it.

Each gets `S` (what an attacker may know: paths, ports, process numbers, never the secret) and calls `attempt` for each
way in. A program that gets somewhere prints GOT, or the secret itself; one that tried everything prints TRIED.
"""

from __future__ import annotations

PREAMBLE = """
import ctypes, json, os, socket, sys, time
S = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
errors = []

def attempt(way, got=False):
    try:
        found = way()
    except (OSError, MemoryError, ValueError, ImportError, AttributeError) as error:
        errors.append(type(error).__name__)
        return
    if got and found is not False:
        print("GOT", flush=True)
    elif found:
        print(found, flush=True)

def read(path, size=1 << 20):
    with open(path, "rb") as file:
        return file.read(size)

def call(name, *arguments):
    if libc.syscall(S["calls"][name], *arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

def others():
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
"""
END = """
print("TRIED", *sorted(set(errors)), flush=True)
"""

READ_FILE = """
attempt(lambda: read(S["secret"]))
attempt(lambda: read("/proc/self/cwd/../../../.." + S["secret"]))
attempt(lambda: read("/proc/1/root" + S["secret"]))
attempt(lambda: read(f"/proc/{S['victim']}/root" + S["secret"]))
"""
LIST_FOLDERS = """
attempt(lambda: os.listdir(S["folder"]), got=True)
# One entry may be the way to the interpreter.
attempt(lambda: len(os.listdir(S["home"])) > 1, got=True)
attempt(lambda: os.listdir(S["home"] + "/.cache"), got=True)
"""
ENVIRONMENT = """
attempt(lambda: json.dumps(dict(os.environ)))
attempt(lambda: read(f"/proc/{S['victim']}/environ"))
attempt(lambda: [attempt(lambda pid=pid: read(f"/proc/{pid}/environ")) for pid in others()] and None)
"""
MEMORY_OF_OTHERS = """
def stack(pid):
    line = next(line for line in read(f"/proc/{pid}/maps").decode().splitlines() if line.endswith("[stack]"))
    return [int(end, 16) for end in line.split()[0].split("-")]

def memory(pid):
    start, end = stack(pid)
    with open(f"/proc/{pid}/mem", "rb") as file:
        file.seek(start)
        return file.read(end - start)

attempt(lambda: memory(S["victim"]))
attempt(lambda: call("ptrace", 16, S["victim"], 0, 0), got=True)
"""
SIGNALS = """
attempt(lambda: os.kill(S["victim"], 0), got=True)
attempt(lambda: os.kill(S["victim"], 15))
"""
LOOPBACK = """
attempt(lambda: socket.create_connection(("127.0.0.1", S["port"]), timeout=1).recv(100))
"""
# No packet leaves: connecting a datagram socket only asks for a route. 192.0.2.0/24 is for documentation (RFC 5737).
PUBLIC_NETWORK = """
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 9)), got=True)
attempt(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).connect(("2001:db8::1", 9)), got=True)
"""
VIRTUAL_SOCKET = """
attempt(lambda: socket.socket(40, socket.SOCK_STREAM), got=True)
"""
UNIX_SOCKETS = """
def ask(address):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(1)
    client.connect(address)
    return client.recv(100)

attempt(lambda: ask(S["abstract"]))
attempt(lambda: ask(S["socket"]))
"""
WRITE_PACKAGES = """
import sysconfig
folders = {sysconfig.get_paths()["purelib"], sysconfig.get_paths()["stdlib"], os.path.dirname(sys.executable)}
for folder in folders:
    attempt(lambda: open(os.path.join(folder, S["tag"]), "w").close(), got=True)
    attempt(lambda: os.remove(os.path.join(folder, S["tag"])))
"""
WRITE_FILES = """
attempt(lambda: open(S["file"], "a").write("x"), got=True)
attempt(lambda: os.rename(S["file"], S["file"] + ".moved"), got=True)
attempt(lambda: os.chmod(S["file"], 0o777), got=True)
attempt(lambda: os.utime(S["file"], (0, 0)), got=True)
attempt(lambda: open(S["folder"] + "/new", "w").close(), got=True)
"""
KERNEL_SETTINGS = """
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger", "/dev/kmsg"):
    attempt(lambda: os.open(path, os.O_WRONLY), got=True)
"""
DEVICES = """
for name in ("mem", "kmsg", "port", "sda", "vda", "nvme0n1", "nvidiactl", "kvm", "fuse", "loop-control"):
    attempt(lambda: os.open("/dev/" + name, os.O_RDONLY), got=True)
"""
PRIVILEGE = """
class Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

header, sets = Header(0x20080522, 0), (ctypes.c_uint32 * 6)()
attempt(lambda: libc.capget(ctypes.byref(header), sets) == 0 and any(sets), got=True)
attempt(lambda: libc.prctl(39, 0, 0, 0, 0) != 1, got=True)
"""
NAMESPACES = """
for flag in (0x10000000, 0x00020000, 0x40000000):
    attempt(lambda: libc.unshare(flag) == 0, got=True)
attempt(lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, b"") == 0, got=True)
attempt(lambda: libc.chroot(b"/tmp") == 0, got=True)
"""
KEYRING = """
attempt(lambda: call("add_key", b"user", S["tag"].encode(), b"x", 1, -2), got=True)
attempt(lambda: call("keyctl", 0, -3, 0), got=True)
"""
KERNEL_CALLS = """
for name in ("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "process_vm_readv", "memfd_create", "shmget"):
    libc.syscall(S["calls"][name], 0, 0, 0, 0, 0, 0)
    # Refused whole, not for its bad arguments.
    attempt(lambda: ctypes.get_errno() not in (1, 38), got=True)
"""
RAISE_LIMITS = """
import resource
for limit in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_CPU):
    attempt(lambda: resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)), got=True)
"""
LABELS = """
import importlib.util
attempt(lambda: os.listdir(S["package"]), got=True)
attempt(lambda: importlib.util.find_spec("excise").origin is not None, got=True)
for folder in sys.path:
    attempt(lambda: os.listdir(os.path.join(folder, "excise")) != [], got=True)
"""
LINKS = """
attempt(lambda: os.symlink(S["secret"], "link"))
attempt(lambda: os.symlink(S["folder"], "folder"))
attempt(lambda: os.link(S["secret"], "second"))
attempt(lambda: os.mkfifo("pipe"))
"""
LEAVE_NOTE = """
for folder in ("/tmp", "/dev/shm", "/var/tmp", "."):
    attempt(lambda: open(f"{folder}/{S['tag']}", "w").write("note") and None)
"""
FIND_NOTE = """
for folder in ("/tmp", "/dev/shm", "/var/tmp", "."):
    attempt(lambda: read(f"{folder}/{S['tag']}"), got=True)
    attempt(lambda: os.remove(f"{folder}/{S['tag']}"))
"""
DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        time.sleep(20)
    os._exit(0)
time.sleep(0.1)
"""
LOOP = """
print("TRIED", flush=True)
while True:
    pass
"""
FORK_BOMB = """
print("TRIED", flush=True)
while True:
    attempt(os.fork)
"""
MEMORY = """
print("TRIED", flush=True)
held = []
for _ in range(24):
    attempt(lambda: held.append(b"x" * (1 << 26)))
if len(held) == 24:
    print("GOT", flush=True)
"""
MEMORY_OF_MANY = """
print("TRIED", flush=True)
told, tell = os.pipe()
for _ in range(7):
    if os.fork() == 0:
        held = b"x" * (200 << 20)
        os.write(tell, b".")
        time.sleep(9)
        os._exit(0)
for _ in range(7):
    os.read(told, 1)
time.sleep(0.5)
print("GOT", flush=True)
"""
DISK = """
print("TRIED", flush=True)
written = 0
for number in range(100):
    for folder in (".", "/tmp", "/dev/shm", "/", "/dev", "/venv", "/var/tmp"):
        def fill():
            global written
            path = f"{folder}/{S['tag']}-{number}"
            with open(path, "wb") as file:
                written += file.write(b"x" * (4 << 20))
            if folder != ".":
                S.setdefault("made", []).append(path)
        attempt(fill)
    time.sleep(0.01)
for path in S.get("made", []):
    attempt(lambda: os.remove(path))
if written > 200 << 20:
    print("GOT", flush=True)
"""
FLOOD = """
print("TRIED", flush=True)
for _ in range(64):
    sys.stdout.buffer.write(b"x" * (1 << 20))
print("GOT", flush=True)
"""
PICKLE = """
import io, struct
import numpy as np

class Bomb:
    def __reduce__(self):
        return os.system, ("touch " + S["folder"] + "/exploded",)

file = io.BytesIO()
np.save(file, np.array([Bomb()], dtype=object), allow_pickle=True)
payload = file.getvalue()
stream = b"EXCISE-FRAMES-1\\n" + struct.pack("<I", 1) + struct.pack("<HQ", 1, len(payload)) + b"x" + payload
sys.stdout.buffer.write(stream)
sys.stdout.flush()
"""
