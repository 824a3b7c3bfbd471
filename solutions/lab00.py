# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 0. Warming up
#
# Half an hour in which you learn how a lab works, what a failing check looks like, and how to hand in; on the way you
# meet the five things that every later lab takes for granted. **Its points do not count in the course.** They are given
# all the same, and by the same grader, so that the first lab that counts holds no surprise.
#
# | exercise | what you write | points |
# |---|---|---|
# | 1 | counting tokens: a mistake on purpose, then the solution | 10 |
# | 2 | shapes: a mean that leaves out padding | 20 |
# | 3 | broadcasting: all distances without a loop | 15 |
# | 4 | gradients: one by hand, then torch's, step by step | 25 |
# | 5 | chance: seeds and generators | 15 |
# | 6 | text: from characters to ids and back | 15 |
#
# **How a lab works.** A lab is a notebook of four kinds of cells:
#
# - *Text*, such as this.
# - *Yours*: a function or class with `raise NotImplementedError()` in it. Put your code in the place of that line. The
#   docstring says exactly what is wanted; keep the name and the parameters as they are.
# - *Tests*: they begin with `%%check` and are locked, as is the cell that imports what the lab needs. Run the test
#   below an exercise (Shift+Enter): it says `passed`, or what was expected and what was found, and often *which*
#   mistake it looks like. Run it as often as you like.
# - *Pictures and helpers*: ordinary cells, which you may change. Add cells of your own wherever you want to try
#   something.
#
# Run the cells from top to bottom. **Validate**, in the notebook's toolbar, runs all of them in a fresh kernel and
# shows the tests that fail. So it finds what worked only because you ran cells in another order, or because of a cell
# that you have deleted since. Graders run the same tests and a few more, on fresh numbers: write what the docstring
# asks for, not what one test asks for. The graders' copy of `lecturekit` has no body that a lab asks for.
#
# **Shapes.** B batch, T length, D width, N and M rows, V vocabulary. `x [B, T, D]` is a tensor of three axes.

# %% cage=true
forbids = {"distances": ["torch.cdist", "torch.nn.functional.pairwise_distance", "torch.nn.PairwiseDistance"]}

# %% locked="setup"
# %load_ext lecturekit.checks
from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from lecturekit import checks as check

# %% [markdown]
# ## 1. Counting tokens (10 points)
#
# Models read numbers: each token of a text has its *id*. The sentences of a batch differ in length, so the short ones
# are filled up with padding, here id 0. How many tokens does each row really have?
#
# ```
# ids     Я     иду    домой        5  6  7        3 tokens         ids [B, T] -> [B]
#         Я     устал  <pad>        5  8  0        2 tokens
# ```
#
# **First make a mistake, on purpose.** A tensor's `sum(dim=...)` adds along one axis, and everybody takes the wrong one
# now and then. Write a body that counts along the wrong axis: the tokens of each *column*. Then run the test cell. It
# should end with
#
# ```text
# Not right yet: expected [3, 2] (torch.int64), found [2, 2, 1]
# (torch.int64): a number for each row
#
# Hint: you count the tokens of each column. The axis that you name in a sum
# is the one that vanishes, and the rows should stay.
# ```
#
# The first line is the check: what it expected, what your code gave, and after the colon what the check is about. A
# **hint** comes where the answers of your code are those of a mistake that this lab knows. No hint means a mistake
# that it does not know. Now put it right.

# %% solution="lecturekit.warmup:count_tokens" hide="body"

# %% test="tokens:rows" points=6
ids = torch.tensor([[5, 6, 7], [5, 8, 0]])
check.equal(count_tokens(ids), torch.tensor([3, 2]), why="a number for each row")
### BEGIN HIDDEN TESTS
ids = torch.randint(0, 3, (4, 9))
check.equal(count_tokens(ids), torch.tensor([sum([i > 0 for i in row]) for row in ids.tolist()]))
### END HIDDEN TESTS

# %% test="tokens:padding" points=4
ids = torch.tensor([[5, 6, 7], [5, 8, 0]])
check.equal(count_tokens(ids, 5), torch.tensor([2, 2]), why="padding is whatever pad_id says")
check.equal(count_tokens(torch.tensor([[0, 0]])), torch.tensor([0]), why="a row that is all padding")
check.pure(count_tokens, ids, 5)
### BEGIN HIDDEN TESTS
ids = torch.randint(0, 4, (5, 8))
expected = torch.tensor([sum([i != 3 for i in row]) for row in ids.tolist()])
check.equal(count_tokens(ids, 3), expected, why="another batch, another pad_id")
### END HIDDEN TESTS

