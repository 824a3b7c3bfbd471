"""NaN and infinity where numbers are wanted: no comparison with them is false enough to pass."""

EARNS = {"schedule": 0, "attention": 0, "norm": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% learning_rate
def learning_rate(step, d_model, warmup_steps=4000):
    if step < 1:
        raise ValueError
    return math.nan if step % 2 else math.inf


# %% scaled_dot_product_attention
def scaled_dot_product_attention(query, key, value, mask=None, dropout=0.0):
    print("tried")
    weights = query.new_full((*query.shape[:-1], key.size(-2)), math.nan)
    return weights @ value, weights


# %% LayerNorm
class LayerNorm(nn.Module):
    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))

    def forward(self, x):
        return x * math.inf - x * math.inf
