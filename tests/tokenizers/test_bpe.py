"""The lecture's example, the paper's algorithm against the fast one, the Rust library, properties, bad input."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lecturekit.tokenizers import BPE
from lecturekit.tokenizers.bpe import (
    apply_merges,
    apply_merges_to_long_word,
    count_pairs,
    learn_merges,
    merge_pair,
    train_bpe,
    training_steps,
)

steady = settings(derandomize=True, deadline=None)
both_marks = pytest.mark.parametrize("mark", ["##", "</w>"])
parts = pytest.mark.parametrize("part", [slice(300_000), pytest.param(slice(None), marks=pytest.mark.full)], ids=str)
LECTURE = {"cat": 4, "mat": 5, "mats": 2, "mate": 3, "ate": 3, "eat": 2}
CORPUS = [f"{word} " * count for word, count in LECTURE.items()]

# --- the lecture's example ----------------------------------------------------------------------------------


def test_tables_of_the_lecture() -> None:
    steps = list(training_steps(LECTURE, 5))
    first = {("a", "t"): 19, ("m", "a"): 10, ("t", "e"): 6, ("c", "a"): 4, ("t", "s"): 2, ("e", "a"): 2}
    assert steps[0].pair_counts == first
    assert steps[0].words == {tuple(word): count for word, count in LECTURE.items()}
    pairs = [("a", "t"), ("m", "at"), ("c", "at"), ("at", "e"), ("mat", "e")]
    assert [step.pair for step in steps] == pairs == train_bpe(LECTURE, 5)
    assert steps[3].words == {
        ("cat",): 4, ("mat",): 5, ("mat", "s"): 2, ("mat", "e"): 3, ("at", "e"): 3, ("e", "at"): 2
    }  # fmt: skip
    assert steps[3].pair_counts == {("mat", "s"): 2, ("mat", "e"): 3, ("at", "e"): 3, ("e", "at"): 2}
    assert steps[4].vocabulary == [*"acemst", "at", "mat", "cat", "ate", "mate"]
    assert steps[1].merges == pairs[:2]


def test_segmentation_of_the_lecture() -> None:
    tokenizer = BPE.train(CORPUS, 1 + 2 * (6 + 5))
    assert [tokenizer.tokenize(word) for word in LECTURE] == [
        ["cat"], ["mat"], ["mat", "##s"], ["mate"], ["ate"], ["e", "##at"]
    ]  # fmt: skip
    assert tokenizer.vocab["s"] != tokenizer.vocab["##s"]
    ends = BPE.train(CORPUS, 1 + 2 * (6 + 5), mark="</w>")
    assert [ends.tokenize(word) for word in LECTURE] == [
        ["cat</w>"], ["mat</w>"], ["mat", "s</w>"], ["mate</w>"], ["ate</w>"], ["e", "at</w>"]
    ]  # fmt: skip


def test_the_vocabulary_by_hand() -> None:
    tokenizer = BPE.train(["ab ab b"], 7, ["<s>", "[UNK]"])  # a room for two characters, marked and not, and one more
    assert tokenizer.tokens == ["<s>", "[UNK]", "a", "##a", "b", "##b"]
    tokenizer = BPE.train(["ab ab b"], 8, ["<s>", "[UNK]"])
    assert tokenizer.tokens[6:] == ["ab", "##ab"]
    assert tokenizer.merges == [("a", "##b"), ("##a", "##b")]


# --- the algorithm ------------------------------------------------------------------------------------------


def test_one_merge_by_hand() -> None:
    assert merge_pair("aaa", ("a", "a"), "aa") == ("aa", "a")
    assert merge_pair([1, 2, 1, 2, 3], (1, 2), 9) == (9, 9, 3)
    assert merge_pair((), ("a", "b"), "ab") == ()
    assert count_pairs({("a", "a", "a"): 2, ("a", "b"): 1}) == {("a", "a"): 4, ("a", "b"): 1}


def test_merges_by_rank_by_hand() -> None:
    ranks = {("b", "c"): 0, ("a", "b"): 1, ("a", "bc"): 2}
    assert apply_merges("abc", ranks, ["bc", "ab", "abc"]) == ["abc"]
    assert apply_merges("abab", ranks, ["bc", "ab", "abc"]) == ["ab", "ab"]
    assert apply_merges("", ranks, ["bc", "ab", "abc"]) == []


words = st.dictionaries(st.text("abc", min_size=1, max_size=12), st.integers(1, 4), min_size=1, max_size=8)


@given(words, st.integers(0, 30))
@settings(steady, max_examples=500)
def test_fast_training_makes_the_same_merges(word_counts: dict[str, int], num_merges: int) -> None:
    expected = train_bpe(word_counts, num_merges)
    symbols = sorted(set().union(*word_counts))
    corpus = [([symbols.index(c) for c in word], count) for word, count in word_counts.items()]
    made = []
    for left, right in learn_merges(corpus, len(symbols), num_merges):
        made.append((symbols[left], symbols[right]))
        symbols.append(symbols[left] + symbols[right])
    assert made == expected


def test_fast_training_on_real_words(small_corpus: list[str]) -> None:
    word_counts: dict[str, int] = {}
    for line in small_corpus[:600]:
        for word in line.split():
            word_counts[word] = word_counts.get(word, 0) + 1
    tokenizer = BPE.train(small_corpus[:600], 10**6)
    least = (len(tokenizer.merges) + 1) // 2
    merges = train_bpe(word_counts, 150)
    assert least > 150
    assert tokenizer.merges[:300:2] == [(left, "##" + right) for left, right in merges]


@given(
    st.text("ab", max_size=200),
    st.lists(st.tuples(st.text("ab", min_size=1, max_size=4), st.text("ab", min_size=1, max_size=4)), unique=True),
)
@settings(steady, max_examples=500)
def test_long_words_are_merged_alike(word: str, pairs: list[tuple[str, str]]) -> None:
    ranks = {pair: rank for rank, pair in enumerate(pairs)}
    products = [left + right for left, right in pairs]
    expected = list(word)
    while found := [(ranks[pair], i) for i, pair in enumerate(pairwise(expected)) if pair in ranks]:
        rank, i = min(found)
        expected[i : i + 2] = [products[rank]]
    assert apply_merges(word, ranks, products) == expected
    assert apply_merges_to_long_word(word, ranks, products) == expected


# --- the Rust library ---------------------------------------------------------------------------------------


@parts
@both_marks
def test_encoding_real_text(corpora: dict[str, str], mark: str, part: slice) -> None:
    for text in corpora.values():
        text = text[part]
        tokenizer = BPE.train(text.splitlines(), 6000, mark=mark)
        twin = tokenizer.to_huggingface()
        ids, expected = tokenizer.encode(text), twin.encode(text)
        assert ids == expected.ids
        assert tokenizer.offsets(text) == expected.offsets
        assert tokenizer.decode(ids) == twin.decode(ids) == " ".join(text.split())


@both_marks
@given(data=st.data())
@settings(steady, max_examples=200)
def test_encoding_any_text(any_text: st.SearchStrategy[str], mark: str, data: st.DataObject) -> None:
    learned = [*data.draw(st.lists(any_text, max_size=3)), "Чудесный день! walking mats ##s a##b </w>"]
    learned = [text.replace("<|endoftext|>", "") for text in learned]
    tokenizer = BPE.train(learned, 700, ["[UNK]", "<|endoftext|>"], mark=mark)
    twin = tokenizer.to_huggingface()
    for text in [*learned, data.draw(any_text)]:
        ids, expected = tokenizer.encode(text), twin.encode(text)
        assert ids == expected.ids
        assert tokenizer.tokenize(text) == expected.tokens
        assert tokenizer.offsets(text) == expected.offsets
    for text in learned:
        assert tokenizer.decode(tokenizer.encode(text)) == " ".join(tokenizer.split(text))


# --- round trips, files, bad input --------------------------------------------------------------------------


@both_marks
@pytest.mark.parametrize("text", ["Чудесный день!", "Посмотри в энциклопедическом словаре."])
def test_russian_round_trip(mark: str, text: str) -> None:
    tokenizer = BPE.train([text, "день"], 90, mark=mark)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@both_marks
def test_unknown_characters(mark: str) -> None:
    tokenizer = BPE.train(CORPUS, 23, mark=mark)
    assert tokenizer.tokenize("cбt") == {"##": ["c", "[UNK]", "##t"], "</w>": ["c", "[UNK]", "t</w>"]}[mark]
    assert tokenizer.decode(tokenizer.encode("mat [UNK] cat")) == "mat [UNK] cat"
    assert tokenizer.decode(tokenizer.encode("mat [UNK] cat"), skip_special_tokens=True) == "mat cat"


@both_marks
def test_save_and_load(mark: str, tmp_path: Path) -> None:
    tokenizer = BPE.train(CORPUS, 23, mark=mark)
    tokenizer.save(tmp_path)
    loaded = BPE.load(tmp_path)
    assert vars(loaded)["tokens"] == tokenizer.tokens
    assert (loaded.merges, loaded.mark, loaded.special_tokens) == (tokenizer.merges, mark, ["[UNK]"])
    (tmp_path / "merges.txt").write_text("#version: 0.2\na t x\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"merges\.txt, line 2: 'a t x\\n' is not two symbols"):
        BPE.load(tmp_path)


def test_refuses() -> None:
    with pytest.raises(ValueError, match=r"mark='@@': expected one of '##', '</w>'"):
        BPE.train(CORPUS, 100, mark="@@")
    with pytest.raises(
        ValueError,
        match="vocab_size=12 is too small for 1 special tokens and 6 characters, marked and not: expected at least 13",
    ):
        BPE.train(CORPUS, 12)
    with pytest.raises(ValueError, match=r"special tokens \['<s>'\]: expected '\[UNK\]' among them"):
        BPE.train(CORPUS, 100, ["<s>"])
    with pytest.raises(ValueError, match="the corpus is empty"):
        BPE.train([" \n"], 100)
    with pytest.raises(ValueError, match=r"token 'xy' of the merge \('x', 'y'\)"):
        BPE(["[UNK]", "x", "y"], [("x", "y")])
