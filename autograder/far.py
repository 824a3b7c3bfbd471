"""The process that a student's code has to itself: runs its cells, and what tests ask of its names.

It is forked from a warm one in the cage, and speaks to `judge`, which gives the verdicts. Here is nothing to find or to
win: no test, no expected value, no hint, and no word that could be taken for a verdict.
"""

import contextlib
import io
import os
import socket
from typing import Any, NoReturn

import matplotlib.pyplot  # noqa: F401  slow to import, used by every lab
import torch._dynamo  # noqa: F401  the first optimiser would import it, for a second
from IPython.core.interactiveshell import InteractiveShell
from torch import Tensor
from traitlets.config import Config

from autograder import shortcuts
from autograder.wire import Link
from lecturekit import checks

MOST_CHARACTERS = 4000  # of a cell's output or message


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

    def ask_exit(self) -> None:
        """End the cell, no more: `exit()` and `quit()` ask for it."""
        raise SystemExit


def main(end: socket.socket, guard: dict[str, Any] | None = None) -> NoReturn:
    """Serve until the other end closes; `guard` are the arguments of `shortcuts.guard`."""
    server = Server(new_shell(), shortcuts.guard(**guard) if guard else None)
    link = Link(end)
    while True:
        try:
            request, tensors = link.receive()
        except (EOFError, OSError, ValueError):
            os._exit(0)
        reply, found = server.handle(request, tensors)
        try:
            link.send({"id": request["id"], **reply}, found)
        except ValueError as error:  # a number of 5000 digits, too much of anything
            link.send({"id": request["id"], "reply": ["unread", str(error)]})
        if reply.get("kind") == "memory":
            os._exit(1)


def new_shell() -> Shell:
    """A shell in which magics, `display` and `get_ipython()` work, and which writes no history."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.cache_size = 0
    config.InteractiveShell.ipython_dir = os.getcwd()
    return Shell.instance(config=config)


class Server:
    """Does what the judge asks for: a cell, or between "begin" and "end" the operations of one test."""

    def __init__(self, shell: Shell, guard: shortcuts.Guard | None = None):
        self.shell, self.guard, self.output = shell, guard, Tail()
        self.beside = checks.Beside({})
        self.random = checks.random_state()

    def handle(self, request: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The reply to one request, and its tensors."""
        if "do" in request:
            return self.operation(request, tensors)
        if "cell" in request:
            return self.cell(request["cell"]), {}
        if "begin" in request:  # a test: the handles of the one before are forgotten, the cells' random numbers put by
            self.output, self.beside = Tail(), checks.Beside(self.shell.user_ns)
            self.random = checks.random_state()
            checks.set_random_state(checks.random_state_of(0))
            self.watch(request["begin"])
        if "end" in request:
            self.beside = checks.Beside({})
            checks.set_random_state(self.random)
            self.watch("")
        return {"output": self.output.text}, {}

    def watch(self, exercise: str) -> None:
        """Refuse the shortcuts of this exercise."""
        if self.guard:
            self.guard.exercise = exercise

    def operation(self, request: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
        """One operation of `checks.Far`."""
        try:
            with contextlib.redirect_stdout(self.output):
                reply, found = self.beside.answer(request, tensors)
        except BaseException as error:  # interrupted, or ended while its reply was packed
            reply, found = ["broke", checks.kinds_of(error), checks.tell(error)], {}
        return {"reply": reply}, found

    def cell(self, source: str) -> dict[str, str]:
        """Run a cell in the student's names."""
        stream = Tail()
        # each cell gets streams of its own: one that closes or replaces them harms nobody else
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            result = self.shell.run_cell(source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        kind, message = "ran", ""
        if error is not None:
            kind, message = "error", told(error)
            if isinstance(error, MemoryError) or "can't allocate memory" in message:
                kind = "memory"  # its variables may still fill the memory: the following cells need a new start
        return {"kind": kind, "message": message[-MOST_CHARACTERS:], "output": stream.text}


def told(error: BaseException) -> str:
    """An exception in one sentence, even if its own text can't be had."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__} in line {error.lineno} of the cell: {error.msg}"
    return checks.tell(error).replace("(in <module>, at ", "(at ")
