"""The process stops itself, and everything beside it, so that nobody answers and nothing ends."""

EARNS = {"attention": 0}
SECONDS = 3
SEEN = "stopped after 3 s"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% scaled_dot_product_attention
def scaled_dot_product_attention(*arguments):
    import os
    import signal

    os.kill(0, signal.SIGSTOP)
