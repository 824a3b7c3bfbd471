"""What a batch asks of a model: the next token, a hidden token, the next sentence, a hidden span, an answer in words.

    causal       Improving Language Understanding by Generative Pre-Training (Radford et al., 2018)
    masked       BERT, section 3.1 and appendix A (Devlin et al., 2018)    https://arxiv.org/abs/1810.04805
    static or dynamic masks    RoBERTa, section 4.1 (Liu et al., 2019)    https://arxiv.org/abs/1907.11692
    spans        Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer
                 (T5; Raffel et al., 2019)    https://arxiv.org/abs/1910.10683

Each function makes inputs and labels and leaves its arguments as they are. Labels are those that the models here
take: -100 where nothing is asked, and never shifted, for every model shifts its own (GPT's loss compares the logits
at i with the label at i + 1; T5 moves the labels one to the right to feed its decoder).

Chance comes from the torch.Generator that is passed in and from nowhere else: one seed, one batch. Numbers are drawn
on the generator's device and moved to that of the ids, so that a generator on the CPU gives the same batch anywhere.

Left out: tokenization (`lecturekit.tokenizers`), the losses (with the models), whole-word masking, and what BERT's
and T5's own code do to pack many short texts into one row.

    B batch    T length    N rows    V vocabulary    C copies
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Generator, Tensor

IGNORED = -100

Sentence = TypeVar("Sentence")


def check_rate(name: str, rate: float) -> None:
    """ValueError unless `rate` lies between 0 and 1, both excluded."""
    if not 0 < rate < 1:
        raise ValueError(f"{name}={rate}: expected 0 < {name} < 1")


def check_tokens(ids: Tensor, shape: str) -> None:
    """TypeError unless `ids` are integers, ValueError unless they have as many axes as `shape`, such as [B, T]."""
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(f"ids have dtype {ids.dtype}: expected integers")
    if ids.dim() != shape.count(",") + 1:
        raise ValueError(f"ids of shape {list(ids.shape)}: expected {shape}")


# ---- the next token --------------------------------------------------------------------------------------------------
def causal_labels(ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """The labels with which a GPT learns to continue ids [B, T]: the ids themselves, not shifted, as a copy.

    Where `attention_mask` [B, T] is zero, at padding, the label is -100. ValueError if its shape is another.
    """
    check_tokens(ids, "[B, T]")
    if attention_mask is None:
        return ids.clone()
    if attention_mask.shape != ids.shape:
        raise ValueError(f"attention_mask of shape {list(attention_mask.shape)}: expected {list(ids.shape)}")
    return ids.masked_fill(attention_mask == 0, IGNORED)


def check_block(tokens: Tensor, length: int) -> None:
    """Refuse what no block can be cut from: tokens that are not [N] integers, a block of one, more than there is."""
    check_tokens(tokens, "[N]")
    if not 2 <= length <= len(tokens):
        raise ValueError(f"length={length}: expected 2 ... {len(tokens)}, the number of tokens")


def random_blocks(tokens: Tensor, length: int, batch_size: int, generator: Generator) -> Tensor:
    """Cut [B, T] blocks of `length` from a long text, tokens [N], each starting anywhere with equal probability.

    For training. ValueError if `length` is less than 2 (nothing to predict) or more than N.
    """
    check_block(tokens, length)
    starts = torch.randint(len(tokens) - length + 1, (batch_size,), generator=generator, device=generator.device)
    return tokens.unfold(0, length, 1)[starts.to(tokens.device)]  # [B, T]


def consecutive_blocks(tokens: Tensor, length: int) -> Tensor:
    """Cut a long text, tokens [N], from its beginning into blocks [B, T] of `length`.

    For evaluation. The last token of a block is the first of the next: a block's first token is not predicted, and
    so each token but the very first is predicted once. An end too short for a block is left out. ValueError as in
    `random_blocks`.
    """
    check_block(tokens, length)
    return tokens.unfold(0, length, length - 1).clone()  # [B, T]


# ---- a hidden token --------------------------------------------------------------------------------------------------
def mask_tokens(
    ids: Tensor,
    mask_id: int,
    vocab_size: int,
    special_ids: Sequence[int],
    generator: Generator,
    rate: float = 0.15,
) -> tuple[Tensor, Tensor]:
    """Hide some tokens of ids [B, T], to be found again (BERT, section 3.1, task 1).

    Each token whose id is not in `special_ids` is chosen with probability `rate`, independently of the others. Of
    the chosen tokens 80 % become `mask_id`, 10 % a random id out of 0 ... `vocab_size` - 1 (any of them, the token
    itself too), 10 % stay. One number drawn for each token decides both whether it is chosen and what becomes of it.

    Returns (inputs, labels), both [B, T]: the labels hold the ids of the chosen tokens, those that stay included,
    and -100 elsewhere. `special_ids` are [CLS], [SEP], [PAD], [MASK] and their like. As the choice is free, a tiny
    batch may hold no chosen token at all, and the mean loss over none is NaN.

    ValueError unless 0 < `rate` < 1, for a `mask_id` outside the vocabulary or ids that are not [B, T]; TypeError
    unless ids are integers.
    """
    check_tokens(ids, "[B, T]")
    check_rate("rate", rate)
    if not 0 <= mask_id < vocab_size:
        raise ValueError(f"mask_id={mask_id}: expected 0 ... {vocab_size - 1}, the vocabulary")
    draw = torch.rand(ids.shape, generator=generator, device=generator.device).to(ids.device)  # [B, T]
    random_ids = torch.randint(vocab_size, ids.shape, generator=generator, device=generator.device).to(ids)
    ordinary = ~torch.isin(ids, torch.tensor(special_ids, dtype=ids.dtype, device=ids.device))
    inputs = torch.where(ordinary & (draw < 0.9 * rate), random_ids, ids)
    inputs = inputs.masked_fill(ordinary & (draw < 0.8 * rate), mask_id)
    labels = ids.masked_fill(~(ordinary & (draw < rate)), IGNORED)
    return inputs, labels


def static_masks(
    ids: Tensor,
    mask_id: int,
    vocab_size: int,
    special_ids: Sequence[int],
    generator: Generator,
    rate: float = 0.15,
    copies: int = 10,
) -> tuple[Tensor, Tensor]:
    """Mask ids [B, T] `copies` times before training starts, as BERT did (RoBERTa, section 4.1).

    Returns (inputs, labels), both [C, B, T]; epoch e trains on copy e % C. RoBERTa's dynamic masking is to call
    `mask_tokens` whenever a batch is fed. Other arguments and errors are those of `mask_tokens`; ValueError if
    `copies` is not positive.
    """
    if copies < 1:
        raise ValueError(f"copies={copies}: expected at least 1")
    check_tokens(ids, "[B, T]")
    inputs, labels = mask_tokens(ids.repeat(copies, 1), mask_id, vocab_size, special_ids, generator, rate)
    return inputs.unflatten(0, (copies, -1)), labels.unflatten(0, (copies, -1))  # [C * B, T] -> [C, B, T]


# ---- the next sentence -----------------------------------------------------------------------------------------------
class SentencePair(NamedTuple, Generic[Sentence]):
    """`label` is 0 where `second` follows `first` in a document and 1 where it does not, as BERT's head has it."""

    first: Sentence
    second: Sentence
    label: int


