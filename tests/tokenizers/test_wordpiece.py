"""Worked out by hand and by brute force, the Rust library, properties, then what a caller may get wrong."""

import unicodedata
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import models, normalizers, pre_tokenizers, trainers

from lecturekit.tokenizers import WordPiece
from lecturekit.tokenizers.wordpiece import (
    SPECIAL,
    learn_by_likelihood,
    longest_match,
    normalize,
    normalize_aligned,
    split_words,
    wordpiece_score,
)

steady = settings(derandomize=True, deadline=None)
parts = pytest.mark.parametrize("part", [slice(200_000), pytest.param(slice(None), marks=pytest.mark.full)], ids=str)
both_cases = pytest.mark.parametrize("lowercase", [True, False], ids=["uncased", "cased"])

# --- by hand ------------------------------------------------------------------------------------------------


def test_score_by_hand() -> None:
    assert wordpiece_score(6, 4, 3) == 0.5


def test_longest_match_by_hand() -> None:
    vocab = {"un", "##aff", "##able", "##a", "u", "##n"}
    assert longest_match("unaffable", vocab) == ["un", "##aff", "##able"]
    assert longest_match("una", vocab) == ["un", "##a"]
    assert longest_match("unb", vocab) == ["[UNK]"]  # not ["un", "[UNK]"]
    assert longest_match("aff", vocab, "<unk>") == ["<unk>"]
    assert longest_match("", vocab) == []
    assert longest_match("u" + "n" * 99, vocab) == ["un"] + ["##n"] * 98
    assert longest_match("u" + "n" * 100, vocab) == ["[UNK]"]


def test_likelihood_by_hand() -> None:
    # a ##b 3 times, a ##c twice, d ##c once: ab 3/(5*3) = 1/5, ac 2/(5*3) = 2/15, dc 1/(1*3) = 1/3
    corpus = ["ab ab ab ac ac dc"]
    tokenizer = WordPiece.train(corpus, 13)
    assert tokenizer.tokens == [*SPECIAL, "a", "b", "c", "d", "##b", "##c", "dc", "ab"]
    # with dc merged, ##c is left twice: ac 2/(5*2) = 1/5 ties with ab 3/(5*3); ids decide: ab
    assert WordPiece.train(corpus, 13, score="frequency").tokens[-2:] == ["ab", "ac"]


def test_words_and_normalization_by_hand() -> None:
    assert split_words(True, "Été, naïve\tДЕНЬ!漢字a\u200bb") == ["ete", ",", "naive", "день", "!", "漢", "字", "ab"]
    assert split_words(False, "Été, naïve ДЕНЬ!") == ["Été", ",", "naïve", "ДЕНЬ", "!"]
    assert split_words(True, "ΣΑΣ a$b й ё") == ["σασ", "a", "$", "b", "и", "е"]


# --- training -----------------------------------------------------------------------------------------------


def brute_force(words: list[tuple[list[int], int]], next_id: int, num_merges: int, least: int) -> list[tuple[int, int]]:
    """Everything counted anew for each merge, scores exact."""
    merges = []
    for new in range(next_id, next_id + num_merges):
        single: dict[int, int] = {}
        pairs: dict[tuple[int, int], int] = {}
        for word, count in words:
            for symbol in word:
                single[symbol] = single.get(symbol, 0) + count
            for pair in pairwise(word):
                pairs[pair] = pairs.get(pair, 0) + count
        scores = {p: Fraction(n, single[p[0]] * single[p[1]]) for p, n in pairs.items() if n >= max(least, 1)}
        if not scores:
            break
        best = min(scores, key=lambda pair: (-scores[pair], pair))
        merges.append(best)
        merged = []
        for word, count in words:
            out: list[int] = []
            for symbol in word:
                if out and (out[-1], symbol) == best:
                    out[-1] = new
                else:
                    out.append(symbol)
            merged.append((out, count))
        words = merged
    return merges


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 4), max_size=10), st.integers(1, 5)), max_size=8),
    st.integers(0, 30),
    st.integers(0, 4),
)
@settings(steady, max_examples=600)
def test_likelihood_training_against_brute_force(words: list[tuple[list[int], int]], merges: int, least: int) -> None:
    assert learn_by_likelihood(words, 5, merges, least) == brute_force(words, 5, merges, least)


def test_likelihood_training_on_real_words(small_corpus: list[str]) -> None:
    counts: dict[str, int] = {}
    for word in (word for line in small_corpus[:300] for word in split_words(True, line)):
        counts[word] = counts.get(word, 0) + 1
    words = [([ord(c) for c in word], count) for word, count in counts.items()]
    assert learn_by_likelihood(words, 2**20, 60, 3) == brute_force(words, 2**20, 60, 3)


