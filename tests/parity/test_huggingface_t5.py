"""The same numbers as Hugging Face's T5 with the same random weights, and the doors between the two.

Sizes are odd on purpose; norms and relative biases are moved away from where they start, so that none can go missing
unseen. Transformers ties the head always: where ours is not tied, it begins as a copy, and its gradient and that of
the embeddings add up to their one.
"""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.models.t5.modeling_t5 import T5Attention as TheirAttention

from lecturekit.layers import KeyValueCache
from lecturekit.models.t5 import T5Config, T5ForConditionalGeneration, relative_position_bucket

ODD = {
    "vocab_size": 307,
    "d_model": 48,
    "d_kv": 10,
    "d_ff": 37,
    "num_heads": 3,
    "num_layers": 5,
    "dropout_rate": 0.0,
    "decoder_start_token_id": 0,
}
CONFIGS = [
    {},
    {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    {"feed_forward_proj": "gelu", "num_heads": 1, "d_kv": 7, "num_decoder_layers": 2},
    {"feed_forward_proj": "gated-silu", "d_kv": 16, "d_ff": 48, "layer_norm_epsilon": 1e-3},
    {"tie_word_embeddings": False, "relative_attention_num_buckets": 7, "relative_attention_max_distance": 5},
    {"feed_forward_proj": "gated-gelu", "num_layers": 1, "num_decoder_layers": 5, "d_model": 15, "num_heads": 5},
    {"feed_forward_proj": "gated-relu", "relative_attention_num_buckets": 4, "relative_attention_max_distance": 3},
]
MASKS = {
    "none": (None, None),
    "left": ([[0] * 3 + [1] * 8, [0] * 10 + [1], [1] * 11], [[0] * 2 + [1] * 5, [1] * 7, [0] * 6 + [1]]),
    "right": ([[1] * 7 + [0] * 4, [1] * 11, [1] + [0] * 10], [[1] * 4 + [0] * 3, [1] * 7, [1] + [0] * 6]),
    "holes": (
        [[1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1], [0, 1] * 5 + [0], [1] * 11],
        [[0, 1] * 3 + [0], [1] * 7, [1, 0] * 3 + [1]],
    ),
    "the encoder's alone": ([[1] * 7 + [0] * 4, [1] * 11, [0] * 10 + [1]], None),
    "texts of nothing but padding": ([[0] * 11, [1] * 11, [1] * 4 + [0] * 7], [[1] * 7, [0] * 7, [1] * 7]),
    "boolean, batch of one": ([[True] * 6 + [False] * 5], [[False] * 2 + [True] * 5]),
}
LISTS = (
    "encoder_hidden_states",
    "encoder_attentions",
    "decoder_hidden_states",
    "decoder_attentions",
    "cross_attentions",
)
every_config = pytest.mark.parametrize(
    "changes", CONFIGS, ids=lambda x: ",".join(f"{k}={v}" for k, v in x.items()) or "T5"
)
every_device = pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])


def twin(**changes: object) -> nn.Module:
    """A live model of transformers with random weights, eager attention and no dropout."""
    config = transformers.T5Config(**(ODD | changes))
    model = transformers.T5ForConditionalGeneration._from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layer_norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif "relative_attention_bias" in name:
                parameter.normal_()
    return model.eval()


def inputs(mask: str, device: str = "cpu") -> dict[str, Tensor | None]:
    masks = [None if rows is None else torch.tensor(rows) for rows in MASKS[mask]]
    batch = 3 if masks[0] is None else len(masks[0])
    names = ("input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask")
    tensors = (torch.randint(307, (batch, 11)), masks[0], torch.randint(307, (batch, 7)), masks[1])
    return {n: None if t is None else t.to(device) for n, t in zip(names, tensors, strict=True)}


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def close_logits(ours: Tensor, expected: Tensor, config: T5Config) -> None:
    """As `close`; what a head that is not tied returns is √D times larger, and so is transformers' own rounding."""
    scale = 1.0 if config.tie_word_embeddings else config.d_model**-0.5
    close(ours * scale, expected * scale)


def same_gradients(ours: nn.Module, theirs: nn.Module) -> None:
    expected = {name: p.grad for name, p in theirs.named_parameters()}
    largest = max(grad.abs().max().item() for grad in expected.values())
    for name, parameter in ours.named_parameters():
        if name == "lm_head.weight":
            continue
        got, grad = parameter.grad, expected.pop(name)
        if name == "shared.weight" and not ours.config.tie_word_embeddings:
            got = got + ours.lm_head.weight.grad
        scale = max(grad.abs().max().item(), 1e-3 * largest)
        assert (got - grad).abs().max().item() <= 1e-4 * scale, name
    assert not expected


