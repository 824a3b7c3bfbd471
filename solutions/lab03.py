# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 3. The Transformer by hand
#
# In this lab you build the model of *Attention Is All You Need* (Vaswani et al., 2017,
# [arXiv:1706.03762](https://arxiv.org/abs/1706.03762)) piece by piece, and in the last exercise your own pieces
# learn to turn a sequence round. Section and equation numbers below are that paper's.
#
# | exercise | what you write | points |
# |---|---|---|
# | 1 | scaled dot-product attention | 14 |
# | 2 | padding and causal masks | 12 |
# | 3 | splitting into heads, multi-head attention | 14 |
# | 4 | sinusoidal positions | 8 |
# | 5 | layer norm | 10 |
# | 6 | feed-forward network, residual connection | 10 |
# | 7 | the encoder layer | 8 |
# | 8 | the decoder layer | 12 |
# | 9 | the learning-rate schedule | 5 |
# | 10 | the whole model, and a task that it learns | 7 |
#
# **How to work.** Replace each `raise NotImplementedError()` with your code; its docstring says exactly what is wanted.
# Keep names and parameters as they are. Run the test cell below an exercise: it says `passed`, or what was expected
# and what was found, and often *which* mistake it looks like. **Validate** runs all of them at once, in a fresh kernel.
# Graders also run further checks, on fresh numbers. Add cells of your own wherever you like.
#
# PyTorch's ready-made answers (`nn.MultiheadAttention`, `F.scaled_dot_product_attention`, `nn.LayerNorm`,
# `F.layer_norm`, `nn.Transformer` and its layers) earn nothing where you are asked to write them: compare yours with
# them in cells of your own as often as you like, not inside the solution. Validate does not look for them, graders do.
# The bodies that this lab asks for are missing from the graders' copy of `lecturekit`.
#
# **Shapes.** B batch, T length (Tq queries, Tk keys where they differ), H heads, D width of the model, d = D / H.

# %% cage=true
lacks = [
    "lecturekit.layers:attention",
    "lecturekit.layers:fused_attention",
    "lecturekit.models.transformer:decode_next",
    "lecturekit.models.transformer:decode_layer",
]
forbids = {
    "attention, heads": [
        "torch.nn.MultiheadAttention",
        "torch.nn.functional.multi_head_attention_forward",
        "torch.nn.functional.scaled_dot_product_attention",
        "torch.nn.attention.flex_attention.flex_attention",
        "torch._native_multi_head_attention",
    ],
    "norm": ["torch.nn.LayerNorm", "torch.nn.functional.layer_norm", "torch.native_layer_norm"],
    "*": ["torch.nn.Transformer*"],
}

# %% locked="setup"
# %load_ext lecturekit.checks
import math
from collections.abc import Callable
from contextlib import ExitStack

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecturekit import checks as check
from lecturekit.layers import check_attention, check_ids
from lecturekit.models.transformer import AttentionWeights, TransformerConfig, label_smoothed_loss

# %% [markdown]
# ## 1. Scaled dot-product attention (14 points)
#
# Every token asks a question (its *query*), every token offers a *key* by which it can be found and a *value* that it
# hands over. How well query $i$ fits key $j$ is their dot product; a softmax over the keys makes weights of these
# scores, and the weights mix the values (section 3.2.1, equation 1):
#
# $$\mathrm{Attention}(Q, K, V) = \mathrm{softmax}\!\left(\frac{QK^\top}{\sqrt{d}}\right) V$$
#
# The $\sqrt d$ is there because the dot product of two vectors of $d$ independent numbers with variance 1 has variance
# $d$: without it, wide heads begin with a softmax that is almost one-hot and passes hardly any gradient.
#
# Some keys must not be looked at: padding, or, in a decoder, the future. A **mask** says which may be (`True`) and
# which may not (`False`). It has to act on the scores *before* the softmax, or the weights no longer sum to one.

# %% solution="lecturekit.layers:scaled_dot_product_attention" hide="body"

# %% [markdown]
# The sentence «Я иду домой» with numbers small enough for pencil and paper. The three queries pick one column of the
# keys each, so after the division by $\sqrt 4$ the scores of «домой» are $0, \ln 2, \ln 4$: its weights must be
# $\frac17, \frac27, \frac47$.

# %% test="attention:values" points=6
log = math.log
query = torch.tensor([[0.0, 2, 0, 0], [0, 0, 2, 0], [2, 0, 0, 0]])  # Я, иду, домой
key = torch.tensor([[0.0, log(3), 0, 0], [log(2), 0, 0, 0], [log(4), 0, 0, 0]])
value = torch.tensor([[1.0, 0], [0, 1], [7, 7]])
context, weights = scaled_dot_product_attention(query, key, value)
by_hand = torch.tensor([[3 / 5, 1 / 5, 1 / 5], [1 / 3, 1 / 3, 1 / 3], [1 / 7, 2 / 7, 4 / 7]])
check.close(weights, by_hand, why="the weights of Я, иду and домой, one row each")
check.close(context, by_hand @ value, why="each row of the context is the mean of the values under its weights")
### BEGIN HIDDEN TESTS
query, key, value = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 4)
context, weights = scaled_dot_product_attention(query, key, value)
check.shape(weights, 2, 3, 5, 6)
check.close(weights.sum(-1), torch.ones(2, 3, 5), why="each row of weights sums to one")
check.close(context, torch.nn.functional.scaled_dot_product_attention(query, key, value))
### END HIDDEN TESTS

