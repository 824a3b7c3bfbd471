"""Filters worked out by hand, beam search against every text there is, draws counted, and what a caller may get wrong.

Equality with Hugging Face's `generate` is in parity/test_huggingface_generation.py.
"""

import itertools
import math
from dataclasses import fields, replace
from inspect import signature

import pytest
import torch
from torch import Tensor, nn

from lecturekit.generation import (
    GenerationConfig,
    apply_repetition_penalty,
    apply_temperature,
    beam_candidates,
    beam_search,
    extend,
    generate,
    greedy,
    no_repeat_ngram_filter,
    sample,
    stream,
    top_k_filter,
    top_p_filter,
)
from lecturekit.models.gpt import GPT2Config, GPT2LMHeadModel, GPTConfig, GPTLMHeadModel
from lecturekit.models.t5 import T5Config, T5ForConditionalGeneration
from lecturekit.models.transformer import Transformer, TransformerConfig

PAD, EOS, BOS = 0, 1, 2
SIZES = {"vocab_size": 31, "n_embd": 24, "n_head": 3, "n_layer": 3, "n_positions": 40, "initializer_range": 0.5}
ENDS = {"eos_token_id": EOS, "pad_token_id": PAD}
T5 = {"vocab_size": 31, "d_model": 24, "d_kv": 7, "d_ff": 33, "num_layers": 2, "num_heads": 3}
PAPER = {"vocab_size": 31, "d_model": 24, "num_heads": 3, "num_encoder_layers": 2, "num_decoder_layers": 2, "d_ff": 33}
MODELS = {
    "GPT": (GPTLMHeadModel, GPTConfig(**SIZES, **ENDS)),
    "GPT-2": (GPT2LMHeadModel, GPT2Config(**SIZES, **ENDS)),
    "GPT-3": (GPT2LMHeadModel, GPT2Config(**SIZES, **ENDS, local_window=4)),
    "T5": (T5ForConditionalGeneration, T5Config(**T5, **ENDS)),
    "Transformer": (Transformer, TransformerConfig(**PAPER, pad_token_id=PAD, eos_token_id=EOS, bos_token_id=BOS)),
}
IDS = torch.tensor([[3, 7, 8, 9, 4, 5, 6], [12, 3, 7, 30, 25, 11, 4], [0, 0, 0, 0, 21, 5, 3]])
MASK = torch.tensor([[1] * 7, [1] * 7, [0] * 4 + [1] * 3])
SEARCHES = {
    "greedy": {},
    "beams": {"num_beams": 4, "num_return_sequences": 2},
    "draws": {"do_sample": True, "seed": 3, "top_k": 20, "num_return_sequences": 2},
    "no repetition": {"repetition_penalty": 1.7, "no_repeat_ngram_size": 2},
    "beams without repetition": {"num_beams": 3, "repetition_penalty": 1.7, "no_repeat_ngram_size": 2},
}
every_model = pytest.mark.parametrize("name", MODELS)
every_decoder = pytest.mark.parametrize("name", ["GPT", "GPT-2", "GPT-3"])
every_search = pytest.mark.parametrize("how", SEARCHES.values(), ids=SEARCHES)
every_device = pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
INF = math.inf


def tiny(name: str, **changes: object) -> nn.Module:
    """Random weights, large enough that a text does not repeat one token."""
    cls, config = MODELS[name]
    model = cls(replace(config, **changes)).eval()
    if name in ("T5", "Transformer"):
        for label, parameter in model.named_parameters():
            if "norm" not in label and parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.5)
    return model


