"""Tensors that are views of nothing: expanded to terabytes, on the meta device, sparse, complex, of other dtypes."""

EARNS = {"attention": 0}
SEEN = "can cross|dense tensor"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% scaled_dot_product_attention
makers = [
    lambda x: torch.zeros(1).expand(2**40),
    lambda x: x.to("meta"),
    lambda x: x.to_sparse(),
    lambda x: torch.nested.nested_tensor([x[0], x[0]]),
]


def scaled_dot_product_attention(query, key, value, mask=None, dropout=0.0):
    strange = makers[0 if query.dim() == 4 else 2 if mask is not None else 1](query)
    return strange, strange
