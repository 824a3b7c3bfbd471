"""The same ids as Hugging Face's `generate`, the same filtered scores as its logits processors, the same draws.

Random weights, large enough that texts have many words, and ends of their own.
"""

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import LogitsProcessorList
from transformers.generation import logits_process as theirs

from lecturekit.generation import (
    apply_repetition_penalty,
    apply_temperature,
    generate,
    no_repeat_ngram_filter,
    top_k_filter,
    top_p_filter,
)
from lecturekit.models.gpt import GPT2LMHeadModel, GPTLMHeadModel
from lecturekit.models.t5 import T5ForConditionalGeneration

SIZES = {
    "odd": {"vocab_size": 307, "n_embd": 48, "n_head": 3, "n_layer": 5},
    "few words": {"vocab_size": 11, "n_embd": 20, "n_head": 2, "n_layer": 2},
    "one layer": {"vocab_size": 53, "n_embd": 15, "n_head": 15, "n_layer": 1},
}
T5_SIZES = {
    "odd": {"vocab_size": 307, "d_model": 48, "d_kv": 11, "d_ff": 50, "num_layers": 5, "num_heads": 3},
    "few words": {"vocab_size": 11, "d_model": 20, "d_kv": 10, "d_ff": 31, "num_layers": 2, "num_heads": 2},
    "one layer": {"vocab_size": 53, "d_model": 15, "d_kv": 1, "d_ff": 9, "num_layers": 1, "num_heads": 15},
}
CLASSES = {"GPT": GPTLMHeadModel, "GPT-2": GPT2LMHeadModel, "T5": T5ForConditionalGeneration}
PAD, EOS = 2, 1  # after beam search transformers takes a pad token of 0 for none, and fills up with the end token
LEFT = torch.tensor([[0] * 3 + [1] * 4, [1] * 7, [0] * 6 + [1]])
every_size = pytest.mark.parametrize("size", SIZES)
every_model = pytest.mark.parametrize("name", CLASSES)


def pair(name: str, size: str, seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """Ours, and a live model of transformers with the same random weights, large enough that a text has many words."""
    torch.manual_seed(seed)
    ends = {"bos_token_id": None, "eos_token_id": EOS, "pad_token_id": PAD}
    if name == "T5":
        config = transformers.T5Config(**T5_SIZES[size], **ends, decoder_start_token_id=PAD)
        model = transformers.T5ForConditionalGeneration(config)
        for label, parameter in model.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=1.0 if "shared" in label else 0.4)
    else:
        family = "OpenAIGPT" if name == "GPT" else "GPT2"
        config = getattr(transformers, f"{family}Config")(**SIZES[size], **ends, n_positions=40, initializer_range=0.4)
        model = getattr(transformers, f"{family}LMHeadModel")(config)
    return CLASSES[name].from_huggingface(model.eval()), model


def prompts(size: str, mask: Tensor | None = None) -> Tensor:
    ids = torch.randint(3, SIZES[size]["vocab_size"], (3, 7))
    return ids if mask is None else ids.masked_fill(mask == 0, PAD)


def expected(model: nn.Module, ids: Tensor, mask: Tensor | None = None, **settings: object) -> Tensor:
    settings = {"max_new_tokens": 20, "do_sample": False, "use_cache": True} | settings
    mask = torch.ones_like(ids) if mask is None else mask
    return model.generate(ids, attention_mask=mask, **settings)


# --- ids ----------------------------------------------------------------------------------------------------


@every_model
@every_size
@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy(name: str, size: str, use_cache: bool) -> None:
    for seed in range(3):
        ours, model = pair(name, size, seed)
        ids = prompts(size)
        got = generate(ours, ids, max_new_tokens=20, use_cache=use_cache)
        assert torch.equal(got, expected(model, ids)), seed


@pytest.mark.parametrize("name", ["GPT-2", "T5"])  # transformers' GPT-1 leaves positions as they are
@every_size
@pytest.mark.parametrize("num_beams", [1, 4])
def test_padding_on_the_left(name: str, size: str, num_beams: int) -> None:
    for seed in range(3):
        ours, model = pair(name, size, seed)
        ids = prompts(size, LEFT)
        reference = expected(model, ids, LEFT, num_beams=num_beams)
        assert torch.equal(generate(ours, ids, 20, num_beams, attention_mask=LEFT), reference), seed
        assert torch.equal(generate(ours, ids, 20, num_beams), reference), seed


@every_model
@every_size
@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 0.6, 1.0, 2.5])
@pytest.mark.parametrize("early_stopping", [True, False, "never"])
def test_beam_search(name: str, size: str, length_penalty: float, early_stopping: bool | str) -> None:
    ours, model = pair(name, size)
    ids = prompts(size)
    how = {"num_beams": 3, "length_penalty": length_penalty, "early_stopping": early_stopping}
    reference = expected(model, ids, max_new_tokens=12, num_return_sequences=3, **how)
    got = generate(ours, ids, max_new_tokens=12, num_return_sequences=3, **how)
    assert torch.equal(got, reference)
    best = generate(ours, ids, max_new_tokens=12, **how)
    assert torch.equal(best, got[::3, : best.size(1)])


