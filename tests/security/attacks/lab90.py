# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 90. What is worth forging
#
# A small lab for the attacks of this folder: a plain function, one of tensors, a module, and a training. What is asked
# for here is missing from the cage as in a real lab, and hidden tests draw fresh numbers.

# %% cage=true
lacks = ["lecturekit.layers:attention", "lecturekit.layers:fused_attention"]
forbids = {
    "attention": ["torch.nn.functional.scaled_dot_product_attention"],
    "norm": ["torch.nn.functional.layer_norm"],
}

# %% locked="setup"
# %load_ext lecturekit.checks
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecturekit import checks as check
from lecturekit.layers import check_attention

# %% [markdown]
# ## 1. The schedule (20 points)

# %% solution="lecturekit.models.transformer:learning_rate" hide="body"

# %% test="schedule:values" points=8
check.close(learning_rate(100, 64, 100), 64**-0.5 * 100**-0.5, tol=1e-9, why="the peak")
### BEGIN HIDDEN TESTS
check.close(learning_rate(7654321, 512), 512**-0.5 * 7654321**-0.5, tol=1e-12)
check.raises(ValueError, learning_rate, 0, 512)
### END HIDDEN TESTS

# %% test="schedule:shape" points=12
check.close(learning_rate(1, 512), 512**-0.5 * 4000**-1.5, tol=1e-12, why="the first of 4000 steps")
### BEGIN HIDDEN TESTS
steps = (1 + torch.randperm(8000)[:20]).tolist()
wanted = [256**-0.5 * min(step**-0.5, step * 4000**-1.5) for step in steps]
check.close([learning_rate(step, 256) for step in steps], wanted, tol=1e-12)
### END HIDDEN TESTS

# %% [markdown]
# ## 2. Scaled dot-product attention (30 points)

# %% solution="lecturekit.layers:scaled_dot_product_attention" hide="body"

# %% test="attention:values" points=20
value = torch.tensor([[1.0, 0], [0, 1], [8, 8]])
context, weights = scaled_dot_product_attention(torch.zeros(3, 4), torch.zeros(3, 4), value)
check.close(weights, torch.full((3, 3), 1 / 3), why="equal scores share the weight")
check.close(context, torch.full((3, 2), 3.0))
### BEGIN HIDDEN TESTS
query, key, value = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 4)
expected = torch.nn.functional.scaled_dot_product_attention(query, key, value)
context, weights = scaled_dot_product_attention(query, key, value)
check.shape(weights, 2, 3, 5, 6)
check.close(weights.sum(-1), torch.ones(2, 3, 5), why="each row of weights sums to one")
check.close(context, expected)
### END HIDDEN TESTS

# %% test="attention:mask" points=10
mask = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
context, weights = scaled_dot_product_attention(torch.zeros(3, 4), torch.zeros(3, 4), torch.zeros(3, 1), mask)
check.close(weights, torch.tensor([[1, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]]), why="True may be looked at")
### BEGIN HIDDEN TESTS
query, key, value = torch.randn(2, 2, 5, 4), torch.randn(2, 2, 6, 4), torch.randn(2, 2, 6, 3)
mask = torch.rand(2, 1, 5, 6) > 0.4
mask[..., 0] = True
context, weights = scaled_dot_product_attention(query, key, value, mask)
check.close(context, torch.nn.functional.scaled_dot_product_attention(query, key, value, mask))
### END HIDDEN TESTS

# %% [markdown]
# ## 3. Layer norm (30 points)

# %% solution="lecturekit.layers:LayerNorm" hide="forward"

# %% test="norm:parameters" points=10
norm = check.new(LayerNorm, 6)
check.params(norm, 12)
check.close(check.state(norm), {"weight": torch.ones(6), "bias": torch.zeros(6)})
x = torch.randn(2, 6)
check.close(norm(x), torch.nn.functional.layer_norm(x, (6,)), why="mean zero and variance one")

# %% test="norm:values" points=20
norm = check.new(LayerNorm, 8, 1e-3)
check.fill(norm)
weights = check.state(norm)
x = torch.tensor([[3.0, 1, 4, 1, 5, 9, 2, 6]])
check.close(norm(x), torch.nn.functional.layer_norm(x, (8,), weights["weight"], weights["bias"], 1e-3))
### BEGIN HIDDEN TESTS
x, direction = torch.randn(3, 4, 8), torch.randn(3, 4, 8)
check.close(norm(x), torch.nn.functional.layer_norm(x, (8,), weights["weight"], weights["bias"], 1e-3))
twin = check.ours("lecturekit.layers:LayerNorm", 8, 1e-3)
check.fill(twin, weights)
got, wanted = (check.grads(each, x, weight=direction) for each in (norm, twin))
check.close(got, wanted, why="the gradients")
### END HIDDEN TESTS

# %% [markdown]
# ## 4. A network that learns (20 points)
#
# To name the place of the largest of six numbers.

# %% solution="lecturekit.layers:PositionwiseFeedForward" hide="forward"

# %% test="learning" points=20 training=true
network = check.new(PositionwiseFeedForward, 6, 32)
rows = torch.rand(121, 64, 6)
batches = [(x, x.argmax(-1)) for x in rows[:120]]
unseen = (rows[120], rows[120].argmax(-1))
twin = check.ours("lecturekit.layers:PositionwiseFeedForward", 6, 32)
check.learns(network, batches, unseen, at_least=0.6, lr=1e-2, twin=twin)
