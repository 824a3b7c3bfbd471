# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 6. T5, text to text
#
# T5 is the Transformer of lab 3 with three changes and one idea: *every* task is text in, text out. In this lab you
# write the changes, the pre-training task and the idea, and in the last exercise your own T5 learns two tasks that only
# the first word of its input tells apart. The paper is *Exploring the Limits of Transfer Learning with a Unified
# Text-to-Text Transformer* (Raffel et al., 2020, [arXiv:1910.10683](https://arxiv.org/abs/1910.10683)); section numbers
# below are its own.
#
# | exercise | what you write | points |
# |---|---|---|
# | 1 | T5's layer norm | 8 |
# | 2 | buckets for relative positions | 14 |
# | 3 | attention with a bias and without a scale | 12 |
# | 4 | the bias for all pairs of places | 6 |
# | 5 | one attention module, and cross-attention | 10 |
# | 6 | the stack: who sees whom, one bias for all layers | 8 |
# | 7 | span corruption | 14 |
# | 8 | tasks as text, STS-B as 21 classes | 8 |
# | 9 | the decoder's two caches | 10 |
# | 10 | the tied, scaled head, and two tasks that it learns | 10 |
#
# **How to work.** Replace each `raise NotImplementedError()` with your code; its docstring says exactly what is wanted.
# Keep names and parameters as they are. Run the test cell below an exercise: it says `passed`, or what was expected
# and what was found, and often *which* mistake it looks like. **Validate** runs all of them at once, in a fresh kernel.
# Graders also run further checks, on fresh numbers. Add cells of your own wherever you like.
#
# PyTorch's ready-made answers (`nn.RMSNorm`, `F.rms_norm`, `F.scaled_dot_product_attention`, `nn.MultiheadAttention`)
# earn nothing where you are asked to write them: compare yours with them in cells of your own as often as you like.
# Validate does not look for them, graders do. The bodies that this lab asks for are missing from the graders' copy of
# `lecturekit`.
#
# **Shapes.** B batch, T length (Tq queries, Tk keys, S the encoder's text, P what a cache holds), H heads, D width of
# the model, d width of a head (H · d need not be D), V vocabulary.

# %% cage=true
lacks = ["lecturekit.models.t5:fused_biased_attention"]
forbids = {
    "norm": ["torch.nn.RMSNorm", "torch.nn.functional.rms_norm", "torch.rms_norm"],
    "attention, cross-attention": [
        "torch.nn.MultiheadAttention",
        "torch.nn.functional.multi_head_attention_forward",
        "torch.nn.functional.scaled_dot_product_attention",
        "torch.nn.attention.flex_attention.flex_attention",
        "torch._native_multi_head_attention",
    ],
}

# %% locked="setup"
# %load_ext lecturekit.checks
import math
from collections.abc import Callable

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from lecturekit import checks as check
from lecturekit.layers import (
    KeyValueCache,
    Linear,
    activation,
    causal_mask,
    key_mask,
    merge_heads,
    split_heads,
    token_loss,
)
from lecturekit.models.huggingface import HuggingFaceModel
from lecturekit.models.t5 import T5Config, T5Output, T5StackOutput, T5Twin, check_bias, check_text
from lecturekit.objectives import GLUE_FIELDS, GLUE_WORDS, check_rate, check_task, check_tokens, random_partition

# %% [markdown]
# ## 1. T5's layer norm (8 points)
#
# The norm of lab 3 moves every token to mean 0 and variance 1, then scales and shifts it. T5 only scales (section 2.1):
# no mean is subtracted, and there is no bias. Zhang and Sennrich (2019,
# [arXiv:1910.07467](https://arxiv.org/abs/1910.07467), section 4), who call this RMSNorm, found that the shift is not
# what makes a norm useful:
#
# $$y = w \odot \frac{x}{\sqrt{\frac1D \sum_i x_i^2 + \varepsilon}}$$
#
# Squares soon leave the range of float16 (at 256), so they are summed in float32, whatever the dtype of $x$.

# %% solution="lecturekit.models.t5:T5LayerNorm" hide="forward"

# %% [markdown]
# **By hand.** The token $(1, 7)$ has the mean square $(1 + 49) / 2 = 25$, so it becomes
# $(\frac15, \frac75)$; the norm of lab 3 would make it $(-1, 1)$. With $\varepsilon = 11$ the root is 6.

# %% test="norm:values" points=5
norm = check.new(T5LayerNorm, 2)
check.params(norm, 2)
check.close(norm(torch.tensor([[1.0, 7], [-7, 1]])), torch.tensor([[0.2, 1.4], [-1.4, 0.2]]), why="the root is 5")
coarse = check.new(T5LayerNorm, 2, eps=11.0)
check.close(coarse(torch.tensor([1.0, 7])), torch.tensor([1 / 6, 7 / 6]), why="with eps = 11 the root is 6")
check.fill(coarse, {"weight": torch.tensor([6.0, -12])})
check.close(coarse(torch.tensor([1.0, 7])), torch.tensor([1.0, -14]), why="the weight multiplies what is normed")
### BEGIN HIDDEN TESTS
norm, twin = check.new(T5LayerNorm, 6, eps=0.1), torch.nn.RMSNorm(6, eps=0.1)
check.fill(norm)
check.fill(twin)
x, direction = torch.randn(3, 4, 6) * 2 + 1, torch.randn(3, 4, 6)
check.close(norm(x), twin(x), tol=1e-5, why="PyTorch's own norm of this kind, with the same weight")
got = check.grads(norm, x, weight=direction)
check.close(got, check.grads(twin, x, weight=direction), why="the gradients of the weight and of x (input0)")
check.pure(norm, x)
### END HIDDEN TESTS

# %% test="norm:half" points=3
small, large = torch.tensor([3.0, 4.0]), torch.tensor([[300.0, 400.0]])
by_hand = torch.tensor([[0.6, 0.8]]) * 2**0.5
norm = check.new(T5LayerNorm, 2).half()
check.dtype(norm(large.half()), torch.float16)
check.close(norm(large.half()), by_hand.half(), tol=2e-3, why="300² is beyond float16, the result is not")
check.dtype(check.new(T5LayerNorm, 2)(small.bfloat16()), torch.float32)
### BEGIN HIDDEN TESTS
large = (torch.randn(5, 6) + 3) * 200
by_hand = large.half().float() / large.half().float().square().mean(-1, keepdim=True).sqrt()
half = check.new(T5LayerNorm, 6).half()
check.close(half(large.half()).float(), by_hand, tol=4e-3, why="other tokens in float16")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_norm()` in a cell of your own. Where do tokens of two numbers end up? Why would the norm of
# lab 3 leave of each such token no more than one bit?


# %%
def show_norm(count: int = 60) -> None:
    """Random tokens of two numbers, and what your norm makes of them."""
    tokens = torch.randn(count, 2, generator=torch.Generator().manual_seed(0)) + torch.tensor([1.0, 0.5])
    normed = T5LayerNorm(2)(tokens).detach()
    _, axes = plt.subplots(figsize=(4, 4))
    axes.plot(torch.stack([tokens[:, 0], normed[:, 0]]), torch.stack([tokens[:, 1], normed[:, 1]]), c="lightgrey", lw=1)
    axes.scatter(tokens[:, 0], tokens[:, 1], s=12, label="before")
    axes.scatter(normed[:, 0], normed[:, 1], s=12, label="after")
    axes.set_aspect("equal")
    axes.legend()
    plt.show()


# %% [markdown]
# ## 2. Relative positions in buckets (14 points)
#
# Lab 3 added a vector for the position of each token. T5 adds nothing to the tokens: it tells attention how far key $j$
# is from query $i$, by a learnt number that is added to their score (section 2.1). Not every distance gets a number of
# its own. Near ones do, far ones share: they are put into *buckets*.
#
# Let a direction have $n$ buckets. The first $n/2$ hold one distance each, 0, 1, 2 … The other $n/2$ divide what is
# left up to `max_distance` into steps that are equal in the logarithm. A distance $r \ge n/2$ is in bucket
#
# $$\frac n2 + \left\lfloor \frac{\ln \frac{r}{n/2}}{\ln \frac{\text{max distance}}{n/2}} \cdot \frac n2 \right\rfloor
# \quad\text{but never beyond the last, } n - 1$$
#
# An encoder looks both ways (`bidirectional`): half of the buckets are for keys at the query's place or before it, the
# other half for keys after it. A decoder sees no key after the query, so all buckets serve one direction.
#
# Here are 8 buckets and `max_distance` 16. `relative_position` is $j - i$: negative for a key *before* its query.
#
# ```
#                         key before the query      |  key after the query
# relative_position       -9  -6  -5  -2  -1   0    |   1   2   5   6   9
# encoder, n = 4           3   3   2   2   1   0    |   5   6   6   7   7
# decoder, n = 8           6   5   4   2   1   0    |   0   0   0   0   0
# ```
#
# For instance 5 in the encoder: $\ln\frac52 / \ln\frac{16}2 \cdot 2 = 0.88$, so bucket $2 + 0$; and 6:
# $\ln\frac62 / \ln\frac{16}2 \cdot 2 = 1.06$, so bucket $2 + 1$. (Where the logarithm comes out whole, at 8 in this
# decoder, the last bit of a float decides. The tests leave such distances out.)

