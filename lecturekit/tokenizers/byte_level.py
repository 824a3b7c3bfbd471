"""Byte-level BPE: GPT-2's tokenizer (Radford et al., 2019, section 2.2), and RoBERTa's (Liu et al., 2019).

The algorithm is `bpe`'s; its symbols are the 256 bytes of UTF-8, so that every string has tokens and none is unknown.
A pattern cuts text into words first, with the space that precedes a word as its first letter. In the vocabulary and
in files each byte is written as a printable character: a space is Ġ, a newline Ċ.

https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
https://arxiv.org/abs/1907.11692, section 4.4

Left out: a space put before the text (`add_prefix_space`), other models' patterns. Which characters are letters or
digits is the `regex` package's Unicode; the Rust library has its own, and may differ where a character is newer.
"""

from collections.abc import Iterable, Iterator, Sequence
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
    read_vocab,
    write_json,
)
from lecturekit.tokenizers.bpe import MergeTable, learn_merges, read_merges, write_merges

# A contraction's ending; a run of letters, digits or others, with the space before it; white space, but for the last
# character before a word, which is that word's.
PATTERN = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

PUBLISHED = ("<|endoftext|>", "<s>", "<pad>", "</s>", "<unk>", "<mask>")  # GPT-2's special token, and RoBERTa's


def bytes_to_unicode() -> dict[int, str]:
    """GPT-2's table: a printable character for each of the 256 bytes, no two alike.

    The bytes 33 ... 126, 161 ... 172 and 174 ... 255 are visible in Latin-1 and stand for themselves. The others,
    in order, get the characters from U+0100 on: byte 0 is Ā, the space (32) is Ġ. The keys are 0, 1, ... 255.
    """
    table = {}
    for byte in range(256):
        visible = 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255
        moved = sum(chr(before) != character for before, character in table.items())
        table[byte] = chr(byte) if visible else chr(256 + moved)
    return table


def split_words(text: str) -> list[str]:
    """The words of a text by GPT-2's pattern. They make up the whole text."""
    return PATTERN.findall(text)


BYTE_TO_UNICODE = bytes_to_unicode()
UNICODE_TO_BYTE = {character: byte for byte, character in BYTE_TO_UNICODE.items()}
ALPHABET = sorted(UNICODE_TO_BYTE)


def spell(token: str) -> bytes:
    """The bytes that an ordinary token's characters stand for."""
    return bytes(map(UNICODE_TO_BYTE.__getitem__, token))


