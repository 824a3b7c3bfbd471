# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lecture 1. Sequence to sequence, and attention
#
# What you will be able to explain afterwards:
#
# | | |
# |---|---|
# | language models | what is modelled, why one word at a time, how it is measured |
# | seq2seq | how a language model becomes a translator |
# | recurrent networks | Elman's, LSTM, GRU; deep and bidirectional; why gates |
# | encoder, decoder | what passes between them; teacher forcing; the loss; greedy and beam search |
# | attention | why one vector is too little; three scores; global, local, soft, hard; alignment |
# | results | the tables of 2014 and 2015 |
#
# [Lab 1](../labs/lab01/lab01.ipynb) builds all of it. The code is
# `lecturekit/models/seq2seq.py`: what stands here as code is shown from that file. The
# pictures are drawn by cells that you can change and run again.

# %%
import math
from itertools import permutations
from random import Random

import matplotlib.pyplot as plt
import torch
from IPython.display import Markdown, display

from lecturekit import data, pretrained, widgets
from lecturekit.generation import beam_search
from lecturekit.models.seq2seq import (
    CELLS,
    SCORES,
    WINDOWS,
    Recurrent,
    Seq2Seq,
    Seq2SeqConfig,
    hard_context,
    masked_context,
    masked_nll,
    unroll,
)
from lecturekit.slides import show, sketch, table
from lecturekit.train import training

torch.manual_seed(0)
torch.set_num_threads(1)
BLUE, ORANGE, GREEN, GREY = "#cfe3f5", "#fbdcc0", "#cdebd9", "#eeeeee"


# %% [markdown]
# ## 1. Language modelling
#
# A language model says how probable a sequence of words is, $P(y_1, \dots, y_n)$. Of
#
# - «Она вошла в комнату» and «Комнату в вошла она»,
# - "she looked at him" and "she at looked him",
#
# the first of each pair should get the larger number. That is all a language model does, and it is enough to write, to
# rank what a recogniser heard, and, with a source beside it, to translate.
#
# A *token* is what the model counts as one step: a word, a part of a word or a character. How a text is cut is the
# subject of [lecture 2](02_tokenization.ipynb); until then read "word".

# %% [markdown]
# ### One factor a word
#
# There are more sentences than anyone can count. But every distribution over sequences is a product of distributions
# over one word each, whatever the words (the chain rule):
#
# $$P(y_1, \dots, y_n) = \prod_{t=1}^{n} p(y_t \mid y_{<t}), \qquad y_{<t} = y_1, \dots, y_{t-1}$$
#
# So one network suffices, which reads a beginning of any length and answers with $V$ probabilities, one for each word
# of the vocabulary. It is *autoregressive*: what it has said, it reads.
#
# Nothing forces the direction. A **forward** model has $p(y_t \mid y_{<t})$, a **backward** one $p(y_t \mid y_{>t})$.
# Both together give words a representation that knows their whole sentence (ELMo, [lecture 4](04_bert.ipynb)).

# %% [markdown]
# ### A model reads two sentences
#
# The course's small GPT has read *War and Peace* in English and Russian, and Shakespeare ([lecture 5](05_gpt.ipynb)
# tells how). For each word: the probability that the model gave it, after all words before. With a network,
# `pretrained.load("gpt2")` or another name of the hub puts a larger model into the same cell.

# %%
gpt, words_of_gpt = pretrained.load("gpt")


@torch.no_grad()
def log_probabilities(text):
    """(word, its log-probability after the words before) of each word but the first, and the number of tokens."""
    words = text.split(" ")
    ends = [len(words_of_gpt.encode(" ".join(words[: n + 1]))) for n in range(len(words))]
    ids = torch.tensor([words_of_gpt.encode(text)])
    logits = gpt(ids).logits[0, :-1]
    each = logits.log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0].tolist()
    found = [(word, sum(each[a - 1 : b - 1])) for word, a, b in zip(words[1:], ends[:-1], ends[1:], strict=True)]
    return found, ends[-1] - ends[0]


for text in ("She looked at him and smiled", "Она посмотрела на него и улыбнулась"):
    found, count = log_probabilities(text)
    total = sum(value for _, value in found)
    table(["word", *(word for word, _ in found)], [["$p$", *(f"{math.exp(value):.2g}" for _, value in found)]])
    display(Markdown(f"The product is $e^{{{total:.1f}}}$; {count} tokens, perplexity {math.exp(-total / count):.0f}."))

# %% [markdown]
# ### Does the order of words matter to it?
#
# All orders of the last words of a sentence, the most probable first. The order that was written should stand near the
# top: a model that only knew which words are frequent would give all of them the same number.

# %%
for text in ("She looked at him and", "Она посмотрела на него и"):
    first, *others = text.split()
    orders = {
        " ".join([first, *order]): sum(value for _, value in log_probabilities(" ".join([first, *order]))[0])
        for order in permutations(others)
    }
    best = sorted(orders, key=orders.get, reverse=True)
    rows = [[n + 1, order, f"{orders[order]:.1f}"] for n, order in enumerate(best) if n < 2 or order == text]
    table(["place", f"of {len(best)} orders", "log-probability"], rows)

# %% [markdown]
# ### How good is it? Perplexity
#
# The mean of $-\log p(y_t \mid y_{<t})$ over a text that the model has not seen is its **cross-entropy**, in nats with
# a natural logarithm. Its exponential is the **perplexity**: a model that wavers between $k$ equally likely words at
# each step has perplexity $k$.
#
# Perplexities compare only if the tokens are the same: a model of characters has a smaller one than a model of words,
# and is no better for that.

# %% [markdown]
# ### Before networks: counting
#
# An $n$-gram model forgets all but the last $n-1$ words and counts: $p(y_t \mid y_{t-2}, y_{t-1})$ is the share of
# triples among pairs. The longer the context, the better the guess, and the more often there is nothing to count. Here
# the manual of Python, nine tenths for counting:

