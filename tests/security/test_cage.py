"""What a caged process can see and do, tried from inside; nothing is tried outside a cage, nor on what others started."""

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import pytest

from autograder import cage as cages
from autograder.cage import Bounds, CageError, View, Zygote

CAGES = sys.platform == "linux" and shutil.which("bwrap")
caged = pytest.mark.skipif(not CAGES, reason="bwrap, of the package bubblewrap, is not installed")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc as Linux has them")
ROOT = Path(__file__).resolve().parents[2]
MB = 2**20
SMALL = Bounds(memory=64 * MB, processes=24, file_bytes=8 * MB, open_files=64, scratch_bytes=16 * MB)

PROBE = """
import ctypes, errno, json, os, signal, socket, subprocess, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    "errno of a C function, 0 if it worked"
    return ctypes.get_errno() if getattr(libc, name)(*arguments) == -1 else 0

def refused(action, *arguments, **named):
    "the error that this raises, or None"
    try:
        action(*arguments, **named)
    except Exception as error:
        return type(error).__name__

def run(end, code, **given):
    names = dict(globals(), end=end, answer=None, **given)
    try:
        exec(code, names)
        reply = {"answer": names["answer"]}
    except MemoryError:
        raise
    except Exception as error:
        reply = {"error": repr(error)}
    end.sendall(json.dumps(reply).encode() + b"\\n")
    end.recv(1)

def echo(end):
    while data := end.recv(64):
        end.sendall(data)
"""


def view_of(folder, **more):
    (folder / "probe.py").write_text(PROBE)
    return View({"/probe": folder}, path=("/probe",), **more)


class Prisoner:
    """An inmate that runs some code, with the line to it."""

    def __init__(self, zygote, code, bounds=SMALL, **given):
        self.end, theirs = socket.socketpair()
        self.end.settimeout(30)
        try:
            self.inmate = zygote.fork([theirs], {"code": code, **given}, bounds)
        except CageError:
            self.end.close()
            theirs.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.end.close()
        self.inmate.kill()

    def answer(self):
        with self.end.makefile() as lines:
            reply = json.loads(lines.readline())
        assert "error" not in reply, reply["error"]
        return reply["answer"]


@pytest.fixture(scope="module", params=["caged", "bare"])
def either(request, tmp_path_factory):
    """A zygote, with a cage and without."""
    if request.param == "caged" and not CAGES:
        pytest.skip("bwrap, of the package bubblewrap, is not installed")
    folder = tmp_path_factory.mktemp("view")
    data = folder / "corpus.txt"
    data.write_text("some text")
    data.chmod(0o600)
    view = view_of(folder, masked=("transformers", "yaml"), files={"data/corpus.txt": data})
    with Zygote("probe:run", view, caged=request.param == "caged") as zygote:
        yield zygote


@pytest.fixture(scope="module")
def zygote(tmp_path_factory):
    if not CAGES:
        pytest.skip("bwrap, of the package bubblewrap, is not installed")
    with Zygote("probe:run", view_of(tmp_path_factory.mktemp("view"), masked=("transformers", "yaml"))) as zygote:
        yield zygote


@pytest.fixture
def neighbour(zygote):
    """Another inmate of the same zygote, which must live through what happens."""
    with Prisoner(zygote, "while data := end.recv(64): end.sendall(data)") as other:
        yield other
        other.end.sendall(b"still there?")
        assert other.end.recv(64) == b"still there?"


def ask(zygote, code, bounds=SMALL, **given):
    with Prisoner(zygote, code, bounds, **given) as prisoner:
        return prisoner.answer()


