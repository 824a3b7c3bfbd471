"""How fast a class is graded beside stock nbgrader, and where the time goes.

    python bench/grading.py [--quick] [--rounds 2] [--parts versus training fixed workers class]

    versus    24 submissions of lab 3 without its training cell: `autograder grade` against `nbgrader autograde`
    training  some of them with it
    fixed     the seconds of one submission that are not its tests', and what they are spent on
    workers   one worker against two, with what this machine gains from a second process at all
    class     1000 submissions of a tiny lab: the first hundred against the last, in seconds and in memory

The class holds the reference, the alternatives, half-written notebooks and mistakes of `solutions/lab03_mistakes.py`.
Sides take turns, each on a fresh copy of the course; a side's time is that of its whole command. Both write nbgrader's
gradebook, and honest submissions must have the same marks in both. Load and noise are printed: machines are shared.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# `tokenizers.py` beside this file has the name of a library that nbgrader's kernels need.
sys.path = [str(ROOT), *(path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent)]

import nbformat  # noqa: E402
import psutil  # noqa: E402
from nbgrader.api import Gradebook  # noqa: E402

from autograder import build, grade, gradebook, jobs, runner  # noqa: E402
from autograder.cage import Zygote  # noqa: E402
from autograder.mistakes import notebook_of, reference, source_of, variants  # noqa: E402
from autograder.report import Progress  # noqa: E402
from autograder.result import Result  # noqa: E402

LAB, TINY = "lab03", "lab90"
BIN = Path(sys.executable).parent
TINY_LAB = """\
# %% [markdown]
# # Lab 90. One function

# %% locked="setup"
# %load_ext lecturekit.checks
from lecturekit import checks as check

# %% solution="lecturekit.models.transformer:learning_rate" hide="body"

