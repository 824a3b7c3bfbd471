# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lecture 6. T5, text to text
#
# BERT has a head for each task, GPT goes on with a text. T5 makes one decision: **every task is text in, text out**. A
# translation, a label, a number, an answer: all are written, token by token, by the same decoder, trained with the same
# loss. With that one form its authors could compare what nobody had compared side by side: objectives, architectures,
# texts to learn from, ways to train, sizes. The paper is half a model and half a measurement, and so is this lecture.
#
# 1. Tasks as text.
# 2. The model: three changes to the Transformer.
# 3. How it was pre-trained, and what was compared.
# 4. Sizes, successors, results, limits.
#
# *Colin Raffel et al., Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer*, JMLR 21
# (2020), [arXiv:1910.10683](https://arxiv.org/abs/1910.10683). Tables and sections without another name are this
# paper's. The lab is [lab 6](../labs/lab06/lab06.ipynb); before it come [the Transformer](03_transformer.ipynb) and
# [BERT](04_bert.ipynb).
#
# *Deck 004* and the like are the slides that this course grew from, listed in `course/COVERAGE.md`.

# %%
import copy
import math
import re
from random import Random

import matplotlib.pyplot as plt
import torch
from torch import Generator, nn

from lecturekit import pretrained, widgets
from lecturekit.data import agreement_pairs, dates, made_up_word, sums
from lecturekit.generation import generate
from lecturekit.layers import KeyValueCache, LayerNorm
from lecturekit.models.bert import BertConfig, BertModel
from lecturekit.models.t5 import (
    T5Config,
    T5ForConditionalGeneration,
    T5LayerNorm,
    relative_bias,
    relative_position_bucket,
)
from lecturekit.objectives import (
    glue_input,
    glue_target,
    hide_spans,
    noise_counts,
    question_input,
    read_glue_target,
    similarity_words,
    span_corruption,
    span_noise,
    translation_input,
)
from lecturekit.optim import t5_schedule
from lecturekit.slides import show, table
from lecturekit.tokenizers import Unigram

torch.manual_seed(0)
torch.set_num_threads(1)
plt.rcParams.update({"figure.figsize": (7.5, 3.4), "figure.constrained_layout.use": True})
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"


def seeded(number):
    """A generator that begins at a seed."""
    return Generator().manual_seed(number)


# %% [markdown]
# ## One model for every task
#
# Multi-task learning wants one model for tasks $d \in D$. The usual form gives each task parameters of its own,
#
# $$P(\text{output} \mid \text{input},\ \text{task},\ \theta,\ \theta_{\text{task}})$$
#
# a head, a loss, a way to read the answer off. T5 has no $\theta_{\text{task}}$. The task is *in the input*, as words:
#
# $$P(y \mid x, \theta) = \prod_{t=1}^{|y|} P(y_t \mid y_{<t}, x, \theta), \qquad x = \text{prefix} + \text{text}$$
#
# So the same model, the same objective (maximum likelihood with teacher forcing) and the same decoding serve for all.
# The name: **T**ext-**t**o-**T**ext **T**ransfer **T**ransformer.

# %% [markdown]
# ### In a picture
#
# Texts with a prefix go in from the left, texts come out on the right. The box in the middle is always the same one.


# %%
def picture(rows):
    """Task texts on the left, one model, answers on the right."""
    _, axes = plt.subplots(figsize=(9.5, 0.62 * len(rows) + 0.3))
    middle = (len(rows) - 1) / 2
    box = {"boxstyle": "round,pad=0.45", "fc": "white"}
    axes.text(
        0, middle, "T5", ha="center", va="center", fontsize=18, color="white", bbox={**box, "fc": BLUE, "pad": 18}
    )
    for y, (given, answer) in enumerate(reversed(rows)):
        axes.text(-1.0, y, given, ha="right", va="center", fontsize=9, bbox={**box, "ec": GREY})
        axes.text(1.0, y, answer, ha="left", va="center", fontsize=9, bbox={**box, "ec": ORANGE})
        axes.annotate("", (-0.28, middle), (-0.92, y), arrowprops={"arrowstyle": "->", "color": GREY})
        axes.annotate("", (0.92, y), (0.28, middle), arrowprops={"arrowstyle": "->", "color": ORANGE})
    axes.set(xlim=(-6, 3.2), ylim=(-0.6, len(rows) - 0.4))
    axes.axis("off")
    show(f"{len(rows)} inputs with prefixes on the left, one box T5 in the middle, {len(rows)} answers on the right.")


picture(
    [
        (translation_input("That is good.", "English", "German"), "Das ist gut."),
        (glue_input("cola", sentence="The book did not sold."), glue_target("cola", 0)),
        (glue_input("stsb", sentence1="Кот спит.", sentence2="Кошка уснула."), similarity_words(3.81)),
        (question_input("Who wrote it?", "Pushkin wrote it."), "Pushkin"),
        ("summarize: Вчера в городе весь день шёл дождь …", "дождь весь день"),
    ]
)

# %% [markdown]
# ### What the paper gives
#
# - the form: every task as text;
# - a survey by experiment, one thing changed at a time (section 3);
# - a corpus, C4, the *Colossal Clean Crawled Corpus*;
# - models from 60 million to 11 billion parameters, the best on 18 of 24 tasks when they came out (section 3.7):
#   classification, questions, summaries, though not translation;
# - code, data and weights:
#   [github.com/google-research/text-to-text-transfer-transformer](https://github.com/google-research/text-to-text-transfer-transformer).
#
# The authors say it themselves: the aim is not a new method but to find out where the field stands.

# %% [markdown]
# ## Tasks as text: translation
#
# The prefix names both languages. Nothing else tells the model what is wanted, and an unknown prefix is only an unusual
# beginning of a text.

# %% code="lecturekit.objectives:translation_input" docstring=false

# %%
print(translation_input("The oldest stars are seen as blue dots.", "English", "French"))

# %% [markdown]
# ### Classification: the label is a word
#
# The name of the task, then each field of the example after its own name, in a fixed order. The target is the class as
# a word. The words have tokens that pre-training has met: "positive" means something before the first step of
# fine-tuning, class number 1 does not.

# %% code="lecturekit.objectives:glue_input" docstring=false

# %%
examples = [
    ("sst2", {"sentence": "it confirms fincher's status as a film maker"}, 1),
    ("sst2", {"sentence": "скучно, и очень долго"}, 0),
    ("mnli", {"premise": "I hate pigeons.", "hypothesis": "My feelings towards pigeons are filled with animosity."}, 0),
    ("cola", {"sentence": "Старые книги учителя исчез в саду."}, 0),
]
table(["input", "target"], [[glue_input(task, **fields), glue_target(task, label)] for task, fields, label in examples])

# %% [markdown]
# ### Questions
#
# BERT answers SQuAD by pointing at two places in the context. T5 writes the answer, token by token; it happens to be in
# the context, and nothing forces it to be.

# %% code="lecturekit.objectives:question_input" docstring=false

# %%
context = "Increased O2 concentration in the lungs helps to displace carbon monoxide from the heme group of hemoglobin."
print(question_input("What does increased oxygen in the patient's lungs displace?", context), "→ carbon monoxide")

# %% [markdown]
# ### Regression: a number as text
#
# STS-B asks how alike two sentences are; the paper says from 1 to 5 (the data begin at 0, and T5's code writes these
# too). Most of the scores are multiples of 0.2, so T5 rounds to the nearest and writes it (section 2.4). What looked
# like regression is classification with as many classes as there are such numbers:

# %% code="lecturekit.objectives:similarity_words" docstring=false

# %%
classes = sorted({similarity_words(1 + i / 1000) for i in range(4001)})
print(f"{len(classes)} classes: {', '.join(classes[:3])} … {classes[-1]};  2.57 is written {similarity_words(2.57)}")

# %% [markdown]
# ### And back: reading the answer
#
# A model that writes can write anything. An answer that is none of the words counts as wrong. (The authors mention
# "hamburger" as an example, and that none of their trained models ever did so.)

# %% code="lecturekit.objectives:read_glue_target" docstring=false

# %%
answers = [("sst2", "positive"), ("sst2", "hamburger"), ("stsb", " 3.8 "), ("stsb", "6.0"), ("mnli", "противоречие")]
table(
    ["task", "the model wrote", "label"], [[task, f"`{said}`", read_glue_target(task, said)] for task, said in answers]
)

# %% [markdown]
# ### All the tasks
#
# What T5 was fine-tuned on and measured by (section 2.3):
#
# | kind | data |
# |---|---|
# | is the sentence acceptable | CoLA |
# | sentiment | SST-2 |
# | paraphrase, similarity | MRPC, STS-B, QQP |
# | does one follow from the other | MNLI, QNLI, RTE, CB |
# | what a pronoun refers to | WNLI, WSC |
# | which sentence goes on | COPA |
# | which sense a word has | WiC |
# | questions | MultiRC, ReCoRD, BoolQ, SQuAD |
# | summaries | CNN/Daily Mail |
# | translation from English | WMT: German, French, Romanian |
#
# The first seven kinds and three of the questions make up GLUE and SuperGLUE. For pronouns the doubtful one is marked
# with stars in the input, "… because \*they\* feared violence", and the target is the noun: "The city councilmen".

