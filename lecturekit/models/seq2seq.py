"""Sequence to sequence with recurrent networks and attention.

    encoder-decoder           Cho et al., 2014          https://arxiv.org/abs/1406.1078
                              Sutskever et al., 2014    https://arxiv.org/abs/1409.3215
    attention, perceptron     Bahdanau et al., 2014     https://arxiv.org/abs/1409.0473
    the other scores, local   Luong et al., 2015        https://arxiv.org/abs/1508.04025
    hard attention            Xu et al., 2015           https://arxiv.org/abs/1502.03044

An encoder reads the source, its final state c starts the decoder: h0 = c. The decoder follows Luong et al.
(section 3): the recurrent layers read the target, their topmost state asks the attention for a context, and both
together say the next token. So the context never enters the recurrence, and a whole target is attended to at once.

Left out: input feeding (Luong et al., section 3.3) and Bahdanau's order, in which the context comes before the
recurrent step; the entropy term of Xu et al. (section 4.1); reversed sources; beam search. The loops over time are
plain Python: torch.nn.LSTM and its like take the same weights (`Recurrent.torch_names`) and run faster.

    B batch    S source length    T target length    E width of an embedding    D width of a hidden state
    L layers    N directions, 1 or 2    K tensors in a cell's state: 1, the hidden state h; 2 in an LSTM, h and c
    V vocabulary

A mask called `real` is boolean and True at tokens, False at padding.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecturekit.layers import check_fields, check_ids


@dataclass(frozen=True)
class Seq2SeqConfig:
    """The model of Luong et al. (section 4.1), English-German. ValueError if the fields do not fit together.

    `cell` is "elman", "lstm" or "gru". With `bidirectional` each direction of the encoder has half of
    `hidden_size`. `attention` names the score, "dot", "bilinear" or "perceptron", or is "none"; `window` says where
    it looks: "global", or at most `window_size` tokens from a centre, "monotonic" or "predictive". With `hard` it
    looks at one sampled token in place of the mean of all.
    """

    vocab_size: int = 50_000
    embedding_size: int = 1000
    hidden_size: int = 1000
    num_layers: int = 4
    cell: str = "lstm"
    bidirectional: bool = False
    attention: str = "bilinear"
    window: str = "global"
    window_size: int = 10
    hard: bool = False
    dropout: float = 0.2
    pad_token_id: int = 0
    bos_token_id: int = 1
    eos_token_id: int = 2

    def __post_init__(self) -> None:
        check_fields(self, ("vocab_size", "embedding_size", "hidden_size", "num_layers", "window_size"), ("dropout",))
        for name, known in (("cell", CELLS), ("attention", ("none", *SCORES)), ("window", WINDOWS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected one of {', '.join(known)}")
        if self.bidirectional and self.hidden_size % 2:
            raise ValueError(f"hidden_size={self.hidden_size} is odd: each direction has half of it")
        if self.attention == "none" and (self.hard or self.window != "global"):
            raise ValueError(
                f"window={self.window!r} and hard={self.hard} with attention='none': expected 'global' and False"
            )
        if self.hard and self.window == "predictive":
            raise ValueError("hard=True with window='predictive': expected weights that sum to one, to sample from")
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise ValueError(f"{name}={getattr(self, name)}: expected 0 ... {self.vocab_size - 1}")
        if self.pad_token_id in (self.bos_token_id, self.eos_token_id):
            raise ValueError(
                f"pad_token_id={self.pad_token_id}: expected an id other than "
                f"bos_token_id={self.bos_token_id} and eos_token_id={self.eos_token_id}"
            )


# --- one step in time -------------------------------------------------------------------------------------------------


class Cell(nn.Module):
    """The parameters of a recurrent cell, under the names and in the layout of torch.nn's cells.

    `weight_ih` [G * D, E] and `bias_ih` [G * D] are for the input, `weight_hh` [G * D, D] and `bias_hh` [G * D] for
    the state: G blocks of D rows, one a gate. All start uniform between -1/√D and 1/√D, as there. A cell has K
    tensors of state, `num_states`.
    """

    num_gates = 1
    num_states = 1

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        rows, bound = self.num_gates * hidden_size, hidden_size**-0.5
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size).uniform_(-bound, bound))
        self.bias_ih = nn.Parameter(torch.empty(rows).uniform_(-bound, bound))
        self.bias_hh = nn.Parameter(torch.empty(rows).uniform_(-bound, bound))


class RNNCell(Cell):
    """Elman's network: h' = tanh(W x + b + U h + d) (Elman, 1990). torch.nn.RNNCell has the same weights.

    W is `weight_ih`, b `bias_ih`, U `weight_hh`, d `bias_hh`. https://doi.org/10.1207/s15516709cog1402_1
    """

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """One step: input x [B, E] and the state before it [B, D] -> the state after it [B, D].

        The state may have more axes in front, all of which read the same input.
        """
        return torch.tanh(F.linear(x, self.weight_ih, self.bias_ih) + F.linear(hidden, self.weight_hh, self.bias_hh))


class LSTMCell(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997), with the forget gate of Gers et al., 2000.

    The blocks of rows are, in this order, the input gate i, the forget gate f, the candidate g and the output gate
    o; torch.nn.LSTMCell has the same weights. https://doi.org/10.1162/neco.1997.9.8.1735
    """

    num_gates = 4
    num_states = 2

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """One step: input x [B, E] and the state before it [2, B, D], h and then c -> the state after it [2, B, D].

            c' = σ(f) c + σ(i) tanh(g)        h' = σ(o) tanh(c')

        where i, f, g, o are each W x + b + U h + d, with rows of their own.
        """
        hidden, cell = state
        gates = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(hidden, self.weight_hh, self.bias_hh)  # [B, 4D]
        i, f, g, o = gates.chunk(4, dim=-1)  # [B, D] each
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        return torch.stack([hidden, cell])  # [2, B, D]


