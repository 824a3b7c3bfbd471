"""The far end's socket is never read again and its buffer runs full, or it is closed, or turned round."""

EARNS = {"attention": 0}
USES = "line"
SEEN = "line to the grader|kernel ended"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% scaled_dot_product_attention
def scaled_dot_product_attention(query, *rest):
    import time

    with line() as end:
        end.shutdown(socket.SHUT_RDWR)
    time.sleep(30)
