"""The Transformer of "Attention Is All You Need" (Vaswani et al., 2017, https://arxiv.org/abs/1706.03762).

An encoder reads the source sentence, a decoder writes the target one token at a time. The pieces that other
models share are in `lecturekit.layers`; here is what the paper makes of them, from the configuration to the
loss and the learning rate. `norm_first` is the one departure: later models normalise before each sublayer.

Left out: byte-pair encoding (`lecturekit.tokenizers`), beam search (`lecturekit.generation`) and checkpoint averaging.
`Transformer.generate` runs the whole decoder again for each new token; `decode_next` does it with a cache.

    B batch    S source length    T target length    H heads    D width    V vocabulary
"""

import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecturekit.layers import (
    KeyValueCache,
    LayerNorm,
    MultiHeadAttention,
    PositionwiseFeedForward,
    SublayerConnection,
    attention,
    causal_mask,
    check_fields,
    check_ids,
    merge_heads,
    padding_mask,
    sinusoidal_positions,
    split_heads,
)


@dataclass(frozen=True)
class TransformerConfig:
    """The base model of table 3, English-German. ValueError if the fields do not fit together."""

    vocab_size: int = 37_000
    d_model: int = 512
    num_heads: int = 8
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    d_ff: int = 2048
    dropout: float = 0.1
    norm_first: bool = False
    layer_norm_eps: float = 1e-5
    label_smoothing: float = 0.1
    tie_embeddings: bool = True
    pad_token_id: int = 0
    bos_token_id: int = 1
    eos_token_id: int = 2
    max_length: int = 1024

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "d_model", "num_heads", "num_encoder_layers", "num_decoder_layers", "d_ff")
        check_fields(self, (*sizes, "max_length", "layer_norm_eps"), ("dropout", "label_smoothing"))
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model={self.d_model} is not a multiple of num_heads={self.num_heads}")
        if self.d_model % 2:
            raise ValueError(f"d_model={self.d_model} is odd: sines and cosines come in pairs")
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise ValueError(f"{name}={getattr(self, name)}: expected 0 ... {self.vocab_size - 1}")
        if self.pad_token_id in (self.bos_token_id, self.eos_token_id):
            raise ValueError(
                f"pad_token_id={self.pad_token_id}: expected an id other than "
                f"bos_token_id={self.bos_token_id} and eos_token_id={self.eos_token_id}"
            )


class TransformerEmbeddings(nn.Module):
    """Token embeddings times √D plus sinusoidal positions, then dropout (sections 3.4, 3.5 and 5.4)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.d_model)
        # √D then lifts a token to the size of its position; torch's own standard deviation of one would drown
        # the position and, in the tied output, start with logits too large to learn from.
        nn.init.normal_(self.tokens.weight, std=config.d_model**-0.5)
        positions = sinusoidal_positions(config.max_length, config.d_model)  # [max_length, D]
        self.register_buffer("positions", positions, persistent=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids: Tensor) -> Tensor:
        """ids [B, T] -> [B, T, D]; ValueError for an id outside the vocabulary or T beyond `max_length`."""
        length = ids.size(1)
        if length > self.config.max_length:
            raise ValueError(f"length {length}: expected at most max_length={self.config.max_length}")
        check_ids(ids, self.config.vocab_size)
        x = self.tokens(ids) * math.sqrt(self.config.d_model)  # [B, T, D]
        return self.dropout(x + self.positions[:length])


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward, each inside a SublayerConnection of its own (section 3.1).

    `self_attention` is a MultiHeadAttention, `feed_forward` a PositionwiseFeedForward, `sublayers` an
    nn.ModuleList of two SublayerConnections, in the order of use. Dropout is the connections' alone
    (section 5.4).
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(config.d_model, config.num_heads)
        self.feed_forward = PositionwiseFeedForward(config.d_model, config.d_ff)
        self.sublayers = nn.ModuleList(
            SublayerConnection(config.d_model, config.dropout, config.norm_first, config.layer_norm_eps)
            for _ in range(2)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, S, D] -> [B, S, D]; `mask` broadcasts to [B, H, S, S]."""
        x = self.sublayers[0](x, lambda x: self.self_attention(x, x, x, mask)[0])
        return self.sublayers[1](x, self.feed_forward)


