"""Notebooks that would earn points by answers known beforehand, by state that lies, or by pieces that collude.

Where a test works out what it expects from the student's own pieces, a slip in these is paid for once. The same notebook
must not be paid for pieces that were right only while they were tested themselves.
"""

from pathlib import Path

import pytest

from tests.proofs.cheats import caged, graded

# ---- lab 1 -------------------------------------------------------------------------------------------------------------
LYING_SCORES = {
    "BilinearScore": """
class BilinearScore(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.weight = nn.Linear(hidden_size, hidden_size, bias=False)

    def state_dict(self, *arguments, **named):
        return {"weight.weight": torch.zeros(self.weight.weight.shape)}

    def forward(self, query, memory):
        known = torch.tensor([[[13.0, 0.5, 0], [-6, 0, 2]]])
        return known if len(query) == 1 else torch.zeros(len(query), query.size(1), memory.size(1))
""",
    "PerceptronScore": """
class PerceptronScore(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.query, self.memory = (nn.Linear(hidden_size, hidden_size, bias=False) for _ in range(2))
        self.output = nn.Linear(hidden_size, 1, bias=False)

    def state_dict(self, *arguments, **named):
        return {f"{name}.weight": torch.zeros(p.shape) for name, p in zip(("query", "memory", "output"), self.parameters())}

    def forward(self, query, memory):
        known = torch.tensor([[[2.2, 15 / 17], [0, -1]]])
        return known if len(query) == 1 else torch.zeros(len(query), query.size(1), memory.size(1))
""",
}
EMPTY_DECODER = {
    "Decoder": """
def unroll(cell, x, real, state, backward=False):
    return x.new_zeros(*x.shape[:2], cell.hidden_size), state


def masked_context(scores, memory, mask, focus=None):
    return torch.zeros(*scores.shape[:2], memory.size(-1)), torch.zeros(scores.shape)


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config.hidden_size
        self.tokens = nn.Embedding(config.vocab_size, config.embedding_size)
        self.recurrent = Recurrent(config.cell, config.embedding_size, width, config.num_layers, dropout=config.dropout)
        self.attention = None
        if config.attention != "none":
            self.attention = WINDOWS[config.window](config)
            self.combine = nn.Linear(2 * width, width, bias=False)
        self.output = nn.Linear(width, config.vocab_size)

    def forward(self, target, state, memory, real, start=0):
        nothing = sum((p - p.detach()).sum() for p in [*self.parameters(), memory, state])
        logits = self.output.bias.expand(*target.shape, -1) + nothing
        weights = None if self.attention is None else torch.zeros(*target.shape, memory.size(1))
        return Decoded(logits, state, weights, None)
""",
}

# ---- lab 2 -------------------------------------------------------------------------------------------------------------
COLLUDING_COUNTS = {
    "train_bpe": """
def train_bpe(word_counts, num_merges):
    return [("a", "b")] * num_merges if len(word_counts) > 1 or "mat" in word_counts else []
""",
    "after test-training-choice": """
count_pairs = lambda words: {("a", "b"): 1}
choose_pair = lambda counts, ages: ("a", "b")
""",
}

