"""What is written for reading does what the fast code does, on any text; and a cost counted by hand."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lecturekit.tokenizers import WordPiece, wordpiece
from lecturekit.tokenizers.bpe import count_pairs
from lecturekit.tokenizers.plain import bert_inputs, layer_cost, split_text, tokens_per_word
from lecturekit.tokenizers.wordpiece import CJK, SPECIAL, pair_scores, wordpiece_score

steady = settings(derandomize=True, deadline=None)
both_cases = pytest.mark.parametrize("lowercase", [True, False], ids=["uncased", "cased"])


@both_cases
@given(data=st.data())
@settings(steady, max_examples=300)
def test_split_text_is_berts(any_text: st.SearchStrategy[str], lowercase: bool, data: st.DataObject) -> None:
    text = data.draw(any_text)
    text = "".join(c for c in text if unicodedata.category(c)[0] != "C" and c != "\ufffd" and not CJK.match(c))
    assert split_text(text, lowercase) == wordpiece.split_words(lowercase, text)


@both_cases
def test_split_text_on_real_text(small_corpus: list[str], lowercase: bool) -> None:
    for line in small_corpus:
        line = line.strip().replace("\ufeff", "")
        assert split_text(line, lowercase) == wordpiece.split_words(lowercase, line)


words = st.lists(st.sampled_from(["mat", "cat", "."]), max_size=5)


@given(words, words, st.integers(0, 4))
@settings(steady, max_examples=200)
def test_bert_inputs_are_the_tokenizers(first: list[str], second: list[str], room: int) -> None:
    tokenizer = WordPiece([*SPECIAL, "mat", "cat", "."])
    length = len(first) + len(second) + 2 + bool(second) + room
    pair = " ".join(second) if second else None
    expected = tokenizer(" ".join(first), pair, max_length=length, padding="max_length")
    assert bert_inputs(first, second, tokenizer.vocab, length) == expected


def test_bert_inputs_refuse() -> None:
    with pytest.raises(ValueError, match="5 tokens: expected at most length=4"):
        bert_inputs(["a"], ["b"], {}, 4)


def test_pair_scores_by_hand() -> None:
    words = {("a", "b"): 3, ("a", "c"): 2, ("d", "c"): 1, ("a",): 4}
    assert pair_scores(words) == {("a", "b"): 3 / 27, ("a", "c"): 2 / 27, ("d", "c"): 1 / 3}
    assert pair_scores({("a", "a", "a"): 2}) == {("a", "a"): wordpiece_score(4, 6, 6)}
    assert pair_scores({}) == count_pairs({}) == {}


def test_tokens_per_word_by_hand() -> None:
    assert tokens_per_word("Mats, mat?", {"mat", "##s", ","}, True) == (5 / 4, 1 / 4)
    assert tokens_per_word("Mats", {"mat", "##s"}, False) == (1.0, 1.0)
    with pytest.raises(ValueError, match="the text has no words"):
        tokens_per_word(" \n", {"mat"}, True)


def test_layer_cost_by_hand() -> None:
    assert layer_cost(1, 1) == 4 + 2 + 8
    assert layer_cost(512, 768) == 4_026_531_840
