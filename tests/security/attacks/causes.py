"""An exception with a hundred thousand causes of a thousand characters each, from far down and from the top."""

EARNS = {"attention": 0}
SEEN = "ValueError: x{200}"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% scaled_dot_product_attention
def chain():
    last = None
    for n in range(100_000):
        error = ValueError("x" * 1000)
        error.__cause__ = last
        last = error
    return last


def deep(n):
    if n:
        return deep(n - 1)
    raise chain()


def scaled_dot_product_attention(*arguments):
    deep(500)


raise chain()
