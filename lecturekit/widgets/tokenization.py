"""BPE and WordPiece as they are trained, and any text under several tokenizers side by side.

Every table is what `lecturekit.tokenizers` says: the merges of BPE are those of `training_steps`, those of WordPiece
are `learn_by_likelihood`'s, and a token is what `encode` returns.

Left out: training of byte-level BPE and of Unigram step by step. The first is BPE's on other symbols; the second
drops pieces and never merges.
"""

import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import regex
from markupsafe import Markup

from lecturekit.data import agreement_pairs, manual_text, split_sentences
from lecturekit.tokenizers import BPE, ByteLevelBPE, Unigram, WordPiece
from lecturekit.tokenizers.bpe import apply_merges, choose_pair, count_pairs, merge_pair, training_steps
from lecturekit.tokenizers.byte_level import BYTE_TO_UNICODE, UNICODE_TO_BYTE, spell
from lecturekit.tokenizers.plain import split_text
from lecturekit.tokenizers.wordpiece import learn_by_likelihood, longest_match, pair_scores
from lecturekit.widgets.base import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    Picture,
    Slider,
    Table,
    Text,
    Toggle,
    Widget,
    box,
    drawing,
    tag,
    text,
    visible,
    written,
)
from lecturekit.widgets.reading import Reader, check_reader, ids_of, texts_of

LECTURE = {"cat": 4, "mat": 5, "mats": 2, "mate": 3, "ate": 3, "eat": 2}  # the lecture's corpus: word -> count
MIXED = "The cat is lying in the kitchen. Кошка лежит на кухне. A naïve café, ёлка 🙂"
MOST_WORDS, MOST_LETTERS = 200, 40  # of a corpus that is typed: training is done anew with each change
SHOWN_WORDS, SHOWN_PAIRS, SHOWN_TOKENS, SHOWN_CHARACTERS = 40, 12, 150, 100
COLOURS = (BLUE, ORANGE, GREEN, PURPLE)

STAGE_HEAD = ("what", "symbols", "count", "score")

Pair = tuple[str, str]
Words = dict[tuple[str, ...], int]


# ---- markup ----------------------------------------------------------------------------------------------------------
def chip(content: Any, colour: str = "", title: str | None = None, *under: str) -> Markup:
    """A piece of text in a box of its own, with small lines under it; without a colour the box is faint."""
    edge = colour or "color-mix(in srgb, currentColor 35%, transparent)"
    fill = f"color-mix(in srgb, {colour} 24%, transparent)" if colour else "transparent"
    line = "top" if under else "baseline"
    style = f"display: inline-block; vertical-align: {line}; margin: 1px 1px 2px; padding: 0 3px; border-radius: 3px;"
    # what is written from right to left stays within its box
    parts = [tag("bdi", content)] + [
        tag("span", words, style="display: block; font-size: 10.5px; line-height: 1.3; opacity: .8") for words in under
    ]
    return tag(
        "span", *parts, class_="lk-mono", title=title, style=f"{style} border: 1px solid {edge}; background: {fill}"
    )


def columns(*parts: tuple[str, Markup, int]) -> Markup:
    """Parts, each with a heading and the width that it wants: side by side, or below each other in a narrow window."""
    made = [
        tag("div", tag("p", heading, style="margin: 0 0 4px; font-weight: 600"), part, style=f"flex: 1 1 {width}px")
        for heading, part, width in parts
    ]
    return tag("div", *made, style="display: flex; flex-wrap: wrap; gap: 12px 22px")


def shown(characters: str) -> str:
    """A token so that all of it can be seen: white space, control characters, marks that stand on nothing.

    What has no picture at all is written as its code points, "U+200D".
    """
    pictures = {code: 0x2400 + code for code in range(32) if code not in (9, 10)} | {127: 0x2421}
    if characters and all(unicodedata.category(c) in ("Cf", "Co", "Cn", "Zl", "Zp") for c in characters):
        return " ".join(f"U+{ord(c):04X}" for c in characters)
    standing = "◌" if unicodedata.category(characters[:1] or " ").startswith("M") else ""
    return visible(standing + characters.translate(pictures))