# %% solution="lecturekit.models.t5:relative_position_bucket" hide="body"

# %% test="buckets:decoder" points=5
relative = torch.tensor([[-9, -6, -5, -2, -1, 0], [1, 2, 5, 6, 9, 90]])
buckets = relative_position_bucket(relative, False, 8, 16)
check.shape(buckets, 2, 6)
check.equal(buckets.is_floating_point(), False, why="is their dtype a floating-point one? Buckets are integers")
check.close(buckets[0], torch.tensor([6, 5, 4, 2, 1, 0]), why="the decoder's row of the table")
check.close(buckets[1], torch.zeros(6), why="a key after its query counts as distance 0")
last = relative_position_bucket(torch.tensor([-16, -17, -1000]), False, 8, 16)
check.close(last, torch.tensor([7, 7, 7]), why="distances of 16 and more are in the last bucket")
check.close(relative_position_bucket(-torch.arange(16), False), torch.arange(16), why="T5's own: 32 buckets, up to 128")
### BEGIN HIDDEN TESTS
starts = torch.tensor([19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113])  # 16 * 8 ** (i / 16), rounded up
far = torch.randint(17, 400, (40, 5))
expected = 16 + (far[..., None] >= starts).sum(-1)
check.close(relative_position_bucket(-far, bidirectional=False), expected, why="far keys before the query, one way")
got = relative_position_bucket(far, bidirectional=False)
check.close(got, torch.zeros(40, 5), why="keys after the query, one way")
check.pure(relative_position_bucket, -far, False)
### END HIDDEN TESTS

# %% test="buckets:encoder" points=5
relative = torch.tensor([-9, -6, -5, -2, -1, 0, 1, 2, 5, 6, 9])
by_hand = torch.tensor([3, 3, 2, 2, 1, 0, 5, 6, 6, 7, 7])
check.close(relative_position_bucket(relative, True, 8, 16), by_hand, why="the encoder's row of the table")
both = torch.tensor([-1000, -8, -7, -1, 0, 1, 7, 8, 1000])
expected = torch.tensor([15, 8, 7, 1, 0, 17, 23, 24, 31])
check.close(relative_position_bucket(both), expected, why="T5's own: 16 buckets before the query, 16 after it")
### BEGIN HIDDEN TESTS
near = torch.randint(-7, 8, (6, 7))
expected = torch.where(near > 0, 16 + near, -near)
check.close(relative_position_bucket(near), expected, why="a bucket for each near distance, both ways")
got = relative_position_bucket(torch.tensor([[-3, 3], [-4, 6]]), True, 8, 6)
check.close(got, torch.tensor([[2, 6], [3, 7]]), why="8 buckets, max_distance 6")
### END HIDDEN TESTS

# %% test="buckets:far" points=4
starts = torch.tensor([12, 17, 23, 33, 46, 65, 91])  # where T5's encoder begins buckets 9 ... 15
far = torch.tensor([9, 11, 12, 15, 17, 22, 23, 31, 33, 45, 46, 63, 65, 90, 91, 127, 128, 129, 5000])
check.close(relative_position_bucket(-far), 8 + (far[:, None] >= starts).sum(-1), why="bucket 9 begins at 12 ...")
check.close(relative_position_bucket(far), 24 + (far[:, None] >= starts).sum(-1), why="the same, after the query")
### BEGIN HIDDEN TESTS
far = torch.randint(9, 300, (8, 9))
far = torch.where((far == 16) | (far == 32) | (far == 64), far + 1, far)  # where the logarithm comes out whole
expected = 8 + (far[..., None] >= starts).sum(-1)
check.close(relative_position_bucket(-far), expected, why="other distances before the query")
check.close(relative_position_bucket(far), 16 + expected, why="other distances after the query")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_buckets()`. At which distance does T5 stop telling near from far, and what does that say about
# texts longer than those it was trained on?


# %%
def show_buckets(furthest: int = 160, num_buckets: int = 32, max_distance: int = 128) -> None:
    """The bucket of each relative position, in the encoder and in the decoder."""
    relative = torch.arange(-furthest, furthest + 1)
    _, axes = plt.subplots(figsize=(7, 3))
    for name, bidirectional in (("encoder", True), ("decoder", False)):
        buckets = relative_position_bucket(relative, bidirectional, num_buckets, max_distance)
        axes.step(relative, buckets, where="mid", label=name)
    axes.set_xlabel("place of the key - place of the query")
    axes.set_ylabel("bucket")
    axes.legend()
    plt.show()


# %% [markdown]
# ## 3. Attention with a bias and without a scale (12 points)
#
# The learnt numbers are added to the scores, as a bias with a value for each head, query and key:
#
# $$\mathrm{softmax}(Q K^\top + \mathrm{bias})\, V$$
#
# Look twice: there is no $\sqrt d$. Some slides print it, for T5 too, but T5 has put the factor into the weights with
# which the queries begin: they are $\sqrt d$ times smaller than those of the keys. (Look for `"q"` in `init_weights` at
# the end of this lab.)
#
# The mask is as in lab 3: `True` may be looked at, and it acts on the scores before the softmax.

# %% solution="lecturekit.models.t5:biased_attention" hide="body"

# %% [markdown]
# **By hand.** A query $(1, 0, 0, 0)$ meets three keys whose first numbers are $0, \ln 2, \ln 4$. These are the scores,
# so the weights are $\frac17, \frac27, \frac47$. A bias of $\ln 2$ on the first key doubles what it has before the
# softmax divides: $\frac28, \frac28, \frac48$. If the third key is masked, $\frac12, \frac12, 0$ are left.

# %% test="attention:values" points=5
log = math.log
query, key = torch.tensor([[1.0, 0, 0, 0]]), torch.zeros(3, 4)
key[:, 0] = torch.tensor([0.0, log(2), log(4)])
value, bias = torch.tensor([[0.0], [7], [14]]), torch.tensor([[log(2), 0, 0]])
context, weights = biased_attention(query, key, value)
check.close(weights, torch.tensor([[1 / 7, 2 / 7, 4 / 7]]), why="without a bias: scores 0, ln 2, ln 4")
check.close(context, torch.tensor([[10.0]]), why="the mean of the values under the weights")
context, weights = biased_attention(query, key, value, bias)
check.close(weights, torch.tensor([[1 / 4, 1 / 4, 1 / 2]]), why="with a bias of ln 2 on the first key")
### BEGIN HIDDEN TESTS
query, key, value = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 4)
bias, fused = torch.randn(1, 3, 5, 6), torch.nn.functional.scaled_dot_product_attention
context, weights = biased_attention(query, key, value, bias)
check.shape(weights, 2, 3, 5, 6)
check.close(weights.sum(-1), torch.ones(2, 3, 5), why="each row of weights sums to one")
check.close(context, fused(query, key, value, bias, scale=1.0), why="PyTorch's own attention with scale=1")
check.close(biased_attention(query, key, value)[0], fused(query, key, value, scale=1.0), why="without a bias")
### END HIDDEN TESTS

# %% test="attention:mask" points=4
log = math.log
query, key = torch.tensor([[1.0, 0, 0, 0]]), torch.zeros(3, 4)
key[:, 0] = torch.tensor([0.0, log(2), log(4)])
value, bias = torch.tensor([[0.0], [7], [14]]), torch.tensor([[log(2), 0, 0]])
_, weights = biased_attention(query, key, value, bias, torch.tensor([True, True, False]))
check.close(weights, torch.tensor([[1 / 2, 1 / 2, 0]]), why="True may be looked at")
_, weights = biased_attention(query, key, value, bias, torch.tensor([False, False, False]))
check.close(weights, torch.full((1, 3), 1 / 3), why="a query that may look at nothing spreads its weights evenly")
### BEGIN HIDDEN TESTS
query, key, value = torch.randn(2, 2, 5, 4), torch.randn(2, 2, 6, 4), torch.randn(2, 2, 6, 3)
bias, mask = torch.randn(1, 2, 5, 6), torch.rand(2, 1, 5, 6) > 0.4
mask[..., 0] = True
context, weights = biased_attention(query, key, value, bias, mask)
check.close(weights.sum(-1), torch.ones(2, 2, 5), why="each row of weights sums to one, under a mask too")
added = torch.where(mask, bias, torch.tensor(-torch.inf))
expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, added, scale=1.0)
check.close(context, expected, why="PyTorch's own attention, with scale=1 and a bias of -inf where the mask is False")
check.raises(TypeError, biased_attention, query, key, value, mask, why="a boolean mask in the place of the bias")
check.raises(ValueError, biased_attention, query, key[..., :3], value, why="keys that are narrower than queries")
### END HIDDEN TESTS

# %% [markdown]
# In bfloat16 the number after 256 is 258, and a bias of $\frac12$ would be lost: hence the float32 of the docstring.

# %% test="attention:digits" points=3
query, key, value = torch.randn(2, 5, 4), torch.randn(2, 6, 4), torch.randn(2, 6, 3)
bias, direction = torch.randn(2, 5, 6), torch.randn(2, 5, 3)
check.pure(biased_attention, query, key, value, bias)
got = check.grads(biased_attention, query, key, value, bias, weight=direction, pick=0)
fused = torch.nn.functional.scaled_dot_product_attention
expected = check.grads(fused, query, key, value, bias, scale=1.0, weight=direction)
check.close(got, expected, why="the gradients that reach query, key, value and bias (input0 ... input3)")
query, key = torch.full((1, 1), 16.0).bfloat16(), torch.full((2, 1), 16.0).bfloat16()
_, weights = biased_attention(query, key, key, torch.tensor([[0.0, 0.5]]).bfloat16())
check.dtype(weights, torch.bfloat16)
check.close(weights.float(), torch.tensor([[0.0, 0.5]]).softmax(-1), tol=3e-3, why="scores of 256 and 256.5")

# %% [markdown]
# **To look at:** `show_bias(0.2, 1, 5)`. All tokens are alike, so nothing but the bias decides: it is minus the
# distance times the number that you give. (A fixed bias of this kind, a number for each head, is ALiBi: Press et al.,
# 2021, [arXiv:2108.12409](https://arxiv.org/abs/2108.12409).)


# %%
def show_bias(*slopes: float, length: int = 12) -> None:
    """The weights among tokens that are all alike, under a bias that falls with the distance, a picture a slope."""
    places, alike = torch.arange(length), torch.zeros(length, 4)
    _, axes = plt.subplots(1, len(slopes), figsize=(3 * len(slopes), 3), squeeze=False)
    for axis, slope in zip(axes[0], slopes, strict=True):
        _, weights = biased_attention(alike, alike, alike, -float(slope) * (places - places[:, None]).abs())
        axis.imshow(weights.numpy(), vmin=0, vmax=1, cmap="Blues")
        axis.set_title(f"slope {slope}")
        axis.set_xlabel("key")
        axis.set_ylabel("query")
    plt.tight_layout()
    plt.show()


# %% [markdown]
# ## 4. The bias for all pairs of places (6 points)
#
# What is learnt is a table [number of buckets, H]. For each query $i$ and key $j$, their bucket names its row, and the
# row holds the number of each head. With 8 buckets, four tokens, and a table of one head whose row $b$ holds $10 b$:
#
# ```
# encoder     key  0   1   2   3          decoder     key  0   1   2   3
# query 0          0  50  60  60          query 0          0   0   0   0
#       1         10   0  50  60                1         10   0   0   0
#       2         20  10   0  50                2         20  10   0   0
#       3         20  20  10   0                3         30  20  10   0
# ```
#
# A decoder that writes with a cache has only its *last* Tq tokens as queries, and all Tk as keys: the last rows.
#
# For the heads, mind the order of axes: looking rows up gives [Tq, Tk, H], attention needs [1, H, Tq, Tk].

