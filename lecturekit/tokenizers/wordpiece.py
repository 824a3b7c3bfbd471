"""WordPiece: BERT's tokenizer (Schuster and Nakajima, 2012; Devlin et al., 2019, https://arxiv.org/abs/1810.04805).

Text is normalized, split at white space and around punctuation, and each word is cut greedily: the longest token that
the rest of the word begins with, and so on. A token that does not begin its word is written with `##` before it.

Training merges pairs as BPE does, but picks the pair that gains most likelihood for each of its occurrences, f(ab) /
(f(a) f(b)); https://research.google/pubs/japanese-and-korean-voice-search/ has the idea. Google never published its
trainer. The Rust library picks by f(ab) alone; that is here too, as `score="frequency"`.

Left out: tokens that are never split other than special ones. Which characters are accents or punctuation is Python's
Unicode; the Rust library has tables of 2015, and may differ where a character is newer.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from heapq import heappop, heappush
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
    write_json,
    write_text_file,
)
from lecturekit.tokenizers.bpe import collector_paused, count_pairs, learn_merges, merge_pair

# --- normalization and pre-tokenization ---------------------------------------------------------------------

# The blocks of CJK ideographs in BERT's own code, but that its seventh begins 256 characters late, as it does in the
# Rust library.
CJK = regex.compile(
    r"[\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF"
    r"\U00020000-\U0002A6DF\U0002A700-\U0002B73F\U0002B740-\U0002B81F\U0002B920-\U0002CEAF\U0002F800-\U0002FA1F]"
)
WHITE_SPACE = regex.compile(r"\p{White_Space}")
PUNCTUATION = r"\p{P}$+<=>^`|~"  # BERT counts all of ASCII that is no letter, digit or space
WORD = regex.compile(rf"[{PUNCTUATION}]|[^\p{{White_Space}}{PUNCTUATION}]+")


def clean(character: str) -> str:
    """What BERT makes of one character: nothing of a control character, a space of white space."""
    if character in "\t\n\r":
        return " "
    if character in "\0\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Co"):
        return ""
    return " " if WHITE_SPACE.match(character) else character


def space_ideograph(character: str) -> str:
    """A CJK ideograph between spaces, so that each is a word; any other character as it is."""
    return f" {character} " if CJK.match(character) else character


def strip_accent(character: str) -> str:
    """Nothing of a combining mark, any other character as it is."""
    return "" if unicodedata.category(character) == "Mn" else character


class PerCharacter(dict):
    """A function of one character as a table for `str.translate`, which fills itself."""

    def __init__(self, *functions: Callable[[str], str]) -> None:
        self.functions = functions

    def __missing__(self, code: int) -> str:
        text = chr(code)
        for function in self.functions:
            text = "".join(map(function, text))
        self[code] = text
        return text


CLEAN = PerCharacter(clean, space_ideograph)
ACCENTS = PerCharacter(strip_accent)
ACCENTS_AND_CASE = PerCharacter(strip_accent, str.lower)


def normalize(text: str, lowercase: bool) -> str:
    """BERT's normalization: clean, space ideographs; for an uncased model also strip accents and case.

    A final capital sigma becomes σ like any other: each character is lowered by itself.
    """
    text = text.translate(CLEAN)
    return unicodedata.normalize("NFD", text).translate(ACCENTS_AND_CASE) if lowercase else text


def normalize_aligned(text: str, lowercase: bool) -> list[tuple[str, int]]:
    """The characters of `normalize(text, lowercase)`, each with the index of the character that it comes from."""
    pairs = [(c, i) for i, source in enumerate(text) for c in source.translate(CLEAN)]
    if not lowercase:
        return pairs
    pairs = [(c, i) for source, i in pairs for c in unicodedata.normalize("NFD", source)]
    ordered: list[tuple[str, int]] = []
    marks: list[tuple[str, int]] = []  # a run of combining characters, which NFD sorts by their class
    for pair in [*pairs, ("", 0)]:
        if pair[0] and unicodedata.combining(pair[0]):
            marks.append(pair)
        else:
            ordered += [*sorted(marks, key=lambda mark: unicodedata.combining(mark[0])), pair]
            marks = []
    return [(c, i) for source, i in ordered[:-1] for c in source.translate(ACCENTS_AND_CASE)]


def split_words(lowercase: bool, text: str) -> list[str]:
    """The words of a text: each punctuation mark by itself, and what lies between them and white space."""
    return WORD.findall(normalize(text, lowercase))


# --- the algorithm ------------------------------------------------------------------------------------------


def wordpiece_score(pair_count: int, left_count: int, right_count: int) -> float:
    """By what factor a pair is more frequent than chance would have it, up to a constant: f(ab) / (f(a) f(b)).

    Its logarithm is, up to a constant, by how much the log-likelihood of a corpus under a unigram model grows for each
    occurrence of the pair that becomes one symbol.
    """
    return pair_count / (left_count * right_count)


def pair_scores(words: Mapping[tuple[str, ...], int]) -> dict[tuple[str, str], float]:
    """The `wordpiece_score` of every pair in a corpus.

    words maps each word, as the tuple of its symbols, to how often it occurs, as in `count_pairs`. A symbol's count is
    how often it occurs in the corpus, with a neighbour or without one.
    """
    symbol_counts: dict[str, int] = {}
    for symbols, count in words.items():
        for symbol in symbols:
            symbol_counts[symbol] = symbol_counts.get(symbol, 0) + count
    return {
        (left, right): wordpiece_score(count, symbol_counts[left], symbol_counts[right])
        for (left, right), count in count_pairs(words).items()
    }


def longest_match(word: str, vocab: Container[str], unk_token: str = "[UNK]") -> list[str]:
    """Cut a word into the longest tokens of `vocab`, from left to right.

    A token that does not begin the word is looked up with `##` before it. If at some place no token matches, or if
    the word has more than 100 characters, the whole word is [`unk_token`].
    """
    if len(word) > 100:
        return [unk_token]
    tokens: list[str] = []
    start = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            token = ("##" if start else "") + word[start:end]
            if token in vocab:
                tokens.append(token)
                start = end
                break
        else:
            return [unk_token]
    return tokens


@collector_paused()
def learn_by_likelihood(
    words: Iterable[tuple[Sequence[int], int]], next_id: int, num_merges: int, min_frequency: int = 1
) -> list[tuple[int, int]]:
    """`bpe.learn_merges` with another choice: the pair of the highest `wordpiece_score`.

    Ties go to the smallest pair of ids. Pairs that occur less than `min_frequency` times are not merged: a pair of
    two symbols that occur once, side by side, has the highest score there is.

    A merge lowers the counts of its two symbols, which raises the score of every pair that has one of them. All of
    those go onto the heap anew; an entry whose score is not the pair's last one is void.
    """
    sequences: list[Sequence[int]] = []
    frequencies: list[int] = []
    symbol_counts: Counter[int] = Counter()
    counts: dict[tuple[int, int], int] = defaultdict(int)
    holders: dict[tuple[int, int], set[int]] = defaultdict(set)
    partners: dict[int, set[tuple[int, int]]] = defaultdict(set)  # symbol -> the pairs that it is in, or once was

    def add(number: int, sign: int) -> set[tuple[int, int]]:
        word, amount = sequences[number], sign * frequencies[number]
        for symbol in word:
            symbol_counts[symbol] += amount
        pairs = list(pairwise(word))
        for pair in pairs:
            counts[pair] += amount
        return set(pairs)

    def file(number: int, pairs: set[tuple[int, int]]) -> None:
        for pair in pairs:
            holders[pair].add(number)
            partners[pair[0]].add(pair)
            partners[pair[1]].add(pair)

    for number, (ids, frequency) in enumerate(words):
        sequences.append(ids)
        frequencies.append(frequency)
        file(number, add(number, +1))

    enough = max(min_frequency, 1)
    scores: dict[tuple[int, int], float] = {}
    heap: list[tuple[float, tuple[int, int]]] = []

    def rank(pairs: Iterable[tuple[int, int]]) -> None:
        for pair in pairs:
            if counts[pair] < enough:
                scores.pop(pair, None)
                continue
            score = wordpiece_score(counts[pair], symbol_counts[pair[0]], symbol_counts[pair[1]])
            if scores.get(pair) != score:
                scores[pair] = score
                heappush(heap, (-score, pair))

    rank(list(counts))
    merges: list[tuple[int, int]] = []
    while heap and len(merges) < num_merges:
        negative, pair = heappop(heap)
        if scores.get(pair) != -negative:
            continue
        new = next_id + len(merges)
        merges.append(pair)
        changed = partners[pair[0]] | partners[pair[1]]
        for number in holders.pop(pair):
            if pair not in pairwise(sequences[number]):
                continue  # another merge took one of the two
            before = add(number, -1)
            sequences[number] = merge_pair(sequences[number], pair, new)
            after = add(number, +1)
            file(number, after - before)
            changed |= before | after
        rank(changed)
        for gone in [other for other in changed if not counts[other]]:
            partners[gone[0]].discard(gone)
            partners[gone[1]].discard(gone)
    return merges


# --- the tokenizer ------------------------------------------------------------------------------------------

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LEARNERS = {"likelihood": learn_by_likelihood, "frequency": learn_merges}
LEFT_LEANING = ".?!,"  # what `decode` writes without a space before it


class WordPiece(Tokenizer):
    """BERT's tokenizer, uncased unless `lowercase` is False.

    A word that cannot be cut into tokens, or has more than 100 characters, is one `[UNK]`. `decode` puts a space
    before every word but . ? ! and , as the Rust library does; `decode(encode(text)) == text` for a cased tokenizer
    where the text is so spaced and no word is unknown.
    """

    single = "[CLS] $A [SEP]"
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    pad_token = "[PAD]"
    unk_token = "[UNK]"

    def __init__(
        self, tokens: Sequence[str], special_tokens: Sequence[str] = SPECIAL, *, lowercase: bool = True
    ) -> None:
        """ValueError if `[UNK]` is not among the special tokens, or these not among the tokens."""
        super().__init__(tokens, special_tokens)
        if self.unk_token not in self.special_tokens:
            raise ValueError(f"special tokens {self.special_tokens}: expected {self.unk_token!r} among them")
        self.lowercase = lowercase

    @classmethod
    def train(
        cls,
        texts: Iterable[str | Path],
        vocab_size: int,
        special_tokens: Sequence[str] = SPECIAL,
        *,
        score: str = "likelihood",
        lowercase: bool = True,
        min_frequency: int = 1,
        processes: int | None = None,
    ) -> Self:
        """Learn a vocabulary of `vocab_size` tokens.

        It has the special tokens; all characters by code point; those that occur inside words, with `##`; then a
        token a merge. The pair to merge has the highest `wordpiece_score` (score="likelihood") or count
        (score="frequency", as in the Rust library); ties go to the smallest pair of ids. Fewer tokens come out if no
        pair is left that occurs `min_frequency` times. Likelihood favours rare symbols that are always together: on
        real text ask for a `min_frequency` of 10 or more, or the vocabulary fills with words that occur once.

        `processes` is that of `base.count_words`. ValueError for another score, an empty corpus, or a `vocab_size`
        that does not hold the special tokens and the characters.
        """
        if score not in LEARNERS:
            raise ValueError(f"score={score!r}: expected one of {', '.join(map(repr, LEARNERS))}")
        words = count_words(texts, partial(split_words, lowercase), special_tokens, processes)
        characters = sorted(set().union(*words))
        inside = sorted({"##" + c for word in words for c in word[1:]})
        tokens = [*special_tokens, *characters, *inside]
        check_vocab_size(vocab_size, len(tokens), f"{len(special_tokens)} special tokens and the characters")
        ids = {token: index for index, token in enumerate(tokens)}
        corpus = [([ids[word[0]], *(ids["##" + c] for c in word[1:])], count) for word, count in words.items()]
        for left, right in LEARNERS[score](corpus, len(tokens), vocab_size - len(tokens), min_frequency):
            tokens.append(tokens[left] + tokens[right].removeprefix("##"))
        return cls(tokens, special_tokens, lowercase=lowercase)

    def split(self, text: str) -> list[str]:
        return split_words(self.lowercase, text)

    def align(self, text: str) -> Iterator[tuple[str, list[Span]]]:
        aligned = normalize_aligned(text, self.lowercase)
        for match in WORD.finditer("".join(character for character, _ in aligned)):
            yield match.group(), [(i, i + 1) for _, i in aligned[match.start() : match.end()]]

    def encode_word(self, word: str) -> tuple[int, ...]:
        return tuple(self.vocab[token] for token in longest_match(word, self.vocab, self.unk_token))

    def word_spans(self, word: str) -> list[Span]:
        tokens = longest_match(word, self.vocab, self.unk_token)
        if tokens == [self.unk_token]:
            return [(0, len(word))]
        return list(pairwise(accumulate((len(token.removeprefix("##")) for token in tokens), initial=0)))

    def join(self, tokens: list[str]) -> str:
        text = tokens[:1]
        for token in tokens[1:]:
            if token.startswith("##"):
                text.append(token.removeprefix("##"))
            else:
                text.append(token if token[0] in LEFT_LEANING else " " + token)
        return "".join(text)

    def save(self, folder: str | Path) -> None:
        """Write BERT's `vocab.txt`, a token a line, and case and special tokens to `tokenizer_config.json`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_text_file(folder / "vocab.txt", "".join(f"{token}\n" for token in self.tokens))
        config = {"do_lower_case": self.lowercase, "additional_special_tokens": self.special_tokens}
        write_json(folder / "tokenizer_config.json", config)

    @classmethod
    def load(cls, folder: str | Path, lowercase: bool | None = None) -> Self:
        """Read `vocab.txt`, BERT's published ones too.

        `lowercase` is what the caller says, else what `tokenizer_config.json` says, else True. ValueError names the
        file and the line that is empty or repeats a token.
        """
        folder = Path(folder)
        config = read_config(folder)
        path = folder / "vocab.txt"
        lines: dict[str, int] = {}
        for number, line in enumerate(read_lines(path), 1):
            token = line.removesuffix("\n").removesuffix("\r")
            if not token:
                raise ValueError(f"{path}, line {number}: expected a token, the line is empty")
            if token in lines:
                raise ValueError(f"{path}, line {number}: token {token!r} is on line {lines[token]} too")
            lines[token] = number
        special = config.get("additional_special_tokens", [token for token in SPECIAL if token in lines])
        if lowercase is None:
            lowercase = config.get("do_lower_case", True)
        try:
            return cls(list(lines), special, lowercase=lowercase)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def to_huggingface(self) -> Any:
        from tokenizers import Tokenizer as RustTokenizer
        from tokenizers import decoders, models, normalizers, pre_tokenizers

        rust = RustTokenizer(models.WordPiece(vocab=self.vocab, unk_token=self.unk_token, max_input_chars_per_word=100))
        rust.normalizer = normalizers.BertNormalizer(lowercase=self.lowercase)
        rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        rust.decoder = decoders.WordPiece(prefix="##", cleanup=True)
        return huggingface_face(self, rust)
