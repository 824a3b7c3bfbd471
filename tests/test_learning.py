"""Models learn what they are for, in a bounded number of steps, through `lecturekit.train`, judged on held-out text."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from lecturekit.data import agreement_pairs, agreement_sentences, manual_text, read_text
from lecturekit.layers import token_loss
from lecturekit.models.bert import BertConfig, BertForMaskedLM, BertForSequenceClassification
from lecturekit.models.gpt import GPT2Config, GPT2LMHeadModel
from lecturekit.models.t5 import T5Config, T5ForConditionalGeneration
from lecturekit.objectives import consecutive_blocks, mask_tokens, random_blocks, span_corruption
from lecturekit.optim import AdamW, cosine_schedule, linear_schedule, parameter_groups
from lecturekit.tokenizers.base import Tokenizer
from lecturekit.tokenizers.unigram import Unigram
from lecturekit.tokenizers.wordpiece import WordPiece
from lecturekit.train import evaluate, train

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def corpus(name: str) -> str:
    """A text of the shared ones, or the manual of Python in place of an English one."""
    if (DATA / f"{name}.txt").is_file():
        return read_text(DATA / f"{name}.txt")
    if name.endswith("_ru"):
        pytest.skip(f"no {name}.txt beside the project, and there is no Russian prose inside it")
    return manual_text()


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def learn(model: nn.Module, draw: Callable[[int], Any], loss: Callable[..., Any], steps: int, rate: float) -> None:
    """AdamW, a tenth of the steps up and the others down in a line."""
    optimizer = AdamW(parameter_groups(model, 0.01), lr=rate, betas=(0.9, 0.99))
    train(
        model,
        draw,
        loss,
        optimizer,
        steps,
        schedule=lambda step: linear_schedule(step, steps // 10, steps),
        progress=False,
    )


# ---- GPT -------------------------------------------------------------------------------------------------------------
def next_characters(model: nn.Module, block: Tensor) -> Tensor:
    return token_loss(model(block[:, :-1]).logits, block[:, 1:])


def character_gpt(text: str, seed: int, steps: int, layers: int = 4, width: int = 128) -> float:
    """nanoGPT's setting for a CPU: the loss on the whole last tenth of the text, in nats a character."""
    number = {character: index for index, character in enumerate(sorted(set(text)))}
    ids = torch.tensor([number[character] for character in text])
    cut = len(ids) * 9 // 10
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(number), n_positions=64, n_embd=width, n_layer=layers, n_head=4, eos_token_id=None,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    train(
        model,
        lambda number: random_blocks(ids[:cut], 65, 12, seeded(100_003 * seed + number)),
        next_characters,
        AdamW(parameter_groups(model, 0.1), lr=1e-3, betas=(0.9, 0.99)),
        steps,
        schedule=lambda step: cosine_schedule(step, 100, 2000, 0.1),
        progress=False,
    )
    return evaluate(model, consecutive_blocks(ids[cut:], 65).split(64), next_characters)


@pytest.mark.full
@pytest.mark.parametrize("seed", [0, 1])
def test_gpt_learns_shakespeare_as_nanogpt_does(seed: int) -> None:
    if not (DATA / "shakespeare_en.txt").is_file():
        pytest.skip("no shakespeare_en.txt beside the project: the figure is of that text")
    reached = character_gpt(corpus("shakespeare_en"), seed, steps=2000)
    print(f"seed {seed}: {reached:.4f} nats a character on the whole validation tenth")
    assert reached <= 1.93


def test_gpt_learns_the_manual_that_is_always_here() -> None:
    reached = character_gpt(manual_text(), seed=0, steps=300, layers=2, width=64)
    print(f"{reached:.4f} nats a character on the whole validation tenth")
    assert reached <= 2.6


# ---- BERT and T5 -----------------------------------------------------------------------------------------------------
def unigram_loss(train_ids: Tensor, targets: Tensor, size: int) -> float:
    """The mean loss on the targets of who knows how often each token is in the training text, and no more."""
    counts = torch.bincount(train_ids, minlength=size).double() + 1  # no token is impossible
    return -(counts / counts.sum()).log()[targets].mean().item()


@cache
def characters(text: str) -> WordPiece:
    """Characters for tokens, those inside words apart: no pair occurs often enough to be merged."""
    return WordPiece.train([text], 1000, score="frequency", min_frequency=len(text))


def masked_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return model(batch[0], labels=batch[1]).loss, (batch[1] != -100).sum()


def masker(tokenizer: Tokenizer) -> Callable[[Tensor, Generator], tuple[Tensor, Tensor]]:
    special = [tokenizer.vocab[token] for token in tokenizer.special_tokens]
    return lambda ids, generator: mask_tokens(ids, tokenizer.vocab["[MASK]"], len(tokenizer), special, generator)


