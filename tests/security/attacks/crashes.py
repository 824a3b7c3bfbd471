"""Memory that isn't there is read: the process ends by a signal."""

EARNS = {"attention": 0}
SEEN = "signal 11"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% scaled_dot_product_attention
def scaled_dot_product_attention(*arguments):
    import ctypes

    ctypes.string_at(0)
