"""Notebooks damaged at random: each becomes a submission with its contents, or one with a reason, and never an exception.

No student code is run: what is fuzzed is reading, sorting, planning and marking. A failing number can be replayed with
`damaged(course, number)`.
"""

import json
import random
import time
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from autograder.intake import MOST_TEXT, BuiltLab, Submission, plan, take
from autograder.result import assess
from autograder.runner import Outcome, Run

SECONDS, BYTES = 10, 64 * 2**20  # for one small notebook: no more than a busy machine needs
ODD_NUMBERS = (0, -1, 2**63, 10**400, 1e308, -0.0, float("nan"), float("inf"), float("-inf"))
ODD_TEXTS = (
    "",
    "\0",
    "\ud800",
    "\ufeff",
    "\u202ereversed\u2066",
    "\x1b[2J\r\n",
    "💥" * 50,
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "double",
    "test-double",
    "code",
    "%%check lab00 double\npass",
    "def double(x):\n    return 2 * x",
    "(" * 300,
    "a" * 5_000,
)
KEYS = ("cells", "cell_type", "source", "metadata", "nbgrader", "grade_id", "id", "outputs", "nbformat", "tags", "x")


def odd(dice: random.Random) -> Any:
    """A value that a notebook has not, or has elsewhere."""
    deep: Any = dice.choice(ODD_TEXTS)
    for _ in range(dice.choice((1, 5, 300))):
        deep = [deep] if dice.random() < 0.5 else {"grade_id": deep}
    lists = [dice.choice(ODD_TEXTS) for _ in range(dice.randrange(4))]
    return dice.choice([None, True, dice.choice(ODD_NUMBERS), dice.choice(ODD_TEXTS), lists, {}, [], deep])


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each place in a tree, as what holds it and the key there."""
    found, left = [], [value]
    while left and len(found) < 2_000:
        holder = left.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        found += [(holder, key) for key in keys]
        left += [holder[key] for key in keys]
    return found


def damage_tree(notebook: dict, dice: random.Random) -> None:
    """Change one thing in the notebook's structure."""
    spots = places(notebook)
    if not spots:
        return
    holder, key = dice.choice(spots)
    other, there = dice.choice(spots)
    match dice.randrange(8):
        case 0:
            del holder[key]
        case 1:
            holder[key] = odd(dice)
        case 2:  # a copy: a tree that holds itself is no JSON
            holder[key] = json.loads(json.dumps(other[there], default=str)) if size_of(other[there]) < 200 else None
        case 3 if isinstance(holder, dict):
            holder[dice.choice(KEYS)] = holder.pop(key)
        case 4 if isinstance(holder, list):
            holder.insert(key, json.loads(json.dumps(holder[key])))
        case 5 if isinstance(holder, list):
            dice.shuffle(holder)
        case 6 if isinstance(holder[key], str):
            cut = dice.randrange(len(holder[key]) + 1)
            holder[key] = holder[key][:cut] + dice.choice(ODD_TEXTS) + holder[key][cut:]
        case _:
            cells = notebook.get("cells")
            if isinstance(cells, list):
                cells.insert(
                    dice.randrange(len(cells) + 1), {"cell_type": "code", "source": odd(dice), "metadata": odd(dice)}
                )


def size_of(value: Any) -> int:
    return len(places(value))


def damage_bytes(data: bytes, dice: random.Random) -> bytes:
    """Change something in what lies on the disk."""
    cut = dice.randrange(len(data) + 1)
    match dice.randrange(9):
        case 0:
            return data[:cut]
        case 1:
            return data[cut:]
        case 2:
            junk = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 40)))
            return data[:cut] + junk + data[cut:]
        case 3:
            flipped = bytearray(data)
            for _ in range(dice.randrange(1, 20)):
                flipped[dice.randrange(len(flipped))] ^= 1 << dice.randrange(8)
            return bytes(flipped)
        case 4:
            return data + data
        case 5:
            return dice.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"[" * 5_000, b'{"cells":' * 3_000)) + data
        case 6:
            return data.decode("utf-8", "replace").encode(dice.choice(("utf-16", "utf-32", "utf-7")))
        case 7:  # a key twice, or a name of another length
            word = f'"{dice.choice(KEYS)}"'.encode()
            return data.replace(word, dice.choice((word + b":1," + word, b'"\\u0063ells"', b"NaN", b"1e999")), 1)
        case _:
            return data.replace(b"," if dice.random() < 0.5 else b":", dice.choice((b"", b",,", b";", b"\n")), 1)


