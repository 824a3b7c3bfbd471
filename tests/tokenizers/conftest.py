"""The texts that tokenizers are tried on."""

import pydoc_data.topics
from pathlib import Path

import pytest
from hypothesis import strategies as st

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FILES = ["shakespeare_en.txt", "war_and_peace_en.txt", "war_and_peace_ru.txt", "eng_fra_tatoeba.tsv"]

# What splitting, normalizing or decoding might trip over.
PIECES = [
    *" \t\n\r\v\f\0\x1c\x85\xa0\u200b\u200d\u2028\u3000\ufeff\ufffd",
    *"aАÀß'’#_.,!¿…½²Σσςİſﬁ中あ한ᄀ١٣\u0301\u0308\u0327\u05b7\ufe0f\U0001f1eb\U0001f600\U00010348\U0002f800",
    *["  ", "\n ", " \n", "\n \n", "don't", "we've", "I'M", "12 345", "naïve", "e\u0301", "\u0301e", "q\u0327\u0307"],
    *[
        "👩‍👩‍👧",
        "👍🏽",
        "שָׁלוֹם",
        "مرحبا",
        "नमस्ते",
        "Чудесный день!",
        "Ёж",
        "и\u0306",
        "##s",
        "</w>",
        "▁",
        "<unk>",
        "x" * 101,
    ],
    *["Посмотри в энциклопедическом словаре.", "walking", "<|endoftext|>", "🏳️‍🌈", "ab" * 90],
]


@pytest.fixture(scope="session")
def any_text() -> st.SearchStrategy[str]:
    """Any text whose characters Python's Unicode knows: to newer ones the Rust library may give other properties."""
    known = st.characters(exclude_categories=["Cs", "Cn"])
    pieces = st.lists(st.one_of(st.sampled_from(PIECES), st.text(known, max_size=8)), max_size=12)
    return st.one_of(st.text(known, max_size=40), pieces.map("".join))


@pytest.fixture(scope="session")
def corpora() -> dict[str, str]:
    """English, Russian and French by file name; without the files, prose from Python's own library."""
    if DATA.exists():
        return {name: (DATA / name).read_bytes().decode("utf-8") for name in FILES}
    prose = "".join(pydoc_data.topics.topics.values())
    return {"pydoc topics": prose, "pydoc topics, Cyrillic": prose.translate({i: i + 0x3D0 for i in range(65, 123)})}


@pytest.fixture(scope="session")
def small_corpus(corpora: dict[str, str]) -> list[str]:
    """Some lines of each."""
    return [line for text in corpora.values() for line in text.splitlines(keepends=True)[2000:2400]]