class GRUCell(Cell):
    """The gated recurrent unit (Cho et al., 2014, section 2.3). torch.nn.GRUCell has the same weights.

    The blocks of rows are, in this order, the reset gate r, the update gate z and the candidate n.
    """

    num_gates = 3

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """One step: input x [B, E] and the state before it [B, D] -> the state after it [B, D].

            r = σ(Wr x + br + Ur h + dr)        n = tanh(Wn x + bn + r (Un h + dn))
            z = σ(Wz x + bz + Uz h + dz)        h' = (1 - z) n + z h

        As in torch, r multiplies Un h + dn; in the paper it multiplies h itself. W and b are of `weight_ih` and
        `bias_ih`, U and d of `weight_hh` and `bias_hh`. The state may have more axes in front, all of which read the
        same input.
        """
        r_x, z_x, n_x = F.linear(x, self.weight_ih, self.bias_ih).chunk(3, dim=-1)  # [B, D] each
        r_h, z_h, n_h = F.linear(hidden, self.weight_hh, self.bias_hh).chunk(3, dim=-1)
        r = torch.sigmoid(r_x + r_h)
        z = torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + r * n_h)
        return (1 - z) * n + z * hidden  # [B, D]


CELLS: dict[str, type[Cell]] = {"elman": RNNCell, "lstm": LSTMCell, "gru": GRUCell}


# --- a whole sentence -------------------------------------------------------------------------------------------------


def unroll(cell: nn.Module, x: Tensor, real: Tensor, state: Tensor, backward: bool = False) -> tuple[Tensor, Tensor]:
    """Take a cell along a batch of padded sentences, from the first token to the last, or `backward`.

    x [B, S, E], real [B, S] and the state before the first step, [K, B, D] -> (outputs [B, S, D], final state
    [K, B, D]). `cell(x[:, t], state)` is one step. The state stands still at padding, on whichever side it lies:
    the final one is that after the last real token, and backward the first step is at the last real token. An output
    is the h of the state after its step, and zero at padding.
    """
    times = range(x.size(1))
    outputs: dict[int, Tensor] = {}
    for t in reversed(times) if backward else times:
        state = torch.where(real[:, t, None], cell(x[:, t], state), state)  # [K, B, D]
        outputs[t] = state[0]
    hidden = torch.stack([outputs[t] for t in times], dim=1)  # [B, S, D]
    return hidden.masked_fill(~real[..., None], 0.0), state


