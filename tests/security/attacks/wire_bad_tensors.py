"""A frame whose tensors are none: sizes that overlap, endless shapes, and bytes of bools that are neither."""

EARNS = {"attention": 0}
USES = "line"
SEEN = "tensors can't be read|come back|came back"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% scaled_dot_product_attention
headers = [
    b'{"0":{"dtype":"F32","shape":[9999999999,9999999999],"data_offsets":[0,8]}}',
    b'{"0":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"1":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    b'{"0":{"dtype":"BOOL","shape":[8],"data_offsets":[0,8]}}',
]


def scaled_dot_product_attention(query, *rest):
    header = headers[len(rest) - 2 if query.dim() == 2 else 2]
    reply = {"id": asked(), "reply": ["value", {"tuple": [{"tensor": "0"}, {"tensor": "0"}]}]}
    forge(framed(reply, struct.pack("<Q", len(header)) + header + b"\x07" * 8))
    os._exit(0)
