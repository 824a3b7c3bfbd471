"""What is generated against independent readers of it; files and a server on this machine; then bad input."""

import doctest
import hashlib
import itertools
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import sqrt
from pathlib import Path
from random import Random

import pytest
import torch

from lecturekit import data
from lecturekit.data import (
    DATE_FORMATS,
    PATTERNS,
    STRING_FUNCTIONS,
    TASKS,
    TRANSLATIONS,
    WORD_PAIRS,
    agreement_pairs,
    agreement_sentences,
    dates,
    download,
    fetch,
    hub_url,
    is_held_out,
    made_up_word,
    manual_documents,
    manual_paragraphs,
    manual_text,
    read_folder,
    read_pairs,
    read_text,
    repeated_pattern,
    split_sentences,
    sums,
    task_examples,
    word_pairs,
    written_date,
)
from lecturekit.objectives import next_sentence_pairs


def rate(hits: int, of: int, p: float) -> None:
    assert abs(hits - of * p) <= 5 * sqrt(of * p * (1 - p)), f"{hits} of {of}, expected a share of {p}"


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(data)
    assert result.failed == 0
    assert result.attempted >= 3


def test_importing_costs_little() -> None:
    code = "import sys, lecturekit.data; print([m for m in ('torch', 'pydoc_data.topics', 'ipywidgets') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


# ---- the manual of Python --------------------------------------------------------------------------------------------
def test_manual_is_a_large_text_in_which_no_paragraph_comes_twice() -> None:
    text = manual_text()
    assert 250_000 < len(text) < 1_000_000
    assert 'The "for" statement' in text
    words = [" ".join(paragraph.split()) for document in manual_paragraphs() for paragraph in document]
    assert len(words) == len(set(words)) > 1000
    assert all(words)
    letters = sum(letter.isascii() and letter.isalpha() for letter in text)
    assert letters > 0.6 * len(text)
    assert text == manual_text()


def test_manual_loses_nothing_but_repetitions() -> None:
    from pydoc_data.topics import topics

    words = {word for text in topics.values() for word in text.split()}
    assert words == set(manual_text().split())


def test_documents_of_the_manual_are_sentences() -> None:
    documents = manual_documents()
    assert len(documents) > 40
    sentences = [sentence for document in documents for sentence in document]
    assert sum(map(len, sentences)) > 100_000
    for sentence in sentences:
        assert "\n" not in sentence
        assert "  " not in sentence
        assert ">>>" not in sentence
        assert "::=" not in sentence
    assert sum(len(sentence.split()) >= 4 for sentence in sentences) > 0.95 * len(sentences)
    pairs = next_sentence_pairs(documents, torch.Generator().manual_seed(0))
    assert len(pairs) == len(sentences) - len(documents)


def test_split_sentences_by_hand() -> None:
    text = 'It is so.  Is it?\n"Yes!" he said. Version 3.11 (new). (See there.) «Да.» Я устал. Пойду посплю…'
    assert split_sentences(text) == [
        "It is so.",
        "Is it?",
        '"Yes!" he said.',
        "Version 3.11 (new).",
        "(See there.) «Да.» Я устал.",
        "Пойду посплю…",
    ]
    assert split_sentences(" \n") == []


# ---- dates -----------------------------------------------------------------------------------------------------------
def test_each_way_to_write_a_date_by_hand() -> None:
    day = date(2021, 3, 5)
    assert [written_date(day, template, "en") for template in DATE_FORMATS["en"]] == [
        "March 5, 2021",
        "5 March 2021",
        "Mar 5, 2021",
        "05-Mar-21",
        "03/05/2021",
        "3/5/21",
        "Friday, March 5, 2021",
        "the 5th of March, 2021",
    ]
    assert [written_date(day, template, "ru") for template in DATE_FORMATS["ru"]] == [
        "5 марта 2021 г.",
        "5 марта 2021 года",
        "5 мар 2021",
        "05.03.2021",
        "5.3.21",
        "пятница, 5 марта 2021 г.",
        "«05» марта 2021 г.",
    ]
    endings = [written_date(date(2000, 1, n), "{day}{ending}", "en") for n in range(1, 32)]
    assert [text for text in endings if not text.endswith("th")] == [
        "1st",
        "2nd",
        "3rd",
        "21st",
        "22nd",
        "23rd",
        "31st",
    ]


