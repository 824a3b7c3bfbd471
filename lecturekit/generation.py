"""Writing text with a language model: greedy, by sampling, or by beam search, one token at a time.

    temperature                  Ackley et al., 1985          https://doi.org/10.1207/s15516709cog0901_7
    top-k                        Fan et al., 2018             https://arxiv.org/abs/1805.04833
    top-p (nucleus)              Holtzman et al., 2020        https://arxiv.org/abs/1904.09751
    repetition penalty           Keskar et al., 2019          https://arxiv.org/abs/1909.05858
    no repeated n-gram           Paulus et al., 2018          https://arxiv.org/abs/1705.04304
    length penalty               Wu et al., 2016              https://arxiv.org/abs/1609.08144

First the filters, small functions over the logits [B, V] of the next token; then the two ways to search, which know
no model but only a function that says what may come next; then the two kinds of model behind such a function; last
`generate` and `stream`, which put them together. Names, order and results are those of `generate` in Hugging Face
transformers.

A model to write with has a `config` with `vocab_size`, and maybe with `eos_token_id`, `pad_token_id` and
`decoder_start_token_id` or `bos_token_id`. A decoder alone has

    model(ids, attention_mask=..., position_ids=..., past_key_values=cache, logits_to_keep=1).logits

A model with an `encoder` has

    memory = model.encoder(input_ids, attention_mask=...)[0]
    model(decoder_input_ids=ids, encoder_outputs=(memory,), attention_mask=..., past_key_values=cache).logits

or, if it knows padding by its id, as our Transformer does (which gets a cache by `decode_next`),

    memory, mask = model.encode(input_ids)
    logits = model.decode(ids, memory, mask)

Left out: beams that are sampled, diverse or constrained, a draft model that guesses ahead, batches that change.

    B texts    K beams    R rows, all beams of all texts    C candidates    T length    V vocabulary
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecturekit.layers import KeyValueCache, check_ids, key_mask
from lecturekit.models.transformer import Transformer, decode_next

# --- filters --------------------------------------------------------------------------------------------------


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Sharpen (below 1) or flatten (above 1) the distribution of the next token: logits / temperature.

    logits [B, V] -> [B, V]. ValueError unless `temperature` is more than 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: expected more than 0")
    return logits / temperature


def top_k_filter(logits: Tensor, top_k: int) -> Tensor:
    """Keep the `top_k` most probable tokens.

    logits [B, V] -> [B, V], where a token that is less probable than the `top_k`-th has -inf and all others are as
    they were; so tokens as probable as the `top_k`-th stay, and a `top_k` beyond V keeps all. ValueError if `top_k`
    is less than 1.
    """
    if top_k < 1:
        raise ValueError(f"top_k={top_k}: expected 1 or more")
    least = logits.topk(min(top_k, logits.size(-1)), dim=-1).values[..., -1:]  # [B, 1]
    return logits.masked_fill(logits < least, -math.inf)


def top_p_filter(logits: Tensor, top_p: float) -> Tensor:
    """Keep the nucleus: the fewest tokens, most probable first, whose probabilities sum to `top_p` at least.

    logits [B, V] -> [B, V], -inf outside the nucleus and as they were inside. The token with which the sum reaches
    `top_p` belongs to the nucleus, so there is always one. ValueError unless 0 < `top_p` <= 1.
    """
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p}: expected 0 < top_p <= 1")
    ascending, order = logits.sort(dim=-1)
    wide = torch.promote_types(logits.dtype, torch.float32)
    # The probability of a token and all less probable ones: a small sum where the cut is made, hence an exact one.
    tail = ascending.softmax(dim=-1, dtype=wide).cumsum(dim=-1)  # [B, V]
    drop = tail <= 1 - top_p
    drop[..., -1] = False
    return logits.masked_fill(drop.scatter(-1, order, drop), -math.inf)


def present(ids: Tensor, vocab_size: int) -> Tensor:
    """Which tokens occur: ids [B, T] -> a boolean [B, V]. An id below zero stands for no token."""
    found = torch.zeros(ids.size(0), vocab_size + 1, dtype=torch.bool, device=ids.device)
    found.scatter_(1, ids.masked_fill(ids < 0, vocab_size), True)  # no token: the column that is cut off
    return found[:, :vocab_size]


def apply_repetition_penalty(logits: Tensor, ids: Tensor, penalty: float) -> Tensor:
    """Make every token that the text has already less probable (Keskar et al., section 4.1, who divide all logits).

    logits [B, V] and the texts so far, ids [B, T] -> [B, V]: positive logits of tokens in the text are divided by
    `penalty`, negative ones multiplied, once however often the token occurs. Ids below zero stand for no token. A
    `penalty` below 1 rewards repetition. ValueError unless it is more than 0.
    """
    if not penalty > 0:
        raise ValueError(f"repetition_penalty={penalty}: expected more than 0")
    penalised = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(present(ids, logits.size(-1)), penalised, logits)


def no_repeat_ngram_filter(logits: Tensor, ids: Tensor, size: int) -> Tensor:
    """Forbid every token that would complete a run of `size` tokens which the text has already.

    logits [B, V] and the texts so far, ids [B, T] -> [B, V], -inf where forbidden. Ids below zero stand for no
    token. ValueError if `size` is less than 1.
    """
    if size < 1:
        raise ValueError(f"no_repeat_ngram_size={size}: expected 1 or more")
    length = ids.size(1)
    if length < size:
        return logits
    runs = ids.unfold(1, size, 1)  # [B, T - size + 1, size]
    last = ids[:, None, length + 1 - size :]  # [B, 1, size - 1], the beginning of the run that comes next
    again = (runs[..., :-1] == last).all(dim=-1)  # [B, T - size + 1]
    forbidden = runs[..., -1].masked_fill(~again, -1)
    return logits.masked_fill(present(forbidden, logits.size(-1)), -math.inf)


# --- searching ------------------------------------------------------------------------------------------------

NextToken = Callable[..., Tensor]
"""What a model makes of the texts so far: next_token(ids [R, T], rows [R]) -> [R, V], logits or log-probabilities.

