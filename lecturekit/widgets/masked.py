"""The masked-token game: mask a word, and see at each layer which words the model would put there.

After the embeddings and after each layer the model's own head is applied to what stands at the masked place, as
nostalgebraist's "interpreting GPT: the logit lens" (LessWrong, 2020) does it for GPT. The head was trained for the
last layer alone: what it makes of the others is a reading of them, not their answer. The game itself is BERT's task
(Devlin et al., 2018, https://arxiv.org/abs/1810.04805, section 3.1, task 1).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from markupsafe import Markup
from torch import Tensor, nn

from lecturekit.widgets.base import (
    BLUE,
    ORANGE,
    Picture,
    Slider,
    Table,
    Text,
    Toggle,
    Widget,
    sets,
    tag,
    visible,
)
from lecturekit.widgets.reading import Reader, at_rest, ids_of, logits_of, texts_of

BEST = 10
MOST_TOKENS = 40  # that the slider reaches, if the first text has no more


# ---- the text --------------------------------------------------------------------------------------------------------
def vocabulary(tokenizer: Any) -> dict[str, int]:
    """Each token's id, as far as the tokenizer tells."""
    found = getattr(tokenizer, "vocab", None)
    if not isinstance(found, Mapping) and callable(getattr(tokenizer, "get_vocab", None)):
        found = tokenizer.get_vocab()
    return dict(found) if isinstance(found, Mapping) else {}


def mask_of(tokenizer: Any) -> int:
    """The id of the mask token: `mask_token_id`, or that of `mask_token`, [MASK] or <mask> in the vocabulary.

    ValueError if there is none.
    """
    index = getattr(tokenizer, "mask_token_id", None)
    if isinstance(index, int):
        return index
    known = vocabulary(tokenizer)
    for token in (getattr(tokenizer, "mask_token", None), "[MASK]", "<mask>"):
        if token in known:
            return known[token]
    raise ValueError("the tokenizer has no mask token: expected `mask_token`, or [MASK] in its `vocab`")


@dataclass(frozen=True)
class Piece:
    """A token of the text."""

    id: int
    name: str  # how it is written
    glued: bool  # to what is before it
    word: int  # the number of the word that it is a part of, -1 if it can't be masked


class Pieces:
    """A text as the model reads it, special tokens included, and which of its tokens are one word."""

    def __init__(self, tokenizer: Reader) -> None:
        self.tokenizer = tokenizer
        self.names = {index: token for token, index in vocabulary(tokenizer).items()}
        # the sign that says how tokens are joined: ## before those that go on, or a sign before those that begin a word
        marks = {mark for token in self.names.values() for mark in ("##", "Ġ", "▁") if token.startswith(mark)}
        self.mark = next((mark for mark in ("##", "Ġ", "▁") if mark in marks), "")
        special = getattr(tokenizer, "special_tokens", ())
        known = vocabulary(tokenizer)
        self.special = {known[token] for token in special if token in known}
        self.special |= set(getattr(tokenizer, "all_special_ids", ())) | {mask_of(tokenizer)}

    def name(self, index: int) -> str:
        """How a token is written: a piece of a word with its ##."""
        token = self.names.get(index, "")
        return token if token.startswith("##") or index in self.special else texts_of(self.tokenizer, [index])[0]

    def glued(self, index: int) -> bool:
        token = self.names.get(index, "")
        if self.mark == "##":
            return token.startswith("##")
        return not token.startswith(self.mark) if self.mark else True

    def __call__(self, text: str) -> list[Piece]:
        """The tokens of a text. ValueError if there is none to mask."""
        inputs = self.tokenizer(text) if callable(self.tokenizer) else None
        ids = inputs["input_ids"] if isinstance(inputs, Mapping) else ids_of(self.tokenizer, text)
        pieces: list[Piece] = []
        word, open_word = -1, False  # the last word's number, and whether it may go on
        for index in map(int, ids):
            name, glued = self.name(index), self.glued(index)
            maskable = index not in self.special
            letters = any(character.isalnum() for character in name)
            if maskable and not (self.mark and glued and open_word and letters):
                word += 1
            open_word = maskable and letters
            pieces.append(Piece(index, name, glued, word if maskable else -1))
        if word < 0:
            raise ValueError(f"nothing to mask in {text!r:.40}: expected a token that is not a special one")
        return pieces


# ---- the model -------------------------------------------------------------------------------------------------------
def head_of(model: Any) -> Callable[[Tensor], Tensor] | None:
    """What makes logits of hidden states: BERT's `cls`, or an `lm_head`; None if the model has neither."""
    head = getattr(model, "cls", None)
    head = getattr(head, "predictions", head)
    head = getattr(model, "lm_head", None) if head is None else head
    return head if isinstance(model, nn.Module) and callable(head) else None