# %%
words = data.manual_text().split()
cut = len(words) * 9 // 10
for n in (1, 2, 3, 4):
    known = {tuple(words[i : i + n]) for i in range(cut - n + 1)}
    later = [tuple(words[i : i + n]) for i in range(cut, len(words) - n + 1)]
    share = sum(gram not in known for gram in later) / len(later)
    print(f"{n} words in a row: {share:5.1%} of those in the last tenth were never seen before")

# %% [markdown]
# Counting knows no similarity: what it has learnt of «кот спит» says nothing of «кошка спит». A network that first
# turns words into vectors does, and a *recurrent* one needs no fixed $n$.

# %% [markdown]
# ### The distribution of the next word
#
# Move the temperature, and look at how the same model becomes bold or timid. How to choose among these is the subject
# of lecture 5; here one look at what the output of a language model *is*: $V$ numbers.

# %%
widgets.sampling(gpt, words_of_gpt, "Она посмотрела на", new_tokens=12)

# %% [markdown]
# ## 2. Sequence to sequence
#
# One sequence in, another out, of another length, with no rule that says which word comes from which:
#
# | task | input | output |
# |---|---|---|
# | machine translation | Я вижу кота | I see a cat |
# | chat bots | a question or a remark | an answer |
# | question answering | a text and a question | the answer |
# | summarisation | an article | three sentences |
# | image captioning | an image | a sentence |
# | in this lecture and its lab | «9 мая 1980 г.», "May 9, 1980" | 1980-05-09 |

# %% [markdown]
# ### The task, exactly
#
# Input $x = x_1, \dots, x_m$, output $y = y_1, \dots, y_n$. Wanted is the most probable output:
#
# $$y^* = \arg\max_y \, p(y \mid x)$$
#
# Nobody knows $p$. A model with parameters $\theta$ stands in for it: $y^* = \arg\max_y p(y \mid x, \theta)$. Three
# questions follow:
#
# 1. **modelling**: what does $p(y \mid x, \theta)$ look like? (sections 3, 4, 7)
# 2. **learning**: which $\theta$? (section 5)
# 3. **search**: how is the $\arg\max$ found? (section 6)

# %% [markdown]
# ### A language model with a condition
#
# The chain rule holds with $x$ behind the bar:
#
# $$P(y_1, \dots, y_n \mid x) = \prod_{t=1}^{n} p(y_t \mid y_{<t}, x)$$
#
# A **conditional language model** is a language model that has read something first. What reads is called **encoder**,
# what writes **decoder**. Almost everything in this course is one of the two, or both.

# %%
source, target = ["Я", "вижу", "кота", "<eos>"], ["I", "see", "a", "cat", "<eos>"]
boxes = {f"x{i}": (i, 0, word, "none") for i, word in enumerate(source)}
boxes |= {f"e{i}": (i, 1, f"$h_{i + 1}$", BLUE) for i in range(len(source))}
boxes |= {f"d{i}": (5 + i, 1, f"$s_{i + 1}$", ORANGE) for i in range(len(target))}
boxes |= {f"y{i}": (5 + i, 2, word, "none") for i, word in enumerate(target)}
boxes |= {f"z{i}": (5 + i, 0, word, "none") for i, word in enumerate(["<bos>", *target[:-1]])}
arrows = [f"x{i} e{i}" for i in range(4)] + [f"e{i} e{i + 1}" for i in range(3)] + ["e3 d0 $c$"]
arrows += [f"z{i} d{i}" for i in range(5)] + [f"d{i} y{i}" for i in range(5)] + [f"d{i} d{i + 1}" for i in range(4)]
alt = "An encoder reads a Russian sentence word by word; its last state c starts a decoder that writes the English one."
sketch((10, 2.8), boxes, arrows, alt, dashed=[f"y{i} z{i + 1}" for i in range(4)])

# %% [markdown]
# ### Where it comes from
#
# | paper | reads with | writes with | used for |
# |---|---|---|---|
# | [Kalchbrenner and Blunsom, 2013][1] | convolution over $n$-grams | convolution and recurrent network | rescoring |
# | [Cho et al., 2014][2] | a recurrent network (the GRU) | another one | scores for phrase-based translation |
# | [Sutskever et al., 2014][3] | LSTM, 4 layers | LSTM, 4 layers | translation by a network alone |
#
# [1]: https://aclanthology.org/D13-1176/
# [2]: https://arxiv.org/abs/1406.1078
# [3]: https://arxiv.org/abs/1409.3215
#
# The step from the second row to the third is that no phrase table is left (a list of phrases with their translations,
# from which older systems built a sentence): the network does the whole task.

# %% [markdown]
# ## 3. Recurrent networks
#
# A recurrent network reads a sequence of any length with a fixed number of parameters. What it has read it keeps in a
# **state** $h$, a vector of $D$ numbers, and the same step makes each state of the one before and the next input.
#
# Elman's network ([Elman, 1990](https://doi.org/10.1207/s15516709cog1402_1)), also called *simple* or *vanilla*:
#
# $$h_t = f(W h_{t-1} + U x_t + b), \qquad y_t = s(V h_t + c)$$
#
# $f$ is the sigmoid, tanh or ReLU, $s$ the softmax: with an output over words after each step it is a language model.
# As a part of a larger network the output is the state itself, $y_t = h_t$, and $f$ is tanh or ReLU. (In the code, as
# in PyTorch, the letters change places: `weight_ih`, for the input, comes first.)

# %% code="lecturekit.models.seq2seq:RNNCell"

# %% [markdown]
# ### Unrolled in time
#
# One cell, drawn once a step. All copies have the same weights, so that their gradients add up; training goes back
# through all steps (*backpropagation through time*).

# %%
boxes = {f"x{i}": (1.5 * i, 0, f"$x_{i + 1}$", "none") for i in range(4)}
boxes |= {f"h{i}": (1.5 * i, 1, "cell", BLUE) for i in range(4)} | {"start": (-1.5, 1, "$h_0$", "none")}
boxes |= {f"y{i}": (1.5 * i, 2, f"$y_{i + 1}$", "none") for i in range(4)}
arrows = ["start h0"] + [f"x{i} h{i}" for i in range(4)] + [f"h{i} y{i}" for i in range(4)]
arrows += [f"h{i} h{i + 1} $h_{i + 1}$" for i in range(3)]
sketch((7, 2.4), boxes, arrows, "One recurrent cell, drawn at four steps: each gets an input and the state before it.")

