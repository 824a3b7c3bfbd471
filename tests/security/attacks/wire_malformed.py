"""Frames that are no JSON, no object, not UTF-8, or say one thing twice; numbers of a million digits."""

EARNS = {"attention": 0}
USES = "line"
SEEN = "no JSON"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% scaled_dot_product_attention
texts = [b'{"id": %d, "id": 1, "reply": ["value", 3.0]}', b'{"id": %d, "reply": ["value", 1' + b"0" * 10**6 + b"]}"]


def scaled_dot_product_attention(query, *rest):
    text = texts.pop() if rest[1:] else texts[0]
    forge(framed(text.replace(b"%d", b"%d" % asked())), framed(b"[]"), framed(b"\xff\xfe"), framed(b""))
    os._exit(0)
