# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lecture 4. Transfer learning and BERT
#
# A model that has read a lot of text without labels knows things that a task with a few thousand labels cannot teach.
# This lecture tells how that knowledge is carried over: first by *features* (ELMo), then by *fine-tuning* (ULMFiT,
# BERT). Then it takes BERT apart, number by number, and looks at what its attention does.
#
# | part | |
# |---|---|
# | 1–2 | why transfer; words in context: ELMo and ULMFiT |
# | 3–5 | BERT: the idea, the input, the architecture by numbers |
# | 6–7 | pre-training and fine-tuning |
# | 8–9 | results; what BERT cannot do |
# | 10–11 | what its attention does; what its layers know |
# | 12 | Russian models and Russian tasks |
#
# You need [lecture 3](03_transformer.ipynb), the Transformer. The lab that goes with this lecture is
# [lab 4](../labs/lab04/lab04.ipynb). "The paper" is Devlin et al., 2019,
# [arXiv:1810.04805](https://arxiv.org/abs/1810.04805); sections and tables without a name are that paper's.
#
# *Deck 004* and the like are the slides that this course grew from, listed in `course/COVERAGE.md`.

# %%
import math
import time
from dataclasses import replace
from functools import cache

import matplotlib.pyplot as plt
import torch
from IPython.display import Markdown, display
from torch import nn

from lecturekit import data, pretrained, widgets
from lecturekit.layers import ACTIVATIONS, token_loss
from lecturekit.models.bert import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    count_parameters,
)
from lecturekit.objectives import IGNORED, mask_tokens, next_sentence_pairs
from lecturekit.optim import linear_schedule, slanted_triangular_schedule
from lecturekit.slides import show, table
from lecturekit.transfer import best_spans, freeze, matthews_correlation, token_features

torch.manual_seed(0)
torch.set_num_threads(1)


# %% [markdown]
# ### The model of this lecture
#
# It is small: a BERT of four layers that has read *War and Peace* in English and in Russian. It needs no network. With
# one, `pretrained.load("bert-base-cased")` or `pretrained.load("DeepPavlov/rubert-base-cased")` gives a large one in
# its place, for every widget below and for the cells that do not ask for our tokenizer's own names.

# %%
bert, tokenizer = pretrained.load("bert")
config = bert.config
card = pretrained.card("bert")
table(
    ["layers", "width", "heads", "vocabulary", "parameters", "read"],
    [
        [
            config.num_hidden_layers,
            config.hidden_size,
            config.num_attention_heads,
            f"{config.vocab_size:,}",
            f"{card['parameters']:,}",
            "; ".join(card["data"]),
        ]
    ],
)

# %% [markdown]
# ## 1. Why transfer
#
# Computer vision did it first. A large network (ResNet-152 has some 60 million parameters) learns well from a large
# data set (ImageNet, some 14 million pictures), and overfits on the few hundred pictures of *your* task. So it is
# trained on the large one first, and then
#
# - with a **middle-sized** data set all of it goes on learning on the task: *fine-tuning*;
# - with a **small** one its weights are *frozen*, and only a new last layer learns.
#
# What is ImageNet for language? The answer of this lecture: any text at all. To guess a hidden word one has to know
# grammar, meaning and facts, and nobody has to label anything.

# %% [markdown]
# ### Several tasks, one model
#
# In **multi-task learning** one model solves all tasks of a set $D$ (Kaiser et al., 2017,
# [arXiv:1706.05137](https://arxiv.org/abs/1706.05137)):
#
# $$P(\text{output} \mid \text{input}, \text{task};\ \theta, \theta_{\text{task}})$$
#
# where $\theta$ is shared and $\theta_{\text{task}}$ belongs to one task. It saves computing, and what one task teaches
# may help another that has few examples. In **transfer learning** only one task counts, the *target*; the others are
# there to help. Almost always it goes in two stages:
#
# 1. **pre-training** on the auxiliary tasks gives $\theta$;
# 2. on the target task a part of the parameters *begins* with these values.
#
# Word vectors (word2vec, fastText) are the oldest instance in this field: a table is pre-trained, everything above it
# is new.

# %% [markdown]
# ### How many examples
#
# | examples of the target task | name | like |
# |---|---|---|
# | 0 | zero-shot | recognising an animal that you know only from a description |
# | 1 to 10 or so | one-shot, few-shot | recognising one that you have seen twice |
# | hundreds and more | fine-tuning | learning the job |
#
# For a language model both multi-task and few-shot learning can be told in text: the task, and its examples, stand in
# the input («Вопрос: где родился Пушкин? Ответ:» and the model goes on). That is the subject of
# [lecture 5](05_gpt.ipynb), and with answers as text of [lecture 6](06_t5.ipynb).

# %% [markdown]
# ### Two ways to use what was learnt
#
# **Feature-based**: the pre-trained model stays as it is, and its outputs are the inputs of a model made for the task.
# Every task has an architecture of its own. **Fine-tuning**: the pre-trained model gets a small head, and all of it
# learns on. One architecture serves all tasks.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
for ax, title, body, top, note in (
    (axes[0], "features", "pre-trained model\n(frozen)", "a model made for the task\n(learns from zero)", "vectors"),
    (axes[1], "fine-tuning", "pre-trained model\n(goes on learning)", "a small head\n(learns from zero)", "vectors"),
):
    learns = "#E69F00"
    ax.add_patch(plt.Rectangle((0, 0), 4, 1.1, color="#cccccc" if title == "features" else learns, alpha=0.6))
    height = 1.1 if title == "features" else 0.6
    ax.add_patch(plt.Rectangle((0, 1.7), 4, height, color=learns, alpha=0.6))
    ax.text(2, 0.55, body, ha="center", va="center")
    ax.text(2, 1.7 + height / 2, top, ha="center", va="center", fontsize=9)
    ax.annotate("", (2, 1.7), (2, 1.1), arrowprops={"arrowstyle": "->"})
    ax.text(2.1, 1.4, note, va="center", fontsize=9)
    ax.annotate("", (2, 0), (2, -0.5), arrowprops={"arrowstyle": "->"})
    ax.text(2.1, -0.4, "text", fontsize=9)
    ax.set(xlim=(-0.2, 4.2), ylim=(-0.6, 3.0), title=title)
    ax.axis("off")
show(
    "Left: a frozen pre-trained model hands vectors to a large model made for the task, which learns. Right: the "
    "pre-trained model goes on learning, under a small head.",
    figure,
)

# %% [markdown]
# ## 2. Words in context
#
# Many words have several meanings, and only the words around them tell which is meant:
#
# | | one meaning | another |
# |---|---|---|
# | лук | суп из **лука** | стрелять из **лука** |
# | свет | **свет** свечи | высший **свет** |
# | мир | **мир** после войны | весь **мир** |
# | автомат | конечный **автомат** | солдат с **автоматом** |
# | bank | a river **bank** | a savings **bank** |
#
# word2vec gives each word one vector, whatever stands around it. The remedy: the vector of a word is a *function of the
# whole sentence*.

# %% [markdown]
# ### One word, four sentences
#
# How alike are the vectors of «свет» in four sentences of our small BERT, in what goes *into* its first layer and in
# what comes out of its last? (Cosines, after the mean vector of all tokens was taken off.) The first two are about
# light, the others about society. Going in, only the position tells them apart: where two stand at the same place they
# go in as one vector (cosine 1), and come out as two. So the sentence has changed them. It has not sorted them by
# meaning: light in sentence 2 and society in 3 are at 0.90, society in 3 and 4 at 0.80. A larger model does (*play*,
# below, in the results of ELMo).

# %%
texts = ["Яркий свет в окне.", "Тёплый свет от свечи.", "Весь высший свет был там.", "Она любила большой свет."]
vectors = {"into layer 1": [], f"out of layer {config.num_hidden_layers}": []}
everything = {name: [] for name in vectors}
for text in texts:
    ids = tokenizer(text)["input_ids"]
    place = ids.index(tokenizer.encode("свет")[0])
    with torch.no_grad():
        hidden = bert.bert(torch.tensor([ids]), output_hidden_states=True).hidden_states
    for name, state in zip(vectors, (hidden[0], hidden[-1]), strict=True):
        vectors[name].append(state[0, place])
        everything[name].append(state[0])

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
for ax, (name, found) in zip(axes, vectors.items(), strict=True):
    unit = torch.stack(found) - torch.cat(everything[name]).mean(dim=0)
    unit = unit / unit.norm(dim=-1, keepdim=True)
    cosines = unit @ unit.T
    ax.imshow(cosines, vmin=-0.5, vmax=1, cmap="Blues")
    for row in range(4):
        for column in range(4):
            value = cosines[row, column].item()
            ax.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "black")
    ax.set(title=name, xticks=range(4), xticklabels=[1, 2, 3, 4], yticks=range(4))
    ax.set_yticklabels([f"{number} {text}" for number, text in enumerate(texts, 1)] if ax is axes[0] else [1, 2, 3, 4])
show(
    "Cosines between the vectors of one Russian word in four sentences, before the first layer and after the last: "
    "coming out all four differ, but not by meaning; light and society are as alike as two of a kind.",
    figure,
)

# %% [markdown]
# ### Language models, in both directions
#
# A language model gives a text a probability, and the chain rule cuts it into steps ([lecture 1](01_seq2seq.ipynb)):
#
# $$P(w_1, \dots, w_n) = \prod_{i=1}^{n} P(w_i \mid w_1, \dots, w_{i-1}; \overrightarrow\theta)$$
#
# That is the **forward** model. A **backward** one reads from the end and has parameters of its own:
#
# $$P(w_1, \dots, w_n) = \prod_{i=1}^{n} P(w_i \mid w_{i+1}, \dots, w_n; \overleftarrow\theta)$$
#
# Both need text alone, and both have to make a vector of a context. That vector is what we want.

# %% [markdown]
# ### Before ELMo
#
# - **Semi-supervised sequence learning** (Dai and Le, 2015, [arXiv:1511.01432](https://arxiv.org/abs/1511.01432)):
#   train an LSTM as a language model on what text there is, then go on with the same weights as a classifier. The label
#   may be asked for at every step, with a weight in the loss that grows from 0 to 1 along the text. (They also
#   pre-train by repeating the text, an autoencoder.)
# - **Skip-thought** (Kiros et al., 2015, [arXiv:1506.06726](https://arxiv.org/abs/1506.06726)): an encoder-decoder of
#   GRUs that reads a sentence and writes the one before it and the one after it.
# - **CoVe** (McCann et al., 2017, [arXiv:1708.00107](https://arxiv.org/abs/1708.00107)): the encoder of a translation
#   model (a two-layer LSTM over GloVe vectors); its outputs, beside GloVe's, are the features.

