# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 4. BERT by numbers
#
# In this lab you build BERT (Devlin et al., 2018, [arXiv:1810.04805](https://arxiv.org/abs/1810.04805)): first the
# model, counting its parameters as you go, then the two tasks it is pre-trained with, then the heads with which it is
# put to use. At the end your own model learns to tell Russian sentences that agree from those that don't. Sections,
# figures and tables below are that paper's.
#
# | exercise | what you write | points |
# |---|---|---|
# | 1 | three embeddings in one | 10 |
# | 2 | counting: from 590,592 to 109,482,240 | 8 |
# | 3 | the layer | 14 |
# | 4 | the encoder, and which layers to use as features | 8 |
# | 5 | the pooler, and the whole model | 6 |
# | 6 | masking: 80 %, 10 %, 10 % | 14 |
# | 7 | the head that fills in blanks, and its loss | 12 |
# | 8 | next-sentence pairs | 8 |
# | 9 | heads for tokens and spans | 12 |
# | 10 | freeze or fine-tune, Matthews correlation | 8 |
#
# **How to work.** Replace each `raise NotImplementedError()` with your code; its docstring says exactly what is
# wanted. Keep names and parameters as they are. Run the test cell below an exercise: it says `passed`, or what was
# expected and what was found, and often *which* mistake it looks like. **Validate** runs all of them at once, in a
# fresh kernel. Graders also run further checks, on fresh numbers. Add cells of your own wherever you like.
#
# What you built in lab 3 comes from `lecturekit` here: `attention`, `split_heads` and `merge_heads`. So do small
# helpers that refuse bad input, such as `check_input` and `check_ids`: `help(check_ids)` says what each does.
# PyTorch's `nn.Transformer` and its layers, and `nn.MultiheadAttention`, earn nothing; the bodies that this lab asks
# for are missing from the graders' copy of `lecturekit`.
#
# **Shapes.** B batch, T length, H heads, D width, V vocabulary, L layers, C labels. Numbers of tokens are *ids*.

# %% cage=true
lacks = ["lecturekit.models.bert:BertForPreTraining"]
forbids = {"layer": ["torch.nn.MultiheadAttention"], "*": ["torch.nn.Transformer*"]}

# %% locked="setup"
# %load_ext lecturekit.checks
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Generic, NamedTuple

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from lecturekit import checks as check
from lecturekit.data import agreement_sentences
from lecturekit.layers import (
    activation,
    attention,
    check_ids,
    check_input,
    key_mask,
    merge_heads,
    split_heads,
    text_loss,
)
from lecturekit.models.bert import (
    BertConfig,
    BertHeadOutput,
    BertModelOutput,
    BertPreTrainedModel,
    BertSpanOutput,
    head_dropout,
)
from lecturekit.objectives import IGNORED, Sentence, check_rate, check_tokens

# %% [markdown]
# ## 1. Three embeddings in one (10 points)
#
# BERT knows three things about a token before it reads the others: which one it is, at which place it stands, and
# whether it belongs to the first sentence or the second. Each of the three has a table of learnt vectors, and the
# vectors are added (section 3 and figure 2):
#
# $$x_t = \mathrm{LayerNorm}\big(E^{\text{word}}_{\text{ids}_t} + E^{\text{position}}_t + E^{\text{type}}_{s_t}\big)$$
#
# ```
# tokens        [CLS]  Я  устал  [SEP]  Пойду  пос  ##плю  [SEP]
# positions       0    1    2      3      4     5     6      7
# types           0    0    0      0      1     1     1      1
# ```
#
# Unlike lab 3's sines, positions are learnt too, so there are only as many as the table has rows, 512. A text that is
# longer, or an id that no table has, is refused with a ValueError: `check_input` and `check_ids` do that.

# %% solution="lecturekit.models.bert:BertEmbeddings" hide="forward"

# %% [markdown]
# **By hand**, with $D = 4$. Token 2 has the word vector $(1, 0, 0, 2)$, position 0 is $(0, 1, 0, 2)$ and type 0 is
# $(0, 0, 1, 1)$. Their sum $(1, 1, 1, 5)$ has mean 2 and variance 3, so $x_0 = (-1, -1, -1, 3) / \sqrt 3$. Token 5
# with $(3, 0, 0, 0)$ at position 1, $(0, 1, 1, 1)$, of type 1, $(0, 0, 2, 0)$, gives $(3, 1, 3, 1)$ and so
# $x_1 = (1, -1, 1, -1)$.

# %% test="embeddings:values" points=4
sizes = {"vocab_size": 6, "hidden_size": 4, "num_attention_heads": 2, "max_position_embeddings": 3}
embeddings = check.new(BertEmbeddings, BertConfig(**sizes))
check.params(embeddings, (6 + 3 + 2) * 4 + 2 * 4)
words = torch.tensor([[0.0, 0, 0, 0], [9, 9, 0, 0], [1, 0, 0, 2], [9, 0, 9, 0], [0, 9, 0, 9], [3, 0, 0, 0]])
tables = {
    "word_embeddings.weight": words,
    "position_embeddings.weight": torch.tensor([[0.0, 1, 0, 2], [0, 1, 1, 1], [7, 0, 0, 0]]),
    "token_type_embeddings.weight": torch.tensor([[0.0, 0, 1, 1], [0, 0, 2, 0]]),
    "LayerNorm.weight": torch.ones(4),
    "LayerNorm.bias": torch.zeros(4),
}
check.fill(embeddings, tables)
x = embeddings(torch.tensor([[2, 5]]), torch.tensor([[0, 1]]))
check.shape(x, 1, 2, 4)
check.close(x[0, 0], torch.tensor([-1.0, -1, -1, 3]) / math.sqrt(3), why="token 2 in the example above")
check.close(x[0, 1], torch.tensor([1.0, -1, 1, -1]), why="token 5 in the example above")
### BEGIN HIDDEN TESTS
embeddings = check.new(BertEmbeddings, BertConfig(**(sizes | {"vocab_size": 20, "max_position_embeddings": 9})))
w = check.fill(embeddings)
ids, types = torch.randint(0, 20, (3, 7)), torch.randint(0, 2, (3, 7))
total = torch.nn.functional.embedding(ids, w["word_embeddings.weight"])
total = total + torch.nn.functional.embedding(types, w["token_type_embeddings.weight"])
total = total + w["position_embeddings.weight"][:7]
expected = torch.nn.functional.layer_norm(total, (4,), w["LayerNorm.weight"], w["LayerNorm.bias"], 1e-12)
check.close(embeddings(ids, types), expected, why="the norm of the sum of all three")
### END HIDDEN TESTS

# %% test="embeddings:defaults" points=3
config = BertConfig(vocab_size=20, hidden_size=4, num_attention_heads=2, max_position_embeddings=9)
embeddings = check.new(BertEmbeddings, config)
check.fill(embeddings)
ids = torch.tensor([[2, 5, 7, 3], [2, 9, 3, 0], [2, 3, 0, 0]])
x = embeddings(ids)
check.close(x, embeddings(ids, torch.zeros(3, 4).long()), why="without types, all is the first sentence")
counted = torch.tensor([[0, 1, 2, 3]])
check.close(x, embeddings(ids, None, counted), why="without positions they count from 0, padding included")
turned = embeddings(ids, None, counted.flip(-1)).flip(1)
check.close(turned, embeddings(ids.flip(-1)), why="positions that are given count")
### BEGIN HIDDEN TESTS
positions = torch.randint(0, 9, (3, 4))
each = torch.cat([embeddings(ids, None, positions[row])[row : row + 1] for row in range(3)])
check.close(embeddings(ids, None, positions), each, why="positions of shape [B, T]")
### END HIDDEN TESTS

