# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lecture 3. The Transformer
#
# Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin (Google): [Attention Is All You
# Need](https://arxiv.org/abs/1706.03762), arXiv on 12 June 2017, NIPS 2017. No recurrence, no convolution: attention
# and feed-forward networks alone. Sections, equations and tables without a name are that paper's.
#
# | | |
# |---|---|
# | self-attention | queries, keys, values; why the scores are scaled; masks; heads |
# | the rest of a layer | positions, feed-forward network, residual connection, layer norm |
# | the model | encoder, decoder, output; every parameter counted |
# | training | the schedule, label smoothing; a model learns before your eyes |
# | cost and results | the complexity table; the tables of the paper |
# | heads | what they do, what happens without them, what their weights do not say |
#
# [Lab 3](../labs/lab03/lab03.ipynb) builds all of it. The code is `lecturekit/layers.py` and
# `lecturekit/models/transformer.py`; what stands here as code is shown from there.

# %%
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from IPython.display import Markdown, display
from torch import nn

from lecturekit import pretrained, widgets
from lecturekit.layers import (
    KeyValueCache,
    LayerNorm,
    MultiHeadAttention,
    PositionwiseFeedForward,
    causal_mask,
    fused_attention,
    padding_mask,
    scaled_dot_product_attention,
    sinusoidal_positions,
    split_heads,
)
from lecturekit.models.transformer import (
    Encoder,
    Transformer,
    TransformerConfig,
    decode_next,
    label_smoothed_loss,
    learning_rate,
)
from lecturekit.slides import show, sketch, table
from lecturekit.train import training

torch.manual_seed(0)
torch.set_num_threads(1)
BLUE, ORANGE, GREEN, GREY = "#cfe3f5", "#fbdcc0", "#cdebd9", "#eeeeee"


def matrices(named, alt, rows=None, columns=None, low=None, digits=".2g"):
    """Matrices {title: [T, S]} side by side, with their numbers."""
    _, axes = plt.subplots(1, len(named), figsize=(3.1 * len(named), 2.8), squeeze=False, layout="constrained")
    for axis, (title, matrix) in zip(axes[0], named.items(), strict=True):
        axis.imshow(matrix, cmap="Blues", vmin=min(0.0, float(matrix.min())) if low is None else low)
        axis.set_title(title, fontsize=10)
        axis.set_xticks(range(matrix.size(1)), columns or range(matrix.size(1)), rotation=45 if columns else 0)
        axis.set_yticks(range(matrix.size(0)), rows or range(matrix.size(0)))
        dark = (low or 0) + (matrix.max() - (low or 0)) * 0.6
        for i, row in enumerate(matrix.tolist()):
            for j, value in enumerate(row):
                colour = "w" if value > dark else "k"
                axis.text(j, i, f"{value:{digits}}", ha="center", va="center", color=colour, fontsize=8)
    show(alt)


# %% [markdown]
# ## 1. What was wrong with recurrence
#
# The models of [lecture 1](01_seq2seq.ipynb), and ELMo after them ([lecture 4](04_bert.ipynb)), have three weaknesses:
#
# - **They work one step after the other.** Step $t$ needs the state of step $t-1$; a sentence of $n$ words takes $n$
#   steps, however many processors there are.
# - **What is near counts for more.** Between two words lie as many steps as words, and each blurs a little.
# - **They read in one direction.** Two networks side by side, one for each direction, do not read in both: neither
#   knows what the other has seen.
#
# Attention has none of these: it sees all words at once, all at the same distance. In lecture 1 it helped a recurrent
# network. Here it takes its place.

# %% [markdown]
# ### The whole model at a glance (figure 1)
#
# A seq2seq model, as before: an encoder reads, a decoder writes. Both are stacks of $N = 6$ equal layers. We take the
# picture apart from the inside: attention first (sections 2 to 5), then what stands around it (6, 7), then the layers
# and the whole (8).

# %%
boxes = {
    "x": (0, 0, "source", "none"),
    "xe": (0, 0.9, "embedding × √D + position", GREY),
    "ea": (0, 2.2, "self-attention", BLUE),
    "en": (0, 3.0, "add & norm", GREEN),
    "ef": (0, 3.9, "feed-forward", ORANGE),
    "em": (0, 4.7, "add & norm", GREEN),
    "y": (4.5, 0, "target, shifted right", "none"),
    "ye": (4.5, 0.9, "embedding × √D + position", GREY),
    "da": (4.5, 2.2, "masked self-attention", BLUE),
    "dn": (4.5, 3.0, "add & norm", GREEN),
    "dc": (4.5, 4.2, "cross-attention", BLUE),
    "dm": (4.5, 5.0, "add & norm", GREEN),
    "df": (4.5, 5.9, "feed-forward", ORANGE),
    "do": (4.5, 6.7, "add & norm", GREEN),
    "l": (4.5, 7.7, "linear, softmax", GREY),
    "p": (4.5, 8.6, "probabilities of the next token", "none"),
    "n": (-2.3, 3.4, "× 6", "none"),
    "m": (7.0, 4.4, "× 6", "none"),
}
arrows = ["x xe", "xe ea", "ea en", "en ef", "ef em", "em dc keys, values", "y ye", "ye da", "da dn", "dn dc queries"]
arrows += ["dc dm", "dm df", "df do", "do l", "l p"]
around = ["xe en", "en em", "ye dn", "dn dm", "dm do"]
alt = (
    "The Transformer: six encoder layers of self-attention and feed-forward; six decoder layers of masked "
    "self-attention, attention to the encoder's output, and feed-forward; residual connections lead around each."
)
sketch((8, 7), boxes, arrows, alt, around)

# %% [markdown]
# ## 2. Self-attention
#
# «Кошка не перешла улицу, потому что **она** слишком устала.» Who was tired? And «… потому что **она** слишком широка»?
# To know what "она" stands for, its vector has to take something from the vector of "кошка" or of "улица". That is what
# self-attention does: **each token's vector is renewed by looking at all vectors of the same sequence**.
#
# | | attention of lecture 1, *cross-attention* | *self-attention* |
# |---|---|---|
# | who asks | a state of the decoder | every state of a sequence |
# | who answers | all states of the encoder | all states of the same sequence |
# | what comes of it | a context for the next word | every state is renewed |
# | cost | source × target | the square of the length |
#
# The result is a **contextual** vector: word2vec and GloVe have one for each word, whatever stands around it.

# %% [markdown]
# ### One word, two meanings
#
# «Мир» is *peace* and *world*. The course's small BERT ([lecture 4](04_bert.ipynb)) reads four sentences; each picture
# has the cosines between its four vectors of «мир» after so many layers. Before the first layer they differ by their
# place alone; how far a model of this size tells the meanings apart, you see. (With a network:
# `pretrained.load("DeepPavlov/rubert-base-cased")`.)

# %%
bert, pieces = pretrained.load("bert")
sentences = [
    "Они заключили мир с врагом.",
    "Он думал про мир и войну.",
    "Весь мир знал это.",
    "Целый мир открылся ему.",
]