# %% solution="lecturekit.models.t5:relative_bias" hide="body"

# %% [markdown]
# From here on you are judged by how you use *your own* earlier pieces, so a slip up there costs nothing here.

# %% test="bias" points=6
table = torch.arange(16.0).reshape(8, 2)
relative = torch.arange(4) - torch.arange(4)[:, None]  # [Tq, Tk], key minus query
bias = relative_bias(table, 4, 4, True, 16)
check.shape(bias, 1, 2, 4, 4)
expected = table[relative_position_bucket(relative, True, 8, 16)]
check.close(bias[0, 0], expected[..., 0], why="the first head's bias, both ways")
check.close(bias[0, 1], expected[..., 1], why="the second head's")
expected = table[relative_position_bucket(relative, False, 8, 16)]
check.close(relative_bias(table, 4, 4, False, 16)[0, 0], expected[..., 0], why="one way")
check.close(relative_bias(table, 2, 4, False, 16)[0, 0], expected[2:, :, 0], why="the queries are the last two of four")
few = table[:4, :1]
expected = few[relative_position_bucket(relative, False, 4, 4)]
check.close(relative_bias(few, 4, 4, False, 4)[0, 0], expected[..., 0], why="four buckets, max_distance 4")
got = check.grads(relative_bias, table, 4, 4, False)["input0"]
check.close(got.sum(0), torch.full((2,), 16.0), why="a gradient reaches the table, once for each of the 16 pairs")
### BEGIN HIDDEN TESTS
table, length = torch.randn(32, 3), 7
relative = torch.arange(7) - torch.arange(7)[:, None]
expected = table[relative_position_bucket(relative, True)].permute(2, 0, 1)
check.close(relative_bias(table, 7, 7, True)[0], expected, why="seven tokens, three heads, both ways")
check.close(relative_bias(table, 1, 7, True)[0], expected[:, 6:], why="one query, behind six others")
twin = "lecturekit.models.t5:relative_bias"
check.whole(relative_bias, twin, table, 15, 15, True, after=["buckets"])
check.whole(relative_bias, twin, table, 4, 15, False, after=["buckets"])
direction = torch.randn(1, 3, 4, 15)
check.whole(relative_bias, twin, table, 4, 15, False, after=["buckets"], gradients=True, weight=direction)
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_table()` draws the bias of three heads, in the encoder and in the decoder, for made-up tables:
# one likes what is near, one the token before, one what is far. Why is the upper right half of the decoder's pictures
# all of one colour, and why does it not matter?


# %%
def show_table(length: int = 40) -> None:
    """The bias of three heads with made-up tables, dark where it is high: near, before, far."""
    buckets = torch.arange(32)
    _, axes = plt.subplots(2, 3, figsize=(8, 5.5))
    for row, (side, bidirectional) in zip(axes, (("encoder", True), ("decoder", False)), strict=True):
        near = -(buckets % 16 / 15.0 if bidirectional else buckets / 31.0)
        table = torch.stack([near, (buckets == 1).float() - 1, -1 - near], dim=1)
        for axis, name, picture in zip(
            row, ("near", "before", "far"), relative_bias(table, length, length, bidirectional)[0], strict=True
        ):
            axis.imshow(picture.numpy(), vmin=-1, vmax=0, cmap="Blues")
            axis.set_title(f"{side}: {name}")
            axis.set_xlabel("key")
            axis.set_ylabel("query")
    plt.tight_layout()
    plt.show()


# %% [markdown]
# ## 5. One attention module, and cross-attention (10 points)
#
# T5 has one attention module for all purposes. Its queries come from `x`; keys and values come from `x` too, or, in
# cross-attention, from the encoder's `memory`. `keys_and_values` is given and sees to that (and to a cache, which is
# None until exercise 9). No projection has a bias, and H · d need not be D. (`Linear` is `nn.Linear`, made faster for
# the few rows of a model that writes.)


# %% locked="attention-is-yours"
def fused_biased_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """The context of your `biased_attention`. In `lecturekit` it comes from a kernel that never stores the weights."""
    return biased_attention(query, key, value, bias, mask, dropout)[0]


# %% solution="lecturekit.models.t5:T5Attention" hide="forward"

# %% [markdown]
# How many numbers do the four projections of T5 large hold, where D = 1024, H = 16 and d = 64? (4 · 1024 · 1024 =
# 4 194 304.) The test below has D = 8, H = 2 and d = 3.

# %% test="cross-attention:module" points=6
config = T5Config(vocab_size=20, d_model=8, d_kv=3, d_ff=16, num_layers=2, num_heads=2)
attention = check.new(T5Attention, config)
check.params(attention, 4 * 8 * 6)
check.fill(attention)
x, memory, bias = torch.randn(2, 4, 8), torch.randn(2, 5, 8), torch.randn(1, 2, 4, 5)
mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2]).reshape(2, 1, 1, 5)
query = attention.q(x).reshape(2, 4, 2, 3).transpose(1, 2)
key, value = attention.k(memory).reshape(2, 5, 2, 3).transpose(1, 2), attention.v(memory).reshape(2, 5, 2, 3)
context, weights = biased_attention(query, key, value.transpose(1, 2), bias, mask)
expected = attention.o(context.transpose(1, 2).reshape(2, 4, 6))
got = attention(x, bias, mask, memory, need_weights=True)
check.shape(got[0], 2, 4, 8)
check.close(got[1], weights, why="queries from x, keys from the memory, bias and mask in the scores")
check.close(got[0], expected, why="your own pieces, one after the other")
got = attention(x, bias, mask, memory)
check.close(got[0], expected, why="the same without weights")
check.equal(got[1], None, why="nobody asked for weights")
### BEGIN HIDDEN TESTS
x = torch.randn(2, 5, 8)
bias, mask = torch.randn(1, 2, 5, 5), torch.ones(5, 5).tril().bool()
query, key = (part(x).reshape(2, 5, 2, 3).transpose(1, 2) for part in [attention.q, attention.k])
context, weights = biased_attention(query, key, attention.v(x).reshape(2, 5, 2, 3).transpose(1, 2), bias, mask)
got = attention(x, bias, mask, need_weights=True)
check.close(got[1], weights, why="without a memory, keys come from x")
expected = attention.o(context.transpose(1, 2).reshape(2, 5, 6))
check.close(got[0], expected, why="your own pieces, one after the other, without a memory")
gradients = check.grads(attention, x, bias, mask, weight=torch.randn(2, 5, 8), pick=0)
names = ["q.weight", "k.weight", "v.weight", "o.weight", "input0"]
silent = [name for name in names if not torch.is_tensor(gradients[name]) or not gradients[name].any()]
check.equal(silent, [], why="a gradient reaches every projection and x (input0)")
check.pure(attention, x, bias, mask)
twin, direction = check.ours("lecturekit.models.t5:T5Attention", config), torch.randn(2, 5, 8)
check.fill(twin)
check.whole(attention, twin, x, bias, mask, after=["attention"], pick=0)
check.whole(attention, twin, x, None, None, memory, after=["attention"], pick=0)
check.whole(attention, twin, x, None, None, memory, after=["attention"], pick=0, gradients=True, weight=direction)
### END HIDDEN TESTS

# %% [markdown]
# Now the second part of a decoder's block. T5 is *pre-norm*: the norm stands before each part, and what the part says
# is added to `x` itself (dropout in between; section 2.1). The memory is not normed again, since the encoder ends with
# a norm, and cross-attention has no bias: a place in the target is at no distance from a place in the source.

# %% solution="lecturekit.models.t5:T5LayerCrossAttention" hide="forward"

# %% test="cross-attention:layer" points=4
config = T5Config(vocab_size=20, d_model=8, d_kv=3, d_ff=16, num_layers=2, num_heads=2)
layer = check.new(T5LayerCrossAttention, config)
check.params(layer, 4 * 8 * 6 + 8)
check.fill(layer)
x, memory = torch.randn(2, 4, 8), torch.randn(2, 5, 8)
mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2]).reshape(2, 1, 1, 5)
attended, weights = layer.EncDecAttention(layer.layer_norm(x), None, mask, memory, need_weights=True)
got = layer(x, memory, mask, need_weights=True)
check.close(got[1], weights, why="the norm of x asks, the memory answers")
check.close(got[0], x + attended, why="what is attended to is added to x")
### BEGIN HIDDEN TESTS
x, memory = torch.randn(2, 3, 8), torch.randn(2, 6, 8)
attended, _ = layer.EncDecAttention(layer.layer_norm(x), None, None, memory)
got = layer(x, memory)
check.close(got[0], x + attended, why="without a mask")
check.equal(got[1], None, why="nobody asked for weights")
gradients = check.grads(layer, x, memory, weight=torch.randn(2, 3, 8), pick=0)
names = ["input0", "input1", "EncDecAttention.q.weight"]
silent = [name for name in names if not torch.is_tensor(gradients[name]) or not gradients[name].any()]
check.equal(silent, [], why="a gradient reaches x (input0), the memory (input1) and the attention")
check.pure(layer, x, memory)
# one head and one token: whatever is asked, attention says memory @ width.T, and here the memory is x, normed
config, width = T5Config(vocab_size=20, d_model=8, d_kv=8, d_ff=16, num_layers=2, num_heads=1), torch.randn(8, 8)
same = {f"EncDecAttention.{name}.weight": width for name in ["q", "k", "v"]}
same = {**same, "EncDecAttention.o.weight": torch.eye(8), "layer_norm.weight": torch.ones(8)}
layer, twin = check.new(T5LayerCrossAttention, config), check.ours("lecturekit.models.t5:T5LayerCrossAttention", config)
check.fill(layer, same)
check.fill(twin, same)
x = torch.randn(6, 1, 8)
memory = torch.nn.functional.rms_norm(x, (8,), eps=1e-6)
check.whole(layer, twin, x, memory, after=["norm"], pick=0, why="one token asks one token, with a single head")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_cross()` draws where an untrained decoder looks in a padded source. Which column is blank, and
# why do the rows sum to one all the same?


