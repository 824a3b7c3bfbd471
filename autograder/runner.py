"""Run one submission's cells, and watch it.

Three parties work on a submission, and each speaks only to the next:

    the watcher, here      sends one cell after the other, knows the time limits, gets an outcome for each cell
    the judge              `judge`: runs the tests, has the answers and the hints, never runs a line of a student's
    the student's process  `far`, in the cage: runs the student's cells, and answers what tests ask of their names

The watcher knows at any moment which cell is running, so one that never ends, breaks a process or eats the memory costs
that cell alone: both processes and all that they started are killed, and the submission starts again without it. Marks
that were given before are kept, since the cells before it run as they did. What ends its processes again and again is
set aside for a human. A test has passed if the judge said so, of this very cell; from everything else come no points.

Limits are of a clock's time, which a neighbour can use up too: a cell that is late although it hardly had the processor
runs once more.
"""

import atexit
import contextlib
import dataclasses
import functools
import hashlib
import shutil
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from nbformat.v4 import new_notebook

from autograder.cage import Bounds, CageError, Ending, Inmate, View, Zygote
from autograder.intake import BuiltLab, Step, clean, load_built
from autograder.strip import cage_package, texts_of
from autograder.wire import Link, Malformed, TooLarge

HERE = Path(__file__).parent
ROOT = HERE.parent
PRELOADED = ("matplotlib.pyplot", "torch._dynamo")  # slow to import; every lab draws, every optimiser wants the other
CONFIGURED = tuple(f"lecturekit.models.{path.stem}" for path in sorted((ROOT / "lecturekit/models").glob("[a-z]*.py")))
MOST_CHARACTERS = 4000  # of a cell's output, message or hint
MOST_BYTES = 2**26  # of one message to or from a judge: a submission's cell, which intake bounds, or three such texts
START_SECONDS = 120  # a first start reads much from a slow disk
SECONDS_TO_END = 2  # from the moment that its line is closed; one that lives on has closed it itself
ENDINGS = 2  # how often one exercise may end the process before the rest of its tests is left out
WAITS = 3  # cells of a submission that run once more because they hardly had the processor
DEATHS = 3  # how often a submission may, before it is set aside; what only takes too long has `Limits.restarts`
JUDGE_BYTES = 3 * 2**30  # what comes back may be 512 MB, and is copied when it is compared
KINDS = {True: ("passed", "blank", "wrong", "error"), False: ("ran", "error", "memory")}  # of a test, of another cell


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
    """The outcomes of a submission's cells by step id, and what it cost.

    `aside` says why a human should look at it, if one should; `caged` whether the student's code was in a cage.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    restarts: int = 0
    seconds: float = 0
    peak_bytes: int = 0
    aside: str = ""
    caged: bool = True


class Ended(Exception):
    """A cell ended its process, or was stopped: `late`; the message is the reason."""

    def __init__(self, reason: str, late: bool = False):
        super().__init__(reason)
        self.late = late


# ---- warm processes --------------------------------------------------------------------------------------------------
class Warm:
    """A process to fork judges from, one to fork students' processes from, and the folder of what both may see.

    A start takes seconds and a fork milliseconds, so a pair outlives its `Runner`: the next one of the same lab takes
    it over. One that nobody has borrowed ends when another lab's is wanted, and with the grader.

    Raises:
        CageError: they could not be started.
    """

    def __init__(self, root: Path, lab: str, caged: bool):
        self.borrowers = 0
        self.open = contextlib.ExitStack()
        with self.open:
            folder = Path(self.open.enter_context(tempfile.TemporaryDirectory(prefix="lecturekit-")))
            about = built(root, lab)
            views = view_of_judge(folder / "judge"), view_of_student(folder / "far", about, root / "labs" / lab)
            self.guard = about.shortcuts if about.forbidden else None
            started = [functools.partial(Zygote, "autograder.judge:main", views[0], CONFIGURED, caged)]
            preloaded = (*PRELOADED, *texts_of(ROOT, about))
            started += [functools.partial(Zygote, "autograder.far:main", views[1], preloaded, caged)]
            with ThreadPoolExecutor() as pool:  # side by side
                futures = [pool.submit(start) for start in started]
            for future in futures:
                if not future.exception():
                    self.open.callback(future.result().close)
            self.judges, self.students = (future.result() for future in futures)
            self.open = self.open.pop_all()

    def close(self) -> None:
        self.open.close()


_warm: dict[tuple[str, bool], Warm] = {}
_lock = threading.Lock()


@contextlib.contextmanager
def lent(root: Path, lab: str, caged: bool) -> Iterator[Warm]:
    """The warm pair for a lab, started if there is none; one that can't be forked from is never lent again.

    Raises:
        CageError: it could not be started.
    """
    key = (digest_of(root, lab), caged)
    with _lock:
        for other in [k for k in _warm if k != key and not _warm[k].borrowers]:
            _warm.pop(other).close()
        if key not in _warm:
            _warm[key] = Warm(root, lab, caged)
        warm = _warm[key]
        warm.borrowers += 1
    try:
        yield warm
    except CageError:
        with _lock:
            if _warm.get(key) is warm:
                del _warm[key]
        raise
    finally:
        with _lock:
            warm.borrowers -= 1
            if not warm.borrowers and warm not in _warm.values():
                warm.close()


def digest_of(root: Path, lab: str) -> str:
    """A name for what a lab's warm processes hang on: equal files, wherever they lie, have the same."""
    found = hashlib.sha256(lab.encode())
    for folder in (root / "solutions" / lab, root / "labs" / lab):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            found.update(f"{path.relative_to(folder)} {path.stat().st_size} ".encode() + path.read_bytes())
    return found.hexdigest()


