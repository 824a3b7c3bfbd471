"""GPT: a Transformer's decoder alone, trained to say the next token (Radford et al., 2018, 2019; Brown et al., 2020).

    GPT-1   Improving Language Understanding by Generative Pre-Training
            https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf
    GPT-2   Language Models are Unsupervised Multitask Learners
            https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
    GPT-3   Language Models are Few-Shot Learners    https://arxiv.org/abs/2005.14165

Attention and feed-forward are the same in all three. GPT-1 normalises after each residual sum; GPT-2 before each
part and once more at the end, with smaller residual projections at the start; GPT-3 is GPT-2 with every second
layer looking at the nearest tokens only. Modules and parameters have the names of Hugging Face transformers.

Left out: byte-pair encoding (`lecturekit.tokenizers`), sampling (`lecturekit.generation`), and kernels that save
time where GPT-3's sparse layers look away. nn.LayerNorm is the kernel of `lecturekit.layers.LayerNorm`, and
computes in float32 at least as that does.

    B batch    T length    P length of the past, in the cache    H heads    D width    V vocabulary    C labels
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecturekit.layers import (
    KeyValueCache,
    Linear,
    activation,
    attention,
    check_fields,
    check_ids,
    check_input,
    key_mask,
    merge_heads,
    split_heads,
    text_loss,
    token_loss,
)
from lecturekit.models.huggingface import HuggingFaceModel, Twin


@dataclass(frozen=True)
class GPTConfig:
    """GPT-1 (section 4.1). ValueError if the fields do not fit together.

    `afn` is the activation function, by GPT-1's own names: its "gelu" is the one with tanh.
    """

    vocab_size: int = 40_478
    n_positions: int = 512
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    afn: str = "gelu"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    num_labels: int = 2

    def __post_init__(self) -> None:
        check_config(self, "num_labels")

    @property
    def inner_width(self) -> int:
        """The width inside the feed-forward network."""
        return 4 * self.n_embd

    @property
    def activation(self) -> str:
        """The activation function under the name that all models here have for it."""
        return "gelu_new" if self.afn == "gelu" else self.afn


@dataclass(frozen=True)
class GPT2Config:
    """GPT-2 small (table 2). ValueError if the fields do not fit together.

    `n_inner` is the width inside the feed-forward network, 4 * `n_embd` if None. With `local_window` every second
    layer, beginning with the second, lets a token see itself and those right before it, `local_window` in all, as
    GPT-3 does (Brown et al., 2020, section 2.1, which does not say how many).
    """

    vocab_size: int = 50_257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    eos_token_id: int | None = 50_256
    pad_token_id: int | None = None
    local_window: int | None = None

    def __post_init__(self) -> None:
        check_config(self, *(name for name in ("n_inner", "local_window") if getattr(self, name) is not None))

    @property
    def inner_width(self) -> int:
        """The width inside the feed-forward network."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    @property
    def activation(self) -> str:
        """The activation function under the name that all models here have for it."""
        return self.activation_function


def check_config(config: GPTConfig | GPT2Config, *more_sizes: str) -> None:
    """ValueError if the fields of a configuration do not fit together.

    `eos_token_id` and `pad_token_id` are for generation and may lie outside a small vocabulary: no text ends there.
    """
    sizes = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "layer_norm_epsilon", *more_sizes)
    check_fields(config, sizes, ("resid_pdrop", "embd_pdrop", "attn_pdrop"))
    if config.n_embd % config.n_head:
        raise ValueError(f"n_embd={config.n_embd} is not a multiple of n_head={config.n_head}")
    activation(config.activation)


def count_parameters(config: GPT2Config) -> dict[str, int]:
    """How many parameters GPT2LMHeadModel has, worked out from its configuration alone.

    By name: "block" (one GPT2Block: `c_attn` from D to 3 D, `c_proj` from D to D, the two maps of the feed-forward
    network, all with biases, and two LayerNorms), "embeddings" (the tables of tokens and positions), "blocks" (all of
    them), and "total" (embeddings, blocks, the last LayerNorm). A LayerNorm has a weight and a bias of D numbers each.
    The head is the table of tokens and counts once; the number of attention heads plays no part.
    """
    width, inner = config.n_embd, config.inner_width
    norm = 2 * width
    attention = (width * 3 * width + 3 * width) + (width * width + width)
    block = attention + (width * inner + inner) + (inner * width + width) + 2 * norm
    embeddings = (config.vocab_size + config.n_positions) * width
    blocks = config.n_layer * block
    return {"block": block, "embeddings": embeddings, "blocks": blocks, "total": embeddings + blocks + norm}


