"""Worked out by hand and by brute force, the Rust library, properties, then what a caller may get wrong."""

import math
import random
import unicodedata
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import normalizers

from lecturekit.tokenizers import Unigram
from lecturekit.tokenizers.unigram import (
    em_step,
    expected_counts,
    learn_pieces,
    losses,
    normalize_aligned,
    sample,
    seed_pieces,
    sentinels,
    viterbi,
)

steady = settings(derandomize=True, deadline=None)
parts = pytest.mark.parametrize("part", [slice(150_000), pytest.param(slice(None), marks=pytest.mark.full)], ids=str)
UNKNOWN = -20.0


def segmentations(word: str, scores: dict[str, float]) -> dict[tuple[str, ...], float]:
    """All of a word's segmentations and their scores, by trying every set of cuts."""
    found = {}
    for number in range(len(word)):
        for cuts in combinations(range(1, len(word)), number):
            pieces = tuple(word[a:b] for a, b in zip((0, *cuts), (*cuts, len(word)), strict=True))
            if all(piece in scores or len(piece) == 1 for piece in pieces):
                found[pieces] = sum(scores.get(piece, UNKNOWN) for piece in pieces)
    return found


# --- by hand and by brute force -----------------------------------------------------------------------------


def test_viterbi_by_hand() -> None:
    scores = {"a": -1.0, "b": -1.0, "ab": -1.5, "abc": -9.0, "c": -2.0}
    assert viterbi("abc", scores, 3, UNKNOWN) == ["ab", "c"]
    assert viterbi("axb", scores, 3, UNKNOWN) == ["a", "x", "b"]
    assert viterbi("abc", scores, 1, UNKNOWN) == ["a", "b", "c"]
    assert viterbi("", scores, 3, UNKNOWN) == []
    ties = {"a": -1.0, "aa": -2.0}
    assert viterbi("aaa", ties, 2, UNKNOWN) == ["a", "aa"]


pieces = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.floats(-9, -0.1), max_size=8)


@given(st.text("abcd", min_size=1, max_size=9), pieces)
@settings(steady, max_examples=400)
def test_viterbi_is_the_best_of_all(word: str, scores: dict[str, float]) -> None:
    everything = segmentations(word, scores)
    assert math.isclose(everything[tuple(viterbi(word, scores, 3, UNKNOWN))], max(everything.values()))


@given(st.dictionaries(st.text("abcd", min_size=1, max_size=7), st.integers(1, 9), max_size=4), pieces)
@settings(steady, max_examples=200)
def test_expected_counts_over_all_segmentations(words: dict[str, int], scores: dict[str, float]) -> None:
    expected = dict.fromkeys(scores, 0.0)
    for word, frequency in words.items():
        everything = segmentations(word, scores)
        total = sum(map(math.exp, everything.values()))
        for segmentation, score in everything.items():
            for piece in segmentation:
                if piece in expected:
                    expected[piece] += frequency * math.exp(score) / total
    found = expected_counts(words, scores, 3, UNKNOWN)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_samples_have_the_probabilities_of_the_model() -> None:
    scores = {"a": -1.0, "b": -1.2, "ab": -1.9, "ba": -2.5, "aba": -3.5}
    rng = random.Random(0)
    for alpha in (1.0, 0.3):
        everything = {s: math.exp(alpha * score) for s, score in segmentations("abab", scores).items()}
        total = sum(everything.values())
        draws = Counter(tuple(sample("abab", scores, 3, UNKNOWN, alpha, rng)) for _ in range(20_000))
        for segmentation, weight in everything.items():
            share = weight / total
            assert abs(draws[segmentation] - 20_000 * share) < 5 * math.sqrt(20_000 * share * (1 - share))
        assert set(draws) <= set(everything)


def test_em_by_hand() -> None:
    # "ab" twice: as ab with 1/2, as a b with 1/4 * 1/4 = 1/16, so 8/9 and 1/9 of the time
    scores = {"a": math.log(1 / 4), "b": math.log(1 / 4), "ab": math.log(1 / 2)}
    new, counts = em_step({"ab": 2}, scores)
    assert counts == pytest.approx({"a": 2 / 9, "b": 2 / 9, "ab": 16 / 9})
    assert new == pytest.approx({"a": math.log(0.1), "b": math.log(0.1), "ab": math.log(0.8)})
    assert losses(scores, counts) == pytest.approx({"ab": 16 / 9 * math.log(8)})


