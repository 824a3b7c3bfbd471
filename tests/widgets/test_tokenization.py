"""BPE and WordPiece step by step against tables worked out by hand, and any text under any tokenizers."""

import re
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lecturekit.tokenizers import BPE, ByteLevelBPE, Unigram, WordPiece
from lecturekit.tokenizers.bpe import train_bpe
from lecturekit.tokenizers.wordpiece import pair_scores
from lecturekit.widgets.base import Picture, plain
from lecturekit.widgets.reading import ids_of
from lecturekit.widgets.tokenization import (
    LECTURE,
    MOST_LETTERS,
    MOST_WORDS,
    best_pairs,
    bpe_stages,
    bpe_steps,
    in_alphabet,
    learnable,
    read_corpus,
    reader_of,
    shown,
    small_tokenizers,
    special_of,
    tokenizers_side_by_side,
    typed,
    wordpiece_stages,
    wordpiece_steps,
    words_by_script,
)

RUSSIAN = {"кот": 4, "коты": 2, "скот": 3, "ток": 2, "котик": 3}
ODD = "🙂👩‍💻 e\u0301 \u0301 \u200d \u202eabc\u202c \x00\x1b\r\n\t<b>&\"' \ufffd ﷽ 漢字 ёй \U000e0041 [UNK] <unk>"
steady = settings(derandomize=True, deadline=None)
corpora = st.dictionaries(st.text("abкт", min_size=1, max_size=6), st.integers(1, 5), min_size=1, max_size=8)


def words_of(picture: Picture) -> str:
    return plain(picture.html())


def rows_of(picture: Picture, what: str) -> list[tuple]:
    return [tuple(row[1:]) for row in picture.table.rows if str(row[0]).startswith(what)]


# ---- the corpus ------------------------------------------------------------------------------------------------------
def test_a_corpus_is_read_by_hand() -> None:
    assert read_corpus("cat:4 mat cat") == {"cat": 5, "mat": 1}
    assert read_corpus("кот×2, кот*3; мат") == {"кот": 5, "мат": 1}
    assert read_corpus("In 1917, the U-boat... (sank)!") == {"In": 1, "1917": 1, "the": 1, "U": 1, "boat": 1, "sank": 1}
    assert read_corpus("cat:0 -- 🙂") == read_corpus(" \n") == {}
    assert read_corpus("at 10:30") == {"at": 1, "10": 1, "30": 1}


@given(corpora)
@steady
def test_what_is_typed_is_read_again(corpus: dict[str, int]) -> None:
    assert read_corpus(typed(corpus)) == corpus


def test_a_corpus_that_cant_be_typed() -> None:
    for corpus in ({"two words": 1}, {"": 2}, {"no-hyphen": 1}, {"cat": 0}):
        with pytest.raises(ValueError, match="expected words without spaces and punctuation, and their counts"):
            bpe_steps(corpus)
    with pytest.raises(ValueError, match="merges=0: expected at least 1"):
        wordpiece_steps(merges=0)


def test_a_large_corpus_is_cut() -> None:
    corpus = {f"w{number}": number for number in range(1, MOST_WORDS + 11)} | {"x" * (MOST_LETTERS + 1): 1000}
    assert learnable(corpus) == {f"w{number}": number for number in range(11, MOST_WORDS + 11)}
    picture = bpe_steps().set(corpus=typed(corpus), step=1).picture
    assert "11 words are left out: the rarest, and those of more than 40 letters." in picture.caption
    assert f"and {MOST_WORDS - 40} more words" in words_of(picture)