# %% test="attention:mask" points=4
scores_alike = torch.zeros(3, 4)
value = torch.tensor([[1.0], [2], [3]])
mask = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
context, weights = scaled_dot_product_attention(scores_alike, scores_alike, value, mask)
check.close(weights, torch.tensor([[1, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]]), why="True may be looked at")
check.close(context, torch.tensor([[1.0], [1.5], [2.0]]), why="the mean of the values under these weights")
blind = torch.zeros(3, 3).bool()
_, weights = scaled_dot_product_attention(torch.eye(3), torch.eye(3), value, blind)
check.close(weights, torch.full((3, 3), 1 / 3), why="a query that may look at nothing spreads its weights evenly")
### BEGIN HIDDEN TESTS
query, key, value = torch.randn(2, 2, 5, 4), torch.randn(2, 2, 6, 4), torch.randn(2, 2, 6, 3)
mask = torch.rand(2, 1, 5, 6) > 0.4
mask[..., 0] = True
context, weights = scaled_dot_product_attention(query, key, value, mask)
check.close(weights.sum(-1), torch.ones(2, 2, 5), why="each row of weights sums to one, under a mask too")
check.close(context, torch.nn.functional.scaled_dot_product_attention(query, key, value, mask))
blind = torch.zeros(1, 1, 5, 6).bool()
_, weights = scaled_dot_product_attention(query, key, value, blind)
check.close(weights, torch.full((2, 2, 5, 6), 1 / 6), why="a query that may look at nothing spreads its weights evenly")
### END HIDDEN TESTS

# %% test="attention:gradients" points=4
query, key, value = torch.randn(2, 5, 4), torch.randn(2, 6, 4), torch.randn(2, 6, 3)
mask = torch.rand(2, 5, 6) > 0.4
mask[..., 0] = True
check.pure(scaled_dot_product_attention, query, key, value, mask)
direction = torch.randn(2, 5, 3)
got = check.grads(scaled_dot_product_attention, query, key, value, mask, weight=direction, pick=0)
expected = check.grads(torch.nn.functional.scaled_dot_product_attention, query, key, value, mask, weight=direction)
check.close(got, expected, why="the gradients that reach query, key and value")

# %% [markdown]
# **To look at:** `show_sentence(torch.eye(3))` in a cell of your own draws who looks at whom. Each row is a query. What
# does `show_sentence(10 * torch.eye(3))` change, and what does that say about the $\sqrt d$?


# %%
def show_weights(weights: Tensor, queries: list[str], keys: list[str]) -> None:
    """A heat map of weights [Tq, Tk], the queries from top to bottom and the keys from left to right."""
    _, axes = plt.subplots(figsize=(3.5, 3.5))
    axes.imshow(weights.detach().numpy(), vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(keys)), keys)
    axes.set_yticks(range(len(queries)), queries)
    axes.set_xlabel("key")
    axes.set_ylabel("query")
    plt.show()


def show_sentence(x: Tensor) -> None:
    """What the tokens of «Я иду домой», one row of x [3, d] each, look at when each is query, key and value."""
    words = ["Я", "иду", "домой"]
    show_weights(scaled_dot_product_attention(x, x, x)[1], words, words)


# %% [markdown]
# ## 2. Masks (12 points)
#
# Sentences of a batch differ in length, so the short ones are padded with `pad_id`, and nobody may look at padding.
# Its mask gets two axes of length one, which broadcast over the heads and over the queries:
#
# ```
# ids          Я  иду  домой                [B, T]
#              Я  устал  <pad>
# mask         True  True  True             [B, 1, 1, T]
#              True  True  False
# ```
#
# A decoder writes from left to right. In training it sees the whole target at once, so position $i$ has to be kept
# from looking at positions after $i$ (section 3.2.3). Both masks combine with `&`.

# %% solution="lecturekit.layers:padding_mask" hide="body"

# %% solution="lecturekit.layers:causal_mask" hide="body"

# %% test="masks:padding" points=6
ids = torch.tensor([[5, 6, 7], [5, 8, 0]])  # Я иду домой / Я устал <pad>
mask = padding_mask(ids)
check.shape(mask, 2, 1, 1, 3)
check.dtype(mask, torch.bool)
check.equal(mask[:, 0, 0], torch.tensor([[True, True, True], [True, True, False]]), why="True may be looked at")
check.equal(padding_mask(ids, 7)[0, 0, 0], torch.tensor([True, True, False]), why="another pad_id, another padding")
### BEGIN HIDDEN TESTS
ids = torch.randint(0, 4, (3, 7))
check.equal(padding_mask(ids, 3), (ids != 3).reshape(3, 1, 1, 7), why="pad_id=3")
check.pure(padding_mask, ids, 3)
### END HIDDEN TESTS

# %% test="masks:causal" points=6
mask = causal_mask(3)
check.shape(mask, 3, 3)
check.dtype(mask, torch.bool)
check.equal(mask[0], torch.tensor([True, False, False]), why="the first position sees itself alone")
check.equal(mask[2], torch.tensor([True, True, True]), why="the last position sees everything")
### BEGIN HIDDEN TESTS
check.equal(causal_mask(6), torch.arange(6)[:, None] >= torch.arange(6)[None, :], why="six positions")
check.equal(causal_mask(1), torch.tensor([[True]]), why="one position")
check.equal(causal_mask(2) & torch.tensor([[[[True, False]]]]), torch.tensor([[[[True, False], [True, False]]]]))
### END HIDDEN TESTS