# %% test="embeddings:input" points=3
config = BertConfig(vocab_size=20, hidden_size=4, num_attention_heads=2, max_position_embeddings=5)
embeddings = check.new(BertEmbeddings, config)
check.fill(embeddings)
ids, types = torch.tensor([[2, 7, 7, 3, 0]]), torch.tensor([[0, 0, 1, 1, 0]])
check.pure(embeddings, ids, types)
gradients = check.grads(embeddings, ids, types, weight=torch.randn(1, 5, 4))
reached = (gradients["word_embeddings.weight"].abs().sum(-1) > 1e-9).nonzero().flatten()
check.equal(reached, torch.tensor([2, 3, 7]), why="tokens of the text learn, padding does not")
check.raises(ValueError, embeddings, torch.tensor([[2, 20]]))
check.raises(ValueError, embeddings, torch.tensor([[2, 3]]), torch.tensor([[0, 2]]))
check.raises(ValueError, embeddings, torch.zeros(1, 6).long())
### BEGIN HIDDEN TESTS
check.raises(ValueError, embeddings, torch.tensor([[2, 3]]), None, torch.tensor([[0, 5]]), why="a position too far")
check.raises(ValueError, embeddings, torch.tensor([2, 3]), why="ids that are not [B, T]")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_embeddings()` in a cell of your own: how alike are the vectors of the sentence above, each
# with each (the cosine of their angle), before anything is learnt? And what do you see of the two sentences in
# `show_embeddings(types=5)`, where the vectors of the token types are five times as long?

# %%
ROW = ["[CLS]", "Я", "устал", "[SEP]", "Пойду", "пос", "##плю", "[SEP]"]


def show_embeddings(types: float = 1.0) -> None:
    """A heat map of the cosines between the embeddings of ROW; `types` stretches the vectors of the token types."""
    torch.manual_seed(0)
    embeddings = BertEmbeddings(BertConfig(vocab_size=10, hidden_size=64, num_attention_heads=2)).eval()
    ids = torch.tensor([[2, 5, 6, 3, 7, 8, 9, 3]])
    with torch.no_grad():
        embeddings.token_type_embeddings.weight.mul_(types)
        x = F.normalize(embeddings(ids, torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1]]))[0], dim=-1)  # [8, 64]
    _, axes = plt.subplots(figsize=(4, 4))
    axes.imshow((x @ x.T).numpy(), vmin=-1, vmax=1, cmap="RdBu")
    axes.set_xticks(range(8), ROW, rotation=90)
    axes.set_yticks(range(8), ROW)
    plt.show()


# %% [markdown]
# ## 2. Counting (8 points)
#
# BERT base is "110M" (section 3). Where do 110 million numbers sit? A linear map from $D$ to $D$ with its bias has
# $D^2 + D$ of them; for $D = 768$ that makes the number that turns up everywhere:
#
# $$768 \cdot 768 + 768 = 590\,592$$
#
# | part | made of | BERT base |
# |---|---|---|
# | one projection | $D^2 + D$ | 590,592 |
# | one layer | 4 projections, two maps $D \to F$ and $F \to D$ with biases, 2 LayerNorms | 7,087,872 |
# | embeddings | tables of $V = 30{,}522$, 512 and 2 rows, a LayerNorm | 23,837,184 |
# | encoder | 12 layers | 85,054,464 |
# | pooler | one projection | 590,592 |
# | in all | embeddings, encoder, pooler | **109,482,240** |
#
# The four projections are query, key, value and the one behind attention. $F$ is `intermediate_size`, 3072; a
# LayerNorm has a weight and a bias, $2D$ numbers. The paper rounds to 110M. (With the heads of both pre-training
# tasks it is 110,106,428: exercise 7 says where the rest comes from.)

# %% solution="lecturekit.models.bert:count_parameters" hide="body"

# %% test="count:base" points=4
counts = count_parameters(BertConfig())
base = {"projection": 590_592, "layer": 7_087_872, "embeddings": 23_837_184, "encoder": 85_054_464}
check.equal(counts, base | {"pooler": 590_592, "total": 109_482_240}, why="BERT base")
### BEGIN HIDDEN TESTS
width, inner, layers, rows, places = [int(torch.randint(low, low + 9, ())) for low in (2, 5, 2, 20, 6)]
sizes = {"hidden_size": 2 * width, "num_attention_heads": 2, "intermediate_size": inner, "num_hidden_layers": layers}
config = BertConfig(**sizes, vocab_size=rows, max_position_embeddings=places)
model = check.ours("lecturekit.models.bert:BertModel", config)
parts = {"projection": model.pooler, "layer": model.encoder.layer[0], "embeddings": model.embeddings}
parts = {**parts, "encoder": model.encoder, "pooler": model.pooler, "total": model}
expected = {name: sum(p.numel() for p in parts[name].parameters()) for name in parts}
check.equal(count_parameters(config), expected, why="as many as lecturekit's own model of another size has")
### END HIDDEN TESTS

# %% [markdown]
# And BERT large, which the paper calls "340M", and a configuration so small that you can count on paper: $D = 4$,
# $F = 6$, two layers, $V = 10$, 5 positions, 3 types. Its projection has $4 \cdot 4 + 4 = 20$ numbers, its embeddings
# $(10 + 5 + 3) \cdot 4 + 8 = 80$, its layer $4 \cdot 20 + (24 + 6) + (24 + 4) + 16 = 154$.

# %% test="count:others" points=4
large = BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
check.equal(count_parameters(large)["total"], 335_141_888, why="BERT large")
sizes = {"hidden_size": 4, "num_attention_heads": 2, "intermediate_size": 6, "num_hidden_layers": 2}
small = BertConfig(**sizes, vocab_size=10, max_position_embeddings=5, type_vocab_size=3)
expected = {"projection": 20, "layer": 154, "embeddings": 80, "encoder": 308, "pooler": 20, "total": 408}
check.equal(count_parameters(small), expected, why="the small one above")
### BEGIN HIDDEN TESTS
width, inner, layers, heads, vocabulary = [int(torch.randint(low, low + 20, ())) for low in (1, 5, 1, 1, 30)]
width = width * heads
sizes = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": inner}
config = BertConfig(**sizes, num_hidden_layers=layers, vocab_size=vocabulary)
layer = torch.nn.TransformerEncoderLayer(width, heads, inner, device="meta")
of_layer = sum(p.numel() for p in layer.parameters())
counts = count_parameters(config)
check.equal(counts["layer"], of_layer, why="as many as PyTorch's own layer of that size has")
total = (vocabulary + 514) * width + 2 * width + layers * of_layer + width * width + width
check.equal(counts["total"], total, why="embeddings, all layers and the pooler")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_counts()` draws where the parameters of six published sizes sit. In which are the embeddings
# more than half? What would a vocabulary of 120,000 tokens, as multilingual BERT has, do to the first?

# %%
SIZES = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
    "large": (24, 1024),
}


def show_counts(vocab_size: int = 30_522) -> None:
    """The shares of embeddings, encoder and pooler in BERTs of several sizes, and how many parameters each has."""
    _, axes = plt.subplots(figsize=(7, 3))
    for place, (layers, width) in enumerate(SIZES.values()):
        sizes = {"num_attention_heads": width // 64, "intermediate_size": 4 * width, "vocab_size": vocab_size}
        counts = count_parameters(BertConfig(num_hidden_layers=layers, hidden_size=width, **sizes))
        left = 0.0
        for part, color in [("embeddings", "C0"), ("encoder", "C1"), ("pooler", "C2")]:
            share = counts[part] / counts["total"]
            axes.barh(place, share, left=left, color=color, label=part if place == 0 else None)
            left += share
        axes.text(1.01, place, f"{counts['total']:,}", va="center")
    axes.set_yticks(range(len(SIZES)), list(SIZES))
    axes.set_xlabel("share of all parameters")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncol=3)
    plt.show()


# %% [markdown]
# ## 3. The layer (14 points)
#
# A layer is the encoder layer of lab 3, under BERT's own names: attention, then a feed-forward network, each followed
# by dropout, the residual sum and a LayerNorm (*post-norm*; section 3 calls it "almost identical to the original"):
#
# $$a = \mathrm{LayerNorm}(\mathrm{dense}(\mathrm{SelfAttention}(x)) + x), \qquad
# y = \mathrm{LayerNorm}(\mathrm{dense}(\mathrm{gelu}(\mathrm{dense}(a))) + a)$$
#
# The three `dense` are three different maps. New is GELU in place of ReLU (appendix A.2); `config.hidden_act` names
# it. `attention` needs queries, keys and values cut into heads, [B, H, T, D / H], and returns (context, weights); its
# dropout has to be 0 outside training. `help(attention)` tells the rest.

# %% solution="lecturekit.models.bert:BertSelfAttention" hide="forward"

# %% test="layer:attention" points=5
config = BertConfig(vocab_size=9, hidden_size=12, num_attention_heads=3, intermediate_size=20)
layer = check.new(BertSelfAttention, config)
w = check.fill(layer)
x = torch.randn(2, 5, 12)
mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2]).reshape(2, 1, 1, 5)
q, k, v = [x @ w[f"{name}.weight"].T + w[f"{name}.bias"] for name in ["query", "key", "value"]]
first_head = torch.nn.functional.scaled_dot_product_attention(q[..., :4], k[..., :4], v[..., :4], mask[:, 0])
context, weights = layer(x, mask, need_weights=True)
check.shape(context, 2, 5, 12)
check.shape(weights, 2, 3, 5, 5)
check.close(context[..., :4], first_head, why="the first head, by PyTorch's own attention")
check.close(weights[1, :, :, 3:], torch.zeros(3, 5, 2), why="nobody looks at what the mask hides")
check.equal(layer(x, mask)[1], None, why="nobody asked for weights")
big = check.new(BertSelfAttention, BertConfig())
check.params(big, 3 * 590_592)
### BEGIN HIDDEN TESTS
other = torch.rand(2, 1, 5, 5) > 0.4
other[..., 0] = True
q, k, v = [part.reshape(2, 5, 3, 4).transpose(1, 2) for part in (q, k, v)]
for chosen in (mask, other, None):
    heads = torch.nn.functional.scaled_dot_product_attention(q, k, v, chosen)
    context, weights = layer(x, chosen, need_weights=True)
    check.close(context, heads.transpose(1, 2).reshape(2, 5, 12), why="all heads side by side, by PyTorch's own")
    check.close(weights @ v, heads, why="the weights are those that made the context")
    check.close(layer(x, chosen)[0], context, why="the same context, whether weights are asked for or not")
check.pure(layer, x, mask)
### END HIDDEN TESTS

# %% solution="lecturekit.models.bert:BertSelfOutput" hide="forward"

# %% given="lecturekit.models.bert:BertAttention"

# %% solution="lecturekit.models.bert:BertIntermediate" hide="forward"

# %% solution="lecturekit.models.bert:BertOutput" hide="forward"

# %% [markdown]
# **By hand**, a BertSelfOutput with $D = 2$: let `dense` swap the two numbers and add 1. Then $x = (1, 4)$ becomes
# $(5, 2)$, and with the residual $(-3, 4)$ the sum is $(2, 6)$. Its mean is 4, its deviations are $\mp 2$, so with
# LayerNorm's weight $(1, 10)$ and bias $(0, 1)$ the result is $(-1, 11)$.

# %% test="layer:residuals" points=4
config = BertConfig(vocab_size=9, hidden_size=2, num_attention_heads=1, intermediate_size=3)
maps = {"dense.weight": torch.tensor([[0.0, 1], [1, 0]]), "dense.bias": torch.tensor([1.0, 1])}
norm = {"LayerNorm.weight": torch.tensor([1.0, 10]), "LayerNorm.bias": torch.tensor([0.0, 1])}
output = check.new(BertSelfOutput, config)
check.fill(output, {**maps, **norm})
x, residual = torch.tensor([[[1.0, 4]]]), torch.tensor([[[-3.0, 4]]])
check.close(output(x, residual), torch.tensor([[[-1.0, 11]]]), why="the example above")
narrow = check.new(BertOutput, config)
maps = {"dense.weight": torch.tensor([[0.0, 1, 5], [1, 0, 0]]), "dense.bias": torch.tensor([1.0, 1])}
check.fill(narrow, {**maps, **norm})
check.close(narrow(torch.tensor([[[1.0, 4, 0]]]), residual), torch.tensor([[[-1.0, 11]]]), why="BertOutput, likewise")
wide = check.new(BertIntermediate, config)
check.fill(wide, {"dense.weight": torch.tensor([[1.0, 0], [0, 1], [1, 1]]), "dense.bias": torch.zeros(3)})
gelu = torch.tensor([0.8413447, -0.1586553, 0.0])  # x times the share of a normal distribution that lies below x
check.close(wide(torch.tensor([[[1.0, -1]]]))[0, 0], gelu, why="gelu of 1, -1 and 0")
### BEGIN HIDDEN TESTS
config = BertConfig(vocab_size=9, hidden_size=6, num_attention_heads=2, intermediate_size=10)
wide, narrow = check.new(BertIntermediate, config), check.new(BertOutput, config)
w, n = check.fill(wide), check.fill(narrow)
x, residual = torch.randn(2, 3, 6), torch.randn(2, 3, 6)
inner = torch.nn.functional.gelu(x @ w["dense.weight"].T + w["dense.bias"])
check.close(wide(x), inner, why="BertIntermediate: the projection, then gelu")
total = inner @ n["dense.weight"].T + n["dense.bias"] + residual
expected = torch.nn.functional.layer_norm(total, (6,), n["LayerNorm.weight"], n["LayerNorm.bias"], 1e-12)
check.close(narrow(inner, residual), expected, why="BertOutput: the projection, the residual sum, then the norm")
check.pure(narrow, inner, residual)
relu = check.new(BertIntermediate, BertConfig(hidden_size=6, num_attention_heads=2, hidden_act="relu"))
w = check.fill(relu)
check.close(relu(x), torch.relu(x @ w["dense.weight"].T + w["dense.bias"]), why="with hidden_act='relu'")
### END HIDDEN TESTS

