# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lecture 5. GPT: the next token, and how to write with it
#
# A decoder that learns one thing, to say the next token, turns out to do many. This lecture tells what GPT is, how its
# three editions differ, how a text is drawn from a model, and how a task can be told in a prompt.
#
# | part | |
# |---|---|
# | 1 | language models, of two kinds |
# | 2–3 | GPT-1 and GPT-2: block, loss, sizes, perplexity, results |
# | 4 | writing: the cache, greedy and beam search, temperature, top-k, top-p |
# | 5–6 | GPT-3: sizes, data, learning in context; results and limits |
# | 7 | Russian: ruGPT3 |
#
# You need [lecture 3](03_transformer.ipynb); [lecture 4](04_bert.ipynb) is what we compare with. The lab is [lab
# 5](../labs/lab05/lab05.ipynb). Papers: **GPT-1**, Radford et al., 2018,
# [pdf](https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf); **GPT-2**,
# Radford et al., 2019,
# [pdf](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf);
# **GPT-3**, Brown et al., 2020, [arXiv:2005.14165](https://arxiv.org/abs/2005.14165).
#
# *Deck 004* and the like are the slides that this course grew from, listed in `course/COVERAGE.md`.

# %%
import math
import time

import matplotlib.pyplot as plt
import torch

from lecturekit import data, pretrained, widgets
from lecturekit.generation import apply_temperature, generate, top_k_filter, top_p_filter
from lecturekit.models.gpt import (
    GPT2Block,
    GPT2Config,
    GPTBlock,
    GPTConfig,
    GPTLMHeadModel,
    count_parameters,
    decoder_mask,
    label_count,
    next_token_loss,
    perplexity,
)
from lecturekit.prompting import few_shot_prompt, option_scores
from lecturekit.slides import show, table

torch.manual_seed(0)
torch.set_num_threads(1)


# %% [markdown]
# ### The models of this lecture
#
# Two small ones that need no network: a GPT-2 of four layers that has read *War and Peace* in English and Russian, and
# Shakespeare; and one that reads letters and has learnt to take its task from examples. With a network the cells and
# widgets of part 4 take `pretrained.load("gpt2")` or `pretrained.load("ai-forever/rugpt3small_based_on_gpt2")`.

# %%
gpt, tokenizer = pretrained.load("gpt")
pupil, letters = pretrained.load("in-context")
table(
    ["", "layers", "width", "heads", "vocabulary", "positions", "parameters"],
    [
        [name, c.n_layer, c.n_embd, c.n_head, f"{c.vocab_size:,}", c.n_positions, f"{count_parameters(c)['total']:,}"]
        for name, c in (("gpt", gpt.config), ("in-context", pupil.config))
    ],
)

# %% [markdown]
# ## 1. Language models
#
# A language model gives probabilities to pieces of language, letters, words, sentences:
#
# $$P(w_1, \dots, w_m)$$
#
# so that a likely sentence gets more than an odd one ([lecture 1](01_seq2seq.ipynb)). In steps:
#
# | | what is known of the context | name | by |
# |---|---|---|---|
# | $P(w_i \mid w_{i-k}, \dots, w_{i-1})$ | what came before | **causal**, autoregressive, left-to-right | GPT |
# | $P(w_i \mid w_{i-k} \dots w_{i-1}, w_{i+1} \dots w_{i+k})$ | both sides | bidirectional, autoencoding | BERT |
#
# Only the first gives the probability of a whole text, by the chain rule, and only the first can write:
#
# $$P(w_1, \dots, w_m) = \prod_{i=1}^m P(w_i \mid w_{<i})$$

# %% [markdown]
# ### A family
#
# - **Statistical**: n-grams, hidden Markov models. Features are made by hand.
# - **Neural, shallow**: word2vec, fastText. Words become vectors, one for each.
# - **Recurrent**: RNN, LSTM, GRU; ELMo. Vectors know their context ([lecture 4](04_bert.ipynb)).
# - **By attention**: Transformer, BERT, GPT. Pre-trained once, used for all.
#
# Each step moved work from the engineer to the model: from features that are designed, to vectors of letters, words,
# sentences that are learnt, to one model that is pre-trained and then fine-tuned, to a task that is told in words.
# (ELMo, BERT, ERNIE, Big Bird: the names from Sesame Street come with the last two.)

# %% [markdown]
# ### What a model says
#
# The next token, with its probability, after four beginnings:

# %%
figure, axes = plt.subplots(1, 4, figsize=(12, 2.8))
for ax, text in zip(axes, ("Prince Andrew", "He looked at", "Князь Андрей", "Она не могла"), strict=True):
    with torch.no_grad():
        best = gpt(torch.tensor([tokenizer.encode(text)])).logits[0, -1].softmax(dim=-1).topk(8)
    ax.barh(range(8), best.values, color="#0072B2")
    ax.set(yticks=range(8), title=f"{text} …")
    ax.set_yticklabels([tokenizer.decode([index]).replace("\n", "⏎") or "·" for index in best.indices.tolist()])
    ax.invert_yaxis()
figure.tight_layout()
show("The eight likeliest next tokens of the small GPT after two English and two Russian beginnings, as bars.", figure)

# %% [markdown]
# ## 2. GPT-1
#
# *Generative Pre-trained Transformer* (or *Pre-Training*), OpenAI, June 2018; the paper is *Improving Language
# Understanding by Generative Pre-Training*. Twelve blocks of the Transformer's **decoder**. There is no encoder, so the
# decoder's cross-attention has nothing to look at and is left out: what remains is an encoder's block whose attention
# is *masked*.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 4.4))
blue, orange, green, grey = "#0072B2", "#E69F00", "#009E73", "#bbbbbb"
decoder = [("masked self-attention", blue), ("cross-attention", grey), ("feed-forward", green)]
for ax, title, parts in (
    (axes[0], "a block of the Transformer's decoder", decoder),
    (axes[1], "a block of GPT-1", [part for part in decoder if part[1] != grey]),
):
    for row, (name, colour) in enumerate(parts):
        y = row * 1.4
        ax.add_patch(plt.Rectangle((0.6, y), 3, 0.55, color=colour, alpha=0.55))
        ax.text(2.1, y + 0.27, name, ha="center", va="center")
        ax.add_patch(plt.Rectangle((0.6, y + 0.7), 3, 0.35, color=orange, alpha=0.55))
        ax.text(2.1, y + 0.87, "add, LayerNorm", ha="center", va="center", fontsize=9)
        ax.plot([2.1, 0.2, 0.2, 0.6], [y - 0.18, y - 0.18, y + 0.87, y + 0.87], color="black", linewidth=0.8)
        ax.annotate("", (2.1, y), (2.1, y - 0.35), arrowprops={"arrowstyle": "->"})
        if colour == grey:
            ax.annotate("encoder", (3.6, y + 0.27), (4.2, y + 0.27), arrowprops={"arrowstyle": "->"}, va="center")
    ax.set(xlim=(0, 5.4), ylim=(-0.5, 4.4), title=title)
    ax.axis("off")
show(
    "Left: masked self-attention, cross-attention, feed-forward, with sums and norms. Right: no cross-attention.",
    figure,
)

# %% [markdown]
# ### Masked: no token sees a later one
#
# All positions are trained at once, and each is asked for its successor; it must not see it. `decoder_mask` says who
# may look where. (`past` and `window` become important in parts 4 and 5.)

# %% code="lecturekit.models.gpt:decoder_mask"