# %% [markdown]
# ## 3. Multi-head attention (14 points)
#
# One softmax can look at one thing. So the width $D$ is cut into $H$ heads of $d = D / H$ numbers, each head attends on
# its own, and the results are laid side by side again (section 3.2.2):
#
# $$\mathrm{MultiHead}(Q, K, V) = \mathrm{Concat}(\mathrm{head}_1, \dots, \mathrm{head}_H)\, W^O, \qquad
# \mathrm{head}_i = \mathrm{Attention}(QW_i^Q, KW_i^K, VW_i^V)$$
#
# The $H$ small projections are computed as one big one. Then come the two moves that are easiest to get wrong, because
# a wrong one has the right shape. Head $h$ of token $t$ must hold the numbers $hd \dots (h+1)d - 1$ *of that token*:
#
# ```
# token 0:  0  1 | 2  3        split_heads,       head 0:  0  1      head 1:  2  3
# token 1:  4  5 | 6  7        2 heads                     4  5               6  7
# ```

# %% solution="lecturekit.layers:split_heads" hide="body"

# %% solution="lecturekit.layers:merge_heads" hide="body"

# %% test="heads:split" points=5
x = torch.arange(8.0).reshape(1, 2, 4)  # two tokens of width 4
heads = split_heads(x, 2)
check.shape(heads, 1, 2, 2, 2)
check.equal(heads[0, 0], torch.tensor([[0.0, 1], [4, 5]]), why="head 0 holds the first half of both tokens")
check.equal(heads[0, 1], torch.tensor([[2.0, 3], [6, 7]]), why="head 1 holds the second half of both tokens")
check.equal(merge_heads(torch.tensor([[[[0.0, 1], [4, 5]], [[2, 3], [6, 7]]]])), x, why="merging undoes splitting")
### BEGIN HIDDEN TESTS
x = torch.randn(2, 5, 12)
check.equal(split_heads(x, 3)[1, 2, 3], x[1, 3, 8:12], why="head 2 of token 3")
check.equal(merge_heads(torch.arange(24.0).reshape(1, 2, 3, 4))[0, 1], torch.tensor([4.0, 5, 6, 7, 16, 17, 18, 19]))
check.raises(ValueError, split_heads, x, 5, why="a width that isn't a multiple of the number of heads")
### END HIDDEN TESTS

# %% [markdown]
# In `lecturekit.layers` the function `attention`, which every model calls, uses one of PyTorch's kernels unless
# somebody asks for the weights. Here it is always yours.


# %% locked="attention-is-yours"
def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    need_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """(context, weights), the weights None unless `need_weights`, by your `scaled_dot_product_attention`."""
    context, weights = scaled_dot_product_attention(query, key, value, mask, dropout)
    return context, weights if need_weights else None


# %% solution="lecturekit.layers:MultiHeadAttention" hide="forward"

# %% [markdown]
# How many numbers does one projection of BERT base hold, where $D = 768$? Work it out before you run the cell.

# %% test="heads:attention" points=9
layer = check.new(MultiHeadAttention, 768, 12)
check.params(layer.query, 590_592)
check.params(layer, 4 * 590_592)
layer = check.new(MultiHeadAttention, 12, 3)
check.fill(layer)
x, memory = torch.randn(2, 4, 12), torch.randn(2, 5, 12)
output, weights = layer(x, memory, memory, need_weights=True)
check.shape(output, 2, 4, 12)
check.shape(weights, 2, 3, 4, 5)
query, key = split_heads(layer.query(x), 3), split_heads(layer.key(memory), 3)
context, expected = scaled_dot_product_attention(query, key, split_heads(layer.value(memory), 3))
check.close(weights, expected, why="queries come from the first argument, keys from the second")
check.close(output, layer.output(merge_heads(context)), why="your own pieces, one after the other")
mask = torch.arange(5) < 2
_, expected = scaled_dot_product_attention(query, key, key, mask)
check.close(layer(x, memory, memory, mask, need_weights=True)[1], expected, why="the mask reaches the attention")
### BEGIN HIDDEN TESTS
x, memory, other = torch.randn(2, 4, 12), torch.randn(2, 5, 12), torch.randn(2, 5, 12)
mask = torch.rand(2, 1, 4, 5) > 0.5
mask[..., 0] = True
query, key = split_heads(layer.query(x), 3), split_heads(layer.key(memory), 3)
context, expected = scaled_dot_product_attention(query, key, split_heads(layer.value(other), 3), mask)
output, weights = layer(x, memory, other, mask, need_weights=True)
check.close(weights, expected, why="the weights, under a mask")
check.close(output, layer.output(merge_heads(context)), why="values come from the third argument")
output, weights = layer(x, memory, other, mask)
check.equal(weights, None, why="nobody asked for weights")
check.close(output, layer.output(merge_heads(context)), why="the output is the same if nobody asks for weights")
gradients = check.grads(layer, x, memory, other, mask, pick=0)
moved = torch.is_tensor(gradients["output.weight"]) and gradients["output.weight"].abs().sum().item() > 0
check.equal(moved, True, why="a gradient reaches the output projection")
single, twin = check.new(MultiHeadAttention, 12, 1), check.ours("lecturekit.layers:MultiHeadAttention", 12, 1)
check.fill(single)
check.fill(twin)
why = "with one head, which neither splitting nor merging can spoil"
check.whole(single, twin, x, memory, other, mask, after=["attention"], pick=0, why=why)
why = "the gradients of every projection and of the three arguments"
check.whole(single, twin, x, memory, other, mask, after=["attention"], pick=0, gradients=True, why=why)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Positions (8 points)
#
# Attention does not know in which order the tokens stand: shuffle them, and the outputs are shuffled likewise. So each
# position $p$ gets a vector of its own, added to the token's embedding (section 3.5):
#
# $$PE_{(p,\,2i)} = \sin\!\left(p / 10000^{2i/D}\right), \qquad PE_{(p,\,2i+1)} = \cos\!\left(p / 10000^{2i/D}\right)$$
#
# Sine and cosine of one angle stand side by side; the first pair turns fast, the last one very slowly. For every
# distance $k$ there is one rotation that leads from the vector of any $p$ to that of $p + k$.

