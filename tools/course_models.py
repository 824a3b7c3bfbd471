"""Train the course's own small models, those of lecturekit/pretrained.

    python tools/course_models.py gpt [--data ../shared/data] [--steps N] [--into FOLDER]

gpt and bert learn from three books that are not in the repository; seq2seq, t5 and in-context from what
`lecturekit.data` generates. One thread, one seed, and chance that comes from the number of a batch alone: two runs on
the same kind of machine write the same bytes. The last tenth of each book is held out; so are the last thousand
examples of what is generated, or the words that `lecturekit.data.is_held_out` says. At the end weights are rounded to
half precision, and the figures of card.json are those of the rounded weights; files appear when they are whole.
"""

import argparse
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from lecturekit import data, pretrained
from lecturekit.generation import generate
from lecturekit.layers import sinusoidal_positions, token_loss
from lecturekit.models.bert import BertConfig
from lecturekit.models.gpt import GPT2Config
from lecturekit.models.seq2seq import Seq2SeqConfig
from lecturekit.models.t5 import T5Config
from lecturekit.objectives import IGNORED, consecutive_blocks, glue_input, glue_target, mask_tokens, random_blocks
from lecturekit.optim import AdamW, cosine_schedule, parameter_groups
from lecturekit.tokenizers import ByteLevelBPE, Characters, Tokenizer, Unigram, WordPiece
from lecturekit.train import Step, evaluate, named_tensors, train

SEED = 1
BOOKS = {
    "War and Peace, English": "war_and_peace_en.txt",
    "War and Peace, Russian": "war_and_peace_ru.txt",
    "Shakespeare": "shakespeare_en.txt",
}
Texts = Mapping[str, str]  # title: text
Figures = dict[str, Any]


@dataclass
class Recipe:
    """All that sets the training of one model apart from that of another."""

    config: Any
    tokenizer: Tokenizer
    draw: Callable[[int], Any]  # a batch by its number
    loss: Callable[[nn.Module, Any], Any]
    steps: int
    data: dict[str, str]  # what it learns from, and what part of it
    rate: float = 2e-3
    start: Callable[[nn.Module], None] = field(default=lambda model: None)  # better initial weights


# ---- books -----------------------------------------------------------------------------------------------------------
def read_books(folder: Path, titles: Sequence[str]) -> Texts:
    """The books by title. FileNotFoundError names the file that is missing."""
    for title in titles:
        if not (folder / BOOKS[title]).is_file():
            raise FileNotFoundError(
                f"no {BOOKS[title]} in {folder}: expected the text of {title} in UTF-8 (--data names the folder)"
            )
    return {title: data.read_text(folder / BOOKS[title]) for title in titles}