# ---- training, step by step ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Stage:
    """A corpus after some merges, and the tables by which the next one is chosen.

    `values` has what each pair is chosen by, a count or a score, `pair` the one that is (None when training is over).
    """

    words: Words
    counts: dict[Pair, int]
    values: Mapping[Pair, float]
    pair: Pair | None
    vocabulary: list[str]
    merges: list[Pair]


def read_corpus(text: str) -> dict[str, int]:
    """How often each word occurs: "cat:4 mat" is four times cat and once mat. Punctuation is no part of a word.

    The words are those of BERT (`split_text`), in the order in which they come.
    """
    counts: Counter[str] = Counter()
    for piece in text.split():
        found = regex.fullmatch(r"(.*?\p{L}.*?)[:×*](\d{1,9})[,;.]?", piece)
        for word in split_text(found[1] if found else piece, lowercase=False):
            if any(character.isalnum() for character in word):
                counts[word] += int(found[2]) if found else 1
    return {word: count for word, count in counts.items() if count}


def typed(corpus: str | Mapping[str, int]) -> str:
    """A corpus as it is typed into the field. ValueError if one of its words can't be written there."""
    if isinstance(corpus, str):
        return corpus
    written = " ".join(f"{word}:{count}" for word, count in corpus.items())
    if read_corpus(written) != dict(corpus):
        raise ValueError(
            f"corpus {dict(corpus)!r:.80}: expected words without spaces and punctuation, and their counts"
        )
    return written


def learnable(corpus: Mapping[str, int]) -> dict[str, int]:
    """The most frequent MOST_WORDS words that have at most MOST_LETTERS letters, in the order in which they come."""
    short = [word for word in corpus if len(word) <= MOST_LETTERS]
    kept = set(sorted(short, key=lambda word: -corpus[word])[:MOST_WORDS])
    return {word: corpus[word] for word in short if word in kept}


def bpe_stages(corpus: Mapping[str, int], merges: int) -> list[Stage]:
    """A corpus of words and counts before BPE's first merge, after it ... and after `merges` or the last that there is.

    They are the steps of `training_steps`, and what is left when it ends.
    """
    stages = [
        Stage(step.words, step.pair_counts, step.pair_counts, step.pair, step.vocabulary[:-1], step.merges[:-1])
        for step in training_steps(corpus, merges + 1)
    ]
    if not stages:
        words = {tuple(word): count for word, count in corpus.items()}
        stages = [Stage(words, {}, {}, None, sorted(set().union(*words)), [])]
    elif len(stages) <= merges:
        words, vocabulary, done = merged(stages[-1], "")
        counts = count_pairs(words)
        stages.append(Stage(words, counts, counts, None, vocabulary, done))
    return stages[: merges + 1]


def wordpiece_stages(corpus: Mapping[str, int], merges: int, min_frequency: int = 1) -> list[Stage]:
    """The same for WordPiece, whose symbols are marked: `a` begins a word, `##a` stands inside one.

    The merges are those of `learn_by_likelihood`, the values `pair_scores`. A pair that occurs less than
    `min_frequency` times is not merged, and has no value.
    """
    words = {(word[0], *("##" + letter for letter in word[1:])): count for word, count in corpus.items()}
    # as in WordPiece.train: all characters, then those that occur inside words
    vocabulary = [*sorted(set().union(*corpus)), *sorted({symbol for word in words for symbol in word[1:]})]
    ids = {symbol: index for index, symbol in enumerate(vocabulary)}
    spelled = [([ids[symbol] for symbol in word], count) for word, count in words.items()]
    stages: list[Stage] = []
    done: list[Pair] = []

    def values(words: Words) -> dict[Pair, float]:
        counts = count_pairs(words)
        return {pair: score for pair, score in pair_scores(words).items() if counts[pair] >= min_frequency}

    for left, right in learn_by_likelihood(spelled, len(vocabulary), merges + 1, min_frequency):
        pair = vocabulary[left], vocabulary[right]
        stages.append(Stage(words, count_pairs(words), values(words), pair, vocabulary, done))
        words, vocabulary, done = merged(stages[-1], "##")
    if len(stages) <= merges:
        stages.append(Stage(words, count_pairs(words), values(words), None, vocabulary, done))
    return stages[: merges + 1]