def small_bert(vocab_size: int, length: int) -> BertConfig:
    # Positions that start larger than the paper's are told apart sooner, which is what takes the time.
    return BertConfig(
        vocab_size=vocab_size, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256,
        max_position_embeddings=length, initializer_range=0.1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize("name", ["war_and_peace_en", "war_and_peace_ru"])
def test_bert_finds_masked_tokens(name: str) -> None:
    text = corpus(name)
    cut = len(text) * 9 // 10
    tokenizer = characters(text)
    learnt, unseen = (torch.tensor(tokenizer.encode(part)) for part in (text[:cut], text[cut:]))
    mask = masker(tokenizer)

    def draw(number: int) -> tuple[Tensor, Tensor]:
        generator = seeded(number)
        return mask(random_blocks(learnt, 16, 128, generator), generator)

    torch.manual_seed(0)
    model = BertForMaskedLM(small_bert(len(tokenizer), 16))
    learn(model, draw, masked_loss, steps=600, rate=2e-3)
    held_out = [mask(blocks, seeded(-1)) for blocks in consecutive_blocks(unseen, 16)[:2000].split(200)]
    targets = torch.cat([labels[labels != -100] for _, labels in held_out])
    reached, unigram = evaluate(model, held_out, masked_loss), unigram_loss(learnt, targets, len(tokenizer))
    print(f"{name}: {reached:.3f} of a unigram's {unigram:.3f}, {reached / unigram:.3f}, {len(targets)} targets")
    assert reached <= 0.9 * unigram


@pytest.mark.full
@pytest.mark.parametrize("name", ["war_and_peace_en", "war_and_peace_ru"])
def test_t5_fills_in_hidden_spans(name: str) -> None:
    text = corpus(name)
    cut = len(text) * 9 // 10
    tokenizer = Unigram.train([text[:100_000]], 160 if name.endswith("en") else 180, extra_ids=4)
    learnt, unseen = (torch.tensor(tokenizer.encode(part)) for part in (text[:cut], text[cut:]))
    first_sentinel, eos = len(tokenizer) - 1, tokenizer.vocab["</s>"]

    def hide(ids: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        return span_corruption(ids, first_sentinel, generator, eos_id=eos)

    def draw(number: int) -> tuple[Tensor, Tensor]:
        generator = seeded(number)
        return hide(random_blocks(learnt, 20, 96, generator), generator)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return model(batch[0], labels=batch[1]).loss

    def hidden(labels: Tensor) -> Tensor:
        """The tokens of the text among the labels: sentinels and the end are easy, and don't count here."""
        return (labels <= first_sentinel - 4) & (labels != eos)

    def hidden_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        inputs, labels = batch
        logits = model(inputs, labels=labels).logits
        return token_loss(logits, labels.masked_fill(~hidden(labels), -100)), hidden(labels).sum()

    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=64, d_kv=16, d_ff=256, num_layers=2, num_heads=4, dropout_rate=0.0,
        relative_attention_num_buckets=16, relative_attention_max_distance=32,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    learn(model, draw, loss, steps=700, rate=5e-3)
    held_out = [hide(blocks, seeded(-1)) for blocks in consecutive_blocks(unseen, 20)[:2000].split(200)]
    targets = torch.cat([labels[hidden(labels)] for _, labels in held_out])
    reached, unigram = evaluate(model, held_out, hidden_loss), unigram_loss(learnt, targets, len(tokenizer))
    print(f"{name}: {reached:.3f} of a unigram's {unigram:.3f}, {reached / unigram:.3f}, {len(targets)} targets")
    assert reached <= 0.9 * unigram


# ---- a head ----------------------------------------------------------------------------------------------------------
def padded(tokenizer: WordPiece, sentences: list[str]) -> Tensor:
    rows = [[tokenizer.vocab["[CLS]"], *tokenizer.encode(sentence), tokenizer.vocab["[SEP]"]] for sentence in sentences]
    width = max(map(len, rows))
    return torch.tensor([row + [tokenizer.vocab["[PAD]"]] * (width - len(row)) for row in rows])


@pytest.mark.full
@pytest.mark.parametrize("language", ["en", "ru"])
def test_bert_is_fine_tuned_to_judge_agreement(language: str) -> None:
    count, cut = 8000, 7000
    # Both draw the same pairs. The body reads acceptable sentences of the training part alone.
    read = [right for right, _ in agreement_pairs(count, 0, language)[:cut]]
    judged = agreement_sentences(count, 0, language)
    held_out = {right for right, _ in agreement_pairs(count, 0, language)[cut:]}
    assert not held_out & set(read)
    assert not {sentence for sentence, _ in judged[:cut]} & {sentence for sentence, _ in judged[cut:]}
    tokenizer = WordPiece.train(read, 400, score="frequency")
    mask, pad = masker(tokenizer), tokenizer.vocab["[PAD]"]
    texts, ids = padded(tokenizer, read), padded(tokenizer, [sentence for sentence, _ in judged])
    labels = torch.tensor([label for _, label in judged])
    config = small_bert(len(tokenizer), max(texts.size(1), ids.size(1)))

    def rows(number: int) -> Tensor:
        return torch.randint(cut, (64,), generator=seeded(number))

    def draw_masked(number: int) -> tuple[Tensor, Tensor, Tensor]:
        chosen = texts[rows(number)]
        return *mask(chosen, seeded(number)), chosen != pad

    def masked(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return model(batch[0], batch[2], labels=batch[1]).loss, (batch[1] != -100).sum()

    def judge(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return model(batch[0], batch[0] != pad, labels=batch[1]).loss

    torch.manual_seed(0)
    body = BertForMaskedLM(config)
    learn(body, draw_masked, masked, steps=1000, rate=2e-3)
    model = BertForSequenceClassification(config)
    model.bert.load_state_dict({**model.bert.state_dict(), **body.bert.state_dict()})  # it has a pooler besides
    learn(model, lambda number: (ids[rows(number)], labels[rows(number)]), judge, steps=800, rate=1e-3)
    with torch.no_grad():
        answers = model.eval()(ids[cut:], ids[cut:] != pad).logits.argmax(dim=-1)
    reached = (answers == labels[cut:]).float().mean().item()
    print(f"{language}: {reached:.4f} of {count - cut} held-out sentences, {len(tokenizer)} tokens")
    assert reached >= 0.95
