"""BERT: a deep bidirectional Transformer, pre-trained by filling in blanks (Devlin et al., 2018).

https://arxiv.org/abs/1810.04805. Section numbers without a name are that paper's. Modules and parameters have the
names of Hugging Face transformers, through whose checkpoints BERT is met in practice.

Left out: the batches of pre-training (`lecturekit.objectives`), WordPiece (`lecturekit.tokenizers`), BERT as a
decoder. nn.LayerNorm is the kernel of `lecturekit.layers.LayerNorm`, and computes in float32 at least as that does.

    B batch    T length    H heads    D width    V vocabulary    C labels
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecturekit.layers import (
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
class BertConfig:
    """BERT base, uncased (section 3). ValueError if the fields do not fit together."""

    vocab_size: int = 30_522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    classifier_dropout: float | None = None
    num_labels: int = 2

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        sizes += ("max_position_embeddings", "type_vocab_size", "layer_norm_eps", "num_labels")
        rates = ("hidden_dropout_prob", "attention_probs_dropout_prob")
        check_fields(self, sizes, rates if self.classifier_dropout is None else (*rates, "classifier_dropout"))
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} is not a multiple of num_attention_heads={self.num_attention_heads}"
            )
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(f"pad_token_id={self.pad_token_id}: expected None or 0 ... {self.vocab_size - 1}")
        activation(self.hidden_act)


def count_parameters(config: BertConfig) -> dict[str, int]:
    """How many parameters BertModel has, worked out from its configuration alone (section 3).

    By name: "projection" (one linear map from D to D with its bias), "layer" (one BertLayer: four projections, the two
    maps of the feed-forward network with biases, two LayerNorms), "embeddings" (three tables and a LayerNorm),
    "encoder" (all layers), "pooler", and "total" (embeddings, encoder and pooler). A LayerNorm has a weight and a bias
    of D numbers each. The number of heads plays no part.
    """
    width, inner = config.hidden_size, config.intermediate_size
    norm = 2 * width
    projection = width * width + width
    layer = 4 * projection + (width * inner + inner) + (inner * width + width) + 2 * norm
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    embeddings = rows * width + norm
    encoder = config.num_hidden_layers * layer
    return {
        "projection": projection,
        "layer": layer,
        "embeddings": embeddings,
        "encoder": encoder,
        "pooler": projection,
        "total": embeddings + encoder + projection,
    }


class BertEmbeddings(nn.Module):
    """Token, position and segment embeddings, added, then LayerNorm and dropout (section 3 and figure 2).

    `word_embeddings`, `position_embeddings` and `token_type_embeddings` are nn.Embedding tables, the first of
    which never learns the row of padding; `LayerNorm` is an nn.LayerNorm.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """input_ids [B, T] -> [B, T, D].

        `token_type_ids` [B, T] tells the first sentence (0) from the second (1); without it all is the first.
        `position_ids` broadcasts to [B, T] and counts 0 ... T - 1 if it is not given, padding included. ValueError
        for an id outside its table, T beyond `max_position_embeddings` or `input_ids` that are not [B, T].
        """
        check_input(input_ids, self.config.vocab_size, self.config.max_position_embeddings)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        if position_ids is None:
            position_ids = torch.arange(input_ids.size(1), device=input_ids.device)  # [T]
        check_ids(token_type_ids, self.config.type_vocab_size, "token type", "the token types")
        check_ids(position_ids, self.config.max_position_embeddings, "position", "the positions of the model")
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)  # [B, T, D]
        x = x + self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(x))


