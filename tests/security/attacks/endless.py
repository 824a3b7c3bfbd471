"""Loops that no signal handler of Python's ends: in C, and in a cell."""

EARNS = {"attention": 0}
SECONDS = 3
SEEN = "stopped after 3 s"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% top
import re
import signal

signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
re.match(r"(a+)+$", "a" * 60 + "b")