@pytest.mark.parametrize("language", ["en", "ru"])
def test_no_written_date_has_two_readings(language: str) -> None:
    meanings: dict[str, date] = {}
    for number in range((date(2050, 1, 1) - date(1950, 1, 1)).days):
        day = date(1950, 1, 1) + timedelta(number)
        for template in DATE_FORMATS[language]:
            assert meanings.setdefault(written_date(day, template, language), day) == day


def by_strptime(text: str) -> str:
    text = re.sub(r"^the (\d+)(?:st|nd|rd|th) of", r"\1", text)
    for template in (
        "%B %d, %Y",
        "%d %B %Y",
        "%d %B, %Y",
        "%b %d, %Y",
        "%d-%b-%y",
        "%m/%d/%Y",
        "%m/%d/%y",
        "%A, %B %d, %Y",
    ):
        try:
            day = datetime.strptime(text, template)
        except ValueError:
            continue
        if template.startswith("%A"):
            assert day.strftime("%A") == text.split(",")[0]
        # strptime reads 50 ... 68 as 2050 ... 2068
        year = day.year - 100 if day.year >= 2050 else day.year
        return f"{year}-{day:%m-%d}"
    raise AssertionError(text)


def test_english_dates_as_the_standard_library_reads_them() -> None:
    for text, iso in dates(4000, seed=1):
        assert by_strptime(text) == iso, text


def test_russian_dates_as_a_reader_of_ours_reads_them() -> None:
    months = dict(
        zip(
            ("янв", "фев", "мар", "апр", "мая", "июн", "июл", "авг", "сен", "окт", "ноя", "дек"),
            range(1, 13),
            strict=True,
        )
    )
    days = ("понедельник", "вторник", "среда", "четверг", "пятница", "суббота", "воскресенье")
    for text, iso in dates(4000, seed=1, language="ru"):
        day, month, year = re.search(r"(\d+)»?[ .]([а-я]+|\d+)[ .](\d+)", text).groups()
        month = months[month[:3]] if month.isalpha() else int(month)
        year = int(year) if len(year) == 4 else 1900 + int(year) if int(year) >= 50 else 2000 + int(year)
        found = date(year, month, int(day))
        assert found.isoformat() == iso, text
        if "," in text:
            assert text.split(",")[0] == days[found.weekday()]


@pytest.mark.parametrize("language", ["en", "ru"])
def test_dates_are_spread_and_never_repeat(language: str) -> None:
    examples = dates(6000, seed=0, language=language)
    assert len({text for text, _ in examples}) == len(examples) == 6000
    assert examples == dates(6000, seed=0, language=language)
    assert examples[:10] == dates(10, seed=0, language=language)
    assert examples != dates(6000, seed=1, language=language)
    for count in Counter(iso[5:7] for _, iso in examples).values():
        rate(count, 6000, 1 / 12)
    assert {iso[:4] for _, iso in examples} == {str(year) for year in range(1950, 2050)}
    weekdays = data.WEEKDAYS[language].split()
    of_format = sum(text.split(",")[0] in weekdays for text, _ in examples)
    rate(of_format, 6000, 1 / len(DATE_FORMATS[language]))


# ---- sums ------------------------------------------------------------------------------------------------------------
def test_sums_are_right() -> None:
    examples = sums(5000, seed=0)
    assert len({question for question, _ in examples}) == 5000
    for question, answer in examples:
        a, operator, b = re.fullmatch(r"(\d{1,2})([-+*])(\d{1,2})", question).groups()
        assert int(answer) == {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}[operator](int(a), int(b))
    for operator in "+-*":
        rate(sum(operator in question for question, _ in examples), 5000, 1 / 3)
    assert set(sums(100, seed=0, digits=1, operators="+")) == {
        (f"{a}+{b}", f"{a + b}") for a in range(10) for b in range(10)
    }
    assert max(len(question) for question, _ in sums(500, seed=0, digits=4, operators="*")) == 9


