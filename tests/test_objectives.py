"""Batches worked out by hand, plain loops as oracles, shares within five standard deviations, then bad input."""

import doctest
import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from lecturekit import objectives
from lecturekit.models.bert import BertConfig, BertForMaskedLM
from lecturekit.models.gpt import GPT2Config, GPT2LMHeadModel
from lecturekit.objectives import (
    causal_labels,
    consecutive_blocks,
    glue_input,
    glue_target,
    hide_spans,
    mask_tokens,
    next_sentence_pairs,
    noise_counts,
    pack_pair,
    question_input,
    random_blocks,
    random_partition,
    read_glue_target,
    similarity_words,
    span_corruption,
    span_noise,
    static_masks,
    translation_input,
)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def rate(hits: int, of: int, p: float) -> None:
    """A share may be five standard deviations away from its probability."""
    assert abs(hits - of * p) <= 5 * math.sqrt(of * p * (1 - p)), f"{hits} of {of}, expected a share of {p}"


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(objectives)
    assert result.failed == 0
    assert result.attempted >= 6


# ---- the next token --------------------------------------------------------------------------------------------------
def test_causal_labels_by_hand() -> None:
    ids = torch.tensor([[5, 7, 0], [8, 0, 9]])
    assert causal_labels(ids).tolist() == ids.tolist()
    labels = causal_labels(ids, torch.tensor([[1, 1, 0], [1, 1, 1]]))
    assert labels.tolist() == [[5, 7, -100], [8, 0, 9]]  # padding is what the mask says, not an id
    causal_labels(ids)[0, 0] = 99
    assert ids[0, 0] == 5


def test_gpt_shifts_these_labels_itself() -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=11, n_positions=8, n_embd=12, n_layer=1, n_head=3, eos_token_id=None)
    model = GPT2LMHeadModel(config).eval()
    ids = torch.tensor([[1, 2, 3, 4, 0], [5, 6, 7, 8, 9]])
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
    out = model(ids, attention_mask=mask, labels=causal_labels(ids, mask))
    log = out.logits.log_softmax(-1)
    told = [log[row, i, ids[row, i + 1]] for row in range(2) for i in range(4) if mask[row, i + 1]]
    torch.testing.assert_close(out.loss, -torch.stack(told).mean())


def test_consecutive_blocks_predict_each_token_once() -> None:
    blocks = consecutive_blocks(torch.arange(11), 4)
    assert blocks.tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert blocks[:, 1:].flatten().tolist() == list(range(1, 10))
    tokens = torch.arange(5)
    consecutive_blocks(tokens, 5).zero_()
    assert tokens.tolist() == [0, 1, 2, 3, 4]


def test_random_blocks_start_anywhere() -> None:
    blocks = random_blocks(torch.arange(10), 7, 8000, seeded())
    assert torch.equal(blocks - blocks[:, :1], torch.arange(7).expand(8000, 7))
    counts = Counter(blocks[:, 0].tolist())
    assert sorted(counts) == [0, 1, 2, 3]
    for count in counts.values():
        rate(count, 8000, 1 / 4)
    assert random_blocks(torch.arange(7), 7, 2, seeded()).tolist() == [list(range(7))] * 2


@pytest.mark.parametrize("length", [1, 11])
def test_a_block_must_fit(length: int) -> None:
    message = rf"^length={length}: expected 2 \.\.\. 10, the number of tokens$"
    with pytest.raises(ValueError, match=message):
        random_blocks(torch.arange(10), length, 2, seeded())
    with pytest.raises(ValueError, match=message):
        consecutive_blocks(torch.arange(10), length)


def test_bad_input_of_causal() -> None:
    with pytest.raises(ValueError, match=r"^attention_mask of shape \[2, 2\]: expected \[2, 3\]$"):
        causal_labels(torch.ones(2, 3, dtype=torch.long), torch.ones(2, 2))
    with pytest.raises(ValueError, match=r"^ids of shape \[3\]: expected \[B, T\]$"):
        causal_labels(torch.ones(3, dtype=torch.long))
    with pytest.raises(TypeError, match=r"^ids have dtype torch.float32: expected integers$"):
        random_blocks(torch.ones(3), 2, 1, seeded())


