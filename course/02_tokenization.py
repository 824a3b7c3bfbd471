# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lecture 2. Subword tokenization
#
# A neural network reads numbers. This lecture is about the step before it: how a text becomes a row of whole numbers,
# and how such a row becomes text again. The pieces that get a number are neither words nor letters but something
# between the two, and which pieces they are is learnt from a text, by counting.
#
# You will see four algorithms, each on English and on Russian text: **BPE**, **byte-level BPE** (GPT-2, RoBERTa),
# **WordPiece** (BERT) and **Unigram** (T5); then the four rows of numbers that BERT reads; and at the end what the
# choice costs those who write in Russian.
#
# The lab that goes with it is [lab 2](../labs/lab02/lab02.ipynb): there you write all of this yourself. The lecture
# needs counting, fractions and logarithms, and no neural network.
#
# *Deck 004* and the like are the slides that this course grew from, listed in `course/COVERAGE.md`.

# %%
import math
import random
import time
from collections import Counter
from itertools import pairwise, zip_longest

import matplotlib.pyplot as plt
import torch
from IPython.display import Markdown, display

from lecturekit import pretrained, widgets
from lecturekit.data import agreement_pairs, manual_text, split_sentences
from lecturekit.models.bert import BertConfig, BertModel
from lecturekit.models.gpt import GPT2Config, GPT2LMHeadModel
from lecturekit.models.t5 import T5Config, T5ForConditionalGeneration
from lecturekit.slides import show, table
from lecturekit.tokenizers import BPE, ByteLevelBPE, Unigram, WordPiece, bpe, byte_level, plain, unigram, wordpiece

torch.manual_seed(0)
torch.set_num_threads(1)
plt.rcParams.update({"figure.figsize": (7.5, 3.4), "figure.constrained_layout.use": True, "axes.grid": True})
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"


def code(*tokens):
    """Tokens as Markdown, each in a box."""
    return " ".join(f"`{token}`" for token in tokens)


# %% [markdown]
# ## The task
#
# Let $V$ be a finite list of strings, the *vocabulary*; its members are *tokens*, their places in the list are *ids*.
# A tokenizer is a pair of functions
#
# $$\mathrm{encode}: \text{text} \to \{0, \dots, |V| - 1\}^{*}, \qquad
# \mathrm{decode}: \{0, \dots, |V| - 1\}^{*} \to \text{text}$$
#
# with $\mathrm{decode}(\mathrm{encode}(x)) = x$, or nearly so. Three wishes pull in different directions:
#
# - **nothing is unknown**: every text has ids, also one with a new word, a name, a typing error;
# - **the row is short**: attention compares each token with each, so its time grows with the square of the length;
# - **the list is short**: each token has a vector in the embedding matrix and a row in the output layer, and has to
#   occur often enough to be learnt.
#
# Everything below was chosen *before* the model was trained, and can't be changed afterwards: another list, another
# model.

# %% [markdown]
# ## First try: words
#
# Put the words of a training text into the list, the most frequent ones first. What is not in it becomes a special
# token, `[UNK]` or `<UNK>`: the word is *out of vocabulary* (OOV). How often does that happen? Here the training text
# is the first nine tenths of Python's language reference, and the words are those of its last tenth.

# %%
manual = manual_text()
cut = len(manual) * 9 // 10
learnt, unseen = manual[:cut], manual[cut:]
seen_words = Counter(plain.split_text(learnt, lowercase=True))
new_words = plain.split_text(unseen, lowercase=True)
rows = []
for size in (500, 2000, len(seen_words)):
    kept = {word for word, _ in seen_words.most_common(size)}
    missing = [word for word in new_words if word not in kept]
    rows.append([f"{size:,}", f"{len(missing) / len(new_words):.1%}", code(*dict(Counter(missing).most_common(6)))])
table(["words in the list", "unknown among the new words", "the most frequent unknown ones"], rows)

# %% [markdown]
# ### A larger list does not end it
#
# New words keep coming as a text goes on. The curve shows how many *different* words the manual has after so many
# words: it bends, but it does not level off. A list that holds every word of the training text does not hold those of
# the next.

# %%
words = plain.split_text(manual, lowercase=True)
different, known = [], set()
for word in words:
    known.add(word)
    different.append(len(known))
plt.plot(different, color=BLUE)
plt.xlabel("words read")
plt.ylabel("different words so far")
plt.title(f"The manual: {len(words):,} words, {len(known):,} different ones")
show(f"Different words: {len(known):,} after {len(words):,} words; the curve bends, and rises to its end.")

# %% [markdown]
# ### Russian makes it worse
#
# An English noun has two forms and a possessive. A Russian one has six cases in two numbers. To a list of words each
# form is a stranger to the others: nothing says that «кошке» and «кошками» share anything.

# %%
english = ["cat", "cats", "cat's", "cats'"]
singular = ["кошка", "кошки", "кошке", "кошку", "кошкой", "кошкою", "кошке"]
russian = [*singular, "кошки", "кошек", "кошкам", "кошек", "кошками", "кошках"]
table(
    ["noun", "different forms", "which"],
    [
        [forms[0], len(dict.fromkeys(forms)), code(*dict.fromkeys(forms))]  # dict.fromkeys drops what comes again
        for forms in (english, russian)
    ],
)

# %% [markdown]
# ### What `[UNK]` destroys
#
# With a list of 2,000 words from the manual, a sentence about cats is mostly holes. The model can't tell one unknown
# word from another, a translator can't copy a name, and what was unknown can't be written by a generator at all.

# %%
kept = {word for word, _ in seen_words.most_common(2000)}
sentence = "The cat defines a function; Кошка лежит на кухне."
print(" ".join(word if word in kept else "[UNK]" for word in plain.split_text(sentence, lowercase=True)))

# %% [markdown]
# ## Second try: characters
#
# The list is short and almost nothing is unknown. But the row is long, a character alone means little, and the model
# has to spend its layers on spelling. For the two sentences below attention would compare so many pairs of places:

# %%
rows = []
for text in ("The cat is lying in the kitchen.", "Кошка лежит на кухне."):
    lengths = len(plain.split_text(text, lowercase=False)), len(text), len(text.encode("utf-8"))
    rows.append([text, *lengths, *(f"{length**2:,}" for length in lengths)])
table(["text", "words", "characters", "bytes", "pairs of words", "pairs of characters", "pairs of bytes"], rows)

# %% [markdown]
# ## Between the two: subwords
#
# > Frequent words are one token. Rare and unknown words are several.
#
# The vocabulary then has any size that we ask for, and in the worst case a word falls into its characters. Below, one
# tokenizer with more and more tokens reads the last tenth of the manual. At the left end stand the bytes; far to the
# right the curve would reach the words themselves.


