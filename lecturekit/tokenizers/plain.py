"""Parts of the tokenizers written for reading, and what tokens cost.

`base` and `wordpiece` do the same things faster and for more cases: tests hold the two equal. `split_text` leaves out
BERT's cleaning of control characters and its spaces around CJK ideographs; `bert_inputs` leaves out truncation.
"""

import unicodedata
from collections.abc import Container, Mapping, Sequence

from lecturekit.tokenizers.wordpiece import longest_match


def is_punctuation(character: str) -> bool:
    """Is it a punctuation mark to BERT: one to Unicode, or one of the ASCII symbols $ + < = > ^ ` | ~?"""
    return unicodedata.category(character).startswith("P") or character in "$+<=>^`|~"


def split_text(text: str, lowercase: bool) -> list[str]:
    """The words of a text: what lies between white space, each punctuation mark a word by itself.

    For an uncased model (`lowercase`) the text first loses its accents and its case: Unicode's form NFD takes each
    character apart into a letter and its marks, marks (category Mn) are dropped, letters are lowered.
    """
    if lowercase:
        apart = unicodedata.normalize("NFD", text)
        text = "".join(character.lower() for character in apart if unicodedata.category(character) != "Mn")
    spaced = (f" {character} " if is_punctuation(character) else character for character in text)
    return "".join(spaced).split()


def bert_inputs(
    first: Sequence[str], second: Sequence[str], vocab: Mapping[str, int], length: int
) -> dict[str, list[int]]:
    """The four rows that BERT reads for [CLS] first [SEP] second [SEP], each filled up to `length` on the right.

    first and second are the tokens of the two sentences; an empty second one leaves out its [SEP] too. vocab maps each
    token to its id.

    Returns:
        input_ids: the tokens' ids, then that of [PAD].
        attention_mask: 1 for each token, 0 for padding.
        token_type_ids: 0 up to the first [SEP] and that one included, 1 for the second sentence and its [SEP]; 0 for
            padding.
        position_ids: 0, 1, 2 ... up to the end, padding included.

    Raises:
        ValueError: the tokens are more than `length`.
    """
    tokens = ["[CLS]", *first, "[SEP]"]
    types = [0] * len(tokens)
    if second:
        tokens += [*second, "[SEP]"]
        types += [1] * (len(second) + 1)
    empty = length - len(tokens)
    if empty < 0:
        raise ValueError(f"{len(tokens)} tokens: expected at most length={length}")
    return {
        "input_ids": [vocab[token] for token in tokens] + [vocab["[PAD]"]] * empty,
        "attention_mask": [1] * len(tokens) + [0] * empty,
        "token_type_ids": types + [0] * empty,
        "position_ids": list(range(length)),
    }


def tokens_per_word(text: str, vocab: Container[str], lowercase: bool) -> tuple[float, float]:
    """How many WordPiece tokens a word of the text has on average, and what share of its words is unknown.

    The words are those of `split_text`, their tokens those of `longest_match`. A word is unknown if its tokens are
    ["[UNK]"]; it counts as one token, so the first number means little where the second is not small.

    Raises:
        ValueError: the text has no words.
    """
    words = split_text(text, lowercase)
    if not words:
        raise ValueError("the text has no words: expected at least one")
    tokens = [longest_match(word, vocab) for word in words]
    return sum(map(len, tokens)) / len(words), tokens.count(["[UNK]"]) / len(words)


def layer_cost(length: int, d_model: int) -> int:
    """The multiplications in the matrix products of one Transformer encoder layer that reads `length` tokens.

    Four projections from d_model to d_model; each head's products of queries and keys, and of weights and values, all
    heads together; two maps of the feed-forward network, from d_model to 4 d_model and back.
    """
    projections = 4 * length * d_model * d_model
    attention = 2 * length * length * d_model
    feed_forward = 2 * length * d_model * 4 * d_model
    return projections + attention + feed_forward