def built(root: Path, lab: str) -> BuiltLab:
    """The lab, or one without cells where there is none: then cells can run, but need nothing of a lab's."""
    try:
        return load_built(root, lab)
    except ValueError:
        return BuiltLab(lab, lab, new_notebook(), new_notebook())


def view_of_judge(folder: Path) -> View:
    """All of lecturekit, with its hints."""
    shutil.copytree(ROOT / "lecturekit", folder / "lecturekit", ignore=shutil.ignore_patterns("__pycache__"))
    copy_grader(folder, "judge.py", "wire.py")
    return View({"/judge": folder}, ("/judge",))


def view_of_student(folder: Path, lab: BuiltLab, given: Path) -> View:
    """What the lab's cells need, the files that students got with the notebook, and nothing to learn an answer from."""
    cage_package(ROOT, lab, folder)
    copy_grader(folder, "far.py", "wire.py", "shortcuts.py")
    files = {}
    for path in sorted(given.rglob("*")):
        if path.is_file() and path.suffix != ".ipynb":
            name = str(path.relative_to(given))
            files[name] = folder / "data" / name
            files[name].parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, files[name])
    return View({"/far": folder}, ("/far",), lab.masked, files)


def copy_grader(folder: Path, *names: str) -> None:
    (folder / "autograder").mkdir()
    for name in ("__init__.py", *names):
        shutil.copy(HERE / name, folder / "autograder" / name)


def close_all() -> None:
    """End every warm process; what still runs is killed."""
    with _lock:
        while _warm:
            _warm.popitem()[1].close()


atexit.register(close_all)