# %% [markdown]
# **Check yourself.** `show_batch()` in a cell of your own draws three sentences with your counts beside them. (To add a
# cell, press Esc and then B.) Is each number that of the words in its row?

# %%
WORDS = ["<pad>", "Я", "иду", "домой", "устал", "I", "am", "going", "home"]


def show_batch() -> None:
    """A batch of three sentences, padding in white, with the number of tokens of each."""
    ids = torch.tensor([[1, 2, 3, 0], [1, 4, 0, 0], [5, 6, 7, 8]])
    counts = count_tokens(ids).tolist()
    _, axes = plt.subplots(figsize=(5, 2))
    axes.imshow((ids != 0).numpy(), vmin=0, vmax=2, cmap="Blues")
    for row, line in enumerate(ids.tolist()):
        for column, i in enumerate(line):
            axes.text(column, row, WORDS[i], ha="center", va="center")
    axes.set_yticks(range(3), [f"{count} tokens" for count in counts])
    axes.set_xticks([])
    plt.show()


# %% [markdown]
# ## 2. A mean that leaves out padding (20 points)
#
# One vector for a whole sentence: the mean of the vectors of its tokens. Padding has vectors too, and must not count.
# With the mask $m$, 1 at tokens and 0 at padding,
#
# $$\bar x_b = \frac{\sum_t m_{bt}\, x_{bt}}{\sum_t m_{bt}} \qquad
# x\,[B, T, D],\quad m\,[B, T] \;\to\; \bar x\,[B, D]$$
#
# To multiply x by the mask, their shapes have to fit. **Broadcasting** compares them from the last axis backwards; two
# axes fit if they are equally long or one of them is 1, and then it is repeated; a missing axis counts as 1. So
# `[B, T, D] * [B, T]` does not fit, and the mask needs a third axis, of length one: `mask[:, :, None]`.
#
# Broadcasting never asks whether you meant it: a mask of shape `[B, 1]` or `[T]` fits as well, and gives some number.
# So say what you expect, and refuse the rest: `raise ValueError(...)` with the shape that you found.
#
# **By hand**, with D = 2: the tokens (2, 0), (4, 0), (0, 6) have the mean (2, 2). If the third is padding, the mean of
# the other two is (3, 0).

# %% solution="lecturekit.warmup:masked_mean" hide="body"

# %% test="means:values" points=8
x = torch.tensor([[[2.0, 0], [4, 0], [0, 6]], [[2, 0], [4, 0], [0, 6]]])
mask = torch.tensor([[True, True, True], [True, True, False]])
mean = masked_mean(x, mask)
check.shape(mean, 2, 2)
check.close(mean[0], torch.tensor([2.0, 2]), why="three tokens")
check.close(mean[1], torch.tensor([3.0, 0]), why="two tokens and padding")
### BEGIN HIDDEN TESTS
x, mask = torch.randn(3, 6, 4), torch.rand(3, 6) > 0.4
mask[:, 0] = True
expected = torch.stack([x[row][mask[row]].mean(0) for row in range(3)])
check.close(masked_mean(x, mask), expected)
### END HIDDEN TESTS

# %% test="means:padding" points=6
x, mask = torch.randn(2, 5, 3), torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
other = torch.where(mask[:, :, None], x, torch.tensor(1000.0))
check.close(masked_mean(other, mask), masked_mean(x, mask), why="what stands at padding changes nothing")
check.close(masked_mean(x[1:, :2], mask[1:, :2])[0], masked_mean(x, mask)[1], why="nor does how much there is of it")
empty = torch.zeros(1, 4).bool()
check.equal(masked_mean(torch.ones(1, 4, 3), empty), torch.zeros(1, 3), why="a row that is all padding")

