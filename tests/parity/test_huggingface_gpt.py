"""The same numbers as Hugging Face's GPT and GPT-2 with the same random weights, and the doors between the two.

GPT-3's sparse layers are compared with those of GPT-Neo. Sizes are odd on purpose; biases and norms are moved away
from zero and one, so that none can go missing unseen.
"""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lecturekit.layers import KeyValueCache
from lecturekit.models.gpt import (
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    GPTConfig,
    GPTForSequenceClassification,
    GPTLMHeadModel,
    GPTModel,
)

TWINS = {
    GPTModel: "OpenAIGPTModel",
    GPTLMHeadModel: "OpenAIGPTLMHeadModel",
    GPTForSequenceClassification: "OpenAIGPTForSequenceClassification",
    GPT2Model: "GPT2Model",
    GPT2LMHeadModel: "GPT2LMHeadModel",
}
ODD = {
    "vocab_size": 307,
    "n_positions": 29,
    "n_embd": 48,
    "n_head": 3,
    "n_layer": 5,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "bos_token_id": 306,
    "eos_token_id": 306,
}
CONFIGS = [
    (GPTLMHeadModel, {}),
    (GPTLMHeadModel, {"afn": "relu", "n_head": 1}),
    (GPTLMHeadModel, {"afn": "silu", "n_embd": 15, "n_head": 15}),
    (GPTLMHeadModel, {"afn": "swish", "n_layer": 1, "layer_norm_epsilon": 1e-3}),
    (GPTLMHeadModel, {"initializer_range": 0.3, "n_embd": 50, "n_head": 5}),
    (GPT2LMHeadModel, {}),
    (GPT2LMHeadModel, {"activation_function": "gelu", "n_head": 1}),
    (GPT2LMHeadModel, {"activation_function": "relu", "n_embd": 15, "n_head": 15, "n_inner": 13}),
    (GPT2LMHeadModel, {"activation_function": "silu", "n_layer": 1, "layer_norm_epsilon": 1e-3}),
    (GPT2LMHeadModel, {"activation_function": "tanh", "n_inner": 48}),
    (GPT2LMHeadModel, {"activation_function": "swish", "initializer_range": 0.3, "n_embd": 50, "n_head": 5}),
    (GPT2LMHeadModel, {"activation_function": "gelu_pytorch_tanh", "n_inner": 144}),
]
MASKS = {
    "none": None,
    "left": [[0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], [0] * 5 + [1] * 6, [1] * 11],
    "right": [[1] * 7 + [0] * 4, [1] * 11, [1] + [0] * 10],
    "holes": [[1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1], [0, 1] * 5 + [0], [1] * 11],
    "a text of nothing but padding": [[0] * 11, [1] * 11, [1] * 4 + [0] * 7],
    "boolean, batch of one": [[True] * 6 + [False] * 5],
}
every_config = pytest.mark.parametrize(("cls", "changes"), CONFIGS, ids=lambda x: getattr(x, "__name__", str(x)))
every_class = pytest.mark.parametrize("cls", TWINS)
every_device = pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])


def twin(cls: type, **changes: object) -> nn.Module:
    """A live model of transformers with random weights, eager attention and no dropout."""
    config_class = transformers.GPT2Config if cls.__name__.startswith("GPT2") else transformers.OpenAIGPTConfig
    config = config_class(**(ODD | changes))
    return stirred(getattr(transformers, TWINS[cls])._from_config(config, attn_implementation="eager"))


def stirred(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-0.2, 0.2)
            elif ".ln_" in name:
                parameter.uniform_(0.5, 1.5)
    return model.eval()


def inputs(mask: object) -> dict[str, Tensor | None]:
    mask = None if mask is None else torch.tensor(mask)
    return {"input_ids": torch.randint(307, (3 if mask is None else len(mask), 11)), "attention_mask": mask}


