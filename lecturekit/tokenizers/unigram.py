"""Unigram: SentencePiece's language model of pieces, as T5 uses it (Kudo, 2018, https://arxiv.org/abs/1804.10959).

Every piece has a probability, and a segmentation the product of its pieces'. The tokens of a word are its most probable
segmentation (Viterbi); training estimates the probabilities by EM from all segmentations of every word, drops the
pieces that the corpus misses least, and does so again. Since a word has many segmentations, one can be sampled:
subword regularization.

Text is normalized to NFKC, white space becomes one `▁` before each word, the first included, so that pieces tell where
words begin (Kudo and Richardson, 2018, https://arxiv.org/abs/1808.06226). A `▁` in a text is white space, too.

Left out: pieces that cross white space, byte fallback, SentencePiece's own table of characters (`nmt_nfkc`, which is
NFKC and some repairs), its suffix array for the first pieces (a dictionary of substrings does) and its digamma prior
in the M-step. NFKC is Python's Unicode; the Rust library has older tables, and may differ where a character is newer.
"""

import json
import math
import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from typing import Any, Self

import regex

from lecturekit.tokenizers.base import (
    Span,
    Tokenizer,
    check_special_tokens,
    check_text,
    check_vocab_size,
    count_words,
    huggingface_face,
    line_of,
    read_json,
    read_text_file,
    write_json,
)
from lecturekit.tokenizers.bpe import collector_paused

SPACE = "▁"
WORD = regex.compile(r"[^\p{White_Space}▁]+")
LONGEST = 16  # characters: of a piece that training considers
KEPT = 0.75  # of the pieces, each time that some are dropped
UNKNOWN_PENALTY = 10.0  # what an unknown character scores below the worst piece

# --- normalization ------------------------------------------------------------------------------------------


def split_words(text: str) -> list[str]:
    """The words of a text in NFKC, each with `▁` before it."""
    return [SPACE + word for word in WORD.findall(unicodedata.normalize("NFKC", text))]


def normalize_aligned(text: str) -> list[tuple[str, Span]]:
    """The characters of the text in NFKC, each with the span of the characters that it comes from.

    Characters that NFKC can compose or reorder are taken together.
    """
    aligned: list[tuple[str, Span]] = []
    start = 0
    for i, character in enumerate(text):
        if unicodedata.combining(character):
            continue
        alone = unicodedata.normalize("NFKC", character)
        before = unicodedata.normalize("NFKC", text[start:i])
        if unicodedata.normalize("NFKC", text[start : i + 1]) == before + alone:
            aligned += [(c, (start, i)) for c in before]
            start = i
    return aligned + [(c, (start, len(text))) for c in unicodedata.normalize("NFKC", text[start:])]


# --- the algorithm ------------------------------------------------------------------------------------------


def viterbi(word: str, scores: Mapping[str, float], longest: int, unknown_score: float) -> list[str]:
    """The segmentation of a word whose pieces' scores have the highest sum.

    scores maps a piece to its log-probability; no piece has more than `longest` characters. A character that is not
    among the pieces is one by itself, with `unknown_score`. Of segmentations with equal sums, at every place the one
    is kept whose last piece is longest. Takes time proportional to the word's length times `longest`.
    """
    best = [0.0] + [-math.inf] * len(word)  # best[end]: the highest sum up to there
    last_start = [0] * (len(word) + 1)
    for start in range(len(word)):
        for end in range(start + 1, min(start + longest, len(word)) + 1):
            score = scores.get(word[start:end], unknown_score if end == start + 1 else None)
            if score is not None and best[start] + score > best[end]:
                best[end] = best[start] + score
                last_start[end] = start
    pieces = []
    end = len(word)
    while end > 0:
        pieces.append(word[last_start[end] : end])
        end = last_start[end]
    return pieces[::-1]


def log_sum_exp(values: list[float]) -> float:
    """log Σ exp(value), without overflow; -inf of no values."""
    highest = max(values, default=-math.inf)
    return highest if highest == -math.inf else highest + math.log(sum(math.exp(value - highest) for value in values))


def lattice(
    word: str, scores: Mapping[str, float], longest: int, unknown_score: float
) -> list[list[tuple[int, float]]]:
    """For each place in a word, 0 ... its length, the pieces that end there, as (start, score)."""
    edges: list[list[tuple[int, float]]] = [[] for _ in range(len(word) + 1)]
    for start in range(len(word)):
        for end in range(start + 1, min(start + longest, len(word)) + 1):
            score = scores.get(word[start:end], unknown_score if end == start + 1 else None)
            if score is not None:
                edges[end].append((start, score))
    return edges