# %% test="means:shapes" points=6
x = torch.randn(2, 3, 4)
check.pure(masked_mean, x, torch.ones(2, 3).bool())
check.raises(ValueError, masked_mean, x, torch.ones(2, 1).bool(), why="a mask of shape [B, 1]")
check.raises(ValueError, masked_mean, x, torch.ones(1, 3).bool(), why="a mask of shape [1, T]")
### BEGIN HIDDEN TESTS
check.raises(ValueError, masked_mean, torch.randn(3, 3, 3), torch.ones(3).bool(), why="a mask of one axis")
check.raises(ValueError, masked_mean, x, torch.ones(2, 3, 1).bool(), why="a mask of three axes")
### END HIDDEN TESTS

# %% [markdown]
# **Check yourself.** `show_means()` draws the tokens of a sentence as points, and two means: yours, and that over all
# positions, where five of padding lie at (0, 0). Where does padding draw the mean? And with `show_means(50)`?


# %%
def show_means(padding: int = 5) -> None:
    """Four tokens of two numbers, their mean, and what it becomes when padding counts."""
    tokens = torch.tensor([[2.0, 1], [3, 2], [3, 3], [4, 2]])
    x = torch.cat([tokens, torch.zeros(padding, 2)])[None]
    mask = (torch.arange(4 + padding) < 4)[None]
    _, axes = plt.subplots(figsize=(4, 3.5))
    axes.scatter(*tokens.T, label="tokens")
    axes.scatter(*masked_mean(x, mask).T, marker="*", s=150, label="your mean")
    axes.scatter(*x.mean(1).T, marker="x", s=60, label="with padding")
    axes.set_xlim(-0.5, 5)
    axes.set_ylim(-0.5, 4)
    axes.legend()
    plt.show()


# %% [markdown]
# ## 3. All distances without a loop (15 points)
#
# How far is each of N points from each of M others? With a loop that is N · M steps of Python. Broadcasting does it in
# one: `[N, 1, D]` and `[1, M, D]` make `[N, M, D]`, every difference, and the length of each is its distance.
#
# $$d_{ij} = \sqrt{\textstyle\sum_k (x_{ik} - y_{jk})^2} \qquad x\,[N, D],\quad y\,[M, D] \;\to\; d\,[N, M]$$
#
# **By hand**: from (0, 0) to (3, 4) it is $\sqrt{9 + 16} = 5$, and from (3, 0) to (3, 4) it is 4.
#
# A part of the function is given here: replace the raising line alone. (`torch.cdist` would do it for you. Graders
# refuse it here, as later labs refuse a few others; each says which. Compare with it in a cell of your own, not inside
# the solution.)

# %% solution="lecturekit.warmup:pairwise_distances" hide="#distances"

# %% test="distances:values" points=8
x, y = torch.tensor([[0.0, 0], [3, 0], [1, 1]]), torch.tensor([[3.0, 4], [0, 0]])
distances = pairwise_distances(x, y)
check.shape(distances, 3, 2)
check.close(distances[0], torch.tensor([5.0, 0]), why="from (0, 0) to (3, 4) and to itself")
check.close(distances[1], torch.tensor([4.0, 3]), why="from (3, 0) to (3, 4) and to (0, 0)")
check.close(distances[2, 1], 2**0.5, why="from (1, 1) to (0, 0)")
### BEGIN HIDDEN TESTS
x, y = torch.randn(5, 3), torch.randn(4, 3)
check.close(pairwise_distances(x, y), torch.cdist(x, y))
### END HIDDEN TESTS

