"""The pieces that the models share: masks, attention, positions, norm, feed-forward, residual connection,
checks, activations, the loss of a token, the cache of a decoder.

Shapes are written with these letters, and beside each line that changes one:

    B batch    T length (Tq of queries, Tk of keys where they differ)    H heads    D width    d = D / H

A mask is boolean and broadcasts to [B, H, Tq, Tk]; True means "may be attended to", as in
`F.scaled_dot_product_attention`. Masks combine by `&`. Equations and sections without a name are those of
"Attention Is All You Need" (Vaswani et al., 2017, https://arxiv.org/abs/1706.03762).
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def padding_mask(ids: Tensor, pad_id: int = 0) -> Tensor:
    """Let every query attend to the tokens that are not padding.

    ids [B, T] holds token ids. Returns a boolean [B, 1, 1, T] that is False where the id is `pad_id`: the two
    axes of size one stand for all heads and all queries.
    """
    return (ids != pad_id)[:, None, None, :]  # [B, 1, 1, T]


def causal_mask(length: int, device: torch.device | str | None = None) -> Tensor:
    """Let the query at position i attend to positions 0 ... i and to nothing later (section 3.2.3).

    Returns a boolean [T, T], rows for queries and columns for keys: True on and below the diagonal.
    """
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()  # [T, T]


def check_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> None:
    """Refuse what no way of computing attention can use.

    ValueError if query and key differ in width, or key and value in length; TypeError if the mask is not
    boolean.
    """
    if query.size(-1) != key.size(-1):
        raise ValueError(f"query has width {query.size(-1)}, key {key.size(-1)}: expected equal widths")
    if key.size(-2) != value.size(-2):
        raise ValueError(f"key has length {key.size(-2)}, value {value.size(-2)}: expected equal lengths")
    if mask is not None and mask.dtype != torch.bool:
        raise TypeError(f"mask has dtype {mask.dtype}: expected torch.bool")


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """softmax(Q Kᵀ / √d) V, step by step (section 3.2.1, equation 1).

    query [..., Tq, d], key [..., Tk, d] and value [..., Tk, dv] share their leading axes; `mask` is boolean
    and broadcasts to [..., Tq, Tk]. Returns (context [..., Tq, dv], weights [..., Tq, Tk]).

    A score whose mask is False becomes the smallest finite number of its dtype and never -inf: a query that
    may attend to nothing then spreads its weights evenly over all keys, where -inf would give NaN. The
    softmax is computed in float32 at least and rounded to the dtype of the scores; each row of the weights
    sums to one. `dropout` is the probability with which a weight is dropped before it multiplies the value;
    it acts whenever it is not zero, and the weights that are returned are those before dropout.

    Call `check_attention` first: it raises ValueError and TypeError for arguments that do not fit together.
    """
    check_attention(query, key, value, mask)
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))  # [..., Tq, Tk]
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    wide = torch.promote_types(scores.dtype, torch.float32)
    weights = F.softmax(scores, dim=-1, dtype=wide).to(scores.dtype)  # [..., Tq, Tk]
    context = F.dropout(weights, dropout) @ value  # [..., Tq, dv]
    return context, weights


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """The context of `scaled_dot_product_attention`, by torch's kernel, which never stores the weights.

    Arguments, result and errors are the same, down to the gradients and to a query that may attend to nothing.
    """
    check_attention(query, key, value, mask)
    if mask is not None:
        # Left to itself the kernel gives such a query zeros. A query of zeros that may see every key scores
        # them all alike: even weights, and no gradient for query and key, as in the explicit form.
        blind = ~mask.any(dim=-1, keepdim=True)  # [..., Tq, 1]
        query = query.masked_fill(blind, 0.0)
        mask = mask | blind
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    need_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What every model calls: (context, weights), the weights None unless they are asked for.

    Arguments and errors are those of `scaled_dot_product_attention`, which computes both if `need_weights`;
    otherwise `fused_attention` computes the context alone.
    """
    if need_weights:
        return scaled_dot_product_attention(query, key, value, mask, dropout)
    return fused_attention(query, key, value, mask, dropout), None


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Cut the width of x [B, T, D] into `num_heads` consecutive pieces: [B, H, T, d].

    Head h holds the numbers h * d ... (h + 1) * d - 1 of every token. ValueError if D is not a multiple of
    `num_heads`.
    """
    batch, length, width = x.shape
    if width % num_heads:
        raise ValueError(f"width {width} is not a multiple of num_heads={num_heads}")
    return x.reshape(batch, length, num_heads, width // num_heads).transpose(1, 2)  # [B, H, T, d]


def merge_heads(x: Tensor) -> Tensor:
    """Undo `split_heads`: lay the heads of x [B, H, T, d] side by side again, [B, T, D]."""
    return x.transpose(1, 2).flatten(start_dim=2)  # [B, T, H, d] -> [B, T, D]


class MultiHeadAttention(nn.Module):
    """Attention in `num_heads` subspaces at once (section 3.2.2).

    `query`, `key`, `value` and `output` are nn.Linear maps from D to D with bias. ValueError if `d_model` is
    not a multiple of `num_heads`.
    """

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0) -> None:
        """`dropout` is the probability with which an attention weight is dropped in training."""
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"d_model={d_model} is not a multiple of num_heads={num_heads}")
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(d_model, d_model)
        self.key = nn.Linear(d_model, d_model)
        self.value = nn.Linear(d_model, d_model)
        self.output = nn.Linear(d_model, d_model)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Project, `split_heads`, `attention`, `merge_heads`, project.

        query [B, Tq, D], key and value [B, Tk, D]; `mask` broadcasts to [B, H, Tq, Tk]. Returns
        (output [B, Tq, D], weights [B, H, Tq, Tk]), the weights None unless `need_weights`. Weights are
        dropped in training only.
        """
        query = split_heads(self.query(query), self.num_heads)  # [B, H, Tq, d]
        key = split_heads(self.key(key), self.num_heads)  # [B, H, Tk, d]
        value = split_heads(self.value(value), self.num_heads)  # [B, H, Tk, d]
        dropout = self.dropout if self.training else 0.0
        context, weights = attention(query, key, value, mask, dropout, need_weights)  # [B, H, Tq, d]
        return self.output(merge_heads(context)), weights  # [B, Tq, D]