# %% solution="lecturekit.models.bert:BertLayer" hide="forward"

# %% test="layer:whole" points=5
big = check.new(BertLayer, BertConfig())
check.params(big, 7_087_872)
config = BertConfig(vocab_size=9, hidden_size=8, num_attention_heads=2, intermediate_size=16)
layer = check.new(BertLayer, config)
w = check.fill(layer)
x = torch.randn(2, 5, 8)
mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2]).reshape(2, 1, 1, 5)
attended, expected = layer.attention(x, mask, True)
y, weights = layer(x, mask, True)
check.close(y, layer.output(layer.intermediate(attended), attended), why="your own pieces, one after the other")
check.close(weights, expected, why="the weights of its attention")
check.equal(layer(x, mask)[1], None, why="nobody asked for weights")
### BEGIN HIDDEN TESTS
attended, _ = layer.attention(x)
check.close(layer(x)[0], layer.output(layer.intermediate(attended), attended), why="without a mask")
inside = [f"attention.self.{name}" for name in ("query", "key", "value")]
names = {
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}
kinds = ("weight", "bias")
theirs = {f"{a}.{kind}": w[f"{b}.{kind}"] for a, b in names.items() for kind in kinds}
joined = {f"self_attn.in_proj_{kind}": torch.cat([w[f"{name}.{kind}"] for name in inside]) for kind in kinds}
settings = {"dropout": 0.0, "activation": "gelu", "layer_norm_eps": 1e-12, "batch_first": True}
twin = check.new(torch.nn.TransformerEncoderLayer, 8, 2, 16, **settings)
check.fill(twin, {**theirs, **joined})
expected = twin(x, src_key_padding_mask=~mask[:, 0, 0])
check.close(layer(x, mask)[0][0], expected[0], why="PyTorch's own layer with the same weights")
check.close(layer(x, mask)[0][1, :3], expected[1, :3], why="the same, beside padding")
twin, weight = check.ours("lecturekit.models.bert:BertLayer", config), torch.randn(2, 5, 8)
check.fill(twin)
why = "the gradients of every parameter, and of x"
check.whole(layer, twin, x, mask, after=[], pick=0, gradients=True, weight=weight, why=why)
check.pure(layer, x, mask)
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_layer()`: whom the eight tokens of the first exercise look at in an untrained layer, head by
# head. Why are the weights so even? What does `show_layer(8)`, which multiplies queries and keys, change?


# %%
def show_layer(factor: float = 1.0) -> None:
    """The attention weights of an untrained BertLayer on random vectors for ROW, a picture for each of three heads."""
    torch.manual_seed(0)
    layer = BertLayer(BertConfig(vocab_size=10, hidden_size=48, num_attention_heads=3, intermediate_size=96)).eval()
    with torch.no_grad():
        layer.attention.self.query.weight.mul_(factor)
        layer.attention.self.key.weight.mul_(factor)
        _, weights = layer(torch.randn(1, len(ROW), 48), need_weights=True)
    _, axes = plt.subplots(1, 3, figsize=(10, 3.5), sharey=True)
    for head, axis in enumerate(axes):
        axis.imshow(weights[0, head].numpy(), vmin=0, vmax=1, cmap="Blues")
        axis.set_title(f"head {head}")
        axis.set_xticks(range(len(ROW)), ROW, rotation=90)
    axes[0].set_yticks(range(len(ROW)), ROW)
    plt.show()


# %% [markdown]
# ## 4. The encoder, and which layers to use as features (8 points)
#
# The encoder is $L$ layers, one after the other. Two questions about it come up again and again: what did each layer
# say (its *hidden states*), and where did each layer look (its weights). Mind the count: there are $L + 1$ hidden
# states, because the first is what goes *into* the first layer. So layer $l$ has said hidden state number $l$.

# %% solution="lecturekit.models.bert:BertEncoder" hide="forward"

# %% [markdown]
# One may leave BERT as it is and hand its hidden states to another model as *features*. Which ones? The paper tried
# it on named entities (section 5.3, table 7; F1 on the development set):
#
# | embeddings | last | second-to-last | sum of last four | concatenation of last four | sum of all | fine-tuning |
# |---|---|---|---|---|---|---|
# | 91.0 | 94.9 | 95.6 | 95.9 | 96.1 | 95.5 | 96.4 |

# %% solution="lecturekit.transfer:token_features" hide="body"

# %% [markdown]
# **By hand.** Five layers, and every number of hidden state $k$ is $2^k$: the embeddings say 1, the layers 2, 4, 8,
# 16 and 32. The sum of the last four is $4 + 8 + 16 + 32 = 60$, that of all layers 62.

# %% test="features:which" points=4
hidden = [torch.full((1, 2, 3), 2.0**k) for k in range(6)]
by_hand = {"embeddings": 1, "second-to-last": 16, "last": 32, "sum-last-four": 60, "sum-all": 62}
for how in by_hand:
    check.close(token_features(hidden, how), torch.full((1, 2, 3), float(by_hand[how])), why=how)
side_by_side = torch.tensor([4.0] * 3 + [8.0] * 3 + [16.0] * 3 + [32.0] * 3)
check.close(token_features(hidden, "concat-last-four"), side_by_side.expand(1, 2, 12), why="concat-last-four")
check.close(token_features(hidden), hidden[5], why="the last layer, if nothing is said")
check.raises(ValueError, token_features, hidden, "first")
check.raises(ValueError, token_features, hidden[:4], "sum-last-four")
### BEGIN HIDDEN TESTS
hidden = torch.randn(8, 2, 3, 4).unbind()
last_four = hidden[4] + hidden[5] + hidden[6] + hidden[7]
check.close(token_features(hidden, "sum-last-four"), last_four, why="sum-last-four of seven layers")
check.close(token_features(hidden, "sum-all"), torch.stack(hidden[1:]).sum(0), why="sum-all, without the embeddings")
check.close(token_features(hidden, "concat-last-four")[..., 4:8], hidden[5], why="concat-last-four, the second part")
check.close(token_features(hidden[:5], "sum-last-four"), token_features(hidden[:5], "sum-all"), why="four layers")
check.pure(token_features, list(hidden), "sum-all")
### END HIDDEN TESTS

# %% test="features:encoder" points=4
sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 3}
config = BertConfig(vocab_size=9, **sizes)
encoder = check.new(BertEncoder, config)
check.fill(encoder)
x = torch.randn(2, 5, 8)
mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2]).reshape(2, 1, 1, 5)
one, first = encoder.layer[0](x, mask, True)
two, second = encoder.layer[1](one, mask, True)
three, third = encoder.layer[2](two, mask, True)
out, hidden, weights = encoder(x, mask, True, True)
check.close(out, three, why="layer after layer, each with the mask")
check.close(hidden, [x, one, two, three], why="what goes into the first layer, then what each layer says")
check.close(weights, [first, second, third], why="the weights of each layer")
check.equal(encoder(x, mask)[1:], (None, None), why="neither hidden states nor weights unless they are asked for")
### BEGIN HIDDEN TESTS
_, hidden, weights = encoder(x, mask, need_hidden=True)
check.close(hidden, [x, one, two, three], why="hidden states alone")
check.equal(weights, None, why="nobody asked for weights")
_, hidden, weights = encoder(x, None, need_weights=True)
check.equal(hidden, None, why="nobody asked for hidden states")
check.close(weights[1], encoder.layer[1](encoder.layer[0](x)[0], None, True)[1], why="without a mask")
check.pure(encoder, x, mask)
twin, weight = check.ours("lecturekit.models.bert:BertEncoder", config), torch.randn(2, 5, 8)
check.fill(twin)
check.whole(encoder, twin, x, mask, after=["layer"], pick=0)
check.whole(encoder, twin, x, mask, True, True, after=["layer"], pick=2)
check.whole(encoder, twin, x, mask, after=["layer"], pick=0, gradients=True, weight=weight)
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_hidden()`: how far does each layer of an untrained encoder turn the vectors of eight tokens
# away from what went in (the cosine; 1 is not at all)? Which part of a layer keeps them from forgetting at once?