def test_seeds_by_hand() -> None:
    covered = {"a": 5, "b": 3, "c": 1, "ab": 6, "aab": 6, "aa": 4}  # ab 3 times, aab and aa twice
    found = seed_pieces({"aab": 2, "ab": 1, "c": 1}, 3)
    total = sum(covered.values())
    assert found == pytest.approx({piece: math.log(n / total) for piece, n in covered.items()})
    assert list(seed_pieces({"aab": 2, "ab": 1, "c": 1}, 1)) == ["a", "b", "c", "aab"]  # ties go by the alphabet


def test_em_raises_the_likelihood(small_corpus: list[str]) -> None:
    words = Counter(word for line in small_corpus[:100] for word in line.split())
    scores = seed_pieces(words, 300)

    def likelihood(scores: dict[str, float]) -> float:
        return sum(
            count * math.log(sum(math.exp(s) for s in segmentations(word, scores).values()))
            for word, count in words.items()
            if len(word) < 9
        )

    before = likelihood(scores)
    words = Counter({word: count for word, count in words.items() if len(word) < 9})
    assert likelihood(em_step(words, scores)[0]) > before


def test_training_keeps_characters_and_what_covers_most() -> None:
    words = {"▁walking": 50, "▁walked": 40, "▁talking": 45, "▁x": 1}
    pieces = learn_pieces(words, 14)
    assert set("▁walkingedtx") <= set(pieces)
    assert len(pieces) == 14
    assert max(map(len, pieces)) >= 4
    assert math.isclose(sum(map(math.exp, pieces.values())), 1)


# --- the Rust library ---------------------------------------------------------------------------------------


@parts
def test_encoding_real_text(corpora: dict[str, str], part: slice) -> None:
    for text in corpora.values():
        text = text[part]
        tokenizer = Unigram.train([text[:150_000]], 1500)
        twin = tokenizer.to_huggingface()
        ids, expected = tokenizer.encode(text), twin.encode(text, add_special_tokens=False)
        assert ids == expected.ids
        assert tokenizer.offsets(text) == expected.offsets
        assert tokenizer.decode(ids) == twin.decode(ids, skip_special_tokens=False)


@pytest.fixture(scope="module")
def newer() -> set[str]:
    """The characters that the Rust library's tables do not know as Python's do, alone or, if they combine, in a row."""
    nfkc = normalizers.NFKC()
    found = set()
    for c in (chr(i) for i in range(0x110000) if unicodedata.category(chr(i)) not in ("Cs", "Cn")):
        rows = ("a{}\u0301", "a\u0315{}", "a{}\u0323", "\u05b7{}") if unicodedata.combining(c) else ("{}",)
        if any(nfkc.normalize_str(row.format(c)) != unicodedata.normalize("NFKC", row.format(c)) for row in rows):
            found.add(c)
    assert len(found) < 200
    return found


@pytest.fixture(scope="module")
def trained(small_corpus: list[str]) -> Unigram:
    return Unigram.train(small_corpus, 900, extra_ids=5)


@given(data=st.data())
@settings(steady, max_examples=400)
def test_encoding_any_text(
    any_text: st.SearchStrategy[str], trained: Unigram, newer: set[str], data: st.DataObject
) -> None:
    text = "".join(c for c in data.draw(any_text) if c not in newer)
    twin = trained.to_huggingface()
    ids, expected = trained.encode(text), twin.encode(text, add_special_tokens=False)
    assert ids == expected.ids
    assert trained.decode(ids) == twin.decode(ids, skip_special_tokens=False)
    assert len(trained.offsets(text)) == len(ids)


@given(data=st.data())
@settings(steady, max_examples=300)
def test_alignment_has_the_normalized_text(any_text: st.SearchStrategy[str], data: st.DataObject) -> None:
    text = data.draw(any_text)
    aligned = normalize_aligned(text)
    assert "".join(c for c, _ in aligned) == unicodedata.normalize("NFKC", text)
    for c, (start, end) in aligned:
        assert c in unicodedata.normalize("NFKC", text[start:end])


@given(st.lists(st.sampled_from([-1.0, -2.0, -3.0]), min_size=14, max_size=14), st.text("ab", max_size=12))
@settings(steady, max_examples=300)
def test_ties_against_the_rust_library(scores: list[float], word: str) -> None:
    tokens = ["a", "b", "aa", "ab", "ba", "bb", "aaa", "aab", "aba", "abb", "baa", "bab", "bba", "bbb"]
    tokenizer = Unigram(["<unk>", "▁", *tokens], [0.0, -1.0, *scores], ["<unk>"])
    assert tokenizer.encode(word) == tokenizer.to_huggingface().encode(word, add_special_tokens=False).ids