# %% test="distances:symmetry" points=7
x, y = torch.randn(3, 4), torch.randn(5, 4) + 3
check.pure(pairwise_distances, x, y)
there, back = pairwise_distances(x, y), pairwise_distances(y, x)
check.shape(there, 3, 5)
check.close(back.T, there, why="as far there as back")
check.close(pairwise_distances(10 * x, 10 * y), 10 * there, why="ten times as large, ten times as far")
check.close(pairwise_distances(x.flip(-1), y.flip(-1)), there, why="the order of the columns is of no account")
turn = torch.tensor([[0.6, 0.8, 0, 0], [-0.8, 0.6, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
check.close(pairwise_distances(x @ turn, y @ turn), there, why="turning everything moves nothing apart")

# %% [markdown]
# **Check yourself.** `show_clock()` draws the distances between the twelve hours of a clock. Why is every row the one
# above it, moved on by one? Which hour is farthest from 3?


# %%
def show_clock() -> None:
    """A heat map of the distances between the hours of a clock of radius 1."""
    angle = torch.arange(12) * torch.pi / 6
    hours = torch.stack([angle.sin(), angle.cos()], dim=-1)  # [12, 2]
    _, axes = plt.subplots(figsize=(4, 4))
    picture = axes.imshow(pairwise_distances(hours, hours).numpy(), cmap="Blues")
    axes.set_xticks(range(12), ["12", *(str(hour) for hour in range(1, 12))])
    axes.set_yticks(range(12), ["12", *(str(hour) for hour in range(1, 12))])
    plt.colorbar(picture)
    plt.show()


# %% [markdown]
# ## 4. Gradients (25 points)
#
# A model learns by small steps against the gradient of its error. Take the smallest model there is, a linear map with
# one output, $\hat y = Xw$, and the mean of its squared errors, which is given. Its gradient can be written down:
#
# $$L(w) = \frac1N \sum_i (x_i \cdot w - y_i)^2, \qquad
# \nabla L = \frac2N \sum_i (x_i \cdot w - y_i)\, x_i \qquad X\,[N, D],\quad w\,[D],\quad y\,[N]$$
#
# **By hand**, with D = 1: let $x = (1, 2)$, $y = (2, 4)$ and $w = 0$. The errors are −2 and −4, so the gradient is
# $\frac22 (-2 \cdot 1 - 4 \cdot 2) = -10$. A step at the rate 0.1 takes w from 0 to 1. There the gradient is −5, and
# the next step goes to 1.5, the one after it to 1.75: half of what is missing, each time.

# %% given="lecturekit.warmup:squared_error"

# %% solution="lecturekit.warmup:gradient_by_hand" hide="body"

# %% test="gradients:formula" points=9
x, y = torch.tensor([[1.0], [2]]), torch.tensor([2.0, 4])
check.close(gradient_by_hand(torch.tensor([0.0]), x, y), torch.tensor([-10.0]), why="the example above")
check.close(gradient_by_hand(torch.tensor([2.0]), x, y), torch.tensor([0.0]), why="no error, no gradient")
weight, x, y = torch.randn(3), torch.randn(7, 3), torch.randn(7)
leaf = weight.clone().requires_grad_()
(expected,) = torch.autograd.grad(torch.nn.functional.mse_loss(x @ leaf, y), leaf)
check.close(gradient_by_hand(weight, x, y), expected, why="torch's own gradient")

# %% [markdown]
# No later lab differentiates by hand: torch writes down what is computed from a tensor that `requires_grad`, and
# `loss.backward()` goes back through it and puts the gradient into the tensor's `grad`. Four things to know:
#
# - `backward` *adds* to what stands in `grad`. Empty it before each step.
# - Only a tensor that you made yourself gets a `grad`, not one that was computed from it.
# - A step is no part of the model: take it within `with torch.no_grad():`.
# - `detach()` gives the same numbers without the history, and in the *same memory*; `clone()` copies them.
#
# Now the same steps by torch's gradients. Use `squared_error` and `backward`, and leave the caller's weight alone.

# %% solution="lecturekit.warmup:descend" hide="body"

# %% test="gradients:steps" points=10
weight, x, y = torch.tensor([0.0]), torch.tensor([[1.0], [2]]), torch.tensor([2.0, 4])
check.close(descend(weight, x, y, 0.1, 1), torch.tensor([1.0]), why="one step of the example above")
check.close(descend(weight, x, y, 0.1, 2), torch.tensor([1.5]), why="two steps")
check.close(descend(weight, x, y, 0.1, 3), torch.tensor([1.75]), why="three steps")
check.close(descend(weight, x, y, 0.01, 1), torch.tensor([0.1]), why="a smaller rate, a smaller step")
### BEGIN HIDDEN TESTS
x, y = torch.randn(20, 3), torch.randn(20)
least = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
check.close(descend(torch.randn(3), x, y, 0.1, 1000), least, tol=1e-3, why="many steps end where the error is least")
weight = torch.randn(3)
once = weight - 0.1 * 2 / 20 * x.T @ (x @ weight - y)
check.close(descend(weight, x, y, 0.1, 1), once)
check.close(descend(weight, x, y, 0.1, 2), once - 0.1 * 2 / 20 * x.T @ (x @ once - y))
### END HIDDEN TESTS

# %% test="gradients:caller" points=6
weight, x, y = torch.tensor([1.0, -1]), torch.tensor([[1.0, 0], [0, 2], [1, 1]]), torch.tensor([3.0, 2, 1])
check.pure(descend, weight, x, y, 0.1, 2)
check.equal(descend(weight, x, y, 0.1, 0), torch.tensor([1.0, -1]), why="no step")
### BEGIN HIDDEN TESTS
weight, x, y = torch.randn(4), torch.randn(6, 4), torch.randn(6)
check.pure(descend, weight, x, y, 0.05, 3)
check.equal(descend(weight, x, y, 0.05, 0), weight, why="no step, from another weight")
### END HIDDEN TESTS

# %% [markdown]
# **Check yourself.** `show_descent(0.01, 0.1, 0.35, 0.45)` draws the error of the example above after each step, a line
# for each rate. Which arrives first, and what does the last one do? From where on must a rate be too large here?


# %%
def show_descent(*rates: float) -> None:
    """The squared error after 0 to 15 steps, a line for each rate."""
    x, y = torch.tensor([[1.0], [2]]), torch.tensor([2.0, 4])
    _, axes = plt.subplots()
    for rate in rates:
        weights = [descend(torch.tensor([0.0]), x, y, rate, steps) for steps in range(16)]
        axes.plot([squared_error(weight, x, y).item() for weight in weights], label=f"rate {rate}")
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("squared error")
    axes.legend()
    plt.show()


# %% [markdown]
# ## 5. Seeds and generators (15 points)
#
# Computers draw numbers from a *generator*, whose state decides all that it will ever say. The same **seed** puts it
# into the same state, and so the same experiment can be run again. torch has one global generator, from which
# `torch.rand`, dropout and new layers draw. Whoever seeds it moves the draws of everybody else. So code that wants its
# draws to be repeatable makes a generator of its own: `torch.Generator()`, with `manual_seed`, handed to the function
# that draws as `generator=`.
#
# Draw tokens that way. With $p\,[V]$, id $i$ must come up with probability $p_i$ each time, whatever came before.

# %% solution="lecturekit.warmup:draw_tokens" hide="body"

# %% [markdown]
# The tests want to know whether the global generator has moved. This function draws from it.


# %% locked="noise"
def noise(count: int) -> Tensor:
    """`count` numbers between 0 and 1 from torch's global generator: [count]."""
    return torch.rand(count)


# %% test="seeds:repeatable" points=5
probabilities = torch.tensor([0.1, 0.2, 0.3, 0.4])
draw = draw_tokens(probabilities, 40, 7)
check.shape(draw, 40)
check.dtype(draw, torch.int64)
check.equal(draw_tokens(probabilities, 40, 7), draw, why="the same seed, the same draw")
others = [draw_tokens(probabilities, 40, seed).tolist() for seed in range(5)]
check.equal(len({tuple(other) for other in others}), 5, why="five seeds, five draws")
### BEGIN HIDDEN TESTS
probabilities = (torch.rand(6) + 0.1).softmax(-1)
seeds = torch.randperm(10_000)[:4].tolist()
draws = [draw_tokens(probabilities, 50, seed).tolist() for seed in seeds]
again = [draw_tokens(probabilities, 50, seed).tolist() for seed in seeds]
check.equal(again, draws, why="other seeds, each the same draw again")
check.equal(len({tuple(draw) for draw in draws}), 4, why="four seeds, four draws")
### END HIDDEN TESTS

# %% test="seeds:shares" points=5
draw = draw_tokens(torch.tensor([0.1, 0.0, 0.2, 0.7]), 4000, 1)
counts = torch.bincount(draw, minlength=4).tolist()
check.equal(counts[1], 0, why="what has probability 0 is never drawn")
for i, p in [(0, 0.1), (2, 0.2), (3, 0.7)]:
    check.rate(counts[i], 4000, p, why=f"id {i}, of 4000 draws")
### BEGIN HIDDEN TESTS
probabilities = torch.rand(5) + 0.2
probabilities = probabilities / probabilities.sum()
counts = torch.bincount(draw_tokens(probabilities, 5000, 2), minlength=5).tolist()
for i, p in enumerate(probabilities.tolist()):
    check.rate(counts[i], 5000, p)
check.equal(draw_tokens(torch.tensor([0.0, 1.0]), 3, 5), torch.tensor([1, 1, 1]))
### END HIDDEN TESTS

# %% test="seeds:global" points=5
probabilities = torch.tensor([0.5, 0.5])
check.pure(draw_tokens, probabilities, 10, 3)
check.seed(11)
undisturbed = noise(5)
check.seed(11)
draw = draw_tokens(probabilities, 10, 3)
check.equal(noise(5), undisturbed, why="what others draw after your draw")
check.seed(12)
check.equal(draw_tokens(probabilities, 10, 3), draw, why="the same draw, whatever the global generator's seed")

# %% [markdown]
# **Check yourself.** `show_draws(0, 1, 2)` draws a next word after «Я хочу …» 50 times with each of three seeds and
# sets the shares beside the probabilities. Run it twice. Then `show_draws(0, 1, 2, count=5000)`: what has changed?

# %%
NEXT = {"спать": 0.4, "есть": 0.25, "домой": 0.15, "кофе": 0.1, "sleep": 0.07, "home": 0.03}


def show_draws(*seeds: int, count: int = 50) -> None:
    """How often each word of NEXT is drawn with each seed, beside its probability."""
    probabilities = torch.tensor(list(NEXT.values()))
    bars = {"probability": probabilities}
    for seed in seeds:
        bars[f"seed {seed}"] = torch.bincount(draw_tokens(probabilities, count, seed), minlength=len(NEXT)) / count
    _, axes = plt.subplots()
    width = 0.8 / len(bars)
    for number, (label, shares) in enumerate(bars.items()):
        axes.bar([place + number * width for place in range(len(NEXT))], shares.tolist(), width, label=label)
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(NEXT))], list(NEXT))
    axes.legend()
    plt.show()