# ---- a hidden token --------------------------------------------------------------------------------------------------
V, MASK, SPECIAL = 1000, 4, (0, 2, 3, 4)


@pytest.fixture(scope="module")
def text() -> Tensor:
    return torch.randint(V, (400, 500), generator=seeded(1))


@pytest.mark.parametrize("p", [0.15, 0.4])
def test_masking_80_10_10(text: Tensor, p: float) -> None:
    before = text.clone()
    inputs, labels = mask_tokens(text, MASK, V, SPECIAL, seeded(2), p)
    assert torch.equal(text, before)
    assert inputs.dtype == labels.dtype == text.dtype
    special = sum(text == i for i in SPECIAL).bool()
    chosen = labels != -100
    assert not (chosen & special).any()
    assert torch.equal(labels[chosen], text[chosen])
    assert torch.equal(inputs[~chosen], text[~chosen])
    of = int((~special).sum())
    rate(int(chosen.sum()), of, p)
    masked = chosen & (inputs == MASK)
    kept = chosen & (inputs == text)
    other = chosen & ~masked & ~kept
    n = int(chosen.sum())
    rate(int(masked.sum()), n, 0.8 + 0.1 / V)
    rate(int(kept.sum()), n, 0.1 + 0.1 / V)
    rate(int(other.sum()), n, 0.1 * (1 - 2 / V))
    rate(int((masked | kept).sum()), n, 0.9 + 0.2 / V)


def test_replacements_are_spread_over_the_whole_vocabulary() -> None:
    ids = torch.full((500, 500), 9)
    inputs, labels = mask_tokens(ids, 1, 10, (0,), seeded(3), 0.5)
    replaced = inputs[(inputs != 1) & (inputs != 9)]
    counts = torch.bincount(replaced, minlength=10).tolist()
    assert counts[1] == counts[9] == 0
    for i in (0, 2, 3, 4, 5, 6, 7, 8):
        rate(counts[i], len(replaced), 1 / 8)
    assert set(labels.unique().tolist()) == {-100, 9}


def test_choices_are_independent_of_the_neighbours(text: Tensor) -> None:
    ids = text.masked_fill(text < 5, 5)
    chosen = mask_tokens(ids, MASK, V, SPECIAL, seeded(4))[1] != -100
    rate(int((chosen[:, 1:] & chosen[:, :-1]).sum()), chosen[:, 1:].numel(), 0.15**2)
    rate(int((chosen[1:] & chosen[:-1]).sum()), chosen[1:].numel(), 0.15**2)


def test_one_seed_one_batch_and_no_other_source_of_chance(text: Tensor) -> None:
    state = torch.get_rng_state()
    first, again, other = (mask_tokens(text, MASK, V, SPECIAL, seeded(s)) for s in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])
    generator = seeded(5)  # dynamic masking: the same generator, another mask each time
    mask_tokens(text, MASK, V, SPECIAL, generator)
    assert not torch.equal(mask_tokens(text, MASK, V, SPECIAL, generator)[1], first[1])


def test_static_masks_are_ten_different_ones(text: Tensor) -> None:
    ids = text[:8]
    inputs, labels = static_masks(ids, MASK, V, SPECIAL, seeded(7))
    assert inputs.shape == labels.shape == (10, 8, 500)
    chosen = labels != -100
    assert torch.equal(torch.where(chosen, labels, inputs), ids.expand(10, 8, 500))
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(chosen, 2))
    ordinary = ~torch.isin(ids, torch.tensor(SPECIAL))
    rate(int(chosen.sum()), 10 * int(ordinary.sum()), 0.15)
    assert static_masks(ids, MASK, V, SPECIAL, seeded(7), copies=3)[0].shape == (3, 8, 500)