def lens(model: Callable[..., Any], ids: Sequence[int], place: int) -> tuple[list[Tensor], str]:
    """What the model would put at `place`, layer by layer: logits [V] each, on the CPU in float32.

    The first are the embeddings', the last are the model's answer. Where the model tells nothing of its layers there
    is only that, and the second part says why in a sentence. The model is called with ids [1, T], and with
    `output_hidden_states=True` if it has a head to apply. TypeError and ValueError if it gives no logits [1, T, V].
    """
    head, output = head_of(model), None
    with at_rest(model) as device:
        batch = torch.tensor([list(ids)], device=device)
        if head is not None:
            try:
                output = model(batch, output_hidden_states=True)
            except TypeError:  # it does not know the word
                output = None
        output = model(batch) if output is None else output
        name = "prediction_logits" if hasattr(output, "prediction_logits") else "logits"
        logits = logits_of(output, len(ids), name)
        answer = logits[0, place].float().cpu()  # [V]
        states = getattr(output, "hidden_states", None)
        if head is None:
            return [answer], "Only the last layer: the model has no head (`cls` or `lm_head`) to apply to the others."
        if not isinstance(states, tuple | list) or not states:
            return [answer], "Only the last layer: the model returns no `hidden_states` of the others."
        layers = [head(state[:, place : place + 1])[0, 0].float().cpu() for state in states]  # [V] each
    if layers[-1].shape != answer.shape or not torch.allclose(layers[-1], answer, rtol=1e-3, atol=1e-3):
        return [answer], "Only the last layer: more than the head lies between the model's hidden states and logits."
    return [*layers[:-1], answer], ""


@dataclass(frozen=True)
class Guess:
    """What one layer would put at the masked place."""

    layer: str
    ids: list[int]  # the best, most probable first
    probabilities: list[float]  # theirs
    rank: int  # of the true token, from 1
    probability: float  # of it


def guesses(layers: Sequence[Tensor], truth: int) -> list[Guess]:
    """logits [V] after each layer -> its best tokens, and the true token's rank and probability."""
    found = []
    for number, logits in enumerate(layers):
        name = "embeddings" if number == 0 else f"layer {number}"
        name = "answer" if number == len(layers) - 1 else name
        probabilities = logits.softmax(-1)
        top = probabilities.topk(min(BEST, len(logits)))
        rank = 1 + int((logits > logits[truth]).sum())
        found.append(Guess(name, top.indices.tolist(), top.values.tolist(), rank, probabilities[truth].item()))
    return found


# ---- the picture -----------------------------------------------------------------------------------------------------
def draw_pieces(pieces: Sequence[Piece], hidden: set[int], chosen: int, places: Sequence[int]) -> Markup:
    """The text, its words to click; what is masked stands in boxes."""
    parts: list[Any] = []
    for place, piece in enumerate(pieces):
        if not piece.glued and place:
            parts.append(" ")
        name = piece.name.removeprefix("##")
        if place in hidden:
            ring = f"outline:{2 if place == chosen else 1}px solid {ORANGE};outline-offset:1px;padding:0 2px"
            name, look, words = "[MASK]", ring, f"masked: {piece.name}"
            name = tag("strong", name) if place == chosen else name
        else:
            look, words = None, f"mask {piece.name}"
        if piece.word < 0:
            parts.append(tag("span", name, style="opacity:.6"))
        else:
            press = sets(token=places.index(place) + 1)
            parts.append(tag("span", name, **press, class_="lk-token", style=look, title=words))
    return tag("p", *parts, class_="lk-text", style="font-size:15px;line-height:1.9;overflow-wrap:anywhere")


def draw_guesses(found: Sequence[Guess], truth: int, name: Callable[[int], str]) -> Markup:
    """A row a layer: the true token's rank and probability, and the best tokens, the true one in a box."""
    rows = []
    for guess in found:
        chips = []
        for rank, (index, probability) in enumerate(zip(guess.ids, guess.probabilities, strict=True), start=1):
            look = f"background:color-mix(in srgb, {BLUE} {60 * probability**0.5:.0f}%, transparent);padding:0 3px"
            if index == truth:
                look += f";outline:2px solid {ORANGE};outline-offset:-1px;font-weight:600"
            words = f"rank {rank}, probability {probability:.4f}"
            chips.append(tag("span", visible(name(index)), class_="lk-mono", style=look, title=words))
        bar = f"display:block;height:4px;background:{ORANGE};width:{100 * guess.probability:.1f}%"
        left = tag(
            "div",
            tag("strong", guess.layer),
            tag("div", f"rank {guess.rank:,} · {guess.probability:.3g}"),
            tag("span", style=bar),
            style="font-size:12px;white-space:nowrap",
        )
        right = tag("div", *chips, style="display:flex;flex-wrap:wrap;gap:3px 8px;align-content:center;min-width:0")
        columns = "display:grid;grid-template-columns:11em 1fr;gap:10px;padding:3px 0;border-top:1px solid"
        rows.append(tag("div", left, right, style=f"{columns} color-mix(in srgb, currentColor 18%, transparent)"))
    return tag("div", *rows)


