# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 2. Subword tokenization
#
# A model reads numbers, so text has to be cut into pieces that are in a list. Whole words make the list endless, and
# a word that is not in it becomes `[UNK]`; single characters make the text endless. Between the two lie *subwords*:
# frequent words are one token, rare ones several, and nothing is unknown. Here you write the ways that BERT, GPT-2 and
# T5 do it, on Russian and English text side by side. No neural network is needed, and nothing takes more than seconds.
#
# | exercise | what you write | points |
# |---|---|---|
# | 1 | counting pairs | 8 |
# | 2 | one merge | 8 |
# | 3 | BPE: training | 14 |
# | 4 | BPE: applying the merges | 12 |
# | 5 | byte-level BPE: a character for every byte | 10 |
# | 6 | WordPiece: the score of a pair | 10 |
# | 7 | WordPiece: the longest match, cased and uncased | 12 |
# | 8 | the four rows that BERT reads | 8 |
# | 9 | Unigram: the best segmentation | 10 |
# | 10 | tokens per word, and what they cost | 8 |
#
# **How to work.** Replace each `raise NotImplementedError()` with your code; its docstring says exactly what is wanted.
# Keep names and parameters as they are. Run the test cells below an exercise: they say `passed`, or what was expected
# and what was found, and often *which* mistake it looks like. **Validate** runs all of them at once, in a fresh kernel.
# Graders also run further checks, on fresh words. Each exercise ends with something to check yourself: it draws on your
# own code. Call it in a cell of your own, and add as many as you like.
#
# **Words.** A *symbol* is what a word is made of at the moment: a character at first, longer strings later. A *pair* is
# two symbols that stand side by side, as a tuple. A *token* is a symbol of the finished vocabulary.

# %% locked="setup"
# %load_ext lecturekit.checks
import math
import unicodedata
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt

from lecturekit import checks as check
from lecturekit.data import agreement_pairs

LECTURE = {"cat": 4, "mat": 5, "mats": 2, "mate": 3, "ate": 3, "eat": 2}  # the lecture's corpus: word -> count
RUSSIAN = {"кот": 4, "коты": 2, "скот": 3, "ток": 2, "котик": 3}


# %% [markdown]
# ## 1. Counting pairs (8 points)
#
# *Byte-pair encoding* (BPE) was a way to compress files (Gage, 1994) before it cut words (Sennrich et al., 2016,
# [arXiv:1508.07909](https://arxiv.org/abs/1508.07909), section 3.2): join the two symbols that stand side by side most
# often, and again, and again. So the first thing to know is how often each pair occurs. A corpus is kept as a table of
# its different words, each with its count, because a word that occurs four times brings each of its pairs four times:
#
# $$f(a, b) = \sum_{\text{words } w} \mathrm{count}(w) \cdot \#\{\, i : w_i = a,\ w_{i+1} = b \,\}$$
#
# The lecture's corpus, and its table of pairs:
#
# | word | count | | pair | count | comes from |
# |---|---|---|---|---|---|
# | `c a t` | 4 | | `a t` | 19 | all six words: 4 + 5 + 2 + 3 + 3 + 2 |
# | `m a t` | 5 | | `m a` | 10 | mat, mats, mate: 5 + 2 + 3 |
# | `m a t s` | 2 | | `t e` | 6 | mate, ate: 3 + 3 |
# | `m a t e` | 3 | | `c a` | 4 | cat |
# | `a t e` | 3 | | `t s` | 2 | mats |
# | `e a t` | 2 | | `e a` | 2 | eat |
#
# No pair goes across the end of a word.

# %% solution="lecturekit.tokenizers.bpe:count_pairs" hide="body"

# %% test="pairs:table" points=5
words = {tuple("cat"): 4, tuple("mat"): 5, tuple("mats"): 2, tuple("mate"): 3, tuple("ate"): 3, tuple("eat"): 2}
by_hand = {("a", "t"): 19, ("m", "a"): 10, ("t", "e"): 6, ("c", "a"): 4, ("t", "s"): 2, ("e", "a"): 2}
check.equal(count_pairs(words), by_hand, why="the lecture's table")
### BEGIN HIDDEN TESTS
letters = torch.randint(0, 3, (20, 6)).tolist()
words = {tuple(["абв"[i] for i in row][: 1 + n % 6]): 1 + n for n, row in enumerate(letters)}
pairs = [(x, y) for x in "абв" for y in "абв"]
found = {p: sum([n * [w[i : i + 2] for i in range(len(w))].count(p) for w, n in words.items()]) for p in pairs}
check.equal(count_pairs(words), {pair: count for pair, count in found.items() if count > 0}, why="twenty other words")
### END HIDDEN TESTS

# %% test="pairs:cases" points=3
check.pure(count_pairs, {tuple("кот"): 4, tuple("скот"): 3})
check.equal(count_pairs({("a", "a", "a"): 2}), {("a", "a"): 4}, why="pairs that overlap all count")
check.equal(count_pairs({("mat", "s"): 2, ("e", "at"): 1}), {("mat", "s"): 2, ("e", "at"): 1}, why="not letters")
check.equal(count_pairs({("я",): 5, ("и",): 7}), {}, why="no pair goes across the end of a word")
### BEGIN HIDDEN TESTS
check.equal(count_pairs({}), {}, why="no words, no pairs")
check.equal(count_pairs({("о", "ко", "о", "ко"): 3}), {("о", "ко"): 6, ("ко", "о"): 3})
### END HIDDEN TESTS

# %% [markdown]
# **Check yourself.** `show_pairs(RUSSIAN)` draws the table of a Russian corpus. Work out the two highest bars with
# pencil and paper first. Then add a word to the corpus that makes another pair win.


# %%
def show_pairs(word_counts: dict[str, int]) -> None:
    """The pairs of letters of a corpus, the most frequent first."""
    pairs = Counter(count_pairs({tuple(word): count for word, count in word_counts.items()})).most_common()
    _, axes = plt.subplots()
    axes.bar([" ".join(pair) for pair, _ in pairs], [count for _, count in pairs])
    axes.set_ylabel("how often")
    plt.show()


# %% [markdown]
# ## 2. One merge (8 points)
#
# The pair that won becomes one symbol, in every word and wherever it occurs in it, from left to right:
#
# ```
# m a t e                with (a, t) -> at      m at e
# к о л о к о л          with (к, о) -> ко      ко л о ко л
# a a a                  with (a, a) -> aa      aa a           each symbol takes part in one merge only
# ca t                   with (a, t) -> at      ca t           ca is one symbol, its a is not to be had
# ```
#
# The last line is the trap: whoever joins a word to one string and replaces text in it finds the letters *a t* where
# no symbol *a* is. (The paper's own code needs a regular expression to avoid that: its algorithm 1.)

# %% solution="lecturekit.tokenizers.bpe:merge_pair" hide="body"

