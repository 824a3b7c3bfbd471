"""One token a character: the smallest vocabulary that a text can be written with.

What a model of a few letters and digits reads, as the one that translates dates or the one that is shown a task in its
prompt. Nothing is learnt but which characters there are. A character that was not among them is `<unk>`.

Left out: pieces of a character (a letter and the accent after it are two tokens), and normalization of any kind.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

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

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")


class Characters(Tokenizer):
    """A token for each character, after the special tokens.

    `single` is how a model wants a text: "$A" as it is, "$A </s>" with an end (T5), "<s> $A </s>" with both (seq2seq).
    `decode(encode(text)) == text` for every text without unknown characters.
    """

    pad_token = "<pad>"
    unk_token = "<unk>"

    def __init__(self, tokens: Sequence[str], special_tokens: Sequence[str] = SPECIAL, *, single: str = "$A") -> None:
        """ValueError if `<unk>` is not among the special tokens, or a token that is not special is no character."""
        super().__init__(tokens, special_tokens)
        if self.unk_token not in self.special_tokens:
            raise ValueError(f"special tokens {self.special_tokens}: expected {self.unk_token!r} among them")
        for token, index in self.vocab.items():
            if len(token) != 1 and token not in special_tokens:
                raise ValueError(f"token {token!r}, id {index}, is no character and not special")
        self.single = single
        self._unknown = self.vocab[self.unk_token]

    @classmethod
    def train(
        cls,
        texts: Iterable[str | Path],
        vocab_size: int = 1 << 21,
        special_tokens: Sequence[str] = SPECIAL,
        *,
        single: str = "$A",
        processes: int | None = None,
    ) -> Self:
        """The special tokens, then the characters of the texts by code point.

        Of more characters than `vocab_size` has room for, the most frequent ones stay, of equally frequent ones the
        first by code point. `processes` is that of `base.count_words`. ValueError for an empty corpus, or a
        `vocab_size` that does not hold the special tokens and one character.
        """
        check_vocab_size(vocab_size, len(special_tokens) + 1, f"{len(special_tokens)} special tokens and a character")
        counts: Counter[str] = count_words(texts, list, special_tokens, processes)
        frequent = sorted(counts, key=lambda character: (-counts[character], character))
        characters = sorted(frequent[: vocab_size - len(special_tokens)])
        return cls([*special_tokens, *characters], special_tokens, single=single)

    def split(self, text: str) -> list[str]:
        return list(text)

    def align(self, text: str) -> Iterator[tuple[str, list[Span]]]:
        return ((character, [(i, i + 1)]) for i, character in enumerate(text))

    def encode_word(self, word: str) -> tuple[int, ...]:
        return (self.vocab.get(word, self._unknown),)

    def word_spans(self, word: str) -> list[Span]:
        return [(0, 1)]

    def join(self, tokens: list[str]) -> str:
        return "".join(tokens)

    def save(self, folder: str | Path) -> None:
        """Write `vocab.json`, and the special tokens and `single` to `tokenizer_config.json`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "vocab.json", self.vocab)
        config = {"additional_special_tokens": self.special_tokens, "single": self.single}
        write_json(folder / "tokenizer_config.json", config)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote. ValueError names the file and the line that is damaged."""
        folder = Path(folder)
        tokens, config = read_vocab(folder / "vocab.json"), read_config(folder)
        special = config.get("additional_special_tokens", [token for token in SPECIAL if token in tokens])
        try:
            return cls(tokens, special, single=config.get("single", "$A"))
        except ValueError as error:
            raise ValueError(f"{folder / 'vocab.json'}: {error}") from None

    def to_huggingface(self) -> Any:
        from tokenizers import Regex, decoders, models, pre_tokenizers
        from tokenizers import Tokenizer as RustTokenizer

        rust = RustTokenizer(models.WordLevel(vocab=self.vocab, unk_token=self.unk_token))
        rust.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        rust.decoder = decoders.Fuse()
        return huggingface_face(self, rust)
