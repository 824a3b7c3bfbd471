"""The process in which one submission runs; `runner` watches it from outside.

A warm process imports this file once, with all that is slow to import, and every submission is forked from it.
"""

import contextlib
import io
import os
import random
import signal
import sys
import tempfile
from typing import Any, NoReturn

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read at import: a process to fork from must have one thread
os.environ["MPLBACKEND"] = "Agg"

import matplotlib.pyplot  # noqa: F401  slow to import, used by every lab
import numpy as np
import torch
import torch._dynamo  # the first optimiser would import it, for a second
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from autograder.runner import MOST_CHARACTERS, Channel
from lecturekit import checks

try:
    import resource
except ImportError:  # not on Windows
    resource = None

KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SYSTEMROOT")  # of the grader's environment
MOST_FILES = 512
MOST_FILE_BYTES = 2**30


class Tail(io.TextIOBase):
    """A stream of text that keeps its last characters only."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.text = (self.text + text[-MOST_CHARACTERS:])[-MOST_CHARACTERS:]
        return len(text)

    def writable(self) -> bool:
        return True


class Shell(InteractiveShell):
    """IPython without a front end."""

    def enable_gui(self, gui: str | None = None) -> None:
        """Do nothing: `%matplotlib inline` asks for it, and there is no window."""


def serve(channel: Channel, folder: str, lab: str, memory: int, cpu_seconds: int) -> NoReturn:
    """Run the cells that come over `channel` until it closes."""
    isolate(folder)
    limit(memory, cpu_seconds)
    torch.set_num_threads(1)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    shell = new_shell(folder)
    channel.send({})
    while True:
        try:
            step = channel.receive()
        except (OSError, EOFError, ValueError):
            os._exit(0)
        stream = Tail()
        # each cell gets streams of its own: one that closes or replaces them harms nobody else
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            reply = judge(shell, lab, step) if step["kind"] == "test" else execute(shell, step)
        texts = {key: str(text)[-MOST_CHARACTERS:] for key, text in reply.items()}
        channel.send({"id": step["id"], **texts, "output": stream.text, "peak_bytes": peak_bytes()})
        if reply["kind"] == "memory":
            os._exit(1)


def isolate(folder: str) -> None:
    """Give the process a session, a folder and an environment of its own, and no terminal."""
    if hasattr(os, "setsid"):
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    os.close(nothing)
    sys.stdout = sys.stderr = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding="utf-8")
    kept = {key: os.environ[key] for key in KEPT if key in os.environ}
    os.environ.clear()
    os.environ.update(kept, HOME=folder, USERPROFILE=folder, TMPDIR=folder, TEMP=folder, MPLBACKEND="Agg")
    os.environ.update(IPYTHONDIR=folder, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", NBGRADER_EXECUTION="autograde")
    tempfile.tempdir = None  # the warm process may have chosen one
    os.chdir(folder)
    for place in ("", os.getcwd()):
        with contextlib.suppress(ValueError):
            sys.path.remove(place)


def limit(memory: int, cpu_seconds: int) -> None:
    """Set what limits the platform has; `memory` is in bytes, on top of what the process has already."""
    if resource is None:
        return
    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": cpu_seconds,
        "RLIMIT_FSIZE": MOST_FILE_BYTES,
        "RLIMIT_NOFILE": MOST_FILES,
    }
    if sys.platform == "linux":  # elsewhere it bounds another thing, or nothing
        limits["RLIMIT_DATA"] = data_bytes() + memory
    for name, value in limits.items():
        if hasattr(resource, name):
            hard = resource.getrlimit(getattr(resource, name))[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(getattr(resource, name), (value, value))


def data_bytes() -> int:
    """The size of this process's private writable memory, as Linux counts it for RLIMIT_DATA."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[5]) * resource.getpagesize()


def peak_bytes() -> int:
    """The most memory that this process ever held, or 0 where nobody counts it."""
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def new_shell(folder: str) -> Shell:
    """A shell in which magics, `display` and `get_ipython()` work, and which writes no history."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.cache_size = 0
    config.InteractiveShell.ipython_dir = folder
    return Shell.instance(config=config)


def execute(shell: Shell, step: dict[str, Any]) -> dict[str, str]:
    """Run a cell in the student's names."""
    result = shell.run_cell(step["source"], store_history=False)
    error = result.error_before_exec or result.error_in_exec
    if error is None:
        return {"kind": "ran"}
    if isinstance(error, MemoryError) or "can't allocate memory" in told(error):
        return {"kind": "memory"}  # its variables may still fill the memory: the following cells need a new start
    return {"kind": "error", "message": told(error)}


def judge(shell: Shell, lab: str, step: dict[str, Any]) -> dict[str, str]:
    """Run a test cell against the student's names."""
    try:
        verdict = checks.judge(step["source"], checks.Here(shell.user_ns), lab=lab, exercise=step["exercise"])
    except BaseException as error:
        return {"kind": "error", "message": told(error)}
    return {"kind": verdict.kind, "message": verdict.message, "hint": verdict.hint}


def told(error: BaseException) -> str:
    """An exception in one sentence, even if its own text can't be had."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__} in line {error.lineno} of the cell: {error.msg}"
    try:
        return checks.tell(error).replace("(in <module>, at ", "(at ")
    except Exception:
        return type(error).__name__
