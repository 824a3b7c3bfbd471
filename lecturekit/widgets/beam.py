"""Beam search as a tree that grows, and beside it what greedy search and sampling would have written.

The searches are those of `lecturekit.generation`: the tree is what `beam_search` was told while it searched, and what
`beam_candidates` makes of that. Beam search: Lowerre, 1976; its length penalty: Wu et al., 2016
(https://arxiv.org/abs/1609.08144), section 7. What it is good for and what not: Holtzman et al., 2020
(https://arxiv.org/abs/1904.09751), section 3. Repeated trigrams: the seq-rep-n of Welleck et al., 2020
(https://arxiv.org/abs/1908.04319), section 6.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from markupsafe import Markup
from torch import Tensor

from lecturekit.generation import GenerationConfig, beam_candidates, beam_search, extend, greedy, sample
from lecturekit.widgets.base import (
    BLUE,
    GREEN,
    ORANGE,
    Picture,
    Slider,
    Table,
    Text,
    Widget,
    box,
    drawing,
    line,
    scrolling,
    sets,
    tag,
    text,
    visible,
)
from lecturekit.widgets.reading import Reader, at_rest, field_of, ids_of, next_logits, texts_of
from lecturekit.widgets.sampling import draw_text

EVERY = 0.05  # seconds between two pictures of texts that grow
MOST_BEAMS = 5
MOST_BYTES = 4  # of a character in UTF-8
MOST_REMEMBERED = 2**25  # numbers: the logits that a widget keeps
NODE, HIGH, COLUMN, ROW, TOP = 104, 32, 132, 38, 22  # a node's width and height, and the distances between nodes


# ---- a model as the searches ask for it ------------------------------------------------------------------------------
class Next:
    """What a model says of the next token: a NextToken of `lecturekit.generation` that reads no text twice.

    ids [R, T] -> logits [R, V]; `rows` does not matter to it. Texts are read together if the model can do that and says
    the same of them as one by one, which is tried once; else one by one.
    """

    def __init__(self, model: Callable[[Tensor], Any]) -> None:
        self.model = model
        self.read: dict[tuple[int, ...], Tensor] = {}
        self.batches: bool | None = None  # whether it can; None before it was tried

    def __call__(self, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        texts = ids.tolist()
        new = list(dict.fromkeys(text for text in map(tuple, texts) if text not in self.read))
        if len(new) > 1 and self.batches is not False:
            self.read_together(new)
        return torch.stack([self.after(text) for text in texts])

    def after(self, ids: Sequence[int]) -> Tensor:
        """The logits [V] after ids; errors are those of `next_logits`."""
        key = tuple(ids)
        if key not in self.read:
            self.remember(key, next_logits(self.model, ids))
        return self.read[key]

    def remember(self, key: tuple[int, ...], logits: Tensor) -> None:
        if (len(self.read) + 1) * len(logits) > MOST_REMEMBERED:
            self.read.clear()
        self.read[key] = logits

    def read_together(self, texts: Sequence[tuple[int, ...]]) -> None:
        """Remember the logits after several texts of one length, if the model gives them."""
        try:
            with at_rest(self.model) as device:
                logits = field_of(self.model(torch.tensor(texts, device=device)), "logits", "logits [R, T, V]")
            logits = logits[0] if type(logits) in (tuple, list) else logits
            logits = logits[:, -1].detach().float().cpu()  # [R, V]
            if self.batches is None:
                alone = torch.stack([self.after(texts[0]), self.after(texts[-1])])
                self.batches = torch.allclose(logits[[0, -1]], alone, rtol=1e-3, atol=1e-3)
        except Exception:  # whatever a student's model has against it: it is asked again, one by one
            self.batches = False
        if self.batches:
            for text, said in zip(texts, logits, strict=True):
                self.remember(text, said)

    def log_probs(self, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        """ids [R, T] -> [R, V]."""
        return self(ids).log_softmax(dim=-1)


class Prompt:
    """The last prompt that was read, with a `Next` that forgets what it knew of the one before."""

    def __init__(self, model: Callable[[Tensor], Any], tokenizer: Reader) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.last: tuple[str, list[int], Next] | None = None

    def __call__(self, prompt: str) -> tuple[list[int], Next]:
        if self.last is None or self.last[0] != prompt:
            ids, following = ids_of(self.tokenizer, prompt), Next(self.model)
            following.after(ids)  # what can't be read is said before it is remembered
            self.last = prompt, ids, following
        return self.last[1:]


def end_tokens(model: Any, given: int | Sequence[int] | None, vocab_size: int) -> tuple[int, ...]:
    """The tokens with which a text ends: those given, or the model's own if its `config` names some.

    ValueError for a given one outside the vocabulary; one of the model's own is left out there, as in `generate`.
    """
    found = getattr(getattr(model, "config", None), "eos_token_id", None) if given is None else given
    tokens = () if found is None else (found,) if isinstance(found, int) else tuple(found)
    inside = tuple(token for token in tokens if 0 <= token < vocab_size)
    if given is not None and inside != tokens:
        raise ValueError(f"eos_token_ids={given}: expected 0 ... {vocab_size - 1}")
    return inside


def check_numbers(new_tokens: int, num_beams: int) -> None:
    if new_tokens < 1:
        raise ValueError(f"new_tokens={new_tokens}: expected 1 or more")
    if not 1 <= num_beams <= MOST_BEAMS:
        raise ValueError(f"num_beams={num_beams}: expected 1 ... {MOST_BEAMS}")


# ---- the tree --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Node:
    """A way to go on by one token that beam search has looked at."""

    token: int
    log_prob: float  # of the token
    total: float  # of all new tokens up to it
    parent: "Node | None"
    fate: str  # "kept", "ended" or "dropped"

    @property
    def path(self) -> list["Node"]:
        """The nodes from the first token to this one."""
        return [*(self.parent.path if self.parent else []), self]

    @property
    def ids(self) -> list[int]:
        return [node.token for node in self.path]

    def score(self, length_penalty: float) -> float:
        """What beam search compares finished texts by."""
        return self.total / len(self.path) ** length_penalty


Found = list[tuple[float, list[int]]]


def grow(
    next_log_probs: Callable[..., Tensor],
    ids: Sequence[int],
    new_tokens: int,
    num_beams: int,
    eos_token_ids: Sequence[int] = (),
    length_penalty: float = 1.0,
) -> tuple[list[list[Node]], Found]:
    """Search with `beam_search`, and tell what it looked at: for each step its candidates, best first.

    Candidates that are not possible at all, of probability 0, are left out. What was found comes second, best first:
    scores and new ids as `beam_search` returns them. Arguments are its own, for one text.
    """
    told: list[tuple[Tensor, Tensor | None, Tensor]] = []  # what the search asked, and what it was answered

    def overheard(texts: Tensor, rows: Tensor | None = None) -> Tensor:
        answer = next_log_probs(texts, rows)
        told.append((texts, rows, answer))
        return answer

    found = beam_search(overheard, torch.tensor([list(ids)]), new_tokens, num_beams, eos_token_ids, length_penalty)[0]
    count = max(2, 1 + len(eos_token_ids)) * num_beams  # so many are compared in beam_search
    levels: list[list[Node]] = []
    scores, beams = torch.zeros(1, 1), [None]
    for length, (_, _, log_probs) in enumerate(told, start=1):
        totals, parents, tokens = (part[0] for part in beam_candidates(scores, log_probs, count))  # [C] each
        asked_next: list[tuple[int, int]] = []  # the row and the last token of each beam that goes on
        if length < len(told):
            texts, rows, _ = told[length]
            asked_next = list(zip(rows.tolist(), texts[:, -1].tolist(), strict=True))
        nodes: dict[tuple[int, int], Node] = {}
        for rank, (total, row, token) in enumerate(
            zip(totals.tolist(), parents.tolist(), tokens.tolist(), strict=True)
        ):
            if total == -math.inf:
                continue
            ends = token in eos_token_ids or length == new_tokens
            fate = "ended" if ends and rank < num_beams else "dropped"
            if not ends and (row, token) in asked_next:
                fate = "kept"
            nodes[row, token] = Node(token, log_probs[row, token].item(), total, beams[row], fate)
        levels.append(list(nodes.values()))
        alive = [node if (node := nodes.get(key)) and node.fate == "kept" else None for key in asked_next]
        scores = torch.tensor([[-math.inf if node is None else node.total for node in alive]])
        beams = alive
    return levels, [(score, new.tolist()) for score, new in found]


def best_so_far(levels: Sequence[Sequence[Node]], found: Found | None, length_penalty: float) -> Node | None:
    """The end of the best path: of what the search has `found` if it is over, else of what goes on or has ended."""
    nodes = [node for level in levels for node in level]
    if found is not None:
        return next((node for node in nodes if node.fate == "ended" and node.ids == found[0][1]), None)
    ends = [node for node in nodes if node.fate == "ended" or (node.fate == "kept" and node in levels[-1])]
    return max(ends, key=lambda node: node.score(length_penalty), default=None)


def in_line(words: str) -> str:
    """A text in one line."""
    return words.replace("\n", "⏎")


LOOKS = {  # how a node is drawn by its fate
    "kept": {"fill": BLUE, "fill_opacity": 0.22, "stroke": BLUE},
    "ended": {"fill": GREEN, "fill_opacity": 0.25, "stroke": GREEN},
    "dropped": {"fill": "none", "stroke": "currentColor", "stroke_opacity": 0.35, "stroke_dasharray": "3 3"},
}
BEST = {"fill": "none", "stroke": ORANGE, "stroke_width": 2.5}


def draw_tree(
    levels: Sequence[Sequence[Node]], best: Node | None, prompt: str, names: Callable[[int], str], length_penalty: float
) -> Markup:
    """Steps from left to right; under each token its log-probability and the score of the text up to it."""
    path = best.path if best else []
    tallest = max(map(len, levels), default=1)
    height = TOP + ROW * max(tallest, 1) + 4
    middle = (TOP + height) / 2
    places: dict[Node | None, float] = {None: middle}  # the middle of each node
    columns = []
    for level in levels:  # children stand in the order of their parents, so that no two branches cross
        column = sorted(level, key=lambda node: (places[node.parent], -node.total))
        first = middle - ROW * (len(column) - 1) / 2
        places |= {node: first + ROW * row for row, node in enumerate(column)}
        columns.append(column)

    shown = visible(prompt[-9:] if len(prompt) <= 9 else "…" + prompt[-9:])
    branches, leaves = [], [text(NODE / 2, middle + 4, shown, class_="lk-mono lk-middle")]
    leaves.append(box(0.5, middle - HIGH / 2, NODE, HIGH, prompt, fill="none", stroke="currentColor", rx=4))
    for step, column in enumerate(columns, start=1):
        x = COLUMN * step
        leaves.append(text(x + NODE / 2, 13, f"step {step}", class_="lk-small lk-middle lk-faint", **sets(step=step)))
        for node in column:
            y, score = places[node], node.score(length_penalty)
            on_path = any(node is other for other in path)
            look = {"stroke": ORANGE, "stroke_width": 2.5} if on_path else {"stroke_opacity": 0.3}
            branches.append(line(x - COLUMN + NODE, places[node.parent], x, y, **look))
            name = visible(names(node.token))
            name = name if len(name) <= 11 else name[:10] + "…"
            numbers = f"{node.log_prob:.2f} · {score:.2f}"
            words = f"{names(node.token)}: log-probability {node.log_prob:.3f}, score {score:.3f}, {node.fate}"
            faint = " lk-faint" if node.fate == "dropped" and not on_path else ""
            mark = " ■" if node.fate == "ended" else ""
            leaves += [
                box(x, y - HIGH / 2, NODE, HIGH, words, rx=4, **(LOOKS[node.fate])),
                *([box(x, y - HIGH / 2, NODE, HIGH, words, rx=4, **BEST)] if on_path else []),
                text(x + NODE / 2, y - 2, name + mark, class_=f"lk-mono lk-middle{faint}"),
                text(x + NODE / 2, y + 11, numbers, class_=f"lk-small lk-middle{faint}"),
            ]
    width = COLUMN * len(columns) + NODE + 2
    return scrolling(drawing(width, height, *branches, *leaves, label="the tree of beam search"), 0.85 * width)


def legend() -> Markup:
    """What the boxes of the tree mean."""
    looks = {
        "goes on": f"border:1.5px solid {BLUE};background:color-mix(in srgb, {BLUE} 22%, transparent)",
        "dropped": "border:1.5px dashed currentColor;opacity:.6",
        "finished ■": f"border:1.5px solid {GREEN};background:color-mix(in srgb, {GREEN} 25%, transparent)",
        "the best path": f"border:2.5px solid {ORANGE}",
    }
    shape = "display:inline-block;width:1.5em;height:.8em;border-radius:3px;margin-right:.4em;"
    items = [
        tag("span", tag("span", style=shape + look), words, style="white-space:nowrap") for words, look in looks.items()
    ]
    return tag("p", *items, style="display:flex;flex-wrap:wrap;gap:2px 1.4em;margin:4px 0")


def beam_tree(
    model: Callable[[Tensor], Any],
    tokenizer: Reader,
    prompt: str,
    new_tokens: int = 6,
    *,
    num_beams: int = 3,
    length_penalty: float = 1.0,
    eos_token_ids: int | Sequence[int] | None = None,
) -> Widget:
    """Beam search step by step: what goes on, what is dropped, what is finished, and by which scores.

    Args:
        model: ids [1, T] -> logits [1, T, V], in any of the forms that models return.
        tokenizer: has `encode` and `decode`.
        prompt: what is gone on with; it can be changed.
        new_tokens: how many tokens a text gets at most.
        num_beams: 1 ... 5, to begin with.
        length_penalty: a score is a sum of log-probabilities divided by the number of tokens to this power.
        eos_token_ids: what a text ends with; None for the end token of the model's `config`, if it has one.

    Raises:
        TypeError: the model returns no logits, or the tokenizer can't encode and decode.
        ValueError: logits of another shape, an empty prompt, a number out of range, an end token that is no token.
    """
    check_numbers(new_tokens, num_beams)
    look = Prompt(model, tokenizer)
    ends = end_tokens(model, eos_token_ids, len(look(prompt)[1].after(look(prompt)[0])))

    def name(token: int) -> str:
        return texts_of(tokenizer, [token])[0]

    def draw(prompt: str, num_beams: int, step: int, length_penalty: float) -> Picture:
        ids, following = look(prompt)
        levels, found = grow(following.log_probs, ids, new_tokens, num_beams, ends, length_penalty)
        over = step >= len(levels)
        levels = levels[:step]
        best = best_so_far(levels, found if over else None, length_penalty)
        rows = [
            (
                number,
                visible(name(node.token)),
                node.log_prob,
                node.total,
                node.score(length_penalty),
                {"kept": "goes on", "ended": "finished", "dropped": "dropped"}[node.fate],
                "yes" if best and any(node is other for other in best.path) else "",
                in_line(tokenizer.decode(node.ids)),
            )
            for number, level in enumerate(levels, start=1)
            for node in level
        ]
        ended = [node for level in levels for node in level if node.fate == "ended"]
        hypotheses = found if over else sorted(((n.score(length_penalty), n.ids) for n in ended), reverse=True)
        items = [
            tag("li", f"{score:.3f}  ", tag("span", in_line(tokenizer.decode(new)), class_="lk-mono"))
            for score, new in hypotheses[:num_beams]
        ]
        listed = tag("p", "finished so far, by score:" if not over else "found, best first:", style="margin:6px 0 0")
        listed += tag("ol", *items, style="margin:0;padding-left:2em;white-space:pre-wrap") if items else Markup("none")
        caption = f"{num_beams} beam{'s' * (num_beams > 1)}, step {len(levels)}"
        if over and len(levels) < step:
            caption += " (here the search was over)"
        if best is not None:
            caption += (
                f"; the best text {'is' if over else 'so far:'} “{in_line(tokenizer.decode(best.ids))}”, with the "
                f"score {best.score(length_penalty):.3f} = {best.total:.3f} / {len(best.path)}^{length_penalty:g}"
            )
        caption += ". Under each token: its log-probability · the score of the text up to it."
        head = ("step", "token", "log-probability", "sum", "score", "what becomes of it", "best path", "text so far")
        drawn = draw_tree(levels, best, prompt, name, length_penalty) + legend() + listed
        return Picture(drawn, caption, Table(head, rows))

    return Widget(
        "Beam search: a tree that is cut while it grows",
        draw,
        Text("prompt", "prompt", prompt),
        Slider("num_beams", "beams", 1, MOST_BEAMS, 1, num_beams),
        Slider("step", "step", 1, new_tokens, 1, new_tokens),
        Slider("length_penalty", "length penalty", 0.0, 2.0, 0.1, length_penalty),
    )


# ---- side by side ----------------------------------------------------------------------------------------------------
def repeated_trigrams(ids: Sequence[int]) -> float:
    """The share of trigrams that were there before: 1 - different ones / all; 0 of fewer than three tokens.

    >>> repeated_trigrams([1, 2, 3, 1, 2, 3])  # 123 231 312 123: one of four
    0.25
    """
    trigrams = list(zip(ids, ids[1:], ids[2:], strict=False))
    return 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0


def readable(tokenizer: Reader, ids: Sequence[int]) -> list[list[int]]:
    """ids in groups that can be shown: a letter of several tokens, which byte-level ones may be, is one group."""
    groups: list[list[int]] = [[]]
    for index in ids:
        groups[-1].append(index)
        if len(groups[-1]) == MOST_BYTES or "\ufffd" not in tokenizer.decode(groups[-1]):
            groups.append([])
    return [group for group in groups if group]


@dataclass(frozen=True)
class Column:
    """What one strategy has written: its tokens with their log-probabilities, and groups as they are shown."""

    tokens: list[str]
    said: list[float]
    shown: list[tuple[str, float]]  # a group's text and its probability, the product over its tokens
    repeated: float  # the share of trigrams that were there before

    @property
    def total(self) -> float:
        return sum(self.said)

    @property
    def mean(self) -> float:
        return self.total / max(len(self.said), 1)


def write(
    following: Next, ids: Sequence[int], new_tokens: int, num_beams: int, ends: Sequence[int], config: GenerationConfig
) -> Iterator[tuple[str, list[int], bool]]:
    """What each strategy writes after ids, as it grows: its name, its new tokens so far, whether that is all."""
    start = torch.tensor([list(ids)])
    generator = torch.Generator().manual_seed(config.seed)

    def drawn(logits: Tensor) -> Tensor:
        return sample(config.shape(logits), generator)

    def token_by_token(name: str, choose: Callable[[Tensor], Tensor]) -> Iterator[tuple[str, list[int], bool]]:
        new: list[int] = []
        for token in extend(following, start, choose, new_tokens, ends):
            new.append(int(token))
            yield name, new, False
        yield name, new, True

    yield from token_by_token("greedy", greedy)
    found = beam_search(following.log_probs, start, new_tokens, num_beams, ends)[0]
    yield "beam search", found[0][1].tolist(), True
    yield from token_by_token("sampling", drawn)


def strategies(
    model: Callable[[Tensor], Any],
    tokenizer: Reader,
    prompt: str,
    new_tokens: int = 24,
    *,
    num_beams: int = 4,
    eos_token_ids: int | Sequence[int] | None = None,
) -> Widget:
    """Greedy search, beam search and sampling side by side, each token shaded by what the model gives it.

    The texts appear as they are written, a picture every EVERY seconds.

    Arguments and errors are those of `beam_tree`. Probabilities are the model's own, before temperature and top-p.
    """
    check_numbers(new_tokens, num_beams)
    look = Prompt(model, tokenizer)
    ends = end_tokens(model, eos_token_ids, len(look(prompt)[1].after(look(prompt)[0])))

    def draw(prompt: str, num_beams: int, temperature: float, top_p: float, seed: int) -> Iterator[Picture]:
        ids, following = look(prompt)
        config = GenerationConfig(do_sample=True, temperature=temperature, top_p=top_p, seed=seed)
        settings = {
            "greedy": "",
            "beam search": f" with {num_beams} beam{'s' * (num_beams > 1)}",
            "sampling": f" at temperature {temperature:g}, top-p {top_p:g}, seed {seed}",
        }
        columns: dict[str, Column] = {}
        due = time.monotonic() + EVERY
        for strategy, new, over in write(following, ids, new_tokens, num_beams, ends, config):
            late = time.monotonic() > due
            if over or late:
                columns[strategy] = column(following, ids, new)
                yield picture(prompt, settings, columns, over and len(columns) == len(settings))
            if late:
                due = time.monotonic() + EVERY

    def column(following: Next, ids: Sequence[int], new: Sequence[int]) -> Column:
        said = [following.after([*ids, *new[:place]]).log_softmax(-1)[token].item() for place, token in enumerate(new)]
        values = iter(said)
        groups = readable(tokenizer, new)
        shown = [(in_line(tokenizer.decode(group)), math.exp(sum(next(values) for _ in group))) for group in groups]
        return Column(texts_of(tokenizer, new), said, shown, repeated_trigrams(new))

    def picture(prompt: str, settings: dict[str, str], columns: dict[str, Column], over: bool) -> Picture:
        parts, summary, rows = [], [], []
        for strategy, setting in settings.items():
            found = columns.get(strategy, Column([], [], [], 0.0))
            words = (
                f"log-probability {found.total:.2f} in all, {found.mean:.2f} a token; "
                f"{100 * found.repeated:.0f}\u00a0% of trigrams repeated"
            )
            parts.append(
                tag(
                    "section",
                    tag("strong", strategy),
                    setting,
                    draw_text(in_line(prompt), found.shown),
                    tag("p", words if found.tokens else "…", style="margin:2px 0;opacity:.85"),
                    style=f"border-top:3px solid {BLUE};padding-top:3px;min-width:0;overflow-wrap:anywhere",
                )
            )
            summary.append((strategy, "all", f"{len(found.tokens)} tokens", found.total, found.mean, found.repeated))
            rows += [
                (strategy, place, visible(token), value, "", "")
                for place, (token, value) in enumerate(zip(found.tokens, found.said, strict=True), start=1)
            ]
        most = max(found.total for found in columns.values())
        best = " and ".join(name for name, found in columns.items() if found.total == most)
        caption = (
            f"Of the three texts that of {best} is the most probable, {most:.2f}. The darker a token, the more "
            "probable the model finds it, whatever the temperature."
        )
        if not over:
            caption = "They are being written."
        layout = "display:grid;grid-template-columns:repeat(auto-fit,minmax(230px,1fr));gap:6px 22px"
        head = ("strategy", "token", "text", "log-probability", "mean", "repeated trigrams")
        return Picture(tag("div", *parts, style=layout), caption, Table(head, summary + rows))

    return Widget(
        "Greedy, beam search, sampling: three ways to write",
        draw,
        Text("prompt", "prompt", prompt),
        Slider("num_beams", "beams", 1, MOST_BEAMS, 1, num_beams),
        Slider("temperature", "temperature", 0.1, 3.0, 0.05, 1.0),
        Slider("top_p", "top-p", 0.05, 1.0, 0.01, 1.0),
        Slider("seed", "seed", 0, 99, 1, 0),
    )