# %% solution="lecturekit.layers:sinusoidal_positions" hide="body"

# %% test="positions" points=8
table = sinusoidal_positions(50, 6)
check.shape(table, 50, 6)
check.dtype(table, torch.float32)
check.close(table[0], torch.tensor([0.0, 1, 0, 1, 0, 1]), why="at position 0 every sine is 0 and every cosine 1")
check.close(table[1, :2], torch.tensor([math.sin(1), math.cos(1)]), why="the first pair turns by one radian a position")
slow = 10_000 ** (-4 / 6)
check.close(table[9, 4:], torch.tensor([math.sin(9 * slow), math.cos(9 * slow)]), why="the angle of the last pair")
### BEGIN HIDDEN TESTS
check.close(table[7, 2].item(), math.sin(7 / 10_000 ** (2 / 6)), tol=1e-5, why="column 2 is the sine of pair 1")
check.close(table[31, 5].item(), math.cos(31 / 10_000 ** (4 / 6)), tol=1e-5, why="column 5 is the cosine of pair 2")
wide = sinusoidal_positions(40, 64)
check.close(wide.square().sum(-1), torch.full((40,), 32.0), why="each pair lies on the unit circle")
inner = wide @ wide.T
check.close(inner[3, 8], inner[20, 25], tol=1e-4, why="the product of two positions hangs on their distance alone")
check.raises(ValueError, sinusoidal_positions, 4, 5, why="an odd width")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_positions(60, 64)`. Where do neighbours differ most, where hardly at all?


# %%
def show_positions(length: int, d_model: int) -> None:
    """The table of positions as a picture, a column for each position."""
    _, axes = plt.subplots()
    axes.imshow(sinusoidal_positions(length, d_model).T.numpy(), aspect="auto", cmap="RdBu")
    axes.set_xlabel("position")
    axes.set_ylabel("column of the table")
    plt.show()


# %% [markdown]
# ## 5. Layer norm (10 points)
#
# Every token, on its own, gets mean 0 and variance 1 over its $D$ numbers; then a learnt weight and bias
# (Ba et al., 2016, [arXiv:1607.06450](https://arxiv.org/abs/1607.06450)):
#
# $$y = \gamma \odot \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta, \qquad
# \mu = \frac1D \sum_i x_i, \qquad \sigma^2 = \frac1D \sum_i (x_i - \mu)^2$$
#
# Two details decide the last digits: the sum of squares is divided by $D$, not by $D - 1$, and $\varepsilon$ stands
# inside the root.

# %% solution="lecturekit.layers:LayerNorm" hide="forward"

# %% test="norm:values" points=6
norm = check.new(LayerNorm, 2)
check.params(norm, 4)
y = norm(torch.tensor([[1.0, 3.0], [10.0, 10.0]]))
check.close(y, torch.tensor([[-1.0, 1.0], [0.0, 0.0]]), why="1 and 3 have mean 2, variance 1; 10 and 10 variance 0")
coarse = check.new(LayerNorm, 2, eps=3.0)
check.close(coarse(torch.tensor([1.0, 3.0])), torch.tensor([-0.5, 0.5]), why="with variance 1 and eps 3 the root is 2")
### BEGIN HIDDEN TESTS
norm = check.new(LayerNorm, 6, eps=0.1)
learnt = check.fill(norm)
x = torch.randn(3, 4, 6) * 2 + 1
expected = torch.nn.functional.layer_norm(x, (6,), learnt["weight"], learnt["bias"], 0.1)
check.close(norm(x), expected, tol=1e-5, why="with weight, bias and another eps")
check.pure(norm, x)
### END HIDDEN TESTS

# %% test="norm:gradients" points=4
norm = check.new(LayerNorm, 6)
check.fill(norm)
expected_norm = torch.nn.LayerNorm(6)
check.fill(expected_norm)
x, direction = torch.randn(3, 4, 6), torch.randn(3, 4, 6)
got = check.grads(norm, x, weight=direction)
check.close(got, check.grads(expected_norm, x, weight=direction), why="the gradients of weight, bias and input")

# %% [markdown]
# ## 6. Feed-forward network and residual connection (10 points)
#
# Between attentions every position passes through the same small network (section 3.3, equation 2), which widens to
# `d_ff`, four times the width as a rule, and comes back:
#
# $$\mathrm{FFN}(x) = \max(0,\, xW_1 + b_1)\, W_2 + b_2$$
#
# And around every sublayer runs a *residual connection*: the sublayer only has to say what to change (section 3.1).
# In the paper the norm comes after the sum (*post-norm*); most later models normalise what the sublayer reads
# (*pre-norm*), which keeps a free path from the last layer to the first and trains more easily.
#
# $$\text{post-norm: } \mathrm{LayerNorm}(x + \mathrm{Sublayer}(x)) \qquad
# \text{pre-norm: } x + \mathrm{Sublayer}(\mathrm{LayerNorm}(x))$$

# %% solution="lecturekit.layers:PositionwiseFeedForward" hide="forward"

# %% test="feed-forward:network" points=5
network = check.new(PositionwiseFeedForward, 768, 3072)
check.params(network, 768 * 3072 + 3072 + 3072 * 768 + 768)
network = check.new(PositionwiseFeedForward, 2, 3)
first = {"linear1.weight": torch.tensor([[1.0, 0], [0, 1], [-1, -1]]), "linear1.bias": torch.zeros(3)}
second = {"linear2.weight": torch.tensor([[1.0, 1, 1], [0, 1, 0]]), "linear2.bias": torch.tensor([0.0, 10])}
check.fill(network, {**first, **second})
check.close(network(torch.tensor([2.0, -3.0])), torch.tensor([3.0, 10.0]), why="linear1 gives 2, -3 and 1")
### BEGIN HIDDEN TESTS
network = check.new(PositionwiseFeedForward, 6, 11, dropout=0.5)
w = check.fill(network)
x = torch.randn(2, 4, 6)
inner = torch.relu(x @ w["linear1.weight"].T + w["linear1.bias"])
check.close(network(x), inner @ w["linear2.weight"].T + w["linear2.bias"], why="in evaluation mode nothing is dropped")
check.close(network(x)[1, 2], network(x[1, 2]), why="every position passes alone")
twin, direction = check.ours("lecturekit.layers:PositionwiseFeedForward", 6, 11), torch.randn(2, 4, 6)
check.fill(twin)
got = check.grads(network, x, weight=direction)
check.close(got, check.grads(twin, x, weight=direction), why="the gradients of both maps and of the input")
### END HIDDEN TESTS

# %% solution="lecturekit.layers:SublayerConnection" hide="forward"

# %% [markdown]
# The test hands your connection a sublayer that always answers with the same tensor and remembers what it was asked.

# %% test="feed-forward:residual" points=5
x, answer = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
sublayer = check.stub("Constant", value=answer)
post = check.new(SublayerConnection, 4)
check.fill(post)
check.close(post(x, sublayer), post.norm(x + answer), why="post-norm: the norm of the sum")
check.close(sublayer.seen, x, why="post-norm: the sublayer reads x itself")
pre = check.new(SublayerConnection, 4, norm_first=True)
check.fill(pre)
check.close(pre(x, sublayer), x + answer, why="pre-norm: the sum itself")
check.close(sublayer.seen, pre.norm(x), why="pre-norm: the sublayer reads the norm of x")
### BEGIN HIDDEN TESTS
check.equal(sublayer.calls, 2, why="the sublayer is called once a time")
check.equal(check.grads(pre, x, sublayer)["input0"], torch.ones(2, 3, 4), why="the residual path is free")
check.pure(post, x, sublayer)
x, answer = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
sublayer, norm = check.stub("Constant", value=answer), check.ours("lecturekit.layers:LayerNorm", 4)
check.fill(norm, {"weight": check.fill(post)["norm.weight"], "bias": check.fill(post)["norm.bias"]})
after_sum = check.stub("Constant", value=post(x, sublayer))
check.whole(after_sum, norm, x + answer, after=["norm"], why="post-norm: your norm is right, so this is of the sum")
check.close(pre(x, sublayer), x + answer, why="pre-norm: the sum itself, of other numbers")
read = check.stub("Constant", value=sublayer.seen)
check.whole(read, norm, x, after=["norm"], why="pre-norm: your norm is right, and the sublayer reads the norm of x")
### END HIDDEN TESTS

# %% [markdown]
# ## 7. The encoder layer (8 points)
#
# Self-attention, where queries, keys and values all come from the same tokens, then the feed-forward network, each
# within a connection of its own.

# %% solution="lecturekit.models.transformer:EncoderLayer" hide="forward"

# %% [markdown]
# From here on your layer is judged by how it uses *your own* earlier pieces, so a slip up there costs nothing here.

# %% test="encoder-layer" points=8
config = TransformerConfig(vocab_size=20, d_model=8, num_heads=2, d_ff=16)
layer = check.new(EncoderLayer, config)
check.params(layer, 4 * (8 * 8 + 8) + (8 * 16 + 16) + (16 * 8 + 8) + 2 * 2 * 8)
check.fill(layer)
x = torch.randn(2, 5, 8)
mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2]).reshape(2, 1, 1, 5)
attended = check.stub("Constant", value=layer.self_attention(x, x, x, mask)[0])
y = layer.sublayers[0](x, attended)
check.shape(layer(x, mask), 2, 5, 8)
check.close(layer(x, mask), layer.sublayers[1](y, layer.feed_forward), why="attention first, then feed-forward")
### BEGIN HIDDEN TESTS
x = torch.randn(2, 5, 8)
attended = check.stub("Constant", value=layer.self_attention(x, x, x)[0])
check.close(layer(x), layer.sublayers[1](layer.sublayers[0](x, attended), layer.feed_forward), why="without a mask")
y, direction = layer.sublayers[0](x, attended), torch.randn(2, 5, 8)
gradients = check.grads(layer, x, weight=direction)
own = check.grads(layer.sublayers[1], y, layer.feed_forward, weight=direction, wrt=layer.feed_forward)
arrived = {name: gradients[f"feed_forward.{name}"] for name in own if name != "input0"}
check.close(arrived, {name: own[name] for name in arrived}, why="the gradients of the feed-forward network's weights")
moved = torch.is_tensor(gradients["input0"]) and gradients["input0"].abs().sum().item() > 0
check.equal(moved, True, why="a gradient arrives at x")
check.pure(layer, x, mask)
pieces = ["attention", "heads", "norm", "feed-forward"]
twin = check.ours("lecturekit.models.transformer:EncoderLayer", config)
check.fill(twin)
check.whole(layer, twin, x, mask, after=pieces)
change = torch.randn(2, 5, 8)
for i in range(2):
    changed = layer.sublayers[i](x, check.stub("Constant", value=change))
    other = layer.sublayers[i](x, check.stub("Constant", value=-change))
    check.equal((changed - other).abs().max().item() > 1e-3, True, why="your connections hang on their sublayers")
    why, held = "your norm and your connection are right, in a layer too", check.stub("Constant", value=changed)
    check.whole(held, twin.sublayers[i].norm, x + change, after=["norm", "feed-forward"], why=why)
check.whole(layer.feed_forward, twin.feed_forward, x, after=["feed-forward"])
why = "your pieces are right, so a gradient like ours arrives at each of them and at x (input0)"
check.whole(layer, twin, x, mask, after=pieces, gradients=True, weight=direction, why=why)
config = TransformerConfig(vocab_size=20, d_model=8, num_heads=2, d_ff=16, norm_first=True)
pre, twin = check.new(EncoderLayer, config), check.ours("lecturekit.models.transformer:EncoderLayer", config)
check.fill(pre)
check.fill(twin)
probe = check.stub("Constant", value=x)
probed, read = pre.sublayers[0](x, probe), probe.seen
attended = check.stub("Constant", value=pre.self_attention(read, read, read, mask)[0])
check.close(pre(x, mask), pre.sublayers[1](pre.sublayers[0](x, attended), pre.feed_forward), why="with norm_first")
check.whole(pre, twin, x, mask, after=pieces, why="with norm_first: your pieces are right")
### END HIDDEN TESTS

# %% [markdown]
# ## 8. The decoder layer (12 points)
#
# The decoder has a third sublayer, in the middle: *cross-attention* to what the encoder has made of the source, its
# `memory`. The queries come from the decoder, keys and values from the memory. So there are two masks: `mask` for the
# target (causal, in a model that writes), `memory_mask` for the padding of the source.

# %% solution="lecturekit.models.transformer:DecoderLayer" hide="forward"

# %% test="decoder-layer:values" points=8
config = TransformerConfig(vocab_size=20, d_model=8, num_heads=2, d_ff=16)
layer = check.new(DecoderLayer, config)
check.params(layer, 8 * (8 * 8 + 8) + (8 * 16 + 16) + (16 * 8 + 8) + 3 * 2 * 8)
check.fill(layer)
x, memory = torch.randn(2, 4, 8), torch.randn(2, 6, 8)
mask = torch.ones(4, 4).tril().bool()
memory_mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4]).reshape(2, 1, 1, 6)
y = layer.sublayers[0](x, check.stub("Constant", value=layer.self_attention(x, x, x, mask)[0]))
crossed = layer.cross_attention(y, memory, memory, memory_mask)[0]
z = layer.sublayers[1](y, check.stub("Constant", value=crossed))
expected = layer.sublayers[2](z, layer.feed_forward)
check.close(layer(x, memory, mask, memory_mask), expected, why="self-attention, cross-attention, feed-forward")
### BEGIN HIDDEN TESTS
x, memory = torch.randn(2, 4, 8), torch.randn(2, 6, 8)
y = layer.sublayers[0](x, check.stub("Constant", value=layer.self_attention(x, x, x)[0]))
z = layer.sublayers[1](y, check.stub("Constant", value=layer.cross_attention(y, memory, memory)[0]))
check.close(layer(x, memory), layer.sublayers[2](z, layer.feed_forward), why="without masks")
check.pure(layer, x, memory, mask, memory_mask)
twin = check.ours("lecturekit.models.transformer:DecoderLayer", config)
check.fill(twin)
check.whole(layer, twin, x, memory, mask, memory_mask, after=["attention", "heads", "norm", "feed-forward"])
change = torch.randn(2, 4, 8)
for i in range(3):
    changed = layer.sublayers[i](x, check.stub("Constant", value=change))
    other = layer.sublayers[i](x, check.stub("Constant", value=-change))
    check.equal((changed - other).abs().max().item() > 1e-3, True, why="your connections hang on their sublayers")
    why, held = "your norm and your connection are right, in a layer too", check.stub("Constant", value=changed)
    check.whole(held, twin.sublayers[i].norm, x + change, after=["norm", "feed-forward"], why=why)
check.whole(layer.feed_forward, twin.feed_forward, x, after=["feed-forward"])
### END HIDDEN TESTS

# %% test="decoder-layer:flow" points=4
config = TransformerConfig(vocab_size=20, d_model=8, num_heads=2, d_ff=16)
layer = check.new(DecoderLayer, config)
check.fill(layer)
x, memory = torch.randn(2, 4, 8), torch.randn(2, 6, 8)
direction = torch.randn(2, 4, 8)
gradients = check.grads(layer, x, memory, weight=direction)
moved = torch.is_tensor(gradients["input0"]) and gradients["input0"].abs().sum().item() > 0
check.equal(moved, True, why="a gradient arrives at x")
twin = check.ours("lecturekit.models.transformer:DecoderLayer", config)
check.fill(twin)
pieces = ["attention", "heads", "norm", "feed-forward"]
why = "a gradient arrives at each piece, at x (input0) and the memory (input1)"
check.whole(layer, twin, x, memory, after=pieces, gradients=True, weight=direction, why=why)
### BEGIN HIDDEN TESTS
y = layer.sublayers[0](x, check.stub("Constant", value=layer.self_attention(x, x, x)[0]))
z = layer.sublayers[1](y, check.stub("Constant", value=layer.cross_attention(y, memory, memory)[0]))
own = check.grads(layer.sublayers[2], z, layer.feed_forward, weight=direction, wrt=layer.feed_forward)
arrived = {name: gradients[f"feed_forward.{name}"] for name in own if name != "input0"}
check.close(arrived, {name: own[name] for name in arrived}, why="the gradients of the feed-forward network's weights")
### END HIDDEN TESTS

# %% [markdown]
# ## 9. The schedule (5 points)
#
# Adam with post-norm diverges when it starts at full speed. So the rate climbs in a straight line for `warmup_steps`
# steps and then falls with the root of the step (section 5.3, equation 3):
#
# $$lrate = D^{-0.5} \cdot \min(step^{-0.5},\; step \cdot warmup\_steps^{-1.5})$$

# %% solution="lecturekit.models.transformer:learning_rate" hide="body"

# %% test="schedule" points=5
check.close(learning_rate(100, 64, 100), 64**-0.5 * 100**-0.5, tol=1e-9, why="at the end of the warm-up, the peak")
check.close(learning_rate(50, 64, 100), learning_rate(100, 64, 100) / 2, tol=1e-9, why="half-way up the straight line")
check.close(learning_rate(400, 64, 100), learning_rate(100, 64, 100) / 2, tol=1e-9, why="the root of the step")
### BEGIN HIDDEN TESTS
check.close(learning_rate(1, 512), 512**-0.5 * 4000**-1.5, tol=1e-12, why="the first of 4000 steps")
rates = [learning_rate(step, 512, 30) for step in range(1, 200)]
check.equal(rates.index(max(rates)), 29, why="the peak is at step 30")
check.close(rates[120], 512**-0.5 * 121**-0.5, tol=1e-9, why="long after the peak")
check.raises(ValueError, learning_rate, 0, 512, why="steps count from 1")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_schedule(128, 512)`. Which model may take larger steps?