# %% test="schedule" points=100
check.close(learning_rate(100, 64, 100), 64**-0.5 * 100**-0.5, tol=1e-9)
"""


# ---- a class ---------------------------------------------------------------------------------------------------------
def sources(size: int) -> dict[str, dict[str, str]]:
    """What a class of this size wrote in lab 3, by student: honest, another way, half, mistaken, in turns."""
    made = {variant.name: variant.sources for variant in variants(LAB)}
    right = made["reference"]
    half = dict(list(right.items())[: len(right) // 2])
    wrong = [name for name in made if "." in name and not name.startswith("learning")]
    kinds = ["reference", "alternative", "half", *wrong[:: max(1, len(wrong) // size)]]
    students = {}
    for number in range(size):
        kind = kinds[number % 3] if number % 4 < 3 else kinds[3 + number // 4]
        students[f"{number:02d}-{kind}"] = half if kind == "half" else made[kind]
    return students


def write_course(place: Path, students: dict[str, dict[str, str]], training: bool) -> Path:
    """A course with lab 3 and its submissions; without its training cell, if that is to be left out."""
    for folder in ("solutions", "labs"):
        path = place / folder / LAB / f"{LAB}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(without_training(nbformat.read(ROOT / path.relative_to(place), 4), training), path)
    shutil.copy(ROOT / "nbgrader_config.py", place)
    for student, cells in students.items():
        path = place / "submitted" / student / LAB / f"{LAB}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(without_training(notebook_of(LAB, cells), training), path)
    return place


def without_training(notebook: nbformat.NotebookNode, training: bool) -> nbformat.NotebookNode:
    notebook.cells = [cell for cell in notebook.cells if training or "training" not in cell.metadata.get("tags", [])]
    return notebook


def marks(place: Path) -> dict[str, float]:
    with Gradebook(f"sqlite:///{place}/gradebook.db") as book:
        return {found.student.id: found.score for found in book.assignment_submissions(LAB)}


# ---- the two sides ---------------------------------------------------------------------------------------------------
def command(place: Path, *words: str) -> float:
    """Run one of our environment's programs in a course; its seconds."""
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONWARNINGS": "ignore"}
    begun = time.perf_counter()
    done = subprocess.run([BIN / words[0], *words[1:]], cwd=place, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    if done.returncode and words[0] != "nbgrader":  # which fails where a cell's time was over
        raise SystemExit(f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds


def stock(place: Path) -> float:
    return command(place, "nbgrader", "autograde", LAB)


def ours(place: Path) -> float:
    return command(place, "autograder", "grade", LAB, "--workers", "2")


@contextmanager
def copies(students: dict, training: bool) -> Iterator[Callable[[], Path]]:
    """Makes fresh copies of a course whose gradebook knows the lab."""
    with tempfile.TemporaryDirectory(prefix="lecturekit-") as folder:
        first = write_course(Path(folder) / "course", students, training)
        command(first, "nbgrader", "generate_assignment", LAB, "--force")
        numbers = iter(range(1000))
        yield lambda: Path(shutil.copytree(first, Path(folder) / f"copy{next(numbers)}"))


def versus(size: int, rounds: int, training: bool) -> None:
    """Both sides in turns."""
    seconds = defaultdict(list)
    with copies(sources(size), training) as copy:
        for number in range(rounds):
            found = {}
            for side in (ours, stock) if number % 2 else (stock, ours):
                place = copy()
                seconds[side.__name__].append(side(place))
                found[side.__name__] = marks(place)
            check_marks(found["stock"], found["ours"], size, 100 if training else 96)
    ratios = [theirs / mine for theirs, mine in zip(seconds["stock"], seconds["ours"], strict=True)]
    what = f"{size} submissions {'with' if training else 'without'} training"
    mine, theirs = (statistics.median(seconds[side]) for side in ("ours", "stock"))
    print(f"{what}: ours {mine:.1f} s, stock {theirs:.1f} s, {statistics.median(ratios):.1f} x ", end="")
    print(f"({min(ratios):.1f} to {max(ratios):.1f}); {mine / size:.2f} s and {theirs / size:.2f} s each", flush=True)


def check_marks(theirs: dict[str, float], mine: dict[str, float], size: int, most: float) -> None:
    """Honest submissions have the same marks, and all of them; the others are counted."""
    assert len(mine) == size, f"{len(mine)} of {size} have marks here"
    honest = [name for name in mine if name.endswith(("reference", "alternative"))]
    for name in honest:
        assert mine[name] == theirs[name] == most, (name, mine[name], theirs[name])
    same = sum(mine[name] == theirs.get(name) for name in mine)
    others = {name: (theirs.get(name), mine[name]) for name in mine if mine[name] != theirs.get(name)}
    print(f"  equal marks: {same} of {size}, all {len(honest)} honest ones" + (f"; {others}" if others else ""))


# ---- what one costs --------------------------------------------------------------------------------------------------
class Clock:
    """Adds up the seconds of functions by name, of all threads."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.undo: list[Callable[[], None]] = []

    def time(self, owner: object, name: str, label: str | Callable[..., str]) -> None:
        """Measure `owner.name`; `label` may be made of its arguments."""
        honest = getattr(owner, name)

        def timed(*arguments: object, **named: object) -> object:
            begun = time.perf_counter()
            try:
                return honest(*arguments, **named)
            finally:
                with self.lock:
                    words = label if isinstance(label, str) else label(*arguments)
                    self.seconds[words] += time.perf_counter() - begun

        setattr(owner, name, timed)
        self.undo.append(lambda: setattr(owner, name, honest))

    def __enter__(self) -> "Clock":
        kinds = {"ours": "locked cells", "student": "their cells", "added": "their cells", "test": "tests"}
        self.time(runner.Child, "do", lambda child, step, seconds: kinds[step.kind])
        self.time(runner.Child, "__init__", "processes ready")
        self.time(runner.Child, "close", "processes ended")
        self.time(Zygote, "fork", "of which forks")
        self.time(grade, "plan", "planning")
        self.time(grade, "take", "reading")
        self.time(grade, "write_autograded", "autograded notebook")
        self.time(grade, "write_feedback", "feedback page")
        self.time(gradebook.Book, "record", "gradebook")
        self.time(jobs.Jobs, "enqueue", "job table")
        return self

    def __exit__(self, *error: object) -> None:
        for undo in reversed(self.undo):
            undo()


@contextmanager
def course(students: dict, training: bool) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lecturekit-") as folder:
        yield write_course(Path(folder) / "course", students, training)


def graded(place: Path, lab: str, workers: int, watch: Callable[[Progress], None] | None = None) -> list[Result]:
    how = grade.How(workers=workers)
    return grade.grade(lab, place, place / "submitted", how, watch=watch or (lambda progress: None))


class Marks:
    """Notes the time when the first submission may begin, and when each is over."""

    def __init__(self) -> None:
        self.begun, self.over = 0.0, []

    def __call__(self, progress: Progress) -> None:
        now = time.perf_counter()
        if progress.running and not self.begun:
            self.begun = now
        finished = progress.done + progress.aside + progress.failed
        self.over += [now] * (finished - len(self.over))


def fixed(size: int) -> None:
    """One worker, the same honest submission again and again, without training."""
    right = reference(source_of(LAB))
    notes = Marks()
    with course({f"{n:02d}": right for n in range(size)}, training=False) as place:
        graded(place, LAB, 1)  # the processes to fork from are warm, and the gradebook is there
        for path in [*place.glob("gradebook*"), place / "autograded", place / "feedback"]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        with Clock() as clock:
            results = graded(place, LAB, 1, notes)
    assert all(result.score == result.max_score for result in results), [result.reason for result in results]
    before = ("reading", "job table")  # each submission is read and becomes a row before the first one runs
    each = {label: total / size for label, total in clock.seconds.items()}
    wall = (notes.over[-1] - notes.begun) / size + sum(each[label] for label in before)
    print(f"fixed cost: {wall - each['tests']:.2f} s of {wall:.2f} s a submission are not its tests'")
    labels = [*before, "planning", "processes ready", "locked cells", "their cells", "processes ended"]
    labels += ["autograded notebook", "feedback page", "gradebook"]
    for label in labels:
        print(f"  {label:<26} {1000 * each[label]:6.0f} ms")
        if label == "processes ready":
            print(f"  {'  of which two forks':<26} {1000 * each['of which forks']:6.0f} ms")
    rest = wall - each["tests"] - sum(each[label] for label in labels)
    print(f"  {'the rest, less overlaps':<26} {1000 * rest:6.0f} ms")
    print("  (files and gradebook are written while the next one runs)", flush=True)


def workers(size: int, rounds: int, training: bool) -> None:
    """The same class with one worker and with two, in turns."""
    students = {f"{number:02d}": cells for number, cells in enumerate(sources(size).values())}
    gains = []
    with course(students, training) as place:
        graded(place, LAB, 2)
        for _ in range(rounds):
            walls, used = {}, {}
            for count in (1, 2):
                fresh = Path(shutil.copytree(place, place.with_name(f"with{count}")))
                for path in fresh.glob("gradebook*"):
                    path.unlink()
                notes, before, begun = Marks(), busy_seconds(), time.perf_counter()
                graded(fresh, LAB, count, notes)
                used[count] = (busy_seconds() - before) / (time.perf_counter() - begun)
                walls[count] = notes.over[-1] - notes.begun
                shutil.rmtree(fresh)
            gains.append((walls[1] / walls[2], used[1], used[2], second_process()))
    gain, one, two, possible = (statistics.median(column) for column in zip(*gains, strict=True))
    least, most = min(gains)[0], max(gains)[0]
    what = "with" if training else "without"
    print(f"workers 1 -> 2 {what} training: {gain:.2f} x ({least:.2f} to {most:.2f}); ", end="")
    print(f"one keeps {one:.2f} processors busy and two {two:.2f}; ", end="")
    print(f"two busy processes do {possible:.2f} x the work of one here just now", flush=True)


def busy_seconds() -> float:
    """What the machine's processors have worked so far."""
    times = psutil.cpu_times()
    return times.user + times.system + times.nice


def many(size: int) -> None:
    """A class of a tiny lab, honest to the last."""
    notes, memory = Marks(), []

    def watch(progress: Progress) -> None:
        notes(progress)
        memory.extend([psutil.Process().memory_info().rss] * (len(notes.over) - len(memory)))

    with tempfile.TemporaryDirectory(prefix="lecturekit-") as folder:
        place = Path(folder)
        (place / "solutions").mkdir()
        (place / "lecturekit").symlink_to(ROOT / "lecturekit")
        (place / "solutions" / f"{TINY}.py").write_text(TINY_LAB)
        build.build(place / "solutions" / f"{TINY}.py", place)
        notebook = nbformat.writes(notebook_of(TINY, reference(source_of(TINY, place)), place))
        for number in range(size):
            path = place / f"submitted/{number:04d}/{TINY}/{TINY}.ipynb"
            path.parent.mkdir(parents=True)
            path.write_text(notebook)
        results = graded(place, TINY, 2, watch)
    assert [result.score for result in results] == [100] * size
    part = max(1, size // 10)
    first, last = notes.over[part] - notes.over[0], notes.over[-1] - notes.over[-1 - part]
    print(f"a class of {size}: {first / part:.3f} s a submission among the first {part}, ", end="")
    print(f"{last / part:.3f} s among the last ({last / first:.2f} x); the grader's memory ", end="")
    print(f"{memory[part] >> 20} MB after {part}, {memory[-1] >> 20} MB after {size}", flush=True)


# ---- the machine -----------------------------------------------------------------------------------------------------
def busy(turns: int = 3_000_000) -> float:
    """Seconds of a fixed amount of work."""
    begun = time.perf_counter()
    for _ in range(turns):
        pass
    return time.perf_counter() - begun


def second_process() -> float:
    """How much more two processes do in the same time than one: 2 on two idle cores."""
    with ProcessPoolExecutor(2) as two:
        list(two.map(busy, [1000] * 2))
        alone = min(two.submit(busy, 10_000_000).result() for _ in range(2))
        together = max(two.map(busy, [10_000_000] * 2))
    return 2 * alone / together


def machine() -> None:
    times = [busy() for _ in range(9)]
    load = " ".join(f"{part:.1f}" for part in os.getloadavg())
    spread = f"{min(times):.3f} to {max(times):.3f} s, median {statistics.median(times):.3f}"
    print(f"{os.cpu_count()} cores, load {load}; the same work takes {spread}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="that it runs, not how fast")
    parser.add_argument("--rounds", type=int, default=2)
    parts = ["versus", "training", "fixed", "workers", "class"]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    given = parser.parse_args()
    size, few, large, rounds = (3, 2, 30, 1) if given.quick else (24, 6, 1000, given.rounds)
    machine()
    actions = {
        "versus": lambda: versus(size, rounds, training=False),
        "training": lambda: versus(few, 1, training=True),
        "fixed": lambda: fixed(size),
        "workers": lambda: [workers(size, rounds, training) for training in (False, True)],
        "class": lambda: many(large),
    }
    for part in given.parts:
        actions[part]()
        machine()
    runner.close_all()


if __name__ == "__main__":
    main()