@pytest.mark.parametrize("name", ["GPT-2", "T5"])
@pytest.mark.parametrize("num_beams", [1, 2, 5, 8])
def test_texts_that_end_at_different_places(name: str, num_beams: int) -> None:
    ended = set()
    for seed in range(4):
        ours, model = pair(name, "few words", seed)
        how = {"num_beams": num_beams, "num_return_sequences": num_beams, "eos_token_id": [EOS, 5, 7]}
        ids = prompts("few words")
        got = generate(ours, ids, 15, **how)
        assert torch.equal(got, expected(model, ids, max_new_tokens=15, **how)), seed
        ended |= {int(((row == 5) | (row == EOS) | (row == 7)).int().argmax()) for row in got[:, -15:]}
    assert len(ended) >= 2


@pytest.mark.parametrize("num_beams", [1, 4])
def test_a_pad_token_of_zero(num_beams: int) -> None:
    ended = 0
    for seed in range(6):
        ours, model = pair("GPT-2", "few words", seed)
        ids = prompts("few words")
        how = {"num_beams": num_beams, "eos_token_id": 5, "pad_token_id": 0}
        got, reference = (
            new[:, 7:] for new in (generate(ours, ids, 15, **how), expected(model, ids, max_new_tokens=15, **how))
        )
        after = ((got == 5).cumsum(dim=-1) - (got == 5).int()) > 0
        assert (got[after] == 0).all()
        assert (reference[after] == (0 if num_beams == 1 else 5)).all()
        assert torch.equal(got[~after], reference[~after])
        ended += int(after.any())
    assert ended


@every_model
@pytest.mark.parametrize("num_beams", [1, 3])
def test_repetition_and_ngrams(name: str, num_beams: int) -> None:
    for size in SIZES:
        ours, model = pair(name, size)
        ids = prompts(size)
        for how in (
            {"repetition_penalty": 1.8},
            {"no_repeat_ngram_size": 2},
            {"repetition_penalty": 0.7, "no_repeat_ngram_size": 3},
        ):
            got = generate(ours, ids, 20, num_beams, **how)
            assert torch.equal(got, expected(model, ids, num_beams=num_beams, **how)), (size, how)


@every_model
@pytest.mark.parametrize(
    "how",
    [
        {"top_k": 0},
        {"top_k": 0, "temperature": 0.6},
        {"top_k": 5},
        {"top_k": 0, "top_p": 0.8},
        {"temperature": 2.0, "top_k": 9, "top_p": 0.6, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    ],
    ids=str,
)
def test_the_same_draws_from_the_same_random_numbers(name: str, how: dict) -> None:
    ours, model = pair(name, "one layer")
    ids = prompts("one layer")
    for seed in (0, 1):
        torch.manual_seed(seed)
        reference = expected(model, ids, do_sample=True, num_return_sequences=2, **how)
        settings = how | {"top_k": how["top_k"] or None}
        got = generate(ours, ids, 20, do_sample=True, seed=seed, num_return_sequences=2, **settings)
        assert torch.equal(got, reference)


# --- filters ------------------------------------------------------------------------------------------------


def scores(kind: str) -> Tensor:
    drawn = torch.randn(7, 307) * 3
    return drawn.log_softmax(dim=-1) if kind == "log-probabilities" else drawn.round() if kind == "ties" else drawn


@pytest.mark.parametrize("kind", ["logits", "log-probabilities", "ties"])
def test_filters(kind: str) -> None:
    logits, ids = scores(kind), torch.randint(307, (7, 40))
    for value in (0.1, 0.7, 1.0, 3.0):
        assert torch.equal(apply_temperature(logits, value), theirs.TemperatureLogitsWarper(value)(ids, logits))
    for value in (1, 2, 50, 307, 1000):
        assert torch.equal(top_k_filter(logits, value), theirs.TopKLogitsWarper(value)(ids, logits))
    for value in (1e-6, 0.1, 0.5, 0.9, 0.999, 1.0):
        assert torch.equal(top_p_filter(logits, value), theirs.TopPLogitsWarper(value)(ids, logits))
    for value in (0.5, 1.0, 1.2, 5.0):
        expected = theirs.RepetitionPenaltyLogitsProcessor(value)(ids, logits)
        assert torch.equal(apply_repetition_penalty(logits, ids, value), expected)
    few = torch.randint(3, (7, 40))
    for value in (1, 2, 3, 5, 40, 41):
        expected = theirs.NoRepeatNGramLogitsProcessor(value)(few, logits)
        assert torch.equal(no_repeat_ngram_filter(logits, few, value), expected)


def test_filters_one_after_the_other() -> None:
    logits, ids = scores("logits"), torch.randint(307, (7, 40))
    warpers = [theirs.TemperatureLogitsWarper(1.7), theirs.TopKLogitsWarper(60), theirs.TopPLogitsWarper(0.8)]
    got = top_p_filter(top_k_filter(apply_temperature(logits, 1.7), 60), 0.8)
    assert torch.equal(got, LogitsProcessorList(warpers)(ids, logits))