# ---- BPE -------------------------------------------------------------------------------------------------------------
def test_bpe_on_the_lectures_corpus() -> None:
    # the tables of lab 2, counted by hand
    stages = bpe_stages(LECTURE, 5)
    assert stages[0].counts == {
        ("c", "a"): 4,
        ("a", "t"): 19,
        ("m", "a"): 10,
        ("t", "s"): 2,
        ("t", "e"): 6,
        ("e", "a"): 2,
    }
    assert stages[5].merges == [("a", "t"), ("m", "at"), ("c", "at"), ("at", "e"), ("mat", "e")]
    assert ["".join(f"{s}." for s in word) for word in stages[5].words] == [
        "cat.",
        "mat.",
        "mat.s.",
        "mate.",
        "ate.",
        "e.at.",
    ]
    assert [best_pairs(stage)[0] for stage in stages[:5]] == stages[5].merges
    assert best_pairs(stages[3]) == [("at", "e"), ("mat", "e"), ("e", "at"), ("mat", "s")]


def test_the_picture_of_bpe() -> None:
    picture = bpe_steps().set(step=0).picture
    assert picture.caption == (
        "After 0 merges there are 6 symbols, and the corpus is 62 of them long. "
        "Next a and t become one: the most frequent pair, 19 times."
    )
    assert rows_of(picture, "word")[0] == ("c a t", 4, "")
    assert rows_of(picture, "pair")[:2] == [("a t", 19, ""), ("m a", 10, "")]
    assert rows_of(picture, "teammate") == [("t e a m m a t e", "", "")]
    picture = bpe_steps().set(step=5).picture
    assert rows_of(picture, "merge 5") == [("mat e", "", "")]
    assert rows_of(picture, "teammate") == [("t e a m mate", "", "")]
    assert "mat + e → mate" in words_of(picture)


def test_bpe_ends_where_no_pair_is_left() -> None:
    picture = bpe_steps("на:3 он", merges=30).set(step=30).picture
    assert picture.caption == (
        "After 2 merges there are 5 symbols, and the corpus is 4 of them long. No pair is left to merge."
    )
    assert [row[1] for row in picture.table.rows if row[0] == "word"] == ["на", "он"]
    assert "After 0 merges there are 2 symbols" in bpe_steps("a b").set().picture.caption


@given(corpora, st.integers(1, 8))
@steady
def test_bpes_stages_are_its_merges(corpus: dict[str, int], merges: int) -> None:
    stages = bpe_stages(corpus, merges)
    assert stages[-1].merges == train_bpe(corpus, merges)
    assert len(stages) == len(stages[-1].merges) + 1
    for stage in stages:
        assert ["".join(word) for word in stage.words] == list(corpus)
        counted = Counter()
        for word, count in stage.words.items():
            for i in range(len(word) - 1):
                counted[word[i], word[i + 1]] += count
        assert stage.counts == counted
        assert (stage.pair is None) == (not counted)


# ---- WordPiece -------------------------------------------------------------------------------------------------------
def test_wordpiece_on_the_lectures_corpus() -> None:
    first, second = wordpiece_stages(LECTURE, 1)
    assert first.vocabulary == ["a", "c", "e", "m", "s", "t", "##a", "##e", "##s", "##t"]
    # symbols by hand: c 4, m 10, e 2, a 3, ##a 16, ##t 19, ##s 2, ##e 6
    assert first.values == pytest.approx(
        {
            ("c", "##a"): 4 / (4 * 16),
            ("##a", "##t"): 16 / (16 * 19),
            ("m", "##a"): 10 / (10 * 16),
            ("##t", "##s"): 2 / (19 * 2),
            ("##t", "##e"): 6 / (19 * 6),
            ("a", "##t"): 3 / (3 * 19),
            ("e", "##a"): 2 / (2 * 16),
        }
    )
    assert first.pair == ("c", "##a")  # of three that score 1/16 the oldest
    assert next(iter(second.words)) == ("ca", "##t")
    assert second.vocabulary[-1] == "ca"