# --- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "furthest"), [(32, 128), (7, 20), (4, 128), (33, 100), (64, 33)])
def test_every_bucket(bidirectional: bool, buckets: int, furthest: int) -> None:
    places = torch.arange(-2000, 2001)
    expected = TheirAttention._relative_position_bucket(places, bidirectional, buckets, furthest)
    assert torch.equal(relative_position_bucket(places, bidirectional, buckets, furthest), expected)


@every_config
@pytest.mark.parametrize("mask", MASKS)
@every_device
def test_logits_and_every_hidden_state_and_every_attention(changes: dict, mask: str, device: str) -> None:
    theirs = twin(**changes).to(device)
    ours = T5ForConditionalGeneration.from_huggingface(theirs)
    batch, asked = inputs(mask, device), {"output_attentions": True, "output_hidden_states": True}
    with torch.no_grad():
        expected, got, fused = theirs(**batch, **asked), ours(**batch, **asked), ours(**batch)
    close_logits(got.logits, expected.logits, ours.config)
    close_logits(fused.logits, expected.logits, ours.config)
    close(got.encoder_last_hidden_state, expected.encoder_last_hidden_state)
    assert fused[3:] == (None,) * 5
    for name in LISTS:
        for one, other in zip(getattr(got, name), getattr(expected, name), strict=True):
            close(one, other)


@every_config
@pytest.mark.parametrize("mask", ["left", "right"])
@pytest.mark.parametrize("explicit", [False, True])
@every_device
def test_loss_and_gradients(changes: dict, mask: str, explicit: bool, device: str) -> None:
    theirs = twin(**changes).to(device)
    ours = T5ForConditionalGeneration.from_huggingface(theirs)
    batch = inputs(mask, device)
    labels = batch.pop("decoder_input_ids").masked_fill(batch["decoder_attention_mask"] == 0, -100)
    expected, got = theirs(**batch, labels=labels), ours(**batch, labels=labels, output_attentions=explicit)
    close(got.loss, expected.loss)
    close_logits(got.logits, expected.logits, ours.config)
    expected.loss.backward()
    got.loss.backward()
    same_gradients(ours, theirs)


def test_a_text_longer_than_the_furthest_bucket() -> None:
    theirs = twin()
    ours = T5ForConditionalGeneration.from_huggingface(theirs)
    ids, decoder_ids = torch.randint(307, (1, 300)), torch.randint(307, (1, 200))
    with torch.no_grad():
        close(ours(ids, None, decoder_ids).logits, theirs(ids, decoder_input_ids=decoder_ids).logits)


@every_config
def test_pieces_of_a_text_as_with_their_cache(changes: dict) -> None:
    theirs = twin(**changes)
    ours, cache, past = T5ForConditionalGeneration.from_huggingface(theirs), KeyValueCache(), None
    batch = inputs("left")
    ids, mask = batch["decoder_input_ids"], batch["decoder_attention_mask"]
    with torch.no_grad():
        encoded = ours.encoder(batch["input_ids"], batch["attention_mask"])
        for start, end in ((0, 3), (3, 4), (4, 6), (6, 7)):
            piece = {"decoder_input_ids": ids[:, start:end], "decoder_attention_mask": mask[:, :end]}
            given = {"attention_mask": batch["attention_mask"]} | piece
            expected = theirs(batch["input_ids"], past_key_values=past, use_cache=True, **given)
            past = expected.past_key_values
            got = ours(encoder_outputs=encoded, past_key_values=cache, **given)
            close_logits(got.logits, expected.logits, ours.config)
    assert cache.length == 7
    for i, (key, value) in cache.fixed.items():
        close(key, past.cross_attention_cache.layers[i].keys)
        close(value, past.cross_attention_cache.layers[i].values)


# --- doors --------------------------------------------------------------------------------------------------


@every_config
def test_names_are_theirs_and_the_way_back_is_exact(changes: dict) -> None:
    theirs = twin(**changes)
    ours = T5ForConditionalGeneration.from_huggingface(theirs)
    assert not ours.training
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.config.tie_word_embeddings == changes.get("tie_word_embeddings", True)
    assert (ours.lm_head.weight is ours.shared.weight) == ours.config.tie_word_embeddings
    back = ours.to_huggingface()
    assert not back.training
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name
    for name, value in asdict(ours.config).items():
        if name != "tie_word_embeddings":
            assert getattr(back.config, name) == getattr(theirs.config, name) == value
    assert back.config.scale_decoder_outputs == theirs.config.scale_decoder_outputs


def test_a_head_of_its_own_goes_there_and_back(tmp_path: Path) -> None:
    ours = T5ForConditionalGeneration(T5Config(**ODD, tie_word_embeddings=False)).eval()
    assert not torch.equal(ours.lm_head.weight, ours.shared.weight)
    back = ours.to_huggingface()
    batch = inputs("right")
    with torch.no_grad():
        close_logits(back(**batch).logits, ours(**batch).logits, ours.config)
    back.save_pretrained(tmp_path)
    for source in (back, tmp_path):
        again = T5ForConditionalGeneration.from_huggingface(source)
        assert again.config == T5Config(**ODD | {"num_decoder_layers": 5}, tie_word_embeddings=False)
        for name, tensor in ours.state_dict().items():
            assert torch.equal(again.state_dict()[name], tensor), name


