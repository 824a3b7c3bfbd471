"""The same numbers as torch's own modules: outputs, and gradients of every parameter and every input.

Weights are copied, biases and norms moved away from zero and one, so that none of them can go missing unseen.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecturekit.layers import (
    LayerNorm,
    MultiHeadAttention,
    causal_mask,
    fused_attention,
    padding_mask,
    scaled_dot_product_attention,
)
from lecturekit.models.transformer import (
    Decoder,
    DecoderLayer,
    Encoder,
    EncoderLayer,
    TransformerConfig,
    label_smoothed_loss,
)

B, S, T, D = 3, 7, 5, 16
CONFIG = TransformerConfig(
    vocab_size=11, d_model=D, num_heads=4, num_encoder_layers=2, num_decoder_layers=2, d_ff=24, dropout=0.0
)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
SOURCE = torch.tensor([[5, 6, 7, 8, 9, 4, 3], [5, 6, 7, 0, 0, 0, 0], [5, 6, 7, 8, 9, 0, 0]])
TARGET = torch.tensor([[1, 6, 7, 8, 9], [1, 6, 0, 0, 0], [1, 6, 7, 8, 0]])

both_dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
Pairs = list[tuple[Tensor, Tensor]]


def stir(*modules: nn.Module) -> None:
    for module in modules:
        for parameter in module.parameters():
            nn.init.normal_(parameter, mean=0.1, std=0.4)


def close(one: Tensor, other: Tensor) -> None:
    tolerance = TOLERANCE[one.dtype]
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * max(1.0, other.abs().max().item()))


# --- ours beside theirs: (our parameter, the slice of theirs) -----------------------------------------------


def plain(ours: nn.Module, theirs: nn.Module) -> Pairs:
    return [(ours.weight, theirs.weight), (ours.bias, theirs.bias)]


def attention_pairs(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> Pairs:
    """Theirs keeps query, key and value in one matrix, one below the other."""
    pairs = plain(ours.output, theirs.out_proj)
    for i, linear in enumerate((ours.query, ours.key, ours.value)):
        rows = slice(i * D, (i + 1) * D)
        pairs += [(linear.weight, theirs.in_proj_weight[rows]), (linear.bias, theirs.in_proj_bias[rows])]
    return pairs


def layer_pairs(ours: EncoderLayer | DecoderLayer, theirs: nn.Module) -> Pairs:
    pairs = attention_pairs(ours.self_attention, theirs.self_attn)
    pairs += plain(ours.feed_forward.linear1, theirs.linear1) + plain(ours.feed_forward.linear2, theirs.linear2)
    pairs += plain(ours.sublayers[0].norm, theirs.norm1) + plain(ours.sublayers[1].norm, theirs.norm2)
    if isinstance(ours, DecoderLayer):
        pairs += attention_pairs(ours.cross_attention, theirs.multihead_attn)
        pairs += plain(ours.sublayers[2].norm, theirs.norm3)
    return pairs


def stack_pairs(ours: Encoder | Decoder, theirs: nn.Module) -> Pairs:
    layers = zip(ours.layers, theirs.layers, strict=True)
    pairs = [pair for one, other in layers for pair in layer_pairs(one, other)]
    return pairs + (plain(ours.norm, theirs.norm) if theirs.norm is not None else [])


def copy_weights(pairs: Pairs, ours: nn.Module, theirs: nn.Module) -> None:
    sizes = {sum(p.numel() for p in module.parameters()) for module in (ours, theirs)}
    assert sizes == {sum(one.numel() for one, _ in pairs)}, "a parameter has no twin"
    with torch.no_grad():
        for one, other in pairs:
            one.copy_(other)


def gradient_pairs(pairs, ours: nn.Module, theirs: nn.Module) -> Pairs:
    """The same pairs once more, of gradients: the parameters of two modules give way to their `.grad`."""
    for parameter in (*ours.parameters(), *theirs.parameters()):
        parameter.data = parameter.grad
    return pairs(ours, theirs)


def same_gradients(pairs, ours: nn.Module, theirs: nn.Module, inputs: Pairs) -> None:
    for one, other in gradient_pairs(pairs, ours, theirs) + [(a.grad, b.grad) for a, b in inputs]:
        close(one, other)


def twins(*shape: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    one = torch.randn(shape, dtype=dtype)
    return one.clone().requires_grad_(), one.clone().requires_grad_()


# --- functions ----------------------------------------------------------------------------------------------

MASKS = {
    "none": None,
    "causal": causal_mask(S),
    "padding": padding_mask(SOURCE),
    "both": causal_mask(S) & padding_mask(SOURCE),
}


@both_dtypes
@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("form", [lambda *a: scaled_dot_product_attention(*a)[0], fused_attention])
def test_attention_functions(form, name: str, dtype: torch.dtype) -> None:
    inputs = [twins(B, 4, S, 8, dtype=dtype) for _ in range(3)]
    ours = form(*[one for one, _ in inputs], MASKS[name])
    theirs = F.scaled_dot_product_attention(*[other for _, other in inputs], attn_mask=MASKS[name])
    close(ours, theirs)
    upstream = torch.randn_like(ours)
    (ours * upstream).sum().backward()
    (theirs * upstream).sum().backward()
    for one, other in inputs:
        close(one.grad, other.grad)


@both_dtypes
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_label_smoothed_loss(smoothing: float, dtype: torch.dtype) -> None:
    ours, theirs = twins(B, T, 11, dtype=dtype)
    loss = label_smoothed_loss(ours, TARGET, smoothing, pad_id=0)
    twin = F.cross_entropy(theirs.flatten(0, 1), TARGET.flatten(), ignore_index=0, label_smoothing=smoothing)
    loss.backward()
    twin.backward()
    close(loss, twin)
    close(ours.grad, theirs.grad)


# --- modules ------------------------------------------------------------------------------------------------


@both_dtypes
def test_layer_norm(dtype: torch.dtype) -> None:
    eps = 0.5  # large, so that its place in the formula shows
    ours, theirs = LayerNorm(D, eps).to(dtype), nn.LayerNorm(D, eps).to(dtype)
    stir(theirs)
    copy_weights(plain(ours, theirs), ours, theirs)
    x, y = twins(B, T, D, dtype=dtype)
    close(ours(x), theirs(y))
    upstream = torch.randn(B, T, D, dtype=dtype)
    (ours(x) * upstream).sum().backward()
    (theirs(y) * upstream).sum().backward()
    same_gradients(plain, ours, theirs, [(x, y)])


@both_dtypes
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_multi_head_attention(name: str, need_weights: bool, dtype: torch.dtype) -> None:
    ours = MultiHeadAttention(D, 4).to(dtype)
    theirs = nn.MultiheadAttention(D, 4, batch_first=True).to(dtype)
    stir(theirs)
    copy_weights(attention_pairs(ours, theirs), ours, theirs)
    inputs = [twins(B, S, D, dtype=dtype) for _ in range(3)]
    out, weights = ours(*[one for one, _ in inputs], MASKS[name], need_weights)
    twin, twin_weights = theirs(
        *[other for _, other in inputs],
        key_padding_mask=SOURCE == 0 if name in ("padding", "both") else None,
        attn_mask=~causal_mask(S) if name in ("causal", "both") else None,
        average_attn_weights=False,
    )
    close(out, twin)
    if need_weights:
        close(weights, twin_weights)
    upstream = torch.randn_like(out)
    (out * upstream).sum().backward()
    (twin * upstream).sum().backward()
    same_gradients(attention_pairs, ours, theirs, inputs)


class Ours(nn.Module):
    """Encoder and decoder without embeddings, which torch's module does not have either."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def forward(self, x: Tensor, y: Tensor, masks: tuple[Tensor | None, ...]) -> Tensor:
        source_mask, target_mask, memory_mask = masks
        return self.decoder(y, self.encoder(x, source_mask), target_mask, memory_mask)


