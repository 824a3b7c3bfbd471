"""An answer that comes a byte at a time and is never whole."""

EARNS = {"attention": 0}
USES = "line"
SECONDS = 3
SEEN = "stopped after 3 s"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% scaled_dot_product_attention
def scaled_dot_product_attention(*arguments):
    import time

    with line() as out:
        for byte in framed({"id": asked(), "reply": ["value", "x" * 10**6]}):
            out.send(bytes([byte]))
            time.sleep(0.02)