# %%
def show_cross(seed: int = 0) -> None:
    """The weights of an untrained cross-attention over a source that ends in padding."""
    torch.manual_seed(seed)
    source, target = ["translate", "cat", "</s>", "<pad>"], ["<start>", "кот", "</s>"]
    layer = T5LayerCrossAttention(T5Config(vocab_size=9, d_model=16, d_kv=8, num_heads=1)).eval()
    mask = torch.tensor([word != "<pad>" for word in source])
    _, weights = layer(torch.randn(1, 3, 16), torch.randn(1, 4, 16), mask, need_weights=True)
    draw_weights(weights[0, 0], target, source)


def draw_weights(weights: Tensor, queries: list[str], keys: list[str]) -> None:
    """A heat map of weights [Tq, Tk], the queries from top to bottom and the keys from left to right."""
    _, axes = plt.subplots(figsize=(4, 4))
    axes.imshow(weights.detach().numpy(), vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(keys)), keys, rotation=45)
    axes.set_yticks(range(len(queries)), queries)
    axes.set_xlabel("key")
    axes.set_ylabel("query")
    plt.show()


# %% [markdown]
# ## 6. The stack (8 points)
#
# The other parts of a block are given. Self-attention is wrapped like cross-attention, and the feed-forward network is
# that of lab 3 without biases. T5 v1.1, a later version, has a gated one (Shazeer, 2020,
# [arXiv:2002.05202](https://arxiv.org/abs/2002.05202), equation 6):
# $(\mathrm{GELU}(x W_0) \odot x W_1)\, W_2$.

# %% given="lecturekit.models.t5:T5DenseActDense"

# %% given="lecturekit.models.t5:T5DenseGatedActDense"

# %% given="lecturekit.models.t5:T5LayerFF"

# %% given="lecturekit.models.t5:T5LayerSelfAttention"

# %% given="lecturekit.models.t5:T5Block"

# %% [markdown]
# `T5Stack` is the encoder and, with `is_decoder`, the decoder. You write three parts of it.
#
# - `self_mask`: nobody looks at padding, and in a decoder nobody looks ahead. `key_mask` and `causal_mask` are at hand.
# - The bias. A table for each layer would be wasteful: the first layer alone has one, and **all layers use its bias**
#   (section 2.1). Ask `self.block[0].layer[0].SelfAttention.compute_bias`, which passes on to your exercise 4, for it;
#   after `past` tokens in a cache there are `past` more keys.
# - The call of each block, with all that it needs (`T5Block.forward` says what).
#
# `forward` has two gaps: in the first bind `bias`, in the second `x`, `weights` and `cross`. The lines around them use
# these names.
#
# ```
# attention_mask   1 1 0         encoder  1 1 0         decoder  1 0 0        1 = may be looked at
#                                         1 1 0                  1 1 0        rows are queries
#                                         1 1 0                  1 1 0
# ```

# %% solution="lecturekit.models.t5:T5Stack" hide="self_mask,#bias,#block"


# %% locked="for-stacks"
def new_stack(config: T5Config, is_decoder: bool = False) -> T5Stack:
    """A stack of its own, with embeddings of its own, for testing."""
    return T5Stack(config, nn.Embedding(config.vocab_size, config.d_model), config.num_layers, is_decoder)


def new_stack_for_tests(config: T5Config, is_decoder: bool = False) -> T5Stack:
    """The same, with other numbers for a bias, so that the test does not hang on exercise 4."""
    stack = new_stack(config, is_decoder)
    places = torch.arange(config.num_heads * 100).reshape(1, config.num_heads, 10, 10).sin() * 3

    def compute_bias(query_length: int, key_length: int) -> Tensor:
        return places[..., key_length - query_length : key_length, :key_length]

    stack.block[0].layer[0].SelfAttention.compute_bias = compute_bias
    return stack