# %%
tokens = ["Я", "иду", "домой", "и", "пою"]
ids = torch.zeros(1, 5, dtype=torch.long)
figure, axes = plt.subplots(1, 3, figsize=(10, 3))
padded = torch.tensor([[0, 0, 1, 1, 1]])
for ax, title, mask in (
    (axes[0], "BERT: all see all", torch.ones(5, 5)),
    (axes[1], "GPT: nobody sees the future", decoder_mask(None, ids)),
    (axes[2], "GPT, two tokens of padding", decoder_mask(padded, ids)[0, 0]),
):
    ax.imshow(mask, cmap="Blues", vmin=0, vmax=1.6)
    ax.set(title=title, xticks=range(5), yticks=range(5), xlabel="is seen", xticklabels=tokens, yticklabels=tokens)
axes[0].set_ylabel("sees")
figure.tight_layout()
show(
    "Three masks of five tokens: all ones, a lower triangle, and a lower triangle without its first two columns.",
    figure,
)

# %% [markdown]
# ### The block
#
# One linear map, `c_attn`, makes queries, keys and values at once; `GPTBlock` is post-norm, as the Transformer was. The
# lines about a cache are for part 4.

# %% code="lecturekit.models.gpt:GPTAttention.forward" docstring=false

# %% code="lecturekit.models.gpt:GPTBlock" docstring=false

# %% [markdown]
# ### Two stages, three sums
#
# **Pre-training** without labels, on a corpus of tokens $U = u_1, \dots, u_n$, with a window of $k$ tokens (equation
# 1):
#
# $$L_1(U) = \sum_i \log P(u_i \mid u_{i-k}, \dots, u_{i-1}) \to \max$$
#
# **Fine-tuning** on labelled texts $C$, each with tokens $x_1, \dots, x_m$ and a label $y$; a linear layer reads the
# last token's vector (equations 3 and 4):
#
# $$L_2(C) = \sum_{(x, y)} \log P(y \mid x_1, \dots, x_m) \to \max$$
#
# and so that it does not forget how to read, the language model goes on learning on the same texts, with $\lambda =
# 0.5$ (equation 5):
#
# $$L_3(C) = L_2(C) + \lambda\, L_1(C)$$

# %% [markdown]
# ### One model, many tasks
#
# Tasks have inputs of several parts. GPT-1 writes them in one line, with three learnt tokens, and reads the vector at
# `<extract>` (section 3.3, figure 1):
#
# | task | what it reads |
# |---|---|
# | one text | `<start>` text `<extract>` |
# | does B follow from A? | `<start>` A `<delim>` B `<extract>` |
# | are A and B alike? | A `<delim>` B and B `<delim>` A, both vectors added: there is no order |
# | which of N answers? | N times `<start>` question `<delim>` answer `<extract>`, a softmax over the N |
#
# This replaced an architecture for each task by a format for each task. The next step, GPT-2, is to write the format in
# plain words.

# %% [markdown]
# ### BERT against GPT
#
# | | GPT | BERT |
# |---|---|---|
# | sees | what came before | both sides |
# | learns | the next word, at every place | hidden words, at 15 % of the places; the next sentence |
# | is made of | decoder blocks | encoder blocks |
# | is good at | writing; tasks told in words | judging, marking, comparing texts |
# | pieces of words | BPE, 40,000 merges | WordPiece, 30,000; it makes little difference |
#
# The blocks have the same number of parameters, 7,087,872 each: the difference is the mask and the question.

# %%
with torch.device("meta"):
    block = GPTBlock(GPTConfig())
    one = GPTLMHeadModel(GPTConfig())
print(f"a block: {sum(p.numel() for p in block.parameters()):,}")
print(f"GPT-1 (printed as 117M): {sum(p.numel() for p in one.parameters()):,}")

# %% [markdown]
# ### How it was trained
#
# | | pre-training | fine-tuning |
# |---|---|---|
# | data | BooksCorpus, 7,000 books, 5 GB | twelve data sets |
# | optimizer | Adam | Adam |
# | highest rate | $2.5 \cdot 10^{-4}$, 2,000 steps up, then a cosine | $6.25 \cdot 10^{-5}$ |
# | epochs | 100 | 3 |
# | batch | 64 texts of 512 tokens | 32 |
# | machines | 8 P600 cards, 30 days | |
#
# (Section 4.1; the machines from OpenAI's own post of 11 June 2018.) Books, because they have long stretches of
# connected text.

# %% [markdown]
# ### Results
#
# Best results at that time on 9 of 12 data sets (tables 2 to 4):
#
# | follows? | MNLI m/mm | SNLI | SciTail | QNLI | RTE |
# |---|---|---|---|---|---|
# | best before | 80.6/80.1 | 89.3 | 83.3 | 82.3 | **61.7** |
# | GPT-1 | **82.1/81.4** | **89.9** | **88.3** | **88.1** | 56.0 |
#
# Story Cloze 86.5, RACE 59.0, CoLA 45.4, SST-2 91.3. What it owes to what (table 5, the mean of the tasks):
#
# | | mean |
# |---|---|
# | GPT-1 | 74.7 |
# | without $\lambda L_1$ | 75.0 |
# | an LSTM in place of the Transformer | 69.1 |
# | without pre-training | 59.9 |
#
# And even without any fine-tuning it did better than chance on several tasks, the better the longer it was pre-trained
# (figure 2, right). That was the seed of GPT-2.

# %% [markdown]
# ## 3. GPT-2
#
# February 2019: *Language Models are Unsupervised Multitask Learners*. The idea: text on the web **contains** tasks,
# with their answers. «"I'm not the cleverest man in the world, but like they say in French: **Je ne suis pas un
# imbecile** [I'm not a fool]"» is a lesson in translation, and nobody meant it to be. A model that predicts such text
# well enough must do the task; so the task is $P(\text{output} \mid \text{input}, \text{task})$ with the task *in
# words*: **zero-shot** transfer, no weight changes.
#
# - English to French: `good morning = bonjour`, some pairs more, `the cat =`
# - Q and A: «В: Где родился Порфирий Петрович? О: В Москве.»
# - «Q: What is 65360 plus 16204? A: **81564**»
# - A summary: the article, then `TL;DR:`

# %% [markdown]
# ### Four ways to tell a model its task
#
# | | examples | weights | said in |
# |---|---|---|---|
# | **fine-tuning** | thousands | change, step by step | batches |
# | **few-shot** | 10 to 100, as many as fit | stay | the prompt |
# | **one-shot** | 1, and a description | stay | the prompt |
# | **zero-shot** | 0, a description alone | stay | the prompt |
#
# (GPT-3, section 2 and figure 2.1.) Elsewhere 1 to 10 examples count as few ([lecture 4](04_bert.ipynb)); GPT-3's
# window of 2,048 tokens has room for 10 to 100.

# %% [markdown]
# ### WebText
#
# - Pages that Reddit's users linked to, with at least 3 karma: a person found them worth reading.
# - Slightly over 8 million documents, 40 GB.
# - No Wikipedia, since many test sets are made of it.
# - Some 10 MB of French among it, found afterwards; non-English pages had been filtered out.
#
# The paper does not say on what, how long and for how much it was trained. Deck 004 has 256 cloud TPUs; Strubell et al.
# (2019, [arXiv:1906.02243](https://arxiv.org/abs/1906.02243), table 3) give 32 TPUs, of eight cores each, for a week.
# OpenAI's post is of 14 February 2019. The largest model was held back for nine months, until 5 November 2019 (a
# *staged release*), out of concern for what it might be used for.

