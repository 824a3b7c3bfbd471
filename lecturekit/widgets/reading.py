"""How widgets read a model: any that takes ids and returns plain tensors, a student's own included.

L layers    H heads    T queries    S keys    d width of a head    V vocabulary
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lecturekit.layers import split_heads

TOLERANCE = 0.02  # of a row's sum: half precision is allowed for, dropout is not
FIELDS = {
    "self": ("attentions",),
    "encoder": ("encoder_attentions", "encoder"),
    "decoder": ("decoder_attentions", "decoder"),
    "cross": ("cross_attentions", "cross"),
}
PROJECTIONS = (("query", "key", "value"), ("q", "k", "v"), ("c_attn",))
HEADS = ("num_attention_heads", "num_heads", "n_heads", "n_head")


# ---- ids and logits --------------------------------------------------------------------------------------------------
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


def logits_of(output: Any, length: int, name: str = "logits") -> Tensor:
    """The logits [1, T, V] that a model returned for ids [1, T]: a tensor, the first of several, or a field.

    TypeError and ValueError say what is missing.
    """
    expected = f"logits [1, T, V], alone, first of a tuple, or as the field `{name}`"
    logits = field_of(output, name, expected)
    logits = logits[0] if type(logits) in (tuple, list) and logits else logits
    if not isinstance(logits, Tensor):
        raise TypeError(f"the model returned {type(logits).__name__}: expected {expected}")
    if logits.dim() != 3 or logits.shape[:2] != (1, length):
        raise ValueError(
            f"the model's logits for ids [1, {length}] have the shape {list(logits.shape)}: expected {expected}"
        )
    return logits


def next_logits(model: Callable[[Tensor], Any], ids: Sequence[int]) -> Tensor:
    """What the model says of the token after ids: [V], on the CPU in float32.

    The model is called with ids [1, T]; for what it may return, and for errors, see `logits_of`.
    """
    if not ids:
        raise ValueError("an empty text: expected at least one token to go on from")
    with at_rest(model) as device:
        output = model(torch.tensor([list(ids)], device=device))
    return logits_of(output, len(ids))[0, -1].detach().float().cpu()


def check_reader(tokenizer: Any, name: str = "") -> None:
    """TypeError, which begins with the name, if a tokenizer can't encode and decode."""
    for wanted in ("encode", "decode"):
        if not callable(getattr(tokenizer, wanted, None)):
            found = f"{name}: a tokenizer" if name else "a tokenizer"
            raise TypeError(f"{found} of type {type(tokenizer).__name__} without {wanted}: expected encode and decode")


def ids_of(tokenizer: Reader, text: str) -> list[int]:
    """The ids of a text, without what a model's template adds. TypeError if the tokenizer can't encode and decode."""
    check_reader(tokenizer)
    # Hugging Face's add the template unless told not to, and return an Encoding
    theirs = hasattr(tokenizer, "convert_ids_to_tokens") or hasattr(tokenizer, "id_to_token")
    found: Any = tokenizer.encode(text, **({"add_special_tokens": False} if theirs else {}))
    return [int(index) for index in getattr(found, "ids", found)]


def texts_of(tokenizer: Reader, ids: Sequence[int]) -> list[str]:
    """Each id's text."""
    return [tokenizer.decode([int(index)]) for index in ids]


# ---- attention -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Attention:
    """All heads of one kind, "self", "encoder", "decoder" or "cross", on one text."""

    kind: str
    weights: list[Tensor]  # L times [H, T, S]
    queries: list[str]  # T tokens
    keys: list[str]  # S tokens
    projected: dict[str, list[Tensor]]  # "query" L times [H, T, d], "key" and "value" [H, S, d]; what is unknown is not

    @property
    def values(self) -> list[Tensor] | None:
        """L times [H, S, d], if they are known."""
        return self.projected.get("value")

    def strongest(self) -> tuple[int, int, int, int]:
        """Layer, head, query and key of the largest weight."""
        stacked = torch.stack(self.weights)  # [L, H, T, S]
        return tuple(int(index) for index in torch.unravel_index(stacked.argmax(), stacked.shape))