Row i goes on from what was row rows[i] in the call before, one of the same text; without `rows` nothing has moved. The
texts stay in their order, each with as many rows as the others.
"""


def greedy(logits: Tensor) -> Tensor:
    """The most probable token of each text: logits [B, V] -> ids [B]."""
    return logits.argmax(dim=-1)


def sample(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A token of each text, drawn with the probabilities softmax(logits): [B, V] -> ids [B].

    Draws come from `generator`, or from torch's global one. A token of -inf is never drawn.
    """
    return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator).squeeze(1)


@torch.no_grad()
def extend(
    next_logits: NextToken,
    input_ids: Tensor,
    choose: Callable[[Tensor], Tensor],
    max_new_tokens: int,
    eos_token_ids: Sequence[int] = (),
    pad_token_id: int = 0,
) -> Iterator[Tensor]:
    """Go on with each text, one token at a time: input_ids [B, T] -> the new tokens, [B] after [B].

    `choose` picks tokens [B] from what `next_logits` says, [B, V]. A text ends with the first of `eos_token_ids`,
    which belongs to it; from there on its tokens are `pad_token_id`. Stops when all texts have ended, and after
    `max_new_tokens` at the latest.
    """
    stop = torch.tensor(eos_token_ids, dtype=torch.long, device=input_ids.device)
    ended = torch.zeros_like(input_ids[:, 0], dtype=torch.bool)  # [B]
    ids = input_ids
    for _ in range(max_new_tokens):
        token = choose(next_logits(ids)).masked_fill(ended, pad_token_id)  # [B]
        yield token
        ids = torch.cat([ids, token[:, None]], dim=1)  # [B, T + 1]
        if eos_token_ids:
            ended |= torch.isin(token, stop)
            if ended.all():
                return


