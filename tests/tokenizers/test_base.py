"""What the four tokenizers share: reading, counting, determinism, the same face, bad input, memory."""

import ast
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lecturekit.tokenizers
from lecturekit.tokenizers import (
    BPE,
    ByteLevelBPE,
    RobertaBPE,
    Tokenizer,
    Unigram,
    WordPiece,
    base,
    bpe,
    byte_level,
    unigram,
    wordpiece,
)
from lecturekit.tokenizers.base import batches, count_words, cut_at_spaces, read_texts

steady = settings(derandomize=True, deadline=None)
all_four = pytest.mark.parametrize("kind", [BPE, ByteLevelBPE, RobertaBPE, Unigram, WordPiece])
SOURCES = sorted(Path(lecturekit.tokenizers.__file__).parent.glob("*.py"))
TEXT = "Чудесный день! mat mats <a> don't  walk\n\nwalking 42"
SPECIAL = {BPE: ["[UNK]", "<a>"], ByteLevelBPE: ["<a>"], RobertaBPE: [*byte_level.PUBLISHED[1:], "<a>"]}
SPECIAL |= {Unigram: [*unigram.SPECIAL, "<a>"], WordPiece: [*wordpiece.SPECIAL, "<a>"]}


def trained(kind: type[Tokenizer], texts: list, vocab_size: int = 420, **options) -> Tokenizer:
    return kind.train(texts, vocab_size, SPECIAL[kind], **options)


# --- reading and counting -----------------------------------------------------------------------------------


