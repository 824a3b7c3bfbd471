"""Something to learn from: text and tasks that are always here, and doors to more.

    no network    the manual of Python; dates, sums, and sentences that agree or don't, in English and Russian
    your own      a file, a folder, a table of pairs
    a network     `fetch` and `download`, which nothing here calls unasked

What is generated depends on its seed alone, and no input comes twice in one call, so that a list that is cut in two
has nothing held out that was trained on. Examples come in random order: cut where you like.

Left out: tokenization (`lecturekit.tokenizers`), batches (`lecturekit.objectives`), and formats that need a library
to be read, such as Parquet.
"""

import hashlib
import http.client
import os
import re
import textwrap
import urllib.error
import urllib.parse
import urllib.request
import zlib
from calendar import monthrange
from collections.abc import Callable, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

Example = TypeVar("Example", bound=tuple)


def distinct(draw: Callable[[], Example], count: int) -> list[Example]:
    """Call `draw` until there are `count` examples with different first members.

    ValueError for a negative `count`, or when a thousand draws in a row have brought nothing new.
    """
    if count < 0:
        raise ValueError(f"count={count}: expected 0 or more")
    found: dict[object, Example] = {}
    in_vain = 0
    while len(found) < count:
        example = draw()
        in_vain = in_vain + 1 if example[0] in found else 0
        found.setdefault(example[0], example)
        if in_vain == 1000:
            raise ValueError(f"count={count}: there are hardly more than {len(found)} different examples")
    return list(found.values())


def check_language(language: str) -> None:
    """ValueError unless `language` is "en" or "ru"."""
    if language not in ("en", "ru"):
        raise ValueError(f"language {language!r}: expected 'en' or 'ru'")


# ---- the manual of Python --------------------------------------------------------------------------------------------
def manual_paragraphs() -> list[list[str]]:
    """The paragraphs of the language reference that comes with Python, a list for each of its topics, as they stand.

    Some 0.4 MB of English, with headings and code. The reference repeats whole sections under several topics; here a
    paragraph stays where it comes first, or what is held out would have been trained on. The text differs a little
    from one version of Python to the next.
    """
    from pydoc_data.topics import topics  # half a megabyte that few need

    seen: set[str] = set()
    documents = []
    for name in sorted(topics):
        paragraphs = []
        for paragraph in re.split(r"\n\s*\n", topics[name]):
            # The same words may be indented in one topic and not in another.
            words = " ".join(paragraph.split())
            if words and words not in seen:
                seen.add(words)
                paragraphs.append(paragraph.strip("\n").rstrip())
        if paragraphs:
            documents.append(paragraphs)
    return documents


def manual_text() -> str:
    """All of `manual_paragraphs` as one text, with an empty line between paragraphs: for models of characters."""
    return "\n\n".join(paragraph for document in manual_paragraphs() for paragraph in document) + "\n"


def is_prose(paragraph: str) -> bool:
    """Whether a paragraph of the manual is made of sentences: no heading, grammar, program or table."""
    lines = textwrap.dedent(paragraph).splitlines()
    if any(line.startswith((" ", ">>>", "|", "+--")) or "::=" in line for line in lines):
        return False
    return bool(re.match(r'["“(*]*[A-Z]', lines[0])) and lines[-1].endswith((".", "!", "?", ".)"))


def split_sentences(text: str) -> list[str]:
    """Cut after . ! or ? where white space and a capital letter, a quotation mark or a bracket follow.

    A rule of thumb: it also cuts after an abbreviation before a name. White space becomes one space.
    """
    text = " ".join(text.split())
    return re.split(r"(?<=[.!?])\s(?=[\"“«(]?[A-ZА-ЯЁ])", text) if text else []