def layers_of(found: Any, name: str, last: str = "S") -> list[Tensor]:
    """L times [H, T, S], in float32 on the CPU, of what is also [1, H, T, S] each, one tensor, or without heads.

    Raises:
        TypeError: these are no tensors.
        ValueError: another number of axes, several texts, layers of different sizes.
    """
    wanted = f"[H, T, {last}] or [1, H, T, {last}] for each layer"
    if isinstance(found, Tensor):
        found = list(found) if found.dim() > 3 else [found]
    if not isinstance(found, list | tuple) or not all(isinstance(layer, Tensor) for layer in found):
        kinds = {type(layer).__name__ for layer in found} if isinstance(found, list | tuple) else {type(found).__name__}
        raise TypeError(f"{name} of type {', '.join(sorted(kinds))}: expected tensors, {wanted}")
    if not found:
        raise ValueError(f"{name} of no layer: expected at least one, {wanted}")
    layers = []
    for number, layer in enumerate(found):
        if layer.dim() == 4 and layer.size(0) > 1:
            raise ValueError(
                f"{name} of layer {number} have the shape {list(layer.shape)}, {layer.size(0)} texts: "
                f"expected one, as weights[i : i + 1] takes it"
            )
        cut = layer[0] if layer.dim() == 4 else layer[None] if layer.dim() == 2 else layer
        if cut.dim() != 3 or not cut.numel():
            raise ValueError(f"{name} of layer {number} have the shape {list(layer.shape)}: expected {wanted}")
        if layers and cut.shape != layers[0].shape:
            raise ValueError(
                f"{name} of layer 0 have the shape {list(layers[0].shape)}, of layer {number} {list(cut.shape)}: "
                "expected one for all layers"
            )
        layers.append(cut.detach().float().cpu())
    return layers


def check_rows(weights: Tensor, name: str, at_most: bool = False) -> None:
    """ValueError unless each row of weights [..., T, S] sums to one (or `at_most`: to one or less), none negative."""
    if not torch.isfinite(weights).all():
        raise ValueError(f"{name} with NaN or infinite numbers: expected weights between 0 and 1")
    if weights.min() < -1e-4:
        raise ValueError(f"{name} with {weights.min():.3g} among them: expected weights after the softmax, 0 or more")
    over = weights.sum(dim=-1) - 1  # [..., T]
    off = over if at_most else over.abs()
    if off.max() > TOLERANCE:
        row = over.flatten()[off.argmax()] + 1
        columns = (weights.sum(dim=-2) - 1).abs().max() <= TOLERANCE
        why = (
            "the columns do sum to one, so the softmax went over the queries"
            if columns
            else "weights after the softmax over the keys, without dropout (`model.eval()`)"
        )
        raise ValueError(f"{name} with a row that sums to {row:.3f}: expected {'at most ' if at_most else ''}1; {why}")


def one_text(ids: Any, name: str) -> list[int]:
    """One text's ids, given as a list, [T] or [1, T]."""
    if isinstance(ids, Tensor):
        ids = ids.tolist()
    ids = ids[0] if len(ids) == 1 and isinstance(ids[0], list | tuple) else ids
    if not ids or not all(isinstance(index, int) for index in ids):
        raise ValueError(f"{name}={ids!r}: expected the ids of one text, [T] or [1, T]")
    return list(ids)


def tokens_of(tokens: Any, ids: Any, name: str) -> list[str]:
    """Tokens as they were given, or as a tokenizer decodes the ids."""
    if callable(getattr(tokens, "decode", None)) and not isinstance(tokens, str | bytes):
        if ids is None:
            raise TypeError(f"{name} is a tokenizer, and there are no ids: expected tokens, or ids beside it")
        return texts_of(tokens, ids)
    if isinstance(tokens, str) or not isinstance(tokens, Sequence) or not all(isinstance(one, str) for one in tokens):
        raise TypeError(f"{name}={tokens!r}: expected a list of strings, one a token, or a tokenizer beside ids")
    return list(tokens)