# %%
def first_merges(tokenizer, number):
    """A byte-level tokenizer as it was after its first `number` merges."""
    kept = len(tokenizer) - len(tokenizer.merges) + number
    return ByteLevelBPE(tokenizer.tokens[:kept], tokenizer.merges[:number], tokenizer.special_tokens)


english_only = ByteLevelBPE.train([learnt], 4096, processes=1)
numbers = [0, 50, 150, 400, 1000, 2000, len(english_only.merges)]
lengths = [len(first_merges(english_only, number).encode(unseen)) for number in numbers]
plt.plot([256 + number for number in numbers], lengths, "o-", color=BLUE, label="subwords")
plt.axhline(len(new_words), color=ORANGE, linestyle="--", label="words, many of them unknown")
plt.xlabel("tokens in the vocabulary")
plt.ylabel("tokens in the text")
plt.ylim(0)
plt.title(f"{len(unseen):,} characters of text: the larger the vocabulary, the shorter the row")
plt.legend()
show(f"From {lengths[0]:,} bytes to {lengths[-1]:,} tokens as the vocabulary grows; words are {len(new_words):,}.")

# %% [markdown]
# ## BPE: Byte Pair Encoding
#
# The idea is older than its use here. Gage (1994) compressed files: replace the most frequent pair of bytes by a byte
# that does not occur, note the replacement, and do so again. Sennrich, Haddow and Birch (2016,
# [arXiv:1508.07909](https://arxiv.org/abs/1508.07909)) took it to cut words for machine translation. There are two
# stages:
#
# - **training** makes a vocabulary and a list of merges out of a text;
# - **application** cuts any word, also one that was never seen, by these merges.
#
# Merges never cross the end of a word, so training needs no text, only its words and how often each occurs.

# %% [markdown]
# ## BPE: training
#
# Given are the words with their counts, and how large the vocabulary may become. At the beginning the vocabulary holds
# the characters, each word is the row of its characters, and the table of merges is empty. As long as there is room:
#
# 1. count how often each two symbols stand side by side, $f(a, b) = \sum_{w} n_w \cdot \#\{i : w_i = a,\ w_{i+1} =
#    b\}$;
# 2. take the most frequent pair, $(a, b)^{*} = \arg\max f(a, b)$;
# 3. put the merge into the table and the new symbol $ab$ into the vocabulary;
# 4. replace the pair by the new symbol in all words.

# %% code="lecturekit.tokenizers.bpe:count_pairs"

# %% code="lecturekit.tokenizers.bpe:merge_pair" docstring=false

# %% [markdown]
# ### The loop
#
# The paper leaves open which of two equally frequent pairs goes first, and two programs that decide differently have
# different tokenizers. Here the *older* symbol decides: `age` is its place in the vocabulary.

# %% code="lecturekit.tokenizers.bpe:choose_pair" docstring=false

# %% code="lecturekit.tokenizers.bpe:train_bpe" docstring=false

# %% [markdown]
# ### A corpus to follow by hand
#
# Six words and their counts. Each of the next slides shows the state before a merge: the words in symbols, the pairs by
# their frequency (the one to be merged in bold), and what vocabulary and table have gained after it.

# %%
LECTURE = {"cat": 4, "mat": 5, "mats": 2, "mate": 3, "ate": 3, "eat": 2}
STEPS = list(bpe.training_steps(LECTURE, 5))


def merge_tables(number):
    """The tables of one merge of the lecture's corpus."""
    step = STEPS[number - 1]
    counts = sorted(step.pair_counts.items(), key=lambda item: (item[0] != step.pair, -item[1]))
    pairs = [f"**{a} + {b}**" if (a, b) == step.pair else f"{a} + {b}" for (a, b), _ in counts]
    gained = ["all characters", *step.vocabulary[-number:]]
    merges = [f"{a} {b} → {a}{b}" for a, b in step.merges]
    columns = [code(*word) for word in step.words], step.words.values(), pairs, [n for _, n in counts], gained, merges
    head = ["word", "count", "pair", "count", "vocabulary", "merges"]
    table(head, zip_longest(*columns, fillvalue=""))


# %% [markdown]
# ### Merge 1

# %%
merge_tables(1)

# %% [markdown]
# ### Merge 2

# %%
merge_tables(2)

# %% [markdown]
# ### Merge 3

# %%
merge_tables(3)

# %% [markdown]
# ### Merge 4: a tie
#
# Two pairs occur three times. `at` came into the vocabulary before `mat`, so its pair goes first.

# %%
merge_tables(4)

# %% [markdown]
# ### Merge 5, and the end
#
# The vocabulary has reached the size that was asked for. Where it stops is our choice: go on, and every word of the
# corpus becomes one token.

# %%
merge_tables(5)

# %% [markdown]
# ### A wrong merge, and what it would do
#
# Deck 004 prints `m ate → mate` as the fifth merge. That can't be: merge 2 has already made `mat` of every `m at`, so
# no `m ate` is left to be counted. The merge is `mat e → mate`. It matters: with the table as printed, «mate» comes out
# in two pieces.

# %%
printed = [*STEPS[-1].merges[:4], ("m", "ate")]
for name, merges in (("as printed", printed), ("as it is", STEPS[-1].merges)):
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    tokens = bpe.apply_merges(list("mate"), ranks, [a + b for a, b in merges])
    print(f"{name:10}  mate → {' '.join(tokens)}")

# %% [markdown]
# ### On which symbols to count
#
# Merge 1 counted `a + t` 19 times. So it is if symbols carry no mark. As soon as a symbol says where in the word it
# stands, one count becomes two: `##` marks what does not begin a word, `</w>` what ends one. The course counts unmarked
# symbols and puts marks on when tokens are written down; the paper marks the end, and counts with the mark.

# %%
plain_words = {tuple(word): count for word, count in LECTURE.items()}
inside = {(word[0], *map(bpe.mark_inside, word[1:])): count for word, count in LECTURE.items()}
ends = {(*word[:-1], bpe.mark_end(word[-1])): count for word, count in LECTURE.items()}
rows = []
for name, marked in (("no mark", plain_words), ("##", inside), ("</w>", ends)):
    counts = bpe.count_pairs(marked)
    found = [f"`{a} {b}` {n}" for (a, b), n in counts.items() if "a" in a and "t" in b]
    rows.append([f"`{name}`" if name != "no mark" else name, ", ".join(found)])
table(["mark", "a beside t"], rows)

# %% [markdown]
# ## Try it: BPE merge by merge
#
# The corpus can be typed over, a word with its count (`cat:4`) or any text. The slider goes through the merges, and a
# word of yours, here one that was never seen, is cut by those that are done. (On a printed page you see its first
# state.)

# %%
widgets.bpe_steps(LECTURE, merges=8, word="teammate")

