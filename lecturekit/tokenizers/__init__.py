"""One tokenization algorithm a file: `bpe`, `wordpiece`, `byte_level`, `unigram`, `characters`; all share `base`."""

from lecturekit.tokenizers.base import Tokenizer
from lecturekit.tokenizers.bpe import BPE
from lecturekit.tokenizers.byte_level import ByteLevelBPE, RobertaBPE
from lecturekit.tokenizers.characters import Characters
from lecturekit.tokenizers.unigram import Unigram
from lecturekit.tokenizers.wordpiece import WordPiece

__all__ = ["BPE", "ByteLevelBPE", "Characters", "RobertaBPE", "Tokenizer", "Unigram", "WordPiece"]