# %% [markdown]
# ### ELMo: two LSTMs
#
# ELMo (Embeddings from Language Models; Peters et al., 2018, [arXiv:1802.05365](https://arxiv.org/abs/1802.05365))
# trains a forward and a backward LSTM language model together. Token $t_k$
#
# 1. gets a vector $x_k$ that knows no context, from a convolution over its characters;
# 2. passes $L$ layers of LSTM in each direction ($L = 2$), whose states $\overrightarrow h_{k,j}$ and
#    $\overleftarrow h_{k,j}$ know everything on one side;
# 3. from the last layer a softmax guesses the neighbour, $t_{k+1}$ or $t_{k-1}$.
#
# Token vectors $\Theta_x$ and softmax $\Theta_s$ are shared by the two directions, the LSTMs are not:
#
# $$\sum_{k=1}^N \log P(t_k \mid t_1 \dots t_{k-1};\ \Theta_x, \overrightarrow\Theta, \Theta_s) + \log P(t_k \mid
# t_{k+1} \dots t_N;\ \Theta_x, \overleftarrow\Theta, \Theta_s) \to \max$$

# %% [markdown]
# ### ELMo: a mixture for each task
#
# A token has $2L + 1$ vectors. The two directions of a layer are put side by side, $h_{k,j} = [\overrightarrow h_{k,j};
# \overleftarrow h_{k,j}]$, and $h_{k,0}$ is $x_k$, twice. The task then learns $L + 2$ numbers, weights that sum to
# one and a scale:
#
# $$\mathrm{ELMo}_k^{\text{task}} = \gamma^{\text{task}} \sum_{j=0}^{L} s_j^{\text{task}} h_{k,j},
# \qquad s = \mathrm{softmax}(w)$$
#
# The task's model reads $[x_k; \mathrm{ELMo}_k]$ in place of its word vectors. ELMo's own weights stay as they are.

# %%
figure, ax = plt.subplots(figsize=(9, 4))
weights = torch.tensor([0.2, 1.0, 0.4]).softmax(dim=0).tolist()
rows = ["x  (no context)", "layer 1", "layer 2"]
for row, (name, weight) in enumerate(zip(rows, weights, strict=True)):
    for column, colour in enumerate(("#0072B2", "#009E73")):
        for cell in range(4):
            ax.add_patch(
                plt.Rectangle((column * 2.2 + cell * 0.5, row), 0.45, 0.6, color=colour, alpha=0.35 + 0.15 * row)
            )
    ax.text(-0.2, row + 0.3, name, ha="right", va="center")
    ax.text(4.75, row + 0.3, f"× s = {weight:.2f}", va="center")
    ax.annotate("", (7.3, 1.3), (6.1, row + 0.3), arrowprops={"arrowstyle": "->"})
for cell in range(8):
    ax.add_patch(plt.Rectangle((7.5 + cell * 0.35, 1), 0.3, 0.6, color="#E69F00", alpha=0.7))
ax.text(8.9, 1.9, "× γ:  ELMo of “stick”", ha="center")
ax.text(0.95, 3, "forward\nLet's stick →", ha="center", fontsize=9)
ax.text(3.2, 3, "backward\n← stick to", ha="center", fontsize=9)
ax.set(xlim=(-2, 10.5), ylim=(-0.2, 3.6))
ax.axis("off")
show("Three rows of vectors of one token, a forward and a backward half in each; weighted and added into one.", figure)

# %% [markdown]
# ### ELMo: results
#
# Six tasks, each with its own earlier architecture as baseline (table 1 of the ELMo paper; the increase is absolute and
# relative, of the error):
#
# | task | best before | baseline | with ELMo | increase |
# |---|---|---|---|---|
# | SQuAD (answers in a text) | 84.4 | 81.1 | 85.8 | 4.7 / 24.9 % |
# | SNLI (does it follow?) | 88.6 | 88.0 | 88.7 ± 0.17 | 0.7 / 5.8 % |
# | SRL (semantic roles) | 81.7 | 81.4 | 84.6 | 3.2 / 17.2 % |
# | coreference | 67.2 | 67.2 | 70.4 | 3.2 / 9.8 % |
# | NER (names) | 91.93 ± 0.19 | 90.15 | 92.22 ± 0.10 | 2.06 / 21 % |
# | SST-5 (sentiment) | 53.7 | 51.4 | 54.7 ± 0.5 | 3.3 / 6.8 % |
#
# And the point of it all (table 4 there): GloVe's neighbours of *play* are *playing, game, games, played, players…*,
# all of sports and games. To ELMo's vector of *play* in a sentence about baseball the nearest is *play* in another
# sentence about baseball; to that of *play* on Broadway, *play* in a sentence about actors.

# %% [markdown]
# ### ULMFiT: three stages
#
# ULMFiT (Howard and Ruder, 2018, [arXiv:1801.06146](https://arxiv.org/abs/1801.06146)) fine-tunes: the LSTM language
# model itself becomes the classifier.
#
# 1. Train a language model on general text (Wikipedia).
# 2. Go on with it, as a language model, on text *of the target's domain*, say film reviews; still no labels.
# 3. Put a classifier on top of it and go on with labels.
#
# Fine-tuning a whole network at once makes it *forget* what it knew, before it has learnt anything. Four things keep it
# from that:
#
# - **gradual unfreezing**: at first only the last layer learns, then the last two, and so on downwards;
# - **discriminative learning rates**: each layer learns 2.6 times slower than the one above it (section 3.2 there);
# - **slanted triangular rates**: up in a short while, down in a long one;
# - **concat pooling**: the classifier reads $[h_T;\ \mathrm{maxpool}(h);\ \mathrm{meanpool}(h)]$, for the word that
#   decides may stand anywhere.

# %% code="lecturekit.optim:slanted_triangular_schedule"

# %%
figure, ax = plt.subplots(figsize=(7, 2.8))
total = 1000
for layer in range(4):
    rate = [slanted_triangular_schedule(step, total) / 2.6**layer for step in range(total)]
    ax.plot(rate, label="last layer" if layer == 0 else f"{layer} below it")
ax.set(xlabel="step", ylabel="rate / highest rate", title="slanted triangular rates, 2.6 times smaller a layer down")
ax.legend()
show("Four lines that rise for a tenth of the steps and then fall; each lower layer's line is 2.6 times lower.", figure)

# %% [markdown]
# ### ULMFiT: results
#
# Error on the test set, in per cent (tables 2 and 3 of that paper):
#
# | | IMDb | TREC-6 | AG news |
# |---|---|---|---|
# | CoVe | 8.2 | 4.2 | |
# | best before | 5.9 | 3.9 | 6.57 |
# | ULMFiT | **4.6** | **3.6** | **5.01** |
#
# Its figure 3 is about few labels: with 100 of them ULMFiT does as well as a model trained from zero with 10 to 100
# times as many. That is what transfer is for.

# %% [markdown]
# ### What recurrent networks could not do
#
# 1. They compute one state after the other, so a text's positions cannot be computed side by side.
# 2. ELMo puts two one-sided models *next to each other*. No layer of it sees both sides at once.
# 3. What is near weighs more than what is far: everything from far away has come through many steps.
#
# Self-attention has none of the three. What does it cost?

# %% [markdown]
# ### What self-attention costs
#
# A text of $n$ tokens, width $d$, $h$ heads of $d/h$ each. For **one head**:
#
# | step | operations |
# |---|---|
# | $Q, K, V$ from $X$ | $O(n \cdot d \cdot d/h)$ |
# | scores $A = Q K^\top$ | $O(n \cdot n \cdot d/h)$ |
# | $\mathrm{softmax}(A)\, V$ | $O(n \cdot n \cdot d/h)$ |
#
# and for all heads together the output projection, $O(n d^2)$. With $h$ heads that makes $O(n d^2 + n^2 d)$. In a layer
# with its feed-forward network that is $12 n d^2 + 2 n^2 d$ multiplications; the second term is the larger one only
# beyond $n = 6d$:

# %%
width = 768
rows = []
for n in (64, 128, 512, 1024, 2048, 4096, 6 * width):
    maps, scores = 12 * n * width**2, 2 * n**2 * width
    rows.append([n, f"{maps:.2e}", f"{scores:.2e}", f"{scores / (maps + scores):.0%}"])
table(["n", "12 n d² (all maps)", "2 n² d (scores and context)", "share of the latter"], rows)

# %% [markdown]
# ## 3. BERT: the idea
#
# *Bidirectional Encoder Representations from Transformers*, from Google, October 2018. ELMo had come out in February,
# GPT in June of that year. Four things differ from ELMo:
#
# | | ELMo | BERT |
# |---|---|---|
# | made of | LSTMs | a Transformer's encoder |
# | directions | two one-sided models side by side | one model that sees both sides in every layer |
# | learns by | guessing the next word | filling in blanks |
# | used by | features | fine-tuning |
#
# And it reads word pieces, of a vocabulary of some 30,000: WordPiece's, see [lecture 2](02_tokenization.ipynb). (Where
# ELMo is called unidirectional, this is meant: it has both directions, but no layer that combines them.)

# %% [markdown]
# ### Why not guess the next word from both sides?
#
# Because the answer would be there. Suppose every token saw all others but itself, so that it has to guess itself. One
# layer is fair. In two layers the neighbour, who has seen me, tells me who I am: *a two-sided model can cheat*. Count
# the paths from a token to itself:

# %%
length = 6
others = torch.ones(length, length) - torch.eye(length)  # who sees whom: everybody but oneself
left = torch.tril(torch.ones(length, length), -1)  # who sees whom, if only what stands to the left
table(
    ["layers", "paths from a token to itself, both sides", "left side only"],
    [[n, int(torch.matrix_power(others, n)[2, 2]), int(torch.matrix_power(left, n)[2, 2])] for n in (1, 2, 3)],
)

# %% [markdown]
# ### The cloze
#
# So the answer has to be taken *out of the input*. BERT hides 15 % of the tokens and asks for these alone
# (**masked language modelling**, MLM; an old exercise for pupils, called cloze, Taylor, 1953):
#
# ```
# the man went to the [MASK] to buy a [MASK] of milk          →  store, gallon
# мужчина пошёл в [MASK] , чтобы купить [MASK] молока          →  магазин, литр
# ```
#
# - **Hide few**, and a text of 100 tokens teaches little: training takes long.
# - **Hide many**, and too little is left to guess from.
#
# Click a word below to hide it. The rows are layers: what would the model say if its head read that layer?