class Past:
    """Stands in for a cache, for testing: for every layer the same keys and values, of `length` + T places."""

    def __init__(self, length: int, pair: Tensor) -> None:
        self.length, self.pair = length, pair

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        return self.pair, self.pair

    def once(self, layer: int, compute: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return compute()


# %% test="stack:mask" points=4
config = T5Config(vocab_size=20, d_model=8, d_kv=3, d_ff=16, num_layers=2, num_heads=2)
encoder, decoder = check.new(new_stack_for_tests, config), check.new(new_stack_for_tests, config, True)
padding = torch.tensor([[1, 1, 0], [1, 1, 1]])
mask = torch.broadcast_to(encoder.self_mask(padding, 2, 3), (2, 1, 3, 3))
check.dtype(mask, torch.bool)
check.equal(mask[0, 0], torch.tensor([[True, True, False]] * 3), why="the encoder sees both sides, but no padding")
mask = torch.broadcast_to(decoder.self_mask(padding, 2, 3), (2, 1, 3, 3))
expected = torch.tensor([[True, False, False], [True, True, False], [True, True, False]])
check.equal(mask[0, 0], expected, why="the decoder sees neither the future nor padding")
mask = torch.broadcast_to(decoder.self_mask(None, 1, 2, 3), (1, 1, 2, 5))
expected = torch.tensor([[True] * 4 + [False], [True] * 5])
check.equal(mask[0, 0], expected, why="two tokens after three others: rows 4 and 5 of a square of five")
### BEGIN HIDDEN TESTS
padding = (torch.rand(3, 6) > 0.3).long()
expected = padding.bool()[:, None, None, :] & (torch.arange(6) <= torch.arange(6)[:, None])
got = torch.broadcast_to(decoder.self_mask(padding, 3, 2, 4), (3, 1, 2, 6))
check.equal(got, expected[:, :, 4:], why="two tokens after four others, with padding")
got = torch.broadcast_to(decoder.self_mask(padding, 3, 1, 5), (3, 1, 1, 6))
check.equal(got, expected[:, :, 5:], why="one token after five others, with padding")
check.raises(ValueError, encoder.self_mask, padding, 3, 4, why="an attention_mask that is longer than the text")
### END HIDDEN TESTS

# %% test="stack:bias" points=4
config = T5Config(vocab_size=20, d_model=8, d_kv=3, d_ff=16, num_layers=2, num_heads=2)
encoder, decoder = check.new(new_stack_for_tests, config), check.new(new_stack_for_tests, config, True)
check.params(encoder, 20 * 8 + 2 * (4 * 8 * 6 + 2 * 8 * 16 + 2 * 8) + 32 * 2 + 8)
check.fill(encoder)
check.fill(decoder)
ids, padding = torch.tensor([[3, 4, 5, 0], [6, 7, 8, 9]]), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
bias, mask = encoder.block[0].layer[0].SelfAttention.compute_bias(4, 4), padding.bool()[:, None, None]
x, seen = encoder.embed_tokens(ids), []
for block in encoder.block:
    x, weights, _ = block(x, bias, mask, need_weights=True)
    seen = [*seen, weights]
output = encoder(ids, padding, output_attentions=True)
check.close(output[0], encoder.final_layer_norm(x), why="the bias of the first block goes to every block")
check.close(output[2], seen, why="the weights of each block, if they are asked for")
past = check.new(Past, 3, torch.randn(2, 2, 5, 3))
memory, memory_mask = torch.randn(2, 2, 8), torch.tensor([[1, 0], [1, 1]])
read, mask = torch.tensor([[3, 4], [5, 6]]), torch.tensor([[True] * 4 + [False], [True] * 5])
bias, x = decoder.block[0].layer[0].SelfAttention.compute_bias(2, 5), decoder.embed_tokens(read)
for block in decoder.block:
    x = block(x, bias, mask, memory, None, past)[0]
got = decoder(read, None, memory, None, past)[0]
check.close(got, decoder.final_layer_norm(x), why="two tokens after three others")
bias, x = decoder.block[0].layer[0].SelfAttention.compute_bias(2, 2), decoder.embed_tokens(read)
for block in decoder.block:
    x = block(x, bias, torch.ones(2, 2).tril().bool(), memory, memory_mask.bool()[:, None, None])[0]
got = decoder(read, None, memory, memory_mask)[0]
check.close(got, decoder.final_layer_norm(x), why="a memory with padding")
### BEGIN HIDDEN TESTS
ids = torch.randint(1, 20, (2, 5))
bias, x = encoder.block[0].layer[0].SelfAttention.compute_bias(5, 5), encoder.embed_tokens(ids)
for block in encoder.block:
    x = block(x, bias)[0]
output = encoder(ids, output_hidden_states=True)
check.close(output[0], encoder.final_layer_norm(x), why="without padding")
check.equal([len(output[1]), output[2]], [3, None], why="three hidden states, and no weights")
check.pure(encoder, ids)
pieces, memory = ["norm", "buckets", "attention", "bias", "cross-attention"], torch.randn(2, 6, 8)
encoder, decoder = check.new(new_stack, config), check.new(new_stack, config, True)
twins = [check.ours("lecturekit.models.t5:T5Stack", config, torch.nn.Embedding(20, 8), 2, side > 0) for side in (0, 1)]
for model in (encoder, decoder, *twins):
    check.fill(model)
check.whole(encoder, twins[0], ids, after=pieces, pick=0)
check.whole(decoder, twins[1], ids, None, memory, after=pieces, pick=0)
weight = torch.randn(2, 5, 8)
check.whole(encoder, twins[0], ids, after=pieces, pick=0, gradients=True, weight=weight)
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_layers()`. The queries of this encoder are zero, so nothing but the bias is left of the scores:
# what do the pictures of its three layers have in common, and why?


# %%
def show_layers(length: int = 16, seed: int = 1) -> None:
    """The weights of the first head of each layer, in an encoder whose queries are zero."""
    torch.manual_seed(seed)
    stack = new_stack(T5Config(vocab_size=9, d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2)).eval()
    with torch.no_grad():
        for block in stack.block:
            block.layer[0].SelfAttention.q.weight.zero_()
        attentions = stack(torch.ones(1, length).long(), output_attentions=True).attentions
    _, axes = plt.subplots(1, 3, figsize=(9, 3))
    for number, (axis, weights) in enumerate(zip(axes, attentions, strict=True)):
        axis.imshow(weights[0, 0].numpy(), vmin=0, cmap="Blues")
        axis.set_title(f"layer {number}")
        axis.set_xlabel("key")
        axis.set_ylabel("query")
    plt.tight_layout()
    plt.show()


# %% [markdown]
# ## 7. Span corruption (14 points)
#
# T5 is pre-trained on text without labels: some spans of it are hidden, and the model says what they were (sections
# 3.1.4 and 3.3.4, figure 2). Each hidden *span*, not each token, becomes one *sentinel*, `<X>`, `<Y>`, `<Z>` …, and the
# target names each sentinel with the tokens that it stands for. One more sentinel ends the target:
#
# ```
# text        Thank you for inviting me to your party last week .
# hidden                ------------                     ----
# input       Thank you <X> me to your party <Y> week .
# target      <X> for inviting <Y> last <Z>
# ```
#
# 15 % of the tokens are hidden, in spans of 3 on average. T5 fixes both numbers for every text and draws only *where*
# the spans are. First the numbers.

# %% solution="lecturekit.objectives:noise_counts" hide="body"

# %% test="spans:counts" points=3
check.dtype(noise_counts(100)[0], int)
check.dtype(noise_counts(100)[1], int)
check.equal(noise_counts(100), (15, 5), why="15 % of 100, in spans of three")
check.equal(noise_counts(512), (77, 26), why="T5's own length: 76.8 and 25.7, rounded")
check.equal(noise_counts(35), (5, 2), why="5.25 and 1.67, rounded")
check.equal(noise_counts(3), (1, 1), why="at least one token in at least one span")
check.equal(noise_counts(4, 0.9), (3, 1), why="not all tokens, and a token before each span")
check.equal(noise_counts(16, 0.5, 2.0), (8, 4), why="half of 16, in spans of two")
### BEGIN HIDDEN TESTS
check.equal(noise_counts(10, 0.8, 1.0), (8, 2), why="no more spans than tokens that stand between them")
counts = [noise_counts(n) for n in (20, 40, 60, 1000)]
check.equal(counts, [(3, 1), (6, 2), (9, 3), (150, 50)], why="other lengths, T5's own rate and spans")
check.raises(ValueError, noise_counts, 1, why="a single token")
check.raises(ValueError, noise_counts, 10, 1.5, why="a rate above 1")
check.raises(ValueError, noise_counts, 10, 0.5, 0.5, why="a mean_span below 1")
### END HIDDEN TESTS

# %% [markdown]
# Then the places. Kept and hidden spans take turns, beginning with a kept one, as many of the one kind as of the other.
# How long each is, chance decides: `random_partition(total, parts, generator)` gives `parts` whole numbers of at least
# 1 that add up to `total`. All chance comes from the `generator`, so that the same seed makes the same batch.
#
# ```
# kept  3 = 2 + 1, hidden  3 = 1 + 2         text    0 1 2 3 4 5
#                                            noise   . . x . x x
# ```


# %% locked="seeded"
def seeded(number: int) -> Generator:
    """A generator that begins at a seed."""
    return torch.Generator().manual_seed(number)


# %% solution="lecturekit.objectives:span_noise" hide="body"

# %% test="spans:noise" points=4
noise = span_noise(10_000, seeded(1))
check.shape(noise, 10_000)
check.dtype(noise, torch.bool)
tokens, spans = noise_counts(10_000)
check.equal(noise.sum().item(), tokens, why="hidden tokens: exactly what noise_counts says")
check.equal((noise[1:] & ~noise[:-1]).sum().item() + int(noise[0]), spans, why="hidden spans, exactly too")
check.equal([bool(noise[0]), bool(noise[-1])], [False, True], why="the first token is kept, the last one hidden")
check.equal((span_noise(10_000, seeded(1)) ^ noise).any().item(), False, why="the same seed, the same spans")
check.equal((span_noise(10_000, seeded(2)) ^ noise).any().item(), True, why="another seed, other spans")
### BEGIN HIDDEN TESTS
generator = seeded(3)
masks = [tuple(span_noise(8, generator, 0.5, 2.0).tolist()) for draw in range(900)]
counts = [masks.count(mask) for mask in sorted(set(masks))]
check.equal(len(counts), 9, why="four tokens kept in two spans, four hidden in two: nine ways")
for count in counts:
    check.rate(count, 900, 1 / 9, why="all ways are equally likely")
check.equal(span_noise(2, seeded(0)), torch.tensor([False, True]), why="two tokens leave one way")
### END HIDDEN TESTS

# %% [markdown]
# And now the two texts. The sentinels are the last ids of the vocabulary, and they count *down*: `<X>` is
# `first_sentinel`, `<Y>` one less.
#
# ```
# ids     11 12 13 14 15 16 17 18 19       inputs    11 99 14 15 16 98
# noise    .  x  x  .  .  .  x  x  x       targets   99 12 13 98 17 18 19 97
# ```

# %% solution="lecturekit.objectives:hide_spans" hide="body"

# %% test="spans:hide" points=7
ids = torch.arange(11, 20)
noise = torch.tensor([False, True, True, False, False, False, True, True, True])
inputs, targets = hide_spans(ids, noise, 99)
check.equal(inputs, torch.tensor([11, 99, 14, 15, 16, 98]), why="one sentinel in place of each span")
check.equal(targets, torch.tensor([99, 12, 13, 98, 17, 18, 19, 97]), why="sentinel, tokens ..., a last sentinel")
inputs, targets = hide_spans(ids, ~noise, 50)
check.equal(inputs, torch.tensor([50, 12, 13, 49, 17, 18, 19]), why="a span may stand at the very beginning")
check.equal(targets, torch.tensor([50, 11, 49, 14, 15, 16, 48]), why="the target of a text that begins with a span")
check.pure(hide_spans, ids, noise, 99)
### BEGIN HIDDEN TESTS
ids, noise = torch.randint(0, 900, (300,)), torch.rand(300) < 0.4
inputs, targets = hide_spans(ids, noise, 1100)
starts = noise & ~torch.cat([torch.tensor([False]), noise[:-1]])
spans = int(starts.sum())
check.equal(inputs[inputs < 900], ids[~noise], why="the kept tokens, in their order")
check.equal(targets[targets < 900], ids[noise], why="the hidden tokens, in their order")
check.equal(inputs[inputs > 900], 1100 - torch.arange(spans), why="one sentinel a span, counting down")
check.equal(targets[targets > 900], 1100 - torch.arange(spans + 1), why="the same in the target, and one more")
first = [int(i) for i in starts.nonzero()]
after = [int((~noise[:i]).sum()) + n for n, i in enumerate(first)]
check.equal(inputs[after], 1100 - torch.arange(spans), why="each sentinel stands where its span stood")
check.equal(hide_spans(ids[:3], torch.zeros(3).bool(), 1000)[1], torch.tensor([1000]), why="nothing hidden")
check.raises(ValueError, hide_spans, ids, noise[1:], 1100, why="noise that is shorter than the text")
check.raises(TypeError, hide_spans, ids, noise.long(), 1100, why="noise that is not boolean")
one = torch.tensor([False, True, False])
check.raises(ValueError, hide_spans, torch.tensor([5, 6, 7]), one, 7, why="a sentinel that is also a token of the text")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_spans()` hides spans of two sentences, `show_spans("a text of your own")` of yours. And
# `show_noise()` draws thirty masks, a row each: what do the numbers of dark squares in two rows have in common?


# %%
def show_spans(*texts: str, seed: int = 0, rate: float = 0.4, mean_span: float = 2.0) -> None:
    """Each text, what the encoder reads of it, and what the decoder is to say, in words."""
    english, russian = (
        "Thank you for inviting me to your party last week .",
        "Спасибо , что позвали меня в гости вчера .",
    )
    for text in texts or (english, russian):
        words = text.split()
        noise = span_noise(len(words), seeded(seed), rate, mean_span)
        parts = hide_spans(torch.arange(len(words)), noise, 2 * len(words) + 9)
        print("text   ", text)
        for name, ids in zip(("input  ", "target "), parts, strict=True):
            said = [words[i] if i < len(words) else f"<{2 * len(words) + 9 - i}>" for i in ids.tolist()]
            print(name, " ".join(said))
        print()


def show_noise(rows: int = 30, length: int = 80) -> None:
    """Where the hidden tokens are, a row for each draw."""
    generator = seeded(0)
    _, axes = plt.subplots(figsize=(8, 3))
    masks = torch.stack([span_noise(length, generator) for _ in range(rows)])
    axes.imshow(masks.numpy(), cmap="Blues", aspect="auto")
    axes.set_xlabel("token")
    axes.set_ylabel("draw")
    plt.show()


# %% [markdown]
# ## 8. Tasks as text (8 points)
#
# BERT has a head for each kind of task. T5 has none: the task is written in front of the text, and the answer is a word
# (section 2.4 and appendix D).
#
# ```
# input    cola sentence: The book did not sold .                       target   unacceptable
# input    mnli hypothesis: It is dry. premise: It rains.               target   contradiction
# input    stsb sentence1: Кот спит. sentence2: Кошка уснула.           target   3.8
# ```
#
# `GLUE_FIELDS` has the fields of each task, in the order in which they are written; `GLUE_WORDS` the words for the
# labels 0, 1 …: run `GLUE_FIELDS, GLUE_WORDS` in a cell of your own.

# %% solution="lecturekit.objectives:glue_input" hide="body"

# %% test="tasks:input" points=2
said = glue_input("mnli", premise="It rains.", hypothesis="It is dry.")
check.equal(said, "mnli hypothesis: It is dry. premise: It rains.", why="the order is the task's, not the caller's")
check.equal(glue_input("sst2", sentence="Скучно!"), "sst2 sentence: Скучно!", why="a task of one field")
check.raises(ValueError, glue_input, "cola", sentence1="One.")
### BEGIN HIDDEN TESTS
check.equal(glue_input("stsb", sentence2="b", sentence1="a"), "stsb sentence1: a sentence2: b", why="the task's order")
check.equal(glue_input("cola", sentence=""), "cola sentence: ", why="an empty text")
check.raises(ValueError, glue_input, "stsb", sentence1="One.", why="a field too few")
why = "a field too many"
check.raises(ValueError, glue_input, "stsb", sentence1="One.", sentence2="Two.", sentence="Three.", why=why)
check.raises(ValueError, glue_input, "squad", question="Who?", why="a task that is not one of GLUE_FIELDS")
### END HIDDEN TESTS

# %% [markdown]
# STS-B asks for a *number*: how alike are two sentences, from 1 to 5? T5 rounds it to the nearest 0.2 and takes the 21
# texts "1.0", "1.2" … "5.0" for classes, as if they were words. (Scores half-way between two, such as 2.1, are left out
# of the tests. The data has scores below 1 as well, which are written alike.)

# %% solution="lecturekit.objectives:similarity_words" hide="body"

# %% test="tasks:scores" points=3
scores = [1, 2.57, 3.75, 4.87, 4.95, 5.0]
rounded = ["1.0", "2.6", "3.8", "4.8", "5.0", "5.0"]
check.equal([similarity_words(score) for score in scores], rounded, why="1, 2.57, 3.75, 4.87, 4.95 and 5.0 in words")
words = sorted({similarity_words(1 + i / 100) for i in range(401) if i % 20 != 10})
check.equal(len(words), 21, why="how many different words there are from 1 to 5")
check.equal(similarity_words(0.04), "0.0", why="scores below 1 are written alike")
check.raises(ValueError, similarity_words, 5.3)
### BEGIN HIDDEN TESTS
check.equal(words, [f"{i / 5:.1f}" for i in range(5, 26)], why="all words from 1 to 5")
shifts = (torch.rand(60) * 0.18 - 0.09).tolist()
check.equal([similarity_words(3.4 + shift) for shift in shifts], ["3.4"] * 60, why="scores from 3.31 to 3.49")
check.raises(ValueError, similarity_words, -0.2, why="a score below 0")
### END HIDDEN TESTS

# %% given="lecturekit.objectives:glue_target"

# %% [markdown]
# The model may say anything. An answer that stands for no label is simply wrong, even if it comes near (section 2.4
# names "hamburger"): then the label is None.

# %% solution="lecturekit.objectives:read_glue_target" hide="body"

# %% test="tasks:answers" points=3
check.equal(read_glue_target("sst2", "positive"), 1, why="a word that stands for a label")
check.equal(read_glue_target("mnli", " entailment\n"), 0, why="white space around the answer does not count")
check.equal(read_glue_target("sst2", "hamburger"), None, why="a word that is no label")
check.equal(read_glue_target("cola", "positive"), None, why="a word of another task")
check.close(read_glue_target("stsb", "3.8"), 3.8, why="a score as a number")
check.equal(read_glue_target("stsb", "very much"), None, why="no number at all")
check.equal(read_glue_target("stsb", "7.2"), None, why="no score from 0 to 5")
### BEGIN HIDDEN TESTS
answers = [read_glue_target("mnli", glue_target("mnli", label)) for label in range(3)]
check.equal(answers, [0, 1, 2], why="the words of mnli's three labels")
answers = [read_glue_target("stsb", f"{i / 5:.1f}") for i in range(26)]
check.close(answers, [i / 5 for i in range(26)], why="all words for scores from 0 to 5")
answers = [read_glue_target("stsb", answer) for answer in ["", "nan", "-1.0", "3.8 or so"]]
check.equal(answers, [None] * 4, why="no text, no number, none from 0 to 5, and a number with words behind it")
answers = [read_glue_target("cola", answer) for answer in ["accept", "", "not acceptable"]]
check.equal(answers, [None] * 3, why="parts of a label's word, and more than it")
check.raises(ValueError, read_glue_target, "squad", "Pushkin", why="a task that is not one of GLUE_FIELDS")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_scores()`. How far from the truth can a rounded score be? And `show_tasks()` prints one input
# and one target of each task.


# %%
def show_scores() -> None:
    """The word that T5 has to say for each score of STS-B."""
    scores = [1 + i / 250 for i in range(1001)]
    _, axes = plt.subplots(figsize=(5, 4))
    axes.plot(scores, [float(similarity_words(score)) for score in scores], drawstyle="steps-mid")
    axes.plot([1, 5], [1, 5], c="lightgrey", zorder=0)
    axes.set_xlabel("score in the data")
    axes.set_ylabel("score in words")
    plt.show()


def show_tasks() -> None:
    """An input and a target of each task."""
    for task, label in (("cola", 0), ("sst2", 1), ("mnli", 2), ("stsb", 3.75)):
        text = glue_input(task, **{field: f"<{field}>" for field in GLUE_FIELDS[task]})
        print(f"{text:50} {glue_target(task, label)}")


# %% [markdown]
# ## 9. The decoder's two caches (10 points)
#
# A decoder that writes makes one token at a time. Without a cache it would compute the keys and values of all earlier
# tokens again for each new one. It has two things to remember, for each layer:
#
# | | keys and values of | grows |
# |---|---|---|
# | self-attention: `append` | the tokens that it has written | by those of the new tokens, each time |
# | cross-attention: `once` | the memory | never: computed for the first token, used ever after |
#
# Beam search (lab 5) keeps several texts in hand, drops some and goes on twice with others: then the rows of the batch
# change places, and the caches have to follow (`reorder`).
#
# ```
# append(0, key of "я", …)       layer 0 holds   я              reorder([1, 1])     before   я иду     он спит
# append(0, key of "иду", …)     layer 0 holds   я иду                              after    он спит   он спит
# ```

# %% solution="lecturekit.layers:KeyValueCache" hide="append,once,reorder"


# %% locked="for-caches"
class Projections:
    """Stands in for the keys and values of a memory, for testing: others each time, and it counts the times."""

    def __init__(self, key: Tensor, value: Tensor) -> None:
        self.key, self.value, self.calls = key, value, 0

    def __call__(self) -> tuple[Tensor, Tensor]:
        self.calls += 1
        return self.key + self.calls - 1, self.value + self.calls - 1


# %% test="caches:append" points=4
cache = check.new(KeyValueCache)
check.equal(cache.length, 0, why="an empty cache")
key, value = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4)  # [B, H, T, d]
check.close(cache.append(0, key[:, :, :2], value[:, :, :2]), (key[:, :, :2], value[:, :, :2]), why="the first piece")
check.close(cache.append(7, value[:, :, :2], key[:, :, :2])[0], value[:, :, :2], why="another layer, another pair")
got = cache.append(0, key[:, :, 2:3], value[:, :, 2:3])
check.close(got[0], key[:, :, :3], why="keys: the past, then the new token")
check.close(got[1], value[:, :, :3], why="values likewise")
got = cache.append(7, value[:, :, 2:3], key[:, :, 2:3])
check.close(got[0], value[:, :, :3], why="the other layer goes on with its own")
check.equal(cache.length, 3, why="what has been read")
### BEGIN HIDDEN TESTS
check.close(cache.append(0, key[:, :, 3:], value[:, :, 3:]), (key, value), why="a longer piece")
check.close(cache.append(7, value[:, :, 3:], key[:, :, 3:]), (value, key), why="the other layer")
check.equal(cache.length, 5, why="five tokens have been read")
check.equal(check.new(KeyValueCache).length, 0, why="another cache is empty")
fresh = check.new(KeyValueCache)
check.pure(fresh.append, 0, key, value)
gradient = check.grads(fresh.append, 0, key, value, pick=0)["input1"]
check.close(gradient, torch.ones(2, 3, 5, 4), why="a gradient reaches the new keys")
### END HIDDEN TESTS