class Table:
    """A language model of which everything is known: the next token depends on the last `memory` tokens."""

    def __init__(self, logits: Tensor, memory: int) -> None:
        self.logits, self.memory = logits, memory

    def __call__(self, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        return self.logits[ids[:, -self.memory :].unbind(dim=1)].log_softmax(dim=-1)


# --- filters ------------------------------------------------------------------------------------------------


def test_temperature_by_hand() -> None:
    logits = torch.tensor([[1.0, 2.0, -3.0]])
    assert apply_temperature(logits, 2.0).tolist() == [[0.5, 1.0, -1.5]]
    assert apply_temperature(logits, 0.5).tolist() == [[2.0, 4.0, -6.0]]


def test_top_k_by_hand() -> None:
    logits = torch.tensor([[1.0, 4.0, 3.0, 2.0], [5.0, 5.0, 5.0, 0.0]])
    assert top_k_filter(logits, 2).tolist() == [[-INF, 4, 3, -INF], [5, 5, 5, -INF]]
    assert top_k_filter(logits, 1).tolist() == [[-INF, 4, -INF, -INF], [5, 5, 5, -INF]]
    assert torch.equal(top_k_filter(logits, 4), logits)
    assert torch.equal(top_k_filter(logits, 99), logits)


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.1, [1]), (0.49, [1]), (0.51, [1, 3]), (0.8, [1, 3]), (0.82, [0, 1, 3]), (1.0, [0, 1, 2, 3])]
)
def test_the_nucleus_has_the_token_that_crosses_p(top_p: float, kept: list[int]) -> None:
    logits = torch.tensor([[0.125, 0.5, 0.0625, 0.3125]]).log()
    expected = [[x if i in kept else -INF for i, x in enumerate(logits[0].tolist())]]
    assert top_p_filter(logits, top_p).tolist() == expected


def test_the_nucleus_is_never_empty() -> None:
    assert top_p_filter(torch.tensor([[0.0, 1.0, 0.5]]), 1e-12).tolist() == [[-INF, 1, -INF]]


def test_the_nucleus_is_the_smallest_set_that_reaches_p() -> None:
    logits = torch.randn(50, 20) * 2
    for top_p in (0.05, 0.3, 0.9, 0.99):
        inside = top_p_filter(logits, top_p) > -INF
        for row, kept in zip(logits.softmax(dim=-1).tolist(), inside.tolist(), strict=True):
            best = sorted(range(20), key=lambda i: -row[i])
            size = next(n for n in range(1, 21) if sum(row[i] for i in best[:n]) >= top_p - 1e-6)
            assert {i for i in range(20) if kept[i]} == set(best[:size])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_nucleus_is_summed_in_float32(dtype: torch.dtype) -> None:
    logits = torch.zeros(1, 4096, dtype=dtype)  # one by one, halves of this size stop growing on the way
    kept = (top_p_filter(logits, 0.5) > -INF).sum().item()
    assert abs(kept - 2048) <= 1
    assert top_p_filter(logits, 0.5).dtype == dtype


def test_repetition_penalty_by_hand() -> None:
    logits = torch.tensor([[2.0, -2.0, 0.5, -0.5], [2.0, -2.0, 0.5, -0.5]])
    ids = torch.tensor([[0, 1, 0], [3, -1, -1]])
    assert apply_repetition_penalty(logits, ids, 2.0).tolist() == [[1, -4, 0.5, -0.5], [2, -2, 0.5, -1]]
    assert apply_repetition_penalty(logits, ids, 0.5).tolist() == [[4, -1, 0.5, -0.5], [2, -2, 0.5, -0.25]]


@pytest.mark.parametrize(
    ("size", "forbidden"),
    [(1, [[1, 2, 3], [1, 4]]), (2, [[2, 3], [1, 4]]), (3, [[3], []]), (4, [[3], []]), (9, [[], []]), (99, [[], []])],
)
def test_no_repeated_ngram_by_hand(size: int, forbidden: list[list[int]]) -> None:
    ids = torch.tensor([[3, 2, 1, 3, 1, 2, 3, 2, 1], [-1, -1, -1, -1, -1, 1, 1, 4, 1]])
    got = no_repeat_ngram_filter(torch.zeros(2, 5), ids, size)
    assert [[i for i in range(5) if row[i] == -INF] for row in got.tolist()] == forbidden