def test_bert_learns_from_the_chosen_tokens_alone() -> None:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=30, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=8)
    model = BertForMaskedLM(config).eval()
    inputs, labels = mask_tokens(torch.randint(5, 30, (3, 40), generator=seeded(1)), 4, 30, (0,), seeded(2))
    out = model(inputs, labels=labels)
    rows, places = torch.nonzero(labels != -100, as_tuple=True)
    expected = -out.logits.log_softmax(-1)[rows, places, labels[rows, places]].mean()
    torch.testing.assert_close(out.loss, expected)


def test_no_special_ids_and_small_dtypes() -> None:
    ids = torch.arange(200, dtype=torch.int32).view(2, 100)
    inputs, labels = mask_tokens(ids, 0, 200, (), seeded())
    assert inputs.dtype == labels.dtype == torch.int32


def test_bad_input_of_masking() -> None:
    ids = torch.ones(2, 3, dtype=torch.long)
    for p in (0.0, 1.0, -0.1, 15.0, math.nan):
        with pytest.raises(ValueError, match=rf"^rate={p}: expected 0 < rate < 1$"):
            mask_tokens(ids, 4, 10, (0,), seeded(), p)
    with pytest.raises(ValueError, match=r"^mask_id=10: expected 0 \.\.\. 9, the vocabulary$"):
        mask_tokens(ids, 10, 10, (0,), seeded())
    with pytest.raises(TypeError, match=r"^ids have dtype torch.bool: expected integers$"):
        mask_tokens(ids.bool(), 4, 10, (0,), seeded())
    with pytest.raises(ValueError, match=r"^ids of shape \[2\]: expected \[B, T\]$"):
        static_masks(ids[:, 0], 4, 10, (0,), seeded())
    with pytest.raises(ValueError, match=r"^copies=0: expected at least 1$"):
        static_masks(ids, 4, 10, (0,), seeded(), copies=0)


# ---- the next sentence -----------------------------------------------------------------------------------------------
def test_next_sentence_pairs() -> None:
    sizes = (700, 1, 900, 1400)
    documents = [[(d, s) for s in range(size)] for d, size in enumerate(sizes)]
    pairs = next_sentence_pairs(documents, seeded())
    assert [pair.first for pair in pairs] == [(d, s) for d, size in enumerate(sizes) for s in range(size - 1)]
    real = [pair for pair in pairs if pair.label == 0]
    wrong = [pair for pair in pairs if pair.label == 1]
    assert len(real) + len(wrong) == len(pairs)
    assert all(p.second == (p.first[0], p.first[1] + 1) for p in real)
    assert all(p.second[0] != p.first[0] for p in wrong)
    rate(len(real), len(pairs), 0.5)
    for d in (0, 2, 3):  # each other document equally often, the one of a single sentence too
        own = [p.second for p in wrong if p.first[0] == d]
        counts = Counter(document for document, _ in own)
        assert len(counts) == 3
        for count in counts.values():
            rate(count, len(own), 1 / 3)
    seconds = [s for document, s in (p.second for p in wrong) if document == 3]
    rate(sum(s < 700 for s in seconds), len(seconds), 0.5)  # and all of its sentences
    assert documents == [[(d, s) for s in range(size)] for d, size in enumerate(sizes)]
    assert next_sentence_pairs(documents, seeded()) == pairs
    assert next_sentence_pairs([["a"], ["b"]], seeded()) == []


def test_bad_documents() -> None:
    with pytest.raises(
        ValueError, match=r"^1 document\(s\): expected at least 2, a wrong sentence comes from another one$"
    ):
        next_sentence_pairs([["a", "b"]], seeded())
    with pytest.raises(ValueError, match=r"^document 1 has no sentences$"):
        next_sentence_pairs([["a", "b"], []], seeded())


