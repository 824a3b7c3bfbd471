"""A warm process that forks a fresh one for each submission; `cage` starts it and speaks to it.

It runs as a script and needs the standard library alone, since in a cage it is the only file of the grader's. It
imports once what is slow to import, and then waits on its control socket. A request carries a lifeline and the sockets
that the new process works with. Three processes come of it:

    zygote --fork--> a go-between, which enters new namespaces, so that what it forks is process 1 there, and leaves
             --fork--> the watcher, process 1: it lays out the mounts, then watches lifeline, memory and processes
               --fork--> the inmate: it gives up every right that it had, and calls the entry

The kernel ends every process of a namespace with its process 1. So when the lifeline closes, because the grader wants
it or because the grader is gone, the watcher leaves, and with it goes whatever the inmate started, daemon or not.

Without a cage there are no namespaces: the watcher then ends all that descends from it, which is the best it can do.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import random
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from typing import Any, NoReturn

try:
    import resource
except ImportError:  # not on Windows
    resource = None

SCRATCH = "/student"  # in a cage; elsewhere a temporary folder
HOME = f"{SCRATCH}/home"  # the working folder there
TICK = 0.05  # seconds between two looks at the memory
HEADROOM = 8  # processes between the bound, where the watcher ends an inmate and says why, and the kernel's refusal
MOST_ENTRIES = 2**16  # files and folders in an inmate's scratch space
SECONDS_TO_END = 10  # for killed processes to be gone
OUT_OF_MEMORY = 113  # the exit status of an entry that raises MemoryError

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 0x1000, 0x4000, 0x40000
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 4, 22, 24, 36, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, SECCOMP_MODE_FILTER = 47, 4, 2
CAP_KILL, CAP_SYS_PTRACE = 5, 19

libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None


# ---- messages --------------------------------------------------------------------------------------------------------
def send(end: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Write a message, and file descriptors with it."""
    data = json.dumps(message).encode()
    header = struct.pack("!I", len(data))
    if fds:
        socket.send_fds(end, [header], fds)
    else:
        end.sendall(header)
    end.sendall(data)