def processes_with(marker):
    """Those whose command line holds it."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and marker.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def gone(marker, seconds=10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not processes_with(marker):
            return True
        time.sleep(0.02)
    return False


# ---- a fork, with a cage or without ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("code", "reason", "status", "number"),
    [
        ("os._exit(3)", "exit", 3, None),
        ("sys.exit()", "exit", 0, None),
        ("sys.exit('no')", "exit", 1, None),
        ("raise BaseException", "exit", 1, None),
        ("os.kill(os.getpid(), 15)", "signal", None, 15),
        ("ctypes.string_at(0)", "signal", None, 11),
        ("os.abort()", "signal", None, 6),
        pytest.param("x = bytearray(10**9)", "memory", 113, None, marks=on_linux),
    ],
)
def test_how_it_ended_is_told(either, code, reason, status, number):
    with Prisoner(either, code) as prisoner:
        ending = prisoner.inmate.wait(10)
    assert (ending.reason, ending.status, ending.signal) == (reason, status, number)
    assert prisoner.inmate.wait() is ending


def test_waiting_has_a_limit_and_killing_is_told(either):
    with Prisoner(either, "answer = 1; end.sendall(b'1'); time.sleep(60)") as prisoner:
        assert prisoner.end.recv(1) == b"1"
        assert prisoner.inmate.wait(0.05) is None
        waiters = [threading.Thread(target=prisoner.inmate.wait) for _ in range(3)]
        for waiter in waiters:
            waiter.start()
        prisoner.inmate.kill()
        prisoner.inmate.kill()
        for waiter in waiters:
            waiter.join(10)
            assert not waiter.is_alive()
    assert prisoner.inmate.wait(0).reason == "killed"


def test_it_has_its_own_folder_environment_and_random_numbers(either, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_GRADER", "42")
    look = (
        "import random, tempfile\nopen('left.txt', 'w').close()\n"
        "answer = [os.getcwd(), os.environ['HOME'], os.listdir(), tempfile.gettempdir(), dict(os.environ), random.random()]"
    )
    one, two = ask(either, look), ask(either, look)
    for cwd, home, listed, temporary, environment, _ in (one, two):
        assert cwd == home
        assert sorted(set(listed) - {".matplotlib"}) == ["data", "left.txt"]
        assert temporary == environment["TMPDIR"]
        assert "SECRET_OF_THE_GRADER" not in environment
        assert not any("pytest" in key.lower() for key in environment)
        assert either.caged == (environment["HOME"] == "/student/home")
    assert one[-1] == two[-1]


def test_it_holds_no_file_but_its_own_and_leads_a_session(either):
    files, session = ask(
        either,
        "found = {}\n"
        "for fd in range(256):\n"
        "    try: found[fd] = os.readlink(f'/proc/self/fd/{fd}').split(':')[0]\n"
        "    except OSError: pass\n"
        "answer = [sorted(found.values()), os.getsid(0) == os.getpid()]",
    )
    assert files == ["/dev/null"] * 3 + ["socket"]
    assert session


def test_data_files_lie_in_the_working_folder_and_cannot_be_changed(either):
    text, error = ask(
        either, "answer = [open('data/corpus.txt').read(), refused(open, 'data/corpus.txt', 'a') if caged else 'OSError']",
        caged=either.caged,
    )  # fmt: skip
    assert text == "some text"
    assert error in ("OSError", "PermissionError")


def test_masked_packages_are_not_there(either):
    code = (
        "import importlib.util, importlib.metadata as metadata\n"
        "def masked():\n    import transformers\n"
        "answer = [refused(masked), importlib.util.find_spec('yaml') is None, "
        "[refused(metadata.version, n) for n in ('transformers', 'PyYAML')], metadata.version('numpy') > '0']"
    )
    assert ask(either, code) == ["ModuleNotFoundError", True, ["PackageNotFoundError"] * 2, True]


@on_linux
def test_memory_is_measured_from_outside(either):
    with Prisoner(either, "x = b'x' * 30_000_000; answer = 1; time.sleep(0.2)") as prisoner:
        assert prisoner.answer() == 1
        prisoner.inmate.kill()
    assert 25 * MB < prisoner.inmate.peak_bytes < 60 * MB


def test_nothing_of_another_request_is_left_in_the_memory_of_a_fork(either):
    one, two = uuid.uuid4().hex, uuid.uuid4().hex
    ask(either, "answer = 1", secret=one, more="x" * 10**6)
    code = (
        "found = set()\nfor line in open('/proc/self/maps'):\n    where, rights, *_ = line.split()\n"
        "    if rights.startswith('rw') and ('[heap]' in line or len(line.split()) == 5):\n"
        "        first, last = (int(word, 16) for word in where.split('-'))\n"
        "        data = ctypes.string_at(first, last - first)\n"
        "        found |= {n for n, half in enumerate(halves) if (half[0] + half[1]).encode() in data}\n"
        "answer = sorted(found)"
    )
    if sys.platform == "linux":
        halves = [(text[:16], text[16:]) for text in (one, two)]
        assert ask(either, code, Bounds(memory=500 * MB), halves=halves, mine=two) == [
            1
        ]  # its own is, so it looked well


def test_several_threads_may_fork(either):
    answers = []
    threads = [threading.Thread(target=lambda n=n: answers.append(ask(either, f"answer = {n}"))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == list(range(8))


def test_children_end_with_it(either):
    marker = uuid.uuid4().hex
    start = (
        "for _ in range(2):\n    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', marker])\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', marker], start_new_session=True)\n"
        "        time.sleep(60)\n"
        "    os._exit(0)\n"
        "time.sleep(0.3); answer = 1"
    )
    with Prisoner(either, start, marker=marker) as prisoner:
        assert prisoner.answer() == 1
        assert len(processes_with(marker)) == 3
    assert not processes_with(marker)


def test_an_import_that_fails_is_quoted(tmp_path):
    (tmp_path / "broken.py").write_text("import no_such_module")
    with pytest.raises(CageError, match="No module named 'no_such_module'"):
        Zygote("broken:run", View({"/broken": tmp_path}, path=("/broken",)), caged=False)


def test_a_process_with_threads_is_not_forked_from(tmp_path):
    (tmp_path / "busy.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nrun = print"
    )
    with pytest.raises(CageError, match="2 threads after the imports"):
        Zygote("busy:run", View({"/busy": tmp_path}, path=("/busy",)), caged=False)


@pytest.mark.parametrize("with_cage", [pytest.param(True, marks=caged), False])
def test_a_zygote_that_died_is_noticed(tmp_path, with_cage):
    with Zygote("probe:run", view_of(tmp_path), caged=with_cage) as zygote, Prisoner(zygote, "time.sleep(60)") as left:
        os.killpg(zygote._process.pid, signal.SIGKILL)  # a group of its own
        if with_cage:
            assert left.inmate.wait(10).reason == "lost"
        with pytest.raises(CageError, match="ended"):
            ask(zygote, "answer = 1")


@pytest.mark.parametrize("with_cage", [pytest.param(True, marks=caged), False])
@on_linux
def test_when_the_grader_is_killed_everything_ends(tmp_path, with_cage):
    marker = uuid.uuid4().hex
    view_of(tmp_path)
    grader = (
        "import socket, sys, time\nfrom pathlib import Path\nfrom autograder.cage import *\n"
        "folder, marker, caged = sys.argv[1:]\n"
        "zygote = Zygote('probe:run', View({'/probe': Path(folder)}, path=('/probe',)), caged=caged == 'True')\n"
        "ours, theirs = socket.socketpair()\n"
        'code = \'subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", marker], start_new_session=True)\'\n'
        "inmate = zygote.fork([theirs], {'code': code, 'marker': marker}, Bounds(memory=2**28))\n"
        "print(ours.recv(100), zygote.folder, flush=True)\ntime.sleep(60)\n"
    )
    command = [sys.executable, "-c", grader, str(tmp_path), marker, str(with_cage)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        *_, folder = process.stdout.readline().split()
        deadline = time.monotonic() + 10
        while len(processes_with(marker)) < 2 and time.monotonic() < deadline:  # the inmate's may not be listed yet
            time.sleep(0.02)
        started = len(processes_with(marker))
        process.kill()
    assert started == 2
    assert gone(marker)
    assert gone(folder)  # bwrap's own command line names it
    shutil.rmtree(folder)


# ---- what an inmate sees -----------------------------------------------------------------------------------------------
@caged
def test_it_sees_nothing_of_the_grader(zygote, tmp_path):
    secret = tmp_path / "gradebook.db"
    secret.write_text("marks")
    places = [str(ROOT / name) for name in ("solutions", "autograder", "course", "labs", ".git", "pyproject.toml")]
    places += [str(secret), str(zygote.folder), "/etc/shadow", "/etc/hostname", "/sys", "/run", "/var", "/boot", "/mnt"]
    there, environment, host, root = ask(
        zygote,
        "answer = [[p for p in places if os.path.exists(p)], open('/proc/self/environ').read(), socket.gethostname(), "
        "os.listdir('/')]",
        places=places,
    )
    assert there == []
    assert "PYTEST" not in environment
    assert host == "cage"
    assert "home" not in root
    # by a walk too: no file of the course, wherever it may lie
    found = ask(
        zygote,
        "answer = [p + '/' + f for p, _, fs in os.walk('/', onerror=None) if not p.startswith(('/proc', '/usr', prefix, base))"
        " for f in fs]",
        prefix=sys.prefix,
        base=sys.base_prefix,
    )
    assert [path for path in found if path.startswith(str(ROOT))] == []
    assert not any(path.endswith((".ipynb", ".db")) for path in found)


@caged
def test_it_sees_no_process_but_its_own(zygote, neighbour):
    pids, links = ask(
        zygote,
        "answer = [[n for n in os.listdir('/proc') if n.isdigit()], "
        "[refused(os.listdir, f'/proc/1/{n}') or refused(os.readlink, f'/proc/1/{n}') for n in ('fd', 'cwd', 'root')]]",
    )
    assert pids == ["1", "2"]
    assert all(links)


@caged
def test_each_has_a_scratch_space_of_its_own(zygote):
    places = [".", "/dev/shm", *([] if sys.prefix.startswith("/tmp/") else ["/tmp"])]
    leave = f"for place in [*{places}, os.environ['TMPDIR']]:\n    open(f'{{place}}/left', 'w').close()\nanswer = 1"
    with Prisoner(zygote, leave) as one:
        one.answer()
        look = f"answer = [os.path.exists(f'{{p}}/left') for p in [*{places}, os.environ['TMPDIR'], '/tmp', '/proc/1/cwd']]"
        assert not any(ask(zygote, look))


@caged
def test_it_writes_nowhere_else(zygote):
    code = (
        "places = ['/', '/usr', '/etc', '/dev', '/probe', '/work', '/files', '/root', '/proc', '/student/..', prefix, base, "
        "json.__file__, '/probe/probe.py', '/zygote.py', '/etc/passwd', os.path.dirname(sys.executable)]\n"
        "os.symlink('/', 'root'); os.symlink('/probe/probe.py', 'mine.py')\n"
        "places += ['root/usr', 'root/probe', '../../usr']\n"
        "answer = [p for p in places if os.path.isdir(p) and not refused(open, p + '/x', 'w')]\n"
        "answer += [p for p in [*places, 'mine.py'] if os.path.isfile(p) and not (refused(open, p, 'a') and refused(os.chmod, p, 0o777))]\n"
        "answer += [p for p in ('/probe/probe.py', '/etc/passwd') if not (refused(os.link, p, 'x') and refused(os.remove, p))]"
    )
    assert ask(zygote, code, prefix=sys.prefix, base=sys.base_prefix) == []


def test_an_installed_copy_of_the_course_is_hidden(tmp_path, monkeypatch):
    """Where `pip install .` put one: a cage's own lecturekit has no answers, that one has them all."""
    packages, empty = tmp_path / "site-packages", tmp_path / "empty"
    for name in ("lecturekit", "autograder", "other"):
        (packages / name).mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(packages)])
    mounts = cages.python((), empty)
    assert {words[2] for words in mounts if words[1] == str(empty)} >= {str(packages / n) for n in cages.OURS}
    assert not any("other" in words[2] for words in mounts)


