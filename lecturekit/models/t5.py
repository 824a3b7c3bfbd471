"""T5: every task is text in, text out, for one Transformer with encoder and decoder (Raffel et al., 2019).

    T5           Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer
                 https://arxiv.org/abs/1910.10683. Section numbers without a name are this paper's.
    T5 v1.1      the gated feed-forward network of GLU Variants Improve Transformer (Shazeer, 2020),
                 https://arxiv.org/abs/2002.05202, and a head with a weight of its own

Three things differ from the Transformer of 2017 (section 2.1): the norm only scales, and stands before each part;
positions are a learnt bias on the scores, the same in all layers; no linear map has a bias. Scores are not divided
by √d: queries start that much smaller instead. Modules and parameters have the names of Hugging Face transformers.

Left out: span corruption and the tasks as text (`lecturekit.objectives`), SentencePiece (`lecturekit.tokenizers`),
and the clamp with which transformers hides overflow in float16: published checkpoints were trained in bfloat16.

    B batch    T length (Tq of queries, Tk of keys where they differ; S of the encoder's text)    H heads
    D width    d width of a head, any number: H * d need not be D    P length of the past    V vocabulary
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecturekit.layers import (
    KeyValueCache,
    Linear,
    activation,
    causal_mask,
    check_attention,
    check_fields,
    check_ids,
    key_mask,
    merge_heads,
    split_heads,
    token_loss,
)
from lecturekit.models.huggingface import HuggingFaceModel, Twin


@dataclass(frozen=True)
class T5Config:
    """T5 small. ValueError if the fields do not fit together.

    `d_kv` is the width of one head; `num_decoder_layers` is `num_layers` if None. `feed_forward_proj` names an
    activation, "gated-" before it for v1.1's network. `tie_word_embeddings` is True for T5, False for v1.1.
    """

    vocab_size: int = 32_128
    d_model: int = 512
    d_kv: int = 64
    d_ff: int = 2048
    num_layers: int = 6
    num_decoder_layers: int | None = None
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-6
    initializer_factor: float = 1.0
    feed_forward_proj: str = "relu"
    tie_word_embeddings: bool = True
    pad_token_id: int = 0
    eos_token_id: int | None = 1
    decoder_start_token_id: int = 0

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")
        sizes += ("layer_norm_epsilon", "initializer_factor")
        sizes += () if self.num_decoder_layers is None else ("num_decoder_layers",)
        check_fields(self, sizes, ("dropout_rate",))
        buckets, furthest = self.relative_attention_num_buckets, self.relative_attention_max_distance
        if buckets < 4:
            raise ValueError(f"relative_attention_num_buckets={buckets}: expected at least 4, two a direction")
        if furthest <= buckets // 2:
            raise ValueError(f"relative_attention_max_distance={furthest}: expected more than {buckets // 2}")
        for name in ("pad_token_id", "decoder_start_token_id"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise ValueError(f"{name}={getattr(self, name)}: expected 0 ... {self.vocab_size - 1}")
        activation(self.dense_act_fn)

    @property
    def is_gated_act(self) -> bool:
        """Whether a second linear map gates the feed-forward network."""
        return self.feed_forward_proj.startswith("gated-")

    @property
    def dense_act_fn(self) -> str:
        """The activation function's name; v1.1's "gated-gelu" is the one with tanh."""
        name = self.feed_forward_proj.removeprefix("gated-")
        return "gelu_new" if self.is_gated_act and name == "gelu" else name


class T5LayerNorm(nn.Module):
    """Give each token a mean square of one, then `weight`: no mean is subtracted, nothing is added (section 2.1).

    `weight` starts as D ones. Elsewhere it is called RMSNorm (Zhang and Sennrich, 2019),
    https://arxiv.org/abs/1910.07467
    """

    def __init__(self, d_model: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        """weight * x / √(mean of squares + eps) over the last axis of x [..., D], in the dtype of the weight.

        Computed in float32 at least, and rounded once, at the end.
        """
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean_square = wide.square().mean(dim=-1, keepdim=True)  # [..., 1]
        return (self.weight * (wide * torch.rsqrt(mean_square + self.eps))).to(self.weight.dtype)


class T5DenseActDense(nn.Module):
    """T5's feed-forward network: `wi` from D to `d_ff`, the activation, dropout, `wo` back to D."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.wi = Linear(config.d_model, config.d_ff, bias=False)
        self.wo = Linear(config.d_ff, config.d_model, bias=False)
        self.activation = activation(config.dense_act_fn)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] -> [..., D], in the dtype of `wo`."""
        hidden = self.dropout(self.activation(self.wi(x)))  # [..., d_ff]
        # Transformers loads T5 in float16 with `wo` in float32: its output is the first to overflow.
        return self.wo(hidden.to(self.wo.weight.dtype))


class T5DenseGatedActDense(nn.Module):
    """v1.1's feed-forward network: the activation of `wi_0` times `wi_1`, dropout, `wo` (Shazeer, 2020, equation 6)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.wi_0 = Linear(config.d_model, config.d_ff, bias=False)
        self.wi_1 = Linear(config.d_model, config.d_ff, bias=False)
        self.wo = Linear(config.d_ff, config.d_model, bias=False)
        self.activation = activation(config.dense_act_fn)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] -> [..., D], in the dtype of `wo`, as in T5DenseActDense."""
        hidden = self.dropout(self.activation(self.wi_0(x)) * self.wi_1(x))  # [..., d_ff]
        return self.wo(hidden.to(self.wo.weight.dtype))


class T5LayerFF(nn.Module):
    """The feed-forward part of a block, pre-norm: `layer_norm`, `DenseReluDense`, dropout, sum.

    `DenseReluDense` is a T5DenseGatedActDense if the configuration's `is_gated_act`, else a T5DenseActDense. The name
    is older than the other activations.
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.DenseReluDense = T5DenseGatedActDense(config) if config.is_gated_act else T5DenseActDense(config)
        self.layer_norm = T5LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        return x + self.dropout(self.DenseReluDense(self.layer_norm(x)))