def test_texts_and_files_in_order(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes("один\r\nдва\x85\n\nтри".encode())
    assert list(read_texts(["a\nb", path, ""])) == ["a\nb", "один\r\n", "два\x85\n", "\n", "три", ""]


def test_batches() -> None:
    assert list(batches(["ab", "c", "defg", "h"], size=3)) == [["ab", "c"], ["defg"], ["h"]]
    assert list(batches([])) == []


@pytest.mark.parametrize(
    ("text", "cut"),
    [("a b  c", ("a", ["b", "", "c"])), ("a   c", None), ("a b c", ("a", ["b", "c"])), (" a ", ("", ["a", ""])), ("a\n b", ("a\n", ["b"])), ("\n \n", None), ("", ("", []))],
)  # fmt: skip
def test_cuts(text: str, cut: tuple[str, list[str]] | None) -> None:
    assert cut_at_spaces(text) == cut


@all_four
@given(data=st.data())
@settings(steady, max_examples=150)
def test_no_word_goes_on_across_a_cut(
    any_text: st.SearchStrategy[str], kind: type[Tokenizer], data: st.DataObject
) -> None:
    tokenizer = trained(kind, [TEXT])
    text = data.draw(any_text).replace("  ", data.draw(st.sampled_from(["  ", " "])))
    chunks = cut_at_spaces(text)
    if chunks is not None:
        words = [*tokenizer.split(chunks[0]), *(word for chunk in chunks[1] for word in tokenizer.split(" " + chunk))]
        assert words == list(tokenizer.split(text))
    assert [word for word, _ in tokenizer.align(text)] == list(tokenizer.split(text))


@pytest.mark.parametrize("processes", [None, 1, 2])
def test_counts_do_not_depend_on_processes(
    corpora: dict[str, str], processes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "SMALL", 2)
    monkeypatch.setattr(base, "available_cores", lambda: 3)
    texts = [line for text in corpora.values() for line in text[:400_000].splitlines(keepends=True)]
    monkeypatch.setattr(base.batches, "__defaults__", (100_000,))
    expected = Counter(word for text in texts for word in byte_level.split_words(text))
    assert count_words(texts, byte_level.split_words, processes=processes) == expected


def test_special_tokens_are_cut_out_before_words_are_counted() -> None:
    counts = count_words(["a <b c>d", "<b c><b c>"], bpe.split_at_white_space, ["<b c>"])
    assert counts == {"a": 1, "d": 1}


@given(data=st.data(), size=st.integers(1, 9))
@settings(steady, max_examples=200)
def test_pieces_of_a_long_text_have_its_words(any_text: st.SearchStrategy[str], data: st.DataObject, size: int) -> None:
    text = data.draw(any_text) + " <b c>" + data.draw(any_text)
    special = base.special_pattern(["<b c>"])
    pieces = list(base.short_pieces([text], special, size))
    words = [word for part in special.split(text)[::2] for word in byte_level.split_words(part)]
    parts = (part for piece in pieces for part in special.split(piece)[::2])
    assert [word for part in parts for word in byte_level.split_words(part)] == words
    assert "".join(base.short_pieces([text], None, size)) == text


def test_long_texts_are_cut_between_words() -> None:
    assert list(base.short_pieces(["one two  three four", "five"], None, 5)) == ["one two  three", " four", "five"]


# --- the same face ------------------------------------------------------------------------------------------


@all_four
def test_the_face(kind: type[Tokenizer], tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    tokenizer = trained(kind, [path, TEXT])
    assert isinstance(tokenizer, Tokenizer)
    assert len(tokenizer) == len(tokenizer.tokens) <= 420
    ids = tokenizer.encode(TEXT)
    assert all(type(index) is int for index in ids)
    assert tokenizer.tokenize(TEXT) == [tokenizer.tokens[index] for index in ids]
    assert tokenizer.encode_batch([TEXT, ""]) == [ids, []]
    assert list(tokenizer.encode_iterable(iter([TEXT, path]))) == [
        *ids, *(index for line in TEXT.splitlines(keepends=True) for index in tokenizer.encode(line))
    ]  # fmt: skip
    assert tokenizer.decode(iter(ids)) == tokenizer.decode(ids)
    spans = tokenizer.offsets(TEXT)
    assert TEXT[slice(*spans[ids.index(tokenizer.vocab["<a>"])])] == "<a>"
    assert all(0 <= start <= end <= len(TEXT) for start, end in spans)
    tokenizer.save(tmp_path / "saved")
    assert kind.load(tmp_path / "saved").encode(TEXT) == ids
    assert tokenizer.to_huggingface().encode(TEXT, add_special_tokens=False).ids == ids


@all_four
def test_encoding_is_lazy_and_remembers_only_so_much(kind: type[Tokenizer], monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = trained(kind, [TEXT])
    monkeypatch.setattr(base, "CACHED", 50)

    def endless():
        number = 0
        while True:
            yield f"mat{number} <a> " + "m" * 1000
            number += 1

    ids = tokenizer.encode_iterable(endless())
    for _ in range(30_000):
        next(ids)
    for cache in (tokenizer._words, tokenizer._first_chunks, tokenizer._next_chunks):
        assert len(cache) <= 50
        assert all(len(key) <= base.CACHED_LENGTH for key in cache)


SAVE_ALL = """
import sys
from lecturekit.tokenizers import *
for kind in (BPE, ByteLevelBPE, Unigram, WordPiece):
    kind.train([sys.argv[1]] * 2, 420).save(sys.argv[2] + "/" + kind.__name__)
WordPiece.train([sys.argv[1]], 420, score="frequency").save(sys.argv[2] + "/frequency")
"""


def test_files_are_the_same_in_every_process(small_corpus: list[str], tmp_path: Path) -> None:
    text = "".join(small_corpus[::8])
    found = []
    for seed in ("0", "1", "4711"):
        folder = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        root = Path(lecturekit.__file__).parents[1]
        subprocess.run(
            [sys.executable, "-c", SAVE_ALL, text[:6000], str(folder)], check=True, env=environment, cwd=root
        )
        found.append({path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.*"))})
    assert len(found[0]) == 3 + 3 + 1 + 2 + 2
    assert found[0] == found[1] == found[2]


# --- what a caller may get wrong ----------------------------------------------------------------------------


@all_four
def test_bad_texts(kind: type[Tokenizer], tmp_path: Path) -> None:
    tokenizer = trained(kind, [TEXT])
    for call in (tokenizer.encode, tokenizer.offsets, lambda text: trained(kind, [text]), lambda text: tokenizer(text)):
        with pytest.raises(ValueError, match=r"lone surrogate U\+D83D at position 2: it stands for no character"):
            call("ab\ud83d")
    for call in (tokenizer.encode, tokenizer.offsets, lambda text: trained(kind, [text])):
        with pytest.raises(TypeError, match="a text is a str, got int: 5"):
            call(5)
        with pytest.raises(TypeError, match="a text is a str, got bytes: b'ab'"):
            call(b"ab")
    for call in (
        lambda texts: trained(kind, texts),
        lambda texts: list(tokenizer.encode_iterable(texts)),
        tokenizer.encode_batch,
    ):
        with pytest.raises(TypeError, match="expected an iterable of texts, got one str: put it in a list"):
            call("mat")
    path = tmp_path / "latin.txt"
    path.write_bytes(b"one\ntwo \xe9\n")
    with pytest.raises(ValueError, match=r"latin\.txt, line 2: byte 0xe9 is not UTF-8"):
        trained(kind, [path])
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt"):
        trained(kind, [tmp_path / "nowhere.txt"])


@all_four
def test_bad_ids(kind: type[Tokenizer]) -> None:
    tokenizer = trained(kind, [TEXT])
    last = len(tokenizer) - 1
    for bad in (-1, last + 1, 2**40):
        with pytest.raises(ValueError, match=rf"token id {bad}: expected 0 \.\.\. {last}, the vocabulary"):
            tokenizer.decode([0, bad])
    for bad, name in (("1", "str: '1'"), (1.0, "float: 1.0"), (True, "bool: True"), (None, "NoneType: None")):
        with pytest.raises(TypeError, match=f"an id is an int, got {name}"):
            tokenizer.decode([bad])


@all_four
def test_bad_training(kind: type[Tokenizer]) -> None:
    for empty in ([], [""], ["<a><a>"]):
        with pytest.raises(ValueError, match="the corpus is empty: expected at least one word"):
            trained(kind, empty)
    with pytest.raises(ValueError, match="vocab_size=7 is too small for"):
        trained(kind, [TEXT], 7)
    with pytest.raises(ValueError, match="processes=0: expected 1 or more"):
        trained(kind, [TEXT], processes=0)
    with pytest.raises(ValueError, match="special token '<a>' occurs twice"):
        kind.train([TEXT], 420, [*SPECIAL[kind], "<a>"])
    with pytest.raises(ValueError, match="a special token is the empty string"):
        kind.train([TEXT], 420, [*SPECIAL[kind], ""])
    with pytest.raises(TypeError, match="special_tokens='<a>': expected a sequence of str, got one str"):
        kind.train([TEXT], 420, "<a>")


# --- what the files may import, and memory ------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_imports(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    allowed = {"lecturekit", "regex"} | set(sys.stdlib_module_names)
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            root = name.split(".")[0]
            assert root in allowed or (root == "tokenizers" and node.col_offset > 0), f"{path.name}:{node.lineno}"


# The peak of the process itself: `getrusage` would begin with the size of the process that starts it.
MEASURE = """
import re, sys
from pathlib import Path
from lecturekit.tokenizers import ByteLevelBPE
ByteLevelBPE.train([Path(sys.argv[1])], 2000)
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory was used")
@pytest.mark.parametrize("lines", [True, False], ids=["lines", "one line"])
def test_memory_of_a_file_of_100_megabytes(corpora: dict[str, str], tmp_path: Path, lines: bool) -> None:
    text = "".join(corpora.values())
    text = text if lines else " ".join(text.split())
    path = tmp_path / "large.txt"
    with open(path, "w", encoding="utf-8") as file:
        while file.tell() < 100_000_000:
            file.write(text)
    root = Path(lecturekit.__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], check=True, capture_output=True, text=True, cwd=root
    )
    assert int(result.stdout) < 500_000