# ---- one submission --------------------------------------------------------------------------------------------------
class Child:
    """A submission's judge and its student's process, and the line to the judge.

    Raises:
        CageError: they could not be started.
    """

    def __init__(self, warm: Warm, lab: str, limits: Limits, secret: str):
        self.limits, self.number = limits, 0
        self.closed = threading.Lock()
        self.inmates: list[Inmate] = []
        # the processor's time bounds an endless loop whose watcher was killed itself
        seconds = int(2 * limits.total_seconds) + 60
        ours, to_watcher = socket.socketpair()
        to_student, to_judge = socket.socketpair()
        self.link = Link(ours, most_json=MOST_BYTES, most_tensors=0)
        try:
            bounds = Bounds(int(limits.memory_gb * 2**30), cpu_seconds=seconds)
            about = {"lab": lab, "secret": secret}
            with ThreadPoolExecutor(1) as beside:  # two forks take as long as one
                judge = beside.submit(
                    warm.judges.fork, [to_watcher, to_student], about, Bounds(JUDGE_BYTES, cpu_seconds=seconds)
                )
                try:
                    self.student = self._own(warm.students.fork([to_judge], {"guard": warm.guard}, bounds))
                finally:
                    self.judge = self._own(judge.result())
            answer, _ = self.link.receive(START_SECONDS)
            if answer != {"ready": True}:
                raise CageError("no process for a submission could be started")
        except (OSError, EOFError, Malformed) as error:
            self.close()
            raise CageError(f"no process for a submission could be started ({type(error).__name__})") from error
        except BaseException:
            self.close()
            raise
        finally:
            for end in (to_watcher, to_student, to_judge):
                end.close()

    def _own(self, inmate: Inmate) -> Inmate:
        self.inmates.append(inmate)
        return inmate

    @property
    def peak_bytes(self) -> int:
        """The most memory that the student's process held; known once it is closed."""
        return self.student.peak_bytes

    @property
    def cpu_seconds(self) -> float:
        """The processor's time that both had, with all that they started; known once they are closed."""
        return sum(inmate.ending.cpu_seconds for inmate in self.inmates if inmate.ending)

    def do(self, step: Step, seconds: float, passed: list[str]) -> Outcome:
        """Run one cell; `passed` are the exercises before, all of whose tests were passed.

        Raises:
            Ended: it took longer than `seconds`, or a process ended.
        """
        self.number += 1
        try:
            self.link.send({**dataclasses.asdict(step), "number": self.number, "passed": passed}, seconds=seconds)
            reply, _ = self.link.receive(seconds)
        except TooLarge as error:
            return Outcome("error", f"the cell is too large: {error}")
        except TimeoutError:
            raise Ended(f"stopped after {seconds:.3g} s: perhaps an endless loop", late=True) from None
        except (OSError, EOFError):
            raise Ended(self.how_the_judge_ended()) from None
        except Malformed:
            raise Ended("the verdict could not be read") from None
        if reason := reply.get("gone"):
            unread = f"the kernel's answer could not be read: {reason}"
            raise Ended(self.how_it_ended() if reason == "ended" else unread)
        kind, texts = reply.get("kind"), [reply.get(key, "") for key in ("message", "hint", "output")]
        ours = (reply.get("number"), reply.get("id")) == (self.number, step.id)
        if not ours or kind not in KINDS[step.kind == "test"] or not all(isinstance(text, str) for text in texts):
            raise Ended("the verdict was for another cell")
        if kind == "memory":
            raise Ended(self.out_of_memory())
        return Outcome(kind, *(clean(text)[-MOST_CHARACTERS:] for text in texts))

    def how_it_ended(self) -> str:
        """Why there is no student's process any more, in one sentence."""
        match self.student.wait(SECONDS_TO_END):
            case Ending(reason="memory"):
                return self.out_of_memory()
            case Ending(reason="processes"):
                return "too many processes or threads"
            case Ending(reason="cpu"):
                return "too much time of the processor"
            case Ending(reason="exit", status=status):
                return f"the kernel ended (exit status {status})"
            case Ending(signal=9):
                return f"ended by signal 9: probably {self.out_of_memory()}"
            case Ending(reason="signal", signal=number):
                return f"the kernel ended by signal {number}"
        return "the kernel closed its line to the grader"

    def how_the_judge_ended(self) -> str:
        """The same for the judge, in which no student's code runs: it can only fall over what came back."""
        ending = self.judge.wait(SECONDS_TO_END)
        if ending and ending.reason == "memory":
            return f"what came back takes more than {JUDGE_BYTES / 2**30:.3g} GB of memory to judge"
        return "the test broke on what came back"

    def out_of_memory(self) -> str:
        return f"more than {self.limits.memory_gb:.3g} GB of memory"

    def close(self) -> None:
        """Kill both processes with all that they started."""
        if self.closed.acquire(blocking=False):
            for inmate in self.inmates:
                inmate.kill()
            self.link.end.close()


