"""JSON of a hundred thousand lists within lists."""

EARNS = {"attention": 0}
USES = "line"
SEEN = "is no JSON|nested|another question"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% scaled_dot_product_attention
def scaled_dot_product_attention(query, *rest):
    if query.dim() == 2 and len(rest) == 2:
        forge(framed(b'{"id": %d, "reply": ["value", ' % asked() + b"[" * 100_000 + b"]" * 100_000 + b"]}"))
    deep = b'{"list": [' * 400 + b"0" + b"]}" * 400
    forge(framed(b'{"id": %d, "reply": ["value", %s]}' % (asked(), deep)))
    os._exit(0)