# %% [markdown]
# ### What changed since GPT-1
#
# | | GPT-1 | GPT-2 |
# |---|---|---|
# | BPE over | characters | **bytes** |
# | vocabulary | 40,478 | 50,257 |
# | window | 512 | 1,024 |
# | batch | 64 | 512 |
# | LayerNorm | behind each sum | **before** each part, and one more behind the last block |
# | residual projections at the start | like all others | smaller by $1/\sqrt N$, with $N$ of them |
# | sizes | one | four |
#
# (Section 2.3. The paper has the last norm "after the final self-attention block"; in the code it stands behind the
# whole last block, feed-forward included.)

# %% [markdown]
# ### Bytes
#
# BPE over bytes ([lecture 2](02_tokenization.ipynb)) needs no `<UNK>`: 256 bytes write everything. A Russian letter is
# two bytes, so a vocabulary learnt from English text cuts Russian into crumbs. Ours has read both languages:

# %%
rows = []
for text in ("Hello, Prince Andrew!", "Здравствуйте, князь Андрей!", "цена: 10 €"):
    pieces = [tokenizer.decode([index]) for index in tokenizer.encode(text)]
    rows.append([f"`{text}`", len(text), len(text.encode()), len(pieces), " ".join(f"`{piece}`" for piece in pieces)])
table(["text", "characters", "bytes", "tokens", "tokens (� is a part of a letter)"], rows)

# %% [markdown]
# ### Pre-norm
#
# In GPT-2's block the sum itself passes through the model without a norm; each part reads a normalised copy.

# %% code="lecturekit.models.gpt:GPT2Block" docstring=false

# %% [markdown]
# **Why?** Xiong et al. (2020, [arXiv:2002.04745](https://arxiv.org/abs/2002.04745), section 3.3): at the start of
# training a post-norm stack has its largest gradients near the output, and they stay as large however deep the stack
# is, so that the first steps have to be small (a warmup). In a pre-norm stack gradients are nearly alike in all blocks,
# and smaller the deeper it is. Measured in untrained stacks of ours, without and with GPT-2's smaller residual
# projections:


# %%
def gradients(kind, config, depth, scale=1.0):
    """The size of the gradient at each block's feed-forward matrix, in an untrained stack."""
    torch.manual_seed(0)
    blocks = [kind(config) for _ in range(depth)]
    for block in blocks:
        for name, parameter in block.named_parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=config.n_embd**-0.5 * (scale if "c_proj" in name else 1))
    x = torch.randn(4, 16, config.n_embd)
    mask = decoder_mask(None, torch.zeros(4, 16, dtype=torch.long))
    for block in blocks:
        x, _ = block(x, mask)
    if kind is GPT2Block:
        x = torch.nn.functional.layer_norm(x, (config.n_embd,))
    (x * torch.randn(config.n_embd, generator=torch.Generator().manual_seed(1))).mean().backward()
    return [block.mlp.c_fc.weight.grad.norm().item() for block in blocks]