# %% [markdown]
# ### The same in Russian
#
# Endings come out as symbols of their own when they occur with several stems. What does the widget find first in these
# words, the stem or the ending? Nothing in the algorithm knows either.

# %%
widgets.bpe_steps({"кот": 4, "коты": 2, "скот": 3, "ток": 2, "котик": 3, "столик": 3}, merges=8, word="скотик")

# %% [markdown]
# ## BPE: application
#
# To cut a word, begin with its characters and do again what training did: among all neighbours that are in the table,
# merge the pair **that was learnt first**, the leftmost if it stands there twice; stop when no neighbours are in the
# table. A word that training never saw has characters too, and so has tokens.

# %% code="lecturekit.tokenizers.bpe:apply_merges"

# %% [markdown]
# ### The lecture's words and some new ones
#
# Of the corpus itself «mats» and «eat» stay in two pieces. `s` and `##s` are different tokens with different vectors:
# one begins a word, the other goes on with it.

# %%
ranks = {pair: rank for rank, pair in enumerate(STEPS[-1].merges)}
products = [a + b for a, b in STEPS[-1].merges]
rows = []
for word in [*LECTURE, "meat", "team", "cats"]:
    first, *rest = bpe.apply_merges(list(word), ranks, products)
    rows.append([word, code(first, *map(bpe.mark_inside, rest)), "in the corpus" if word in LECTURE else "new"])
table(["word", "tokens", ""], rows)

# %% [markdown]
# ### Why the order matters
#
# Merges `b c` and then `a b`, word `a b c`. Going from left to right would merge `a b` first, and the model would meet
# tokens in places where training never put them.

# %%
merges = [("b", "c"), ("a", "b")]
bpe.apply_merges(list("abc"), {pair: rank for rank, pair in enumerate(merges)}, ["bc", "ab"])

# %% [markdown]
# ### Ways to say where a word begins
#
# Tokens of a sentence are one row, so something has to tell where words were. Each family has its own mark; all carry
# the same information.
#
# | mark | who | «walking by» |
# |---|---|---|
# | `@@` behind what does not end a word | Sennrich's scripts | `walk@@` `ing` `by` |
# | `</w>` behind what ends a word | the BPE paper, GPT-1 | `walk` `ing</w>` `by</w>` |
# | `##` before what does not begin a word | BERT | `walk` `##ing` `by` |
# | `▁` before what begins a word | SentencePiece: T5 | `▁walk` `ing` `▁by` |
# | `Ġ`, a space, before what follows a space | GPT-2, RoBERTa | `walk` `ing` `Ġby` |

# %% [markdown]
# ### Counting everything anew is slow
#
# After a merge only few counts differ: those of pairs beside the merged ones. `train_bpe` counts all again.
# `learn_merges` in the same file keeps a list of words for each pair and a heap of candidates, changes only what
# changed, and finds the same merges. That is what makes vocabularies of 50,000 tokens practical.

# %%
spelled = Counter(learnt.split())
symbols = sorted(set("".join(spelled)))
age = {symbol: index for index, symbol in enumerate(symbols)}
begin = time.perf_counter()
slow = bpe.train_bpe(spelled, 20)
middle = time.perf_counter()
fast = bpe.learn_merges((([age[c] for c in word], n) for word, n in spelled.items()), len(symbols), 20)
end = time.perf_counter()
for left, right in fast:
    symbols.append(symbols[left] + symbols[right])
same = slow == [(symbols[left], symbols[right]) for left, right in fast]
print(f"20 merges: all counted anew {middle - begin:.2f} s, only what changed {end - middle:.2f} s; the same: {same}")

# %% [markdown]
# ## Byte-level BPE
#
# Unicode has more than a hundred thousand characters. A vocabulary that begins with all of them is large before the
# first merge, and one that begins with those of the training text has unknown ones. GPT-2 (Radford et al., 2019,
# section 2.2) takes the **256 bytes of UTF-8** as first symbols, and merges bytes:
#
# - every text in every language has tokens;
# - `<UNK>` isn't needed;
# - the price: a character outside English letters begins as two, three or four symbols.
#
# GPT-2's vocabulary is 256 bytes, 50,000 merges and one special token:

# %%
f"{256 + 50_000 + 1:,}"

# %% [markdown]
# ### A Cyrillic letter is two bytes
#
# UTF-8 writes U+0000 … U+007F as one byte, and the Cyrillic block as two. In the old one-byte encoding CP-1251 a
# Russian letter was one byte, which is why «Привет» once was as short as "Hello" and isn't any more.

# %%
rows = []
for letter in "AАБВабв":
    utf8, cp1251 = letter.encode("utf-8"), letter.encode("cp1251")
    row = [letter, f"U+{ord(letter):04X}", ord(letter), utf8.hex(" ").upper(), *[" ".join(map(str, utf8))]]
    rows.append([*row, f"{cp1251[0]:02X}", cp1251[0]])
table(["letter", "Unicode", "decimal", "UTF-8", "decimal", "CP-1251", "decimal"], rows)

# %% [markdown]
# ### A printable character for every byte
#
# Vocabulary files are text, and many bytes are control characters or spaces. GPT-2 gives each byte a character that can
# be seen: its own where it has one in Latin-1, else the next one from U+0100 on.

# %% code="lecturekit.tokenizers.byte_level:bytes_to_unicode"

# %% [markdown]
# ### «А» becomes `Ð Ĳ`
#
# The second byte of «А» is a control character in Latin-1 and has moved; that of «а» is a degree sign and stays. This
# is why a Russian vocabulary of GPT-2's kind looks so odd. Nothing is wrong with it.

# %%
rows = []
for character in "Аа я\n":
    for byte in character.encode("utf-8"):
        written = byte_level.BYTE_TO_UNICODE[byte]
        moved = f"moved by {ord(written) - byte:#x}" if ord(written) != byte else "stays"
        rows.append(
            [f"`{character!r}`", f"{byte:02X}", f"U+{byte:04X}", f"`{written}`", f"U+{ord(written):04X}", moved]
        )
table(["character", "byte", "as Latin-1", "written", "that is", ""], rows)

# %% [markdown]
# ### Words first, then bytes
#
# Merges stay within words here too. GPT-2 cuts text by a pattern: a space belongs to the word after it, contractions,
# letters, digits and other signs are kept apart. The pieces make up the whole text, so that nothing is lost, neither
# case nor spaces nor line ends.

# %%
text = "It's 2024:  I'm here, да-да!\n"
print(byte_level.split_words(text))
print("".join(byte_level.split_words(text)) == text)

# %% [markdown]
# ### A whole tokenizer
#
# The course's small GPT has a byte-level vocabulary of its own, trained on *War and Peace* in two languages and on
# Shakespeare. Its tokens in GPT-2's alphabet, and then as the text that each stands for:

# %%
gpt_tokenizer = pretrained.load_tokenizer("gpt")  # with a network: pretrained.load("gpt2")[1]
text = "Чудесный день, my friend!"
ids = gpt_tokenizer.encode(text)
display(Markdown(code(*(gpt_tokenizer.tokens[index] for index in ids))))
display(Markdown(code(*(gpt_tokenizer.decode([index]).replace(" ", "␣") for index in ids))))
print("decoded again, the same text:", gpt_tokenizer.decode(ids) == text)

# %% [markdown]
# ### Half a character
#
# A token may end in the middle of a character. Alone it is no text: `decode` shows U+FFFD, the replacement character.
# Programs that show a model's answer token by token have to wait for the rest.

# %%
halves = [gpt_tokenizer.vocab[byte_level.BYTE_TO_UNICODE[byte]] for byte in "ё".encode()]
print([gpt_tokenizer.decode([half]) for half in halves], gpt_tokenizer.decode(halves))

# %% [markdown]
# ### Who uses it
#
# - **GPT-2 and GPT-3**: the vocabulary above. GPT-1 still had BPE on characters, with 40,000 merges.
# - **RoBERTa** (Liu et al., 2019, [arXiv:1907.11692](https://arxiv.org/abs/1907.11692), section 4.4) left BERT's 30,000
#   WordPieces for it. Its authors report that early experiments showed only slight differences, some tasks coming out
#   slightly worse; they preferred an encoding that serves every text. Its published vocabulary has 50,265 tokens:
#   GPT-2's, and special ones of its own.
# - RuGPT-3 and most large language models since.

# %% [markdown]
# ## WordPiece
#
# Schuster and Nakajima (2012) made it for Japanese and Korean voice search, Wu et al. (2016,
# [arXiv:1609.08144](https://arxiv.org/abs/1609.08144)) used it for translation, and BERT for everything. It differs
# from BPE in both stages:
#
# | | BPE | WordPiece |
# |---|---|---|
# | training picks the pair with | the highest frequency | the highest gain in likelihood for each occurrence |
# | what is kept | vocabulary and merges, in order | the vocabulary alone |
# | application | merges in the order in which they were learnt | the longest token that fits, from the left |
# | «walking» in the usual notation | `walk@@` `ing` | `walk` `##ing` |
#
# (BERT's pieces are at times called byte pair encoding. The family is the same, the algorithm is not.)

# %% [markdown]
# ### WordPiece: the score of a pair
#
# Let the corpus be a row of symbols drawn independently, $p(a) = f(a) / N$. Its log-likelihood is $\sum_a f(a) \log
# p(a)$. Replace one `a b` by one `ab`, and that place contributes $\log p(ab)$ in place of $\log p(a) + \log p(b)$:
#
# $$\Delta = \log \frac{p(ab)}{p(a)\, p(b)} = \log \frac{f(ab)}{f(a)\, f(b)} + \log N$$
#
# So the pair that gains most for each of its occurrences is the one with the highest
#
# $$\mathrm{score}(a, b) = \frac{f(ab)}{f(a)\, f(b)}$$
#
# It asks how much more often the two meet than chance would have it, and not how often they meet.

# %% code="lecturekit.tokenizers.wordpiece:wordpiece_score" docstring=false

# %% code="lecturekit.tokenizers.wordpiece:pair_scores" docstring=false

# %% [markdown]
# ### The two choices on the lecture's corpus
#
# For BPE `a t` is far ahead. For WordPiece `c a`, `m a`, `a t` and `t s` are equally good: each time one of the two
# never stands without the other.

# %%
counts, scores = bpe.count_pairs(plain_words), wordpiece.pair_scores(plain_words)
rows = [[f"`{a} {b}`", counts[a, b], f"{scores[a, b]:.4f}"] for a, b in sorted(counts, key=counts.get, reverse=True)]
table(["pair", "frequency: BPE's choice", "score: WordPiece's choice"], rows)

# %% [markdown]
# ### The score loves what is rare
#
# Two symbols that occur once, side by side, have the score 1: there is none higher. On real text pure likelihood fills
# the vocabulary with accidents, and one asks for a least frequency. The first merges on the manual:

# %%
part = split_sentences(learnt[:60_000])
rows = []
for name, settings in (
    ("frequency (BPE)", {"score": "frequency"}),
    ("likelihood", {}),
    ("likelihood, pairs that occur 10 times", {"min_frequency": 10}),
    ("likelihood, pairs that occur 100 times", {"min_frequency": 100}),
):
    base = len(WordPiece.train(part, 10_000, min_frequency=10**9, processes=1))  # the characters alone
    rows.append([name, code(*WordPiece.train(part, base + 12, processes=1, **settings).tokens[base:])])
table(["pair by", "the first twelve new tokens"], rows)

# %% [markdown]
# Google never published its trainer: it hangs on internal libraries, says the [repository of
# BERT](https://github.com/google-research/bert#learning-a-new-wordpiece-vocabulary). The Rust library of Hugging Face
# picks by frequency, so that a "WordPiece" vocabulary made with it is BPE's with another application.

# %% [markdown]
# ### Try it: WordPiece merge by merge
#
# The same corpus as before. Compare with BPE; then raise the least frequency, or type a text of your own.

# %%
widgets.wordpiece_steps(LECTURE, merges=8, word="teammate")

# %% [markdown]
# ### WordPiece: the longest match
#
# Only the vocabulary is kept. A word is cut from left to right: the longest token that the rest begins with, then on
# from there. If at some place nothing fits, the *whole word* is `[UNK]`.

# %% code="lecturekit.tokenizers.wordpiece:longest_match"

# %% [markdown]
# ### Longest is not the same as learnt first
#
# A BPE vocabulary of the manual, and words for which the two ways of application differ:

# %%
learner = BPE.train([learnt], 1500, processes=1)
ordinary = set(learner.tokens)
differences = []
for word in dict.fromkeys(w for w in unseen.split() if w.isalpha()):
    merged, longest = learner.tokenize(word), wordpiece.longest_match(word, ordinary)
    if merged != longest and "[UNK]" not in merged + longest:
        differences.append([word, code(*merged), code(*longest)])
table(["word", "merges in order", "the longest match"], differences[:6])

# %% [markdown]
# ### Before the pieces: words, case, accents
#
# BERT cuts at white space and makes each punctuation mark a word of its own. A *cased* model leaves letters as they
# are. An *uncased* one lowers them and drops accents, by Unicode's form NFD, which takes each character apart into a
# letter and its marks.

# %% code="lecturekit.tokenizers.plain:split_text"

# %% [markdown]
# ### Uncased Russian loses й and ё
#
# To Unicode «й» is «и» with a breve, «ё» is «е» with a diaeresis: both marks are dropped like the accents of "café".
# «Мой» and «мои», «бой» and «бои» become one. This is a reason to take a cased model for Russian.