# %%
def show_hidden(layers: int = 12) -> None:
    """The cosine between each token's first hidden state and each later one, a line for each token of ROW."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 192, "num_hidden_layers": layers}
    encoder = BertEncoder(BertConfig(vocab_size=10, **sizes)).eval()
    with torch.no_grad():
        _, hidden, _ = encoder(F.layer_norm(torch.randn(1, len(ROW), 48), (48,)), need_hidden=True)
    _, axes = plt.subplots(figsize=(6, 3))
    for token, name in enumerate(ROW):
        axes.plot([F.cosine_similarity(x[0, token], hidden[0][0, token], dim=0).item() for x in hidden], label=name)
    axes.set_xlabel("hidden state (0: the embeddings)")
    axes.set_ylabel("cosine")
    axes.legend(fontsize="small")
    plt.show()


# %% [markdown]
# ## 5. The pooler, and the whole model (6 points)
#
# Every text begins with `[CLS]`, whose last hidden state is to stand for the whole text ("pooled"; section 3). One
# more projection and a tanh make a vector [B, D] of it, on which the classifiers of exercise 10 are built:
#
# $$\mathrm{pooled} = \tanh(W x_{\text{[CLS]}} + b)$$

# %% solution="lecturekit.models.bert:BertPooler" hide="forward"

# %% [markdown]
# And now all comes together. A tokenizer gives `attention_mask` [B, T], 1 for tokens and 0 for padding; `key_mask`
# makes of it the boolean [B, 1, 1, T] that your layers take.

# %% solution="lecturekit.models.bert:BertModel" hide="forward"

# %% [markdown]
# **By hand**, the pooler: $\tanh(\ln a) = (a^2 - 1) / (a^2 + 1)$. If `dense` changes nothing, $x_{\text{[CLS]}} =
# (\ln 2, -\ln 3)$ becomes $(\frac35, -\frac45)$.

# %% test="pooler:cls" points=3
pooler = check.new(BertPooler, BertConfig(hidden_size=2, num_attention_heads=1))
check.params(pooler, 6)
check.fill(pooler, {"dense.weight": torch.eye(2), "dense.bias": torch.zeros(2)})
x = torch.tensor([[[math.log(2), -math.log(3)], [5.0, 5], [1.0, -7]]])
check.close(pooler(x), torch.tensor([[3 / 5, -4 / 5]]), why="the example above")
### BEGIN HIDDEN TESTS
pooler = check.new(BertPooler, BertConfig(hidden_size=6, num_attention_heads=2))
w = check.fill(pooler)
x = torch.randn(3, 4, 6)
expected = torch.tanh(x[:, 0] @ w["dense.weight"].T + w["dense.bias"])
check.close(pooler(x), expected, why="the first token's projection and tanh, in three texts")
check.pure(pooler, x)
### END HIDDEN TESTS

# %% test="pooler:model" points=3
sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 2}
config = BertConfig(vocab_size=20, max_position_embeddings=10, **sizes)
model = check.new(BertModel, config)
check.params(model, (20 + 10 + 2) * 8 + 16 + 2 * (4 * 72 + 144 + 136 + 32) + 72)
check.fill(model)
ids, types = torch.tensor([[2, 5, 3, 6, 3], [2, 7, 3, 0, 0]]), torch.tensor([[0, 0, 0, 1, 1], [0] * 5])
real = (ids != 0).long()
last, pooled, hidden, weights = model(ids, real, types)
x = model.embeddings(ids, types)
expected = model.encoder(x, real.bool()[:, None, None, :], True, True)
check.close(last, expected[0], why="embeddings, then the encoder with the mask of padding")
check.close(pooled, model.pooler(last), why="the pooler reads what the encoder says last")
check.equal((hidden, weights), (None, None), why="nobody asked for hidden states or weights")
check.close(model(ids, real, types, output_hidden_states=True)[2], expected[1], why="output_hidden_states=True")
check.close(model(ids, real, types, output_attentions=True)[3], expected[2], why="output_attentions=True")
### BEGIN HIDDEN TESTS
check.close(model(ids, real.bool(), types)[0], last, why="a mask may be boolean too")
check.close(model(ids)[0], model.encoder(model.embeddings(ids))[0], why="without mask and types")
pooled = model.pooler(model.encoder(model.embeddings(ids))[0])
check.close(model(ids)[1], pooled, why="without mask and types, pooled")
positions = torch.tensor([[4, 3, 2, 1, 0]])
moved = model.encoder(model.embeddings(ids, types, positions), real.bool()[:, None, None, :])[0]
check.close(model(ids, real, types, positions)[0], moved, why="positions that are given")
bare = check.new(BertModel, config, add_pooling_layer=False)
check.equal(bare(ids)[1], None, why="without a pooler nothing is pooled")
check.raises(ValueError, model, ids, real[:, :3], why="an attention_mask that is shorter than the text")
check.pure(model, ids, real, types)
twin, pieces = check.ours("lecturekit.models.bert:BertModel", config), ["embeddings", "layer", "features"]
check.fill(twin)
ids, types, weight = torch.randint(5, 20, (3, 9)), torch.randint(0, 2, (3, 9)), torch.randn(3, 9, 8)
real = torch.arange(9) < torch.tensor([[9], [7], [4]])
check.whole(model, twin, ids, real, types, after=pieces, pick=0)
check.whole(model, twin, ids, real, types, after=pieces, pick=0, gradients=True, weight=weight)
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_pooled()` compares the pooled vectors of five texts that an untrained model reads, of which
# two are one text with and without padding. Which two must have cosine 1? Then try `show_pooled(masked=False)`.

# %%
TEXTS = ["Я устал", "Я устал + 2 [PAD]", "Я иду домой", "Пойду посплю", "I am tired"]


def show_pooled(masked: bool = True) -> None:
    """A heat map of the cosines between pooled vectors, less their mean, with the mask of padding or without."""
    torch.manual_seed(1)
    sizes = {"hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 192, "num_hidden_layers": 2}
    model = BertModel(BertConfig(vocab_size=20, initializer_range=0.2, **sizes)).eval()
    rows = [[2, 5, 6, 3], [2, 5, 6, 3, 0, 0], [2, 5, 7, 8, 3], [2, 9, 10, 3], [2, 11, 12, 13, 3]]
    with torch.no_grad():
        mask = [torch.tensor([row]) != 0 if masked else None for row in rows]
        pooled = torch.cat([model(torch.tensor([row]), m)[1] for row, m in zip(rows, mask, strict=True)])  # [5, D]
    pooled = F.normalize(pooled - pooled.mean(0), dim=-1)
    _, axes = plt.subplots(figsize=(4, 4))
    axes.imshow((pooled @ pooled.T).numpy(), vmin=-1, vmax=1, cmap="RdBu")
    for i, row in enumerate((pooled @ pooled.T).tolist()):
        for j, cosine in enumerate(row):
            axes.text(j, i, f"{cosine:.2f}", ha="center", va="center", color="white" if cosine > 0.7 else "black")
    axes.set_xticks(range(5), TEXTS, rotation=90)
    axes.set_yticks(range(5), TEXTS)
    plt.show()


# %% [markdown]
# ## 6. Masking: 80 %, 10 %, 10 % (14 points)
#
# BERT learns by filling in blanks (section 3.1, task 1). Of all ordinary tokens 15 % are *chosen*, and for these
# alone the model is asked which token stood there. What it sees in their places is
#
# | of the chosen | the model sees | and must say |
# |---|---|---|
# | 80 % | `[MASK]` | the token that was there |
# | 10 % | a random token | the token that was there |
# | 10 % | the token itself | the token that was there |
#
# Later tasks have no `[MASK]` in their texts; the two smaller shares keep the model from relying on it. Labels are
# -100 (`IGNORED`) wherever nothing is asked:
#
# ```
# ids       [CLS]  я   иду  домой  [SEP]  [PAD]
# inputs    [CLS]  я  [MASK] домой [SEP]  [PAD]
# labels    -100 -100  иду  -100   -100   -100
# ```
#
# Chance comes from a `torch.Generator` that you are given: pass it to every function that draws, as
# `generator=generator`, and one seed gives one batch. `check_tokens(ids, "[B, T]")` and `check_rate("rate", rate)`
# refuse what the docstring excludes.


# %% locked="draws"
def draws(seed: int) -> Generator:
    """A source of chance that begins anew at `seed`."""
    return Generator().manual_seed(seed)


# %% solution="lecturekit.objectives:mask_tokens" hide="body"

# %% [markdown]
# **By hand.** One number between 0 and 1 for each token is enough. Of 1,000 tokens those with a number below 0.15, some
# 150, are chosen; below 0.12 are 120 of them, 80 % of the chosen, and between 0.12 and 0.135 another 15. So the draws
# 0.06, 0.13, 0.14 and 0.6 mean: `[MASK]`, a random token, chosen but left as it is, not chosen.
#
# The tests count over many tokens and allow five standard deviations. Here `[PAD]` is 0, `[CLS]` 2, `[SEP]` 3 and
# `[MASK]` 4, and ordinary tokens are 5 and above.

# %% test="masking:labels" points=5
ids = torch.randint(5, 1000, (100, 60))
ids[:, 0], ids[:, 30], ids[:, 50:] = 2, 3, 0
special = [0, 2, 3, 4]
inputs, labels = check.call(mask_tokens, ids, 4, 1000, special, draws(1))
check.shape(inputs, 100, 60)
check.shape(labels, 100, 60)
check.dtype(inputs, torch.int64)
check.dtype(labels, torch.int64)
chosen = labels != -100
check.equal(labels[chosen], ids[chosen], why="a label is the token that was there")
check.equal(inputs[~chosen], ids[~chosen], why="what is not chosen stays as it was")
check.equal(int((chosen & (ids < 5)).sum()), 0, why="special tokens are never chosen")
check.rate(int(chosen.sum()), int((ids >= 5).sum()), 0.15, why="chosen, of all ordinary tokens")
check.pure(mask_tokens, ids, 4, 1000, special, draws(1))
### BEGIN HIDDEN TESTS
ids = torch.randint(0, 50, (300, 40))
seed = int(torch.randint(10**6, ()))
inputs, labels = check.call(mask_tokens, ids, 7, 50, [7, 11], draws(seed), rate=0.4)
chosen = labels != -100
check.equal(labels[chosen], ids[chosen], why="a label is the token that was there")
check.equal(inputs[~chosen], ids[~chosen], why="what is not chosen stays as it was")
ordinary = (ids != 7) & (ids != 11)
check.equal(int((chosen & ~ordinary).sum()), 0, why="special tokens are those that are named")
check.rate(int(chosen.sum()), int(ordinary.sum()), 0.4, why="another rate")
### END HIDDEN TESTS

# %% test="masking:shares" points=6
ids = torch.randint(5, 1000, (500, 400))
inputs, labels = check.call(mask_tokens, ids, 4, 1000, [0, 2, 3, 4], draws(2))
chosen = labels != -100
seen, true = inputs[chosen], ids[chosen]
masked, kept = seen == 4, seen == true
check.rate(int(masked.sum()), len(seen), 0.8 + 0.1 / 1000, why="[MASK], of the chosen")
check.rate(int(kept.sum()), len(seen), 0.1 + 0.1 / 1000, why="the token itself, of the chosen")
others = seen[~masked & ~kept]
check.rate(len(others), len(seen), 0.1 * 998 / 1000, why="another token, of the chosen")
check.rate(int((others < 500).sum()), len(others), 0.5, why="random tokens below 500, of a vocabulary of 1000")
### BEGIN HIDDEN TESTS
ids = torch.randint(5, 12, (500, 400))
seed = int(torch.randint(10**6, ()))
inputs, labels = check.call(mask_tokens, ids, 4, 12, [0, 2, 3, 4], draws(seed), rate=0.3)
chosen = labels != -100
seen, true = inputs[chosen], ids[chosen]
check.rate(int((seen == 4).sum()), len(seen), 0.8 + 0.1 / 12, why="any token may be drawn, [MASK] too")
check.rate(int((seen == true).sum()), len(seen), 0.1 + 0.1 / 12, why="any token may be drawn, the same too")
check.rate(int((seen == 0).sum()), len(seen), 0.1 / 12, why="any token may be drawn, [PAD] too")
### END HIDDEN TESTS

# %% test="masking:chance" points=3
ids = torch.randint(5, 1000, (2000, 20))
inputs, labels = check.call(mask_tokens, ids, 4, 1000, [0, 2, 3, 4], draws(3))
empty = (labels == -100).all(1)
check.rate(int(empty.sum()), 2000, 0.85**20, why="rows of 20 in which none is chosen: each token is drawn on its own")
again = check.call(mask_tokens, ids, 4, 1000, [0, 2, 3, 4], draws(3))
check.equal((again[0], again[1]), (inputs, labels), why="one seed, one batch")
other = check.call(mask_tokens, ids, 4, 1000, [0, 2, 3, 4], draws(4))[1]
both = (labels != -100) & (other != -100)
check.rate(int(both.sum()), 40_000, 0.15**2, why="chosen under two seeds alike")
check.raises(ValueError, mask_tokens, ids, 4, 1000, [0, 2, 3, 4], draws(3), rate=1.5)
check.raises(ValueError, mask_tokens, ids, 1000, 1000, [0, 2, 3, 4], draws(3))
check.raises(TypeError, mask_tokens, ids.float(), 4, 1000, [0, 2, 3, 4], draws(3))
### BEGIN HIDDEN TESTS
check.raises(ValueError, mask_tokens, ids[0], 4, 1000, [0, 2, 3, 4], draws(3), why="ids that are not [B, T]")
check.raises(ValueError, mask_tokens, ids, 4, 1000, [0, 2, 3, 4], draws(3), rate=0.0, why="a rate of 0")
columns = (labels != -100).sum(0)
check.rate(int(columns[0]), 2000, 0.15, why="the first column is chosen as often as others")
check.rate(int(columns[19]), 2000, 0.15, why="the last column is chosen as often as others")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_masks()`: one Russian and one English sentence, masked ten times each. Find a token that was
# drawn at random and one that is chosen but stays (it is framed). How often is a sentence left as it was?

# %%
SENTENCES = {
    "ru": ["Старая", "книга", "моей", "сестры", "лежала", "в", "саду", "у", "двери", "."],
    "en": ["The", "old", "key", "behind", "the", "chairs", "falls", "in", "the", "garden", "."],
}


def show_masks(rate: float = 0.15, rows: int = 10) -> None:
    """What a model sees of SENTENCES, a row for each time; chosen tokens are framed, changed ones coloured."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SENTENCES["ru"], *SENTENCES["en"]]
    number = {word: i for i, word in enumerate(words)}
    _, every = plt.subplots(2, 1, figsize=(10, 0.6 * rows))
    for seed, axes, sentence in zip((0, 1), every, SENTENCES.values(), strict=True):
        ids = torch.tensor([[number[word] for word in ["[CLS]", *sentence, "[SEP]"]]]).repeat(rows, 1)
        inputs, labels = mask_tokens(ids, 4, len(words), [0, 2, 3, 4], draws(seed), rate)
        for row in range(rows):
            for place, token in enumerate(inputs[row].tolist()):
                color = "orange" if token == 4 else "red" if token != ids[row, place] else "black"
                box = {"edgecolor": "grey" if labels[row, place] != IGNORED else "none", "facecolor": "none", "pad": 2}
                axes.text(place, -row, words[token], color=color, bbox=box, ha="center", va="center", fontsize=8)
        axes.set_xlim(-0.5, ids.size(1) - 0.5)
        axes.set_ylim(0.5 - rows, 0.5)
        axes.axis("off")
    plt.show()