@caged
def test_masked_packages_are_gone_from_the_disk_too(zygote):
    code = (
        "import site, glob\nfolder = [p for p in sys.path if p.endswith('-packages')][-1]\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'masked' not in vars(f)]\n"
        "answer = [[os.listdir(p) for p in glob.glob(folder + f'/{n}*') if os.path.isdir(p)] for n in ('transformers', 'yaml', 'PyYAML', 'pyyaml')]"
    )
    assert all(listed == [] for found in ask(zygote, code) for listed in found)


# ---- what an inmate may do ---------------------------------------------------------------------------------------------
@caged
def test_no_network_not_even_to_this_machine(zygote):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        name = f"lecturekit-{uuid.uuid4().hex}"
        abstract.bind("\0" + name)
        abstract.listen()
        server.settimeout(0.2)
        code = (
            "def to(family, address):\n"
            "    with socket.socket(family, socket.SOCK_STREAM) as s:\n        s.settimeout(2); s.connect(address)\n"
            "answer = [refused(to, socket.AF_INET, ('127.0.0.1', port)), refused(to, socket.AF_INET6, ('::1', port)), "
            "refused(to, socket.AF_UNIX, '\\0' + name), "
            "[refused(socket.socket, f, k) for f, k in ((40, 1), (16, 3), (17, 3), (38, 5), (2, 3))], "
            "[i for i in socket.if_nameindex() if i[1] != 'lo'] if False else []]"
        )
        inet, inet6, unix, families, _ = ask(zygote, code, port=server.getsockname()[1], name=name)
        assert "OSError" in (inet, inet6) or inet
        assert inet6
        assert unix == "ConnectionRefusedError"
        assert all(families)  # AF_VSOCK, AF_NETLINK, AF_PACKET, AF_ALG, raw
        with pytest.raises(TimeoutError):
            server.accept()