# %% test="caches:once" points=3
cache = check.new(KeyValueCache)
key, value = torch.randn(2, 3, 6, 4), torch.randn(2, 3, 6, 4)
memory, other = check.new(Projections, key, value), check.new(Projections, value, key)
check.close(cache.once(0, memory), (key, value), why="the first time they are computed")
check.close(cache.once(0, memory), (key, value), why="later they are the same")
check.equal(memory.calls, 1, why="how often they were computed")
check.close(cache.once(1, other), (value, key), why="each layer has its own")
check.equal(cache.length, 0, why="the memory does not count as text that was written")
### BEGIN HIDDEN TESTS
check.close(cache.append(0, value[:, :, :1], key[:, :, :1]), (value[:, :, :1], key[:, :, :1]), why="apart from `once`")
check.close(cache.once(0, memory), (key, value), why="still the same, after an append")
check.close(cache.once(1, memory), (value, key), why="the other layer's, whoever asks")
check.equal([memory.calls, other.calls], [1, 1], why="how often either was computed")
### END HIDDEN TESTS

# %% test="caches:reorder" points=3
key, value = torch.randn(3, 2, 4, 5), torch.randn(3, 2, 4, 5)
rows, new = torch.tensor([2, 0, 2]), torch.randn(3, 2, 1, 5)
cache = check.new(KeyValueCache)
cache.append(0, key, value)
cache.once(0, check.new(Projections, value, key))
cache.reorder(rows)
got = cache.append(0, new, new)
check.close(got, (torch.cat([key[rows], new], 2), torch.cat([value[rows], new], 2)), why="rows 2, 0 and 2 go on")
check.close(cache.once(0, check.new(Projections, key, key)), (value[rows], key[rows]), why="cross-attention's too")
cache.reorder(torch.tensor([1, 1, 0]), fixed=False)
check.close(cache.once(0, check.new(Projections, key, key)), (value[rows], key[rows]), why="unless fixed is False")
### BEGIN HIDDEN TESTS
many = check.new(KeyValueCache)
pairs = [(torch.randn(3, 2, 4, 5), torch.randn(3, 2, 4, 5)) for layer in range(3)]
for layer in range(3):
    many.append(layer, *pairs[layer])