def receive(end: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Read a message, and the file descriptors that came with it.

    Raises:
        EOFError: there is no other end any more.
    """
    header, fds, _, _ = socket.recv_fds(end, 4, 64)
    if not header:
        raise EOFError
    header += read(end, 4 - len(header))
    return json.loads(read(end, struct.unpack("!I", header)[0])), list(fds)


def read(end: socket.socket, size: int) -> bytes:
    """Read so many bytes.

    Raises:
        EOFError: there is no other end any more.
    """
    data = bytearray()
    while len(data) < size:
        more = end.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return bytes(data)


# ---- the zygote ------------------------------------------------------------------------------------------------------
def main() -> None:
    """Import what is wanted, say so, and fork at each request until the control socket closes."""
    control = socket.socket(fileno=int(sys.argv[1]))
    config, _ = receive(control)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the control socket is what ends it
    try:
        entry = prepare(config)
    except BaseException as error:
        send(control, {"failed": told(error)})
        return
    send(control, {"ready": True})
    while True:
        try:
            _, fds = receive(control)
        except (EOFError, OSError):
            break
        try:
            if os.fork() == 0:
                control.close()
                branch_off(entry, config, fds)
        except OSError as error:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fds[0])) as lifeline:
                send(lifeline, {"failed": told(error)})
        for fd in fds:
            os.close(fd)
        reap()
    if not config["caged"]:
        shutil.rmtree(config["scratch"], ignore_errors=True)


def told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:2000]


def reap() -> Iterator[tuple[int, int, Any]]:
    """Collect the children that have ended."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while (child := os.wait4(-1, os.WNOHANG))[0]:
            ended.append(child)
    return iter(ended)


def prepare(config: dict[str, Any]) -> Callable[..., None]:
    """Import everything; the entry.

    Raises:
        RuntimeError: an import started a thread, which no fork would have.
    """
    sys.path[:0] = config["path"]
    Finder.masked, Finder.distributions = frozenset(config["masked"]), frozenset(config["distributions"])
    sys.meta_path[:] = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
    for name in config["preload"]:
        importlib.import_module(name)
    module, _, function = config["entry"].partition(":")
    entry = getattr(importlib.import_module(module), function)
    with contextlib.suppress(FileNotFoundError):
        threads = len(os.listdir("/proc/self/task"))
        if threads > 1:
            raise RuntimeError(f"{threads} threads after the imports: a process to fork from must have one")
    gc.collect()
    gc.freeze()  # a collection in a fork then leaves these pages shared
    return entry


class Finder(PathFinder):
    """Python's own finder, which here finds no masked package and no metadata of one.

    In a cage the files are gone as well, but what stays of them is an empty folder, and that would be a package too.
    """

    masked: frozenset[str] = frozenset()
    distributions: frozenset[str] = frozenset()

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
        return None if fullname in cls.masked else super().find_spec(fullname, path, target)

    @classmethod
    def find_distributions(cls, *context: Any) -> Iterator[Any]:
        for found in super().find_distributions(*context):
            if os.path.basename(str(getattr(found, "_path", ""))).split("-")[0].lower() not in cls.distributions:
                yield found


def branch_off(entry: Callable[..., None], config: dict[str, Any], fds: list[int]) -> NoReturn:
    """In the zygote's child: become the watcher, or fork it.

    What is asked for comes over the lifeline, since later forks have a copy of all that the zygote itself ever read.
    """
    lifeline, ends = socket.socket(fileno=fds[0]), fds[1:]
    try:
        request, _ = receive(lifeline)
        if config["caged"]:
            enter_namespaces(config["privileged"])
            if os.fork():
                os._exit(0)
            scratch = HOME
            furnish(config, request)
        else:
            if sys.platform == "linux":
                libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            os.setsid()
            scratch = tempfile.mkdtemp(dir=config["scratch"])
            lay_out(config["files"], scratch)
        ours, theirs = socket.socketpair()
        inmate = os.fork()
        if inmate == 0:
            lifeline.close()
            ours.close()
            become(entry, config, request, ends, theirs, scratch)
        theirs.close()
        for fd in ends:
            os.close(fd)
        if config["caged"]:
            # out of the inmate's reach, and with no more rights than it takes to measure and to end it
            set_capabilities(*((CAP_KILL, CAP_SYS_PTRACE) if config["privileged"] else ()))
            libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        word = ours.recv(4096)
        if word != b"ready":
            raise RuntimeError(word.decode() or "the process ended before it had given up its rights")
        watcher = Watcher(inmate, lifeline, request["bounds"], config["caged"])
        ours.close()  # it begins: what it holds so far has been measured
        send(lifeline, {"ready": True})
        ending = watcher.run()
        if not config["caged"]:
            shutil.rmtree(scratch, ignore_errors=True)
        send(lifeline, ending)
    except BaseException as error:
        with contextlib.suppress(OSError):
            send(lifeline, {"failed": told(error)})
    finally:
        os._exit(0)


# ---- what the inmate finds -------------------------------------------------------------------------------------------
def check(result: int, what: str) -> None:
    """Raise OSError for what a C function left in errno."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} ({what})")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    texts = [text and text.encode() for text in (source, target, kind)]
    check(libc.mount(*texts, ctypes.c_ulong(flags), options.encode()), f"mount on {target}")


def enter_namespaces(privileged: bool) -> None:
    """Leave the zygote's namespaces for new ones; the next fork is process 1 there.

    Without root, a user namespace gives the right to do so. The kernel counts processes in each of those apart.
    """
    uid, gid = os.getuid(), os.getgid()
    new = NEWNS | NEWPID | NEWIPC | NEWNET | NEWUTS | NEWCGROUP
    check(libc.unshare(new if privileged else new | NEWUSER), "new namespaces")
    if not privileged:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def furnish(config: dict[str, Any], request: dict[str, Any]) -> None:
    """Process 1's first work: a scratch space, a /proc and terminals that no other inmate sees."""
    fonts = saved_fonts()
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    # one file system for all scratch, since then one size bounds it
    options = f"mode=755,size={request['bounds']['scratch_bytes']},nr_inodes={MOST_ENTRIES}"
    mount("tmpfs", SCRATCH, "tmpfs", MS_NOSUID | MS_NODEV, options)
    os.mkdir(f"{SCRATCH}/tmp", 0o700)  # TMPDIR, also where /tmp itself holds the environment and stays as it is
    for name, place in config["temporary"].items():
        os.makedirs(f"{SCRATCH}/{name}", 0o700, exist_ok=True)
        mount(f"{SCRATCH}/{name}", place, None, MS_BIND)
    os.makedirs(f"{HOME}/.matplotlib", 0o700)
    for name, data in fonts.items():
        with open(f"{HOME}/.matplotlib/{name}", "wb") as file:
            file.write(data)
    lay_out(config["files"], HOME)
    if request["uid"] is not None:
        for folder, folders, names in os.walk(SCRATCH):
            for name in folders + names:
                os.chown(os.path.join(folder, name), request["uid"], request["uid"], follow_symlinks=False)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")


def saved_fonts() -> dict[str, bytes]:
    """matplotlib's list of fonts as the zygote made it: a process that an inmate starts would need seconds for it."""
    found = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(f"{HOME}/.matplotlib") as entries:
        for entry in entries:
            if entry.is_file() and entry.name.endswith(".json"):
                with open(entry.path, "rb") as file:
                    found[entry.name] = file.read()
    return found


def lay_out(files: dict[str, str], folder: str) -> None:
    """Put links to the data files into the working folder."""
    for name, source in files.items():
        place = os.path.join(folder, name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.symlink(source, place)


# ---- the watcher -----------------------------------------------------------------------------------------------------
class Watcher:
    """Waits for the inmate's end, for the grader's word, or for a bound to be broken.

    Memory is counted on top of what a fresh fork has. What no process maps is not in the sum: the filter refuses the
    ways to hold such memory, but for files, and the scratch space that they lie in is counted as a whole.
    """

    def __init__(self, inmate: int, lifeline: socket.socket, bounds: dict[str, int], caged: bool):
        self.inmate, self.lifeline, self.bounds, self.caged = inmate, lifeline, bounds, caged
        self.base = self.peak = 0
        self.end: tuple[int, Any] | None = None
        self.resident = field_bytes(inmate, "VmRSS")
        if caged:
            self.base = self.count()[0]

    def run(self) -> dict[str, Any]:
        """Watch, then end everything; how it ended."""
        poll = select.poll()
        poll.register(self.lifeline, select.POLLIN)
        if hasattr(os, "pidfd_open"):
            poll.register(os.pidfd_open(self.inmate), select.POLLIN)
        reason, pause = "", TICK
        while not reason:
            ready = [fd for fd, _ in poll.poll(1000 * pause)]
            self.collect()
            if self.end:
                break
            if self.lifeline.fileno() in ready:
                reason = "killed"
            elif self.caged:
                began = time.monotonic()
                reason = self.look()
                pause = max(TICK, 10 * (time.monotonic() - began))  # a tenth of a processor at most
        self.end_all()
        return self.ending(reason)

    def collect(self) -> None:
        """Bury the dead: orphans come to process 1."""
        for pid, status, used in reap():
            if pid == self.inmate:
                self.end = (status, used)

    def look(self) -> str:
        """Which bound is broken, if any."""
        held, tasks = self.count()
        if held - self.base > self.bounds["memory"]:
            held = self.count(exactly=True)[0]
        self.peak = max(self.peak, held - self.base)
        if held - self.base > self.bounds["memory"]:
            return "memory"
        return "processes" if tasks > self.bounds["processes"] else ""

    def count(self, exactly: bool = False) -> tuple[int, int]:
        """Bytes held by all processes but this one, and how many threads they have.

        A page that forks share counts for each of them, unless `exactly`: then it is divided, which takes longer.
        """
        scratch = os.statvfs(SCRATCH)
        held, tasks = (scratch.f_blocks - scratch.f_bfree) * scratch.f_frsize, 0
        for name in os.listdir("/proc"):
            if name.isdigit() and name != "1":
                with contextlib.suppress(OSError):
                    figures = fields(f"/proc/{name}/status")
                    tasks += figures.get("Threads", 0)
                    anonymous = figures.get("RssAnon", 0)
                    if exactly:
                        with contextlib.suppress(PermissionError):
                            anonymous = fields(f"/proc/{name}/smaps_rollup").get("Pss_Anon", anonymous)
                    held += 1024 * (anonymous + figures.get("VmSwap", 0) + figures.get("VmPTE", 0))
        return held, tasks

    def end_all(self) -> None:
        """Kill what is left, and wait until it is gone."""
        deadline = time.monotonic() + SECONDS_TO_END
        while time.monotonic() < deadline:
            for pid in self.victims():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            try:
                pid, status, used = os.wait4(-1, 0)
            except ChildProcessError:
                return
            if pid == self.inmate:
                self.end = (status, used)

    def victims(self) -> list[int]:
        """What to kill now; orphans of those come to this process, and are next."""
        if self.caged:
            return [-1]
        try:
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                return [int(pid) for pid in file.read().split()]
        except OSError:
            return [-self.inmate] if self.end is None else []

    def ending(self, reason: str) -> dict[str, Any]:
        """The last message to the grader."""
        status, used = self.end or (0, None)
        code = os.waitstatus_to_exitcode(status)
        if not reason:
            reason = "signal" if code < 0 else "memory" if code == OUT_OF_MEMORY else "exit"
            if used and code in (-getattr(signal, "SIGXCPU", 0), -signal.SIGKILL):
                seconds = used.ru_utime + used.ru_stime
                reason = "cpu" if seconds >= self.bounds["cpu_seconds"] - 1 else reason
        if used and self.resident:
            scale = 1 if sys.platform == "darwin" else 1024
            self.peak = max(self.peak, scale * used.ru_maxrss - self.resident)
        worked = resource.getrusage(resource.RUSAGE_CHILDREN) if resource else None  # of all that it started
        seconds = worked.ru_utime + worked.ru_stime if worked else 0.0
        return {"reason": reason, "code": code, "peak_bytes": self.peak, "cpu_seconds": seconds}


def fields(path: str) -> dict[str, int]:
    """The numbers in one of /proc's tables. A process's name is in there, with its line breaks escaped."""
    found = {}
    with open(path) as file:
        for line in file:
            key, _, value = line.partition(":")
            value = value.split(maxsplit=1)
            if value and value[0].isdigit():
                found.setdefault(key, int(value[0]))
    return found


def field_bytes(pid: int, key: str) -> int:
    try:
        return 1024 * fields(f"/proc/{pid}/status").get(key, 0)
    except OSError:
        return 0


# ---- the inmate ------------------------------------------------------------------------------------------------------
def become(
    entry: Callable[..., None],
    config: dict[str, Any],
    request: dict[str, Any],
    ends: list[int],
    tell: socket.socket,
    scratch: str,
) -> NoReturn:
    """Give up everything but `ends` and the working folder, then call the entry."""
    try:
        os.setsid()
        reset_signals()
        close_all_but(tell.fileno(), *ends)
        os.chdir(scratch)
        clean(config["environment"], scratch, f"{SCRATCH}/tmp" if config["caged"] else scratch, config["path"])
        limit(request["bounds"], config["caged"])
        if config["caged"]:
            give_up_rights(request["uid"], bytes.fromhex(config["filter"]))
        seed()
        sockets = [socket.socket(fileno=fd) for fd in ends]
        sys.modules["__main__"] = types.ModuleType("__main__")
        tell.sendall(b"ready")
        tell.recv(1)
        tell.close()
    except BaseException as error:
        with contextlib.suppress(OSError):
            tell.sendall(told(error).encode())
        os._exit(1)
    status = 1
    try:
        if request["arguments"] is not None:  # else it was tried whether a process can be caged
            entry(*sockets, **request["arguments"])
        status = 0
    except SystemExit as left:
        status = left.code & 255 if isinstance(left.code, int) else int(left.code is not None)
    except MemoryError:
        status = OUT_OF_MEMORY
    finally:
        os._exit(status)


def reset_signals() -> None:
    """Have the handlers that a fresh Python has."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def close_all_but(*kept: int) -> None:
    """Point standard streams at nothing, and close every other file."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    last = 2
    for fd in sorted(kept):
        os.closerange(last + 1, fd)
        last = fd
    os.closerange(last + 1, min(os.sysconf("SC_OPEN_MAX"), 2**20))


def clean(environment: dict[str, str], home: str, temporary: str, path: list[str]) -> None:
    """Have an environment of its own: what was imported may have added to the zygote's."""
    os.environ.clear()
    os.environ.update(environment, HOME=home, USERPROFILE=home, TMPDIR=temporary, TEMP=temporary, IPYTHONDIR=home)
    os.environ.update(MPLCONFIGDIR=f"{home}/.matplotlib", PYTHONPATH=os.pathsep.join(path))
    tempfile.tempdir = None  # the zygote may have chosen one


def limit(bounds: dict[str, int], caged: bool) -> None:
    """Set what limits the platform has."""
    if resource is None:
        return
    limits = {
        "RLIMIT_CORE": (1, 1),  # with 0 a machine's crash reporter is still called; 1 forbids that as well
        "RLIMIT_CPU": (bounds["cpu_seconds"], bounds["cpu_seconds"] + 5),
        "RLIMIT_FSIZE": (bounds["file_bytes"],) * 2,
        "RLIMIT_NOFILE": (bounds["open_files"],) * 2,
        "RLIMIT_MSGQUEUE": (0, 0),
        "RLIMIT_MEMLOCK": (2**16, 2**16),
    }
    if sys.platform == "linux":  # elsewhere it bounds another thing, or nothing
        with open("/proc/self/statm") as file:
            data = int(file.read().split()[5]) * resource.getpagesize()
        limits["RLIMIT_DATA"] = (data + bounds["memory"],) * 2
    if caged:  # elsewhere it counts all processes of the person who grades
        limits["RLIMIT_NPROC"] = (bounds["processes"] + HEADROOM,) * 2
    for name, (soft, hard) in limits.items():
        if hasattr(resource, name):
            most = resource.getrlimit(getattr(resource, name))[1]
            if most != resource.RLIM_INFINITY:
                soft, hard = min(soft, most), min(hard, most)
            resource.setrlimit(getattr(resource, name), (soft, hard))


def give_up_rights(uid: int | None, program: bytes) -> None:
    """Become a user that owns nothing, with no capability and no way to gain one, behind the filter."""
    capability = 0
    while libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient capabilities")
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    set_capabilities()
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    check(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable")  # or its own /proc/self would be closed to it
    filter = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HL", len(program) // 8, ctypes.addressof(filter))  # struct sock_fprog
    check(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0), "system-call filter")


def set_capabilities(*kept: int) -> None:
    """Give up all capabilities but `kept`."""
    word = sum(1 << number for number in kept)
    header = struct.pack("=Ii", 0x20080522, 0)  # the interface's third version, this process
    check(libc.capset(header, struct.pack("=6I", word, word, 0, 0, 0, 0)), "capabilities")


def seed() -> None:
    """Give every fork the same random numbers, and one thread."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
        sys.modules["torch"].set_num_threads(1)


if __name__ == "__main__":
    main()