# %% [markdown]
# ### A batch of sentences: padding
#
# Sentences of a batch have different lengths and are filled up with a padding token. The state must *stand still*
# there: otherwise a short sentence would be encoded differently beside a long one.

# %% code="lecturekit.models.seq2seq:unroll"

# %% [markdown]
# ### Two layers
#
# A second network reads the states of the first as if they were its input; and so on. Lower layers turn out to know
# more of form, higher ones more of meaning ([Peters et al., 2018](https://arxiv.org/abs/1802.05365), section 5.3).
# Sutskever et al. have four, and say that each further layer lowered perplexity by nearly 10 % (section 3.4).

# %%
boxes = {f"x{i}": (1.5 * i, 0, f"$x_{i + 1}$", "none") for i in range(4)}
boxes |= {f"a{i}": (1.5 * i, 1, "layer 1", BLUE) for i in range(4)}
boxes |= {f"b{i}": (1.5 * i, 2, "layer 2", GREEN) for i in range(4)}
boxes |= {f"y{i}": (1.5 * i, 3, f"$y_{i + 1}$", "none") for i in range(4)}
arrows = [f"{low}{i} {high}{i}" for i in range(4) for low, high in ("xa", "ab", "by")]
arrows += [f"{row}{i} {row}{i + 1}" for i in range(3) for row in "ab"]
sketch((7, 2.6), boxes, arrows, "Two recurrent layers: the states of the first are the inputs of the second.")

# %% [markdown]
# ### Both directions
#
# «Я увидел **лук** …» is understood when the sentence goes on: «… на грядке» or «… и стрелы» (the word is an onion or a
# bow). An encoder has the whole sentence, so it may read it twice, forward and backward, and lay both states of a word
# side by side. A decoder may not: what comes later is what it has to write.

# %%
boxes = {f"x{i}": (1.6 * i, 0, word, "none") for i, word in enumerate(["Я", "увидел", "лук", "и", "стрелы"])}
boxes |= {f"f{i}": (1.6 * i - 0.3, 1, "$\\overrightarrow{h}$", BLUE) for i in range(5)}
boxes |= {f"b{i}": (1.6 * i + 0.3, 1.9, "$\\overleftarrow{h}$", ORANGE) for i in range(5)}
arrows = [f"x{i} {row}{i}" for i in range(5) for row in "fb"]
arrows += [f"f{i} f{i + 1}" for i in range(4)] + [f"b{i + 1} b{i}" for i in range(4)]
sketch(
    (8, 2.3),
    boxes,
    arrows,
    "One network reads from left to right, another from right to left; a word has a state of each.",
)

# %% code="lecturekit.models.seq2seq:Recurrent.forward"

# %% [markdown]
# ### What is forgotten, and why
#
# The gradient of a late state by an early input is a product of one matrix a step. If these shrink vectors, it
# **vanishes** exponentially, and nothing is learnt about distant words; if they stretch them, it **explodes**
# ([Bengio et al., 1994](https://doi.org/10.1109/72.279181)). Measured: the norm of the gradient of the last state of 40
# by the input at each step.


# %%
def gradient_by_distance(kind, adjust=lambda cell: None, steps=40):
    """The norm of the gradient of the last state by each input, the last input first; relative to that one."""
    torch.manual_seed(0)
    cell = CELLS[kind](32, 32)
    adjust(cell)
    x = torch.randn(1, steps, 32, requires_grad=True)
    _, state = unroll(cell, x, torch.ones(1, steps, dtype=torch.bool), torch.zeros(cell.num_states, 1, 32))
    state[0].sum().backward()
    norms = x.grad[0].norm(dim=-1).flip(0)
    return (norms / norms[0]).tolist()


def open_gate(cell):
    """Let the gate that keeps the old state start open: forget gate of an LSTM, update gate of a GRU."""
    cell.bias_ih.data[32:64] += 3


def enlarge(cell):
    cell.weight_hh.data *= 8


for label, curve in {
    "Elman": gradient_by_distance("elman"),
    "Elman, recurrent matrix eight times as large": gradient_by_distance("elman", enlarge),
    "GRU, update gate starts open": gradient_by_distance("gru", open_gate),
    "LSTM, forget gate starts open": gradient_by_distance("lstm", open_gate),
}.items():
    plt.plot(curve, label=label)
plt.gcf().set_size_inches(7, 3.2)
plt.yscale("log")
plt.xlabel("steps between the input and the last state")
plt.ylabel("gradient, relative")
plt.legend(fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
show(
    "Gradient against distance: Elman's falls exponentially to 1e-14, grows beyond 1e8 if its recurrent matrix is "
    "large; with open gates a tenth or more is left after 39 steps."
)

# %% [markdown]
# ### Gates: LSTM
#
# Long short-term memory ([Hochreiter and Schmidhuber, 1997](https://doi.org/10.1162/neco.1997.9.8.1735)) carries a
# second vector $c$ from step to step by *addition*. Gates, numbers between 0 and 1, say what is kept, what is added and
# what is shown. Where the forget gate is 1, the gradient goes through unchanged.

# %% code="lecturekit.models.seq2seq:LSTMCell"

# %% [markdown]
# ### Gates: GRU
#
# The gated recurrent unit (Cho et al., 2014, section 2.3) does with one vector and two gates: $z$ mixes the old state
# with a new candidate, $r$ says how much of the old state the candidate sees. Fewer weights, often as good. Lab 1
# builds this one.

# %% code="lecturekit.models.seq2seq:GRUCell"

# %% [markdown]
# ### What they cost
#
# Parameters of one cell, counted; all have the same form, $G$ blocks of $D$ rows.

# %%
rows = []
for name, cell in CELLS.items():
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in cell(1000, 1000).parameters())
    rows.append([name, cell.num_gates, cell.num_states, f"{count:,}"])