class Recurrent(nn.Module):
    """Layers of cells, each reading what the one below it wrote: torch.nn's RNN, LSTM or GRU with `batch_first`.

    `layers[l]` is an nn.ModuleList of one cell, or with `bidirectional` of two: forward, backward. As in torch,
    `dropout` acts between layers, on neither the first input nor the last output.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        """`cell` is a key of CELLS, `hidden_size` the width D of one direction."""
        super().__init__()
        directions = 2 if bidirectional else 1
        sizes = [input_size] + [directions * hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(
            nn.ModuleList(CELLS[cell](size, hidden_size) for _ in range(directions)) for size in sizes
        )
        self.dropout = nn.Dropout(dropout)
        self.state_shape = num_layers, CELLS[cell].num_states, directions * hidden_size

    def forward(self, x: Tensor, real: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x [B, S, E], real [B, S] -> (outputs [B, S, N * D], final state [L, K, B, N * D]), by `unroll`.

        The two directions lie side by side, forward first. `state`, of the final state's shape, comes before the
        first step; None stands for zeros.
        """
        if state is None:
            layers, states, width = self.state_shape
            state = x.new_zeros(layers, states, x.size(0), width)  # [L, K, B, N * D]
        last = []
        for number, (cells, first) in enumerate(zip(self.layers, state, strict=True)):
            x = self.dropout(x) if number else x
            starts = first.chunk(len(cells), dim=-1)  # [K, B, D] each
            runs = [unroll(cells[n], x, real, start, backward=n == 1) for n, start in enumerate(starts)]
            x = torch.cat([outputs for outputs, _ in runs], dim=-1)  # [B, S, N * D]
            last.append(torch.cat([end for _, end in runs], dim=-1))  # [K, B, N * D]
        return x, torch.stack(last)

    def torch_names(self) -> dict[str, str]:
        """Every parameter's name here and in torch.nn's RNN, LSTM or GRU: "layers.1.0.bias_hh": "bias_hh_l1" ..."""
        suffixes = ("", "_reverse")
        return {
            f"layers.{layer}.{direction}.{name}": f"{name}_l{layer}{suffixes[direction]}"
            for layer, cells in enumerate(self.layers)
            for direction, cell in enumerate(cells)
            for name, _ in cell.named_parameters()
        }


# --- attention --------------------------------------------------------------------------------------------------------


class DotScore(nn.Module):
    """The score h · m of a decoder state h and an encoder output m (Luong et al., section 3.1, "dot")."""

    def __init__(self, hidden_size: int) -> None:
        """The score has no parameters, but is made as the other two are."""
        super().__init__()

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """query [B, T, D], memory [B, S, D] -> the score of every pair, [B, T, S]."""
        return query @ memory.transpose(1, 2)  # [B, T, S]


class BilinearScore(nn.Module):
    """The score hᵀ W m (Luong et al., section 3.1, "general"). `weight` is an nn.Linear without bias, from D to D."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """query [B, T, D], memory [B, S, D] -> [B, T, S]; W is `weight.weight`, applied to the memory."""
        return query @ self.weight(memory).transpose(1, 2)  # [B, T, S]


class PerceptronScore(nn.Module):
    """The score v · tanh(W h + U m) (Bahdanau et al., appendix A.1.2).

    `query` (W) and `memory` (U) are nn.Linear maps from D to D, `output` (v) one from D to 1, all without bias.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.memory = nn.Linear(hidden_size, hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, 1, bias=False)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """query [B, T, D], memory [B, S, D] -> [B, T, S]."""
        inside = self.query(query)[:, :, None] + self.memory(memory)[:, None]  # [B, T, S, D]
        return self.output(torch.tanh(inside)).squeeze(-1)  # [B, T, S]


SCORES: dict[str, type[nn.Module]] = {"dot": DotScore, "bilinear": BilinearScore, "perceptron": PerceptronScore}


