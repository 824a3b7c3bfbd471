"""Exceptions whose text raises, never ends, or is ten megabytes long; a class that calls itself a builtin one."""

EARNS = {"schedule": 0, "attention": 0, "norm": 0}
SEEN = "ValueError|Untold"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% learning_rate
class Untold(Exception):
    def __str__(self):
        raise self

    __repr__ = __str__


def learning_rate(step, d_model, warmup_steps=4000):
    raise Untold


# %% scaled_dot_product_attention
def scaled_dot_product_attention(*arguments):
    raise ValueError("x" * 10**7 + "\ud800\x1b[2J\u202e")


# %% LayerNorm
class LayerNorm(nn.Module):
    def __init__(self, d_model, eps=1e-5):
        try:
            raise type("AssertionError", (Untold,), {"__module__": "builtins", "__qualname__": "AssertionError"})
        except Untold as error:
            error.__cause__ = error.__context__ = error
            raise