def decoder_mask(
    attention_mask: Tensor | None, input_ids: Tensor, past: int = 0, window: int | None = None
) -> Tensor | None:
    """What each of the tokens input_ids [B, T] may attend to, when `past` tokens were read before them.

    Itself and everything before it, or if `window` is given the nearest `window` of these, itself included; no
    padding, which `attention_mask` [B, P + T] has zeros for (`key_mask`, errors included). Returns a boolean mask
    that broadcasts to [B, 1, T, P + T], or None if every token may attend to all.
    """
    batch, length = input_ids.shape
    padding = key_mask(attention_mask, batch, past + length)  # [B, 1, 1, P + T]
    if length == 1 and window is None:
        return padding
    mask = torch.ones(length, past + length, dtype=torch.bool, device=input_ids.device).tril(past)  # [T, P + T]
    if window is not None:
        mask = mask.triu(past + 1 - window)
    return mask if padding is None else mask & padding  # [T, P + T] or [B, 1, T, P + T]


def embed(
    config: GPTConfig | GPT2Config,
    tokens: nn.Embedding,
    positions: nn.Embedding,
    input_ids: Tensor,
    position_ids: Tensor | None = None,
    past: int = 0,
) -> Tensor:
    """input_ids [B, T] -> the sums [B, T, D] of their rows in `tokens` and of their positions' in `positions`.

    Positions broadcast to [B, T]; if they are not given they go on from `past`, padding included. ValueError for
    an id outside its table or a text longer than `n_positions`.
    """
    check_input(input_ids, config.vocab_size, config.n_positions, past)
    if position_ids is None:
        position_ids = torch.arange(past, past + input_ids.size(1), device=input_ids.device)  # [T]
    check_ids(position_ids, config.n_positions, "position", "the positions of the model")
    return tokens(input_ids) + positions(position_ids)  # [B, T, D]


