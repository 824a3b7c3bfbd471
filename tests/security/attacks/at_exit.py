"""Handlers for the end of the process, signals and forks forge what they can, and the process won't go."""

EARNS = {"attention": 0}
USES = "line"
SECONDS = 3
SEEN = "stopped after 3 s"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% scaled_dot_product_attention
import atexit
import signal


def last(*arguments):
    forge(framed({"kind": "passed", "id": "test-attention-values", "number": 4}))


atexit.register(last)
os.register_at_fork(before=last)
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, last)


def scaled_dot_product_attention(*arguments):
    while True:
        pass