def draw_below(limit: int, generator: Generator) -> int:
    """A whole number out of 0 ... `limit` - 1, all equally likely."""
    return int(torch.randint(limit, (), generator=generator, device=generator.device))


def next_sentence_pairs(documents: Sequence[Sequence[Sentence]], generator: Generator) -> list[SentencePair[Sentence]]:
    """Pair every sentence that has a successor with it, or with a stranger (BERT, section 3.1, task 2).

    A document is a sequence of sentences, a sentence anything (token ids, a text). With probability 1/2 the second of
    a pair is the sentence that follows the first; else it is a random sentence of *another* document: each other
    document is equally likely, and then each of its sentences. Pairs come in the order of their first sentences.

    ValueError if there are fewer than two documents, or one without a sentence.
    """
    if len(documents) < 2:
        raise ValueError(f"{len(documents)} document(s): expected at least 2, a wrong sentence comes from another one")
    for number, document in enumerate(documents):
        if not len(document):
            raise ValueError(f"document {number} has no sentences")
    pairs = []
    for number, document in enumerate(documents):
        for first, successor in pairwise(document):
            if draw_below(2, generator):
                pairs.append(SentencePair(first, successor, 0))
                continue
            # One number fewer than there are documents, and those from this one on move up: never this one.
            other = draw_below(len(documents) - 1, generator)
            stranger = documents[other + (other >= number)]
            pairs.append(SentencePair(first, stranger[draw_below(len(stranger), generator)], 1))
    return pairs


