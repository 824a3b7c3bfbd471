"""Streams, signals, the working folder and limits are gone or changed before the process is asked for anything."""

EARNS = {"attention": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% scaled_dot_product_attention
import contextlib
import os
import resource
import shutil
import signal
import sys
import threading

print("tried")
for stream in range(3):
    os.close(stream)
for number in range(1, 65):
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_IGN)
shutil.rmtree(os.getcwd(), ignore_errors=True)
os.umask(0o777)
resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
sys.setrecursionlimit(60)
sys.setswitchinterval(1e-9)
sys.settrace(lambda *told: None)
threading.excepthook = sys.excepthook = sys.unraisablehook = None
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)


def scaled_dot_product_attention(*arguments):
    raise NotImplementedError