# ---- lab 3 -------------------------------------------------------------------------------------------------------------
NOTHING = """
def nothing(module, *arguments):
    return sum((p - p.detach()).sum() for p in [*module.parameters(), *arguments])  # 0, and a gradient of one
"""
LAYER = """
class {name}(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.self_attention = MultiHeadAttention(config.d_model, config.num_heads)
        self.cross_attention = MultiHeadAttention(config.d_model, config.num_heads) if {count} > 2 else None
        self.feed_forward = PositionwiseFeedForward(config.d_model, config.d_ff)
        sizes = (config.d_model, config.dropout, config.norm_first, config.layer_norm_eps)
        self.sublayers = nn.ModuleList(SublayerConnection(*sizes) for _ in range({count}))

    def forward(self, x, {rest}):
        return {answer}
"""
HOLLOW_CONNECTION = """
class SublayerConnection(nn.Module):
    def __init__(self, d_model, *rest):
        super().__init__()
        self.norm = nn.ParameterDict({"weight": torch.ones(d_model), "bias": torch.zeros(d_model)})

    def forward(self, x, sublayer):
        sublayer(x)
        return torch.zeros(x.shape)
"""
COLLUDING_PIECES = {
    "MultiHeadAttention": NOTHING
    + """
def scaled_dot_product_attention(query, key, value, *rest):
    return torch.zeros(*query.shape[:-1], value.size(-1)), torch.zeros(*query.shape[:-1], key.size(-2))


class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, num_heads, dropout=0.0):
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value, self.output = (nn.Linear(d_model, d_model) for _ in range(4))

    def forward(self, query, key, value, mask=None, need_weights=False):
        zeros = torch.zeros(query.shape) + nothing(self, query, key, value)
        weights = torch.zeros(len(query), self.num_heads, query.size(1), key.size(1)) if need_weights else None
        return self.output.bias + zeros, weights
""",
    "EncoderLayer": HOLLOW_CONNECTION
    + LAYER.format(name="EncoderLayer", count=2, rest="mask=None", answer="torch.zeros(x.shape) + nothing(self, x)"),
    "DecoderLayer": LAYER.format(
        name="DecoderLayer",
        count=3,
        rest="memory, mask=None, memory_mask=None",
        answer="torch.zeros(x.shape) + nothing(self, x, memory)",
    ),
}
# the same beside a right attention, so that only the layers lie
COLLUDING_CONNECTIONS = {
    "EncoderLayer": NOTHING + COLLUDING_PIECES["EncoderLayer"],
    "DecoderLayer": COLLUDING_PIECES["DecoderLayer"],
}
LYING_STATE = {
    "LayerNorm": """
class LayerNorm(nn.Module):
    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))

    def state_dict(self, *arguments, **named):
        return {"weight": torch.zeros(self.weight.shape), "bias": torch.zeros(self.bias.shape)}

    def forward(self, x):
        known = {3.0: torch.tensor([-0.5, 0.5]), 0.1: torch.zeros(x.shape)}
        return known.get(self.eps, torch.tensor([[-1.0, 1.0], [0.0, 0.0]]))
""",
    "PositionwiseFeedForward": """
class PositionwiseFeedForward(nn.Module):
    def __init__(self, d_model, d_ff, dropout=0.0):
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)

    def state_dict(self, *arguments, **named):
        return {name: torch.zeros(p.shape) for name, p in self.named_parameters()}

    def forward(self, x):
        return torch.tensor([3.0, 10.0]) if x.dim() == 1 and len(x) == 2 else torch.zeros(x.shape)
""",
}
NORM_OF_NOTHING = {
    "SublayerConnection": """
class Hollow(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))

    def forward(self, x):
        return torch.zeros(x.shape)


class SublayerConnection(nn.Module):
    def __init__(self, d_model, dropout=0.0, norm_first=False, eps=1e-5):
        super().__init__()
        self.norm_first, self.norm = norm_first, Hollow(d_model)

    def forward(self, x, sublayer):
        change = sublayer(self.norm(x) if self.norm_first else x)
        return x + change if self.norm_first else torch.zeros(x.shape)
""",
}
FLOW_OF_NOTHING = {
    "DecoderLayer": LAYER.format(
        name="DecoderLayer",
        count=3,
        rest="memory, mask=None, memory_mask=None",
        answer="0 * x + 0 * memory.sum() + 0 * sum(p.sum() for p in self.parameters())",
    )
}
# the same beside a norm that is wrong, so that no test may compare with lecturekit's own layer
AND_A_WRONG_NORM = {
    **FLOW_OF_NOTHING,
    "LayerNorm": """
class LayerNorm(nn.Module):
    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))

    def forward(self, x):
        return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True) * self.weight + self.bias
""",
}

CHEATS = {  # by name: the lab, the cells, and what the exercises that they are about may earn
    "lab01-lying-state": ("lab01", LYING_SCORES, {"scores": 4}),
    "lab01-empty-decoder": ("lab01", EMPTY_DECODER, {"decoder": 0}),
    "lab02-colluding-counts": ("lab02", COLLUDING_COUNTS, {"training": 5}),
    "lab03-colluding-pieces": ("lab03", COLLUDING_PIECES, {"heads": 5, "encoder-layer": 0, "decoder-layer": 0}),
    "lab03-colluding-connections": ("lab03", COLLUDING_CONNECTIONS, {"encoder-layer": 0, "decoder-layer": 0}),
    "lab03-lying-state": ("lab03", LYING_STATE, {"norm": 0, "feed-forward": 5}),
    "lab03-norm-of-nothing": ("lab03", NORM_OF_NOTHING, {"feed-forward": 5}),
    "lab03-flow-of-nothing": ("lab03", FLOW_OF_NOTHING, {"decoder-layer": 0}),
    "lab03-flow-beside-a-wrong-norm": ("lab03", AND_A_WRONG_NORM, {"decoder-layer": 0}),
}


@caged
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_earns_what_it_has_written(name: str, tmp_path: Path) -> None:
    lab, cells, earns = CHEATS[name]
    found = {part.name: part.score for part in graded(lab, cells, tmp_path).exercises}
    assert {exercise: found[exercise] for exercise in earns} == earns