# %%
widgets.masked_words(bert, tokenizer, "Князь Андрей вошёл в комнату и молча посмотрел на неё.", token=6)

# %% [markdown]
# ## 4. What goes in
#
# **Word pieces.** WordPiece ([lecture 2](02_tokenization.ipynb)) cuts a word into the longest pieces that the
# vocabulary has; `##` marks a piece inside a word. A **cased** model tells *Чудесный* from *чудесный*, an **uncased**
# one writes all in small letters first. How they differ from BPE's pieces:
#
# | | BPE | WordPiece |
# |---|---|---|
# | merges | the most frequent pair | the pair with the largest $f(ab) / (f(a) f(b))$ |
# | marks | `walk@@ ing` (a piece that goes on) | `walk ##ing` (a piece that goes on from another) |

# %%
for text in ("чудесный день!", "Чудесный день!", "What a wonderful day!", "a walking-tour, walking"):
    print(f"{text:25}", tokenizer.tokenize(text))

# %% [markdown]
# ### Four rows
#
# A pair of sentences, «Я устал» and «Пойду посплю», becomes four rows of numbers:
#
# - `input_ids`: the tokens' numbers in the vocabulary. `[CLS]` begins every text, `[SEP]` ends each sentence, `[PAD]`
#   fills up the shorter texts of a batch;
# - `attention_mask`: 1 for a token, 0 for padding;
# - `token_type_ids`: 0 up to the first `[SEP]`, 1 from there to the second (and 0 for padding);
# - `position_ids`: 0, 1, 2 …

# %%
rows = tokenizer("Я устал", "Пойду посплю", padding="max_length", max_length=14)
names = [next(token for token, number in tokenizer.vocab.items() if number == index) for index in rows["input_ids"]]
table(["", *names], [[f"`{name}`", *numbers] for name, numbers in rows.items()])

# %% [markdown]
# ### Three tables, added
#
# $$x_t = \mathrm{Dropout}\Big(\mathrm{LayerNorm}\big(E^{\text{word}}_{\text{ids}_t} + E^{\text{position}}_t +
# E^{\text{type}}_{s_t}\big)\Big)$$
#
# (figure 2). All three are learnt, positions too: there are 512 of them, and no 513th. In base that is a table of
# $30{,}522 \times 768$, one of $512 \times 768$ and one of $2 \times 768$.

# %% code="lecturekit.models.bert:BertEmbeddings"

# %% [markdown]
# ## 5. The architecture by numbers
#
# BERT **base** has $L = 12$ layers of width $D = 768$ with $H = 12$ heads, as many as GPT-1, to be compared with it;
# **large** has 24, 1024 and 16. Each box below counts its own parameters. Move the sliders, or press the name of a
# model; a click on a box opens it.

# %%
widgets.parameters("BERT")

# %% [markdown]
# ### 590,592
#
# A linear map from $D$ to $D$ with its bias has $D^2 + D$ parameters. In BERT base that is a number that you will meet
# in five places of the model (query, key, value, the projection behind attention, the pooler), and once more in the
# head of section 6:

# %%
base, large = (
    BertConfig(),
    BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096),
)
width = base.hidden_size
display(
    Markdown(f"$${width} \\times {width} + {width} = {count_parameters(base)['projection']:,}$$".replace(",", "{,}"))
)

# %% [markdown]
# ### Self-attention
#
# Queries, keys and values are three such maps. A row of 768 numbers is cut into 12 heads of 64, and each head computes
#
# $$\mathrm{Attention}(Q, K, V) = \mathrm{softmax}\Big(\frac{Q K^\top}{\sqrt{64}}\Big) V$$
#
# For «Я иду домой» and its first token, one head:
#
# | token | query | key | value | $q k^\top$ | $/\,8$ | softmax | weighted |
# |---|---|---|---|---|---|---|---|
# | Я | $q_1$ | $k_1$ | $v_1$ | $q_1 k_1^\top$ | $q_1 k_1^\top / 8$ | $a_{11}$ | $a_{11} v_1$ |
# | иду | | $k_2$ | $v_2$ | $q_1 k_2^\top$ | $q_1 k_2^\top / 8$ | $a_{12}$ | $a_{12} v_2$ |
# | домой | | $k_3$ | $v_3$ | $q_1 k_3^\top$ | $q_1 k_3^\top / 8$ | $a_{13}$ | $a_{13} v_3$ |
#
# and $z_1$ is the sum of the last column. Nothing is masked but padding: every token sees both sides.

# %% code="lecturekit.models.bert:BertSelfAttention"

# %% [markdown]
# **The same in numbers.** One head of our BERT (its heads are $128 / 4 = 32$ wide), the row of «Я»:

# %%
text = "Я иду домой"
ids = torch.tensor([tokenizer.encode(text)])
names = tokenizer.tokenize(text)
part = bert.bert.encoder.layer[0].attention.self
size = config.hidden_size // config.num_attention_heads
with torch.no_grad():
    x = bert.bert.embeddings(ids)[0]  # [T, D]
    query, key = part.query(x)[:, :size], part.key(x)[:, :size]  # of the first head
    scores = query[0] @ key.T  # [T]
    weights = (scores / math.sqrt(size)).softmax(dim=-1)
table(
    ["token", "q k", f"/ √{size}", "softmax"],
    [
        [name, f"{score:.2f}", f"{score / math.sqrt(size):.2f}", f"{weight:.3f}"]
        for name, score, weight in zip(names, scores.tolist(), weights.tolist(), strict=True)
    ],
)

# %% [markdown]
# ### Where the heads look
#
# All heads of all layers of our model on one sentence. A click on a row shows where that token looks.

# %%
sentence = "Старая книга соседа лежала на столе, а новая лампа стояла в саду."
ids = torch.tensor([tokenizer(sentence)["input_ids"]])
widgets.attention_map(bert, tokenizer, ids=ids)

# %% [markdown]
# ### BertSelfOutput
#
# The heads' results stand side by side again, and one more map mixes them: $\mathrm{MultiHead} =
# \mathrm{Concat}(\mathrm{head}_1 \dots \mathrm{head}_H)\, W^O$, the fourth 590,592. Then dropout, the residual sum, and
# the LayerNorm *behind* the sum (post-norm, as in the original Transformer).

# %% code="lecturekit.models.bert:BertSelfOutput"

# %% [markdown]
# ### BertIntermediate and BertOutput
#
# The feed-forward network widens every token's vector to 3072 numbers and brings it back:
#
# $$\mathrm{FFN}(x) = \mathrm{GELU}(x W_1 + b_1)\, W_2 + b_2$$

# %% code="lecturekit.models.bert:BertIntermediate"

# %% code="lecturekit.models.bert:BertOutput"

# %% [markdown]
# ### GELU
#
# BERT has GELU (*Gaussian error linear unit*, Hendrycks and Gimpel, 2016,
# [arXiv:1606.08415](https://arxiv.org/abs/1606.08415)) where the first Transformer had ReLU: $x \cdot \Phi(x)$, where
# $\Phi$ is the normal distribution's. It is smooth, and small negative numbers are not all lost. `gelu_new` computes it
# with tanh; `silu`, or swish, is $x \cdot \sigma(x)$.

# %%
x = torch.linspace(-4, 3, 200)
figure, ax = plt.subplots(figsize=(6.5, 3))
for name, style in (("relu", ":"), ("gelu", "-"), ("gelu_new", "--"), ("silu", "-.")):
    ax.plot(x, ACTIVATIONS[name](x), style, label=name)
far = (ACTIVATIONS["gelu"](x) - ACTIVATIONS["gelu_new"](x)).abs().max().item()
ax.set(xlabel="x", title=f"activations; gelu and gelu_new differ by at most {far:.4f}", ylim=(-0.5, 3))
ax.legend()
ax.grid(alpha=0.3)
show("ReLU, GELU, GELU with tanh and SiLU from -4 to 3: the smooth ones dip below zero left of zero.", figure)

# %% [markdown]
# ### One layer: 7,087,872

# %% code="lecturekit.models.bert:BertLayer"

# %%
with torch.device("meta"):
    layer = BertModel(replace(base, num_hidden_layers=1)).encoder.layer[0]
groups = {
    "query, key, value": "attention.self.",
    "BertSelfOutput (map and LayerNorm)": "attention.output.",
    "BertIntermediate": "intermediate.",
    "BertOutput (map and LayerNorm)": "output.",
}
counts = {
    name: sum(p.numel() for key, p in layer.named_parameters() if key.startswith(start))
    for name, start in groups.items()
}
counts["BertLayer"] = sum(counts.values())
table(["part", "parameters"], [[name, f"{count:,}"] for name, count in counts.items()])

# %% [markdown]
# ### The encoder
#
# Twelve layers, one after the other, with no weights in common. Mind the count of hidden states: there are $L + 1$,
# since the first is what goes *into* the first layer.

# %% code="lecturekit.models.bert:BertEncoder"

# %% [markdown]
# ### The pooler
#
# `[CLS]` stands for the whole text. Its last vector passes one more map (590,592 once more) and a tanh. This part
# learns during pre-training from the task of section 6 that asks whether two sentences belong together.

# %% code="lecturekit.models.bert:BertPooler"

# %% [markdown]
# ### What a BertModel gives back
#
# Four things, the last two if they are asked for. For base and a text of $N = 128$ tokens:

# %%
with torch.device("meta"):
    model = BertModel(base)
    out = model(torch.zeros(1, 128, dtype=torch.long), output_attentions=True, output_hidden_states=True)
table(
    ["output", "shape"],
    [
        ["`last_hidden_state`", list(out.last_hidden_state.shape)],
        ["`pooler_output`", list(out.pooler_output.shape)],
        ["`hidden_states`", f"{len(out.hidden_states)} × {list(out.hidden_states[0].shape)}"],
        ["`attentions`", f"{len(out.attentions)} × {list(out.attentions[0].shape)}"],
    ],
)

# %% [markdown]
# ### 109,482,240
#
# Everything together, worked out from the configuration and counted in a model with these sizes:


# %%
@cache
def really(config):
    """The parameters of a BertModel, counted."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in BertModel(config).parameters())


by_hand = {"base": count_parameters(base), "large": count_parameters(large)}
table(
    ["part", "BERT base", "BERT large"],
    [[part, *(f"{by_hand[size][part]:,}" for size in by_hand)] for part in by_hand["base"]]
    + [["counted in a model", f"{really(base):,}", f"{really(large):,}"]],
)

# %% [markdown]
# **"110M" and "340M".** The paper rounds, and rounds the large one up (335.1 million; with the pre-training heads it is
# 336.2). Where do they sit? The embeddings are a fifth of base; a tenth of large. The feed-forward networks are two
# thirds of a layer.

# %%
figure, ax = plt.subplots(figsize=(8, 2.4))
for row, (name, size) in enumerate((("base", base), ("large", large))):
    of, start = by_hand[name], 0
    attention = size.num_hidden_layers * 4 * of["projection"]
    parts = {
        "embeddings": of["embeddings"],
        "attention": attention,
        "feed-forward and norms": of["encoder"] - attention,
        "pooler": of["pooler"],
    }
    for colour, (part, count) in zip(("#0072B2", "#E69F00", "#009E73", "#CC79A7"), parts.items(), strict=True):
        share = count / of["total"]
        ax.barh(row, share, left=start, color=colour, label=part if row == 0 else None)
        if share > 0.05:
            ax.text(start + share / 2, row, f"{share:.0%}", ha="center", va="center", color="white")
        start += share
ax.set(yticks=[0, 1], yticklabels=["base", "large"], xlim=(0, 1), xlabel="share of the parameters")
ax.legend(ncol=4, loc="upper center", bbox_to_anchor=(0.5, 1.35), frameon=False)
show("Two bars, BERT base and large, cut into embeddings, attention, feed-forward networks and pooler.", figure)

# %% [markdown]
# ## 6. Pre-training
#
# On BooksCorpus (800 million words) and the English Wikipedia (2,500 million words, text alone), with two tasks at
# once.
#
# ### 80 %, 10 %, 10 %
#
# Later tasks have no `[MASK]` in their texts. So of the 15 % that are chosen
#
# | | the model sees | and must say |
# |---|---|---|
# | 80 % | `[MASK]` | the token that was there |
# | 10 % | a random token | the token that was there |
# | 10 % | the token itself | the token that was there |
#
# The model never knows for which token it will be asked, and cannot trust any that it sees: it has to keep a good
# vector of every one.

# %% code="lecturekit.objectives:mask_tokens"

# %% [markdown]
# ### One sentence, six times
#
# Chosen tokens are **bold**: `[MASK]`, a stranger, or the token itself. The last row is counted over many tokens.

# %%
special = [tokenizer.vocab[token] for token in tokenizer.special_tokens]
chance = torch.Generator().manual_seed(4)
text = "Мальчик пошёл в лес и увидел там старый дом. The boy went into the wood and saw an old house there."
row = torch.tensor([tokenizer(text)["input_ids"]])
by_id = {number: token for token, number in tokenizer.vocab.items()}
for _ in range(6):
    inputs, labels = mask_tokens(row, tokenizer.vocab["[MASK]"], len(tokenizer), special, chance)
    shown = [
        f"**{by_id[i]}**" if label != IGNORED else by_id[i]
        for i, label in zip(inputs[0].tolist(), labels[0].tolist(), strict=True)
    ]
    display(Markdown(" ".join(shown).replace("##", "\\#\\#")))

# %%
many = torch.randint(len(special), len(tokenizer), (1, 200_000), generator=chance)
inputs, labels = mask_tokens(many, tokenizer.vocab["[MASK]"], len(tokenizer), special, chance)
chosen = labels != IGNORED
masked, same = inputs[chosen] == tokenizer.vocab["[MASK]"], inputs[chosen] == labels[chosen]
shares = [chosen, masked, ~masked & ~same, same]
table(
    ["chosen", "of these: masked", "a random token", "as it was"], [[f"{s.float().mean().item():.2%}" for s in shares]]
)

# %% [markdown]
# ### Do the shares matter?
#
# A little (table 8; development sets; "features" are the last four layers side by side; section 8 says what MNLI is,
# section 7 what NER is):
#
# | `[MASK]` | same | random | MNLI, fine-tuned | NER, fine-tuned | NER, features |
# |---|---|---|---|---|---|
# | 80 % | 10 % | 10 % | 84.2 | 95.4 | 94.9 |
# | 100 % | 0 % | 0 % | 84.3 | 94.9 | 94.0 |
# | 80 % | 0 % | 20 % | 84.1 | 95.2 | 94.6 |
# | 80 % | 20 % | 0 % | 84.4 | 95.2 | 94.7 |
# | 0 % | 20 % | 80 % | 83.7 | 94.8 | 94.6 |
# | 0 % | 0 % | 100 % | 83.6 | 94.9 | 94.6 |
#
# Fine-tuning gets used to texts without `[MASK]`. Features cannot: with masks alone they lose most.

# %% [markdown]
# ### Letters to a bank
#
# Deck 002 shows what a BERT fills into the letters of a bank's clients: «совершала перевод» comes back as «сделала
# перевод», «вернуть денежные средства» as «вернуть деньги». Neither is the hidden word, both are right. That is what
# the loss punishes and what makes a good vector: *everything that could stand there*. Our model's guesses, with their
# probabilities:

# %%
for text in (
    "Князь Андрей [MASK] в комнату.",
    "Она [MASK] на него и улыбнулась.",
    "He looked [MASK] his watch.",
    "The old [MASK] was silent.",
):
    before, after = (tokenizer.encode(side) for side in text.split("[MASK]"))
    row = [tokenizer.vocab["[CLS]"], *before, tokenizer.vocab["[MASK]"], *after, tokenizer.vocab["[SEP]"]]
    with torch.no_grad():
        best = bert(torch.tensor([row])).logits[0, len(before) + 1].softmax(dim=-1).topk(6)
    guesses = ", ".join(f"{by_id[i]} {p:.0%}" for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True))
    print(f"{text:40} {guesses}")

# %% [markdown]
# ### Drawn once, or every time
#
# BERT's authors wrote the masked texts to disk before training: each text ten times, with ten different masks
# (**static**), so that in some 40 epochs the model meets each of them four times. Drawing anew for every batch
# (**dynamic**) costs nothing and is what most later models do; RoBERTa, in a later lecture, measured that it does not
# hurt.

# %% [markdown]
# ### The head that fills in blanks
#
# Before a vector is compared with the vocabulary it passes one more map, GELU and LayerNorm. The matrix behind that
# *is* the table of word embeddings, **tied**: one Parameter under two names, only a bias is new.
#
# $$\mathrm{logits} = \mathrm{LayerNorm}(\mathrm{GELU}(W x + b))\, {E^{\text{word}}}^\top + c$$

# %% code="lecturekit.models.bert:BertLMPredictionHead"

# %%
with torch.device("meta"):
    heads = {
        "BertModel, without a pooler": BertModel(base, add_pooling_layer=False),
        "BertModel": BertModel(base),
        "BertForMaskedLM (no pooler)": BertForMaskedLM(base),
        "BertForPreTraining (both tasks)": BertForPreTraining(base),
    }
table(
    ["BERT base as", "parameters"], [[name, f"{sum(p.numel() for p in m.parameters()):,}"] for name, m in heads.items()]
)

# %% [markdown]
# ### Next sentence prediction
#
# Many tasks are about two texts. So BERT also learns whether the second follows the first (**NSP**): in half of the
# pairs it does, in half the second comes from another document.
#
# | first | second | label |
# |---|---|---|
# | The man went to the store. | He bought a gallon of milk. | IsNext |
# | The man went to the store. | Penguins are flightless birds. | NotNext |
# | Я устал. | Пойду посплю. | IsNext |
# | Я устал. | Пингвины не летают. | NotNext |
#
# A "sentence" here is any stretch of text; both together have at most 512 tokens. The classifier reads the pooled
# `[CLS]`: $768 \times 2 + 2 = 1{,}538$ parameters. Mind the labels: 0 is "follows".

# %%
documents = [
    ["Я устал.", "Пойду посплю.", "Спокойной ночи."],
    ["Кот спит.", "Ему снится сон."],
    ["The man went to the store.", "He bought a gallon of milk."],
]
pairs = next_sentence_pairs(documents, torch.Generator().manual_seed(2))
table(["first", "second", "label"], [[p.first, p.second, ("0, follows", "1, does not")[p.label]] for p in pairs])

# %% [markdown]
# ### Was NSP needed?
#
# The paper thought so (table 5, below). But two texts from different documents are told apart by their *topic*, with no
# understanding of how one follows from the other. RoBERTa does without, ALBERT asks for the *order* of two neighbours
# instead (sentence-order prediction); both belong to a later lecture.

# %% [markdown]
# ### The loss, and how it is made small
#
# Both losses with equal weight, $L = L_{\text{MLM}} + L_{\text{NSP}}$, each a mean. The rest (appendix A.2):
#
# | | |
# |---|---|
# | batch | 256 texts of 512 tokens |
# | steps | 1,000,000, some 40 epochs |
# | optimizer | Adam, $\beta = (0.9, 0.999)$, weight decay 0.01 |
# | learning rate | $10^{-4}$ at its highest, 10,000 steps up, then down to 0 in a line |
# | dropout | 0.1 everywhere |
# | lengths | nine tenths of the steps with texts of 128 tokens, the last tenth with 512 |
# | machines | 4 Cloud TPUs for base, 16 for large, four days each |

# %%
steps = torch.arange(0, 1_000_001, 1000).tolist()
figure, ax = plt.subplots(figsize=(7, 2.4))
ax.plot(steps, [1e-4 * linear_schedule(step, 10_000, 1_000_000) for step in steps])
ax.set(xlabel="step", ylabel="learning rate", title="BERT's learning rate: warmup and a straight way down")
show("The rate rises to 0.0001 within 10,000 steps and falls in a straight line to zero at a million.", figure)

# %% [markdown]
# ### AdamW, large batches, memory
#
# - **AdamW** (Loshchilov and Hutter, 2019, [arXiv:1711.05101](https://arxiv.org/abs/1711.05101)) applies the decay to
#   the weights themselves. In plain Adam it goes through the division by the second moment, and weights with large
#   gradients decay less. BERT's own optimizer is AdamW in this sense.
# - **Linear scaling**: $k$ times the batch, $k$ times the rate; it breaks down at some 8,000 examples (measured on
#   pictures: Goyal et al., 2017, [arXiv:1706.02677](https://arxiv.org/abs/1706.02677)). The first thousands of steps
#   need a **warmup**, for Adam's averages are still poor.
# - **Memory**: Adam keeps two numbers for each parameter, running means of the gradient and of its square. With weight
#   and gradient that makes four:

# %%
table(
    ["float32, in GB", "weights", "with gradients", "with Adam's two moments"],
    [
        [name, *(f"{really(size) * 4 * times / 1e9:.2f}" for times in (1, 2, 4))]
        for name, size in (("BERT base", base), ("BERT large", large))
    ],
)

# %% [markdown]
# Activations come on top. **Adafactor** (Shazeer and Stern, 2018, [arXiv:1804.04235](https://arxiv.org/abs/1804.04235))
# keeps a row and a column of means in place of a matrix ([lecture 6](06_t5.ipynb)); **LAMB** (You et al., 2019,
# [arXiv:1904.00962](https://arxiv.org/abs/1904.00962)) trains BERT in 76 minutes, with batches of up to 65,536 texts.
# One pre-training run cost, at the prices of that time, some \$500 for base and some \$7,000 for large ([Synced, 27
# June 2019](https://syncedreview.com/2019/06/27/the-staggering-cost-of-training-sota-ai-models/)). Fine-tuning takes
# one GPU.

# %% [markdown]
# ## 7. Fine-tuning
#
# A new head, as small as can be, and all parameters learn. Figure 4 has four kinds (section 8 says what the tasks are):
#
# | | tasks | reads | parameters of the head |
# |---|---|---|---|
# | (a) a pair of sentences | MNLI, QQP, QNLI, STS-B, MRPC, RTE, SWAG | pooled `[CLS]` | $768\, C + C$ |
# | (b) one sentence | SST-2, CoLA | pooled `[CLS]` | $768\, C + C$ |
# | (c) an answer in a text | SQuAD | each token | $768 \cdot 2 + 2$ |
# | (d) a label for each token | CoNLL-2003 NER | each token | $768\, C + C$ |

# %%
figure, axes = plt.subplots(1, 4, figsize=(12, 3))
kinds = {
    "(a) two sentences": (["[CLS]", "A A", "[SEP]", "B B"], [0], "follows?"),
    "(b) one sentence": (["[CLS]", "A", "A", "A"], [0], "good?"),
    "(c) answer in a text": (["[CLS]", "Q", "[SEP]", "T T T"], [3], "start, end"),
    "(d) each token": (["[CLS]", "Гага", "##рин", "жил"], [1, 2, 3], ""),
}
for ax, (title, (tokens, asked, answer)) in zip(axes, kinds.items(), strict=True):
    ax.add_patch(plt.Rectangle((-0.45, 1), 3.9, 0.8, color="#0072B2", alpha=0.35))
    ax.text(1.5, 1.4, "BERT", ha="center", va="center")
    for place, token in enumerate(tokens):
        ax.text(place, 0.3, token, ha="center", fontsize=9)
        ax.annotate("", (place, 1), (place, 0.55), arrowprops={"arrowstyle": "->"})
        if place in asked:
            ax.annotate("", (place, 2.4), (place, 1.8), arrowprops={"arrowstyle": "->", "color": "#D55E00"})
            label = answer or ("PER", "–", "O")[place - 1]
            ax.text(place, 2.5, label, ha="center", color="#D55E00", fontsize=9)
    ax.set(xlim=(-0.7, 3.7), ylim=(0, 2.9), title=title)
    ax.axis("off")
show(
    "Four ways to put a head on BERT: on [CLS] for one or two sentences, on the text's tokens, on every token.", figure
)

# %%
with torch.device("meta"):
    for name, model in (
        ("three classes for a text", BertForSequenceClassification(replace(base, num_labels=3))),
        ("nine classes for each token", BertForTokenClassification(replace(base, num_labels=9))),
        ("an answer's start and end", BertForQuestionAnswering(base)),
    ):
        head = sum(p.numel() for key, p in model.named_parameters() if not key.startswith("bert."))
        print(f"{name}: {head:,} new parameters")

# %% [markdown]
# ### Texts and pairs
#
# `num_labels` classes and cross-entropy; with one label it is a number (STS-B's likeness) and squared differences. A
# pair needs nothing else: in every layer tokens of one sentence see those of the other, so that «a boy plays in the
# snow» and «a boy is outside» are compared word by word. The outputs are loss, logits (before the softmax), and if
# asked for hidden states and attentions.

# %% code="lecturekit.models.bert:BertForSequenceClassification.forward"

# %% [markdown]
# ### Tokens: names
#
# A linear map from each token's last vector. Where a word is several pieces its first one carries the label (section
# 5.3):
#
# ```
# tokens   [CLS]  Юри  ##й  Гага  ##рин  родился  в  1934  [SEP]
# labels      –   PER   –   PER    –        O     O  DATE    –
# ```

# %% code="lecturekit.models.bert:BertForTokenClassification.forward" docstring=false

# %% [markdown]
# ### Answers in a text
#
# BERT reads `[CLS] question [SEP] text [SEP]` and gives every token two scores: the answer begins here, $s_i$, and it
# ends here, $e_j$ (section 4.2). Each is a cross-entropy **over the tokens**. The answer is the span $i \le j$ with the
# largest $s_i + e_j$; the two best places on their own need not be a span.

# %% code="lecturekit.transfer:best_spans" docstring=false

# %%
words = ["[CLS]", "Где", "?", "[SEP]", "Он", "родился", "в", "старой", "Москве", "в", "1938", "[SEP]"]
start = torch.tensor([0, 1, 0, 0, 1, 0, 3, 4, 2, 1, 1, 0.0])
end = torch.tensor([0, 5, 1, 0, 0, 0, 0, 1, 5, 0, 2, 0.0])
allowed = torch.tensor([[4 <= place <= 10 for place in range(len(words))]])
first, last = best_spans(start[None], end[None], allowed)[0].tolist()
sums = (start[:, None] + end[None, :]).where(torch.ones(12, 12).triu().bool() & allowed.T & allowed, torch.nan)
figure, ax = plt.subplots(figsize=(5.4, 4.4))
ax.imshow(sums, cmap="Blues")
ax.add_patch(plt.Rectangle((last - 0.5, first - 0.5), 1, 1, fill=False, edgecolor="#D55E00", linewidth=2))
ax.set(xticks=range(12), yticks=range(12), xlabel="end", ylabel="start", title="s + e of every span that is allowed")
ax.set_xticklabels(words, rotation=60)
ax.set_yticklabels(words)
show("Sums of start and end scores for all spans of the text; none below the diagonal; the best one is framed.", figure)
print("the answer:", " ".join(words[first : last + 1]))

# %% [markdown]
# ### The recipe
#
# | | appendix A.3 | deck 003 |
# |---|---|---|
# | batch | 16 or 32 | 2 to 32 |
# | learning rate | 5, 3 or 2 · 10⁻⁵ | 2 to 5 · 10⁻⁵ |
# | epochs | 2, 3 or 4 | 1 to 3 |
#
# All combinations are tried, the best one on the development set is taken. Gradients are clipped to norm 1 (the
# authors' code). A small rate and few epochs change weights little; the last layers change most, the first ones hardly
# (Kovaleva et al., 2019, [arXiv:1908.08593](https://arxiv.org/abs/1908.08593), on BERT), and large's results on small
# data sets depend on the seed: the paper restarts several times (section 4.1).

# %% [markdown]
# ### Try it: pre-train, then three judges
#
# CoLA in small: does a Russian sentence agree? «Старая книга лежала на кухне.» does, «Старая книга лежал на кухне.»
# does not. First a BERT of one layer, whose tokens are whole words, fills in blanks in sentences that agree; it has no
# labels, and is never told what agreement is:

# %%
judged = [pair for pair in data.agreement_sentences(12_000, 1, "ru") if len(pair[0].split()) <= 5]
words = sorted({word for text, _ in judged for word in text.lower().split()})
number = {word: 5 + index for index, word in enumerate(words)}  # before them [PAD], [UNK], [CLS], [SEP], [MASK]
rows = [[2, *(number[word] for word in text.lower().split()), 3] for text, _ in judged]
ids = torch.tensor([row + [0] * (7 - len(row)) for row in rows])
labels = torch.tensor([label for _, label in judged])
unseen, ids = (ids[:400], labels[:400]), ids[400:]
labels = labels[400:]
small = BertConfig(
    vocab_size=5 + len(words),
    hidden_size=64,
    num_hidden_layers=1,
    num_attention_heads=4,
    intermediate_size=128,
    max_position_embeddings=7,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.1,
)


def train_small(model, batches, look=None, rate=3e-3):
    """Train on batches (inputs, labels): the losses, and what `look(model)` says after every 25 steps."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    losses, seen = [], []
    for step, (inputs, answers) in enumerate(batches):
        optimizer.param_groups[0]["lr"] = rate * linear_schedule(step, len(batches) // 10, len(batches))
        loss = model(inputs, inputs != 0, labels=answers).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if look is not None and (step + 1) % 25 == 0:
            seen.append(look(model))
    return losses, seen


torch.manual_seed(0)
chance = torch.Generator().manual_seed(0)
good = ids[labels == 1]
blanks = [
    mask_tokens(good[torch.randint(len(good), (64,))], 4, small.vocab_size, [0, 2, 3, 4], chance, 0.3)
    for _ in range(500)
]
filler = BertForMaskedLM(small)
losses, _ = train_small(filler, blanks)
print(f"{len(words)} words; a blank costs {losses[0]:.2f} nats at first, {sum(losses[-20:]) / 20:.2f} at the end")

# %% [markdown]
# Then three classifiers see the same labelled sentences. *Frozen*: the body stays, pooler and classifier learn.
# *Fine-tuned*: all of it learns. *From zero*: the same architecture, with random weights.


# %%
@torch.no_grad()
def judge(model):
    """The Matthews correlation on 400 unseen sentences."""
    return matthews_correlation(model(unseen[0], unseen[0] != 0).logits.argmax(dim=-1), unseen[1])


picks = [torch.randint(len(ids), (64,)) for _ in range(250)]
body = filler.bert.state_dict()
kinds = {"frozen": (["bert.pooler.", "classifier."], body), "fine-tuned": ([""], body), "from zero": ([""], None)}
figure, ax = plt.subplots(figsize=(7, 3))
for name, (but, begin_with) in kinds.items():
    torch.manual_seed(0)
    model = BertForSequenceClassification(small)
    if begin_with is not None:
        model.bert.load_state_dict(begin_with, strict=False)  # all but the pooler, which a BertForMaskedLM has not
    learning = freeze(model, but)
    count = sum(dict(model.named_parameters())[key].numel() for key in learning)
    _, seen = train_small(model, [(ids[pick], labels[pick]) for pick in picks], judge)
    ax.plot(range(25, 251, 25), seen, "o-", label=f"{name}: {count:,} parameters learn")
ax.set(xlabel="batches of 64", ylabel="Matthews correlation", title="on 400 unseen sentences", ylim=(-0.1, 1.05))
ax.legend()
ax.grid(alpha=0.3)
show(
    "Matthews correlation on unseen sentences while three classifiers learn: fine-tuned it reaches 1.0, from zero "
    "about 0.6, frozen about 0.35.",
    figure,
)

# %% [markdown]
# The **Matthews correlation** is CoLA's measure: 1 if all is right, 0 for a guess, even where one label is rare. Lab 4
# has you write it, and train such judges to the end.

# %% [markdown]
# ### Freeze or fine-tune?
#
# Peters, Ruder and Smith (2019, [arXiv:1903.05987](https://arxiv.org/abs/1903.05987)) compared the two (table 2 there,
# as deck 003 has it):
#
# | | NER | SST-2 | MNLI | SICK-E | SICK-R | MRPC | STS-B |
# |---|---|---|---|---|---|---|---|
# | ELMo, features | 91.7 | **91.8** | **79.6** | **86.3** | **86.1** | **76.0** | **75.9** |
# | ELMo, fine-tuned | **91.9** | 91.2 | 76.4 | 83.3 | 83.3 | 74.7 | 75.5 |
# | BERT base, features | 92.2 | 93.0 | **84.6** | 84.8 | 86.4 | 78.1 | 82.9 |
# | BERT base, fine-tuned | **92.4** | **93.5** | **84.6** | **85.8** | **88.7** | **84.8** | **87.1** |
#
# BERT gains where the task resembles its own pre-training: two sentences that are to be compared. ELMo loses there.

# %% [markdown]
# ### Which layers as features?
#
# BERT base, frozen, below a two-layer LSTM, on named entities (table 7; F1 on the development set):
#
# | embeddings | last | second-to-last | all 12, weighted | last four, weighted | last four, side by side | fine-tuned |
# |---|---|---|---|---|---|---|
# | 91.0 | 94.9 | 95.6 | 95.5 | 95.9 | **96.1** | 96.4 |
#
# (The well-known picture in the Illustrated BERT has "first layer" for 91.0 and plain sums; in the paper these are the
# embeddings, and weighted sums.) The last layer is not the best: it is close to the task of filling in blanks.

# %% code="lecturekit.transfer:token_features"

# %%
pair = torch.tensor(tokenizer(["Кот спит.", "Я иду домой."], padding="longest")["input_ids"])
with torch.no_grad():
    hidden_states = bert.bert(pair, pair != 0, output_hidden_states=True).hidden_states
ways = ("embeddings", "last", "second-to-last", "sum-all", "sum-last-four", "concat-last-four")
table(["features of two sentences", "shape"], [[how, list(token_features(hidden_states, how).shape)] for how in ways])

# %% [markdown]
# ## 8. Results
#
# ### GLUE: nine tasks
#
# GLUE (Wang et al., 2018, [arXiv:1804.07461](https://arxiv.org/abs/1804.07461), table 1) gathers what one wants to know
# of texts:
#
# | | asks | example | train | measure |
# |---|---|---|---|---|
# | CoLA | acceptable? | *This building is than that one.* — no | 8.5k | Matthews |
# | SST-2 | good or bad review? | *…smart, visually inventive…* — good | 67k | accuracy |
# | MRPC | a paraphrase? | two news sentences about 35 new infections — yes | 3.7k | accuracy, F1 |
# | STS-B | how alike, 0 to 5? | *elephants walk / a herd walks along a trail* — 4.6 | 7k | Pearson, Spearman |
# | QQP | the same question? | *faster internet with a VPN / by hacking DNS* — no | 364k | accuracy, F1 |
# | MNLI | follows, contradicts, neither? | *offices help / never help* — contradicts | 393k | accuracy, twice |
# | QNLI | is the answer in it? | question and a sentence of Wikipedia | 105k | accuracy |
# | RTE | does it follow? | *Yunus supported more than 50,000…* — yes | 2.5k | accuracy |
# | WNLI | whom does the pronoun mean? | *Lily spoke to Donna, breaking **her** concentration* | 634 | accuracy |
#
# MNLI has test texts of the kinds seen in training (m) and of others (mm). The paper leaves out WNLI, where nobody then
# beat the majority.

# %% [markdown]
# ### GLUE: results
#
# Test sets, scored by GLUE's server (table 1; under each task its training examples):
#
# | | MNLI m/mm | QQP | QNLI | SST-2 | CoLA | STS-B | MRPC | RTE | mean |
# |---|---|---|---|---|---|---|---|---|---|
# | | 392k | 363k | 108k | 67k | 8.5k | 5.7k | 3.5k | 2.5k | |
# | best before OpenAI | 80.6/80.1 | 66.1 | 82.3 | 93.2 | 35.0 | 81.0 | 86.0 | 61.7 | 74.0 |
# | BiLSTM, ELMo, attention | 76.4/76.1 | 64.8 | 79.8 | 90.4 | 36.0 | 73.3 | 84.9 | 56.8 | 71.0 |
# | OpenAI GPT | 82.1/81.4 | 70.3 | 87.4 | 91.3 | 45.4 | 80.0 | 82.3 | 56.0 | 75.1 |
# | BERT base | 84.6/83.4 | 71.2 | 90.5 | 93.5 | 52.1 | 85.8 | 88.9 | 66.4 | 79.6 |
# | BERT large | **86.7/85.9** | **72.1** | **92.7** | **94.9** | **60.5** | **86.5** | **89.3** | **70.1** | **82.1** |
#
# These are the figures of the paper's last version. The first one has others (large: QNLI 91.1, mean 81.9): QNLI was
# cut anew in between. The gain is largest where there are few examples (CoLA, RTE), and in pairs of sentences.

# %% [markdown]
# ### SQuAD and SWAG
#
# SQuAD 1.1, every question has an answer (table 2; exact match / F1):
#
# | | dev | test |
# |---|---|---|
# | human | | 82.3 / 91.2 |
# | best ensemble before (nlnet) | | 86.0 / 91.7 |
# | BERT base, one model | 80.8 / 88.5 | |
# | BERT large, one model | 84.1 / 90.9 | |
# | BERT large, one model, with TriviaQA | 84.2 / 91.1 | 85.1 / 91.8 |
# | BERT large, ensemble, with TriviaQA | 86.2 / 92.2 | **87.4 / 93.2** |
#
# SQuAD 2.0, where some questions have none (table 3, test): human 86.9 / 89.5, best before 74.8 / 78.0, BERT large
# **80.0 / 83.1**. The score of "no answer" is $s_{\text{[CLS]}} + e_{\text{[CLS]}}$, compared with the best span's.
#
# SWAG, which of four continuations is sensible (table 4, test accuracy): ELMo 59.2, GPT 78.0, BERT large **86.3**.

# %% [markdown]
# ### What made the difference
#
# Base, pre-trained with less (table 5, development sets; LTR reads left to right, as GPT):
#
# | | MNLI-m | QNLI | MRPC | SST-2 | SQuAD F1 |
# |---|---|---|---|---|---|
# | BERT base | 84.4 | 88.4 | 86.7 | 92.7 | 88.5 |
# | without NSP | 83.9 | 84.9 | 86.5 | 92.6 | 87.9 |
# | LTR, without NSP | 82.1 | 84.3 | 77.5 | 92.1 | 77.8 |
# | the same, with a BiLSTM on top | 82.1 | 84.1 | 75.7 | 91.6 | 84.9 |
#
# Both sides matter most where a *place* in a text is asked (SQuAD). And size matters, even for tasks with 3,600
# examples (table 6; MLM perplexity on held-out text, accuracy on development sets):
#
# | layers | width | heads | perplexity | MNLI-m | MRPC | SST-2 |
# |---|---|---|---|---|---|---|
# | 3 | 768 | 12 | 5.84 | 77.9 | 79.8 | 88.4 |
# | 6 | 768 | 12 | 4.68 | 81.9 | 84.8 | 91.3 |
# | 12 | 768 | 12 | 3.99 | 84.4 | 86.7 | 92.9 |
# | 12 | 1024 | 16 | 3.54 | 85.7 | 86.9 | 93.3 |
# | 24 | 1024 | 16 | 3.23 | 86.6 | 87.8 | 93.7 |

# %% [markdown]
# ## 9. What BERT cannot do
#
# - **Write.** It fills in blanks; it has no left-to-right order of its own. One can put `[MASK]` at the end again and
#   again, and read the whole text anew each time. That is slow, and not what it has learnt.
# - **Blanks at once.** Hidden tokens are guessed independently of one another: in «[MASK]-[MASK]» it may say «Санкт»
#   and «Йорк» (of Санкт-Петербург and Нью-Йорк).
# - **Learn from every token.** Only 15 % of a text are asked; a causal model is asked for all of it.
# - **Meet `[MASK]` later.** What it sees in pre-training and in fine-tuning differs.
# - **Read long texts.** 512 positions, and work that grows with the square of the length.
# - **Be small.** 110 million parameters answer slowly on a phone: distillation, a later lecture.

# %%
text = "Князь Андрей"
ids_so_far, begun, read = tokenizer.encode(text), time.perf_counter(), 0
for _ in range(12):
    row = [
        tokenizer.vocab["[CLS]"],
        *ids_so_far,
        tokenizer.vocab["[MASK]"],
        tokenizer.vocab["."],
        tokenizer.vocab["[SEP]"],
    ]
    with torch.no_grad():
        logits = bert(torch.tensor([row])).logits[0, len(row) - 3]
    logits[special] = -math.inf
    ids_so_far.append(int(logits.argmax()))
    read += len(row)
print(f"{tokenizer.decode(ids_so_far)}\n\n12 tokens written, {read} read, with {config.num_hidden_layers} layers each")

# %% [markdown]
# ## 10. What its attention does
#
# ### Five patterns
#
# Kovaleva et al. (2019, [arXiv:1908.08593](https://arxiv.org/abs/1908.08593), section 4.1) looked at the heads of
# fine-tuned BERTs and found five kinds of pictures: **vertical** (all look at one token, mostly `[SEP]` or `[CLS]`),
# **diagonal** (the token before or after), both, **block** (within a sentence of the pair), and **heterogeneous**, all
# the rest; only these can depend much on what the text says.

# %%
n = 12
eye = torch.eye(n)
patterns = {
    "vertical": torch.zeros(n, n).index_fill_(1, torch.tensor([0, 6]), 1.0),
    "diagonal": torch.roll(eye, 1, dims=1).tril(1) + 0.3 * eye,
    "vertical and diagonal": torch.roll(eye, -1, dims=1) + torch.zeros(n, n).index_fill_(1, torch.tensor([6]), 0.7),
    "block": torch.block_diag(torch.ones(7, 7), torch.ones(5, 5)),
    "heterogeneous": torch.rand(n, n, generator=torch.Generator().manual_seed(0)) ** 6 + 0.02,
}
figure, axes = plt.subplots(1, 5, figsize=(12, 2.8))
for ax, (name, weights) in zip(axes, patterns.items(), strict=True):
    ax.imshow(weights / weights.sum(dim=1, keepdim=True), cmap="Blues")
    ax.set(title=name, xticks=[], yticks=[])
show("Five drawn matrices of attention: columns, a shifted diagonal, both, two blocks, and scattered dots.", figure)

# %% [markdown]
# ### `[CLS]`, `[SEP]` and full stops
#
# Much attention goes to tokens that say nothing. Clark et al. (2019,
# [arXiv:1906.04341](https://arxiv.org/abs/1906.04341), section 3.2) found that in layers 6 to 10 of BERT base more than
# half of it goes to `[SEP]`. Their reading: a head that finds nothing of its kind looks there, a *no-op*; changing
# these weights hardly changes the loss. Deck 001 sums up: `[CLS]` gathers, `[SEP]` means "does not apply", commas and
# full stops perhaps likewise. A model as
# small as ours need not do so:

# %%
right = [pair[0] for language in ("ru", "en") for pair in data.agreement_pairs(40, 3, language)]
rows = tokenizer(right, padding="longest")
batch = torch.tensor(rows["input_ids"])
real = batch != config.pad_token_id
with torch.no_grad():
    out = bert.bert(batch, real, output_attentions=True)
kinds = {name: batch == tokenizer.vocab[name] for name in ("[CLS]", "[SEP]", ".")}
figure, ax = plt.subplots(figsize=(7, 3))
bottom = torch.zeros(config.num_hidden_layers)
layers = range(1, config.num_hidden_layers + 1)
colours = ("#0072B2", "#E69F00", "#009E73")
for colour, (name, places) in zip(colours, kinds.items(), strict=True):
    shares = torch.stack([(w * places[:, None, None]).sum(-1).mean(1)[real].mean() for w in out.attentions])
    ax.bar(layers, shares, bottom=bottom, color=colour, label=f"to {name}")
    bottom = bottom + shares
even = sum(places.sum().item() for places in kinds.values()) / real.sum().item()
ax.axhline(even, color="black", linestyle="--", label="if all tokens got the same")
ax.set(xticks=list(layers), xlabel="layer", ylabel="share of the attention", ylim=(0, 1))
ax.legend(ncol=2)
show(
    "The share of attention that goes to [CLS], to [SEP] and to full stops: in all layers of the small BERT it stays "
    "below the even share.",
    figure,
)

# %% [markdown]
# ### Heads with a meaning
#
# Some heads of BERT base do what a grammar says, though nobody told them (Clark et al., figure 5; "8-10" is layer 8,
# head 10):
#
# | head | finds | right |
# |---|---|---|
# | 8-10 | from a direct object its verb | 86.8 % |
# | 8-11 | from a determiner its noun | 94.3 % |
# | 5-4 | from a mention what it refers to | 65.1 % |
#
# And our model? bertviz's head view; squares switch heads on and off, and the layer can be chosen.

# %%
widgets.head_view(
    bert, tokenizer, ids=torch.tensor([tokenizer("Князь Андрей молча посмотрел на неё и вышел.")["input_ids"]])
)

# %% [markdown]
# ### If attention is so regular, does it have to be learnt?
#
# Raganato et al. (2020, [arXiv:2002.10260](https://arxiv.org/abs/2002.10260)) fixed seven of the eight heads of a
# translation model's encoder: one looks at the token itself, others at the one before, the one after, or all on one
# side. One head goes on learning. Translation hardly suffers with much data, and gains with little. (That is a
# Transformer with encoder and decoder, not BERT; the decoder's heads still learn.)

# %% [markdown]
# ### Can attention be read at all?
#
# A head computes $A\,T$ with $T = E W^V H$: weights $A$ [n, n] times transformed values $T$ [n, d], where $H$ is the
# head's part of the output projection. The rank of $T$ is at most the head's width $d_v$, 64. Is the text longer than
# that, there are vectors $\tilde a$ with $\tilde a\, T = 0$: weights $A + \tilde A$ do *exactly the same* (Brunner et
# al., 2020, [arXiv:1908.04211](https://arxiv.org/abs/1908.04211)):
#
# $$\dim \ker T \ge n - \min(n, d_v) = \begin{cases} n - d_v & n > d_v \\ 0 & \text{otherwise} \end{cases}$$
#
# The paper also takes into account that rows have to stay probabilities. What can be read is **effective attention**,
# $A$ minus its part in that kernel: $A^\perp = A - \mathrm{Projection}_{\ker T}(A)$.

# %%
n, d_v, width = 96, 64, 768
torch.manual_seed(0)
T = torch.randn(n, width, dtype=torch.float64) @ torch.randn(width, d_v, dtype=torch.float64)
T = T @ torch.randn(d_v, width, dtype=torch.float64) / width  # E W H: [n, D], of rank 64
A = torch.randn(n, n, dtype=torch.float64).softmax(dim=-1)
U, S, _ = torch.linalg.svd(T)
rank = int((S / S[0] > 1e-9).sum())
kernel = U[:, rank:]  # [n, n - rank]
effective = A - A @ kernel @ kernel.T
table(
    ["n", "rank of T", "dimension of the kernel", "largest change of A", "largest change of A T"],
    [
        [
            n,
            rank,
            kernel.size(1),
            f"{(A - effective).abs().max().item():.3f}",
            f"{((A - effective) @ T).abs().max().item():.1e}",
        ]
    ],
)

# %% [markdown]
# In the paper raw and effective attention correlate less and less with growing length, and the effective one of BERT
# looks less at `[SEP]` and more at content. The map above has both: choose *effective* there. (Our model's heads are 32
# wide, so that only texts of more than 32 tokens have a kernel.)

# %% [markdown]
# ### Switching heads off
#
# Michel, Levy and Neubig (2019, [arXiv:1905.10650](https://arxiv.org/abs/1905.10650)) give each head a switch $\xi_h$:
#
# $$\mathrm{MHAtt}(x, q) = \sum_{h=1}^{N_h} \xi_h\, \mathrm{Att}_h(x, q)$$
#
# and set one to 0 in a model that has been trained. Of most heads nothing is missed. For our model: how much worse does
# it fill in blanks without one of its heads?

# %%
generator = torch.Generator().manual_seed(0)
inputs, labels_of = mask_tokens(batch, tokenizer.vocab["[MASK]"], len(tokenizer), special, generator)
size = config.hidden_size // config.num_attention_heads


@torch.no_grad()
def cost():
    """The loss of the hidden tokens."""
    asked = labels_of != IGNORED
    hidden = bert.bert(inputs, real).last_hidden_state[asked]  # [N, D]: the head reads these alone
    return token_loss(bert.cls(hidden[None]), labels_of[asked][None]).item()


whole = cost()
change = torch.zeros(config.num_hidden_layers, config.num_attention_heads)
for number, layer in enumerate(bert.bert.encoder.layer):
    weight = layer.attention.output.dense.weight
    for head in range(config.num_attention_heads):
        kept = weight[:, head * size : (head + 1) * size].detach().clone()
        with torch.no_grad():
            weight[:, head * size : (head + 1) * size] = 0.0  # ξ = 0
            change[number, head] = cost() - whole
            weight[:, head * size : (head + 1) * size] = kept

limit = change.abs().max().item()
figure, ax = plt.subplots(figsize=(5, 3.4))
ax.imshow(change, cmap="RdBu_r", vmin=-1.5 * limit, vmax=1.5 * limit)
for number in range(config.num_hidden_layers):
    for head in range(config.num_attention_heads):
        ax.text(head, number, f"{change[number, head].item():+.3f}", ha="center", va="center")
ax.set(xlabel="head", ylabel="layer", title=f"change of the loss ({whole:.2f}) without one head")
ax.set(xticks=range(config.num_attention_heads), yticks=range(config.num_hidden_layers))
ax.set_xticklabels(range(1, config.num_attention_heads + 1))
ax.set_yticklabels(range(1, config.num_hidden_layers + 1))
show("How the loss changes when each of the heads of each layer is switched off.", figure)

# %% [markdown]
# ### One head is enough? Pruning
#
# Michel et al. also leave a layer *one* head, its best. BERT base, fine-tuned for MNLI: the best change of accuracy
# (table 3 there; none is significant at $p < 0.01$):
#
# | layer | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 |
# |---|---|---|---|---|---|---|---|---|---|---|---|---|
# | change, % | −0.01 | 0.10 | −0.14 | −0.53 | −0.29 | −0.52 | 0.05 | −0.72 | −0.96 | 0.07 | −0.19 | −0.12 |
#
# In a translation model it is not so everywhere: one head in the last layer of its encoder-decoder attention costs
# 13.56 BLEU (table 2 there). Removed one after the other, the least important first (judged by the gradient with
# respect to $\xi_h$), 40 % of BERT's heads and 20 % of the translation model's can go before it is noticed (section 4
# there).

# %% [markdown]
# ## 11. What its layers know
#
# ### BERTology
#
# The study of what goes on inside has a name of its own, and a survey (Rogers et al., 2020,
# [arXiv:2002.12327](https://arxiv.org/abs/2002.12327)). Its instruments (deck 000):
#
# - all hidden states, of every layer;
# - all attention weights, of every head;
# - the gradients at a head's output: how important is it?
# - **probing**: is a piece of knowledge in a layer's vectors?

# %% [markdown]
# ### Probing
#
# Take sentences with a label that a linguist gave (is the subject singular? is it feminine? in which tense?). Take the
# vectors of one layer, frozen, and train a *small* classifier on them. If it does well, the knowledge was in the
# vectors; if it fails, it was not there, or not in a simple form. **RuSentEval** (Mikhailov et al., 2021,
# [arXiv:2103.00573](https://arxiv.org/abs/2103.00573)) has 14 such tasks for Russian; deck 000 shows SubjNumber and
# SubjGender by layer. Here is one of ours: the verb is hidden behind `[MASK]`; does the vector *at that place* know
# whether it has to be in the plural? What
# goes into layer 1 cannot: `[MASK]` is the same for all, only its position differs.

# %%
plural = {form: number == 3 for forms in data.RUSSIAN_VERBS for number, form in enumerate(forms.split())}
rows, places, answers = [], [], []
for text, _ in data.agreement_pairs(600, 5, "ru"):
    row = [tokenizer.vocab["[CLS]"]]
    for word in text[:-1].split():
        if word in plural:
            places.append(len(row))
            answers.append(float(plural[word]))
        row += [tokenizer.vocab["[MASK]"]] if word in plural else tokenizer.encode(word)
    rows.append([*row, tokenizer.vocab["."], tokenizer.vocab["[SEP]"]])
longest = max(map(len, rows))
rows = torch.tensor([row + [config.pad_token_id] * (longest - len(row)) for row in rows])
answers = torch.tensor(answers)


def probe(hidden):
    """The accuracy on 200 sentences of a linear classifier that learnt from 400."""
    x = hidden[torch.arange(len(places)), places]  # [N, D], at [MASK]
    x = (x - x[:400].mean(0)) / (x[:400].std(0) + 1e-6)
    classifier = nn.Linear(x.size(1), 1)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=0.01, weight_decay=1.0)
    for _ in range(100):
        loss = nn.functional.binary_cross_entropy_with_logits(classifier(x[:400])[:, 0], answers[:400])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return ((classifier(x[400:])[:, 0] > 0).float() == answers[400:]).float().mean().item()