many.reorder(torch.tensor([1, 0]), fixed=False)
for layer in range(3):
    got = many.append(layer, new[:2], new[:2])
    check.close(got[0], torch.cat([pairs[layer][0][[1, 0]], new[:2]], 2), why="every layer, and a smaller batch")
    check.close(got[1], torch.cat([pairs[layer][1][[1, 0]], new[:2]], 2), why="values likewise")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_caches()` writes twenty tokens with one layer of your decoder and draws what its two caches
# hold. Which of them decides how much memory a summary of a long book takes?


# %%
def show_caches(steps: int = 20, source: int = 12) -> None:
    """How many places the two caches of one layer hold after each token."""
    layer = T5Block(T5Config(vocab_size=9, d_model=16, d_kv=8, d_ff=32, num_heads=2), is_decoder=True).eval()
    cache, held = KeyValueCache(), []
    with torch.no_grad():
        for _ in range(steps):
            layer(torch.randn(1, 1, 16), memory=torch.randn(1, source, 16), cache=cache)
            held.append([pairs[0][0].size(-2) for pairs in (cache.pairs, cache.fixed)])
    _, axes = plt.subplots(figsize=(5, 3))
    for places, name in zip(zip(*held, strict=True), ("self-attention", "cross-attention"), strict=True):
        axes.plot(range(1, steps + 1), places, label=name)
    axes.set_xlabel("tokens written")
    axes.set_ylabel("places in the cache")
    axes.legend()
    plt.show()


# %% [markdown]
# ## 10. The whole model, and two tasks (10 points)
#
# In training the decoder reads the right answer shifted by one place, so that at each place it has to say the token
# that comes *next*. T5 has no token for the beginning: the padding token stands there. A label of -100 means that
# nothing is asked.
#
# ```
# labels          a  b  </s>  -100
# decoder reads   0  a  b     </s>
# ```

# %% solution="lecturekit.models.t5:shift_right" hide="body"

# %% test="learning:shift" points=2
labels = torch.tensor([[5, 6, 1], [7, -100, -100]])
check.equal(shift_right(labels, 0, 0), torch.tensor([[0, 5, 6], [0, 7, 0]]), why="start, then all labels but the last")
check.equal(shift_right(labels, 3, 2), torch.tensor([[3, 5, 6], [3, 7, 2]]), why="another start, another padding")
check.pure(shift_right, labels, 3, 2)
### BEGIN HIDDEN TESTS
labels = torch.randint(1, 50, (4, 7))
check.equal(shift_right(labels, 0, 0)[:, 1:], labels[:, :-1], why="all labels but the last, one place later")
check.equal(shift_right(labels[:, :1], 9, 0), torch.full((4, 1), 9), why="labels of one token")
### END HIDDEN TESTS

# %% [markdown]
# The same matrix [V, D] that turns ids into vectors turns vectors into logits: the head is *tied*, one parameter under
# two names. Embeddings start with numbers of size 1, a head should start $\sqrt D$ times smaller; so what goes into a
# tied head is multiplied by $D^{-1/2}$. T5 v1.1 has a head of its own, and no such factor.
#
# The model below is given but for `tie_weights` and a gap in `forward`: there bind `logits`, the head's answer to the
# decoder's `decoded.last_hidden_state`. Class attributes and the last method are about the exchange with Hugging Face:
# skip them. (They do work, though. `T5ForConditionalGeneration.from_huggingface` puts the weights of a published T5
# into *yours*.)
#
# T5 small has D = 512, H = 8, d = 64, `d_ff` = 2048, V = 32 128 and six layers a side: 60 506 624 parameters, 16 449
# 536 of them in that one matrix. The test counts a smaller one: V = 20, D = 8, H = 2, d = 3, `d_ff` = 16, two layers a
# side.
#
# | part | parameters |
# |---|---|
# | embeddings and head | 20 · 8 = 160 |
# | an encoder's block | 4 · 8 · 6 + 2 · 8 · 16 + 2 · 8 = 464 |
# | a decoder's block | 8 · 8 · 6 + 2 · 8 · 16 + 3 · 8 = 664 |
# | two tables of biases, two last norms | 2 · 32 · 2 + 2 · 8 = 144 |
# | in all | 160 + 2 · 464 + 2 · 664 + 144 = 2 560 |

