# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 5. GPT and decoding
#
# GPT is the decoder of lab 3 without an encoder, trained to say the next token. In this lab you write its block, its
# head, its loss and the cache that makes it quick; then the ways to choose a next token; and at the end your own GPT
# learns to take its task from examples in its prompt. Papers:
#
# - GPT-1: *Improving Language Understanding by Generative Pre-Training* (Radford et al., 2018)
# - GPT-2: *Language Models are Unsupervised Multitask Learners* (Radford et al., 2019)
# - GPT-3: *Language Models are Few-Shot Learners* (Brown et al., 2020,
#   [arXiv:2005.14165](https://arxiv.org/abs/2005.14165))
#
# | exercise | what you write | points |
# |---|---|---|
# | 1 | attention and the block, post-norm and pre-norm | 12 |
# | 2 | the cache, and what else must know about the past | 16 |
# | 3 | the tied head and the shifted loss | 12 |
# | 4 | the four sizes of GPT-2 | 6 |
# | 5 | perplexity | 8 |
# | 6 | greedy decoding and temperature | 8 |
# | 7 | top-k | 6 |
# | 8 | top-p, the nucleus | 12 |
# | 9 | beam search with a length penalty | 12 |
# | 10 | zero, one, a few examples; a model that learns to use them | 8 |
#
# **How to work.** Replace each `raise NotImplementedError()` with your code; its docstring says exactly what is wanted.
# Keep names and parameters as they are. Run the test cell below an exercise: it says `passed`, or what was expected
# and what was found, and often *which* mistake it looks like. **Validate** runs all of them at once, in a fresh kernel.
# Graders also run further checks, on fresh numbers. Add cells of your own wherever you like.
#
# What you built in labs 3 and 4 comes from `lecturekit`: `attention`, `split_heads`, `merge_heads`, `token_loss`. So do
# helpers that refuse bad input: `check_input`, `check_ids`, `key_mask` (`help(key_mask)` says what each does).
# PyTorch's `nn.MultiheadAttention` and `nn.Transformer` with its layers earn nothing, and the bodies that this lab asks
# for are missing from the graders' copy of `lecturekit`.
#
# **Shapes.** B batch, T length, P length of the past in a cache, H heads, D width, d = D / H, V vocabulary; in beam
# search K beams and R rows, all beams of all texts.

# %% cage=true
lacks = ["lecturekit.models.gpt:GPTLMHeadModel"]
forbids = {
    "block": ["torch.nn.MultiheadAttention", "torch.nn.functional.multi_head_attention_forward"],
    "*": ["torch.nn.Transformer*"],
}

# %% locked="setup"
# %load_ext lecturekit.checks
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from lecturekit import checks as check
from lecturekit.data import STRING_FUNCTIONS, agreement_pairs, task_examples
from lecturekit.generation import NextToken
from lecturekit.layers import (
    KeyValueCache,  # until you write your own, in exercise 2
    Linear,
    activation,
    attention,
    check_ids,
    check_input,
    key_mask,
    merge_heads,
    split_heads,
    token_loss,
)
from lecturekit.models.gpt import GPT2Config, GPT2PreTrainedModel, GPTConfig, GPTHeadOutput, GPTModelOutput

# %% [markdown]
# ## 1. The block, post-norm and pre-norm (12 points)
#
# GPT's attention is that of lab 3 with one difference: a single linear map `c_attn`, from D to 3 D, makes queries, keys
# and values at once, in this order, side by side; after it, each third is cut into heads:
#
# $$[Q \,|\, K \,|\, V] = x W + b \quad (D \to 3D), \qquad
# \mathrm{Attn}(x) = \mathrm{merge}\big(\mathrm{attention}(Q, K, V)\big)\, W_o + b_o$$
#
# `attention(query, key, value, mask, dropout, need_weights)` takes [B, H, T, d] and returns (context, weights); dropout
# has to be 0 outside training (`self.training`). The lines about a `cache` are given: it is None until exercise 2.
# `forward` has two gaps. In the first bind `query`, `key` and `value`, [B, H, T, d]; the second returns the result.
# (`Linear` is `nn.Linear`, made faster for the few rows of a model that writes.)

# %% solution="lecturekit.models.gpt:GPTAttention" hide="#heads,#context"

# %% test="block:attention" points=5
big = check.new(GPTAttention, GPT2Config())
check.params(big, 4 * 590_592)
config = GPT2Config(vocab_size=9, n_embd=12, n_head=3, n_positions=8, attn_pdrop=0.999)
layer = check.new(GPTAttention, config)
w = check.fill(layer)
x, mask = torch.randn(2, 5, 12), torch.ones(5, 5).tril().bool()
parts = (x @ w["c_attn.weight"].T + w["c_attn.bias"]).split(12, dim=-1)
query, key, value = [part.reshape(2, 5, 3, 4).transpose(1, 2) for part in parts]
context = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask)
expected = context.transpose(1, 2).reshape(2, 5, 12) @ w["c_proj.weight"].T + w["c_proj.bias"]
got, weights = layer(x, mask, need_weights=True)
check.shape(got, 2, 5, 12)
check.shape(weights, 2, 3, 5, 5)
check.close(weights @ value, context, why="the weights, and PyTorch's own attention")
check.close(got, expected, why="heads side by side, then c_proj; no dropout outside training")
check.close(layer(x, mask)[0], expected, why="the same when nobody asks for weights")
check.equal(layer(x, mask)[1], None, why="nobody asked for weights")
### BEGIN HIDDEN TESTS
context = torch.nn.functional.scaled_dot_product_attention(query, key, value)
expected = context.transpose(1, 2).reshape(2, 5, 12) @ w["c_proj.weight"].T + w["c_proj.bias"]
check.close(layer(x)[0], expected, why="without a mask")
twin = check.ours("lecturekit.models.gpt:GPTAttention", config)
check.fill(twin)
weight, why = torch.randn(2, 5, 12), "the gradients of every parameter, and of x"
check.whole(layer, twin, x, mask, after=[], pick=0, gradients=True, weight=weight, why=why)
check.pure(layer, x, mask)
### END HIDDEN TESTS

# %% given="lecturekit.models.gpt:GPTMLP"

# %% [markdown]
# A block is attention and a feed-forward network, each with a LayerNorm and a residual sum. GPT-1 is *post-norm*, as in
# lab 3 (section 4.1): the norm comes after the sum. GPT-2 moved it to the *input* of each part (section 2.3), so that
# the sum itself passes through the whole model without a norm; one more norm follows the last block.
#
# $$\text{GPT-1:}\quad a = \mathrm{LN}_1(x + \mathrm{Attn}(x)), \quad y = \mathrm{LN}_2(a + \mathrm{MLP}(a))$$
#
# $$\text{GPT-2:}\quad a = x + \mathrm{Attn}(\mathrm{LN}_1(x)), \quad y = a + \mathrm{MLP}(\mathrm{LN}_2(a))$$
#
# **By hand**, with D = 2. Suppose that attention says $(4, 0)$ whatever it reads, and the feed-forward network
# $(0, 4)$. From $x = (1, 3)$ the block of GPT-1 makes $a = \mathrm{LN}(5, 3) = (1, -1)$ and
# $y = \mathrm{LN}(1, 3) = (-1, 1)$; that of GPT-2 makes $a = (5, 3)$ and $y = (5, 7)$.

# %% solution="lecturekit.models.gpt:GPTBlock" hide="forward"

# %% solution="lecturekit.models.gpt:GPT2Block" hide="forward"

# %% test="block:post-norm" points=3
config = GPTConfig(vocab_size=9, n_embd=2, n_head=1, n_positions=8)
block = check.new(GPTBlock, config)
still = {name: torch.zeros(shape) for name, shape in check.params(block).items()}
norms = {"ln_1.weight": torch.ones(2), "ln_2.weight": torch.ones(2)}
says = {"attn.c_proj.bias": torch.tensor([4.0, 0]), "mlp.c_proj.bias": torch.tensor([0.0, 4])}
check.fill(block, {**still, **norms, **says})
y = block(torch.tensor([[[1.0, 3]]]))[0]
check.close(y, torch.tensor([[[-1.0, 1]]]), why="the example above, for GPT-1")
block = check.new(GPTBlock, GPTConfig(vocab_size=9, n_embd=8, n_head=2, n_positions=8))
check.fill(block)
x, mask = torch.randn(2, 5, 8), torch.ones(5, 5).tril().bool()
attended, weights = block.attn(x, mask, None, True)
a = block.ln_1(x + attended)
got = block(x, mask, None, True)
check.close(got[0], block.ln_2(a + block.mlp(a)), why="each norm after its sum")
check.close(got[1], weights, why="the weights of its attention")
### BEGIN HIDDEN TESTS
check.equal(block(x, mask)[1], None, why="nobody asked for weights")
a = block.ln_1(x + block.attn(x)[0])
check.close(block(x)[0], block.ln_2(a + block.mlp(a)), why="without a mask")
check.pure(block, x, mask)
width, bias = torch.randn(8, 8), torch.randn(8)  # attention of one head and one token is then x @ width.T + bias
plain = {"attn.c_attn.weight": torch.cat([width] * 3), "attn.c_attn.bias": torch.cat([bias] * 3)}
plain = {**plain, "attn.c_proj.weight": torch.eye(8), "attn.c_proj.bias": torch.zeros(8)}
config = GPTConfig(vocab_size=9, n_embd=8, n_head=1, n_positions=8, attn_pdrop=0.0, resid_pdrop=0.0)
block, twin = check.new(GPTBlock, config), check.ours("lecturekit.models.gpt:GPTBlock", config)
check.fill(block, plain)
check.fill(twin, plain)
check.whole(block, twin, torch.randn(6, 1, 8), after=[], pick=0, why="texts of one token, a single head")
### END HIDDEN TESTS