torch.manual_seed(0)
shuffled = BertModel(config, add_pooling_layer=False).eval()
with torch.no_grad():  # the numbers of each of our BERT's tensors, in another order
    for mine, trained in zip(shuffled.parameters(), bert.bert.parameters(), strict=True):
        mine.copy_(trained.flatten()[torch.randperm(trained.numel())].view_as(trained))
majority = max(answers[400:].mean().item(), 1 - answers[400:].mean().item())
figure, ax = plt.subplots(figsize=(7, 3))
for name, model in (("our BERT", bert.bert), ("its weights, shuffled", shuffled)):
    with torch.no_grad():
        hidden = model(rows, rows != config.pad_token_id, output_hidden_states=True).hidden_states
    ax.plot([probe(state) for state in hidden], "o-", label=name)
ax.axhline(majority, color="black", linestyle="--", label="always the more frequent answer")
ax.set(xlabel="layer (0: what goes in)", ylabel="accuracy", ylim=(0.4, 1.02), title="is the hidden verb in the plural?")
ax.set(xticks=range(config.num_hidden_layers + 1))
ax.legend()
show(
    "A linear probe for the hidden verb's number, by layer: both lines rise a little above the majority, and from "
    "layer 1 on the shuffled weights lie above the trained ones.",
    figure,
)