def merged(stage: Stage, mark: str) -> tuple[Words, list[str], list[Pair]]:
    """Words, vocabulary and merges after the stage's pair has become one symbol; `mark` is cut off its second half."""
    symbol = stage.pair[0] + stage.pair[1].removeprefix(mark)
    words = {merge_pair(symbols, stage.pair, symbol): count for symbols, count in stage.words.items()}
    return words, [*stage.vocabulary, symbol], [*stage.merges, stage.pair]


def draw_corpus(stage: Stage, newest: str) -> Markup:
    """Each word's symbols in boxes: what is merged next in orange, what was merged last in blue."""
    rows = []
    for symbols, count in [*stage.words.items()][:SHOWN_WORDS]:
        chips = []
        for part in merge_pair(symbols, stage.pair, stage.pair) if stage.pair else symbols:
            joined = isinstance(part, tuple)
            chips += [
                chip(shown(symbol), ORANGE if joined else BLUE if symbol == newest else "")
                for symbol in (part if joined else [part])
            ]
        rows.append(tag("div", *chips, tag("span", f" × {count}", style="opacity: .8")))
    if len(stage.words) > SHOWN_WORDS:
        rows.append(tag("div", f"and {len(stage.words) - SHOWN_WORDS} more words"))
    return tag("div", *rows)


def best_pairs(stage: Stage) -> list[Pair]:
    """The pairs in the order of `choose_pair`, the best SHOWN_PAIRS: first the one that is merged next."""
    age = {symbol: index for index, symbol in enumerate(stage.vocabulary)}
    rest, best = dict(stage.values), []
    while rest and len(best) < SHOWN_PAIRS:
        best.append(choose_pair(rest, age) if best else stage.pair)
        del rest[best[-1]]
    return best


def explained(stage: Stage, pair: Pair, scored: bool) -> str:
    """What a pair is chosen by, and for a score what it comes from."""
    if not scored:
        return str(stage.counts[pair])
    left, right = (sum(word.count(symbol) * count for word, count in stage.words.items()) for symbol in pair)
    return f"{stage.counts[pair]} / ({left} · {right}) = {stage.values[pair]:.3g}"


def draw_pairs(rows: Sequence[tuple[Pair, float, str]], next_pair: Pair | None) -> Markup:
    """A bar for each pair's value, its words beside it; the one that is merged next is orange."""
    unit = 80 / max((value for _, value, _ in rows), default=1)
    parts = []
    for row, (pair, value, words) in enumerate(rows):
        y = 20 * row + 4
        parts += [
            text(104, y + 11, "  ".join(map(shown, pair)), class_="lk-end lk-mono"),
            box(112, y + 1, max(unit * value, 1), 13, fill=ORANGE if pair == next_pair else BLUE),
            text(112 + unit * value + 6, y + 11, words, class_="lk-small"),
        ]
    return drawing(350, 20 * max(len(rows), 1) + 4, *parts, label=f"bars of the {len(rows)} best pairs")


def draw_merges(merges: Sequence[Pair], mark: str) -> Markup:
    """The merges in order, with the symbol that each makes."""
    rows = [
        tag(
            "li",
            f"{shown(left)} + {shown(right)} → ",
            chip(shown(left + right.removeprefix(mark)), BLUE if last else ""),
        )
        for (left, right), last in zip(merges, [False] * (len(merges) - 1) + [True], strict=False)
    ]
    return tag("ol", *rows, class_="lk-mono", style="margin: 0; padding-left: 2.2em") if rows else tag("p", "none yet")