# %%
for lowercase in (False, True):
    print("uncased" if lowercase else "cased  ", plain.split_text("Мой чёрный йогурт, naïve café!", lowercase))

# %% [markdown]
# ### «Чудесный день!»
#
# With a cased vocabulary the capital letter matters: «Чудесный» at the beginning of a sentence is another word than
# «чудесный» inside it and is cut in another way, often into more pieces. The course's BERT has a small vocabulary from
# *War and Peace* in both languages; a real Russian one has many times as many tokens.

# %%
bert_tokenizer = pretrained.load_tokenizer("bert")  # with a network: pretrained.load("DeepPavlov/rubert-base-cased")[1]
rows = [
    [text, code(*bert_tokenizer.tokenize(text))] for text in ("чудесный день!", "Чудесный день!", "walking", "Walking")
]
table(["text", "tokens"], rows)

# %% [markdown]
# ## What BERT reads
#
# BERT wants one text or two, and four rows of numbers of equal length. The example has two sentences, «Я устал» and
# «Пойду посплю». The next slides build the rows. (Which ids come out depends on the vocabulary: here it is that of the
# course's BERT.)

# %%
first, second = (bert_tokenizer.tokenize(text) for text in ("Я устал", "Пойду посплю"))
length = len(first) + len(second) + 4  # [CLS], two [SEP], and one place of padding
inputs = plain.bert_inputs(first, second, bert_tokenizer.vocab, length)
tokens = [bert_tokenizer.tokens[index] for index in inputs["input_ids"]]


def draw_rows(names):
    """The tokens and some of BERT's rows under them, by the sentence that a token belongs to."""
    _, axes = plt.subplots(figsize=(9.5, 0.55 * (len(names) + 1) + 0.4))
    colours = [
        GREY if not mask else (ORANGE if kind else BLUE)
        for mask, kind in zip(*(inputs[name] for name in KINDS), strict=True)
    ]
    cells = [tokens, *([str(number) for number in inputs[name]] for name in names)]
    drawn = axes.table(cells, rowLabels=["token", *names], loc="center", cellLoc="center")
    for (row, column), cell in drawn.get_celld().items():
        cell.set_height(1 / (len(names) + 1))
        if column >= 0:
            cell.set_facecolor(colours[column] + ("55" if row == 0 else "18"))
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(9)
    axes.axis("off")
    axes.set_title("first sentence blue, second orange, padding grey", fontsize=10)
    show(f"The tokens {' '.join(tokens)}; under them: {', '.join(names) or 'nothing yet'}.")


KINDS = ("attention_mask", "token_type_ids")
display(Markdown(f"First sentence {code(*first)}, second sentence {code(*second)}"))

# %% [markdown]
# ### Special tokens
#
# `[CLS]` stands before everything: its vector will stand for the whole text. `[SEP]` ends each sentence. `[PAD]` fills
# the row up, so that texts of different length fit into one batch. (`[UNK]` and `[MASK]` are in the vocabulary too; the
# last is for pre-training.) The figure shows the row of tokens.

# %%
draw_rows([])

# %% [markdown]
# ### `input_ids`
#
# The place of each token in the vocabulary. The embedding matrix has a row for each.

# %%
draw_rows(["input_ids"])

# %% [markdown]
# ### `attention_mask`
#
# 1 for a token, 0 for padding. No place may look at padding, or a text would mean something else in a longer batch.

# %%
draw_rows(["input_ids", "attention_mask"])

# %% [markdown]
# ### `token_type_ids`
#
# 0 for `[CLS]`, the first sentence and its `[SEP]`; 1 for the second sentence and its `[SEP]`. Padding has 0.

# %%
draw_rows(["input_ids", "attention_mask", "token_type_ids"])

# %% [markdown]
# ### `position_ids`
#
# 0, 1, 2 … Each position has a learnt vector too; BERT has 512, so no text may be longer. Ids, types and positions each
# choose a vector, and the three are added: that is where [lecture 4](04_bert.ipynb) begins.

# %%
draw_rows(["input_ids", "attention_mask", "token_type_ids", "position_ids"])

# %% [markdown]
# ### In code
#
# The reading version; the tokenizers' own `tokenizer(first, second, max_length=..., truncation=..., padding=...)`
# returns the same rows for batches, and cuts what is too long.

# %% code="lecturekit.tokenizers.plain:bert_inputs" docstring=false

# %%
batch = bert_tokenizer(["Я устал", "Чудесный день!"], ["Пойду посплю", "Да."], padding="longest")
table(["row", "first text", "second text"], [[f"`{name}`", *map(str, rows)] for name, rows in batch.items()])

# %% [markdown]
# ## Unigram: a language model of pieces
#
# BPE and WordPiece grow a vocabulary by merging. Kudo (2018, [arXiv:1804.10959](https://arxiv.org/abs/1804.10959)) goes
# the other way: begin with far too many pieces, give each a probability, and drop those that are missed least. A
# segmentation $\mathbf{x} = x_1 \dots x_m$ of a word has the product of its pieces' probabilities, and the tokens are
# the best one:
#
# $$P(\mathbf{x}) = \prod_{i=1}^{m} p(x_i), \qquad \sum_{x \in V} p(x) = 1, \qquad
# \mathbf{x}^{*} = \arg\max_{\mathbf{x} \in S(w)} \sum_i \log p(x_i)$$
#
# where $S(w)$ are all ways to cut $w$ into pieces of $V$. T5 uses it through the library SentencePiece (Kudo and
# Richardson, 2018, [arXiv:1808.06226](https://arxiv.org/abs/1808.06226)), which writes the space before a word as `▁`.

# %% [markdown]
# ### The best segmentation: Viterbi
#
# A word of $n$ letters can be cut in $2^{n-1}$ ways. There is no need to try them: the best way to end at place $e$
# with the piece $w_{s..e}$ begins with the best way to reach $s$.
#
# $$b_0 = 0, \qquad b_e = \max_{s < e} \big( b_s + \log p(w_{s..e}) \big)$$

# %% code="lecturekit.tokenizers.unigram:viterbi"

# %% [markdown]
# ### The lattice of a word
#
# A vocabulary of 1,000 pieces, trained here on 60,000 characters of the manual and 1,500 generated Russian sentences.
# The figure draws each piece of it that fits somewhere into a word as an arc, from the place where it begins to where
# it ends, with its log-probability; the path of the best segmentation is orange.

# %%
texts = [*part, *(good for good, _ in agreement_pairs(1500, 0, "ru"))]
pieces = Unigram.train(texts, 1000, processes=1)
piece_scores = {t: s for t, s in zip(pieces.tokens, pieces.scores, strict=True) if t not in pieces.special_tokens}
longest, unknown = max(map(len, piece_scores)), min(piece_scores.values()) - unigram.UNKNOWN_PENALTY


