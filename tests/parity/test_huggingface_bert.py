"""The same numbers as Hugging Face's BERT with the same random weights, and the doors between the two.

Sizes are odd on purpose; biases and norms are moved away from zero and one, so that none can go missing unseen.
"""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lecturekit.models import bert
from lecturekit.models.bert import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)

ODD = {
    "vocab_size": 307,
    "hidden_size": 48,
    "num_attention_heads": 3,
    "num_hidden_layers": 5,
    "intermediate_size": 77,
    "max_position_embeddings": 29,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
CONFIGS = {
    "odd": {},
    "one head, tanh GELU": {"num_attention_heads": 1, "hidden_act": "gelu_new", "num_hidden_layers": 1},
    "head width 1, ReLU": {"hidden_size": 15, "num_attention_heads": 15, "hidden_act": "relu"},
    "five types, SiLU": {"type_vocab_size": 5, "hidden_act": "silu", "layer_norm_eps": 1e-3, "pad_token_id": 306},
    "one type, tanh": {"type_vocab_size": 1, "hidden_act": "tanh", "intermediate_size": 13, "pad_token_id": None},
    "swish, large weights": {"hidden_act": "swish", "initializer_range": 0.3, "num_hidden_layers": 3},
    "torch's tanh GELU": {"hidden_act": "gelu_pytorch_tanh", "hidden_size": 50, "num_attention_heads": 5},
}
MASKS = {
    "none": None,
    "left": [[0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], [0] * 5 + [1] * 6, [1] * 11],
    "right": [[1] * 7 + [0] * 4, [1] * 11, [1] + [0] * 10],
    "holes": [[1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1], [0, 1] * 5 + [0], [1] * 11],
    "a text of nothing but padding": [[0] * 11, [1] * 11, [1] * 4 + [0] * 7],
    "boolean, batch of one": [[True] * 6 + [False] * 5],
}
CLASSES = [
    BertModel,
    BertForPreTraining,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertForQuestionAnswering,
]
every_class = pytest.mark.parametrize("cls", CLASSES)
every_device = pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])


def twin(cls: type, **changes: object) -> nn.Module:
    """A live model of transformers with random weights, eager attention and no dropout."""
    config = transformers.BertConfig(**(ODD | changes))
    model = getattr(transformers, cls.__name__)._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-0.2, 0.2)
            elif "LayerNorm" in name:
                parameter.uniform_(0.5, 1.5)
    return model


def inputs(config: object, mask: object) -> dict[str, Tensor | None]:
    mask = None if mask is None else torch.tensor(mask)
    batch = 3 if mask is None else len(mask)
    return {
        "input_ids": torch.randint(config.vocab_size, (batch, 11)),
        "attention_mask": mask,
        "token_type_ids": torch.randint(config.type_vocab_size, (batch, 11)),
    }