def test_the_picture_of_wordpiece() -> None:
    picture = wordpiece_steps().set(step=0, word="mat cat").picture
    assert picture.caption.endswith("Next c and ##a become one: the highest score, 4 / (4 · 16) = 0.0625.")
    assert rows_of(picture, "pair")[0] == ("c ##a", 4, 1 / 16)
    assert rows_of(picture, "mat cat") == [("m ##a ##t c ##a ##t", "", "")]
    assert rows_of(wordpiece_steps().set().picture, "teammate") == [("[UNK]", "", "")]  # no ##m


def test_wordpiece_asks_how_often_a_pair_occurs() -> None:
    picture = wordpiece_steps().set(step=0, min_frequency=10).picture
    assert {row[0] for row in rows_of(picture, "pair")} == {"m ##a", "##a ##t"}
    stages = wordpiece_stages(LECTURE, 20, 10)
    assert [stage.pair for stage in stages] == [("m", "##a"), ("ma", "##t"), None]


@given(corpora, st.integers(1, 6), st.integers(1, 4))
@steady
def test_wordpieces_stages_are_the_tokenizers(corpus: dict[str, int], merges: int, min_frequency: int) -> None:
    stages = wordpiece_stages(corpus, merges, min_frequency)
    texts = [word for word, count in corpus.items() for _ in range(count)]
    size = 5 + len(stages[0].vocabulary) + merges
    tokenizer = WordPiece.train(texts, size, min_frequency=min_frequency, lowercase=False)
    assert tokenizer.tokens[5:] == list(dict.fromkeys(tokenizer.tokens[5:])) == stages[-1].vocabulary
    for stage in stages[:-1]:
        scores = {
            pair: score for pair, score in pair_scores(stage.words).items() if stage.counts[pair] >= min_frequency
        }
        assert stage.values == scores
        assert scores[stage.pair] == max(scores.values())


# ---- both ------------------------------------------------------------------------------------------------------------
both = pytest.mark.parametrize("steps", [bpe_steps, wordpiece_steps])


@both
def test_every_step_in_both_languages(steps) -> None:
    for corpus in (LECTURE, RUSSIAN):
        widget, seen = steps(corpus, merges=7, word=""), set()
        for step in range(8):
            picture = widget.set(step=step).picture
            seen.add(str(picture.markup))
            assert len(rows_of(picture, "merge")) == step
        assert len(seen) == 8


@both
def test_without_words_there_is_a_sentence(steps) -> None:
    for corpus in ("", " \n\t", "🙂 !!", "cat:0"):
        picture = steps().set(corpus=corpus).picture
        assert picture.caption == "No words to learn from: type some, as in cat:4 mat."
        assert not picture.markup
        assert not picture.table.rows


@both
@given(text=st.text(max_size=40), word=st.text(max_size=10))
@settings(steady, max_examples=60)
def test_any_text_is_a_corpus(steps, text: str, word: str) -> None:
    steps(merges=3).set(corpus=text.replace("\ud800", ""), word=word).html()


@both
def test_markup_is_escaped_and_asks_for_nothing(steps) -> None:
    page = str(steps("<b>:3 a&b", word="<script>").html())
    assert "<script>" not in page
    assert "<b>" not in page
    assert not re.search(r'(?:src|href)=|url\(|https?://(?!www\.w3\.org/2000/svg")', page)


# ---- side by side ----------------------------------------------------------------------------------------------------
def test_the_small_tokenizers() -> None:
    made = small_tokenizers()
    assert made is small_tokenizers()
    assert [type(each) for each in made.values()] == [BPE, WordPiece, ByteLevelBPE, Unigram]
    for tokenizer in made.values():
        assert len(tokenizer) <= 2000
        text = "the kitchen, ёжик и щука"
        assert not {"[UNK]", "<unk>"} & set(tokenizer.tokenize(text))


