"""Processes for code that nobody trusts: forked from a warm one, in a cage where there is bubblewrap.

    with Zygote("far:serve", View({"/far": folder}, path=("/far",))) as zygote:
        ours, theirs = socket.socketpair()
        inmate = zygote.fork([theirs], {"lab": "lab03"}, Bounds(memory=2**30))
        ...
        inmate.kill()

`zygote` is what runs at the other end, `doctor` says what this machine can isolate.
"""

import contextlib
import dataclasses
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from autograder import seccomp, zygote

START_SECONDS = 180  # a first start imports torch, perhaps from a slow disk
FORK_SECONDS = 60
KILL_SECONDS = 20
KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SYSTEMROOT")  # of the grader's environment, without a cage
FIXED = {
    "OPENBLAS_NUM_THREADS": "1",  # read at import: a process to fork from must have one thread
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",  # equal code runs equally
    "MPLBACKEND": "Agg",
    "HF_HUB_OFFLINE": "1",
    "NBGRADER_EXECUTION": "autograde",
}


OURS = ("lecturekit", "autograder")
CAPABILITIES = (  # of a zygote that root started: what it takes to make namespaces and to become another user
    *("CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_CHOWN", "CAP_KILL", "CAP_SYS_PTRACE"),
)
ETC = {  # made up
    "passwd": "root:x:0:0::/:/usr/sbin/nologin\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost cage\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}


SYSTEM = (  # programs, libraries, and a /dev with little in it
    ("--ro-bind", "/usr", "/usr"),
    *(
        ("--symlink", os.readlink(name), name) if os.path.islink(name) else ("--ro-bind-try", name, name)
        for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
    ),
    *(
        ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
        for name in ("ld.so.cache", "alternatives", "fonts", "localtime")
    ),
    *(("--dev-bind", f"/dev/{name}", f"/dev/{name}") for name in ("null", "full", "random", "urandom")),
    ("--symlink", "pts/ptmx", "/dev/ptmx"),
    ("--symlink", "/proc/self/fd", "/dev/fd"),
    *(("--symlink", f"fd/{number}", f"/dev/{name}") for number, name in enumerate(("stdin", "stdout", "stderr"))),
)


class CageError(RuntimeError):
    """There is no cage, or no process in it; the message is one sentence."""


@dataclass(frozen=True)
class View:
    """What a cage may see beside the system and the Python environment, all read-only.

    `folders` maps a path inside to one outside, and those listed in `path` are put in front of sys.path. `masked` are
    top-level packages of the environment that are not there. `files` are put into the working folder of every fork by
    the names given. Folders are copied when the zygote starts.
    """

    folders: Mapping[str, Path] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Bounds:
    """What one inmate and all that it starts may use.

    `memory` is on top of what a fresh fork has; it bounds each process, and in a cage their sum with the scratch space.
    Threads count as processes. `cpu_seconds`, `file_bytes` and `open_files` are for each process.
    """

    memory: int
    processes: int = 64
    file_bytes: int = 2**28
    open_files: int = 512
    cpu_seconds: int = 3600
    scratch_bytes: int = 2**28


@dataclass(frozen=True)
class Ending:
    """How an inmate ended.

    `reason` is "exit", "signal", "killed" (by the grader), a bound that it broke: "memory", "processes", "cpu", or
    "lost": nobody could say. `status` is the exit status, if it left by itself, and `signal` what ended it otherwise.
    `cpu_seconds` is the processor's time that it had, with all that it started.
    """

    reason: str
    status: int | None = None
    signal: int | None = None
    peak_bytes: int = 0
    cpu_seconds: float = 0.0


class Inmate:
    """A process that a zygote forked; kill it when it is no longer wanted. Any thread may do either."""

    def __init__(self, lifeline: socket.socket):
        self.lifeline, self.ending = lifeline, None
        self._lock = threading.Lock()

    @property
    def peak_bytes(self) -> int:
        """The most memory it held on top of a fresh fork's, measured outside of it; known once it has ended."""
        return self.ending.peak_bytes if self.ending else 0

    def wait(self, seconds: float | None = None) -> Ending | None:
        """How it ended, or None if it runs on after so many seconds."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while self.ending is None:
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            with contextlib.suppress(ValueError):  # another thread has just seen the end, and closed the lifeline
                poll = select.poll()
                poll.register(self.lifeline, select.POLLIN)
                if not poll.poll(None if left is None else 1000 * left):
                    return None
            with self._lock:
                if self.ending is None:
                    self._read()
        return self.ending

    def _read(self) -> None:
        """Take the watcher's last word, which it writes in one go when everything is over."""
        self.lifeline.settimeout(KILL_SECONDS)
        try:
            word, _ = zygote.receive(self.lifeline)
            code = word["code"]
            status, signal = (None, -code) if code < 0 else (code, None)
            self.ending = Ending(word["reason"], status, signal, word["peak_bytes"], word["cpu_seconds"])
        except (EOFError, OSError, ValueError, KeyError):
            self.ending = Ending("lost")
        self.lifeline.close()

    def kill(self) -> None:
        """End it and everything that it started, whatever they did; returns when they are gone."""
        with contextlib.suppress(OSError):  # closed: it has ended
            self.lifeline.shutdown(socket.SHUT_WR)
        if self.wait(KILL_SECONDS) is None:
            with self._lock:
                self.ending = self.ending or Ending("lost")
                self.lifeline.close()

    def __enter__(self) -> "Inmate":
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()


class Zygote:
    """A warm process, and the forks of it.

    `entry` is "module:function"; `preload` is imported before it. Forks start with the same random numbers, one
    thread, standard streams that lead nowhere, an environment and an empty folder of their own.

    Raises:
        CageError: it could not be started.
    """

    def __init__(self, entry: str, view: View, preload: Sequence[str] = (), caged: bool = True):
        if not hasattr(os, "fork"):
            raise CageError("this system cannot fork processes: grade on Linux or macOS")
        self.caged = caged
        self._privileged = caged and privileged()
        self.folder = Path(tempfile.mkdtemp(prefix="lecturekit-"))
        self._lock = threading.Lock()
        self._inmates: weakref.WeakSet[Inmate] = weakref.WeakSet()
        self._process: subprocess.Popen | None = None
        self._control, theirs = socket.socketpair()
        config = {"entry": entry, "preload": list(preload), "caged": caged}
        config |= {"masked": list(view.masked), "distributions": sorted(distributions(view.masked))}
        try:
            with theirs:
                command, environment, more = self._caged(view) if caged else self._bare(view)
                with open(self.folder / "log", "wb") as log:
                    self._process = subprocess.Popen(
                        [*command, str(theirs.fileno())],
                        pass_fds=[theirs.fileno()],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        env=environment,
                        cwd="/",
                        umask=0o022,  # whatever the grader's own is: students' code runs under another account
                        start_new_session=True,  # Ctrl-C at the terminal is for the grader
                    )
            self._control.settimeout(START_SECONDS)
            zygote.send(self._control, config | more)
            answer, _ = zygote.receive(self._control)
            if "failed" in answer:
                raise CageError(f"the process to fork from could not import what it needs: {answer['failed']}")
            self._control.settimeout(FORK_SECONDS)
            if caged:
                self.fork([], None, Bounds(2**28)).wait(FORK_SECONDS)  # calls nothing: whether a fork can be caged
        except (OSError, EOFError) as error:
            reason = self._last_words() or f"{type(error).__name__}: {error}"
            self.close()
            sentence = no_cage(reason) if caged else f"no process to fork from could be started: {reason}"
            raise CageError(sentence) from error
        except BaseException:
            self.close()
            raise

    def _bare(self, view: View) -> tuple[list[str], dict[str, str], dict[str, Any]]:
        """The command, the environment and the rest of the configuration without a cage."""
        places = {inside: str(outside.resolve()) for inside, outside in view.folders.items()}
        environment = {key: os.environ[key] for key in KEPT if key in os.environ} | FIXED
        scratch = self.folder / "scratch"
        scratch.mkdir()
        more = {
            "path": [places.get(inside, inside) for inside in view.path],
            "files": {name: str(path.resolve()) for name, path in view.files.items()},
            "environment": environment,
            "scratch": str(scratch),
        }
        homes = {key: str(scratch) for key in ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "MPLCONFIGDIR")}
        return [sys.executable, "-s", "-P", zygote.__file__], environment | homes, more

    def _caged(self, view: View) -> tuple[list[str], dict[str, str], dict[str, Any]]:
        """The same with a cage.

        Raises:
            CageError: this machine has no bubblewrap, or an architecture that the filter has no table for.
        """
        try:
            program = seccomp.program()
        except ValueError as error:
            raise CageError(no_cage(str(error))) from error
        bwrap = shutil.which("bwrap") if sys.platform == "linux" else None
        if bwrap is None:
            raise CageError(no_cage("bwrap, from the package bubblewrap, is not installed"))
        environment = FIXED | {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "USER": "student",
        }
        homes = {"HOME": zygote.HOME, "TMPDIR": f"{zygote.SCRATCH}/tmp", "MPLCONFIGDIR": f"{zygote.HOME}/.matplotlib"}
        mounts, files = self._mounts(view)
        temporary = {"tmp": "/tmp", "shm": "/dev/shm"}
        if any(Path(place).is_relative_to("/tmp") for place in (sys.prefix, sys.base_prefix)):
            del temporary["tmp"]  # or the environment would be hidden; TMPDIR leads to the right place anyway
        more = {
            "path": list(view.path),
            "files": files,
            "environment": environment,
            "temporary": temporary,
            "privileged": self._privileged,
            "filter": program.hex(),
        }
        # not --die-with-parent, which means the thread that starts it: the control socket is what ends the zygote
        command = [bwrap, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        command += ["--hostname", "cage", "--clearenv", "--cap-drop", "ALL"]
        if self._privileged:
            command += [word for name in CAPABILITIES for word in ("--cap-add", name)]
        else:
            command += ["--unshare-user"]
        for name, value in (environment | homes).items():
            command += ["--setenv", name, value]
        return [*command, *mounts, "--chdir", "/", "--", sys.executable, "-s", "-P", "/zygote.py"], {}, more

    def _mounts(self, view: View) -> tuple[list[str], dict[str, str]]:
        """bwrap's words for what the cage sees, and where each data file lies in there."""
        empty = self.folder / "empty"
        empty.mkdir()
        empty.chmod(0o755)
        mounts = [*SYSTEM, ("--proc", "/proc"), ("--tmpfs", zygote.SCRATCH), *python(view.masked, empty)]
        mounts += [("--ro-bind", zygote.__file__, "/zygote.py")]
        for name, text in ETC.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o644)
            mounts.append(("--ro-bind", str(self.folder / name), f"/etc/{name}"))
        for number, (inside, outside) in enumerate(view.folders.items()):
            mounts.append(("--ro-bind", str(opened(outside, self.folder / f"folder{number}")), inside))
        files = {}
        for number, (name, outside) in enumerate(view.files.items()):
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError(f"a file's name {name!r}: expected one inside the working folder")
            files[name] = f"/files/{number}/{Path(name).name}"
            mounts.append(("--ro-bind", str(opened(outside, self.folder / f"file{number}")), files[name]))
        # made here, since bwrap closes the way to what lies in a closed folder outside, and inmates are other users
        ways = {way for mount in mounts for way in Path(mount[-1]).parents} - {Path("/")}
        made = [("--perms", "0755", "--dir", str(way)) for way in sorted(ways)]
        made += [("--dir", place) for place in ("/tmp", "/dev/pts", "/dev/shm")]
        mounts += [
            ("--dir", zygote.HOME),
            ("--dir", f"{zygote.SCRATCH}/tmp"),
            ("--tmpfs", "/dev/shm"),
            ("--remount-ro", "/"),
        ]
        return [word for mount in made + mounts for word in mount], files

    def fork(self, ends: Sequence[socket.socket], arguments: Mapping[str, Any] | None, bounds: Bounds) -> Inmate:
        """Run `entry(*ends, **arguments)` in a new process; `arguments` are plain data. The ends given are closed here.

        Raises:
            CageError: no process could be forked, or it could not be caged.
        """
        ours, theirs = socket.socketpair()
        request = {
            "arguments": arguments and dict(arguments),
            "bounds": dataclasses.asdict(bounds),
            "uid": new_uid() if self._privileged else None,
        }
        try:
            with theirs, self._lock:
                zygote.send(self._control, {}, (theirs.fileno(), *(end.fileno() for end in ends)))
            ours.settimeout(FORK_SECONDS)
            zygote.send(ours, request)
            answer, _ = zygote.receive(ours)
            if "failed" in answer:
                raise CageError(f"a process could not be {'caged' if self.caged else 'forked'}: {answer['failed']}")
        except (OSError, EOFError) as error:
            ours.close()
            reason = self._last_words() or f"the process to fork from has ended, or is out of reach ({error!r})"
            raise CageError(f"no process could be forked: {reason}") from error
        except BaseException:
            ours.close()
            raise
        for end in ends:
            end.close()
        inmate = Inmate(ours)
        self._inmates.add(inmate)
        return inmate

    def _last_words(self) -> str:
        """The last line that the process wrote before it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired, AttributeError):
            self._process.wait(1)
        with contextlib.suppress(OSError):
            lines = (self.folder / "log").read_text(errors="replace").strip().splitlines()
            return lines[-1][-500:] if lines else ""
        return ""

    def close(self) -> None:
        """End the process and all its forks."""
        for inmate in list(self._inmates):
            inmate.kill()
        self._control.close()
        if self._process:
            try:
                self._process.wait(KILL_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Zygote":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def why_not() -> str:
    """Why no cage can be had on this machine, in one sentence; "" if it can."""
    try:
        Zygote("os:getpid", View({})).close()
    except CageError as error:
        return str(error)
    return ""


def no_cage(reason: str) -> str:
    return (
        f"code cannot be caged here ({reason}): `autograder doctor` says what to do, --no-cage runs it without a cage"
    )


def privileged() -> bool:
    """Whether namespaces and other users can be had without a user namespace of one's own."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    with open("/proc/self/status") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    needed = (0, 5, 6, 7, 8, 19, 21)  # of CAPABILITIES: CHOWN, KILL, SETGID, SETUID, SETPCAP, SYS_PTRACE, SYS_ADMIN
    return all(effective >> number & 1 for number in needed) and user_range() is not None