def test_pack_pair_by_hand() -> None:
    ids, types = pack_pair([5, 6, 7], [8, 9], 1, 2, 8, seeded())
    assert ids == [1, 5, 6, 7, 2, 8, 9, 2]
    assert types == [0, 0, 0, 0, 0, 1, 1, 1]
    assert pack_pair([5, 6], [8, 9], 1, 2, 6, seeded())[0] in ([1, 5, 6, 2, 8, 2], [1, 5, 6, 2, 9, 2])
    assert pack_pair([5, 6, 7], [8, 9], 1, 2, 7, seeded())[0] in ([1, 5, 6, 2, 8, 9, 2], [1, 6, 7, 2, 8, 9, 2])


@given(st.integers(1, 30), st.integers(1, 30), st.integers(5, 70), st.integers(0, 9))
def test_pack_pair_cuts_the_longer_one_at_its_ends(one: int, two: int, room: int, seed: int) -> None:
    first, second = list(range(100, 100 + one)), list(range(200, 200 + two))
    ids, types = pack_pair(first, second, 1, 2, room, seeded(seed))
    assert len(ids) == len(types) == min(one + two + 3, room)
    assert types == sorted(types)
    middle = ids.index(2)
    a, b = ids[1:middle], ids[middle + 1 : -1]
    assert types.index(1) == middle + 1
    assert a == list(range(a[0], a[0] + len(a)))
    assert b == list(range(b[0], b[0] + len(b)))
    assert set(a) <= set(first)
    assert set(b) <= set(second)
    assert len(a) == one or len(b) == two or abs(len(a) - len(b)) <= 1
    assert (first, second) == (list(range(100, 100 + one)), list(range(200, 200 + two)))


def test_pack_pair_cuts_either_end_equally_often() -> None:
    generator = seeded()
    front = sum(pack_pair([5, 6, 7], [8, 9], 1, 2, 7, generator)[0][1] == 6 for _ in range(2000))
    rate(front, 2000, 0.5)
    with pytest.raises(
        ValueError, match=r"^max_length=4: expected at least 5, three special tokens and one of each sentence$"
    ):
        pack_pair([5], [6], 1, 2, 4, seeded())


# ---- a hidden span ---------------------------------------------------------------------------------------------------
def test_figure_2_of_the_paper() -> None:
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    ids = torch.arange(len(words))
    noise = torch.tensor([w in ("for", "inviting", "last") for w in words])
    inputs, targets = hide_spans(ids, noise, 99)
    names = dict(enumerate(words)) | {99: "<X>", 98: "<Y>", 97: "<Z>"}
    assert " ".join(names[i] for i in inputs.tolist()) == "Thank you <X> me to your party <Y> week ."
    assert " ".join(names[i] for i in targets.tolist()) == "<X> for inviting <Y> last <Z>"


def by_loop(ids: list[int], noise: list[bool], sentinel: int) -> tuple[list[int], list[int]]:
    inputs, targets, before = [], [], False
    for token, hidden in zip(ids, noise, strict=True):
        if hidden and not before:
            inputs.append(sentinel)
            targets.append(sentinel)
            sentinel -= 1
        (targets if hidden else inputs).append(token)
        before = hidden
    return inputs, [*targets, sentinel]


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.sampled_from([torch.int64, torch.int32]))
def test_hide_spans_equals_a_plain_loop_and_can_be_undone(noise: list[bool], dtype: torch.dtype) -> None:
    ids = [(7 * i) % 50 for i in range(len(noise))]
    given_ids = torch.tensor(ids, dtype=dtype)
    inputs, targets = hide_spans(given_ids, torch.tensor(noise), 99)
    assert inputs.dtype == targets.dtype == dtype
    assert (inputs.tolist(), targets.tolist()) == by_loop(ids, noise, 99)
    assert given_ids.tolist() == ids
    spans, key = {}, None
    for token in targets.tolist():
        key = token if token > 50 else key
        spans.setdefault(key, []).extend([token] if token <= 50 else [])
    assert [t for token in inputs.tolist() for t in spans.get(token, [token])] == ids