def damaged(course, number: int) -> bytes:
    dice = random.Random(number)
    notebook = json.loads((course.root / "labs/lab00/lab00.ipynb").read_text(encoding="utf-8"))
    text = json.dumps(notebook)
    for _ in range(dice.choice((0, 1, 1, 2, 5, 20))):
        try:
            damage_tree(notebook, dice)
            text = json.dumps(notebook, ensure_ascii=dice.random() < 0.5)
        except RecursionError:  # deeper than can be written
            break
    data = text.encode("utf-8", "surrogatepass")
    for _ in range(dice.choice((0, 0, 0, 1, 1, 3))):
        data = damage_bytes(data, dice)
    return data


def check_one(course, lab: BuiltLab, number: int) -> Submission:
    """What holds for every notebook."""
    path = course.submitted / f"student{number}/lab00/lab00.ipynb"
    path.parent.mkdir(parents=True)
    path.write_bytes(damaged(course, number))
    submission = take(lab, path.parent)
    assert submission.student == f"student{number}"
    if submission.refusal:
        assert submission.refusal[-1] == "."
        assert len(submission.refusal) < 300
        assert not submission.solutions
        result = assess(lab, submission)
        assert (result.status, result.score, result.reason) == ("refused", 0, submission.refusal)
        return submission
    assert set(submission.solutions) | set(submission.missing) == {"double", "total"}
    steps = plan(lab, submission)
    tests = [step for step in steps if step.kind == "test"]
    assert [step.id for step in tests] == ["test-double", "test-total-small", "test-total-empty"]
    texts = [step.source for step in steps] + submission.notes + list(submission.answers.values())
    assert sum(map(len, texts)) < 2 * MOST_TEXT
    for text in texts:
        assert "\0" not in text
        text.encode()
    json.dumps([vars(step) for step in steps])
    outcomes = {step.id: Outcome("passed" if step.kind == "test" else "ran") for step in steps}
    assert assess(lab, submission, Run(outcomes)).score == 5
    return submission


def check_all(course, numbers: range, record: Callable[[str, object], None]) -> None:
    refused, lab = 0, course.lab
    for number in numbers:
        began = time.process_time()
        tracemalloc.start()
        try:
            submission = check_one(course, lab, number)
            peak = tracemalloc.get_traced_memory()[1]
        except Exception as error:
            pytest.fail(f"notebook {number}: {type(error).__name__}: {str(error)[:300]}")
        finally:
            tracemalloc.stop()
        assert time.process_time() - began < SECONDS, number
        assert peak < BYTES, number
        refused += bool(submission.refusal)
    record("refused", refused)
    assert 0.2 < refused / len(numbers) < 0.8, "the damage should leave some notebooks readable, and some not"


def test_damaged_notebooks(course, record_property) -> None:
    check_all(course, range(100), record_property)


@pytest.mark.full
def test_a_thousand_damaged_notebooks(course, record_property) -> None:
    check_all(course, range(1_000), record_property)


@pytest.mark.parametrize(
    "text", ["", "2026-03-01", "🕰", "1" * 90, "2026-13-45 99:99", "\0", "0001-01-01 +14:00", "T" * 99]
)
def test_damaged_time_stamps(course, text: str) -> None:
    path = course.hand_in("ann")
    path.with_name("timestamp.txt").write_text(text, encoding="utf-8")
    assert isinstance(take(course.lab, path.parent).timestamp, datetime | None)


@pytest.mark.parametrize("number", range(3))
def test_damaged_time_stamps_of_any_kind(course, number: int) -> None:
    dice, path = random.Random(number), course.hand_in("ann")
    for _ in range(300):
        letters = "0123456789-:. TZ+UTCamp/\n" if dice.random() < 0.9 else ODD_TEXTS[4]
        path.with_name("timestamp.txt").write_text("".join(dice.choice(letters) for _ in range(dice.randrange(30))))
        assert isinstance(take(course.lab, path.parent).timestamp, datetime | None)