# %% [markdown]
# ## A small T5 that does several things
#
# The course has a very small T5, trained on sums, on dates, on rows of letters to be reversed and on sentences to be
# judged, in two languages. Its tokens are pieces of Unigram, digits and rare letters by themselves. There is one set of
# weights; nothing but the text of the input says which task is meant. (With a network `pretrained.load("t5-small")` or
# `"ai-forever/ruT5-base"` gives published weights in the same class.)

# %%
t5, reader = pretrained.load("t5")


def ask(text, model=t5, tokenizer=reader, most=16):
    """What a T5 writes, greedily."""
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    return tokenizer.decode(generate(model, ids, most)[0].tolist(), skip_special_tokens=True)


chance = Random(99)
tried = [(f"sum: {given}", answer) for given, answer in sums(3, 5, operators="+-")]
tried += [(f"date: {given}", answer) for language in ("en", "ru") for given, answer in dates(2, 99, language)]
rows_of_letters = [" ".join(made_up_word(chance, 6)) for _ in range(2)]
tried += [(f"reverse: {letters}", letters[::-1]) for letters in rows_of_letters]
for language in ("en", "ru"):
    for sentence, label in zip(agreement_pairs(1, 77, language)[0], (1, 0), strict=True):
        tried.append((glue_input("cola", sentence=sentence), glue_target("cola", label)))
said = [ask(text) for text, _ in tried]
rows = [
    [f"`{text}`", f"`{answer}`", "yes" if answer == right else f"no: {right}"]
    for (text, right), answer in zip(tried, said, strict=True)
]
table(["input", "the model wrote", "right"], rows)
print(
    f"{sum(p.numel() for p in t5.parameters()):,} parameters,",
    f"{sum(a == b for a, (_, b) in zip(said, tried, strict=True))} of {len(tried)} right",
)

# %% [markdown]
# ### How well it does
#
# Each task on a thousand texts that training did not have: the share of answers that are right to the last character. A
# sentence is acceptable or not, so that one half is guessing.

# %%
table(
    ["task", "right"], [[task, f"{share:.1%}"] for task, share in pretrained.card("t5")["held_out"]["anywhere"].items()]
)

# %% [markdown]
# ### How much hangs on the prefix?
#
# One sum behind different prefixes, and behind none: without a prefix it is added all the same, since nothing else in
# training looked like this; digits behind `reverse:`, where it has only seen letters, get the answer of another task. A
# task that was never taught (the last row) gives no error message but a text.

# %%
table(
    ["input", "the model wrote"],
    [
        [f"`{text}`", f"`{ask(text)}`"]
        for text in ("sum: 12+30", "reverse: 1 2 3", "date: 12+30", "12+30", "product: 12+30")
    ],
)

# %% [markdown]
# ## The model: a Transformer with three changes
#
# Encoder and decoder as in 2017, and three differences (section 2.1):
#
# 1. the **norm** stands before each part and not after the sum, and it only scales: no mean, no bias;
# 2. **positions** are not added to the embeddings: a learnt number for each *distance* is added to the scores of
#    attention;
# 3. no linear map has a **bias**.
#
# And one that the paper does not dwell on: scores are **not divided by $\sqrt d$**. The next slides go through the
# model from the input to the output. In the diagram each box counts its parameters in a model of `lecturekit`; a click
# on a box shows its tensors, a click on a published size takes it.

# %%
widgets.parameters("T5").set(layers=24, width=1024, heads=16, inner=4096)  # T5 large

# %% [markdown]
# ## Tokens
#
# T5 uses SentencePiece with a Unigram model, 32,000 pieces learnt from ten parts English and one part each German,
# French and Romanian (section 3.1.3). These pieces are not WordPiece's; see [lecture 2](02_tokenization.ipynb) for the
# difference. Added to these are 100 *sentinels* `<extra_id_0>` … `<extra_id_99>`, which pre-training will need, and the
# embedding matrix is rounded up to a multiple of 128. The vocabulary is fixed for these languages: Russian is not among
# them, and English T5 can't write it.

# %%
print(f"{32_000 + 100:,} tokens; the next multiple of 128: {math.ceil((32_000 + 100) / 128) * 128:,}")
sentences = [good for language in ("en", "ru") for good, _ in agreement_pairs(1500, 0, language)]
tokenizer = Unigram.train(sentences, 700, extra_ids=100, processes=1)
print(tokenizer.tokens[:3], "…", tokenizer.tokens[-2:])
print(tokenizer("Красивые портреты появились на кухне."))

# %% [markdown]
# ### What goes in, beside BERT
#
# | | BERT | T5 |
# |---|---|---|
# | template | `[CLS] A [SEP] B [SEP]` | `A </s>`, a pair is told apart by words of the prefix |
# | token embeddings | yes | yes, the same matrix for encoder, decoder and output |
# | position embeddings | 512 learnt ones, added | none: a bias in attention |
# | token type embeddings | 2, added | none |
# | norm after the sum | yes | none: the first block begins with its own |
# | dropout | yes | yes |
#
# Nothing is added to a token's vector. `decoder_input_ids` are the decoder's text so far; T5 has no token for its
# beginning, so that the padding token stands there.

# %% code="lecturekit.models.t5:shift_right"

# %% [markdown]
# ### One matrix for input and output
#
# Embeddings of the encoder, of the decoder, and the last linear map are one matrix: *weight tying* (Press and Wolf,
# 2017, [arXiv:1608.05859](https://arxiv.org/abs/1608.05859)). A row serves as the vector of a word that comes in and as
# the direction that a word going out is compared with. Embeddings start with numbers of size 1, a head should start
# $\sqrt{d_{model}}$ times smaller; hence a factor in front of the head.

# %% code="lecturekit.models.t5:T5ForConditionalGeneration.tie_weights" docstring=false


# %%
def count(**sizes):
    """The parameters of a T5 of these sizes, each once, without making its weights."""
    with torch.device("meta"):
        model = T5ForConditionalGeneration(T5Config(**sizes))
    return sum(parameter.numel() for parameter in model.parameters())


SMALL = {}
LARGE = {"d_model": 1024, "d_ff": 4096, "num_layers": 24, "num_heads": 16}
print("one parameter under two names:", t5.lm_head.weight is t5.shared.weight)
rows = []
for name, sizes in (("T5 small", SMALL), ("T5 large", LARGE)):
    tied, untied = count(**sizes), count(**sizes, tie_word_embeddings=False)
    rows.append([name, f"{tied:,}", f"{untied:,}", f"{(untied - tied) / untied:.0%}"])
large = tied, untied
table(["model", "tied, as published", "with a head of its own", "saved"], rows)

# %% [markdown]
# ## The norm: scale and nothing else
#
# The norm of lecture 3 gives each token mean 0 and variance 1, then scales and shifts. T5 leaves out the mean and the
# shift:
#
# $$\mathrm{T5LayerNorm}(x) = w \odot \frac{x}{\sqrt{\frac1D \sum_i x_i^2 + \varepsilon}}$$
#
# Zhang and Sennrich (2019, [arXiv:1910.07467](https://arxiv.org/abs/1910.07467)) call it RMSNorm: it is the division
# that keeps numbers in range. It is cheaper, and most large models have it since.

# %% code="lecturekit.models.t5:T5LayerNorm"

# %% [markdown]
# ### By hand
#
# $(1, 7)$ has the mean square 25. Shift the token by 10: the norm of lecture 3 does not notice, T5's does. Scale it by
# 10: neither does.

# %%
ours, theirs = T5LayerNorm(2), LayerNorm(2)
rows = []
for name, x in (("x", [1.0, 7.0]), ("x + 10", [11.0, 17.0]), ("10 x", [10.0, 70.0])):
    token = torch.tensor([x])
    with torch.no_grad():
        numbers = [", ".join(f"{number:.3f}" for number in norm(token)[0].tolist()) for norm in (ours, theirs)]
    rows.append([name, x, *numbers])
table(["", "token", "T5's norm", "the norm of lecture 3"], rows)

# %% [markdown]
# ### Before, not after
#
# $x \leftarrow x + \mathrm{part}(\mathrm{norm}(x))$: the sum itself passes through the whole stack untouched, from the
# embeddings to the top, and a last norm stands behind the last block. Deep stacks train more steadily so than with the
# norm on the sum, as in 2017 and in BERT.

# %% code="lecturekit.models.t5:T5LayerSelfAttention.forward" docstring=false

# %% [markdown]
# ## Positions: from absolute to relative
#
# Attention itself does not know order. BERT adds to each token a vector of its *place*: token + position + type. Then
# place 17 and place 18 are two unrelated rows of a table, and there is no place 513. What matters in language is more
# often how far apart two words are, and on which side.
#
# Shaw, Uszkoreit and Vaswani (2018, [arXiv:1803.02155](https://arxiv.org/abs/1803.02155)) gave each *distance* $j - i$
# between a query at $i$ and a key at $j$ a learnt vector $w_{j-i}$, which is added to the key:
#
# $$e_{ij} = \frac{(x_i W^Q)(x_j W^K + w_{j-i})^{\top}}{\sqrt d}$$

# %% [markdown]
# ### The same numbers along each diagonal
#
# Which distance belongs to which pair of places: a query is a row, a key is a column. To the third token the first is
# at $-2$, to the second at $-1$. Left and right differ in sign, and so have different parameters. Move the text by one
# place: nothing changes.