# %%
def show_schedule(*widths: int) -> None:
    """The learning rate of the first 20,000 steps, a line for each width of the model."""
    _, axes = plt.subplots()
    steps = range(1, 20_000)
    for width in widths:
        axes.plot(steps, [learning_rate(step, width) for step in steps], label=f"D = {width}")
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.legend()
    plt.show()


# %% [markdown]
# ## 10. The whole model (7 points)
#
# Embeddings, both stacks and the output projection are given, made of your layers. You write how they are joined.
#
# In training the decoder is given the right beginning of the sentence and asked for the next token, at every position
# at once (*teacher forcing*): it reads the target without its last token and is compared with the target without its
# first.
#
# ```
# target          <bos>  c  b  a  <eos>
# decoder reads   <bos>  c  b  a
# compared with     c    b  a  <eos>
# ```

# %% given="lecturekit.models.transformer:TransformerEmbeddings"

# %% given="lecturekit.models.transformer:Encoder"

# %% given="lecturekit.models.transformer:Decoder"

# %% solution="lecturekit.models.transformer:Transformer" hide="encode,decode,loss"

# %% test="learning:model" points=3
config = TransformerConfig(
    vocab_size=12, d_model=8, num_heads=2, num_encoder_layers=1, num_decoder_layers=1, d_ff=16, label_smoothing=0.2
)
model = check.new(Transformer, config)
source = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0]])
target = torch.tensor([[1, 6, 5, 4, 2], [1, 8, 7, 2, 0]])
memory, memory_mask = model.encode(source)
check.equal(memory_mask, padding_mask(source), why="what the decoder may look at in the source")
check.close(memory, model.encoder(model.source_embeddings(source), padding_mask(source)), why="the encoder's output")
read, labels = target[:, :-1], target[:, 1:]
mask = causal_mask(4) & padding_mask(read)
hidden = model.decoder(model.target_embeddings(read), memory, mask, memory_mask)
check.close(model.decode(read, memory, memory_mask), model.output(hidden), why="logits of the decoder")
loss = model.loss(source, target)
check.shape(loss)
log_probs = model(source, read).log_softmax(-1)
per_token = -0.8 * log_probs.gather(-1, labels[..., None])[..., 0] - 0.2 * log_probs.mean(-1)
check.close(loss, per_token[labels > 0].mean(), why="each position against the token after it, padding left out")
### BEGIN HIDDEN TESTS
check.shared(model, "source_embeddings.tokens.weight", "output.weight")
check.pure(model.loss, source, target)
tokens = torch.randint(3, 12, (3, 11))
hole = torch.zeros(1, 2).long()
source = torch.cat([tokens[:2, :5], torch.cat([tokens[2:, :3], hole], 1)])
target = torch.cat([torch.ones(3, 1).long(), torch.cat([tokens[:2, 5:9], torch.cat([tokens[2:, 5:7], hole], 1)])], 1)
twin = check.ours("lecturekit.models.transformer:Transformer", config)
check.fill(model)
check.fill(twin)
check.whole(padding_mask, "lecturekit.layers:padding_mask", source, after=["masks"])
check.whole(causal_mask, "lecturekit.layers:causal_mask", 5, after=["masks"])
pieces = ["attention", "masks", "heads", "positions", "norm", "feed-forward", "encoder-layer", "decoder-layer"]
check.whole(model.encode, twin.encode, source, after=pieces, pick=0, why="your pieces are right: the memory")
check.whole(model, twin, source, target, after=pieces, why="your pieces are right: the logits")
check.whole(model.loss, twin.loss, source, target, after=pieces, why="your pieces are right: the loss")
### END HIDDEN TESTS