def test_the_byte_level_alphabet_by_hand() -> None:
    assert in_alphabet("А".encode()) == "Ð Ĳ"  # D0 90
    assert in_alphabet(b" a\n") == "Ġ a Ċ"
    picture = (
        tokenizers_side_by_side("А", {"bytes": ByteLevelBPE.train(["b"], 256)}).set(in_bytes=True, ids=True).picture
    )
    words = words_of(picture)
    assert "А U+0410 D0 90 Ð Ĳ" in words
    assert "1 characters, 2 bytes; words: 1 Cyrillic. bytes needs 2 tokens." in picture.caption
    assert "Ð 140 D0 Ĳ 238 90" in words


def test_tokens_and_their_bytes_by_hand() -> None:
    tokenizer = ByteLevelBPE.train(["aa aa"], 257)
    read = reader_of(tokenizer)
    assert [(token.written, token.readable, token.data) for token in read(" aaк##")] == [
        ("Ġ", " ", b" "),
        ("aa", "aa", b"aa"),
        ("Ð", "Ð", b"\xd0"),
        ("º", "º", b"\xba"),
        ("#", "#", b"#"),
        ("#", "#", b"#"),
    ]
    wordpiece = WordPiece(["[UNK]", "a", "##b", "##", "é"], ["[UNK]"], lowercase=False)
    assert [(token.id, token.readable, token.data) for token in reader_of(wordpiece)("ab é z")] == [
        (1, "a", b"a"),
        (2, "##b", b"b"),
        (4, "é", b"\xc3\xa9"),
        (0, "[UNK]", None),
    ]
    unigram = Unigram(["<unk>", "▁", "a", "▁a"], [0, -1, -1, -1], ["<unk>"])
    assert [(token.readable, token.data) for token in reader_of(unigram)("a я")] == [
        ("▁a", b"a"),
        ("▁", b""),
        ("<unk>", None),
    ]


def test_counts_by_hand() -> None:
    tokenizer = WordPiece(["[UNK]", "a", "##b", "к", "##о"], ["[UNK]"], lowercase=False)
    picture = tokenizers_side_by_side("ab ко a zz 7", {"ours": tokenizer}).set().picture
    row = dict(zip(picture.table.head, picture.table.rows[0], strict=True))
    assert row["tokens"] == 7
    assert row["per word"] == 7 / 5
    assert row["characters per token"] == 12 / 7
    assert row["unknown"] == 2
    assert row["per Latin word"] == 4 / 3  # a ##b, a, [UNK]
    assert row["per Cyrillic word"] == 2
    assert row["per other word"] == 1
    assert row["the first tokens"] == "a ##b к ##о a [UNK] [UNK]"
    assert row["their ids"] == "1 2 3 4 1 0 0"
    assert picture.caption.startswith("12 characters, 14 bytes; words: 3 Latin, 1 Cyrillic, 1 other.")
    # a special token that is written in the text is not unknown
    assert tokenizers_side_by_side("[UNK]", {"ours": tokenizer}).set(ids=True).picture.table.rows[0][4] == 0


def test_words_by_script() -> None:
    assert words_by_script("naïve Ёлка 7-й x-лучи 42 漢字 «да» 🙂") == {
        "Latin": ["naïve", "x-лучи"],
        "Cyrillic": ["Ёлка", "7-й", "«да»"],
        "other": ["42", "漢字", "🙂"],
    }


def test_what_can_not_be_seen_is_written() -> None:
    assert shown(" a\n\t") == "␣a⏎⇥"
    assert shown("\u0301") == "◌\u0301"
    assert shown("\u200d") == "U+200D"
    assert shown("👩\u200d💻") == "👩\u200d💻"
    assert shown("\x00\x7f") == "␀␡"
    assert shown("") == "∅"


def test_the_toggles_show_ids_and_bytes() -> None:
    widget = tokenizers_side_by_side("кот", {"one": ByteLevelBPE.train(["b"], 256)})
    neither, ids = words_of(widget.set().picture), words_of(widget.set(ids=True).picture)
    as_bytes = words_of(widget.set(ids=False, in_bytes=True).picture)
    assert "D0 BA" not in neither + ids
    assert "D0 BA" in as_bytes
    assert neither != ids


