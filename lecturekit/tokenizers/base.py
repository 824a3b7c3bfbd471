"""What the four tokenizers share: reading texts, counting words, special tokens, offsets, a model's inputs.

Text becomes ids in three steps. Special tokens are cut out first. What lies between them is split into words
(`split`: normalization and pre-tokenization). Each word becomes the ids of its tokens (`encode_word`). A tokenizer is
these two functions and their inverse; the rest is here. The speed comes from two facts: words repeat, so that their
ids can be remembered; and no word goes on across a space, so that text can be cut there first, which Python does fast,
and the slower `split` sees each piece once.

A text is a `str`. A file is a `pathlib.Path` to UTF-8 text, and each of its lines, with its line ending, is a text.
Left out: tokens that swallow the spaces beside them, as RoBERTa's published `<mask>` does.
"""

import json
import multiprocessing
import os
import re
import warnings
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self

Span = tuple[int, int]
Split = Callable[[str], Iterable[str]]

BATCH = 1 << 21  # characters: what one process counts at a time
SMALL = 8  # batches: a corpus up to here is counted before other processes would have started
CACHED = 1 << 17  # strings: what a cache holds
CACHED_LENGTH = 256  # characters: a longer string is not expected twice


# --- texts --------------------------------------------------------------------------------------------------


def check_text(text: str) -> None:
    """Refuse what is no text: TypeError if not a str, ValueError for a lone surrogate, which UTF-8 cannot hold."""
    if not isinstance(text, str):
        raise TypeError(f"a text is a str, got {type(text).__name__}: {text!r:.60}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise ValueError(f"lone surrogate U+{code:04X} at position {error.start}: it stands for no character") from None


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, endings included, one at a time. ValueError names the line that is no UTF-8."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}, line {number}: byte {line[error.start]:#04x} is not UTF-8") from None


def read_texts(texts: Iterable[str | Path]) -> Iterator[str]:
    """The texts in `texts`, and the lines of the files in it, in order.

    TypeError if `texts` is itself one text or file, which would be read letter by letter, or holds something else.
    """
    if isinstance(texts, str | Path):
        raise TypeError(f"expected an iterable of texts, got one {type(texts).__name__}: put it in a list")
    for text in texts:
        if isinstance(text, Path):
            yield from read_lines(text)
        else:
            check_text(text)
            yield text


def batches(texts: Iterable[str], size: int = BATCH) -> Iterator[list[str]]:
    """Consecutive texts, as many at a time as reach `size` characters."""
    batch, length = [], 0
    for text in texts:
        batch.append(text)
        length += len(text)
        if length >= size:
            yield batch
            batch, length = [], 0
    if batch:
        yield batch


# --- counting words -----------------------------------------------------------------------------------------


AMONG_SPACES = re.compile(r" (?!\S)(?<=\s )")  # a space with white space, or the text's end, on either side


def cut_at_spaces(text: str) -> tuple[str, list[str]] | None:
    """Cut a text before each space, far faster than a tokenizer's own `split`, and where that never goes across.

    Returns what is before the first space, and for each space what is between it and the next one. None if a space
    has white space on either side: there GPT-2's pattern may take the space together with what precedes it.
    """
    if AMONG_SPACES.search(text):
        return None
    first, *rest = text.split(" ")
    return first, rest


SAFE_CUT = re.compile(r"(?<=\S)(?= \S)")


def short_pieces(texts: Iterable[str], special: re.Pattern[str] | None, size: int = BATCH) -> Iterator[str]:
    """The texts, those of more than `size` characters in pieces that have the same words.

    A file may be one line. Long texts lose their special tokens, and are cut at the first space after `size`
    characters that stands between two words.
    """
    for text in texts:
        if len(text) <= size:
            yield text
            continue
        for piece in special.split(text)[::2] if special else [text]:
            start = 0
            while cut := SAFE_CUT.search(piece, start + size):
                yield piece[start : cut.start()]
                start = cut.start()
            yield piece[start:]