# ---- agreement -------------------------------------------------------------------------------------------------------
THINGS = {"стол": 0, "ключ": 0, "карандаш": 0, "чемодан": 0, "шкаф": 0, "портрет": 0}
THINGS |= {"книга": 1, "лампа": 1, "картина": 1, "машина": 1, "тетрадь": 1, "вещь": 1}
THINGS |= {"письмо": 2, "кресло": 2, "зеркало": 2, "яблоко": 2, "одеяло": 2, "колесо": 2}
PLURALS = {"столы", "ключи", "карандаши", "чемоданы", "шкафы", "портреты", "книги", "лампы", "картины", "машины"}
PLURALS |= {"тетради", "вещи", "письма", "кресла", "зеркала", "яблоки", "одеяла", "колёса"}
OWNERS = {"учителя": 0, "соседа": 0, "художника": 0, "врача": 0, "сестры": 1, "подруги": 1, "соседки": 1, "бабушки": 1}


def agrees_in_russian(sentence: str) -> bool:
    """By the endings of adjectives and verbs and a list of nouns: gender 0, 1, 2, or 3 in the plural."""
    *words, verb, _, _ = sentence.rstrip(".").lower().split()
    place = next(i for i, word in enumerate(words) if word in THINGS or word in PLURALS)
    subject = 3 if words[place] in PLURALS else THINGS[words[place]]
    endings = {0: ("ый", "ий", "ой"), 1: ("ая",), 2: ("ое",), 3: ("ые", "ие")}[subject]
    if place == 1 and not words[0].endswith(endings):
        return False
    verb = verb.removesuffix("сь").removesuffix("ся")
    if {"а": 1, "о": 2, "и": 3}.get(verb[-1], 0) != subject:
        return False
    if len(words) > place + 2:
        adjective, owner = words[place + 1 :]
        return adjective.endswith({0: ("ого", "его"), 1: ("ой", "ей"), 3: ("ых", "их")}[OWNERS.get(owner, 3)])
    return True


MALE, FEMALE = {"king", "man", "boy", "brother", "grandfather"}, {"queen", "woman", "girl", "sister", "grandmother"}
THINGS_EN = {"key", "box", "book", "letter", "knife", "lamp", "chair"}
PLURAL_EN = {"men": "man", "women": "woman", "knives": "knife", "boxes": "box"}


def agrees_in_english(sentence: str) -> bool:
    words = sentence.rstrip(".").lower().split()
    nouns = [(i, PLURAL_EN.get(w, w.removesuffix("s")), w in PLURAL_EN or w.endswith("s")) for i, w in enumerate(words)]
    place, subject, plural = next(noun for noun in nouns if noun[1] in MALE | FEMALE | THINGS_EN)
    if words[0] not in ({"these", "those", "the"} if plural else {"this", "that", "the"}):
        return False
    if words[-1].endswith(("self", "selves")):
        verb = words[-2]
        if words[-1] != ("themselves" if plural else "himself" if subject in MALE else "herself"):
            return False
    else:
        verb = words[-4]
    assert place < words.index(verb)
    return (verb == "are" or not verb.endswith("s")) == plural


CHECK = {"en": agrees_in_english, "ru": agrees_in_russian}
both_languages = pytest.mark.parametrize("language", ["en", "ru"])


@both_languages
def test_pairs_differ_in_one_word_that_fails_to_agree(language: str) -> None:
    pairs = agreement_pairs(5000, seed=0, language=language)
    assert len({good for good, _ in pairs}) == 5000
    for good, bad in pairs:
        assert CHECK[language](good), good
        assert not CHECK[language](bad), bad
        assert good.count(" ") == bad.count(" ")
        assert sum(a != b for a, b in zip(good.split(), bad.split(), strict=True)) == 1
        assert good[0].isupper()
        assert bad[0].isupper()
        assert good.endswith(".")
    assert pairs == agreement_pairs(5000, seed=0, language=language)
    assert pairs != agreement_pairs(5000, seed=1, language=language)


@both_languages
def test_sentences_are_labelled_rightly_half_of_them_acceptable(language: str) -> None:
    examples = agreement_sentences(6000, seed=0, language=language)
    assert len({text for text, _ in examples}) == 6000
    assert all(CHECK[language](text) == bool(label) for text, label in examples)
    assert {label for _, label in examples} == {0, 1}
    rate(sum(label for _, label in examples), 6000, 0.5)


