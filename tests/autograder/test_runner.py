import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from autograder.intake import Step
from autograder.runner import ROOT, Child, Ended, Limits, Runner, lent

QUICK = Limits(cell_seconds=1, training_seconds=2, memory_gb=0.3)


def student(source, id="double"):
    return Step("student", id, source, id)


def judged(source="check.equal(double(2), 4)", id="test-double", exercise="double", training=False):
    return Step("test", id, source, exercise, training)


CAGED = shutil.which("bwrap") is not None
GOOD = student("def double(x):\n    return 2 * x")


def run(*steps, limits=QUICK):
    """Run steps in the order given; the outcomes in that order."""
    result = complete(*steps, limits=limits)
    return [result.outcomes[step.id] for step in steps]


def complete(*steps, limits=QUICK, **about):
    with Runner("lab00", limits, **({"caged": CAGED} | about)) as runner:
        return runner.run(list(steps))


def test_a_passing_test_is_the_only_thing_that_passes():
    assert [outcome.kind for outcome in run(GOOD, judged())] == ["ran", "passed"]
    assert [outcome.kind for outcome in run(judged())] == ["error"]


def test_a_wrong_and_a_blank_one_are_told_apart():
    wrong = run(student("def double(x):\n    return x"), judged())[1]
    assert wrong.kind == "wrong"
    assert "4" in wrong.message
    assert run(student("def double(x):\n    raise NotImplementedError()"), judged())[1].kind == "blank"


def test_an_error_in_one_cell_does_not_stop_the_next():
    broken, _, passed = run(student("1 / 0", "a"), GOOD, judged())
    assert broken.kind == "error"
    assert broken.message.startswith("ZeroDivisionError")
    assert passed.kind == "passed"


def test_a_syntax_error_names_its_line():
    assert run(student("x = 1\ny = ("), judged())[0].message.startswith("SyntaxError in line 2 of the cell")