# %% [markdown]
# Mind the second line. A probe has parameters of its own, and makes the best even of what senseless layers leave: here
# each matrix has its own numbers in another order. It says something only in comparison. If the second line is as high
# as the first, the probe has found which words stand there, and no grammar. Here it is even higher: of the verb's
# number this probe finds nothing in our small BERT that shuffled layers do not hand on as well. That is no proof that
# the model does not know it; it says that the accuracy of a probe alone shows no knowledge. Hewitt and Liang (2019,
# [arXiv:1909.03368](https://arxiv.org/abs/1909.03368)) compare in another way, with *control tasks*: the same probe has
# to learn labels that were drawn at random for each word, and what counts is how much better it is at the real ones.

# %% [markdown]
# ## 12. Russian
#
# ### RuBERT and its family
#
# Kuratov and Arkhipov (2019, [arXiv:1905.07213](https://arxiv.org/abs/1905.07213)) began with the multilingual BERT,
# made a vocabulary of Russian pieces, gave known pieces their old vectors, and went on training on the Russian
# Wikipedia and news. All of DeepPavlov's models (deck 000) have base's sizes, 12 layers of 768 with 12 heads:
#
# | | language | printed |
# |---|---|---|
# | RuBERT | Russian | 180M |
# | SlavicBERT | Bulgarian, Czech, Polish, Russian | 180M |
# | Conversational BERT | English | 110M |
# | Conversational RuBERT | Russian: subtitles, dialogues | 180M |
# | Sentence multilingual BERT | 101 languages | 180M |
# | Sentence RuBERT | Russian | 180M |
#
# 180M, because the vocabulary is four times as large, 119,547 pieces. Counted:

# %%
rubert = replace(base, vocab_size=119_547)
found = count_parameters(rubert)
table(
    ["", "embeddings", "encoder", "in all", "embeddings' share"],
    [
        [name, f"{c['embeddings']:,}", f"{c['encoder']:,}", f"{c['total']:,}", f"{c['embeddings'] / c['total']:.0%}"]
        for name, c in (("BERT base", by_hand["base"]), ("RuBERT", found))
    ],
)

# %% [markdown]
# ### Why a Russian model?
#
# A vocabulary for a hundred languages cuts Russian words into more pieces, so that texts are longer and slower, and its
# capacity is shared by all. RuBERT against the multilingual one in Kuratov and Arkhipov: better on paraphrases
# (ParaPhraser), sentiment (RuSentiment, 72.63 weighted F1) and answers in a text (SDSJ task B, 84.60 F1).
#
# With a network it is one line:
#
# ```python
# bert, tokenizer = pretrained.load("DeepPavlov/rubert-base-cased")
# ```
#
# Models are found at [huggingface.co/models](https://huggingface.co/models?filter=ru) (those of
# [DeepPavlov](https://huggingface.co/DeepPavlov) and [ai-forever](https://huggingface.co/ai-forever)); the library's
# BERT is [documented here](https://huggingface.co/docs/transformers/model_doc/bert). Modules and parameters have the
# same names there as in `lecturekit.models.bert`.

