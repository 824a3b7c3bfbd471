"""The two doors between a model of this course and its twin in Hugging Face transformers.

`from_huggingface` reads a live model, or a folder with config.json and safetensors; never a pickle, which runs
whatever code it holds when it is loaded. `to_huggingface` is the way back.

A family of models states in one table, a `Twin`, all that differs between the two sides. What the table does not
say raises ValueError before there is a model, so that nothing is ever loaded by half.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Twin:
    """How Hugging Face writes down a family of models; parameter names are the same where nothing is said."""

    model_type: str
    """The family's name in config.json."""
    prefix: str
    """What the names of the bare model's parameters begin with inside a model that has a head."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """The name of a class here: the name of its twin, where that is another."""
    allowed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Configuration fields that one side lacks: the values with which both compute the same, the usual one first."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Endings of parameter names in old checkpoints: today's."""
    buffers: tuple[str, ...] = ()
    """Endings of the names of stored tensors that are computed and never learnt."""
    unread: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The name of a class here: beginnings of the names of heads that it leaves in the checkpoint."""
    transposed: tuple[str, ...] = ()
    """Endings of the names of matrices that are stored with the input first."""

    def configuration(self, config_class: type, stored: Mapping[str, Any]) -> Any:
        """A configuration of ours from the fields of config.json; what it lacks has the same default in both."""
        if stored.get("model_type") != self.model_type:
            raise ValueError(f"model_type={stored.get('model_type')!r}: expected {self.model_type!r}")
        self.check_allowed(stored)
        ours = {f.name: stored[f.name] for f in fields(config_class) if f.name in stored}
        if "id2label" in stored and any(f.name == "num_labels" for f in fields(config_class)):
            ours["num_labels"] = len(stored["id2label"])  # transformers writes the labels' names, not their number
        return config_class(**ours)

    def check_allowed(self, configuration: Mapping[str, Any]) -> None:
        for name, values in self.allowed.items():
            if configuration.get(name, values[0]) not in values:
                expected = " or ".join(map(repr, values))
                raise ValueError(f"{name}={configuration[name]!r}: expected {expected}, all that both sides can do")

    def turn(self, name: str, tensor: Tensor) -> Tensor:
        """A matrix from one side's orientation to the other's."""
        return tensor.t() if name.endswith(self.transposed) else tensor

    def translate(self, stored: Iterator[tuple[str, Tensor]], model: nn.Module) -> dict[str, Tensor]:
        """Copies of the stored tensors under the model's names; ValueError unless they are exactly what it needs."""
        expected = model.state_dict()
        stored = [(self.modern(name), tensor) for name, tensor in stored]
        inside = any(name.startswith(self.prefix) for name in expected)
        whole = any(name.startswith(self.prefix) for name, _ in stored)
        found: dict[str, Tensor] = {}
        for name, tensor in stored:
            if inside and not whole:
                name = self.prefix + name
            elif whole and not inside:
                name = name.removeprefix(self.prefix)
            if name.endswith(self.buffers) or name.startswith(self.unread.get(type(model).__name__, ())):
                continue
            if name in found:
                raise ValueError(f"{name} is stored twice: expected one tensor of that name")
            found[name] = tensor
        share_tied(found, model)
        check_tensors(found, {name: self.turn(name, tensor) for name, tensor in expected.items()})
        # A matrix that is turned is laid out anew, a row after the other: `layers.linear` is fast for no other.
        return {
            name: self.turn(name, tensor).clone(memory_format=torch.contiguous_format) for name, tensor in found.items()
        }

    def modern(self, name: str) -> str:
        for old, new in self.renamed.items():
            if name.endswith(old):
                return name.removesuffix(old) + new
        return name