@pytest.mark.parametrize(
    ("ending", "kind", "message"),
    [
        ("while True: pass", "stopped", "stopped after 1 s: perhaps an endless loop"),
        ("import os; os._exit(3)", "stopped", "the kernel ended (exit status 3)"),
        ("import os; os.kill(os.getpid(), 9)", "stopped", "ended by signal 9: probably more than 0.3 GB of memory"),
        ("import os; os.abort()", "stopped", "the kernel ended by signal 6"),
        ("x = []\nwhile True: x.append(bytearray(10**7))", "stopped", "more than 0.3 GB of memory"),
        ("import torch; x = torch.zeros(10**9)", "stopped", "more than 0.3 GB of memory"),
        ("import os; os.closerange(0, 512)", "stopped", "the kernel ended (exit status 1)"),
        ("import time; time.sleep(60)", "stopped", "stopped after 1 s: perhaps an endless loop"),
        ("raise SystemExit", "error", "SystemExit"),
        ("exit()", "error", "SystemExit"),
        ("raise KeyboardInterrupt", "error", "KeyboardInterrupt"),
        ("import sys; sys.stdout.close(); sys.stderr = None", "ran", ""),
        ("import sys; sys.stdout = sys.stderr = sys.__stdout__ = None", "ran", ""),
        ("import builtins; del builtins.print", "ran", ""),
        ("import threading; threading.Thread(target=lambda: 1 / 0).start()", "ran", ""),
        ("%matplotlib inline\ndisplay(get_ipython())", "ran", ""),
        ("%no_such_magic", "error", "UsageError"),
        ("input()", "error", ""),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="exit codes and memory limits as Linux has them")
def test_what_a_cell_does_to_itself_costs_no_other_exercise(ending, kind, message):
    limits = Limits(cell_seconds=1 if message.startswith("stopped") else 20, memory_gb=0.3)
    bad, _, passed = run(student(ending, "bad"), GOOD, judged(), limits=limits)
    assert (bad.kind, passed.kind) == (kind, "passed")
    assert bad.message.startswith(message)


def test_an_endless_loop_in_a_tested_function_costs_its_own_test():
    loop = student("def loop(x):\n    while x: pass\n    return 0", "loop")
    stopped, passed, other = run(
        GOOD, loop, judged("loop(1)", "a", "loop"), judged("check.equal(loop(0), 0)", "b", "loop"), judged()
    )[2:]
    assert (stopped.kind, passed.kind, other.kind) == ("stopped", "passed", "passed")


def test_an_exercise_that_goes_on_ending_the_kernel_uses_up_no_more_starts():
    steps = [GOOD, student("import os\ndef leave(): os._exit(0)", "leave")]
    steps += [judged("leave()", f"test-{n}", "leave") for n in range(6)] + [judged()]
    outcomes = run(*steps, limits=Limits(cell_seconds=2, restarts=2))
    assert [outcome.kind for outcome in outcomes[2:]] == ["stopped"] * 6 + ["passed"]
    assert outcomes[4].message == "not run: this exercise had ended the kernel before"


def test_after_the_last_start_what_is_left_has_its_reason():
    steps = [student("import os; os._exit(0)", f"leave{n}") for n in range(4)] + [GOOD, judged()]
    outcomes = run(*steps, limits=Limits(restarts=2))
    assert outcomes[2].message == "the kernel ended (exit status 0)"
    assert outcomes[-1].message == "not run: cells before it had ended the kernel 3 times"


def test_a_mark_given_before_a_restart_is_kept():
    assert run(GOOD, judged(), student("import os; os._exit(0)", "late"))[1].kind == "passed"
    outcomes = run(GOOD, judged(), student("import os; os._exit(0)", "late"), judged(id="again"))
    assert [outcome.kind for outcome in outcomes] == ["ran", "passed", "stopped", "passed"]


def test_the_whole_submission_has_a_limit():
    sleep = [student("import time; time.sleep(0.4)", f"s{n}") for n in range(5)]
    outcomes = run(*sleep, judged(), limits=Limits(total_seconds=1.5))
    assert outcomes[0].kind == "ran"
    assert outcomes[4].message == outcomes[5].message == "the whole notebook took more than 1.5 s"


def test_a_training_cell_has_a_limit_of_its_own():
    wait = student("import time\ndef wait(): time.sleep(1.3)\n", "wait")
    short, long = run(wait, judged("wait()", "a", "wait"), judged("wait()", "b", "wait", training=True))[1:]
    assert (short.kind, long.kind) == ("stopped", "passed")


def test_output_is_kept_to_its_end():
    outcome = run(student("print('a' * 10**7)\nprint('the end')"))[0]
    assert outcome.kind == "ran"
    assert outcome.output.endswith("a\nthe end\n")
    assert len(outcome.output) == 4000


def test_a_child_has_its_own_folder_environment_and_random_numbers(monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_GRADER", "42")
    look = student(
        "import os, random, tempfile, numpy, torch\n"
        "print(os.listdir(), os.getcwd() == os.environ['HOME'], 'SECRET_OF_THE_GRADER' in os.environ)\n"
        "open('left.txt', 'w').close()\nprint(tempfile.mkdtemp())\n"
        "print(random.random(), numpy.random.rand(), torch.rand(()).item(), torch.get_num_threads())"
    )
    one, two = (run(look)[0].output.splitlines() for _ in range(2))
    assert "left.txt" not in one[0] + two[0]
    assert one[0].endswith(" True False")
    assert not os.path.exists(one[1])
    assert one[2] == two[2]
    assert one[2].endswith(" 1")


def test_a_child_does_not_run_the_graders_main_script(tmp_path):
    script = tmp_path / "main.py"
    script.write_text(
        "print('main')\nfrom autograder.intake import Step\nfrom autograder.runner import Runner\n"
        f"print(Runner('lab00', caged={CAGED}).run([Step('student', 'a', '1 + 1')]).outcomes['a'].kind)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["main", "ran"]


LINE = """
import gc, json, os, socket, struct, sys
from autograder.wire import Link
link = next(thing for thing in gc.get_objects() if isinstance(thing, Link))
def frame(message):
    text = json.dumps(message).encode()
    return struct.pack("!II", len(text), 0) + text
"""
FORGED = {
    "a verdict for its own cell": "link.end.sendall(frame({'id': 2, 'kind': 'passed', 'message': '', 'output': ''}))",
    "a verdict that nobody asked for": "link.end.sendall(frame({'id': 3, 'step': 'test-double', 'kind': 'passed'}))",
    "no frame": "link.end.sendall(b'x' * 10**5)",
    "a frame of four gigabytes": "link.end.sendall(b'\\xff' * 8)",
    "a message without end": "link.end.sendall(struct.pack('!II', 10**7, 0) + b'[' * 10**7)",
    "another number": "sent = link.send\nlink.send = lambda m, *a: sent({**m, 'id': m['id'] + 1}, *a)",
    "no kind": "sent = link.send\nlink.send = lambda m, *a: sent({'id': m['id']}, *a)",
    "a closed line": "import time; link.end.shutdown(2); time.sleep(1)",
    "silence": "link.send = lambda *a: None",
    "a line that never ends": "link.end.sendall(struct.pack('!II', 10**7, 0) + b'[')\nwhile True: pass",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_what_a_cell_writes_on_the_line_costs_that_cell_alone(forged):
    """The line to the judge can be found and written on, since it is in the student's own process."""
    wrong = student("def double(x):\n    return x", "wrong")
    bad, _, no, _, yes = run(student(LINE + forged, "bad"), wrong, judged(id="no"), GOOD, judged())
    assert (bad.kind, no.kind, yes.kind) == ("stopped", "wrong", "passed")
    assert bad.message.startswith(("the kernel's answer could not be read", "the kernel ended", "stopped after"))


def test_a_line_that_is_flooded_from_then_on_is_given_up():
    """Whose every answer comes twice has no second answer read, whichever cell is next: no mark comes of it."""
    flood = student(LINE + "sent = link.send\nlink.send = lambda *a: (sent(*a), sent(*a))", "flood")
    result = complete(flood, GOOD, judged(), judged(id="again"), judged(id="other", exercise="other"))
    assert {outcome.kind for outcome in result.outcomes.values()} <= {"ran", "stopped"}
    assert result.aside.startswith("It ended its process 3 times")


ANSWERED = {
    "true to everything": ("class Server:\n    pass\nfar.Server.operation = lambda *a: ({'reply': ['value', True]}, {})", "wrong"),
    "what was asked": ("far.Server.operation = lambda self, asked, t: ({'reply': ['value', asked['with']]}, {})", "wrong"),
    "passed": ("far.Server.operation = lambda *a: ({'reply': ['passed']}, {})", "wrong"),
    "an exception named so": ("far.Server.operation = lambda *a: ({'reply': ['broke', ['passed'], 'passed']}, {})", "wrong"),
    "no operation": ("far.checks.Beside.answer = None", "error"),
    "patched words": ("from lecturekit import checks\nchecks.judge = lambda *a: checks.Verdict('passed')\nchecks.equal = print", "wrong"),
    "patched torch": ("import torch\ntorch.equal = torch.allclose = lambda *a, **k: True", "wrong"),
    "an endless list": ("def double(x):\n    return [0] * 2 * 10**6", "wrong"),
    "a tensor without end": ("import torch\ndef double(x):\n    return torch.zeros(1).expand(10**10)", "wrong"),
    "a number without end": ("def double(x):\n    return 10**5000", "wrong"),
    "a sparse tensor": ("import torch\ndef double(x):\n    return torch.eye(3).to_sparse()", "wrong"),
    "a tensor of nothing": ("import torch\ndef double(x):\n    return torch.empty(3, device='meta')", "wrong"),
    "an error that can't be told": ("class E(Exception):\n    def __str__(self): 1 / 0\ndef double(x):\n    raise E", "error"),
    "an interrupt": ("def double(x):\n    raise KeyboardInterrupt", "error"),
    "a long reason": ("def double(x):\n    raise ValueError('x' * 10**6)", "error"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "kind"), ANSWERED.values(), ids=ANSWERED)
def test_no_answer_is_a_verdict(source, kind):
    """A test is honestly failed, or honestly passed, whatever the student's process says."""
    patched = student(f"from autograder import far\n{source}", "patched")
    wrong = student("def double(x):\n    return x", "wrong")
    cells = [patched, judged()] if "def double" in source else [wrong, patched, judged()]
    assert run(*cells)[-1].kind == kind


def test_a_judge_that_goes_on_for_ever_is_stopped():
    endless, passed = run(
        student("def n(x):\n    return 10**12", "n"), judged("for i in range(n(1)): pass", "a", "n"), GOOD, judged()
    )[1::2]
    assert (endless.kind, passed.kind) == ("stopped", "passed")
    assert endless.message == "stopped after 1 s: perhaps an endless loop"


@pytest.mark.parametrize(("worked", "kind", "times"), [(0.0, "passed", 2), (10.0**6, "stopped", 1)])
def test_a_cell_that_is_late_without_the_processor_runs_once_more(monkeypatch, worked, kind, times):
    """As it does beside neighbours who use up the processor; what it used itself is its own fault."""
    asked, do = [], Child.do

    def late_at_first(self, step, seconds, passed):
        asked.append(step.id)
        if step.id == "test-double" and asked.count(step.id) == 1:
            time.sleep(seconds)
            raise Ended("stopped", late=True)
        return do(self, step, seconds, passed)

    monkeypatch.setattr(Child, "do", late_at_first)
    monkeypatch.setattr(Child, "cpu_seconds", worked)
    before, after = judged(id="before", exercise="before"), judged(id="other", exercise="other")
    result = complete(GOOD, before, judged(), after, limits=Limits(cell_seconds=2))
    assert result.outcomes["test-double"].kind == kind
    assert asked.count("before") == 1, "a mark that was given is kept"
    assert result.outcomes["other"].kind == "passed"
    assert (asked.count("test-double"), result.restarts) == (times, 2 - times)


def test_a_cell_that_waits_for_ever_is_given_up():
    wait = student("import time\ndef wait(): time.sleep(60)", "wait")
    stopped, passed = run(wait, judged("wait()", "a", "wait"), GOOD, judged())[1::2]
    assert (stopped.kind, passed.kind) == ("stopped", "passed")


@pytest.mark.skipif(sys.platform != "linux", reason="every process that is started counts where there is a /proc")
def test_what_a_cell_starts_works_on_its_account():
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    start = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}], start_new_session=True)"
    with lent(ROOT, "lab00", CAGED) as warm:
        child = Child(warm, "lab00", Limits(), "")
        assert child.do(student(start), 60, []).kind == "ran"
        child.close()
    assert 0.5 <= child.cpu_seconds < 60


def test_a_judge_that_ends_costs_that_test_alone():
    leave = judged("import os; os._exit(1)", "leave", "leave")
    left, _, passed = run(leave, GOOD, judged())
    assert (left.kind, left.message, passed.kind) == ("stopped", "the test broke on what came back", "passed")


def test_what_ends_its_process_three_times_is_set_aside():
    steps = [student("import os; os._exit(0)", f"leave{n}") for n in range(4)] + [GOOD, judged()]
    result = complete(*steps)
    assert result.aside == "It ended its process 3 times, last: the kernel ended (exit status 0)."
    assert result.restarts == 2
    assert result.outcomes["test-double"].message == "not run: cells before it had ended the kernel 3 times"
    assert complete(*steps[1:3], GOOD, judged()).aside == ""


def test_a_run_says_whether_it_was_caged():
    assert complete(GOOD, judged(), caged=False).caged is False
    if CAGED:
        assert complete(GOOD, judged(), caged=True).caged is True


def test_the_secret_moves_the_tests_numbers_and_nothing_that_a_student_is_told():
    see = student("import torch\ndef see(x):\n    print(x)\ndef draw(_):\n    return torch.rand(()).item()", "see")
    asked = judged("see(torch.rand(()).item())\nsee(draw(0))", "see")
    (mine, theirs), again, (others, theirs_too) = (
        complete(see, asked, secret=secret).outcomes["see"].output.split() for secret in ("a", "a", "b")
    )
    assert [mine, theirs] == again
    assert mine != others
    assert theirs == theirs_too


def running(word):
    """Whether a process was started with this word; a cage has numbers of its own, and is seen from outside."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word in path.read_bytes().decode(errors="replace").split("\0"):
                return True
    return False


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks for processes in /proc")
def test_what_a_cell_started_ends_with_it_and_nothing_else_does():
    neighbour = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    results = {}
    with Runner("lab00", Limits(cell_seconds=3), caged=CAGED) as runner:
        wait = [student("import time; time.sleep(1)", "wait"), GOOD, judged()]
        thread = threading.Thread(target=lambda: results.update(runner.run(wait).outcomes))
        thread.start()
        start = "import subprocess\nsubprocess.Popen(['sleep', '61.0625'], start_new_session=True)"
        assert runner.run([student(start), judged("pass")]).outcomes["double"].kind == "ran"
        thread.join()
    try:
        assert not running("61.0625")
        assert neighbour.poll() is None
        assert results["test-double"].kind == "passed"
    finally:
        neighbour.kill()
        neighbour.wait()


def test_leaving_the_runner_ends_what_runs():
    runner, results = Runner("lab00", Limits(cell_seconds=60), caged=CAGED), []
    thread = threading.Thread(target=lambda: results.append(runner.run([student("while True: pass"), judged()])))
    began = time.monotonic()
    with runner:
        thread.start()
        while not runner.children:
            time.sleep(0.05)
    thread.join(30)
    assert time.monotonic() - began < 30
    assert results[0].outcomes["test-double"].kind == "stopped"