def count_batch(split: Split, special: re.Pattern[str] | None, batch: list[str]) -> Counter[str]:
    """How often each word occurs in the texts of one batch, outside the special tokens."""
    if special is not None:
        batch = [piece for text in batch for piece in special.split(text)[::2]]
    words: Counter[str] = Counter()
    first_chunks: list[str] = []
    next_chunks: list[str] = []
    for text in batch:
        chunks = cut_at_spaces(text)
        if chunks is None:
            words.update(split(text))
        else:
            first_chunks.append(chunks[0])
            next_chunks += chunks[1]
    for space, chunks in (("", first_chunks), (" ", next_chunks)):
        for chunk, count in Counter(chunks).items():
            for word in split(space + chunk):
                words[word] += count
    return words


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_words(
    texts: Iterable[str | Path], split: Split, special_tokens: Sequence[str] = (), processes: int | None = None
) -> Counter[str]:
    """How often each word that `split` finds occurs in `texts`, which is read once and never held whole.

    Special tokens are cut out first, as `encode` does it: they are no words, and no word goes across one.

    `processes` counts in that many, which must be able to import the main module again where the system cannot fork.
    None decides by itself: one process for the first 16 million characters, then, where the system forks, one a core.
    The counts do not depend on it.

    ValueError if there are no words at all, if `processes` is less than one, or for special tokens as
    `check_special_tokens` has it.
    """
    check_special_tokens(special_tokens)
    if processes is not None and processes < 1:
        raise ValueError(f"processes={processes}: expected 1 or more")
    special = special_pattern(special_tokens)
    count = partial(count_batch, split, special)
    counts: Counter[str] = Counter()
    waiting = batches(short_pieces(read_texts(texts), special))
    if processes is None:
        for batch in islice(waiting, SMALL):
            counts.update(count(batch))
        can_fork = "fork" in multiprocessing.get_all_start_methods()
        processes = available_cores() if can_fork else 1
    first = next(waiting, None)
    if first is not None:
        waiting = chain([first], waiting)
        for found in count_in_processes(count, waiting, processes) if processes > 1 else map(count, waiting):
            counts.update(found)
    if not counts:
        raise ValueError("the corpus is empty: expected at least one word to learn from")
    return counts


def count_in_processes(
    count: Callable[[list[str]], Counter[str]], waiting: Iterable[list[str]], processes: int
) -> Iterator[Counter[str]]:
    """`count` of each batch, in order; never more than two batches a process are in memory."""
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    with warnings.catch_warnings():
        # Python warns of forking beside threads, which may hold a lock that the child then waits for. The child
        # splits strings and counts them; it asks for no lock of ours.
        warnings.simplefilter("ignore", DeprecationWarning)
        with ProcessPoolExecutor(processes, multiprocessing.get_context(method)) as pool:
            running: deque = deque()
            for batch in waiting:
                running.append(pool.submit(count, batch))
                if len(running) == 2 * processes:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()


# --- special tokens -----------------------------------------------------------------------------------------