class HuggingFaceModel(nn.Module):
    """A model with a twin: a subclass names its configuration's class and its family's table."""

    config_class: ClassVar[type]
    twin: ClassVar[Twin]

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def tie_weights(self) -> None:
        """Make one Parameter of those that the paper shares; most models share none."""

    @classmethod
    def from_huggingface(cls, model_or_folder: nn.Module | str | Path) -> Self:
        """The same model with the same weights, in eval mode; dtype and device are those of the source.

        A folder holds config.json and model.safetensors (or its parts and their index). FileNotFoundError if
        there is no such folder or file; ValueError for a pickle in place of safetensors, for another kind of model,
        for a configuration that this class cannot follow, and for tensors that are missing, unexpected or of
        another shape. A new head is missing too: to fine-tune, load the bare model and give its state to the
        bare model inside yours.
        """
        stored, tensors = read(model_or_folder)
        config = cls.twin.configuration(cls.config_class, stored)
        with torch.device("meta"):
            model = cls(config)  # the shapes alone: no time is lost on random numbers
        model.load_state_dict(cls.twin.translate(tensors, model), assign=True)
        model.tie_weights()
        return model.eval()

    def to_huggingface(self) -> nn.Module:
        """The twin, a live model of transformers in eval mode with copies of these weights.

        ValueError for a configuration that the twin cannot follow.
        """
        import transformers

        settings = asdict(self.config)
        self.twin.check_allowed(settings)
        settings = {name: value for name, value in settings.items() if name not in self.twin.allowed}
        config = transformers.AutoConfig.for_model(self.twin.model_type, **settings)
        name = type(self).__name__
        with torch.random.fork_rng(devices=[]):  # its initial weights are thrown away: let nobody's draws change
            theirs = getattr(transformers, self.twin.classes.get(name, name))(config)
        some = next(self.parameters())
        theirs = theirs.to(device=some.device, dtype=some.dtype)
        theirs.load_state_dict({name: self.twin.turn(name, tensor) for name, tensor in self.state_dict().items()})
        return theirs.eval()


def read(model_or_folder: nn.Module | str | Path) -> tuple[dict[str, Any], Iterator[tuple[str, Tensor]]]:
    """The configuration's fields, and the tensors with their names."""
    if isinstance(model_or_folder, nn.Module):
        config = getattr(model_or_folder, "config", None)
        if not hasattr(config, "to_dict"):
            raise TypeError(f"{type(model_or_folder).__name__}: expected a model of transformers, or a folder")
        return config.to_dict(), iter(model_or_folder.state_dict().items())
    folder = Path(model_or_folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"no config.json in {folder}: expected a folder with config.json and model.safetensors")
    stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return stored, read_tensors(folder)


def read_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """What model.safetensors holds, or the parts that model.safetensors.index.json lists."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    parts, index = ["model.safetensors"], folder / "model.safetensors.index.json"
    if index.is_file():
        parts = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    for part in parts:
        if not (folder / part).is_file():
            pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
            if pickles:
                raise ValueError(f"{folder} has {', '.join(pickles)}: expected {part}, a pickle is never loaded")
            raise FileNotFoundError(f"no {part} in {folder}")
        try:
            yield from load_file(folder / part).items()
        except SafetensorError as error:
            raise ValueError(f"{folder / part} is not in the safetensors format: {error}") from error


def share_tied(found: dict[str, Tensor], model: nn.Module) -> None:
    """Give each of a model's tied names the tensor that was stored for one of them.

    ValueError if two were stored and differ: the checkpoint was made by a model that does not tie them.
    """
    groups: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(parameter, []).append(name)
    for names in groups.values():
        present = [name for name in names if name in found]
        for other in present[1:]:
            if not torch.equal(found[present[0]], found[other]):
                raise ValueError(f"{present[0]} and {other} differ: expected tied weights")
        if present:
            found.update(dict.fromkeys(names, found[present[0]]))


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """ValueError with the names that are missing or unexpected, or with the first tensor that does not fit."""
    differences = {"missing": expected.keys() - found.keys(), "unexpected": found.keys() - expected.keys()}
    wrong = [f"{len(n)} {kind} ({', '.join(sorted(n)[:4])})" for kind, n in differences.items() if n]
    if wrong:
        raise ValueError(f"tensors that do not fit the model: {', '.join(wrong)}")
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(f"{name} has shape {list(tensor.shape)}: expected {list(expected[name].shape)}")
        if not tensor.is_floating_point():
            raise ValueError(f"{name} has dtype {tensor.dtype}: expected a floating-point one")