def draw_stage(stage: Stage, word: str, tokens: Sequence[str], left_out: int, mark: str) -> Picture:
    """The three tables of a stage, and the tokens that it cuts a word into; `mark` is "" for BPE."""
    scored, best, done = bool(mark), best_pairs(stage), len(stage.merges)
    pairs = [(pair, stage.values[pair], explained(stage, pair, scored)) for pair in best]
    drawn = columns(
        ("corpus", draw_corpus(stage, stage.vocabulary[-1] if done else ""), 180),
        (f"pairs: {len(stage.values)}", draw_pairs(pairs, stage.pair), 340),
        ("merges", draw_merges(stage.merges, mark), 180),
    )
    if tokens:
        chips = [chip(shown(token), BLUE) for token in tokens[:SHOWN_TOKENS]]
        drawn += tag("p", f"{shown(word)} → ", *chips, style="margin: 8px 0 0")
    symbols = sum(len(word) * count for word, count in stage.words.items())
    caption = (
        f"After {done} merges there are {len(stage.vocabulary)} symbols, and the corpus is {symbols:,} of them long. "
    )
    if stage.pair is not None:
        left, right = map(shown, stage.pair)
        why = f"the highest score, {pairs[0][2]}" if scored else f"the most frequent pair, {pairs[0][2]} times"
        caption += f"Next {left} and {right} become one: {why}."
    else:
        caption += "No pair is left to merge."
    if left_out:
        caption += f" {left_out} words are left out: the rarest, and those of more than {MOST_LETTERS} letters."
    rows = [("word", " ".join(symbols), count, "") for symbols, count in stage.words.items()]
    rows += [("pair", " ".join(pair), stage.counts[pair], stage.values[pair] if scored else "") for pair in best]
    rows += [(f"merge {number}", " ".join(pair), "", "") for number, pair in enumerate(stage.merges, 1)]
    rows += [(word, " ".join(tokens), "", "")] if tokens else []
    return Picture(drawn, caption, Table(STAGE_HEAD, rows))


def steps(
    title: str,
    corpus: str | Mapping[str, int],
    stages_of: Callable[..., list[Stage]],
    tokens_of: Callable[[str, Stage], list[str]],
    mark: str,
    merges: int,
    word: str,
    *more: Slider,
) -> Widget:
    """The widget that `bpe_steps` and `wordpiece_steps` are: they differ in where stages and tokens come from."""
    if merges < 1:
        raise ValueError(f"merges={merges}: expected at least 1")
    trained: dict[Any, tuple[list[Stage], int]] = {}  # for the last corpus

    def stages_for(corpus: str, how: dict[str, int]) -> tuple[list[Stage], int]:
        key = corpus, *how.items()
        if key not in trained:
            counts = read_corpus(corpus)
            kept = learnable(counts)
            found = stages_of(kept, merges, **how) if kept else [], len(counts) - len(kept)
            trained.clear()
            trained[key] = found
        return trained[key]

    def draw(corpus: str, step: int, word: str, **how: int) -> Picture:
        stages, left_out = stages_for(corpus, how)
        if not stages:
            return Picture(Markup(), "No words to learn from: type some, as in cat:4 mat.", Table(STAGE_HEAD, []))
        stage = stages[min(step, len(stages) - 1)]
        tokens = [token for part in word.split() for token in tokens_of(part, stage)]
        return draw_stage(stage, word, tokens, left_out, mark)

    controls = [
        Text("corpus", "corpus (word:count)", typed(corpus), lines=2),
        Slider("step", "merges done", 0, merges, 1, min(3, merges)),
        Text("word", "a word to cut", word),
    ]
    return Widget(title, draw, *controls, *more)


def bpe_steps(corpus: str | Mapping[str, int] = LECTURE, merges: int = 20, word: str = "teammate") -> Widget:
    """Train BPE one merge at a time (`lecturekit.tokenizers.bpe`): the corpus in symbols, its pairs, the merges.

    Args:
        corpus: words and how often each occurs, or a text; in a text "cat:4" is four times cat.
        merges: how far the slider goes.
        word: any word, cut by the merges so far.

    Raises:
        ValueError: a word that can't be typed (one with a space), or no merges at all.
    """

    def tokens_of(word: str, stage: Stage) -> list[str]:
        ranks = {pair: rank for rank, pair in enumerate(stage.merges)}
        products = [left + right for left, right in stage.merges]
        return apply_merges(list(word), ranks, products)

    return steps("BPE, merge by merge", corpus, bpe_stages, tokens_of, "", merges, word)


