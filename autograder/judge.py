"""The process that judges one submission. No line of a student's ever runs here.

It stands between two others. The grader's `runner` sends it the cells one by one and gets an outcome for each; the
student's process, `far`, runs the student's cells, and answers what the tests, which run here, ask of the student's
names. What comes from there is read with bounds, matched with the question and made plain data, or it is no answer.
"""

import socket
from typing import Any, NoReturn

from torch import Tensor

from autograder.wire import Link, Malformed, TooLarge
from lecturekit import checks

MOST_CHARACTERS = 4000  # of a cell's output, message or hint


class Gone(BaseException):
    """There is no student's process any more, or nothing it says can be trusted. No `Exception`: tests catch those."""


class Across:
    """The questions that are asked of the student's process, each answered once."""

    def __init__(self, link: Link):
        self.link, self.number = link, 0

    def ask(self, question: dict[str, Any], tensors: dict[str, Tensor] | None = None) -> tuple[dict, dict[str, Tensor]]:
        """The answer to one question.

        Raises:
            Gone: "ended" where the process closed the line; else what is wrong with the answer.
        """
        self.number += 1
        try:
            self.link.refuse_unasked()
            self.link.send({"id": self.number, **question}, tensors)
            answer, found = self.link.receive()
        except (EOFError, OSError):
            raise Gone("ended") from None
        except TooLarge:
            raise
        except Malformed as error:
            raise Gone(str(error)) from None
        if type(answer.get("id")) is not int or answer["id"] != self.number:
            raise Gone("it was for another question")
        return answer, found

    def exchange(self, message: dict, tensors: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
        """One operation of a test, as `checks.Remote` asks for it."""
        answer, found = self.ask(message, tensors)
        return answer.get("reply"), found


def main(watcher: socket.socket, student: socket.socket, lab: str, secret: str) -> NoReturn:
    """Judge the cells that come from `watcher` until it closes, or until the student's process is gone."""
    link, across = Link(watcher), Across(Link(student))
    try:
        across.ask({"hello": True})
        link.send({"ready": True})
        while True:
            step, _ = link.receive()
            outcome = test(across, step, lab, secret) if step["kind"] == "test" else cell(across, step["source"])
            texts = {key: value[-MOST_CHARACTERS:] for key, value in outcome.items()}
            link.send({"number": step["number"], "id": step["id"], **texts})
    except Gone as reason:
        link.send({"gone": str(reason)})
    except (EOFError, OSError):
        pass
    raise SystemExit(0)


def cell(across: Across, source: str) -> dict[str, str]:
    """A cell of the student's, or one of ours that the student's code builds on; it can't pass anything."""
    answer, _ = across.ask({"cell": source})
    kind, *texts = (answer.get(key) for key in ("kind", "message", "output"))
    if kind not in ("ran", "error", "memory") or not all(isinstance(text, str) for text in texts):
        raise Gone("it was none to a cell")
    return {"kind": kind, "message": texts[0], "output": texts[1]}


def test(across: Across, step: dict[str, Any], lab: str, secret: str) -> dict[str, str]:
    """A test, which runs here, against the student's names over there."""
    across.ask({"begin": step["exercise"]})
    try:
        back, passed = checks.Remote(across.exchange), step["passed"]
        verdict = checks.judge(step["source"], back, lab, step["exercise"], secret, passed)
    except Exception as error:
        verdict = checks.Verdict("error", checks.tell(error))
    output = across.ask({"end": True})[0].get("output")
    if not isinstance(output, str):
        raise Gone("it was none to the end of a test")
    return {"kind": verdict.kind, "message": verdict.message, "hint": verdict.hint, "output": output}