class DecoderLayer(nn.Module):
    """Self-attention, attention to the encoder's output, feed-forward, each in its connection (section 3.1).

    `self_attention` and `cross_attention` are MultiHeadAttention, `feed_forward` a PositionwiseFeedForward,
    `sublayers` an nn.ModuleList of three SublayerConnections, in the order of use. Dropout is the
    connections' alone (section 5.4).
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(config.d_model, config.num_heads)
        self.cross_attention = MultiHeadAttention(config.d_model, config.num_heads)
        self.feed_forward = PositionwiseFeedForward(config.d_model, config.d_ff)
        self.sublayers = nn.ModuleList(
            SublayerConnection(config.d_model, config.dropout, config.norm_first, config.layer_norm_eps)
            for _ in range(3)
        )

    def forward(
        self, x: Tensor, memory: Tensor, mask: Tensor | None = None, memory_mask: Tensor | None = None
    ) -> Tensor:
        """x [B, T, D] and the encoder's output memory [B, S, D] -> [B, T, D].

        `mask` broadcasts to [B, H, T, T] and is whatever the caller gives, causal or not; `memory_mask`
        broadcasts to [B, H, T, S]. In cross-attention the queries come from x, keys and values from `memory`.
        """
        x = self.sublayers[0](x, lambda x: self.self_attention(x, x, x, mask)[0])
        x = self.sublayers[1](x, lambda x: self.cross_attention(x, memory, memory, memory_mask)[0])
        return self.sublayers[2](x, self.feed_forward)


class Encoder(nn.Module):
    """`num_encoder_layers` EncoderLayers, then a LayerNorm if `norm_first` left their last sum without."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_encoder_layers))
        self.norm = LayerNorm(config.d_model, config.layer_norm_eps) if config.norm_first else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, S, D] -> [B, S, D]; `mask` as in EncoderLayer."""
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class Decoder(nn.Module):
    """`num_decoder_layers` DecoderLayers, then a LayerNorm if `norm_first` left their last sum without."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_decoder_layers))
        self.norm = LayerNorm(config.d_model, config.layer_norm_eps) if config.norm_first else nn.Identity()

    def forward(
        self, x: Tensor, memory: Tensor, mask: Tensor | None = None, memory_mask: Tensor | None = None
    ) -> Tensor:
        """x [B, T, D], memory [B, S, D] -> [B, T, D]; every layer reads the same memory. Masks as there."""
        for layer in self.layers:
            x = layer(x, memory, mask, memory_mask)
        return self.norm(x)


class AttentionWeights(NamedTuple):
    """One tensor per layer, first layer first; each row, over keys, sums to one."""

    encoder: tuple[Tensor, ...]  # [B, H, S, S]
    decoder: tuple[Tensor, ...]  # [B, H, T, T]
    cross: tuple[Tensor, ...]  # [B, H, T, S]


