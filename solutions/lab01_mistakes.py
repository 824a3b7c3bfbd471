"""Lab 1: mistakes that students make, the hint each deserves, and other right ways. See `autograder/mistakes.py`.

A hint names the misunderstanding and where to look. It never shows code.
"""

from autograder.mistakes import Mistake, Proofs

EXERCISES = {
    "elman": Proofs(
        observe="""
cell = check.new(RNNCell, 4, 4)
check.fill(cell)
x, hidden = check.formula("x", (3, 4)) * 4, check.formula("hidden", (3, 4)) * 2
out = check.observe(cell, x, hidden)
deep = check.observe(cell, x, hidden[None])
gradients = check.observe(check.grads, cell, x, hidden, weight=check.formula("direction", (3, 4)))
purity = check.observe(check.pure, cell, x, hidden)
""",
        alternative='''
class RNNCell(Cell):
    """The same with matrix products written out."""

    def forward(self, x, hidden):
        total = x @ self.weight_ih.T + hidden @ self.weight_hh.T + (self.bias_ih + self.bias_hh)
        return total.tanh()
''',
        mistakes={
            "sigmoid": Mistake(
                "your state lies between 0 and 1 only. Elman's formula here bends with a tanh, which is 0 at 0 and "
                "has negative values too.",
                (("torch.tanh(", "torch.sigmoid("),),
            ),
            "no-tanh": Mistake(
                "nothing bends: a network of linear steps alone is no more than one linear step. What surrounds the "
                "sum in the formula?",
                (("torch.tanh(", "("),),
            ),
            "one-bias": Mistake(
                "one of the two biases is missing: the formula has one for the input and one for the state.",
                (("hidden, self.weight_hh, self.bias_hh", "hidden, self.weight_hh"),),
            ),
            "state-ignored": Mistake(
                "the new state does not depend on the old one, so this network has no memory.",
                ((" + F.linear(hidden, self.weight_hh, self.bias_hh)", " + self.bias_hh"),),
            ),
            "matrix-transposed": Mistake(
                "a matrix is applied the wrong way round. Its rows belong to the numbers of the result, its columns "
                "to those that it reads.",
                (("F.linear(hidden, self.weight_hh, self.bias_hh)", "(hidden @ self.weight_hh + self.bias_hh)"),),
            ),
            "state-detached": Mistake(
                "the values are right, but no gradient passes through the old state, so nothing can be learnt from "
                "what was read earlier. Where is the state cut off from its history (detached, copied, made of plain "
                "numbers)?",
                (("F.linear(hidden,", "F.linear(hidden.detach(),"),),
            ),
        },
    ),
    "gru": Proofs(
        observe="""
cell = check.new(GRUCell, 4, 4)
check.fill(cell)
x, hidden = check.formula("x", (3, 4)) * 4, check.formula("hidden", (3, 4)) * 2
out = check.observe(cell, x, hidden)
deep = check.observe(cell, x, hidden[None])
gradients = check.observe(check.grads, cell, x, hidden, weight=check.formula("direction", (3, 4)))
purity = check.observe(check.pure, cell, x, hidden)
""",
        alternative='''
class GRUCell(Cell):
    """The same with the rows of each gate cut out by hand, and the new state as a step towards the candidate."""

    num_gates = 3

    def forward(self, x, hidden):
        size = self.hidden_size

        def rows(gate):
            cut = slice(gate * size, (gate + 1) * size)
            from_input = x @ self.weight_ih[cut].T + self.bias_ih[cut]
            return from_input, hidden @ self.weight_hh[cut].T + self.bias_hh[cut]

        reset = sum(rows(0)).sigmoid()
        update = sum(rows(1)).sigmoid()
        seen, remembered = rows(2)
        candidate = (seen + reset * remembered).tanh()
        return candidate + update * (hidden - candidate)
''',
        mistakes={
            "update-gate-swapped": Mistake(
                "the update gate works the wrong way round: where z is 1 the old state stays, where it is 0 the "
                "candidate takes its place.",
                (("(1 - z) * n + z * hidden", "z * n + (1 - z) * hidden"),),
            ),
            "gates-swapped": Mistake(
                "the reset and the update gate have changed places. In which order are their rows stacked?",
                (
                    ("        r_x, z_x, n_x =", "        z_x, r_x, n_x ="),
                    ("        r_h, z_h, n_h =", "        z_h, r_h, n_h ="),
                ),
            ),
            "reset-before-the-matrix": Mistake(
                "the reset gate multiplies the old state before the matrix does, as in the paper. In this lab's "
                "formula, as in PyTorch, it multiplies what matrix and bias have made of the state.",
                (
                    (
                        "        n = torch.tanh(n_x + r * n_h)",
                        "        u, d = self.weight_hh.chunk(3)[2], self.bias_hh.chunk(3)[2]\n"
                        "        n = torch.tanh(n_x + F.linear(r * hidden, u, d))",
                    ),
                ),
            ),
            "no-reset": Mistake(
                "the reset gate has no effect: the candidate must see only that part of the old state which r lets "
                "through.",
                (("n_x + r * n_h", "n_x + n_h"),),
            ),
            "reset-covers-the-input": Mistake(
                "the reset gate covers the input too. It multiplies only what comes from the old state.",
                (("torch.tanh(n_x + r * n_h)", "torch.tanh(r * (n_x + n_h))"),),
            ),
            "candidate-sigmoid": Mistake(
                "your candidate lies between 0 and 1: it is no gate. Which function does the formula put around it?",
                (("n = torch.tanh(", "n = torch.sigmoid("),),
            ),
            "gates-cut-along-the-batch": Mistake(
                "the blocks of the gates are cut along a fixed axis. They lie along the last one, and a state may "
                "have more axes in front than you counted.",
                (("self.bias_hh).chunk(3, dim=-1)", "self.bias_hh).chunk(3, dim=1)"),),
            ),
            "state-detached": Mistake(
                "the values are right, but part of the gradient through the old state is missing. Where is the state "
                "cut off from its history (detached, copied, made of plain numbers)?",
                (("+ z * hidden", "+ z * hidden.detach()"),),
            ),
        },
    ),
    "encoder": Proofs(
        observe="""
cell = check.new(BinaryCell)
x = check.formula("x", (3, 5, 2)) * 3
real = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [False] + [True] * 3 + [False]])
start = check.formula("start", (1, 3, 2)) * 2
run = check.observe(unroll, cell, x, real, start)
back = check.observe(unroll, cell, x, real, start, True)
gradients = check.observe(check.grads, unroll, cell, x, real, start, pick=0, weight=check.formula("d", (3, 5, 2)))
purity = check.observe(check.pure, unroll, cell, x, real, start)
two = check.observe(unroll, check.new(LSTMCell, 2, 2), x, real, torch.zeros(2, 3, 2))
""",
        alternative='''
def unroll(cell, x, real, state, backward=False):
    """The same with a mask of numbers, and the backward run as a forward run over the reversed sentence."""
    if backward:
        outputs, state = unroll(cell, x.flip(1), real.flip(1), state)
        return outputs.flip(1), state
    outputs = []
    for token, there in zip(x.unbind(1), real.to(x.dtype).unbind(1)):
        state = state + there[:, None] * (cell(token, state) - state)
        outputs.append(state[0] * there[:, None])
    return torch.stack(outputs, 1), state
''',
        mistakes={
            "final-state-at-padding": Mistake(
                "your state goes on at padding, so a short sentence ends in what the cell made of the padding. It has "
                "to stand still there; the final state is that after the last real token.",
                (("torch.where(real[:, t, None], cell(x[:, t], state), state)", "cell(x[:, t], state)"),),
            ),
            "state-zero-at-padding": Mistake(
                "your state becomes zero at padding. It has to stay what it was after the last real token.",
                (("cell(x[:, t], state), state)", "cell(x[:, t], state), torch.zeros_like(state))"),),
            ),
            "outputs-at-padding": Mistake(
                "your outputs are not zero at padding.",
                (("hidden.masked_fill(~real[..., None], 0.0)", "hidden"),),
            ),
            "output-before-the-step": Mistake(
                "your outputs are late by one: the output at a token is the state after the step that read it.",
                (
                    (
                        "        state = torch.where(",
                        "        outputs[t] = state[0]\n        state = torch.where(",
                    ),
                    ("  # [K, B, D]\n        outputs[t] = state[0]\n", "  # [K, B, D]\n"),
                ),
            ),
            "backward-outputs-not-put-back": Mistake(
                "backward, your outputs stand in the order in which they were made. Each belongs at the token that "
                "was read in its step.",
                (("[outputs[t] for t in times]", "list(outputs.values())"),),
            ),
            "backward-ignored": Mistake(
                "your run is the same whether backward is True or False.",
                (("reversed(times) if backward else times", "times"),),
            ),
            "first-state-ignored": Mistake(
                "your run begins with zeros, whatever state it is given.",
                (
                    (
                        "    times = range(x.size(1))\n",
                        "    times = range(x.size(1))\n    state = torch.zeros_like(state)\n",
                    ),
                ),
            ),
            "state-detached": Mistake(
                "the values are right, but gradients reach only the token of the same step: from one step to the next "
                "the state is cut off from its history (detached, copied, made of plain numbers).",
                (("cell(x[:, t], state), state)", "cell(x[:, t], state.detach()), state.detach())"),),
            ),
        },
    ),
    "loss": Proofs(
        observe="""
logits = check.formula("logits", (3, 4, 6)) * 5
labels = torch.tensor([[1, 2, 5, 3], [4, 1, 0, 0], [2, 0, 0, 0]])
loss = check.observe(masked_nll, logits, labels)
other = check.observe(masked_nll, logits, labels, 2)
large = check.observe(masked_nll, 900 * logits, labels)
gradients = check.observe(check.grads, masked_nll, logits, labels)
purity = check.observe(check.pure, masked_nll, logits, labels)
""",
        alternative='''
def masked_nll(logits, labels, pad_id=0):
    """The same over the real tokens alone, with the softmax's denominator by logsumexp."""
    real = labels.ne(pad_id)
    scores, truth = logits[real], labels[real]
    return (scores.logsumexp(-1) - scores[torch.arange(len(truth)), truth]).mean()
''',
        mistakes={
            "padding-counted": Mistake(
                "padding is counted as if it were to be learnt. It belongs neither to the sum nor to the number of "
                "tokens.",
                (("(nll * real).sum() / real.sum()", "nll.mean()"),),
            ),
            "divided-by-all-positions": Mistake(
                "the sum leaves padding out, but you divide by the number of all positions: a batch with much padding "
                "would look easy. N counts real tokens.",
                (("/ real.sum()", "/ real.numel()"),),
            ),
            "mean-of-means": Mistake(
                "you average each sentence first, so a token of a short sentence weighs more than one of a long "
                "sentence. All real tokens of the batch count alike.",
                (("(nll * real).sum() / real.sum()", "((nll * real).sum(-1) / real.sum(-1)).mean()"),),
            ),
            "sum": Mistake(
                "you add up the tokens' losses. A mean is wanted, or the loss would grow with the batch.",
                ((" / real.sum()", ""),),
            ),
            "sign": Mistake(
                "your loss has the wrong sign: what training makes small must be large where the truth is unlikely.",
                (("nll = -log_probs", "nll = log_probs"),),
            ),
            "no-log": Mistake(
                "the logarithm is missing. What a token costs is the negative logarithm of its probability.",
                (("F.log_softmax(", "F.softmax("),),
            ),
            "softmax-over-time": Mistake(
                "the softmax runs along the wrong axis: at each position the probabilities of all tokens of the "
                "vocabulary sum to one.",
                (("F.log_softmax(logits, dim=-1)", "F.log_softmax(logits, dim=1)"),),
            ),
            "log-of-softmax": Mistake(
                "for large logits your loss is not finite: a probability that is rounded to 0 has no logarithm. "
                "Compute logarithm and softmax in one step.",
                (("F.log_softmax(logits, dim=-1)", "F.softmax(logits, dim=-1).log()"),),
            ),
            "padding-is-always-zero": Mistake(
                "you take 0 for padding whatever pad_id says.",
                (("labels != pad_id", "labels != 0"),),
            ),
        },
    ),
    "scores": Proofs(
        observe="""
query, memory = check.formula("query", (2, 3, 3)) * 3, check.formula("memory", (2, 3, 3)) * 2
long = check.formula("long", (2, 4, 3)) * 2
dot, bilinear, perceptron = check.new(DotScore, 3), check.new(BilinearScore, 3), check.new(PerceptronScore, 3)
check.fill(bilinear)
check.fill(perceptron)
dots = check.observe(dot, query, memory)
dots_long = check.observe(dot, query, long)
bilinears = check.observe(bilinear, query, memory)
bilinears_long = check.observe(bilinear, query, long)
perceptrons = check.observe(perceptron, query, memory)
perceptrons_long = check.observe(perceptron, query, long)
""",
        alternative='''
class DotScore(nn.Module):
    """The same with einsum."""

    def __init__(self, hidden_size):
        super().__init__()

    def forward(self, query, memory):
        return torch.einsum("btd,bsd->bts", query, memory)


class BilinearScore(nn.Module):
    """The same with the transposed matrix on the query."""

    def __init__(self, hidden_size):
        super().__init__()
        self.weight = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, query, memory):
        return torch.bmm(query @ self.weight.weight, memory.mT)


class PerceptronScore(nn.Module):
    """The same, one memory at a time."""

    def __init__(self, hidden_size):
        super().__init__()
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.memory = nn.Linear(hidden_size, hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, 1, bias=False)

    def forward(self, query, memory):
        asked = self.query(query)
        columns = [self.output(torch.tanh(asked + self.memory(one)[:, None])) for one in memory.unbind(1)]
        return torch.cat(columns, dim=-1)
''',
        mistakes={
            "dot-rows-are-memory": Mistake(
                "your dot scores have a row for each memory. A row for each query is wanted, and a column for each "
                "memory.",
                (("query @ memory.transpose(1, 2)", "memory @ query.transpose(1, 2)"),),
            ),
            "dot-scaled": Mistake(
                "your dot scores are divided by something. Luong's are not: the root of the width came with the "
                "Transformer.",
                (
                    (
                        "return query @ memory.transpose(1, 2)",
                        "return query @ memory.transpose(1, 2) / query.size(-1) ** 0.5",
                    ),
                ),
            ),
            "bilinear-on-the-query": Mistake(
                "the bilinear matrix acts on the query. In the formula it stands before m; on the query's side it "
                "would have to be transposed.",
                (
                    (
                        "return query @ self.weight(memory).transpose(1, 2)",
                        "return self.weight(query) @ memory.transpose(1, 2)",
                    ),
                ),
            ),
            "bilinear-without-its-matrix": Mistake(
                "your bilinear score is a dot product: its matrix has no effect.",
                (("self.weight(memory).transpose(1, 2)", "memory.transpose(1, 2)  # W"),),
            ),
            "perceptron-without-tanh": Mistake(
                "nothing bends in your perceptron. Without it the query adds the same to a whole row, which the "
                "softmax forgets: where to look would not depend on the query at all.",
                (("torch.tanh(inside)", "inside"),),
            ),
            "perceptron-maps-swapped": Mistake(
                "in your perceptron the maps of query and memory have changed places.",
                (
                    (
                        "self.query(query)[:, :, None] + self.memory(memory)[:, None]",
                        "self.memory(query)[:, :, None] + self.query(memory)[:, None]",
                    ),
                ),
            ),
            "perceptron-rows-are-memory": Mistake(
                "your perceptron's scores have a row for each memory. A row for each query is wanted: which axis do "
                "you open for broadcasting?",
                (
                    (
                        "self.query(query)[:, :, None] + self.memory(memory)[:, None]",
                        "self.query(query)[:, None] + self.memory(memory)[:, :, None]",
                    ),
                ),
            ),
            "perceptron-bends-twice": Mistake(
                "your perceptron bends query and memory before they meet, each alone. They are added first.",
                (
                    (
                        "self.query(query)[:, :, None] + self.memory(memory)[:, None]",
                        "torch.tanh(self.query(query))[:, :, None] + torch.tanh(self.memory(memory))[:, None]",
                    ),
                    ("torch.tanh(inside)", "inside"),
                ),
            ),
        },
    ),
    "context": Proofs(
        observe="""
scores, memory = check.formula("scores", (2, 4, 4)) * 4, check.formula("memory", (2, 4, 3)) * 2
mask = torch.tensor([[[True] * 4], [[True] * 2 + [False] * 2]])
focus = check.formula("focus", (2, 4, 4)).abs()
context = check.observe(masked_context, scores, memory, mask, pick=0)
weights = check.observe(masked_context, scores, memory, mask, pick=1)
focused = check.observe(masked_context, scores, memory, mask, focus)
blind = check.observe(masked_context, scores, memory, ~mask)
gradients = check.observe(check.grads, masked_context, scores, memory, mask, pick=0)
purity = check.observe(check.pure, masked_context, scores, memory, mask)
""",
        alternative='''
def masked_context(scores, memory, mask, focus=None):
    """The same with the softmax written out, and the mixture as a sum."""
    low = torch.full_like(scores, torch.finfo(scores.dtype).min)
    scores = torch.where(mask, scores, low)
    raised = (scores - scores.amax(-1, keepdim=True)).exp()
    weights = raised / raised.sum(-1, keepdim=True)
    weights = weights if focus is None else weights * focus
    return (weights[..., None] * memory[:, None]).sum(2), weights
''',
        mistakes={
            "softmax-over-targets": Mistake(
                "the softmax runs over the decoder's axis. Each target token, a row, shares one unit of weight among "
                "the tokens of the source.",
                (("F.softmax(scores, dim=-1", "F.softmax(scores, dim=1"),),
            ),
            "mask-inverted": Mistake(
                "your mask hides the tokens and shows the padding. Here True means that a token may be looked at.",
                (("masked_fill(~mask", "masked_fill(mask"),),
            ),
            "mask-after-softmax": Mistake(
                "the mask acts on the weights, after the softmax. What padding would have got is then lost, and the "
                "row no longer sums to one. Mask the scores.",
                (
                    ("    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)\n", ""),
                    ("    if focus is not None:", "    weights = weights * mask\n    if focus is not None:"),
                ),
            ),
            "masked-scores-zero": Mistake(
                "masked scores become 0, and the softmax gives weight to a score of 0: other scores may well be "
                "negative. What score has no weight?",
                (("torch.finfo(scores.dtype).min", "0.0"),),
            ),
            "minus-infinity": Mistake(
                "where everything is masked your weights are NaN: a softmax of nothing but minus infinity has no "
                "value. Take the smallest finite number.",
                (("torch.finfo(scores.dtype).min", "-math.inf"),),
            ),
            "no-mask": Mistake(
                "padding gets weight: the mask has no effect.",
                (("    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)\n", ""),),
            ),
            "focus-on-the-scores": Mistake(
                "focus multiplies the scores, before the softmax. It multiplies the weights.",
                (
                    ("    if focus is not None:\n        weights = weights * focus\n", ""),
                    (
                        "    wide = ",
                        "    if focus is not None:\n        scores = scores * focus\n    wide = ",
                    ),
                ),
            ),
            "focus-ignored": Mistake(
                "focus has no effect.",
                (("    if focus is not None:\n        weights = weights * focus\n", ""),),
            ),
        },
    ),
    "decoder": Proofs(
        observe="""
sizes = {"vocab_size": 9, "embedding_size": 4, "hidden_size": 4, "num_layers": 1, "cell": "lstm"}
target, state = torch.tensor([[1, 5, 6, 7], [1, 8, 3, 0]]), check.formula("state", (1, 2, 2, 4)) * 2
memory, real = check.formula("memory", (2, 4, 4)) * 3, torch.tensor([[True] * 4, [True] * 2 + [False] * 2])
plain = check.new(Decoder, Seq2SeqConfig(**sizes, attention="none"))
check.fill(plain)
without = check.observe(plain, target, state, memory, real)
direction = check.formula("direction", (2, 4, 9))
decoder = check.new(Decoder, Seq2SeqConfig(**sizes, attention="bilinear"))
check.fill(decoder)
logits = check.observe(decoder, target, state, memory, real, pick=0)
after = check.observe(decoder, target, state, memory, real, pick=1)
alignment = check.observe(decoder, target, state, memory, real, pick=2)
gradients = check.observe(check.grads, decoder, target, state, memory, real, pick=0, weight=direction)
""",
        alternative='''
class Decoder(nn.Module):
    """The same with the attention called directly, and the two cases apart."""

    def __init__(self, config):
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
        self.pad_token_id = config.pad_token_id

    def forward(self, target, state, memory, real, start=0):
        embedded = self.dropout(self.tokens(target))
        states, last = self.recurrent(embedded, target.ne(self.pad_token_id), state)
        if self.attention is None:
            return Decoded(self.output(self.dropout(states)), last, None, None)
        context, weights = self.attention(states, memory, real, start=start)
        of_context, of_state = self.combine.weight.chunk(2, dim=1)
        mixed = (context @ of_context.T + states @ of_state.T).tanh()
        return Decoded(self.output(self.dropout(mixed)), last, weights, None)
''',
        mistakes={
            "first-state-lost": Mistake(
                "your decoder begins with zeros: the state that it is given, all that it knows of the source without "
                "attention, has to reach the recurrent layers.",
                (("target != self.pad_token_id, state)", "target != self.pad_token_id)"),),
            ),
            "returns-the-first-state": Mistake(
                "you return the state that the decoder was given. It has to be the one after the last token, or the "
                "next step would begin at the beginning.",
                (("hidden, state = self.recurrent(", "hidden, _ = self.recurrent("),),
            ),
            "source-mask-on-the-target": Mistake(
                "the recurrent layers are told where the source is real, but they read the target. Where is its "
                "padding?",
                (("target != self.pad_token_id, state)", "real, state)"),),
            ),
            "state-before-context": Mistake(
                "context and state are joined in the wrong order: the context comes first.",
                (("torch.cat([context, hidden], dim=-1)", "torch.cat([hidden, context], dim=-1)"),),
            ),
            "no-tanh": Mistake(
                "the tanh around the combination of context and state is missing (equation 5).",
                (
                    (
                        "torch.tanh(self.combine(torch.cat([context, hidden], dim=-1)))",
                        "self.combine(torch.cat([context, hidden], dim=-1))",
                    ),
                ),
            ),
            "context-alone": Mistake(
                "your logits know the context, but not the decoder's own state, which knows what was written so far: "
                "both are joined.",
                (("torch.cat([context, hidden], dim=-1)", "torch.cat([context, torch.zeros_like(hidden)], dim=-1)"),),
            ),
            "attention-without-effect": Mistake(
                "your logits do not depend on the context: the decoder looks at the source and forgets what it saw.",
                (
                    (
                        "            hidden = torch.tanh(self.combine(torch.cat([context, hidden], dim=-1)))",
                        "            torch.tanh(self.combine(torch.cat([context, hidden], dim=-1)))",
                    ),
                ),
            ),
        },
    ),
    "greedy": Proofs(
        observe="""
clock, source = check.new(Clock), torch.tensor([[3], [1], [6], [5]])
ids = check.observe(greedy_decode, clock, source, 8, pick=0)
alignment = check.observe(greedy_decode, clock, source, 8, pick=1)
both = check.observe(greedy_decode, clock, torch.tensor([[1], [6]]), 8)
some = check.observe(greedy_decode, clock, source, 2, pick=0)
""",
        alternative='''
@torch.no_grad()
def greedy_decode(model, source, max_new_tokens):
    """The same with a tensor to write into, cut at the end."""
    config, (memory, state, real) = model.config, model.encode(source)
    ids = torch.full((len(source), max_new_tokens + 1), config.pad_token_id)
    ids[:, 0] = config.bos_token_id
    rows, alive, length = [], torch.ones(len(source)).bool(), 0
    while length < max_new_tokens and alive.any():
        logits, state, alignment, _ = model.decoder(ids[:, length : length + 1], state, memory, real, start=length)
        length += 1
        ids[alive, length] = logits[alive, -1].argmax(-1)
        alive = alive & (ids[:, length] != config.eos_token_id)
        rows += [alignment] if alignment is not None else []
    return ids[:, 1 : length + 1], torch.cat(rows, 1) if rows else None
''',
        mistakes={
            "begins-with-eos": Mistake(
                "the first token that your decoder reads is not <bos>. Which id does the configuration give to it?",
                (("(source.size(0),), model.config.bos_token_id)", "(source.size(0),), model.config.eos_token_id)"),),
            ),
            "state-not-carried": Mistake(
                "each of your steps begins with the encoder's state: the state that a step returns has to go into the "
                "next.",
                (("        state = step.state\n", ""),),
            ),
            "reads-always-bos": Mistake(
                "your decoder reads the same token again and again. It has to read what it has just written.",
                (
                    (
                        "model.decoder(token[:, None], state",
                        "model.decoder(torch.full_like(token, model.config.bos_token_id)[:, None], state",
                    ),
                ),
            ),
            "writes-on-after-eos": Mistake(
                "a sentence that has written <eos> is finished: from there on it is padded, whatever the model would "
                "still say.",
                ((".masked_fill(finished, model.config.pad_token_id)", ""),),
            ),
            "never-stops": Mistake(
                "your loop always takes max_new_tokens steps. It ends with the last sentence.",
                (("        if finished.all():\n            break\n", ""),),
            ),
            "stops-with-the-first": Mistake(
                "your loop ends with the first sentence that is finished. The others have not said all.",
                (("if finished.all():", "if finished.any():"),),
            ),
            "start-not-told": Mistake(
                "the decoder is not told how many tokens led to its state (`start`).",
                (("memory, real, start)", "memory, real)"),),
            ),
            "bos-in-the-answer": Mistake(
                "your answer begins with <bos>. It holds only what was written.",
                (("written, alignment = [source[:, :0]], []", "written, alignment = [token[:, None]], []"),),
            ),
        },
    ),
    "learning": Proofs(
        observe="""
sizes = {"vocab_size": 9, "embedding_size": 4, "hidden_size": 4, "num_layers": 1, "cell": "lstm"}
model = check.new(Seq2Seq, Seq2SeqConfig(**sizes, attention="bilinear", pad_token_id=8))
check.fill(model)
source, target = torch.tensor([[3, 4, 5, 6], [7, 2, 8, 0]]), torch.tensor([[1, 6, 5, 4, 2], [1, 7, 2, 8, 8]])
memory = check.observe(model.encode, source, pick=0)
state = check.observe(model.encode, source, pick=1)
real = check.observe(model.encode, source, pick=2)
foreign = check.observe(model.encode, torch.tensor([[3, 9]]))
logits = check.observe(model, source, target)
loss = check.observe(model.loss, source, target)
gradients = check.observe(check.grads, model.loss, source, target, wrt=model)
""",
        alternative='''
class Seq2Seq(nn.Module):
    """The same with all of the loss in one place."""

    def __init__(self, config):
        super().__init__()
        self.config, self.encoder, self.decoder = config, Encoder(config), Decoder(config)

    def encode(self, source):
        if source.dim() != 2 or source.numel() == 0 or not 0 <= source.min() <= source.max() < self.config.vocab_size:
            raise ValueError(f"expected ids [B, S] below {self.config.vocab_size}")
        real = source.ne(self.config.pad_token_id)
        return *self.encoder(source, real=real), real

    def forward(self, source, target):
        memory, state, real = self.encode(source)
        answer = self.decoder(target, state, memory, real)
        return answer.logits, answer.alignment

    def loss(self, source, target):
        logits, _ = self(source, target.narrow(1, 0, target.size(1) - 1))
        return masked_nll(logits, target.narrow(1, 1, target.size(1) - 1), self.config.pad_token_id)

    def generate(self, source, max_new_tokens):
        return greedy_decode(self, source, max_new_tokens)[0]
''',
        mistakes={
            "target-not-shifted": Mistake(
                "the decoder is compared with the very tokens that it reads, so it learns to repeat its input, and "
                "when it has to write, it has nothing to say. It reads the target without its last token and is "
                "compared with the target without its first.",
                (("self.teach(source, target[:, :-1]), target[:, 1:]", "self.teach(source, target), target"),),
            ),
            "shifted-backwards": Mistake(
                "your decoder is asked for the token before the one that it reads. It reads the target without its "
                "last token and says, at each position, the next.",
                (
                    (
                        "self.teach(source, target[:, :-1]), target[:, 1:]",
                        "self.teach(source, target[:, 1:]), target[:, :-1]",
                    ),
                ),
            ),
            "bridge-missing": Mistake(
                "the decoder does not begin with the encoder's final state. That is the bridge between the two, and "
                "without attention the only one.",
                (("        return memory, state, real", "        return memory, torch.zeros_like(state), real"),),
            ),
            "padding-is-always-zero": Mistake(
                "encode takes 0 for padding, whatever the configuration says.",
                (("source != self.config.pad_token_id", "source != 0"),),
            ),
            "real-inverted": Mistake(
                "your mask is True at padding. `real` is True at tokens.",
                (("source != self.config.pad_token_id", "source == self.config.pad_token_id"),),
            ),
            "ids-not-checked": Mistake(
                "an id outside of the vocabulary is not refused with a clear error. The model has a method that looks "
                "ids through.",
                (("        self.check(source)\n        real = ", "        real = "),),
            ),
        },
    ),
}