def test_filters_change_nothing_but_what_they_return() -> None:
    logits, ids = torch.randn(3, 9), torch.randint(9, (3, 5))
    before = logits.clone(), ids.clone()
    apply_temperature(logits, 0.3)
    top_k_filter(logits, 2)
    top_p_filter(logits, 0.3)
    apply_repetition_penalty(logits, ids, 2.0)
    no_repeat_ngram_filter(logits, ids, 1)
    assert torch.equal(logits, before[0])
    assert torch.equal(ids, before[1])


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_filters_know_their_range(bad: float) -> None:
    logits, ids = torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(ValueError, match=f"temperature={bad}: expected more than 0"):
        apply_temperature(logits, bad)
    with pytest.raises(ValueError, match=f"top_p={bad}: expected 0 < top_p <= 1"):
        top_p_filter(logits, bad)
    with pytest.raises(ValueError, match=f"repetition_penalty={bad}: expected more than 0"):
        apply_repetition_penalty(logits, ids, bad)
    with pytest.raises(ValueError, match="top_k=0: expected 1 or more"):
        top_k_filter(logits, 0)
    with pytest.raises(ValueError, match="no_repeat_ngram_size=0: expected 1 or more"):
        no_repeat_ngram_filter(logits, ids, 0)


# --- one token after the other ------------------------------------------------------------------------------


def test_texts_end_with_their_stop_token_and_are_padded() -> None:
    after = torch.full((6, 6), -9.0)
    for token, following in {2: 3, 3: 4, 4: 5, 5: 2}.items():
        after[token, following] = 9.0
    start = torch.tensor([[2], [3], [5]])
    columns = list(extend(Table(after, 1), start, greedy, 9, eos_token_ids=(3, 4), pad_token_id=0))
    assert torch.stack(columns, dim=1).tolist() == [[3, 0], [4, 0], [2, 3]]
    columns = list(extend(Table(after, 1), start, greedy, 3))
    assert torch.stack(columns, dim=1).tolist() == [[3, 4, 5], [4, 5, 2], [2, 3, 4]]


def test_shares_of_draws() -> None:
    logits = torch.tensor([0.1, 0.05, 0.5, 0.05, 0.3]).log()
    count, kept = 20_000, torch.tensor([0.0, 0.0, 0.5, 0.0, 0.3])
    generator = torch.Generator().manual_seed(0)
    for shaped, shares in (
        (logits, logits.exp()),
        (apply_temperature(logits, 0.5), logits.exp() ** 2 / (logits.exp() ** 2).sum()),
        (top_k_filter(logits, 2), kept / 0.8),
        (top_p_filter(logits, 0.75), kept / 0.8),
    ):
        drawn = sample(shaped.expand(count, -1), generator)
        found = drawn.bincount(minlength=5) / count
        deviation = (shares * (1 - shares) / count).sqrt()
        assert ((found - shares).abs() <= 5 * deviation).all()


@every_device
def test_shares_of_what_a_model_draws(device: str) -> None:
    model, count = tiny("GPT-2").to(device), 5000
    how = {"temperature": 1.5, "top_k": 9, "top_p": 0.8}
    prompt = IDS[:1].to(device)
    with torch.no_grad():
        logits = model(prompt).logits[0, -1:]
    shares = top_p_filter(top_k_filter(apply_temperature(logits, 1.5), 9), 0.8).softmax(dim=-1)[0]
    assert 3 <= (shares > 0).sum() < 9
    drawn = generate(model, prompt, 1, do_sample=True, seed=5, num_return_sequences=count, **how)[:, -1]
    found = drawn.bincount(minlength=31) / count
    assert ((found - shares).abs() <= 5 * (shares * (1 - shares) / count).sqrt()).all()


# --- beam search --------------------------------------------------------------------------------------------