# %%
places = torch.arange(6)
distance = places - places[:, None]
table(
    ["query ↓ key →", *(f"x{j + 1}" for j in range(6))],
    [[f"x{i + 1}", *row] for i, row in enumerate(distance.tolist())],
)

# %% [markdown]
# ### T5: one number
#
# T5 makes it as small as can be: not a vector that meets the query, but a **scalar** that is added to the score, a
# different one for each head.
#
# $$e_{ij} = (x_i W^Q)(x_j W^K)^{\top} + b_{j-i}, \qquad \text{weights} = \mathrm{softmax}_j(e_{ij})$$
#
# This is often written with $\frac{1}{\sqrt d}$ (so Ke et al., 2020,
# [arXiv:2006.15595](https://arxiv.org/abs/2006.15595)). The bias is right; the factor isn't in T5. More of that below.
#
# One table of biases, $32 \times H$ numbers, **serves all layers** of a stack: it lies in the first block, and the
# others get what it computed.

# %% code="lecturekit.models.t5:relative_bias"

# %%
large_bias = 32 * 16
print(f"T5 large: {large_bias} numbers for positions in a stack; 512 learnt positions of BERT large: {512 * 1024:,}")

# %% [markdown]
# ### Buckets: near ones apart, far ones together
#
# Whether a word is one or two places away matters; whether it is 60 or 61 hardly does. So distances share *buckets*. Of
# the $n$ buckets that a direction has, the first $n/2$ hold one distance each; the others divide the distances up to
# `max_distance` = 128 by equal steps of the logarithm:
#
# $$\mathrm{bucket}(r) = \frac n2
# + \left\lfloor \frac{\ln \frac{r}{n/2}}{\ln \frac{128}{n/2}} \cdot \frac n2 \right\rfloor
# \quad \text{for } r \ge \frac n2, \text{ at most } n - 1$$
#
# The encoder looks both ways, so each direction has 16 of the 32. The decoder sees no key after its query, and all 32
# serve one direction.

# %% code="lecturekit.models.t5:relative_position_bucket"

# %% [markdown]
# ### The buckets in a picture
#
# The bucket of each distance, for an encoder and a decoder of 32 buckets. Single steps near zero, longer and longer
# ones further out.

# %%
_, axes = plt.subplots()
for both_ways, colour, name in ((True, BLUE, "encoder"), (False, ORANGE, "decoder")):
    far = torch.arange(-200, 201 if both_ways else 1)
    axes.step(far, relative_position_bucket(far, both_ways), where="mid", color=colour, label=name)
axes.set(xlabel="key's place − query's place", ylabel="bucket", title="32 buckets")
axes.legend()
show("Buckets by distance: steps of one near zero, longer and longer ones further out, level at both ends.")
beyond = [
    int((relative_position_bucket(-torch.arange(300), both, 32) == last).nonzero()[0])
    for both, last in ((True, 15), (False, 31))
]
print(f"the last bucket begins at distance {beyond[0]} in the encoder, {beyond[1]} in the decoder")

# %% [markdown]
# The paper says that all distances beyond 128 share one embedding. By the formula the last bucket begins somewhat
# earlier, as the line above says. And it is *one layer* that can't tell far distances apart; the next can build on what
# nearer tokens have gathered (section 2.1).

# %% [markdown]
# ### Try it: what the course's T5 has learnt about distance
#
# Choose "T5 encoder" or "T5 decoder" and move the distance. The curve shows what each head of the small T5 adds to its
# scores. Does any head prefer its neighbours, or one side? The other kinds show sines and learnt tables beside it.

# %%
first = t5.encoder.block[0].layer[0].SelfAttention
widgets.positional_encodings(bias=first.relative_attention_bias)

# %% [markdown]
# ### No longest text
#
# Without a table of places there is no last place. T5 takes any length that fits into memory, where BERT refuses. Two
# warnings: memory for scores grows with the square of the length, and a model that was trained on 512 tokens has never
# seen what longer texts need.

# %%
with torch.no_grad():
    print("T5:", list(t5.encoder(torch.ones(1, 700, dtype=torch.long)).last_hidden_state.shape))
    try:
        bert = BertModel(BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16))
        bert(torch.ones(1, 700, dtype=torch.long))
    except ValueError as error:
        print("BERT:", error)
rows = [[n, f"{n * n * 16 * 4 / 2**20:,.0f} MiB"] for n in (128, 512, 2048, 8192)]
table(["tokens", "scores of one layer of T5 large, one text, float32"], rows)

# %% [markdown]
# ## Self-attention, step by step
#
# Numbers are T5 large's: $d_{model} = 1024$, $H = 16$ heads of $d_{kv} = 64$, a text of $N$ tokens.
#
# | step | shape |
# |---|---|
# | norm of the hidden states | N × 1024 |
# | queries, keys, values: three maps without bias | N × (16 · 64), cut into 16 heads of N × 64 |
# | scores $QK^{\top}$ | 16 × N × N |
# | + bias of positions, + mask, softmax, dropout | 16 × N × N |
# | times values | 16 × N × 64 |
# | heads side by side, output map | N × 1024 |
# | dropout, + what came in | N × 1024 |
#
# Scores and weights have a number for each pair of tokens: H × N × N. $d_{kv}$ is free: $H \cdot d_{kv}$ need not be
# $d_{model}$, and in the largest T5 it is sixteen times that.

# %% code="lecturekit.models.t5:T5Attention.forward" docstring=false

# %%
with torch.device("meta"):
    block = T5ForConditionalGeneration(T5Config(**LARGE)).encoder.block[0]
table(
    ["in the first block of T5 large", "parameters"],
    [[f"`{name}`", f"{p.numel():,}"] for name, p in block.named_parameters()],
)

# %% [markdown]
# ### Where is the root of d?
#
# $\mathrm{softmax}(QK^{\top} / \sqrt{d_k})\,V$ is the Transformer of 2017. T5 computes
#
# $$\mathrm{Attention}(Q, K, V) = \mathrm{softmax}(Q K^{\top} + B)\, V$$
#
# A score is a sum of $d$ products. If queries and keys have variance 1, it has variance $d$, and at $d = 64$ a softmax
# of such scores is nearly one-hot before anything is learnt. The Transformer of 2017 divides by $\sqrt d$. T5 starts
# with a $W^Q$ whose numbers are $\sqrt d$ times smaller instead. What can be computed is the same; where training
# starts is the same; only how far a step of the optimiser moves the scores is not.

# %% code="lecturekit.models.t5:biased_attention" docstring=false

# %% code="lecturekit.models.t5:T5ForConditionalGeneration.init_weights"

# %% [markdown]
# ### Measured
#
# Scores of random tokens under fresh weights, $d_{model} = 512$: their spread, and the largest weight that a query
# gives to one of 64 keys ($1/64$ would be even). Dividing and starting smaller come out alike; doing neither does not.

# %%
x, width = torch.randn(64, 512), 512
rows = []
for d in (16, 64, 128):
    key = x @ torch.randn(width, d) / width**0.5
    plain_query = x @ torch.randn(width, d) / width**0.5
    small_query = x @ torch.randn(width, d) / (width * d) ** 0.5
    ways = (plain_query @ key.T / d**0.5, small_query @ key.T, plain_query @ key.T)
    rows.append([d, *(f"{scores.std():.2f} / {scores.softmax(-1).amax(-1).mean():.2f}" for scores in ways)])
table(["d", "divided by √d (2017)", "not divided, small queries (T5)", "not divided, usual queries"], rows)

# %% [markdown]
# ### Feed-forward
#
# Two maps without bias and a ReLU between them, $d_{ff} = 4 d_{model}$ in small, base and large:
# $\mathrm{FFN}(x) = \max(0, x W_1) W_2$. For T5 large each matrix has

# %%
print(f"1024 × 4096 = {1024 * 4096:,} parameters")

# %% code="lecturekit.models.t5:T5DenseActDense" docstring=false

# %% [markdown]
# ### The encoder
#
# Self-attention and feed-forward make a block, 24 blocks the encoder of T5 large, a last norm and dropout stand behind
# them. Each block gets the same bias and the same mask. What the encoder returns, N × 1024, goes to the decoder.

# %% code="lecturekit.models.t5:T5Block.forward" docstring=false

# %% [markdown]
# ## The decoder
#
# Each block has three parts: self-attention over what has been written so far, cross-attention over what the encoder
# read, feed-forward. In the encoder all pairs of tokens meet; in the decoder a token meets itself and those before it.

# %% code="lecturekit.models.t5:T5Stack.self_mask" docstring=false

# %% [markdown]
# ### Cross-attention
#
# Queries come from the decoder, keys and values from the encoder's last states (`key_value_states` in the code of
# Hugging Face). There is no bias for positions here: the two texts have no common ruler. For one new token the weights
# have the shape [batch, heads, 1, N].

# %% code="lecturekit.models.t5:T5LayerCrossAttention" docstring=false

# %% [markdown]
# ### Two caches
#
# Written token by token, a text would be read anew for each token. Keys and values of earlier tokens do not change, so
# they are kept (`past_key_values`). There are two kinds: those of the decoder's own text **grow** by one place a step,
# those of cross-attention are computed **once**.

# %% code="lecturekit.models.t5:T5Attention.keys_and_values" docstring=false