def test_frequency_training_against_the_rust_library(corpora: dict[str, str]) -> None:
    # The Rust library's order of equally frequent pairs differs from run to run, so the last few tokens may differ.
    for text in corpora.values():
        text = text[:300_000]
        ours = WordPiece.train([text], 3000, score="frequency")
        rust = RustTokenizer(models.WordPiece(unk_token="[UNK]"))
        rust.normalizer, rust.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=3000, special_tokens=list(SPECIAL), show_progress=False)
        rust.train_from_iterator([text], trainer)
        assert len(ours) == rust.get_vocab_size()
        assert len(set(ours.vocab) - set(rust.get_vocab())) < 60


# --- the Rust library ---------------------------------------------------------------------------------------


@parts
@both_cases
def test_encoding_real_text(corpora: dict[str, str], lowercase: bool, part: slice) -> None:
    for text in corpora.values():
        text = text[part]
        tokenizer = WordPiece.train([text], 5000, lowercase=lowercase, min_frequency=5)
        twin = tokenizer.to_huggingface()
        ids, expected = tokenizer.encode(text), twin.encode(text, add_special_tokens=False)
        assert ids == expected.ids
        assert tokenizer.offsets(text) == expected.offsets
        assert tokenizer.decode(ids) == twin.decode(ids, skip_special_tokens=False)


@pytest.fixture(scope="module")
def newer() -> set[str]:
    """The characters that the Rust library's tables, which are of 2015, do not know as Python's do."""
    uncased, split = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    known = (chr(i) for i in range(0x110000) if unicodedata.category(chr(i)) not in ("Cs", "Cn"))
    suspects = (c for c in known if unicodedata.category(c)[0] in "MPC" or unicodedata.normalize("NFD", c) != c)
    return {
        c
        for c in suspects
        if uncased.normalize_str(c) != normalize(c, True)
        or (
            len(split.pre_tokenize_str(f"a{c}b")) != (3 if unicodedata.category(c)[0] == "P" else 1)
            and not c.isspace()
            and c not in "$+<=>^`|~"
        )
    }


def test_few_characters_are_newer_than_the_rust_librarys_tables(newer: set[str]) -> None:
    assert len(newer) < 1000
    assert all(c >= "\u058d" for c in newer)  # Latin, Greek and Cyrillic are not among them


