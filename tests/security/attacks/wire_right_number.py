"""The question is answered by a forged frame with its own number before the far end can: then two answers are there."""

EARNS = {"attention": 0}
USES = "line"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% scaled_dot_product_attention
def scaled_dot_product_attention(*arguments):
    forge(
        framed(
            {"id": asked(), "reply": ["value", {"tuple": [3.0, 0.3333]}], "kind": "passed", "output": "", "message": ""}
        )
    )
    raise NotImplementedError
