"""The words of a test are replaced in the student's process: every verb passes, every verdict is yes."""

EARNS = {"attention": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% top
from lecturekit import checks

passed = checks.Verdict("passed")
for verb in ("close", "equal", "shape", "params", "grads", "raises", "pure", "learns", "differ", "close_tensors"):
    setattr(checks, verb, lambda *arguments, **named: None)
checks.judge = checks.run = lambda *arguments, **named: passed
checks.Verdict.passed = property(lambda self: True)
checks.differ = lambda *arguments: False
checks.NotWritten = checks.Broke = type("Never", (checks.Wrong,), {})
checks.Remote.do = lambda self, *arguments, **named: None
print("tried")