# %% test="merge:values" points=5
check.equal(merge_pair(("m", "a", "t", "e"), ("a", "t"), "at"), ("m", "at", "e"), why="m a t e with at")
check.equal(merge_pair(tuple("колокол"), ("к", "о"), "ко"), ("ко", "л", "о", "ко", "л"), why="wherever it occurs")
check.equal(merge_pair(("a", "a", "a"), ("a", "a"), "aa"), ("aa", "a"), why="a symbol takes part in one merge only")
check.equal(merge_pair(("t", "a"), ("a", "t"), "at"), ("t", "a"), why="the order of the two counts")
### BEGIN HIDDEN TESTS
for row in torch.randint(0, 2, (10, 12)).tolist():
    text = "".join(["ab"[i] for i in row])
    check.equal(merge_pair(tuple(text), ("a", "b"), "X"), tuple(text.replace("ab", "X")))
    check.equal(merge_pair(tuple(text), ("b", "b"), "X"), tuple(text.replace("bb", "X")))
### END HIDDEN TESTS

# %% test="merge:symbols" points=3
check.pure(merge_pair, ["c", "a", "t"], ("a", "t"), "at")
check.equal(merge_pair(("ca", "t"), ("a", "t"), "at"), ("ca", "t"), why="the last letter of a symbol is no symbol")
check.equal(merge_pair(("ca", "t", "c", "at"), ("c", "at"), "cat"), ("ca", "t", "cat"), why="ca t is another pair")
### BEGIN HIDDEN TESTS
check.equal(merge_pair((5, 3, 8, 3, 8), (3, 8), 9), (5, 9, 9), why="symbols may be numbers")
check.equal(merge_pair((), ("a", "t"), "at"), (), why="a word without symbols")
check.equal(merge_pair(("к", "от", "ко", "т"), ("ко", "т"), "кот"), ("к", "от", "кот"))
### END HIDDEN TESTS

# %% [markdown]
# **Check yourself.** `show_merge(LECTURE, ("a", "t"))` writes the corpus after a merge. Which pair would you count most
# often now? `show_merge(RUSSIAN, ("к", "о"))` does the same in Russian.


# %%
def show_merge(word_counts: dict[str, int], *pairs: tuple[str, str]) -> None:
    """The words of a corpus after these merges, one after another, a point between symbols."""
    for word, count in word_counts.items():
        symbols = tuple(word)
        for pair in pairs:
            symbols = merge_pair(symbols, pair, "".join(pair))
        print(f"{count:3} × {'·'.join(symbols)}")


# %% [markdown]
# ## 3. BPE: training (14 points)
#
# Count all pairs, merge the most frequent one everywhere, and count again (section 3.2, algorithm 1). The pairs that
# were merged, in order, *are* the tokenizer: each adds the symbol that it becomes to the vocabulary, which began as the
# single characters. The lecture's corpus goes like this:
#
# | merge | pair | count | the words after it |
# |---|---|---|---|
# | 1 | `a t` | 19 | `c at`, `m at`, `m at s`, `m at e`, `at e`, `e at` |
# | 2 | `m at` | 10 | `c at`, `mat`, `mat s`, `mat e`, `at e`, `e at` |
# | 3 | `c at` | 4 | `cat`, `mat`, `mat s`, `mat e`, `at e`, `e at` |
# | 4 | `at e` | 3 | `cat`, `mat`, `mat s`, `mat e`, `ate`, `e at` |
# | 5 | `mat e` | 3 | `cat`, `mat`, `mat s`, `mate`, `ate`, `e at` |
#
# (The lecture's slide prints the fifth merge as `m ate`. After merge 2 there is no such pair: it is `mat e`.)
#
# At merge 4 two pairs occur three times. The paper leaves open which one goes first, and two programs that decide
# differently have different tokenizers. Here the *older* symbol decides: each has an age, its place in the vocabulary.
# `at` (6) is older than `mat` (7), so `at e` goes before `mat e`. Letters have the ages 0 to 5, in alphabetical order.

# %% solution="lecturekit.tokenizers.bpe:choose_pair" hide="body"

# %% solution="lecturekit.tokenizers.bpe:train_bpe" hide="body"