def test_an_empty_text() -> None:
    picture = tokenizers_side_by_side("").set().picture
    assert (str(picture.markup), picture.caption, list(picture.table.rows)) == ("", "There is no text: type one.", [])
    blank = tokenizers_side_by_side(" \n ").set(ids=True, in_bytes=True).picture
    assert "words: none" in blank.caption
    assert "per word" not in words_of(blank).split("as a table")[0]


def test_odd_characters_break_nothing() -> None:
    widget = tokenizers_side_by_side(ODD).set(ids=True, in_bytes=True)
    page = str(widget.picture.html())
    assert "\x00" not in page
    assert "<b>" not in page
    assert f"{len(ODD)} characters, {len(ODD.encode())} bytes" in widget.picture.caption
    assert not re.search(r'(?:src|href)=|url\(|https?://(?!www\.w3\.org/2000/svg")', page)


@given(st.text(max_size=60))
@settings(steady, max_examples=60)
def test_any_text(text: str) -> None:
    picture = tokenizers_side_by_side(text).set(ids=True, in_bytes=True).picture
    for row in picture.table.rows:
        assert row[1] == len(small_tokenizers()[row[0]].encode(text))


@given(st.text(max_size=60))
@settings(steady, max_examples=60)
def test_the_bytes_of_byte_level_tokens_are_the_texts(text: str) -> None:
    tokens = reader_of(small_tokenizers()["byte-level BPE"])(text)
    assert b"".join(token.data for token in tokens) == text.encode()


def test_a_long_text_is_cut_where_it_is_drawn() -> None:
    picture = tokenizers_side_by_side("a " * 1000, {"one": ByteLevelBPE.train(["b"], 256)}).set(in_bytes=True).picture
    assert "and 1850 more" in words_of(picture)
    assert "and 1900 more" in words_of(picture)
    assert picture.table.rows[0][1] == 2000


@pytest.mark.parametrize("name", ["BPE", "WordPiece", "byte-level BPE", "Unigram"])
def test_hugging_faces_are_read_as_ours(name: str) -> None:
    from transformers import PreTrainedTokenizerFast

    ours = small_tokenizers()[name]
    if name == "BPE":
        ours = BPE.train(["the cat sat", "кот и скот"], 60)
    rust = ours.to_huggingface()
    fast = PreTrainedTokenizerFast(tokenizer_object=rust, unk_token=getattr(ours, "unk_token", None))
    for text in ("the cat, кот", "the Cat  и скот 🙂", ""):
        assert ids_of(ours, text) == ids_of(rust, text) == ids_of(fast, text)
        expected = [(token.id, token.written, token.data) for token in reader_of(ours)(text)]
        for theirs in (rust, fast):
            assert [(token.id, token.written, token.data) for token in reader_of(theirs)(text)] == expected
    assert special_of(rust) == set(ours.special_tokens)


class Letters:
    """A student's own: a letter is its code point."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def test_a_students_own_tokenizer() -> None:
    picture = tokenizers_side_by_side("кот é", {"letters": Letters()}).set(in_bytes=True).picture
    assert picture.table.rows[0][-2:] == ["к о т ␣ é", "1082 1086 1090 32 233"]
    assert "é C3 A9" in words_of(picture)

    class Tensors(Letters):
        def encode(self, text: str) -> torch.Tensor:
            return torch.tensor(super().encode(text))

    assert ids_of(Tensors(), "ab") == [97, 98]


def test_what_is_no_tokenizer() -> None:
    with pytest.raises(TypeError, match="mine: a tokenizer of type int without encode: expected encode and decode"):
        tokenizers_side_by_side("a", {"mine": 7})
    with pytest.raises(ValueError, match="no tokenizers: expected at least one"):
        tokenizers_side_by_side("a", {})
    with pytest.raises(ValueError, match=r"lone surrogate U\+D800"):
        tokenizers_side_by_side("\ud800").html()