# %%
text = "date: " + dates(1, 99, "ru")[0][0]
source = torch.tensor([reader(text)["input_ids"]])
cache, token, written, shapes = KeyValueCache(), torch.zeros(1, 1, dtype=torch.long), [0], []
with torch.no_grad():
    encoded = t5.encoder(source)
    while len(written) < 14 and written[-1] != t5.config.eos_token_id:
        logits = t5(decoder_input_ids=token, encoder_outputs=encoded, past_key_values=cache).logits
        shapes.append((tuple(cache.pairs[0][0].shape), tuple(cache.fixed[0][0].shape)))
        token = logits[:, -1:].argmax(-1)
        written.append(int(token))
    whole = t5(source, decoder_input_ids=torch.tensor([written[:-1]])).logits
print(
    "with caches:",
    reader.decode(written),
    " all at once, the last logits differ by",
    f"{(whole[:, -1] - logits[:, -1]).abs().max():.1e}",
)
table(
    ["step", "keys of self-attention", "keys of cross-attention"],
    [[i + 1, *shapes[i]] for i in (0, 1, len(shapes) - 1)],
)

# %% [markdown]
# ### Where the small T5 looks
#
# Cross-attention of the course's model while it reverses letters; a row is a letter that it writes, a column one that
# it reads. Choose the kind (encoder, decoder, cross), layer and head. To reverse, some head has to look further left
# with each letter: is there one?

# %%
word = "reverse: " + " ".join(made_up_word(Random(3), 6))
source = torch.tensor([reader(word)["input_ids"]])
target = generate(t5, source, 12)[:, :-1]
widgets.attention_map(t5, reader, ids=source, target_ids=target).set(kind="cross")

# %% [markdown]
# ### The head
#
# The decoder's last state meets each row of the shared matrix: $32{,}128$ logits for each place. With a tied matrix
# what goes in is first made $\sqrt{d_{model}}$ times smaller. The loss is the mean of $-\log p$ over the target's
# tokens, for every task.
#
# The whole way in one line each: tokens → shared embeddings → 24 × (norm, self-attention with bias; norm, feed-forward)
# → norm → 24 × (… cross-attention …) → norm → shared matrix → softmax.

# %% [markdown]
# ## Pre-training: the text
#
# Common Crawl collects about 20 terabytes of web text a month. Most of it is menus, error messages, repetition, or
# code. From the crawl of April 2019 the authors kept what passed a list of plain rules (section 2.2):
#
# - only lines that end in a full stop, ! , ? or a closing quotation mark, and have at least five words;
# - only pages with at least three sentences;
# - no page with a word from a list of bad words, none with "lorem ipsum", none with a curly bracket (code);
# - no line with the word Javascript, with "terms of use", "cookie policy" and the like; citation marks such as [1]
#   removed;
# - of three sentences that occur again anywhere, one copy;
# - only pages that a language detector takes for English with probability 0.99.
#
# About 750 GB of text remain: **C4**. (TensorFlow Datasets counts 365 million documents and 807 GB.)

# %% [markdown]
# ### The rules at work
#
# A page as it comes, and a few of the rules as code. Watch what is lost with the rubbish: a heading, a list, a poem
# whose lines end without a full stop. And the last rule would have dropped the whole Russian page.


# %%
def cleaned(page):
    """The lines of a page that some of C4's rules keep, or the rule that drops the page."""
    page = re.sub(r"\[(\d+|citation needed)\]", "", page)
    if "{" in page or "lorem ipsum" in page.lower():
        return "the page is dropped: a curly bracket or lorem ipsum"
    kept = []
    for line in page.split("\n"):
        ends = line.rstrip().endswith((".", "!", "?", '"', "»"))
        policy = re.search(
            "javascript|terms of use|privacy policy|cookie policy|uses cookies|use cookies", line.lower()
        )
        if ends and len(line.split()) >= 5 and not policy:
            kept.append(line.strip())
    few = len(re.findall(r"[.!?]", " ".join(kept))) < 3
    return f"the page is dropped: fewer than three sentences ({kept})" if few else "\n".join(kept)


PAGES = [
    "Home | News | Contact\nThe cat sat down by the old stove.[1] It was warm there.\n"
    "This site uses cookies to serve you better.\n"
    "Please enable Javascript to see this page.\nNobody in the kitchen had seen it come in.",
    "Главная | Новости\nКошка легла у старой печки на кухне. Там было тепло. Никто не видел, как она вошла.\n"
    "Буря мглою небо кроет",
    "function purr(cat) { return cat.hum(); }\nThe cat will hum when it is called. It does. Always.",
]
for page in PAGES:
    print(cleaned(page), end="\n\n")

# %% [markdown]
# ## Pre-training: span corruption
#
# A denoising objective: part of the text is taken out, the model has to say what it was. It is like BERT's masked
# words, with two differences (sections 3.1.4 and 3.3.4): a whole *span* of tokens becomes one sentinel, and the target
# is only what was taken out, each span behind its sentinel, with a last sentinel at the end.
#
# ```
# text      Thank you for inviting me to your party last week .
# input     Thank you <X> me to your party <Y> week .
# target    <X> for inviting <Y> last <Z>
# ```
#
# 15 % of the tokens are hidden, in spans of 3 on average. How many tokens and how many spans is the same for every text
# of a length; only *where* is drawn.

# %% code="lecturekit.objectives:noise_counts" docstring=false

# %% code="lecturekit.objectives:span_noise"

# %% code="lecturekit.objectives:hide_spans" docstring=false

# %% [markdown]
# ### The paper's sentence, and a Russian one
#
# Words stand for tokens here. In the first text the spans are those of the paper's figure 2; in the second they are
# drawn, with another rate so that a short text has several. The sentinels are `<extra_id_0>`, `<extra_id_1>` … in the
# published vocabulary, counted downwards from its last id.


# %%
class Words:
    """Words as tokens, and behind them the sentinels, the first one last: as in T5's vocabulary."""

    def __init__(self, text):
        self.words = text.split()
        self.names = [*dict.fromkeys(self.words), *(f"<extra_id_{i}>" for i in reversed(range(10)))]
        self.ids = torch.tensor([self.names.index(word) for word in self.words])
        self.sentinel = len(self.names) - 1

    def text(self, ids):
        return " ".join(self.names[index] for index in ids.tolist())


thanks = Words("Thank you for inviting me to your party last week .")
hidden = torch.tensor([word in ("for", "inviting", "last") for word in thanks.words])
invited = Words("Спасибо , что пригласили меня на праздник на прошлой неделе , было очень весело .")
for words, noise in ((thanks, hidden), (invited, span_noise(len(invited.ids), seeded(4), rate=0.4, mean_span=2.0))):
    given, target = hide_spans(words.ids, noise, words.sentinel)
    print("text  ", " ".join(words.words), "\ninput ", words.text(given), "\ntarget", words.text(target), "\n")

# %% [markdown]
# ### Why spans: short rows
#
# With $n$ hidden tokens in $s$ spans a text of $T$ tokens becomes an input of $T - n + s$ and a target of $n + s + 1$
# tokens (and `</s>` behind each). The decoder has to write a fraction of what it would write if it had to repeat the
# whole text. For 512 tokens:

# %%
rows = []
for rate, span in ((0.15, 1.0), (0.15, 2.0), (0.15, 3.0), (0.15, 10.0), (0.5, 3.0)):
    n, s = noise_counts(512, rate, span)
    rows.append([f"{rate:.0%}", span, n, s, 512 - n + s, n + s + 1])
table(["rate", "mean span", "hidden tokens", "spans", "input", "target"], rows)

# %% [markdown]
# T5 turns this round: it takes so much raw text that the *input* is 512 long. With `</s>`, and without the last
# sentinel, which the published code leaves out of the target although the paper has it:

# %%
raw = max(t for t in range(512, 700) if t - noise_counts(t)[0] + noise_counts(t)[1] + 1 <= 512)
n, s = noise_counts(raw)
print(f"{raw} tokens of text: {n} hidden in {s} spans, an input of {raw - n + s + 1}, a target of {n + s + 1}")

# %% [markdown]
# ## Objectives compared: what they look like
#
# The paper compares seven (Table 3). Here on a text of our own, each made by a line or two of code.

# %%
words = Words("Вчера вечером старая кошка тихо спала у тёплой печки на кухне .")
all_words, chance = words.words, Random(2)
mask = [word in ("вечером", "спала", "у", "кухне") for word in all_words]
spans = span_noise(len(all_words), seeded(3), rate=0.35, mean_span=2.5)
masked = ["<M>" if hide else word for word, hide in zip(all_words, mask, strict=True)]
swapped = ["яблоко" if word == "кухне" else shown for word, shown in zip(all_words, masked, strict=True)]
iid_in, iid_out = hide_spans(words.ids, torch.tensor(mask), words.sentinel)
span_in, span_out = hide_spans(words.ids, spans, words.sentinel)
kept = " ".join(word for word, hide in zip(all_words, mask, strict=True) if not hide)
dropped = " ".join(word for word, hide in zip(all_words, mask, strict=True) if hide)
rows = [
    ["prefix language model", " ".join(all_words[:5]), " ".join(all_words[5:])],
    ["BERT-style: masks, some words swapped", " ".join(swapped), "(the whole text)"],
    ["deshuffling", " ".join(chance.sample(all_words, len(all_words))), "(the whole text)"],
    ["MASS-style: masks alone", " ".join(masked), "(the whole text)"],
    ["single tokens, replaced by sentinels", words.text(iid_in), words.text(iid_out)],
    ["single tokens, dropped", kept, dropped],
    ["spans, replaced by sentinels", words.text(span_in), words.text(span_out)],
]
table(["objective", "input", "target"], [[name, *(f"`{part}`" for part in parts)] for name, *parts in rows])