def manual_documents() -> list[list[str]]:
    """The prose of the manual: a document for each topic that has any, a document being a list of its sentences.

    What `lecturekit.objectives.next_sentence_pairs` takes, once the sentences are token ids or as they are.
    """
    documents = [
        [sentence for paragraph in filter(is_prose, paragraphs) for sentence in split_sentences(paragraph)]
        for paragraphs in manual_paragraphs()
    ]
    return [document for document in documents if document]


# ---- dates and sums --------------------------------------------------------------------------------------------------
MONTHS = {
    "en": "January February March April May June July August September October November December",
    "ru": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
}
WEEKDAYS = {
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "ru": "понедельник вторник среда четверг пятница суббота воскресенье",
}
# Each way to write a date has one reading: an English date of numbers alone has the month first, a Russian one the day.
DATE_FORMATS = {
    "en": (
        "{month} {day}, {year}",
        "{day} {month} {year}",
        "{short_month} {day}, {year}",
        "{day:02}-{short_month}-{short_year:02}",
        "{number:02}/{day:02}/{year}",
        "{number}/{day}/{short_year:02}",
        "{weekday}, {month} {day}, {year}",
        "the {day}{ending} of {month}, {year}",
    ),
    "ru": (
        "{day} {month} {year} г.",
        "{day} {month} {year} года",
        "{day} {short_month} {year}",
        "{day:02}.{number:02}.{year}",
        "{day}.{number}.{short_year:02}",
        "{weekday}, {day} {month} {year} г.",
        "«{day:02}» {month} {year} г.",
    ),
}
FIRST_YEAR, LAST_YEAR = 1950, 2049  # a hundred, so that two digits name one of them


def written_date(day: date, template: str, language: str) -> str:
    """`day` in one of DATE_FORMATS[language]."""
    month = MONTHS[language].split()[day.month - 1]
    return template.format(
        day=day.day,
        ending="th" if day.day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th"),
        number=day.month,
        month=month,
        short_month=month[:3],
        year=day.year,
        short_year=day.year % 100,
        weekday=WEEKDAYS[language].split()[day.weekday()],
    )


def dates(count: int, seed: int, language: str = "en") -> list[tuple[str, str]]:
    """Pairs (a date as people write it, the same in ISO 8601) from 1950 to 2049, in the formats of DATE_FORMATS.

    The years, months, days of a month and formats are equally likely. ValueError for a `language` other than "en"
    and "ru", or a `count` that is not to be had.

    >>> dates(2, seed=3, language="ru")
    [('18 октября 1980 года', '1980-10-18'), ('четверг, 16 октября 1997 г.', '1997-10-16')]
    """
    check_language(language)
    random = Random(seed)

    def draw() -> tuple[str, str]:
        year, month = random.randint(FIRST_YEAR, LAST_YEAR), random.randint(1, 12)
        day = date(year, month, random.randint(1, monthrange(year, month)[1]))
        return written_date(day, random.choice(DATE_FORMATS[language]), language), day.isoformat()

    return distinct(draw, count)


def sums(count: int, seed: int, digits: int = 2, operators: str = "+-*") -> list[tuple[str, str]]:
    """Pairs (a sum of two numbers of at most `digits` digits, its value), such as ("7-31", "-24").

    Numbers and `operators` are equally likely. ValueError for less than one digit, operators other than + - *, or a
    `count` that is not to be had.
    """
    if digits < 1:
        raise ValueError(f"digits={digits}: expected at least 1")
    if not operators or set(operators) - set("+-*"):
        raise ValueError(f"operators={operators!r}: expected some of '+-*'")
    random = Random(seed)

    def draw() -> tuple[str, str]:
        a, b = random.randrange(10**digits), random.randrange(10**digits)
        operator = random.choice(operators)
        return f"{a}{operator}{b}", str({"+": a + b, "-": a - b, "*": a * b}[operator])

    return distinct(draw, count)


# ---- agreement -------------------------------------------------------------------------------------------------------
# A word of a sentence, and the forms of it that would be wrong there: none for a word that agrees with nothing.
Word = tuple[str, tuple[str, ...]]