def test_defaults_are_theirs() -> None:
    theirs = transformers.T5Config()
    ours = asdict(T5Config())
    assert ours.pop("num_decoder_layers") is None
    assert ours.pop("decoder_start_token_id") == theirs.pad_token_id  # theirs has none, published models this
    assert {name: getattr(theirs, name) for name in ours} == ours


@pytest.mark.parametrize("changes", CONFIGS[:2], ids=["tied", "not tied"])
@pytest.mark.parametrize("parts", ["one file", "several files"])
def test_a_folder_that_transformers_wrote(changes: dict, parts: str, tmp_path: Path) -> None:
    theirs = twin(**changes | {"decoder_start_token_id": 5})
    theirs.save_pretrained(tmp_path, max_shard_size="5GB" if parts == "one file" else "50KB")
    assert (len(list(tmp_path.glob("*.safetensors"))) == 1) == (parts == "one file")
    ours = T5ForConditionalGeneration.from_huggingface(tmp_path)
    assert ours.config.decoder_start_token_id == 5
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name
    assert ours.encoder.embed_tokens.weight is ours.decoder.embed_tokens.weight is ours.shared.weight
    assert (ours.lm_head.weight is ours.shared.weight) == ours.config.tie_word_embeddings


def test_published_files_name_the_embeddings_thrice_and_have_a_bias_too_many(tmp_path: Path) -> None:
    theirs = twin()
    theirs.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors |= {f"{stack}.embed_tokens.weight": tensors["shared.weight"].clone() for stack in ("encoder", "decoder")}
    unread = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    save_file(tensors | {unread: torch.randn(32, 3)}, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    for name in ("scale_decoder_outputs", "tie_word_embeddings", "is_gated_act", "dense_act_fn", "num_decoder_layers"):
        del config[name]
    (tmp_path / "config.json").write_text(json.dumps(config))
    ours = T5ForConditionalGeneration.from_huggingface(tmp_path)
    batch = inputs("none")
    close(ours(**batch).logits, theirs(**batch).logits)
    save_file(tensors | {"encoder.embed_tokens.weight": torch.randn(307, 48)}, tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"shared.weight and encoder.embed_tokens.weight differ: expected tied weights"
    ):
        T5ForConditionalGeneration.from_huggingface(tmp_path)


def test_float16_as_transformers_loads_it(tmp_path: Path) -> None:
    """With `wo` in float32, so that the residual path is float32 too."""
    twin(feed_forward_proj="gated-gelu").save_pretrained(tmp_path)
    folder = {"dtype": torch.float16, "attn_implementation": "eager"}
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path, **folder)
    ours = T5ForConditionalGeneration.from_huggingface(theirs)
    assert {name.split(".")[-2] for name, p in ours.named_parameters() if p.dtype == torch.float32} == {"wo"}
    batch = inputs("right")
    with torch.no_grad():
        for asked in ({}, {"output_attentions": True}):
            got, expected = ours(**batch, **asked).logits, theirs(**batch).logits
            assert got.dtype == expected.dtype == torch.float16
            torch.testing.assert_close(got, expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda t: t.pop("decoder.block.1.layer.2.layer_norm.weight"),
            r"1 missing \(decoder.block.1.layer.2.layer_norm",
        ),
        (lambda t: t.pop("shared.weight"), r"missing \(decoder.embed_tokens.weight, encoder.embed_tokens.weight, "),
        (lambda t: t.update({"encoder.block.0.layer.0.SelfAttention.q.bias": torch.ones(30)}), "1 unexpected"),
        (
            lambda t: t.update({"encoder.block.1.layer.0.SelfAttention.q.weight": torch.ones(48, 30)}),
            r"SelfAttention.q.weight has shape \[48, 30\]: expected \[30, 48\]",
        ),
    ],
)
def test_tensors_that_do_not_fit(change: object, complaint: str, tmp_path: Path) -> None:
    twin().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=complaint):
        T5ForConditionalGeneration.from_huggingface(tmp_path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"is_decoder": True}, "is_decoder=True: expected False"),
        ({"is_encoder_decoder": False}, "is_encoder_decoder=False: expected True"),
        ({"model_type": "bart"}, "model_type='bart': expected 't5'"),
        ({"feed_forward_proj": "gated-mish"}, "activation 'mish': expected one of"),
    ],
)
def test_a_configuration_that_cannot_be_followed(changes: dict, complaint: str, tmp_path: Path) -> None:
    twin().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ValueError, match=complaint):
        T5ForConditionalGeneration.from_huggingface(tmp_path)