def on(device: str, batch: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
    return {name: None if tensor is None else tensor.to(device) for name, tensor in batch.items()}


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def same_gradients(ours: nn.Module, theirs: nn.Module) -> None:
    ours, theirs = ({name: p.grad for name, p in m.named_parameters()} for m in (ours, theirs))
    assert ours.keys() == theirs.keys()
    largest = max(grad.abs().max().item() for grad in theirs.values() if grad is not None)
    for name, grad in theirs.items():
        if grad is None:
            assert ours[name] is None, name
        else:
            # A key's bias has no influence on a softmax: its gradient is zero but for rounding.
            scale = max(grad.abs().max().item(), 0.01 * largest)
            assert (ours[name] - grad).abs().max().item() <= 1e-4 * scale, name


# --- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("mask", MASKS)
@every_device
def test_every_hidden_state_and_every_attention(config: str, mask: str, device: str) -> None:
    theirs = twin(BertModel, **CONFIGS[config]).to(device)
    ours = BertModel.from_huggingface(theirs)
    batch = on(device, inputs(theirs.config, MASKS[mask]))
    asked = {"output_attentions": True, "output_hidden_states": True}
    with torch.no_grad():
        expected, got, fused = theirs(**batch, **asked), ours(**batch, **asked), ours(**batch)
    close(got.last_hidden_state, expected.last_hidden_state)
    close(got.pooler_output, expected.pooler_output)
    close(fused.last_hidden_state, expected.last_hidden_state)
    assert (fused.hidden_states, fused.attentions) == (None, None)
    assert len(got.hidden_states) == len(expected.hidden_states) == ours.config.num_hidden_layers + 1
    assert len(got.attentions) == len(expected.attentions) == ours.config.num_hidden_layers
    for one, other in zip(
        got.hidden_states + got.attentions, expected.hidden_states + expected.attentions, strict=True
    ):
        close(one, other)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("explicit", [False, True])
@every_device
def test_logits_loss_and_gradients_of_pre_training(config: str, explicit: bool, device: str) -> None:
    theirs = twin(BertForPreTraining, **CONFIGS[config]).to(device)
    ours = BertForPreTraining.from_huggingface(theirs)
    batch = inputs(theirs.config, MASKS["right"])
    if theirs.config.pad_token_id is not None:
        batch["input_ids"][0, 3] = theirs.config.pad_token_id  # its row takes no gradient from here
    labels = torch.randint(307, (3, 11)).masked_fill(torch.rand(3, 11) < 0.7, -100)
    batch = on(device, batch | {"labels": labels, "next_sentence_label": torch.tensor([0, 1, 1])})
    expected, got = theirs(**batch), ours(**batch, output_attentions=explicit)
    close(got.prediction_logits, expected.prediction_logits)
    close(got.seq_relationship_logits, expected.seq_relationship_logits)
    close(got.loss, expected.loss)
    expected.loss.backward()
    got.loss.backward()
    same_gradients(ours, theirs)


HEADS = [
    (BertForMaskedLM, {}, {"labels": torch.arange(33).view(3, 11) % 7 * 100 - 100}),
    (BertForSequenceClassification, {"num_labels": 3}, {"labels": torch.tensor([2, 0, 1])}),
    (BertForSequenceClassification, {"num_labels": 1}, {"labels": torch.tensor([2.5, 0.0, -1.0])}),
    (BertForTokenClassification, {"num_labels": 5}, {"labels": torch.arange(33).view(3, 11) % 5}),
    (
        BertForQuestionAnswering,
        {},
        {"start_positions": torch.tensor([0, 40, 3]), "end_positions": torch.tensor([10, 11, 5])},
    ),
]


@pytest.mark.parametrize(("cls", "changes", "labels"), HEADS)
def test_heads(cls: type, changes: dict, labels: dict[str, Tensor]) -> None:
    if cls is BertForMaskedLM:
        labels = {"labels": labels["labels"].clamp(max=306).masked_fill(labels["labels"] < 0, -100)}
    theirs = twin(cls, **changes)
    ours = cls.from_huggingface(theirs)
    batch = inputs(theirs.config, MASKS["right"])
    with torch.no_grad():
        assert ours(**batch).loss is None
    asked = {"output_attentions": True, "output_hidden_states": True}
    expected, got = theirs(**batch, **labels, **asked), ours(**batch, **labels, **asked)
    for name in ("loss", "start_logits", "end_logits") if cls is BertForQuestionAnswering else ("loss", "logits"):
        close(getattr(got, name), getattr(expected, name))
    assert (len(got.hidden_states), len(got.attentions)) == (6, 5)
    expected.loss.backward()
    got.loss.backward()
    same_gradients(ours, theirs)


def test_positions_that_are_given() -> None:
    theirs = twin(BertModel)
    ours = BertModel.from_huggingface(theirs)
    batch = inputs(theirs.config, MASKS["left"]) | {"position_ids": torch.randint(29, (3, 11))}
    with torch.no_grad():
        close(ours(**batch).last_hidden_state, theirs(**batch).last_hidden_state)


# --- doors --------------------------------------------------------------------------------------------------


@every_class
def test_names_are_theirs_and_the_way_back_is_exact(cls: type) -> None:
    theirs = twin(cls)
    ours = cls.from_huggingface(theirs)
    assert not ours.training
    assert list(ours.state_dict()) == list(theirs.state_dict())
    back = ours.to_huggingface()
    assert type(back) is type(theirs)
    assert not back.training
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name
    for name, value in asdict(ours.config).items():
        assert getattr(back.config, name) == getattr(theirs.config, name) == value


def test_defaults_are_theirs() -> None:
    ours, theirs = BertConfig(), transformers.BertConfig()
    assert {name: getattr(theirs, name) for name in asdict(ours)} == asdict(ours)


def test_nothing_is_shared_with_the_source_and_no_random_number_is_drawn() -> None:
    theirs = twin(BertForMaskedLM)
    before, state = theirs.state_dict()["cls.predictions.bias"].clone(), torch.get_rng_state()
    ours = BertForMaskedLM.from_huggingface(theirs)
    ours.to_huggingface()
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.zero_()
    assert torch.equal(theirs.state_dict()["cls.predictions.bias"], before)
    assert ours.cls.predictions.decoder.weight is ours.bert.embeddings.word_embeddings.weight
    assert ours.cls.predictions.bias is ours.cls.predictions.decoder.bias


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_the_dtype_is_the_source_s(dtype: torch.dtype) -> None:
    ours = BertModel.from_huggingface(twin(BertModel).to(dtype))
    assert {p.dtype for p in (*ours.parameters(), *ours.to_huggingface().parameters())} == {dtype}


@every_class
@pytest.mark.parametrize("parts", ["one file", "several files"])
def test_a_folder_that_transformers_wrote(cls: type, parts: str, tmp_path: Path) -> None:
    theirs = twin(cls, num_labels=2)
    theirs.save_pretrained(tmp_path, max_shard_size="5GB" if parts == "one file" else "100KB")
    assert (len(list(tmp_path.glob("*.safetensors"))) == 1) == (parts == "one file")
    for folder in (tmp_path, str(tmp_path)):
        ours = cls.from_huggingface(folder)
        assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in theirs.state_dict().items())


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder as the first checkpoints are: pre-training heads, gamma and beta, stored positions."""
    theirs = twin(BertForPreTraining)
    theirs.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    for name in list(tensors):
        for new, old in (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")):
            if name.endswith(new):
                tensors[name.replace(new, old)] = tensors.pop(name)
    tensors["bert.embeddings.position_ids"] = torch.arange(29)[None]
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


def test_an_old_checkpoint_holds_three_models(published: Path) -> None:
    whole, masked, bare = (c.from_huggingface(published) for c in (BertForPreTraining, BertForMaskedLM, BertModel))
    ids = torch.randint(307, (2, 9))
    assert torch.equal(whole(ids).prediction_logits, masked(ids).logits)
    assert torch.equal(whole.bert(ids).pooler_output, bare(ids).pooler_output)
    with pytest.raises(ValueError, match=r"2 missing \(classifier.bias, classifier.weight\)"):
        BertForSequenceClassification.from_huggingface(published)
    head = BertForSequenceClassification(bare.config)
    head.bert.load_state_dict(bare.state_dict())
    assert torch.equal(head.eval()(ids).logits, head.classifier(bare(ids).pooler_output))


def test_a_bare_checkpoint_goes_into_a_bare_model_only(tmp_path: Path) -> None:
    twin(BertModel).save_pretrained(tmp_path)
    assert BertModel.from_huggingface(tmp_path)
    with pytest.raises(ValueError, match=r"6 missing \(cls.predictions.bias, cls.predictions.decoder.bias, "):
        BertForMaskedLM.from_huggingface(tmp_path)


def change(tensors: dict[str, Tensor], kind: str) -> str:
    """Damage a checkpoint; what the error must say."""
    name = "bert.encoder.layer.3.attention.self.query.weight"
    if kind == "missing":
        del tensors[name]
        return rf"1 missing \({name}\)"
    if kind == "unexpected":
        tensors["bert.encoder.layer.5.attention.self.query.weight"] = torch.zeros(48, 48)
        return r"1 unexpected \(bert.encoder.layer.5"
    if kind == "misshapen":
        tensors[name] = torch.zeros(48, 47)
        return rf"{name} has shape \[48, 47\]: expected \[48, 48\]"
    if kind == "whole numbers":
        tensors[name] = torch.zeros(48, 48, dtype=torch.long)
        return rf"{name} has dtype torch.int64: expected a floating-point one"
    if kind == "twice":
        tensors["bert.embeddings.LayerNorm.gamma"] = torch.ones(48)
        return "bert.embeddings.LayerNorm.weight is stored twice"
    tensors["cls.predictions.decoder.weight"] = torch.zeros(307, 48)
    return "differ: expected tied weights"


@pytest.mark.parametrize("kind", ["missing", "unexpected", "misshapen", "whole numbers", "twice", "untied"])
def test_a_checkpoint_that_does_not_fit(kind: str, tmp_path: Path) -> None:
    twin(BertForMaskedLM).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    complaint = change(tensors, kind)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=complaint):
        BertForMaskedLM.from_huggingface(tmp_path)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    theirs = twin(BertModel)
    theirs.config.save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no model.safetensors in"):
        BertModel.from_huggingface(tmp_path)
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(
        ValueError, match=r"has pytorch_model.bin: expected model.safetensors, a pickle is never loaded"
    ):
        BertModel.from_huggingface(tmp_path)
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model.safetensors is not in the safetensors format"):
        BertModel.from_huggingface(tmp_path)


def test_a_place_without_a_model(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "bert-base-uncased"):
        with pytest.raises(FileNotFoundError, match=r"no config.json in .*: expected a folder"):
            BertModel.from_huggingface(place)
    with pytest.raises(TypeError, match="Linear: expected a model of transformers, or a folder"):
        BertModel.from_huggingface(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"is_decoder": True}, "is_decoder=True: expected False"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False: expected True"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key': expected 'absolute'"),
        ({"problem_type": "multi_label_classification"}, "problem_type='multi_label_classification': expected None or"),
        ({"hidden_act": "mish"}, "activation 'mish': expected one of gelu, gelu_new"),
        ({"model_type": "gpt2"}, "model_type='gpt2': expected 'bert'"),
    ],
)
def test_a_configuration_that_cannot_be_followed(changes: dict, complaint: str, tmp_path: Path) -> None:
    twin(BertModel).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ValueError, match=complaint):
        BertModel.from_huggingface(tmp_path)


def test_every_class_has_a_twin() -> None:
    public = {name for name in dir(bert) if name.startswith("BertFor") and not name.endswith("Output")} | {"BertModel"}
    assert public == {cls.__name__ for cls in CLASSES}
    assert all(hasattr(transformers, name) for name in public)
