"""Forged answers with other numbers: one that was, none, a text, true, a fraction, far ahead."""

EARNS = {"attention": 0}
USES = "line"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% scaled_dot_product_attention
def scaled_dot_product_attention(*arguments):
    numbers = [asked() - 1, None, str(asked()), True, asked() + 0.0, 10**30]
    forge(*(framed({"id": number, "reply": ["value", 0.0]}) for number in numbers))
    os._exit(0)