class GPTAttention(nn.Module):
    """Attention of a decoder: `c_attn`, from D to 3 D, makes queries, keys and values at once; `c_proj` ends it.

    `layer_idx` is the number under which a cache keeps this module's keys and values.
    """

    def __init__(self, config: GPTConfig | GPT2Config, layer_idx: int = 0) -> None:
        super().__init__()
        self.layer_idx = layer_idx
        self.n_head = config.n_head
        self.dropout = config.attn_pdrop
        self.c_attn = Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = Linear(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, cache: KeyValueCache | None = None, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """x [B, T, D] -> (x [B, T, D], weights [B, H, T, P + T], None unless `need_weights`).

        `mask` is boolean and broadcasts to [B, H, T, P + T]; it alone says what may be seen. Keys and values of the
        past come from `cache`, to which those of x are appended. Weights are dropped in training only.
        """
        # region: heads
        query, key, value = (split_heads(part, self.n_head) for part in self.c_attn(x).chunk(3, dim=-1))  # [B, H, T, d]
        # endregion
        if cache is not None:
            key, value = cache.append(self.layer_idx, key, value)  # [B, H, P + T, d]
        # region: context
        dropout = self.dropout if self.training else 0.0
        context, weights = attention(query, key, value, mask, dropout, need_weights)  # [B, H, T, d]
        return self.resid_dropout(self.c_proj(merge_heads(context))), weights  # [B, T, D]
        # endregion


class GPTMLP(nn.Module):
    """The feed-forward network: `c_fc` widens, then the activation, `c_proj` back to D, dropout."""

    def __init__(self, config: GPTConfig | GPT2Config) -> None:
        super().__init__()
        self.c_fc = Linear(config.n_embd, config.inner_width)
        self.c_proj = Linear(config.inner_width, config.n_embd)
        self.activation = activation(config.activation)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        return self.dropout(self.c_proj(self.activation(self.c_fc(x))))


class GPTBlock(nn.Module):
    """GPT-1's block, post-norm: `attn`, sum, `ln_1`, then `mlp`, sum, `ln_2`."""

    def __init__(self, config: GPTConfig, layer_idx: int = 0) -> None:
        super().__init__()
        self.attn = GPTAttention(config, layer_idx)
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = GPTMLP(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, cache: KeyValueCache | None = None, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """x [B, T, D] -> (x [B, T, D], weights); arguments and weights as in GPTAttention."""
        attended, weights = self.attn(x, mask, cache, need_weights)
        x = self.ln_1(x + attended)
        return self.ln_2(x + self.mlp(x)), weights


class GPT2Block(nn.Module):
    """GPT-2's block, pre-norm: `ln_1`, `attn`, sum, then `ln_2`, `mlp`, sum (section 2.3).

    The residual path runs through it without a norm. `attn` is a GPTAttention, `mlp` a GPTMLP, `ln_1` and `ln_2`
    are nn.LayerNorm.
    """

    def __init__(self, config: GPT2Config, layer_idx: int = 0) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = GPTAttention(config, layer_idx)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = GPTMLP(config)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, cache: KeyValueCache | None = None, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """x [B, T, D] -> (x [B, T, D], weights [B, H, T, P + T], None unless `need_weights`).

        `mask` is boolean and broadcasts to [B, H, T, P + T]; `cache` is handed to `attn`.
        """
        attended, weights = self.attn(self.ln_1(x), mask, cache, need_weights)
        x = x + attended
        return x + self.mlp(self.ln_2(x)), weights


def run_blocks(
    blocks: Iterable[nn.Module],
    x: Tensor,
    masks: Iterable[Tensor | None],
    cache: KeyValueCache | None = None,
    need_weights: bool = False,
    need_hidden: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...] | None, tuple[Tensor, ...] | None]:
    """One block after the other, each with its mask.

    x [B, T, D] -> (x [B, T, D], hidden states if `need_hidden`, weights if `need_weights`), else None. The hidden
    states are x itself and what each block made of it, one more than there are blocks; weights [B, H, T, P + T]
    come from each block.
    """
    hidden_states = (x,) if need_hidden else None
    all_weights = () if need_weights else None
    for block, mask in zip(blocks, masks, strict=True):
        x, weights = block(x, mask, cache, need_weights)
        if need_hidden:
            hidden_states += (x,)
        if need_weights:
            all_weights += (weights,)
    return x, hidden_states, all_weights


class GPTPreTrainedModel(HuggingFaceModel):
    """What all GPT-1 models share: how their weights start, and how their checkpoints are written."""

    config_class = GPTConfig
    twin = Twin(
        model_type="openai-gpt",
        prefix="transformer.",
        classes={
            "GPTModel": "OpenAIGPTModel",
            "GPTLMHeadModel": "OpenAIGPTLMHeadModel",
            "GPTForSequenceClassification": "OpenAIGPTForSequenceClassification",
        },
        allowed={
            "tie_word_embeddings": (True,),
            "problem_type": (None, "regression", "single_label_classification"),
        },
        buffers=(".attn.bias", "position_ids"),
        unread={"GPTModel": ("lm_head.", "score.", "multiple_choice_head.")},
        transposed=(".c_attn.weight", ".c_proj.weight", ".c_fc.weight"),
    )

    def init_weights(self) -> None:
        """Draw all matrices from N(0, `initializer_range`²); biases are zero (GPT-1, section 4.1)."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=self.config.initializer_range)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)


class GPT2PreTrainedModel(GPTPreTrainedModel):
    """What all GPT-2 models share: residual projections that start smaller, and how checkpoints are written."""

    config_class = GPT2Config
    twin = Twin(
        model_type="gpt2",
        prefix="transformer.",
        allowed={
            "add_cross_attention": (False,),
            "local_window": (None,),
            "reorder_and_upcast_attn": (False,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "scale_attn_weights": (True,),
            "tie_word_embeddings": (True,),
        },
        buffers=(".attn.bias", ".attn.masked_bias"),
        unread={"GPT2Model": ("lm_head.",)},
        transposed=(".c_attn.weight", ".c_proj.weight", ".c_fc.weight"),
    )

    def init_weights(self) -> None:
        """As in GPT-1, but √N times smaller where a part joins the residual path, N times in all (section 2.3)."""
        super().init_weights()
        std = self.config.initializer_range / math.sqrt(2 * self.config.n_layer)
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, std=std)


class GPTModelOutput(NamedTuple):
    """The last two are None unless they are asked for."""

    last_hidden_state: Tensor  # [B, T, D]
    hidden_states: tuple[Tensor, ...] | None = None  # L + 1 times [B, T, D], the embeddings first
    attentions: tuple[Tensor, ...] | None = None  # L times [B, H, T, P + T]


class GPTModel(GPTPreTrainedModel):
    """GPT-1 without a head: `tokens_embed`, `positions_embed`, and `h`, the GPTBlocks."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.tokens_embed = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions_embed = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(GPTBlock(config, i) for i in range(config.n_layer))
        self.init_weights()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: KeyValueCache | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> GPTModelOutput:
        """input_ids [B, T] -> GPTModelOutput; arguments and errors are those of GPT2Model."""
        past = 0 if past_key_values is None else past_key_values.length
        x = embed(self.config, self.tokens_embed, self.positions_embed, input_ids, position_ids, past)  # [B, T, D]
        masks = [decoder_mask(attention_mask, input_ids, past)] * len(self.h)
        asked = output_attentions, output_hidden_states
        x, hidden_states, attentions = run_blocks(self.h, self.drop(x), masks, past_key_values, *asked)
        return GPTModelOutput(x, hidden_states, attentions)


class GPT2Model(GPT2PreTrainedModel):
    """GPT-2 without a head: `wte` for tokens, `wpe` for positions, `h`, the GPT2Blocks, and the last norm `ln_f`."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(GPT2Block(config, i) for i in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.init_weights()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: KeyValueCache | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> GPTModelOutput:
        """input_ids [B, T] -> GPTModelOutput, whose last hidden state has been through `ln_f`.

        `past_key_values` holds what was read before, and takes in what is read now. `attention_mask` [B, P + T] has
        ones for tokens and zeros for padding, the past's included. `position_ids` broadcasts to [B, T] and goes on
        from the past if it is not given; with padding on the left give it, or a text starts too far out. ValueError
        and TypeError as in `embed` and `key_mask`.
        """
        past = 0 if past_key_values is None else past_key_values.length
        x = embed(self.config, self.wte, self.wpe, input_ids, position_ids, past)  # [B, T, D]
        masks = [decoder_mask(attention_mask, input_ids, past)] * len(self.h)
        if self.config.local_window is not None:
            near = decoder_mask(attention_mask, input_ids, past, self.config.local_window)
            masks[1::2] = [near] * len(masks[1::2])
        asked = output_attentions, output_hidden_states
        x, hidden_states, attentions = run_blocks(self.h, self.drop(x), masks, past_key_values, *asked)
        x = self.ln_f(x)
        if hidden_states is not None:
            hidden_states = (*hidden_states[:-1], x)
        return GPTModelOutput(x, hidden_states, attentions)


class GPTHeadOutput(NamedTuple):
    """`loss` is None unless there are labels; the last two as in GPTModelOutput."""

    loss: Tensor | None
    logits: Tensor  # [B, T, V], or [B, C] for a text
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of the logits [B, T, V] at each position and the label one position later.

    labels [B, T] -> a scalar. Labels of -100 do not count; the first label never does, nothing comes before it.
    """
    return token_loss(logits[:, :-1], labels[:, 1:])


def label_count(labels: Tensor) -> int:
    """Over how many labels of labels [B, T] `next_token_loss` takes the mean."""
    return int((labels[:, 1:] != -100).sum())


def perplexity(losses: Sequence[float], counts: Sequence[int]) -> float:
    """How many tokens a model hesitates between: exp of its mean loss per token, over all batches together.

    Batch i has the mean loss losses[i] over counts[i] labels. A batch without a label does not count, whatever its loss
    (the mean over nothing is NaN). ValueError if there is no label at all, or if the two differ in length.

    >>> round(perplexity([math.log(8), math.log(2)], [1, 2]), 3)  # the cube root of 8 * 2 * 2
    3.175
    """
    if len(losses) != len(counts):
        raise ValueError(f"{len(losses)} losses, {len(counts)} counts: expected one of each for a batch")
    if not sum(counts):
        raise ValueError("no label in any batch: expected at least one")
    total = sum(loss * count for loss, count in zip(losses, counts, strict=True) if count)
    return math.exp(total / sum(counts))


class GPTLMHeadModel(GPTPreTrainedModel):
    """`transformer`, a GPTModel, and `lm_head`, whose weight is the token embeddings'."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.transformer = GPTModel(config)
        self.lm_head = Linear(config.n_embd, config.vocab_size, bias=False)
        self.tie_weights()

    def tie_weights(self) -> None:
        """One Parameter for words going in and words coming out (section 3.1, equation 2)."""
        self.lm_head.weight = self.transformer.tokens_embed.weight

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int = 0,
        **more: Tensor | KeyValueCache | bool | None,
    ) -> GPTHeadOutput:
        """input_ids [B, T] -> GPTHeadOutput with logits [B, T, V]; arguments and errors are GPT2LMHeadModel's."""
        out = self.transformer(input_ids, attention_mask, **more)
        logits = self.lm_head(out.last_hidden_state[:, -logits_to_keep:])  # [B, T, V]
        loss = None if labels is None else next_token_loss(logits, labels)
        return GPTHeadOutput(loss, logits, out.hidden_states, out.attentions)


class GPT2LMHeadModel(GPT2PreTrainedModel):
    """`transformer`, a GPT2Model, and `lm_head`, a linear map from D to V without bias.

    The head's weight is the token embeddings': one Parameter (`tie_weights`).
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.lm_head = Linear(config.n_embd, config.vocab_size, bias=False)
        self.tie_weights()

    def tie_weights(self) -> None:
        """Let words that come out be the words that went in."""
        self.lm_head.weight = self.transformer.wte.weight

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int = 0,
        **more: Tensor | KeyValueCache | bool | None,
    ) -> GPTHeadOutput:
        """input_ids [B, T] -> GPTHeadOutput with logits [B, T, V]; arguments, `more` included, are GPT2Model's.

        The logits at position i are about the token at i + 1. `labels` [B, T] are the input_ids themselves, or -100
        where a token is not to be learnt: the loss shifts them (`next_token_loss`). `logits_to_keep` asks for the
        last so many positions alone, which is cheaper; 0 for all, as a loss needs.
        """
        out = self.transformer(input_ids, attention_mask, **more)
        logits = self.lm_head(out.last_hidden_state[:, -logits_to_keep:])  # [B, T, V]
        loss = None if labels is None else next_token_loss(logits, labels)
        return GPTHeadOutput(loss, logits, out.hidden_states, out.attentions)


class GPTForSequenceClassification(GPTPreTrainedModel):
    """GPT-1 fine-tuned: `transformer`, and `score`, a linear map from D to C without bias (section 3.2).

    There is no parameter for the auxiliary language model but the token embeddings, to which its head is tied.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.transformer = GPTModel(config)
        self.score = Linear(config.n_embd, config.num_labels, bias=False)
        nn.init.normal_(self.score.weight, std=config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        lm_coef: float = 0.5,
        **more: Tensor | bool | None,
    ) -> GPTHeadOutput:
        """input_ids [B, T] -> GPTHeadOutput with logits [B, C]; arguments, `more` included, are GPTModel's.

        A text is judged by its last token that is not padding. `labels` [B] are class numbers, or with `num_labels`
        1 numbers to be predicted. The loss is L3 = L2 + `lm_coef` * L1: that of the labels, plus a share of that of
        the text's own next tokens (equation 5).
        """
        out = self.transformer(input_ids, attention_mask, **more)
        x, rows = out.last_hidden_state, torch.arange(input_ids.size(0), device=input_ids.device)
        real = torch.ones_like(input_ids) if attention_mask is None else (attention_mask != 0).long()  # [B, T]
        last = (real * torch.arange(input_ids.size(1), device=input_ids.device)).argmax(dim=-1)  # [B]
        logits = self.score(x[rows, last])  # [B, C]
        loss = None
        if labels is not None:
            words = F.linear(x, self.transformer.tokens_embed.weight)  # [B, T, V]
            loss = next_token_loss(words, input_ids.masked_fill(real == 0, -100))
            loss = text_loss(logits, labels) + lm_coef * loss
        return GPTHeadOutput(loss, logits, out.hidden_states, out.attentions)