# %% [markdown]
# And now it learns: to write eight tokens in reverse. First three properties that every such model has: no token
# changes what stands before it, padding changes nothing, and a gradient reaches every parameter. Then your model takes
# a fixed number of steps, a new batch each. What it has learnt is in its weights: they are handed to lecturekit's own
# `Transformer`, which has to say what your model says, and to answer, token by token, sequences that nobody has seen.
# This takes some five seconds.

# %% test="learning:training" points=4 training=true
config = TransformerConfig(
    vocab_size=13,
    d_model=64,
    num_heads=2,
    num_encoder_layers=1,
    num_decoder_layers=1,
    d_ff=128,
    dropout=0.0,
    label_smoothing=0.0,
)
model = check.new(Transformer, config)
tokens = torch.randint(3, 13, (402, 64, 8))
begin, end = torch.full((402, 64, 1), 1), torch.full((402, 64, 1), 2)
targets = torch.cat([begin, tokens.flip(-1), end], -1)
batches = [(tokens[i], targets[i]) for i in range(400)]
source, target = tokens[400, :4], targets[400, :4]
memory, memory_mask = model.encode(source)
check.causal(model.decode, target, memory, memory_mask)
padded = torch.cat([source, torch.zeros(4, 3).long()], -1)
check.close(model.encode(padded)[0][:, :8], memory, why="padding behind a sentence changes nothing in it")
gradients = check.grads(model.loss, source, target, wrt=model)
silent = [name for name in gradients if not torch.is_tensor(gradients[name])]
check.equal(silent, [], why="a gradient reaches every parameter")
twin = check.ours("lecturekit.models.transformer:Transformer", config)
unseen = (tokens[401], targets[401, :, 1:])
check.learns(model, batches, unseen, at_least=0.95, lr=3e-3, loss="loss", begin=1, twin=twin)