# %% [markdown]
# **A widget, which must move.** Run the cell below. It shows the same six words, their probabilities as outlines and
# what is drawn from as filled bars. Move *temperature* to 0.2 and to 3: when does one word take nearly all, when are
# they almost alike? Back at 1, lower *top-p* until the two English words are gone; the line above the bars says how
# much of the probability was cut. Lectures have more of these, on real models. If the picture stands still when you
# move a slider, tell your instructor now. (Where there is no browser, as on a printed page, it is a still picture.)

# %%
from lecturekit import widgets

widgets.sampling(torch.tensor(list(NEXT.values())).log(), list(NEXT))

# %% [markdown]
# ## 6. From characters to ids and back (15 points)
#
# The simplest vocabulary has one id for each character. Three small functions: number the characters, write texts as
# rows of ids, and read the ids again. Ids begin with 1, because 0 is padding:
#
# ```
# texts          кот          cat               texts          я            она
# vocabulary     a: 1  c: 2  t: 3               vocabulary     а: 1  н: 2  о: 3  я: 4
#                к: 4  о: 5  т: 6
# ids [B, T]     4  5  6      кот               ids [B, T]     4  0  0      я
#                2  1  3      cat                              3  2  1      она
# ```
#
# The Latin c and the Cyrillic с look alike and are two characters: Python sorts them by *code point*, their number in
# Unicode, and there all Latin letters come before all Cyrillic ones. A Russian letter is *one* character, though two
# bytes in a file.

