"""The course's own small models, each loaded in one line with no network, and a door to those of the hub.

    model, tokenizer = load("gpt")                          # five that lie beside this file, see README.md there
    model, tokenizer = load("DeepPavlov/rubert-base-cased") # with a network: any BERT, GPT-1, GPT-2 or T5 of the hub
    model.load_state_dict(load_weights("gpt"))              # into your own model of the same load_config("gpt")

A folder holds config.json, model.safetensors in half precision, the tokenizer's files, and card.json: what the model
was trained on, how long, and how well it does. `tools/course_models.py` trains them all.

Left out: models whose family is not in the course, and pickles, which run whatever code they hold.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor, nn

FOLDER = Path(__file__).resolve().parent


class Kind(NamedTuple):
    """Where a course model's classes are: modules and names, imported when they are asked for."""

    module: str
    config: str
    model: str
    tokenizer: str


KINDS = {
    "gpt": Kind("lecturekit.models.gpt", "GPT2Config", "GPT2LMHeadModel", "ByteLevelBPE"),
    "bert": Kind("lecturekit.models.bert", "BertConfig", "BertForMaskedLM", "WordPiece"),
    "seq2seq": Kind("lecturekit.models.seq2seq", "Seq2SeqConfig", "Seq2Seq", "Characters"),
    "t5": Kind("lecturekit.models.t5", "T5Config", "T5ForConditionalGeneration", "Unigram"),
    "in-context": Kind("lecturekit.models.gpt", "GPT2Config", "GPT2LMHeadModel", "Characters"),
}
NAMES = tuple(KINDS)
MODEL_TYPES = {"GPT2Config": "gpt2", "BertConfig": "bert", "Seq2SeqConfig": "seq2seq", "T5Config": "t5"}

# A checkpoint's model_type: our module, the class of transformers for the whole model, ours, ours without a head.
FAMILIES = {
    "bert": ("lecturekit.models.bert", "BertForMaskedLM", "BertForMaskedLM", "BertModel"),
    "openai-gpt": ("lecturekit.models.gpt", "OpenAIGPTLMHeadModel", "GPTLMHeadModel", "GPTModel"),
    "gpt2": ("lecturekit.models.gpt", "GPT2LMHeadModel", "GPT2LMHeadModel", "GPT2Model"),
    "t5": ("lecturekit.models.t5", "T5ForConditionalGeneration", "T5ForConditionalGeneration", None),
}


def folder_of(name: str) -> Path:
    """The folder of a course model. ValueError for a name that is not one of NAMES."""
    if name not in NAMES:
        raise ValueError(f"course model {name!r}: expected one of {', '.join(NAMES)}")
    return FOLDER / name.replace("-", "_")


def card(name: str) -> dict[str, Any]:
    """What is known of a course model: parameters, training, data, held-out figures. ValueError as in `folder_of`."""
    return json.loads((folder_of(name) / "card.json").read_text(encoding="utf-8"))


def stored_config(name: str) -> dict[str, Any]:
    """What config.json says: the configuration's fields, the family, and the second names of tied weights."""
    return json.loads((folder_of(name) / "config.json").read_text(encoding="utf-8"))


def load_config(name: str) -> Any:
    """The configuration of a course model, a GPT2Config for example. ValueError as in `folder_of`."""
    fields = stored_config(name)
    del fields["model_type"], fields["tied_weights"]
    return getattr(import_module(KINDS[name].module), KINDS[name].config)(**fields)


def load_weights(name: str) -> "dict[str, Tensor]":
    """The weights of a course model by parameter name, in float32: what its `load_state_dict` takes.

    Tied weights come under each of their names, and are one tensor. ValueError as in `folder_of`.
    """
    from safetensors.torch import load_file

    stored = load_file(folder_of(name) / "model.safetensors")
    weights = {key: tensor.float() for key, tensor in stored.items()}
    return weights | {other: weights[first] for other, first in stored_config(name)["tied_weights"].items()}


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a course model. ValueError as in `folder_of`."""
    folder = folder_of(name)
    return getattr(import_module("lecturekit.tokenizers"), KINDS[name].tokenizer).load(folder)


def load(name: str | Path) -> "tuple[nn.Module, Any]":
    """A trained model, float32 and in eval mode, and its tokenizer.

    `name` is one of NAMES; or what Hugging Face transformers calls a checkpoint, the name of one on the hub or a folder
    with config.json and model.safetensors, of the family of BERT, GPT-1, GPT-2 or T5. Our class takes its weights, and
    the tokenizer is that of transformers (`AutoTokenizer`). Some names of Russian models and their English elders:

        DeepPavlov/rubert-base-cased    ai-forever/rugpt3small_based_on_gpt2    ai-forever/ruT5-base
        bert-base-cased                 gpt2                                    t5-small

    ConnectionError if the hub can't be reached; FileNotFoundError if it has no such checkpoint, or no safetensors for
    it; ValueError for another family, or for weights that do not fit.
    """
    if name in NAMES:
        kind = KINDS[str(name)]
        # The initial weights are thrown away: let nobody's random numbers change.
        import torch

        with torch.device("meta"):
            model = getattr(import_module(kind.module), kind.model)(load_config(str(name)))
        model.load_state_dict(load_weights(str(name)), assign=True)
        if hasattr(model, "tie_weights"):
            model.tie_weights()
        return model.eval(), load_tokenizer(str(name))
    return load_checkpoint(str(name))


def checkpoint_type(name: str) -> str:
    """The model_type of a checkpoint of transformers, a folder's or the hub's. Errors are those of `load`."""
    from huggingface_hub import errors, snapshot_download

    folder = Path(name)
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(name, allow_patterns=["config.json"]))
        except errors.LocalEntryNotFoundError:
            raise ConnectionError(
                f"{name}: the Hugging Face hub can't be reached. Is there a network? Without one there are "
                f"{', '.join(NAMES)}, and folders with a checkpoint"
            ) from None
        except (errors.HfHubHTTPError, errors.HFValidationError):
            raise FileNotFoundError(
                f"{name}: no folder here, and no checkpoint of the hub that may be read; "
                f"expected such a name or folder, or one of {', '.join(NAMES)}"
            ) from None
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{name}: no config.json, expected a checkpoint of Hugging Face transformers")
    return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")


def load_checkpoint(name: str) -> "tuple[nn.Module, Any]":
    """A checkpoint of transformers in our class, without a head where the checkpoint has none, and its tokenizer.

    transformers reads the weights, so that those that the hub has as a pickle alone are read too: as tensors, with no
    code run. Errors are those of `load`.
    """
    family = checkpoint_type(name)
    if family not in FAMILIES:
        raise ValueError(f"{name}: model_type {family!r}, expected one of {', '.join(FAMILIES)}")
    import transformers

    module, theirs, ours, bare = FAMILIES[family]
    try:
        model, info = getattr(transformers, theirs).from_pretrained(name, output_loading_info=True, dtype="float32")
        if info["missing_keys"] and bare:  # the head's: random numbers stand in for it
            model, ours = transformers.AutoModel.from_pretrained(name, dtype="float32"), bare
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise ConnectionError(f"{name}: not all of its files are here, nor to be had now: {reason}") from error
    return getattr(import_module(module), ours).from_huggingface(model), tokenizer