def draw_lattice(word):
    """Every piece of the vocabulary that the word has, and the best way through."""
    best = unigram.viterbi(word, piece_scores, longest, unknown)
    places = [0]
    for piece in best:
        places.append(places[-1] + len(piece))
    path = set(pairwise(places))
    _, axes = plt.subplots(figsize=(9, 3.2))
    for end, edges in enumerate(unigram.lattice(word, piece_scores, longest, unknown)):
        for start, score in edges:
            chosen, height = (start, end) in path, (end - start) ** 0.8
            angles = [math.pi * i / 40 for i in range(41)]
            across = [(start + end) / 2 - (end - start) / 2 * math.cos(a) for a in angles]
            axes.plot(
                across,
                [height * math.sin(a) for a in angles],
                color=ORANGE if chosen else GREY,
                lw=2.5 if chosen else 1,
            )
            axes.text(
                (start + end) / 2,
                height,
                f"{score:.1f}",
                ha="center",
                fontsize=8,
                color="black" if chosen else "dimgrey",
            )
    for i, letter in enumerate(word):
        axes.text(i + 0.5, -0.35, letter, ha="center", va="center", fontsize=14)
    axes.set(ylim=(-0.7, None), yticks=[], xticks=range(len(word) + 1), title=f"best: {'  '.join(best)}")
    axes.grid(False)
    show(f"The word {word} with an arc for each piece that it holds; the best way takes {', '.join(best)}.")


draw_lattice("▁representation")

# %% [markdown]
# ### Training: EM, then drop
#
# Where a word was cut is not known, so probabilities are estimated by expectation and maximization.
#
# - **E-step**: how often does each piece occur, averaged over all segmentations by their probability? Sums over all of
#   them come from the same lattice, with sums in place of maxima.
#
# $$c(x) = \sum_w n_w \sum_{\mathbf{x} \in S(w)} P(\mathbf{x} \mid w) \cdot \#\{i : x_i = x\}$$
#
# - **M-step**: $p(x) = c(x) / \sum_{x'} c(x')$.
# - **Drop**: after two rounds, what would the likelihood lose if a piece were gone, and its places were cut otherwise?
#   Keep the worthiest three quarters. Characters always stay, so that every word can be cut.

# %% code="lecturekit.tokenizers.unigram:em_step"

# %% code="lecturekit.tokenizers.unigram:losses" docstring=false

# %% [markdown]
# ### What the rounds do
#
# The words of the generated Russian sentences, with twice two rounds of EM. The seeds are all substrings that repeat,
# the longest ones included, so that there are too many; EM alone already drops what it never uses. The mean
# log-probability of a word rises within the rounds and falls with each drop.

# %%
russian_words = Counter(w for good, _ in agreement_pairs(600, 0, "ru") for w in unigram.split_words(good))


def likelihood(scores):
    """The mean log-probability of a word, all its segmentations together."""
    size = max(map(len, scores))
    total = sum(
        count * unigram.forward(unigram.lattice(word, scores, size, -math.inf))[-1]
        for word, count in russian_words.items()
    )
    return total / russian_words.total()