@torch.no_grad()
def vectors_of(word, sentence):
    """[L + 1, D]: the mean vector of a word's tokens, before the first layer and after each."""
    ids, wanted = pieces(sentence)["input_ids"], pieces.encode(word)
    start = next(i for i in range(len(ids)) if ids[i : i + len(wanted)] == wanted)
    hidden = bert.bert(torch.tensor([ids]), output_hidden_states=True).hidden_states
    return torch.stack([layer[0, start : start + len(wanted)].mean(0) for layer in hidden])


each = torch.stack([vectors_of("мир", sentence) for sentence in sentences])  # [4, L + 1, D]
unit = each / each.norm(dim=-1, keepdim=True)
cosines = torch.einsum("alw,blw->lab", unit, unit)
matrices(
    {f"after layer {layer}": cosines[layer] for layer in (0, len(cosines) // 2, len(cosines) - 1)},
    "Cosines between four vectors of the same word in four sentences, before, halfway and after the layers of BERT.",
    rows=["заключили", "думал", "весь", "целый"],
    low=float(cosines.min()) - 0.1,
    digits=".3f",
)

# %% [markdown]
# ### Attention as retrieval
#
# A dictionary answers a query by the value whose key *equals* it. Attention is a dictionary that answers with a mean of
# *all* values, each weighted by how well its key *fits*.
#
# | | asked | found |
# |---|---|---|
# | dictionary | `prices["чай"]` | the value of exactly this key, or an error |
# | attention | a vector | a mixture of all values; of the best key the most |
#
# Every token has three vectors, made of its state $x$ by three learnt matrices:
#
# - **query** $q = x W^Q$: what am I looking for?
# - **key** $k = x W^K$: what have I to offer?
# - **value** $v = x W^V$: what do I give if I am chosen?

# %%
boxes = {f"x{i}": (3 * i, 0, f"$x_{i + 1}$ {word}", GREY) for i, word in enumerate(["кошка", "очень", "устала"])}
for i in range(3):
    boxes[f"q{i}"] = (3 * i - 0.9, 1.3, f"$q_{i + 1}$", ORANGE)
    boxes[f"k{i}"] = (3 * i, 1.3, f"$k_{i + 1}$", BLUE)
    boxes[f"v{i}"] = (3 * i + 0.9, 1.3, f"$v_{i + 1}$", GREEN)
arrows = [f"x{i} {part}{i}" for i in range(3) for part in "qkv"]
sketch((8, 1.9), boxes, arrows, "Each of three words has a state, and of it are made its query, its key and its value.")

# %% [markdown]
# ### Step by step, in numbers
#
# Three tokens, width 2. The query of the last token meets all keys; the scores become weights; the weights mix the
# values.

# %%
tokens = ["кошка", "очень", "устала"]
query = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
key = torch.tensor([[1.5, 0.0], [0.0, 2.0], [0.5, 0.5]])
value = torch.tensor([[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]])
scores = query @ key.T
weights = F.softmax(scores / math.sqrt(2), dim=-1)
steps = {
    "scores $QK^\\top$": scores,
    "weights: softmax($QK^\\top/\\sqrt{2}$)": weights,
    "context: weights · $V$": weights @ value,
}
matrices(steps, "Scores, weights and context of three tokens; a row for each query.", rows=tokens)

# %% [markdown]
# Read the last row: "устала" asks, "кошка" has the key that fits best, so that most of what "устала" gets is the value
# of "кошка". Each row of the weights sums to one.

# %% [markdown]
# ### All at once
#
# Unlike a recurrent network's steps, the queries do not wait for one another. Lay them under each other as a matrix
# $Q$, keys as $K$, values as $V$, and all of it is two matrix products with a softmax between them (equation 1):
#
# $$\operatorname{Attention}(Q, K, V) = \operatorname{softmax}\left(\frac{Q K^\top}{\sqrt{d_k}}\right) V$$
#
# The paper calls it *scaled dot-product attention*: the dot product of lecture 1, divided by $\sqrt{d_k}$.

# %% code="lecturekit.layers:scaled_dot_product_attention"

# %% [markdown]
# ### Why divide by √d?
#
# A score is a sum of $d$ products. If their factors are independent with mean 0 and variance 1, its variance is $d$:
# with $d = 512$ scores differ by some 23. Then the softmax gives one key everything from the start, and where a weight
# is 0 or 1 its gradient vanishes (section 3.2.1). Divided by $\sqrt d$, the variance is 1 at every width. Measured, on
# 16 random keys:

# %%
torch.manual_seed(0)
widths, largest, gradient = [2**n for n in range(1, 11)], {}, {}
for scaled in (False, True):
    largest[scaled], gradient[scaled] = [], []
    for width in widths:
        score = torch.einsum("bd,bkd->bk", torch.randn(400, width), torch.randn(400, 16, width))
        score = (score / math.sqrt(width) if scaled else score).requires_grad_()
        weight = score.softmax(-1)
        best = weight.max(-1).values
        best.sum().backward()
        largest[scaled].append(best.mean().item())
        gradient[scaled].append(score.grad.norm(dim=-1).median().item())
_, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
for axis, curves, title in (
    (axes[0], largest, "mean of the largest weight"),
    (axes[1], gradient, "gradient of it, median"),
):
    for scaled, curve in curves.items():
        axis.plot(widths, curve, marker="o", label="divided by √d" if scaled else "as it is")
    axis.set(xscale="log", xlabel="width d", title=title)
    axis.legend(fontsize=9)
axes[1].set_yscale("log")
show("Without the scale the largest of 16 weights goes to one and its gradient to nothing as width grows.")

# %% [markdown]
# ### Two ways to the same numbers
#
# What is above keeps all weights, $T \times T$ numbers a head. PyTorch's fused kernel never stores them (the idea is
# [FlashAttention](https://arxiv.org/abs/2205.14135)), and is what runs when nobody asks for weights. The two agree:

# %%
query, key, value = torch.randn(3, 2, 4, 10, 16)
mask = causal_mask(10)
explicit, _ = scaled_dot_product_attention(query, key, value, mask)
print(f"largest difference: {(explicit - fused_attention(query, key, value, mask)).abs().max():.1e}")

# %% [markdown]
# ## 3. Masks
#
# Two kinds of tokens must not be looked at:
#
# - **padding**, which fills up the short sentences of a batch, by nobody;
# - in the decoder **all that comes later**. When the model writes, the next tokens are not known; when it learns they
#   are, as the whole target is read at once, and looking at them would be copying the answer.
#
# A forbidden score becomes (nearly) $-\infty$ before the softmax, its weight 0. To set the *weight* to zero afterwards
# would be wrong: the others would no longer sum to one, and their size would have been decided with a look at what is
# forbidden.

# %% code="lecturekit.layers:padding_mask"

# %% code="lecturekit.layers:causal_mask"

# %% [markdown]
# ### Masked self-attention, drawn
#
# A sentence of four tokens and one of padding. Rows ask, columns are asked; both masks hold at once (`&`).

# %%
ids = torch.tensor([[5, 9, 7, 6, 0]])
torch.manual_seed(2)
x = torch.randn(1, 1, 5, 8)
both = padding_mask(ids) & causal_mask(5)
named = {"padding": padding_mask(ids).expand(1, 1, 5, 5), "causal": causal_mask(5)[None, None], "both": both}
drawn = {f"mask: {name}": mask[0, 0].float() for name, mask in named.items()}
drawn["weights under both"] = scaled_dot_product_attention(x, x, x, both)[1][0, 0]
matrices(drawn, "A padding mask, a causal mask, both, and the weights under both: zero wherever the mask is.")

# %% [markdown]
# ### What the mask buys: learning from all positions at once
#
# Change the last token, and nothing before it may change. That property makes one pass over a target of $n$ tokens as
# good as $n$ lessons, "given the first $t$, what comes next?", without a step waiting for another. Checked:

# %%
torch.manual_seed(0)
heads = MultiHeadAttention(32, 4)
x = torch.randn(1, 6, 32)
changed = x.clone()
changed[0, -1] = 0
with torch.no_grad():
    for name, mask in (("with the causal mask", causal_mask(6)), ("without", None)):
        moved = (heads(x, x, x, mask)[0] - heads(changed, changed, changed, mask)[0]).abs().amax(-1)[0]
        print(f"{name:22} moved by: {' '.join(f'{number:.3f}' for number in moved.tolist())}")

# %% [markdown]
# ## 4. Heads
#
# One word stands in several relations at once: morphological, syntactic, semantic. «Кошка» is the subject of one word,
# agrees with another, and is what "она" stands for later on. One softmax makes one mean, and a mean of several
# relations is none of them. So the width is cut into $h$ pieces, **heads**, each with matrices and a softmax of its
# own, all at once (section 3.2.2):
#
# $$\operatorname{MultiHead}(Q, K, V) = \operatorname{Concat}(\mathrm{head}_1, \dots, \mathrm{head}_h)\, W^O, \qquad
# \mathrm{head}_i = \operatorname{Attention}(Q W^Q_i, K W^K_i, V W^V_i)$$
#
# In the base model $h = 8$ heads of width $d_k = d_v = 512 / 8 = 64$. Because they are narrow, eight heads cost what
# one of full width would.

# %%
boxes = {"x": (3, 0, "$x$: [T, 512]", GREY), "c": (3, 3.6, "Concat: [T, 512]", GREY), "o": (3, 4.6, "$W^O$", ORANGE)}
for i, name in enumerate(["1", "2", "…", "8"]):
    boxes[f"p{i}"] = (2 * i, 1.2, "…" if name == "…" else f"$W^Q_{name}, W^K_{name}, W^V_{name}$", BLUE)
    boxes[f"h{i}"] = (2 * i, 2.4, "…" if name == "…" else f"head {name}: [T, 64]", GREEN)
arrows = [f"x p{i}" for i in range(4)] + [f"p{i} h{i}" for i in range(4)] + [f"h{i} c" for i in range(4)] + ["c o"]
sketch((9, 3.8), boxes, arrows, "Eight heads project the same input each in its own way, attend, and are joined again.")

# %% [markdown]
# ### In code: one matrix, cut
#
# The eight matrices $W^Q_i$ lie side by side in one linear map of full width; what is cut is its output.

# %% code="lecturekit.layers:split_heads"

# %% code="lecturekit.layers:merge_heads"

# %% code="lecturekit.layers:MultiHeadAttention"

# %% [markdown]
# ### What to cut: mind the axes
#
# Eight numbers of width, two heads: head 0 has the first half of *every token*. To reshape [B, T, D] straight into
# [B, H, T, d] has the right shape and mixes tokens; lab 3 knows this mistake.

# %%
x = torch.arange(16.0).view(1, 2, 8)  # two tokens of width 8
print("tokens      ", x[0].int().tolist())
print("head 0      ", split_heads(x, 2)[0, 0].int().tolist())
print("head 1      ", split_heads(x, 2)[0, 1].int().tolist())
print("wrong head 0", x.reshape(1, 2, 2, 4)[0, 0].int().tolist(), "(both rows are of token 0)")

# %% [markdown]
# ### Heads of a trained model
#
# The small BERT again: four layers of four heads. Go through layers and heads; some look at the neighbour, some at a
# mark, some at the same word elsewhere. A click on a row shows where that token looks.

# %%
read = pieces("Весь мир знал, что князь любит её, но она не знала этого.")["input_ids"]
widgets.head_view(bert, pieces, ids=read)

# %% [markdown]
# All heads of all layers at once:

# %%
widgets.model_view(bert, pieces, ids=pieces("She knew that he loved her, but he did not.")["input_ids"])

# %% [markdown]
# And one weight, number by number: the query of one token times the key of another.

# %%
widgets.neuron_view(bert, pieces, ids=pieces("Весь мир знал это.")["input_ids"], layer=1)

# %% [markdown]
# ## 5. Positions
#
# What has been said so far knows no order: shuffle the tokens, and the results are shuffled in the same way, with not
# one number different. To it, «кошка ест рыбу» and «рыба ест кошку» would be one bag.

# %%
torch.manual_seed(0)
x, order = torch.randn(1, 6, 32), torch.tensor([3, 0, 5, 1, 4, 2])
with torch.no_grad():
    plain, shuffled = heads(x, x, x)[0], heads(x[:, order], x[:, order], x[:, order])[0]
    x = x + sinusoidal_positions(6, 32)
    moved = x[:, order] - sinusoidal_positions(6, 32)[order] + sinusoidal_positions(6, 32)
    placed, misplaced = heads(x, x, x)[0], heads(moved, moved, moved)[0]
print("shuffled output against output of the shuffled, largest difference:")
print(f"without positions {(plain[:, order] - shuffled).abs().max():.1e}")
print(f"with positions    {(placed[:, order] - misplaced).abs().max():.1e}")

# %% [markdown]
# ### Positional encoding
#
# A vector for each place is *added* to the embedding (section 3.5). In the paper it is fixed, not learnt:
#
# $$PE_{pos,\,2i} = \sin\frac{pos}{10000^{2i/d}}, \qquad PE_{pos,\,2i+1} = \cos\frac{pos}{10000^{2i/d}}$$
#
# $i$ counts *pairs* of dimensions, from 0 to $d/2 - 1$: each pair is the hand of a clock. The first goes round every
# $2\pi$ tokens, the last every $10000 \cdot 2\pi$: seconds, minutes, hours.

# %% code="lecturekit.layers:sinusoidal_positions"

# %% [markdown]
# ### Look at them
#
# Move position, distance and dimension; "learned" shows a table as it is before training, "T5" what
# [lecture 6](06_t5.ipynb) is about.

# %%
widgets.positional_encodings()

# %% [markdown]
# ### Why sines?
#
# To go $k$ tokens further is to turn each hand by a fixed angle, wherever it stands: $PE_{pos+k}$ is a *linear*
# function of $PE_{pos}$, the same for all $pos$. So a head can learn "the token before" once, for all places. The dot
# product of two positions then depends on their distance alone:

# %%
sines = sinusoidal_positions(200, 64)
for distance in (0, 1, 2, 5, 20):
    products = (sines[: 200 - distance] * sines[distance:]).sum(-1)
    print(f"distance {distance:2}: dot product {products.min():6.2f} ... {products.max():6.2f} over all places")

# %% [markdown]
# Learned positions do as well: table 3, row (E): BLEU 25.7 instead of 25.8. The authors kept sines for sentences longer
# than those in training. That hope was not quite fulfilled, as section 9 shows; BERT and GPT learn theirs.

# %% [markdown]
# ## 6. The feed-forward network
#
# Attention moves information between tokens; its only nonlinearity is the softmax of the weights. What is *made* of the
# information happens in each token by itself, in a perceptron of two layers (section 3.3, equation 2):
#
# $$\operatorname{FFN}(x) = \max(0,\, x W_1 + b_1)\, W_2 + b_2$$
#
# It mixes what the heads brought into new features. Inside it is four times as wide: $512 \to 2048 \to 512$. The same
# weights serve all positions of a layer; other layers have others.

# %% code="lecturekit.layers:PositionwiseFeedForward"

# %%
with torch.device("meta"):
    parts = {"attention": MultiHeadAttention(512, 8), "feed-forward": PositionwiseFeedForward(512, 2048)}
counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
total = sum(counts.values())
table(
    ["in one encoder layer of the base model", "parameters", "share"],
    [[name, f"{count:,}", f"{count / total:.0%}"] for name, count in counts.items()],
)

# %% [markdown]
# ## 7. What lets it be deep
#
# ### Residual connections
#
# The gradient of a deep network is a product of one factor a layer; if they are small, it vanishes, and the first
# layers stop to learn. The cure ([He et al., 2015](https://arxiv.org/abs/1512.03385)): a layer adds to its input
# instead of replacing it.
#
# $$y = x + f(x), \qquad f(x) = y - x, \qquad \frac{dy}{dx} = 1 + \frac{df}{dx}$$
#
# Whatever the layer does, the 1 leads past it. And a layer has to learn only what is to be *changed*.

# %%
torch.manual_seed(0)
depth, curves = 24, {"y = f(x)": [], "y = x + f(x)": []}
layers = [PositionwiseFeedForward(64, 128) for _ in range(depth)]
for name, curve in curves.items():
    states = [torch.randn(32, 64, requires_grad=True)]
    for layer in layers:
        states.append(layer(states[-1]) + (states[-1] if "x +" in name else 0))
        states[-1].retain_grad()
    states[-1].sum().backward()
    curve.extend((state.grad.norm() / states[-1].grad.norm()).item() for state in states)
plt.figure(figsize=(7, 2.8))
for name, curve in curves.items():
    plt.plot(curve, label=name)
plt.yscale("log")
plt.xlabel("layer")
plt.ylabel("gradient, relative to the last")
plt.legend()
show(
    "The gradient at each of 24 layers: without residual connections it vanishes towards the first, with them it stays."
)

# %% [markdown]
# ### Layer normalisation
#
# After many sums the size of a vector could be anything. Layer norm ([Ba et al.,
# 2016](https://arxiv.org/abs/1607.06450)) gives every token's vector mean 0 and variance 1, then a learnt scale and
# bias for each dimension:
#
# $$\operatorname{LN}(x) = \text{scale} \odot \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \text{bias}, \qquad
# \mu = \frac1d \sum_j x_j, \qquad \sigma^2 = \frac1d \sum_j (x_j - \mu)^2$$
#
# Mean and variance are those of *one token*: no other token and no other sentence of the batch has a say, which is why
# it suits sentences of all lengths better than batch norm. (It does not make the numbers *normally distributed*: it
# moves and stretches them, and leaves the shape of their distribution as it is.)

# %% code="lecturekit.layers:LayerNorm"

# %%
norm = LayerNorm(4)
x = torch.tensor([[1.0, 2.0, 3.0, 6.0], [100.0, 200.0, 300.0, 600.0], [0.0, 0.0, 0.0, 8.0]])
with torch.no_grad():
    for before, after in zip(x.tolist(), norm(x).tolist(), strict=True):
        print(f"{before!s:30} -> {' '.join(f'{number:6.3f}' for number in after)}")

# %% [markdown]
# The second row is a hundred times the first, and comes out the same.

# %% [markdown]
# ### Both together: add & norm
#
# The paper norms *after* the sum, later models *before* the sublayer, so that the residual path runs from bottom to top
# untouched (pre-norm; GPT-2, T5).

# %% code="lecturekit.layers:SublayerConnection"

# %% [markdown]
# ### Before or after? Measured
#
# The gradient that each of 12 fresh layers gets, in its feed-forward network. [Xiong et al.,
# 2020](https://arxiv.org/abs/2002.04745) show that with post-norm it is large near the output before anything is
# learnt, and that this is why the paper's model has to be warmed up (section 9). Near the output post-norm's gradients
# are nearly three times as large here; that is their point. Pre-norm's fall towards the output. [Lecture
# 5](05_gpt.ipynb) measures how this depends on depth.

# %%
plt.figure(figsize=(7, 2.8))
for first, label in ((False, "post-norm, as in the paper"), (True, "pre-norm")):
    torch.manual_seed(0)
    sizes = {"vocab_size": 9, "d_model": 64, "num_heads": 4, "d_ff": 256, "dropout": 0.0, "num_encoder_layers": 12}
    encoder = Encoder(TransformerConfig(**sizes, norm_first=first))
    for parameter in encoder.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    (encoder(torch.randn(16, 20, 64)) * torch.randn(16, 20, 64)).sum().backward()
    norms = torch.tensor([layer.feed_forward.linear2.weight.grad.norm() for layer in encoder.layers])
    plt.plot(range(1, 13), norms.tolist(), marker="o", label=label)
plt.ylim(bottom=0)
plt.xlabel("layer, from the input to the output")
plt.ylabel("size of the gradient")
plt.legend(fontsize=9)
show(
    "Gradient of the feed-forward weights in 12 fresh layers: pre-norm's falls towards the output, post-norm's rises, "
    "and is nearly three times as large there."
)

# %% [markdown]
# ## 8. The model
#
# ### The encoder layer
#
# Self-attention, add & norm, feed-forward, add & norm. Input and output have the same shape, so that layers can be
# stacked.

# %% code="lecturekit.models.transformer:EncoderLayer"

# %% [markdown]
# ### The decoder layer
#
# Three sublayers: self-attention under the causal mask; attention to the encoder's output, in which **queries come from
# the decoder, keys and values from the encoder**, that of lecture 1; feed-forward. Every decoder layer reads the output
# of the *last* encoder layer.

# %% code="lecturekit.models.transformer:DecoderLayer"

# %% [markdown]
# ### In and out
#
# At the bottom: token embeddings times $\sqrt{D}$, plus positions. At the top a linear map to the vocabulary gives
# **logits**, and a softmax makes probabilities of them. Both embeddings and the last map are *one* matrix (section
# 3.4): a token that comes in and one that goes out are the same token.

# %% code="lecturekit.models.transformer:TransformerEmbeddings"

# %%
torch.manual_seed(0)
logits = torch.tensor([2.0, 1.0, 0.1, -1.0])
table(
    ["token", "cat", "dog", "кот", "."],
    [
        ["logit", *(f"{number:.1f}" for number in logits.tolist())],
        ["probability", *(f"{number:.3f}" for number in logits.softmax(-1).tolist())],
    ],
)

# %% [markdown]
# ### All of it

# %% code="lecturekit.models.transformer:Transformer.encode"

# %% code="lecturekit.models.transformer:Transformer.decode"

# %% [markdown]
# ### How large is it?
#
# Counted on a device without memory. Table 3 says 65M for the base model and 213M for the big one; how the paper
# rounds, and which vocabulary it counts, it does not say. With 37,000 tokens, one shared matrix and the biases that we
# have:

# %%
rows = []
for name, sizes in (("base", {}), ("big", {"d_model": 1024, "num_heads": 16, "d_ff": 4096})):
    config = TransformerConfig(**sizes)
    with torch.device("meta"):
        model = Transformer(config)
    count = {
        part: sum(p.numel() for p in getattr(model, part).parameters())
        for part in ("source_embeddings", "encoder", "decoder")
    }
    total = sum(p.numel() for p in model.parameters())
    rows.append(
        [name, config.d_model, config.num_heads, config.d_ff, *(f"{n:,}" for n in count.values()), f"{total:,}"]
    )
table(["model", "width", "heads", "inner width", "embeddings", "encoder", "decoder", "together"], rows)

# %% [markdown]
# ## 9. Training
#
# WMT'14 English-German, 4.5 million pairs, a shared vocabulary of some 37,000 byte-pair tokens; English-French, 36
# million pairs, 32,000 word pieces. Batches of some 25,000 source and 25,000 target tokens, sentences of like length
# together. Eight P100 GPUs: the base model takes 100,000 steps in 12 hours, the big one 300,000 in 3.5 days (sections
# 5.1 and 5.2). Adam with $\beta_1 = 0.9$, $\beta_2 = 0.98$, $\varepsilon = 10^{-9}$.

# %% [markdown]
# ### Teacher forcing, all at once
#
# As in lecture 1 the decoder reads the true target without its last token and is compared with it without its first.
# New is that no position waits for another.

# %% code="lecturekit.models.transformer:Transformer.loss"

# %% [markdown]
# ### The schedule (equation 3)
#
# $$lr = d^{-0.5} \cdot \min(step^{-0.5},\; step \cdot warmup^{-1.5})$$
#
# Up in a straight line for 4,000 steps, then down as $1/\sqrt{step}$. At the start gradients are large and of little
# use (post-norm), and Adam has not yet seen enough to know their size.

# %% code="lecturekit.models.transformer:learning_rate"

# %%
plt.figure(figsize=(7, 2.6))
steps = range(1, 20_001, 50)
for width, warmup in ((512, 4000), (512, 8000), (256, 4000)):
    rates = [learning_rate(step, width, warmup) for step in steps]
    plt.plot(steps, rates, label=f"d = {width}, warm-up {warmup}: highest {learning_rate(warmup, width, warmup):.1e}")
plt.xlabel("step")
plt.ylabel("learning rate")
plt.legend(fontsize=9)
show("The learning rate rises in a straight line during warm-up and falls as one over the root of the step.")

# %% [markdown]
# ### Dropout and label smoothing (section 5.4)
#
# **Dropout** 0.1: on each sublayer's output before it is added, and on the sums of embeddings and positions.
#
# **Label smoothing** 0.1: the wanted distribution is not one-hot. The label gets $1 - \varepsilon$, and $\varepsilon$
# is spread over the vocabulary. The model is never asked to be quite certain: perplexity gets worse, accuracy and BLEU
# better.

# %% code="lecturekit.models.transformer:label_smoothed_loss"

# %%
label, vocabulary = torch.tensor([[1]]), 5
rows = []
for confidence in (0.5, 0.8, 0.92, 0.99, 0.9999):
    probabilities = torch.full((1, 1, vocabulary), (1 - confidence) / (vocabulary - 1))
    probabilities[..., 1] = confidence
    losses = [label_smoothed_loss(probabilities.log(), label, smoothing).item() for smoothing in (0.0, 0.1)]
    rows.append([confidence, *(f"{loss:.4f}" for loss in losses)])
table(["probability of the right one of 5 tokens", "loss, one-hot", "loss, smoothed by 0.1"], rows)

# %% [markdown]
# Smoothed, the loss is smallest at $0.9 + 0.1 / 5 = 0.92$ and rises again beyond.

# %% [markdown]
# ### A Transformer learns to write backwards
#
# Words of three to nine letters of both alphabets, at random: «мир» becomes «рим», "lecture" becomes "erutcel". One
# encoder layer, one decoder layer, four heads, the schedule above. Easy for you; for a model without recurrence it
# means to find, for each letter, the right *place* to look at.

# %%
ALPHABET = "абвгдежзийклмнопрстуфхцчшщъыьэюяabcdefghijklmnopqrstuvwxyz"  # 0 padding, 1 bos, 2 eos, then these
SIZES = {"d_model": 64, "num_heads": 4, "num_encoder_layers": 1, "num_decoder_layers": 1, "d_ff": 128}


def draw(seed, count=64, shortest=3, longest=9):
    """Random words [B, S] and the same backwards, from bos to eos [B, T]."""
    chance = torch.Generator().manual_seed(seed)
    lengths = torch.randint(shortest, longest + 1, (count,), generator=chance)
    letters = torch.randint(3, 3 + len(ALPHABET), (count, longest), generator=chance)
    places = torch.arange(longest)
    source = letters * (places < lengths[:, None])
    target = torch.zeros(count, longest + 2, dtype=torch.long)
    target[:, 0] = 1
    target.scatter_(1, (lengths[:, None] - places).clamp(min=0), source)
    target[:, 0] = 1
    return source, target.scatter(1, lengths[:, None] + 1, 2)


def read_word(word):
    return torch.tensor([[3 + ALPHABET.index(letter) for letter in word]])


def letters_of(ids):
    return ["<bos>" if i == 1 else "<eos>" if i == 2 else ALPHABET[i - 3] if i > 2 else "" for i in ids]


torch.manual_seed(0)
model = Transformer(TransformerConfig(vocab_size=3 + len(ALPHABET), dropout=0.0, label_smoothing=0.0, **SIZES))
optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
total = 600
run = widgets.watch(
    training(
        model,
        draw,
        lambda model, pair: model.loss(*pair),
        optimizer,
        total,
        schedule=lambda done: 0.4 * learning_rate(done + 1, 64, 120),
    ),
    total=total,
)
display(run)

# %% [markdown]
# ### What it writes
#
# Words that were not among the batches; the share is of 200 random ones.

# %%
run.wait()
model.eval()


def written(word):
    """What the model writes, greedily."""
    return "".join(letters_of(model.generate(read_word(word), 12)[0].tolist())).removesuffix("<eos>")


for word in ("мир", "лекция", "heads", "attention", "трансформер"):
    print(f"{word:12} -> {written(word)}")


@torch.no_grad()
def share_right(model, **lengths):
    """Of 200 words, how many are written backwards without a mistake."""
    source, target = draw(10_000, 200, **lengths)
    written = model.generate(source, target.size(1) - 1)
    written = F.pad(written, (0, target.size(1) - 1 - written.size(1)))
    return (written == target[:, 1:]).all(1).float().mean().item()


for shortest, longest in ((3, 9), (10, 10), (12, 12)):
    share = share_right(model, shortest=shortest, longest=longest)
    print(f"words of {shortest} to {longest} letters: {share:.0%} right")

# %% [markdown]
# It has learnt places, not the rule: words longer than those in training have places it never saw used. Sinusoidal
# positions alone do not make a model go beyond its lengths.

# %% [markdown]
# ### Where it looks
#
# From target to source: the first letter that is written comes from the last one that was read.

# %%
source = read_word("лекция")
target = torch.cat([torch.tensor([[1]]), source.flip(1)], 1)
weights = model.attention_weights(source, target)
widgets.attention_map(
    encoder_attentions=weights.encoder,
    decoder_attentions=weights.decoder,
    cross_attentions=weights.cross,
    tokens=letters_of(source[0].tolist()),
    target_tokens=letters_of(target[0].tolist()),
)

# %% [markdown]
# The mean of the heads of cross-attention as an alignment, as in lecture 1:

# %%
widgets.alignment(weights.cross[0][0].mean(0)[:-1], letters_of(source[0].tolist()), letters_of(target[0, 1:].tolist()))

# %% [markdown]
# ### Writing, and not twice the same work
#
# In training all positions are computed at once; when it writes, one token comes after the other, as ever. Under the
# causal mask keys and values of old tokens never change: keep them, and each new token costs one token's work.

# %% code="lecturekit.models.transformer:decode_next"

# %%
with torch.no_grad():
    memory, mask = model.encode(source)
    whole = model.decode(target, memory, mask)
    cache = KeyValueCache()
    piecewise = [decode_next(model, target[:, : n + 1], memory, mask, cache) for n in range(target.size(1))]
print(f"largest difference: {(whole - torch.cat(piecewise, 1)).abs().max():.1e}; tokens in the cache: {cache.length}")

# %% [markdown]
# ## 10. What it costs
#
# Table 1: $n$ tokens, width $d$, kernel $k$ of a convolution, neighbourhood $r$.
#
# | layer | complexity | sequential steps | longest path between two tokens |
# |---|---|---|---|
# | self-attention | $O(n^2 \cdot d)$ | $O(1)$ | $O(1)$ |
# | recurrent | $O(n \cdot d^2)$ | $O(n)$ | $O(n)$ |
# | convolutional | $O(k \cdot n \cdot d^2)$ | $O(1)$ | $O(\log_k n)$ |
# | self-attention, restricted | $O(r \cdot n \cdot d)$ | $O(1)$ | $O(n / r)$ |
#
# As long as $n < d$, as in sentences, self-attention is even cheaper than a recurrent layer; in either case it needs
# one step instead of $n$, and any two tokens are neighbours.

# %% [markdown]
# ### Counted for one head
#
# Input $X$: [n, d], $h$ heads of width $d/h$:
#
# | step | operations |
# |---|---|
# | $Q$, $K$, $V$ | $O(n \cdot d \cdot d/h)$ |
# | scores $QK^\top$ | $O(n \cdot n \cdot d/h)$ |
# | context $\operatorname{softmax}(A) V$ | $O(n \cdot n \cdot d/h)$ |
# | joining all heads, and $W^O$ | $O(n \cdot d \cdot d)$ |
#
# All heads together: $O(n d^2 + n^2 d)$. ([n, n] times [n, d/h], the third row, takes $n \cdot n \cdot d/h$ products.)

# %% [markdown]
# ### What is quadratic, and when it hurts
#
# Multiplications in one encoder layer of the base model, by length. Until a few thousand tokens the square is not what
# one pays for.

# %%
lengths = [2**n for n in range(5, 16)]
width, inner = 512, 2048
costs = {
    "projections, $4nd^2$": [4 * n * width**2 for n in lengths],
    "feed-forward, $2nd\\,d_{ff}$": [2 * n * width * inner for n in lengths],
    "scores and context, $2n^2d$": [2 * n * n * width for n in lengths],
}
_, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
for name, cost in costs.items():
    axes[0].plot(lengths, cost, label=name, marker=".")
whole = [sum(parts) for parts in zip(*costs.values(), strict=True)]
axes[1].stackplot(lengths, *([part / of for part, of in zip(cost, whole, strict=True)] for cost in costs.values()))
axes[0].set(xscale="log", yscale="log", xlabel="length n", title="multiplications")
axes[1].set(xscale="log", xlabel="length n", title="share", ylim=(0, 1))
axes[0].legend(fontsize=8)
show("Multiplications of projections, feed-forward and attention by length; attention dominates only for long texts.")
even = (4 * width**2 + 2 * width * inner) / (2 * width)
display(Markdown(f"Attention itself costs as much as all else in the layer at $n = {even:,.0f}$ tokens."))

# %% [markdown]
# ## 11. Results
#
# ### Translation (table 2)
#
# BLEU on WMT'14 newstest2014, and the floating-point operations of training.
#
# | model | En-De | En-Fr | cost En-De | cost En-Fr |
# |---|---|---|---|---|
# | ByteNet | 23.75 | | | |
# | Deep-Att + PosUnk | | 39.2 | | $1.0 \cdot 10^{20}$ |
# | GNMT + RL | 24.6 | 39.92 | $2.3 \cdot 10^{19}$ | $1.4 \cdot 10^{20}$ |
# | ConvS2S | 25.16 | 40.46 | $9.6 \cdot 10^{18}$ | $1.5 \cdot 10^{20}$ |
# | mixture of experts | 26.03 | 40.56 | $2.0 \cdot 10^{19}$ | $1.2 \cdot 10^{20}$ |
# | GNMT + RL, ensemble | 26.30 | 41.16 | $1.8 \cdot 10^{20}$ | $1.1 \cdot 10^{21}$ |
# | ConvS2S, ensemble | 26.36 | 41.29 | $7.7 \cdot 10^{19}$ | $1.2 \cdot 10^{21}$ |
# | **Transformer, base** | 27.3 | 38.1 | $3.3 \cdot 10^{18}$ | the same |
# | **Transformer, big** | **28.4** | **41.8** | $2.3 \cdot 10^{19}$ | the same |
#
# To German the base model alone is better than every ensemble before it, at a fraction of the cost. (Beam of 4, length
# penalty 0.6, the last checkpoints averaged: section 6.1.)

# %%
before = {"GNMT": (2.3e19, 24.6), "ConvS2S": (9.6e18, 25.16), "experts": (2.0e19, 26.03)}
before |= {"GNMT, ensemble": (1.8e20, 26.30), "ConvS2S, ensemble": (7.7e19, 26.36)}
plt.figure(figsize=(7, 3))
for named, colour in ((before, "C7"), ({"base": (3.3e18, 27.3), "big": (2.3e19, 28.4)}, "C0")):
    plt.scatter(*zip(*named.values(), strict=True), color=colour, label="Transformer" if colour == "C0" else "before")
    for name, (cost, bleu) in named.items():
        place = (-30, -14) if name == "GNMT, ensemble" else (6, 4)
        plt.annotate(name, (cost, bleu), textcoords="offset points", xytext=place, fontsize=9)
plt.xscale("log")
plt.xlim(right=8e20)
plt.ylim(top=29)
plt.xlabel("floating-point operations of training (table 2)")
plt.ylabel("BLEU, English to German")
plt.legend(loc="upper right", fontsize=9)
show("BLEU against cost of training, from table 2: both Transformers lie above everything before.")

# %% [markdown]
# ### What matters? (table 3)
#
# English-German, development set newstest2013; perplexity is per token. Each row changes one thing of the base model.
#
# | | perplexity | BLEU | parameters |
# |---|---|---|---|
# | base: 6 layers, $d = 512$, $d_{ff} = 2048$, 8 heads | 4.92 | 25.8 | 65M |
# | (A) 1 head of 512 | 5.29 | 24.9 | |
# | (A) 4 heads of 128 | 5.00 | 25.5 | |
# | (A) 16 heads of 32 | 4.91 | 25.8 | |
# | (A) 32 heads of 16 | 5.01 | 25.4 | |
# | (B) keys of width 16 | 5.16 | 25.1 | 58M |
# | (C) 2 layers | 6.11 | 23.7 | 36M |
# | (C) $d = 1024$ | 4.66 | 26.0 | 168M |
# | (C) $d_{ff} = 4096$ | 4.75 | 26.2 | 90M |
# | (D) no dropout | 5.77 | 24.6 | |
# | (D) no label smoothing | 4.67 | 25.3 | |
# | (E) learned positions | 4.92 | 25.7 | |
# | big: 6, 1024, 4096, 16 heads, dropout 0.3 | **4.33** | **26.4** | 213M |
#
# One head loses 0.9 BLEU, too many lose as well. Bigger is better, and dropout pays. And smoothing does what was said:
# without it perplexity is better and BLEU worse.

# %% [markdown]
# ### Does it do other things? (table 4)
#
# English constituency parsing, a tree written as a sequence. Four layers, hardly tuned: F1 of 91.3 with the Wall Street
# Journal's 40,000 sentences alone, 92.7 with 17 million more (section 6.3). That was the hint of what came: one
# architecture for every task.

# %% [markdown]
# ## 12. What heads do
#
# [Voita et al., 2019](https://aclanthology.org/P19-1580/) find in translation models three kinds of encoder heads that
# matter:
#
# - **positional**: they look at the token before or after;
# - **syntactic**: from verb to subject, from verb to object, and back;
# - **rare words**: they look at the rarest token of the sentence.
#
# And they prune: of 48 encoder heads of an English-Russian model 38 can go for 0.15 BLEU (abstract there).

# %% [markdown]
# ### Heads that need not be learnt
#
# If many heads look at a neighbour, why learn it? [Raganato et al., 2020](https://arxiv.org/abs/2002.10260) replace
# seven of eight heads of each encoder layer by fixed patterns: this token, the one before, the one after, all to the
# left, all to the right, the beginning, the end of the sentence. One head is learnt. Translation gets no worse, and
# with few training data better by up to 3 BLEU (abstract there). Here the seven, somewhat simplified: even weights
# where theirs grow with distance.

# %%
n = 7
below, first, last = torch.ones(n, n).tril(-1), torch.zeros(n, n), torch.zeros(n, n)
first[:, 0] = last[:, -1] = 1
patterns = {"this": torch.eye(n), "before": torch.eye(n).roll(-1, 1).tril(), "after": torch.eye(n).roll(1, 1).triu()}
patterns |= {"left": below, "right": below.T, "beginning": first, "end": last}
_, axes = plt.subplots(1, 7, figsize=(10, 1.8), layout="constrained")
for axis, (name, pattern) in zip(axes, patterns.items(), strict=True):
    axis.imshow(pattern / pattern.sum(1, keepdim=True).clamp(min=1), cmap="Blues", vmin=0, vmax=1)
    axis.set(title=name, xticks=[], yticks=[])
show("Seven fixed patterns of attention as matrices: diagonals, triangles and single columns.")

# %% [markdown]
# ### Switch one off
#
# [Michel et al., 2019](https://arxiv.org/abs/1905.10650) put a switch $\xi_h$ before each head:
#
# $$\operatorname{MHAtt}(x, q) = \sum_{h=1}^{N_h} \xi_h \operatorname{Att}_h(x, q)$$
#
# (a sum, since $\operatorname{Concat}(\dots) W^O = \sum_h \mathrm{head}_h W^O_h$). Most heads of a large model can be
# switched off one by one without a trace: of 96 heads of self-attention in their translation model's encoder, eight
# make a significant difference, and half of these for the better (section 3.2). Our reverser has 12 heads in all:


# %%
def without_heads(module, heads):
    """Set the columns of W^O that read these heads to zero; returns what undoes it."""
    kept = module.output.weight.detach().clone()
    width = kept.size(1) // module.num_heads
    with torch.no_grad():
        for head in heads:
            module.output.weight[:, head * width : (head + 1) * width] = 0

    def undo():
        with torch.no_grad():
            module.output.weight.copy_(kept)

    return undo


modules = {
    "encoder": model.encoder.layers[0].self_attention,
    "decoder": model.decoder.layers[0].self_attention,
    "cross": model.decoder.layers[0].cross_attention,
}
rows = []
for name, module in modules.items():
    shares = []
    for heads_off in ([0], [1], [2], [3], [0, 1, 2, 3]):
        undo = without_heads(module, heads_off)
        shares.append(f"{share_right(model):.0%}")
        undo()
    rows.append([name, *shares])
display(Markdown(f"With all heads: {share_right(model):.0%} of the words right. Without:"))
table(["", "head 0", "head 1", "head 2", "head 3", "all four"], rows)

# %% [markdown]
# A small model has few heads to spare: each has its share of the work, and the table says how large.

# %% [markdown]
# ### All but one (Michel et al., table 2)
#
# A large translation Transformer, WMT'14 English-French, 16 heads a layer. Of one layer only its best head is kept; the
# change of BLEU:
#
# | layer | encoder | decoder to encoder | decoder |
# |---|---|---|---|
# | 1 | **−1.31** | **0.24** | −0.03 |
# | 2 | −0.16 | 0.06 | 0.12 |
# | 3 | 0.12 | 0.05 | 0.18 |
# | 4 | −0.15 | −0.24 | 0.17 |
# | 5 | 0.02 | **−1.55** | −0.04 |
# | 6 | **−0.36** | **−13.56** | 0.24 |
#
# Bold: significant at $p < 0.01$. In nearly every layer one head of sixteen is enough. The exception says where many
# are needed: in the last layer's look at the source. (The same for BERT: [lecture 4](04_bert.ipynb).)

# %% [markdown]
# ### Iterative pruning
#
# One head at a time says nothing of many at once. Michel et al. (section 4) rank all heads by the gradient of the loss
# by their switch, $I_h = \mathbb{E}\,|\partial L / \partial \xi_h|$, and remove the least important, a tenth at a time.
# Our reverser's heads, ranked in that way and removed one after the other:

# %%
source, target = draw(20_000)
importance = {}
for name, module in modules.items():
    switches = torch.ones(module.num_heads, requires_grad=True)

    def switched(_, inputs, switches=switches):
        parts = inputs[0].unflatten(-1, (len(switches), -1))  # [B, T, H, d]
        return (parts * switches[:, None]).flatten(-2)

    hook = module.output.register_forward_pre_hook(switched)
    total_gradient = torch.zeros(module.num_heads)
    for row in range(40):
        loss = model.loss(source[row : row + 1], target[row : row + 1])
        total_gradient += torch.autograd.grad(loss, switches)[0].abs()
    hook.remove()
    importance |= {(name, head): number for head, number in enumerate(total_gradient.tolist())}
ranked = sorted(importance, key=importance.get)
shares, undone = [share_right(model)], []
for name, head in ranked:
    undone.append(without_heads(modules[name], [head]))
    shares.append(share_right(model))
for undo in reversed(undone):
    undo()
plt.figure(figsize=(7, 2.6))
plt.plot(shares, marker="o")
plt.xlabel("heads removed of 12, the least important first")
plt.ylabel("words right")
show("Share of words written right as heads are removed in the order of their importance.")
print("from the least important:", ", ".join(f"{name} {head}" for name, head in ranked))

# %% [markdown]
# Michel et al. remove 20 % of the heads of their translation model and 40 % of BERT's without a noticeable loss; beyond
# that quality falls fast. Learning with many heads and using few is not the same as learning with few.

# %% [markdown]
# ### What weights do not say
#
# A large weight is not yet an influence, and different weights may do the same ([Brunner et al.,
# 2020](https://arxiv.org/abs/1908.04211), [lecture 4](04_bert.ipynb)). One head adds $A\,E\,W^V H = A\,T$ to the
# output, $E$ being the $d_s$ input vectors, $H$ its part of $W^O$. And
#
# $$\operatorname{rank}(T) \le \min(d_s, d, d, d_v, d_v, d) = \min(d_s, d_v)$$
#
# If the text is longer than a head is wide, $d_s > d_v$, then $T$ has a null space of at least $d_s - d_v$ dimensions:
# what of $A$ lies in it has no effect at all. In BERT $d_s$ is up to 512, $d_v$ is 64.

# %% [markdown]
# ### Two patterns, one result
#
# Twenty tokens, a head of width 4. To the weights of every row we add as much of a null direction as they bear without
# becoming negative; its sum is zero, so the rows still sum to one.

# %%
torch.manual_seed(1)
count, width = 20, 4
value = torch.randn(count, width, dtype=torch.float64)
weights = torch.softmax(torch.randn(6, count, dtype=torch.float64) / 3, -1)
fixed = torch.cat([value, torch.ones(count, 1, dtype=torch.float64)], 1)  # no effect on the context, nor on the sum
null = torch.linalg.svd(fixed.T).Vh[width + 1 :]  # [count - width - 1, count]
direction = torch.randn(6, len(null), dtype=torch.float64) @ null
bearable = torch.where(direction < 0, weights / -direction, math.inf).min(1, keepdim=True).values
other = weights + bearable * direction
_, axes = plt.subplots(1, 2, figsize=(9, 2), layout="constrained")
for axis, (title, matrix) in zip(axes, {"weights": weights, "other weights": other}.items(), strict=True):
    axis.imshow(matrix, cmap="Blues", vmin=0, vmax=weights.max())
    axis.set(title=title, xlabel="key", ylabel="query")
show("Two matrices of attention weights that look different and have the same context.")
sums = (other.sum(1) - 1).abs().max()
print(f"weights differ by up to {(other - weights).abs().max():.3f}, their sums from one by at most {sums:.0e},")
print(f"contexts by at most {(other @ value - weights @ value).abs().max():.0e}; null space: {len(null)} dimensions")

# %% [markdown]
# ### Effective attention
#
# $A^\perp = A - \operatorname{Projection}_{LN(T)} A$: what is left has all of the effect. $LN(T)$ is here the left null
# space of $T$, all $a$ with $aT = 0$, no layer norm. Switch between raw and effective in the picture; the text has more
# tokens than a head of this model is wide, and effective weights may be negative (orange).

# %%
long = "Весь мир знал, что князь любит её, но она не знала этого и думала, что он уехал и никогда не вернётся домой."
widgets.attention_map(bert, pieces, ids=pieces(long)["input_ids"]).set(layer=1, shown="effective")

# %% [markdown]
# ## 13. Limits, and what came of them
#
# | limit | what came of it |
# |---|---|
# | cost grows with the square of the length | sparse and local attention, linear attention; fused kernels |
# | it writes one token after the other | caches; drafts that are checked in one pass |
# | lengths beyond those in training | relative positions ([lecture 6](06_t5.ipynb)), rotations, biases by distance |
# | learning needs warm-up and care | pre-norm |
# | pairs for each task | pre-training: [BERT](04_bert.ipynb), [GPT](05_gpt.ipynb), [T5](06_t5.ipynb) |
# | heads are redundant, weights are no explanation | pruning; [lecture 4](04_bert.ipynb) |

# %% [markdown]
# ### In your own words
#
# 1. Why is $\sqrt{d_k}$ the width of a *head*, and not of the model?
# 2. Which of the two attentions of a decoder layer can compute its keys and values once for a whole sentence, and why
#    not the other?
# 3. A model has no positions, but a causal mask. Can it tell the order of words?
# 4. Where in the layer do tokens meet? Where does a token think alone?
# 5. Why can a decoder learn from all positions at once, and yet write only one at a time?

# %% [markdown]
# ## 14. Links
#
# **Lab**: [Lab 3](../labs/lab03/lab03.ipynb): attention, masks, heads, positions, layer norm, feed-forward and
# residual, encoder and decoder layer, the schedule, a task learnt.
#
# **Papers**
#
# - [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762): sections 3 (model), 4 (why), 5 (training), 6 (results)
# - [Ba et al., 2016](https://arxiv.org/abs/1607.06450), layer normalisation
# - [He et al., 2015](https://arxiv.org/abs/1512.03385), residual connections
# - [Xiong et al., 2020](https://arxiv.org/abs/2002.04745), norm before or after
# - [Voita et al., 2019](https://arxiv.org/abs/1905.09418), heads that do the work
# - [Michel et al., 2019](https://arxiv.org/abs/1905.10650), sections 3 and 4: heads switched off, pruned
# - [Raganato et al., 2020](https://arxiv.org/abs/2002.10260), fixed patterns
# - [Brunner et al., 2020](https://arxiv.org/abs/1908.04211), section 3: identifiability
#
# **To read on**: [Lena Voita, NLP Course: Transformer][voita] · [Jay Alammar, The Illustrated Transformer][alammar] ·
# [The Annotated Transformer][harvard] · [Dive into Deep Learning][d2l] · [Google's announcement, with its
# animation][google]
#
# [voita]: https://lena-voita.github.io/nlp_course/seq2seq_and_attention.html#transformer_intro
# [alammar]: https://jalammar.github.io/illustrated-transformer/
# [harvard]: https://nlp.seas.harvard.edu/annotated-transformer/
# [d2l]: https://d2l.ai/chapter_attention-mechanisms-and-transformers/index.html
# [google]: https://ai.googleblog.com/2017/08/transformer-novel-neural-network.html
#
# Next: [Lecture 4, BERT](04_bert.ipynb).
