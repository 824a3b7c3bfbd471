"""Run one submission's cells in a process of its own, and watch it.

The watcher sends one cell at a time as a line of JSON and waits for one line back, so it knows at any moment which cell
is running, and a cell that never ends, breaks the process or eats the memory costs that cell alone: the process and all
that it started is killed, and the submission starts again without it. Marks that were given before are kept, since the
cells before it run as they did. Nothing that comes back is ever unpickled, and sizes and times are bounded.

Student cells and test cells are two kinds of step. Both run in the process here; a cage needs only `Child.do` to judge
the tests on this side.

What it doesn't do yet: keep a student's code from reading the disk or forging its own verdict. That is the cage's part.
"""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import types
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from autograder.intake import Step, clean

MOST_CHARACTERS = 4000  # of a cell's output, message or hint
MOST_BYTES = 2**20  # of one line from a child: many times what three such texts need
START_SECONDS = 120  # a first start imports torch, perhaps from a slow disk
ENDINGS = 2  # how often one exercise may end the process before the rest of its tests is left out


@dataclass(frozen=True)
class Limits:
    """What a submission may use; `memory_gb` is on top of what the process has before the student's first cell."""

    cell_seconds: float = 30
    training_seconds: float = 180
    total_seconds: float = 1800
    memory_gb: float = 4
    restarts: int = 6


@dataclass(frozen=True)
class Outcome:
    """How a cell went: "ran", "error" or "stopped"; a test: "passed", "blank", "wrong", "error" or "stopped"."""

    kind: str
    message: str = ""
    hint: str = ""
    output: str = ""


@dataclass
class Run:
    """The outcomes of a submission's cells by step id, and what it cost."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    restarts: int = 0
    seconds: float = 0
    peak_bytes: int = 0


class Ended(Exception):
    """A cell ended its process, or was stopped; the message is the reason."""


class Channel:
    """Lines of JSON over a socket, with a time limit for each and a bound on what is read."""

    def __init__(self, end: socket.socket):
        self.end, self.buffer = end, b""

    def send(self, message: dict, seconds: float | None = None) -> None:
        """Write one line.

        Raises:
            TimeoutError: the other end doesn't read.
            OSError: there is no other end any more.
        """
        self.end.settimeout(seconds)
        self.end.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, seconds: float | None = None, most: int | None = None) -> dict:
        """Read one line.

        Raises:
            TimeoutError: no whole line came in time.
            EOFError: there is no other end any more.
            ValueError: it is too long, or not a JSON object.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while b"\n" not in self.buffer:
            if most and len(self.buffer) > most:
                raise ValueError("the line is too long")
            self.end.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0.001))
            try:
                data = self.end.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                raise EOFError
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError("the line is not a JSON object")
        return message


