"""Objects whose end takes for ever and makes another one, and a collector that meets them at every turn."""

EARNS = {"attention": 0}
SECONDS = 5
SEEN = "stopped|tried"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% scaled_dot_product_attention
import gc
import time

again = []


class Slow:
    def __del__(self):
        print("tried")
        again.append(Slow())
        time.sleep(1000)


def scaled_dot_product_attention(*arguments):
    gc.set_threshold(1)
    gc.callbacks.append(lambda *told: time.sleep(0.01))
    return Slow()