# --- sentinels, sampling, round trips -----------------------------------------------------------------------


def test_sentinels(trained: Unigram) -> None:
    assert sentinels(3) == ["<extra_id_2>", "<extra_id_1>", "<extra_id_0>"]
    assert trained.vocab["<extra_id_0>"] == len(trained) - 1
    assert trained.tokens[:3] == ["<pad>", "</s>", "<unk>"]
    tokens = trained.tokenize("a <extra_id_1> b<extra_id_0>")
    assert [token for token in tokens if token.startswith("<")] == ["<extra_id_1>", "<extra_id_0>"]
    end = trained.vocab["</s>"]
    assert trained("a", "b", max_length=9, padding="max_length")["input_ids"] == [
        *trained.encode("a"), end, *trained.encode("b"), end, *[0] * (9 - 2 - len(trained.encode("a")) - len(trained.encode("b")))
    ]  # fmt: skip


def test_sampling_changes_tokens_and_not_the_text(trained: Unigram, small_corpus: list[str]) -> None:
    text = "Посмотри в энциклопедическом словаре. <extra_id_0>" + "".join(small_corpus[:3])
    drawn = [trained.sample(text, 0.5, random.Random(seed)) for seed in range(20)]
    assert {trained.decode(ids) for ids in drawn} == {trained.decode(trained.encode(text))}
    assert len(set(map(tuple, drawn))) > 10
    assert trained.sample(text, 0.5, random.Random(3)) == drawn[3]
    assert trained.sample(text, 1000.0, random.Random(0)) == trained.encode(text)


@pytest.mark.parametrize("text", ["Чудесный день!", "Посмотри в энциклопедическом словаре."])
def test_russian_round_trip(text: str) -> None:
    tokenizer = Unigram.train([text, "день"], 60)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_unknown_characters_are_one_token_a_run() -> None:
    tokenizer = Unigram.train(["ab ab"], 10)
    assert tokenizer.tokenize("aЖЖb")[-2:] == ["<unk>", "b"]
    assert tokenizer.offsets("aЖЖb")[-2:] == [(1, 3), (3, 4)]


# --- files, bad input ---------------------------------------------------------------------------------------


def test_save_and_load(trained: Unigram, small_corpus: list[str], tmp_path: Path) -> None:
    trained.save(tmp_path)
    loaded = Unigram.load(tmp_path)
    assert (loaded.tokens, loaded.scores) == (trained.tokens, trained.scores)
    assert loaded.special_tokens == trained.special_tokens
    rust = RustTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = "".join(small_corpus)
    assert rust.encode(text, add_special_tokens=False).ids == loaded.encode(text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"vocab": [', '"vocab": {', r"tokenizer\.json, line \d+: Expecting"),
        ('"Unigram"', '"BPE"', r"tokenizer\.json: expected a model of type 'Unigram'"),
        ('"vocab": [', '"vocabulary": [', r"tokenizer\.json: the model's vocab is NoneType, expected a list"),
        ('"<pad>",\n    0.0', '"<pad>",\n    "0.0"', r"tokenizer\.json, line \d+: entry 0 of the vocab is .* expected \[token, score\]"),
        ('"content": "<unk>"', '"content": "<u>"', r"tokenizer\.json: special token '<u>' is not in the vocabulary"),
    ],
)  # fmt: skip
def test_damaged_files(old: str, new: str, message: str, tmp_path: Path) -> None:
    Unigram.train(["ab ab"], 10).save(tmp_path)
    path = tmp_path / "tokenizer.json"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        Unigram.load(tmp_path)


def test_refuses() -> None:
    with pytest.raises(
        ValueError, match="vocab_size=5 is too small for 3 special tokens and 3 characters: expected at least 6"
    ):
        Unigram.train(["ab"], 5)
    with pytest.raises(ValueError, match="the corpus is empty"):
        Unigram.train(["  "], 100)
    with pytest.raises(ValueError, match="2 tokens and 1 scores: expected equal numbers"):
        Unigram(["<unk>", "a"], [0.0], ["<unk>"])
    with pytest.raises(ValueError, match="special tokens only"):
        Unigram(["<unk>"], [0.0], ["<unk>"])
    with pytest.raises(ValueError, match="alpha=-1: expected 0 or more"):
        Unigram(["<unk>", "a"], [0.0, -1.0], ["<unk>"]).sample("a", -1)