@caged
def test_system_calls_are_refused_by_the_kernel(zygote):
    code = (
        "unshare = [call('unshare', flag) for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000)]\n"
        "mounts = [call('mount', b'none', b'/tmp', b'tmpfs', 0, None), call('umount2', b'/proc', 2), call('chroot', b'/tmp'),"
        " call('syscall', 155, b'.', b'.')]\n"
        "others = [call('ptrace', 16, os.getppid(), 0, 0), call('syscall', 310, 1, 0, 0, 0, 0, 0), call('setns', 0, 0)]\n"
        "flagged = call('syscall', 56, 0x10000000 | 17, 0, 0, 0, 0)\n"
        "absent = [call('syscall', n, 0, 0, 0) for n in (435, 425, 319, 447)]\n"
        "answer = [unshare + mounts + others + [flagged], absent, "
        "[refused(lambda: open('/proc/self/uid_map', 'w', 1).write('0 0 1\\n')), refused(open, '/proc/1/mem', 'rb'), refused(os.setuid, 0)]]"
    )
    if os.uname().machine != "x86_64":
        pytest.skip("numbers as x86_64 has them; test_seccomp knows the others")
    refused, absent, files = ask(zygote, code)
    assert refused == [errno.EPERM] * len(refused)
    assert absent == [errno.ENOSYS] * 4
    assert all(files)