@both_languages
def test_nouns_in_between_do_not_give_the_number_away(language: str) -> None:
    """Where another noun stands between subject and verb, it has the verb's number about half of the time."""
    good = [good.rstrip(".").lower().split() for good, _ in agreement_pairs(6000, seed=0, language=language)]
    if language == "ru":
        told = [(words[-3], words[-4]) for words in good if words[-4] not in THINGS and words[-4] not in PLURALS]
        alike = [verb.endswith(("и", "ись")) == (noun not in OWNERS) for verb, noun in told]
    else:
        verbs = [
            (words[:-2], words[-2]) if words[-1].endswith(("self", "selves")) else (words[:-4], words[-4])
            for words in good
        ]
        told = [(verb, words[-1]) for words, verb in verbs if "the" in words[2:]]
        alike = [
            (verb == "are" or not verb.endswith("s")) == (noun.endswith("s") or noun in PLURAL_EN)
            for verb, noun in told
        ]
    assert 2500 < len(alike) < 5500
    assert 0.4 < sum(alike) / len(alike) < 0.6


# ---- tasks that a prompt shows ---------------------------------------------------------------------------------------
def test_words_and_their_translations() -> None:
    pairs = word_pairs()
    assert 150 <= len(pairs) == sum(line.count(",") + 1 for line in WORD_PAIRS.values())
    assert len({english for english, _ in pairs}) == len({russian for _, russian in pairs}) == len(pairs)
    assert all(
        re.fullmatch("[a-z]{2,6}", english) and re.fullmatch("[а-яё]{2,6}", russian) for english, russian in pairs
    )
    assert {("cat", "кот"), ("house", "дом"), ("new", "новый")} <= set(pairs)


BY_HAND = {
    "copy": "утка",
    "reverse": "акту",
    "first letter": "у",
    "last letter": "а",
    "without the first": "тка",
    "double": "уткаутка",
    "upper case": "УТКА",
    "length": "4",
}


@pytest.mark.parametrize("task", TASKS)
def test_tasks_have_their_answers(task: str) -> None:
    count = 30
    examples = task_examples(task, count, seed=4)
    assert examples == task_examples(task, count, seed=4) != task_examples(task, count, seed=5)
    assert len({given for given, _ in examples}) == count
    for given, answer in examples:
        if task in STRING_FUNCTIONS:
            letters = list(given)
            assert (
                answer
                == {
                    "copy": given,
                    "reverse": "".join(reversed(letters)),
                    "first letter": letters[0],
                    "last letter": letters[-1],
                    "without the first": "".join(letters[1:]),
                    "double": "".join(letters * 2),
                    "upper case": "".join(chr(ord(letter) - 32) if letter != "ё" else "Ё" for letter in letters),
                    "length": str(len(letters)),
                }[task]
            )
            assert 2 <= len(given) <= 4
        elif task in TRANSLATIONS:
            pair = (given, answer) if task == "English to Russian" else (answer, given)
            assert pair in word_pairs()
        else:
            shown = [*given.split(), answer]
            if task == "alternate":
                assert shown[0] != shown[1]
                assert shown == (shown[:2] * 3)[: len(shown)]
                assert 5 <= len(shown) <= 6
            else:
                numbers = [int(symbol) if task == "count on" else ord(symbol) for symbol in shown]
                assert {after - before for before, after in itertools.pairwise(numbers)} == {1}


def test_a_function_by_hand() -> None:
    assert {task: function("утка") for task, function in STRING_FUNCTIONS.items()} == BY_HAND
    assert set(TASKS) == {*BY_HAND, *TRANSLATIONS, *PATTERNS}


@pytest.mark.parametrize("task", STRING_FUNCTIONS)
def test_held_out_words_are_never_taught(task: str) -> None:
    taught, tried = ({given for given, _ in task_examples(task, 100, 0, held_out)} for held_out in (False, True))
    assert not any(map(is_held_out, taught))
    assert all(map(is_held_out, tried))