def masked_context(scores: Tensor, memory: Tensor, mask: Tensor, focus: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A softmax over the source makes weights of the scores, and the weights mix the memory.

    scores [B, T, S], memory [B, S, D]; `mask` is boolean, broadcasts to [B, T, S], and where it is False the weight
    is exactly zero. Returns (context [B, T, D], weights [B, T, S]). `focus` [B, T, S] multiplies the weights before
    they mix; without it they sum to one over the source.

    A masked score becomes the smallest finite number of its dtype and never -inf: where all are masked the weights
    are even, and not NaN. The softmax is computed in float32 at least and rounded to the dtype of the scores.
    """
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    wide = torch.promote_types(scores.dtype, torch.float32)
    weights = F.softmax(scores, dim=-1, dtype=wide)  # [B, T, S]
    if focus is not None:
        weights = weights * focus
    weights = weights.to(scores.dtype)
    return weights @ memory, weights


def distance_from(centre: Tensor, real: Tensor) -> Tensor:
    """How far each source token is from the centre of each window: centre [B, T], real [B, S] -> [B, T, S].

    Tokens are numbered from 1, as in the paper, and padding is not counted; those before the centre are less than 0.
    """
    return real.cumsum(dim=-1)[:, None] - centre[..., None]  # [B, T, S]


class GlobalAttention(nn.Module):
    """Attention to the whole source (Luong et al., section 3.1). `score` is one of SCORES."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.score = SCORES[config.attention](config.hidden_size)
        self.window_size = config.window_size

    def forward(self, query: Tensor, memory: Tensor, real: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        """query [B, T, D], memory [B, S, D], real [B, S] -> (context [B, T, D], weights [B, T, S]).

        `start` queries came before these; only MonotonicAttention wants to know.
        """
        return masked_context(self.score(query, memory), memory, real[:, None])


class MonotonicAttention(GlobalAttention):
    """Local attention "local-m" (Luong et al., section 3.2): target token t looks around source token t.

    It sees what is at most `window_size` tokens away. Beyond the end of the source, where the paper's window would
    be empty, the centre stays at the last token.
    """

    def forward(self, query: Tensor, memory: Tensor, real: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        """As in GlobalAttention; the first query here is that of target token `start` + 1."""
        t = torch.arange(start + 1, start + 1 + query.size(1), device=query.device)  # [T]
        centre = torch.minimum(t, real.sum(dim=-1, keepdim=True))  # [B, T]
        near = distance_from(centre, real).abs() <= self.window_size  # [B, T, S]
        return masked_context(self.score(query, memory), memory, real[:, None] & near)


class PredictiveAttention(GlobalAttention):
    """Local attention "local-p" (Luong et al., section 3.2): each query says where it looks.

    The centre is p = length · σ(v · tanh(W h)) (equation 9), W `inner` and v `centre`, nn.Linear maps from D to D
    and from D to 1 without bias. A Gaussian around it, of standard deviation `window_size` / 2, multiplies the
    weights (equation 10), which then sum to less than one; through it p is learnt.
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__(config)
        self.inner = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.centre = nn.Linear(config.hidden_size, 1, bias=False)

    def forward(self, query: Tensor, memory: Tensor, real: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        """As in GlobalAttention; `start` is not used."""
        inside = self.centre(torch.tanh(self.inner(query))).squeeze(-1)  # [B, T]
        # bfloat16 cannot tell token 257 from token 256.
        wide = torch.promote_types(inside.dtype, torch.float32)
        centre = real.sum(dim=-1, keepdim=True) * torch.sigmoid(inside.to(wide))  # [B, T]
        distance = distance_from(centre, real)  # [B, T, S]
        gaussian = torch.exp(-2 * (distance / self.window_size) ** 2)
        near = distance.abs() <= self.window_size
        return masked_context(self.score(query, memory), memory, real[:, None] & near, gaussian)


WINDOWS: dict[str, type[GlobalAttention]] = {
    "global": GlobalAttention,
    "monotonic": MonotonicAttention,
    "predictive": PredictiveAttention,
}


def hard_context(weights: Tensor, memory: Tensor, sample: bool = True) -> tuple[Tensor, Tensor]:
    """The one source position that each query looks at (Xu et al., section 4.1).

    weights [B, T, S] that sum to one, memory [B, S, D] -> (context [B, T, D], log-probability [B, T] of the
    position). It is drawn with the weights as probabilities, or is the likeliest one if not `sample`. The choice
    has no gradient; that of the log-probability is what `reinforce_loss` needs.
    """
    if sample:
        chosen = torch.multinomial(weights.flatten(0, 1), 1).view(*weights.shape[:2], 1)  # [B, T, 1]
    else:
        chosen = weights.argmax(dim=-1, keepdim=True)  # [B, T, 1]
    context = memory.gather(1, chosen.expand(-1, -1, memory.size(-1)))  # [B, T, D]
    return context, weights.gather(-1, chosen).squeeze(-1).log()


# --- the model --------------------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    """Embeddings, dropout and a Recurrent network in one direction or two."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        width = config.hidden_size // 2 if config.bidirectional else config.hidden_size
        self.recurrent = Recurrent(
            config.cell, config.embedding_size, width, config.num_layers, config.bidirectional, config.dropout
        )

    def forward(self, source: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Source ids [B, S], real [B, S] -> (memory [B, S, D], final state c [L, K, B, D])."""
        return self.recurrent(self.dropout(self.tokens(source)), real)


class Decoded(NamedTuple):
    """What the decoder makes of T target tokens; `alignment` is None without attention, `log_chosen` if it is soft."""

    logits: Tensor  # [B, T, V]
    state: Tensor  # [L, K, B, D], with which the decoder goes on
    alignment: Tensor | None  # [B, T, S], the weights over the source
    log_chosen: Tensor | None  # [B, T], the log-probability of the positions that were looked at


class Decoder(nn.Module):
    """Embeddings, a Recurrent network, attention, and logits over the vocabulary.

    `tokens` is an nn.Embedding, `recurrent` a Recurrent in one direction, `attention` one of WINDOWS, or None for a
    decoder that sees the source in its first state only. `output` is an nn.Linear from D to V, and so, from 2D to D
    and without bias, is `combine`, which comes with attention.
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.tokens = nn.Embedding(config.vocab_size, config.embedding_size)
        self.recurrent = Recurrent(config.cell, config.embedding_size, width, config.num_layers, dropout=config.dropout)
        self.attention = None
        if config.attention != "none":
            self.attention = WINDOWS[config.window](config)
            self.combine = nn.Linear(2 * width, width, bias=False)
        self.output = nn.Linear(width, config.vocab_size)
        self.dropout = nn.Dropout(config.dropout)
        self.hard = config.hard
        self.pad_token_id = config.pad_token_id

    def attend(self, query: Tensor, memory: Tensor, real: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Ask the attention: query [B, T, D] -> context [B, T, D], alignment [B, T, S], log-probability [B, T].

        The last is that of the position looked at, None where attention is soft. Hard attention samples it in
        training and takes the likeliest in eval mode.
        """
        context, alignment = self.attention(query, memory, real, start)  # [B, T, D], [B, T, S]
        if not self.hard:
            return context, alignment, None
        context, log_chosen = hard_context(alignment, memory, sample=self.training)
        return context, alignment, log_chosen

    def forward(self, target: Tensor, state: Tensor, memory: Tensor, real: Tensor, start: int = 0) -> Decoded:
        """Read target ids [B, T] from `state` [L, K, B, D] on, looking at memory [B, S, D] where real [B, S].

        Dropout follows the embeddings and precedes `output`. The recurrent outputs h are what `attend` is asked
        with, and logits = `output`(tanh(`combine`([context; h]))) (Luong et al., equations 5 and 6), or `output`(h)
        where `attention` is None. The logits at position i depend on targets 0 ... i alone; the state stands still
        at padding. `start` is the number of target tokens that led to `state`.
        """
        x = self.dropout(self.tokens(target))  # [B, T, E]
        hidden, state = self.recurrent(x, target != self.pad_token_id, state)  # [B, T, D]
        alignment = log_chosen = None
        if self.attention is not None:
            context, alignment, log_chosen = self.attend(hidden, memory, real, start)
            hidden = torch.tanh(self.combine(torch.cat([context, hidden], dim=-1)))  # [B, T, D]
        return Decoded(self.output(self.dropout(hidden)), state, alignment, log_chosen)


def masked_nll(logits: Tensor, labels: Tensor, pad_id: int = 0) -> Tensor:
    """The negative log-likelihood of the labels, averaged over those that are not padding.

    logits [B, T, V], labels [B, T] -> a scalar, NaN if all labels are padding (as torch has it). Every real token
    counts alike, in a long sentence as in a short one.
    """
    log_probs = F.log_softmax(logits, dim=-1)  # [B, T, V]
    nll = -log_probs.gather(-1, labels[..., None]).squeeze(-1)  # [B, T]
    real = labels != pad_id  # [B, T]
    return (nll * real).sum() / real.sum()


def reinforce_loss(nll: Tensor, log_chosen: Tensor, real: Tensor, baseline: Tensor | float) -> Tensor:
    """Hard attention's loss: the mean of `nll` where `real`, with a gradient that also moves the choices.

    nll, log_chosen and real [B, T] -> a scalar. A sampled position has no gradient, but the expected loss has, and

        ∇nll + (nll - baseline) ∇log_chosen

    is on average just that (REINFORCE; Xu et al., section 4.1). Each token has its own choice to answer for, as
    here no choice has an effect on later tokens. The baseline must not depend on these choices: it leaves the mean
    of the gradient as it is and makes its variance small.
    """
    advantage = (nll - baseline).detach()
    score = log_chosen - log_chosen.detach()  # zero, but its gradient is that of log_chosen
    return ((nll + advantage * score) * real).sum() / real.sum()


@torch.no_grad()
def greedy_decode(model: nn.Module, source: Tensor, max_new_tokens: int) -> tuple[Tensor, Tensor | None]:
    """Write the likeliest token, read it, write the next: source ids [B, S] -> (new ids [B, T], alignment [B, T, S]).

    T is at most `max_new_tokens` and may be 0; the ids are without bos. A sentence ends with its `eos_token_id` and is
    padded from there; the loop ends with the last sentence. The alignment is None without attention, and its rows at
    padding mean nothing. Dropout is as the model's mode has it, so call `eval()` first.

    `model` has `config`, `encode` and `decoder`, as Seq2Seq has; the decoder reads one token at a time, [B, 1].
    """
    memory, state, real = model.encode(source)
    token = source.new_full((source.size(0),), model.config.bos_token_id)  # [B]
    finished = torch.zeros_like(token, dtype=torch.bool)  # [B]
    written, alignment = [source[:, :0]], []
    for start in range(max_new_tokens):
        step = model.decoder(token[:, None], state, memory, real, start)
        state = step.state
        token = step.logits[:, -1].argmax(dim=-1).masked_fill(finished, model.config.pad_token_id)  # [B]
        written.append(token[:, None])
        alignment += [] if step.alignment is None else [step.alignment]
        finished |= token == model.config.eos_token_id
        if finished.all():
            break
    return torch.cat(written, dim=1), torch.cat(alignment, dim=1) if alignment else None


class Seq2Seq(nn.Module):
    """Encoder, bridge and decoder.

    Parameters start as torch.nn has them, drawn from torch's global generator, which the caller seeds. With hard
    attention the buffer `baseline` follows the loss of a token in training (Xu et al., section 4.1), from that of a
    model that knows nothing, log V.
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        if config.hard:
            self.register_buffer("baseline", torch.tensor(math.log(config.vocab_size)))

    def check(self, ids: Tensor) -> None:
        """ValueError unless ids are [B, T] with at least one token a row, all of the vocabulary."""
        if ids.dim() != 2 or ids.size(1) == 0:
            raise ValueError(f"token ids of shape {list(ids.shape)}: expected [B, T] with T of at least 1")
        check_ids(ids, self.config.vocab_size)

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Source ids [B, S] -> (memory [B, S, D], first state of the decoder [L, K, B, D], real [B, S]).

        The bridge is h0 = c: layer by layer the decoder starts with the encoder's final state, the states of two
        directions side by side. ValueError, by the method `check`, for what is no batch of ids.
        """
        self.check(source)
        real = source != self.config.pad_token_id  # [B, S]
        memory, state = self.encoder(source, real)
        return memory, state, real

    def teach(self, source: Tensor, target: Tensor) -> Decoded:
        """Encode the source, and let the decoder read the true target, whatever it would have written itself."""
        memory, state, real = self.encode(source)
        self.check(target)
        if source.size(0) != target.size(0):
            raise ValueError(f"source has batch {source.size(0)}, target {target.size(0)}: expected equal batches")
        return self.decoder(target, state, memory, real)

    def forward(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """Source ids [B, S], target ids [B, T] -> (logits [B, T, V], alignment [B, T, S]).

        Both are padded with `pad_token_id`; `target` starts with `bos_token_id`. The logits at position i are about
        the token at i + 1, and row i of the alignment says where the decoder looked for it; None without attention.
        """
        decoded = self.teach(source, target)
        return decoded.logits, decoded.alignment

    def compare(self, decoded: Decoded, labels: Tensor) -> Tensor:
        """The loss of what was decoded against the labels [B, T]: `masked_nll`, a scalar.

        In training with hard attention it is `reinforce_loss`, which has the same value.
        """
        loss = masked_nll(decoded.logits, labels, self.config.pad_token_id)
        if not (self.config.hard and self.training):
            return loss
        nll = F.cross_entropy(decoded.logits.transpose(1, 2), labels, reduction="none")  # [B, T]
        surrogate = reinforce_loss(nll, decoded.log_chosen, labels != self.config.pad_token_id, self.baseline)
        self.baseline.lerp_(loss.detach().to(self.baseline.dtype), 0.1)
        return surrogate

    def loss(self, source: Tensor, target: Tensor) -> Tensor:
        """What training makes small, by teacher forcing: source ids [B, S], whole targets [B, T] -> a scalar.

        A target runs from `bos_token_id` to `eos_token_id`. The decoder reads it without its last token (`teach`)
        and is compared with it without its first (`compare`).
        """
        return self.compare(self.teach(source, target[:, :-1]), target[:, 1:])

    def generate(self, source: Tensor, max_new_tokens: int) -> Tensor:
        """Write by `greedy_decode`, which has the alignment too: source ids [B, S] -> new ids [B, T]."""
        return greedy_decode(self, source, max_new_tokens)[0]
