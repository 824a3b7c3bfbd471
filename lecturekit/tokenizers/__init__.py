"""One tokenization algorithm a file: `bpe`, `wordpiece`, `byte_level`, `unigram`; `base` is what they share."""

from lecturekit.tokenizers.base import Tokenizer
from lecturekit.tokenizers.bpe import BPE
from lecturekit.tokenizers.byte_level import ByteLevelBPE, RobertaBPE
from lecturekit.tokenizers.unigram import Unigram
from lecturekit.tokenizers.wordpiece import WordPiece

__all__ = ["BPE", "ByteLevelBPE", "RobertaBPE", "Tokenizer", "Unigram", "WordPiece"]