def pack_pair(
    first: Sequence[int], second: Sequence[int], cls_id: int, sep_id: int, max_length: int, generator: Generator
) -> tuple[list[int], list[int]]:
    """[CLS] first [SEP] second [SEP] in at most `max_length` tokens: (ids, token types), lists of equal length.

    The type is 0 up to the first [SEP] and 1 after it. While there are too many tokens, the longer sentence (the
    second, if they are equal) loses one, at its beginning or its end with equal probability, as in BERT's code.
    ValueError if `max_length` leaves no room for a token of each.
    """
    if max_length < 5:
        raise ValueError(f"max_length={max_length}: expected at least 5, three special tokens and one of each sentence")
    first, second = list(first), list(second)
    while len(first) + len(second) > max_length - 3:
        longer = first if len(first) > len(second) else second
        del longer[0 if draw_below(2, generator) else -1]
    ids = [cls_id, *first, sep_id, *second, sep_id]
    return ids, [0] * (len(first) + 2) + [1] * (len(second) + 1)


# ---- a hidden span ---------------------------------------------------------------------------------------------------
def noise_counts(length: int, rate: float = 0.15, mean_span: float = 3.0) -> tuple[int, int]:
    """How many of `length` tokens are hidden, and in how many spans: exact, so that equal rows stay equal.

    round(length * rate) tokens, but at least one and not all; round(tokens / mean_span) spans, but at least one and
    no more than there are tokens left to stand between them. Halves are rounded to the even number. ValueError for
    fewer than two tokens, for a `mean_span` below 1 and unless 0 < `rate` < 1.
    """
    if length < 2:
        raise ValueError(f"length={length}: expected at least 2, one token to hide and one to keep")
    check_rate("rate", rate)
    if mean_span < 1:
        raise ValueError(f"mean_span={mean_span}: expected at least 1")
    tokens = min(max(round(length * rate), 1), length - 1)
    spans = min(max(round(tokens / mean_span), 1), length - tokens)
    return tokens, spans


def random_partition(total: int, parts: int, generator: Generator) -> Tensor:
    """Split `total` into `parts` whole numbers of at least 1, all ways equally likely: [parts], on the CPU."""
    cuts = torch.randperm(total - 1, generator=generator, device=generator.device)[: parts - 1].sort().values.cpu() + 1
    return torch.cat([cuts, torch.tensor([total])]).diff(prepend=torch.tensor([0]))  # [parts]


def span_noise(length: int, generator: Generator, rate: float = 0.15, mean_span: float = 3.0) -> Tensor:
    """Choose the spans to hide among `length` tokens (T5, section 3.1.4): boolean [T], True where hidden, on the CPU.

    As in T5's code (`random_spans_noise_mask`), kept and hidden spans alternate, as many of one kind as of the other,
    so that the first token is never hidden and the last one always is; their numbers are those of `noise_counts`, and
    all masks that fulfil this are equally likely. ValueError as in `noise_counts`.
    """
    tokens, spans = noise_counts(length, rate, mean_span)
    kept = random_partition(length - tokens, spans, generator)  # [spans]
    hidden = random_partition(tokens, spans, generator)
    kinds = torch.tensor([False, True]).repeat(spans)  # [2 * spans]
    return kinds.repeat_interleave(torch.stack([kept, hidden], dim=1).flatten())  # [T]