class ByteLevelBPE(Tokenizer):
    """GPT-2's tokenizer. `merges` lists the pairs of tokens that become one token, earliest first.

    `decode(encode(text)) == text` for every text.
    """

    def __init__(
        self, tokens: Sequence[str], merges: Sequence[tuple[str, str]], special_tokens: Sequence[str] = ()
    ) -> None:
        """ValueError if a byte is missing, or if a token is no byte, no special token and no pair's product."""
        super().__init__(tokens, special_tokens)
        for byte, character in BYTE_TO_UNICODE.items():
            if character not in self.vocab or character in special_tokens:
                raise ValueError(f"byte {byte:#04x}, written {character!r}, is not among the ordinary tokens")
        made = {left + right for left, right in merges}
        for token, index in self.vocab.items():
            if token not in made and token not in UNICODE_TO_BYTE and token not in special_tokens:
                raise ValueError(f"token {token!r}, id {index}, is no byte, no merge makes it, and it is not special")
        self.merges = list(merges)
        self._table = MergeTable(merges, self.vocab)
        self._byte_ids = [self.vocab[character] for character in BYTE_TO_UNICODE.values()]
        special = set(special_tokens)
        self._spelled = {token: token.encode() if token in special else spell(token) for token in self.tokens}

    @classmethod
    def train(
        cls,
        texts: Iterable[str | Path],
        vocab_size: int,
        special_tokens: Sequence[str] = (),
        *,
        min_frequency: int = 1,
        processes: int | None = None,
    ) -> Self:
        """Learn a vocabulary of `vocab_size` tokens: special tokens, the 256 bytes, then a token a merge.

        The bytes have the order of the characters that they are written as. Fewer tokens come out if no pair is left
        that occurs `min_frequency` times. Ties go to the smallest pair of ids, as in the Rust library. Special tokens
        in the texts are cut out and not learned from (the Rust library learns from their letters).

        `processes` is that of `base.count_words`. ValueError for an empty corpus, or a `vocab_size` that does not
        hold the special tokens and the bytes.
        """
        check_vocab_size(vocab_size, len(special_tokens) + 256, f"{len(special_tokens)} special tokens and 256 bytes")
        words = count_words(texts, split_words, special_tokens, processes)
        tokens = [*special_tokens, *ALPHABET]
        ids = [len(special_tokens) + ALPHABET.index(character) for character in BYTE_TO_UNICODE.values()]
        spelled = (([ids[byte] for byte in word.encode()], count) for word, count in words.items())
        merges = []
        for left, right in learn_merges(spelled, len(tokens), vocab_size - len(tokens), min_frequency):
            merges.append((tokens[left], tokens[right]))
            tokens.append(tokens[left] + tokens[right])
        return cls(tokens, merges, special_tokens)

    def split(self, text: str) -> list[str]:
        return split_words(text)

    def align(self, text: str) -> Iterator[tuple[str, list[Span]]]:
        for match in PATTERN.finditer(text):
            yield match.group(), [(i, i + 1) for i in range(match.start(), match.end())]

    def encode_word(self, word: str) -> tuple[int, ...]:
        return self._table.apply([self._byte_ids[byte] for byte in word.encode()])

    def word_spans(self, word: str) -> list[Span]:
        owner = [i for i, character in enumerate(word) for _ in character.encode()]  # the character of each byte
        ends = accumulate((len(self._spelled[self.tokens[index]]) for index in self._words[word]), initial=0)
        return [(owner[start], owner[end - 1] + 1) for start, end in pairwise(ends)]

    def join(self, tokens: list[str]) -> str:
        return b"".join(map(self._spelled.__getitem__, tokens)).decode("utf-8", errors="replace")

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text of the ids; U+FFFD where their bytes are no UTF-8, one for each sequence that breaks off.

        ValueError for an id that is not in the vocabulary, TypeError for one that is no int.
        """
        return super().decode(ids, skip_special_tokens)

    def save(self, folder: str | Path) -> None:
        """Write GPT-2's `vocab.json` and `merges.txt`, and the special tokens to `tokenizer_config.json`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "vocab.json", self.vocab)
        write_merges(folder / "merges.txt", self.merges)
        write_json(folder / "tokenizer_config.json", {"additional_special_tokens": self.special_tokens})

    @classmethod
    def load(cls, folder: str | Path, special_tokens: Sequence[str] | None = None) -> Self:
        """Read `vocab.json` and `merges.txt`, GPT-2's published ones too.

        The special tokens are `special_tokens`, else those of `tokenizer_config.json`, else those of `PUBLISHED` that
        the vocabulary has. ValueError names the file and the line that is damaged, or the token that the two files do
        not agree on.
        """
        folder = Path(folder)
        tokens = read_vocab(folder / "vocab.json")
        merges = read_merges(folder / "merges.txt", set(tokens))
        if special_tokens is None:
            special_tokens = read_config(folder).get("additional_special_tokens")
        if special_tokens is None:
            special_tokens = [token for token in PUBLISHED if token in tokens]
        try:
            return cls(tokens, merges, special_tokens)
        except ValueError as error:
            raise ValueError(f"{folder / 'vocab.json'} and {folder / 'merges.txt'} do not match: {error}") from None

    def to_huggingface(self) -> Any:
        from tokenizers import Tokenizer as RustTokenizer
        from tokenizers import decoders, models, pre_tokenizers

        rust = RustTokenizer(models.BPE(vocab=self.vocab, merges=self.merges))
        rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        rust.decoder = decoders.ByteLevel()
        return huggingface_face(self, rust)


class RobertaBPE(ByteLevelBPE):
    """RoBERTa's use of it: `<s> A </s>`, or `<s> A </s> </s> B </s>`, all of token type 0.

    Positions begin at 2, one after the id that RoBERTa's padding has, and padding has that id as its position.
    """

    single = "<s> $A </s>"
    pair = "<s> $A </s> </s> $B </s>"
    pad_token = "<pad>"

    @classmethod
    def train(
        cls,
        texts: Iterable[str | Path],
        vocab_size: int,
        special_tokens: Sequence[str] = PUBLISHED[1:],
        *,
        min_frequency: int = 1,
        processes: int | None = None,
    ) -> Self:
        """`ByteLevelBPE.train`, with RoBERTa's special tokens as the ids 0 ... 4 unless told otherwise."""
        return super().train(texts, vocab_size, special_tokens, min_frequency=min_frequency, processes=processes)

    def positions(self, filled: int, empty: int) -> list[int]:
        """The positions of that many tokens and of that much padding after them."""
        pad_id = self.vocab[self.pad_token]
        return [*range(pad_id + 1, pad_id + 1 + filled), *[pad_id] * empty]
