"""How widgets read a model: any that takes ids and returns plain tensors, a student's own included."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Reader(Protocol):
    """What a widget asks of a tokenizer; those of `lecturekit.tokenizers` and of Hugging Face have it."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: list[int]) -> str: ...


@contextmanager
def at_rest(model: Callable[..., Any]) -> Iterator[torch.device]:
    """No dropout and no gradients meanwhile; the device that the model is on."""
    training = isinstance(model, nn.Module) and model.training
    if training:
        model.eval()
    try:
        with torch.no_grad():
            first = next(model.parameters(), None) if isinstance(model, nn.Module) else None
            yield torch.device("cpu") if first is None else first.device
    finally:
        if training:
            model.train()


def field_of(output: Any, name: str, what: str) -> Any:
    """The field of what a model returned, or the thing itself if it has no fields."""
    found = getattr(output, name, None)
    if found is None and isinstance(output, dict):
        found = output.get(name)
    if found is None and (isinstance(output, Tensor) or type(output) in (tuple, list)):
        found = output
    if found is None:
        raise TypeError(f"the model returned {type(output).__name__} without {name}: expected {what}")
    return found


def next_logits(model: Callable[[Tensor], Any], ids: Sequence[int]) -> Tensor:
    """What the model says of the token after ids: [V], on the CPU in float32.

    The model is called with ids [1, T] and returns logits [1, T, V], as a tensor, as the first of several, or as the
    field `logits`. TypeError and ValueError say what is missing.
    """
    expected = "logits [1, T, V], alone, first of a tuple, or as the field `logits`"
    if not ids:
        raise ValueError("an empty text: expected at least one token to go on from")
    with at_rest(model) as device:
        output = model(torch.tensor([list(ids)], device=device))
    logits = field_of(output, "logits", expected)
    logits = logits[0] if type(logits) in (tuple, list) and logits else logits
    if not isinstance(logits, Tensor):
        raise TypeError(f"the model returned {type(logits).__name__}: expected {expected}")
    if logits.dim() != 3 or logits.shape[:2] != (1, len(ids)):
        raise ValueError(
            f"the model's logits for ids [1, {len(ids)}] have the shape {list(logits.shape)}: expected {expected}"
        )
    return logits[0, -1].detach().float().cpu()


def ids_of(tokenizer: Reader, text: str) -> list[int]:
    """The ids of a text. TypeError if the tokenizer can't encode and decode."""
    for name in ("encode", "decode"):
        if not callable(getattr(tokenizer, name, None)):
            raise TypeError(
                f"a tokenizer of type {type(tokenizer).__name__} without {name}: expected encode and decode"
            )
    return [int(index) for index in tokenizer.encode(text)]


def texts_of(tokenizer: Reader, ids: Sequence[int]) -> list[str]:
    """Each id's text."""
    return [tokenizer.decode([int(index)]) for index in ids]