def taught(text: str) -> str:
    """The first nine tenths of a book, up to the end of a line."""
    return text[: text.rindex("\n", 0, len(text) * 9 // 10) + 1]


def held_out(text: str) -> str:
    """The last tenth of a book."""
    return text[len(taught(text)) :]


def of_books(texts: Texts) -> dict[str, str]:
    return dict.fromkeys(texts, "the first nine tenths")


def unwrapped(text: str) -> str:
    """A paragraph a line: lines that end in the middle of a paragraph are joined, but for verse and plays."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return "\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def prepared(texts: Texts) -> dict[str, str]:
    """The books as the models read them: prose with a paragraph a line, Shakespeare line by line as he stands."""
    return {title: text if title == "Shakespeare" else unwrapped(text) for title, text in texts.items()}


def no_dropout(*names: str) -> dict[str, float]:
    return dict.fromkeys(names, 0.0)


@torch.no_grad()
def begin_with_sines(model: nn.Module, positions: nn.Embedding, scale: float = 3.0) -> None:
    """Draw matrices `scale` times larger, and let positions begin as sinusoids, from where they are learnt on.

    A small model that begins so finds out in a third of the steps how to look at the token before.
    """
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.mul_(scale)
    table = sinusoidal_positions(*positions.weight.shape)  # [T, D]
    positions.weight.copy_(table * (2**0.5 * scale * model.config.initializer_range))


# ---- gpt -------------------------------------------------------------------------------------------------------------
def next_token(model: nn.Module, block: Tensor) -> Tensor:
    """block [B, T + 1] -> the mean loss of the last T of its tokens."""
    return token_loss(model(block[:, :-1]).logits, block[:, 1:])


def gpt(books: Texts, vocab_size: int = 4096, context: int = 128, batch: int = 8) -> Recipe:
    texts = prepared(books)
    lessons = [taught(text) for text in texts.values()]
    tokenizer = ByteLevelBPE.train(lessons, vocab_size, processes=1)
    tokens = torch.tensor([index for lesson in lessons for index in tokenizer.encode(lesson)])
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=context,
        n_embd=128,
        n_layer=4,
        n_head=4,
        eos_token_id=None,
        **no_dropout("resid_pdrop", "embd_pdrop", "attn_pdrop"),
    )
    return Recipe(
        config,
        tokenizer,
        lambda number: random_blocks(tokens, context + 1, batch, Generator().manual_seed(SEED + number)),
        next_token,
        steps=4200,
        data=of_books(books),
        start=lambda model: begin_with_sines(model, model.transformer.wpe),
    )


def gpt_on_book(model: nn.Module, tokenizer: Tokenizer, text: str) -> Figures:
    """The loss on the held-out tenth of a book, in nats a token and in bits a character."""
    tokens = torch.tensor(tokenizer.encode(held_out(text)))
    blocks = consecutive_blocks(tokens, model.config.n_positions + 1)
    loss = evaluate(model, blocks.split(32), next_token)
    each = len(held_out(text)) / len(tokens)  # characters
    return {"nats a token": loss, "bits a character": loss / each / torch.tensor(2.0).log().item()}


@torch.no_grad()
def log_likelihoods(model: nn.Module, tokenizer: Tokenizer, texts: Sequence[str], before: str = "\n") -> Tensor:
    """The log-probability of each text behind `before`, summed over its tokens: [N]."""
    rows = [tokenizer.encode(before + text) for text in texts]
    first, width = len(tokenizer.encode(before)), max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    real = torch.tensor([[first <= place < len(row) for place in range(width)] for row in rows])
    log_probs = model(ids[:, :-1]).logits.log_softmax(dim=-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    return (log_probs * real[:, 1:]).sum(dim=-1)


def gpt_anywhere(model: nn.Module, tokenizer: Tokenizer) -> Figures:
    """Of sentences that differ in a word that agrees or doesn't, how often the right one is likelier; and its loss."""
    figures: Figures = {}
    for language in ("en", "ru"):
        right, wrong = zip(*data.agreement_pairs(200, SEED, language), strict=True)
        likelihoods = log_likelihoods(model, tokenizer, right)
        prefers = (likelihoods > log_likelihoods(model, tokenizer, wrong)).float().mean().item()
        figures[f"agreement, {language}"] = prefers
        figures[f"nats a character of a sentence, {language}"] = -likelihoods.sum().item() / sum(map(len, right))
    return figures


# ---- bert ------------------------------------------------------------------------------------------------------------
def masked_tokens(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Inputs and labels [B, T] -> the mean loss of the hidden tokens, and their number: the head sees only those."""
    ids, labels = batch
    asked = labels != IGNORED
    hidden = model.bert(ids, ids != model.config.pad_token_id).last_hidden_state[asked]  # [N, D]
    return token_loss(model.cls(hidden[None]), labels[asked][None]), asked.sum()


def sentence_rows(tokenizer: Tokenizer, text: str, length: int) -> list[list[int]]:
    """[CLS] sentences [SEP] in at most `length` tokens, a row from each sentence on as many as there is room for."""
    sentences = [tokenizer.encode(sentence) for line in text.split("\n") for sentence in data.split_sentences(line)]
    cls_id, sep_id = tokenizer.vocab["[CLS]"], tokenizer.vocab["[SEP]"]
    rows = []
    for number, sentence in enumerate(sentences):
        row = sentence[: length - 2]
        for following in sentences[number + 1 : number + 10]:
            if len(row) + len(following) > length - 2:
                break
            row = row + following
        rows.append([cls_id, *row, sep_id])
    return rows


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> Tensor:
    """Rows of any lengths -> [B, T], with padding behind the shorter ones."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in rows])


def hide(tokenizer: Tokenizer, ids: Tensor, chance: Generator, rate: float = 0.15) -> tuple[Tensor, Tensor]:
    special = [tokenizer.vocab[token] for token in tokenizer.special_tokens]
    return mask_tokens(ids, tokenizer.vocab["[MASK]"], len(tokenizer), special, chance, rate)


def bert(books: Texts, vocab_size: int = 4096, length: int = 64, steps: int = 6000) -> Recipe:
    texts = prepared({title: text for title, text in books.items() if title != "Shakespeare"})
    lessons = [taught(text) for text in texts.values()]
    tokenizer = WordPiece.train(lessons, vocab_size, score="frequency", lowercase=False, processes=1)
    short, long = (
        [row for lesson in lessons for row in sentence_rows(tokenizer, lesson, size)] for size in (24, length)
    )

    def draw(number: int) -> tuple[Tensor, Tensor]:
        # The first half of the steps has short rows and more masks: the model sooner finds that neighbours matter.
        rows, batch, rate = (short, 40, 0.3) if number < steps // 2 else (long, 16, 0.15)
        chance = Generator().manual_seed(SEED + number)
        chosen = torch.randint(len(rows), (batch,), generator=chance).tolist()
        return hide(tokenizer, pad([rows[index] for index in chosen], tokenizer.vocab["[PAD]"]), chance, rate)

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=length,
        **no_dropout("hidden_dropout_prob", "attention_probs_dropout_prob"),
    )
    return Recipe(
        config,
        tokenizer,
        draw,
        masked_tokens,
        steps=steps,
        data=of_books(texts),
        rate=1e-3,
        start=lambda model: begin_with_sines(model, model.bert.embeddings.position_embeddings),
    )


@torch.no_grad()
def guesses(model: nn.Module, tokenizer: Tokenizer, rows: list[list[int]]) -> Figures:
    """The loss of the tokens that are hidden in `rows`, and how often the right one is the first or among ten."""
    total, hits, hits_of_ten, count = 0.0, 0, 0, 0
    for number, start in enumerate(range(0, len(rows), 64)):
        ids = pad(rows[start : start + 64], tokenizer.vocab["[PAD]"])
        batch = hide(tokenizer, ids, Generator().manual_seed(number))
        asked = batch[1] != IGNORED
        loss, size = masked_tokens(model, batch)
        logits = model.cls(model.bert(batch[0], ids != model.config.pad_token_id).last_hidden_state[asked])
        found = logits.topk(10, dim=-1).indices == batch[1][asked][:, None]  # [N, 10]
        total, count = total + loss.item() * int(size), count + int(size)
        hits, hits_of_ten = hits + int(found[:, 0].sum()), hits_of_ten + int(found.sum())
    return {"nats a hidden token": total / count, "first guess": hits / count, "first ten": hits_of_ten / count}


def bert_on_book(model: nn.Module, tokenizer: Tokenizer, text: str) -> Figures:
    """`guesses` on the held-out tenth of a book, in rows that don't overlap much: every fifth sentence begins one."""
    return guesses(model, tokenizer, sentence_rows(tokenizer, held_out(text), 64)[::5])


def bert_anywhere(model: nn.Module, tokenizer: Tokenizer) -> Figures:
    """`guesses` on sentences that `lecturekit.data` generates."""
    figures = {}
    for language in ("en", "ru"):
        right = [pair[0] for pair in data.agreement_pairs(200, SEED, language)]
        of_these = guesses(model, tokenizer, [tokenizer(sentence)["input_ids"] for sentence in right])
        figures |= {f"{name} of a sentence, {language}": value for name, value in of_these.items()}
    return figures


# ---- seq2seq ---------------------------------------------------------------------------------------------------------
LANGUAGES = ("en", "ru")
DATES = 40_000  # in a language
TAUGHT, LAST = slice(None, -1000), slice(-1000, None)  # of all that is generated, the last thousand are held out


@cache
def all_dates(language: str) -> list[tuple[str, str]]:
    return data.dates(DATES, SEED, language)


def as_batch(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Texts in the tokenizer's template -> ids [B, T]."""
    return pad([tokenizer(text)["input_ids"] for text in texts], tokenizer.vocab["<pad>"])


def seq2seq(books: Texts, batch: int = 64) -> Recipe:
    pairs = [pair for language in LANGUAGES for pair in all_dates(language)[TAUGHT]]
    tokenizer = Characters.train(["".join(pair) for pair in pairs], single="<s> $A </s>")

    def draw(number: int) -> tuple[Tensor, Tensor]:
        sources, targets = zip(*Random(f"{SEED} {number}").choices(pairs, k=batch), strict=True)
        return as_batch(tokenizer, sources), as_batch(tokenizer, targets)

    config = Seq2SeqConfig(
        vocab_size=len(tokenizer),
        embedding_size=32,
        hidden_size=64,
        num_layers=1,
        cell="gru",
        bidirectional=True,
        attention="perceptron",
        dropout=0.0,
    )
    generated = {f"lecturekit.data.dates, {language}": "all but 1000 of 40000" for language in LANGUAGES}
    return Recipe(config, tokenizer, draw, lambda model, pair: model.loss(*pair), 1500, generated, rate=5e-3)


@torch.no_grad()
def seq2seq_anywhere(model: nn.Module, tokenizer: Tokenizer) -> Figures:
    """How many held-out dates are translated without a mistake; how much a digit looks at its own place (±1)."""
    figures = {}
    for language in LANGUAGES:
        sources, targets = zip(*all_dates(language)[LAST], strict=True)
        source, target = as_batch(tokenizer, sources), as_batch(tokenizer, targets)
        written = model.generate(source, max_new_tokens=target.size(1) - 1)
        short = target.size(1) - 1 - written.size(1)
        written = torch.nn.functional.pad(written, (0, short))
        figures[f"dates, {language}"] = (written == target[:, 1:]).all(dim=1).float().mean().item()
    numbers = [(source, target) for source, target in all_dates("ru")[LAST] if len(source) == 10 and source[5] == "."]
    sources, targets = zip(*numbers, strict=True)
    alignment = model(as_batch(tokenizer, sources), as_batch(tokenizer, targets)[:, :-1])[1]
    own = {0: 6, 1: 7, 2: 8, 3: 9, 5: 3, 6: 4, 8: 0, 9: 1}  # 2024-05-17: where 17.05.2024 has the digit
    weights = [alignment[:, row, max(place, 0) : place + 3].sum(dim=-1) for row, place in own.items()]
    figures["weight on a digit's own place, ru"] = torch.stack(weights).mean().item()
    return figures


# ---- t5 --------------------------------------------------------------------------------------------------------------
SENTENCES = 30_000
T5_TASKS = ("sum", "date, en", "date, ru", "reverse", "cola, en", "cola, ru")


def t5_pairs(task: str, part: slice) -> list[tuple[str, str]]:
    """Pairs (text in, text out) of a task: `part` of all, those at the end being held out."""
    name, _, language = task.partition(", ")
    if name == "sum":
        pairs = [(f"sum: {given}", answer) for given, answer in data.sums(15_000, SEED, operators="+-")[part]]
    elif name == "date":
        pairs = [(f"date: {given}", answer) for given, answer in all_dates(language)[part]]
    elif name == "reverse":
        chance = Random(SEED)
        words = data.distinct(lambda: (" ".join(data.made_up_word(chance, 8)),), 15_000)[part]
        pairs = [(f"reverse: {letters}", letters[::-1]) for (letters,) in words]
    else:
        sentences = data.agreement_sentences(SENTENCES, SEED, language)[part]
        pairs = [(glue_input("cola", sentence=text), glue_target("cola", label)) for text, label in sentences]
    return pairs


def t5(books: Texts, of_each: int = 16) -> Recipe:
    pairs = {task: t5_pairs(task, TAUGHT) for task in T5_TASKS}
    texts = (text for of_task in pairs.values() for pair in of_task for text in pair)
    # Words become tokens, and digits none but themselves, or a date would be one of a hundred years.
    tokenizer = Unigram.train((re.sub(r"([^\W\d_]+|\S)", r" \1 ", text) for text in texts), 800, processes=1)
    pad_id = tokenizer.vocab["<pad>"]

    def draw(number: int) -> dict[str, Tensor]:
        chance = Random(f"{SEED} {number}")
        chosen = [pair for of_task in pairs.values() for pair in chance.choices(of_task, k=of_each)]
        sources, targets = zip(*chosen, strict=True)
        ids, labels = as_batch(tokenizer, sources), as_batch(tokenizer, targets)
        return {
            "input_ids": ids,
            "attention_mask": (ids != pad_id).long(),
            "labels": labels.masked_fill(labels == pad_id, IGNORED),
        }

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return model(**batch).loss

    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=64,
        d_kv=16,
        d_ff=256,
        num_layers=3,
        num_heads=4,
        dropout_rate=0.0,
    )
    generated = {
        "lecturekit.data.sums, + and -": "all but 1000 of 15000",
        "lecturekit.data.dates, en and ru": "all but 1000 of 40000 each",
        "lecturekit.data.made_up_word": "all but 1000 of 15000",
        "lecturekit.data.agreement_sentences, en and ru": "all but 1000 of 30000 each",
    }
    return Recipe(config, tokenizer, draw, loss, 4500, generated)


@torch.no_grad()
def t5_anywhere(model: nn.Module, tokenizer: Tokenizer, count: int = 1000) -> Figures:
    """For each task how many of the held-out texts get the right text, greedily."""
    figures = {}
    for task in T5_TASKS:
        sources, targets = zip(*t5_pairs(task, LAST)[:count], strict=True)
        ids = as_batch(tokenizer, sources)
        written = generate(model, ids, 14, attention_mask=(ids != tokenizer.vocab["<pad>"]).long())
        answers = [tokenizer.decode(row.tolist(), skip_special_tokens=True) for row in written]
        figures[task] = sum(map(str.__eq__, answers, targets)) / count
    return figures


# ---- in-context ------------------------------------------------------------------------------------------------------
ARROW, END = " -> ", "\n"
CYRILLIC = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
LETTERS = ARROW + END + "0123456789" + data.ALPHABET + data.ALPHABET.upper() + CYRILLIC + CYRILLIC.upper()
# String functions come often: they are hard, and a word without an example must not be one that is only translated.
LESSONS = (*data.STRING_FUNCTIONS, "reverse") * 4 + (
    *data.TRANSLATIONS,
    *data.PATTERNS,
    "pattern",
    "pattern",
    "pattern",
)
SHOTS = (0, 1, 2, 4, 8)


def in_context_row(tokenizer: Tokenizer, length: int, chance: Random) -> tuple[list[int], list[int]]:
    """Examples of one task, a line each, until there are `length` tokens: (ids, labels), labels for answers alone.

    An answer ends with its line. A pattern that repeats has no answer, and is all label.
    """
    task, ids, labels = chance.choice(LESSONS), [], []
    if task == "pattern":
        ids = tokenizer.encode(data.repeated_pattern(chance, length + 8))
        return ids[:length], ids[:length]
    seen: set[str] = set()
    while len(ids) < length:
        given, answer = data.task_example(task, chance)
        if given in seen and len(seen) < 20:  # an example that came before would only be copied
            continue
        seen.add(given)
        question, answer = tokenizer.encode(given + ARROW), tokenizer.encode(answer + END)
        ids, labels = ids + question + answer, labels + [IGNORED] * len(question) + answer
    return ids[:length], labels[:length]


def in_context_loss(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """ids and labels [B, T + 1], the position [B, 1] of each row's first token -> the mean loss and its targets."""
    ids, labels, first = batch
    logits = model(ids[:, :-1], position_ids=first + torch.arange(ids.size(1) - 1)).logits
    return token_loss(logits, labels[:, 1:]), (labels[:, 1:] != IGNORED).sum()


def in_context(books: Texts, context: int = 160, batch: int = 8, steps: int = 8000) -> Recipe:
    tokenizer = Characters.train([LETTERS])

    def draw(number: int) -> tuple[Tensor, Tensor, Tensor]:
        chance = Random(f"{SEED} {number}")
        # The first half of the steps has short texts that begin anywhere: what to look at is found sooner there.
        length, rows = (64, 2 * batch) if number < steps // 2 else (context, batch)
        rows = [in_context_row(tokenizer, length + 1, chance) for _ in range(rows)]
        first = torch.tensor([[chance.randint(0, context - length)] for _ in rows])
        return torch.tensor([ids for ids, _ in rows]), torch.tensor([labels for _, labels in rows]), first

    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=context,
        n_embd=96,
        n_layer=4,
        n_head=4,
        eos_token_id=tokenizer.vocab[END],
        **no_dropout("resid_pdrop", "embd_pdrop", "attn_pdrop"),
    )
    generated = {
        "lecturekit.data.task_example": "words that are not held out",
        "lecturekit.data.repeated_pattern": "all",
    }
    return Recipe(
        config,
        tokenizer,
        draw,
        in_context_loss,
        steps,
        generated,
        rate=2e-3,
        start=lambda model: begin_with_sines(model, model.transformer.wpe),
    )


def prompts_of(task: str, shots: int, count: int) -> list[tuple[str, str]]:
    """Pairs (prompt, answer) with `shots` examples, drawn into ever new company.

    The string functions are given held-out words; for translation there are none, so only those that are not.
    """
    chance = Random(f"{SEED} {task} {shots}")
    pool = data.task_examples(task, 40, SEED, held_out=True)
    if task in data.TRANSLATIONS:
        pool = [example for example in pool if not data.is_held_out(example[0])]
    found = []
    for _ in range(count):
        *shown, (query, answer) = chance.sample(pool, shots + 1)
        lines = [f"{given}{ARROW}{right}{END}" for given, right in shown]
        found.append(("".join(lines) + query + ARROW, answer))
    return found


def options_for(task: str, word: str) -> list[str]:
    """Answers that the other tasks would give to a word: of all string functions, and its translation if it has one."""
    translations = dict(data.word_pairs()) | {russian: english for english, russian in data.word_pairs()}
    answers = [function(word) for function in data.STRING_FUNCTIONS.values()]
    return list(dict.fromkeys([*answers, *([translations[word]] if word in translations else [])]))


def in_context_anywhere(model: nn.Module, tokenizer: Tokenizer, count: int = 60) -> Figures:
    """By task and number of examples: how often the likeliest text is the answer; how often it's the likeliest option.

    An answer is right if each of its characters and its end is the likeliest one behind those before it. The options
    are those of `options_for`.
    """
    figures: Figures = {"written": {}, "chosen": {}}
    for task in data.TASKS:
        for kind in figures:
            figures[kind][task] = {}
        for shots in SHOTS:
            prompts = prompts_of(task, shots, count)
            rows = [(tokenizer.encode(prompt), tokenizer.encode(answer + END)) for prompt, answer in prompts]
            with torch.no_grad():
                likeliest = model(pad([prompt + answer for prompt, answer in rows], 0)).logits.argmax(dim=-1)
            right = [
                found[len(prompt) - 1 : len(prompt) + len(answer) - 1].tolist() == answer
                for found, (prompt, answer) in zip(likeliest, rows, strict=True)
            ]
            figures["written"][task][str(shots)] = sum(right) / len(right)
            if task in data.PATTERNS:
                continue
            hits = 0
            for prompt, answer in prompts[: count // 2]:
                query = prompt.rpartition(END)[2].removesuffix(ARROW)
                options = options_for(task, query)
                likelihoods = log_likelihoods(model, tokenizer, [option + END for option in options], prompt)
                hits += options[int(likelihoods.argmax())] == answer
            figures["chosen"][task][str(shots)] = hits / (count // 2)
    figures["chosen"] = {task: by_shots for task, by_shots in figures["chosen"].items() if by_shots}
    return figures


# ---- all five --------------------------------------------------------------------------------------------------------
class Course(NamedTuple):
    """What there is to know of a model: its recipe, its figures without a book, the books it reads, those on a book."""

    recipe: Callable[..., Recipe]
    anywhere: Callable[[nn.Module, Tokenizer], Figures]
    books: tuple[str, ...] = ()
    on_book: Callable[[nn.Module, Tokenizer, str], Figures] | None = None


COURSE = {
    "gpt": Course(gpt, gpt_anywhere, tuple(BOOKS), gpt_on_book),
    "bert": Course(bert, bert_anywhere, ("War and Peace, English", "War and Peace, Russian"), bert_on_book),
    "seq2seq": Course(seq2seq, seq2seq_anywhere),
    "t5": Course(t5, t5_anywhere),
    "in-context": Course(in_context, in_context_anywhere),
}


def figures(name: str, model: nn.Module, tokenizer: Tokenizer, books: Texts) -> Figures:
    """All figures of a model: `anywhere` needs no book, `books` has those on the held-out tenth of each."""
    course = COURSE[name]
    found = {"anywhere": course.anywhere(model.eval(), tokenizer)}
    if course.books and books:
        texts = prepared(books)
        found["books"] = {title: course.on_book(model, tokenizer, texts[title]) for title in course.books}
    return found


def rounded(value: Any) -> Any:
    """Figures with four digits behind the point."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def tied_weights(model: nn.Module) -> dict[str, str]:
    """The further names of tied weights: the name under which each is stored."""
    first = {tensor.data_ptr(): name for name, tensor in named_tensors(model).items()}
    names = sorted(model.state_dict(keep_vars=True).items())
    return {name: first[tensor.data_ptr()] for name, tensor in names if name != first[tensor.data_ptr()]}


def write_weights(model: nn.Module, path: Path) -> None:
    """Half precision, each tied weight once."""
    # One entry of metadata: the order of several is not the same in every run.
    save_file(
        {name: tensor.half().contiguous() for name, tensor in named_tensors(model).items()}, path, {"format": "pt"}
    )
    path.chmod(0o644)  # safetensors writes for the owner alone


def publish(part: Path, folder: Path) -> None:
    """Move the files of `part` to `folder`, each in one step, so that none is ever there by half.

    Files of a tokenizer of another kind, which was there before, are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = {path.name for path in part.iterdir()}
    for name in sorted(names):
        os.replace(part / name, folder / name)
    for name in {"merges.txt", "tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt"} - names:
        (folder / name).unlink(missing_ok=True)


def machine() -> str:
    """What kind of machine this is, without its name."""
    return f"{platform.system()}, {platform.machine()}, one thread: seconds of processor time"


def make(name: str, books: Texts, folder: Path, steps: int | None = None, progress: bool = True) -> dict[str, Any]:
    """Train a course model, write its files into `folder`, and return its card.

    `books` are the texts by title, of those titles that the model reads; the others read nothing. Fewer `steps` than
    the recipe's make a model of the same kind that knows less.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    more = {"steps": steps} if name in ("bert", "in-context") and steps else {}
    recipe = COURSE[name].recipe(books, **more)
    steps = steps or recipe.steps
    torch.manual_seed(SEED)
    kind = pretrained.KINDS[name]
    model = getattr(import_module(kind.module), kind.model)(recipe.config)
    recipe.start(model)
    begun = time.process_time()

    def watch(step: Step) -> None:
        if progress and (step.number % 100 == 0 or step.number == steps):
            past = time.process_time() - begun
            print(f"step {step.number} of {steps}: loss {step.loss:.3f}, {past:.0f} s", flush=True)

    train(
        model,
        recipe.draw,
        recipe.loss,
        AdamW(parameter_groups(model, 0.1), lr=recipe.rate, betas=(0.9, 0.98)),
        steps,
        schedule=partial(cosine_schedule, warmup_steps=steps // 40, total_steps=steps, lowest=0.02),
        progress=False,
        watch=watch,
    )
    seconds = time.process_time() - begun
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())  # the figures are those of what is stored
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        write_weights(model, part / "model.safetensors")
        recipe.tokenizer.save(part)
        fields = {"model_type": pretrained.MODEL_TYPES[kind.config], **asdict(recipe.config)}
        fields["tied_weights"] = tied_weights(model)
        (part / "config.json").write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
        card = {
            "name": name,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "bytes": sum(path.stat().st_size for path in part.iterdir()),
            "seed": SEED,
            "steps": steps,
            "seconds": round(seconds),
            "machine": machine(),
            "torch": torch.__version__.partition("+")[0],
            "data": recipe.data,
            "held_out": rounded(figures(name, model, recipe.tokenizer, books)),
        }
        (part / "card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        publish(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return card


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python tools/course_models.py", description=__doc__.partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument("name", choices=pretrained.NAMES)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of the books")
    parser.add_argument("--steps", type=int, help="fewer or more than the recipe has")
    parser.add_argument("--into", type=Path, help="a folder for the files, in place of lecturekit/pretrained")
    options = parser.parse_args(arguments)
    if options.steps is not None and options.steps < 1:
        parser.error(f"--steps {options.steps}: expected at least 1")
    try:
        books = read_books(options.data, COURSE[options.name].books)
    except (FileNotFoundError, ValueError) as error:
        parser.exit(2, f"{error}\n")
    card = make(options.name, books, options.into or pretrained.folder_of(options.name), options.steps)
    print(json.dumps(card, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
