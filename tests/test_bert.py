"""Values worked out by hand, properties of the whole model, and what a caller may get wrong.

Equality with Hugging Face is in parity/test_huggingface_bert.py, the paper's counts in test_counts.py.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lecturekit.models.bert import (
    BertConfig,
    BertEmbeddings,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertLayer,
    BertModel,
    BertPooler,
    count_parameters,
)

TINY = BertConfig(
    vocab_size=31,
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=40,
    max_position_embeddings=12,
    initializer_range=0.2,
)
IDS = torch.tensor([[1, 7, 8, 9, 2, 5, 6, 2], [1, 4, 3, 2, 9, 2, 0, 0]])
MASK = (IDS != 0).long()
TYPES = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 0, 0]])
HEADS = [
    BertForPreTraining,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertForQuestionAnswering,
]
every_class = pytest.mark.parametrize("cls", [BertModel, *HEADS])


def tiny(cls: type = BertModel, **changes: object) -> nn.Module:
    return cls(replace(TINY, **changes)).eval()


# --- by hand ------------------------------------------------------------------------------------------------


def test_embeddings_are_a_sum_and_a_norm() -> None:
    embeddings = BertEmbeddings(replace(TINY, layer_norm_eps=0.5)).eval()
    words, places, types = (
        embeddings.word_embeddings.weight,
        embeddings.position_embeddings.weight,
        embeddings.token_type_embeddings.weight,
    )
    x = words[9] + places[3] + types[1]
    expected = (x - x.mean()) / (x.var(correction=0) + 0.5).sqrt()
    out = embeddings(torch.tensor([[5, 5, 5, 9]]), torch.tensor([[0, 0, 0, 1]]))
    torch.testing.assert_close(out[0, 3], expected)
    out = embeddings(torch.tensor([[9]]), torch.tensor([[1]]), torch.tensor([[3]]))
    torch.testing.assert_close(out[0, 0], expected)


def test_pooler_reads_the_first_token() -> None:
    pooler, x = BertPooler(TINY), torch.randn(2, 5, 24)
    torch.testing.assert_close(pooler(x), torch.tanh(x[:, 0] @ pooler.dense.weight.T + pooler.dense.bias))


def test_layer_is_its_parts() -> None:
    layer, x, mask = BertLayer(TINY).eval(), torch.randn(2, 8, 24), MASK.bool()[:, None, None]
    context, weights = layer.attention.self(x, mask, need_weights=True)
    middle = layer.attention.output.LayerNorm(x + layer.attention.output.dense(context))
    wide = nn.functional.gelu(layer.intermediate.dense(middle))
    out, returned = layer(x, mask, need_weights=True)
    torch.testing.assert_close(out, layer.output.LayerNorm(middle + layer.output.dense(wide)))
    assert torch.equal(returned, weights)
    assert weights.shape == (2, 3, 8, 8)
    assert (weights[1, :, :, 6:] == 0).all()


def test_how_weights_start() -> None:
    model = tiny(BertForPreTraining, hidden_size=96, initializer_range=0.05)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "LayerNorm" in name:
            assert (parameter == 1).all(), name
        elif parameter.numel() > 1000:
            assert parameter.std().item() == pytest.approx(0.05, rel=0.05), name
    assert not model.bert.embeddings.word_embeddings.weight[0].any()


def test_losses_by_hand() -> None:
    labels = torch.full_like(IDS, -100)
    labels[0, 2], labels[1, 1] = 8, 30
    model = tiny(BertForPreTraining)
    out = model(IDS, MASK, TYPES, labels, torch.tensor([1, 0]))
    words, pairs = out.prediction_logits.log_softmax(-1), out.seq_relationship_logits.log_softmax(-1)
    expected = -(words[0, 2, 8] + words[1, 1, 30]) / 2 - (pairs[0, 1] + pairs[1, 0]) / 2
    torch.testing.assert_close(out.loss, expected)

    model = tiny(BertForSequenceClassification, num_labels=1)
    for labels in (torch.tensor([2.0, -1.0]), torch.tensor([[2], [-1]])):
        out = model(IDS, MASK, TYPES, labels)
        assert out.loss.item() == pytest.approx(((out.logits[0, 0] - 2) ** 2 + (out.logits[1, 0] + 1) ** 2).item() / 2)

    model = tiny(BertForQuestionAnswering)
    out = model(IDS, MASK, start_positions=torch.tensor([3, 8]), end_positions=torch.tensor([5, 4]))
    start, end = out.start_logits.log_softmax(-1), out.end_logits.log_softmax(-1)
    torch.testing.assert_close(out.loss, -(start[0, 3] + (end[0, 5] + end[1, 4]) / 2) / 2)  # token 8 was cut off


# --- properties ---------------------------------------------------------------------------------------------


def test_the_four_outputs() -> None:
    out = tiny()(IDS, MASK, TYPES, output_attentions=True, output_hidden_states=True)
    assert out.last_hidden_state.shape == (2, 8, 24)
    assert out.pooler_output.shape == (2, 24)
    assert [tuple(h.shape) for h in out.hidden_states] == [(2, 8, 24)] * 4
    assert [tuple(a.shape) for a in out.attentions] == [(2, 3, 8, 8)] * 3
    assert out.hidden_states[-1] is out.last_hidden_state
    assert len({id(h) for h in out.hidden_states}) == 4
    plain = tiny(BertForMaskedLM).bert(IDS)
    assert plain[1:] == (None, None, None)


def test_tied_weights_are_one_parameter() -> None:
    for cls in (BertForMaskedLM, BertForPreTraining):
        model = tiny(cls)
        assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
        assert model.cls.predictions.bias is model.cls.predictions.decoder.bias
        other = tiny(cls)
        other.load_state_dict(model.state_dict())
        assert torch.equal(other(IDS)[1], model(IDS)[1])
        assert other.cls.predictions.decoder.weight is other.bert.embeddings.word_embeddings.weight


@pytest.mark.parametrize("output_attentions", [False, True])
def test_padding_changes_nothing(output_attentions: bool) -> None:
    model, real = tiny(), MASK[1].bool()
    alone = model(IDS[1:, :6], None, TYPES[1:, :6]).last_hidden_state[0]
    for fill in (0, 17):
        out = model(IDS.masked_fill(MASK == 0, fill), MASK, TYPES, output_attentions=output_attentions)
        torch.testing.assert_close(out.last_hidden_state[1, real], alone, rtol=1e-5, atol=1e-5)
    left = torch.cat([IDS[1:, 6:], IDS[1:, :6]], dim=1), torch.cat([MASK[1:, 6:], MASK[1:, :6]], dim=1)
    types, places = torch.cat([TYPES[1:, 6:], TYPES[1:, :6]], dim=1), (torch.arange(8) - 2).clamp(min=0)
    out = model(*left, types, places, output_attentions=output_attentions)
    torch.testing.assert_close(out.last_hidden_state[0, 2:], alone, rtol=1e-5, atol=1e-5)


def test_everything_is_read() -> None:
    model = tiny()
    before = model(IDS, MASK, TYPES).last_hidden_state
    changed, swapped, types = IDS.clone(), IDS.clone(), TYPES.clone()
    changed[0, 6] = 11
    swapped[0, [1, 2]] = swapped[0, [2, 1]]
    types[0, 6] = 0
    for args in ((changed, MASK, TYPES), (swapped, MASK, TYPES), (IDS, MASK, types)):
        after = model(*args).last_hidden_state
        assert not torch.isclose(after[0], before[0], atol=1e-4).all(dim=-1).any()  # every token, left and right
        assert torch.equal(after[1], before[1])


def test_masks_of_any_whole_type_mean_the_same() -> None:
    model = tiny()
    masks = [MASK.to(dtype) for dtype in (torch.bool, torch.int32, torch.uint8)]
    assert all(torch.equal(model(IDS, m).pooler_output, model(IDS, MASK).pooler_output) for m in masks)
    assert torch.equal(model(IDS, torch.ones_like(IDS)).pooler_output, model(IDS, MASK > -1).pooler_output)


@pytest.mark.parametrize("cls", HEADS)
def test_a_text_of_nothing_but_padding_stays_finite(cls: type) -> None:
    model = tiny(cls).train()
    out = model(IDS, torch.zeros_like(IDS))
    sum(part.sum() for part in out if isinstance(part, Tensor)).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_dropout_acts_in_training_only_and_where_the_configuration_says() -> None:
    model = tiny()
    assert torch.equal(model(IDS).pooler_output, model(IDS).pooler_output)
    model.train()
    assert not torch.equal(model(IDS).pooler_output, model(IDS).pooler_output)
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    for changes, moves in ((still, False), (still | {"attention_probs_dropout_prob": 0.5}, True)):
        model = tiny(**changes).train()
        assert torch.equal(model(IDS).pooler_output, model(IDS).pooler_output) != moves
    for rate, expected in ((None, 0.3), (0.0, 0.0), (0.6, 0.6)):
        changes = {"hidden_dropout_prob": 0.3, "classifier_dropout": rate}
        for cls in (BertForTokenClassification, BertForSequenceClassification):
            assert tiny(cls, **changes).dropout.p == expected
            model = tiny(cls, **still, classifier_dropout=rate).train()
            assert torch.equal(model(IDS).logits, model(IDS).logits) == (not rate)


def test_dropout_comes_after_each_part() -> None:
    config = replace(TINY, hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.0)
    embeddings, layer = BertEmbeddings(config).train(), BertLayer(config).train()
    x, wide = torch.randn(2, 8, 24), torch.randn(2, 8, 40)
    parts = {
        "embeddings": lambda: embeddings(IDS),
        "attention": lambda: layer.attention.output(x, x),
        "feed-forward": lambda: layer.output(wide, x),
    }
    for name, part in parts.items():
        assert not torch.equal(part(), part()), name
    assert torch.equal(layer.attention.self(x)[0], layer.attention.self(x)[0])
    assert torch.equal(layer.intermediate(x), layer.intermediate(x))


@every_class
def test_compiles_without_a_graph_break(cls: type) -> None:
    model = tiny(cls)
    torch.compiler.reset()  # or one test after the other counts as a recompilation, of which there may be eight
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for asked in ({}, {"output_attentions": True, "output_hidden_states": True}):
        expected, got = model(IDS, MASK, TYPES, **asked), compiled(IDS, MASK, TYPES, **asked)
        assert type(got) is type(expected)
        for one, other in zip(expected, got, strict=True):
            assert (one is None) == (other is None)
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.1), (torch.float16, 0.01)], ids=str)
@every_class
def test_half_precision_and_autocast(cls: type, dtype: torch.dtype, tolerance: float) -> None:
    model = tiny(cls)
    exact = model(IDS, MASK, TYPES)
    with torch.autocast("cpu", dtype):
        cast = model(IDS, MASK, TYPES)
    low = model.to(dtype)(IDS, MASK, TYPES)
    for one, other, third in zip(exact, cast, low, strict=True):
        if one is not None:
            assert third.dtype == dtype
            torch.testing.assert_close(other.float(), one, rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(third.float(), one, rtol=tolerance, atol=tolerance)


def test_learns_to_fill_in_a_blank() -> None:
    model = tiny(BertForMaskedLM, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.02)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=3e-3)
    for _ in range(150):  # a sentence says one word twice: what is hidden stands two places to the left
        ids = torch.randint(4, 31, (16, 2)).repeat(1, 2)
        labels = torch.full_like(ids, -100)
        labels[:, 2] = ids[:, 2]
        ids[:, 2] = 3
        loss = model(ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2 * math.log(27)


# --- what a caller may get wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"hidden_size": 770, "num_attention_heads": 12},
            "hidden_size=770 is not a multiple of num_attention_heads=12",
        ),
        ({"num_hidden_layers": 0}, "num_hidden_layers=0: expected more than 0"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob=1.0: expected 0 <= hidden_dropout_prob < 1"),
        ({"classifier_dropout": -0.1}, "classifier_dropout=-0.1: expected 0 <= classifier_dropout < 1"),
        ({"pad_token_id": 31}, r"pad_token_id=31: expected None or 0 \.\.\. 30"),
        ({"hidden_act": "gelu_quick"}, "activation 'gelu_quick': expected one of gelu, "),
    ],
)
def test_a_configuration_that_does_not_fit(changes: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(TINY, **changes)


@pytest.mark.parametrize(
    ("ids", "more", "complaint"),
    [
        ([[1, 31]], {}, r"token id 31: expected 0 \.\.\. 30, the vocabulary"),
        ([[-1, 3]], {}, r"token id -1: expected 0 \.\.\. 30, the vocabulary"),
        ([[1] * 13], {}, "length 13: expected at most 12, the positions of the model"),
        ([1, 2], {}, r"input_ids of shape \[2\]: expected \[B, T\]"),
        ([[1, 2]], {"token_type_ids": torch.tensor([[0, 2]])}, r"token type 2: expected 0 \.\.\. 1, the token types"),
        ([[1, 2]], {"position_ids": torch.tensor([[0, 12]])}, r"position 12: expected 0 \.\.\. 11, the positions"),
        (
            [[1, 2]],
            {"attention_mask": torch.ones(1, 3, dtype=torch.long)},
            r"attention_mask of shape \[1, 3\]: expected \[1, 2\]",
        ),
        (
            [[1, 2]],
            {"attention_mask": torch.ones(2, dtype=torch.bool)},
            r"attention_mask of shape \[2\]: expected \[1, 2\]",
        ),
    ],
)
@every_class
def test_inputs_that_do_not_fit(cls: type, ids: list, more: dict[str, Tensor], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        tiny(cls)(torch.tensor(ids), **more)


@every_class
def test_a_mask_that_would_be_added_is_refused(cls: type) -> None:
    with pytest.raises(TypeError, match=r"attention_mask has dtype torch.float32: expected torch.bool or integers"):
        tiny(cls)(IDS, torch.zeros(2, 8))


@pytest.mark.parametrize("config", [TINY, replace(TINY, num_hidden_layers=3, intermediate_size=17)])
def test_parameters_counted_by_formula_are_those_of_the_model(config: BertConfig) -> None:
    model, counts = BertModel(config), count_parameters(config)
    parts = {
        "projection": model.pooler.dense,
        "layer": model.encoder.layer[0],
        "embeddings": model.embeddings,
        "encoder": model.encoder,
        "pooler": model.pooler,
        "total": model,
    }
    assert counts == {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    assert count_parameters(BertConfig())["total"] == 109_482_240
