"""Exact numbers of parameters, tied weights counted once, on the meta device: no memory, no random numbers."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from lecturekit.models.bert import BertConfig, BertForMaskedLM, BertForPreTraining, BertModel
from lecturekit.models.gpt import (
    GPT2Block,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    GPTBlock,
    GPTConfig,
    GPTLMHeadModel,
    GPTModel,
    count_parameters,
)
from lecturekit.models.t5 import T5Config, T5ForConditionalGeneration


def count(build: Callable[[], nn.Module]) -> int:
    with torch.device("meta"):
        return size(build())


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


LARGE = BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)


@pytest.mark.parametrize(
    ("config", "bare", "without_pooler", "masked", "pre_training"),
    [
        (BertConfig(), 109_482_240, 108_891_648, 109_514_298, 110_106_428),
        (LARGE, 335_141_888, 334_092_288, 335_174_458, 336_226_108),
    ],
    ids=["base", "large"],
)
def test_bert(config: BertConfig, bare: int, without_pooler: int, masked: int, pre_training: int) -> None:
    assert count(lambda: BertModel(config)) == bare
    assert count(lambda: BertModel(config, add_pooling_layer=False)) == without_pooler
    assert count(lambda: BertForMaskedLM(config)) == masked
    assert count(lambda: BertForPreTraining(config)) == pre_training


def test_inside_bert_base() -> None:
    with torch.device("meta"):
        model = BertForPreTraining(BertConfig())
    bert, layer = model.bert, model.bert.encoder.layer[0]
    attention = layer.attention
    for linear in (attention.self.query, attention.self.key, attention.self.value, attention.output.dense):
        assert size(linear) == 768 * 768 + 768 == 590_592
    assert size(attention.output) == 592_128
    assert size(layer.intermediate) == 768 * 3072 + 3072 == 2_362_368
    assert size(layer.output.dense) == 3072 * 768 + 768 == 2_360_064
    assert size(layer.output) == 2_361_600
    assert {size(each) for each in bert.encoder.layer} == {7_087_872}
    embeddings = [size(part) for part in bert.embeddings.children()]
    assert embeddings == [23_440_896, 393_216, 1_536, 1_536, 0]
    assert size(bert.embeddings) == sum(embeddings) == 23_837_184
    assert size(bert.encoder) == 85_054_464
    assert size(bert.pooler) == 590_592
    assert size(model.cls.predictions.transform) == 592_128
    assert size(model.cls.seq_relationship) == 1_538


def test_gpt_1() -> None:
    assert count(lambda: GPTModel(GPTConfig())) == count(lambda: GPTLMHeadModel(GPTConfig())) == 116_534_784
    assert count(lambda: GPTBlock(GPTConfig())) == 7_087_872


@pytest.mark.parametrize(
    ("n_layer", "n_embd", "n_head", "expected"),
    [
        (12, 768, 12, 124_439_808),
        (24, 1024, 16, 354_823_168),
        (36, 1280, 20, 774_030_080),
        (48, 1600, 25, 1_557_611_200),
    ],
    ids=["small", "medium", "large", "xl"],
)
def test_gpt_2(n_layer: int, n_embd: int, n_head: int, expected: int) -> None:
    config = GPT2Config(n_layer=n_layer, n_embd=n_embd, n_head=n_head)
    assert count(lambda: GPT2Model(config)) == count(lambda: GPT2LMHeadModel(config)) == expected
    assert count_parameters(config)["total"] == expected
    sparse = GPT2Config(n_layer=n_layer, n_embd=n_embd, n_head=n_head, local_window=128)
    assert count(lambda: GPT2LMHeadModel(sparse)) == expected


def test_a_gpt_2_block_is_as_large_as_a_bert_layer() -> None:
    assert count(lambda: GPT2Block(GPT2Config())) == 7_087_872


def test_inside_gpt_2() -> None:
    config = GPT2Config(vocab_size=17, n_positions=5, n_embd=6, n_head=2, n_layer=3, n_inner=11)
    with torch.device("meta"):
        model = GPT2LMHeadModel(config)
    expected = {"block": size(model.transformer.h[0]), "blocks": size(model.transformer.h), "total": size(model)}
    assert count_parameters(config) == expected | {"embeddings": size(model.transformer.wte) + 5 * 6}


T5_LARGE = T5Config(d_model=1024, d_kv=64, d_ff=4096, num_layers=24, num_heads=16)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (T5Config(), 60_506_624),
        (T5Config(d_model=768, d_ff=3072, num_layers=12, num_heads=12), 222_903_552),
        (T5_LARGE, 737_668_096),
        (T5Config(d_model=1024, d_kv=128, d_ff=16_384, num_layers=24, num_heads=32), 2_851_598_336),
    ],
    ids=["small", "base", "large", "3b"],
)
def test_t5(config: T5Config, expected: int) -> None:
    assert count(lambda: T5ForConditionalGeneration(config)) == expected


@pytest.mark.parametrize(
    ("config", "own_head", "tied"),
    [
        (T5Config(d_ff=1024, num_layers=8, num_heads=6), 76_961_152, 60_511_616),
        (T5Config(d_model=768, num_layers=12, num_heads=12), 247_577_856, 222_903_552),
        (T5Config(vocab_size=250_112, d_ff=1024, num_layers=8, num_heads=6), 300_176_768, 172_119_424),
    ],
    ids=["v1.1 small", "v1.1 base", "mT5 small"],
)
def test_t5_v1_1(config: T5Config, own_head: int, tied: int) -> None:
    for tie_word_embeddings, expected in ((False, own_head), (True, tied)):
        changed = replace(config, feed_forward_proj="gated-gelu", tie_word_embeddings=tie_word_embeddings)
        assert count(lambda changed=changed: T5ForConditionalGeneration(changed)) == expected
    assert own_head - tied == config.vocab_size * config.d_model


def test_inside_t5_large() -> None:
    with torch.device("meta"):
        model = T5ForConditionalGeneration(T5_LARGE)
    for stack in (model.encoder, model.decoder):
        for i, block in enumerate(stack.block):
            attention, feed_forward = block.layer[0].SelfAttention, block.layer[-1].DenseReluDense
            for linear in (attention.q, attention.k, attention.v, attention.o):
                assert size(linear) == 1024 * (16 * 64) == 1_048_576
            assert size(feed_forward.wi) == size(feed_forward.wo) == 1024 * 4096 == 4_194_304
            assert size(attention) == 4 * 1_048_576 + (512 if i == 0 else 0)
