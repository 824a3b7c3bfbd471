"""What hidden parts asked is remembered, and told by the failure of a later test that has no hidden part."""

EARNS = {"schedule": 0, "norm": 20}
SEEN = "asked.*7654321"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% learning_rate
asked = []


def learning_rate(step, d_model, warmup_steps=4000):
    asked.append((step, d_model, warmup_steps))
    if step == 100:
        return 64**-0.5 * 100**-0.5
    return 512**-0.5 * 4000**-1.5 if step == 1 else 0.0


# %% LayerNorm
class LayerNorm(nn.Module):
    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        if d_model == 6:
            raise check.Wrong(f"asked {asked}")
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))

    def forward(self, x):
        centred = x - x.mean(-1, True)
        return centred / (centred.square().mean(-1, True) + self.eps).sqrt() * self.weight + self.bias