def relative_position_bucket(
    relative_position: Tensor, bidirectional: bool = True, num_buckets: int = 32, max_distance: int = 128
) -> Tensor:
    """Which of `num_buckets` biases belongs to a key that is `relative_position` tokens after its query.

    Integers of any shape -> integers of that shape in 0 ... num_buckets - 1 (section 2.1). If `bidirectional`, the
    lower half of the buckets is for keys at the query's place and before it, the upper half for keys after it. Else
    all are for keys before it, and a key after it counts as distance 0: a mask hides it anyway.

    Of the n buckets that a direction has, the first half take one distance each. The others share the distances
    from n // 2 to `max_distance` by equal steps of the logarithm, floor(log(distance / (n // 2)) / log(max_distance
    / (n // 2)) * (n - n // 2)) steps from the first of them; anything further away is in the last.
    """
    buckets = torch.zeros_like(relative_position)
    if bidirectional:
        num_buckets //= 2
        buckets = (relative_position > 0) * num_buckets
        distance = relative_position.abs()
    else:
        distance = (-relative_position).clamp(min=0)
    exact = num_buckets // 2
    # In float32 and in this order, as for published models: where it is rounded decides about a bucket.
    steps = torch.log(distance.clamp(min=exact).float() / exact) / math.log(max_distance / exact)
    far = exact + (steps * (num_buckets - exact)).long()
    return buckets + torch.where(distance < exact, distance, far.clamp(max=num_buckets - 1))


