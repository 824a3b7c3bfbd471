"""Any text comes back; the Rust library agrees; what is saved is what is loaded; then bad input."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lecturekit.tokenizers import Characters
from lecturekit.tokenizers.characters import SPECIAL

steady = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(data=st.data())
@steady
def test_any_text_comes_back(any_text: st.SearchStrategy[str], data: st.DataObject) -> None:
    text = data.draw(any_text.filter(lambda text: not any(token in text for token in SPECIAL)))
    tokenizer = Characters.train([text + "!"])
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.tokens == [*SPECIAL, *sorted(set(text + "!"))]
    assert tokenizer.offsets(text) == [(place, place + 1) for place in range(len(text))]
    assert [text[start:end] for start, end in tokenizer.offsets(text)] == tokenizer.tokenize(text) == list(text)


@given(data=st.data())
@steady
def test_the_rust_library_agrees(any_text: st.SearchStrategy[str], data: st.DataObject) -> None:
    tokenizer = Characters.train(["кот cat\n 12"], single="<s> $A </s>")
    rust, text = tokenizer.to_huggingface(), data.draw(any_text) + "</s> кот\r\n"
    assert rust.encode(text, add_special_tokens=False).ids == tokenizer.encode(text)
    assert rust.encode(text).ids == tokenizer(text)["input_ids"]
    known = "".join(token for token in tokenizer.tokenize(text) if token not in SPECIAL)
    assert rust.decode(tokenizer.encode(known)) == tokenizer.decode(tokenizer.encode(known)) == known


def test_characters_by_hand(tmp_path: Path) -> None:
    tokenizer = Characters.train(["баб"], single="$A </s>")
    assert tokenizer.tokens == ["<pad>", "<s>", "</s>", "<unk>", "а", "б"]
    assert tokenizer.encode("аб!</s>") == [4, 5, 3, 2]
    assert tokenizer(["а", "бб"], padding="longest")["input_ids"] == [[4, 2, 0], [5, 5, 2]]
    tokenizer.save(tmp_path)
    loaded = Characters.load(tmp_path)
    assert (loaded.tokens, loaded.special_tokens, loaded.single) == (tokenizer.tokens, list(SPECIAL), "$A </s>")


def test_the_most_frequent_characters_stay(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("ccc\nbb\na d\n", encoding="utf-8")
    assert Characters.train([tmp_path / "text.txt"], 7).tokens[4:] == ["\n", "b", "c"]


def test_what_may_go_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"vocab_size=4 is too small for 4 special tokens and a character: .* 5"):
        Characters.train(["a"], 4)
    with pytest.raises(ValueError, match="the corpus is empty"):
        Characters.train([""])
    with pytest.raises(ValueError, match="token 'ab', id 1, is no character and not special"):
        Characters(["<unk>", "ab"], ["<unk>"])
    with pytest.raises(ValueError, match=r"special tokens \[\]: expected '<unk>' among them"):
        Characters(["a"], [])
    (tmp_path / "vocab.json").write_text('{"<unk>": 0, "ab": 1}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"vocab\.json: token 'ab', id 1, is no character"):
        Characters.load(tmp_path)