def hide_spans(ids: Tensor, noise: Tensor, first_sentinel: int) -> tuple[Tensor, Tensor]:
    """Replace each hidden span of ids [T] by one sentinel (T5, section 3.1.4 and figure 2): (inputs, targets).

    `noise` [T] is True where a token is hidden. The sentinel of the first span is `first_sentinel`, that of the next
    one is one less and so on: in T5's vocabulary <extra_id_0> is the last id and the others count down. The inputs
    are the tokens that are kept, with a sentinel in place of each span. The targets are, for each span, its sentinel
    and then its tokens, and at the end one more sentinel, as in the paper: T5's code leaves that last one out.

    ValueError if the shapes differ, if there are more spans than ids for sentinels, or if a sentinel is among the ids;
    TypeError if `noise` is not boolean.
    """
    check_tokens(ids, "[T]")
    if noise.dtype != torch.bool:
        raise TypeError(f"noise has dtype {noise.dtype}: expected torch.bool")
    if noise.shape != ids.shape:
        raise ValueError(f"noise of shape {list(noise.shape)}: expected {list(ids.shape)}")
    noise = noise.to(ids.device)
    starts = noise & ~torch.cat([noise.new_zeros(1), noise[:-1]])  # [T]
    last_sentinel = first_sentinel - int(starts.sum())
    if last_sentinel < 0:
        raise ValueError(
            f"first_sentinel={first_sentinel}: expected at least {starts.sum()}, one id a span and one more"
        )
    clash = ids[(ids >= last_sentinel) & (ids <= first_sentinel)]
    if clash.numel():
        raise ValueError(f"token id {clash[0].item()} is one of the sentinels {last_sentinel} ... {first_sentinel}")
    sentinels = first_sentinel + 1 - starts.cumsum(0)  # [T]
    # Each token with the sentinel that may stand before it: what is picked comes out in the order of the text.
    choices = torch.stack([sentinels.to(ids), ids], dim=1)  # [T, 2]
    inputs = choices[torch.stack([starts, ~noise], dim=1)]
    targets = choices[torch.stack([starts, noise], dim=1)]
    return inputs, torch.cat([targets, ids.new_tensor([last_sentinel])])


