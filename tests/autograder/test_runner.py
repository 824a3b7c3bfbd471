import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from autograder.intake import Step
from autograder.runner import Channel, Limits, Runner

QUICK = Limits(cell_seconds=1, training_seconds=2, memory_gb=0.3)


def student(source, id="double"):
    return Step("student", id, source, id)


def judged(source="check.equal(double(2), 4)", id="test-double", exercise="double", training=False):
    return Step("test", id, source, exercise, training)


GOOD = student("def double(x):\n    return 2 * x")


def run(*steps, limits=QUICK):
    """Run steps in the order given; the outcomes in that order."""
    with Runner("lab00", limits) as runner:
        result = runner.run(list(steps))
    return [result.outcomes[step.id] for step in steps]


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
    bad, _, passed = run(student(ending, "bad"), GOOD, judged())
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


def test_a_child_has_its_own_folder_environment_and_random_numbers(monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET_OF_THE_GRADER", "42")
    look = student(
        "import os, random, tempfile, numpy, torch\nopen('left.txt', 'w').close()\n"
        "print([os.getcwd(), tempfile.gettempdir(), os.environ['HOME'], 'SECRET_OF_THE_GRADER' in os.environ])\n"
        "print(random.random(), numpy.random.rand(), torch.rand(()).item(), torch.get_num_threads())"
    )
    one, two = (run(look)[0].output.splitlines() for _ in range(2))
    places = json.loads(one[0].replace("'", '"').replace("False", "false"))
    assert len(set(places[:3])) == 1
    assert places[3] is False
    assert not os.path.exists(places[0])
    assert one[0] != two[0]
    assert one[1] == two[1]
    assert one[1].endswith(" 1")


def test_a_child_does_not_run_the_graders_main_script(tmp_path):
    script = tmp_path / "main.py"
    script.write_text(
        "print('main')\nfrom autograder.intake import Step\nfrom autograder.runner import Runner\n"
        "print(Runner('lab00').run([Step('student', 'a', '1 + 1')]).outcomes['a'].kind)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["main", "ran"]


def ended(pid):
    """Whether a process is gone, or only waits to be noticed."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().split()[2] == "Z"


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks for processes in /proc")
def test_what_a_cell_started_ends_with_it_and_nothing_else_does():
    neighbour = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    results = {}
    with Runner("lab00", Limits(cell_seconds=3)) as runner:
        wait = [student("import time; time.sleep(1)", "wait"), GOOD, judged()]
        thread = threading.Thread(target=lambda: results.update(runner.run(wait).outcomes))
        thread.start()
        start = "import subprocess, os\np = subprocess.Popen(['sleep', '60'])\nprint(p.pid, flush=True)"
        pid = runner.run([student(start)]).outcomes["double"].output.strip()
        thread.join()
    try:
        assert ended(pid)
        assert neighbour.poll() is None
        assert results["test-double"].kind == "passed"
    finally:
        neighbour.kill()
        neighbour.wait()


def test_leaving_the_runner_ends_what_runs():
    runner, results = Runner("lab00", Limits(cell_seconds=60)), []
    thread = threading.Thread(target=lambda: results.append(runner.run([student("while True: pass"), judged()])))
    began = time.monotonic()
    with runner:
        thread.start()
        while not runner.children:
            time.sleep(0.05)
    thread.join(30)
    assert time.monotonic() - began < 30
    assert results[0].outcomes["test-double"].kind == "stopped"


@pytest.mark.parametrize(
    ("sent", "error"),
    [(b"", EOFError), (b"[1]\n", ValueError), (b"no\n", ValueError), (b"x" * 300, ValueError), (b"{}", TimeoutError)],
)
def test_a_channel_takes_nothing_but_short_whole_objects_in_time(sent, error):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        if error is not TimeoutError:
            theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(error):
            Channel(ours).receive(0.1, most=200)