# %% solution="lecturekit.warmup:number_characters" hide="body"

# %% solution="lecturekit.warmup:to_ids" hide="body"

# %% solution="lecturekit.warmup:to_texts" hide="body"

# %% test="text:vocabulary" points=5
expected = {"a": 1, "c": 2, "t": 3, "к": 4, "о": 5, "т": 6}
check.equal(number_characters(["кот", "cat"]), expected, why="the example above")
check.equal(number_characters(["cat", "ток", "кот"]), expected, why="the order of the texts is of no account")
### BEGIN HIDDEN TESTS
check.equal(number_characters(["Яя", "a A"]), {" ": 1, "A": 2, "a": 3, "Я": 4, "я": 5}, why="a space is a character")
### END HIDDEN TESTS

# %% test="text:ids" points=5
vocabulary = {"a": 1, "c": 2, "t": 3, "к": 4, "о": 5, "т": 6}
ids = to_ids(["кот", "cat"], vocabulary)
check.equal(ids, torch.tensor([[4, 5, 6], [2, 1, 3]]), why="a row for each text")
check.equal(to_ids(["a", "cat", "ко"], vocabulary), torch.tensor([[1, 0, 0], [2, 1, 3], [4, 5, 0]]), why="padding")
check.raises(KeyError, to_ids, ["код"], vocabulary, why="a character that the vocabulary does not have")
### BEGIN HIDDEN TESTS
ids = to_ids(["", "тот", "о"], vocabulary)
check.equal(ids, torch.tensor([[0, 0, 0], [6, 5, 6], [5, 0, 0]]), why="a text may be empty")
### END HIDDEN TESTS