def test_noise_counts_by_hand() -> None:
    assert noise_counts(100) == (15, 5)
    assert noise_counts(568) == (85, 28)
    assert noise_counts(512) == (77, 26)
    assert noise_counts(30) == (4, 1)  # 4.5 to the even number
    assert noise_counts(2) == (1, 1)
    assert noise_counts(10, 0.99, 1.0) == (9, 1)  # one token is left, and it can come before one span only
    assert noise_counts(10, 0.5, 1.0) == (5, 5)


def test_lengths_are_those_that_t5_was_trained_with() -> None:
    ids = torch.arange(568).expand(3, 568)  # T5's code turns 568 tokens into 512 and 114, without the last sentinel
    inputs, labels = span_corruption(ids, 32_099, seeded(), eos_id=1)
    assert inputs.shape == (3, 512)
    assert labels.shape == (3, 114 + 1)
    assert (inputs[:, -1] == 1).all()
    assert (labels[:, -1] == 1).all()
    inputs, labels = span_corruption(ids, 32_099, seeded())
    assert (inputs.shape[1], labels.shape[1]) == (511, 114)
    assert (labels[:, -1] == 32_099 - 28).all()


@given(st.integers(2, 400), st.floats(0.01, 0.99), st.floats(1, 12), st.integers(0, 5))
def test_noise_is_exact(length: int, p: float, mean: float, seed: int) -> None:
    noise = span_noise(length, seeded(seed), p, mean)
    assert noise.dtype == torch.bool
    assert noise.shape == (length,)
    tokens, spans = noise_counts(length, p, mean)
    assert int(noise.sum()) == tokens
    assert not noise[0]
    assert noise[-1]
    assert len([kind for kind, _ in itertools.groupby(noise.tolist()) if kind]) == spans


def test_all_masks_are_equally_likely() -> None:
    generator, draws = seeded(), 6000
    seen = Counter(tuple(span_noise(9, generator, 0.45, 2.0).tolist()) for _ in range(draws))
    assert noise_counts(9, 0.45, 2.0) == (4, 2)
    wanted = set()
    for bits in itertools.product([False, True], repeat=9):
        runs = [kind for kind, _ in itertools.groupby(bits)]
        if sum(bits) == 4 and runs == [False, True, False, True]:
            wanted.add(bits)
    assert set(seen) == wanted
    assert len(wanted) == 4 * 3
    for count in seen.values():
        rate(count, draws, 1 / 12)


def test_random_partition() -> None:
    generator = seeded()
    parts = [tuple(random_partition(5, 3, generator).tolist()) for _ in range(3000)]
    assert set(parts) == {p for p in itertools.product(range(1, 4), repeat=3) if sum(p) == 5}
    for count in Counter(parts).values():
        rate(count, 3000, 1 / 6)
    assert random_partition(4, 4, generator).tolist() == [1, 1, 1, 1]
    assert random_partition(1, 1, generator).tolist() == [1]


def test_rows_are_corrupted_each_in_its_own_way() -> None:
    ids = torch.randint(50, (64, 100), generator=seeded())
    before = ids.clone()
    inputs, labels = span_corruption(ids, 99, seeded(1))
    assert torch.equal(ids, before)
    assert inputs.shape == (64, 100 - 15 + 5)
    assert labels.shape == (64, 15 + 5 + 1)
    assert len({tuple((row > 50).tolist()) for row in inputs}) > 60
    assert ((inputs > 50).sum(dim=1) == 5).all()
    again = span_corruption(ids, 99, seeded(1))
    assert torch.equal(again[0], inputs)
    assert torch.equal(again[1], labels)


