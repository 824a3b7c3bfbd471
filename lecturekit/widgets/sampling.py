"""Temperature, top-k, top-p and the repetition penalty, seen on the next token of a real model.

The distribution is shaped by `lecturekit.generation`, the very code that `generate` draws with.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from markupsafe import Markup
from torch import Tensor

from lecturekit.generation import GenerationConfig, sample
from lecturekit.widgets.base import BLUE, Button, Picture, Slider, Table, Text, Widget, box, drawing, tag, text, visible
from lecturekit.widgets.reading import Reader, ids_of, next_logits, texts_of

BARS = 20
LEFT, WIDTH, ROW = 120, 640, 18  # of the picture


def entropy(probabilities: Tensor) -> float:
    """Of a distribution [V], in bits: the number of yes-or-no questions that its outcome is worth."""
    return float(torch.special.entr(probabilities).sum() / torch.log(torch.tensor(2.0)))


def draw_bars(tokens: Sequence[str], before: Sequence[float], after: Sequence[float]) -> Markup:
    """Two bars a token: what the model says as an outline, what is drawn from filled."""
    unit = (WIDTH - LEFT - 110) / max(*before, *after)
    parts = []
    for row, (token, was, now) in enumerate(zip(tokens, before, after, strict=True)):
        y = ROW * row + 4
        words = f"{visible(token)}: {was:.4f} -> {now:.4f}"
        parts += [
            text(LEFT - 8, y + 11, visible(token), class_="lk-end lk-mono"),
            box(LEFT, y + 1, unit * now, ROW - 6, words, fill=BLUE),
            box(LEFT, y + 1, unit * was, ROW - 6, words, fill="none", stroke="currentColor", stroke_opacity=0.7),
            text(LEFT + unit * max(was, now) + 6, y + 11, f"{was:.3f} → {now:.3f}", class_="lk-small"),
        ]
    label = f"bars of the {len(tokens)} most probable tokens, before as outlines and after filled"
    return drawing(WIDTH, ROW * len(tokens) + 8, *parts, label=label)


def draw_text(prompt: str, tokens: Sequence[tuple[str, float]]) -> Markup:
    """A prompt and what was drawn after it, each token shaded by its probability."""
    drawn = [
        tag(
            "span",
            token,
            title=f"probability {probability:.3f}",
            style=f"background: color-mix(in srgb, {BLUE} {45 * probability:.0f}%, transparent)",
            class_="lk-token",
        )
        for token, probability in tokens
    ]
    return tag("p", tag("span", prompt, style="opacity: .75"), *drawn, class_="lk-text")


def sampling(
    model: Callable[[Tensor], Any] | Tensor, tokenizer: Reader | Sequence[str], prompt: str = "", new_tokens: int = 40
) -> Widget:
    """Move temperature, top-k, top-p and the repetition penalty, and let the model write with them.

    Args:
        model: ids [1, T] -> logits [1, T, V], in any of the forms that models return; or logits [V] alone, and then
            nothing is written.
        tokenizer: has `encode` and `decode`; for logits alone a list of V tokens does.
        prompt: what the first distribution comes after; it can be changed.
        new_tokens: how many tokens a press of "write" adds at most.

    Raises:
        TypeError: the model returns no logits, or the tokenizer can't encode and decode.
        ValueError: logits of another shape, an empty prompt.
    """
    fixed = model.detach().float().cpu() if isinstance(model, Tensor) else None
    if fixed is not None and (fixed.dim() != 1 or not len(fixed)):
        raise ValueError(f"logits of shape {list(fixed.shape)}: expected [V]")
    read: dict[str, tuple[list[int], Tensor]] = {}  # the last prompt's ids and logits
    written: list[tuple[str, float]] = []
    last = {"write": 0, "prompt": prompt, "seed": 0}

    def look(prompt: str) -> tuple[list[int], Tensor]:
        if fixed is not None:
            return [], fixed
        if prompt not in read:
            ids = ids_of(tokenizer, prompt)
            found = ids, next_logits(model, ids)
            read.clear()
            read[prompt] = found
        return read[prompt]

    def names(ids: Sequence[int]) -> list[str]:
        if fixed is not None and isinstance(tokenizer, list | tuple):
            return [tokenizer[index] for index in ids]
        return texts_of(tokenizer, ids)

    def shaped(logits: Tensor, ids: Sequence[int], config: GenerationConfig) -> Tensor:
        """logits [V] after ids, as `generate` draws from them."""
        return config.shape(config.penalise(logits[None], torch.tensor([ids], dtype=torch.long)))[0]

    def picture(prompt: str, logits: Tensor, ids: list[int], config: GenerationConfig) -> Picture:
        before, after = logits.softmax(-1), shaped(logits, ids, config).softmax(-1)
        top = before.topk(min(BARS, len(before))).indices.tolist()
        tokens, was, now = names(top), before[top].tolist(), after[top].tolist()
        kept = after > 0
        caption = (
            f"entropy {entropy(before):.2f} → {entropy(after):.2f} bits; {int(kept.sum()):,} of {len(kept):,} tokens "
            f"are left, and {float(before[~kept].sum()):.3f} of the probability was cut"
        )
        rows = [(visible(token), index, one, two) for token, index, one, two in zip(tokens, top, was, now, strict=True)]
        drawn = draw_bars(tokens, was, now)
        if fixed is None:
            drawn += draw_text(prompt, written)
            rows += [(visible(token), "written", "", probability) for token, probability in written]
        return Picture(drawn, caption, Table(("token", "id", "before", "after"), rows))

    def draw(
        prompt: str = "", temperature: float = 1, top_k: int = 0, top_p: float = 1, penalty: float = 1, seed: int = 0,
        write: int = 0,
    ) -> Picture | Iterator[Picture]:  # fmt: skip
        ids, logits = look(prompt)
        nucleus = top_p if top_p < 1 else None  # all of it: nothing to sort for
        config = GenerationConfig(
            do_sample=True, temperature=temperature, top_k=top_k or None, top_p=nucleus, repetition_penalty=penalty
        )
        asked = write > last["write"] or (seed != last["seed"] and len(written) > 0)
        if asked or prompt != last["prompt"]:
            written.clear()
        last.update(write=write, prompt=prompt, seed=seed)
        if asked:
            return writing(prompt, logits, ids, config, torch.Generator().manual_seed(1000 * seed + write))
        return picture(prompt, logits, ids, config)

    def writing(
        prompt: str, logits: Tensor, ids: list[int], config: GenerationConfig, generator: torch.Generator
    ) -> Iterator[Picture]:
        soon = ids
        for _ in range(new_tokens):
            probabilities = shaped(next_logits(model, soon), soon, config).softmax(-1)
            token = int(sample(probabilities.log()[None], generator))
            soon = [*soon, token]
            written.append((names([token])[0], float(probabilities[token])))
            yield picture(prompt, logits, ids, config)

    controls: list[Any] = [
        Slider("temperature", "temperature", 0.1, 3.0, 0.05, 1.0),
        Slider("top_k", "top-k (0: off)", 0, 200, 1, 0),
        Slider("top_p", "top-p", 0.05, 1.0, 0.01, 1.0),
    ]
    if fixed is None:
        controls = [Text("prompt", "prompt", prompt), *controls]
        controls += [
            Slider("penalty", "repetition penalty", 1.0, 2.0, 0.05, 1.0),
            Button("write", "write again"),
            Slider("seed", "seed", 0, 99, 1, 0),
        ]
        look(prompt)  # whatever is missing is said here, not in the picture
    return Widget("Sampling: what the model says, and what is drawn from", draw, *controls)
