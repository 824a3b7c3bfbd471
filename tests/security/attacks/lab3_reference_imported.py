"""Every piece is the reference's own, imported."""

LAB = "lab03"
EARNS = {
    "attention": 0, "masks": 0, "heads": 0, "positions": 0, "norm": 0,
    "feed-forward": 0, "encoder-layer": 0, "decoder-layer": 0, "schedule": 0, "learning": 0,
}  # fmt: skip
SEEN = "not written yet"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% after setup
from lecturekit.layers import *
from lecturekit.layers import LayerNorm, MultiHeadAttention, PositionwiseFeedForward, SublayerConnection, attention
from lecturekit.layers import causal_mask, merge_heads, padding_mask, sinusoidal_positions, split_heads
from lecturekit.models.transformer import DecoderLayer, EncoderLayer, Transformer, learning_rate

scaled_dot_product_attention = attention
mine = dict(globals())

# %% after Transformer
globals().update(
    {name: mine[name] for name in ("LayerNorm", "EncoderLayer", "DecoderLayer", "Transformer", "learning_rate")}
)
globals().update({name: mine[name] for name in ("padding_mask", "causal_mask", "split_heads", "sinusoidal_positions")})