scores = unigram.seed_pieces(russian_words, 1000)
rows = [["the seeds", len(scores), f"{likelihood(scores):.3f}"]]
for _ in range(2):
    for round_ in (1, 2):
        scores, expected = unigram.em_step(russian_words, scores)
        rows.append([f"EM, round {round_}", len(scores), f"{likelihood(scores):.3f}"])
    worth = unigram.losses(scores, expected)
    for piece in sorted(worth, key=worth.get)[: len(scores) // 4]:
        del scores[piece]
    rows.append(["a quarter dropped", len(scores), f"{likelihood(scores):.3f}"])
table(["after", "pieces", "mean log-probability of a word"], rows)

# %% [markdown]
# ### A word has many segmentations: sample them
#
# The other tokenizers know one way to cut a word. A probability model knows all, and can draw one, with a probability
# proportional to $P(\mathbf{x})^{\alpha}$. Training a translator on changing segmentations makes it sturdier: *subword
# regularization* (section 2 of Kudo's paper; sampling with $\alpha$ is section 3.3). BPE can do something alike by
# leaving out merges at random, BPE-dropout (Provilkov et al., 2020,
# [arXiv:1910.13267](https://arxiv.org/abs/1910.13267)).

# %%
draws = random.Random(0)
text = "подруга understanding"
rows = [["the best", code(*pieces.tokenize(text))]]
for alpha in (1.0, 0.3, 0.3, 0.1, 0.1):
    ids = pieces.sample(text, alpha, draws)
    rows.append([f"drawn, α = {alpha}", code(*(pieces.tokens[index] for index in ids))])
table(["", "pieces"], rows)

# %% [markdown]
# ### T5's tokenizer
#
# T5's tokens are at times called WordPiece, as in BERT. They are SentencePiece's, with Unigram. The mistake has a
# source: the paper itself writes that SentencePiece encodes text "as WordPiece tokens" (Raffel et al., 2020, section
# 3.1.3), meaning subwords. An example (deck 004) shows the marks of SentencePiece: «▁Посмотри ▁в ▁энциклопеди ческом
# ▁слова ре .» Ours, with 1,000 pieces:

# %%
sentence = "Посмотри в энциклопедическом словаре."
display(Markdown(code(*pieces.tokenize(sentence))))
print(pieces.decode(pieces.encode(sentence)))

# %% [markdown]
# `<unk>` is a character that the training text never had: SentencePiece can fall back to bytes, but T5's first
# vocabulary didn't. And `decode` does not give every text back: it is normalized to NFKC first («①» becomes «1», "ﬁ"
# two letters) and runs of spaces become one. Byte-level BPE alone returns exactly what it was given.

# %% [markdown]
# ## All four side by side
#
# Type any text. The widget has four tokenizers of at most 2,000 tokens, trained on the manual and on Russian sentences;
# switch on ids and bytes. Try a name, a typing error, a number, an emoji, «ё», your own name in both scripts.

# %%
widgets.tokenizers_side_by_side()

# %% [markdown]
# ### The four in one table
#
# | | BPE | byte-level BPE | WordPiece | Unigram |
# |---|---|---|---|---|
# | first symbols | characters | 256 bytes | characters | all frequent substrings |
# | training | merge the most frequent pair | the same | merge the pair of the best score | EM, then drop the worst |
# | what is kept | merges | merges | vocabulary | probabilities |
# | application | merges in order | merges in order | longest match | Viterbi |
# | unknown | a character | nothing | a word | a character |
# | several ways to cut | with dropout | with dropout | no | yes |
# | decode gives the text back | but for spaces | exactly | but for spaces, case if uncased | in NFKC |
# | who | GPT-1 | GPT-2, GPT-3, RoBERTa | BERT | T5, mT5 |

# %% [markdown]
# ## What Russian costs
#
# Merges go to what is frequent in the training text. If that is mostly English, English gets the vocabulary. The
# measure is **fertility**: how many tokens a word has on average (Rust et al., 2021,
# [arXiv:2012.15613](https://arxiv.org/abs/2012.15613)). Words differ between languages, so below stand eight sentences
# and their translations, and the last column compares the same *meaning*.

# %%
PARALLEL = [
    ("The cat is lying in the kitchen.", "Кошка лежит на кухне."),
    ("I read this book last year.", "Я прочитал эту книгу в прошлом году."),
    ("He did not know what to say.", "Он не знал, что сказать."),
    ("It was a cold and quiet morning.", "Было холодное и тихое утро."),
    ("She opened the door and went out.", "Она открыла дверь и вышла."),
    ("Where are you going so late?", "Куда вы идёте так поздно?"),
    ("The old soldier told us about the war.", "Старый солдат рассказал нам о войне."),
    ("My friend writes long letters.", "Мой друг пишет длинные письма."),
]
ENGLISH, RUSSIAN = (" ".join(side) for side in zip(*PARALLEL, strict=True))


def per_word(number_of_tokens, text):
    return number_of_tokens / len(text.split())


readers = {
    "bytes": lambda text: text.encode("utf-8"),
    "characters": list,
    f"byte-level BPE, {len(english_only):,} tokens, English alone": english_only.encode,
    f"byte-level BPE, {len(gpt_tokenizer):,} tokens, English and Russian": gpt_tokenizer.encode,
    f"WordPiece, {len(bert_tokenizer):,} tokens, English and Russian": bert_tokenizer.encode,
}
rows, costs = [], {}
for name, read in readers.items():
    numbers = len(read(ENGLISH)), len(read(RUSSIAN))
    costs[name] = [per_word(number, text) for number, text in zip(numbers, (ENGLISH, RUSSIAN), strict=True)]
    rows.append([name, *(f"{cost:.2f}" for cost in costs[name]), f"{numbers[1] / numbers[0]:.2f}"])
table(["tokens", "per English word", "per Russian word", "Russian : English, for the same meaning"], rows)

# %% [markdown]
# ### How fertility falls with the merges
#
# The same two byte-level tokenizers as they were after fewer merges. The left figure's tokenizer learnt from the
# English manual, and its Russian curve is flat: no merge ever helps. The right one's learnt from both languages; there
# each merge goes to one language or the other, and both curves fall.

# %%
_, both = plt.subplots(1, 2, figsize=(9.5, 3.6), sharey=True)
steps = [0, 30, 100, 300, 1000, 2000, 3500]
for axes, tokenizer, name in zip(
    both, (english_only, gpt_tokenizer), ("English alone", "English and Russian"), strict=True
):
    for text, colour, language in ((ENGLISH, BLUE, "English"), (RUSSIAN, ORANGE, "Russian")):
        fertility = [per_word(len(first_merges(tokenizer, n).encode(text)), text) for n in steps]
        axes.plot(steps, fertility, "o-", color=colour, label=language)
    axes.set(xlabel="merges", title=f"learnt from {name}", ylim=(0, None))
    axes.legend()
both[0].set_ylabel("tokens per word")
show(
    "Tokens per word by the number of merges. Learnt from English: English falls, Russian stays. From both: both fall."
)

# %% [markdown]
# ### What follows: length, time, context, price
#
# One Transformer layer of width $d$ that reads $n$ tokens multiplies $12\, n d^2 + 2\, n^2 d$ numbers (lab 2 counts
# them). The number of tokens per word therefore decides about time and, more than proportionally, about attention's
# part of it.

# %% code="lecturekit.tokenizers.plain:layer_cost" docstring=false

# %%
rows = []
words_in_text = 300
for name in list(readers)[2:4]:
    for language, cost in zip(("English", "Russian"), costs[name], strict=True):
        n = round(words_in_text * cost)
        work = f"{plain.layer_cost(n, 768) / 1e9:.1f}·10⁹"
        rows.append([name, language, n, work, round(2048 / cost), f"{n / 1000 * 6:.1f} cents"])
head = ["tokenizer", "language", f"tokens of {words_in_text} words", "multiplications in a layer, d = 768"]
table([*head, "words in a context of 2,048", "price at 6 cents for 1,000 tokens"], rows)

# %% [markdown]
# (2,048 tokens is the context of GPT-3, and 6 cents its price in deck 004.) A Russian text is not only dearer: less of
# it fits, so that the model has forgotten the beginning sooner.

# %% [markdown]
# ### Seen in practice: MOROCCO
#
# The authors of Russian SuperGLUE measured models by score, memory and speed together
# ([MOROCCO](https://github.com/RussianNLP/MOROCCO); deck 000). One of their observations is this lecture's:
# multilingual BERT, with the same layers as RuBERT, is somewhat **slower on Russian, because its tokenizer is worse at
# it**: it cuts the text into more tokens, and larger batches have to be worked through. The rest of their list is about
# size: the small RuGPT-3 handled about 200 records a second, the large one about 60, and in their runs larger did not
# always mean better.

# %% [markdown]
# ### The other side: a large vocabulary is a large matrix
#
# RuBERT began as multilingual BERT and has as many tokens, but chosen anew from Russian text. It is said to have 180
# million parameters, BERT base 110 million: the layers are the same, and the vocabulary makes the difference. Counted
# here, without weights:


# %%
def count(make, config):
    """The parameters of a model, and those of its token embeddings."""
    with torch.device("meta"):
        model = make(config)
    return sum(parameter.numel() for parameter in model.parameters())


MODELS = {
    "BERT base": (BertModel, BertConfig(vocab_size=30_522), 30_522, 768),
    "multilingual BERT, RuBERT": (BertModel, BertConfig(vocab_size=119_547), 119_547, 768),
    "GPT-2 small": (GPT2LMHeadModel, GPT2Config(), 50_257, 768),
    "T5 small": (T5ForConditionalGeneration, T5Config(), 32_128, 512),
    "mT5 small": (
        T5ForConditionalGeneration,
        T5Config(
            vocab_size=250_112,
            d_ff=1024,
            num_layers=8,
            num_heads=6,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
        ),
        250_112 * 2,  # embeddings and a head of its own
        512,
    ),
}
rows = []
for name, (make, config, tokens_, width) in MODELS.items():
    total = count(make, config)
    rows.append([name, f"{config.vocab_size:,}", f"{total / 1e6:.1f} million", f"{tokens_ * width / total:.0%}"])
table(["model", "vocabulary", "parameters", "of these for tokens"], rows)

# %% [markdown]
# ## Results: does it help?
#
# Sennrich, Haddow and Birch translated English into Russian, newstest2015 (Table 3 of their paper; single model, and
# the F₁ of single words from ensembles of eight). A word is *rare* if it is not among the 50,000 most frequent of the
# training text, and *OOV* if it never occurs in it.
#
# | system | source / target vocabulary | BLEU | F₁ all | F₁ rare | F₁ OOV |
# |---|---|---|---|---|---|
# | words, `UNK` for the rest | 300,000 / 500,000 | 18.8 | 54.2 | 25.2 | 0.0 |
# | words and a back-off dictionary | 300,000 / 500,000 | 19.1 | 54.8 | 26.5 | 6.6 |
# | pairs of characters, 50,000 words whole | 60,000 / 60,000 | 20.9 | 55.2 | 27.8 | 17.4 |
# | BPE for each language | 60,000 / 60,000 | 20.5 | 55.3 | 29.7 | 15.6 |
# | BPE for both together | 90,000 / 100,000 | 20.4 | 55.8 | 29.7 | 18.3 |
#
# With a vocabulary five times smaller, words that training never saw come out right that word models can't write at
# all. Russian names had to be transliterated: a dictionary that copies does not help there.

# %% [markdown]
# ### Which of the four?
#
# - For pre-trained models Bostrom and Durrett (2020, [arXiv:2004.03720](https://arxiv.org/abs/2004.03720)) trained the
#   same model with BPE and with Unigram, in English and Japanese: Unigram's pieces agree better with morphology, and
#   its models did as well or better on the tasks.
# - RoBERTa's authors found the move from WordPiece to bytes of little effect either way (section 4.4).
# - Rust et al. (2021) replaced the tokenizer of multilingual models by one made for a single language: on almost every
#   task and in almost every language the models became better.
#
# So: the algorithm matters somewhat, the *text that it learnt from* matters more.

# %% [markdown]
# ## Limits
#
# - **Letters are hidden.** A model that reads `кот` as one number does not see that it has three letters. Spelling,
#   rhymes and counting letters have to be learnt token by token.
# - **Numbers fall apart by accident**: see below.
# - **A typing error changes everything**: one wrong letter, and a whole word becomes crumbs.
# - **Cuts are not morphemes.** Frequency finds `-ing` and «-ого» where they are frequent, and cuts through stems
#   elsewhere.
# - **The vocabulary is frozen** with the model. A new language, field or spelling is paid in length for ever.
# - **Fairness**: who pays by the token pays for the training text of the tokenizer (Petrov et al., 2023,
#   [arXiv:2305.15425](https://arxiv.org/abs/2305.15425)).

# %%
rows = []
for good, bad in (("утро", "утор"), ("friend", "freind"), ("1812", "1805"), ("soldier", "Soldier")):
    rows.append(
        [
            f"{word}: {code(*(gpt_tokenizer.decode([i]) for i in gpt_tokenizer.encode(' ' + word)))}"
            for word in (good, bad)
        ]
    )
table(["", ""], rows)

# %% [markdown]
# ### Without a tokenizer?
#
# ByT5 (Xue et al., 2022, [arXiv:2105.13626](https://arxiv.org/abs/2105.13626)) is T5 that reads bytes: no vocabulary to
# train, sturdy against typing errors, and rows several times as long, dearer most of all where a letter is two bytes.
# The course's own models of dates and sums read characters (`lecturekit.tokenizers.Characters`), as their alphabets are
# small.

# %% [markdown]
# ## What to take along
#
# 1. Tokens are a compromise: words leave holes, characters make long rows.
# 2. BPE merges the most frequent pair, again and again; the list of merges, in order, *is* the tokenizer.
# 3. On bytes nothing is unknown. Cyrillic then begins at two symbols a letter.
# 4. WordPiece picks by $f(ab) / (f(a) f(b))$ and cuts by the longest match; Unigram has probabilities, Viterbi and EM.
# 5. BERT reads four rows: ids, mask, types, positions.
# 6. A tokenizer is fair to the languages of its training text, and to no other.
#
# **Now do it**: [lab 2](../labs/lab02/lab02.ipynb). **Next**: [lecture 3, the Transformer](03_transformer.ipynb), and
# what the ids become in [BERT](04_bert.ipynb), [GPT](05_gpt.ipynb) and [T5](06_t5.ipynb).

# %% [markdown]
# ### Questions to think about
#
# 1. Train BPE until the lecture's corpus has no pair left. How many merges are there, and how does it then cut
#    «teammate»?
# 2. For which corpus do BPE and WordPiece make the same first merge? For which the opposite one?
# 3. A byte-level tokenizer has 50,257 tokens. What is the largest number of tokens that a Russian letter can cost, and
#    an emoji?
# 4. Why does Unigram keep all characters, and what would Viterbi answer without them?
# 5. You may choose a vocabulary of 30,000 tokens for a chat in both languages. On what text do you train it?

# %% [markdown]
# ## Links
#
# - Gage. *A New Algorithm for Data Compression.* The C Users Journal, 1994.
# - Sennrich, Haddow, Birch. *Neural Machine Translation of Rare Words with Subword Units.* ACL 2016.
#   [arXiv:1508.07909](https://arxiv.org/abs/1508.07909): algorithm 1, Table 3.
# - Schuster, Nakajima. *Japanese and Korean Voice Search.* ICASSP 2012.
#   [research.google](https://research.google/pubs/japanese-and-korean-voice-search/)
# - Wu et al. *Google's Neural Machine Translation System.* 2016. [arXiv:1609.08144](https://arxiv.org/abs/1609.08144),
#   section 4.1.
# - Radford et al. *Language Models are Unsupervised Multitask Learners* (GPT-2). 2019, section 2.2.
# - Kudo. *Subword Regularization.* ACL 2018. [arXiv:1804.10959](https://arxiv.org/abs/1804.10959)
# - Kudo, Richardson. *SentencePiece.* EMNLP 2018. [arXiv:1808.06226](https://arxiv.org/abs/1808.06226)
# - Bostrom, Durrett. *Byte Pair Encoding is Suboptimal for Language Model Pretraining.* 2020.
#   [arXiv:2004.03720](https://arxiv.org/abs/2004.03720)
# - Rust et al. *How Good is Your Tokenizer?* ACL 2021. [arXiv:2012.15613](https://arxiv.org/abs/2012.15613)
# - To read on: Alexander Dyakonov, [Токенизация на
#   подслова](https://dyakonov.org/2019/11/29/токенизация-на-подслова-subword-tokenization/) (in Russian); Hugging Face,
#   [Summary of the tokenizers](https://huggingface.co/docs/transformers/tokenizer_summary).
# - The code: `lecturekit/tokenizers/` (`bpe.py`, `byte_level.py`, `wordpiece.py`, `unigram.py`, and `plain.py` for
#   reading).