def agreeing(forms: Sequence[str], index: int) -> Word:
    """The form number `index`, the others being wrong."""
    return forms[index], tuple(form for form in forms if form != forms[index])


def free(text: str) -> list[Word]:
    """Words that agree with nothing."""
    return [(word, ()) for word in text.split()]


# Singular, plural.
ENGLISH_THINGS = ("key keys", "box boxes", "book books", "letter letters", "knife knives", "lamp lamps", "chair chairs")
ENGLISH_PEOPLE = {
    "himself": ("king kings", "man men", "boy boys", "brother brothers", "grandfather grandfathers"),
    "herself": ("queen queens", "woman women", "girl girls", "sister sisters", "grandmother grandmothers"),
}
ENGLISH_DETERMINERS = ("this these", "that those", "the the")
ENGLISH_ADJECTIVES = ("old", "new", "small", "big", "beautiful", "red", "strange", "quiet")
ENGLISH_PREPOSITIONS = ("near", "behind", "beside", "in front of")
ENGLISH_VERBS = ("stands stand", "falls fall", "disappears disappear", "is are", "remains remain")
ENGLISH_PLACES = ("in the garden", "at the door", "in the room", "in the kitchen", "under the bridge")
ENGLISH_REFLEXIVE_VERBS = ("admires admire", "praises praise", "sees see", "helps help", "remembers remember")


def english_sentence(random: Random) -> list[Word]:
    """A subject, often with another noun between it and its verb, and a place or a reflexive pronoun.

    Determiner and verb agree with the subject in number, the pronoun in gender and number.
    """
    number = random.randrange(2)
    reflexive = random.choice(("himself", "herself"))
    is_person = random.random() < 0.5
    subject = random.choice(ENGLISH_PEOPLE[reflexive] if is_person else ENGLISH_THINGS)
    words = [agreeing(random.choice(ENGLISH_DETERMINERS).split(), number)]
    if random.random() < 0.5:
        words += free(random.choice(ENGLISH_ADJECTIVES))
    words += free(subject.split()[number])
    if random.random() < 0.7:
        nouns = random.choice((ENGLISH_THINGS, *ENGLISH_PEOPLE.values()))
        words += free(f"{random.choice(ENGLISH_PREPOSITIONS)} the {random.choice(random.choice(nouns).split())}")
    if is_person and random.random() < 0.7:
        words.append(agreeing(random.choice(ENGLISH_REFLEXIVE_VERBS).split(), number))
        pronouns = ("himself", "herself", "themselves")
        return [*words, agreeing(pronouns, 2 if number else pronouns.index(reflexive))]
    words.append(agreeing(random.choice(ENGLISH_VERBS).split(), number))
    return words + free(random.choice(ENGLISH_PLACES))


# Singular and plural by gender: masculine, feminine, neuter.
RUSSIAN_THINGS = (
    ("стол столы", "ключ ключи", "карандаш карандаши", "чемодан чемоданы", "шкаф шкафы", "портрет портреты"),
    ("книга книги", "лампа лампы", "картина картины", "машина машины", "тетрадь тетради", "вещь вещи"),
    ("письмо письма", "кресло кресла", "зеркало зеркала", "яблоко яблоки", "одеяло одеяла", "колесо колёса"),
)
# In the genitive: masculine, feminine. What belongs to them stands before them.
RUSSIAN_OWNERS = (
    ("учителя учителей", "соседа соседей", "художника художников", "врача врачей"),
    ("сестры сестёр", "подруги подруг", "соседки соседок", "бабушки бабушек"),
)
# Masculine, feminine, neuter, plural; of the adjectives of owners masculine, feminine, plural in the genitive.
RUSSIAN_ADJECTIVES = (
    "новый новая новое новые",
    "старый старая старое старые",
    "большой большая большое большие",
    "маленький маленькая маленькое маленькие",
    "красивый красивая красивое красивые",
    "тяжёлый тяжёлая тяжёлое тяжёлые",
)
RUSSIAN_OWNERS_ADJECTIVES = (
    "старого старой старых",
    "молодого молодой молодых",
    "доброго доброй добрых",
    "моего моей моих",
)
RUSSIAN_VERBS = (
    "стоял стояла стояло стояли",
    "лежал лежала лежало лежали",
    "исчез исчезла исчезло исчезли",
    "упал упала упало упали",
    "появился появилась появилось появились",
    "потерялся потерялась потерялось потерялись",
)
RUSSIAN_PLACES = ("в саду", "у двери", "в комнате", "на кухне", "за углом", "в коридоре")