# %% [markdown]
# **To look at:** `model = train_reverser()` in a cell of your own trains such a model with your schedule and draws its
# cross-attention: the first token of the answer should look at the last of the source. Then give `model.generate` a
# source of nine tokens. What happens, and why? (Remove the call before you submit: graders need not train twice.)


# %%
def train_reverser(steps: int = 500, length: int = 8) -> nn.Module:
    """A small model that has learnt to reverse sequences of `length` tokens, and a picture of what it looks at."""
    torch.manual_seed(0)
    sizes = {"d_model": 64, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1, "d_ff": 128}
    model = Transformer(TransformerConfig(vocab_size=13, dropout=0.0, label_smoothing=0.0, **sizes))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.5)  # half of equation 3, which is made for larger models
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step + 1, 64, 100))
    for step in range(1, steps + 1):
        source = torch.randint(3, 13, (64, length))
        target = F.pad(F.pad(source.flip(-1), (1, 0), value=1), (0, 1), value=2)
        loss = model.loss(source, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}")
    model.eval()
    cross = model.attention_weights(source[:1], target[:1, :-1]).cross[0][0].mean(0)
    show_weights(cross, [str(i) for i in target[0, 1:].tolist()], [str(i) for i in source[0].tolist()])
    return model


# %% [markdown]
# ## In your own words
#
# A colleague leaves out the division by $\sqrt d$ and finds that a model with heads of width 8 trains well, and one
# with heads of width 512 hardly at all. Explain what happens, in five sentences at most. (Your instructor may mark this
# by hand; it counts nothing towards the 100 points.)

# %% [markdown] question="why-scale" points=0
# The score of a query and a key is a sum of $d$ products; if their numbers are independent with mean 0 and variance 1,
# the score has variance $d$. At $d = 8$ the scores differ by about 3, at $d = 512$ by about 23. There the softmax gives
# nearly all its weight to one key from the start, and the gradient of a softmax vanishes where its weights are 0 or 1:
# hardly anything reaches the projections of queries and keys. Dividing by $\sqrt d$ makes the variance 1 at every
# width.
#
# Rubric:
#
# One point for each of the first three:
#
# - the score is a sum of $d$ products, so its variance grows with $d$ (numbers for 8 and 512 are welcome, not asked)
# - large differences make the softmax nearly one-hot
# - there its gradient vanishes, so queries and keys hardly learn
# - not enough: "the numbers get too large": says neither for what nor why that stops learning