class Runner:
    """Runs submissions, several at a time from as many threads; on leaving the `with` what still runs is killed.

    `secret` is part of the seed of every test's numbers: equal secrets give equal marks. `root` is the course, whose
    folder of the lab has the data files that students got.

    Raises:
        CageError: no cage can be had, and `caged` asks for one; when the first submission is run.
    """

    def __init__(
        self, lab: str, limits: Limits | None = None, *, caged: bool = True, secret: str = "", root: Path = ROOT
    ):
        self.lab, self.limits, self.caged, self.secret, self.root = lab, limits or Limits(), caged, secret, root
        self.children: set[Child] = set()
        self.closed = False

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *error: object) -> None:
        """Kill what runs; the warm processes stay for the next runner."""
        self.closed = True
        for child in list(self.children):
            child.close()

    def run(self, steps: list[Step]) -> Run:
        """Run a submission's cells; every step has an outcome in the end, whatever they do.

        Raises:
            CageError: no process could be started.
        """
        with lent(self.root, self.lab, self.caged) as warm:
            began = time.monotonic()
            result = Run(caged=self.caged)
            self._run(steps, result, warm, began + self.limits.total_seconds)
            result.seconds = time.monotonic() - began
        return result

    def _run(self, steps: list[Step], result: Run, warm: Warm, deadline: float) -> None:
        ended, deaths, left, again = Counter[str](), 0, steps, set[str]()
        owners = {step.id: step.exercise for step in steps if step.kind == "test"}
        while left:
            culprit, late, starved = self._attempt(left, owners, result, warm, deadline)
            if culprit is None or self.closed:
                break
            if starved and culprit.id not in again and len(again) < WAITS:
                again.add(culprit.id)
                del result.outcomes[culprit.id]
                left = [step for step in left if step.kind != "test" or unjudged(step, result)]
                continue
            deaths += not late
            if deaths == DEATHS:
                result.aside = f"It ended its process {DEATHS} times, last: {result.outcomes[culprit.id].message}."
            if culprit.kind == "test":
                ended[culprit.exercise] += 1
                if ended[culprit.exercise] >= ENDINGS:
                    same = [step for step in left if step.kind == "test" and step.exercise == culprit.exercise]
                    give_up(same, result, "not run: this exercise had ended the kernel before")
            left = [step for step in left if step is not culprit and (step.kind != "test" or unjudged(step, result))]
            if not any(step.kind == "test" for step in left):
                break
            if result.aside or result.restarts == self.limits.restarts:
                times = result.restarts + 1
                result.aside = result.aside or f"It had to be stopped {times} times."
                give_up(left, result, f"not run: cells before it had ended the kernel {times} times")
                break
            result.restarts += 1
        give_up(steps, result, "not run: no test was left")

    def _attempt(
        self, steps: list[Step], owners: dict[str, str], result: Run, warm: Warm, deadline: float
    ) -> tuple[Step | None, bool, bool]:
        """Run `steps` in fresh processes up to the cell that ends them, which is returned with two answers.

        They are whether it was late, and whether perhaps because others had the processor. `owners` are the exercises
        by their tests, those of an earlier attempt among them.
        """
        child = Child(warm, self.lab, self.limits, self.secret)
        began = time.monotonic()
        self.children.add(child)
        try:
            for step in steps:
                seconds = self.limits.training_seconds if step.training else self.limits.cell_seconds
                remaining = deadline - time.monotonic()
                if self.closed or remaining <= 0:
                    break
                try:
                    passed = passed_before(step, owners, result)
                    result.outcomes[step.id] = child.do(step, min(seconds, remaining), passed)
                except Ended as reason:
                    if time.monotonic() >= deadline:
                        break
                    result.outcomes[step.id] = Outcome("stopped", str(reason))
                    took = time.monotonic() - began
                    child.close()
                    return step, reason.late, reason.late and took - child.cpu_seconds > seconds / 2
            if time.monotonic() >= deadline:
                give_up(steps, result, f"the whole notebook took more than {self.limits.total_seconds:.3g} s")
            return None, False, False
        finally:
            self.children.discard(child)
            child.close()
            with contextlib.suppress(AttributeError):
                result.peak_bytes = max(result.peak_bytes, child.peak_bytes)


def passed_before(step: Step, owners: dict[str, str], result: Run) -> list[str]:
    """The other exercises of which a test was judged so far, and every one of those passed."""
    judged = {id: exercise for id, exercise in owners.items() if id in result.outcomes and exercise != step.exercise}
    failed = {exercise for id, exercise in judged.items() if result.outcomes[id].kind != "passed"}
    return sorted({*judged.values()} - failed)


def unjudged(step: Step, result: Run) -> bool:
    return step.id not in result.outcomes


def give_up(steps: Iterable[Step], result: Run, reason: str) -> None:
    """Say why those of `steps` that have no outcome have none."""
    for step in steps:
        result.outcomes.setdefault(step.id, Outcome("stopped", reason))