# %% [markdown]
# ### How things were measured
#
# The **baseline**: encoder and decoder like BERT base (12 blocks each, $d_{model} = 768$), about 220 million
# parameters, single tokens replaced by sentinels at 15 %, $2^{19}$ steps of pre-training on C4, $2^{18}$ steps of
# fine-tuning on each task, greedy decoding. Then **one thing is changed at a time**. The columns of all tables, on
# validation sets:
#
# - GLUE, SGLUE (SuperGLUE): averages over their tasks; SQuAD: exact match;
# - CNNDM: summaries, ROUGE-2 (word pairs shared with a reference summary); EnDe, EnFr, EnRo: translation, BLEU.
#
# How much is chance? The baseline was trained ten times (Table 1):
#
# | | GLUE | CNNDM | SQuAD | SGLUE | EnDe | EnFr | EnRo |
# |---|---|---|---|---|---|---|---|
# | baseline, mean of 10 | 83.28 | 19.24 | 80.88 | 71.36 | 26.98 | 39.82 | 27.65 |
# | standard deviation | 0.235 | 0.065 | 0.343 | 0.416 | 0.112 | 0.090 | 0.108 |
# | no pre-training | 66.22 | 17.60 | 50.31 | 53.04 | 25.86 | 39.77 | 24.04 |
#
# The last row is what pre-training is for. Only English-French, with its millions of sentence pairs, does not need it.

# %% [markdown]
# ### Objectives: first the families
#
# Table 4. To put words back in order teaches least. To hide and to find again teaches most, though translation does as
# well from a language model.
#
# | objective | GLUE | CNNDM | SQuAD | SGLUE | EnDe | EnFr | EnRo |
# |---|---|---|---|---|---|---|---|
# | prefix language model | 80.69 | 18.94 | 77.99 | 65.27 | 26.86 | 39.73 | 27.49 |
# | BERT-style | 82.96 | 19.17 | 80.65 | 69.85 | 26.78 | 40.03 | 27.41 |
# | deshuffling | 73.17 | 18.59 | 67.61 | 58.47 | 26.11 | 39.30 | 25.62 |
#
# Table 5: variants of hiding. They hardly differ in quality; they differ in the length of the target, and so in time.
#
# | objective | GLUE | CNNDM | SQuAD | SGLUE | EnDe | EnFr | EnRo |
# |---|---|---|---|---|---|---|---|
# | BERT-style | 82.96 | 19.17 | 80.65 | 69.85 | 26.78 | 40.03 | 27.41 |
# | MASS-style | 82.32 | 19.16 | 80.10 | 69.28 | 26.79 | 39.89 | 27.55 |
# | replaced by sentinels (baseline) | 83.28 | 19.24 | 80.88 | 71.36 | 26.98 | 39.82 | 27.65 |
# | dropped | 84.44 | 19.31 | 80.52 | 68.67 | 27.07 | 39.76 | 27.82 |

# %% [markdown]
# ### How much to hide, in how long spans
#
# Tables 6 and 7, as the difference from the baseline of 15 % single tokens, in standard deviations of Table 1: within
# the grey band (two of them) a difference may be chance. Half of the text is too much; spans of two to five are as good
# or better, English-French with spans of five apart; ten is too long for some.

# %%
COLUMNS = ["GLUE", "CNNDM", "SQuAD", "SGLUE", "EnDe", "EnFr", "EnRo"]
MEAN = [83.28, 19.24, 80.88, 71.36, 26.98, 39.82, 27.65]  # Table 1
DEVIATION = [0.235, 0.065, 0.343, 0.416, 0.112, 0.090, 0.108]
RATES = {  # Table 6
    "10 %": [82.82, 19.00, 80.38, 69.55, 26.87, 39.28, 27.44],
    "25 %": [83.00, 19.54, 80.96, 70.48, 27.04, 39.83, 27.47],
    "50 %": [81.27, 19.32, 79.80, 70.33, 27.01, 39.90, 27.49],
}
SPANS = {  # Table 7
    "spans of 2": [83.54, 19.39, 82.09, 72.20, 26.76, 39.99, 27.63],
    "spans of 3": [83.49, 19.62, 81.84, 72.53, 26.86, 39.65, 27.62],
    "spans of 5": [83.40, 19.24, 82.05, 72.23, 26.88, 39.40, 27.53],
    "spans of 10": [82.85, 19.33, 81.84, 70.44, 26.79, 39.49, 27.69],
}