def start_method() -> multiprocessing.context.BaseContext:
    """A context that forks from a warm process where there is fork, and starts cold elsewhere."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["autograder.child"])
    return context


def enter_child(end: socket.socket, folder: str, lab: str, memory: int, cpu_seconds: int) -> None:
    """Where a child process begins; torch is imported there and never here."""
    from autograder import child

    child.serve(Channel(end), folder, lab, memory, cpu_seconds)


_starting = threading.Lock()


def start(process: multiprocessing.process.BaseProcess) -> None:
    """Start a child that doesn't run the grader's own main script again, as multiprocessing would have it do."""
    with _starting:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main


class Child:
    """A process that runs cells, its private folder, and the line to it.

    Raises:
        RuntimeError: it could not be started.
    """

    def __init__(self, lab: str, limits: Limits):
        self.limits = limits
        self.peak_bytes = 0
        self.closed = False
        self.folder = tempfile.mkdtemp(prefix="lecturekit-")
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        # the processor's time bounds an endless loop whose watcher was killed itself
        arguments = (theirs, self.folder, lab, int(limits.memory_gb * 2**30), int(2 * limits.total_seconds) + 60)
        self.process = start_method().Process(target=enter_child, args=arguments)
        try:
            with theirs:
                start(self.process)
            self.channel.receive(START_SECONDS, MOST_BYTES)
        except (OSError, EOFError, ValueError) as error:
            self.close()
            raise RuntimeError(f"no process for a submission could be started ({type(error).__name__})") from error

    def do(self, step: Step, seconds: float) -> Outcome:
        """Run one cell.

        Raises:
            Ended: it took longer than `seconds`, or the process ended.
        """
        try:
            self.channel.send(dataclasses.asdict(step), seconds)
            reply = self.channel.receive(seconds, MOST_BYTES)
        except TimeoutError:
            raise Ended(f"stopped after {seconds:.3g} s: perhaps an endless loop") from None
        except (OSError, EOFError):
            raise Ended(self.how_it_ended()) from None
        except (ValueError, RecursionError):
            raise Ended("the kernel's answer could not be read") from None
        peak = reply.get("peak_bytes")
        self.peak_bytes = max(self.peak_bytes, peak if isinstance(peak, int) else 0)
        if reply.get("kind") == "memory":
            raise Ended(self.out_of_memory())
        if reply.get("id") != step.id or not isinstance(reply.get("kind"), str):
            raise Ended("the kernel's answer was for another cell")
        texts = (clean(str(reply.get(key, "")))[-MOST_CHARACTERS:] for key in ("message", "hint", "output"))
        return Outcome(reply["kind"], *texts)

    def how_it_ended(self) -> str:
        """Why there is no other end any more, in one sentence."""
        self.process.join(5)
        code = self.process.exitcode
        if code is None:
            return "the kernel closed its line to the grader"
        if code >= 0:
            return f"the kernel ended (exit status {code})"
        if -code == getattr(signal, "SIGKILL", 9):
            return f"ended by signal 9: probably {self.out_of_memory()}"
        return f"the kernel ended by signal {-code}"

    def out_of_memory(self) -> str:
        return f"more than {self.limits.memory_gb:.3g} GB of memory"

    def close(self) -> None:
        """Kill the process with all that it started, and remove its folder."""
        if self.closed:  # its number may be another process's by now
            return
        self.closed = True
        if self.process.pid is not None:
            # the child leads a group of its own; where it didn't get so far, there is no such group
            with contextlib.suppress(AttributeError, ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.join(10)
        self.channel.end.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Runner:
    """Runs submissions, several at a time from as many threads; on leaving the `with` what still runs is killed."""

    def __init__(self, lab: str, limits: Limits | None = None):
        self.lab, self.limits = lab, limits or Limits()
        self.children: set[Child] = set()
        self.closed = False

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *error: object) -> None:
        self.closed = True
        for child in list(self.children):
            child.close()

    def run(self, steps: list[Step]) -> Run:
        """Run a submission's cells; every step has an outcome in the end, whatever they do.

        Raises:
            RuntimeError: no process could be started.
        """
        began, result, ended = time.monotonic(), Run(), Counter[str]()
        deadline = began + self.limits.total_seconds
        left = steps
        while left:
            culprit = self._attempt(left, result, deadline)
            if culprit is None or self.closed:
                break
            if culprit.kind == "test":
                ended[culprit.exercise] += 1
                if ended[culprit.exercise] >= ENDINGS:
                    same = [step for step in left if step.kind == "test" and step.exercise == culprit.exercise]
                    give_up(same, result, "not run: this exercise had ended the kernel before")
            left = [step for step in left if step is not culprit and (step.kind != "test" or unjudged(step, result))]
            if not any(step.kind == "test" for step in left):
                break
            if result.restarts == self.limits.restarts:
                give_up(left, result, f"not run: cells before it had ended the kernel {result.restarts + 1} times")
                break
            result.restarts += 1
        give_up(steps, result, "not run: no test was left")
        result.seconds = time.monotonic() - began
        return result

    def _attempt(self, steps: list[Step], result: Run, deadline: float) -> Step | None:
        """Run `steps` in a fresh process up to the cell that ends it, which is returned."""
        child = Child(self.lab, self.limits)
        self.children.add(child)
        try:
            for step in steps:
                seconds = self.limits.training_seconds if step.training else self.limits.cell_seconds
                remaining = deadline - time.monotonic()
                if self.closed or remaining <= 0:
                    break
                try:
                    result.outcomes[step.id] = child.do(step, min(seconds, remaining))
                except Ended as reason:
                    if time.monotonic() >= deadline:
                        break
                    result.outcomes[step.id] = Outcome("stopped", str(reason))
                    return step
            if time.monotonic() >= deadline:
                give_up(steps, result, f"the whole notebook took more than {self.limits.total_seconds:.3g} s")
            return None
        finally:
            self.children.discard(child)
            child.close()
            result.peak_bytes = max(result.peak_bytes, child.peak_bytes)


def unjudged(step: Step, result: Run) -> bool:
    return step.id not in result.outcomes


def give_up(steps: Iterable[Step], result: Run, reason: str) -> None:
    """Say why those of `steps` that have no outcome have none."""
    for step in steps:
        result.outcomes.setdefault(step.id, Outcome("stopped", reason))