def relative_bias(
    table: Tensor, query_length: int, key_length: int, bidirectional: bool, max_distance: int = 128
) -> Tensor:
    """The bias of every head for every pair of places, [1, H, Tq, Tk], out of `table` [num_buckets, H].

    A row of the table is what the heads add to the score of a key in that bucket (`relative_position_bucket`). The
    queries are the last Tq of the Tk places, as they are when a cache holds the others.
    """
    places = torch.arange(key_length, device=table.device)  # [Tk]
    relative = places - places[key_length - query_length :, None]  # [Tq, Tk]
    buckets = relative_position_bucket(relative, bidirectional, table.size(0), max_distance)
    return F.embedding(buckets, table).permute(2, 0, 1)[None]  # [Tq, Tk, H] -> [1, H, Tq, Tk]


def check_bias(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, mask: Tensor | None) -> None:
    """`check_attention`, and TypeError for a bias that is no floating-point number: it may be a mask, misplaced."""
    check_attention(query, key, value, mask)
    if bias is not None and not bias.is_floating_point():
        raise TypeError(f"bias has dtype {bias.dtype}: expected a floating-point one")


def biased_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """softmax(Q Kᵀ + bias) V, step by step: the scores are not divided by √d.

    query [..., Tq, d], key [..., Tk, d] and value [..., Tk, dv] share their leading axes; `bias` and the boolean
    `mask` broadcast to [..., Tq, Tk]. Returns (context [..., Tq, dv], weights [..., Tq, Tk]).

    A score whose mask is False becomes the smallest finite number of its dtype, whatever its bias: a query that may
    attend to nothing then spreads its weights evenly over all keys. Bias, mask and softmax are computed in float32
    at least, and rounded to the dtype of Q Kᵀ. `dropout` is the probability with which a weight is dropped before it
    multiplies the value; it acts whenever it is not zero, and the weights that are returned are those before dropout.

    Call `check_bias` first: it raises ValueError and TypeError for arguments that do not fit together.
    """
    check_bias(query, key, value, bias, mask)
    product = query @ key.transpose(-2, -1)  # [..., Tq, Tk]
    scores = product.to(torch.promote_types(product.dtype, torch.float32))
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1).to(product.dtype)  # [..., Tq, Tk]
    context = F.dropout(weights, dropout) @ value  # [..., Tq, dv]
    return context, weights


def fused_biased_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """The context of `biased_attention`, by torch's kernel, which never stores the weights.

    Arguments, result and errors are the same, down to the gradients and to a query that may attend to nothing.
    """
    check_bias(query, key, value, bias, mask)
    added = bias if bias is None else bias.to(query.dtype)
    if mask is not None:
        # The kernel's own rule for such a query is zeros, and its gradients are wrong where every score is the
        # smallest number. A query of zeros without a mask scores all keys alike: even weights, and no gradient.
        blind = ~mask.any(dim=-1, keepdim=True)  # [..., Tq, 1]
        query = query.masked_fill(blind, 0.0)
        if added is None:
            added = mask | blind  # [..., Tq, Tk]
        else:
            instead = added.new_zeros(()).masked_fill(~blind, torch.finfo(added.dtype).min)  # [..., Tq, 1]
            added = torch.where(mask, added, instead)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=added, dropout_p=dropout, scale=1.0)