def wordpiece_steps(corpus: str | Mapping[str, int] = LECTURE, merges: int = 20, word: str = "teammate") -> Widget:
    """Train WordPiece one merge at a time (`lecturekit.tokenizers.wordpiece`); arguments and errors as in `bpe_steps`.

    A slider asks how often a pair must occur at least: without it the score prefers what is rare.
    """

    def tokens_of(word: str, stage: Stage) -> list[str]:
        return longest_match(word, set(stage.vocabulary))

    rare = Slider("min_frequency", "a pair occurs at least", 1, 10, 1, 1)
    return steps("WordPiece, merge by merge", corpus, wordpiece_stages, tokens_of, "##", merges, word, rare)


# ---- side by side ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Token:
    """A token of a text: its id, how the vocabulary writes it, what of it can be read, and the bytes of its letters.

    `data` is None for what stands for no letters: a special token, an unknown character.
    """

    id: int
    written: str
    readable: str
    data: bytes | None


@cache
def small_tokenizers() -> dict[str, Any]:
    """Four tokenizers of at most 2,000 tokens, trained in a second on the manual of Python and on Russian sentences.

    The Russian half is the sentences of `lecturekit.data` that agree, which repeat their words. Every letter of both
    alphabets is there too, at the beginning of a word and inside.
    """
    letters = string.ascii_letters + "абвгдеёжзийклмнопрстуфхцчшщъыьэюяАБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ"
    english = split_sentences(manual_text()[:60_000])
    russian = [sentence for sentence, _ in agreement_pairs(1500, seed=0, language="ru")]
    texts = [*english, *russian, " ".join(letter * 2 for letter in letters)]
    return {
        "BPE": BPE.train(texts, 2000),
        "WordPiece": WordPiece.train(texts, 2000, min_frequency=10),
        "byte-level BPE": ByteLevelBPE.train(texts, 2000),
        "Unigram": Unigram.train(texts, 2000),
    }


def vocabulary_of(tokenizer: Any) -> Mapping[str, int]:
    """Each token's id; empty if the tokenizer doesn't say."""
    for name in ("get_vocab", "vocab"):
        found = getattr(tokenizer, name, None)
        found = found() if callable(found) else found
        if isinstance(found, Mapping):
            return found
    return {}