def forward(edges: list[list[tuple[int, float]]]) -> list[float]:
    """For each place of a lattice, the log of the summed probability of all ways to get there."""
    total = [0.0] * len(edges)
    for end in range(1, len(edges)):
        total[end] = log_sum_exp([total[start] + score for start, score in edges[end]])
    return total


def expected_counts(
    words: Mapping[str, int], scores: Mapping[str, float], longest: int, unknown_score: float
) -> dict[str, float]:
    """The E-step: how often each piece occurs in a corpus, on average over all segmentations of its words.

    A segmentation counts by its probability given its word. Sums run over the words in their order in `words`.
    """
    counts: dict[str, float] = dict.fromkeys(scores, 0.0)
    for word, frequency in words.items():
        edges = lattice(word, scores, longest, unknown_score)
        total = forward(edges)
        share = [0.0] * (len(word) + 1)  # of all segmentations, those with a cut there
        share[-1] = 1.0
        for end in range(len(word), 0, -1):
            for start, score in edges[end]:
                part = share[end] * math.exp(total[start] + score - total[end])
                share[start] += part
                piece = word[start:end]
                if piece in counts:
                    counts[piece] += frequency * part
    return counts


def sample(
    word: str, scores: Mapping[str, float], longest: int, unknown_score: float, alpha: float, rng: random.Random
) -> list[str]:
    """A segmentation of a word drawn with a probability proportional to its own to the power of `alpha`.

    1 draws from the model; toward 0 all segmentations become alike; a large `alpha` gives the best (section 3.3).
    """
    edges = [
        [(start, alpha * score) for start, score in ending] for ending in lattice(word, scores, longest, unknown_score)
    ]
    total = forward(edges)
    pieces = []
    end = len(word)
    while end > 0:
        starts = [start for start, _ in edges[end]]
        weights = [math.exp(total[start] + score - total[end]) for start, score in edges[end]]
        start = rng.choices(starts, weights)[0]
        pieces.append(word[start:end])
        end = start
    return pieces[::-1]


def seed_pieces(words: Mapping[str, int], size: int) -> dict[str, float]:
    """Where training starts: all characters, and the `size` substrings that cover most of the corpus.

    A substring has 2 ... 16 characters and occurs at least twice; it covers its count times its length. Ties go to
    the one that sorts first. Returns log-probabilities proportional to what is covered.
    """
    counts: Counter[str] = Counter()
    for word, frequency in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(start + LONGEST, len(word)) + 1):
                counts[word[start:end]] += frequency
    covered = {piece: count * len(piece) for piece, count in counts.items()}
    longer = sorted(
        (piece for piece in covered if len(piece) > 1 and counts[piece] > 1), key=lambda p: (-covered[p], p)
    )
    chosen = [*sorted(piece for piece in covered if len(piece) == 1), *longer[:size]]
    total = sum(covered[piece] for piece in chosen)
    return {piece: math.log(covered[piece] / total) for piece in chosen}