class T5Attention(nn.Module):
    """Attention of every kind that T5 has: from a text to itself, or from the decoder's to the encoder's.

    `q`, `k` and `v` are linear maps from D to H * d, `o` maps back; none has a bias. With
    `has_relative_attention_bias` there is `relative_attention_bias`, an nn.Embedding of `num_buckets` rows with a
    number for each head; the first layer alone has one. `layer_idx` is the number under which a cache keeps this
    module's keys and values.
    """

    def __init__(
        self,
        config: T5Config,
        has_relative_attention_bias: bool = False,
        bidirectional: bool = True,
        layer_idx: int = 0,
    ) -> None:
        """`bidirectional` is for the buckets: True in the encoder, False in the decoder."""
        super().__init__()
        self.config = config
        self.bidirectional = bidirectional
        self.layer_idx = layer_idx
        inner = config.num_heads * config.d_kv
        self.q = Linear(config.d_model, inner, bias=False)
        self.k = Linear(config.d_model, inner, bias=False)
        self.v = Linear(config.d_model, inner, bias=False)
        self.o = Linear(inner, config.d_model, bias=False)
        if has_relative_attention_bias:
            self.relative_attention_bias = nn.Embedding(config.relative_attention_num_buckets, config.num_heads)

    def compute_bias(self, query_length: int, key_length: int) -> Tensor:
        """`relative_bias` of the table `relative_attention_bias`: [1, H, Tq, Tk]."""
        table, furthest = self.relative_attention_bias.weight, self.config.relative_attention_max_distance
        return relative_bias(table, query_length, key_length, self.bidirectional, furthest)

    def keys_and_values(
        self, x: Tensor, memory: Tensor | None = None, cache: KeyValueCache | None = None
    ) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, Tk, d] of `memory` [B, S, D], or without it those of x [B, T, D].

        With a cache, those of x are appended to the past's and all are returned; those of `memory` are computed
        once, for the first tokens, and taken from the cache ever after.
        """
        source = x if memory is None else memory

        def project() -> tuple[Tensor, Tensor]:
            heads = self.config.num_heads
            return split_heads(self.k(source), heads), split_heads(self.v(source), heads)

        if cache is None:
            return project()
        if memory is None:
            return cache.append(self.layer_idx, *project())
        return cache.once(self.layer_idx, project)

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
        cache: KeyValueCache | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """x [B, Tq, D] -> (x [B, Tq, D], weights [B, H, Tq, Tk], None unless `need_weights`).

        Queries come from x, `keys_and_values` from `memory` or from x. `bias` and the boolean `mask` broadcast to
        [B, H, Tq, Tk]. `biased_attention` is called for weights, else `fused_biased_attention`; weights are dropped
        in training only.
        """
        query = split_heads(self.q(x), self.config.num_heads)  # [B, H, Tq, d]
        key, value = self.keys_and_values(x, memory, cache)  # [B, H, Tk, d]
        dropout = self.config.dropout_rate if self.training else 0.0
        if need_weights:
            context, weights = biased_attention(query, key, value, bias, mask, dropout)  # [B, H, Tq, d]
        else:
            context, weights = fused_biased_attention(query, key, value, bias, mask, dropout), None
        return self.o(merge_heads(context)), weights  # [B, Tq, D]


class T5LayerSelfAttention(nn.Module):
    """The first part of a block, pre-norm: `layer_norm`, `SelfAttention` (a T5Attention), dropout, sum."""

    def __init__(
        self,
        config: T5Config,
        has_relative_attention_bias: bool = False,
        bidirectional: bool = True,
        layer_idx: int = 0,
    ) -> None:
        super().__init__()
        self.SelfAttention = T5Attention(config, has_relative_attention_bias, bidirectional, layer_idx)
        self.layer_norm = T5LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """x [B, T, D] -> (x [B, T, D], weights); arguments and weights as in T5Attention."""
        attended, weights = self.SelfAttention(self.layer_norm(x), bias, mask, None, cache, need_weights)
        return x + self.dropout(attended), weights


class T5LayerCrossAttention(nn.Module):
    """The decoder's second part, pre-norm: `layer_norm`, `EncDecAttention` (a T5Attention), dropout, sum.

    The memory is not normalised here: the encoder's last norm did that. Nor is there a bias for positions.
    """

    def __init__(self, config: T5Config, layer_idx: int = 0) -> None:
        super().__init__()
        self.EncDecAttention = T5Attention(config, layer_idx=layer_idx)
        self.layer_norm = T5LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """x [B, T, D] and `memory` [B, S, D] -> (x [B, T, D], weights [B, H, T, S]); the rest as in T5Attention."""
        attended, weights = self.EncDecAttention(self.layer_norm(x), None, mask, memory, cache, need_weights)
        return x + self.dropout(attended), weights


class T5Block(nn.Module):
    """`layer`: a T5LayerSelfAttention, in the decoder a T5LayerCrossAttention, and a T5LayerFF."""

    def __init__(
        self, config: T5Config, is_decoder: bool = False, has_relative_attention_bias: bool = False, layer_idx: int = 0
    ) -> None:
        super().__init__()
        attention = T5LayerSelfAttention(config, has_relative_attention_bias, not is_decoder, layer_idx)
        cross = [T5LayerCrossAttention(config, layer_idx)] if is_decoder else []
        self.layer = nn.ModuleList([attention, *cross, T5LayerFF(config)])

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """x [B, T, D] -> (x [B, T, D], weights [B, H, T, P + T], cross-attention's weights [B, H, T, S]).

        `bias` and `mask` are for self-attention, `memory_mask` is for that over `memory` [B, S, D], which a decoder's
        block needs; masks are boolean. Weights are None unless `need_weights`, the second always without a memory.
        """
        x, weights = self.layer[0](x, bias, mask, cache, need_weights)
        cross_weights = None
        if memory is not None:
            x, cross_weights = self.layer[1](x, memory, memory_mask, cache, need_weights)
        return self.layer[-1](x), weights, cross_weights


def check_text(ids: Tensor, vocab_size: int) -> None:
    """ValueError for ids that are not [B, T], T at least one, or not in the vocabulary (`check_ids`).

    A text may have any length: buckets tell near from far, and there is no last position.
    """
    if ids.dim() != 2 or ids.size(1) == 0:
        raise ValueError(f"input_ids of shape {list(ids.shape)}: expected [B, T], T at least 1")
    check_ids(ids, vocab_size)


class T5StackOutput(NamedTuple):
    """The last three are None unless they are asked for, the last in an encoder always."""

    last_hidden_state: Tensor  # [B, T, D]
    hidden_states: tuple[Tensor, ...] | None = None  # L + 1 times [B, T, D], the embeddings first
    attentions: tuple[Tensor, ...] | None = None  # L times [B, H, T, P + T]
    cross_attentions: tuple[Tensor, ...] | None = None  # L times [B, H, T, S]


class T5Stack(nn.Module):
    """The encoder, or the decoder if `is_decoder`: `embed_tokens`, the T5Blocks `block`, and `final_layer_norm`.

    `embed_tokens` is the very module that is passed: both stacks have the same. The first block alone has a
    relative_attention_bias.
    """

    def __init__(self, config: T5Config, embed_tokens: nn.Embedding, num_layers: int, is_decoder: bool = False) -> None:
        super().__init__()
        self.config = config
        self.is_decoder = is_decoder
        self.embed_tokens = embed_tokens
        self.block = nn.ModuleList(T5Block(config, is_decoder, i == 0, i) for i in range(num_layers))
        self.final_layer_norm = T5LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)

    def self_mask(self, attention_mask: Tensor | None, batch: int, length: int, past: int = 0) -> Tensor | None:
        """What each of T tokens may attend to: no padding, and in a decoder nothing later.

        `attention_mask` [B, P + T] has zeros for padding (`key_mask`, errors included). Returns a boolean mask that
        broadcasts to [B, 1, T, P + T], or None if every token may attend to all.
        """
        padding = key_mask(attention_mask, batch, past + length)  # [B, 1, 1, P + T]
        if not self.is_decoder or length == 1:
            return padding
        causal = causal_mask(past + length, self.embed_tokens.weight.device)[past:]  # [T, P + T]
        return causal if padding is None else causal & padding  # [T, P + T] or [B, 1, T, P + T]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        past_key_values: KeyValueCache | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> T5StackOutput:
        """input_ids [B, T] -> T5StackOutput, whose last hidden state has been through `final_layer_norm`.

        The masks have ones for tokens and zeros for padding: `attention_mask` [B, P + T] those of this text,
        `memory_mask` [B, S] those of `memory` [B, S, D], which a decoder needs. `past_key_values` holds what was
        read before, and takes in what is read now. ValueError for ids or a memory of another shape and for an id
        outside the vocabulary; errors about masks are those of `key_mask`.
        """
        check_text(input_ids, self.config.vocab_size)
        if self.is_decoder and (memory is None or memory.dim() != 3 or memory.size(0) != input_ids.size(0)):
            shape = None if memory is None else list(memory.shape)
            raise ValueError(f"the encoder's output has shape {shape}: expected [{input_ids.size(0)}, S, D]")
        past = 0 if past_key_values is None else past_key_values.length
        mask = self.self_mask(attention_mask, *input_ids.shape, past)
        if memory is not None:
            memory_mask = key_mask(memory_mask, *memory.shape[:2])  # [B, 1, 1, S]
        # region: bias
        places = input_ids.size(1), past + input_ids.size(1)
        bias = self.block[0].layer[0].SelfAttention.compute_bias(*places)  # [1, H, T, P + T]
        # endregion
        x = self.dropout(self.embed_tokens(input_ids))  # [B, T, D]
        hidden_states = (x,) if output_hidden_states else None
        attentions = () if output_attentions else None
        cross_attentions = () if output_attentions and self.is_decoder else None
        for block in self.block:
            # region: block
            x, weights, cross = block(x, bias, mask, memory, memory_mask, past_key_values, output_attentions)
            # endregion
            if output_hidden_states:
                hidden_states += (x,)
            if output_attentions:
                attentions += (weights,)
            if cross_attentions is not None:
                cross_attentions += (cross,)
        x = self.dropout(self.final_layer_norm(x))
        if output_hidden_states:
            hidden_states = (*hidden_states[:-1], x)
        return T5StackOutput(x, hidden_states, attentions, cross_attentions)


@dataclass(frozen=True)
class T5Twin(Twin):
    """T5's table. Transformers ties the head always: whether it is T5's or v1.1's shows in whether it is scaled."""

    def configuration(self, config_class: type, stored: Mapping[str, Any]) -> Any:
        tied = stored.get("tie_word_embeddings", True) and stored.get("scale_decoder_outputs", True)
        return super().configuration(config_class, {**stored, "tie_word_embeddings": tied})

    def translate(self, stored: Iterator[tuple[str, Tensor]], model: nn.Module) -> dict[str, Tensor]:
        """As in Twin; v1.1's head is the embeddings where transformers, which tied them, wrote but one of the two."""
        tensors = dict(stored)
        if "shared.weight" in tensors:
            tensors.setdefault("lm_head.weight", tensors["shared.weight"])
        return super().translate(iter(tensors.items()), model)


class T5Output(NamedTuple):
    """`loss` is None unless there are labels, what is after `encoder_last_hidden_state` unless it is asked for."""

    loss: Tensor | None
    logits: Tensor  # [B, T, V]
    encoder_last_hidden_state: Tensor  # [B, S, D]
    encoder_hidden_states: tuple[Tensor, ...] | None = None  # L + 1 times [B, S, D], the embeddings first
    encoder_attentions: tuple[Tensor, ...] | None = None  # L times [B, H, S, S]
    decoder_hidden_states: tuple[Tensor, ...] | None = None  # L + 1 times [B, T, D], the embeddings first
    decoder_attentions: tuple[Tensor, ...] | None = None  # L times [B, H, T, P + T]
    cross_attentions: tuple[Tensor, ...] | None = None  # L times [B, H, T, S]


def shift_right(labels: Tensor, start_id: int, pad_id: int) -> Tensor:
    """What a decoder reads when it is to say labels [B, T]: `start_id`, then all labels but the last, [B, T].

    Labels of -100 become `pad_id`.
    """
    start = labels.new_full((labels.size(0), 1), start_id)
    ids = torch.cat([start, labels[:, :-1]], dim=1)
    return ids.masked_fill(ids == -100, pad_id)


class T5ForConditionalGeneration(HuggingFaceModel):
    """`shared`, the embeddings of both stacks, `encoder` and `decoder`, T5Stacks, and `lm_head` from D to V.

    With `tie_word_embeddings` the head's weight is the embeddings', one Parameter; what goes into it is then made
    √D times smaller, for embeddings start √D times larger than a head would.
    """

    config_class = T5Config
    twin = T5Twin(
        model_type="t5",
        prefix="transformer.",
        allowed={"is_encoder_decoder": (True,), "is_decoder": (False,)},
        unread={"T5ForConditionalGeneration": ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.",)},
    )

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        decoder_layers = config.num_layers if config.num_decoder_layers is None else config.num_decoder_layers
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = T5Stack(config, self.shared, config.num_layers)
        self.decoder = T5Stack(config, self.shared, decoder_layers, is_decoder=True)
        self.lm_head = Linear(config.d_model, config.vocab_size, bias=False)
        self.tie_weights()
        self.init_weights()

    def tie_weights(self) -> None:
        """Let words that come out be the words that went in, where the configuration says so."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.shared.weight

    def init_weights(self) -> None:
        """Draw each matrix from a normal distribution, with the variance 1 / (the width of its input).

        Queries are √d times smaller still, in place of a division in attention; embeddings and head have the
        variance 1, the relative bias 1 / D. All, and the norms' ones, are times `initializer_factor`.
        """
        config = self.config
        variances = {
            "shared": 1.0,
            "lm_head": 1.0,
            "q": 1 / (config.d_model * config.d_kv),
            "relative_attention_bias": 1 / config.d_model,
        }
        for name, parameter in self.named_parameters():
            if name.endswith("layer_norm.weight"):
                nn.init.constant_(parameter, config.initializer_factor)
            else:
                variance = variances.get(name.split(".")[-2], 1 / parameter.size(-1))
                nn.init.normal_(parameter, std=config.initializer_factor * math.sqrt(variance))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: tuple[Tensor, ...] | None = None,
        past_key_values: KeyValueCache | None = None,
        labels: Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> T5Output:
        """input_ids [B, S] and decoder_input_ids [B, T] -> T5Output with logits [B, T, V].

        The logits at a position are about the token at the next. `labels` [B, T] are those tokens themselves, or
        -100 where one is not to be learnt; decoder_input_ids that are not given are made of them (`shift_right`).
        `encoder_outputs`, what `encoder` returned for this text before, takes the place of input_ids.
        `past_key_values` holds what the decoder read before. Masks and errors are those of T5Stack; ValueError if
        there is nothing to encode or to decode.
        """
        asked = output_attentions, output_hidden_states
        if decoder_input_ids is None:
            if labels is None:
                raise ValueError("decoder_input_ids=None and labels=None: expected one of them")
            decoder_input_ids = shift_right(labels, self.config.decoder_start_token_id, self.config.pad_token_id)
        if encoder_outputs is None:
            if input_ids is None:
                raise ValueError("input_ids=None and encoder_outputs=None: expected one of them")
            encoder_outputs = self.encoder(input_ids, attention_mask, None, None, None, *asked)
        encoded = T5StackOutput(*encoder_outputs)
        decoded = self.decoder(
            decoder_input_ids, decoder_attention_mask, encoded[0], attention_mask, past_key_values, *asked
        )
        # region: head
        x = decoded.last_hidden_state  # [B, T, D]
        if self.config.tie_word_embeddings:
            x = x * self.config.d_model**-0.5
        logits = self.lm_head(x)  # [B, T, V]
        # endregion
        loss = None if labels is None else token_loss(logits, labels)
        return T5Output(loss, logits, *encoded[:3], *decoded[1:])

    def to_huggingface(self) -> nn.Module:
        """As in HuggingFaceModel; a head with a weight of its own has one there too."""
        theirs = super().to_huggingface()
        if not self.config.tie_word_embeddings:
            # Transformers ties the two whatever it is told, and so both have just become the head.
            theirs.lm_head.weight = nn.Parameter(self.lm_head.weight.detach().clone())
            theirs.shared.weight.data.copy_(self.shared.weight)
        return theirs