sizes = {"n_embd": 64, "n_head": 4, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
stacks = {
    "post-norm (GPT-1)": lambda depth: gradients(GPTBlock, GPTConfig(**sizes), depth),
    "pre-norm": lambda depth: gradients(GPT2Block, GPT2Config(**sizes), depth),
    "smaller projections": lambda depth: gradients(GPT2Block, GPT2Config(**sizes), depth, (2 * depth) ** -0.5),
}
depths = (2, 4, 8, 16, 32)
figure, axes = plt.subplots(1, 2, figsize=(10, 3), sharey=True)
for name, stack in stacks.items():
    axes[0].semilogy(range(1, 25), stack(24), label=name)
    axes[1].semilogy(depths, [stack(depth)[-1] for depth in depths], "o-", label=name)
axes[0].set(xlabel="block", ylabel="size of the gradient", title="24 blocks, block by block")
axes[1].set(xlabel="number of blocks", title="the last block, in stacks of other depths")
axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
for ax in axes:
    ax.grid(alpha=0.3)
show(
    "Gradient sizes by block and, for the last block, by depth: post-norm, pre-norm, with smaller projections.", figure
)

# %% [markdown]
# ### Four sizes
#
# What the paper prints (table 2), what the models that were released have, and what each part takes. Heads are 64 wide
# in all of them.

# %%
sizes = {"117M": (12, 768), "345M": (24, 1024), "762M": (36, 1280), "1542M": (48, 1600)}
note = {"117M": "as GPT-1", "345M": "as BERT large", "762M": "", "1542M": "this is called GPT-2"}
rows = []
for printed, (layers, width) in sizes.items():
    found = count_parameters(GPT2Config(n_layer=layers, n_embd=width, n_head=width // 64))
    rows.append([printed, layers, width, width // 64, f"{found['total']:,}", f"{found['block']:,}", note[printed]])
table(["printed", "layers", "width", "heads", "counted", "one block", ""], rows)

# %% [markdown]
# The printed figures are too low; the authors later corrected those of the released models to 124M, 355M, 774M and
# 1.5B. Move the sliders, or press a name:

# %%
widgets.parameters("GPT")

# %% [markdown]
# ### Head and loss
#
# The head's matrix [V, D] is the table of the tokens, one Parameter under two names, as in BERT. Labels are the inputs
# themselves, and the loss shifts them by one:
#
# ```
# input_ids      я      иду    домой   .
# logits about   иду    домой  .       ?
# ```

# %% code="lecturekit.models.gpt:next_token_loss"

# %% [markdown]
# ### Where its heads look
#
# Nothing above the diagonal. In GPT-2 many heads look at the token before, or at the first one (Vig and Belinkov, 2019,
# [arXiv:1906.04284](https://arxiv.org/abs/1906.04284)), which plays the part that `[SEP]` plays in BERT: a place to
# look when there is nothing to find.

# %%
ids = torch.tensor([tokenizer.encode("Prince Andrew looked at her and smiled. Князь Андрей молча вышел.")])
widgets.attention_map(gpt, tokenizer, ids=ids)

# %% [markdown]
# ### Perplexity
#
# Between how many tokens does a model hesitate?
#
# $$\mathrm{PPL} = \exp\Big(-\frac1N \sum_i \log p(u_i \mid u_{<i})\Big)$$
#
# A batch's loss is a mean over *its* labels, so that means of batches have to be weighted:

# %% code="lecturekit.models.gpt:perplexity"

# %% [markdown]
# **Perplexities of different tokens cannot be compared**: who has longer tokens chooses less often. Compare what a text
# costs per character (or per byte). Our GPT on sentences that `lecturekit.data` generates:

# %%
rows = []
for language in ("en", "ru"):
    texts = ["\n" + right for right, _ in data.agreement_pairs(60, 7, language)]
    losses, counts, characters = [], [], 0
    for text in texts:
        ids = torch.tensor([tokenizer.encode(text)])
        with torch.no_grad():
            losses.append(next_token_loss(gpt(ids).logits, ids).item())
        counts.append(label_count(ids))
        characters += len(text) - 1
    nats = sum(loss * count for loss, count in zip(losses, counts, strict=True))
    rows.append(
        [
            language,
            f"{characters / sum(counts):.2f}",
            f"{perplexity(losses, counts):.1f}",
            f"{nats / characters / math.log(2):.2f}",
        ]
    )
table(["language", "characters a token", "perplexity a token", "bits a character"], rows)

# %% [markdown]
# ### Zero-shot: language modelling
#
# GPT-2 was best on seven of eight data sets without a step of training on them (LAMBADA: the last word of a passage;
# CBT: a missing noun, CN, or name, NE, in a children's book; the others: running text). Table 3; perplexity, but
# accuracy for the second to fourth column, and bits a byte or character for enwik8 and text8:
#
# | | LAMBADA | LAMBADA acc | CBT-CN | CBT-NE | WikiText-2 | PTB | enwik8 | text8 | WikiText-103 | 1BW |
# |---|---|---|---|---|---|---|---|---|---|---|
# | best before | 99.8 | 59.23 | 85.7 | 82.3 | 39.14 | 46.54 | 0.99 | 1.08 | 18.3 | **21.8** |
# | 117M | 35.13 | 45.99 | 87.65 | 83.4 | 29.41 | 65.85 | 1.16 | 1.17 | 37.50 | 75.20 |
# | 345M | 15.60 | 55.48 | 92.35 | 87.1 | 22.76 | 47.33 | 1.01 | 1.06 | 26.37 | 55.72 |
# | 762M | 10.87 | 60.12 | **93.45** | 88.0 | 19.93 | 40.31 | 0.97 | 1.02 | 22.05 | 44.575 |
# | 1542M | **8.63** | **63.24** | 93.30 | **89.05** | **18.34** | **35.76** | **0.93** | **0.98** | **17.48** | 42.16 |
#
# The exception, 1BW, has its sentences shuffled: nothing is left of the long context that GPT-2 has learnt to use.

# %% [markdown]
# ### Zero-shot: tasks
#
# | | GPT-2, 1542M | to compare | (section) |
# |---|---|---|---|
# | reading, CoQA, F1 | 55 | as good as 3 of 4 baselines or better; a fine-tuned BERT 89 | 3.5 |
# | summaries, CNN/DM, mean ROUGE | 21.40 with `TL;DR:` | three random sentences 20.98; no hint 15.03 | 3.6, table 4 |
# | French to English, BLEU | 11.5 | unsupervised translation 33.5 | 3.7 |
# | English to French, BLEU | 5 | word for word with a lexicon: a little more | 3.7 |
# | questions without a text | 4.1 % right | the smallest GPT-2 under 1 % | 3.8 |
#
# (ROUGE: shared words and word pairs with a reference summary.) Far from good, and astonishing: nobody taught it any of
# this. What rises with the size will rise further, said the paper; hence GPT-3.

# %% [markdown]
# ### What it wrote, and what was asked
#
# OpenAI showed (deck 003 has the text) what GPT-2 made of one sentence of news, a singer caught stealing from a shop:
# an article with her clothes, guards and pictures, fluent, in the tone of a tabloid, and invented from end to end. The
# questions that deck 003 asks are still open ones:
#
# 1. How new is what it writes? Is it a search for the nearest text in its corpus?
# 2. How can what it has learnt be understood, and made smaller?
# 3. How is it steered, to a summary or a report of *this* game?
# 4. Is it dangerous?
#
# And bigger ones followed at once: NVIDIA trained 8.3 billion parameters in August 2019, 5.6 times GPT-2, and
# perplexity on held-out text still fell. One run of Grover-MEGA, a GPT-2 of its kind, cost \$25,000 ([Synced, 27 June
# 2019](https://syncedreview.com/2019/06/27/the-staggering-cost-of-training-sota-ai-models/)).

# %% [markdown]
# ## 4. Writing
#
# The model gives a distribution; somebody has to *choose*. Choose, append, ask again:

# %% code="lecturekit.generation:extend" docstring=false

# %% [markdown]
# ### The cache
#
# Keys and values of what has been read do not change, since no token sees a later one. So each layer keeps them, and a
# new token is read alone. Then *positions* go on from the past, and the *mask* is [T, P + T].

# %% code="lecturekit.layers:KeyValueCache"

# %%
ids, new = torch.tensor([tokenizer.encode("Князь Андрей")]), 60
seconds = {}
for use_cache in (False, True):
    begun = time.perf_counter()
    written = generate(gpt, ids, new, use_cache=use_cache)
    seconds[use_cache] = time.perf_counter() - begun
start = ids.size(1)
table(
    ["", "tokens read", "seconds here"],
    [
        ["without a cache", sum(start + step for step in range(new)), f"{seconds[False]:.2f}"],
        ["with a cache", start + new - 1, f"{seconds[True]:.2f}"],
    ],
)

# %% [markdown]
# Per token the work without a cache grows with the length of the text; with one only the attention does. The price is
# memory: $2 \cdot L \cdot T \cdot D$ numbers for each text. For GPT-3 at its full window, in 16 bits:

# %%
numbers = 2 * 96 * 2048 * 12_288
print(f"{numbers * 2 / 2**30:.0f} GiB for one text")

# %% [markdown]
# ### Greedy search
#
# Always the most probable token. It is quick, repeats exactly, and soon goes round in circles:

# %%
for text in ("Prince Andrew", "Князь Андрей"):
    ids = torch.tensor([tokenizer.encode(text)])
    print(tokenizer.decode(generate(gpt, ids, 40)[0].tolist()), "\n")

# %% [markdown]
# ### Beam search
#
# The best first token need not begin the best text. Keep the $K$ best beginnings (`num_beams`), go on with all of them,
# and keep the $K$ best of what comes out:

# %% code="lecturekit.generation:beam_candidates"

# %% [markdown]
# Long texts have more factors and so smaller probabilities. The score of a text of $n$ new tokens is therefore
#
# $$s = \frac{1}{n^\alpha} \sum_{i=1}^n \log p(y_i \mid y_{<i}), \qquad \alpha = \texttt{length\_penalty}$$
#
# (Wu et al., 2016, [arXiv:1609.08144](https://arxiv.org/abs/1609.08144), section 7, with two constants more.) Step
# through it:

# %%
widgets.beam_tree(gpt, tokenizer, "Prince Andrew", 5, num_beams=2)

# %% [markdown]
# ### People do not write the most probable text
#
# Holtzman et al. (2020, [arXiv:1904.09751](https://arxiv.org/abs/1904.09751), figure 2): along a text by a person
# probabilities go up and down, for each surprise says something; along one from beam search they are high and rise,
# since each repetition makes the next more likely. Ours, on the first sentence of *War and Peace*, which it has read,
# and on what it writes itself:

# %%
human = "“Well, Prince, so Genoa and Lucca are now just family estates of the Buonapartes. But I warn you"
ids = torch.tensor([tokenizer.encode(human)])[:, :40]
begin = ids[:, :4]
texts = {
    "by a person": ids,
    "greedy": generate(gpt, begin, ids.size(1) - 4),
    "beam search, 4 beams": generate(gpt, begin, ids.size(1) - 4, num_beams=4),
    "drawn, top-p 0.9": generate(gpt, begin, ids.size(1) - 4, do_sample=True, top_p=0.9, seed=0),
}
figure, ax = plt.subplots(figsize=(9, 3.2))
for (name, row), style in zip(texts.items(), ("-", "--", ":", "-."), strict=True):
    with torch.no_grad():
        chosen = gpt(row[:, :-1]).logits.softmax(dim=-1).gather(-1, row[:, 1:, None])[0, :, 0]
    ax.semilogy(chosen[3:], style, label=name)
ax.set(xlabel="token", ylabel="its probability", title="how probable each token was")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
show("The model's probability of each token of four texts: by a person, greedy, by beam search, and drawn.", figure)

# %% [markdown]
# ### Temperature
#
# So *draw* the next token. How daringly says the temperature $t$ (Ackley et al., 1985):
#
# $$p_i = \frac{e^{z_i / t}}{\sum_j e^{z_j / t}}$$
#
# $t \to 0$ is greedy, $t = 1$ the model's own distribution, $t \to \infty$ dice.

# %%
logits = torch.tensor([[3.0, 2.4, 2.0, 1.0, 0.4, 0.0, -1.0, -2.0]])
words = ["дом", "сад", "лес", "окно", "стол", "мир", "лук", "ил"]
figure, axes = plt.subplots(1, 4, figsize=(12, 2.4), sharey=True)
for ax, temperature in zip(axes, (0.3, 0.7, 1.0, 2.0), strict=True):
    ax.bar(words, apply_temperature(logits, temperature).softmax(dim=-1)[0], color="#0072B2")
    ax.set(title=f"t = {temperature}", ylim=(0, 1))
    ax.tick_params(axis="x", rotation=60)
axes[0].set_ylabel("probability")
show("The same eight words at four temperatures: one word takes nearly all at 0.3, all are alike at 2.", figure)

# %% [markdown]
# ### Top-k and top-p
#
# A vocabulary has tens of thousands of tokens that do not fit here, and *together* they are drawn too often. **Top-k**
# keeps the $k$ most probable (Fan et al., 2018, [arXiv:1805.04833](https://arxiv.org/abs/1805.04833)). But how many fit
# depends on the place: after «Князь» a few names, after «Он увидел» hundreds of words. **Top-p**, the *nucleus*, fixes
# the probability (Holtzman et al., section 3.1): the smallest set of tokens with
#
# $$\sum_{x \in V^{(p)}} P(x \mid x_{1:i-1}) \ge p$$

# %% code="lecturekit.generation:top_k_filter"

# %% code="lecturekit.generation:top_p_filter"

# %%
flat = torch.tensor([[1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4]])
peaked = torch.tensor([[5.0, 3.4, 1.0, 0.6, 0.4, 0.2, 0.0, -0.4, -0.8, -1.0]])
figure, axes = plt.subplots(2, 2, figsize=(10, 4), sharex=True)
for row, (name, of) in enumerate((("flat", flat), ("peaked", peaked))):
    filters = (("top-k, k = 6", top_k_filter(of, 6)), ("top-p, p = 0.92", top_p_filter(of, 0.92)))
    for ax, (title, kept) in zip(axes[row], filters, strict=True):
        stays = (kept > -math.inf)[0]
        colours = ["#0072B2" if one else "#cccccc" for one in stays]
        ax.bar(range(10), of.softmax(dim=-1)[0], color=colours)
        share = of.softmax(dim=-1)[0][stays].sum().item()
        ax.set(title=f"{name}: {title} keeps {int(stays.sum())} tokens, {share:.0%}", xticks=[])
figure.tight_layout()
show(
    "A flat and a peaked distribution; top-k keeps six tokens of both, top-p many of the flat and few of the peaked.",
    figure,
)

# %% [markdown]
# ### Try it
#
# Filters are applied in this order: repetition penalty, temperature, top-k, top-p. What is kept is made to sum to one
# again.

# %%
widgets.sampling(gpt, tokenizer, "Prince Andrew looked at", new_tokens=30)

# %% [markdown]
# ### Against repetition
#
# - **repetition penalty** (Keskar et al., 2019, [arXiv:1909.05858](https://arxiv.org/abs/1909.05858)): logits of tokens
#   that the text has already are made smaller;
# - **no repeated n-gram** (Paulus et al., 2018, [arXiv:1705.04304](https://arxiv.org/abs/1705.04304)): a run of $n$
#   tokens may not come twice. Mind names: with $n = 2$ «Князь Андрей» may be said once.

# %%
ids = torch.tensor([tokenizer.encode("Prince Andrew")])
for name, settings in (
    ("greedy", {}),
    ("repetition_penalty=1.3", {"repetition_penalty": 1.3}),
    ("no_repeat_ngram_size=3", {"no_repeat_ngram_size": 3}),
):
    print(f"{name:24}", repr(tokenizer.decode(generate(gpt, ids, 30, **settings)[0].tolist())))

# %% [markdown]
# ### Side by side
#
# The same beginning, continued in several ways; a token is the darker the more probable the model finds it.

# %%
widgets.strategies(gpt, tokenizer, "Князь Андрей", new_tokens=20)

# %% [markdown]
# ### Which one is like a person?
#
# Holtzman et al., table 1, GPT-2 large: 5,000 texts each. Perplexity and Self-BLEU (are the texts alike?) should be
# near the person's, repetition low; HUSE (can people tell?) high.
#
# | | perplexity | Self-BLEU4 | repetition, % | HUSE |
# |---|---|---|---|---|
# | **a person** | **12.38** | **0.31** | **0.28** | |
# | greedy | 1.50 | 0.50 | 73.66 | |
# | beam search, 16 | 1.48 | 0.44 | 28.94 | |
# | drawn, t = 1 | 22.73 | 0.28 | 0.22 | 0.67 |
# | drawn, t = 0.9 | 10.25 | 0.35 | 0.66 | 0.79 |
# | top-k 40 | 6.88 | 0.39 | 0.78 | 0.19 |
# | top-k 640 | 13.82 | 0.32 | 0.28 | 0.94 |
# | top-k 40, t = 0.7 | 3.48 | 0.44 | 8.86 | 0.08 |
# | top-p 0.95 | 13.13 | 0.32 | 0.36 | **0.97** |
#
# That is about *open* texts. Where the answer is fixed by what was asked (translation, an exact answer) beam search or
# greedy stays the better choice.

# %% [markdown]
# ## 5. GPT-3
#
# May 2020, 31 authors: *Language Models are Few-Shot Learners*. The architecture is GPT-2's, but
#
# - a window of 2,048 tokens;
# - layers that see everything and layers that see a band of near tokens, by turns (*dense* and *locally banded sparse*
#   attention; the paper does not say how wide);
# - a hundred times the parameters.
#
# (Section 2.1.) `GPT2Config(local_window=...)` is that sparse kind:

# %%
ids = torch.zeros(1, 12, dtype=torch.long)
figure, axes = plt.subplots(1, 2, figsize=(7, 3))
for ax, title, window in ((axes[0], "layers 1, 3, 5 …", None), (axes[1], "layers 2, 4, 6 …", 4)):
    ax.imshow(decoder_mask(None, ids, window=window), cmap="Blues", vmin=0, vmax=1.6)
    ax.set(title=title, xticks=[], yticks=[], xlabel="is seen", ylabel="sees")
show("Two masks of twelve tokens: a whole lower triangle, and a band of the four nearest tokens.", figure)

# %% [markdown]
# ### Eight sizes
#
# Table 2.1 as printed, and counted with our formula (heads play no part in it). Two rows do not fit together: heads
# times their width should be the model's width.

# %%
printed = [  # name, layers, width, heads, width of a head, batch in tokens, rate
    ("125M", 12, 768, 12, 64, "0.5M", 6.0e-4),
    ("350M", 24, 1024, 16, 64, "0.5M", 3.0e-4),
    ("760M", 24, 1536, 16, 96, "0.5M", 2.5e-4),
    ("1.3B", 24, 2048, 24, 128, "1M", 2.0e-4),
    ("2.7B", 32, 2560, 32, 80, "1M", 1.6e-4),
    ("6.7B", 32, 4096, 32, 128, "2M", 1.2e-4),
    ("13B", 40, 5140, 40, 128, "2M", 1.0e-4),
    ("175B", 96, 12288, 96, 128, "3.2M", 0.6e-4),
]
rows = []
for name, layers, width, heads, head_width, batch, rate in printed:
    counted = count_parameters(GPT2Config(n_layer=layers, n_embd=width, n_head=1, n_positions=2048))["total"]
    fits = "" if heads * head_width == width else f"{heads} · {head_width} = {heads * head_width}"
    rows.append([name, layers, width, heads, head_width, batch, f"{rate:.1e}", f"{counted / 1e9:.3f}B", fits])
table(["printed", "layers", "width", "heads", "of width", "batch", "rate", "counted", "does not fit"], rows)

# %% [markdown]
# The larger the model, the larger its batch and the smaller its rate.

# %% [markdown]
# ### What it read
#
# Table 2.2. Common Crawl was cut from 45 TB to 570 GB by a filter that prefers pages like those of good corpora, and
# freed of duplicates. A corpus is drawn by its quality, not by its size: the small ones are read several times. How
# often follows from 300 billion tokens in all:

# %%
corpora = {
    "Common Crawl, filtered": (410, 0.60, 0.44),
    "WebText2": (19, 0.22, 2.9),
    "Books1": (12, 0.08, 1.9),
    "Books2": (55, 0.08, 0.43),
    "Wikipedia": (3, 0.03, 3.4),
}
table(
    ["", "tokens", "share of the training", "times read, printed", "times read, computed"],
    [
        [name, f"{tokens}B", f"{share:.0%}", times, f"{300 * share / tokens:.2f}"]
        for name, (tokens, share, times) in corpora.items()
    ]
    + [
        [
            "together",
            f"{sum(row[0] for row in corpora.values())}B",
            f"{sum(row[1] for row in corpora.values()):.0%}",
            "",
            "",
        ]
    ],
)

# %% [markdown]
# (The printed shares add up to 101 %, being rounded. The computed times differ from the printed ones by up to a fifth;
# the paper does not say why.) Of its words 92.6 % are English, 1.8 % French, **0.19 % Russian**
# ([statistics](https://github.com/openai/gpt-3/tree/master/dataset_statistics)).

# %% [markdown]
# ### What it cost
#
# A token that is learnt costs some 6 operations per parameter: 2 on the way forward, 4 back (appendix D). So

# %%
operations = 6 * 175e9 * 300e9
days = operations / (1e15 * 86_400)
print(f"6 · 175·10⁹ · 300·10⁹ = {operations:.2e} operations = {days:,.0f} days of a petaflop a second")

# %% [markdown]
# (Table D.1 prints $3.14 \cdot 10^{23}$ and 3,640.) On a cluster of V100 cards; outsiders' estimates went from 4.6 to
# 12 million dollars (deck 004). An answer cost 6 cents for 1,000 tokens when the API opened.

# %% [markdown]
# ### In-context learning
#
# A prompt with examples, and the last line without its answer. No gradient, no weight that changes: what is "learnt"
# lives in the activations (in the cache), and is gone with the text.

# %% code="lecturekit.prompting:few_shot_prompt"

# %%
print(few_shot_prompt([("cat", "кот"), ("house", "дом")], "dog"))

# %% [markdown]
# ### A small model that does it
#
# `pupil` has read lines such as `cat -> кот`, `abc -> cba`, `7 8 9 -> 10`, many tasks, and was never told which. The
# words that it is to turn round, shorten or write large are held out: nobody has asked it that of them before. With no
# example it cannot know which of these tasks is meant (a Russian word alone gives one away: Russian to English is right
# half the time); with one, it can, though it makes mistakes.

# %%
rows = []
for task in ("reverse", "upper case", "first letter", "English to Russian"):
    examples = data.task_examples(task, 5, seed=11, held_out=True)
    *shown, (query, answer) = examples
    answers = []
    for shots in (0, 1, 4):
        prompt = few_shot_prompt(shown[:shots], query)
        ids = torch.tensor([letters.encode(prompt)])
        answers.append(letters.decode(generate(pupil, ids, 10)[0, ids.size(1) :].tolist()).strip())
    rows.append([task, f"`{query}`", f"`{answer}`", *(f"`{a}`" for a in answers)])
table(["task (not told)", "asked", "right", "no example", "one", "four"], rows)

# %% [markdown]
# ### How many examples?
#
# Held-out figures from the model's card: how often the likeliest text is the right answer, by the number of examples.
# In our model most of the gain comes with the first example or two; some tasks even lose with more. In GPT-3 (figure
# 1.2) two things matter: the number of examples, and the *size* of the model, for the larger ones gain more from each
# example.

# %%
by_task = pretrained.card("in-context")["held_out"]["anywhere"]["written"]
figure, ax = plt.subplots(figsize=(8, 3.6))
for task, by_shots in by_task.items():
    if task not in data.PATTERNS:
        ax.plot(range(len(by_shots)), by_shots.values(), "o-", label=task, alpha=0.8)
ax.set(
    xticks=range(len(by_shots)), xticklabels=by_shots, xlabel="examples in the prompt", ylabel="right", ylim=(0, 1.05)
)
ax.set_title("the small model; all but translations on held-out words")
ax.legend(ncol=2, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
show("For each task the share of right answers with 0, 1, 2, 4 and 8 examples in the prompt.", figure)

# %% [markdown]
# ### Choosing instead of writing
#
# Where a task has options, each is put behind the prompt and the likeliest wins (section 2.4). Longer options have more
# factors, so the mean per token is compared.

# %% code="lecturekit.prompting:option_scores"

# %%
prompt = few_shot_prompt([("cat", "кот"), ("sun", "солнце")], "milk")
options = ["молоко", "milk", "klim", "m", "MILK"]
ends = [letters.encode(option + "\n") for option in options]
found = option_scores(pupil, letters.encode(prompt), ends).exp()
table(
    ["option behind " + "`" + prompt.replace("\n", " ⏎ ") + "`", "mean probability a letter"],
    zip(options, [f"{p:.3f}" for p in found.tolist()], strict=True),
)

# %% [markdown]
# ### How does it do that?
#
# One mechanism is known well. An **induction head** looks for an earlier place like the present one, and says what came
# *after* it: «… A B … A» → B. It takes two layers: one head tells each token what stood before it, the other finds the
# token that had the same before it (Olsson et al., 2022, [arXiv:2209.11895](https://arxiv.org/abs/2209.11895)). Look
# for heads below in which a letter of the last line looks at the lines above it.

# %%
ids = torch.tensor([letters.encode("abc -> cba\nfox -> xof\nmilk -> ")])
widgets.attention_map(pupil, letters, ids=ids)

# %% [markdown]
# ### Is it learning?
#
# The paper leaves it open (section 5): does GPT-3 learn a task anew from the prompt, or does it recognise one that it
# met in training? Both happen. With *wrong* labels in the examples models of its kind lose little on tasks that they
# know (Min et al., 2022, [arXiv:2202.12837](https://arxiv.org/abs/2202.12837)): there examples tell the format and the
# kind of answers, rather than the rule. Our pupil cannot know which word becomes which letter string; it has to read
# the examples.

# %% [markdown]
# ### Prompt engineering
#
# If the task stands in the prompt, the prompt is the program:
#
# - words matter (`TL;DR:`, «Перевод:», a question mark), and so do spaces and line ends: tokens change with them;
# - the *order* of examples alone can move accuracy from chance to nearly the best (Zhao et al., 2021,
#   [arXiv:2102.09690](https://arxiv.org/abs/2102.09690)), with a liking for the last label and the frequent one;
# - examples that show the *steps* help with sums (chain of thought; Wei et al., 2022,
#   [arXiv:2201.11903](https://arxiv.org/abs/2201.11903)).
#
# A prompt that was tuned on the test set is training on the test set; keep a development set for it.

# %% [markdown]
# ## 6. GPT-3: results and limits
#
# 42 data sets in nine groups. Deck 004 counts where GPT-3 beat the best model of its time, fine-tuned ones included:
#
# | group | better on |
# |---|---|
# | language modelling, cloze, completion | 2 of 4 |
# | questions without a text | 1 of 3 |
# | translation, against unsupervised models | 3 of 6 |
# | pronouns (Winograd) | close |
# | common sense | 1 of 4 |
# | reading comprehension | 0 of 6 |
# | SuperGLUE | 71.8; best 89.0; BERT large, fine-tuned, 69.0 (table 3.8) |
# | does it follow? (NLI) | hardly better than guessing |

# %% [markdown]
# ### In numbers
#
# Accuracy, or F1 where it says so (tables 3.2, 3.3, 3.5, 3.6, 3.7):
#
# | | best, fine-tuned | zero-shot | one-shot | few-shot |
# |---|---|---|---|---|
# | LAMBADA, the last word | 68.0 | 76.2 | 72.5 | **86.4** |
# | HellaSwag | **85.6** | 78.9 | 78.1 | 79.3 |
# | StoryCloze | **91.8** | 83.2 | 84.7 | 87.7 |
# | TriviaQA | 68.0 | 64.3 | 68.0 | **71.2** |
# | Natural Questions | **44.5** | 14.6 | 23.0 | 29.9 |
# | WebQuestions | **45.5** | 14.4 | 25.3 | 41.5 |
# | Winogrande | **84.6** | 70.2 | 73.2 | 77.7 |
# | PIQA, physics | 79.4 | 80.5 | 80.5 | **82.8** |
# | CoQA, F1 | **90.7** | 81.5 | 84.0 | 85.0 |
# | DROP, F1 | **89.1** | 23.6 | 34.3 | 36.5 |
# | SQuAD 2.0, F1 | **93.0** | 59.5 | 65.4 | 69.8 |
#
# In LAMBADA zero-shot models do not know that *one* word is wanted. Examples say so: that is the jump of the last
# column.

# %% [markdown]
# ### Translation
#
# BLEU (table 3.4). It translates into English better than out of it:
#
# | | En→Fr | Fr→En | En→De | De→En | En→Ro | Ro→En |
# |---|---|---|---|---|---|---|
# | supervised | 45.6 | 35.0 | 41.2 | 40.2 | 38.5 | 39.9 |
# | MASS (unsupervised) | **37.5** | 34.9 | 28.3 | 35.2 | **35.2** | 33.1 |
# | mBART (unsupervised) | | | **29.8** | 34.0 | 35.0 | 30.5 |
# | GPT-3, zero-shot | 25.2 | 21.2 | 24.6 | 27.2 | 14.1 | 19.9 |
# | GPT-3, one-shot | 28.3 | 33.7 | 26.2 | 30.4 | 20.6 | 38.6 |
# | GPT-3, few-shot | 32.6 | **39.2** | 29.7 | **40.6** | 21.0 | **39.5** |

# %% [markdown]
# ### Sums
#
# Ten tasks in words, «Q: What is 48 plus 76? A:» (table 3.9, 175B, per cent right):

# %%
sums = {
    "2 digits +": (76.9, 99.6, 100.0),
    "2 digits −": (58.0, 86.4, 98.9),
    "3 digits +": (34.2, 65.5, 80.4),
    "3 digits −": (48.3, 78.7, 94.2),
    "4 digits +": (4.0, 14.0, 25.5),
    "4 digits −": (7.5, 14.0, 26.8),
    "5 digits +": (0.7, 3.5, 9.3),
    "5 digits −": (0.8, 3.8, 9.9),
    "2 digits ×": (19.8, 27.4, 29.2),
    "3 operations": (9.8, 14.3, 21.3),
}
figure, ax = plt.subplots(figsize=(9, 3))
for place, (name, colour) in enumerate((("zero-shot", "#bbbbbb"), ("one-shot", "#56B4E9"), ("few-shot", "#0072B2"))):
    ax.bar(
        [i + 0.27 * (place - 1) for i in range(10)],
        [row[place] for row in sums.values()],
        0.27,
        color=colour,
        label=name,
    )
ax.set(xticks=range(10), ylabel="right, %", title="GPT-3, 175B, table 3.9")
ax.set_xticklabels(sums, rotation=35, ha="right")
ax.legend()
show(
    "Arithmetic of GPT-3: two digits nearly all right, three mostly, four and five seldom; few-shot is always best.",
    figure,
)

# %% [markdown]
# The 13B model adds two digits about half the time, smaller ones hardly at all. The authors searched the corpus: of
# 2,000 sums of three digits 0.8 % occur there as additions (section 3.9.1). So it does not look them up; but it does
# not add as we do either, or four digits would be no harder.

# %% [markdown]
# ### Other made-up tasks
#
# | | few-shot | (section) |
# |---|---|---|
# | letters in a circle, put right | 37.9 % | 3.9.2, table 3.10 |
# | inner letters shuffled, first and last kept | 15.1 % | |
# | the same, first two and last two kept | 39.7 % | |
# | strange signs between letters, taken out | 67.2 % | |
# | words written backwards | 0.44 % | |
# | SAT analogies | 65.2 % (applicants 57 %) | 3.9.3 |
#
# Letters are hard, for it reads pieces of words and not letters. (Our pupil reads letters: compare its *reverse* in the
# curves above.) It also uses a made-up word in a sentence after one definition (3.9.5) and corrects English grammar
# (3.9.6).

# %% [markdown]
# ### Can you tell?
#
# 25 headlines with subtitles from newser.com, whose articles have some 215 words; GPT-3 writes an article of some 200
# words for each, having seen three others as examples (without them it takes a headline for a tweet, and answers it).
# Some 80 Americans say whether a person or a machine wrote it (section 3.9.4, table 3.11; 50 % is guessing):
#
# | control (bad on purpose) | 125M | 350M | 760M | 1.3B | 2.7B | 6.7B | 13B | 175B |
# |---|---|---|---|---|---|---|---|---|
# | 86 % | 76 % | 61 % | 68 % | 62 % | 62 % | 60 % | 55 % | **52 %** |
#
# The control is a model of 160M without context, drawing wildly.

# %% [markdown]
# ### Limits
#
# What the paper itself says (section 5), with deck 004:
#
# - **Text**: it repeats itself, loses the thread, contradicts itself, states what is not so ("hallucinations").
# - **Common-sense physics**: «If I put cheese into the fridge, will it melt?»
# - **One direction**: comparing two texts (WiC, ANLI), reading and answering. Fine-tuned bidirectional models are
#   better.
# - **The objective** weighs all tokens alike, and knows no goal.
# - **No grounding**: no pictures, no body, no world.
# - **Too much reading**: far more text than a person meets in a lifetime.
# - **Cost**, and answers that nobody can explain.
# - **Bias**: of 388 occupations 83 % are more likely followed by a male word (section 6.2.1); likewise for race and
#   religion.
# - **Test data in the training data**: a bug left overlaps in; section 4 measures what they change.

# %% [markdown]
# ### Built with it, and beside it
#
# Collections of what people made with GPT-3, programs, tables, letters, games:
# [awesome-gpt3](https://github.com/elyase/awesome-gpt3),
# [demos and use cases](https://towardsdatascience.com/gpt-3-demos-use-cases-implications-77f86e540dc1). The models like
# it that deck 004 lists:
#
# | language | model | to be had |
# |---|---|---|
# | English | GPT-J, 6B; GPT-NeoX, 20B | yes |
# | Chinese, English | Wu Dao 2.0, 1.75 trillion, of experts | no |
# | Russian | ruGPT3 (Sber), YaLM (Yandex) | yes |
# | Chinese | PanGu-α ([arXiv:2104.12369](https://arxiv.org/abs/2104.12369)) | |
# | French | PAGnol ([site](https://lair.lighton.ai/pagnol)) | |
# | Korean | HyperCLOVA ([code](https://github.com/clovaai)) | |

# %% [markdown]
# ## 7. Russian: ruGPT3
#
# Sber trained GPT-3's smaller sizes on Russian (deck 004;
# [ru-gpts](https://github.com/ai-forever/ru-gpts); Zmitrovich et al., 2023,
# [arXiv:2309.10931](https://arxiv.org/abs/2309.10931)). Counted with GPT-2's vocabulary of 50,257:

# %%
russian = [
    ("ruGPT3Small", "125M", 12, 768, 2048),
    ("ruGPT3Medium", "350M", 24, 1024, 2048),
    ("ruGPT3Large", "760M", 24, 1536, 2048),
    ("ruGPT3XL (sparse attention)", "1.3B", 24, 2048, 2048),
    ("ruGPT2Large", "774M", 36, 1280, 1024),
]
rows = []
for name, printed_size, layers, width, window in russian:
    counted = count_parameters(GPT2Config(n_layer=layers, n_embd=width, n_head=1, n_positions=window))["total"]
    rows.append([name, printed_size, layers, width, f"{window:,}", f"{counted:,}"])
table(["", "printed", "layers", "width", "window", "counted"], rows)

# %% [markdown]
# ### What it read, and where
#
# - 600 GB: Wikipedia in Russian and English, fiction, news, questions and answers, Pikabu, popular science, banks,
#   GitHub and StackOverflow; nine parts Russian to one of other languages.
# - On the Christofari supercomputer: 75 nodes DGX-2 of 16 V100 cards (not all of them), with NVIDIA's Megatron and
#   Microsoft's DeepSpeed.
#
# On Russian SuperGLUE ([lecture 4](04_bert.ipynb)) as deck 000 prints it: ruGPT3 XL, few-shot, 0.535; large 0.505;
# medium 0.468, the majority's own score; small 0.438; RuBERT 0.521; people 0.811. With a network:
#
# ```python
# gpt, tokenizer = pretrained.load("ai-forever/rugpt3small_based_on_gpt2")
# ids = torch.tensor([tokenizer.encode("Александр Сергеевич Пушкин родился в ")])
# print(tokenizer.decode(generate(gpt, ids, 40, do_sample=True, top_p=0.92, seed=0)[0]))
# ```

# %% [markdown]
# ### What Russian costs
#
# A vocabulary learnt from Russian has words where GPT-2's has pairs of bytes. Ours learnt from both languages; the
# tokens that it takes for one meaning in each:

# %%
pairs = [
    ("The old book lay on the table.", "Старая книга лежала на столе."),
    ("He looked at her and said nothing.", "Он посмотрел на неё и ничего не сказал."),
    ("It was already late in the evening.", "Был уже поздний вечер."),
]
table(
    ["English", "tokens", "Russian", "tokens", "bytes of both"],
    [
        [en, len(tokenizer.encode(en)), ru, len(tokenizer.encode(ru)), f"{len(en.encode())}, {len(ru.encode())}"]
        for en, ru in pairs
    ],
)

# %% [markdown]
# ### How sizes grew
#
# Parameters of the models of these lectures, as printed (deck 004 shows the like from Han et al., 2021,
# [arXiv:2106.07139](https://arxiv.org/abs/2106.07139)):

# %%
models = [
    ("ELMo", 2018.1, 93.6e6),
    ("GPT", 2018.45, 117e6),
    ("BERT large", 2018.8, 340e6),
    ("GPT-2", 2019.1, 1542e6),
    ("T5 11B", 2019.8, 11e9),
    ("GPT-3", 2020.4, 175e9),
]
figure, ax = plt.subplots(figsize=(8, 3))
ax.semilogy([when for _, when, _ in models], [size for *_, size in models], "o", color="#0072B2")
for name, when, size in models:
    ax.annotate(name, (when, size), textcoords="offset points", xytext=(6, -4))
ax.set(xlabel="year", ylabel="parameters", xlim=(2018, 2020.8), title="two years, three orders of magnitude")
ax.grid(alpha=0.3)
show(
    "Parameters on a logarithmic scale from ELMo in 2018, about a hundred million, to GPT-3 in 2020, 175 billion.",
    figure,
)

# %% [markdown]
# ## What came next
#
# GPT-3 goes on with a text; it does not do what it is *asked*. Training it on instructions and on people's preferences
# (InstructGPT, ChatGPT, Sparrow) is a later lecture, and so are models that look things up (RETRO, WebGPT), that spend
# their size better (Chinchilla), or that use experts. T5, which says every task in text and has an encoder too, is
# [lecture 6](06_t5.ipynb).

# %% [markdown]
# ## Where this lecture stops
#
# - Our GPT has 1.3 million parameters and has read three books. It shows how texts are drawn, not what GPT-2 writes.
# - Our pupil was *trained* on lines of examples. GPT-3 was not; that it uses them nevertheless is the news.
# - Tables are as printed by their authors; GPT-3's prompts were chosen on development sets.

# %%
books = pretrained.card("gpt")["held_out"]["books"]
table(
    ["held-out tenth of", "nats a token", "bits a character"],
    [[name, f["nats a token"], f["bits a character"]] for name, f in books.items()],
)

# %% [markdown]
# ## Links
#
# - [Lab 5](../labs/lab05/lab05.ipynb): the two blocks, the cache, head and loss, sizes, perplexity, decoding, beam
#   search, zero, one, a few examples.
# - OpenAI's posts: [GPT](https://openai.com/blog/language-unsupervised),
#   [GPT-2](https://openai.com/blog/better-language-models), [its release](https://openai.com/blog/gpt-2-1-5b-release),
#   [the API](https://openai.com/blog/openai-api); code of [GPT-1](https://github.com/openai/finetune-transformer-lm)
#   and [GPT-2](https://github.com/openai/gpt-2).
# - Holtzman et al.: The Curious Case of Neural Text Degeneration, [arXiv:1904.09751](https://arxiv.org/abs/1904.09751).
# - Alammar: [The Illustrated GPT-2](https://jalammar.github.io/illustrated-gpt2), in
#   [Russian](https://habr.com/ru/post/490842); Voita: [NLP Course](https://lena-voita.github.io/nlp_course.html); von
#   Platen: [How to generate text](https://huggingface.co/blog/how-to-generate).
# - [Must-read papers on pre-trained language models](https://github.com/thunlp/PLMpapers);
#   [a summary of the models](https://huggingface.co/transformers/model_summary.html).