def beam_candidates(scores: Tensor, log_probs: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` best ways to go on by one token, over all beams of a text.

    scores [B, K] are the log-probabilities of the beams, log_probs [B * K, V] those of each beam's next token.
    Returns, best first and [B, C] each: the sums of both, which of the K beams each goes on from, and with which
    token. C is `count`, or K * V if there are no more.
    """
    batch, beams = scores.shape
    vocab_size = log_probs.size(-1)
    totals = scores[:, :, None] + log_probs.reshape(batch, beams, vocab_size)  # [B, K, V]
    best, index = totals.flatten(start_dim=1).topk(min(count, beams * vocab_size))  # [B, C]
    return best, index // vocab_size, index % vocab_size


@torch.no_grad()
def beam_search(
    next_log_probs: NextToken,
    input_ids: Tensor,
    max_new_tokens: int,
    num_beams: int,
    eos_token_ids: Sequence[int] = (),
    length_penalty: float = 1.0,
    early_stopping: bool | Literal["never"] = False,
) -> list[list[tuple[float, Tensor]]]:
    """Go on with each text in the `num_beams` ways that look best so far, token after token.

    input_ids [B, T] -> for each text at most `num_beams` pairs of a score and new ids [at most max_new_tokens],
    best first. The score is the sum of the log-probabilities of the new tokens divided by n ** `length_penalty`,
    n being their number (Wu et al., section 7, whose formula has two constants more): 0 leaves the sum, by which
    short texts win; more favours longer ones.

    At each step the candidates among the `num_beams` best (`beam_candidates`) that end with one of `eos_token_ids`
    are finished, and so are all of them after `max_new_tokens`; the best others, as many as there are beams, go on.
    A text takes no more once `num_beams` are finished and, by `early_stopping`,

        True      at once;
        False     as soon as its best beam, were it to end here, would score no better than the worst of these;
        "never"   the same, but with a positive `length_penalty` as if it ended after `max_new_tokens` and the
                  tokens up to there cost nothing, so that no better text is ever given up.
    """
    batch, start = input_ids.shape
    stop = torch.tensor(eos_token_ids, dtype=torch.long, device=input_ids.device)
    # Of a text's candidates, each beam can lose one to every way of ending: this many leave enough to go on with.
    count = max(2, 1 + len(eos_token_ids)) * num_beams
    finished: list[list[tuple[float, Tensor]]] = [[] for _ in range(batch)]
    searching = [True] * batch
    ids, scores = input_ids, torch.zeros(batch, 1, device=input_ids.device)  # one beam until the first token
    log_probs = next_log_probs(ids)
    for length in range(1, max_new_tokens + 1):
        first_rows = torch.arange(batch, device=ids.device)[:, None] * scores.size(1)  # [B, 1]
        scores, beams, tokens = beam_candidates(scores, log_probs, count)  # [B, C]
        rows = first_rows + beams
        ends = torch.isin(tokens, stop) | (length == max_new_tokens)
        # A beam that is not possible at all, -inf, is there only to fill the tensor.
        for text, rank in (ends & (scores > -math.inf))[:, :num_beams].nonzero().tolist():
            if searching[text]:
                # region: finish
                new = torch.cat([ids[rows[text, rank], start:], tokens[text, rank, None]])
                score = scores[text, rank].item() / length**length_penalty
                # endregion
                finished[text].append((score, new))
        # At the end there is nothing left but -inf, which beats nothing: the search is over for every text.
        # region: go-on
        scores, kept = scores.masked_fill(ends, -math.inf).topk(min(num_beams, scores.size(1)))  # [B, K]
        rows, tokens = rows.gather(1, kept).flatten(), tokens.gather(1, kept).flatten()  # [R]
        ids = torch.cat([ids[rows], tokens[:, None]], dim=1)  # [R, T + 1]
        # endregion

        at_best = max_new_tokens if early_stopping == "never" and length_penalty > 0 else length
        for text, score in enumerate(scores[:, 0].tolist()):
            finished[text] = sorted(finished[text], key=lambda pair: pair[0], reverse=True)[:num_beams]
            full = len(finished[text]) == num_beams
            to_beat = finished[text][-1][0] if full else -math.inf
            searching[text] &= score / at_best**length_penalty > to_beat and not (full and early_stopping is True)
        if not any(searching):
            break
        log_probs = next_log_probs(ids, rows)
    return finished


# --- models ---------------------------------------------------------------------------------------------------


class DecoderOnly:
    """The next token of a text that a decoder reads from its beginning; padding, if any, is on the left."""

    def __init__(self, model: nn.Module, mask: Tensor | None, use_cache: bool = True) -> None:
        """`mask` [B, T] is False where a prompt is padding; None for no padding."""
        self.model = model
        self.mask = mask
        self.cache = KeyValueCache() if use_cache else None

    def __call__(self, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        """A NextToken: the texts so far, ids [R, T] -> logits [R, V] in float32."""
        past, positions = 0, None
        if self.cache is not None:
            if rows is not None:
                self.cache.reorder(rows)
            past = self.cache.length
        if self.mask is not None:
            mask = self.mask if rows is None else self.mask.index_select(0, rows)
            self.mask = F.pad(mask, (0, ids.size(1) - mask.size(1)), value=True)  # [R, T]
            positions = (self.mask.cumsum(dim=-1) - 1).clamp(min=0)[:, past:]  # the first token is at 0, wherever it is
        out = self.model(
            ids[:, past:],
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            logits_to_keep=1,
        )
        return out.logits[:, -1].float()  # [R, V]

    def seen(self, ids: Tensor) -> Tensor:
        """The ids that were last read, with -1 where they are padding."""
        return ids if self.mask is None else ids.masked_fill(~self.mask, -1)


class EncoderDecoder:
    """The next token of a text that a decoder writes about what an encoder has read."""

    def __init__(self, model: nn.Module, input_ids: Tensor, mask: Tensor | None, use_cache: bool = True) -> None:
        """`mask` [B, S] is False where input_ids [B, S] are padding, on whichever side; None for no padding."""
        self.model = model
        self.two_parts = hasattr(model, "decode")
        if self.two_parts:
            if mask is not None:
                input_ids = input_ids.masked_fill(~mask, model.config.pad_token_id)
            self.memory, self.mask = model.encode(input_ids)
        else:
            self.memory, self.mask = model.encoder(input_ids, attention_mask=mask)[0], mask  # [B, S, D]
        can_cache = not self.two_parts or isinstance(model, Transformer)
        self.cache = KeyValueCache() if use_cache and can_cache else None

    def __call__(self, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        """A NextToken: the texts so far, ids [R, T] -> logits [R, V] in float32."""
        if rows is not None:
            # Rows move among the beams of their text, which share what the encoder read: only their number matters.
            resized = rows.numel() != self.memory.size(0)
            if resized:
                self.memory = self.memory.index_select(0, rows)  # [R, S, D]
                self.mask = None if self.mask is None else self.mask.index_select(0, rows)
            if self.cache is not None:
                self.cache.reorder(rows, fixed=resized)
        return self.decode(ids)[:, -1].float()  # [R, V]

    def decode(self, ids: Tensor) -> Tensor:
        """The logits at the positions that are new, [R, at most T, V]."""
        if self.two_parts:
            read = ids, self.memory, self.mask
            return self.model.decode(*read) if self.cache is None else decode_next(self.model, *read, self.cache)
        cached = {} if self.cache is None else {"past_key_values": self.cache}
        new = ids if self.cache is None else ids[:, self.cache.length :]
        read = {"encoder_outputs": (self.memory,), "attention_mask": self.mask}
        return self.model(decoder_input_ids=new, **read, **cached).logits

    def seen(self, ids: Tensor) -> Tensor:
        """The ids that were last read, none of which is padding."""
        return ids


# --- all together ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GenerationConfig:
    """How to write. ValueError for a value that is out of its range, or that does not go with another."""

    max_new_tokens: int = 64
    """How many tokens a text may get."""
    num_beams: int = 1
    """More than one for `beam_search`."""
    do_sample: bool = False
    """Draw each token (`sample`) instead of taking the most probable one (`greedy`)."""
    temperature: float = 1.0
    """`apply_temperature`; this and the next three matter only to what is drawn."""
    top_k: int | None = None
    """`top_k_filter`, after the temperature."""
    top_p: float | None = None
    """`top_p_filter`, after top-k, of what that has left."""
    seed: int | None = None
    """Draw from a stream of random numbers of its own, that begins with this seed; None for torch's global one."""
    repetition_penalty: float = 1.0
    """`apply_repetition_penalty`, to logits, or to log-probabilities in beam search."""
    no_repeat_ngram_size: int | None = None
    """`no_repeat_ngram_filter`, after the penalty."""
    length_penalty: float = 1.0
    """See `beam_search`."""
    early_stopping: bool | Literal["never"] = False
    """See `beam_search`."""
    num_return_sequences: int = 1
    """How many texts to return for each prompt: the best ones of beam search, or so many draws."""
    eos_token_id: int | Sequence[int] | None = None
    """The token, or tokens, with which a text ends; None for the model's own, () for none."""
    pad_token_id: int | None = None
    """What stands where a text has ended; None for the model's own, or the first end token if it has none."""
    decoder_start_token_id: int | None = None
    """What a decoder behind an encoder starts with; None for the model's own."""
    use_cache: bool = True
    """Keep keys and values if the model can: the same text, sooner."""

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "num_beams", "num_return_sequences"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected 1 or more")
        if self.early_stopping not in (True, False, "never"):
            raise ValueError(f'early_stopping={self.early_stopping!r}: expected True, False or "never"')
        if not math.isfinite(self.length_penalty):
            raise ValueError(f"length_penalty={self.length_penalty}: expected a finite number")
        if self.num_beams > 1 and self.do_sample:
            raise ValueError(f"num_beams={self.num_beams} with do_sample: expected one of the two")
        possible = self.num_return_sequences if self.do_sample else self.num_beams
        if self.num_return_sequences > possible:
            raise ValueError(
                f"num_return_sequences={self.num_return_sequences} with num_beams={self.num_beams}: "
                "expected no more than there are beams, or do_sample"
            )
        # Each filter knows its own range: what it would refuse at the first token is refused now.
        self.penalise(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long))
        self.shape(torch.zeros(1, 1))

    def penalise(self, scores: Tensor, ids: Tensor) -> Tensor:
        """What is held against tokens that texts ids [B, T] have already: scores [B, V] -> [B, V]."""
        if self.repetition_penalty != 1:
            scores = apply_repetition_penalty(scores, ids, self.repetition_penalty)
        if self.no_repeat_ngram_size is not None:
            scores = no_repeat_ngram_filter(scores, ids, self.no_repeat_ngram_size)
        return scores

    def shape(self, logits: Tensor) -> Tensor:
        """The distribution to draw from: logits [B, V] -> [B, V]."""
        if self.temperature != 1:
            logits = apply_temperature(logits, self.temperature)
        if self.top_k is not None:
            logits = top_k_filter(logits, self.top_k)
        if self.top_p is not None:
            logits = top_p_filter(logits, self.top_p)
        return logits


class Writer:
    """A model with its prompts, ready to write as a GenerationConfig says."""

    @torch.no_grad()
    def __init__(
        self, config: GenerationConfig, model: nn.Module, input_ids: Tensor, attention_mask: Tensor | None
    ) -> None:
        """Refuse what cannot be read, and let an encoder read it; errors are those of `generate`."""
        self.config = config
        vocab_size = model.config.vocab_size
        if input_ids.dim() != 2 or not input_ids.numel():
            raise ValueError(f"input_ids of shape {list(input_ids.shape)}: expected [B, T], neither of them 0")
        check_ids(input_ids, vocab_size)
        self.eos = end_tokens(config, model)
        self.pad = first_given(config.pad_token_id, own(model, "pad_token_id"), *self.eos)
        if self.eos and not 0 <= self.pad < vocab_size:
            raise ValueError(f"pad_token_id={self.pad}: expected 0 ... {vocab_size - 1}")
        if attention_mask is None and self.pad is not None and self.pad not in self.eos:
            attention_mask = input_ids != self.pad
        key_mask(attention_mask, *input_ids.shape)
        mask = None if attention_mask is None or bool(attention_mask.all()) else attention_mask.bool()  # [B, T]
        if config.num_beams == 1:
            input_ids = input_ids.repeat_interleave(config.num_return_sequences, dim=0)
            mask = None if mask is None else mask.repeat_interleave(config.num_return_sequences, dim=0)
        if hasattr(model, "encoder"):
            start = first_given(
                config.decoder_start_token_id, own(model, "decoder_start_token_id"), own(model, "bos_token_id")
            )
            if start is None or not 0 <= start < vocab_size:
                raise ValueError(f"decoder_start_token_id={start}: expected 0 ... {vocab_size - 1}")
            self.step = EncoderDecoder(model, input_ids, mask, config.use_cache)
            self.ids = input_ids.new_full((input_ids.size(0), 1), start)  # [B, 1]
        else:
            if mask is not None and not mask[:, -1].all():
                text = int(mask[:, -1].int().argmin())
                raise ValueError(f"text {text} ends in padding: expected padding on the left, or the answer follows it")
            self.step = DecoderOnly(model, mask, config.use_cache)
            self.ids = input_ids

    def next_logits(self, ids: Tensor) -> Tensor:
        """ids [B, T] -> [B, V], what is held against repetition included."""
        return self.config.penalise(self.step(ids), self.step.seen(ids))

    def next_log_probs(self, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        """ids [R, T] -> [R, V], what is held against repetition included: no longer a distribution then."""
        log_probs = self.step(ids, rows).log_softmax(dim=-1)
        return self.config.penalise(log_probs, self.step.seen(ids))

    def stream(self) -> Iterator[Tensor]:
        """Greedy or drawn, the tokens [B] one after the other."""
        choose = greedy
        if self.config.do_sample:
            generator = None
            if self.config.seed is not None:
                generator = torch.Generator(self.ids.device).manual_seed(self.config.seed)

            def choose(logits: Tensor) -> Tensor:
                return sample(self.config.shape(logits), generator)

        return extend(self.next_logits, self.ids, choose, self.config.max_new_tokens, self.eos, self.pad or 0)

    def best(self) -> Tensor:
        """By beam search, the new ids [B * num_return_sequences, longest], the best text of a prompt first."""
        config = self.config
        found = beam_search(
            self.next_log_probs,
            self.ids,
            config.max_new_tokens,
            config.num_beams,
            self.eos,
            config.length_penalty,
            config.early_stopping,
        )
        fewest = min(len(pairs) for pairs in found)
        if fewest < config.num_return_sequences:
            raise ValueError(f"num_return_sequences={config.num_return_sequences}: found no more than {fewest}")
        best = [new for pairs in found for _, new in pairs[: config.num_return_sequences]]
        return nn.utils.rnn.pad_sequence(best, batch_first=True, padding_value=self.pad or 0)


def own(model: nn.Module, name: str) -> int | Sequence[int] | None:
    """What the model's configuration says, None if nothing."""
    return getattr(model.config, name, None)


def first_given(*values: int | None) -> int | None:
    """The first that is not None, or None."""
    return next((value for value in values if value is not None), None)


def end_tokens(config: GenerationConfig, model: nn.Module) -> tuple[int, ...]:
    """The tokens with which a text ends. The model's own may lie outside its vocabulary: no text ends there then."""
    vocab_size, given = model.config.vocab_size, config.eos_token_id
    tokens = own(model, "eos_token_id") if given is None else given
    tokens = () if tokens is None else (tokens,) if isinstance(tokens, int) else tuple(tokens)
    inside = tuple(token for token in tokens if 0 <= token < vocab_size)
    if given is not None and inside != tokens:
        raise ValueError(f"eos_token_id={given}: expected 0 ... {vocab_size - 1}")
    return inside


def stream(
    model: nn.Module, input_ids: Tensor, *, attention_mask: Tensor | None = None, **settings: object
) -> Iterator[Tensor]:
    """Hand out each token as soon as it is there: the columns [B] of what `generate` adds, from left to right.

    Arguments and errors are those of `generate`; there is no beam search, which knows no token before the last.
    """
    config = GenerationConfig(**settings)
    if config.num_beams > 1:
        raise ValueError(f"num_beams={config.num_beams}: expected 1, beam search knows no token before the last")
    return Writer(config, model, input_ids, attention_mask).stream()


def generate(
    model: nn.Module,
    input_ids: Tensor,
    max_new_tokens: int = 64,
    num_beams: int = 1,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    *,
    attention_mask: Tensor | None = None,
    **more: object,
) -> Tensor:
    """Go on with the prompts input_ids [B, T], token by token: [B, T + new].

    All settings, `more` included, are explained in GenerationConfig. Of a model with encoder and decoder the result
    is what the decoder wrote, its start token included: [B, 1 + new]. With n = `num_return_sequences` there are
    B * n rows, n after n. A text that has ended is filled up with `pad_token_id`.

    `attention_mask` [B, T] has ones for tokens and zeros for padding, which a decoder alone must have on the left; its
    positions then count from a text's first token. None if every `pad_token_id` is padding, or if that is also an end
    token, as GPT-2 has it, and nothing is.

    The model stays in its mode: call `eval()` first. With a `seed` torch's global random numbers are left alone.
    ValueError for settings out of range, ids outside the vocabulary, padding on the right, and by the model's
    own checks for a text that outgrows it; TypeError for a setting that does not exist.
    """
    config = GenerationConfig(max_new_tokens, num_beams, do_sample, temperature, top_k, top_p, seed, **more)
    writer = Writer(config, model, input_ids, attention_mask)
    new = writer.best() if num_beams > 1 else torch.stack(list(writer.stream()), dim=1)
    ids = writer.ids.repeat_interleave(new.size(0) // writer.ids.size(0), dim=0)
    return torch.cat([ids, new], dim=1)
