"""Byte-pair encoding of words (Sennrich, Haddow and Birch, 2016, https://arxiv.org/abs/1508.07909).

A word begins as its characters. Training counts how often each two symbols stand side by side, merges the most
frequent pair everywhere into one symbol, and counts again: the list of merges, in order, is the tokenizer. To encode
a word is to apply the merges to it, earliest first. The idea is a compression scheme's (Gage, 1994).

The file has training twice. `train_bpe` and the functions before it are the paper's algorithm, which counts everything
anew for each merge; `training_steps` shows its tables. `learn_merges` makes the same merges and updates only the counts
that a merge changes; the classes use it.

Left out: BPE-dropout, and the paper's joint vocabulary of two languages (train on both). Text is split at white
space only; separate punctuation first if it should be.
"""

import gc
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Self

import regex

from lecturekit.tokenizers.base import (
    Span,
    Tokenizer,
    check_vocab_size,
    count_words,
    huggingface_face,
    read_config,
    read_lines,
    read_vocab,
    write_json,
    write_text_file,
)

# --- the algorithm as the paper has it ----------------------------------------------------------------------


def count_pairs(words: Mapping[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    """How often each two symbols stand side by side in a corpus.

    words maps each word, as the tuple of its symbols, to how often it occurs. Returns the pairs in the order in which
    they are first met. Pairs that overlap all count: ("a", "a", "a") has ("a", "a") twice.
    """
    counts: dict[tuple[str, str], int] = {}
    for symbols, count in words.items():
        for pair in pairwise(symbols):
            counts[pair] = counts.get(pair, 0) + count
    return counts


def merge_pair(symbols: Sequence, pair: tuple, merged: Any) -> tuple:
    """Replace the pair by the symbol `merged` wherever it occurs in `symbols`, from left to right.

    A symbol takes part in one merge only: ("a", "a", "a") becomes ("aa", "a"). Symbols may be of any kind that
    compares equal: characters, strings, ids.
    """
    result = []
    i = 0
    while i < len(symbols):
        if tuple(symbols[i : i + 2]) == pair:
            result.append(merged)
            i += 2
        else:
            result.append(symbols[i])
            i += 1
    return tuple(result)


def choose_pair(pair_counts: Mapping[tuple[str, str], int], age: Mapping[str, int]) -> tuple[str, str]:
    """The pair to merge next: the most frequent one.

    age maps each symbol to its place in the vocabulary, 0 for the first. Of pairs that are equally frequent it is the
    one whose first symbol came into the vocabulary earlier and, where they share it, whose second symbol did.
    """
    return min(pair_counts, key=lambda pair: (-pair_counts[pair], age[pair[0]], age[pair[1]]))


def train_bpe(word_counts: Mapping[str, int], num_merges: int) -> list[tuple[str, str]]:
    """Train on words and how often each occurs: the pairs that are merged, in order.

    Each word begins as the tuple of its characters, the vocabulary as these characters in the order of their code
    points. A merge takes the pair of `choose_pair`, puts the symbol that it becomes at the end of the vocabulary, and
    replaces the pair in every word; then all pairs are counted anew. It ends after `num_merges` merges, or earlier if
    no pair is left. Symbols are unmarked: the `at` of "at" and of "mat" are one.
    """
    words = {tuple(word): count for word, count in word_counts.items()}
    age = {symbol: index for index, symbol in enumerate(sorted(set().union(*words)))}
    merges: list[tuple[str, str]] = []
    while len(merges) < num_merges:
        pair_counts = count_pairs(words)
        if not pair_counts:
            break
        pair = choose_pair(pair_counts, age)
        merged = pair[0] + pair[1]
        age[merged] = len(age)
        merges.append(pair)
        words = {merge_pair(symbols, pair, merged): count for symbols, count in words.items()}
    return merges


@dataclass(frozen=True)
class Step:
    """One merge of training and the tables before and after it.

    `words` and `pair_counts` are those that the merge was chosen by; `vocabulary` and `merges` have it as their last.
    """

    words: dict[tuple[str, ...], int]
    pair_counts: dict[tuple[str, str], int]
    pair: tuple[str, str]
    vocabulary: list[str]
    merges: list[tuple[str, str]]


def training_steps(word_counts: Mapping[str, int], num_merges: int) -> Iterator[Step]:
    """The merges of `train_bpe`, done over again one at a time, with the tables of each."""
    words = {tuple(word): count for word, count in word_counts.items()}
    vocabulary = sorted({symbol for symbols in words for symbol in symbols})
    merges: list[tuple[str, str]] = []
    for pair in train_bpe(word_counts, num_merges):
        merged = pair[0] + pair[1]
        vocabulary = [*vocabulary, merged]
        merges = [*merges, pair]
        yield Step(words, count_pairs(words), pair, vocabulary, merges)
        words = {merge_pair(symbols, pair, merged): count for symbols, count in words.items()}


def apply_merges(symbols: Sequence, ranks: Mapping[tuple, int], products: Sequence) -> list:
    """Merge a word's symbols until no two neighbours are a pair that was learned.

    ranks maps each pair to its place in the list of merges, products[rank] is the symbol that it becomes. Always the
    pair of the lowest rank goes first, the leftmost where it occurs more than once.
    """
    symbols = list(symbols)
    never = len(products)
    found = [ranks.get(pair, never) for pair in pairwise(symbols)]
    while found:
        rank = min(found)
        if rank == never:
            break
        i = found.index(rank)
        symbols[i : i + 2] = [products[rank]]
        del found[i]
        for k in (i - 1, i):
            if 0 <= k < len(found):
                found[k] = ranks.get((symbols[k], symbols[k + 1]), never)
    return symbols


# --- the same, fast -----------------------------------------------------------------------------------------


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python from looking for cyclic garbage: training makes none, and millions of tuples to look through."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@collector_paused()
def learn_merges(
    words: Iterable[tuple[Sequence[int], int]], next_id: int, num_merges: int, min_frequency: int = 1
) -> list[tuple[int, int]]:
    """The pairs that training merges, in order; the first becomes the id `next_id`, the second the next one ...

    words are (ids, count). The most frequent pair is merged; of equally frequent ones the smallest pair of ids, as in
    the Rust library. Where ids follow age, that is the rule of `choose_pair` and these are the merges of `train_bpe`.
    Training ends early when no pair is left that occurs `min_frequency` times.

    A merge touches only the words that hold its pair, and only the counts of the pairs beside it. The most frequent
    pair is found on a heap. Counts of pairs that exist only shrink, so an entry on the heap may be too high but never
    too low: it goes back with its true count when it comes up. A word is kept as a string, a character an id: then
    `split` and `join` do the merging. ValueError if there are more ids than characters.
    """
    if next_id + num_merges > 0x110000:
        raise ValueError(f"{next_id + num_merges} symbols: expected at most {0x110000}")
    sequences: list[str] = []
    frequencies: list[int] = []
    holders: dict[str, list[int]] = defaultdict(list)  # pair -> the words that hold it, once for each time
    for number, (ids, frequency) in enumerate(words):
        sequence = "".join(map(chr, ids))
        sequences.append(sequence)
        frequencies.append(frequency)
        for left, right in pairwise(sequence):
            holders[left + right].append(number)

    def frequency_in(numbers: list[int]) -> int:
        return sum(map(frequencies.__getitem__, numbers))

    counts = {pair: frequency_in(numbers) for pair, numbers in holders.items()}
    heap = [(-count, pair) for pair, count in counts.items()]
    heapify(heap)
    merges: list[tuple[int, int]] = []
    while heap and len(merges) < num_merges:
        negative, pair = heappop(heap)
        count = counts[pair]
        if count < -negative:
            heappush(heap, (-count, pair))
            continue
        if count < max(min_frequency, 1):
            break
        left, right = pair
        new = chr(next_id + len(merges))
        merges.append((ord(left), ord(right)))
        before: dict[str, list[int]] = defaultdict(list)  # symbol -> the words where it now precedes the new one
        after: dict[str, list[int]] = defaultdict(list)
        for number in dict.fromkeys(holders.pop(pair)):
            parts = sequences[number].split(pair)
            if len(parts) == 1:
                continue  # another merge took one of the two
            sequences[number] = new.join(parts)
            if parts[0]:
                before[parts[0][-1]].append(number)
            if parts[-1]:
                after[parts[-1][0]].append(number)
            for between in parts[1:-1]:
                if between:
                    after[between[0]].append(number)
                    before[between[-1]].append(number)
                else:
                    before[new].append(number)
                    counts[right + left] -= frequencies[number]
        for symbol, numbers in before.items():
            beside = symbol + new
            counts[beside] = frequency_in(numbers)
            holders[beside] = numbers
            heappush(heap, (-counts[beside], beside))
            if symbol != new:
                counts[symbol + left] -= counts[beside]
        for symbol, numbers in after.items():
            beside = new + symbol
            counts[beside] = frequency_in(numbers)
            holders[beside] = numbers
            heappush(heap, (-counts[beside], beside))
            counts[right + symbol] -= counts[beside]
        del counts[pair]
    return merges


def apply_merges_to_long_word(symbols: Sequence, ranks: Mapping[tuple, int], products: Sequence) -> list:
    """`apply_merges` in O(n log n): candidates wait on a heap, symbols are linked to their neighbours."""
    symbols = list(symbols)
    end = len(symbols)
    before = list(range(-1, end - 1))
    after = list(range(1, end + 1))
    heap = [(ranks[pair], i) for i, pair in enumerate(pairwise(symbols)) if pair in ranks]
    heapify(heap)
    gone = object()
    while heap:
        rank, i = heappop(heap)
        j = after[i]
        if symbols[i] is gone or j == end or ranks.get((symbols[i], symbols[j])) != rank:
            continue  # one of the two was merged with another neighbour since
        symbols[i], symbols[j] = products[rank], gone
        after[i] = after[j]
        if after[i] < end:
            before[after[i]] = i
        for k in (before[i], i):
            if k >= 0 and after[k] < end:
                rank = ranks.get((symbols[k], symbols[after[k]]))
                if rank is not None:
                    heappush(heap, (rank, k))
    return [symbol for symbol in symbols if symbol is not gone]


LONG = 80  # symbols: from about here on the heap is faster


class MergeTable:
    """Merges between tokens, ready to be applied to ids."""

    def __init__(self, merges: Iterable[tuple[str, str]], vocab: Mapping[str, int], prefix: str = "") -> None:
        """`prefix` is what marks a token inside a word; the second token of a pair loses it."""
        self.ranks: dict[tuple[int, int], int] = {}
        self.products: list[int] = []
        for rank, (left, right) in enumerate(merges):
            self.ranks[vocab[left], vocab[right]] = rank
            self.products.append(vocab[left + right.removeprefix(prefix)])

    def apply(self, ids: Sequence[int]) -> tuple[int, ...]:
        """`apply_merges`, by whichever way is faster for a word of this length."""
        way = apply_merges if len(ids) < LONG else apply_merges_to_long_word
        return tuple(way(ids, self.ranks, self.products))


# --- files --------------------------------------------------------------------------------------------------


def write_merges(path: Path, merges: Iterable[tuple[str, str]]) -> None:
    """Write `merges.txt`: a version line, then a pair a line, a space between the two symbols."""
    write_text_file(path, "".join(["#version: 0.2\n", *(f"{left} {right}\n" for left, right in merges)]))


def read_merges(path: Path, vocab: Container[str], prefix: str = "") -> list[tuple[str, str]]:
    """The pairs of a `merges.txt`, in order; its first line may tell a version.

    ValueError names the line that is no pair, that repeats one, or whose symbols, or the symbol that they become,
    are not in `vocab`. `prefix` is what marks a symbol inside a word, and is cut off the second of a pair.
    """
    merges: list[tuple[str, str]] = []
    seen: dict[tuple[str, str], int] = {}
    for number, line in enumerate(read_lines(path), 1):
        if number == 1 and line.startswith("#version"):
            continue
        pair = tuple(line.removesuffix("\n").removesuffix("\r").split(" "))
        if len(pair) != 2 or not all(pair):
            raise ValueError(f"{path}, line {number}: {line!r:.60} is not two symbols with a space between them")
        if pair in seen:
            raise ValueError(f"{path}, line {number}: the pair {pair} is on line {seen[pair]} too")
        for symbol in (*pair, pair[0] + pair[1].removeprefix(prefix)):
            if symbol not in vocab:
                raise ValueError(f"{path}, line {number}: symbol {symbol!r} of {pair} is not in the vocabulary")
        seen[pair] = number
        merges.append(pair)
    return merges


# --- the tokenizer ------------------------------------------------------------------------------------------

WORD = regex.compile(r"\P{White_Space}+")


def split_at_white_space(text: str) -> list[str]:
    """The words of a text: what lies between white space, which is dropped."""
    return WORD.findall(text)


def mark_inside(symbol: str) -> str:
    """The token of a symbol that has others before it in its word: `s` becomes `##s`."""
    return "##" + symbol


def mark_end(symbol: str) -> str:
    """The token of a symbol that ends its word: `s` becomes `s</w>`."""
    return symbol + "</w>"


class BPE(Tokenizer):
    """Byte-pair encoding of words, whose tokens tell where in a word they stand.

    The same letters are different tokens in different places. With `mark="##"` a token that does not begin its word
    begins with `##`; with `mark="</w>"` the token that ends its word ends with `</w>`, as in the paper. `merges`
    lists the pairs of such tokens that become one token, earliest first. A character that is not in the vocabulary
    is `unk_token`.

    `decode(encode(text))` is `" ".join(text.split())` where no character is unknown.
    """

    unk_token = "[UNK]"

    def __init__(
        self,
        tokens: Sequence[str],
        merges: Sequence[tuple[str, str]],
        special_tokens: Sequence[str] = ("[UNK]",),
        mark: str = "##",
    ) -> None:
        """ValueError for an unknown `mark`, a missing `unk_token`, or a pair that is not in the vocabulary."""
        if mark not in MARKS:
            raise ValueError(f"mark={mark!r}: expected one of {', '.join(map(repr, MARKS))}")
        super().__init__(tokens, special_tokens)
        if self.unk_token not in self.special_tokens:
            raise ValueError(f"special tokens {self.special_tokens}: expected {self.unk_token!r} among them")
        self.mark = mark
        self.merges = list(merges)
        self._prefix = mark if mark == "##" else ""
        for left, right in merges:
            for token in (left, right, left + right.removeprefix(self._prefix)):
                if token not in self.vocab:
                    raise ValueError(f"token {token!r} of the merge {(left, right)} is not in the vocabulary")
        self._table = MergeTable(merges, self.vocab, self._prefix)

    @classmethod
    def train(
        cls,
        texts: Iterable[str | Path],
        vocab_size: int,
        special_tokens: Sequence[str] = ("[UNK]",),
        *,
        mark: str = "##",
        min_frequency: int = 1,
        processes: int | None = None,
    ) -> Self:
        """Learn merges on unmarked symbols until the vocabulary has `vocab_size` tokens.

        The vocabulary has the special tokens, then each symbol twice, unmarked and marked: the characters by code
        point, then the merged symbols in order. So a merge adds two tokens, and two entries to `merges`: for the
        place where the mark differs, and for the others. Fewer tokens come out if no pair is left that occurs
        `min_frequency` times. Ties have the rule of `choose_pair`. Words that hold the mark itself are not learned
        from, though their characters are in the vocabulary.

        `processes` is that of `base.count_words`. ValueError for an empty corpus, or a `vocab_size` that does not
        hold the special tokens and the characters.
        """
        if mark not in MARKS:
            raise ValueError(f"mark={mark!r}: expected one of {', '.join(map(repr, MARKS))}")
        marked = MARKS[mark]
        words = count_words(texts, split_at_white_space, special_tokens, processes)
        symbols = sorted(set().union(*words))
        room = (vocab_size - len(special_tokens)) // 2
        least = len(special_tokens) + 2 * len(symbols)
        check_vocab_size(
            vocab_size, least, f"{len(special_tokens)} special tokens and {len(symbols)} characters, marked and not"
        )
        age = {symbol: index for index, symbol in enumerate(symbols)}
        spelled = ([age[c] for c in word] for word in words)
        corpus = ((ids, count) for ids, (word, count) in zip(spelled, words.items(), strict=True) if mark not in word)
        merges = []
        for first, second in learn_merges(corpus, len(symbols), room - len(symbols), min_frequency):
            left, right = symbols[first], symbols[second]
            symbols.append(left + right)
            if mark == "##":
                merges += [(left, marked(right)), (marked(left), marked(right))]
            else:
                merges += [(left, right), (left, marked(right))]
        tokens = [token for symbol in symbols for token in (symbol, marked(symbol))]
        return cls([*special_tokens, *tokens], merges, special_tokens, mark)

    def split(self, text: str) -> list[str]:
        return split_at_white_space(text)

    def align(self, text: str) -> Iterator[tuple[str, list[Span]]]:
        for match in WORD.finditer(text):
            yield match.group(), [(i, i + 1) for i in range(match.start(), match.end())]

    def encode_word(self, word: str) -> tuple[int, ...]:
        last = len(word) - 1
        if self.mark == "##":
            letters = [mark_inside(letter) if i > 0 else letter for i, letter in enumerate(word)]
        else:
            letters = [letter if i < last else mark_end(letter) for i, letter in enumerate(word)]
        unknown = self.vocab[self.unk_token]
        return self._table.apply([self.vocab.get(letter, unknown) for letter in letters])

    def word_spans(self, word: str) -> list[Span]:
        unknown = self.vocab[self.unk_token]
        lengths = [1 if index == unknown else len(self._unmarked(self.tokens[index])) for index in self._words[word]]
        return list(pairwise(accumulate(lengths, initial=0)))

    def _unmarked(self, token: str) -> str:
        return token.removeprefix("##") if self.mark == "##" else token.removesuffix("</w>")

    def join(self, tokens: list[str]) -> str:
        special = set(self.special_tokens)
        pieces: list[str] = []
        inside = False
        for token in tokens:
            plain = token if token in special else self._unmarked(token)
            marked = len(plain) < len(token)
            if self.mark == "##":
                pieces.append(plain if marked and pieces else " " * bool(pieces) + token)
            else:
                pieces.append(plain if inside or not pieces else " " + plain)
                inside = not marked and token not in special
        return "".join(pieces)

    def save(self, folder: str | Path) -> None:
        """Write `vocab.json`, `merges.txt`, and the mark and the special tokens to `tokenizer_config.json`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "vocab.json", self.vocab)
        write_merges(folder / "merges.txt", self.merges)
        config = {"additional_special_tokens": self.special_tokens, MARK_NAMES[self.mark]: self.mark}
        write_json(folder / "tokenizer_config.json", config)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote. ValueError names the file and the line that is damaged."""
        folder = Path(folder)
        config = read_config(folder)
        mark = next((config[name] for name in MARK_NAMES.values() if name in config), "##")
        tokens = read_vocab(folder / "vocab.json")
        merges = read_merges(folder / "merges.txt", set(tokens), mark if mark == "##" else "")
        try:
            return cls(tokens, merges, config.get("additional_special_tokens", ["[UNK]"]), mark)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None

    def to_huggingface(self) -> Any:
        from tokenizers import Tokenizer as RustTokenizer
        from tokenizers import decoders, models, pre_tokenizers

        marks = {MARK_NAMES[self.mark]: self.mark}
        rust = RustTokenizer(models.BPE(vocab=self.vocab, merges=self.merges, unk_token=self.unk_token, **marks))
        rust.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        rust.decoder = (
            decoders.WordPiece(prefix="##", cleanup=False) if self.mark == "##" else decoders.BPEDecoder(suffix="</w>")
        )
        return huggingface_face(self, rust)


MARKS = {"##": mark_inside, "</w>": mark_end}
MARK_NAMES = {"##": "continuing_subword_prefix", "</w>": "end_of_word_suffix"}