# %% [markdown]
# ## 7. The head that fills in blanks, and its loss (12 points)
#
# Before a hidden state is compared with the vocabulary it passes once more through a projection, GELU and LayerNorm,
# the *transform*. Then `decoder` gives each token of the vocabulary a logit. The decoder's weight *is* the table of
# word embeddings, one Parameter under two names (*tied*), so that only its bias is new (as in the authors' code; the
# paper does not mention it):
#
# $$\mathrm{logits} = \mathrm{LayerNorm}(\mathrm{gelu}(W x + b))\; {E^{\text{word}}}^\top + c$$
#
# So BERT base with this head has $108{,}891{,}648$ (no pooler) $+\ 592{,}128 + 30{,}522 = 109{,}514{,}298$
# parameters. With the pooler and the head of exercise 8's task, another 590,592 and 1,538, it has the 110,106,428 of
# exercise 2. Not tied, there would be $30{,}522 \cdot 768$ more.

# %% solution="lecturekit.models.bert:BertPredictionHeadTransform" hide="forward"

# %% given="lecturekit.models.bert:BertLMPredictionHead"

# %% given="lecturekit.models.bert:BertOnlyMLMHead"

# %% test="blanks:transform" points=3
transform = check.new(BertPredictionHeadTransform, BertConfig(hidden_size=6, num_attention_heads=2))
check.params(transform, 6 * 6 + 6 + 12)
w = check.fill(transform)
x = torch.randn(2, 3, 6)
inner = torch.nn.functional.gelu(x @ w["dense.weight"].T + w["dense.bias"])
expected = torch.nn.functional.layer_norm(inner, (6,), w["LayerNorm.weight"], w["LayerNorm.bias"], 1e-12)
check.close(transform(x), expected, why="projection, gelu, LayerNorm")
### BEGIN HIDDEN TESTS
transform = check.new(BertPredictionHeadTransform, BertConfig(hidden_size=6, num_attention_heads=2, hidden_act="relu"))
check.fill(transform)
inner = torch.relu(x @ w["dense.weight"].T + w["dense.bias"])
expected = torch.nn.functional.layer_norm(inner, (6,), w["LayerNorm.weight"], w["LayerNorm.bias"], 1e-12)
check.close(transform(x), expected, why="with hidden_act='relu'")
check.pure(transform, x)
### END HIDDEN TESTS

# %% [markdown]
# The loss is the negative log-likelihood of the labels, the mean over those that are not -100, of the whole batch
# (`F.cross_entropy` is welcome):
#
# $$L = -\frac1N \sum_{y_t \ne -100} \log \mathrm{softmax}(\mathrm{logits}_t)_{y_t}$$
#
# **By hand.** Two tokens were chosen out of six, and the right ones got the probabilities $\frac12$ and $\frac18$:
# $L = \frac{1 + 3}{2} \ln 2 = 2 \ln 2$.

# %% solution="lecturekit.layers:token_loss" hide="body"

# %% test="blanks:loss" points=4
labels = torch.tensor([[-100, 3, -100], [-100, -100, 1]])
likely = torch.tensor([[1 / 5, 1 / 2, 1 / 9], [1 / 3, 1 / 7, 1 / 8]])
places = labels.clamp(min=0)[..., None]
probabilities = ((1 - likely) / 4)[..., None].expand(2, 3, 5).scatter(-1, places, likely[..., None])
loss = token_loss(probabilities.log(), labels)
check.shape(loss)
check.close(loss, 2 * math.log(2), why="the example above")
check.close(
    token_loss(probabilities.log() - 5, labels), 2 * math.log(2), why="5 off every logit changes no probability"
)
logits = torch.randn(2, 4, 7)
labels = torch.tensor([[-100, 6, 0, -100], [-100, -100, 2, -100]])
gradient = check.grads(token_loss, logits, labels)["input0"]
one_hot = torch.nn.functional.one_hot(labels.clamp(min=0), 7)
expected = (logits.softmax(-1) - one_hot) * (labels >= 0)[..., None] / 3
check.close(gradient, expected, why="tokens that are not asked for teach nothing")
### BEGIN HIDDEN TESTS
logits, labels = torch.randn(3, 6, 9) * 3, torch.randint(0, 9, (3, 6))
labels[0, 1:], labels[2] = -100, -100
picked = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
check.close(token_loss(logits, labels), -picked[labels >= 0].mean(), why="the mean over the batch, not over rows")
check.pure(token_loss, logits, labels)
### END HIDDEN TESTS

# %% solution="lecturekit.models.bert:BertForMaskedLM" hide="tie_weights,forward"

# %% test="blanks:model" points=5
sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 1}
config = BertConfig(vocab_size=20, max_position_embeddings=12, **sizes)
model = check.new(BertForMaskedLM, config)
check.shared(model, "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight")
check.params(model, (20 + 12 + 2) * 8 + 16 + 600 + (64 + 8 + 16) + 20)
check.fill(model)
ids = torch.tensor([[2, 5, 4, 9, 3], [2, 4, 8, 3, 0]])
types, real = torch.tensor([[0, 0, 0, 1, 1], [0] * 5]), ids != 0
labels = torch.tensor([[-100, -100, 7, -100, -100], [-100, 6, 8, -100, -100]])
loss, logits, _, _ = model(ids, real, types, labels)
check.close(logits, model.cls(model.bert(ids, real, types)[0]), why="the head reads what BERT says last")
check.close(loss, token_loss(logits, labels), why="your own loss")
check.equal(model(ids, real, types)[0], None, why="without labels there is no loss")
### BEGIN HIDDEN TESTS
hidden = model.bert(ids, real, types, output_hidden_states=True)[2]
check.close(model(ids, real, types, output_hidden_states=True)[2], hidden, why="hidden states, if asked for")
check.shared(model, "cls.predictions.bias", "cls.predictions.decoder.bias")
gradients = check.grads(model, ids, real, types, labels, pick=0)
silent = [name for name in gradients if not torch.is_tensor(gradients[name]) or not gradients[name].any()]
silent = [name for name in silent if name.startswith("cls.")]
check.equal(silent, [], why="a gradient reaches every parameter of the head")
check.pure(model, ids, real, types, labels)
twin, pieces = check.ours("lecturekit.models.bert:BertForMaskedLM", config), ["embeddings", "layer", "features"]
check.fill(twin)
ids, types = torch.randint(5, 20, (3, 9)), torch.randint(0, 2, (3, 9))
real = torch.arange(9) < torch.tensor([[9], [7], [4]])
why = "your pieces are right, so the body of the model must be what lecturekit's own is"
check.whole(model.bert, twin.bert, ids, real, types, after=[*pieces, "pooler"], pick=0, why=why)
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_blank()` fills in the blank of «Книга лежала в [MASK]» with an untrained model: the
# probabilities of eight words, beside a dashed line at 1/8. What does such a model pay per blank, and what would BERT
# base pay, untrained?


# %%
def show_blank(std: float = 0.02) -> None:
    """The probabilities that an untrained model, its weights drawn with `std`, gives to eight words in the blank."""
    words = ["саду", "комнате", "книга", "лежала", "в", "стол", "упал", "иду"]
    sizes = {"hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 96, "num_hidden_layers": 2}
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(vocab_size=13, initializer_range=std, **sizes)).eval()
    with torch.no_grad():
        logits = model(torch.tensor([[2, 7, 8, 9, 4, 3]]))[1][0, 4, 5:]  # of [MASK], [8]
    _, axes = plt.subplots(figsize=(6, 3))
    axes.bar(words, logits.softmax(-1).tolist())
    axes.axhline(1 / len(words), color="grey", linestyle="--")
    axes.set_ylabel("probability")
    plt.show()


# %% [markdown]
# ## 8. Next-sentence pairs (8 points)
#
# The second task (section 3.1, task 2): does the second sentence follow the first? Half of the pairs are true
# neighbours, label 0 (`IsNext`); in the other half the second sentence is drawn from *another* document, label 1
# (`NotNext`). Mind the labels: 0 is "follows", in BERT's code and in its checkpoints. The classifier for it reads the
# pooled `[CLS]`. (RoBERTa later did as well without this task, section 4.2 there.)
#
# A document is a list of sentences; the last one has no neighbour and begins no pair.
#
# ```
# ru-0: Я устал. | Пойду посплю. | Спокойной ночи.      (Я устал., Пойду посплю., 0)
# ru-1: Кот спит. | Ему снится сон.                     (Пойду посплю., Кот спит., 1)
#                                                       (Кот спит., Ему снится сон., 0)
# ```
#
# `draw_below` draws one number, `pairwise(document)` gives each sentence with its successor.