def russian_sentence(random: Random) -> list[Word]:
    """A subject, often with its owner between it and the verb, and a place.

    Adjectives agree with their nouns, and the verb, in the past, with the subject: in gender, or in the plural.
    """
    gender, plural = random.randrange(3), random.randrange(2)
    agreement = 3 if plural else gender
    words = []
    if random.random() < 0.5:
        words.append(agreeing(random.choice(RUSSIAN_ADJECTIVES).split(), agreement))
    words += free(random.choice(RUSSIAN_THINGS[gender]).split()[plural])
    if random.random() < 0.7:
        owner, owners = random.randrange(2), random.randrange(2)
        if random.random() < 0.5:
            words.append(agreeing(random.choice(RUSSIAN_OWNERS_ADJECTIVES).split(), 2 if owners else owner))
        words += free(random.choice(RUSSIAN_OWNERS[owner]).split()[owners])
    words.append(agreeing(random.choice(RUSSIAN_VERBS).split(), agreement))
    return words + free(random.choice(RUSSIAN_PLACES))


SENTENCES = {"en": english_sentence, "ru": russian_sentence}


def written_sentence(words: Sequence[str]) -> str:
    """The words with a capital letter and a full stop."""
    text = " ".join(words)
    return f"{text[0].upper()}{text[1:]}."


def draw_pair(random: Random, language: str) -> tuple[str, str]:
    """An acceptable sentence, and the same with one word in a form that does not agree."""
    sentence = SENTENCES[language](random)
    words = [right for right, _ in sentence]
    place = random.choice([i for i, (_, wrong) in enumerate(sentence) if wrong])
    spoilt = [*words[:place], random.choice(sentence[place][1]), *words[place + 1 :]]
    return written_sentence(words), written_sentence(spoilt)


def agreement_pairs(count: int, seed: int, language: str = "en") -> list[tuple[str, str]]:
    """Pairs (acceptable, not acceptable) of sentences that differ in one word, for comparing their likelihoods.

    The word that is wrong fails to agree in number or gender. ValueError for a `language` other than "en" and "ru",
    or a `count` that is not to be had.

    >>> agreement_pairs(1, seed=15)
    [('This key behind the chairs falls in the garden.', 'This key behind the chairs fall in the garden.')]
    """
    check_language(language)
    random = Random(seed)
    return distinct(lambda: draw_pair(random, language), count)


def agreement_sentences(count: int, seed: int, language: str = "en") -> list[tuple[str, int]]:
    """Sentences with the labels of CoLA: 1 for an acceptable one, 0 for one with a word that does not agree.

    One of each of the pairs of `agreement_pairs`, either with probability 1/2. Errors are the same.
    """
    check_language(language)
    random = Random(seed)
    pairs = distinct(lambda: draw_pair(random, language), count)
    labels = [random.randrange(2) for _ in pairs]
    return [(pair[1 - label], label) for pair, label in zip(pairs, labels, strict=True)]


