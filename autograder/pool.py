"""Who runs the jobs: threads of this machine, or the workers of a Dask cluster.

A job is a plain message that holds all it takes (the lab's files, the steps, the limits, the secret), and what comes
back is plain data. A student's code never runs in a thread or a worker, only in the processes that a `Runner` starts.
Each worker keeps a warm runner for the lab that it works on.
"""

import contextlib
import dataclasses
import os
import queue
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from autograder.cage import CageError
from autograder.intake import Step
from autograder.jobs import digest_of, run_of, unpack_files
from autograder.runner import Limits, Run, Runner

SPARE_BYTES = 2**30  # of memory left to the grader and the system
CONNECT_SECONDS = 30
CGROUP_MEMORY = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Reply:
    """How a job ended: with a run, or with the grader's own `failure`; `died` if another try may go better."""

    job: int
    run: Run | None = None
    failure: str = ""
    died: bool = False


class Pool(Protocol):
    """Takes messages, and puts a reply for each into `replies`, in any order."""

    replies: "queue.Queue[Reply]"

    def room(self) -> int:
        """How many jobs it can hold at a time."""
        ...

    def warm_up(self, message: dict[str, Any]) -> None:
        """Start what a job like this needs.

        Raises:
            ValueError: it can't be had; the message says what is missing.
        """
        ...

    def submit(self, job: int, message: dict[str, Any]) -> None: ...

    def check(self) -> None:
        """Called while nothing comes.

        Raises:
            ValueError: nothing can come any more.
        """
        ...


def message(lab: str, files: dict[str, str], steps: list[Step], limits: Limits, secret: str, caged: bool) -> dict:
    """A job as plain data."""
    return {
        "lab": lab,
        "files": files,
        "steps": [dataclasses.asdict(step) for step in steps],
        "limits": dataclasses.asdict(limits),
        "secret": secret,
        "caged": caged,
    }


def new_runner(lab: str, limits: Limits, caged: bool, secret: str, root: Path) -> Runner:
    """A runner for one lab."""
    return Runner(lab, limits, caged=caged, secret=secret, root=root)


class Warm:
    """A runner for one lab after the other, with the lab's files in a folder of its own."""

    def __init__(self) -> None:
        self.key, self.runner, self.open = "", None, contextlib.ExitStack()
        self.changing = threading.Lock()

    def run(self, message: dict[str, Any]) -> Run:
        """Run a job; the runner of the job before serves if it has the same lab, limits, secret and cage."""
        with self.changing:
            runner = self._runner({name: value for name, value in message.items() if name != "steps"})
        return runner.run([Step(**step) for step in message["steps"]])

    def _runner(self, about: dict[str, Any]) -> Runner:
        key = digest_of(about)
        if key != self.key:
            self.close()
            root = Path(self.open.enter_context(tempfile.TemporaryDirectory(prefix="lecturekit-")))
            unpack_files(about["files"], root)
            runner = new_runner(about["lab"], Limits(**about["limits"]), about["caged"], about["secret"], root)
            self.runner, self.key = self.open.enter_context(runner), key
        return self.runner

    def close(self) -> None:
        self.key = ""
        self.open.close()


# ---- this machine --------------------------------------------------------------------------------------------------
def default_workers(limits: Limits) -> int:
    """As many as there are processors for, and memory if each took all that it may."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fit = int((free_bytes() - SPARE_BYTES) / (limits.memory_gb * 2**30))
    return max(1, min(processors, fit))


def free_bytes() -> float:
    """Memory that is free here: of the machine, and of the container where one bounds it."""
    import psutil

    free = psutil.virtual_memory().available
    for name in CGROUP_MEMORY:
        with contextlib.suppress(OSError, ValueError):  # absent, or "max"
            free = min(free, int(Path(name).read_text()) - psutil.Process().memory_info().rss)
    return free


class Threads:
    """Workers of this machine: threads that wait for the processes of one shared runner."""

    def __init__(self, workers: int):
        self.workers = workers
        self.replies: queue.Queue[Reply] = queue.Queue()
        self.warm, self.pool = Warm(), ThreadPoolExecutor(workers)

    def __enter__(self) -> "Threads":
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)
        self.warm.close()  # what still runs is killed with the runner

    def room(self) -> int:
        return self.workers

    def warm_up(self, message: dict[str, Any]) -> None:
        try:
            self.warm.run(message | {"steps": []})
        except CageError as error:
            raise ValueError(str(error)) from error

    def submit(self, job: int, message: dict[str, Any]) -> None:
        self.pool.submit(self._run, job, message)

    def _run(self, job: int, message: dict[str, Any]) -> None:
        try:
            reply = Reply(job, self.warm.run(message))
        except Exception as error:
            reply = Reply(job, failure=failure_of(error), died=isinstance(error, CageError))
        self.replies.put(reply)

    def check(self) -> None:
        """Threads don't die."""


def failure_of(error: BaseException) -> str:
    return f"The grader failed: {type(error).__name__}: {error}"


# ---- a Dask cluster ------------------------------------------------------------------------------------------------
_warm = Warm()
_one_at_a_time = threading.Lock()  # in a worker with several threads too: one runner, one folder


def work(message: dict[str, Any]) -> dict[str, Any]:
    """What a Dask worker runs: one job, in the processes of its warm runner; the run as plain data."""
    import multiprocessing

    # a nanny's worker is "daemonic", which would forbid it processes; the runner ends its own
    multiprocessing.current_process()._config["daemon"] = False
    with _one_at_a_time:
        return dataclasses.asdict(_warm.run(message))


class Cluster:
    """The workers of a Dask cluster by its scheduler's address.

    A worker that dies returns its jobs to the scheduler's queue; a job under which more workers died than the scheduler
    allows (`distributed.scheduler.allowed-failures`) comes back as one that `died`.

    Raises:
        ValueError: there is no scheduler.
    """

    def __init__(self, address: str, seconds: float | None = None):
        from distributed import Client

        self.address, self.replies = address, queue.Queue()
        try:
            self.client = Client(address, timeout=seconds or CONNECT_SECONDS, set_as_default=False, name="autograder")
        except (OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise ValueError(f"no Dask scheduler at {address}: expected such as tcp://host:8786 ({reason})") from error

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close(timeout=5)

    def room(self) -> int:
        """One job a worker, and one that waits: its own runner is busy with one."""
        return 2 * max(1, len(self.client.scheduler_info(n_workers=-1)["workers"]))

    def warm_up(self, message: dict[str, Any]) -> None:
        """Each worker starts what it needs with its first job."""

    def submit(self, job: int, message: dict[str, Any]) -> None:
        future = self.client.submit(work, message, pure=False, key=f"lecturekit-{job}-{os.urandom(4).hex()}")
        future.add_done_callback(lambda done: self.replies.put(self._reply(job, done)))

    def _reply(self, job: int, future: Any) -> Reply:
        from distributed.scheduler import KilledWorker

        if future.status == "finished":
            return Reply(job, run_of(future.result()))
        error = future.exception() if future.status == "error" else ConnectionError("the cluster gave the job up")
        if isinstance(error, KilledWorker):
            return Reply(job, died=True)
        return Reply(job, failure=failure_of(error), died=isinstance(error, CageError))

    def check(self) -> None:
        if self.client.status != "running":
            raise ValueError(f"the Dask scheduler at {self.address} is gone: start it again, then the grader")


def new_pool(workers: int | None, scheduler: str | None, limits: Limits) -> Threads | Cluster:
    """The pool that was asked for; a context manager."""
    return Cluster(scheduler) if scheduler else Threads(workers or default_workers(limits))