def on(device: str, batch: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
    return {name: None if tensor is None else tensor.to(device) for name, tensor in batch.items()}


def seeing(cls: type, mask: Tensor | None) -> Tensor:
    """[B, T]: the queries to compare. One that may see nothing looks at the future in Hugging Face's GPT-1."""
    if mask is None or cls is not GPTLMHeadModel:
        return torch.ones(3 if mask is None else len(mask), 11, dtype=torch.bool)
    return mask.cumsum(dim=-1) > 0


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def same_gradients(ours: nn.Module, theirs: nn.Module) -> None:
    expected = {name: p.grad for name, p in theirs.named_parameters()}
    largest = max(grad.abs().max().item() for grad in expected.values())
    for name, parameter in ours.named_parameters():
        grad = expected.pop(name)
        turned = name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight"))
        got = parameter.grad.T if turned else parameter.grad
        # A key's bias has no influence on a softmax: its gradient is zero but for rounding.
        scale = max(grad.abs().max().item(), 0.01 * largest)
        assert (got - grad).abs().max().item() <= 1e-4 * scale, name
    assert not expected


# --- numbers ------------------------------------------------------------------------------------------------


@every_config
@pytest.mark.parametrize("mask", MASKS)
@every_device
def test_logits_and_every_hidden_state_and_every_attention(cls: type, changes: dict, mask: str, device: str) -> None:
    theirs = twin(cls, **changes).to(device)
    ours = cls.from_huggingface(theirs)
    batch = on(device, inputs(MASKS[mask]))
    asked = {"output_attentions": True, "output_hidden_states": True}
    with torch.no_grad():
        expected, got, fused = theirs(**batch, **asked), ours(**batch, **asked), ours(**batch)
    rows = seeing(cls, batch["attention_mask"])
    close(got.logits[rows], expected.logits[rows])
    close(fused.logits[rows], expected.logits[rows])
    assert (fused.hidden_states, fused.attentions) == (None, None)
    assert len(got.attentions) == len(expected.attentions) == ours.config.n_layer
    for one, other in zip(got.hidden_states, expected.hidden_states, strict=True):
        close(one[rows], other[rows])
    for one, other in zip(got.attentions, expected.attentions, strict=True):
        close(one.transpose(1, 2)[rows], other.transpose(1, 2)[rows])


@every_config
@pytest.mark.parametrize("explicit", [False, True])
@every_device
def test_loss_and_gradients(cls: type, changes: dict, explicit: bool, device: str) -> None:
    theirs = twin(cls, **changes).to(device)
    ours = cls.from_huggingface(theirs)
    batch = on(device, inputs(MASKS["right"]))
    batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    expected, got = theirs(**batch).loss, ours(**batch, output_attentions=explicit).loss
    close(got, expected)
    expected.backward()
    got.backward()
    same_gradients(ours, theirs)


@pytest.mark.parametrize("cls", [GPTModel, GPT2Model])
def test_bare_models_and_positions_that_are_given(cls: type) -> None:
    theirs = twin(cls)
    ours = cls.from_huggingface(theirs)
    batch = inputs(MASKS["right"]) | {"position_ids": torch.randint(29, (3, 11))}
    with torch.no_grad():
        close(ours(**batch).last_hidden_state, theirs(**batch).last_hidden_state)


@pytest.mark.parametrize("num_labels", [1, 4])
def test_classification_without_the_auxiliary_loss(num_labels: int) -> None:
    theirs = twin(GPTForSequenceClassification, num_labels=num_labels, pad_token_id=0)
    ours = GPTForSequenceClassification.from_huggingface(theirs)
    ids = torch.randint(1, 307, (3, 11))
    ids[0, 7:], ids[2, 1:] = 0, 0
    labels = torch.tensor([2.5, 0, -1]) if num_labels == 1 else torch.tensor([3, 0, 1])
    mask = (ids != 0).long()
    expected, got = theirs(ids, mask, labels=labels), ours(ids, mask, labels=labels, lm_coef=0.0)
    close(got.logits, expected.logits)
    close(got.loss, expected.loss)


@pytest.mark.parametrize("changes", [changes for cls, changes in CONFIGS if cls is GPT2LMHeadModel][:4])
def test_pieces_of_a_text_as_with_their_cache(changes: dict) -> None:
    theirs = twin(GPT2LMHeadModel, **changes)
    ours, cache, past = GPT2LMHeadModel.from_huggingface(theirs), KeyValueCache(), None
    ids, mask = torch.randint(307, (2, 11)), torch.tensor([[0, 0, 0, *[1] * 8], [1] * 11])
    places = (mask.cumsum(dim=-1) - 1).clamp(min=0)
    with torch.no_grad():
        for start, end in ((0, 5), (5, 6), (6, 7), (7, 10), (10, 11)):
            piece = {"attention_mask": mask[:, :end], "position_ids": places[:, start:end]}
            expected = theirs(ids[:, start:end], past_key_values=past, use_cache=True, **piece)
            past = expected.past_key_values
            close(ours(ids[:, start:end], past_key_values=cache, **piece).logits, expected.logits)
    assert cache.length == 11


@pytest.mark.parametrize("window", [1, 3, 10, 20])
def test_sparse_layers_are_those_of_gpt_neo(window: int) -> None:
    """Theirs has no bias for query, key and value, does not divide scores by √d, and its first layer is dense."""
    sizes = {"vocab_size": 307, "hidden_size": 48, "num_heads": 3, "num_layers": 4, "max_position_embeddings": 29}
    kinds = {"attention_types": [[["global", "local"], 2]], "window_size": window}
    rates = dict.fromkeys(["resid_dropout", "embed_dropout", "attention_dropout"], 0.0)
    tokens = {"bos_token_id": 306, "eos_token_id": 306}
    config = transformers.GPTNeoConfig(**sizes, **kinds, **rates, **tokens)
    theirs = stirred(transformers.GPTNeoForCausalLM._from_config(config, attn_implementation="eager"))
    ours = GPT2LMHeadModel(
        GPT2Config(vocab_size=307, n_embd=48, n_head=3, n_layer=4, n_positions=29, local_window=window)
    ).eval()
    state = {}
    for name, tensor in theirs.state_dict().items():
        name = name.replace("attn.attention.out_proj", "attn.c_proj")
        if "k_proj" in name or "v_proj" in name:
            continue
        if "q_proj" in name:
            query, key, value = (theirs.state_dict()[name.replace("q_proj", f"{part}_proj")] for part in "qkv")
            name, tensor = (
                name.replace("attn.attention.q_proj", "attn.c_attn"),
                torch.cat([query * math.sqrt(16), key, value]),
            )
            state[name.replace("weight", "bias")] = torch.zeros(3 * 48)
        state[name] = tensor
    ours.load_state_dict(state)
    ids = torch.randint(307, (2, 13))
    with torch.no_grad():
        close(ours(ids).logits, theirs(ids).logits)


# --- doors --------------------------------------------------------------------------------------------------


@every_class
def test_names_are_theirs_and_the_way_back_is_exact(cls: type) -> None:
    theirs = twin(cls, **({"num_labels": 3} if cls is GPTForSequenceClassification else {}))
    ours = cls.from_huggingface(theirs)
    assert not ours.training
    assert list(ours.state_dict()) == list(theirs.state_dict())
    back = ours.to_huggingface()
    assert type(back) is type(theirs)
    assert not back.training
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name
    for name, value in asdict(ours.config).items():
        if name != "local_window":
            assert getattr(back.config, name) == getattr(theirs.config, name) == value


def test_defaults_are_theirs() -> None:
    for ours, theirs in ((GPTConfig(), transformers.OpenAIGPTConfig()), (GPT2Config(), transformers.GPT2Config())):
        assert {name: getattr(theirs, name, None) for name in asdict(ours)} == asdict(ours)


def test_square_matrices_survive_every_way() -> None:
    theirs = twin(GPT2LMHeadModel, n_inner=48)
    ours = GPT2LMHeadModel.from_huggingface(theirs)
    again = GPT2LMHeadModel(ours.config)
    again.load_state_dict(ours.state_dict())  # our own way: no orientation changes
    through = GPT2LMHeadModel.from_huggingface(ours.to_huggingface())
    ids = torch.randint(307, (2, 11))
    assert torch.equal(again.eval()(ids).logits, ours(ids).logits)
    assert torch.equal(through(ids).logits, ours(ids).logits)
    assert torch.equal(ours.transformer.h[0].mlp.c_fc.weight, theirs.transformer.h[0].mlp.c_fc.weight.T)


@every_class
@pytest.mark.parametrize("parts", ["one file", "several files"])
def test_a_folder_that_transformers_wrote(cls: type, parts: str, tmp_path: Path) -> None:
    theirs = twin(cls)
    theirs.save_pretrained(tmp_path, max_shard_size="5GB" if parts == "one file" else "100KB")
    assert (len(list(tmp_path.glob("*.safetensors"))) == 1) == (parts == "one file")
    ours = cls.from_huggingface(tmp_path)
    for name, tensor in ours.to_huggingface().state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name
    if cls in (GPTLMHeadModel, GPT2LMHeadModel):
        tokens = ours.transformer.wte if cls is GPT2LMHeadModel else ours.transformer.tokens_embed
        assert ours.lm_head.weight is tokens.weight


def test_the_first_gpt_2_checkpoint_is_bare_and_has_masks(tmp_path: Path) -> None:
    theirs = twin(GPT2Model)
    theirs.save_pretrained(tmp_path)
    tensors = {name.removeprefix("transformer."): t for name, t in load_file(tmp_path / "model.safetensors").items()}
    tensors |= {f"h.{i}.attn.bias": torch.ones(1, 1, 29, 29).tril() for i in range(5)}
    save_file(tensors | {"h.0.attn.masked_bias": torch.tensor(-1e4)}, tmp_path / "model.safetensors")
    ids = torch.randint(307, (2, 9))
    bare, head = GPT2Model.from_huggingface(tmp_path), GPT2LMHeadModel.from_huggingface(tmp_path)
    close(bare(ids).last_hidden_state, theirs(ids).last_hidden_state)
    close(head(ids).logits, theirs(ids).last_hidden_state @ theirs.wte.weight.T)
    assert torch.equal(GPT2Model.from_huggingface(head.to_huggingface())(ids)[0], bare(ids)[0])


def test_a_matrix_of_the_wrong_shape_is_refused(tmp_path: Path) -> None:
    twin(GPT2LMHeadModel).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = "transformer.h.1.attn.c_attn.weight"
    tensors[name] = tensors[name].t().contiguous()  # as a linear layer has it, not as GPT-2 stores it
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=rf"{name} has shape \[144, 48\]: expected \[48, 144\]"):
        GPT2LMHeadModel.from_huggingface(tmp_path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"add_cross_attention": True}, "add_cross_attention=True: expected False"),
        ({"scale_attn_weights": False}, "scale_attn_weights=False: expected True"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True: expected False"),
        ({"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn=True: expected False"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False: expected True"),
        ({"model_type": "openai-gpt"}, "model_type='openai-gpt': expected 'gpt2'"),
    ],
)
def test_a_configuration_that_cannot_be_followed(changes: dict, complaint: str, tmp_path: Path) -> None:
    twin(GPT2Model).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ValueError, match=complaint):
        GPT2Model.from_huggingface(tmp_path)


def test_gpt_3_has_no_twin_there() -> None:
    config = replace(GPT2LMHeadModel.from_huggingface(twin(GPT2LMHeadModel)).config, local_window=4)
    with pytest.raises(ValueError, match="local_window=4: expected None, all that both sides can do"):
        GPT2LMHeadModel(config).to_huggingface()