def heads_of(module: nn.Module) -> int | None:
    """How many heads an attention module says it has."""
    for holder in (module, getattr(module, "config", None)):
        for name in HEADS:
            if type(found := getattr(holder, name, None)) is int:
                return found
    return None


@contextmanager
def recorded(model: Any) -> Iterator[dict[str, dict[str, Tensor]]]:
    """Queries, keys and values [H, T, d] that attention modules make meanwhile, by the module's name.

    Those modules are known by PROJECTIONS, linear maps under the names of lecturekit or Hugging Face, and by HEADS.
    """
    seen: dict[str, dict[str, Tensor]] = {}

    def keeper(module: str, parts: Sequence[str], heads: int) -> Callable[..., None]:
        def keep(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.dim() == 3 and output.size(-1) % (len(parts) * heads) == 0:
                found = output[:1].detach().float().cpu().chunk(len(parts), dim=-1)  # [1, T, D] each
                for part, numbers in zip(parts, found, strict=True):
                    seen.setdefault(module, {})[part] = split_heads(numbers, heads)[0]

        return keep

    with ExitStack() as hooks:
        for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
            for children in PROJECTIONS:
                found = [getattr(module, child, None) for child in children]
                if heads_of(module) and all(isinstance(child, nn.Module) for child in found):
                    parts = ("query", "key", "value")
                    for number, child in enumerate(found):
                        kept = keeper(name, parts if len(found) == 1 else parts[number : number + 1], heads_of(module))
                        hooks.callback(child.register_forward_hook(kept).remove)
        yield seen


def kind_of(module: str, kinds: Sequence[str]) -> str:
    """Which of the kinds of attention a module of this name computes."""
    if len(kinds) == 1:
        return kinds[0]
    name = module.lower()
    if "cross" in name or "encdec" in name:
        return "cross"
    return "encoder" if "encoder" in name else "decoder"


def ask(model: Callable[..., Any], ids: list[int], target_ids: list[int] | None) -> tuple[Any, dict]:
    """Call a model for its weights: (what it returned, what `recorded` saw)."""
    with ExitStack() as stack:
        device = stack.enter_context(at_rest(model))
        used = getattr(getattr(model, "config", None), "_attn_implementation", "eager")
        if used != "eager" and hasattr(model, "set_attn_implementation"):  # Hugging Face's fast kernels tell no weights
            model.set_attn_implementation("eager")
            stack.callback(model.set_attn_implementation, used)
        seen = stack.enter_context(recorded(model))
        source = torch.tensor([ids], device=device)
        target = None if target_ids is None else torch.tensor([target_ids], device=device)
        if target is not None and callable(getattr(model, "attention_weights", None)):
            return model.attention_weights(source, target), seen
        parameters = inspect.signature(model.forward if isinstance(model, nn.Module) else model).parameters
        more: dict[str, Any] = {name: True for name in ("output_attentions", "need_weights") if name in parameters}
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            more["output_attentions"] = True
        if target is not None and "decoder_input_ids" in parameters:
            more["decoder_input_ids"], target = target, None
        output = model(source, **more) if target is None else model(source, target, **more)
    return output, seen


def fields_of(output: Any, from_model: bool) -> dict[str, Any]:
    """Weights by kind: the fields of what a model returned, the keys of a dictionary, or what is no such thing."""
    holds = output.get if isinstance(output, Mapping) else lambda name: getattr(output, name, None)
    found = {}
    for kind, names in FIELDS.items():
        for name in names:
            if isinstance(one := holds(name), Tensor | list | tuple) and len(one):
                found[kind] = one
    if "self" in found and "cross" in found:
        found["decoder"] = found.pop("self")  # a decoder by itself
    if found:
        return found
    if isinstance(output, Mapping) or hasattr(output, "_fields"):
        return {}
    if not from_model:
        return {"self": output}
    if type(output) in (tuple, list) and len(output) > 1 and output[-1] is not None:
        return fields_of(output[-1], from_model=False)  # (output, weights)
    return {}


def fitting(found: list[Tensor], weights: list[Tensor], axis: int) -> bool:
    """Whether vectors [H, N, d] of each layer go with weights [H, T, S], N being the length of the axis."""
    return len(found) == len(weights) and all(
        one.shape[:2] == (layer.size(0), layer.size(axis)) for one, layer in zip(found, weights, strict=True)
    )


def read_attentions(
    attentions: Any = None,
    tokens: Any = None,
    target_tokens: Any = None,
    *,
    encoder_attentions: Any = None,
    decoder_attentions: Any = None,
    cross_attentions: Any = None,
    ids: Any = None,
    target_ids: Any = None,
    values: Any = None,
) -> list[Attention]:
    """Every kind of attention there is, the arguments being those of `attention_map`. At least one."""
    given = {"encoder": encoder_attentions, "decoder": decoder_attentions, "cross": cross_attentions}
    found = {kind: weights for kind, weights in given.items() if weights is not None}
    if (attentions is None) == (not found):
        raise TypeError(
            "expected attentions, or else some of encoder_attentions, decoder_attentions and cross_attentions"
        )
    ids = None if ids is None else one_text(ids, "ids")
    target_ids = None if target_ids is None else one_text(target_ids, "target_ids")
    seen: dict[str, dict[str, Tensor]] = {}
    if callable(attentions) and not isinstance(attentions, Tensor):
        if ids is None:
            raise TypeError(f"a model of type {type(attentions).__name__} without ids: expected ids that it reads")
        output, seen = ask(attentions, ids, target_ids)
        found = fields_of(output, from_model=True)
        if not found:
            raise TypeError(
                f"the model returned {type(output).__name__} without weights: expected the field `attentions` (or "
                "`encoder_attentions`, `decoder_attentions`, `cross_attentions`), or (output, weights)"
            )
    elif not found:
        found = fields_of(attentions, from_model=False)
        if not found:
            raise TypeError(f"{type(attentions).__name__} without weights: expected output_attentions=True in the call")
    source = tokens_of(tokens, ids, "tokens")
    if target_tokens is None and target_ids is not None and not isinstance(tokens, Sequence):
        target_tokens = tokens  # one tokenizer for both
    target = None if target_tokens is None else tokens_of(target_tokens, target_ids, "target_tokens")
    if target is not None and "self" in found:
        found["cross"] = found.pop("self")
    if target is None and found.keys() & {"decoder", "cross"}:
        raise TypeError(f"{' and '.join(found)} attention without target_tokens: expected them beside tokens")
    return [one_kind(kind, found, source, target or [], seen, values) for kind in FIELDS if kind in found]


def one_kind(
    kind: str, found: dict[str, Any], source: list[str], target: list[str], seen: dict[str, dict], values: Any
) -> Attention:
    """Check one kind of what was found, and put what belongs to it together."""
    name = "attentions" if kind == "self" else f"{kind}_attentions"
    weights = layers_of(found[kind], name)
    queries = source if kind in ("self", "encoder") else target
    keys = target if kind == "decoder" else source
    for number, layer in enumerate(weights):
        for tokens, size, what in ((queries, layer.size(1), "queries"), (keys, layer.size(2), "keys")):
            if len(tokens) != size:
                raise ValueError(
                    f"{name} have the shape [H, T, S] = {list(layer.shape)}, {size} {what}, for {len(tokens)} tokens: "
                    "expected one token for each"
                )
        check_rows(layer, f"{name} of layer {number}")
    vectors = [part for module, part in seen.items() if kind_of(module, list(found)) == kind]
    projected = {part: [one[part] for one in vectors if part in one] for part in ("query", "key", "value")}
    projected = {part: all_ for part, all_ in projected.items() if fitting(all_, weights, 1 if part == "query" else 2)}
    given = values.get(kind) if isinstance(values, Mapping) else values
    if given is not None:
        projected["value"] = layers_of(given, "values", last="d")
        if not fitting(projected["value"], weights, 2):
            shape, (heads, _, count) = list(projected["value"][0].shape), weights[0].shape
            raise ValueError(
                f"values of {len(projected['value'])} layers have the shape {shape}: expected "
                f"[H, S, d] = [{heads}, {count}, d] for each of {len(weights)} layers"
            )
    return Attention(kind, weights, queries, keys, projected)