@both_cases
@given(data=st.data())
@settings(steady, max_examples=300)
def test_encoding_any_text(
    any_text: st.SearchStrategy[str], newer: set[str], lowercase: bool, data: st.DataObject
) -> None:
    texts = [*data.draw(st.lists(any_text, max_size=3)), "Чудесный день! walking ##s x"]
    texts = ["".join(c for c in text if c not in newer) for text in texts]
    tokenizer = WordPiece.train(texts[len(texts) // 2 :], 400, lowercase=lowercase)
    twin = tokenizer.to_huggingface()
    for text in texts:
        ids, expected = tokenizer.encode(text), twin.encode(text, add_special_tokens=False)
        assert ids == expected.ids
        assert tokenizer.tokenize(text) == expected.tokens
        assert tokenizer.decode(ids) == twin.decode(ids, skip_special_tokens=False)
        assert [span[0] for span in tokenizer.offsets(text)] == [span[0] for span in expected.offsets]


@both_cases
@given(data=st.data())
@settings(steady, max_examples=300)
def test_alignment_has_the_normalized_text(
    any_text: st.SearchStrategy[str], lowercase: bool, data: st.DataObject
) -> None:
    text = data.draw(any_text)
    aligned = normalize_aligned(text, lowercase)
    assert "".join(c for c, _ in aligned) == normalize(text, lowercase)
    assert all(normalize(text[i], lowercase) for _, i in aligned)


# --- a model's inputs ---------------------------------------------------------------------------------------

texts = st.lists(st.sampled_from(["mat", "cat", "."]), max_size=9).map(" ".join)


@given(
    st.lists(st.tuples(texts, texts), min_size=1, max_size=3),
    st.booleans(),
    st.integers(3, 16),
    st.sampled_from([None, "longest_first", "only_first", "only_second"]),
    st.sampled_from([None, "longest", "max_length"]),
)
@settings(steady, max_examples=500)
def test_inputs_against_the_rust_library(
    pairs: list[tuple[str, str]], single: bool, max_length: int, truncation: str | None, padding: str | None
) -> None:
    tokenizer = WordPiece([*SPECIAL, "mat", "cat", "."])
    twin = tokenizer.to_huggingface()
    if truncation:
        twin.enable_truncation(max_length, strategy=truncation)
    if padding:
        twin.enable_padding(length=max_length if padding == "max_length" else None)
    arguments = ([a for a, _ in pairs],) if single else ([a for a, _ in pairs], [b for _, b in pairs])
    expected = None
    with suppress(Exception):  # the Rust library raises nothing more precise
        expected = twin.encode_batch(arguments[0] if single else pairs)
    if expected is None:
        with pytest.raises(ValueError, match=f"truncation='{truncation}' cannot cut"):
            tokenizer(*arguments, max_length=max_length, truncation=truncation, padding=padding)
        return
    found = tokenizer(*arguments, max_length=max_length, truncation=truncation, padding=padding)
    assert found["input_ids"] == [encoding.ids for encoding in expected]
    assert found["attention_mask"] == [encoding.attention_mask for encoding in expected]
    assert found["token_type_ids"] == [encoding.type_ids for encoding in expected]
    assert found["position_ids"] == [[*range(len(ids))] for ids in found["input_ids"]]


def test_inputs_by_hand() -> None:
    tokenizer = WordPiece([*SPECIAL, "mat", "cat", "##s"])
    assert tokenizer("cats", "mat", max_length=8, padding="max_length") == {
        "input_ids": [2, 6, 7, 3, 5, 3, 0, 0],
        "attention_mask": [1, 1, 1, 1, 1, 1, 0, 0],
        "token_type_ids": [0, 0, 0, 0, 1, 1, 0, 0],
        "position_ids": [0, 1, 2, 3, 4, 5, 6, 7],
    }


def test_inputs_refuse() -> None:
    tokenizer = WordPiece(["[UNK]", "mat"], ["[UNK]"])
    with pytest.raises(ValueError, match=r"the vocabulary has no '\[CLS\]', which the template"):
        tokenizer("mat")
    with pytest.raises(ValueError, match=r"padding='longest': the vocabulary has no pad token, expected '\[PAD\]'"):
        tokenizer("mat", padding="longest")
    tokenizer = WordPiece([*SPECIAL, "mat"])
    with pytest.raises(ValueError, match="truncation='longest_first' needs a max_length"):
        tokenizer("mat", truncation="longest_first")
    with pytest.raises(ValueError, match="padding='left': expected None or one of 'longest', 'max_length'"):
        tokenizer("mat", padding="left")
    with pytest.raises(ValueError, match="2 texts and 1 pairs: expected equal numbers"):
        tokenizer(["mat", "mat"], ["mat"])
    with pytest.raises(ValueError, match="expected two texts or two sequences of texts"):
        tokenizer("mat", ["mat"])


# --- round trips, files, bad input --------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["likelihood", "frequency"])
@pytest.mark.parametrize("text", ["Чудесный день!", "Посмотри в энциклопедическом словаре."])
def test_russian_round_trip(score: str, text: str) -> None:
    tokenizer = WordPiece.train([text, "день"], 70, score=score, lowercase=False)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


@both_cases
def test_save_and_load(lowercase: bool, tmp_path: Path) -> None:
    tokenizer = WordPiece.train(["Mat mats Cat"], 30, [*SPECIAL, "[A]"], lowercase=lowercase)
    tokenizer.save(tmp_path)
    loaded = WordPiece.load(tmp_path)
    assert (loaded.tokens, loaded.special_tokens) == (tokenizer.tokens, [*SPECIAL, "[A]"])
    assert loaded.encode("Mat[A]") == tokenizer.encode("Mat[A]")
    assert loaded.lowercase == lowercase
    assert models.WordPiece.read_file(str(tmp_path / "vocab.txt")) == tokenizer.vocab
    (tmp_path / "tokenizer_config.json").unlink()
    assert WordPiece.load(tmp_path, lowercase=False).special_tokens == list(SPECIAL)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[UNK]\na\n\nb\n", "line 3: expected a token, the line is empty"),
        (b"[UNK]\na\nb\na\n", "line 4: token 'a' is on line 2 too"),
        (b"[UNK]\n\xff\n", "line 2: byte 0xff is not UTF-8"),
        (b"a\nb\n", r"vocab.txt: special tokens \[\]: expected '\[UNK\]' among them"),
    ],
)
def test_damaged_files(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        WordPiece.load(tmp_path)


def test_refuses() -> None:
    with pytest.raises(ValueError, match="score='count': expected one of 'likelihood', 'frequency'"):
        WordPiece.train(["x"], 100, score="count")
    with pytest.raises(
        ValueError, match="vocab_size=7 is too small for 5 special tokens and the characters: expected at least 8"
    ):
        WordPiece.train(["ab"], 7)
    with pytest.raises(ValueError, match="the corpus is empty"):
        WordPiece.train(["\u200b "], 100)