@caged
def test_it_has_no_rights_and_no_way_to_any(zygote):
    status, identity = ask(
        zygote, "answer = [open('/proc/self/status').read(), [os.getresuid(), os.getresgid(), os.getgroups()]]"
    )
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    if cages.privileged():
        assert min(identity[0]) == max(identity[0]) >= 20_000
        assert identity[0] != ask(zygote, "answer = os.getresuid()")
        assert 0 not in identity[2]


@caged
def test_the_watcher_is_out_of_reach(zygote):
    code = (
        "for number in range(1, 65):\n"
        "    try: os.kill(1, number)\n"
        "    except OSError: pass\n"
        "for action in (lambda: os.setpriority(0, 1, 19), lambda: __import__('resource').prlimit(1, 0, (1, 1))):\n"
        "    assert refused(action)\n"
        "try: os.kill(-1, 9)\n"
        "except OSError: pass\n"
        "time.sleep(0.3); answer = open('/proc/1/stat').read().split()[2]"
    )
    with Prisoner(zygote, code) as prisoner:
        assert prisoner.answer() in "SR"
        prisoner.inmate.kill()
        assert prisoner.inmate.wait(0).reason == "killed"


@caged
def test_the_libraries_notice_nothing(tmp_path):
    code = (
        "import multiprocessing, numpy, torch, matplotlib.pyplot as plt\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from torch.utils.data import DataLoader\n"
        "torch.set_num_threads(2)\n"
        "w = torch.randn(64, 64, requires_grad=True); (w @ w).sum().backward()\n"
        "loaded = sum(float(b.sum()) for b in DataLoader(torch.arange(8.0), batch_size=2, num_workers=2))\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: mapped = pool.map(abs, [-1, -2])\n"
        "with ThreadPoolExecutor(4) as threads: threaded = list(threads.map(abs, [-3]))\n"
        "plt.plot([1, 2]); plt.title('a'); plt.savefig('a.png')\n"
        "torch.save(w, 'w.pt'); shown = subprocess.run(['echo', 'hello'], capture_output=True, text=True).stdout\n"
        "answer = [loaded, mapped, threaded, os.path.getsize('a.png') > 1000, torch.load('w.pt').shape[0], shown,"
        " list(w.grad.shape), round(float(torch.rand(()).item()), 6), round(numpy.random.rand(), 6)]"
    )
    preload = ("torch", "torch._dynamo", "matplotlib.pyplot", "IPython.core.interactiveshell")
    with Zygote("probe:run", view_of(tmp_path), preload) as zygote:
        one = ask(zygote, code, Bounds(memory=2**30))
        assert one[:7] == [28.0, [1, 2], [3], True, 64, "hello\n", [64, 64]]
        assert ask(zygote, code, Bounds(memory=2**30)) == one
        seconds = []
        for _ in range(10):
            began = time.perf_counter()
            with Prisoner(zygote, "") as prisoner:
                seconds.append(time.perf_counter() - began)
                prisoner.answer()
        print(f"a fork with torch: {1000 * sorted(seconds)[5]:.0f} ms")