class BertSelfAttention(nn.Module):
    """Every token looks at every token of the text, to its left and to its right.

    `query`, `key` and `value` are nn.Linear maps from D to D with bias.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.num_attention_heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """x [B, T, D] -> (context [B, T, D], weights [B, H, T, T], None unless `need_weights`).

        `mask` is boolean and broadcasts to [B, H, T, T]. Weights are dropped in training only.
        """
        query = split_heads(self.query(x), self.num_attention_heads)  # [B, H, T, d]
        key = split_heads(self.key(x), self.num_attention_heads)
        value = split_heads(self.value(x), self.num_attention_heads)
        dropout = self.dropout if self.training else 0.0
        context, weights = attention(query, key, value, mask, dropout, need_weights)  # [B, H, T, d]
        return merge_heads(context), weights  # [B, T, D]


class BertSelfOutput(nn.Module):
    """What follows attention: the projection `dense`, dropout, the residual sum, `LayerNorm` (post-norm)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """x and `residual`, both [B, T, D] -> [B, T, D]."""
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class BertAttention(nn.Module):
    """The first half of a layer: `self`, a BertSelfAttention, and `output`, a BertSelfOutput."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = BertSelfAttention(config)
        self.output = BertSelfOutput(config)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """x [B, T, D] -> (x [B, T, D], weights); `mask` and weights as in BertSelfAttention."""
        context, weights = self.self(x, mask, need_weights)
        return self.output(context, x), weights


class BertIntermediate(nn.Module):
    """The wide middle of the feed-forward network: `dense`, from D to `intermediate_size`, and an activation."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] -> [B, T, intermediate_size]."""
        return self.activation(self.dense(x))


class BertOutput(nn.Module):
    """What follows it: `dense`, back to D, dropout, the residual sum, `LayerNorm`."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """x [B, T, intermediate_size] and `residual` [B, T, D] -> [B, T, D]."""
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class BertLayer(nn.Module):
    """Attention, then feed-forward, each followed by its residual sum and LayerNorm.

    `attention` is a BertAttention, `intermediate` a BertIntermediate, `output` a BertOutput.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = BertAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """x [B, T, D] -> (x [B, T, D], weights [B, H, T, T], None unless `need_weights`).

        `mask` is boolean and broadcasts to [B, H, T, T].
        """
        x, weights = self.attention(x, mask, need_weights)
        return self.output(self.intermediate(x), x), weights


class BertEncoder(nn.Module):
    """`layer`: `num_hidden_layers` BertLayers, one after the other."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(config) for _ in range(config.num_hidden_layers))

    def forward(
        self, x: Tensor, mask: Tensor | None = None, need_weights: bool = False, need_hidden: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...] | None, tuple[Tensor, ...] | None]:
        """x [B, T, D] -> (x [B, T, D], hidden states if `need_hidden`, weights if `need_weights`), else None.

        The hidden states are x itself and what each layer made of it, one more than there are layers; weights
        [B, H, T, T] come from each layer. `mask` as in BertLayer.
        """
        hidden_states = (x,) if need_hidden else None
        all_weights = () if need_weights else None
        for layer in self.layer:
            x, weights = layer(x, mask, need_weights)
            if need_hidden:
                hidden_states += (x,)
            if need_weights:
                all_weights += (weights,)
        return x, hidden_states, all_weights


class BertPooler(nn.Module):
    """One vector for the whole text, from the first token, [CLS]: tanh of `dense`, a linear map from D to D."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] -> [B, D]."""
        return torch.tanh(self.dense(x[:, 0]))


class BertPreTrainedModel(HuggingFaceModel):
    """What all BERT models share: how their weights start, and how their checkpoints are written."""

    config_class = BertConfig
    twin = Twin(
        model_type="bert",
        prefix="bert.",
        allowed={
            "is_decoder": (False,),
            "add_cross_attention": (False,),
            "tie_word_embeddings": (True,),
            "position_embedding_type": ("absolute",),
            "problem_type": (None, "regression", "single_label_classification"),
        },
        renamed={".LayerNorm.gamma": ".LayerNorm.weight", ".LayerNorm.beta": ".LayerNorm.bias"},
        buffers=("embeddings.position_ids", "embeddings.token_type_ids"),
        unread={
            "BertModel": ("cls.", "classifier.", "qa_outputs."),
            "BertForMaskedLM": ("bert.pooler.", "cls.seq_relationship."),
        },
    )

    @torch.no_grad()
    def init_weights(self, part: nn.Module) -> None:
        """Draw the matrices of `part` from N(0, `initializer_range`²); biases and the row of padding are zero."""
        for module in part.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=self.config.initializer_range)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()


class BertModelOutput(NamedTuple):
    """The four outputs of BertModel, the last two None unless they are asked for."""

    last_hidden_state: Tensor  # [B, T, D]
    pooler_output: Tensor | None  # [B, D]
    hidden_states: tuple[Tensor, ...] | None = None  # L + 1 times [B, T, D], the embeddings first
    attentions: tuple[Tensor, ...] | None = None  # L times [B, H, T, T]


