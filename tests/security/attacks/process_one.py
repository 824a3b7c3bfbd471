"""The watcher, process 1 of the cage, is killed, stopped, slowed down, traced and written into."""

EARNS = {"attention": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% top
import ctypes
import os
import signal

libc = ctypes.CDLL(None, use_errno=True)
for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSTOP):
    try:
        os.kill(1, number)
    except OSError:
        pass
tries = {
    "ptrace": lambda: libc.ptrace(16, 1, 0, 0),
    "nice": lambda: libc.setpriority(0, 1, 19),
    "open": lambda: os.open("/proc/1/mem", os.O_RDWR),
    "affinity": lambda: os.sched_setaffinity(1, {0}),
    "limits": lambda: __import__("resource").prlimit(1, 7, (0, 0)),
}
for name, attempt in tries.items():
    try:
        if attempt() not in (-1,):
            print("WON", name)
    except OSError:
        pass
print("tried")