# ---- bombs: each ends or is refused, and a neighbour lives on ----------------------------------------------------------
def test_memory_of_one_process(zygote, neighbour):
    with Prisoner(zygote, "x = []\nwhile True: x.append(b'x' * 10**6)") as prisoner:
        assert prisoner.inmate.wait(20).reason == "memory"


def test_memory_of_many_processes(zygote, neighbour):
    code = "for _ in range(8):\n    if os.fork() == 0:\n        x = b'x' * 20_000_000; time.sleep(30); os._exit(0)\ntime.sleep(30)"
    with Prisoner(zygote, code) as prisoner:
        ending = prisoner.inmate.wait(20)
    assert ending.reason == "memory"
    assert ending.peak_bytes > SMALL.memory


def test_memory_that_children_share_counts_once(zygote):
    code = "x = b'x' * 40_000_000\nfor _ in range(8):\n    if os.fork() == 0:\n        time.sleep(30)\ntime.sleep(0.5); answer = 1"
    assert ask(zygote, code) == 1


def test_memory_outside_of_any_process(zygote, neighbour):
    code = (
        "import mmap\nanswer = [refused(mmap.mmap, -1, 4096), refused(os.memfd_create, 'x')]\n"
        "with open('/dev/shm/x', 'wb') as f:\n    refused(lambda: [f.write(bytes(2**20)) for _ in range(7)])\n"
        "answer.append(refused(lambda: [open(f'/dev/shm/{n}', 'wb').write(bytes(2**22)) for n in range(9)]))"
    )
    assert ask(zygote, code) == ["PermissionError", "OSError", "OSError"]


@pytest.mark.parametrize(
    "code",
    [
        "while True:\n    try: os.fork()\n    except OSError: pass",
        "def wait(): time.sleep(60)\nwhile True:\n    try: threading.Thread(target=wait).start()\n    except RuntimeError: pass",
    ],
    ids=["fork", "thread"],
)
def test_processes_and_threads(zygote, neighbour, code):
    with Prisoner(zygote, code, Bounds(memory=1000 * MB, processes=24)) as prisoner:
        assert prisoner.inmate.wait(20).reason == "processes"