# ---- tasks that a prompt shows ---------------------------------------------------------------------------------------
# Everyday words of at most six letters and one translation of each, so that either side tells the other.
WORD_PAIRS = {
    "animals": "cat кот, dog собака, cow корова, horse конь, pig свинья, sheep овца, goat коза, bird птица, fish рыба, "
    "mouse мышь, wolf волк, fox лиса, hare заяц, bee пчела, fly муха, snake змея, duck утка, goose гусь, hen курица, "
    "tiger тигр, lion лев, crow ворона, owl сова, whale кит, spider паук",
    "food": "bread хлеб, milk молоко, water вода, tea чай, salt соль, sugar сахар, meat мясо, soup суп, cheese сыр, "
    "apple яблоко, pear груша, onion лук, honey мёд, butter масло, egg яйцо, rice рис, cake торт, juice сок, nut орех, "
    "plum слива, lemon лимон, flour мука, berry ягода",
    "nature": "sun солнце, moon луна, star звезда, sky небо, sea море, river река, lake озеро, forest лес, field поле, "
    "tree дерево, leaf лист, flower цветок, grass трава, snow снег, rain дождь, wind ветер, fire огонь, stone камень, "
    "sand песок, ice лёд, hill холм, island остров, cloud облако, earth земля, gold золото, smoke дым, light свет",
    "things": "house дом, door дверь, window окно, wall стена, floor пол, table стол, chair стул, lamp лампа, "
    "key ключ, knife нож, spoon ложка, cup чашка, book книга, pen ручка, letter письмо, clock часы, box ящик, "
    "bag сумка, soap мыло, roof крыша, garden сад, bridge мост, road дорога, street улица, city город, school школа, "
    "train поезд, boat лодка, car машина, wheel колесо, paper бумага, needle игла, hat шляпа, coat пальто, boot сапог, "
    "ring кольцо, money деньги, music музыка, song песня, game игра, ball мяч",
    "body": "hand рука, leg нога, head голова, eye глаз, ear ухо, nose нос, mouth рот, tooth зуб, hair волосы, "
    "heart сердце, back спина, neck шея, knee колено, finger палец, face лицо, blood кровь, skin кожа, bone кость",
    "people": "mother мать, father отец, son сын, sister сестра, friend друг, king король, doctor врач, guest гость, "
    "name имя, uncle дядя, aunt тётя, wife жена",
    "time": "day день, night ночь, year год, month месяц, week неделя, hour час, minute минута, spring весна, "
    "summer лето, autumn осень, winter зима",
    "numbers": "one один, two два, three три, four четыре, five пять, six шесть, seven семь, eight восемь, "
    "nine девять, ten десять",
    "properties": "white белый, black чёрный, blue синий, new новый, old старый, dry сухой, clean чистый, warm тёплый",
}
LETTERS = {"en": ("bcdfghjklmnprstvwz", "aeiou"), "ru": ("бвгджзклмнпрстфхчш", "аеиоуы")}  # consonants, vowels
STRING_FUNCTIONS: dict[str, Callable[[str], str]] = {
    "copy": lambda word: word,
    "reverse": lambda word: word[::-1],
    "first letter": lambda word: word[0],
    "last letter": lambda word: word[-1],
    "without the first": lambda word: word[1:],
    "double": lambda word: word + word,
    "upper case": str.upper,
    "length": lambda word: str(len(word)),
}
TRANSLATIONS = ("English to Russian", "Russian to English")
PATTERNS = ("alternate", "count on", "letters on")
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
PATTERN_LETTERS = (*ALPHABET, *"абвгдежзиклмнопрстуфхцчшщэюя")
TASKS = (*STRING_FUNCTIONS, *TRANSLATIONS, *PATTERNS)


@cache
def word_pairs() -> tuple[tuple[str, str], ...]:
    """The pairs (English, Russian) of WORD_PAIRS, no word twice."""
    return tuple(
        (english, russian) for pairs in WORD_PAIRS.values() for english, russian in map(str.split, pairs.split(", "))
    )


def is_held_out(word: str) -> bool:
    """Whether the word is one of the eighth on which the string functions are tried out and never taught."""
    return zlib.crc32(word.encode()) % 8 == 0