def em_step(words: Mapping[str, int], scores: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """One round of EM: the new log-probabilities, and the expected counts that they come from.

    A piece of several characters that is expected less than half a time is dropped; a character stays.
    """
    longest = max(map(len, scores))
    counts = expected_counts(words, scores, longest, -math.inf)
    counts = {piece: max(count, 0.01) for piece, count in counts.items() if len(piece) == 1 or count >= 0.5}
    total = math.fsum(counts.values())
    return {piece: math.log(count / total) for piece, count in counts.items()}, counts


def losses(scores: Mapping[str, float], counts: Mapping[str, float]) -> dict[str, float]:
    """What each piece of several characters is worth: the log-likelihood lost if it were dropped.

    That is its expected count times what it scores above the best segmentation of itself by the other pieces.
    """
    longest = max(map(len, scores))
    others = dict(scores)
    result = {}
    for piece in scores:
        if len(piece) > 1:
            score = others.pop(piece)
            result[piece] = counts[piece] * (score - sum(others[part] for part in viterbi(piece, others, longest, 0.0)))
            others[piece] = score
    return result


@collector_paused()
def learn_pieces(words: Mapping[str, int], size: int) -> dict[str, float]:
    """At most `size` pieces and their log-probabilities: all characters, and the longer pieces worth most.

    Two rounds of EM, then the least worthy quarter of the pieces is dropped, and so on until `size` are left after
    the two rounds, which may drop some more. Of equally worthy pieces the one that sorts first stays. ValueError if
    the characters are more than `size`.
    """
    words = {word: words[word] for word in sorted(words)}  # sums of floats depend on their order
    scores = seed_pieces(words, 4 * size)
    while True:
        for _ in range(2):
            scores, counts = em_step(words, scores)
        if len(scores) <= size:
            return scores
        worth = losses(scores, counts)
        characters = len(scores) - len(worth)
        keep = max(size, int(KEPT * len(scores))) - characters
        if keep < 0:
            raise ValueError(f"size={size}: expected at least {characters}, the characters")
        dropped = sorted(worth, key=lambda piece: (-worth[piece], piece))[keep:]
        for piece in dropped:
            del scores[piece]


# --- the tokenizer ------------------------------------------------------------------------------------------

SPECIAL = ("<pad>", "</s>", "<unk>")


def sentinels(number: int) -> list[str]:
    """T5's sentinels in the order of their ids, `<extra_id_0>` last."""
    return [f"<extra_id_{i}>" for i in reversed(range(number))]


class Unigram(Tokenizer):
    """T5's tokenizer. `scores` has the log-probability of each token, by id; special tokens have 0.

    Characters that no piece covers are one `<unk>` for each run of them. `decode(encode(text))` is the text in NFKC,
    with one space between its words, where no character is unknown.
    """

    single = "$A </s>"
    pair = "$A </s> $B </s>"
    pad_token = "<pad>"
    unk_token = "<unk>"

    def __init__(self, tokens: Sequence[str], scores: Sequence[float], special_tokens: Sequence[str] = SPECIAL) -> None:
        """ValueError if tokens and scores differ in number, `<unk>` is no special token, or nothing else is there."""
        if len(tokens) != len(scores):
            raise ValueError(f"{len(tokens)} tokens and {len(scores)} scores: expected equal numbers")
        super().__init__(tokens, special_tokens)
        if self.unk_token not in self.special_tokens:
            raise ValueError(f"special tokens {self.special_tokens}: expected {self.unk_token!r} among them")
        self.scores = list(scores)
        special = set(special_tokens)
        self._scores = {token: score for token, score in zip(tokens, scores, strict=True) if token not in special}
        if not self._scores:
            raise ValueError("the vocabulary has special tokens only: expected pieces")
        self._longest = max(map(len, self._scores))
        self._unknown_score = min(scores) - UNKNOWN_PENALTY

    @classmethod
    def train(
        cls,
        texts: Iterable[str | Path],
        vocab_size: int,
        special_tokens: Sequence[str] = SPECIAL,
        *,
        extra_ids: int = 0,
        processes: int | None = None,
    ) -> Self:
        """Learn a vocabulary of `vocab_size` tokens: special tokens, pieces by falling score, `extra_ids` sentinels.

        The last id is that of `<extra_id_0>`; T5 has 100 sentinels. Fewer tokens come out if the corpus has not
        enough substrings that repeat, and a few fewer if the last round of EM drops some. `processes` is that of
        `base.count_words`. ValueError for an empty corpus, or a `vocab_size` that does not hold the special tokens,
        the sentinels and the characters.
        """
        check_special_tokens(special_tokens)
        special = [*special_tokens, *sentinels(extra_ids)]
        words = count_words(texts, split_words, special, processes)
        characters = len(set().union(*words))
        check_vocab_size(
            vocab_size, len(special) + characters, f"{len(special)} special tokens and {characters} characters"
        )
        pieces = learn_pieces(words, vocab_size - len(special))
        # Readers of JSON differ in the last bit of a long number, and that bit decides between equal segmentations.
        pieces = {piece: round(score, 6) for piece, score in pieces.items()}
        ranked = sorted(pieces, key=lambda piece: (-pieces[piece], piece))
        tokens = [*special_tokens, *ranked, *sentinels(extra_ids)]
        return cls(tokens, [pieces.get(token, 0.0) for token in tokens], special)

    def split(self, text: str) -> list[str]:
        return split_words(text)

    def align(self, text: str) -> Iterator[tuple[str, list[Span]]]:
        aligned = normalize_aligned(text)
        first = True
        for match in WORD.finditer("".join(character for character, _ in aligned)):
            sources = [span for _, span in aligned[match.start() : match.end()]]
            yield SPACE + match.group(), [sources[0] if first else aligned[match.start() - 1][1], *sources]
            first = False

    def _pieces(self, word: str) -> list[str]:
        return self._fused(viterbi(word, self._scores, self._longest, self._unknown_score))

    def _fused(self, pieces: list[str]) -> list[str]:
        runs = groupby(pieces, key=self._scores.__contains__)
        return [piece for known, run in runs for piece in (run if known else ["".join(run)])]

    def _ids(self, pieces: list[str]) -> list[int]:
        unknown = self.vocab[self.unk_token]
        return [self.vocab[piece] if piece in self._scores else unknown for piece in pieces]

    def encode_word(self, word: str) -> tuple[int, ...]:
        return tuple(self._ids(self._pieces(word)))

    def word_spans(self, word: str) -> list[Span]:
        return list(pairwise(accumulate(map(len, self._pieces(word)), initial=0)))

    def sample(self, text: str, alpha: float = 1.0, rng: random.Random | None = None) -> list[int]:
        """`encode` by segmentations drawn at random, each word's by the function `sample`.

        `rng` makes the draws; without one they differ from run to run. ValueError if `alpha` is negative.
        """
        if alpha < 0:
            raise ValueError(f"alpha={alpha}: expected 0 or more")
        rng = rng or random.Random()
        arguments = self._scores, self._longest, self._unknown_score, alpha, rng
        check_text(text)
        ids: list[int] = []
        for i, piece in enumerate(self._special.split(text) if self._special else [text]):
            if i % 2:
                ids.append(self.vocab[piece])
            else:
                for word in self.split(piece):
                    ids += self._ids(self._fused(sample(word, *arguments)))
        return ids

    def join(self, tokens: list[str]) -> str:
        return "".join(tokens).replace(SPACE, " ").removeprefix(" ")

    def _json(self) -> dict[str, Any]:
        """The Rust library's `tokenizer.json`, but for what `huggingface_face` adds."""
        metaspace = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": self.vocab[token], "content": token, **flags} for token in self.special_tokens],
            "normalizer": {
                "type": "Sequence",
                "normalizers": [
                    {"type": "NFKC"},
                    {"type": "Replace", "pattern": {"Regex": r"[\p{White_Space}▁]+"}, "content": " "},
                    {"type": "Strip", "strip_left": True, "strip_right": True},
                ],
            },
            "pre_tokenizer": metaspace,
            "post_processor": None,
            "decoder": metaspace,
            "model": {
                "type": "Unigram",
                "unk_id": self.vocab[self.unk_token],
                "vocab": [list(entry) for entry in zip(self.tokens, self.scores, strict=True)],
                "byte_fallback": False,
            },
        }

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json`, which the Rust library reads too."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "tokenizer.json", self._json())

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read the vocabulary, its scores and the special tokens of a `tokenizer.json`.

        The rest of the file is not read: normalization and splitting are always those of this class. ValueError names
        the file and the line that is damaged, or says what is missing.
        """
        path = Path(folder) / "tokenizer.json"
        content = read_json(path)
        model = content.get("model") if isinstance(content, dict) else None
        if not isinstance(model, dict) or model.get("type", "Unigram") != "Unigram":
            raise ValueError(f"{path}: expected a model of type 'Unigram'")
        entries = model.get("vocab")
        if not isinstance(entries, list):
            raise ValueError(f"{path}: the model's vocab is {type(entries).__name__}, expected a list")
        for number, entry in enumerate(entries):
            match entry:
                case [str(), float() | int()] if not isinstance(entry[1], bool):
                    continue
            shown = json.dumps(entry, ensure_ascii=False)
            first = entry[0] if isinstance(entry, list) and entry and isinstance(entry[0], str) else ""
            line = line_of(read_text_file(path), first, last=True)
            raise ValueError(
                f"{path}, line {line}: entry {number} of the vocab is {shown:.60}, expected [token, score]"
            )
        special = [entry["content"] for entry in content.get("added_tokens", []) if entry.get("special")]
        try:
            return cls([token for token, _ in entries], [score for _, score in entries], special)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def to_huggingface(self) -> Any:
        from tokenizers import Tokenizer as RustTokenizer
        from tokenizers import models

        rust = RustTokenizer.from_str(json.dumps(self._json()))
        vocab = list(zip(self.tokens, self.scores, strict=True))
        rust.model = models.Unigram(vocab, self.vocab[self.unk_token], byte_fallback=False)  # no digit lost in parsing
        return huggingface_face(self, rust)