def test_disk(zygote, neighbour):
    code = (
        "def fill(folder):\n    for n in range(100): open(f'{folder}/{n}', 'wb').write(bytes(2**20))\n"
        "def grow():\n    with open('big', 'wb') as f:\n        for n in range(100): f.write(bytes(2**20))\n"
        "def many():\n    for n in range(10**6): open(f'/tmp/{n}', 'w').close()\n"
        "size = refused(grow); written = os.path.getsize('big'); os.remove('big')\n"
        "answer = [size, written, refused(fill, '.'), refused(fill, '/tmp'), refused(many)]"
    )
    size, written, *others = ask(zygote, code)
    assert written <= SMALL.file_bytes
    assert [size, *others] == ["OSError"] * 4


def test_files(zygote, neighbour):
    code = "held = []\nanswer = [refused(lambda: [held.append(os.dup(0)) for _ in range(10**4)]), len(held)]"
    error, count = ask(zygote, code)
    assert error == "OSError"
    assert count < SMALL.open_files


def test_processor_time(zygote, neighbour):
    with Prisoner(zygote, "while True: pass", Bounds(memory=MB, cpu_seconds=1)) as prisoner:
        assert prisoner.inmate.wait(20).reason == "cpu"


def test_a_flood_on_the_line_harms_nobody(zygote, neighbour):
    with Prisoner(zygote, "end.setblocking(False)\nwhile True: refused(end.send, bytes(2**20))") as prisoner:
        assert prisoner.inmate.wait(0.3) is None
        prisoner.inmate.kill()


# ---- the view ----------------------------------------------------------------------------------------------------------
@caged
def test_folders_are_copied_as_any_user_may_read_them(tmp_path):
    folder = tmp_path / "closed"
    (folder / "inner" / "__pycache__").mkdir(parents=True)
    (folder / "inner" / "__pycache__" / "answer.pyc").write_text("answer")
    (folder / "inner" / "a.txt").write_text("before")
    (folder / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("secret")
    for place in (folder, folder / "inner", folder / "inner" / "a.txt"):
        place.chmod(0o700)
    probe = tmp_path / "probe"
    probe.mkdir()
    view = view_of(probe)
    with Zygote("probe:run", View({**view.folders, "/course": folder}, path=view.path)) as zygote:
        (folder / "inner" / "a.txt").write_text("after")
        code = (
            "answer = [open('/course/inner/a.txt').read(), os.listdir('/course/inner'), refused(open, '/course/link')]"
        )
        assert ask(zygote, code) == ["before", ["a.txt"], "FileNotFoundError"]


@caged
@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x"])
def test_a_data_file_stays_in_its_folder(tmp_path, name):
    with pytest.raises(ValueError, match="inside the working folder"):
        Zygote("probe:run", view_of(tmp_path, files={name: tmp_path / "probe.py"}))


@caged
@pytest.mark.skipif(not cages.privileged(), reason="this is not root: the other tests have tried it")
def test_it_holds_without_root_too():
    """As another user, with the system's own Python, which that user can read."""
    python, setpriv = shutil.which("python3", path="/usr/bin"), shutil.which("setpriv")
    if not python or not setpriv:
        pytest.skip("no python3 in /usr/bin, or no setpriv")
    code = "import sys; sys.exit(sys.version_info < (3, 11))"
    if subprocess.run([python, "-c", code]).returncode:
        pytest.skip("the system's Python is older than 3.11")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        package = Path(folder) / "autograder"
        package.mkdir()
        (package / "__init__.py").touch()
        for name in ("cage", "zygote", "seccomp", "doctor"):
            shutil.copyfile(ROOT / "autograder" / f"{name}.py", package / f"{name}.py")
        for place in (Path(folder), package, *package.iterdir()):
            place.chmod(0o755)
        script = "from autograder.doctor import report; text, well = report(); print(text); raise SystemExit(not well)"
        command = [setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups", "--", python, "-B", "-c", script]
        environment = {"PATH": "/usr/bin:/bin"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    if "(bwrap: " in done.stdout:
        pytest.skip(f"this machine gives no user namespaces: {done.stdout}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "user 65534 without the rights of root" in done.stdout