def test_bad_input_of_spans() -> None:
    ids, noise = torch.arange(4), torch.tensor([False, True, False, True])
    with pytest.raises(ValueError, match=r"^noise of shape \[3\]: expected \[4\]$"):
        hide_spans(ids, noise[:3], 99)
    with pytest.raises(TypeError, match=r"^noise has dtype torch.int64: expected torch.bool$"):
        hide_spans(ids, noise.long(), 99)
    with pytest.raises(ValueError, match=r"^token id 3 is one of the sentinels 3 \.\.\. 5$"):
        hide_spans(ids, noise, 5)
    with pytest.raises(ValueError, match=r"^first_sentinel=1: expected at least 2, one id a span and one more$"):
        hide_spans(ids, noise, 1)
    with pytest.raises(ValueError, match=r"^length=1: expected at least 2, one token to hide and one to keep$"):
        span_noise(1, seeded())
    with pytest.raises(ValueError, match=r"^mean_span=0.5: expected at least 1$"):
        span_noise(10, seeded(), mean_span=0.5)
    with pytest.raises(ValueError, match=r"^rate=1.5: expected 0 < rate < 1$"):
        span_noise(10, seeded(), rate=1.5)
    with pytest.raises(ValueError, match=r"^ids of shape \[4\]: expected \[B, T\]$"):
        span_corruption(ids, 99, seeded())
    with pytest.raises(ValueError, match=r"^ids of shape \[0, 4\]: expected at least one row$"):
        span_corruption(ids.new_zeros(0, 4), 99, seeded())


# ---- an answer in words ----------------------------------------------------------------------------------------------
def test_prefixes_of_appendix_d() -> None:
    assert translation_input("Luigi", "English", "French") == "translate English to French: Luigi"
    assert question_input("Who?", "She did.") == "question: Who? context: She did."
    assert glue_input("cola", sentence="A b.") == "cola sentence: A b."
    assert glue_input("sst2", sentence="A b.") == "sst2 sentence: A b."
    assert glue_input("mnli", premise="P.", hypothesis="H.") == "mnli hypothesis: H. premise: P."
    assert glue_input("stsb", sentence1="A.", sentence2="B.") == "stsb sentence1: A. sentence2: B."


def test_similarity_is_21_classes_from_1_to_5() -> None:
    assert similarity_words(2.57) == "2.6"  # the paper's example
    assert similarity_words(1.66) == "1.6"  # the example in the tests of its code
    classes = {similarity_words(1 + i / 1000) for i in range(4001)}
    assert classes == {f"{i // 5}.{2 * (i % 5)}" for i in range(5, 26)}
    assert len(classes) == 21
    assert similarity_words(0) == "0.0"
    assert similarity_words(0.35) == "0.4"


@pytest.mark.parametrize(
    ("task", "words"),
    [("cola", "unacceptable acceptable"), ("sst2", "negative positive"), ("mnli", "entailment neutral contradiction")],
)
def test_labels_are_words_and_can_be_read_back(task: str, words: str) -> None:
    for label, word in enumerate(words.split()):
        assert glue_target(task, label) == word
        assert read_glue_target(task, f" {word}\n") == label
    for nonsense in ("", "hamburger", words):
        assert read_glue_target(task, nonsense) is None


def test_similarities_can_be_read_back() -> None:
    for i in range(26):
        assert read_glue_target("stsb", glue_target("stsb", i / 5)) == pytest.approx(i / 5)
    for nonsense in ("", "5.2", "-1", "nan", "inf", "similar"):
        assert read_glue_target("stsb", nonsense) is None


def test_bad_input_of_tasks() -> None:
    for call in (lambda: glue_input("qqp", a="b"), lambda: glue_target("qqp", 1), lambda: read_glue_target("qqp", "x")):
        with pytest.raises(ValueError, match=r"^task 'qqp': expected one of cola, sst2, mnli, stsb$"):
            call()
    with pytest.raises(ValueError, match=r"^fields of mnli: hypothesis, sentence: expected hypothesis, premise$"):
        glue_input("mnli", hypothesis="a", sentence="b")
    for label in (3, -1, 0.5):
        with pytest.raises(ValueError, match=rf"^label {label} of mnli: expected 0 \.\.\. 2$"):
            glue_target("mnli", label)
    for score in (5.1, -0.1, math.nan):
        with pytest.raises(ValueError, match=rf"^score {score}: expected 0 \.\.\. 5$"):
            similarity_words(score)