def masked_words(model: Callable[..., Any], tokenizer: Reader, text: str, token: int = 1) -> Widget:
    """Click a word of the text to mask it: the model's top ten at each layer, and how near the true word comes.

    Args:
        model: a masked language model, ids [1, T] -> logits [1, T, V] in any of the forms that models return. Layers
            are shown if it takes `output_hidden_states=True`, returns `hidden_states` (the embeddings' and each
            layer's, [1, T, D]), and has its head as `cls` or `lm_head`: as BertForMaskedLM, ours or Hugging Face's.
        tokenizer: has `encode`, `decode`, a `vocab` and a mask token. If a call of it gives `input_ids` (ours, and
            Hugging Face's) the model reads these, with [CLS] and [SEP].
        text: what is read; it can be changed.
        token: which of its tokens is masked first, from 1.

    Raises:
        TypeError: the model returns no logits, or the tokenizer can't encode and decode.
        ValueError: no mask token, nothing to mask in the text, logits of another shape.
    """
    mask = mask_of(tokenizer)
    read = Pieces(tokenizer)
    last: dict[tuple[tuple[int, ...], int], tuple[list[Tensor], str]] = {}  # the last text, and what was said of it

    def look(ids: Sequence[int], place: int) -> tuple[list[Tensor], str]:
        key = tuple(ids), place
        if key not in last:
            said = lens(model, ids, place)
            last.clear()
            last[key] = said
        return last[key]

    def draw(text: str, token: int, whole: bool) -> Picture:
        pieces = read(text)
        places = [place for place, piece in enumerate(pieces) if piece.word >= 0]
        token = min(token, len(places))
        chosen = places[token - 1]
        truth = pieces[chosen].id
        hidden = {place for place in places if place == chosen or (whole and pieces[place].word == pieces[chosen].word)}
        ids = [mask if place in hidden else piece.id for place, piece in enumerate(pieces)]
        layers, missing = look(ids, chosen)
        found = guesses(layers, truth)
        answer = found[-1]
        right = answer.rank == 1
        caption = (
            f"Token {token} of {len(places)}, “{pieces[chosen].name}”, is masked. The model "
            + ("finds it" if right else f"says “{read.name(answer.ids[0])}”")
            + f" ({answer.probabilities[0]:.3g})"
            + ("." if right else f"; the true one has rank {answer.rank:,} ({answer.probability:.3g}).")
        )
        first = next((guess.layer for guess in found if guess.rank <= BEST), None)
        if len(found) > 1:
            where = {None: "nowhere", "embeddings": "at the embeddings first", "answer": "in the answer alone"}
            caption += f" Among the top ten it is {where.get(first, f'at {first} first')}."
        rows = []
        for guess in found:
            for rank, (index, probability) in enumerate(zip(guess.ids, guess.probabilities, strict=True), start=1):
                said = "true" if index == truth else ""
                rows.append((guess.layer, rank, visible(read.name(index)), probability, said))
            if truth not in guess.ids:
                rows.append((guess.layer, guess.rank, visible(pieces[chosen].name), guess.probability, "true"))
        drawn = draw_pieces(pieces, hidden, chosen, places) + draw_guesses(found, truth, read.name)
        table = Table(("layer", "rank", "token", "probability", "is it the true one?"), rows)
        return Picture(drawn, f"{caption} {missing}".strip(), table)

    maskable = sum(piece.word >= 0 for piece in read(text))
    if not 1 <= token <= maskable:
        raise ValueError(f"token={token}: expected 1 ... {maskable}, the tokens of the text")
    widget = Widget(
        "The masked word: which one would the model put there?",
        draw,
        Text("text", "text", text),
        Slider("token", "masked token", 1, max(maskable, MOST_TOKENS), 1, token),
        Toggle("whole", "mask the whole word", True),
    )
    draw(**widget.values)  # whatever is missing is said here, not in the picture
    return widget