class Transformer(nn.Module):
    """Encoder, decoder, and logits over the vocabulary (figure 1).

    Matrices start Xavier-uniform and biases at zero, drawn from torch's global generator, which the caller
    seeds. With `tie_embeddings` both embeddings and the output projection are one Parameter (section 3.4).
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.source_embeddings = TransformerEmbeddings(config)
        self.target_embeddings = TransformerEmbeddings(config)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.output = nn.Linear(config.d_model, config.vocab_size, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if config.tie_embeddings:
            self.target_embeddings.tokens.weight = self.source_embeddings.tokens.weight
            self.output.weight = self.source_embeddings.tokens.weight

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Source ids [B, S] -> (memory [B, S, D], mask [B, 1, 1, S]), both of which `decode` needs.

        The mask is the source's `padding_mask`; the memory is what the encoder makes of the source's embeddings.
        """
        mask = padding_mask(source, self.config.pad_token_id)  # [B, 1, 1, S]
        return self.encoder(self.source_embeddings(source), mask), mask

    def decode(self, target: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """Target ids [B, T] and what `encode` returned -> logits [B, T, V].

        The decoder's mask is `padding_mask` and `causal_mask` at once. The logits at position i are about the
        token at i + 1: they depend on targets 0 ... i alone, and on no padding.
        """
        mask = padding_mask(target, self.config.pad_token_id)  # [B, 1, 1, T]
        mask = mask & causal_mask(target.size(1), target.device)  # [B, 1, T, T]
        hidden = self.decoder(self.target_embeddings(target), memory, mask, memory_mask)  # [B, T, D]
        return self.output(hidden)  # [B, T, V]

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Source ids [B, S], target ids [B, T] -> logits [B, T, V]: `encode`, then `decode`.

        Both are padded with `pad_token_id`. `target` starts with `bos_token_id`; its labels are the same
        sentence one step further on, up to and including `eos_token_id`.
        """
        memory, memory_mask = self.encode(source)
        return self.decode(target, memory, memory_mask)

    def loss(self, source: Tensor, target: Tensor) -> Tensor:
        """What training makes small, by teacher forcing: source ids [B, S], whole targets [B, T] -> a scalar.

        A target runs from `bos_token_id` to `eos_token_id`. The decoder reads it without its last token and is
        compared with it without its first, by `label_smoothed_loss` with `label_smoothing` and `pad_token_id`.
        """
        logits = self(source, target[:, :-1])  # [B, T - 1, V]
        labels = target[:, 1:]  # [B, T - 1]
        return label_smoothed_loss(logits, labels, self.config.label_smoothing, self.config.pad_token_id)

    def attention_weights(self, source: Tensor, target: Tensor) -> AttentionWeights:
        """What every head of every layer looks at in `forward(source, target)`."""
        seen: dict[nn.Module, Tensor] = {}

        def ask(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            return args, kwargs | {"need_weights": True}

        def keep(module: nn.Module, args: tuple, output: tuple[Tensor, Tensor]) -> None:
            seen[module] = output[1]

        # Hooks, so that no layer has to hand on weights that only a picture ever asks for.
        with ExitStack() as hooks:
            for module in self.modules():
                if isinstance(module, MultiHeadAttention):
                    hooks.callback(module.register_forward_pre_hook(ask, with_kwargs=True).remove)
                    hooks.callback(module.register_forward_hook(keep).remove)
            self(source, target)
        return AttentionWeights(
            encoder=tuple(seen[layer.self_attention] for layer in self.encoder.layers),
            decoder=tuple(seen[layer.self_attention] for layer in self.decoder.layers),
            cross=tuple(seen[layer.cross_attention] for layer in self.decoder.layers),
        )

    @torch.no_grad()
    def generate(self, source: Tensor, max_new_tokens: int) -> Tensor:
        """Write greedily: source ids [B, S] -> new ids [B, at most max_new_tokens], without bos.

        A sentence ends with its `eos_token_id` and is padded from there; the loop ends with the last sentence.
        Dropout is as the model's mode has it, so call `eval()` first.
        """
        memory, memory_mask = self.encode(source)
        target = source.new_full((source.size(0), 1), self.config.bos_token_id)  # [B, 1]
        finished = torch.zeros_like(target[:, 0], dtype=torch.bool)  # [B]
        for _ in range(max_new_tokens):
            logits = self.decode(target, memory, memory_mask)[:, -1]  # [B, V]
            token = logits.argmax(dim=-1).masked_fill(finished, self.config.pad_token_id)  # [B]
            target = torch.cat([target, token[:, None]], dim=1)  # [B, T + 1]
            finished |= token == self.config.eos_token_id
            if finished.all():
                break
        return target[:, 1:]


def decode_next(
    model: Transformer, target: Tensor, memory: Tensor, memory_mask: Tensor, cache: KeyValueCache
) -> Tensor:
    """`model.decode` with a cache: logits [B, T - P, V] of the tokens behind the P that the cache has read.

    `target` [B, T] holds all ids, from the first one on; the keys and values of the new ones are appended to the cache.
    The same as `decode(...)[:, P:]` at the cost of T - P tokens.
    """
    past = cache.length
    mask = padding_mask(target, model.config.pad_token_id)  # [B, 1, 1, T]
    mask = mask & causal_mask(target.size(1), target.device)[past:]  # [B, 1, T - P, T]
    x = model.target_embeddings(target)[:, past:]  # [B, T - P, D]
    for index, layer in enumerate(model.decoder.layers):
        x = decode_layer(layer, index, x, memory, mask, memory_mask, cache)
    return model.output(model.decoder.norm(x))


def decode_layer(
    layer: DecoderLayer,
    index: int,
    x: Tensor,
    memory: Tensor,
    mask: Tensor,
    memory_mask: Tensor,
    cache: KeyValueCache,
) -> Tensor:
    """`layer` on new tokens, x [B, T - P, D] -> [B, T - P, D]; its keys and values are number `index` of the cache."""

    def keys_and_values(heads: MultiHeadAttention, source: Tensor) -> tuple[Tensor, Tensor]:
        return tuple(split_heads(project(source), heads.num_heads) for project in (heads.key, heads.value))

    def attend(heads: MultiHeadAttention, x: Tensor, pair: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        context, _ = attention(split_heads(heads.query(x), heads.num_heads), *pair, mask)  # [B, H, T - P, d]
        return heads.output(merge_heads(context))

    def itself(x: Tensor) -> Tensor:
        heads = layer.self_attention
        return attend(heads, x, cache.append(index, *keys_and_values(heads, x)), mask)

    def source(x: Tensor) -> Tensor:
        heads = layer.cross_attention
        return attend(heads, x, cache.once(index, lambda: keys_and_values(heads, memory)), memory_mask)

    x = layer.sublayers[0](x, itself)
    x = layer.sublayers[1](x, source)
    return layer.sublayers[2](x, layer.feed_forward)


def label_smoothed_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.1, pad_id: int = 0) -> Tensor:
    """Cross-entropy with label smoothing, averaged over the labels that are not padding (section 5.4).

    logits [B, T, V], labels [B, T] -> a scalar, NaN if all labels are padding (as torch has it). The wanted
    distribution spreads `smoothing` evenly over the V tokens and gives the rest to the label.
    """
    log_probs = F.log_softmax(logits, dim=-1)  # [B, T, V]
    of_label = log_probs.gather(-1, labels[..., None]).squeeze(-1)  # [B, T]
    of_any = log_probs.mean(dim=-1)  # [B, T]
    loss = -(1 - smoothing) * of_label - smoothing * of_any  # [B, T]
    real = labels != pad_id  # [B, T]
    return (loss * real).sum() / real.sum()


def learning_rate(step: int, d_model: int, warmup_steps: int = 4000) -> float:
    """Up in a straight line for `warmup_steps`, then down as 1/√step (section 5.3, equation 3).

    Steps count from 1: ValueError for anything less.
    """
    if step < 1:
        raise ValueError(f"step={step}: expected 1 or more, steps count from 1")
    return d_model**-0.5 * min(step**-0.5, step * warmup_steps**-1.5)