# %% test="block:pre-norm" points=4
config = GPT2Config(vocab_size=9, n_embd=2, n_head=1, n_positions=8)
block = check.new(GPT2Block, config)
still = {name: torch.zeros(shape) for name, shape in check.params(block).items()}
norms = {"ln_1.weight": torch.ones(2), "ln_2.weight": torch.ones(2)}
says = {"attn.c_proj.bias": torch.tensor([4.0, 0]), "mlp.c_proj.bias": torch.tensor([0.0, 4])}
check.fill(block, {**still, **norms, **says})
y = block(torch.tensor([[[1.0, 3]]]))[0]
check.close(y, torch.tensor([[[5.0, 7]]]), why="the example above, for GPT-2")
check.params(check.new(GPT2Block, GPT2Config()), 7_087_872)
block = check.new(GPT2Block, GPT2Config(vocab_size=9, n_embd=8, n_head=2, n_positions=8))
check.fill(block)
x, mask = torch.randn(2, 5, 8), torch.ones(5, 5).tril().bool()
attended, weights = block.attn(block.ln_1(x), mask, None, True)
a = x + attended
got = block(x, mask, None, True)
check.close(got[0], a + block.mlp(block.ln_2(a)), why="each norm before its part, none on the sum")
check.close(got[1], weights, why="the weights of its attention")
### BEGIN HIDDEN TESTS
check.equal(block(x, mask)[1], None, why="nobody asked for weights")
a = x + block.attn(block.ln_1(x))[0]
check.close(block(x)[0], a + block.mlp(block.ln_2(a)), why="without a mask")
gradients = check.grads(block, x, mask, pick=0, weight=torch.randn(2, 5, 8))
silent = [name for name in gradients if not torch.is_tensor(gradients[name]) or not gradients[name].any()]
check.equal(silent, [], why="a gradient reaches every parameter, and x")
check.pure(block, x, mask)
width, bias = torch.randn(8, 8), torch.randn(8)  # attention of one head and one token is then x @ width.T + bias
plain = {"attn.c_attn.weight": torch.cat([width] * 3), "attn.c_attn.bias": torch.cat([bias] * 3)}
plain = {**plain, "attn.c_proj.weight": torch.eye(8), "attn.c_proj.bias": torch.zeros(8)}
config = GPT2Config(vocab_size=9, n_embd=8, n_head=1, n_positions=8, attn_pdrop=0.0, resid_pdrop=0.0)
block, twin = check.new(GPT2Block, config), check.ours("lecturekit.models.gpt:GPT2Block", config)
check.fill(block, plain)
check.fill(twin, plain)
check.whole(block, twin, torch.randn(6, 1, 8), after=[], pick=0, why="texts of one token, a single head")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_norms()` in a cell of your own sends random vectors through 24 blocks of each kind, untrained,
# and draws how long the vectors are after each. Why does one line climb? Which line did GPT-2's authors keep low with
# smaller weights where a part joins the sum (section 2.3), and what does `show_norms(smaller=True)` show?


# %%
def show_norms(blocks: int = 24, smaller: bool = False) -> None:
    """The mean length of a token's vector after each block, post-norm and pre-norm, with weights of size 0.2."""
    sizes = {"vocab_size": 9, "n_embd": 48, "n_head": 3, "n_positions": 16}
    _, axes = plt.subplots(figsize=(6, 3))
    for name, build, config in (("post-norm", GPTBlock, GPTConfig), ("pre-norm", GPT2Block, GPT2Config)):
        torch.manual_seed(0)
        x, mask = F.layer_norm(torch.randn(4, 16, 48), (48,)), torch.ones(16, 16).tril().bool()
        lengths = [x.norm(dim=-1).mean().item()]
        with torch.no_grad():
            for _ in range(blocks):
                block = build(config(**sizes)).eval()
                for parameter, weight in block.named_parameters():
                    if weight.dim() == 2:
                        shrink = math.sqrt(2 * blocks) if smaller and parameter.endswith("c_proj.weight") else 1
                        nn.init.normal_(weight, std=0.2 / shrink)
                x = block(x, mask)[0]
                lengths.append(x.norm(dim=-1).mean().item())
        axes.plot(lengths, label=name)
    axes.set_xlabel("blocks")
    axes.set_ylabel("length of a vector")
    axes.legend()
    plt.show()


# %% [markdown]
# ## 2. The cache, and what else must know about the past (16 points)
#
# A model that writes reads one new token at a time. Keys and values of the tokens before it do not change, since no
# token sees a later one; so they are computed once and kept: P tokens are in the cache, T new ones come. Three places
# have to know about the past, and each has its own classic slip.
#
# | | the first T = 3 tokens | then T = 2 more, with P = 3 in the cache |
# |---|---|---|
# | keys and values | 3 | 3 + 2, the new ones *last* |
# | positions | 0 1 2 | **3 4**, not 0 1 |
# | mask [T, P + T], 1 = may be seen | `1 0 0` / `1 1 0` / `1 1 1` | `1 1 1 1 0` / `1 1 1 1 1` |
#
# First the cache itself. Each layer keeps its pair under its own number. Beam search (exercise 9) keeps some texts,
# drops others and goes on twice with a good one: then the rows of the batch change places (`reorder`). What `once` and
# `fixed` are for comes in lab 6; a GPT leaves them empty.
#
# ```
# append(0, key of "я", …)       layer 0 holds   я              reorder([1, 1])     before   я иду     он спит
# append(0, key of "иду", …)     layer 0 holds   я иду                              after    он спит   он спит
# ```

# %% solution="lecturekit.layers:KeyValueCache" hide="length,append,reorder"

# %% test="cache:append" points=4
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
check.equal(cache.length, 3, why="what has been read: two tokens and one more")
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

# %% test="cache:reorder" points=2
key, value = torch.randn(3, 2, 4, 5), torch.randn(3, 2, 4, 5)
rows, new = torch.tensor([2, 0, 2]), torch.randn(3, 2, 1, 5)
cache = check.new(KeyValueCache)
cache.append(0, key, value)
cache.append(1, value, key)
cache.reorder(rows)
got = cache.append(0, new, new)
check.close(got, (torch.cat([key[rows], new], 2), torch.cat([value[rows], new], 2)), why="rows 2, 0 and 2 go on")
got = cache.append(1, new, new)
check.close(got, (torch.cat([value[rows], new], 2), torch.cat([key[rows], new], 2)), why="in every layer")
### BEGIN HIDDEN TESTS
cache = check.new(KeyValueCache)
cache.append(4, key, value)
cache.reorder(torch.tensor([1, 0]))
got = cache.append(4, new[:2], new[:2])
check.close(got[0], torch.cat([key[[1, 0]], new[:2]], 2), why="fewer rows than before")
check.equal(cache.length, 5, why="rows change places, the number of tokens does not")
### END HIDDEN TESTS

# %% [markdown]
# Now the mask: each of the T new tokens sees itself, everything before it, the past included, and no padding, of which
# `key_mask` makes a boolean [B, 1, 1, P + T] (or None). GPT-3 lets every second layer see the nearest tokens alone
# (section 2.1): that is `window`. With P = 3, T = 2 and `window=2`:
#
# ```
# key         0  1  2  3  4
# query 3     0  0  1  1  0
#       4     0  0  0  1  1
# ```

# %% solution="lecturekit.models.gpt:decoder_mask" hide="body"

# %% test="cache:mask" points=4
ids = torch.ones(2, 3).long()
triangle = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
check.dtype(decoder_mask(None, ids), torch.bool)
mask = torch.broadcast_to(decoder_mask(None, ids), (2, 1, 3, 3))
check.equal(mask[1, 0], triangle, why="itself and what came before it")
after = torch.tensor([[True] * 4 + [False], [True] * 5])
mask = torch.broadcast_to(decoder_mask(None, ids[:, :2], 3), (2, 1, 2, 5))
check.equal(mask[0, 0], after, why="two tokens after three others")
mask = torch.broadcast_to(decoder_mask(None, ids[:, :2], 3, 2), (2, 1, 2, 5))
near = torch.tensor([[False, False, True, True, False], [False, False, False, True, True]])
check.equal(mask[0, 0], near, why="the same with window=2")
padding = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
mask = torch.broadcast_to(decoder_mask(padding, ids[:, :2], 3), (2, 1, 2, 5))
check.equal(mask[0, 0], after & padding[0].bool(), why="the first text has padding on the left")
check.equal(mask[1, 0], after, why="the second has none")
mask = torch.broadcast_to(decoder_mask(padding, ids[:, :1], 4), (2, 1, 1, 5))
check.equal(mask[:, 0, 0], padding.bool(), why="one token after four others sees no padding either")
### BEGIN HIDDEN TESTS
padding, far = (torch.rand(3, 9) > 0.3).long(), torch.arange(4, 9)[:, None] - torch.arange(9)
mask = torch.broadcast_to(decoder_mask(padding, torch.ones(3, 5).long(), 4, 3), (3, 1, 5, 9))
expected = padding.bool()[:, None, None, :] & (far >= 0) & (far < 3)
check.equal(mask, expected, why="five tokens after four others, with padding and window=3")
mask = torch.broadcast_to(decoder_mask(None, torch.ones(1, 1).long(), 6, 4), (1, 1, 1, 7))
check.equal(mask[0, 0, 0], torch.arange(7) > 2, why="one token, window=4")
why = "an attention_mask longer than the past and the new tokens"
check.raises(ValueError, decoder_mask, padding, torch.ones(3, 5).long(), 3, why=why)
why = "an attention_mask of floating-point numbers"
check.raises(TypeError, decoder_mask, padding.float(), torch.ones(3, 5).long(), 4, why=why)
### END HIDDEN TESTS

# %% [markdown]
# And the positions. As in BERT each has a learnt vector, added to that of the token (GPT-1, equation 2):
# $h_0 = U W_e + W_p$. They go on from the past, unless they are given.

# %% solution="lecturekit.models.gpt:embed" hide="body"