table(["cell", "blocks $G$", "vectors of state", "parameters at $E = D = 1000$"], rows)

# %% [markdown]
# ## 4. Encoder and decoder
#
# **The encoder** makes states $h_t = f(x_t, h_{t-1})$ and of them one vector, in general
#
# $$c = g(h_1, \dots, h_{T_x}), \qquad \text{mostly} \qquad c = h_{T_x}$$
#
# The last state has read everything. With two directions it is both last states side by side; with several layers, one
# of each.

# %% [markdown]
# ### The decoder
#
# $$p(y_t \mid y_1, \dots, y_{t-1}, c) = \operatorname{softmax}\big(q(y_{t-1}, s_t, c)\big), \qquad
# s_t = r(y_{t-1}, s_{t-1}), \qquad s_0 = c$$
#
# $s_t$ is the decoder's state (some write $h_t$ for both), $q$ a network of one layer or more whose output is as wide
# as the vocabulary. The first word it reads is a sign for the beginning, `<bos>`, or, in some papers, `<eos>`.
#
# The models differ in where $c$ goes. Sutskever et al. use it for the first state and never again, as `lecturekit`
# does; Cho et al. hand it to every step.

# %% [markdown]
# ### The whole model, without attention yet
#
# `encode` is the bridge $s_0 = c$; `teach` lets the decoder read the true target; `loss` we come to in section 5.

# %% code="lecturekit.models.seq2seq:Seq2Seq.encode"

# %% code="lecturekit.models.seq2seq:Seq2Seq.teach"

# %% [markdown]
# ### How large was it? The model of Sutskever et al., counted
#
# Source vocabulary 160,000, target vocabulary 80,000, embeddings and states of 1,000 numbers, four layers on either
# side (section 3.4). The paper says 384M parameters, 64M of them recurrent. Counted here, on a device without memory;
# the paper's LSTM has one bias where PyTorch's and ours have two, which is left out:

# %%
with torch.device("meta"):
    layers = Recurrent("lstm", 1000, 1000, num_layers=4)
weights = sum(p.numel() for name, p in layers.named_parameters() if "weight" in name)
embeddings = (160_000 + 80_000) * 1000
output = 80_000 * 1000
display(
    Markdown(
        f"Recurrent: 2 × {weights / 1e6:.0f}M = **{2 * weights / 1e6:.0f}M**; embeddings {embeddings / 1e6:.0f}M, "
        f"output {output / 1e6:.0f}M; together **{(2 * weights + embeddings + output) / 1e6:.0f}M**."
    )
)

# %% [markdown]
# Five sixths of the model are tables of words: one reason for the tokens of [lecture 2](02_tokenization.ipynb).

# %% [markdown]
# ## 5. Learning
#
# An example is a pair $x = x_1, \dots, x_m$, $y = y_1, \dots, y_n$. At step $t$ the model says $p^{(t)} = p(\cdot \mid
# y_1, \dots, y_{t-1}, x)$, a probability for each word; wanted is $p^* = \operatorname{onehot}(y_t)$, one for the right
# token and zero for all others. The loss is their cross-entropy:
#
# $$L(p^*, p) = - \sum_{i=1}^{V} p_i^* \log p_i = - \log p_{y_t} = - \log p(y_t \mid y_{<t}, x)$$
#
# Of the sum over the vocabulary one term is left. For the whole example:
#
# $$- \sum_{t=1}^{n} \log p(y_t \mid y_{<t}, x)$$
#
# which is $-\log P(y \mid x)$: to make the loss small is to make the right translations probable (maximum likelihood).
# The code takes the mean over all tokens of a batch: the same minimum for one example, and a rate that does not hang on
# lengths.

# %% code="lecturekit.models.seq2seq:masked_nll"

# %% [markdown]
# ### By hand
#
# Vocabulary of four words, a target of two tokens and one of padding. The first word gets half the probability, the
# second a quarter: the loss is the mean of $\ln 2$ and $\ln 4$.

# %%
probabilities = torch.tensor([[[0.1, 0.2, 0.5, 0.2], [0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1]]])
labels = torch.tensor([[2, 3, 0]])  # 0 is padding
loss = masked_nll(probabilities.log(), labels, pad_id=0)
print(f"{loss:.4f} = (ln 2 + ln 4) / 2 = {(math.log(2) + math.log(4)) / 2:.4f}")

# %% [markdown]
# ### Teacher forcing
#
# In training the decoder reads the *true* beginning of the target, whatever it would have written itself. So the target
# is used twice, shifted by one:
#
# ```
# target          <bos>  1  9  8  0  <eos>
# decoder reads   <bos>  1  9  8  0
# compared with     1    9  8  0  <eos>
# ```
#
# An early mistake does not spoil the rest of the sentence, and every position has something to learn from at once.

# %% code="lecturekit.models.seq2seq:Seq2Seq.loss"

# %% [markdown]
# ### The price
#
# In training the decoder has never read a mistake of its own; when it writes, it does, and may go astray (*exposure
# bias*). [Bengio et al., 2015](https://arxiv.org/abs/1506.03099) read the model's own words now and then in training.
# With good models and much data the simple form is what everyone uses.

# %% [markdown]
# ### Watch it learn
#
# Dates, English and Russian, letter by letter; 150 steps of 64 dates. Two models, one of them with the attention of
# section 7, all else alike. This is the one without.

# %%
letters = pretrained.load_tokenizer("seq2seq")
pairs = [pair for language in ("en", "ru") for pair in data.dates(20_000, 1, language)]
pairs = [(said, iso) for said, iso in pairs if len(said) <= 14 and iso[:4] in said]  # short, the year in full
Random(0).shuffle(pairs)


def as_ids(texts):
    """Texts as ids [B, T], with padding behind the shorter ones."""
    rows = [letters(text)["input_ids"] for text in texts]
    return torch.tensor([row + [0] * (max(map(len, rows)) - len(row)) for row in rows])


