"""Output without end, in a cell and in a test, to every stream there is."""

EARNS = {"attention": 0}
SECONDS = 3
SEEN = "stopped after 3 s"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% scaled_dot_product_attention
import os
import sys

print("a" * 10**8)


def scaled_dot_product_attention(query, *rest):
    while True:
        print("b" * 10**6)
        os.write(1, b"c" * 10**6)
        sys.__stderr__.write("d" * 10**6)