class BertModel(BertPreTrainedModel):
    """BERT without a head: `embeddings`, `encoder`, and `pooler`, which is None without `add_pooling_layer`."""

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        self.init_weights(self)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> BertModelOutput:
        """input_ids [B, T] -> BertModelOutput.

        `attention_mask` [B, T] has ones for tokens and zeros for padding, boolean or integer; `token_type_ids`,
        `position_ids` and errors about ids are those of BertEmbeddings. TypeError and ValueError for a mask that
        is not of that kind (`key_mask`).
        """
        x = self.embeddings(input_ids, token_type_ids, position_ids)  # [B, T, D]
        mask = key_mask(attention_mask, *input_ids.shape)  # [B, 1, 1, T]
        x, hidden_states, attentions = self.encoder(x, mask, output_attentions, output_hidden_states)
        pooled = None if self.pooler is None else self.pooler(x)  # [B, D]
        return BertModelOutput(x, pooled, hidden_states, attentions)


class BertPredictionHeadTransform(nn.Module):
    """Before the vocabulary: `dense` from D to D, the activation, `LayerNorm`."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = activation(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] -> [B, T, D]."""
        return self.LayerNorm(self.activation(self.dense(x)))


class BertLMPredictionHead(nn.Module):
    """Logits over the vocabulary: `transform`, then `decoder`, a linear map from D to V with bias.

    `bias` is the decoder's, under the name that checkpoints have for it. The decoder's weight becomes that of the
    word embeddings in the model around this head (`tie_weights`).
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.transform = BertPredictionHeadTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = self.decoder.bias

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] -> [B, T, V]."""
        return self.decoder(self.transform(x))


class BertOnlyMLMHead(nn.Module):
    """`predictions`, a BertLMPredictionHead: the name that checkpoints have for the only head."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.predictions = BertLMPredictionHead(config)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] -> [B, T, V]."""
        return self.predictions(x)


class BertPreTrainingHeads(nn.Module):
    """`predictions` for the masked tokens, `seq_relationship` for the pair of sentences (section 3.1)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.predictions = BertLMPredictionHead(config)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)

    def forward(self, x: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, T, D] and the pooler's [B, D] -> logits [B, T, V] and [B, 2]."""
        return self.predictions(x), self.seq_relationship(pooled)


class BertForPreTrainingOutput(NamedTuple):
    """`loss` is None unless there are labels; the last two as in BertModelOutput."""

    loss: Tensor | None
    prediction_logits: Tensor  # [B, T, V]
    seq_relationship_logits: Tensor  # [B, 2], first "the second sentence follows", then "it does not"
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class BertHeadOutput(NamedTuple):
    """`loss` is None unless there are labels; the last two as in BertModelOutput."""

    loss: Tensor | None
    logits: Tensor  # [B, T, V] or [B, T, C] for tokens, [B, C] for a text
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class BertSpanOutput(NamedTuple):
    """`loss` is None unless there are labels; the last two as in BertModelOutput."""

    loss: Tensor | None
    start_logits: Tensor  # [B, T]
    end_logits: Tensor  # [B, T]
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def head_dropout(config: BertConfig) -> float:
    """The dropout before a classifier: `classifier_dropout`, or that of the hidden states if it is not set."""
    return config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout


def position_loss(logits: Tensor, positions: Tensor) -> Tensor:
    """Cross-entropy of logits [B, T] over the tokens and the positions [B] of the right ones.

    The mean over the positions below T; NaN if there are none.
    """
    length = logits.size(1)
    return F.cross_entropy(logits, positions.flatten().clamp(0, length), ignore_index=length)