def special_pattern(special_tokens: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern that `re.split` cuts a text with, special tokens at the odd places; None if there are none.

    The leftmost special token wins and, where several start there, the longest.
    """
    longest_first = sorted(special_tokens, key=lambda token: (-len(token), token))
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})") if longest_first else None


def check_special_tokens(special_tokens: Sequence[str]) -> None:
    """TypeError unless it is a sequence of str; ValueError if one is empty or occurs twice."""
    if isinstance(special_tokens, str):
        raise TypeError(f"special_tokens={special_tokens!r}: expected a sequence of str, got one str")
    for i, token in enumerate(special_tokens):
        check_text(token)
        if not token:
            raise ValueError("a special token is the empty string")
        if token in special_tokens[:i]:
            raise ValueError(f"special token {token!r} occurs twice")


def check_vocab_size(vocab_size: int, at_least: int, of_what: str) -> None:
    """ValueError if a vocabulary of this size has no room for what it cannot do without."""
    if vocab_size < at_least:
        raise ValueError(f"vocab_size={vocab_size} is too small for {of_what}: expected at least {at_least}")


# --- files --------------------------------------------------------------------------------------------------


def read_text_file(path: Path) -> str:
    """A file's text, line endings untouched. ValueError if it is no UTF-8."""
    return "".join(read_lines(path))


def write_text_file(path: Path, text: str) -> None:
    """Write UTF-8 with plain newlines, the same bytes on every system."""
    path.write_text(text, encoding="utf-8", newline="\n")


def read_json(path: Path) -> Any:
    """What a JSON file holds. ValueError names the line where it is damaged or repeats a key."""
    text = read_text_file(path)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise ValueError(f"{path}, line {line_of(text, key, last=True)}: key {key!r} occurs twice")
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: {error.msg}") from None


def write_json(path: Path, content: Any) -> None:
    """Write JSON, one item a line, letters as themselves."""
    write_text_file(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def line_of(text: str, key: str, last: bool = False) -> int:
    """The number of the line where the JSON text writes the string `key` first (or last); 1 if nowhere as such."""
    places = {json.dumps(key, ensure_ascii=ascii) for ascii in (True, False)}
    lines = [number for number, line in enumerate(text.split("\n"), 1) if any(place in line for place in places)]
    return lines[-1 if last else 0] if lines else 1


def read_vocab(path: Path) -> list[str]:
    """The tokens of a `vocab.json` in the order of their ids.

    ValueError names the line unless the file maps each token to an id and the ids are 0, 1, 2 ... in any order.
    """
    vocab = read_json(path)
    if not isinstance(vocab, dict):
        raise ValueError(f"{path}, line 1: expected an object of tokens and ids, got {type(vocab).__name__}")
    text = None
    tokens: list[str | None] = [None] * len(vocab)
    for token, index in vocab.items():
        good = type(index) is int and 0 <= index < len(tokens) and tokens[index] is None
        if not good:
            text = text or read_text_file(path)
            line = line_of(text, token)
            raise ValueError(
                f"{path}, line {line}: token {token!r} has id {index!r}, "
                f"expected the ids 0 ... {len(tokens) - 1}, each once"
            )
        tokens[index] = token
    return tokens  # type: ignore[return-value]  # every place was filled once


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's `tokenizer_config.json`; empty if there is none. ValueError if it is no JSON object."""
    path = folder / "tokenizer_config.json"
    config = read_json(path) if path.exists() else {}
    if not isinstance(config, dict):
        raise ValueError(f"{path}, line 1: expected an object, got {type(config).__name__}")
    return config


# --- the shared face ----------------------------------------------------------------------------------------


class Cache(dict):
    """What a function of a string gave before. It forgets all when it is full: a stream takes constant memory."""

    def __init__(self, function: Callable[[str], tuple[int, ...]]) -> None:
        self.function = function

    def __missing__(self, key: str) -> tuple[int, ...]:
        value = self.function(key)
        if len(key) <= CACHED_LENGTH:
            if len(self) >= CACHED:
                self.clear()
            self[key] = value
        return value


class Tokenizer(ABC):
    """A vocabulary, and the way from text to its ids and back.

    `tokens` lists the tokens by id, `vocab` maps each back to its id, `special_tokens` names those that are found in
    a text before anything else: the leftmost first, and of several that start there the longest.

    `single` and `pair` say how a model wants one text or two, in the words of Hugging Face's TemplateProcessing:
    `$A` and `$B` are the texts, what stands after a colon is the token type.
    """

    single = "$A"
    pair = "$A $B"
    pad_token: str | None = None
    first_position = 0

    def __init__(self, tokens: Sequence[str], special_tokens: Sequence[str]) -> None:
        """ValueError if a token occurs twice, or a special token is not among `tokens`."""
        check_special_tokens(special_tokens)
        self.tokens = list(tokens)
        self.vocab = {token: index for index, token in enumerate(self.tokens)}
        if len(self.vocab) < len(self.tokens):
            token = next(token for index, token in enumerate(self.tokens) if self.vocab[token] != index)
            raise ValueError(f"token {token!r} has the ids {self.tokens.index(token)} and {self.vocab[token]}")
        for token in special_tokens:
            if token not in self.vocab:
                raise ValueError(f"special token {token!r} is not in the vocabulary")
        self.special_tokens = sorted(special_tokens, key=self.vocab.__getitem__)
        self._special = special_pattern(self.special_tokens)
        self._words = Cache(self.encode_word)
        self._first_chunks = Cache(self._encode_words)
        self._next_chunks = Cache(lambda chunk: self._encode_words(" " + chunk))

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    @abstractmethod
    def train(cls, texts: Iterable[str | Path], vocab_size: int) -> Self:
        """Learn a vocabulary of at most `vocab_size` tokens from texts and files, read once and never held whole."""

    @abstractmethod
    def split(self, text: str) -> Iterable[str]:
        """The words of a text that has no special tokens: what no token ever crosses."""

    @abstractmethod
    def align(self, text: str) -> Iterator[tuple[str, list[Span]]]:
        """The words of `split`, each with the span of `text` that each of its characters comes from."""

    @abstractmethod
    def encode_word(self, word: str) -> tuple[int, ...]:
        """The ids of one word's tokens."""

    @abstractmethod
    def word_spans(self, word: str) -> list[Span]:
        """The characters of the word that each of its tokens covers, in part or in whole."""

    @abstractmethod
    def join(self, tokens: list[str]) -> str:
        """The text that ordinary tokens stand for."""

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write the tokenizer's files into `folder`, which is made if there is none."""

    @classmethod
    @abstractmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save`, or Hugging Face, wrote. ValueError names the file and the line that is damaged."""

    @abstractmethod
    def to_huggingface(self) -> Any:
        """The same tokenizer in the Rust library, as a `tokenizers.Tokenizer`."""

    def encode(self, text: str) -> list[int]:
        """The ids of the text's tokens, special tokens in the text included and none added.

        TypeError if `text` is not a str, ValueError if it holds a lone surrogate.
        """
        check_text(text)
        ids: list[int] = []
        for i, piece in enumerate(self._special.split(text) if self._special else [text]):
            if i % 2:
                ids.append(self.vocab[piece])
            else:
                ids += self._encode_ordinary(piece)
        return ids

    def _encode_ordinary(self, text: str) -> list[int]:
        chunks = cut_at_spaces(text)
        if chunks is None:
            return list(self._encode_words(text))
        first, rest = chunks
        return [*self._first_chunks[first], *chain.from_iterable(map(self._next_chunks.__getitem__, rest))]

    def _encode_words(self, text: str) -> tuple[int, ...]:
        return tuple(chain.from_iterable(map(self._words.__getitem__, self.split(text))))

    def tokenize(self, text: str) -> list[str]:
        """The tokens behind `encode(text)`."""
        return [self.tokens[index] for index in self.encode(text)]

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """`encode` of each text."""
        if isinstance(texts, str):
            raise TypeError("expected an iterable of texts, got one str: put it in a list")
        return [self.encode(text) for text in texts]

    def encode_iterable(self, texts: Iterable[str | Path]) -> Iterator[int]:
        """The ids of all the texts and files, one after another, in memory that the longest text or line bounds."""
        for text in read_texts(texts):
            yield from self.encode(text)

    def offsets(self, text: str) -> list[Span]:
        """For each id of `encode(text)`, the `(start, end)` of the characters in `text` that it comes from.

        A token that covers a part of a character has the whole character's span.
        """
        check_text(text)
        spans: list[Span] = []
        start = 0
        for i, piece in enumerate(self._special.split(text) if self._special else [text]):
            if i % 2:
                spans.append((start, start + len(piece)))
            else:
                for word, sources in self.align(piece):
                    spans += [
                        (start + sources[first][0], start + sources[end - 1][1]) for first, end in self.word_spans(word)
                    ]
            start += len(piece)
        return spans

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text of the ids, special tokens as they are written unless they are to be skipped.

        ValueError for an id that is not in the vocabulary, TypeError for one that is no int.
        """
        tokens = [self.tokens[index] for index in self.check_ids(ids)]
        if skip_special_tokens:
            special = set(self.special_tokens)
            tokens = [token for token in tokens if token not in special]
        return self.join(tokens)

    def check_ids(self, ids: Iterable[int]) -> list[int]:
        """The ids as a list. ValueError for one outside the vocabulary, TypeError for one that is no int."""
        ids = list(ids)
        for index in ids:
            if not hasattr(index, "__index__") or isinstance(index, bool):
                raise TypeError(f"an id is an int, got {type(index).__name__}: {index!r:.60}")
            if not 0 <= index < len(self.tokens):
                raise ValueError(f"token id {index}: expected 0 ... {len(self.tokens) - 1}, the vocabulary")
        return ids

    # --- a model's inputs ---------------------------------------------------------------------------------

    def __call__(
        self,
        text: str | Sequence[str],
        text_pair: str | Sequence[str] | None = None,
        *,
        max_length: int | None = None,
        truncation: str | None = None,
        padding: str | None = None,
    ) -> dict[str, list]:
        """What a model reads: `input_ids`, `attention_mask`, `token_type_ids` and `position_ids`.

        One text, or one pair, gives four lists of ints; a sequence of them gives four lists of such lists. The
        template's special tokens are added. `attention_mask` is 1 but 0 at padding, which stands on the right and has
        the token type 0.

        `truncation` makes the ids fit into `max_length`, template included, by cutting the end of the text:
        "longest_first" cuts the longer of a pair until both are equal and then both alike (where one more id is left
        to give it is the second's), "only_first" and "only_second" cut one. `padding` fills up to the batch's longest
        ("longest") or to `max_length` ("max_length").

        ValueError for a strategy without `max_length`, an unknown strategy, texts and pairs of different number, a
        text that cannot be cut short enough, or padding without a pad token.
        """
        strategies = (("truncation", truncation, LIMITS), ("padding", padding, FILLS))
        for name, value, known in strategies:
            if value is not None and value not in known:
                raise ValueError(f"{name}={value!r}: expected None or one of {', '.join(map(repr, known))}")
        if max_length is None and (truncation is not None or padding == "max_length"):
            name, value = ("truncation", truncation) if truncation is not None else ("padding", padding)
            raise ValueError(f"{name}={value!r} needs a max_length")
        if padding is not None and self.pad_token not in self.vocab:
            raise ValueError(f"padding={padding!r}: the vocabulary has no pad token, expected {self.pad_token!r}")
        if text_pair is not None and isinstance(text, str) != isinstance(text_pair, str):
            raise ValueError("text and text_pair: expected two texts or two sequences of texts")
        firsts = [text] if isinstance(text, str) else list(text)
        seconds = [None] * len(firsts) if text_pair is None else [text_pair] if isinstance(text, str) else text_pair
        if len(firsts) != len(seconds):
            raise ValueError(f"{len(firsts)} texts and {len(seconds)} pairs: expected equal numbers")
        rows = [
            self._fill_template(first, second, max_length, truncation)
            for first, second in zip(firsts, seconds, strict=True)
        ]
        inputs: dict[str, list] = {name: [] for name in INPUTS}
        longest = max((len(ids) for ids, _ in rows), default=0)
        width = {None: 0, "longest": longest, "max_length": max_length or 0}[padding]
        for ids, types in rows:
            filled, empty = len(ids), max(width - len(ids), 0)
            padded = [self.vocab[self.pad_token]] * empty if empty else []  # type: ignore[index]
            inputs["input_ids"].append(ids + padded)
            inputs["attention_mask"].append([1] * filled + [0] * empty)
            inputs["token_type_ids"].append(types + [0] * empty)
            inputs["position_ids"].append(self.positions(filled, empty))
        return {name: rows[0] for name, rows in inputs.items()} if isinstance(text, str) else inputs

    def positions(self, filled: int, empty: int) -> list[int]:
        """The positions of that many tokens and of that much padding after them: 0, 1, 2 ..."""
        return list(range(filled + empty))

    def _fill_template(
        self, first: str, second: str | None, max_length: int | None, truncation: str | None
    ) -> tuple[list[int], list[int]]:
        """The ids and token types of one text or pair in its template, cut to `max_length`."""
        parts = [part.partition(":") for part in (self.single if second is None else self.pair).split()]
        texts = {"$A": self.encode(first), "$B": [] if second is None else self.encode(second)}
        for name, _, _ in parts:
            if name not in texts and name not in self.vocab:
                raise ValueError(f"the vocabulary has no {name!r}, which the template {self.single!r} adds")
        added = sum(name not in texts for name, _, _ in parts)
        if max_length is not None and truncation is not None:
            lengths = truncated(len(texts["$A"]), len(texts["$B"]), max_length - added, truncation)
            texts = {name: ids[:length] for (name, ids), length in zip(texts.items(), lengths, strict=True)}
        ids: list[int] = []
        types: list[int] = []
        for name, _, token_type in parts:
            piece = texts[name] if name in texts else [self.vocab[name]]
            ids += piece
            types += [int(token_type or 0)] * len(piece)
        return ids, types


INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
LIMITS = ("longest_first", "only_first", "only_second")
FILLS = ("longest", "max_length")


def truncated(first: int, second: int, room: int, strategy: str) -> tuple[int, int]:
    """How many ids of the first and of the second text to keep, `room` in all, as the Rust library decides.

    No room at all empties both, whatever the strategy. ValueError if the one text to be cut would have nothing left, or
    if `room` is negative.
    """
    excess = first + second - room
    if excess <= 0:
        return first, second
    if room == 0:
        return 0, 0
    if strategy == "longest_first" and room > 0:
        shorter, longer = sorted((first, second))
        shorter = min(shorter, room // 2)
        longer = room - shorter
        return (longer, shorter) if first > second else (shorter, longer)
    cut = {"only_first": first, "only_second": second}.get(strategy, -1)
    if cut <= excess:
        raise ValueError(f"truncation={strategy!r} cannot cut {excess} ids: texts of {first} and {second}, room {room}")
    return (first - excess, second) if strategy == "only_first" else (first, second - excess)


def huggingface_face(tokenizer: Tokenizer, rust: Any, template: Mapping[str, str] | None = None) -> Any:
    """Give a Rust tokenizer the special tokens and the templates of ours."""
    from tokenizers import AddedToken, processors

    rust.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in tokenizer.special_tokens])
    names = {part.partition(":")[0] for part in f"{tokenizer.single} {tokenizer.pair}".split()} - {"$A", "$B"}
    if names and names <= set(tokenizer.special_tokens):
        rust.post_processor = processors.TemplateProcessing(
            single=tokenizer.single,
            pair=tokenizer.pair,
            special_tokens=[(name, tokenizer.vocab[name]) for name in sorted(names)],
        )
    return rust