def sinusoidal_positions(length: int, d_model: int) -> Tensor:
    """The fixed table of positions (section 3.5), [T, D] of torch's default dtype.

    Row p holds sin(p / 10000^(2i/D)) at its even column 2i and the cosine of the same angle at the odd column
    2i + 1. ValueError if `d_model` is odd.
    """
    if d_model % 2:
        raise ValueError(f"d_model={d_model} is odd: sines and cosines come in pairs")
    # A float32 angle of a thousand radians has few digits left behind the point.
    exponent = torch.arange(0, d_model, 2, dtype=torch.float64) / d_model  # [D/2]
    angle = torch.arange(length)[:, None] / 10_000**exponent  # [T, D/2]
    table = torch.stack([angle.sin(), angle.cos()], dim=-1)  # [T, D/2, 2]
    return table.flatten(start_dim=1).to(torch.get_default_dtype())  # [T, D]


class LayerNorm(nn.Module):
    """Give each token mean zero and variance one, then `weight` and `bias` (Ba et al., 2016).

    `weight` starts as D ones and `bias` as D zeros. https://arxiv.org/abs/1607.06450
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))

    def forward(self, x: Tensor) -> Tensor:
        """weight * (x - mean) / √(variance + eps) + bias over the last axis of x [..., D], in the dtype of x.

        The variance is the biased one: the sum of squares divided by D. Computed in float32 at least, and
        rounded to the dtype of x once, at the end.
        """
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        centred = wide - wide.mean(dim=-1, keepdim=True)
        variance = centred.square().mean(dim=-1, keepdim=True)  # [..., 1]
        normed = centred / torch.sqrt(variance + self.eps)  # [..., D]
        return (self.weight * normed + self.bias).to(x.dtype)


class PositionwiseFeedForward(nn.Module):
    """max(0, x W1 + b1) W2 + b2, the same for every position (section 3.3, equation 2).

    `linear1` maps D to `d_ff`, `linear2` maps back; both are nn.Linear with bias.
    """

    def __init__(self, d_model: int, d_ff: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.linear1 = nn.Linear(d_model, d_ff)
        self.linear2 = nn.Linear(d_ff, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] -> [..., D]; dropout between the ReLU and `linear2`."""
        hidden = F.relu(self.linear1(x))  # [..., d_ff]
        return self.linear2(self.dropout(hidden))  # [..., D]