def made_up_word(random: Random, longest: int = 4) -> str:
    """Three to `longest` letters, consonants and vowels in turn, of one script: Latin in two cases of three."""
    letters = LETTERS[random.choice(("en", "en", "ru"))]
    first, length = random.randrange(2), random.randint(3, longest)
    return "".join(random.choice(letters[(first + place) % 2]) for place in range(length))


def task_example(task: str, random: Random, held_out: bool = False) -> tuple[str, str]:
    """What a task of TASKS is given, and its answer.

    The string functions are given a word of WORD_PAIRS or a made-up one, of at most four letters; it `is_held_out`
    if `held_out` is true, and else not.
    """
    if task in STRING_FUNCTIONS:
        word = ""
        while not 0 < len(word) <= 4 or is_held_out(word) != held_out:
            real = random.random() < 0.5
            word = random.choice(random.choice(word_pairs())) if real else made_up_word(random)
        return word, STRING_FUNCTIONS[task](word)
    if task in TRANSLATIONS:
        english, russian = random.choice(word_pairs())
        return (english, russian) if task == TRANSLATIONS[0] else (russian, english)
    if task == "alternate":
        one, other = random.sample(PATTERN_LETTERS, 2)
        shown = [one, other] * 3
        cut = random.randint(4, 5)
        return " ".join(shown[:cut]), shown[cut]
    if task == "count on":
        first = random.randint(1, 90)
        numbers = [str(first + place) for place in range(random.randint(3, 4))]
        return " ".join(numbers[:-1]), numbers[-1]
    first, length = random.randrange(len(ALPHABET) - 4), random.randint(3, 4)
    letters = ALPHABET[first : first + length]
    return " ".join(letters[:-1]), letters[-1]


def task_examples(task: str, count: int, seed: int, held_out: bool = False) -> list[tuple[str, str]]:
    """Different pairs (what a task of TASKS is given, its answer), to be examples in a prompt.

    With `held_out` the string functions are given words that they are given in no other call; the other tasks know no
    such words. ValueError for another `task`, or a `count` that is not to be had.

    >>> task_examples("reverse", 3, seed=1)
    [('мяч', 'чям'), ('bosu', 'usob'), ('efib', 'bife')]
    """
    if task not in TASKS:
        raise ValueError(f"task {task!r}: expected one of {', '.join(TASKS)}")
    random = Random(seed)
    return distinct(lambda: task_example(task, random, held_out), count)


def repeated_pattern(random: Random, length: int) -> str:
    """A line of about `length` characters that goes on as it begins: one to four symbols again and again, or counting.

    >>> repeated_pattern(Random(0), 20)
    'c q ж е c q ж е c q'
    """
    if random.random() < 0.3:
        first = random.randint(1, 60)
        symbols = [str(first + place) for place in range(length)]
    else:
        symbols = [random.choice(PATTERN_LETTERS) for _ in range(random.randint(1, 4))] * length
    return " ".join(symbols)[:length].rpartition(" ")[0]


# ---- files of your own -----------------------------------------------------------------------------------------------
def read_text(path: str | Path) -> str:
    """The text of a file in UTF-8, without a byte order mark, lines ended by \\n.

    FileNotFoundError if there is no such file; ValueError that names the first byte that is not UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'a folder, expected a file' if path.is_dir() else 'no such file'}")
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}: byte 0x{data[error.start]:02x} at offset {error.start}, line {line}, is not UTF-8"
        ) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def read_folder(path: str | Path, pattern: str = "*.txt") -> list[str]:
    """The texts of all files below a folder whose names match `pattern`, in the order of their paths.

    FileNotFoundError if there is no such folder, or no such file in it; other errors are those of `read_text`.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: {'a file, expected a folder' if path.exists() else 'no such folder'}")
    files = sorted(file for file in path.rglob(pattern) if file.is_file())
    if not files:
        raise FileNotFoundError(f"{path}: no file here matches {pattern}")
    return [read_text(file) for file in files]