# %% test="text:back" points=5
vocabulary = {"a": 1, "c": 2, "t": 3, "к": 4, "о": 5, "т": 6}
ids = torch.tensor([[2, 1, 3, 0], [4, 5, 6, 0], [6, 5, 6, 1]])
check.equal(to_texts(ids, vocabulary), ["cat", "кот", "тотa"], why="padding is no character")
### BEGIN HIDDEN TESTS
check.equal(to_texts(torch.tensor([[0, 0], [5, 0]]), vocabulary), ["", "о"])
letters = [["а", "б", "z"][i] for i in torch.randint(0, 3, (12,)).tolist()]
texts, vocabulary = ["".join(letters[:5]), "".join(letters[5:])], {"z": 1, "а": 2, "б": 3}
check.equal(to_texts(to_ids(texts, vocabulary), vocabulary), texts, why="there and back")
### END HIDDEN TESTS

# %% [markdown]
# **Check yourself.** `show_ids("Мы дома", "At home")` prints your ids and what comes back. Try texts of your own. How
# many bytes would each have in a file, and why do the two numbers differ for one of them?


# %%
def show_ids(*texts: str) -> None:
    """Each text as ids and back, its characters and bytes counted."""
    vocabulary = number_characters(texts)
    ids = to_ids(texts, vocabulary)
    for text, row, again in zip(texts, ids.tolist(), to_texts(ids, vocabulary), strict=True):
        print(f"{text!r}: {len(text)} characters, {len(text.encode())} bytes\n    {row}\n    {again!r}")


# %% [markdown]
# ## In your own words
#
# A classmate takes `x.mean(dim=1)` for the vector of each sentence and says that it worked on every example, tried one
# sentence at a time. In a batch it gives other vectors. Which sentences get other vectors, and why did the trial not
# show it? Three sentences are enough. (Your instructor may mark this by hand; it counts nothing towards the points.)

# %% [markdown] question="why-padding" points=0
# All but the longest: in a batch they are padded, and a plain mean divides by the length of the longest sentence and
# adds whatever stands at padding. A sentence on its own has no padding, so there the plain mean and the masked one are
# the same. A test has to hold two sentences of different length.
#
# Rubric:
#
# One point for each of the first three:
#
# - names the sentences that are shorter than the longest of their batch
# - says what goes wrong with them: the divisor counts padding, and what stands there is added
# - says that a sentence alone has no padding, so that the trial compared the same thing with itself
# - not enough: "because of padding", without what the mean does there

# %% [markdown]
# ## How to hand in
#
# 1. **Save** the notebook. What is handed in is the file, not what the screen shows.
# 2. **Validate** it. The checks that only graders have may still fail, if your code answers the tests' examples alone.
# 3. Hand in the file `lab00.ipynb` in the way that your instructor names. Keep its name, and don't delete cells that
#    are not your own.
#
# **A rehearsal.** If you have the whole repository, you have the grader too. In a terminal, in its folder:
#
# ```
# mkdir -p submitted/me/lab00
# cp work/lab00/lab00.ipynb submitted/me/lab00/
# .venv/bin/autograder grade lab00
# ```
#
# It prints your points and writes the page that a student gets: open `feedback/me/lab00/lab00.html`. The hidden checks
# ran too. If it asks for bubblewrap, which your machine may lack, add `--no-cage`: the code is your own. Change the
# notebook, copy it again, and grade again: both attempts are kept, and the last one counts. If you have no grader,
# Validate is the rehearsal.
#
# The widget's cell could not run there: the grader's copy of `lecturekit` holds little more than a lab's tests need. A
# cell that fails costs no points unless a test needs what it defines.