# %% solution="lecturekit.models.t5:T5ForConditionalGeneration" hide="tie_weights,#head"

# %% test="learning:head" points=4
sizes = {"vocab_size": 20, "d_model": 8, "d_kv": 3, "d_ff": 16, "num_layers": 2, "num_heads": 2}
model = check.new(T5ForConditionalGeneration, T5Config(**sizes))
check.params(model, 2560)
check.shared(model, "shared.weight", "lm_head.weight")
weight = check.fill(model)["shared.weight"]
source, mask, read = torch.tensor([[3, 1], [1, 0]]), torch.tensor([[1, 1], [1, 0]]), torch.tensor([[0, 7], [0, 8]])
memory = model.encoder(source, mask)[0]
hidden = model.decoder(read, None, memory, mask)[0]
logits = model(source, mask, read)[1]
check.shape(logits, 2, 2, 20)
check.close(logits, hidden @ weight.T * 8**-0.5, why="what goes into a tied head is multiplied by 1 / √D")
untied = check.new(T5ForConditionalGeneration, T5Config(**sizes, tie_word_embeddings=False))
check.params(untied, 2560 + 160)
weight = check.fill(untied)["lm_head.weight"]
hidden = untied.decoder(read, None, untied.encoder(source, mask)[0], mask)[0]
check.close(untied(source, mask, read)[1], hidden @ weight.T, why="a head of its own has no such factor")
### BEGIN HIDDEN TESTS
labels = torch.tensor([[7, 1], [8, -100]])
loss, logits = model(source, mask, read, labels=labels)[:2]
log_probs = logits.log_softmax(-1)
asked = log_probs[0, 0, 7] + log_probs[0, 1, 1] + log_probs[1, 0, 8]
check.close(loss, -asked / 3, why="the mean over the labels that are not -100")
check.close(model(source, mask, labels=labels)[1], logits, why="the model shifts labels itself")
check.raises(ValueError, model, source, mask, torch.tensor([[0, 20]]), why="an id outside the vocabulary")
check.pure(model, source, mask, read)
twin = check.ours("lecturekit.models.t5:T5ForConditionalGeneration", T5Config(**sizes))
check.fill(twin)
pieces = ["norm", "buckets", "attention", "bias", "cross-attention", "stack", "caches"]
source, read, labels = [torch.randint(2, 20, (3, length)) for length in (8, 5, 5)]
mask = torch.arange(8) < torch.tensor([[8], [6], [3]])
check.whole(model, twin, source, mask, read, after=pieces, pick=1)
check.whole(model, twin, source, mask, read, after=pieces, pick=0, labels=labels)
check.whole(model, twin, source, mask, read, after=pieces, pick=0, labels=labels, gradients=True)
### END HIDDEN TESTS

# %% [markdown]
# And now it learns. The input is a task and five letters; the first word says what to do with them:
#
# ```
# reverse: d a c b a </s>     ->   a b c a d </s>
# sort: d a c b a </s>        ->   a a b c d </s>
# ```
#
# First the properties that every such model has: no token changes what stands before it, padding changes nothing, with
# a cache it says what it says without, and a gradient reaches every parameter. Then your model takes 300 steps. What it
# has learnt is in its weights: they are handed to lecturekit's own T5, which has to say what your model says, and to
# answer letters that nobody has seen. This takes some five seconds.

# %% test="learning:training" points=4 training=true
config = T5Config(
    vocab_size=14, d_model=64, d_kv=16, d_ff=128, num_layers=1, num_heads=4, dropout_rate=0.0, initializer_factor=0.3
)
model = check.new(T5ForConditionalGeneration, config)
letters, task = torch.randint(4, 14, (19_400, 5)), torch.arange(19_400)[:, None] % 2
end, begin = torch.ones(19_400, 1).long(), torch.zeros(19_400, 1).long()
source = torch.cat([2 + task, letters, end], 1)
answers = torch.cat([torch.where(task == 0, letters.flip(1), letters.sort(1).values), end], 1)
read = torch.cat([begin, answers[:, :-1]], 1)
real = torch.ones_like(source)
few, some = source[:4], real[:4]
memory = model.encoder(few, some)[0]
check.causal(model.decoder, read[:4], None, memory, pick=0)
whole = model(few, some, read[:4])[1]
padded, mask = torch.cat([few, begin[:4]], 1), torch.cat([some, begin[:4]], 1)
check.close(model(padded, mask, read[:4])[1], whole, why="padding behind a text changes nothing")
cache = check.new(KeyValueCache)
for place in range(6):
    piece = model(None, some, read[:4, place : place + 1], None, (memory,), cache)[1]
    check.close(piece, whole[:, place : place + 1], why="with a cache, token by token, the logits are the same")
gradients = check.grads(model, few, some, read[:4], weight=torch.randn(4, 6, 14), pick=1)
silent = [name for name in gradients if not torch.is_tensor(gradients[name]) or not gradients[name].any()]
check.equal(silent, [], why="a gradient reaches every parameter")
batches = [tuple(part[64 * i : 64 * i + 64] for part in (source, real, read, answers)) for i in range(300)]
twin = check.ours("lecturekit.models.t5:T5ForConditionalGeneration", config)
held_out = (source[19_200:], real[19_200:], answers[19_200:])
check.learns(model, batches, held_out, at_least=0.9, lr=1e-2, begin=0, pick=1, twin=twin)

# %% [markdown]
# **To look at:** `model = train_t5()` in a cell of your own trains such a model, prints what it says to both tasks and
# draws the cross-attention of its answer to the first. Where does it look when it reverses, and where when it sorts?
# What does `say(model, "reverse: a b c")` answer, and why? (Remove the calls before you submit: graders need not train
# twice.)


# %%
WORDS = ["<pad>", "</s>", "reverse:", "sort:", *"abcdefghij"]


def as_ids(text: str) -> Tensor:
    """A text as ids [1, S], with </s> behind it."""
    return torch.tensor([[WORDS.index(word) for word in text.split()] + [1]])


def say(model: nn.Module, text: str, most: int = 12) -> str:
    """What the model answers, the likeliest token each time, with your caches."""
    cache, encoded, token, said = KeyValueCache(), model.encoder(as_ids(text)), torch.zeros(1, 1).long(), []
    with torch.no_grad():
        while len(said) < most and int(token) != 1:
            output = model(decoder_input_ids=token, encoder_outputs=encoded, past_key_values=cache)
            token = output.logits[:, -1:].argmax(-1)
            said.append(WORDS[int(token)])
    return " ".join(said)


def train_t5(steps: int = 300) -> nn.Module:
    """A small T5 that has learnt to reverse and to sort five letters, and pictures of where it looks."""
    torch.manual_seed(0)
    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 1, "num_heads": 4, "vocab_size": len(WORDS)}
    model = T5ForConditionalGeneration(T5Config(**sizes, dropout_rate=0.0, initializer_factor=0.3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(8 * (n + 1) / steps, 1 - n / steps))
    end, task = torch.ones(64, 1).long(), torch.arange(64)[:, None] % 2
    for step in range(1, steps + 1):
        letters = torch.randint(4, len(WORDS), (64, 5))
        answers = torch.where(task == 0, letters.flip(1), letters.sort(1).values)
        loss = model(torch.cat([2 + task, letters, end], 1), labels=torch.cat([answers, end], 1)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}")
    model.eval()
    for text in ("reverse: d a c b a", "sort: d a c b a"):
        answer = say(model, text)
        print(f"{text} -> {answer}")
        source, labels = as_ids(text), as_ids(answer.removesuffix(" </s>"))
        weights = model(source, labels=labels, output_attentions=True).cross_attentions[0][0].mean(0)
        draw_weights(weights, answer.split(), [*text.split(), "</s>"])
    return model


# %% [markdown]
# ## In your own words
#
# A colleague writes T5's attention without the $\sqrt d$, as it should be, but lets all projections start like those of
# lab 3, with the same size for queries and keys. What will go wrong, and how does T5 avoid it? Five sentences at most.
# (Your instructor may mark this by hand; it counts nothing towards the 100 points.)

# %% [markdown] question="where-is-the-scale" points=0
# The score of a query and a key is a sum of $d$ products. If both have numbers of variance 1, its variance is $d$, 64
# in T5: the scores differ by about 8, the softmax is almost one-hot from the start, and hardly any gradient passes. T5
# starts the weights of its queries $\sqrt d$ times smaller, so that the scores start with variance 1, just as if they
# had been divided by $\sqrt d$. Both ways can compute the same functions; only where the training starts, and how far
# one step of the optimiser moves the scores, is different.
#
# Rubric:
#
# One point for each of the first three:
#
# - unscaled scores then have the variance $d$, and the softmax starts almost one-hot with hardly a gradient
# - T5 starts the weights of its queries $\sqrt d$ times smaller, so the scores start with variance 1
# - both can compute the same functions: only the start, and what a step of the optimiser does, differ
# - not enough: "T5 normalizes elsewhere": RMS norm acts before the projections, not on the scores