class BertForMaskedLM(BertPreTrainedModel):
    """`bert` without pooler and `cls`, a BertOnlyMLMHead whose decoder shares the word embeddings' weight."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = BertOnlyMLMHead(config)
        self.init_weights(self.cls)
        self.tie_weights()

    def tie_weights(self) -> None:
        """One Parameter for words going in and words coming out, and one for the two names of the bias."""
        self.cls.predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight
        self.cls.predictions.bias = self.cls.predictions.decoder.bias

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **more: Tensor | bool | None,
    ) -> BertHeadOutput:
        """input_ids [B, T] -> BertHeadOutput with logits [B, T, V]; arguments, `more` included, are BertModel's.

        `labels` [B, T] holds the tokens to be found, and -100 wherever none is (section 3.1, task 1).
        """
        out = self.bert(input_ids, attention_mask, token_type_ids, **more)
        logits = self.cls(out.last_hidden_state)  # [B, T, V]
        loss = None if labels is None else token_loss(logits, labels)
        return BertHeadOutput(loss, logits, out.hidden_states, out.attentions)


class BertForPreTraining(BertPreTrainedModel):
    """`bert` and `cls`, BertPreTrainingHeads: the model of the paper's figure 1, left."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = BertPreTrainingHeads(config)
        self.init_weights(self.cls)
        self.tie_weights()

    def tie_weights(self) -> None:
        """As in BertForMaskedLM."""
        self.cls.predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight
        self.cls.predictions.bias = self.cls.predictions.decoder.bias

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        **more: Tensor | bool | None,
    ) -> BertForPreTrainingOutput:
        """input_ids [B, T] -> BertForPreTrainingOutput; arguments, `more` included, are BertModel's.

        `labels` are those of BertForMaskedLM; `next_sentence_label` [B] is 0 where the second sentence follows the
        first in the corpus and 1 where it was drawn at random. With both, the loss is the sum of the two (A.2).
        """
        out = self.bert(input_ids, attention_mask, token_type_ids, **more)
        tokens, pair = self.cls(out.last_hidden_state, out.pooler_output)  # [B, T, V], [B, 2]
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = token_loss(tokens, labels) + F.cross_entropy(pair, next_sentence_label.flatten())
        return BertForPreTrainingOutput(loss, tokens, pair, out.hidden_states, out.attentions)


class BertForSequenceClassification(BertPreTrainedModel):
    """`bert` and `classifier`, from the pooled [CLS] to the labels: one sentence, or a pair (figure 4, a and b)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = nn.Dropout(head_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.init_weights(self.classifier)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **more: Tensor | bool | None,
    ) -> BertHeadOutput:
        """input_ids [B, T] -> BertHeadOutput with logits [B, C]; arguments, `more` included, are BertModel's.

        `labels` [B] are class numbers and the loss is cross-entropy; with `num_labels` 1 they are numbers to be
        predicted (STS-B), and the loss is the mean of squared differences.
        """
        out = self.bert(input_ids, attention_mask, token_type_ids, **more)
        logits = self.classifier(self.dropout(out.pooler_output))  # [B, C]
        loss = None if labels is None else text_loss(logits, labels)
        return BertHeadOutput(loss, logits, out.hidden_states, out.attentions)


class BertForTokenClassification(BertPreTrainedModel):
    """`bert` without pooler and `classifier`, from each token to the labels: named entities (figure 4, d)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(head_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.init_weights(self.classifier)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **more: Tensor | bool | None,
    ) -> BertHeadOutput:
        """input_ids [B, T] -> BertHeadOutput with logits [B, T, C]; arguments, `more` included, are BertModel's.

        `labels` [B, T] are class numbers, -100 for tokens that have none (all but a word's first, section 5.3).
        """
        out = self.bert(input_ids, attention_mask, token_type_ids, **more)
        logits = self.classifier(self.dropout(out.last_hidden_state))  # [B, T, C]
        loss = None if labels is None else token_loss(logits, labels)
        return BertHeadOutput(loss, logits, out.hidden_states, out.attentions)


class BertForQuestionAnswering(BertPreTrainedModel):
    """`bert` without pooler and `qa_outputs`, two scores a token: the answer starts here, ends here (figure 4, c)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.init_weights(self.qa_outputs)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **more: Tensor | bool | None,
    ) -> BertSpanOutput:
        """input_ids [B, T] -> BertSpanOutput; arguments, `more` included, are BertModel's.

        `start_positions` and `end_positions` [B] are the places of an answer's first and last token. One that is
        T or more was cut off with the text's end, and does not count. The loss is the mean of both, half the sum
        in section 4.2.
        """
        out = self.bert(input_ids, attention_mask, token_type_ids, **more)
        start, end = self.qa_outputs(out.last_hidden_state).unbind(dim=-1)  # [B, T] each
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = (position_loss(start, start_positions) + position_loss(end, end_positions)) / 2
        return BertSpanOutput(loss, start, end, out.hidden_states, out.attentions)