def span_corruption(
    ids: Tensor,
    first_sentinel: int,
    generator: Generator,
    rate: float = 0.15,
    mean_span: float = 3.0,
    eos_id: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Hide random spans in each row of ids [B, T]: (inputs [B, Ti], labels [B, Tl]), what T5 is pre-trained on.

    `span_noise` and `hide_spans` for each row, and `eos_id` at the end of both, if given. With n tokens hidden in s
    spans (`noise_counts`) Ti = T - n + s and Tl = n + s + 1 for every row, each one more with `eos_id`: no row needs
    padding. Errors are those of the two functions; ValueError too if there is no row.
    """
    check_tokens(ids, "[B, T]")
    if not len(ids):
        raise ValueError(f"ids of shape {list(ids.shape)}: expected at least one row")
    rows = [hide_spans(row, span_noise(len(row), generator, rate, mean_span), first_sentinel) for row in ids]
    inputs, labels = (torch.stack(part) for part in zip(*rows, strict=True))
    if eos_id is not None:
        end = ids.new_full((len(ids), 1), eos_id)
        inputs, labels = torch.cat([inputs, end], dim=1), torch.cat([labels, end], dim=1)
    return inputs, labels


# ---- an answer in words ----------------------------------------------------------------------------------------------
# The fields of a task in the order in which they are written, and the words for its labels 0, 1, ... (T5, appendix D).
GLUE_FIELDS = {
    "cola": ("sentence",),
    "sst2": ("sentence",),
    "mnli": ("hypothesis", "premise"),
    "stsb": ("sentence1", "sentence2"),
}
GLUE_WORDS = {
    "cola": ("unacceptable", "acceptable"),
    "sst2": ("negative", "positive"),
    "mnli": ("entailment", "neutral", "contradiction"),
}


def check_task(task: str) -> None:
    """ValueError unless `task` is one of GLUE_FIELDS."""
    if task not in GLUE_FIELDS:
        raise ValueError(f"task {task!r}: expected one of {', '.join(GLUE_FIELDS)}")


def translation_input(text: str, source: str, target: str) -> str:
    """What T5 is asked to translate; `source` and `target` are the English names of languages (appendix D).

    >>> translation_input("That is good.", "English", "German")
    'translate English to German: That is good.'
    """
    return f"translate {source} to {target}: {text}"


def question_input(question: str, context: str) -> str:
    """A question and the text that holds its answer, which is the target (SQuAD; appendix D).

    T5's code also puts spaces around punctuation; here texts are left as they are.

    >>> question_input("Who wrote it?", "Pushkin wrote it.")
    'question: Who wrote it? context: Pushkin wrote it.'
    """
    return f"question: {question} context: {context}"


def glue_input(task: str, **fields: str) -> str:
    """The task's name, then each of its fields after the field's own name (appendix D).

    ValueError for a `task` that is not in GLUE_FIELDS, or `fields` that are not the task's.

    >>> glue_input("mnli", premise="It rains.", hypothesis="It is dry.")
    'mnli hypothesis: It is dry. premise: It rains.'
    """
    check_task(task)
    if set(fields) != set(GLUE_FIELDS[task]):
        raise ValueError(f"fields of {task}: {', '.join(sorted(fields))}: expected {', '.join(GLUE_FIELDS[task])}")
    return " ".join([task, *(f"{name}: {fields[name]}" for name in GLUE_FIELDS[task])])


def similarity_words(score: float) -> str:
    """A score of STS-B, rounded to the nearest 0.2 and written with one digit after the point (section 2.4).

    The paper has scores from 1 to 5, and so 21 classes, "1.0" ... "5.0". The data set has some between 0 and 1 too;
    they are written alike, as T5's code does. ValueError for a score outside 0 ... 5.

    >>> similarity_words(2.57)
    '2.6'
    """
    if not 0 <= score <= 5:
        raise ValueError(f"score {score}: expected 0 ... 5")
    return f"{round(score * 5) / 5:.1f}"


def glue_target(task: str, label: float) -> str:
    """What T5 is to answer: the word for a class number, or `similarity_words` of a score of "stsb".

    ValueError for a `task` that is not in GLUE_FIELDS, or a `label` that it does not have.

    >>> glue_target("cola", 1)
    'acceptable'
    """
    check_task(task)
    if task == "stsb":
        return similarity_words(label)
    if label not in range(len(GLUE_WORDS[task])):
        raise ValueError(f"label {label} of {task}: expected 0 ... {len(GLUE_WORDS[task]) - 1}")
    return GLUE_WORDS[task][int(label)]


def read_glue_target(task: str, answer: str) -> int | float | None:
    """The label that a model's `answer` stands for, or None if it stands for none and so is wrong (section 2.4).

    A class number, or for "stsb" the number that is written there, if it is one from 0 to 5. White space around the
    answer does not count. ValueError for a `task` that is not in GLUE_FIELDS.

    >>> read_glue_target("sst2", "positive"), read_glue_target("sst2", "hamburger")
    (1, None)
    """
    check_task(task)
    answer = answer.strip()
    if task != "stsb":
        return GLUE_WORDS[task].index(answer) if answer in GLUE_WORDS[task] else None
    try:
        score = float(answer)
    except ValueError:
        return None
    return score if 0 <= score <= 5 else None