def test_an_eighth_of_the_words_is_held_out() -> None:
    random = Random(0)
    words = {made_up_word(random) for _ in range(20_000)}
    rate(sum(map(is_held_out, words)), len(words), 1 / 8)
    assert {len(word) for word in words} == {3, 4}
    assert all(re.fullmatch("[a-z]+|[а-я]+", word) for word in words)


def test_patterns_go_on_as_they_begin() -> None:
    random, kinds = Random(0), Counter()
    for _ in range(300):
        line = repeated_pattern(random, 60)
        symbols = line.split(" ")
        assert 50 <= len(line) <= 60
        if symbols[0].isdigit():
            kinds["counting"] += 1
            assert {int(after) - int(before) for before, after in itertools.pairwise(symbols)} == {1}
        else:
            period = next(n for n in range(1, 5) if symbols[n:] == symbols[:-n])
            kinds[period] += 1
    rate(kinds["counting"], 300, 0.3)
    assert all(kinds[period] > 20 for period in range(1, 5))


# ---- bad input of generators -----------------------------------------------------------------------------------------
def test_bad_input_of_generators() -> None:
    for call in (dates, agreement_pairs, agreement_sentences):
        with pytest.raises(ValueError, match=r"^language 'de': expected 'en' or 'ru'$"):
            call(3, 0, "de")
        with pytest.raises(ValueError, match=r"^count=-1: expected 0 or more$"):
            call(-1, 0)
        assert call(0, 0) == []
    with pytest.raises(ValueError, match=r"^count=101: there are hardly more than 100 different examples$"):
        sums(101, 0, digits=1, operators="+")
    with pytest.raises(ValueError, match=r"^digits=0: expected at least 1$"):
        sums(1, 0, digits=0)
    for operators in ("", "+/"):
        with pytest.raises(ValueError, match=rf"^operators='{re.escape(operators)}': expected some of '\+-\*'$"):
            sums(1, 0, operators=operators)
    with pytest.raises(ValueError, match=r"^task 'sort': expected one of copy, reverse, "):
        task_examples("sort", 1, 0)
    with pytest.raises(ValueError, match=r"^count=45: there are hardly more than 44 different examples$"):
        task_examples("letters on", 45, 0)