def read_pairs(path: str | Path) -> list[tuple[str, str]]:
    """The first two columns of a table with tabs between its columns, such as sentences and their translations.

    Empty lines do not count. Errors are those of `read_text`; ValueError too for a line without a tab.
    """
    pairs = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) < 2:
            raise ValueError(f"{path}, line {number}: no tab in {line[:40]!r}, expected two columns")
        pairs.append((columns[0], columns[1]))
    return pairs


# ---- the network -----------------------------------------------------------------------------------------------------
class Source(NamedTuple):
    """A public file that is known here, `sha256` in hexadecimal digits."""

    url: str
    sha256: str
    rights: str


SOURCES = {
    "shakespeare": Source(
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        "public domain",
    ),
}


def hub_url(dataset: str, file: str, revision: str = "main", endpoint: str = "https://huggingface.co") -> str:
    """Where a file of a data set lies on the Hugging Face hub; a commit as `revision` never changes.

    >>> hub_url("someone/some-texts", "train.txt")
    'https://huggingface.co/datasets/someone/some-texts/resolve/main/train.txt'
    """
    return "/".join([endpoint, "datasets", *map(urllib.parse.quote, (dataset, "resolve", revision, file))])


def fetch(name: str, folder: str | Path, progress: bool = True) -> Path:
    """`download` one of SOURCES into `folder`, where it is called `name`.txt. ValueError for another `name`."""
    if name not in SOURCES:
        raise ValueError(f"source {name!r}: expected one of {', '.join(SOURCES)}")
    return download(SOURCES[name].url, Path(folder) / f"{name}.txt", SOURCES[name].sha256, progress)


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(url: str, path: str | Path, sha256: str, progress: bool = True) -> Path:
    """Bring the file at `url` to `path`, with a progress bar, and return the path.

    A file that is already there with the checksum `sha256` is taken without asking the network. `path` appears when
    all is there and the checksum is right, and not before.

    ConnectionError, with a sentence, if the server can't be reached, refuses or stops half-way; ValueError if the
    checksum is another, of the file that came or of the one that was there, and for a `url` that is not http(s).
    """
    path, sha256 = Path(path), sha256.lower()
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"sha256={sha256!r}: expected 64 hexadecimal digits")
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"{url}: expected an address that begins with http:// or https://")
    if path.exists():
        if (found := checksum(path)) != sha256:
            raise ValueError(f"{path}: has the SHA-256 {found}, expected {sha256}; move it away to download it anew")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        receive(url, part, progress)
        if (found := checksum(part)) != sha256:
            raise ValueError(f"{url}: what came has the SHA-256 {found}, expected {sha256}")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def receive(url: str, path: Path, progress: bool) -> None:
    """Write what `url` sends to `path`; ConnectionError if that is not all there is."""
    from tqdm.auto import tqdm  # in a notebook it brings ipywidgets along

    request = urllib.request.Request(url, headers={"User-Agent": "lecturekit"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response, path.open("wb") as file:
            length = response.headers.get("Content-Length")
            total = int(length) if length else None
            with tqdm(total=total, unit="B", unit_scale=True, desc=url.rpartition("/")[2], disable=not progress) as bar:
                while block := response.read(1 << 16):
                    file.write(block)
                    bar.update(len(block))
            received = file.tell()
    except urllib.error.HTTPError as error:
        error.close()
        raise ConnectionError(f"{url}: the server answered {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise ConnectionError(
            f"{url}: can't be reached ({error.reason}). Is there a network? Without one, lecturekit.data has "
            "manual_text, dates, sums, agreement_sentences, and your own files through read_text"
        ) from None
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise ConnectionError(f"{url}: the connection broke ({type(error).__name__}); try again") from None
    # Not every version of Python notices that an answer is shorter than announced.
    if total is not None and received != total:
        raise ConnectionError(f"{url}: the connection broke after {received} of {total} bytes; try again")