def as_batch(pairs):
    said, iso = zip(*pairs, strict=True)
    return as_ids(said), as_ids(iso)


def learner(attention, steps=150):
    """A small model, and the loop that trains it, a new batch a step."""
    torch.manual_seed(0)
    sizes = {"embedding_size": 32, "hidden_size": 64, "num_layers": 1, "cell": "gru", "bidirectional": True}
    model = Seq2Seq(Seq2SeqConfig(vocab_size=len(letters), **sizes, attention=attention, dropout=0.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    batches = [as_batch(pairs[64 * n : 64 * n + 64]) for n in range(steps)]
    return model, training(model, batches, lambda model, pair: model.loss(*pair), optimizer, steps)


without, steps = learner("none")
run = widgets.watch(steps, total=150)
display(run)

# %% [markdown]
# ### What the encoder's state knows
#
# Sutskever et al. (figure 2) draw final states of the encoder in two dimensions: sentences of like meaning lie near
# each other, whatever their words. The same for dates: every dot is the state $c$ of one date that was not in the
# batches, projected on its two directions of largest variance.

# %%
run.wait()
unseen = pairs[-600:]
with torch.no_grad():
    _, state, _ = without.eval().encode(as_batch(unseen)[0])
centred = state.flatten(0, 1)[0] - state.flatten(0, 1)[0].mean(0)
points = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T  # [600, 2]
_, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
decades = torch.tensor([int(iso[:4]) for _, iso in unseen])
language = torch.tensor([float(any("а" <= letter <= "я" for letter in said)) for said, _ in unseen])
for axis, colour, title in ((axes[0], decades, "year"), (axes[1], language, "with Cyrillic letters")):
    dots = axis.scatter(*points.T, c=colour, cmap="viridis" if title == "year" else "coolwarm", s=12)
    axis.set(title=f"coloured by: {title}", xticks=[], yticks=[])
    if title == "year":
        plt.colorbar(dots, ax=axis)
show("Final states of the encoder in two dimensions, coloured by the year and by the script of the date.")

# %% [markdown]
# ### A trick of 2014: read the source backwards
#
# Sutskever et al. reverse the source. Then the first words of both sentences stand close together, and learning finds
# its way from there: perplexity fell from 5.8 to 4.7, BLEU (section 9) rose from 25.9 to 30.6 (section 3.3). That an
# order of reading matters so much is a sign of what is wrong: the words that are read first have the longest way.

# %% [markdown]
# ## 6. Search
#
# $\arg\max_y p(y \mid x)$ goes over $V^n$ sequences. **Greedy** decoding takes the most probable word at each step and
# never looks back. That is fast, and not the arg max:
#
# | | first word | second word | product |
# |---|---|---|---|
# | greedy takes *a* | $p(a) = 0.5$ | the best one has 0.4 | 0.20 |
# | better | $p(b) = 0.4$ | the best one has 0.9 | **0.36** |

# %% code="lecturekit.models.seq2seq:greedy_decode"

# %% [markdown]
# ### Beam search
#
# Keep the $k$ best beginnings instead of one, go on from each with every word, and keep the $k$ best again. $k = 1$ is
# greedy; Sutskever et al. have $k = 2$ and $k = 12$ (their table 1, section 9 below). The table above, searched:

# %%
follow = torch.tensor([[0.5, 0.4, 0.1], [0.4, 0.3, 0.3], [0.9, 0.05, 0.05], [0.4, 0.3, 0.3]]).log()


def two_words(ids, rows=None):
    """ids [R, T] -> log-probabilities [R, 3]: the first row of `follow` at the start, then that of the word before."""
    return follow[torch.zeros_like(ids[:, -1]) if ids.size(1) == 1 else ids[:, -1] + 1]


for beams in (1, 2):
    ((score, found), *_), *_ = beam_search(two_words, torch.zeros(1, 1, dtype=torch.long), 2, beams, length_penalty=0.0)
    said = "".join("abc"[index] for index in found.tolist())
    print(f"{beams} beam{'s' * (beams > 1)}: {said!r}, probability {math.exp(score):.2f}")

# %% [markdown]
# ### A date that could be two
#
# «9 ма 1980 г.» has lost letters: марта or мая? The course's trained translator goes on from `1980-`; move the step and
# the number of beams, and see what is kept and what is dropped.

# %%
translator, letters = pretrained.load("seq2seq")
doubtful = torch.tensor([letters("9 ма 1980 г.")["input_ids"]])
widgets.beam_tree(lambda ids: translator(doubtful, ids)[0], letters, "<s>1980-", new_tokens=5, num_beams=2)

# %% [markdown]
# ## 7. Attention: why
#
# The encoder presses the whole input into one vector of fixed size.
#
# - **For the encoder** that is hard, the harder the longer the sentence: forty words have to fit where four do.
# - **For the decoder**, at each step, another part of the input matters: for "cat" it is «кота», for "see" «вижу».
#
# Cho et al. saw it in the numbers ([On the Properties of Neural Machine Translation,
# 2014](https://arxiv.org/abs/1409.1259)): quality falls quickly as sentences grow longer. The idea: keep *all* states
# of the encoder, and let the decoder look, at each step, at those that it needs.

# %% [markdown]
# ### Measured
#
# The second model, with attention, learns from the same batches. Then both write 300 dates that neither has seen.

# %%
attending, steps = learner("perceptron")
history = list(steps)[-1]  # the loop hands over one list that grows
source, target = as_batch(pairs[-300:])
right = {}
for name, model in (("without attention", without), ("with attention", attending)):
    written = model.eval().generate(source, 11)
    written = torch.nn.functional.pad(written, (0, 11 - written.size(1)))
    right[name] = (written == target[:, 1:])[:, :10]
rows = [[name, f"{hits.all(1).float().mean():.1%}", f"{hits.float().mean():.1%}"] for name, hits in right.items()]
table(["after 150 steps", "dates right", "characters right"], rows)

# %%
_, axes = plt.subplots(figsize=(7, 2.8))
for shift, (name, hits) in zip((-0.2, 0.2), right.items(), strict=True):
    colour = "C1" if "without" in name else "C0"
    axes.bar(torch.arange(10).add(shift).tolist(), hits.float().mean(0).tolist(), width=0.4, label=name, color=colour)
axes.set_xticks(range(10), ["Y", "Y", "Y", "Y", "-", "M", "M", "-", "D", "D"])
axes.set(ylabel="share right", xlabel="place in the answer")
axes.legend(loc="lower left", fontsize=9)
show("Share of right characters at each place of the answer, for the model without and the model with attention.")

# %% [markdown]
# Every digit but a leading zero of the answer stands in the source, or is named by the month. The model without
# attention has to write all of them into 64 numbers and take them out again in order; the other one looks them up.

# %% [markdown]
# ### Where the idea comes from
#
# | | |
# |---|---|
# | Larochelle and Hinton, 2010 (NIPS 23, pages 1243–1251) | images: a sequence of glimpses at small parts |
# | [Denil et al., 2011][1] | images: learning where to look |
# | [Graves, 2013][2] | handwriting: a soft window that slides along the text (section 5.1) |
# | [Bahdanau et al., 2014][3] | translation: every source word, at every step (ICLR 2015) |
# | [Luong et al., 2015][4] | translation: which scores, how wide a window (EMNLP 2015) |
# | [Xu et al., 2015][5] | images again: captions, soft and hard attention (ICML 2015) |
#
# [1]: https://arxiv.org/abs/1109.3737
# [2]: https://arxiv.org/abs/1308.0850
# [3]: https://arxiv.org/abs/1409.0473
# [4]: https://arxiv.org/abs/1508.04025
# [5]: https://arxiv.org/abs/1502.03044

# %% [markdown]
# ## 8. Attention: how
#
# At each step of the decoder, with state $s_t$ and the encoder's states $h_1, \dots, h_m$ (the *memory*):
#
# 1. a **score** for each source word: $e_{tj} = \operatorname{score}(s_t, h_j)$
# 2. **weights** that sum to one: $\alpha_{tj} = \dfrac{\exp e_{tj}}{\sum_k \exp e_{tk}}$
# 3. a **context**, the mean of the states under these weights: $c_t = \sum_j \alpha_{tj} h_j$
# 4. the context helps to say the next word.
#
# The one vector $c$ of section 4 has become one vector $c_t$ a step. All four are differentiable: where to look is
# learnt from translations alone, no one marks which word belongs to which.

# %%
boxes = {f"h{j}": (1.6 * j, 0, f"$h_{j + 1}$\n{word}", BLUE) for j, word in enumerate(["Я", "вижу", "кота"])}
boxes |= {f"w{j}": (1.6 * j, 1.2, f"$\\alpha_{{t{j + 1}}}$", GREY) for j in range(3)}
boxes |= {"c": (1.6, 2.4, "context $c_t$", GREEN), "s": (5.6, 0.6, "state $s_t$", ORANGE)}
boxes |= {
    "a": (5.6, 2.4, "$\\tanh(W[c_t; s_t])$", ORANGE),
    "y": (5.6, 3.5, "cat", "none"),
    "p": (5.6, -0.5, "a", "none"),
}
arrows = [f"h{j} w{j}" for j in range(3)] + [f"w{j} c" for j in range(3)]
arrows += ["s w2 scores", "c a", "s a", "a y", "p s"]
alt = "The decoder's state and each encoder state make a weight; the weighted mean of the states helps to say the word."
sketch((8, 3.6), boxes, arrows, alt)

# %% code="lecturekit.models.seq2seq:masked_context"

# %% [markdown]
# ### By hand
#
# Scores $\ln 1, \ln 2, \ln 5$ and a masked fourth make weights $\frac18, \frac28, \frac58$ and exactly 0; the memory's
# vectors are mixed in that proportion.

# %%
scores = torch.tensor([[[1.0, 2.0, 5.0, 100.0]]]).log()
memory = torch.tensor([[[8.0, 0.0], [0.0, 8.0], [8.0, 8.0], [99.0, 99.0]]])
context, weights = masked_context(scores, memory, torch.tensor([[[True, True, True, False]]]))
print("weights", [round(value, 4) for value in weights[0, 0].tolist()])
print("context", [round(value, 4) for value in context[0, 0].tolist()])

# %% [markdown]
# ### Three scores
#
# | score | formula | from |
# |---|---|---|
# | dot product | $s^\top h$ | Luong et al., "dot" |
# | bilinear | $s^\top W h$ | Luong et al., "general" |
# | perceptron | $v^\top \tanh(W s + U h)$ | Bahdanau et al., appendix A.1.2; "concat" in Luong et al. |
#
# The dot product compares the two states as they are, so they have to be of one width and to speak one language. The
# bilinear form learns a translation between them; the perceptron can bend: it is no longer a product of the two. (In
# the code the decoder's state is `h` and the encoder's `m`.)

# %% code="lecturekit.models.seq2seq:DotScore"

# %% code="lecturekit.models.seq2seq:BilinearScore"

# %% code="lecturekit.models.seq2seq:PerceptronScore"

# %% [markdown]
# ### What a score costs
#
# The perceptron makes a vector for *each pair* of positions before it makes a number: `inside` is [B, T, S, D], where
# the other two need [B, T, S]. That is why the dot product won once sentences became long
# ([lecture 3](03_transformer.ipynb)).

# %%
rows, batch, length, width = [], 64, 50, 1000
for name, score in SCORES.items():
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in score(width).parameters())
    numbers = batch * length * length * (width if name == "perceptron" else 1)
    rows.append([name, f"{count:,}", f"{numbers:,}"])
table(["score", "parameters at $D = 1000$", f"numbers for {batch} pairs of {length} and {length} words"], rows)

# %% [markdown]
# ### The decoder with attention
#
# Luong et al. (equations 5 and 6): the recurrent state asks, context and state together say the word.

# %% code="lecturekit.models.seq2seq:Decoder.forward"

# %% [markdown]
# ### Two orders
#
# | | Bahdanau et al., 2014 | Luong et al., 2015 |
# |---|---|---|
# | who asks | the state *before* the step, $s_{t-1}$ | the state *after* it, $s_t$ |
# | where the context goes | into the recurrent step | past it, to the output |
# | path | $s_{t-1} \to \alpha_t \to c_t \to s_t$ | $s_t \to \alpha_t \to c_t \to \tilde s_t$ |
# | encoder | bidirectional, one layer | one direction, top of several layers |
# | score | perceptron | dot, general or concat |
#
# In Luong's order the recurrence needs no attention, so a whole target is attended to in one matrix product. What is
# lost, that the next step knows where the last one looked, *input feeding* brings back (section 3.3 there; left out
# here).

# %% [markdown]
# ### Alignment
#
# The weights of all steps are a matrix: a row for each word that was written, a column for each source word. Nobody
# taught it, and it can be read. Bahdanau et al. (figure 3a) translate "European **Economic** Area" as «zone
# **économique** européenne», and the weights cross over as the words do.
#
# The translator of dates has to cross too: the year comes last in the source and first in the answer.

# %%
widgets.alignment(translator, letters, ids=letters("9 мая 1980 г.")["input_ids"], new_tokens=12)

# %% [markdown]
# The weights of a *bidirectional* encoder need not lie exactly on the letter that was copied: its neighbour's state
# knows it too. Attention says where information was taken from, and that is not always where it came from.

# %% [markdown]
# ### The same in English
#
# Move the step: for the digits of the month the decoder has to look at a *word*.

# %%
widgets.alignment(translator, letters, ids=letters("May 9, 1980")["input_ids"], new_tokens=12)

# %% [markdown]
# ### Kinds of attention: how much is looked at
#
# Luong et al., section 3:
#
# - **global**: all source words, each time;
# - **local**: a window of at most $2D + 1$ words around a centre $p_t$:
#   - *monotonic* (local-m): $p_t = t$, as if both sentences ran side by side;
#   - *predictive* (local-p): the state says where, $p_t = S \cdot \sigma(v^\top \tanh(W s_t))$, and a Gaussian around
#     it multiplies the weights, so that the place is learnt.
#
# A window could make the cost of a word independent of the length of the source; the code below, for clarity, scores
# all of it and masks.

# %% code="lecturekit.models.seq2seq:PredictiveAttention"

# %% [markdown]
# ### Three windows, drawn
#
# Random states of 14 source words and 8 target words, one score (dot), $D = 2$; each module is the one above, or its
# neighbour in the file.

# %%
torch.manual_seed(1)
memory, query, real = torch.randn(1, 14, 16), torch.randn(1, 8, 16), torch.ones(1, 14, dtype=torch.bool)
config = Seq2SeqConfig(vocab_size=9, hidden_size=16, attention="dot", window_size=2)
_, axes = plt.subplots(1, 3, figsize=(10, 2.4), layout="constrained")
for axis, (name, window) in zip(axes, WINDOWS.items(), strict=True):
    module = window(config)
    for parameter in module.parameters():
        parameter.data *= 4  # so that the centres differ
    with torch.no_grad():
        axis.imshow(module(query, memory, real)[1][0], cmap="Blues", vmin=0, vmax=1)
    axis.set(title=name, xlabel="source word", ylabel="target word")
show("Weights of global attention over the whole source, of monotonic windows on a diagonal, of predicted windows.")

# %% [markdown]
# ### Kinds of attention: mean or choice
#
# Xu et al., section 4:
#
# - **soft**: all vectors take part, by their weights. Differentiable.
# - **hard**: one vector is drawn with the weights as probabilities, or the likeliest is taken. A choice has no
#   gradient; one estimates it by sampling (REINFORCE), with much variance.
#
# Soft attention is what is used nearly everywhere.

# %%
_, weights = masked_context(scores, memory=torch.eye(4)[None], mask=torch.tensor([[[True, True, True, False]]]))
torch.manual_seed(0)
drawn = [hard_context(weights, torch.eye(4)[None])[0][0, 0].argmax().item() for _ in range(800)]
print("soft weights      ", [round(value, 3) for value in weights[0, 0].tolist()])
print("share of the draws", [round(drawn.count(j) / len(drawn), 3) for j in range(4)])

# %% [markdown]
# ## 9. Results
#
# BLEU counts how many runs of one to four words a translation shares with a reference, in percent, and punishes what is
# too short ([Papineni et al., 2002](https://aclanthology.org/P02-1040/)). Numbers compare only within a table: test
# sets, vocabularies and tokenizers differ.

# %% [markdown]
# ### Sutskever et al., 2014, table 1
#
# English to French, WMT'14 test set.
#
# | | BLEU |
# |---|---|
# | Bahdanau et al. | 28.45 |
# | phrase-based baseline | 33.30 |
# | one LSTM, source forward, beam 12 | 26.17 |
# | one LSTM, source reversed, beam 12 | 30.59 |
# | five LSTMs, reversed, beam 1 | 33.00 |
# | two LSTMs, reversed, beam 12 | 33.27 |
# | five LSTMs, reversed, beam 2 | 34.50 |
# | five LSTMs, reversed, beam 12 | **34.81** |
#
# Five networks together beat the phrase-based system, a single one does not yet. A beam of 2 has most of what a beam of
# 12 gives.

# %% [markdown]
# ### Bahdanau et al., 2014, table 1
#
# English to French. RNNencdec has no attention, RNNsearch has; 30 and 50 are the longest sentences in training.
#
# | | BLEU, all sentences | without unknown words |
# |---|---|---|
# | RNNencdec-30 | 13.93 | 24.19 |
# | RNNsearch-30 | 21.50 | 31.44 |
# | RNNencdec-50 | 17.82 | 26.71 |
# | RNNsearch-50 | 26.75 | 34.16 |
# | RNNsearch-50, trained longer | **28.45** | **36.15** |
# | Moses, phrase-based | 33.30 | 35.63 |
#
# Attention trained on short sentences beats no attention trained on long ones. And figure 2 there: quality no longer
# falls with the length of a sentence. On sentences whose words are all known one network equals a phrase-based system.

# %% [markdown]
# ### Luong et al., 2015, table 1
#
# English to German, WMT'14. Every row adds something.
#
# | | perplexity | BLEU |
# |---|---|---|
# | base | 10.6 | 11.3 |
# | + reversed source | 9.9 | 12.6 |
# | + dropout | 8.1 | 14.0 |
# | + global attention (location) | 7.3 | 16.8 |
# | + input feeding | 6.4 | 18.1 |
# | local-p attention (general) in place of global, with input feeding | 5.9 | 19.0 |
# | + unknown words replaced | 5.9 | 20.9 |
# | eight models together, unknown words replaced | | **23.0** |
#
# *Location* is a score of the state alone, $W s_t$ (section 3.1), since abandoned. Unknown words are replaced by help
# of the alignment: the source word with the largest weight is looked up in a dictionary or copied.

# %%
steps = ["base", "reversed", "dropout", "global", "input\nfeeding", "local-p", "unknown\nwords", "eight\nmodels"]
bleu = [11.3, 12.6, 14.0, 16.8, 18.1, 19.0, 20.9, 23.0]
_, axes = plt.subplots(figsize=(8, 2.6))
axes.bar(steps, bleu, color=["C7", "C7", "C7", "C0", "C0", "C0", "C7", "C7"])
for place, value in enumerate(bleu):
    axes.text(place, value + 0.3, value, ha="center", fontsize=9)
axes.set(ylabel="BLEU", ylim=(0, 26), title="Luong et al., 2015, table 1; blue: attention")
show("Bars of BLEU from Luong et al., table 1: each addition helps, attention by 2.8 points over dropout.")

# %% [markdown]
# ### Which score, which window? Luong et al., 2015, table 4
#
# | | perplexity | BLEU | with unknown words replaced |
# |---|---|---|---|
# | global, location | 6.4 | 18.1 | 19.3 |
# | global, dot | 6.1 | 18.6 | 20.5 |
# | global, general | 6.1 | 17.3 | 19.1 |
# | local-m, general | 6.2 | 18.6 | 20.4 |
# | local-p, dot | 6.6 | 18.0 | 19.6 |
# | local-p, general | **5.9** | **19.0** | **20.9** |
#
# The plain dot product is good where all words are seen; a learnt matrix helps where the window is narrow.

# %% [markdown]
# ## 10. Limits
#
# | limit | what came of it |
# |---|---|
# | a step needs the step before: $n$ words take $n$ steps, on any hardware | [lecture 3](03_transformer.ipynb) |
# | between two words of one sentence lie as many steps as words | the same |
# | a fixed list of words, and `<unk>` for the others | subwords: [lecture 2](02_tokenization.ipynb) |
# | a model for each task, from random weights | [lecture 4](04_bert.ipynb), [5](05_gpt.ipynb), [6](06_t5.ipynb) |
# | trained on true beginnings, used on its own | section 5; longer beams do not cure it |
# | weights are no explanation | [lecture 3](03_transformer.ipynb), section 12 |

# %% [markdown]
# ### What a small model does with what it never saw
#
# Sources longer, shorter and stranger than in training. The model always writes *something* of the right form: form is
# learnt long before truth. What is wrong can't be told from how it looks.

# %%
strange = ["9 мая 1980 г.", "31 февраля 1999 г.", "the ninth of May", "9 мая 1980 года, пятница", "кот"]
rows = []
for said in strange:
    ids = translator.generate(torch.tensor([letters(said)["input_ids"]]), 12)[0].tolist()
    rows.append([said, letters.decode(ids).replace("</s>", "")])
table(["read", "written"], rows)

# %% [markdown]
# ### In your own words
#
# 1. Why does a model need $\sum_t$ of log-probabilities, and not the probability of the whole target, to learn from?
# 2. What exactly does the decoder without attention get to know of the third source word, and by which way?
# 3. Which of the three scores can be computed for all pairs by one matrix product?
# 4. What would hard attention with the likeliest word, without sampling, learn about where to look?
# 5. Your decoder writes a fluent sentence about something else. Which of the three questions of section 2 went wrong?

# %% [markdown]
# ## 11. Links
#
# **Lab**: [Lab 1](../labs/lab01/lab01.ipynb): the Elman step, a GRU cell, the encoder over padded batches, the loss,
# the three scores, the context, the decoder, greedy decoding, a translator of dates.
#
# **Papers**, in the order in which they came:
#
# - [Elman, 1990](https://doi.org/10.1207/s15516709cog1402_1), Finding Structure in Time
# - [Hochreiter and Schmidhuber, 1997](https://doi.org/10.1162/neco.1997.9.8.1735), Long Short-Term Memory
# - [Kalchbrenner and Blunsom, 2013](https://aclanthology.org/D13-1176/), Recurrent Continuous Translation Models
# - [Cho et al., 2014](https://arxiv.org/abs/1406.1078), section 2: encoder, decoder and the GRU
# - [Sutskever et al., 2014](https://arxiv.org/abs/1409.3215), section 3: the model, the trick, the results
# - [Bahdanau et al., 2014](https://arxiv.org/abs/1409.0473), section 3 and appendix A: attention
# - [Luong et al., 2015](https://arxiv.org/abs/1508.04025), section 3: global, local, input feeding
# - [Xu et al., 2015](https://arxiv.org/abs/1502.03044), section 4: hard and soft
#
# **To read on**: [Lena Voita, NLP Course: Seq2seq and Attention][voita] · [Jay Alammar, Visualizing A Neural Machine
# Translation Model][alammar] · [Dive into Deep Learning, Attention Mechanisms][d2l]
#
# [voita]: https://lena-voita.github.io/nlp_course/seq2seq_and_attention.html
# [alammar]: https://jalammar.github.io/visualizing-neural-machine-translation-mechanics-of-seq2seq-models-with-attention/
# [d2l]: https://d2l.ai/chapter_attention-mechanisms-and-transformers/index.html
#
# Next: [Lecture 2, tokens](02_tokenization.ipynb).