class SublayerConnection(nn.Module):
    """A residual connection with its LayerNorm `norm` and its dropout (sections 3.1 and 5.4).

    After the sum, as in the paper, or before the sublayer if `norm_first` (Xiong et al., 2020,
    https://arxiv.org/abs/2002.04745), which leaves the residual path itself without a norm.
    """

    def __init__(self, d_model: int, dropout: float = 0.0, norm_first: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.norm = LayerNorm(d_model, eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """norm(x + dropout(sublayer(x))), or x + dropout(sublayer(norm(x))) if `norm_first`.

        x [B, T, D] -> [B, T, D]; `sublayer` is called once, with a tensor of that shape, and returns one.
        """
        if self.norm_first:
            return x + self.dropout(sublayer(self.norm(x)))
        return self.norm(x + self.dropout(sublayer(x)))


def check_ids(ids: Tensor, size: int, name: str = "token id", table: str = "the vocabulary") -> None:
    """Raise ValueError with the first id that is not in 0 ... size - 1; `name` and `table` are for the message.

    Values are looked at on the CPU only, where an embedding would else fail without saying which id it was:
    elsewhere looking would make the device wait (CUDA) or find no values (meta), and it would break the graph
    that torch.compile traces.
    """
    if torch.compiler.is_compiling() or ids.device.type != "cpu":
        return
    outside = ids[(ids < 0) | (ids >= size)]
    if outside.numel():
        raise ValueError(f"{name} {outside[0].item()}: expected 0 ... {size - 1}, {table}")


def check_input(ids: Tensor, vocab_size: int, max_length: int, past: int = 0) -> None:
    """Refuse what no model can read: ids that are not [B, T], too many, or not in the vocabulary (`check_ids`).

    `past` tokens came before these: ValueError if `past` + T is more than `max_length`.
    """
    if ids.dim() != 2:
        raise ValueError(f"input_ids of shape {list(ids.shape)}: expected [B, T]")
    if past + ids.size(1) > max_length:
        raise ValueError(f"length {past + ids.size(1)}: expected at most {max_length}, the positions of the model")
    check_ids(ids, vocab_size)


def key_mask(attention_mask: Tensor | None, batch: int, length: int) -> Tensor | None:
    """The mask of a tokenizer, [B, T] with ones for tokens and zeros for padding, as a boolean [B, 1, 1, T].

    None stays None: no padding. TypeError for a mask of floating-point numbers, which elsewhere are often added
    to the scores and would mean the opposite; ValueError for a shape other than [`batch`, `length`].
    """
    if attention_mask is None:
        return None
    if attention_mask.is_floating_point() or attention_mask.is_complex():
        raise TypeError(f"attention_mask has dtype {attention_mask.dtype}: expected torch.bool or integers")
    if attention_mask.shape != (batch, length):
        raise ValueError(f"attention_mask of shape {list(attention_mask.shape)}: expected {[batch, length]}")
    return attention_mask.bool()[:, None, None, :]  # [B, 1, 1, T]


def check_fields(config: object, sizes: Sequence[str], rates: Sequence[str]) -> None:
    """ValueError unless the fields named in `sizes` are more than 0 and those in `rates` at least 0, less than 1."""
    for name in sizes:
        if getattr(config, name) <= 0:
            raise ValueError(f"{name}={getattr(config, name)}: expected more than 0")
    for name in rates:
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(f"{name}={getattr(config, name)}: expected 0 <= {name} < 1")


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU with tanh in place of the error function (Hendrycks and Gimpel, 2016, section 2).

    https://arxiv.org/abs/1606.08415
    """
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function that Hugging Face's configurations call `name`; ValueError for one that is not in ACTIVATIONS."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation {name!r}: expected one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits [B, T, C] and labels [B, T], the mean over the labels that are not -100.

    A scalar, NaN if all labels are -100 (as torch has it).
    """
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


def text_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of a head that judges whole texts, from logits [B, C] and labels [B]: a scalar.

    Labels are class numbers and the loss is cross-entropy; with C = 1 they are numbers to be predicted, and the
    loss is the mean of squared differences.
    """
    if logits.size(-1) == 1:
        return F.mse_loss(logits.flatten(), labels.flatten().to(logits.dtype))
    return F.cross_entropy(logits, labels.flatten())


FEW_ROWS = 8
"""Up to so many rows `linear` turns the product around."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b, as F.linear has it, with the operands in the order that is fast for a few rows.

    x [..., D], weight [E, D], bias [E] -> [..., E]; values differ in their last bits at most. A model that writes one
    token at a time does little but read its weights. MKL, torch's library for float32 on most processors, is slow to
    read them when x has few rows and is the first operand, and quick in W xᵀ, but for a single row, which is therefore
    computed twice; `bench/models.py` has the cached generation that lives by it.
    """
    rows = x.shape[:-1].numel()
    few = 0 < rows <= FEW_ROWS and x.dtype == torch.float32 and x.device.type == "cpu" and weight.is_contiguous()
    if not few or torch.compiler.is_compiling() or not torch.backends.mkl.is_available():
        return F.linear(x, weight, bias)
    # Two rows that share their memory would be taken for one, and rows that are not laid out one by one are slow.
    rows_of_x = x.reshape(rows, -1).repeat(2 if rows == 1 else 1, 1)  # [R, D]
    product = (weight @ rows_of_x.T).T[:rows]  # [R, E]
    if bias is not None:
        product = product + bias
    return product.reshape(*x.shape[:-1], -1)  # [..., E]


class Linear(nn.Linear):
    """nn.Linear by `linear`, for models that write: its parameters, and its values but for the last bits."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] -> [..., E]."""
        return linear(x, self.weight, self.bias)


class KeyValueCache:
    """The keys and values that a decoder has computed, so that each new token costs one token's work.

    Every attention module keeps its pair under a number of its own, the number of its layer. Pass one cache,
    empty at first, with each piece of a text; the pieces may have any length.
    """

    def __init__(self) -> None:
        self.pairs: dict[int, tuple[Tensor, Tensor]] = {}
        self.fixed: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def length(self) -> int:
        """The number of tokens read so far, which is also the position of the next one."""
        return next(iter(self.pairs.values()))[0].size(-2) if self.pairs else 0

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of new tokens, [B, H, T, d] each -> those of all tokens so far, the new ones last."""
        if layer in self.pairs:
            past_key, past_value = self.pairs[layer]
            key = torch.cat([past_key, key], dim=-2)  # [B, H, past + T, d]
            value = torch.cat([past_value, value], dim=-2)
        self.pairs[layer] = key, value
        return key, value

    def once(self, layer: int, compute: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """What `compute` returned when it was first asked for: cross-attention's pair, the same for every token."""
        if layer not in self.fixed:
            self.fixed[layer] = compute()
        return self.fixed[layer]

    def reorder(self, rows: Tensor, fixed: bool = True) -> None:
        """Row b of the batch goes on from what was row rows[b]: beam search keeps some hypotheses, drops others.

        Unless `fixed`, cross-attention's pairs stay where they are: the beams of one text have all read the same.
        """
        for pairs in (self.pairs, self.fixed) if fixed else (self.pairs,):
            for layer, (key, value) in pairs.items():
                pairs[layer] = key.index_select(0, rows), value.index_select(0, rows)
