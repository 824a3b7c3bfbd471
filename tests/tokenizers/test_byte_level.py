"""Against the Rust library and tables worked out by hand, then properties, then what a caller may get wrong."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from lecturekit.tokenizers import ByteLevelBPE, RobertaBPE
from lecturekit.tokenizers.byte_level import bytes_to_unicode, split_words

steady = settings(derandomize=True, deadline=None)
parts = pytest.mark.parametrize("part", [slice(300_000), pytest.param(slice(None), marks=pytest.mark.full)], ids=str)
END = "<|endoftext|>"


def rust_trained(texts: list[str], vocab_size: int, special_tokens: list[str], **options) -> RustTokenizer:
    """The oracle: trained by the Rust library itself."""
    rust = RustTokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special_tokens, initial_alphabet=alphabet, show_progress=False, **options
    )
    rust.train_from_iterator(texts, trainer)
    return rust


def model_of(rust: RustTokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(rust.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


@pytest.fixture(scope="module")
def tokenizer(small_corpus: list[str]) -> ByteLevelBPE:
    return ByteLevelBPE.train(small_corpus, 1500, [END])


@pytest.fixture(scope="module")
def rust(small_corpus: list[str]) -> RustTokenizer:
    return rust_trained(small_corpus, 1500, [END])


# --- by hand ------------------------------------------------------------------------------------------------


def test_the_table_of_bytes() -> None:
    table = bytes_to_unicode()
    assert list(table) == list(range(256))
    assert set(table.values()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert [table[b] for b in b"\0\n A~\x7f\xa0\xa1\xad\xff"] == list("ĀĊĠA~ġł¡Ńÿ")


def test_russian_letters_are_two_bytes() -> None:
    tokenizer = ByteLevelBPE.train(["x"], 256)
    bytes_of = {token: byte for byte, token in bytes_to_unicode().items()}
    assert [bytes_of[token] for token in tokenizer.tokenize("А")] == [0xD0, 0x90]
    assert [bytes_of[token] for token in tokenizer.tokenize("а")] == [0xD0, 0xB0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, world's  end", ["Hello", ",", " world", "'s", " ", " end"]),
        ("We'LL we'll", ["We", "'", "LL", " we", "'ll"]),
        ("x1 22\n\n y", ["x", "1", " 22", "\n\n", " y"]),
        (" \n \n x ", [" \n \n", " x", " "]),
        ("Чудесный день!", ["Чудесный", " день", "!"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert list(split_words(text)) == words


def test_a_training_by_hand() -> None:
    tokenizer = ByteLevelBPE.train(["ab ab abc"], 259, [END])  # " ab" twice, then "ab": a+b 3, Ġ+a 2, b+c 1
    assert tokenizer.tokens[:3] == [END, "!", '"']
    assert tokenizer.merges == [("a", "b"), ("Ġ", "ab")]
    assert tokenizer.tokens[-2:] == ["ab", "Ġab"]
    assert tokenizer.tokenize("ab abb" + END) == ["ab", "Ġab", "b", END]


# --- the Rust library ---------------------------------------------------------------------------------------


@parts
def test_training_and_encoding_on_real_text(corpora: dict[str, str], part: slice) -> None:
    for text in corpora.values():
        text = text[part]
        lines = text.splitlines(keepends=True)
        ours, rust = ByteLevelBPE.train(lines, 10_000, [END]), rust_trained(lines, 10_000, [END])
        assert (ours.vocab, ours.merges) == model_of(rust)
        expected = rust.encode(text)
        ids = ours.encode(text)
        assert ids == expected.ids
        assert ours.decode(ids) == text
        assert ours.offsets(text) == expected.offsets
        assert ours.encode_batch(lines[:5000]) == [encoding.ids for encoding in rust.encode_batch(lines[:5000])]


def test_training_across_languages(corpora: dict[str, str]) -> None:
    texts = [text[:300_000] for text in corpora.values()]
    for options in ({}, {"min_frequency": 40}):
        ours = ByteLevelBPE.train(texts, 4000, ["<a>", END], **options)
        assert (ours.vocab, ours.merges) == model_of(rust_trained(texts, 4000, ["<a>", END], **options))


@given(texts=st.lists(st.text("ab -", max_size=30), min_size=1, max_size=6), more=st.integers(0, 40))
@settings(steady, max_examples=300)
def test_training_where_pairs_overlap_and_tie(texts: list[str], more: int) -> None:
    texts.append("a")
    ours, rust = ByteLevelBPE.train(texts, 256 + more), rust_trained(texts, 256 + more, [])
    assert (ours.vocab, ours.merges) == model_of(rust)


@given(data=st.data())
@settings(steady, max_examples=100)
def test_training_on_any_text(any_text: st.SearchStrategy[str], data: st.DataObject) -> None:
    texts = [*data.draw(st.lists(any_text, max_size=4)), "a"]
    texts = [text.replace(END, "") for text in texts]  # the Rust library would learn from a special token's letters
    ours, rust = ByteLevelBPE.train(texts, 330, [END]), rust_trained(texts, 330, [END])
    assert (ours.vocab, ours.merges) == model_of(rust)


@given(data=st.data())
@settings(steady, max_examples=400)
def test_encoding_any_text(
    any_text: st.SearchStrategy[str], tokenizer: ByteLevelBPE, rust: RustTokenizer, data: st.DataObject
) -> None:
    text = data.draw(any_text)
    expected = rust.encode(text)
    ids = tokenizer.encode(text)
    assert ids == expected.ids
    assert tokenizer.tokenize(text) == expected.tokens
    assert tokenizer.offsets(text) == expected.offsets
    assert tokenizer.decode(ids) == text


@pytest.mark.full
def test_every_character(tokenizer: ByteLevelBPE, rust: RustTokenizer) -> None:
    import unicodedata

    characters = [chr(i) for i in range(0x110000) if unicodedata.category(chr(i)) not in ("Cs", "Cn")]
    texts = [f"a{c}b 1{c}2  {c}!\n{c} {c}" for c in characters]
    assert tokenizer.encode_batch(texts) == [encoding.ids for encoding in rust.encode_batch(texts)]


def test_to_huggingface(tokenizer: ByteLevelBPE, rust: RustTokenizer, small_corpus: list[str]) -> None:
    twin = tokenizer.to_huggingface()
    text = "".join(small_corpus) + END + " Чудесный день!"
    assert model_of(twin) == model_of(rust)
    assert twin.encode(text).ids == tokenizer.encode(text)
    assert twin.decode(tokenizer.encode(text), skip_special_tokens=False) == text


@given(ids=st.lists(st.integers(0, 1499), max_size=8))
@settings(steady, max_examples=300)
def test_decoding_broken_utf8(ids: list[int], tokenizer: ByteLevelBPE, rust: RustTokenizer) -> None:
    assert tokenizer.decode(ids) == rust.decode(ids, skip_special_tokens=False)
    assert tokenizer.decode(ids, skip_special_tokens=True) == rust.decode(ids)


def test_a_letter_cut_in_two_becomes_a_replacement_character() -> None:
    tokenizer = ByteLevelBPE.train(["x"], 256)
    first, second = tokenizer.encode("й")
    assert tokenizer.decode([first]) == "\ufffd"
    assert tokenizer.decode([second, first, second, first, first]) == "\ufffdй\ufffd\ufffd"


# --- special tokens -----------------------------------------------------------------------------------------


def test_special_tokens_longest_first(tokenizer: ByteLevelBPE) -> None:
    special = ["<a>", "<a><a>", "a><", "<a> <b>", "<|x|>"]
    ours = ByteLevelBPE.train(["x<a>y"], 270, special)
    twin = ours.to_huggingface()
    for text in ["<a>", "<a><a>", "<a><a><a>", "a><a>", "<a> <b>", "q <a>  <b><|x|", "<<a>>", ""]:
        assert ours.encode(text) == twin.encode(text).ids
        assert ours.offsets(text) == twin.encode(text).offsets
        assert ours.decode(ours.encode(text)) == text
    assert ours.tokenize("<a><a><a> <b>") == ["<a><a>", "<a> <b>"]
    assert ours.decode(ours.encode("x<a>y"), skip_special_tokens=True) == "xy"


def test_special_tokens_are_not_learned_from() -> None:
    with_them = ByteLevelBPE.train(["ab<end>ab", "<end>ab cd<e nd>cd"], 280, ["<end>", "<e nd>"])
    without = ByteLevelBPE.train(["ab", "ab", "ab cd", "cd"], 280, ["<end>", "<e nd>"])
    assert with_them.merges == without.merges != []


# --- files --------------------------------------------------------------------------------------------------


def test_save_and_load(tokenizer: ByteLevelBPE, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "new" / "folder")
    loaded = ByteLevelBPE.load(tmp_path / "new" / "folder")
    assert (loaded.tokens, loaded.merges, loaded.special_tokens) == (tokenizer.tokens, tokenizer.merges, [END])
    files = str(tmp_path / "new" / "folder" / "vocab.json"), str(tmp_path / "new" / "folder" / "merges.txt")
    assert models.BPE.read_file(*files) == (tokenizer.vocab, tokenizer.merges)


def test_load_what_the_rust_library_wrote(rust: RustTokenizer, tokenizer: ByteLevelBPE, tmp_path: Path) -> None:
    rust.model.save(str(tmp_path))
    loaded = ByteLevelBPE.load(tmp_path)  # nothing there says what is special: GPT-2's token is known
    assert (loaded.tokens, loaded.merges, loaded.special_tokens) == (tokenizer.tokens, tokenizer.merges, [END])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    ByteLevelBPE.train(["ab ab abc"], 259, [END]).save(tmp_path)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("vocab.json", '"!": 1,', '"!": 1', r"vocab\.json, line 4: Expecting ',' delimiter"),
        ("vocab.json", '"!": 1,', '"!": 2,', r"vocab\.json, line 4: token '\"' has id 2, expected the ids 0 \.\.\. 258, each once"),
        ("vocab.json", '"!": 1,', '"!": "1",', r"vocab\.json, line 3: token '!' has id '1'"),
        ("vocab.json", '"!": 1,', '"!": true,', r"vocab\.json, line 3: token '!' has id True"),
        ("vocab.json", '"ab"', '"Ġab"', r"vocab\.json, line 260: key 'Ġab' occurs twice"),
        ("vocab.json", '"ab"', '"ba"', r"merges\.txt, line 2: symbol 'ab' of \('a', 'b'\) is not in the vocabulary"),
        ("vocab.json", '"!"', '"!!"', "do not match: byte 0x21, written '!', is not among the ordinary tokens"),
        ("merges.txt", "Ġ ab\n", "", "do not match: token 'Ġab', id 258, is no byte, no merge makes it"),
        ("merges.txt", "Ġ ab\n", "Ġ\n", r"merges\.txt, line 3: 'Ġ\\n' is not two symbols with a space between them"),
        ("merges.txt", "Ġ ab\n", "Ġ a b\n", r"merges\.txt, line 3: 'Ġ a b\\n' is not two symbols"),
        ("merges.txt", "Ġ ab\n", "Ġ ab\na b\n", r"merges\.txt, line 4: the pair \('a', 'b'\) is on line 2 too"),
        ("merges.txt", "Ġ ab\n", "\nĠ ab\n", r"merges\.txt, line 3: '\\n' is not two symbols"),
        ("tokenizer_config.json", "<|endoftext|>", "<|end|>", "do not match: special token '<|end|>' is not in the vocabulary".replace("|", r"\|")),
    ],
)  # fmt: skip
def test_damaged_files(saved: Path, file: str, old: str, new: str, message: str) -> None:
    edit(saved / file, old, new)
    with pytest.raises(ValueError, match=message):
        ByteLevelBPE.load(saved)


def test_files_that_are_not_there_or_not_text(saved: Path) -> None:
    path = saved / "merges.txt"
    path.write_bytes(path.read_bytes() + b"a \xff\n")
    with pytest.raises(ValueError, match=r"merges\.txt, line 4: byte 0xff is not UTF-8"):
        ByteLevelBPE.load(saved)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"merges\.txt"):
        ByteLevelBPE.load(saved)


# --- RoBERTa ------------------------------------------------------------------------------------------------


def test_roberta(small_corpus: list[str], tmp_path: Path) -> None:
    tokenizer = RobertaBPE.train(small_corpus, 600)
    assert tokenizer.tokens[:5] == ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    twin = tokenizer.to_huggingface()
    assert tokenizer("Hello <mask>", "день")["input_ids"] == twin.encode("Hello <mask>", "день").ids
    short = tokenizer(["x", "x x"], padding="longest")
    one, three = tokenizer.encode("x"), tokenizer.encode("x x")
    assert (len(one), len(three)) == (1, 3)
    assert short == {
        "input_ids": [[0, *one, 2, 1, 1], [0, *three, 2]],
        "attention_mask": [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]],
        "token_type_ids": [[0] * 5] * 2,
        "position_ids": [[2, 3, 4, 1, 1], [2, 3, 4, 5, 6]],
    }
    tokenizer.save(tmp_path)
    assert RobertaBPE.load(tmp_path)("x x") == tokenizer("x x")


# --- what a caller may get wrong ----------------------------------------------------------------------------


def test_refuses() -> None:
    with pytest.raises(
        ValueError, match="vocab_size=256 is too small for 1 special tokens and 256 bytes: expected at least 257"
    ):
        ByteLevelBPE.train(["x"], 256, [END])
    for empty in ([], [""], [END]):
        with pytest.raises(ValueError, match="the corpus is empty"):
            ByteLevelBPE.train(empty, 300, [END])
    with pytest.raises(ValueError, match="token 'a' has the ids 0 and"):
        ByteLevelBPE.train(["x"], 300, ["a"])
    with pytest.raises(ValueError, match="special token '<a>' occurs twice"):
        ByteLevelBPE.train(["x"], 300, ["<a>", "<a>"])


def test_long_words_take_no_square_of_their_length(tokenizer: ByteLevelBPE, rust: RustTokenizer) -> None:
    text = "абвгд" * 40_000
    assert tokenizer.encode(text) == rust.encode(text).ids