# ---- files -----------------------------------------------------------------------------------------------------------
def test_read_text(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbf" + "Я устал.\r\nПойду\n".encode())
    assert read_text(file) == read_text(str(file)) == "Я устал.\nПойду\n"
    file.write_bytes(b"")
    assert read_text(file) == ""


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_byte_that_is_not_utf8_is_named(tmp_path: Path, bom: bytes) -> None:
    file = tmp_path / "koi8.txt"
    file.write_bytes(bom + b"one\ntwo\n" + "три".encode("koi8-r"))
    with pytest.raises(ValueError, match=rf"koi8.txt: byte 0xd4 at offset {8 + len(bom)}, line 3, is not UTF-8$"):
        read_text(file)
    with pytest.raises(ValueError, match=r"koi8.txt: byte 0xd4"):
        read_folder(tmp_path)


def test_read_folder(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("c.txt", "a.txt", "b/a.txt", "d.md"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    assert read_folder(tmp_path) == ["a.txt", "b/a.txt", "c.txt"]
    assert read_folder(tmp_path, "*.md") == ["d.md"]
    with pytest.raises(FileNotFoundError, match=r": no file here matches \*.csv$"):
        read_folder(tmp_path, "*.csv")
    with pytest.raises(FileNotFoundError, match=r"a.txt: a file, expected a folder$"):
        read_folder(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder$"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r": a folder, expected a file$"):
        read_text(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such file$"):
        read_text(tmp_path / "nowhere")


def test_read_pairs(tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text("Go.\tVa !\tsomeone\n\nI see.\tJe vois.\n", encoding="utf-8")
    assert read_pairs(file) == [("Go.", "Va !"), ("I see.", "Je vois.")]
    file.write_text("Go.\tVa !\nI see, Je vois.\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"pairs.tsv, line 2: no tab in 'I see, Je vois.', expected two columns$"):
        read_pairs(file)


# ---- the network, which ends at this machine -------------------------------------------------------------------------
CONTENT = "Пойду посплю.\n".encode() * 20_000
RIGHT = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/missing.txt":
            self.send_error(404)
            return
        if self.path == "/dead.txt":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if self.path == "/moved.txt":
            self.send_response(302)
            self.send_header("Location", "/text.txt")
            self.end_headers()
            return
        self.send_response(200)
        if self.path != "/unsized.txt":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if self.path == "/short.txt" else CONTENT)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("file", ["text.txt", "moved.txt", "unsized.txt"])
def test_download(server: str, tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = download(f"{server}/{file}", tmp_path / "new" / "a.txt", RIGHT.upper())
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]
    assert file in capsys.readouterr().err
    asked = len(Handler.asked)
    assert download(f"{server}/{file}", path, RIGHT) == path
    assert len(Handler.asked) == asked  # what is there is not asked for again


def test_no_progress_bar_where_none_is_wanted(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    download(f"{server}/text.txt", tmp_path / "a.txt", RIGHT, progress=False)
    assert capsys.readouterr().err == ""


def test_a_wrong_checksum_leaves_nothing_behind(server: str, tmp_path: Path) -> None:
    wrong = "0" * 64
    with pytest.raises(ValueError, match=rf"/text.txt: what came has the SHA-256 {RIGHT}, expected {wrong}$"):
        download(f"{server}/text.txt", tmp_path / "a.txt", wrong, progress=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.txt").write_bytes(CONTENT)
    with pytest.raises(
        ValueError, match=rf"a.txt: has the SHA-256 {RIGHT}, expected {wrong}; move it away to download it anew$"
    ):
        download(f"{server}/text.txt", tmp_path / "a.txt", wrong, progress=False)
    assert (tmp_path / "a.txt").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("missing.txt", r"/missing.txt: the server answered 404 Not Found$"),
        ("short.txt", r"/short.txt: the connection broke (after 1000 of 500000 bytes|\(IncompleteRead\)); try again$"),
        ("dead.txt", r"/dead.txt: the connection broke \(\w+\); try again$"),
    ],
)
def test_a_server_that_fails(server: str, tmp_path: Path, file: str, message: str) -> None:
    with pytest.raises(ConnectionError, match=message):
        download(f"{server}/{file}", tmp_path / "a.txt", RIGHT, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_a_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a.txt"
        with pytest.raises(
            ConnectionError,
            match=r"can't be reached \(.*refused.*\)\. Is there a network\? Without one, lecturekit.data has manual_text",
        ):
            download(url, tmp_path / "a.txt", RIGHT, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_nothing_else_asks_for_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    assert manual_text()
    assert manual_documents()
    assert dates(3, 0)
    assert sums(3, 0)
    assert agreement_sentences(3, 0)


def test_fetch_brings_a_known_source(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(data.SOURCES, "test", data.Source(f"{server}/text.txt", RIGHT, "ours"))
    assert fetch("test", tmp_path, progress=False) == tmp_path / "test.txt"
    with pytest.raises(ValueError, match=r"^source 'pushkin': expected one of shakespeare, test$"):
        fetch("pushkin", tmp_path)


def test_known_sources_are_well_formed() -> None:
    for source in data.SOURCES.values():
        assert re.fullmatch("[0-9a-f]{64}", source.sha256)
        assert source.url.startswith("https://")
        assert source.rights


def test_a_file_of_the_hub(server: str, tmp_path: Path) -> None:
    url = hub_url("some one/texts", "data/трейн.txt", revision="abc", endpoint=server)
    download(url, tmp_path / "a.txt", RIGHT, progress=False)
    assert Handler.asked == ["/datasets/some%20one/texts/resolve/abc/data/%D1%82%D1%80%D0%B5%D0%B9%D0%BD.txt"]


def test_bad_input_of_download(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^sha256='abc': expected 64 hexadecimal digits$"):
        download("http://127.0.0.1/a", tmp_path / "a", "abc")
    for url in ("ftp://127.0.0.1/a", "file:///etc/hosts", "a.txt"):
        with pytest.raises(ValueError, match=rf"^{url}: expected an address that begins with http:// or https://$"):
            download(url, tmp_path / "a", RIGHT)