# %% test="training:choice" points=5
age = {"a": 0, "c": 1, "e": 2, "m": 3, "s": 4, "t": 5, "at": 6, "mat": 7, "cat": 8}
first = {("m", "a"): 10, ("a", "t"): 19, ("t", "e"): 6, ("c", "a"): 4}
check.equal(choose_pair(first, age), ("a", "t"), why="the most frequent pair")
fourth = {("mat", "s"): 2, ("mat", "e"): 3, ("at", "e"): 3, ("e", "at"): 2}
check.equal(choose_pair(fourth, age), ("at", "e"), why="of two that occur three times, the first symbol that is older")
same_first = {("я", "а"): 1, ("я", "б"): 1}
check.equal(choose_pair(same_first, {"я": 0, "б": 1, "а": 2}), ("я", "б"), why="first symbols alike: the second's age")
### BEGIN HIDDEN TESTS
symbols = ["щ", "а", "ща", "я", "о"]
for row in torch.randint(1, 3, (10, 25)).tolist():
    counts = {(symbols[n % 5], symbols[n // 5]): row[n] for n in range(25)}
    _, left, right = min([(-count, symbols.index(x), symbols.index(y)) for (x, y), count in counts.items()])
    check.equal(choose_pair(counts, {s: i for i, s in enumerate(symbols)}), (symbols[left], symbols[right]))
### END HIDDEN TESTS

# %% [markdown]
# From here on your code is judged by how it uses *your own* earlier functions, so a slip up there costs nothing here.

# %% test="training:table" points=6
corpus = {"cat": 4, "mat": 5, "mats": 2, "mate": 3, "ate": 3, "eat": 2}
merges = check.call(train_bpe, corpus, 5)
check.equal(len(merges), 5, why="five merges were asked for")
words, age = {tuple(word): count for word, count in corpus.items()}, {s: i for i, s in enumerate("acemst")}
for i in range(5):
    pair = check.call(choose_pair, count_pairs(words), age)
    check.equal(merges[i], pair, why=f"merge {i + 1}: your choose_pair, from your count_pairs of the merged words")
    age[pair[0] + pair[1]] = len(age)
    words = {tuple(check.call(merge_pair, w, pair, pair[0] + pair[1])): count for w, count in words.items()}
### BEGIN HIDDEN TESTS
counts = torch.randint(1, 4, (5,)).tolist()
corpus = dict(zip(["колокол", "около", "молоко", "кот", "ток"], counts, strict=True))
merges = check.call(train_bpe, corpus, 4)
check.equal(len(merges), 4, why="four merges were asked for")
words, age = {tuple(word): count for word, count in corpus.items()}, {s: i for i, s in enumerate("клмот")}
order = ["клмот"[i] for i in torch.randperm(5).tolist()]
some = {(order[0], order[1]): 2, (order[1], order[2]): 5, (order[3], order[4]): 3}
check.equal(tuple(check.call(choose_pair, some, age)) in some, True, why="your choose_pair takes a pair of its table")
for i in range(4):
    check.whole(count_pairs, "lecturekit.tokenizers.bpe:count_pairs", words, after=["pairs"])
    pair = check.call(choose_pair, count_pairs(words), age)
    check.equal(merges[i], pair, why=f"merge {i + 1} of other words, by your own functions")
    age[pair[0] + pair[1]] = len(age)
    for symbols in words:
        inputs = (symbols, pair, pair[0] + pair[1])
        check.whole(merge_pair, "lecturekit.tokenizers.bpe:merge_pair", *inputs, after=["merge"])
    words = {tuple(check.call(merge_pair, w, pair, pair[0] + pair[1])): count for w, count in words.items()}
### END HIDDEN TESTS

# %% test="training:end" points=3
check.pure(train_bpe, {"mat": 5, "mats": 2}, 1)
check.equal(train_bpe({"я": 3}, 4), [], why="no pair is left, so training ends early")
check.equal(train_bpe({"mat": 5}, 0), [], why="no merge was asked for")
### BEGIN HIDDEN TESTS
corpus = {"кот": 4, "коты": 2, "скот": 3, "ток": 2, "котик": 3}
check.equal(train_bpe(corpus, 5)[:3], check.call(train_bpe, corpus, 3), why="later merges change no earlier one")
draws, ours = torch.randint(0, 26, (3,)).tolist(), "lecturekit.tokenizers.bpe:train_bpe"
for letter in [f"{97 + draw:c}" for draw in draws]:
    why = "one letter, four times: there is never more than one pair, and soon none"
    check.whole(train_bpe, ours, {letter * 4: 3}, 9, after=["pairs", "merge"], why=why)
### END HIDDEN TESTS

# %% [markdown]
# **Check yourself.** These two make the lecture's tables with your functions: `show_training(LECTURE, 5)`. Does it say
# what the table above says? Then `show_training(RUSSIAN, 4)`: what has the tokenizer learnt about Russian?

# %% given="lecturekit.tokenizers.bpe:Step"

# %% given="lecturekit.tokenizers.bpe:training_steps"


# %%
def show_training(word_counts: dict[str, int], num_merges: int) -> None:
    """The tables of each merge: the words, the counts of pairs that it was chosen by, the pair."""
    for number, step in enumerate(training_steps(word_counts, num_merges), 1):
        counts = Counter(step.pair_counts).most_common(5)
        print(f"merge {number}   words  {', '.join(' '.join(symbols) for symbols in step.words)}")
        print(f"          pairs  {', '.join(f'{left} {right}: {count}' for (left, right), count in counts)}")
        print(f"          merge  {' '.join(step.pair)} -> {step.vocabulary[-1]}\n")


# %% [markdown]
# ## 4. BPE: applying the merges (12 points)
#
# To cut a word that training may never have seen, begin with its characters and do the merges in the order in which
# they were learnt. `ranks` says of each pair which merge it is, 0 for the first; `products` says what each becomes. So
# as long as two neighbours are a pair that was learnt, **the pair of the lowest rank goes first**, wherever in the word
# it stands, and the leftmost one where it stands twice:
#
# ```
# merges     0: b c -> bc      1: a b -> ab
# word       a b c  ->  a bc                   b c was learnt first, so a b has lost its chance
# ```
#
# To go from left to right and merge what comes, or to take the longest token, gives another segmentation than the
# counts of training had, and the model sees tokens in places where it has never seen them. With the lecture's merges,
# `mats` becomes `mat s`, `eat` becomes `e at`, and the new word `meat` becomes `m e at`.
#
# (When tokens are written down, those inside a word get a mark: `mat ##s` and `e ##at`. The merges do without.)

# %% solution="lecturekit.tokenizers.bpe:apply_merges" hide="body"

# %% test="ranks:order" points=6
early = {("b", "c"): 0, ("a", "b"): 1}
check.pure(apply_merges, ["a", "b", "c"], early, ["bc", "ab"])
check.equal(apply_merges(["a", "b", "c"], early, ["bc", "ab"]), ["a", "bc"], why="what was learnt first goes first")
check.equal(apply_merges(["a", "b", "c", "a", "b"], early, ["bc", "ab"]), ["a", "bc", "ab"], why="then all the others")
short = {("в", "о"): 0, ("о", "да"): 1}
check.equal(apply_merges(["в", "о", "да"], short, ["во", "ода"]), ["во", "да"], why="the earlier, not the longer one")
check.equal(apply_merges(["а", "а", "а"], {("а", "а"): 0}, ["аа"]), ["аа", "а"], why="the leftmost first")
### BEGIN HIDDEN TESTS
known = "abcABCDEF"
draws = torch.rand(6, 2).tolist()
drawn = [(known[int(x * (3 + i))], known[int(y * (3 + i))]) for i, (x, y) in enumerate(draws)]
pairs = list(dict.fromkeys(drawn))
products = ["ABCDEF"[drawn.index(pair)] for pair in pairs]
ranks = {pair: rank for rank, pair in enumerate(pairs)}
for row in torch.randint(0, 3, (12, 15)).tolist():
    word = "".join(["abc"[i] for i in row])
    expected = word
    for pair, product in zip(pairs, products, strict=True):
        expected = expected.replace(pair[0] + pair[1], product)
    check.equal(apply_merges(list(word), ranks, products), list(expected), why="merge after merge")
### END HIDDEN TESTS

# %% test="ranks:words" points=6
merges = [("a", "t"), ("m", "at"), ("c", "at"), ("at", "e"), ("mat", "e")]
ranks, products = {pair: rank for rank, pair in enumerate(merges)}, [left + right for left, right in merges]
by_hand = {"cat": ["cat"], "mat": ["mat"], "mats": ["mat", "s"], "mate": ["mate"], "ate": ["ate"], "eat": ["e", "at"]}
for word in by_hand:
    check.equal(apply_merges(list(word), ranks, products), by_hand[word], why=f"the lecture's segmentation of {word}")
check.equal(apply_merges(list("meat"), ranks, products), ["m", "e", "at"], why="a word that was not in the corpus")
check.equal(apply_merges(list("кот"), ranks, products), ["к", "о", "т"], why="what was never learnt stays as it is")
### BEGIN HIDDEN TESTS
check.equal(apply_merges([], ranks, products), [], why="a word without symbols")
check.equal(apply_merges(list("t"), ranks, products), ["t"])
check.equal(apply_merges(list("teammate"), ranks, products), ["t", "e", "a", "m", "mate"])
check.equal(apply_merges([7, 8, 7, 8, 9], {(7, 8): 0, (10, 9): 1}, [10, 11]), [10, 11], why="symbols may be numbers")
### END HIDDEN TESTS

# %% [markdown]
# **Check yourself.** `show_merging("котики", train_bpe(RUSSIAN, 6))` shows how a word grows together. Which merges of
# the six never get their turn in it, and why? Try a word of yours, and an English one.


# %%
def show_merging(word: str, merges: list[tuple[str, str]]) -> None:
    """A word as the first merge leaves it, the first two, and so on; one line for each that changes something."""
    products = [left + right for left, right in merges]
    before = list(word)
    print(f"{'':16}{'·'.join(before)}")
    for number, pair in enumerate(merges, 1):
        after = apply_merges(list(word), {pair: rank for rank, pair in enumerate(merges[:number])}, products)
        if after != before:
            print(f"{number}: {' + '.join(pair):13}{'·'.join(after)}")
        before = after


# %% [markdown]
# ## 5. Byte-level BPE (10 points)
#
# Characters are many (Unicode has over 150,000), and the one that training did not see is `[UNK]` again. Bytes are 256.
# GPT-2 (Radford et al., 2019, *Language Models are Unsupervised Multitask Learners*, section 2.2) runs BPE on the bytes
# of UTF-8, so every text has tokens. The algorithm is the one you have; only the symbols are others.
#
# To write tokens into a file, each byte gets a character that can be seen. OpenAI's table:
#
# - 33 to 126, 161 to 172 and 174 to 255 can be seen in Latin-1: such a byte is written as itself, `chr(byte)`;
# - the 68 others, in order, get the characters from 256 on: byte 0 is `Ā` (256), byte 1 is `ā` (257) and so on.
#
# So the space, byte 32, is the 33rd of the others: character 288, `Ġ`. A Cyrillic letter is two bytes. The lecture's
# examples: **А** is 208 144. 208 can be seen, `Ð`; 144 cannot. Before it come the bytes 0 to 32 and 127 to 143, that is
# 33 + 17 = 50 others, so it is character 256 + 50 = 306, `Ĳ`. And **а** is 208 176, both of which can be seen: `Ð°`.

# %% solution="lecturekit.tokenizers.byte_level:bytes_to_unicode" hide="body"

# %% test="bytes:table" points=6
table = bytes_to_unicode()
check.equal(sorted(table), list(range(256)), why="the keys are the bytes, 0 to 255")
check.equal([table[byte] for byte in b"cat!"], ["c", "a", "t", "!"], why="what can be seen stays as it is")
check.equal([table[byte] for byte in "а".encode()], ["Ð", "°"], why="208 and 176 can be seen in Latin-1")
check.equal([table[byte] for byte in "А".encode()], ["Ð", "Ĳ"], why="144 is the 51st that cannot be seen: 256 + 50")
check.equal([table[10], table[32]], ["Ċ", "Ġ"], why="a newline and a space")
check.equal([table[173], table[174]], ["Ń", "®"], why="173, a hyphen that is not shown, is the last of the others")
### BEGIN HIDDEN TESTS
seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
check.equal([table[byte] for byte in seen], [f"{byte:c}" for byte in seen])
moved = [byte for byte in range(256) if byte not in seen]
check.equal([table[byte] for byte in moved], [f"{256 + i:c}" for i in range(68)])
### END HIDDEN TESTS

# %% test="bytes:text" points=4
table = bytes_to_unicode()
check.equal(len(set(table.values())), 256, why="no two bytes may be written alike, or nobody could read them back")
back = {character: byte for byte, character in table.items()}
for text in ["Чудесный день!", "two  spaces,\ta tab\n", "🙂 naïve ½"]:
    written = "".join([table[byte] for byte in text.encode()])
    check.equal([back[character] for character in written], list(text.encode()), why="there and back again")
    invisible = [character for character in written if character.isspace() or not character.isprintable()]
    check.equal(invisible, [], why="every byte is written as a character that can be seen")
### BEGIN HIDDEN TESTS
check.equal([c for c in table.values() if c.isspace() or not c.isprintable()], [])
for codes in torch.randint(1, 55_000, (10, 8)).tolist():
    text = "".join([f"{code:c}" for code in codes])
    check.equal([back[table[byte]] for byte in text.encode()], list(text.encode()))
### END HIDDEN TESTS

# %% [markdown]
# **Check yourself.** `show_bytes("Кот на mat")`. How many symbols would GPT-2 begin with for each of the two
# languages? And what does it print for half a letter: `show_bytes("К", keep=1)`?


# %%
def show_bytes(text: str, keep: int | None = None) -> None:
    """The bytes of a text, or the first `keep` of them, as numbers and as characters, and what they can be read as."""
    table = bytes_to_unicode()
    data = text.encode()[:keep]
    for character in text:
        print(f"{character!r:6}{' '.join(f'{byte:3} {table[byte]}' for byte in character.encode())}")
    print("\nwritten  ", "".join(table[byte] for byte in data))
    print("read back", data.decode(errors="replace"))


# %% [markdown]
# ## 6. WordPiece: the score of a pair (10 points)
#
# WordPiece trains as BPE does and differs in one line: which pair comes next. Its papers (Schuster and Nakajima, 2012,
# *Japanese and Korean voice search*; Wu et al., 2016, [arXiv:1609.08144](https://arxiv.org/abs/1609.08144), section
# 4.1) ask for the pair that raises the likelihood of the corpus most, and their code was never published. The score by
# which the field does it:
#
# $$\mathrm{score}(a, b) = \frac{f(ab)}{f(a)\, f(b)}$$
#
# where $f(ab)$ is the count of the pair and $f(a)$, $f(b)$ are the counts of its symbols in the corpus, wherever they
# stand. Why: let every symbol have the probability $f / N$, $N$ being the number of symbols. An $a\,b$ that becomes one
# symbol changes the log-likelihood by
#
# $$\log \frac{f(ab)}{N} - \log \frac{f(a)}{N} - \log \frac{f(b)}{N} = \log \mathrm{score}(a, b) + \log N$$
#
# (up to the small change of the other counts). So the score is the gain for each place where the pair stands: it asks
# whether two symbols stand together more often than chance would have it.
#
# In the lecture's corpus `a`, `t`, `m`, `e`, `c`, `s` occur 19, 19, 10, 8, 4 and 2 times. Then `a t` scores
# $\frac{19}{19 \cdot 19} = \frac1{19}$, and so do `m a` ($\frac{10}{10 \cdot 19}$), `c a`
# ($\frac{4}{4 \cdot 19}$) and `t s` ($\frac{2}{19 \cdot 2}$): BPE's clear winner is one of four, since a pair is not
# better for being frequent. `t e` scores $\frac{6}{19 \cdot 8}$ and `e a` $\frac{2}{8 \cdot 19}$, which is less.
# (BERT's own symbols are marked from the start, so that an `a` inside a word is another symbol than one that begins it.
# The formula is the same.)

# %% solution="lecturekit.tokenizers.wordpiece:wordpiece_score" hide="body"

# %% solution="lecturekit.tokenizers.wordpiece:pair_scores" hide="body"

# %% test="score:formula" points=4
check.close(wordpiece_score(6, 4, 3), 0.5, tol=1e-9, why="6 / (4 · 3)")
check.close(wordpiece_score(19, 19, 19), 1 / 19, tol=1e-9, why="a t in the lecture's corpus")
check.close(wordpiece_score(2, 8, 19), 1 / 76, tol=1e-9, why="e a in the lecture's corpus")
### BEGIN HIDDEN TESTS
for pair, left, right in torch.randint(1, 50, (10, 3)).tolist():
    check.close(wordpiece_score(pair, left, right), pair / left / right, tol=1e-9)
check.close(wordpiece_score(14, 6, 10), wordpiece_score(7, 3, 5) / 2, tol=1e-9, why="twice the corpus, half the score")
### END HIDDEN TESTS

# %% test="score:table" points=6
words = {tuple("cat"): 4, tuple("mat"): 5, tuple("mats"): 2, tuple("mate"): 3, tuple("ate"): 3, tuple("eat"): 2}
check.pure(pair_scores, words)
f = {"a": 19, "t": 19, "m": 10, "e": 8, "c": 4, "s": 2}
expected = {pair: wordpiece_score(count, f[pair[0]], f[pair[1]]) for pair, count in count_pairs(words).items()}
check.close(pair_scores(words), expected, tol=1e-9, why="your count_pairs, your wordpiece_score, counts of symbols")
words, f = {tuple("мама"): 3, tuple("а"): 2}, {"м": 6, "а": 8}
expected = {pair: wordpiece_score(count, f[pair[0]], f[pair[1]]) for pair, count in count_pairs(words).items()}
check.close(pair_scores(words), expected, tol=1e-9, why="м occurs 6 times, а 8 times: twice in мама, once alone")
### BEGIN HIDDEN TESTS
letters = torch.randint(0, 4, (12, 6)).tolist()
words = {tuple(["абвг"[i] for i in row][: 2 + n % 5]): 1 + n for n, row in enumerate(letters)}
f = {x: sum([n * list(w).count(x) for w, n in words.items()]) for x in "абвг"}
expected = {pair: wordpiece_score(count, f[pair[0]], f[pair[1]]) for pair, count in count_pairs(words).items()}
check.whole(count_pairs, "lecturekit.tokenizers.bpe:count_pairs", words, after=["pairs"])
check.equal(len(set(expected.values())) > 1, True, why="your wordpiece_score gives different pairs different scores")
check.close(pair_scores(words), expected, tol=1e-9, why="other words")
check.equal(pair_scores({}), {}, why="no words, no pairs")
### END HIDDEN TESTS

# %% [markdown]
# **Check yourself.** `show_scores(RUSSIAN)` sets BPE's measure against WordPiece's. Which pair would each merge first?
# Add a word with a letter that no other word has, and look where its pair lands. Would you want that token? (Trainers
# ask for a least number of occurrences for that reason.)


# %%
def show_scores(word_counts: dict[str, int]) -> None:
    """Every pair of letters of a corpus: how frequent it is, and how it scores."""
    words = {tuple(word): count for word, count in word_counts.items()}
    counts, scores = count_pairs(words), pair_scores(words)
    _, axes = plt.subplots()
    axes.scatter([counts[pair] for pair in scores], list(scores.values()))
    places: dict[tuple[int, float], list[str]] = {}
    for pair, score in scores.items():
        places.setdefault((counts[pair], score), []).append(" ".join(pair))
    for place, pairs in places.items():
        axes.annotate(", ".join(pairs), place, xytext=(4, 4), textcoords="offset points")
    axes.set_xlabel("count: what BPE looks at")
    axes.set_ylabel("score: what WordPiece looks at")
    plt.show()


# %% [markdown]
# ## 7. WordPiece: the longest match (12 points)
#
# BERT (Devlin et al., 2018, [arXiv:1810.04805](https://arxiv.org/abs/1810.04805), section 3) keeps no merges, only the
# vocabulary. It cuts a text into words first: at white space, and around each punctuation mark. An **uncased** model
# forgets case and accents before that. Unicode can write `é` as `e` and a combining accent, and this form, NFD, is what
# makes accents easy to drop: marks have the category `Mn` (`unicodedata` has `normalize` and `category`). In Russian
# that is a surprise: `й` and `ё` are `и` and `е` with a mark to Unicode, so BERT's uncased models read «чудесный» as
# `чудесныи` (the lecture's slide keeps the й).
#
# Then each word is cut from the left, **the longest token first** (as in BERT's code; Song et al., 2021,
# [arXiv:2012.15524](https://arxiv.org/abs/2012.15524), section 1). A token that does not begin its word is in the
# vocabulary with `##` before it. If no token fits at some place, **the whole word** is `[UNK]`, not only the rest.
#
# ```
# vocabulary   un  ##aff  ##able  ##a  ##n  u           Чудес  ##ный  чудесныи  день  !
#
# unaffable    un ##aff ##able                           «Чудесный день!» cased     Чудес ##ный день !
# unb          [UNK]        and not un [UNK]             «Чудесный день!» uncased   чудесныи день !
# ```

# %% given="lecturekit.tokenizers.plain:is_punctuation"

# %% solution="lecturekit.tokenizers.plain:split_text" hide="body"

# %% solution="lecturekit.tokenizers.wordpiece:longest_match" hide="body"

# %% test="match:split" points=4
check.equal(split_text("Чудесный день!", False), ["Чудесный", "день", "!"], why="cased: nothing is changed")
check.equal(split_text("Чудесный день!", True), ["чудесныи", "день", "!"], why="uncased: й is и with a mark")
check.equal(split_text("Ёж,  naïve\tЁЛКА…", True), ["еж", ",", "naive", "елка", "…"])
check.equal(split_text("don't: $5+2", False), ["don", "'", "t", ":", "$", "5", "+", "2"], why="each mark by itself")
### BEGIN HIDDEN TESTS
check.equal(split_text("", True), [], why="no text")
check.equal(split_text(" \n\t ", False), [], why="white space alone")
text = "«Été», сказал Он.\n(Нет!)"
check.equal(split_text(text, False), ["«", "Été", "»", ",", "сказал", "Он", ".", "(", "Нет", "!", ")"])
check.equal(split_text(text, True), ["«", "ete", "»", ",", "сказал", "он", ".", "(", "нет", "!", ")"])
check.equal(split_text("e\u0301 и\u0306", True), ["e", "и"], why="marks that stand apart already")
### END HIDDEN TESTS

# %% test="match:words" points=5
vocab = {"un", "##aff", "##able", "##a", "u", "##n"}
check.equal(longest_match("unaffable", vocab), ["un", "##aff", "##able"])
check.equal(longest_match("una", vocab), ["un", "##a"], why="a is in the vocabulary as ##a")
check.equal(longest_match("unb", vocab), ["[UNK]"], why="the whole word is unknown")
check.equal(longest_match("aff", vocab, "<unk>"), ["<unk>"], why="no token begins a word with a")
check.equal(longest_match("u" + "n" * 100, vocab), ["[UNK]"], why="more than 100 characters")
### BEGIN HIDDEN TESTS
check.equal(longest_match("", vocab), [], why="a word without characters")
check.equal(longest_match("u" + "n" * 99, vocab), ["un"] + ["##n"] * 98, why="100 characters are allowed")
for row in torch.randint(0, 2, (10, 14)).tolist():
    word = "".join(["ду"[i] for i in row[:8]])
    more = ["дуд", "уд", "ду", "##дд", "##уу", "##дуд", "##уду", "##уудд"]
    vocab = {"д", "у", "##д", "##у", *[token for i, token in enumerate(more) if row[i + 6]]}
    expected, start = [], 0
    for _ in range(8):
        ends = [end for end in range(8, start, -1) if "##" * (start > 0) + word[start:end] in vocab]
        expected = expected + ["##" * (start > 0) + word[start:end] for end in ends[:1]]
        start = [*ends, 8][0]
    check.equal(longest_match(word, vocab), expected, why="at each place the longest token")
### END HIDDEN TESTS

# %% test="match:text" points=3
vocab = ["[UNK]", "чудесныи", "день", "!", "Чудес", "##ный", "mat", "##s"]
cased = [token for word in split_text("Чудесный день!", False) for token in longest_match(word, vocab)]
check.equal(cased, ["Чудес", "##ный", "день", "!"], why="the cased model of the lecture")
uncased = [token for word in split_text("Чудесный день!", True) for token in longest_match(word, vocab)]
check.equal(uncased, ["чудесныи", "день", "!"], why="the uncased model")
### BEGIN HIDDEN TESTS
tokens = [token for word in split_text("Mats! ДЕНЬ mats", True) for token in longest_match(word, vocab)]
check.equal(tokens, ["mat", "##s", "!", "день", "mat", "##s"])
tokens = [token for word in split_text("Mats! ДЕНЬ mats", False) for token in longest_match(word, vocab)]
check.equal(tokens, ["[UNK]", "!", "[UNK]", "mat", "##s"])
### END HIDDEN TESTS

# %% [markdown]
# **Check yourself.** `show_tokens("Коты, коты и кот!", {"кот", "##ы", "и", ",", "!"})` draws each token in a
# box. Change the vocabulary so that «коты» is one token, then so that it is unknown. Can you find a word and a
# vocabulary with which the longest match needs more tokens than another way to cut the word?


# %%
def show_tokens(text: str, vocab: Container[str], lowercase: bool = True) -> None:
    """A text's tokens in boxes: grey ones begin a word, white ones go on with it, red ones are unknown."""
    _, axes = plt.subplots(figsize=(10, 0.8))
    axes.axis("off")
    tokens = [token for word in split_text(text, lowercase) for token in longest_match(word, vocab)]
    x = 0.0
    for token in tokens:
        color = "salmon" if token == "[UNK]" else "white" if token.startswith("##") else "lightgrey"
        axes.text(x, 0.5, token, family="monospace", bbox={"facecolor": color, "pad": 3})
        x += 0.012 * len(token) + 0.02
    plt.show()


# %% [markdown]
# ## 8. The four rows that BERT reads (8 points)
#
# BERT reads one sentence or two (section 3, *Input/Output Representations*, and figure 2), between special tokens, and
# all sentences of a batch have to be equally long, so the rest is filled with `[PAD]`. Four rows of numbers say all
# that there is to know. The lecture's «Я устал. Пойду посплю», without the full stop, for a length of 9:
#
# | | `[CLS]` | `Я` | `устал` | `[SEP]` | `Пойду` | `пос` | `##плю` | `[SEP]` | `[PAD]` |
# |---|---|---|---|---|---|---|---|---|---|
# | `input_ids` | 101 | 478 | 19896 | 102 | 26525 | 2430 | 14063 | 102 | 0 |
# | `attention_mask` | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 0 |
# | `token_type_ids` | 0 | 0 | 0 | 0 | 1 | 1 | 1 | 1 | 0 |
# | `position_ids` | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 |
#
# Each row is a list of `length` numbers. The first `[SEP]` still belongs to the first sentence.

# %% solution="lecturekit.tokenizers.plain:bert_inputs" hide="body"

# %% test="rows:pair" points=5
vocab = {"[PAD]": 0, "[CLS]": 101, "[SEP]": 102, "Я": 478, "устал": 19896, "Пойду": 26525, "пос": 2430, "##плю": 14063}
check.pure(bert_inputs, ["Я", "устал"], ["Пойду", "пос", "##плю"], vocab, 9)
rows = bert_inputs(["Я", "устал"], ["Пойду", "пос", "##плю"], vocab, 9)
check.equal(sorted(rows), ["attention_mask", "input_ids", "position_ids", "token_type_ids"])
check.equal(rows["input_ids"], [101, 478, 19896, 102, 26525, 2430, 14063, 102, 0], why="input_ids")
check.equal(rows["attention_mask"], [1, 1, 1, 1, 1, 1, 1, 1, 0], why="attention_mask: 1 where there is a token")
check.equal(rows["token_type_ids"], [0, 0, 0, 0, 1, 1, 1, 1, 0], why="token_type_ids: 1 for the second sentence")
check.equal(rows["position_ids"], [0, 1, 2, 3, 4, 5, 6, 7, 8], why="position_ids")
### BEGIN HIDDEN TESTS
for a, b, more in torch.randint(1, 6, (8, 3)).tolist():
    rows = bert_inputs(["устал"] * a, ["пос"] * b, vocab, a + b + 3 + more)
    ids = [101] + [19896] * a + [102] + [2430] * b + [102] + [0] * more
    check.equal(rows["input_ids"], ids)
    check.equal(rows["attention_mask"], [int(i > 0) for i in ids])
    check.equal(rows["token_type_ids"], [0] * (a + 2) + [1] * (b + 1) + [0] * more)
    check.equal(rows["position_ids"], list(range(len(ids))))
### END HIDDEN TESTS

# %% test="rows:single" points=3
vocab = {"[CLS]": 2, "[SEP]": 3, "[PAD]": 9, "cat": 5, "##s": 7}
rows = bert_inputs(["cat", "##s"], [], vocab, 6)
check.equal(rows["input_ids"], [2, 5, 7, 3, 9, 9], why="one sentence: one [SEP]; this vocabulary has [PAD] at 9")
check.equal(rows["token_type_ids"], [0] * 6, why="one sentence: all of type 0")
check.raises(ValueError, bert_inputs, ["cat", "##s"], [], vocab, 3, why="two tokens and two special ones need 4")
### BEGIN HIDDEN TESTS
rows = bert_inputs(["cat"], ["cat", "##s"], vocab, 6)
check.equal(rows["input_ids"], [2, 5, 3, 5, 7, 3], why="just full: no padding")
check.equal(rows["attention_mask"], [1] * 6, why="attention_mask, just full")
check.raises(ValueError, bert_inputs, ["cat"], ["cat", "##s"], vocab, 5, why="two sentences that are too long")
check.equal(bert_inputs([], [], vocab, 2)["input_ids"], [2, 3])
### END HIDDEN TESTS

# %% [markdown]
# **Check yourself.** `show_rows(["Я", "устал"], ["Пойду", "пос", "##плю"], 12)` draws the rows. Which of them could be
# left out because it follows from another one, and when does that go wrong?


# %%
def show_rows(first: list[str], second: list[str], length: int) -> None:
    """Three of the rows as colours, a column for each token."""
    vocab = {token: index for index, token in enumerate(dict.fromkeys(["[PAD]", "[CLS]", "[SEP]", *first, *second]))}
    rows = bert_inputs(first, second, vocab, length)
    tokens = {index: token for token, index in vocab.items()}
    names = ["attention_mask", "token_type_ids", "position_ids"]
    _, axes = plt.subplots(figsize=(length, 2))
    axes.imshow([[value / max(*rows[name], 1) for value in rows[name]] for name in names], cmap="Blues", aspect="auto")
    axes.set_xticks(range(length), [tokens[index] for index in rows["input_ids"]])
    axes.set_yticks(range(3), names)
    plt.show()


# %% [markdown]
# ## 9. Unigram: the best segmentation (10 points)
#
# T5's tokenizer asks another question: if every piece $x$ had a probability $p(x)$, which segmentation of the word
# would be the most probable (Kudo, 2018, [arXiv:1804.10959](https://arxiv.org/abs/1804.10959), section 3.2)?
#
# $$x^* = \arg\max_{x_1 \dots x_M} \prod_{i=1}^{M} p(x_i) = \arg\max_{x_1 \dots x_M} \sum_{i=1}^{M} \log p(x_i)$$
#
# A word of $n$ characters has $2^{n-1}$ segmentations, yet they need not be tried one by one. The best segmentation of
# the first $e$ characters ends with some piece, which begins at some $s$, and what is before that piece is the best
# segmentation of the first $s$ characters (**Viterbi**):
#
# $$\mathrm{best}(0) = 0, \qquad
# \mathrm{best}(e) = \max_{s < e} \big[\, \mathrm{best}(s) + \log p(w_{s+1} \dots w_e) \,\big]$$
#
# Remember for each $e$ the $s$ that was best, and walk back from the end. For «подход» with $p$(под) = $p$(ход) =
# $\frac14$, $p$(подх) = $p$(од) = $\frac18$ and $\frac1{64}$ for each letter, the longest match takes подх · од, of
# probability $\frac1{64}$. The best is под · ход, $\frac1{16}$.

# %% solution="lecturekit.tokenizers.unigram:viterbi" hide="body"

# %% test="viterbi:values" points=6
log = math.log
scores = {"под": log(1 / 4), "ход": log(1 / 4), "подх": log(1 / 8), "од": log(1 / 8)}
scores = {**scores, **{letter: log(1 / 64) for letter in "подх"}}
check.equal(viterbi("подход", scores, 4, -99.0), ["под", "ход"], why="1/16, not the longest match of 1/64")
check.equal(viterbi("подход", scores, 3, -99.0), ["под", "ход"], why="pieces of `longest` characters are allowed")
check.equal(viterbi("ход", scores, 2, -99.0), ["х", "од"], why="longer ones are not")
rare = {"a": log(1 / 4), "b": log(1 / 4), "ab": log(1 / 100)}
check.equal(viterbi("ab", rare, 2, -99.0), ["a", "b"], why="1/16 is more than 1/100: fewer pieces are not better")
last = {"a": log(1 / 64), "b": log(1 / 4), "ab": log(1 / 8)}
check.equal(viterbi("ab", last, 2, -99.0), ["ab"], why="1/8 is more than 1/64 · 1/4: all pieces count, not the last")
### BEGIN HIDDEN TESTS
for row in torch.rand(6, 15).tolist():
    pieces = ["а", "б", "аа", "аб", "ба", "бб", "ааб", "аба", "бба", "баб", "абаб"]
    scores = {piece: -8 * value - 0.5 for piece, value in zip(pieces, row, strict=False)}
    word = "".join(["аб"[int(2 * value)] for value in row[:8]])
    cuts = [[0, *[i for i in range(1, 8) if mask >> (i - 1) & 1], 8] for mask in range(128)]
    every = [[word[cut[i] : cut[i + 1]] for i in range(len(cut) - 1)] for cut in cuts]
    highest = max([sum([scores.get(part, -math.inf) for part in parts]) for parts in every])
    found = check.call(viterbi, word, scores, 4, -99.0)
    check.equal("".join(found), word, why="the pieces make the word")
    check.close(sum([scores[part] for part in found]), highest, tol=1e-9, why="the best of all 128 segmentations")
### END HIDDEN TESTS

# %% test="viterbi:unknown" points=4
scores = {"а": -1.0, "ба": -1.0}
check.pure(viterbi, "аба", scores, 2, -10.0)
check.equal(viterbi("аяа", scores, 2, -10.0), ["а", "я", "а"], why="a character without a piece stands by itself")
check.equal(viterbi("яюба", scores, 2, -10.0), ["я", "ю", "ба"], why="two of them, too, each by itself")
check.equal(viterbi("", scores, 2, -10.0), [], why="nothing to cut")
### BEGIN HIDDEN TESTS
check.equal(viterbi("бабая", scores, 2, -10.0), ["ба", "ба", "я"])
check.equal(viterbi("б", scores, 2, -10.0), ["б"])
check.equal(viterbi("баба", {**scores, "б": -5.0}, 1, -10.0), ["б", "а", "б", "а"])
### END HIDDEN TESTS

# %% [markdown]
# **Check yourself.** `show_segmentations("подход", {"под": 1 / 4, "ход": 1 / 4, "подх": 1 / 8, "од": 1 / 8})` tries all
# 32 segmentations and marks yours. Change one probability so that another one wins. Why does a tokenizer that knows
# several segmentations of a word make good training data? (Section 3.3 calls it *subword sampling*.)


# %%
def show_segmentations(word: str, probabilities: dict[str, float], letter: float = 1 / 64) -> None:
    """The ten most probable segmentations of a word as bars, the one that `viterbi` finds in another colour."""
    table = {**dict.fromkeys(word, letter), **probabilities}
    scores = {piece: math.log(p) for piece, p in table.items()}
    found = " ".join(viterbi(word, scores, max(map(len, scores)), -99.0))
    sums = {}
    for mask in range(2 ** (len(word) - 1)):
        parts = "".join(c + " " * (mask >> i & 1) for i, c in enumerate(word)).split()
        sums[" ".join(parts)] = math.prod(table.get(part, 0) for part in parts)
    best = sorted(sums, key=lambda parts: -sums[parts])[:10][::-1]
    _, axes = plt.subplots()
    axes.barh(best, [sums[parts] for parts in best], color=["C1" if parts == found else "C0" for parts in best])
    axes.set_xscale("log")
    axes.set_xlabel("probability")
    plt.show()


# %% [markdown]
# ## 10. Tokens per word, and what they cost (8 points)
#
# A vocabulary has a fixed size, and the languages of its training text share it. One that is mostly English cuts
# Russian into crumbs. The measure is *fertility*, the mean number of tokens per word (Rust et al., 2021,
# [arXiv:2012.15613](https://arxiv.org/abs/2012.15613)); a word that became `[UNK]` is one token too, and looks cheap,
# so the share of such words belongs beside it. With the vocabulary `кот`, `##ы`, `!`, the text «Коты ели!» has three
# words and the tokens `кот ##ы`, `[UNK]`, `!`: $\frac43$ tokens per word, and a share of $\frac13$ is unknown.
#
# Longer sequences cost time. One Transformer encoder layer of width $d$ that reads $n$ tokens multiplies, in its
# matrix products,
#
# $$\underbrace{4\, n d^2}_{\text{projections}} + \underbrace{2\, n^2 d}_{\text{attention}}
# + \underbrace{8\, n d^2}_{\text{feed-forward}}$$
#
# numbers: four $d \times d$ projections; queries times keys, then weights times values; and the two maps between $d$
# and $4d$. At $n = 512$ and $d = 768$, BERT's longest input, that is 4,026,531,840. The authors of MOROCCO, who
# measured Russian models, saw this in practice: multilingual BERT is a bit slower than RuBERT, as its vocabulary cuts
# Russian into more tokens.

# %% solution="lecturekit.tokenizers.plain:tokens_per_word" hide="body"

# %% solution="lecturekit.tokenizers.plain:layer_cost" hide="body"

# %% test="cost:words" points=5
vocab = {"кот", "##ы", "е", "##ли", "!", "cat", "##s", "ate"}
for text in ["Коты ели! Ели кота?", "Cats ate cats!"]:
    words = check.call(split_text, text, True)
    tokens = [check.call(longest_match, word, vocab) for word in words]
    expected = (sum([len(parts) for parts in tokens]) / len(words), tokens.count(["[UNK]"]) / len(words))
    check.close(tokens_per_word(text, vocab, True), expected, tol=1e-9, why="by your split_text and longest_match")
check.raises(ValueError, tokens_per_word, " ", vocab, True, why="a text without words")
### BEGIN HIDDEN TESTS
for row in torch.randint(0, 6, (6, 12)).tolist():
    text = " ".join([["Cats", "кот", "Коты", "ate,", "dogs!", "ели"][i] for i in row])
    for lowercase in [True, False]:
        words = check.call(split_text, text, lowercase)
        tokens = [check.call(longest_match, word, vocab) for word in words]
        expected = (sum([len(parts) for parts in tokens]) / len(words), tokens.count(["[UNK]"]) / len(words))
        check.close(tokens_per_word(text, vocab, lowercase), expected, tol=1e-9, why="by your own functions")
        ours = "lecturekit.tokenizers.plain:tokens_per_word"
        check.whole(tokens_per_word, ours, text, vocab, lowercase, after=["match"], tol=1e-9)
### END HIDDEN TESTS

# %% test="cost:layer" points=3
check.equal(layer_cost(1, 1), 4 + 2 + 8, why="n = 1, d = 1")
check.equal(layer_cost(2, 3), 4 * 2 * 9 + 2 * 4 * 3 + 8 * 2 * 9, why="n = 2, d = 3: 72 + 24 + 144")
check.equal(layer_cost(512, 768), 4_026_531_840, why="BERT base on its longest input")
### BEGIN HIDDEN TESTS
for n, d in torch.randint(1, 2000, (10, 2)).tolist():
    check.equal(layer_cost(n, d), 12 * n * d * d + 2 * n * n * d, why="another length and width")
### END HIDDEN TESTS

# %% [markdown]
# **Check yourself.** `show_cost()` trains your BPE on English sentences, on Russian ones and on both, makes a WordPiece
# vocabulary of each (with all letters of both languages in it, so that nothing is unknown), and cuts sentences that it
# has not seen. What does Russian cost with English merges? And with half of the merges each? The last bars are the
# bytes per word: where byte-level BPE begins.


# %%
def show_cost(num_merges: int = 120) -> None:
    """Tokens per word of English and of Russian, for vocabularies learnt from one, the other and both."""
    texts = {language: [good for good, _ in agreement_pairs(400, 0, language)] for language in ("en", "ru")}
    learnt = {"English": texts["en"][:300], "Russian": texts["ru"][:300], "both": texts["en"][:150] + texts["ru"][:150]}
    letters = {c for lines in texts.values() for line in lines for word in split_text(line, True) for c in word}
    bars: dict[str, list[float]] = {"en": [], "ru": []}
    for name, lines in learnt.items():
        merges = train_bpe(Counter(split_text(" ".join(lines), True)), num_merges)
        symbols = letters | {left + right for left, right in merges}
        vocab = symbols | {"##" + symbol for symbol in symbols}
        for language, unseen in texts.items():
            text = " ".join(unseen[300:])
            tokens, _ = tokens_per_word(text, vocab, True)
            bars[language].append(tokens)
            cost = layer_cost(round(100 * tokens), 768)
            print(f"merges from {name:8} {language}: {tokens:.2f} tokens per word, 100 words cost {cost / 1e9:.2f}e9")
    for language, unseen in texts.items():
        words = split_text(" ".join(unseen[300:]), True)
        bars[language].append(sum(len(word.encode()) for word in words) / len(words))
    _, axes = plt.subplots()
    for shift, (language, values) in enumerate(bars.items()):
        axes.bar([i + 0.4 * shift for i in range(4)], values, width=0.4, label=language)
    axes.set_xticks([0.2, 1.2, 2.2, 3.2], [*learnt, "bytes"])
    axes.set_ylabel("tokens per word")
    axes.legend()
    plt.show()


# %% [markdown]
# ## In your own words
#
# A service charges by the token. Its tokenizer was trained on text that is nine tenths English. A customer who writes
# Russian asks why the same letter costs more than its English translation, why the model forgets the beginning of
# long letters, and whether larger vocabularies would help. Answer in six sentences at most. (Your instructor may mark
# this by hand; it counts nothing towards the 100 points.)

# %% [markdown] question="russian-costs-more" points=0
# Merges go to the pairs that are frequent in the training text, so most of the vocabulary is English, and Russian words
# fall into many short tokens, with byte-level BPE down to two for a letter. The price is per token: three tokens for a
# word instead of one is three times the price. The model's context is counted in tokens, too, so a third as many words
# fit into it, and the beginning of a long letter falls out. A larger vocabulary helps if its new merges go to Russian;
# a more balanced training text does that at the same size. It costs memory, as each token has a row in the embedding
# and in the output matrix, and rare tokens are seen too seldom to be learnt well.
#
# Rubric:
#
# One point for each of the first three:
#
# - merges follow the training text, so Russian words fall into more and shorter tokens, and each is paid for
# - the context is counted in tokens, too: fewer words fit, and the beginning falls out
# - a larger vocabulary helps as far as its merges go to Russian, and names a price (rows of two matrices, rare tokens)
# - not enough: "Cyrillic takes two bytes": true of bytes, not of tokens after merges