def test_beam_candidates_by_hand() -> None:
    scores = torch.tensor([[-1.0, -2.0], [0.0, -INF]])
    log_probs = torch.tensor([[-1.0, -5.0, -3.5], [-0.5, -2.25, -9.0], [-4.0, -1.0, -2.0], [0.0, 0.0, 0.0]])
    best, beams, tokens = beam_candidates(scores, log_probs, 3)
    assert best.tolist() == [[-2.0, -2.5, -4.25], [-1.0, -2.0, -4.0]]
    assert beams.tolist() == [[0, 1, 1], [0, 0, 0]]
    assert tokens.tolist() == [[0, 0, 1], [1, 2, 0]]
    assert beam_candidates(scores, log_probs, 99)[0].shape == (2, 6)


def every_text(model: Table, start: Tensor, longest: int, length_penalty: float) -> list[tuple[float, tuple[int, ...]]]:
    """All texts that end with EOS, or are as long as may be, with their scores; best first."""
    found = []
    for length in range(1, longest + 1):
        for new in itertools.product(range(model.logits.size(-1)), repeat=length):
            if EOS in new[:-1] or (length < longest and new[-1] != EOS):
                continue
            ids, total = start, 0.0
            for token in new:
                total += model(ids[None])[0, token].item()
                ids = torch.cat([ids, torch.tensor([token])])
            found.append((total / length**length_penalty, new))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("length_penalty", [-0.5, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("early_stopping", [False, "never"])
def test_a_beam_wide_enough_finds_the_best_of_all_texts(length_penalty: float, early_stopping: bool | str) -> None:
    model, starts = Table(torch.randn(4, 4, 4) * 2, 2), torch.tensor([[2, 3], [0, 2]])
    # There are 1 + 3 + 9 * 4 texts of at most three tokens: so many beams leave none out.
    found = beam_search(model, starts, 3, 200, (EOS,), length_penalty, early_stopping)
    for start, pairs in zip(starts, found, strict=True):
        expected = every_text(model, start, 3, length_penalty)
        assert [tuple(new.tolist()) for _, new in pairs] == [new for _, new in expected]
        torch.testing.assert_close([score for score, _ in pairs], [score for score, _ in expected])


def test_a_narrow_beam_may_miss_the_best_text() -> None:
    best, missed = 0, 0
    for seed in range(20):
        torch.manual_seed(seed)
        model, start = Table(torch.randn(5, 5, 5) * 2, 2), torch.tensor([[2, 3]])
        score, new = every_text(model, start[0], 4, 1.0)[0]
        wide = beam_search(model, start, 4, 400, (EOS,), 1.0, "never")[0][0]
        narrow = beam_search(model, start, 4, 1, (EOS,), 1.0, "never")[0][0]
        best += tuple(wide[1].tolist()) == new
        missed += narrow[0] < score - 1e-6
    assert best == 20
    assert 1 <= missed < 20


def test_a_beam_finds_what_greed_misses() -> None:
    likely = torch.full((5, 5), 1e-4)
    likely[2] = torch.tensor([1e-4, 1e-4, 1e-4, 0.6, 0.4])  # 3 looks better, but then anything may follow
    likely[3] = torch.tensor([0.2, 0.2, 0.2, 0.2, 0.2])
    likely[4] = torch.tensor([1e-4, 1.0, 1e-4, 1e-4, 1e-4])  # after 4 the text ends for sure
    model, start = Table(likely.log(), 1), torch.tensor([[2]])
    assert next(iter(extend(model, start, greedy, 2))).tolist() == [3]
    (score, new), *_ = beam_search(model, start, 2, 2, (EOS,), 0.0)[0]
    assert new.tolist() == [4, EOS]
    assert score == pytest.approx(math.log(0.4), abs=1e-2)


def test_a_single_beam_is_greedy_until_a_text_ends() -> None:
    model, start = Table(torch.randn(9, 9) * 3, 1), torch.tensor([[2], [5]])
    columns = torch.stack(list(extend(model, start, greedy, 6)), dim=1)
    assert [pairs[0][1].tolist() for pairs in beam_search(model, start, 6, 1)] == columns.tolist()


def test_stopping_early_by_hand() -> None:
    likely = torch.full((5, 5), 1e-6)
    likely[2] = torch.tensor([1e-6, 0.3, 1e-6, 0.5, 0.2])
    likely[3] = torch.tensor([1e-6, 0.1, 1e-6, 1e-6, 0.9])
    likely[4] = torch.tensor([1e-6, 1.0, 1e-6, 1e-6, 1e-6])
    model, start = Table(likely.log(), 1), torch.tensor([[2]])
    # After two steps "1" (log 0.3) and "4 1" (log 0.2 / 2) are finished, and "3 4" (log 0.45 / 2) is better than both.
    for early_stopping, best in ((True, [4, EOS]), (False, [3, 4, EOS]), ("never", [3, 4, EOS])):
        assert beam_search(model, start, 5, 2, (EOS,), 1.0, early_stopping)[0][0][1].tolist() == best


def test_a_beam_goes_on_beside_several_ends() -> None:
    likely = torch.full((5, 5), 1e-6)
    likely[2] = torch.tensor([1e-6, 0.4, 1e-6, 0.25, 0.35])
    likely[3] = torch.tensor([1e-6, 1.0, 1e-6, 1e-6, 1e-6])
    found = beam_search(Table(likely.log(), 1), torch.tensor([[2]]), 2, 1, (EOS, 4), 2.0, "never")
    assert found[0][0][1].tolist() == [3, EOS]  # log 0.25 / 4 is more than log 0.4


def test_stopping_early_reads_less() -> None:
    calls = {True: 0, False: 0, "never": 0}
    for early_stopping in calls:
        torch.manual_seed(0)
        model = Table(torch.randn(6, 6) * 2, 1)

        def counted(ids: Tensor, rows: Tensor | None = None, model=model, how=early_stopping) -> Tensor:
            calls[how] += 1
            return model(ids, rows)

        beam_search(counted, torch.tensor([[2]]), 40, 3, (EOS,), 2.0, early_stopping)
    assert calls[True] <= calls[False] < calls["never"]


@every_model
def test_scores_are_those_of_the_texts(name: str) -> None:
    model = tiny(name)
    ids = generate(model, IDS[:2], 6, num_beams=5, num_return_sequences=3, length_penalty=0.0, eos_token_id=())
    assert len({tuple(row) for row in ids.tolist()}) == 6
    rows = IDS[:2].repeat_interleave(3, dim=0)
    with torch.no_grad():
        if name == "T5":
            logits = model(rows, decoder_input_ids=ids).logits
        else:
            logits = model(rows, ids) if name == "Transformer" else model(ids).logits
    log_probs = logits[:, :-1].log_softmax(dim=-1).gather(-1, ids[:, 1:, None]).squeeze(-1)  # [R, T - 1]
    totals = log_probs[:, -6:].sum(dim=-1).view(2, 3)
    assert (totals.diff(dim=-1) <= 1e-5).all()


# --- models -------------------------------------------------------------------------------------------------


@every_model
@every_search
@every_device
def test_a_cache_changes_no_text(name: str, how: dict, device: str) -> None:
    model, ids = tiny(name).to(device), IDS.to(device)
    with_cache, without = (generate(model, ids, 12, use_cache=kept, **how) for kept in (True, False))
    assert torch.equal(with_cache, without)
    assert with_cache.device == ids.device
    assert with_cache[:, -12:].unique().numel() >= 3


@every_model
@every_search
def test_padding_changes_no_text(name: str, how: dict) -> None:
    if how.get("do_sample"):
        how = how | {"top_k": 1}  # one draw of the batch is not one draw of its row
    model, rows = tiny(name), how.get("num_return_sequences", 1)
    start = 7 if name.startswith("GPT") else 1
    ids, mask = IDS, MASK
    if name == "Transformer":  # its positions count from the left, whatever is there
        ids, mask = IDS.roll(-4, dims=1), MASK.flip(1)
    together = generate(model, ids, 9, **how)[2 * rows :, start:]
    given = generate(model, ids.masked_fill(mask == 0, 17), 9, attention_mask=mask, **how)[2 * rows :, start:]
    alone = generate(model, IDS[2:, 4:], 9, **how)[:, min(start, 3) :]
    assert torch.equal(together, given)
    padding = torch.full((rows, together.size(1) - alone.size(1)), PAD)
    assert torch.equal(together, torch.cat([alone, padding], dim=1))


def test_a_transformer_writes_as_it_does_by_itself() -> None:
    model = tiny("Transformer")
    got = generate(model, IDS, 12)
    assert (got[:, 0] == BOS).all()
    assert torch.equal(got[:, 1:], model.generate(IDS, 12))


@every_model
def test_a_text_ends_where_it_is_told_to(name: str) -> None:
    model = tiny(name)
    free = generate(model, IDS, 12, eos_token_id=())
    start = free.size(1) - 12
    stops = {int(free[0, start + 2]), int(free[1, start + 5])}
    got = generate(model, IDS, 12, eos_token_id=sorted(stops), pad_token_id=PAD)
    for row, whole in zip(got[:, start:].tolist(), free[:, start:].tolist(), strict=True):
        end = next((i for i, token in enumerate(whole) if token in stops), len(whole) - 1)
        assert row[: end + 1] == whole[: end + 1]
        assert set(row[end + 1 :]) <= {PAD}


def test_without_a_pad_token_the_first_end_token_fills_up() -> None:
    model = tiny("GPT-2", pad_token_id=None)
    free = generate(model, IDS[:2], 12, eos_token_id=())
    first, last = int(free[0, 7]), int(free[1, 9])
    got = generate(model, IDS[:2], 12, eos_token_id=(last, first))
    assert got[0, 7:].tolist() == [first] + [last] * (got.size(1) - 8)
    beams = generate(model, IDS[:2], 12, num_beams=3, num_return_sequences=3, eos_token_id=(last, first))
    assert beams.shape[0] == 6


@pytest.mark.parametrize("name", ["GPT", "GPT-2", "T5"])
def test_a_model_whose_end_lies_outside_its_vocabulary_writes_on(name: str) -> None:
    model = tiny(name, eos_token_id=50_256)
    assert generate(model, IDS[:2], 5).size(1) == 5 + (7 if name.startswith("GPT") else 1)


def test_repetition_is_held_against_a_text() -> None:
    model = tiny("GPT-2")
    ids = generate(model, IDS[:2], 20, no_repeat_ngram_size=1, eos_token_id=())
    assert all(len(set(row)) == len(row) for row in ids.tolist())
    ids = generate(model, IDS[:2], 30, num_beams=3, no_repeat_ngram_size=2, eos_token_id=())
    for row in ids.tolist():
        assert len(set(itertools.pairwise(row))) == len(row) - 1
    plain, penalised = (generate(model, IDS[:2], 20, repetition_penalty=p, eos_token_id=()) for p in (1.0, 3.0))
    assert not torch.equal(plain, penalised)


def test_padding_is_no_repetition() -> None:
    model, prompt = tiny("GPT-2"), torch.tensor([[PAD, PAD, PAD, 21, 5, 3]])
    wanted = int(generate(model, prompt[:, 3:], 1)[0, -1])
    for how in ({"no_repeat_ngram_size": 1}, {"repetition_penalty": 50.0}):
        filled = prompt.masked_fill(prompt == PAD, wanted)
        mask = (prompt != PAD).long()
        got = generate(model, filled, 1, attention_mask=mask, **how)
        assert got[0, -1] == generate(model, prompt[:, 3:], 1, **how)[0, -1] == wanted


def test_an_end_token_that_also_pads_is_read_as_a_word() -> None:
    model = tiny("GPT-2", pad_token_id=EOS)
    start = torch.tensor([[EOS, EOS, 5, 3]])
    everything = torch.ones_like(start)
    assert torch.equal(generate(model, start, 9), generate(model, start, 9, attention_mask=everything))
    assert not torch.equal(generate(model, start, 9), generate(model, start, 9, attention_mask=start != EOS))


# --- streams ------------------------------------------------------------------------------------------------


@every_model
@pytest.mark.parametrize("how", [SEARCHES["greedy"], SEARCHES["draws"]], ids=["greedy", "draws"])
def test_a_stream_hands_out_what_generate_returns(name: str, how: dict) -> None:
    model = tiny(name)
    columns = list(stream(model, IDS, max_new_tokens=10, **how))
    whole = generate(model, IDS, 10, **how)
    assert torch.equal(torch.stack(columns, dim=1), whole[:, -len(columns) :])


def test_a_stream_computes_no_more_than_is_asked_for() -> None:
    model, seen = tiny("GPT-2"), []
    model.register_forward_hook(lambda module, args, out: seen.append(args[0].size(1)))
    tokens = stream(model, IDS, max_new_tokens=30, eos_token_id=())
    assert seen == []
    for _ in range(3):
        next(tokens)
        assert torch.is_grad_enabled()
    assert seen == [7, 1, 1]


def test_a_stream_complains_before_the_first_token() -> None:
    with pytest.raises(ValueError, match="num_beams=2: expected 1"):
        stream(tiny("GPT-2"), IDS, num_beams=2)
    with pytest.raises(ValueError, match="token id 32"):
        stream(tiny("GPT-2"), IDS + 20)


# --- random numbers and state -------------------------------------------------------------------------------


@every_model
@every_device
def test_a_seed_is_a_stream_of_its_own(name: str, device: str) -> None:
    model, ids = tiny(name).to(device), IDS.to(device)
    how = {"do_sample": True, "eos_token_id": ()}
    before = torch.random.get_rng_state(), torch.cuda.get_rng_state() if device == "cuda" else None
    texts = [generate(model, ids, 12, seed=seed, **how) for seed in (1, 1, 2)]
    list(stream(model, ids, max_new_tokens=3, seed=4, **how))
    generate(model, ids, 12, num_beams=3)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert device != "cuda" or torch.equal(torch.cuda.get_rng_state(), before[1])
    assert torch.equal(texts[0], texts[1])
    assert not torch.equal(texts[0], texts[2])


def test_without_a_seed_the_global_one_counts() -> None:
    model, texts = tiny("GPT-2"), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        texts.append([generate(model, IDS, 12, do_sample=True, eos_token_id=()) for _ in range(2)])
    assert torch.equal(texts[0][0], texts[1][0])
    assert not torch.equal(texts[0][0], texts[0][1])
    assert not torch.equal(texts[0][0], texts[2][0])


@every_search
def test_nothing_else_changes(how: dict) -> None:
    model, ids, mask = tiny("GPT-2"), IDS.clone(), MASK.clone()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for mode in (True, False):
        model.train(mode)
        out = generate(model, ids, 5, attention_mask=mask, **how)
        assert model.training == mode
    assert torch.equal(ids, IDS)
    assert torch.equal(mask, MASK)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert out.dtype == torch.long
    assert not out.is_inference()
    assert torch.equal(out[:: how.get("num_return_sequences", 1), :7], IDS)
    model(out[:, :9]).logits.sum().backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@every_search
def test_halves_write_too(dtype: torch.dtype, how: dict) -> None:
    out = generate(tiny("GPT-2").to(dtype), IDS, 5, **how)
    assert ((out >= 0) & (out < 31)).all()


# --- bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"top_p": 0.0}, "top_p=0.0: expected 0 < top_p <= 1"),
        ({"top_p": 1.1}, "top_p=1.1"),
        ({"top_k": 0}, "top_k=0: expected 1 or more"),
        ({"temperature": 0.0}, "temperature=0.0: expected more than 0"),
        ({"temperature": -1.0, "do_sample": True}, "temperature=-1.0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty=0.0"),
        ({"no_repeat_ngram_size": 0}, "no_repeat_ngram_size=0"),
        ({"num_beams": 0}, "num_beams=0: expected 1 or more"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"num_return_sequences": 0}, "num_return_sequences=0"),
        ({"num_return_sequences": 2}, "num_return_sequences=2 with num_beams=1"),
        ({"num_return_sequences": 4, "num_beams": 3}, "num_return_sequences=4 with num_beams=3"),
        ({"num_beams": 2, "do_sample": True}, "num_beams=2 with do_sample"),
        ({"early_stopping": "always"}, "early_stopping='always': expected True, False or \"never\""),
        ({"length_penalty": math.nan}, "length_penalty=nan"),
        ({"eos_token_id": 31}, "eos_token_id=31: expected 0 ... 30"),
        ({"eos_token_id": (1, -1)}, r"eos_token_id=\(1, -1\)"),
        ({"pad_token_id": 31}, "pad_token_id=31: expected 0 ... 30"),
        ({"max_new_tokens": 35}, "length 41: expected at most 40, the positions of the model"),
    ],
)
def test_settings_out_of_range(settings: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        generate(tiny("GPT-2", eos_token_id=50_256 if "max_new_tokens" in settings else EOS), IDS, **settings)


def test_a_setting_that_does_not_exist() -> None:
    with pytest.raises(TypeError, match="tempreature"):
        generate(tiny("GPT-2"), IDS, tempreature=0.5)


@every_decoder
@pytest.mark.parametrize(
    ("ids", "mask", "kind", "complaint"),
    [
        (IDS.roll(-4, dims=1), None, ValueError, "text 2 ends in padding: expected padding on the left"),
        (IDS, MASK.flip(1), ValueError, "text 2 ends in padding"),
        (IDS, torch.tensor([[1] * 7, [0] * 7, [1] * 7]), ValueError, "text 1 ends in padding"),
        (IDS, MASK[:, 1:], ValueError, r"attention_mask of shape \[3, 6\]: expected \[3, 7\]"),
        (IDS, MASK.float(), TypeError, "attention_mask has dtype torch.float32"),
        (IDS[0], None, ValueError, r"input_ids of shape \[7\]"),
        (IDS[:, :0], None, ValueError, r"input_ids of shape \[3, 0\]"),
        (IDS + 20, None, ValueError, "token id 32: expected 0 ... 30"),
        (IDS - 5, None, ValueError, "token id -2: expected 0 ... 30"),
    ],
)
def test_prompts_that_cannot_be_read(name: str, ids: Tensor, mask: Tensor, kind: type, complaint: str) -> None:
    with pytest.raises(kind, match=complaint):
        generate(tiny(name), ids, 3, attention_mask=mask)


def test_an_encoder_may_have_its_padding_anywhere() -> None:
    right = IDS.roll(-4, dims=1)
    for name in ("T5", "Transformer"):
        model = tiny(name)
        alone = generate(model, right[2:, :3], 6)
        assert torch.equal(generate(model, right, 6)[2:, : alone.size(1)], alone)


def test_a_decoder_must_know_where_to_start() -> None:
    with pytest.raises(ValueError, match=r"decoder_start_token_id=31: expected 0 \.\.\. 30"):
        generate(tiny("T5"), IDS, decoder_start_token_id=31)
    assert (generate(tiny("T5"), IDS, 2, decoder_start_token_id=9)[:, 0] == 9).all()


def test_more_texts_than_there_are() -> None:
    model = tiny("GPT-2", vocab_size=3)
    prompt = torch.tensor([[2, 2]])
    assert generate(model, prompt, 1, num_beams=4, num_return_sequences=3).shape == (3, 3)
    with pytest.raises(ValueError, match="num_return_sequences=4: found no more than 3"):
        generate(model, prompt, 1, num_beams=4, num_return_sequences=4)


def test_the_defaults_are_written_twice_and_alike() -> None:
    shown = {name: p.default for name, p in signature(generate).parameters.items() if name != "attention_mask"}
    defaults = {field.name: field.default for field in fields(GenerationConfig)}
    named = {name: default for name, default in shown.items() if name in defaults}
    assert len(named) == 7
    assert named == {name: defaults[name] for name in named}
    assert list(defaults)[:7] == list(named)