def special_of(tokenizer: Any) -> set[str]:
    """The special tokens of a tokenizer, ours or Hugging Face's."""
    if hasattr(tokenizer, "get_added_tokens_decoder"):
        return {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    found = getattr(tokenizer, "special_tokens", None) or getattr(tokenizer, "all_special_tokens", None) or ()
    return set(found) if isinstance(found, list | tuple | set) else set()


def reader_of(tokenizer: Reader) -> Callable[[str], list[Token]]:
    """A function from a text to its tokens."""
    vocabulary, special = vocabulary_of(tokenizer), special_of(tokenizer)
    names = {index: token for token, index in vocabulary.items()}
    space = BYTE_TO_UNICODE[32]
    is_byte_level = UNICODE_TO_BYTE.keys() <= vocabulary.keys() and texts_of(tokenizer, [vocabulary[space]]) == [" "]

    def token_of(index: int, decoded: str) -> Token:
        token = names.get(index, decoded)
        if token in special:
            return Token(index, token, token, None)
        if is_byte_level and all(character in UNICODE_TO_BYTE for character in token):
            # a part of a character can't be read, but its bytes can
            return Token(index, token, token if "\ufffd" in decoded else decoded, spell(token))
        letters = token if index in names else decoded
        if index in names:
            for mark in ("##", "▁"):
                letters = letters.removeprefix(mark) if letters != "##" else letters
            letters = letters.removesuffix("</w>")
        return Token(index, token, token, letters.encode("utf-8", errors="replace"))

    def tokens_of(text: str) -> list[Token]:
        ids = ids_of(tokenizer, text)
        return [token_of(index, decoded) for index, decoded in zip(ids, texts_of(tokenizer, ids), strict=True)]

    return tokens_of


SCRIPTS = ("Latin", "Cyrillic", "other")
LATIN, LETTER = regex.compile(r"\p{Latin}"), regex.compile(r"[\p{Latin}\p{Cyrillic}]")


def words_by_script(text: str) -> dict[str, list[str]]:
    """The words of a text, what lies between white space, by the script of their first letter; "other" has neither."""
    found: dict[str, list[str]] = {script: [] for script in SCRIPTS}
    for word in text.split():
        letter = LETTER.search(word)
        found["other" if letter is None else "Latin" if LATIN.match(letter[0]) else "Cyrillic"].append(word)
    return found


def hexadecimal(data: bytes) -> str:
    return data.hex(" ").upper()


def in_alphabet(data: bytes) -> str:
    """Bytes as byte-level BPE writes them."""
    return " ".join(BYTE_TO_UNICODE[byte] for byte in data)


def draw_tokens(tokens: Sequence[Token], ids: bool, as_bytes: bool) -> Markup:
    """A box for each token, in four colours by turns; under it the id and the bytes, if asked for."""
    chips = []
    for place, token in enumerate(tokens[:SHOWN_TOKENS]):
        under = [str(token.id)] if ids else []
        if as_bytes:
            under += [hexadecimal(token.data)] if token.data else ["no bytes"]
        title = f"token {token.written!r}, id {token.id}"
        chips.append(chip(shown(token.readable), COLOURS[place % len(COLOURS)], title, *under))
    if len(tokens) > SHOWN_TOKENS:
        chips.append(tag("span", f" and {len(tokens) - SHOWN_TOKENS} more"))
    return tag("div", *chips)


def draw_characters(text: str) -> Markup:
    """Each character with its code point, its bytes in UTF-8, and these in the alphabet of byte-level BPE."""
    chips = []
    for character in text[:SHOWN_CHARACTERS]:
        data = character.encode("utf-8")
        chips.append(chip(shown(character), "", None, f"U+{ord(character):04X}", hexadecimal(data), in_alphabet(data)))
    if len(text) > SHOWN_CHARACTERS:
        chips.append(tag("span", f" and {len(text) - SHOWN_CHARACTERS} more"))
    return tag("div", *chips)


def draw_costs(costs: Mapping[str, Mapping[str, float]]) -> Markup:
    """Tokens per word of each tokenizer, a bar for each script that the text has."""
    longest = max((value for each in costs.values() for value in each.values()), default=1)
    colours = dict(zip(SCRIPTS, COLOURS, strict=False))
    parts, y = [], 4
    for name, each in costs.items():
        parts.append(text(0, y + 12, name if len(name) < 40 else name[:39] + "…", font_weight=600))
        y += 17
        for script, value in each.items():
            length = 190 / longest * value
            parts += [
                text(60, y + 11, script, class_="lk-end lk-small"),
                box(66, y + 1, length, 12, fill=colours[script]),
                text(72 + length, y + 11, f"{value:.2f}", class_="lk-small"),
            ]
            y += 16
        y += 6
    return drawing(300, y, *parts, label="bars of tokens per word, for each tokenizer and script")


def statistics(text: str, tokens: Sequence[Token]) -> dict[str, float]:
    """What is counted of a text's tokens; without words, or without tokens, there is no average."""
    words = len(text.split())
    return (
        {"tokens": len(tokens)}
        | ({"per word": len(tokens) / words} if words else {})
        | ({"characters per token": len(text) / len(tokens)} if tokens else {})
        | {"unknown": sum(token.data is None and token.written not in text for token in tokens)}
    )


def draw_texts(
    text: str,
    tokens: Mapping[str, Sequence[Token]],
    costs: Mapping[str, Mapping[str, float]],
    ids: bool,
    as_bytes: bool,
) -> Picture:
    """A text's tokens by each tokenizer, and what a word of each script costs."""
    head = ["tokenizer", "tokens", "per word", "characters per token", "unknown"]
    head += [f"per {script} word" for script in SCRIPTS] + ["the first tokens", "their ids"]
    drawn, rows = Markup(), []
    for name, found in tokens.items():
        counted = statistics(text, found)
        said = ", ".join(f"{written(value)} {what}" for what, value in counted.items() if value or what == "tokens")
        heading = tag("strong", name), tag("span", f"  {said}", style="opacity: .8; white-space: pre-wrap")
        drawn += tag("p", *heading, style="margin: 8px 0 2px") + draw_tokens(found, ids, as_bytes)
        row = [name, *(counted.get(what, "") for what in ("tokens", *head[2:5]))]
        row += [costs[name].get(script, "") for script in SCRIPTS]
        first = found[:SHOWN_TOKENS]
        rows.append([*row, " ".join(shown(each.readable) for each in first), " ".join(str(each.id) for each in first)])
    parts = [("characters and their bytes in UTF-8", draw_characters(text), 460)] if as_bytes else []
    parts += [("tokens per word, by script", draw_costs(costs), 300)] if any(costs.values()) else []
    drawn += tag("div", columns(*parts), style="margin-top: 10px")
    scripts = ", ".join(f"{len(words)} {script}" for script, words in words_by_script(text).items() if words) or "none"
    numbers = {name: len(found) for name, found in tokens.items()}
    least, most = min(numbers, key=numbers.__getitem__), max(numbers, key=numbers.__getitem__)
    caption = f"{len(text)} characters, {len(text.encode())} bytes; words: {scripts}. "
    caption += f"{least} needs {numbers[least]} tokens"
    caption += f", the fewest, and {most} {numbers[most]}." if numbers[least] < numbers[most] else "."
    return Picture(drawn, caption, Table(head, rows))


def tokenizers_side_by_side(text: str = MIXED, tokenizers: Mapping[str, Reader] | None = None) -> Widget:
    """Any text under several tokenizers: where they cut, their ids, the bytes, and what each script costs.

    Tokens per word are counted for the words of each script by themselves, joined by spaces; words are what lies
    between white space.

    Args:
        text: what is cut first; it can be changed.
        tokenizers: by name, anything with `encode` and `decode`: those of `lecturekit.tokenizers`, of Hugging Face
            (`tokenizers` and `transformers`), or your own. Without them BPE, WordPiece, byte-level BPE and Unigram,
            trained on a small corpus in both languages (`small_tokenizers`).

    Raises:
        TypeError: a tokenizer without `encode` or `decode`.
        ValueError: no tokenizer at all; a text that the tokenizer refuses, such as a lone surrogate.
    """
    chosen = dict(small_tokenizers() if tokenizers is None else tokenizers)
    if not chosen:
        raise ValueError("no tokenizers: expected at least one")
    for name, tokenizer in chosen.items():
        check_reader(tokenizer, name)
    readers = {name: reader_of(tokenizer) for name, tokenizer in chosen.items()}
    read: dict[str, tuple[dict[str, list[Token]], dict[str, dict[str, float]]]] = {}  # the last text's tokens and costs

    def look(text: str) -> tuple[dict[str, list[Token]], dict[str, dict[str, float]]]:
        if text not in read:
            words = {script: found for script, found in words_by_script(text).items() if found}
            costs = {
                name: {script: len(ids_of(each, " ".join(found))) / len(found) for script, found in words.items()}
                for name, each in chosen.items()
            }
            tokens = {name: tokens_of(text) for name, tokens_of in readers.items()}
            read.clear()
            read[text] = tokens, costs
        return read[text]

    def draw(text: str, ids: bool, in_bytes: bool) -> Picture:
        if not text:
            return Picture(Markup(), "There is no text: type one.", Table(("tokenizer", "tokens"), []))
        return draw_texts(text, *look(text), ids, in_bytes)

    controls = [Text("text", "text", text, lines=3), Toggle("ids", "ids"), Toggle("in_bytes", "bytes")]
    return Widget("One text, several tokenizers", draw, *controls)