def user_range() -> tuple[int, int] | None:
    """The users that inmates may become: those that this user namespace has and that nobody else is likely to be."""
    with open("/proc/self/uid_map") as file:
        last = max(int(first) + int(count) - 1 for first, _, count in map(str.split, file))
    return (100_000, min(last, 2**31 - 1)) if last >= 200_000 else (20_000, 60_000) if last >= 60_000 else None


def new_uid() -> int:
    """A user for one inmate. It is drawn, since other graders on this machine draw too."""
    first, last = user_range() or (0, 0)
    return first + secrets.randbelow(last - first)


def python(masked: Sequence[str], empty: Path) -> list[tuple[str, ...]]:
    """bwrap's words for this Python and its packages at their places, without the masked ones and without an installed
    copy of this project: what a cage may know of it comes with the view.

    Packages of other environments, which this one doesn't import, are not there. What hides a folder is an empty one
    that can't be written: all inmates share it.
    """
    mounts = []
    for prefix in dict.fromkeys((sys.base_prefix, sys.prefix)):
        if not Path(prefix).is_relative_to("/usr"):
            mounts.append(("--ro-bind", prefix, prefix))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    others = [Path(sys.base_prefix, "lib", version, "site-packages"), *Path("/usr/lib").glob("python3*/dist-packages")]
    for other in dict.fromkeys([*others, *Path("/usr/local/lib").glob("python3*/*-packages")]):
        if str(other) not in sys.path and other.is_dir():
            mounts.append(("--ro-bind", str(empty), str(other)))
    named = distributions(masked)
    for folder in sys.path:
        if folder.endswith("-packages") and os.path.isdir(folder):
            for entry in os.scandir(folder):
                stem, information = entry.name.split("-")[0].lower(), entry.name.endswith("-info")
                if (stem in named) if information else (entry.name.split(".")[0] in (*masked, *OURS)):
                    mounts.append(("--ro-bind", str(empty) if entry.is_dir() else "/dev/null", entry.path))
    return mounts


def distributions(masked: Sequence[str]) -> set[str]:
    """The names that the folders of these packages' metadata begin with."""
    owners = packages_distributions() if masked else {}
    return {name.lower().replace("-", "_") for top in masked for name in (top, *owners.get(top, ()))}


def opened(path: Path, copy: Path) -> Path:
    """`path`, or a copy of it that any user may read.

    A folder is always copied: what changes in it later shouldn't reach a cage that stands, and the compiled files
    beside sources may hold what was taken out of those.
    """
    if path.is_dir():
        shutil.copytree(path, copy, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    elif path.stat().st_mode & 0o004:
        return path.resolve()
    else:
        shutil.copyfile(path, copy)
    for place in (copy, *copy.rglob("*")):
        if not place.is_symlink():
            place.chmod(0o755 if place.is_dir() else 0o644)
    return copy