def compare(title, results):
    """Bars of each result's difference from the baseline, in standard deviations."""
    _, axes = plt.subplots(figsize=(9, 3.2))
    axes.axhspan(-2, 2, color="#DDDDDD")
    colours = [GREY, BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9"]
    wide = 0.8 / len(results)
    for number, (name, numbers) in enumerate(results.items()):
        heights = [(n - m) / d for n, m, d in zip(numbers, MEAN, DEVIATION, strict=True)]
        axes.bar([i + wide * number for i in range(len(COLUMNS))], heights, wide, label=name, color=colours[number + 1])
    axes.set_xticks([i + 0.4 - wide / 2 for i in range(len(COLUMNS))], COLUMNS)
    axes.set(ylabel="standard deviations", title=title)
    axes.legend(fontsize=8)
    show(f"{title}: bars for seven benchmarks; most stay within a grey band of two standard deviations.")


compare("How much is hidden (Table 6), against 15 %", RATES)

# %%
compare("How it is hidden (Table 7), against single tokens", SPANS)

# %% [markdown]
# The authors took spans of 3: slightly better on most tasks but translation, and faster. Their own conclusion is sober:
# among denoising objectives choose by cost, and look for gains elsewhere (section 3.3.5).

# %% [markdown]
# ## Architectures compared
#
# What may look at what is a mask, and masks make architectures (section 3.2.1). Three patterns; a row is a token that
# looks, a coloured cell one that it sees. In an encoder-decoder the encoder has the left pattern, the decoder the
# middle one. A *prefix language model* is one stack with the right one: the input is seen from all sides, the answer is
# written from left to right.

# %%
_, drawn = plt.subplots(1, 3, figsize=(9, 3))
n, prefix = 8, 5
causal = torch.ones(n, n).tril()
with_prefix = causal.clone()
with_prefix[:, :prefix] = 1
for axes, mask, name in zip(
    drawn, (torch.ones(n, n), causal, with_prefix), ("everything", "causal", "causal with a prefix"), strict=True
):
    axes.imshow(mask, cmap="Blues", vmin=0, vmax=1.4)
    axes.set(title=name, xticks=[], yticks=[], xlabel="is seen", ylabel="looks")
show("Three grids: everything is seen; a lower triangle, what stands before; the triangle and all first columns.")

# %% [markdown]
# ### Table 2
#
# $P$ are the parameters of one stack of 12 layers, $M$ the work for one pair of texts. An encoder-decoder with $L + L$
# layers has the *parameters* of a single stack of $2L$, but the *work* of one of $L$, as each text passes one of the
# two.
#
# | architecture | objective | parameters | work | GLUE | CNNDM | SQuAD | SGLUE | EnDe | EnFr | EnRo |
# |---|---|---|---|---|---|---|---|---|---|---|
# | encoder-decoder | denoising | 2P | M | 83.28 | 19.24 | 80.88 | 71.36 | 26.98 | 39.82 | 27.65 |
# | the same, shared weights | denoising | P | M | 82.81 | 18.78 | 80.63 | 70.73 | 26.72 | 39.03 | 27.46 |
# | encoder-decoder, 6 layers | denoising | P | M/2 | 80.88 | 18.97 | 77.59 | 68.42 | 26.38 | 38.40 | 26.95 |
# | language model | denoising | P | M | 74.70 | 17.93 | 61.14 | 55.02 | 25.09 | 35.28 | 25.86 |
# | prefix language model | denoising | P | M | 81.82 | 18.61 | 78.94 | 68.11 | 26.43 | 37.98 | 27.39 |
# | encoder-decoder | next token | 2P | M | 79.56 | 18.59 | 76.02 | 64.29 | 26.27 | 39.17 | 26.86 |
# | language model | next token | P | M | 73.78 | 17.54 | 53.81 | 56.51 | 25.23 | 34.31 | 25.38 |
# | prefix language model | next token | P | M | 79.68 | 17.84 | 76.87 | 64.86 | 26.28 | 37.51 | 26.76 |
#
# An encoder that sees all sides wins. Denoising beats the next token in every column but two (the plain language model
# on SGLUE and EnDe), and one set of weights for both stacks costs little. (What language models do at a hundred times
# this size, without fine-tuning, is [lecture 5](05_gpt.ipynb).)

# %% [markdown]
# ## Texts compared
#
# Table 8: the same training on other texts. Without the rules C4 is worse in every column. Text of the task's own kind
# helps: Wikipedia helps SQuAD, which is made from it; books help SuperGLUE through one task about fiction (MultiRC,
# whose exact match goes from 25.78 to 50.93).
#
# | text | size | GLUE | CNNDM | SQuAD | SGLUE | EnDe | EnFr | EnRo |
# |---|---|---|---|---|---|---|---|---|
# | C4 | 745 GB | 83.28 | 19.24 | 80.88 | 71.36 | 26.98 | 39.82 | 27.65 |
# | C4, unfiltered | 6.1 TB | 81.46 | 19.14 | 78.78 | 68.04 | 26.55 | 39.34 | 27.21 |
# | news | 35 GB | 83.83 | 19.23 | 80.39 | 72.38 | 26.75 | 39.90 | 27.48 |
# | pages liked on Reddit | 17 GB | 84.03 | 19.31 | 81.42 | 71.40 | 26.80 | 39.74 | 27.59 |
# | Wikipedia | 16 GB | 81.85 | 19.31 | 81.29 | 68.01 | 26.94 | 39.69 | 27.67 |
# | Wikipedia and books | 20 GB | 83.65 | 19.28 | 82.08 | 73.24 | 26.77 | 39.63 | 27.57 |

# %% [markdown]
# ### How often may a text come again?
#
# Table 9: the first so many tokens of C4, repeated until $2^{35}$ tokens have been read. The figure shows the loss
# against the full data. 64 times is harmless, 256 begins to hurt, a thousand times is learnt by heart.

# %%
REPEATS = {64: (82.87, 72.03), 256: (82.62, 69.97), 1024: (79.55, 64.76), 4096: (76.34, 59.29)}  # Table 9: GLUE, SGLUE
for index, (name, whole, colour) in enumerate((("GLUE", 83.28, BLUE), ("SuperGLUE", 71.36, ORANGE))):
    plt.plot(list(REPEATS), [scores[index] - whole for scores in REPEATS.values()], "o-", color=colour, label=name)
plt.axhline(0, color=GREY)
plt.xscale("log", base=4)
plt.xticks(list(REPEATS), [f"{times:,}" for times in REPEATS])
plt.xlabel("how often the same text was read")
plt.ylabel("points against no repetition")
plt.title("Repeating the text of pre-training (Table 9)")
plt.legend()
show("GLUE and SuperGLUE stay level when a text is read 64 times, and fall at 1,024 and 4,096 times.")

# %% [markdown]
# ## Ways to train compared
#
# **Which parameters?** (Table 10.) Adapters are small layers between the frozen ones; gradual unfreezing begins at the
# top.
#
# | fine-tuned | GLUE | CNNDM | SQuAD | SGLUE | EnDe |
# |---|---|---|---|---|---|
# | all parameters | 83.28 | 19.24 | 80.88 | 71.36 | 26.98 |
# | adapters, width 32 | 80.52 | 15.08 | 79.32 | 60.40 | 13.84 |
# | adapters, width 512 | 81.54 | 17.78 | 79.18 | 64.30 | 23.45 |
# | unfrozen step by step | 82.50 | 18.95 | 79.17 | 70.79 | 26.71 |

# %% [markdown]
# ### One after the other, or together?
#
# Table 12. In text-to-text form, multi-task learning is to mix data.
#
# | strategy | GLUE | CNNDM | SQuAD | SGLUE | EnDe |
# |---|---|---|---|---|---|
# | pre-training without labels, then fine-tuning | 83.28 | 19.24 | 80.88 | 71.36 | 26.98 |
# | all tasks at once, no fine-tuning | 81.42 | 19.24 | 79.78 | 67.30 | 25.21 |
# | all tasks and unlabelled text, then fine-tuning | 83.11 | 19.12 | 80.26 | 71.03 | 27.08 |
# | the same without the task that is measured | 81.98 | 19.05 | 79.97 | 71.68 | 26.93 |
# | labelled tasks alone, then fine-tuning | 79.93 | 18.96 | 77.38 | 65.36 | 26.81 |

# %% [markdown]
# ### In what proportion to mix
#
# Data sets differ in size by factors of thousands. *Examples-proportional* mixing limits what a large one counts,
# *temperature* flattens what is left, *equal* mixing ignores size:
#
# $$r_m = \frac{\min(e_m, K)}{\sum_n \min(e_n, K)}, \qquad r_m^{1/T} \text{ renormalised}$$
#
# Five training sets by their published sizes. With equal mixing RTE's 2,490 examples would come so often that they are
# learnt by heart: GLUE falls to 76.13 (Table 11).

# %%
SETS = {"RTE": 2_490, "CoLA": 8_551, "SST-2": 67_349, "SQuAD": 87_599, "MNLI": 392_702}


def shares(limit, temperature=1.0):
    sizes = [min(size, limit) for size in SETS.values()]
    flat = [(size / sum(sizes)) ** (1 / temperature) for size in sizes]
    return [f"{part / sum(flat):.1%}" for part in flat]


rows = [
    ["proportional, no limit", *shares(10**9)],
    ["proportional, K = 2¹⁶", *shares(2**16)],
    ["temperature 2", *shares(2**21, 2)],
    ["temperature 8", *shares(2**21, 8)],
    ["equal", *shares(1)],
]
table(["mixing", *SETS], rows)

# %% [markdown]
# ## Four times the compute: what to buy?
#
# Table 13. A larger model buys most, best with more steps too; several models averaged are good at writing, and no
# better on SuperGLUE. The price comes later: a larger model costs more every time it is used.
#
# | | GLUE | CNNDM | SQuAD | SGLUE | EnDe | EnFr | EnRo |
# |---|---|---|---|---|---|---|---|
# | baseline | 83.28 | 19.24 | 80.88 | 71.36 | 26.98 | 39.82 | 27.65 |
# | 4 × steps | 85.33 | 19.33 | 82.45 | 74.72 | 27.08 | 40.66 | 27.93 |
# | 4 × batch | 84.60 | 19.42 | 82.52 | 74.64 | 27.07 | 40.60 | 27.84 |
# | 2 × size, 2 × steps | 86.18 | 19.66 | 84.18 | 77.18 | 27.52 | 41.03 | 28.19 |
# | 4 × size | 85.91 | 19.73 | 83.86 | 78.04 | 27.47 | 40.71 | 28.10 |
# | 4 models, averaged | 84.77 | 20.10 | 83.09 | 71.74 | 28.05 | 40.53 | 28.57 |

# %% [markdown]
# ## How the baseline was trained
#
# $2^{19}$ steps, 128 sequences of 512 tokens each (section 3.1.2). That is

# %%
tokens = 2**19 * 128 * 512
print(f"{2**19:,} steps × {128 * 512:,} tokens = {tokens:,} tokens = 2^{math.log2(tokens):.0f}, {tokens / 1e9:.0f}e9")
print(f"BERT read 137 billion, {137e9 / tokens:.0f} times as many; RoBERTa 2.2 trillion, {2.2e12 / tokens:.0f} times")
print(f"fine-tuning: {2**18:,} steps with the same batch")
print(f"the final models: {10**6 * 2**11 * 512 / 1e12:.2f} trillion tokens")

# %% [markdown]
# ### AdaFactor and its rate
#
# Adam keeps two numbers for each parameter. AdaFactor (Shazeer and Stern, 2018,
# [arXiv:1804.04235](https://arxiv.org/abs/1804.04235)) keeps, for a matrix of $N \times M$, the $N$ sums of rows and
# $M$ sums of columns of the squared gradients, and no momentum. For the large matrices of T5 that is next to nothing.
# The rate is $1 / \sqrt{\max(n, 10^4)}$: constant at 0.01, then falling; fine-tuning has a constant 0.001. The figure
# shows both.

# %% code="lecturekit.optim:t5_schedule"

# %%
steps = list(range(1, 2**19, 500))
plt.plot(steps, [t5_schedule(step) for step in steps], color=BLUE, label="pre-training")
plt.plot([2**19, 2**19 + 2**18], [1e-3, 1e-3], color=ORANGE, label="fine-tuning")
plt.xlabel("step")
plt.ylabel("rate")
plt.title("The learning rate of T5's baseline")
plt.legend()
show("The rate: level at 0.01 for ten thousand steps, then falling as one over the root; 0.001 in fine-tuning.")
rows = [["Adam", f"{2 * 1024 * 4096:,}"], ["AdaFactor", f"{1024 + 4096:,}"]]
table(["optimiser", "numbers kept for a matrix of 1024 × 4096"], rows)

# %% [markdown]
# ## Pre-training in ten seconds
#
# A T5 small enough to be pre-trained here. Its corpus are two alphabets, its texts ten consecutive letters, its
# objective is span corruption: `a b <X> f g h …` → `<X> c d e <Y>`. A text is a token a letter.

# %%
ALPHABETS = ("abcdefghijklmnopqrstuvwxyz", "абвгдеёжзийклмнопрстуфхцчшщъыьэюя")
NAMES = ["<pad>", "</s>", "next:", *"".join(ALPHABETS), *(f"<extra_id_{i}>" for i in reversed(range(3)))]
ID = {name: index for index, name in enumerate(NAMES)}
texts = torch.tensor([[ID[c] for c in letters[i : i + 10]] for letters in ALPHABETS for i in range(len(letters) - 9)])


def corrupted(batch, generator):
    """Texts with holes, and what was there: 40 % of the letters in spans of two, since the texts are short."""
    rows = texts[torch.randint(len(texts), (batch,), generator=generator)]
    return span_corruption(rows, ID["<extra_id_0>"], generator, rate=0.4, mean_span=2.0, eos_id=ID["</s>"])


def fit(model, draw, steps, rate):
    """Adam, a short way up and a straight way down; the losses."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min((n + 1) / 30, 1 - n / steps))
    losses = []
    for step in range(steps):
        ids, labels = draw(step)
        loss = model(ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


sizes = {"vocab_size": len(NAMES), "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 1, "num_heads": 4}
torch.manual_seed(0)
fresh = T5ForConditionalGeneration(T5Config(**sizes, dropout_rate=0.0, initializer_factor=0.3))
speller, generator = copy.deepcopy(fresh), seeded(1)
losses = fit(speller, lambda step: corrupted(32, generator), 320, 1e-2)
speller.eval()
plt.plot(losses, color=BLUE)
plt.xlabel("step")
plt.ylabel("loss")
plt.ylim(0)
plt.title(f"Span corruption on two alphabets, {sum(p.numel() for p in fresh.parameters()):,} parameters")
show(f"The loss falls from {losses[0]:.1f} to {losses[-1]:.2f} in {len(losses)} steps.")

# %% [markdown]
# ### What it fills in

# %%
held_out, right = corrupted(200, seeded(9))
said = generate(speller, held_out, right.size(1))[:, 1:]
exact = (nn.functional.pad(said, (0, right.size(1) - said.size(1))) == right).all(1).float().mean()
rows = []
for text in (
    "a b <extra_id_0> f g h i <extra_id_1>",
    "г д <extra_id_0> з и й <extra_id_1>",
    "п р с <extra_id_0> ф х ц <extra_id_1>",
):
    answer = generate(speller, torch.tensor([[ID[name] for name in text.split()] + [ID["</s>"]]]), 12)[0, 1:]
    rows.append([f"`{text}`", f"`{' '.join(NAMES[index] for index in answer.tolist())}`"])
table(["input", "the model wrote"], rows)
print(f"of {len(right)} random holes {exact:.0%} are filled without a mistake")

# %% [markdown]
# ### What pre-training is worth
#
# Now a task, with a prefix: `next: d e` → `f g h`. Half of the pairs are for learning, the other half are kept back,
# and there are few steps. One model has been pre-trained, its twin begins with the same fresh weights. This is Table
# 1's last row in miniature. The figure shows how many letters are right, on the pairs that were learnt and on those
# that were not.

# %%
pairs = [(letters[i : i + 2], letters[i + 2 : i + 5]) for letters in ALPHABETS for i in range(len(letters) - 4)]
asked = torch.tensor([[ID["next:"], *(ID[c] for c in given), ID["</s>"]] for given, _ in pairs])
answers = torch.tensor([[*(ID[c] for c in wanted), ID["</s>"]] for _, wanted in pairs])
order = torch.randperm(len(pairs), generator=seeded(0))
taught, kept_back = order[: len(pairs) // 2], order[len(pairs) // 2 :]
results = {}
for name, begin in (("pre-trained", speller), ("from scratch", fresh)):
    model = copy.deepcopy(begin).train()
    fit(model, lambda step: (asked[taught], answers[taught]), 60, 1e-2)
    model.eval()
    for rows in (taught, kept_back):
        said = generate(model, asked[rows], 4)[:, 1:4]
        said = nn.functional.pad(said, (0, 3 - said.size(1)))
        results.setdefault(name, []).append((said == answers[rows][:, :3]).float().mean().item())
for number, (name, both) in enumerate(results.items()):
    plt.bar([i + 0.35 * number for i in range(2)], both, 0.35, color=(BLUE, GREY)[number], label=name)
plt.xticks([0.175, 1.175], ["pairs that were learnt", "pairs that were kept back"])
plt.ylabel("letters that are right")
plt.title("The same 60 steps of fine-tuning")
plt.legend()
shares_right = [f"{name}: {learnt:.0%} where it learnt, {new:.0%} elsewhere" for name, (learnt, new) in results.items()]
show("Letters that are right. " + "; ".join(shares_right))

# %% [markdown]
# ## The family: sizes
#
# The published models. Parameters are counted here from the configuration. The paper prints 60M, 220M, 770M, 2.8B and
# 11B (section 3.7). The original weights have also been trained on the supervised tasks (multi-task pre-training),
# which is why they answer prefixes without fine-tuning.

# %%
SIZES = {
    "t5-small": SMALL,
    "t5-base": {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
    "t5-large": LARGE,
    "t5-3b": {"d_model": 1024, "d_kv": 128, "d_ff": 16_384, "num_layers": 24, "num_heads": 32},
    "t5-11b": {"d_model": 1024, "d_kv": 128, "d_ff": 65_536, "num_layers": 24, "num_heads": 128},
}
PARAMETERS, rows = {}, []
for name, sizes in SIZES.items():
    config = T5Config(**sizes)
    PARAMETERS[name] = count(**sizes)
    shown = (config.num_layers, config.d_model, config.d_ff, config.num_heads, config.d_kv)
    rows.append([f"`{name}`", *(f"{number:,}" for number in shown), f"{PARAMETERS[name]:,}"])
table(["model", "layers a side", "d_model", "d_ff", "heads", "d_kv", "parameters"], rows)

# %% [markdown]
# From large to 11B neither depth nor $d_{model}$ grows: $d_{ff}$ becomes 16 times as wide, and heads eight times as
# many and twice as wide, because large dense products are what accelerators do best. (Large with a head of its own
# would have the paper's 770 million; tied it has 737.)

# %%
print(f"{large[1]:,} untied, {large[0]:,} tied")

# %% [markdown]
# ### Version 1.1
#
# Released later, pre-trained on C4 alone, so that it has to be fine-tuned before it does anything:
#
# - a **gated** feed-forward network, GEGLU (Shazeer, 2020, [arXiv:2002.05202](https://arxiv.org/abs/2002.05202));
# - no dropout in pre-training; a head of its own, not scaled;
# - other shapes for the two largest, called XL and XXL.
#
# $$\mathrm{FFN}_{\mathrm{GEGLU}}(x) = \big(\mathrm{GELU}(x W_0) \odot x W_1\big) W_2$$
#
# Three matrices in place of two, so $d_{ff}$ is two thirds as large for the same number of parameters. Shazeer's Table
# 1, log-perplexity on held-out spans after 524,288 steps (lower is better): ReLU 1.677, GELU 1.679, SwiGLU 1.636,
# **GEGLU 1.633**. Why gates help he leaves open.

# %% code="lecturekit.models.t5:T5DenseGatedActDense" docstring=false

# %% [markdown]
# ### mT5: 101 languages
#
# Xue et al. (2021, [arXiv:2010.11934](https://arxiv.org/abs/2010.11934)): the architecture of v1.1, span corruption
# alone, and mC4, Common Crawl in 101 languages, **Russian being the second largest** after English. The vocabulary
# grows to 250,112, and with it the share of the model that is only words.

# %%
V11 = {"vocab_size": 250_112, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
MT5 = {
    "small": {"d_model": 512, "d_ff": 1024, "num_layers": 8, "num_heads": 6},
    "base": {"d_model": 768, "d_ff": 2048, "num_layers": 12, "num_heads": 12},
    "large": {"d_model": 1024, "d_ff": 2816, "num_layers": 24, "num_heads": 16},
    "xl": {"d_model": 2048, "d_ff": 5120, "num_layers": 24, "num_heads": 32},
    "xxl": {"d_model": 4096, "d_ff": 10_240, "num_layers": 24, "num_heads": 64},
}
PRINTED = ["300 million", "580 million", "1.2 billion", "3.7 billion", "13 billion"]
rows = []
for (name, sizes), printed in zip(MT5.items(), PRINTED, strict=True):
    total = count(**V11, **sizes)
    rows.append([f"mt5-{name}", f"{total:,}", printed, f"{2 * 250_112 * sizes['d_model'] / total:.0%}"])
table(["model", "parameters, counted", "as printed", "embeddings and head"], rows)

# %% [markdown]
# ### How often each language comes
#
# In proportion to size, Yoruba would hardly be seen; equally often, it would be learnt by heart. mT5 draws
# a language $L$ with $p(L) \propto |L|^{\alpha}$, $\alpha = 0.3$. Its Table 6 has 3,067 million English pages and 756
# million Russian ones, and shares of 5.67 % and 3.71 %. The exponent does it:

# %%
for alpha in (1.0, 0.3, 0.0):
    drawn = (756 / 3067) ** alpha
    print(f"α = {alpha}: {drawn:.2f} Russian pages for each English one;  printed shares: {3.71 / 5.67:.2f}")

# %% [markdown]
# ### mT5's results
#
# XNLI: does one sentence follow from the other, in 15 languages (Russian is one of them), **fine-tuned on English
# alone**. Accuracy, mean over languages (mT5's Table 2):
#
# | mBERT | XLM | XLM-R | mT5 small | base | large | XL | XXL |
# |---|---|---|---|---|---|---|---|
# | 65.4 | 69.1 | 79.2 | 67.5 | 75.4 | 81.1 | 82.9 | **85.0** |
#
# A generator can answer in the wrong language: fine-tuned on English questions, mT5 sometimes answers others partly in
# English. The authors call it accidental translation, and cure it by mixing in some of the multilingual pre-training.

# %% [markdown]
# ### Russian: ruT5
#
# `ai-forever/ruT5-base` and `ruT5-large` (222 and 737 million parameters), pre-trained on Russian without labels: they
# have the shapes of T5's base and large, so that

# %%
f"{PARAMETERS['t5-base']:,} and {PARAMETERS['t5-large']:,} parameters"

# %% [markdown]
# They must be fine-tuned before use. (With a network: `pretrained.load("ai-forever/ruT5-base")`.)

# %% [markdown]
# ## Results: putting it all together
#
# For the final models: spans of 3, a trillion tokens, multi-task pre-training, each GLUE task fine-tuned by itself,
# beam search with width 4 for translations and summaries. Test sets, for SQuAD the validation set (Table 14):

# %%
FINAL = {  # Table 14: GLUE, SuperGLUE, SQuAD exact match, F1, CNN/DM ROUGE-2, EnDe, EnFr, EnRo
    "best before": (89.4, 84.6, 90.1, 95.5, 20.30, 33.8, 43.8, 38.5),
    "T5 small": (77.4, 63.3, 79.10, 87.24, 19.56, 26.7, 36.0, 26.8),
    "T5 base": (82.7, 76.2, 85.44, 92.08, 20.34, 30.9, 41.2, 28.0),
    "T5 large": (86.4, 82.3, 86.66, 93.79, 20.68, 32.0, 41.5, 28.1),
    "T5 3B": (88.5, 86.4, 88.53, 94.95, 21.02, 31.8, 42.6, 28.2),
    "T5 11B": (90.3, 88.9, 91.26, 96.22, 21.55, 32.1, 43.4, 28.1),
}
head = ["", "GLUE", "SuperGLUE", "SQuAD EM", "SQuAD F1", "CNN/DM", "EnDe", "EnFr", "EnRo"]
table(head, [[name, *numbers] for name, numbers in FINAL.items()])

# %% [markdown]
# ### Size against score
#
# The same numbers over the parameters that we have counted. On SuperGLUE people have 89.8; 11B comes within a point. No
# curve has levelled off.

# %%
counted = list(PARAMETERS.values())
for column, name, colour in ((0, "GLUE", BLUE), (1, "SuperGLUE", ORANGE), (2, "SQuAD, exact match", GREEN)):
    scores = [numbers[column] for model, numbers in FINAL.items() if model.startswith("T5")]
    plt.plot(counted, scores, "o-", color=colour, label=name)
plt.axhline(89.8, color=GREY, linestyle="--", label="people, on SuperGLUE")
plt.xscale("log")
plt.xlabel("parameters")
plt.ylabel("score")
plt.title("T5's five sizes (Table 14)")
plt.legend(fontsize=8)
show("Three curves rise with the parameters, from 60 million to 11 billion; SuperGLUE ends a little below people.")

# %% [markdown]
# ### Was it all size?
#
# No (Table 15, validation sets). Thirty times the tokens help the baseline; the other decisions of the study help about
# as much again, at the same size and the same number of tokens.
#
# | 220 million parameters | GLUE | CNNDM | SQuAD | SGLUE | EnDe | EnFr | EnRo |
# |---|---|---|---|---|---|---|---|
# | baseline, 34 billion tokens | 83.28 | 19.24 | 80.88 | 71.36 | 26.98 | 39.82 | 27.65 |
# | baseline, 1 trillion tokens | 84.80 | 19.62 | 83.01 | 73.90 | 27.46 | 40.30 | 28.34 |
# | T5 base, 1 trillion tokens | 85.97 | 20.90 | 85.44 | 75.64 | 28.37 | 41.37 | 28.98 |

# %% [markdown]
# ### Where it did not win
#
# - **Translation**: none of the three pairs. C4 is English; the best systems used back-translation.
# - **Tasks with little data** such as COPA and WSC, which people solve without a mistake.
# - On reading (MultiRC, ReCoRD) it is *above* people. The authors' own reading: the measure may favour machines.
# - ROUGE went up; that a summary is truer or reads better does not follow.

# %% [markdown]
# ### Russian SuperGLUE
#
# The same benchmark made for Russian ([russiansuperglue.com](https://russiansuperglue.com)); some rows of its table as
# deck 000 shows it. mT5 large leads what was fine-tuned, and is far below people:
#
# | | score |
# |---|---|
# | people | 0.811 |
# | RuGPT3-XL, few-shot | 0.535 |
# | mT5 large | 0.528 |
# | RuBERT | 0.521 |
# | RuGPT3-large | 0.505 |
# | multilingual BERT | 0.495 |
# | heuristics and the most frequent answer | 0.468 |
# | TF-IDF | 0.434 |

# %% [markdown]
# ## Relatives
#
# | model | what it shares with T5 | what differs |
# |---|---|---|
# | MASS (Song et al., 2019) | encoder-decoder, a hidden span is written | the mask is kept token by token |
# | BART (Lewis et al., 2020) | encoder-decoder, denoising | writes the whole text again; any damage to the input |
# | Switch Transformer (Fedus et al., 2022) | T5's form and objective | each token goes to one of many experts |
# | FLAN-T5 (Chung et al., 2022) | T5's weights | fine-tuned on instructions in plain words |
# | ByT5 (Xue et al., 2022) | mT5's recipe | reads bytes |

# %% [markdown]
# ## Limits
#
# - **A label costs a decoder.** To say "positive" a whole stack runs; BERT's head is cheaper. Scores of classes have to
#   be computed from the probabilities of words.
# - **Nothing keeps the answer within bounds.** It may be any text, in any language, and none of it need be true.
# - **Prefixes are names, not instructions.** `product:` means nothing to a model that was not taught it; compare
#   [in-context learning](05_gpt.ipynb).
# - **One change at a time** misses what only works together (the authors say so, section 3); what is best at 220
#   million parameters need not be at 11 billion.
# - **Rules clean crudely.** C4's list of words and its English detector drop dialects and pages about minorities more
#   often than others (Dodge et al., 2021, [arXiv:2104.08758](https://arxiv.org/abs/2104.08758)).
# - **English.** Vocabulary and text are; Russian needs mT5 or ruT5.

# %% [markdown]
# ## What to take along
#
# 1. Every task as text: one model, one loss, one decoder; the prefix names the task, even a number is written.
# 2. Three changes: pre-norm that only scales; a bias for each distance, in buckets, shared by all layers; no biases in
#    maps.
# 3. Scores are not divided by $\sqrt d$: queries start smaller.
# 4. Span corruption: hide 15 % in spans of three, write only what was hidden. Short targets make it cheap.
# 5. Measured: denoising nearly always beats the next token, clean text beats raw, fresh text beats repeated, larger
#    beats longer, and the details of hiding hardly matter.
#
# **Now do it**: [lab 6](../labs/lab06/lab06.ipynb), norm, buckets, attention, spans, caches, and a T5 that learns two
# tasks.

# %% [markdown]
# ### Questions to think about
#
# 1. Which head of the small T5 prefers its left neighbour? Set its bias to zero: what does the model answer?
# 2. A colleague loads T5's weights into a Transformer that divides by $\sqrt d$. What happens to the attention weights?
# 3. Why has cross-attention no bias for positions? What would a bias by $j - i$ say there?
# 4. With 15 % and spans of 3, how long are input and target of 100 tokens? Check with `noise_counts`.
# 5. Write "is this name a person or a city?" as text in, text out. How do you read the answer, and what if it is
#    neither?

# %% [markdown]
# ## Links
#
# - Raffel et al. *Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer.* JMLR 2020.
#   [arXiv:1910.10683](https://arxiv.org/abs/1910.10683); [pdf at
#   JMLR](https://jmlr.org/papers/volume21/20-074/20-074.pdf); inputs of every task in appendix D.
# - Shaw, Uszkoreit, Vaswani. *Self-Attention with Relative Position Representations.* NAACL 2018.
#   [arXiv:1803.02155](https://arxiv.org/abs/1803.02155)
# - Zhang, Sennrich. *Root Mean Square Layer Normalization.* 2019. [arXiv:1910.07467](https://arxiv.org/abs/1910.07467)
# - Press, Wolf. *Using the Output Embedding to Improve Language Models.* 2017.
#   [arXiv:1608.05859](https://arxiv.org/abs/1608.05859)
# - Shazeer, Stern. *Adafactor.* 2018. [arXiv:1804.04235](https://arxiv.org/abs/1804.04235); Shazeer. *GLU Variants
#   Improve Transformer.* 2020. [arXiv:2002.05202](https://arxiv.org/abs/2002.05202), Table 1
# - Xue et al. *mT5.* NAACL 2021. [arXiv:2010.11934](https://arxiv.org/abs/2010.11934), Tables 2 and 6
# - Lewis et al. *BART.* ACL 2020. [arXiv:1910.13461](https://arxiv.org/abs/1910.13461); Fedus et al. *Switch
#   Transformers.* JMLR 2022. [arXiv:2101.03961](https://arxiv.org/abs/2101.03961); Chung et al. *Scaling
#   Instruction-Finetuned Language Models.* 2022. [arXiv:2210.11416](https://arxiv.org/abs/2210.11416)
# - C4: [tensorflow.org/datasets/catalog/c4](https://www.tensorflow.org/datasets/catalog/c4);
#   [Common Crawl](https://commoncrawl.org); ruT5: [ai-forever/ruT5-base](https://huggingface.co/ai-forever/ruT5-base)
# - The code: `lecturekit/models/t5.py`, `lecturekit/objectives.py`, `lecturekit/optim.py`.