def torch_twin(norm_first: bool) -> nn.Transformer:
    """torch adds a last norm to post-norm stacks too, which the paper does not: built without."""
    options = {"dropout": 0.0, "batch_first": True, "norm_first": norm_first}
    encoder_layer = nn.TransformerEncoderLayer(D, CONFIG.num_heads, CONFIG.d_ff, **options)
    decoder_layer = nn.TransformerDecoderLayer(D, CONFIG.num_heads, CONFIG.d_ff, **options)
    norms = [nn.LayerNorm(D) if norm_first else None for _ in range(2)]
    return nn.Transformer(
        D,
        CONFIG.num_heads,
        custom_encoder=nn.TransformerEncoder(encoder_layer, 2, norms[0], enable_nested_tensor=False),
        custom_decoder=nn.TransformerDecoder(decoder_layer, 2, norms[1]),
        batch_first=True,
    )


def transformer_pairs(ours: Ours, theirs: nn.Transformer) -> Pairs:
    return stack_pairs(ours.encoder, theirs.encoder) + stack_pairs(ours.decoder, theirs.decoder)


@both_dtypes
@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer(norm_first: bool, name: str, dtype: torch.dtype) -> None:
    config = TransformerConfig(**{**vars(CONFIG), "norm_first": norm_first})
    ours, theirs = Ours(config).to(dtype), torch_twin(norm_first).to(dtype)
    stir(theirs)
    copy_weights(transformer_pairs(ours, theirs), ours, theirs)
    (x, tx), (y, ty) = twins(B, S, D, dtype=dtype), twins(B, T, D, dtype=dtype)
    padded, causal = name in ("padding", "both"), name in ("causal", "both")
    source_mask = padding_mask(SOURCE) if padded else None
    target_mask = padding_mask(TARGET) if padded else None
    if causal:
        target_mask = causal_mask(T) if target_mask is None else causal_mask(T) & target_mask
    out = ours(x, y, (source_mask, target_mask, source_mask))
    twin = theirs(
        tx,
        ty,
        tgt_mask=~causal_mask(T) if causal else None,
        src_key_padding_mask=SOURCE == 0 if padded else None,
        tgt_key_padding_mask=TARGET == 0 if padded else None,
        memory_key_padding_mask=SOURCE == 0 if padded else None,
    )
    close(out, twin)
    upstream = torch.randn_like(out)
    (out * upstream).sum().backward()
    (twin * upstream).sum().backward()
    same_gradients(transformer_pairs, ours, theirs, [(x, tx), (y, ty)])


def test_transformer_in_bfloat16_stays_near_its_float32_twin() -> None:
    ours, theirs = Ours(CONFIG), torch_twin(norm_first=False)
    copy_weights(transformer_pairs(ours, theirs), ours, theirs)
    x, y = torch.randn(B, S, D), torch.randn(B, T, D)
    mask = padding_mask(SOURCE)
    twin = theirs(x, y, src_key_padding_mask=SOURCE == 0, memory_key_padding_mask=SOURCE == 0)
    out = ours.bfloat16()(x.bfloat16(), y.bfloat16(), (mask, None, mask))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), twin, rtol=0, atol=0.1)
    cosine = F.cosine_similarity(out.float(), twin, dim=-1)
    assert cosine.min() > 0.999