# %% given="lecturekit.objectives:SentencePair"

# %% given="lecturekit.objectives:draw_below"

# %% solution="lecturekit.objectives:next_sentence_pairs" hide="body"

# %% [markdown]
# In the tests a sentence is a number: sentence 7 of document 3 is 307.

# %% test="pairs:what" points=5
documents = [[100 * d + s for s in range(length)] for d, length in enumerate([40, 1, 90, 60])]
pairs = check.call(next_sentence_pairs, documents, draws(1))
check.dtype(pairs, list)
firsts = [s for document in documents for s in document[:-1]]
check.equal([pair[0] for pair in pairs], firsts, why="every sentence but a document's last begins one pair, in order")
true = [pair for pair in pairs if pair[2] < 1]
strange = [pair for pair in pairs if pair[2] > 0]
check.equal([pair[1] for pair in true], [pair[0] + 1 for pair in true], why="label 0: the second follows the first")
own = [pair for pair in strange if pair[0] // 100 == pair[1] // 100]
check.equal(own, [], why="label 1: the second comes from another document")
known = {s for document in documents for s in document}
check.equal([pair for pair in pairs if pair[1] not in known], [], why="all sentences are those of the documents")
check.equal(sorted({pair[2] for pair in pairs}), [0, 1], why="labels are 0 and 1")
words = check.call(next_sentence_pairs, [["Я устал.", "Пойду посплю."], ["Cats sleep."]], draws(0))
check.equal(words[0][0], "Я устал.", why="a sentence may be a text")
check.raises(ValueError, next_sentence_pairs, [["Я устал.", "Пойду посплю."]], draws(0))
check.raises(ValueError, next_sentence_pairs, [["Я устал.", "Пойду посплю."], []], draws(0))
### BEGIN HIDDEN TESTS
seed = int(torch.randint(10**6, ()))
documents = [[100 * d + s for s in range(2 + 5 * d)] for d in range(8)]
pairs = check.call(next_sentence_pairs, documents, draws(seed))
firsts = [s for document in documents for s in document[:-1]]
check.equal([pair[0] for pair in pairs], firsts, why="every sentence but a document's last begins one pair, in order")
false = [pair for pair in pairs if (pair[1] == pair[0] + 1) != (pair[2] < 1)]
check.equal(false, [], why="label 0 where the second follows the first, and nowhere else")
check.pure(next_sentence_pairs, documents, draws(seed))
### END HIDDEN TESTS

# %% test="pairs:chance" points=3
documents = [[10_000 * d + s for s in range(length)] for d, length in enumerate([2500, 2, 2, 50])]
pairs = check.call(next_sentence_pairs, documents, draws(2))
check.dtype(pairs, list)
check.rate(len([pair for pair in pairs if pair[2] < 1]), len(pairs), 0.5, why="pairs that are true")
strangers = [pair[1] for pair in pairs if pair[2] > 0 and pair[0] < 10_000]
check.rate(len([s for s in strangers if s // 10_000 == 1]), len(strangers), 1 / 3, why="each other document alike")
check.rate(len([s for s in strangers if s // 10_000 == 3]), len(strangers), 1 / 3, why="a long one no more often")
first = [s for s in strangers if s // 10_000 == 3 and s % 10_000 == 0]
check.rate(len(first), len([s for s in strangers if s // 10_000 == 3]), 1 / 50, why="no oftener its first sentence")
again = check.call(next_sentence_pairs, documents, draws(2))
check.equal([tuple(pair) for pair in again], [tuple(pair) for pair in pairs], why="one seed, one list of pairs")
### BEGIN HIDDEN TESTS
early = [s for s in strangers if s // 10_000 == 3 and s % 10_000 < 25]
check.rate(len(early), len([s for s in strangers if s // 10_000 == 3]), 0.5, why="each sentence of a document alike")
seed = int(torch.randint(10**6, ()))
two = check.call(next_sentence_pairs, [list(range(1500)), [9999]], draws(seed))
check.rate(len([pair for pair in two if pair[1] > 9000]), 1499, 0.5, why="of two documents, the other one")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_pairs()` prints pairs of two Russian texts and one English. Are there pairs whose label you
# could tell without understanding a word, by the topic or the language alone? That is what made the task too easy.

# %%
DOCUMENTS = [
    ["Я устал.", "Пойду посплю.", "Завтра рано вставать.", "Спокойной ночи."],
    ["Кот спит на окне.", "Ему снится рыба.", "На улице идёт снег."],
    ["The key is lost.", "We looked everywhere.", "It lay under the bridge."],
]


def show_pairs(seed: int = 0) -> None:
    """Prints the pairs of DOCUMENTS."""
    for first, second, label in next_sentence_pairs(DOCUMENTS, draws(seed)):
        print(f"{('IsNext', 'NotNext')[label]:8} [CLS] {first} [SEP] {second} [SEP]")


# %% [markdown]
# ## 9. Heads for tokens and spans (12 points)
#
# A pre-trained BERT is put to use with one small new layer (figure 4). To label *tokens*, for instance with the kinds
# of names they belong to (section 5.3), a linear map from each last hidden state to C labels is enough. Where a word
# is several tokens, only its first has a label; the others get -100, and the loss is that of exercise 7:
#
# ```
# tokens   [CLS]  Юри  ##й  Гага  ##рин  родился  в  1934  [SEP]
# labels   -100  PERS -100  PERS  -100      O     O  DATE  -100
# ```

# %% solution="lecturekit.models.bert:BertForTokenClassification" hide="forward"

# %% test="heads:tokens" points=3
sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 2}
config = BertConfig(vocab_size=20, num_labels=3, **sizes)
model = check.new(BertForTokenClassification, config)
check.params(model.classifier, 3 * 8 + 3)
check.fill(model)
ids, types = torch.tensor([[2, 5, 6, 9, 3], [2, 8, 3, 0, 0]]), torch.tensor([[0, 0, 1, 1, 1], [0] * 5])
real, labels = ids != 0, torch.tensor([[-100, 2, -100, 0, -100], [-100, 1, -100, -100, -100]])
loss, logits, hidden, _ = model(ids, real, types, labels)
check.shape(logits, 2, 5, 3)
check.close(logits, model.classifier(model.bert(ids, real, types)[0]), why="the last hidden state of each token")
check.close(loss, token_loss(logits, labels), why="the loss of exercise 7")
check.equal(
    (model(ids, real, types)[0], hidden), (None, None), why="no labels, no loss; nobody asked for hidden states"
)
### BEGIN HIDDEN TESTS
every = model.bert(ids, real, types, output_hidden_states=True)[2]
check.close(model(ids, real, types, output_hidden_states=True)[2], every, why="hidden states, if asked for")
gradients = check.grads(model, ids, real, types, labels, pick=0)
silent = [name for name in gradients if not torch.is_tensor(gradients[name]) or not gradients[name].any()]
silent = [name for name in silent if name.startswith("classifier.")]
check.equal(silent, [], why="a gradient reaches the classifier")
check.pure(model, ids, real, types, labels)
twin = check.ours("lecturekit.models.bert:BertForTokenClassification", config)
check.fill(twin)
ids, types, labels = torch.randint(5, 20, (3, 9)), torch.randint(0, 2, (3, 9)), torch.randint(0, 3, (3, 9))
real, pieces = torch.arange(9) < torch.tensor([[9], [7], [4]]), ["embeddings", "layer", "features", "pooler"]
check.whole(model, twin, ids, real, types, after=pieces, pick=1)
check.whole(model, twin, ids, real, types, labels, after=[*pieces, "blanks"], pick=0)
check.whole(model, twin, ids, real, types, labels, after=[*pieces, "blanks"], pick=0, gradients=True)
### END HIDDEN TESTS

# %% [markdown]
# To answer a question from a text (SQuAD; section 4.2) BERT reads `[CLS] question [SEP] text [SEP]`, and each token
# gets *two* scores: the answer starts here, $s_i$, and it ends here, $e_j$. For each of the two the loss is a
# cross-entropy **over the tokens**: which of the $T$ is it? An answer that was cut off with the end of a long text
# has a position of $T$ or more, and does not count.

# %% solution="lecturekit.models.bert:position_loss" hide="body"

# %% solution="lecturekit.models.bert:BertForQuestionAnswering" hide="forward"

# %% [markdown]
# **By hand.** Three texts of four tokens; the right starts have the probabilities $\frac12$ and $\frac18$, and the
# third answer was cut off: $\frac{1 + 3}{2} \ln 2 = 2 \ln 2$.

# %% test="heads:spans" points=4
probabilities = torch.tensor([[1 / 6, 1 / 2, 1 / 6, 1 / 6], [1 / 8, 1 / 4, 1 / 4, 3 / 8], [1 / 6, 1 / 6, 1 / 6, 1 / 2]])
loss = position_loss(probabilities.log(), torch.tensor([1, 0, 4]))
check.shape(loss)
check.close(loss, 2 * math.log(2), why="the example above")
check.close(position_loss(probabilities.log() + 2, torch.tensor([1, 0, 9])), 2 * math.log(2), why="9 is cut off too")
sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 2}
config = BertConfig(vocab_size=20, **sizes)
model = check.new(BertForQuestionAnswering, config)
check.fill(model)
ids, types = torch.tensor([[2, 5, 3, 9, 3], [2, 8, 3, 7, 0]]), torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 1, 0]])
real, begin, end = ids != 0, torch.tensor([3, 4]), torch.tensor([4, 7])
loss, starts, ends, _, _ = model(ids, real, types, begin, end)
both = model.qa_outputs(model.bert(ids, real, types)[0])
check.close(starts, both[..., 0], why="the first score of each token is for the start")
check.close(ends, both[..., 1], why="the second is for the end")
check.close(loss, (position_loss(starts, begin) + position_loss(ends, end)) / 2, why="the mean of both losses")
check.equal(model(ids, real, types)[0], None, why="without positions there is no loss")
### BEGIN HIDDEN TESTS
logits, places = torch.randn(6, 9) * 3, torch.tensor([0, 8, 3, 9, 20, 5])
picked = logits.log_softmax(-1)[torch.tensor([0, 1, 2, 5]), torch.tensor([0, 8, 3, 5])]
check.close(position_loss(logits, places), -picked.mean(), why="the mean over the answers that are not cut off")
check.pure(position_loss, logits, places)
every = model.bert(ids, real, types, output_hidden_states=True)[2]
check.close(model(ids, real, types, output_hidden_states=True)[3], every, why="hidden states, if asked for")
check.pure(model, ids, real, types, begin, end)
twin = check.ours("lecturekit.models.bert:BertForQuestionAnswering", config)
check.fill(twin)
ids, types, weight = torch.randint(5, 20, (3, 9)), torch.randint(0, 2, (3, 9)), torch.randn(3, 9)
real, pieces = torch.arange(9) < torch.tensor([[9], [7], [4]]), ["embeddings", "layer", "features", "pooler"]
check.whole(model, twin, ids, real, types, after=pieces, pick=1)
check.whole(model, twin, ids, real, types, after=pieces, pick=2)
check.whole(model, twin, ids, real, types, after=pieces, pick=1, gradients=True, weight=weight)
### END HIDDEN TESTS

# %% [markdown]
# A trained model's answer is the span with the largest $s_i + e_j$. The best start and the best end on their own need
# not make a span: the end may stand before the start, or far behind it. So all pairs $i \le j$ of at most
# `max_length` tokens are compared, and only places that are `allowed`, in the text and not in the question.
#
# **By hand.** Starts $1, 5, 2, 0$ and ends $9, 1, 3, 7$: the best of each would be the span from 1 to 0. Of the sound
# ones, 1 to 3 has $5 + 7 = 12$, the most. With spans of at most two tokens it is 0 to 0, $1 + 9 = 10$; if token 0 is
# not allowed either, 2 to 3, $2 + 7 = 9$.

# %% solution="lecturekit.transfer:best_spans" hide="body"

# %% test="heads:best" points=5
starts, ends = torch.tensor([[1.0, 5, 2, 0]]), torch.tensor([[9.0, 1, 3, 7]])
check.equal(best_spans(starts, ends), torch.tensor([[1, 3]]), why="the example above")
check.equal(best_spans(starts, ends, max_length=2), torch.tensor([[0, 0]]), why="two tokens at most")
allowed = torch.tensor([[False, True, True, True]])
check.equal(best_spans(starts, ends, allowed, 2), torch.tensor([[2, 3]]), why="two at most, and not token 0")
check.equal(best_spans(starts, ends, allowed, 1), torch.tensor([[3, 3]]), why="one token at most: 0 + 7 is the most")
check.equal(best_spans(starts, ends, allowed.flip(-1)), torch.tensor([[0, 0]]), why="an answer may not end at token 3")
check.equal(best_spans(starts - 20, ends - 20), torch.tensor([[1, 3]]), why="scores may all be negative")
two = best_spans(torch.cat([starts, starts.flip(-1)]), torch.cat([ends, ends]))
check.equal(two, torch.tensor([[1, 3], [2, 3]]), why="each row has its own answer")
check.raises(ValueError, best_spans, starts, ends[:, :3])
check.raises(ValueError, best_spans, starts, ends, None, 0)
### BEGIN HIDDEN TESTS
starts, ends = torch.randn(8, 12), torch.randn(8, 12)
allowed = torch.rand(8, 12) > 0.4
allowed[:, 5] = True
got = best_spans(starts, ends, allowed, 4)
check.dtype(got, torch.int64)
for row in range(8):
    spans = [(i, j) for i in range(12) for j in range(i, min(i + 4, 12)) if bool(allowed[row, i] & allowed[row, j])]
    sums = [float(starts[row, i] + ends[row, j]) for i, j in spans]
    check.equal(got[row].tolist(), list(spans[sums.index(max(sums))]), why=f"the best of all spans, text {row}")
check.equal(best_spans(starts - 100, ends - 100, allowed, 4), got, why="only differences count")
check.pure(best_spans, starts, ends, allowed, 4)
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_spans()` draws $s_i + e_j$ for all starts (rows) and ends (columns) of one text, and a red
# frame round the best span. Which half of the picture can hold no answer? Then forbid long ones:
# `show_spans(max_length=1)`.


# %%
def show_spans(max_length: int = 30) -> None:
    """The sums of the scores of a question about a Russian text, scores made up, and the answer that they give."""
    words = ["[CLS]", "Кто", "?", "[SEP]", "Юрий", "Гагарин", "родился", "в", "1934", "[SEP]"]
    starts = torch.tensor([[0.0, 1, 0, 0, 4, 3, 0, 1, 2, 0]])
    ends = torch.tensor([[5.0, 0, 0, 2, 2, 4, 1, 0, 3, 0]])
    allowed = torch.tensor([[False] * 4 + [True] * 6])
    begin, end = best_spans(starts, ends, allowed, max_length)[0].tolist()
    _, axes = plt.subplots(figsize=(5, 5))
    axes.imshow((starts[0][:, None] + ends[0]).numpy(), cmap="Blues")
    axes.add_patch(plt.Rectangle((end - 0.5, begin - 0.5), 1, 1, fill=False, edgecolor="red", linewidth=3))
    axes.set_xticks(range(len(words)), words, rotation=90)
    axes.set_yticks(range(len(words)), words)
    axes.set_xlabel("end")
    axes.set_ylabel("start")
    axes.set_title(" ".join(words[begin : end + 1]))
    plt.show()


# %% [markdown]
# ## 10. Freeze or fine-tune (8 points)
#
# To judge whole texts, a classifier reads the pooled `[CLS]` (figure 4, a and b). For its loss there is `text_loss`:
# cross-entropy for classes, squared differences where `num_labels` is 1 and labels are numbers.

# %% solution="lecturekit.models.bert:BertForSequenceClassification" hide="forward"

# %% test="learning:classifier" points=2
sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 2}
config = BertConfig(vocab_size=20, num_labels=3, **sizes)
model = check.new(BertForSequenceClassification, config)
check.fill(model)
ids, types = torch.tensor([[2, 5, 9], [2, 8, 0], [2, 7, 6]]), torch.tensor([[0, 0, 1], [0, 0, 0], [0, 1, 1]])
real, labels = ids != 0, torch.tensor([2, 0, 1])
loss, logits, _, _ = model(ids, real, types, labels)
check.shape(logits, 3, 3)
check.close(logits, model.classifier(model.bert(ids, real, types)[1]), why="the classifier reads the pooled [CLS]")
check.close(loss, torch.nn.functional.cross_entropy(logits, labels), why="cross-entropy over the labels")
check.equal(model(ids, real, types)[0], None, why="without labels there is no loss")
### BEGIN HIDDEN TESTS
every = model.bert(ids, real, types, output_hidden_states=True)[2]
check.close(model(ids, real, types, output_hidden_states=True)[2], every, why="hidden states, if asked for")
number = check.new(BertForSequenceClassification, BertConfig(vocab_size=20, num_labels=1, **sizes))
check.fill(number)
loss, logits, _, _ = number(ids, real, types, torch.tensor([2.5, 0.5, 4.0]))
check.close(
    loss, (logits[:, 0] - torch.tensor([2.5, 0.5, 4.0])).square().mean(), why="num_labels=1: squared differences"
)
check.pure(model, ids, real, types, labels)
twin = check.ours("lecturekit.models.bert:BertForSequenceClassification", config)
check.fill(twin)
ids, types, labels = torch.randint(5, 20, (3, 9)), torch.randint(0, 2, (3, 9)), torch.randint(0, 3, (3,))
real, pieces = torch.arange(9) < torch.tensor([[9], [7], [4]]), ["embeddings", "layer", "features", "pooler"]
check.whole(model, twin, ids, real, types, after=pieces, pick=1)
check.whole(model, twin, ids, real, types, labels, after=pieces, pick=0, gradients=True)
### END HIDDEN TESTS

# %% [markdown]
# *Fine-tuning* lets every parameter learn. It is cheaper to *freeze* the body, so that the new head alone learns: one
# pass through BERT per text, whatever you train on top (section 5.3). A parameter with `requires_grad_(False)` gets
# no gradient, and an optimizer passes over it.

# %% solution="lecturekit.transfer:freeze" hide="body"

# %% test="learning:freeze" points=2
sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 2}
model = check.new(BertForSequenceClassification, BertConfig(vocab_size=20, **sizes))
names = list(check.params(model))
before = check.state(model)
check.equal(freeze(model), ["classifier.weight", "classifier.bias"], why="what learns")
gradients = check.grads(model, torch.tensor([[2, 5, 3]]), pick=1)
learning = [name for name in gradients if torch.is_tensor(gradients[name])]
check.equal(learning, ["classifier.weight", "classifier.bias"], why="a gradient arrives at the classifier alone")
top = [name for name in names if name.startswith(("bert.pooler.", "classifier.", "bert.encoder.layer.1."))]
check.equal(freeze(model, ["classifier.", "bert.pooler.", "bert.encoder.layer.1."]), top, why="the upper half")
check.equal(freeze(model, [""]), names, why="every name begins with nothing: all learn again")
check.raises(ValueError, freeze, model, ["cls."])
### BEGIN HIDDEN TESTS
chosen = ["bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.bias"]
check.equal(freeze(model, ("classifier.b", "bert.pooler.")), chosen, why="in the order of the model")
gradients = check.grads(model, torch.tensor([[2, 5, 3]]), pick=1)
learning = [name for name in gradients if torch.is_tensor(gradients[name])]
check.equal(learning, chosen, why="gradients for those that learn, and for no others")
why = "a beginning that no parameter's name has"
check.raises(ValueError, freeze, model, ["classifier.", "encoder."], why=why)
check.close(check.state(model), before, why="the numbers themselves stay")
### END HIDDEN TESTS

# %% [markdown]
# How good is a judge of sentences? CoLA, the task of GLUE that asks whether a sentence is acceptable, is measured by
# the **Matthews correlation** (Matthews, 1975; GLUE, Wang et al., 2018,
# [arXiv:1804.07461](https://arxiv.org/abs/1804.07461), section 3.1). It counts true and false ones (acceptable) and
# zeros (not):
#
# $$\mathrm{MCC} = \frac{TP \cdot TN - FP \cdot FN}{\sqrt{(TP + FP)(TP + FN)(TN + FP)(TN + FN)}}$$
#
# **By hand.** Of ten sentences eight are acceptable. A judge who says "acceptable" to all is right in 80 %, and has
# an MCC of 0. One who finds one of the two bad ones, and calls one good one bad, has $TP = 7, FN = 1, TN = 1, FP =
# 1$: right in 80 % too, with $\mathrm{MCC} = (7 - 1) / \sqrt{8 \cdot 8 \cdot 2 \cdot 2} = \frac38$.

# %% solution="lecturekit.transfer:matthews_correlation" hide="body"

# %% test="learning:matthews" points=2
truth = torch.tensor([1, 1, 1, 1, 1, 1, 1, 1, 0, 0])
check.close(matthews_correlation(torch.ones(10).long(), truth), 0.0, why="who says yes to all knows nothing")
judged = torch.tensor([0, 1, 1, 1, 1, 1, 1, 1, 1, 0])
check.close(matthews_correlation(judged, truth), 3 / 8, why="the example above")
check.close(matthews_correlation(truth, truth), 1.0, why="all right")
check.close(matthews_correlation(1 - truth, truth), -1.0, why="all wrong")
check.dtype(matthews_correlation(judged, truth), float)
### BEGIN HIDDEN TESTS
predicted, truth = torch.randint(0, 2, (40, 5)), torch.randint(0, 2, (40, 5))
both = torch.stack([predicted.flatten(), truth.flatten()]).float()
check.close(matthews_correlation(predicted, truth), torch.corrcoef(both)[0, 1].item(), why="the correlation of the two")
many = torch.arange(300_000) % 3 // 2
check.close(matthews_correlation(many, many), 1.0, why="many sentences: the products under the root are large")
check.raises(ValueError, matthews_correlation, truth, truth[:5], why="two tensors of different shapes")
check.raises(ValueError, matthews_correlation, truth, truth + 1, why="labels other than 0 and 1")
check.pure(matthews_correlation, predicted, truth)
### END HIDDEN TESTS

# %% [markdown]
# Now your model learns to judge short Russian sentences of lecturekit's own: «Старая книга лежала на кухне.» agrees,
# «Старая книга лежал на кухне.» does not. First your `BertForMaskedLM` fills in blanks in sentences that agree, 600
# batches of them, and is never told what agreement is. Then its body, the part called `bert`, goes into two
# classifiers, which see 400 batches with labels: one whose body stays frozen (pooler and classifier learn), and one
# that is fine-tuned. What your models have learnt is in their weights: they are handed to lecturekit's own models,
# which have to say what yours say, and meet sentences that nobody has seen. This takes some ten seconds.

# %% test="learning:training" points=2 training=true
texts = [pair[0] for pair in check.ours("lecturekit.data:agreement_pairs", 20_000, 1, "ru")]
judged = check.ours("lecturekit.data:agreement_sentences", 20_000, 2, "ru")
texts = [text.lower().split() for text in texts if len(text.split()) <= 5]
judged = [(text.lower().split(), label) for text, label in judged if len(text.split()) <= 5]
words = sorted({word for text in texts + [text for text, _ in judged] for word in text})
number = {word: 5 + i for i, word in enumerate(words)}
plain = torch.tensor([[2] + [number[word] for word in text] + [3] + [0] * (5 - len(text)) for text in texts])
asked = torch.tensor([[2] + [number[word] for word in text] + [3] + [0] * (5 - len(text)) for text, _ in judged])
right = torch.tensor([label for _, label in judged])
order = torch.randperm(len(asked))
unseen, truth, asked, right = asked[order[:400]], right[order[:400]], asked[order[400:]], right[order[400:]]
sizes = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "num_hidden_layers": 1}
chance = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.1}
config = BertConfig(vocab_size=5 + len(words), max_position_embeddings=7, **sizes, **chance)
ids, source = plain[torch.randint(len(plain), (601 * 64,))], torch.Generator().manual_seed(1)
seen, labels = check.ours("lecturekit.objectives:mask_tokens", ids, 4, 5 + len(words), [0, 2, 3, 4], source, 0.3)
blanks = list(zip(seen.split(64), (ids != 0).split(64), labels.split(64), strict=True))
filler = check.new(BertForMaskedLM, config)
twin = check.ours("lecturekit.models.bert:BertForMaskedLM", config)
check.learns(filler, blanks[:600], blanks[600], at_least=0.0, pick=1, twin=twin)
loss = twin(*blanks[600][:2], labels=blanks[600][2])[0].item()
assert loss < 0.6 * math.log(len(words)), "an unseen blank costs much less than guessing among all words"
filled = check.state(filler)
body = {name: filled[name] for name in filled if name.startswith("bert.")}
picks = [torch.randint(len(asked), (64,)) for _ in range(400)]
batches = [(asked[pick], asked[pick] != 0, right[pick]) for pick in picks]
wrong = []
for but, at_least in [(["bert.pooler.", "classifier."], 0.0), ([""], 0.8)]:
    model = check.new(BertForSequenceClassification, config)
    check.fill(model, {**check.state(model), **body})
    check.call(freeze, model, but)
    twin = check.ours("lecturekit.models.bert:BertForSequenceClassification", config)
    check.learns(model, batches, (unseen, unseen != 0, truth), at_least, pick=1, twin=twin)
    after = check.state(model)
    moved = [name for name in body if name in after and bool((after[name] != body[name]).any())]
    check.equal(len(moved) > 0, at_least > 0, why="a frozen body stays as it is, one that is fine-tuned does not")
    wrong = [*wrong, int((twin(unseen, unseen != 0)[1].argmax(-1) - truth).abs().sum())]
assert wrong[1] < wrong[0] / 2, "fine-tuned, it makes less than half of the mistakes that it makes frozen"

# %% [markdown]
# **To look at:** `model, words = train_judges()` in a cell of your own does the like with a third classifier, whose
# body nobody has pre-trained, and draws the Matthews correlation of all three on unseen sentences while they learn.
# Which one would you take if you had 20 batches with labels, which one if you had 1,000? Then ask for sentences of
# your own: `judge(model, words, "старая книга лежал на кухне.")`. (Remove the calls before you submit: graders need
# not train twice.)


# %%
def as_ids(texts: list[str], words: list[str]) -> Tensor:
    """Texts of at most five words as ids [B, 7]: [CLS], a number for each word (1 for an unknown one), [SEP]."""
    rows = [[5 + words.index(w) if w in words else 1 for w in text.lower().split()] for text in texts]
    return torch.tensor([[2, *row, 3] + [0] * (5 - len(row)) for row in rows])


def fit(model: nn.Module, batches: list[tuple[Tensor, ...]], look: int, watch: tuple[Tensor, Tensor]) -> list[float]:
    """Train a model on batches (ids, labels); its Matthews correlation on `watch`, or its loss, each `look` steps."""
    optimizer, seen = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3), []
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min(8 * (n + 1) / len(batches), 1 - n / len(batches))
    )
    for step, (ids, labels) in enumerate(batches, 1):
        loss = model(ids, ids != 0, labels=labels)[0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % look == 0:
            with torch.no_grad():
                logits = model(watch[0], watch[0] != 0)[1]
            seen.append(matthews_correlation(logits.argmax(-1), watch[1]) if logits.dim() == 2 else loss.item())
    return seen


def train_judges(steps: int = 200, blanks: int = 600) -> tuple[nn.Module, list[str]]:
    """A fine-tuned judge of Russian sentences and its words; draws how it and two others learn."""
    texts = [(t, label) for t, label in agreement_sentences(20_000, 2, "ru") if len(t.split()) <= 5]
    words = sorted({word for text, _ in texts for word in text.lower().split()})
    ids, labels = as_ids([text for text, _ in texts], words), torch.tensor([label for _, label in texts])
    unseen, ids, labels = (ids[:400], labels[:400]), ids[400:], labels[400:]
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "num_hidden_layers": 1}
    chance = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.1}
    config = BertConfig(vocab_size=5 + len(words), max_position_embeddings=7, **sizes, **chance)
    good, generator = ids[labels == 1], draws(0)
    rows = [good[torch.randint(len(good), (64,))] for _ in range(blanks)]
    filler = BertForMaskedLM(config)
    cloze = [mask_tokens(row, 4, config.vocab_size, [0, 2, 3, 4], generator, 0.3) for row in rows]
    costs = fit(filler, cloze, max(blanks // 5, 1), unseen)
    print("loss of a blank:", ", ".join(f"{cost:.2f}" for cost in costs))
    picks = [torch.randint(len(ids), (64,)) for _ in range(steps)]
    _, axes = plt.subplots(figsize=(6, 3.5))
    look = max(steps // 20, 1)
    for name in ("not pre-trained", "frozen", "fine-tuned"):
        model = BertForSequenceClassification(config)
        if name != "not pre-trained":
            model.bert.load_state_dict(filler.bert.state_dict(), strict=False)  # all but the pooler, which it has not
        freeze(model, ["bert.pooler.", "classifier."] if name == "frozen" else [""])
        seen = fit(model, [(ids[pick], labels[pick]) for pick in picks], look, unseen)
        axes.plot([look * (i + 1) for i in range(len(seen))], seen, label=name)
    axes.set_xlabel("batches with labels")
    axes.set_ylabel("Matthews correlation, unseen")
    axes.legend()
    plt.show()
    return model.eval(), words


def judge(model: nn.Module, words: list[str], *texts: str) -> None:
    """Prints with which probability each text, of at most five words, agrees."""
    ids = as_ids(list(texts), words)
    with torch.no_grad():
        agrees = model(ids, ids != 0)[1].softmax(-1)[:, 1]
    for text, probability in zip(texts, agrees.tolist(), strict=True):
        print(f"{probability:6.1%}  {text}")


# %% [markdown]
# ## In your own words
#
# The paper tried other shares (appendix C.2, table 8). With `[MASK]` in *all* chosen places the model is as good on
# sentence pairs, but its hidden states are worse features for named entities, 94.0 instead of 94.9. What does such a
# model no longer have to do at tokens that it can see? And why would it be no good to leave all chosen tokens as they
# are? Five sentences at most. (Your instructor may mark this by hand; it counts nothing towards the 100 points.)

# %% [markdown] question="why-80-10-10" points=0
# If every chosen token is shown as `[MASK]`, the model is asked for a token only where it sees `[MASK]`, and so what
# it makes of the tokens that it sees is of no consequence in itself: nothing makes those hidden states say which
# token fits there. In later tasks there is no `[MASK]`, and the model only meets tokens of that kind. With some
# chosen tokens kept and some replaced at random, any token may be asked for and none can be trusted, so the model
# must work out for every place what its neighbours suggest. If all chosen tokens stayed as they are, it could copy:
# each token stands in the input, the loss would go to zero, and the neighbours would not be needed at all.
#
# Rubric:
#
# One point for each of the first three:
#
# - at tokens that it can see, such a model is never asked anything, so their hidden states need not say what fits there
# - in later tasks all tokens are of that kind
# - with all chosen tokens left as they are it can copy: the loss is zero without a look at the neighbours
# - not enough: "`[MASK]` does not occur later", without what the model thereby never has to learn