# %% [markdown]
# ### Russian SuperGLUE
#
# Nine tasks in Russian after the model of SuperGLUE (Shavrina et al., 2020,
# [arXiv:2010.15925](https://arxiv.org/abs/2010.15925)): a diagnostic set (LiDiRus), does it follow (RCB, TERRa), cause
# and effect (PARus), questions about a text (MuSeRC, DaNetQA, and RuCoS), meanings of a word (RUSSE), pronouns (RWSD).
# The board as deck 000 prints it (2021; its last column, RuCoS, is cut off there, and the three smaller ruGPT3 are in
# [lecture 5](05_gpt.ipynb); of the pairs see the board's own page):
#
# | | score | LiDiRus | RCB | PARus | MuSeRC | TERRa | RUSSE | RWSD | DaNetQA |
# |---|---|---|---|---|---|---|---|---|---|
# | human | 0.811 | 0.626 | 0.68/0.702 | 0.982 | 0.806/0.42 | 0.92 | 0.805 | 0.84 | 0.915 |
# | ruGPT3 XL, few-shot | 0.535 | 0.096 | 0.302/0.418 | 0.676 | 0.74/0.546 | 0.573 | 0.565 | 0.649 | 0.59 |
# | mT5 large | 0.528 | 0.061 | 0.366/0.454 | 0.504 | 0.844/0.543 | 0.561 | 0.633 | 0.669 | 0.657 |
# | RuBERT | 0.521 | 0.191 | 0.367/0.463 | 0.574 | 0.711/0.324 | 0.642 | 0.726 | 0.669 | 0.639 |
# | Conversational RuBERT | 0.5 | 0.178 | 0.452/0.484 | 0.508 | 0.687/0.278 | 0.64 | 0.729 | 0.669 | 0.606 |
# | multilingual BERT | 0.495 | 0.189 | 0.367/0.445 | 0.528 | 0.639/0.239 | 0.617 | 0.69 | 0.669 | 0.624 |
# | always the majority | 0.468 | 0.147 | 0.4/0.438 | 0.478 | 0.671/0.237 | 0.549 | 0.595 | 0.669 | 0.642 |
# | TF-IDF | 0.434 | 0.06 | 0.301/0.441 | 0.486 | 0.587/0.242 | 0.471 | 0.57 | 0.662 | 0.621 |
#
# Look at RWSD and DaNetQA: on the first nobody but people is above the majority's 0.669, on the second mT5 alone (0.657
# against 0.642). A mean over tasks hides that.

# %% [markdown]
# ### What an answer costs
#
# **MOROCCO** (deck 000; [arXiv:2104.14314](https://arxiv.org/abs/2104.14314)) measures three things at once: the score,
# the memory on the GPU, and texts a second. Its findings:
#
# - scores on GLUE-like tasks are unstable: they depend on the random seed;
# - small models are quicker: ruGPT3 small reads some 200 texts a second, large some 60;
# - multilingual BERT is slower than RuBERT of the same size, since it cuts Russian into more pieces;
# - larger is not always better: ruGPT3 medium and large stay behind the smaller RuBERTs on this board.
#
# What that third finding means here you can count in [lecture 2](02_tokenization.ipynb). Deck 000 also tells of a
# school hackathon, where the winners combined several BERTs, Russian and multilingual ones (0.9313 against 0.8847 of
# the second): where a run depends on its seed, several runs are better than one.

# %% [markdown]
# ## What came next
#
# | | changed | here |
# |---|---|---|
# | RoBERTa, SpanBERT, ERNIE, StructBERT | what is masked, NSP, how long and on how much | a later lecture |
# | ALBERT, DistilBERT, TinyBERT | fewer parameters, distillation | a later lecture |
# | ELECTRA, XLNet, DeBERTa | another objective, other positions | a later lecture |
# | mBERT, XLM | many languages | a later lecture |
# | GPT | one side only, and it writes | [lecture 5](05_gpt.ipynb) |
# | T5 | encoder and decoder, every task as text | [lecture 6](06_t5.ipynb) |

# %% [markdown]
# ## Where this lecture stops
#
# - The small BERT here has read two books; what it says illustrates a method, not what BERT can do. Its card has its
#   figures on held-out text.
# - Attention weights are not explanations: different weights may compute the same, and what a token's vector holds in
#   layer 8 is no longer that token alone.
# - Tables are as printed by their authors; most are single runs or the best of several.

# %%
table(
    ["held-out figure of the small BERT", "value"],
    [[name, value] for name, value in card["held_out"]["anywhere"].items()],
)

# %% [markdown]
# ## Links
#
# - [Lab 4](../labs/lab04/lab04.ipynb): embeddings, counting, the layer, masking, heads, frozen against fine-tuned.
# - Devlin, Chang, Lee, Toutanova: BERT. NAACL 2019, [N19-1423](https://aclanthology.org/N19-1423); the authors'
#   [code](https://github.com/google-research/bert).
# - Peters et al.: ELMo. NAACL 2018, [N18-1202](https://aclanthology.org/N18-1202/).
# - Howard, Ruder: ULMFiT. ACL 2018, [arXiv:1801.06146](https://arxiv.org/abs/1801.06146).
# - Alammar: [The Illustrated BERT, ELMo, and co.](https://jalammar.github.io/illustrated-bert), in
#   [Russian](https://habr.com/ru/post/487358).
# - Clark et al.: What Does BERT Look At? [arXiv:1906.04341](https://arxiv.org/abs/1906.04341).
# - Tenney et al.: BERT Rediscovers the Classical NLP Pipeline, [arXiv:1905.05950](https://arxiv.org/abs/1905.05950).
