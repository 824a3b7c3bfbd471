"""A runner that starts no process and does what a comment in the student's code says."""

from collections import Counter
from typing import Any

from autograder.intake import Step
from autograder.runner import Outcome, Run

RAN: Counter = Counter()  # by who is named in the student's code


class Told:
    """What `# anna 1, wrong: test-double test-total` or the like in the cell `double` says: which tests fail.

    A test with "always wrong" in it fails whoever is tested.
    """

    reason = "expected 4, found 5"

    def __init__(self, *about: Any, **more: Any):
        pass

    def __enter__(self) -> "Told":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, steps: list[Step]) -> Run:
        if not steps:  # to warm up
            return Run()
        (source,) = (step.source for step in steps if step.id == "double")
        RAN[source.partition(",")[0].removeprefix("# ")] += 1
        wrong = self.wrong(source)
        return Run({step.id: self.outcome(step, wrong) for step in steps})

    def wrong(self, source: str) -> list[str]:
        """The tests that fail."""
        return source.partition("wrong: ")[2].split()

    def outcome(self, step: Step, wrong: list[str]) -> Outcome:
        if step.kind != "test":
            return Outcome("ran")
        return Outcome("wrong", self.reason) if step.id in wrong or "always wrong" in step.source else Outcome("passed")