# %% locked="for-the-past"
class Reader(nn.Module):
    """Stands in for a model of one layer, for testing: the pieces are yours, but nothing is projected."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None, cache: KeyValueCache | None = None) -> Tensor:
        """ids [B, T] -> [B, T, D]."""
        past = 0 if cache is None else cache.length
        x = split_heads(embed(self.config, self.wte, self.wpe, ids, None, past), self.config.n_head)
        key, value = (x, x) if cache is None else cache.append(0, x, x)
        return merge_heads(attention(x, key, value, decoder_mask(attention_mask, ids, past))[0])


# %% [markdown]
# **By hand**, D = 2. Token 1 has the vector $(1, 0)$, token 2 $(2, 0)$; position $p$ has $(0, p)$. The ids `2 1` become
# $(2, 0)$ and $(1, 1)$; after a past of three tokens they become $(2, 3)$ and $(1, 4)$.

# %% test="cache:positions" points=3
config = GPT2Config(vocab_size=6, n_positions=5, n_embd=2, n_head=1)
reader = check.new(Reader, config)
tables = {
    "wte.weight": torch.stack([torch.arange(6.0), torch.zeros(6)], 1),
    "wpe.weight": torch.stack([torch.zeros(5), torch.arange(5.0)], 1),
}
check.fill(reader, tables)
ids = torch.tensor([[2, 1]])
x = embed(config, reader.wte, reader.wpe, ids)
check.close(x, torch.tensor([[[2.0, 0], [1, 1]]]), why="the example above, no past")
x = embed(config, reader.wte, reader.wpe, ids, None, 3)
check.close(x, torch.tensor([[[2.0, 3], [1, 4]]]), why="after a past of three tokens")
x = embed(config, reader.wte, reader.wpe, ids, torch.tensor([[0, 2]]), 3)
check.close(x, torch.tensor([[[2.0, 0], [1, 2]]]), why="positions that are given are used as they are")
check.raises(ValueError, embed, config, reader.wte, reader.wpe, ids, None, 4)
### BEGIN HIDDEN TESTS
ids, places = torch.randint(0, 6, (3, 4)), torch.randint(0, 5, (3, 4))
x = embed(config, reader.wte, reader.wpe, ids, places)
check.close(x, torch.stack([ids, places], -1).float(), why="positions of shape [B, T]")
check.raises(ValueError, embed, config, reader.wte, reader.wpe, torch.tensor([[6]]), why="an id outside the vocabulary")
check.raises(ValueError, embed, config, reader.wte, reader.wpe, ids, places + 5, why="positions outside their table")
check.raises(ValueError, embed, config, reader.wte, reader.wpe, torch.ones(1, 6).long(), why="too long a text")
### END HIDDEN TESTS

# %% [markdown]
# All three together: `Reader`, above, reads a text whole and in pieces, and must say the same.

# %% test="cache:together" points=3
reader = check.new(Reader, GPT2Config(vocab_size=20, n_positions=12, n_embd=8, n_head=2))
w = check.fill(reader)
ids = torch.randint(0, 20, (2, 7))
check.causal(reader, ids)
whole, cache = reader(ids), check.new(KeyValueCache)
for begin, end in [(0, 3), (3, 4), (4, 5), (5, 7)]:
    piece = reader(ids[:, begin:end], None, cache)
    check.close(piece, whole[:, begin:end], why=f"tokens {begin} to {end - 1}, the others in the cache")
### BEGIN HIDDEN TESTS
x = (w["wte.weight"][ids] + w["wpe.weight"][:7]).reshape(2, 7, 2, 4).transpose(1, 2)
expected = torch.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True).transpose(1, 2).reshape(2, 7, 8)
check.close(whole, expected, why="a whole text: each token attends to itself and to those before it")
padding = torch.tensor([[0, 0, 1, 1, 1, 1, 1], [1] * 7])
whole, cache = reader(ids, padding), check.new(KeyValueCache)
for end in range(1, 8):
    piece = reader(ids[:, end - 1 : end], padding[:, :end], cache)
    check.close(piece[1], whole[1, end - 1 : end], why="token by token beside a text with padding")
check.close(piece[0], whole[0, 6:], why="the last token of a text with padding on the left")
### END HIDDEN TESTS

# %% [markdown]
# Here is the whole model, made of your pieces. Read it from top to bottom: `wte` and `wpe` embed, the blocks `h`
# follow, and `ln_f` is the norm after the last one.

# %% given="lecturekit.models.gpt:run_blocks"

# %% given="lecturekit.models.gpt:GPT2Model"

# %% [markdown]
# **To look at:** `show_work()` writes 60 tokens with a small model of your pieces and draws how many tokens it had to
# read for each, with a cache and without. What would be the whole work for $n$ tokens, in each case?


# %%
def show_work(steps: int = 60) -> None:
    """How many tokens a GPT reads for each token that it writes, with a cache and without."""
    torch.manual_seed(0)
    model = GPT2Model(GPT2Config(vocab_size=50, n_positions=steps + 1, n_embd=32, n_head=2, n_layer=2)).eval()
    _, axes = plt.subplots(figsize=(6, 3))
    for name, cache in (("without a cache", None), ("with a cache", KeyValueCache())):
        ids, read = torch.zeros(1, 1).long(), []
        for _ in range(steps):
            new = ids if cache is None else ids[:, cache.length :]
            with torch.no_grad():
                x = model(new, past_key_values=cache).last_hidden_state
            read.append(x.size(1))
            ids = torch.cat([ids, (x[:, -1:] @ model.wte.weight.T).argmax(-1)], 1)
        axes.plot(range(1, steps + 1), read, label=name)
    axes.set_xlabel("token written")
    axes.set_ylabel("tokens read for it")
    axes.legend()
    plt.show()


# %% [markdown]
# ## 3. The tied head and the shifted loss (12 points)
#
# The head turns what the model says at position $i$ into logits for the token at $i + 1$. Its matrix [V, D] is that of
# the token embeddings, *one* Parameter under two names (GPT-1, section 3.1, equation 2: $P(u) =
# \mathrm{softmax}(h_n W_e^\top)$).
#
# For the loss a batch is its own answer: `labels` are the `input_ids` themselves, and the loss shifts them by one
# place. The last logits are about a token that nobody knows; the first label has nothing before it. -100 is not asked:
#
# ```
# input_ids     я      иду    домой   .
# logits about  иду    домой  .       ?
# labels        я      иду    домой   .        the same as input_ids; compared are   иду  домой  .
# ```
#
# $$L = -\frac1N \sum_{i \,:\, y_{i+1} \ne -100} \log \mathrm{softmax}(\mathrm{logits}_i)_{y_{i+1}}$$
#
# **By hand.** A text of three tokens. At position 0 the model gave the second token the probability $\frac12$, at
# position 1 it gave the third one $\frac18$: $L = \frac{1 + 3}{2} \ln 2 = 2 \ln 2$, whatever it says at position 2.

# %% solution="lecturekit.models.gpt:next_token_loss" hide="body"

# %% test="head:loss" points=5
probabilities = torch.tensor(
    [[[1 / 8, 1 / 8, 1 / 2, 1 / 4], [1 / 4, 1 / 8, 1 / 8, 1 / 2], [1 / 2, 1 / 4, 1 / 8, 1 / 8]]]
)
loss = next_token_loss(probabilities.log(), torch.tensor([[3, 2, 1]]))
check.shape(loss)
check.close(loss, 2 * math.log(2), why="the example above: token 2 is asked at position 0, token 1 at position 1")
loss = next_token_loss(probabilities.log(), torch.tensor([[3, -100, 1]]))
check.close(loss, 3 * math.log(2), why="-100 is not asked: only token 1 is left, at position 1")
logits, labels = torch.randn(2, 4, 7), torch.tensor([[5, 0, 6, -100], [1, 2, 2, 3]])
gradient = check.grads(next_token_loss, logits, labels)["input0"]
check.close(gradient[:, 3], torch.zeros(2, 7), why="nothing is known about what the last logits are about")
one_hot = torch.nn.functional.one_hot(labels[:, 1:].clamp(min=0), 7)
expected = (logits[:, :3].softmax(-1) - one_hot) * (labels[:, 1:] >= 0)[..., None] / 5
check.close(gradient[:, :3], expected, why="the mean over the five labels that are asked, in both texts together")
### BEGIN HIDDEN TESTS
logits, labels = torch.randn(3, 6, 9) * 3, torch.randint(0, 9, (3, 6))
labels[0, 2:], labels[2, 1:5] = -100, -100
picked = logits[:, :5].log_softmax(-1).gather(-1, labels[:, 1:].clamp(min=0)[..., None])[..., 0]
expected = -picked[labels[:, 1:] >= 0].mean()
check.close(next_token_loss(logits, labels), expected, why="the mean over the labels that are asked, of all texts")
labels[:, 0] = 8
check.close(next_token_loss(logits, labels), expected, why="the first label never counts")
check.pure(next_token_loss, logits, labels)
### END HIDDEN TESTS

# %% [markdown]
# When a model writes, only the last position matters, and V is large: `logits_to_keep` asks for the last positions
# alone (0 for all). All else that `forward` is given goes on to the `transformer`.

# %% solution="lecturekit.models.gpt:GPT2LMHeadModel" hide="tie_weights,forward"

# %% test="head:tied" points=2
config = GPT2Config(vocab_size=20, n_positions=10, n_embd=8, n_head=2, n_layer=2)
model = check.new(GPT2LMHeadModel, config)
check.shared(model, "transformer.wte.weight", "lm_head.weight")
check.params(model, 20 * 8 + 10 * 8 + 2 * 872 + 16)
### BEGIN HIDDEN TESTS
rows, places, width, layers = [int(torch.randint(low, low + 9, ())) for low in (11, 5, 2, 1)]
config = GPT2Config(vocab_size=rows, n_positions=places, n_embd=2 * width, n_head=2, n_layer=layers)
model, twin = check.new(GPT2LMHeadModel, config), check.ours("lecturekit.models.gpt:GPT2LMHeadModel", config)
check.shared(model, "transformer.wte.weight", "lm_head.weight")
check.params(model, sum(p.numel() for p in twin.parameters()))
### END HIDDEN TESTS

# %% test="head:model" points=5
config = GPT2Config(vocab_size=20, n_positions=10, n_embd=8, n_head=2, n_layer=2, attn_pdrop=0.0)
model = check.new(GPT2LMHeadModel, config)
table = check.fill(model)["transformer.wte.weight"]
ids, real = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
loss, logits, hidden, attentions = model(ids, real)
check.shape(logits, 2, 4, 20)
check.close(logits, model.transformer(ids, real)[0] @ table.T, why="the last hidden state times the head's weight")
check.equal((loss, hidden, attentions), (None, None, None), why="no labels, no loss; nobody asked for the rest")
labels = torch.tensor([[3, 4, 5, 6], [7, 8, 9, -100]])
check.close(model(ids, real, labels)[0], next_token_loss(logits, labels), why="your own loss of labels as they come")
check.close(model(ids, real, logits_to_keep=1)[1], logits[:, 3:], why="logits_to_keep=1: the last position alone")
moved = model.transformer(ids, position_ids=torch.tensor([[4, 3, 2, 1]]))[0] @ table.T
check.close(model(ids, position_ids=torch.tensor([[4, 3, 2, 1]]))[1], moved, why="all else goes on to the transformer")
expected = model.transformer(ids, real, output_attentions=True, output_hidden_states=True)
_, _, hidden, attentions = model(ids, real, output_attentions=True, output_hidden_states=True)
check.close(hidden, expected[1], why="hidden states, if asked for")
### BEGIN HIDDEN TESTS
check.close(attentions, expected[2], why="weights, if asked for")
check.close(model(ids, real, logits_to_keep=3)[1], logits[:, 1:], why="logits_to_keep=3: the last three positions")
check.pure(model, ids, real, labels)
twin = check.ours("lecturekit.models.gpt:GPT2LMHeadModel", config)
check.fill(twin)
ids, real = torch.randint(0, 20, (3, 7)), torch.arange(7) < torch.tensor([[7], [5], [2]])
pieces, weight = ["block", "cache"], torch.randn(3, 7, 20)
check.whole(model, twin, ids, real, after=pieces, pick=1)
check.whole(model, twin, ids, after=pieces, pick=1, gradients=True, weight=weight)
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_pull()` draws the gradient of your loss for each logit of a sentence: blue is pulled up, red is
# pushed down. Which word is pulled up where the model has read `иду`? Which row is white, and why? What changes with
# `show_pull(hidden=2)`, where one label is -100?

# %%
WORDS = ["<s>", "я", "иду", "домой", "и", "пою", "громко", "</s>"]


def show_pull(hidden: int | None = None) -> None:
    """Minus the gradient of your loss for the logits of a sentence, a row for each word read."""
    torch.manual_seed(0)
    ids, logits = torch.arange(len(WORDS))[None], torch.randn(1, len(WORDS), len(WORDS), requires_grad=True)
    labels = ids if hidden is None else torch.where(ids == hidden, -100, ids)
    next_token_loss(logits, labels).backward()
    _, axes = plt.subplots(figsize=(4, 4))
    axes.imshow(-logits.grad[0].numpy(), vmin=-0.15, vmax=0.15, cmap="RdBu")
    axes.set_xticks(range(len(WORDS)), WORDS, rotation=90)
    axes.set_yticks(range(len(WORDS)), WORDS)
    axes.set_xlabel("next")
    axes.set_ylabel("read")
    plt.show()


# %% [markdown]
# ## 4. The four sizes of GPT-2 (6 points)
#
# The paper gives four sizes (table 2); heads are 64 wide in all of them (the released code has 12, 16, 20 and 25):
#
# | parameters, as printed | layers | D | parameters, counted |
# |---|---|---|---|
# | 117M | 12 | 768 | 124,439,808 |
# | 345M | 24 | 1024 | 354,823,168 |
# | 762M | 36 | 1280 | 774,030,080 |
# | 1542M | 48 | 1600 | 1,557,611,200 |
#
# The printed figures are too low; the models that were released have the counted ones. Vocabulary 50,257, 1,024
# positions, feed-forward width $4 D$ unless `config.n_inner` says otherwise (`config.inner_width` knows).
#
# **By hand**, the smallest: a block has $768 \cdot 2304 + 2304$ (`c_attn`), $768 \cdot 768 + 768$ (`c_proj`),
# $768 \cdot 3072 + 3072$ and $3072 \cdot 768 + 768$ (feed-forward) and two norms of $2 \cdot 768$: together 7,087,872,
# as many as a layer of BERT base. Twelve of them make 85,054,464; the two tables have
# $(50{,}257 + 1{,}024) \cdot 768 = 39{,}383{,}808$; the last norm has 1,536.

# %% solution="lecturekit.models.gpt:count_parameters" hide="body"

# %% test="count:sizes" points=4
by_hand = {"block": 7_087_872, "embeddings": 39_383_808, "blocks": 85_054_464, "total": 124_439_808}
check.equal(count_parameters(GPT2Config()), by_hand, why="the smallest")
table = {(24, 1024): 354_823_168, (36, 1280): 774_030_080, (48, 1600): 1_557_611_200}
for layers, width in table:
    config = GPT2Config(n_layer=layers, n_embd=width, n_head=width // 64)
    check.equal(count_parameters(config)["total"], table[layers, width], why=f"{layers} layers of width {width}")
### BEGIN HIDDEN TESTS
width, layers, rows, places = [int(torch.randint(low, low + 9, ())) for low in (2, 2, 20, 5)]
config = GPT2Config(n_layer=layers, n_embd=2 * width, n_head=2, vocab_size=rows, n_positions=places)
twin = check.ours("lecturekit.models.gpt:GPT2Model", config)
found, total = count_parameters(config), sum(p.numel() for p in twin.parameters())
check.equal(found["total"], total, why="as many as lecturekit's own model of that size has")
block = sum(p.numel() for p in twin.h[0].parameters())
check.equal([found["block"], found["blocks"]], [block, layers * block], why="one block of it, and all of them")
### END HIDDEN TESTS

# %% test="count:others" points=2
small = GPT2Config(vocab_size=10, n_positions=5, n_embd=4, n_layer=3, n_head=2, n_inner=6)
expected = {"block": 80 + 30 + 28 + 16, "embeddings": 60, "blocks": 462, "total": 530}
check.equal(count_parameters(small), expected, why="width 4, n_inner=6, 3 layers, 10 tokens, 5 positions")
### BEGIN HIDDEN TESTS
width, inner, layers, heads, rows = [int(torch.randint(low, low + 9, ())) for low in (1, 5, 1, 1, 30)]
sizes = {"n_embd": width * heads, "n_head": heads, "n_layer": layers, "n_inner": inner}
config = GPT2Config(**sizes, vocab_size=rows, n_positions=rows // 2)
twin = check.ours("lecturekit.models.gpt:GPT2LMHeadModel", config)
counted = sum(p.numel() for p in twin.parameters())
check.equal(count_parameters(config)["total"], counted, why="as many as lecturekit's own model of that size has")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_sizes()` draws where the parameters of the four sizes sit. What would the smallest one save with
# GPT-1's vocabulary of 40,478 tokens (`show_sizes(40_478)`)? And what would a head of its own cost each of them?


# %%
def show_sizes(vocab_size: int = 50_257) -> None:
    """The shares of embeddings and blocks in the four sizes of GPT-2, and how many parameters each has."""
    _, axes = plt.subplots(figsize=(7, 2.5))
    for place, (layers, width) in enumerate([(12, 768), (24, 1024), (36, 1280), (48, 1600)]):
        config = GPT2Config(n_layer=layers, n_embd=width, n_head=width // 64, vocab_size=vocab_size)
        counts, left = count_parameters(config), 0.0
        for part, color in (("embeddings", "C0"), ("blocks", "C1")):
            share = counts[part] / counts["total"]
            axes.barh(place, share, left=left, color=color, label=part if place == 0 else None)
            left += share
        axes.text(1.01, place, f"{counts['total']:,}", va="center")
    axes.set_yticks(range(4), ["117M", "345M", "762M", "1542M"])
    axes.set_xlabel("share of all parameters")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncol=2)
    plt.show()


# %% [markdown]
# ## 5. Perplexity (8 points)
#
# How well does a model know a text? Its *perplexity* is the number of tokens between which it hesitates, on average: if
# it gave each token the probability $\frac1n$, it would be $n$. GPT-2's on WikiText-2 falls from 29.41 to 18.34 from
# the smallest to the largest (table 3). For $N$ tokens that are asked:
#
# $$\mathrm{PPL} = \exp\Big(-\frac1N \sum_{i} \log p(u_i \mid u_{<i})\Big)$$
#
# A text comes in batches, and a batch's loss is a mean over *its* labels. Batches differ in how many they have, so the
# means have to be weighted. `label_count` says how many labels `next_token_loss` takes the mean over: not the first of
# each row, and no -100.
#
# **By hand.** One batch has one label, and its loss is $\ln 8$; another has two, and its loss is $\ln 2$. Together
# $\exp\big((\ln 8 + 2 \ln 2) / 3\big) = \sqrt[3]{32} \approx 3.175$. The mean of both losses would give
# $\exp\big((\ln 8 + \ln 2) / 2\big) = 4$, the mean of both perplexities 5.

# %% solution="lecturekit.models.gpt:label_count" hide="body"

# %% solution="lecturekit.models.gpt:perplexity" hide="body"

# %% test="perplexity:counts" points=3
check.equal(label_count(torch.tensor([[5, 6, 7, 8]])), 3, why="nothing comes before the first")
check.equal(label_count(torch.tensor([[5, 6, 7], [5, -100, 7], [9, 6, -100]])), 4, why="2 + 1 + 1")
check.dtype(label_count(torch.tensor([[5, 6]])), int)
check.equal(
    label_count(torch.tensor([[-100, 5], [5, -100]])), 1, why="the first label counts for nothing, asked or not"
)
### BEGIN HIDDEN TESTS
labels = torch.where(torch.rand(9, 11) < 0.4, -100, torch.randint(0, 50, (9, 11)))
asked = sum(sum(y >= 0 for y in row[1:]) for row in labels.tolist())
check.equal(label_count(labels), asked, why="all texts together, without the first labels and without -100")
check.equal(label_count(labels[:, :1]), 0, why="texts of one token")
### END HIDDEN TESTS

# %% test="perplexity:weighted" points=5
check.close(perplexity([math.log(8), math.log(2)], [1, 2]), 32 ** (1 / 3), why="the example above")
check.close(perplexity([math.log(7)] * 3, [5, 1, 90]), 7.0, why="each token had the probability 1/7")
check.close(perplexity([math.log(8), math.nan, math.log(2)], [1, 0, 2]), 32 ** (1 / 3), why="a batch without a label")
check.dtype(perplexity([1.0], [1]), float)
check.raises(ValueError, perplexity, [math.nan], [0])
check.raises(ValueError, perplexity, [1.0, 2.0], [3])
### BEGIN HIDDEN TESTS
log_probs, sizes = -torch.rand(200) * 6, [3, 90, 7, 55, 1, 44]
losses = [-part.mean().item() for part in log_probs.split(sizes)]
expected = math.exp(-log_probs.double().mean().item())
check.close(perplexity(losses, sizes), expected, why="one text of 200 tokens, whatever it is cut into")
check.raises(ValueError, perplexity, [], [], why="no batch at all, so no label")
check.pure(perplexity, losses, sizes)
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_perplexity()`: models that count letters in 2,000 short sentences and know none, one, two or
# three of the letters before the next, on sentences that they have not seen, in Russian and in English. Between how
# many letters does each hesitate?


# %%
def show_perplexity(known: int = 4, count: int = 2000) -> None:
    """The perplexity per letter of models that count, against the number of letters that they look back."""
    _, axes = plt.subplots(figsize=(5, 3))
    for language in ("ru", "en"):
        texts = [pair[0].lower() for pair in agreement_pairs(count + 200, 0, language)]
        letters = sorted(set("".join(texts)))
        found = []
        for back in range(known):
            seen: dict[str, dict[str, int]] = {}
            for text in texts[200:]:
                for place in range(back, len(text)):
                    after = seen.setdefault(text[place - back : place], {})
                    after[text[place]] = after.get(text[place], 0) + 1
            losses, counts = [], []
            for text in texts[:200]:
                costs = []
                for place in range(known, len(text)):
                    after = seen.get(text[place - back : place], {})
                    likely = (after.get(text[place], 0) + 0.1) / (sum(after.values()) + 0.1 * len(letters))
                    costs.append(-math.log(likely))
                losses.append(sum(costs) / max(len(costs), 1))
                counts.append(len(costs))
            found.append(perplexity(losses, counts))
        axes.plot(range(known), found, marker="o", label=f"{language}, {len(letters)} letters")
    axes.set_xlabel("letters that the model looks back")
    axes.set_ylabel("perplexity")
    axes.set_xticks(range(known))
    axes.set_ylim(bottom=0)
    axes.legend()
    plt.show()


# %% [markdown]
# ## 6. Greedy decoding and temperature (8 points)
#
# To write is to choose the next token, to append it, and to ask again. `extend` does so for a batch of texts; `choose`
# turns logits [B, V] into tokens [B], and the first choice is the *greedy* one, the most probable token. A text ends
# with an end token, which belongs to it; from there on it is filled up while the others go on:
#
# ```
# prompt    new tokens, end = </s>
# я         иду домой </s>  <pad>
# кот       спит  и  спит  </s>
# ```
#
# `extend` is a generator: it hands out (`yield`) each column of new tokens as soon as it is there.


# %% locked="for-writing"
class Table:
    """Stands in for a model, for testing: the logits [R, V] of the next token hang on the last one alone.

    It remembers how long the texts were each time, and whether `rows` told the truth.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits, self.lengths, self.sound, self.last = logits, [], True, None

    def __call__(self, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        self.lengths.append(ids.size(1))
        if rows is not None:
            self.sound = self.sound and torch.equal(ids[:, :-1], self.last[rows])
        self.last = ids
        return self.logits[ids[:, -1]]


# %% solution="lecturekit.generation:greedy" hide="body"

# %% solution="lecturekit.generation:extend" hide="body"

# %% test="greedy:choice" points=2
logits = torch.tensor([[0.0, 3, 1], [5, 2, 4], [-3, -2, -1]])
check.equal(greedy(logits), torch.tensor([1, 0, 2]), why="the most probable token of each text")
### BEGIN HIDDEN TESTS
logits = torch.randn(7, 40)
check.equal(greedy(logits), logits.max(-1).indices, why="seven texts, forty tokens")
check.shape(greedy(logits), 7)
check.pure(greedy, logits)
### END HIDDEN TESTS

# %% test="greedy:loop" points=3
likely = torch.full((6, 6), -9.0)
for token, following in [(2, 3), (3, 4), (4, 5), (5, 2)]:
    likely[token, following] = 9.0
table, start = check.new(Table, likely), torch.tensor([[2, 2], [2, 3], [3, 5]])
written = extend(check.new(Table, likely), start, greedy, 9, (4,), 0)
assert not torch.is_tensor(written), "`yield` each column [B] as soon as it is there, no matrix of all at the end"
columns = list(extend(table, start, greedy, 9, (4,), 0))
expected = torch.tensor([[3, 4, 0], [4, 0, 0], [2, 3, 4]])
check.equal(torch.stack(columns, 1), expected, why="4 ends a text and belongs to it; 0 fills up")
check.equal(table.lengths, [2, 3, 4], why="how long the texts were that the model was asked about")
columns = list(extend(check.new(Table, likely), start, greedy, 4))
expected = torch.tensor([[3, 4, 5, 2], [4, 5, 2, 3], [2, 3, 4, 5]])
check.equal(torch.stack(columns, 1), expected, why="without end tokens, max_new_tokens of them")
### BEGIN HIDDEN TESTS
columns = list(extend(check.new(Table, likely), start, greedy, 9, (4, 3), 1))
check.equal(torch.stack(columns, 1), torch.tensor([[3, 1], [4, 1], [2, 3]]), why="two tokens end a text")
columns = list(extend(check.new(Table, likely), start, greedy, 2, (4,), 0))
check.equal(torch.stack(columns, 1), torch.tensor([[3, 4], [4, 0], [2, 3]]), why="no more than max_new_tokens")
after, text = torch.randn(20, 20), [3]
for _ in range(12):
    text = [*text, int(after[text[-1]].argmax())]
written = torch.stack(list(extend(check.new(Table, after), torch.tensor([[3]]), greedy, 12)), 1)
check.equal(written[0].tolist(), text[1:], why="twelve tokens, each the most probable one after the token before it")
### END HIDDEN TESTS

# %% [markdown]
# Who writes stories wants surprises, and *draws* the next token instead, with the probabilities that the model gives
# (`sample`, below). The *temperature* $t$ says how daring to be (Ackley et al., 1985): the logits are divided by it.
#
# $$p_i = \frac{e^{z_i / t}}{\sum_j e^{z_j / t}}$$
#
# **By hand.** Two tokens with the probabilities $\frac34$ and $\frac14$. With $t = \frac12$ each is squared before
# they are made to sum to one again: $\frac9{10}$ and $\frac1{10}$. With $t = 2$ the root is taken:
# $\frac{\sqrt3}{\sqrt3 + 1} = 0.63$ and $0.37$.

# %% given="lecturekit.generation:sample"

# %% solution="lecturekit.generation:apply_temperature" hide="body"

# %% test="greedy:temperature" points=3
logits = torch.tensor([[0.75, 0.25]]).log()
check.close(apply_temperature(logits, 0.5).softmax(-1), torch.tensor([[0.9, 0.1]]), why="sharper below 1")
root = 3**0.5
check.close(apply_temperature(logits, 2.0).softmax(-1), torch.tensor([[root, 1]]) / (root + 1), why="flatter above 1")
check.close(apply_temperature(logits, 1.0), logits, why="1 changes nothing")
check.close(
    apply_temperature(torch.tensor([[4.0, -2]]), 2.0), torch.tensor([[2.0, -1]]), why="logits, not probabilities"
)
check.raises(ValueError, apply_temperature, logits, 0.0)
check.pure(apply_temperature, logits, 2.0)
### BEGIN HIDDEN TESTS
logits, t = torch.randn(5, 30) * 2, 0.3 + torch.rand(()).item()
powers = logits.softmax(-1) ** (1 / t)
expected = powers / powers.sum(-1, keepdim=True)
check.close(apply_temperature(logits, t).softmax(-1), expected, why="the powers 1/t of the probabilities")
check.raises(ValueError, apply_temperature, logits, -1.0, why="a temperature below 0")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_temperature()`: the probabilities of eight next words at five temperatures, and what twelve
# draws from each gave. What is left at $t \to 0$, and what at $t \to \infty$?

# %%
NEXT = ["саду", "лесу", "доме", "небе", "море", "шкафу", "январе", "стихах"]
PEAKED, FLAT = [6.0, 4, 3, 1, 0, -1, -1, -2], [1.2, 1.1, 1.0, 0.9, 0.8, 0.5, -3, -4]


def draws(seed: int) -> Generator:
    """A source of chance that begins anew at `seed`."""
    return torch.Generator().manual_seed(seed)


def show_temperature(*temperatures: float) -> None:
    """The distribution of the next word at several temperatures, and twelve words drawn from each."""
    temperatures = temperatures or (0.2, 0.5, 1.0, 2.0, 10.0)
    _, every = plt.subplots(1, len(temperatures), figsize=(2.6 * len(temperatures), 2.5), sharey=True, squeeze=False)
    for t, axes in zip(temperatures, every[0], strict=True):
        logits = apply_temperature(torch.tensor([PEAKED]), t)
        axes.bar(NEXT, logits[0].softmax(-1).tolist())
        axes.set_title(f"t = {t}")
        axes.tick_params(axis="x", rotation=90)
        print(f"t = {t}:", " ".join(NEXT[i] for i in sample(logits.expand(12, -1), draws(0)).tolist()))
    plt.show()


# %% [markdown]
# ## 7. Top-k (6 points)
#
# Thousands of tokens do not fit. Each is improbable, but they are so many that one of them is drawn now and then, and
# spoils the text. *Top-k* draws among the $k$ most probable ones alone (Fan et al., 2018,
# [arXiv:1805.04833](https://arxiv.org/abs/1805.04833), section 5.4, with $k = 10$). A filter does not draw: it sets the
# logits of the others to $-\infty$, and the softmax that follows makes what is left sum to one.
#
# ```
# logits           1     4     3     2           5     5     5     0
# top_k = 2     -inf     4     3  -inf           5     5     5  -inf      a tie with the k-th stays
# ```

# %% solution="lecturekit.generation:top_k_filter" hide="body"

# %% test="top-k:values" points=4
logits, none = torch.tensor([[1.0, 4, 3, 2], [5, 5, 5, 0]]), -math.inf
expected = torch.tensor([[none, 4, 3, none], [5, 5, 5, none]])
check.close(top_k_filter(logits, 2), expected, why="the example above, each row on its own")
check.close(top_k_filter(logits, 1)[0], torch.tensor([none, 4, none, none]), why="one is left, the most probable")
check.close(top_k_filter(logits, 3)[0], torch.tensor([none, 4, 3, 2]), why="all but the least probable")
check.pure(top_k_filter, logits, 2)
### BEGIN HIDDEN TESTS
logits, k = torch.randn(20, 50), int(torch.randint(2, 40, ()))
ranks = (logits[:, None, :] > logits[:, :, None]).sum(-1)
check.close(top_k_filter(logits, k), torch.where(ranks < k, logits, none), why="fewer than k tokens are more probable")
check.close(top_k_filter(logits, k).softmax(-1).sum(-1), torch.ones(20), why="probabilities sum to one")
### END HIDDEN TESTS

# %% test="top-k:limits" points=2
logits = torch.tensor([[1.0, 4, 3, 2], [5, 5, 5, 0]])
check.close(top_k_filter(logits, 4), logits, why="k = V keeps all")
check.close(top_k_filter(logits, 99), logits, why="a k beyond the vocabulary keeps all")
check.raises(ValueError, top_k_filter, logits, 0)
### BEGIN HIDDEN TESTS
check.raises(ValueError, top_k_filter, logits, -3, why="a k below 1")
check.close(top_k_filter(logits - 100, 4), logits - 100, why="logits may all be negative")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_top_k(3)`: two distributions of the next word, a peaked one and a flat one, and what the filter
# leaves of each. Where does $k = 3$ keep too little, where too much? Is there a better $k$ for both?


# %%
def draw_kept(name: str, keep: Callable[[Tensor], Tensor]) -> None:
    """What a filter leaves of a peaked and of a flat distribution: before in grey, after in blue."""
    _, every = plt.subplots(1, 2, figsize=(8, 2.5), sharey=True)
    for title, logits, axes in zip(("peaked", "flat"), (PEAKED, FLAT), every, strict=True):
        axes.bar(NEXT, keep(torch.tensor([logits]))[0].softmax(-1).tolist(), color="C0")
        axes.bar(NEXT, torch.tensor(logits).softmax(-1).tolist(), width=0.4, color="lightgrey")
        axes.set_title(f"{title}, {name}")
        axes.tick_params(axis="x", rotation=90)
    plt.show()


def show_top_k(top_k: int = 3) -> None:
    """What top-k leaves of a peaked and of a flat distribution."""
    draw_kept(f"top_k={top_k}", lambda logits: top_k_filter(logits, top_k))


# %% [markdown]
# ## 8. Top-p, the nucleus (12 points)
#
# *Top-p* fixes the probability instead of the number (Holtzman et al., 2020,
# [arXiv:1904.09751](https://arxiv.org/abs/1904.09751), section 3.1). The nucleus $V^{(p)}$ is the **smallest** set of
# tokens with
#
# $$\sum_{x \in V^{(p)}} P(x \mid x_{1:i-1}) \ge p$$
#
# So tokens are taken from the most probable one on, until their sum reaches $p$; the token with which it does so
# belongs to the nucleus. Hence there is always at least one. The paper draws with $p = 0.95$.
#
# **By hand.**
#
# ```
# probabilities     0.125   0.5   0.0625   0.3125       sorted   0.5   0.3125   0.125   0.0625
#                                                       sums     0.5   0.8125  0.9375   1.0
# top_p = 0.4               x                           0.5 is enough
# top_p = 0.6               x              x            0.5 is not, 0.8125 is: the second one crosses 0.6
# top_p = 0.9         x     x              x
# ```
#
# Mind the way back: sums are made in sorted order, the result needs the order of the vocabulary. And add up in float32
# at least: in half precision sums of many small numbers stop growing.

# %% solution="lecturekit.generation:top_p_filter" hide="body"

# %% test="top-p:nucleus" points=5
probabilities, none = torch.tensor([0.125, 0.5, 0.0625, 0.3125]), -math.inf
logits = probabilities.log()[None]
for p, kept in [(0.4, [1]), (0.6, [1, 3]), (0.9, [0, 1, 3]), (0.95, [0, 1, 2, 3])]:
    inside = torch.tensor([i in kept for i in range(4)])
    check.close(top_p_filter(logits, p), torch.where(inside, logits, none), why=f"top_p={p} in the example above")
check.close(top_p_filter(logits + 3, 0.6), torch.tensor([[none, logits[0, 1], none, logits[0, 3]]]) + 3, why="logits")
check.close(top_p_filter(logits, 1.0), logits, why="top_p=1 keeps all")
two = top_p_filter(torch.cat([logits, torch.zeros(1, 4)]), 0.6)
check.close(two.softmax(-1)[0], torch.tensor([0, 8 / 13, 0, 5 / 13]), why="each row has its own nucleus")
check.equal(int((two[1] > none).sum()), 3, why="of four equal ones, three reach 0.6")
check.pure(top_p_filter, logits, 0.6)
### BEGIN HIDDEN TESTS
order = torch.randperm(4)
moved = top_p_filter(logits[:, order], 0.9)
expected = torch.where(order == 2, none, logits[:, order])
check.close(moved, expected, why="top_p=0.9 in the example above, with its tokens in another order")
### END HIDDEN TESTS

# %% test="top-p:smallest" points=4
logits = torch.randn(40, 30) * 2
for p in (0.1, 0.5, 0.9):
    inside = top_p_filter(logits, p) > -math.inf
    likely = logits.softmax(-1)
    least = torch.where(inside, likely, 2.0).min(-1).values
    check.equal((likely >= least[:, None]), inside, why="none outside is more probable than one inside")
    total = torch.where(inside, likely, 0.0).sum(-1)
    assert (total > p - 1e-5).all(), "the nucleus has at least the probability top_p"
    assert (total - least < p + 1e-5).all(), "without its least probable token it would have less than top_p"
one = top_p_filter(torch.tensor([[0.0, 1.0, 0.5]]), 1e-6)
check.close(one, torch.tensor([[-math.inf, 1.0, -math.inf]]), why="the nucleus is never empty")
### BEGIN HIDDEN TESTS
sure = top_p_filter(torch.tensor([[0.0, 50.0, 0.0]]), 0.5)
check.close(sure, torch.tensor([[-math.inf, 50.0, -math.inf]]), why="one token with nearly all the probability")
check.close(top_p_filter(logits, 0.7).softmax(-1).sum(-1), torch.ones(40), why="probabilities sum to one")
### END HIDDEN TESTS

# %% test="top-p:digits" points=3
half = top_p_filter(torch.zeros(1, 4096).half(), 0.5)
check.dtype(half, torch.float16)
assert abs(int((half > -math.inf).sum()) - 2048) < 2, "of 4096 equal tokens, 2048 reach one half, in float16 too"
check.raises(ValueError, top_p_filter, torch.zeros(1, 3), 0.0)
check.raises(ValueError, top_p_filter, torch.zeros(1, 3), 1.5)
### BEGIN HIDDEN TESTS
half = top_p_filter(torch.zeros(2, 3000).bfloat16(), 0.25)
check.dtype(half, torch.bfloat16)
assert abs(int((half[1] > -math.inf).sum()) - 750) < 2, "of 3000 equal tokens, 750 reach a quarter, in bfloat16 too"
check.raises(ValueError, top_p_filter, torch.zeros(1, 3), -0.5, why="a top_p below 0")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_top_p(0.9)` draws what is left of the two distributions of exercise 7. How many words does it
# keep of each? Then let a trained model write: `write("Князь Андрей")` puts weights of lecturekit's into *your* GPT
# and writes with your filters and your cache; try `temperature=0.5`, `top_k=1`, `top_p=0.9`, and an English beginning.


# %%
def show_top_p(top_p: float = 0.9) -> None:
    """What top-p leaves of a peaked and of a flat distribution."""
    draw_kept(f"top_p={top_p}", lambda logits: top_p_filter(logits, top_p))


def write(
    prompt: str, count: int = 60, temperature: float = 1.0, top_k: int = 10_000, top_p: float = 1.0, seed: int = 0
) -> str:
    """Prints how your GPT, with the weights of a small one that lecturekit has trained, goes on with a text."""
    from lecturekit import pretrained

    model, tokenizer = GPT2LMHeadModel(pretrained.load_config("gpt")).eval(), pretrained.load_tokenizer("gpt")
    model.load_state_dict(pretrained.load_weights("gpt"))
    cache, chance = KeyValueCache(), draws(seed)

    def next_logits(ids: Tensor) -> Tensor:
        return model(ids[:, cache.length :], past_key_values=cache, logits_to_keep=1).logits[:, -1]

    def choose(logits: Tensor) -> Tensor:
        return sample(top_p_filter(top_k_filter(apply_temperature(logits, temperature), top_k), top_p), chance)

    ids = torch.tensor([tokenizer.encode(prompt)])
    new = torch.stack(list(extend(next_logits, ids, choose, count)), 1)
    text = tokenizer.decode(torch.cat([ids, new], 1)[0].tolist())
    print(text)
    return text


# %% [markdown]
# ## 9. Beam search with a length penalty (12 points)
#
# Greedy decoding takes the best token each time; the best *text* may begin with the second best one. Beam search keeps
# the $K$ best beginnings so far and goes on with all of them. After `Кот`, with the probabilities of this table,
#
# | after | `</s>` | спит | ест | рыбу |
# |---|---|---|---|---|
# | Кот | 0.1 | **0.5** | 0.4 | |
# | спит | **0.4** | 0.2 | 0.3 | 0.1 |
# | ест | 0.1 | | | **0.9** |
# | рыбу | **0.5** | 0.3 | 0.2 | |
#
# greedy writes `спит </s>`, with $0.5 \cdot 0.4 = 0.2$. Two beams first keep `спит` (0.5) and `ест` (0.4). The best
# ways to go on are `ест рыбу` (0.36), `спит </s>` (0.2), `спит ест` (0.15). The second has ended: it is *finished* and
# does not go on, so `ест рыбу` and `спит ест` do; and so on.
#
# One step is `beam_candidates`: of all beams of a text and all tokens, the best sums of log-probabilities.

# %% solution="lecturekit.generation:beam_candidates" hide="body"

# %% test="beam:candidates" points=5
scores = torch.tensor([[0.5, 0.4]]).log()
after = torch.tensor([[0.4, 0.2, 0.3, 0.1], [0.1, 0.0, 0.0, 0.9]]).log()  # </s>, спит, ест, рыбу
best, beams, tokens = beam_candidates(scores, after, 3)
check.close(best.exp(), torch.tensor([[0.36, 0.2, 0.15]]), why="ест рыбу, спит </s>, спит ест")
check.equal(beams, torch.tensor([[1, 0, 0]]), why="the beam that each goes on from")
check.equal(tokens, torch.tensor([[3, 0, 2]]), why="the token that it goes on with")
scores = torch.tensor([[-1.0, -2.0], [0.0, -math.inf]])
after = torch.tensor([[-1.0, -5.0, -3.5], [-0.5, -2.25, -9.0], [-4.0, -1.0, -2.0], [0.0, 0.0, 0.0]])
best, beams, tokens = beam_candidates(scores, after, 3)
check.close(best, torch.tensor([[-2.0, -2.5, -4.25], [-1.0, -2.0, -4.0]]), why="two texts of two beams each")
check.equal(beams, torch.tensor([[0, 1, 1], [0, 0, 0]]), why="beams are counted within each text")
check.equal(tokens, torch.tensor([[0, 0, 1], [1, 2, 0]]), why="the tokens that they go on with")
check.equal(list(beam_candidates(scores, after, 99)[1].shape), [2, 6], why="no more than there are: 2 beams, 3 tokens")
### BEGIN HIDDEN TESTS
scores, after = -torch.rand(3, 4) * 3, torch.randn(12, 9).log_softmax(-1)
best, beams, tokens = beam_candidates(scores, after, 7)
for text in range(3):
    sums = [(float(scores[text, k] + after[4 * text + k, v]), k, v) for k in range(4) for v in range(9)]
    expected = sorted(sums, reverse=True)[:7]
    check.close(best[text].tolist(), [total for total, _, _ in expected], why="the best sums of a text, best first")
    places = [[k for _, k, _ in expected], [v for _, _, v in expected]]
    check.equal([beams[text].tolist(), tokens[text].tolist()], places, why="the beams and the tokens of the best sums")
check.pure(beam_candidates, scores, after, 7)
### END HIDDEN TESTS

# %% [markdown]
# A longer text has more factors and so a smaller probability. To be fair to it, the score of a finished text of $n$ new
# tokens is
#
# $$s = \frac{1}{n^{\alpha}} \sum_{i=1}^{n} \log p(y_i \mid y_{<i}), \qquad \alpha = \texttt{length\_penalty}$$
#
# (Wu et al., 2016, [arXiv:1609.08144](https://arxiv.org/abs/1609.08144), section 7, whose divisor is $(5 + n)^\alpha /
# 6^\alpha$.) `спит </s>` with 0.2 beats `ест рыбу </s>` with $0.4 \cdot 0.9 \cdot 0.5 = 0.18$ if $\alpha = 0$. With
# $\alpha = 1$ it is $\ln 0.2 / 2 = -0.80$ against $\ln 0.18 / 3 = -0.57$: the longer one wins.
#
# `beam_search` is given but for two gaps. `ids` [R, T] are the texts of all beams, prompts of `start` tokens included.
# For each text the candidates `scores`, `rows` and `tokens` are [B, C]: candidate `rank` of `text` goes on from row
# `rows[text, rank]` of `ids` with `tokens[text, rank]`, and has the sum `scores[text, rank]`; `ends` [B, C] says which
# have ended, after `length` new tokens.
#
# - **finish**, for one candidate that has ended: bind `new`, its new tokens (no prompt, the last one included), and
#   `score`, a plain number.
# - **go-on**: of the candidates that have *not* ended keep the `num_beams` best (all, if there are fewer). Bind
#   `scores` [B, K], their sums, best first; `rows` [R], the row of `ids` that each goes on from; and `ids` [R, T + 1],
#   the texts that go on, all beams of the first text before those of the second. A candidate whose sum is -inf cannot
#   win: that is how to leave one out and keep the shape.

# %% solution="lecturekit.generation:beam_search" hide="#finish,#go-on"

# %% test="beam:finish" points=4
likely = torch.zeros(5, 5)  # 0 </s>, 1 Кот, 2 спит, 3 ест, 4 рыбу
likely[1, [0, 2, 3]] = torch.tensor([0.1, 0.5, 0.4])
likely[2] = torch.tensor([0.4, 0.0, 0.2, 0.3, 0.1])
likely[3, [0, 4]] = torch.tensor([0.1, 0.9])
likely[4, [0, 2, 3]] = torch.tensor([0.5, 0.3, 0.2])
(found,) = beam_search(check.new(Table, likely.log()), torch.tensor([[1]]), 6, 2, (0,), 0.0)
texts = [torch.tensor([2, 0]), torch.tensor([3, 4, 0])]
check.equal([new for _, new in found], texts, why="length_penalty=0: the shorter one is first")
check.close([score for score, _ in found], [math.log(0.2), math.log(0.18)], why="their sums")
(found,) = beam_search(check.new(Table, likely.log()), torch.tensor([[1]]), 3, 2, (0,), 1.0)
check.equal(found[0][1], torch.tensor([3, 4, 0]), why="length_penalty=1: the longer one")
check.close(found[0][0], math.log(0.18) / 3, why="the sum, divided by the number of new tokens")
(found,) = beam_search(check.new(Table, likely.log()), torch.tensor([[2, 3, 1]]), 3, 2, (0,), 2.0)
check.close(found[0][0], math.log(0.18) / 9, why="length_penalty=2: by 3²; the prompt does not count")
### BEGIN HIDDEN TESTS
after, penalty = torch.randn(5, 5).log_softmax(-1), 0.3 + 2 * torch.rand(()).item()
(found,) = beam_search(check.new(Table, after), torch.tensor([[4, 3]]), 2, 99, (0,), penalty, "never")
paths = [[0], *([a, b] for a in range(1, 5) for b in range(5))]
sums = [sum(float(after[i, j]) for i, j in zip([3, *path], path, strict=False)) for path in paths]
expected = sorted((total / len(path) ** penalty for total, path in zip(sums, paths, strict=True)), reverse=True)
check.close([score for score, _ in found], expected, why="another table, prompt and penalty, and beams enough")
### END HIDDEN TESTS

# %% test="beam:search" points=3
after, ends = torch.randn(6, 6).log_softmax(-1), torch.tensor([[2], [3]])
table = check.new(Table, after)
found = beam_search(table, torch.tensor([[4, 2], [5, 3]]), 3, 400, (0,), 1.0, "never")
check.equal(table.sound, True, why="rows say from which row each text went on")
check.dtype(found[0][0][1], torch.int64)
for text in range(2):
    for score, new in found[text][:5]:
        path = [2 + text, *new.tolist()]
        total = sum(float(after[path[i], path[i + 1]]) for i in range(len(path) - 1))
        check.close(score, total / len(new), why="a score is the mean of the log-probabilities of its new tokens")
    check.equal([0 in new.tolist()[:-1] for _, new in found[text]], [False] * 156, why="what has ended does not go on")
### BEGIN HIDDEN TESTS
tokens = range(6)
for text in range(2):
    paths = [[a, b, c] for a in tokens for b in tokens for c in tokens if a * b > 0]
    paths = [[0], *([a, 0] for a in range(1, 6)), *paths]
    sums = [sum(float(after[i, j]) for i, j in zip([2 + text, *path], path, strict=False)) for path in paths]
    best = sorted(((total / len(path), path) for total, path in zip(sums, paths, strict=True)), reverse=True)
    check.close([score for score, _ in found[text]], [score for score, _ in best], why="all texts, with beams enough")
    check.equal(found[text][0][1], torch.tensor(best[0][1]), why="the best text")
narrow = beam_search(check.new(Table, after), torch.tensor([[4, 2], [5, 3]]), 8, 1)
chain = [2]
for _ in range(8):
    chain = [*chain, int(after[chain[-1]].argmax())]
check.equal(narrow[0][0][1], torch.tensor(chain[1:]), why="one beam is greedy where nothing ends")
### END HIDDEN TESTS

# %% [markdown]
# **To look at:** `show_beams()` prints what one to four beams find in the table above, with several length penalties.
# Which text does a penalty of 2 choose, and why does a wide beam with no penalty prefer to say little?


# %%
def show_beams(*penalties: float, longest: int = 6) -> None:
    """The best texts behind `Кот` by the table of this exercise, with their scores."""
    words, likely = ["</s>", "Кот", "спит", "ест", "рыбу"], torch.zeros(5, 5)
    likely[1, [0, 2, 3]] = torch.tensor([0.1, 0.5, 0.4])
    likely[2] = torch.tensor([0.4, 0.0, 0.2, 0.3, 0.1])
    likely[3, [0, 4]] = torch.tensor([0.1, 0.9])
    likely[4, [0, 2, 3]] = torch.tensor([0.5, 0.3, 0.2])
    for penalty in penalties or (0.0, 1.0, 2.0):
        for beams in (1, 2, 4):
            found = beam_search(Table(likely.log()), torch.tensor([[1]]), longest, beams, (0,), penalty, "never")[0]
            score, new = found[0]
            print(f"penalty {penalty}, {beams} beams: {score:6.2f}  Кот {' '.join(words[i] for i in new.tolist())}")


# %% [markdown]
# ## 10. Zero, one, a few examples (8 points)
#
# GPT-3 is given its task in the prompt, with no example (*zero-shot*), one, or a few, and no weight changes (section
# 2). Here an example is a line, and the last line lacks its answer; it ends with the arrow and the space behind it:
#
# ```
# cat -> кот
# house -> дом
# dog ->
# ```

# %% solution="lecturekit.prompting:few_shot_prompt" hide="body"

# %% test="learning:prompt" points=2
said = few_shot_prompt([("cat", "кот"), ("house", "дом")], "dog")
check.equal(said, "cat -> кот\nhouse -> дом\ndog -> ", why="two examples; the answer goes on behind the last arrow")
check.equal(few_shot_prompt([], "dog"), "dog -> ", why="no example")
### BEGIN HIDDEN TESTS
examples = [(str(i), str(i * i)) for i in torch.randint(0, 99, (7,)).tolist()]
lines = few_shot_prompt(examples, "я").split("\n")
check.equal(lines, [*(f"{a} -> {b}" for a, b in examples), "я -> "], why="seven examples in their order")
check.pure(few_shot_prompt, examples, "я")
### END HIDDEN TESTS

# %% [markdown]
# Where a task offers several answers, GPT-3 need not write: each *option* is put behind the prompt, and the one that
# the model finds likeliest is the answer. Longer options have more factors, so the mean per token is compared (section
# 2.4):
#
# $$\frac1n \sum_{i=1}^{n} \log p(o_i \mid \text{prompt}, o_{<i})$$
#
# As in exercise 3, what the model says about a token stands one place before it: the first token of an option is judged
# by the logits at the *last* token of the prompt.
#
# **By hand.** A model gives the only token of one option $\frac18$, and the three tokens of another $\frac12$,
# $\frac14$ and $\frac12$. The sums are $-3 \ln 2$ and $-4 \ln 2$; per token it is $-3 \ln 2$ against
# $-\frac43 \ln 2$, and the second one wins.


# %% locked="for-options"
class Adder(nn.Module):
    """Stands in for a GPT, for testing: row n of `table` says what comes next where all ids so far add up to n."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table

    def forward(self, input_ids: Tensor, *args: object, **more: object) -> GPTHeadOutput:
        """input_ids [B, T] -> GPTHeadOutput with logits [B, T, V]."""
        return GPTHeadOutput(None, self.table[input_ids.cumsum(dim=1) % len(self.table)])


class Learner(GPT2LMHeadModel):
    """Your model with its loss as a method, for training."""

    def cost(self, ids: Tensor, labels: Tensor) -> Tensor:
        return self(ids, labels=labels).loss


# %% solution="lecturekit.prompting:option_scores" hide="body"

# %% test="learning:options" points=3
likely = torch.full((16, 4), 1 / 4)
likely[5] = torch.tensor([1 / 8, 1 / 8, 1 / 4, 1 / 2])  # behind the prompt 2, 3
likely[8], likely[9] = torch.tensor([1 / 4, 1 / 4, 1 / 8, 3 / 8]), torch.tensor([1 / 8, 1 / 4, 1 / 2, 1 / 8])
model, log = check.new(Adder, likely.log() + 3), math.log(2)  # 3 on every logit changes no probability
got = option_scores(model, [2, 3], [[1], [3, 1, 2]])
check.shape(got, 2)
check.close(got, torch.tensor([-3 * log, -4 / 3 * log]), why="the example above, per token")
got = option_scores(model, [2, 3], [[1], [3, 1, 2]], per_token=False)
check.close(got, torch.tensor([-3 * log, -4 * log]), why="the example above, the sums")
check.raises(ValueError, option_scores, model, [], [[1]])
check.raises(ValueError, option_scores, model, [2], [[1], []])
### BEGIN HIDDEN TESTS
table = torch.randn(40, 6)
model = check.new(Adder, table)
prompt, options = torch.randint(0, 6, (9,)).tolist(), [torch.randint(0, 6, (n,)).tolist() for n in (1, 4, 2, 2)]
expected = []
for option in options:
    costs = [table[sum(prompt + option[:i]) % 40].log_softmax(-1)[option[i]].item() for i in range(len(option))]
    expected = [*expected, sum(costs) / len(costs)]
check.close(option_scores(model, prompt, options), torch.tensor(expected), why="four options, per token")
check.raises(ValueError, option_scores, model, [2], [], why="no options")
check.pure(option_scores, model, prompt, options)
### END HIDDEN TESTS

# %% [markdown]
# Can a model *learn* to use examples? Here is a tiny language of ten words and four tasks. A text is three words, each
# with its answer; the task is drawn anew for every text, and nothing names it:
#
# ```
# cat кот    dog собака    sun солнце            sun SUN    cat CAT    dog DOG
# dog dogs   sun suns      cat cats              cat tac    dog god    sun nus
# ```
#
# At the first answer nobody can know the task: one in four is right (zero-shot). From the second on one can (one-shot).
# First the properties that every GPT has: it does not see the future, with a cache it says what it says without, and a
# gradient reaches every parameter. Then your model takes 250 steps with your loss, where answers alone are asked. What
# it has learnt is in its weights: they are handed to lecturekit's own GPT-2, which has to say what yours says, and to
# answer in texts that nobody has seen. This takes some two seconds.

# %% test="learning:training" points=3 training=true
sizes = {"vocab_size": 50, "n_positions": 6, "n_embd": 48, "n_head": 4, "n_layer": 2, "initializer_range": 0.1}
config = GPT2Config(**sizes, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
model = check.new(Learner, config)
words, task = torch.rand(12_000, 10).argsort(1)[:, :3], torch.randint(0, 4, (12_000, 1))
texts = torch.stack([words, 10 + 10 * task + words], 2).flatten(1)
unseen = (words * torch.tensor([1, 2, 3])).sum(1).add(task[:, 0]) % 7 < 1
texts, held_out = texts[~unseen], texts[unseen]
few = texts[:4]
check.causal(model, few, pick=1)
whole, cache = model(few)[1], check.new(KeyValueCache)
for begin, end in [(0, 3), (3, 4), (4, 6)]:
    piece = model(few[:, begin:end], past_key_values=cache)[1]
    check.close(piece, whole[:, begin:end], why="with a cache, piece by piece, the logits are the same")
gradients = check.grads(model, few, weight=torch.randn(4, 6, 50), pick=1)
silent = [name for name in gradients if not torch.is_tensor(gradients[name]) or not gradients[name].any()]
check.equal(silent, [], why="a gradient reaches every parameter")
answers = torch.arange(6) % 2 > 0
batches = [(batch, torch.where(answers, batch, -100)) for batch in texts[:8000].split(32)]
twin = check.ours("lecturekit.models.gpt:GPT2LMHeadModel", config)
one_shot = (held_out[:, :3], None, None, 1, held_out[:, 3:4])
check.learns(model, batches, one_shot, at_least=0.95, lr=5e-3, loss="cost", pick=1, twin=twin)
guessed = int(((twin(held_out[:, :1])[1].argmax(-1) - held_out[:, 1:2]).abs() < 1).sum())
assert guessed < 0.35 * len(held_out), "without an example nothing says what the task is: it is one in four"

# %% [markdown]
# **To look at:** lecturekit has a small GPT, trained on lines such as `cat -> кот`, `abc -> cba` or `7 8 9 -> 10`, many
# tasks, never told which. `show_shots()` puts its weights into *your* GPT and asks for new words; the options are what
# five different tasks would answer. How often is it right with 0, 1, 2 and 4 examples? Then ask it yourself:
# `ask([("cat", "кот"), ("sun", "солнце")], "milk", ["молоко", "milk", "klim", "MILK"])`, and the same with no example,
# or with other ones.

# %%
SHOWN = ("copy", "reverse", "first letter", "last letter", "upper case")


def in_context() -> tuple[nn.Module, object]:
    """Your GPT with the weights of the course's in-context model, and its tokenizer, a token for each character."""
    from lecturekit import pretrained

    model = GPT2LMHeadModel(pretrained.load_config("in-context")).eval()
    model.load_state_dict(pretrained.load_weights("in-context"))
    return model, pretrained.load_tokenizer("in-context")


def ask(examples: list[tuple[str, str]], query: str, options: list[str]) -> str:
    """The option that the in-context model finds likeliest, after printing the scores of all."""
    model, tokenizer = in_context()
    prompt = tokenizer.encode(few_shot_prompt(examples, query))
    scores = option_scores(model, prompt, [tokenizer.encode(option + "\n") for option in options])
    for option, score in zip(options, scores.tolist(), strict=True):
        print(f"{score:7.3f}  {option}")
    return options[int(scores.argmax())]


def show_shots(questions: int = 20, shots: tuple[int, ...] = (0, 1, 2, 4)) -> None:
    """How often the in-context model finds the right answer among those of five tasks, by the number of examples."""
    model, tokenizer = in_context()
    _, axes = plt.subplots(figsize=(6, 3.5))
    every = []
    for task in SHOWN:
        pairs, right = task_examples(task, questions + max(shots), 0, held_out=True), [0] * len(shots)
        for number, (query, answer) in enumerate(pairs[:questions]):
            options = [answer, *(STRING_FUNCTIONS[other](query) for other in SHOWN if other != task)]
            ids = [tokenizer.encode(option + "\n") for option in dict.fromkeys(options)]
            for place, count in enumerate(shots):
                examples = pairs[number + 1 : number + 1 + count]
                scores = option_scores(model, tokenizer.encode(few_shot_prompt(examples, query)), ids)
                right[place] += int(scores.argmax()) == 0
        every.append([hits / questions for hits in right])
        axes.plot(range(len(shots)), every[-1], marker="o", lw=1, label=task)
    axes.plot(range(len(shots)), torch.tensor(every).mean(0), color="black", lw=3, label="all five")
    axes.set_xticks(range(len(shots)), shots)
    axes.set_xlabel("examples in the prompt")
    axes.set_ylabel("answered right")
    axes.legend()
    plt.show()


# %% [markdown]
# ## In your own words
#
# Two models have read the same Russian text. The tokens of the first are pieces of words, five letters long on average,
# and its perplexity is 30. The tokens of the second are single letters, and its perplexity is 2.2. Which one knows the
# text better, and what would you compare instead? Five sentences at most. (Your instructor may mark this by hand; it
# counts nothing towards the 100 points.)

# %% [markdown] question="whose-perplexity" points=0
# Perplexities of different tokens cannot be compared: the first model chooses once for five letters, the second five
# times. What can be compared is the log-probability of the whole text, for instance per letter. The first pays
# $\ln 30 = 3.40$ for a token, 0.68 for a letter; the second pays $\ln 2.2 = 0.79$ for a letter. So the first one, with
# the larger perplexity, gives the text the higher probability: per letter its perplexity is $e^{0.68} \approx 1.97$.
#
# Rubric:
#
# One point for each of the first three:
#
# - says that perplexities of different tokens cannot be compared: they count different choices
# - compares the whole text, or per letter (or byte): 0.68 against 0.79
# - so the first one knows it better
# - right numbers without a reason are one point less; the other way round, 30 > 2.2, is none
