"""Lab 3: mistakes that students make, the hint each deserves, and other right ways. See `autograder/mistakes.py`.

A hint names the misunderstanding and where to look. It never shows code.
"""

from autograder.mistakes import Mistake, Proofs

EXERCISES = {
    "attention": Proofs(
        observe="""
q, k, v = [check.formula(name, (2, 5, 4)) * 6 for name in ["q", "k", "v"]]
mask = check.formula("mask", (2, 5, 5)) > -0.2
weights = check.observe(scaled_dot_product_attention, q, k, v, pick=1)
context = check.observe(scaled_dot_product_attention, q, k, v, pick=0)
masked = check.observe(scaled_dot_product_attention, q, k, v, mask, pick=0)
blind = check.observe(scaled_dot_product_attention, q, k, v, mask & (torch.arange(5) > 0)[:, None], pick=1)
purity = check.observe(check.pure, scaled_dot_product_attention, q, k, v, mask)
gradients = check.observe(check.grads, scaled_dot_product_attention, q, k, v, pick=0)
""",
        alternative='''
def scaled_dot_product_attention(query, key, value, mask=None, dropout=0.0):
    """The same with einsum, a mask that is added, and a softmax written out."""
    check_attention(query, key, value, mask)
    scores = torch.einsum("...qd,...kd->...qk", query, key) * query.shape[-1] ** -0.5
    if mask is not None:
        scores = torch.where(mask, scores, torch.full_like(scores, torch.finfo(scores.dtype).min))
    raised = torch.exp(scores - scores.amax(dim=-1, keepdim=True))
    weights = raised / raised.sum(dim=-1, keepdim=True)
    return torch.einsum("...qk,...kv->...qv", F.dropout(weights, dropout), value), weights
''',
        mistakes={
            "mask-after-softmax": Mistake(
                "the mask acts on the weights, after the softmax. What a masked key would have got is then lost, and "
                "the row no longer sums to one. Mask the scores, before the softmax.",
                (
                    (
                        "    if mask is not None:\n"
                        "        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)\n",
                        "",
                    ),
                    (
                        "    context = F.dropout",
                        "    if mask is not None:\n        weights = weights * mask\n    context = F.dropout",
                    ),
                ),
            ),
            "mask-inverted": Mistake(
                "your mask hides what may be looked at and shows what may not. Here True means that a key may be "
                "looked at.",
                (("masked_fill(~mask", "masked_fill(mask"),),
            ),
            "no-scale": Mistake(
                "the scores are not scaled. Which factor in equation 1 keeps their size the same for every width?",
                ((" / math.sqrt(query.size(-1))", ""),),
            ),
            "scale-without-root": Mistake(
                "the scores are divided by too much: equation 1 divides by the root of the width, not by the width.",
                (("math.sqrt(query.size(-1))", "query.size(-1)"),),
            ),
            "softmax-over-queries": Mistake(
                "the softmax runs along the wrong axis. The weights of each query, over all keys, must sum to one: "
                "look at the sums of your weights along both axes.",
                (("F.softmax(scores, dim=-1", "F.softmax(scores, dim=-2"),),
            ),
            "minus-infinity": Mistake(
                "where a query may look at nothing your weights are NaN: a softmax of nothing but minus infinity has "
                "no value. The docstring names the number that a masked score becomes.",
                (("torch.finfo(scores.dtype).min", "-math.inf"),),
            ),
            "detached": Mistake(
                "the values are right, but no gradient passes through them, so the projections before this attention "
                "would learn nothing. Where is the result cut off from its history (detached, computed without "
                "gradients, made of plain numbers)?",
                (("    return context, weights", "    return context.detach(), weights"),),
            ),
            "scales-in-place": Mistake(
                "your function changes the tensor it was given. An operation in place (its name ends in _, or it is "
                "written with an equals sign, as in /=) writes into the caller's data. Make a new tensor.",
                (
                    (
                        "    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))",
                        "    query = query.div_(math.sqrt(query.size(-1)))\n    scores = query @ key.transpose(-2, -1)",
                    ),
                ),
            ),
        },
    ),
    "masks": Proofs(
        observe="""
ids = torch.tensor([[3, 1, 0, 2], [1, 0, 0, 0]])
zero = check.observe(padding_mask, ids)
one = check.observe(padding_mask, ids, 1)
triangle = check.observe(causal_mask, 4)
""",
        alternative='''
def padding_mask(ids, pad_id=0):
    """The same by names of axes."""
    batch, length = ids.shape
    return ids.ne(pad_id).reshape(batch, 1, 1, length)


def causal_mask(length, device=None):
    """The same by comparing positions."""
    position = torch.arange(length, device=device)
    return position.unsqueeze(0) <= position.unsqueeze(1)
''',
        mistakes={
            "padding-inverted": Mistake(
                "your padding mask is True at the padding. Here True means that a token may be looked at.",
                (("ids != pad_id", "ids == pad_id"),),
            ),
            "padding-hides-queries": Mistake(
                "your padding mask has its axis of tokens in the place of the queries. It must lie along the last "
                "axis, that of the keys: padding asks no harm, but nobody may look at it.",
                (("[:, None, None, :]", "[:, None, :, None]"),),
            ),
            "padding-is-always-zero": Mistake(
                "your padding mask takes 0 for padding whatever pad_id says.",
                (("ids != pad_id", "ids != 0"),),
            ),
            "causal-without-itself": Mistake(
                "in your causal mask a position may not look at itself. The diagonal belongs to what it may see; "
                "else the first position may look at nothing at all.",
                ((".tril()", ".tril(-1)"),),
            ),
            "causal-looks-ahead": Mistake(
                "your causal mask shows the future and hides the past. Rows are queries, columns are keys: in row i "
                "the columns up to i are True.",
                ((".tril()", ".triu()"),),
            ),
        },
    ),
    "heads": Proofs(
        observe="""
x = check.formula("x", (2, 4, 6))
split = check.observe(split_heads, x, 3)
merged = check.observe(merge_heads, check.formula("heads", (2, 3, 4, 2)))
layer = check.new(MultiHeadAttention, 6, 3)
check.fill(layer)
y = check.formula("y", (2, 5, 6))
values = check.formula("values", (2, 5, 6))
mask = check.formula("mask", (2, 1, 4, 5)) > -0.2
output = check.observe(layer, 3 * x, 3 * y, values, mask, need_weights=True, pick=0)
weights = check.observe(layer, 3 * x, 3 * y, values, mask, need_weights=True, pick=1)
""",
        alternative='''
def split_heads(x, num_heads):
    """The same by slices."""
    if x.size(-1) % num_heads:
        raise ValueError(f"{x.size(-1)} numbers do not split into {num_heads} heads")
    return torch.stack(x.split(x.size(-1) // num_heads, dim=-1), dim=1)


def merge_heads(x):
    """The same by concatenation."""
    return torch.cat(x.unbind(dim=1), dim=-1)


class MultiHeadAttention(nn.Module):
    """The same with the weights of each projection applied by hand."""

    def __init__(self, d_model, num_heads, dropout=0.0):
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"d_model={d_model} does not split into {num_heads} heads")
        self.num_heads, self.dropout = num_heads, dropout
        self.query, self.key, self.value, self.output = (nn.Linear(d_model, d_model) for _ in range(4))

    def forward(self, query, key, value, mask=None, need_weights=False):
        def heads(linear, x):
            return split_heads(x @ linear.weight.T + linear.bias, self.num_heads)

        dropout = self.dropout * self.training
        q, k, v = heads(self.query, query), heads(self.key, key), heads(self.value, value)
        context, weights = scaled_dot_product_attention(q, k, v, mask, dropout)
        return self.output(merge_heads(context)), (weights if need_weights else None)
''',
        mistakes={
            "view-without-transpose": Mistake(
                "split_heads gives the right shape with the wrong numbers in it: it cuts the sequence into heads, not "
                "the width. First give each token its heads, then move the axis of heads forward.",
                (
                    (
                        "x.reshape(batch, length, num_heads, width // num_heads).transpose(1, 2)",
                        "x.reshape(batch, num_heads, length, width // num_heads)",
                    ),
                ),
            ),
            "heads-interleaved": Mistake(
                "split_heads deals the numbers out to the heads in turn, like cards. A head is a run of consecutive "
                "numbers of the token.",
                (
                    (
                        "x.reshape(batch, length, num_heads, width // num_heads).transpose(1, 2)",
                        "x.reshape(batch, length, width // num_heads, num_heads).permute(0, 3, 1, 2)",
                    ),
                ),
            ),
            "merge-without-transpose": Mistake(
                "merge_heads gives the right shape with the wrong numbers in it: it puts numbers of different tokens "
                "into one. Move the axis of heads back behind the tokens before you join the axes.",
                (
                    (
                        "x.transpose(1, 2).flatten(start_dim=2)",
                        "x.reshape(x.size(0), x.size(2), x.size(1) * x.size(3))",
                    ),
                ),
            ),
            "no-output-projection": Mistake(
                "the last step is missing: after the heads are merged, one more linear map mixes them.",
                (("self.output(merge_heads(context))", "merge_heads(context)"),),
            ),
            "value-through-key": Mistake(
                "the values pass through the wrong projection: query, key and value have one each.",
                (("split_heads(self.value(value)", "split_heads(self.key(value)"),),
            ),
            "mask-lost": Mistake(
                "forward was given a mask, and its result does not depend on it.",
                (("attention(query, key, value, mask,", "attention(query, key, value, None,"),),
            ),
        },
    ),
    "positions": Proofs(
        observe="""
table = check.observe(sinusoidal_positions, 7, 8)
""",
        alternative='''
def sinusoidal_positions(length, d_model):
    """The same, column by column."""
    if d_model % 2:
        raise ValueError(f"d_model={d_model} is odd")
    table = torch.empty(length, d_model)
    position = torch.arange(length).double()
    for i in range(d_model // 2):
        angle = position * math.exp(-math.log(10_000) * 2 * i / d_model)
        table[:, 2 * i], table[:, 2 * i + 1] = angle.sin(), angle.cos()
    return table
''',
        mistakes={
            "halves": Mistake(
                "all sines stand in the first half and all cosines in the second. In the paper the sine and the cosine "
                "of one angle stand side by side.",
                (
                    (
                        "table = torch.stack([angle.sin(), angle.cos()], dim=-1)  # [T, D/2, 2]",
                        "table = torch.cat([angle.sin(), angle.cos()], dim=-1)",
                    ),
                ),
            ),
            "frequency-counted-twice": Mistake(
                "the frequencies fall too fast, or too slowly: the exponent of pair number i is 2i / D, and it stays "
                "below one.",
                (("torch.float64) / d_model", "torch.float64) * 2 / d_model"),),
            ),
            "sine-and-cosine-swapped": Mistake(
                "sine and cosine have changed places: at position 0 the even columns must be 0 and the odd ones 1.",
                (("[angle.sin(), angle.cos()]", "[angle.cos(), angle.sin()]"),),
            ),
            "counted-from-one": Mistake(
                "your positions count from 1; they count from 0, where every sine is 0 and every cosine 1.",
                (("torch.arange(length)", "torch.arange(1, length + 1)"),),
            ),
        },
    ),
    "norm": Proofs(
        observe="""
norm = check.new(LayerNorm, 6, eps=0.5)
check.fill(norm)
x = check.formula("x", (2, 3, 6)) * 4 + 1
value = check.observe(norm, x)
gradients = check.observe(check.grads, norm, x, weight=check.formula("direction", (2, 3, 6)))
""",
        alternative='''
class LayerNorm(nn.Module):
    """The same by the mean of the squares."""

    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))

    def forward(self, x):
        mean = x.mean(-1, keepdim=True)
        variance = x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias
''',
        mistakes={
            "divided-by-one-less": Mistake(
                "your variance divides the sum of squares by D - 1, as statisticians do for a sample and PyTorch does "
                "unless told otherwise. The norm divides by D.",
                (
                    (
                        "centred.square().mean(dim=-1, keepdim=True)",
                        "centred.square().sum(dim=-1, keepdim=True) / (x.size(-1) - 1)",
                    ),
                ),
            ),
            "eps-outside-the-root": Mistake(
                "epsilon stands outside the root. It is added to the variance, before the root is taken.",
                (("torch.sqrt(variance + self.eps)", "(torch.sqrt(variance) + self.eps)"),),
            ),
            "variance-without-root": Mistake(
                "you divide by the variance. Its root, the standard deviation, has the unit of x.",
                (("torch.sqrt(variance + self.eps)", "(variance + self.eps)"),),
            ),
            "over-the-sequence": Mistake(
                "mean and variance run over the tokens. Each token is normalised on its own, over its D numbers, or a "
                "token would know what stands after it.",
                (
                    ("wide.mean(dim=-1, keepdim=True)", "wide.mean(dim=-2, keepdim=True)"),
                    ("centred.square().mean(dim=-1, keepdim=True)", "centred.square().mean(dim=-2, keepdim=True)"),
                ),
            ),
            "weight-and-bias-unused": Mistake(
                "the result does not depend on weight and bias: the norm ends with a learnt scale and shift.",
                (("self.weight * normed + self.bias", "normed"),),
            ),
        },
    ),
    "feed-forward": Proofs(
        observe="""
network = check.new(PositionwiseFeedForward, 4, 6)
check.fill(network)
x = check.formula("x", (2, 3, 4)) * 3
out = check.observe(network, x)
sublayer = check.stub("Constant", value=check.formula("answer", (2, 3, 4)) * 2)
post = check.new(SublayerConnection, 4)
check.fill(post, {"norm.weight": torch.tensor([1.0, 2, 3, 4])})
after = check.observe(post, x, sublayer)
pre = check.new(SublayerConnection, 4, norm_first=True)
check.fill(pre)
before = check.observe(pre, x, sublayer)
read = check.observe(pre.norm, sublayer.seen)
""",
        alternative='''
class PositionwiseFeedForward(nn.Module):
    """The same with the ReLU as a maximum."""

    def __init__(self, d_model, d_ff, dropout=0.0):
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        hidden = x @ self.linear1.weight.T + self.linear1.bias
        return self.linear2(self.dropout(hidden * (hidden > 0)))


class SublayerConnection(nn.Module):
    """The same with both orders in one line each."""

    def __init__(self, d_model, dropout=0.0, norm_first=False, eps=1e-5):
        super().__init__()
        self.norm_first, self.norm, self.dropout = norm_first, LayerNorm(d_model, eps), nn.Dropout(dropout)

    def forward(self, x, sublayer):
        change = self.dropout(sublayer(self.norm(x) if self.norm_first else x))
        total = torch.add(x, change)
        return total if self.norm_first else self.norm(total)
''',
        mistakes={
            "no-relu": Mistake(
                "nothing bends between the two linear maps, and two linear maps in a row are only one. Equation 2 has "
                "a maximum with 0 between them.",
                (("F.relu(self.linear1(x))", "self.linear1(x)"),),
            ),
            "relu-last": Mistake(
                "the ReLU comes after the second linear map, so the network can only ever add. It belongs between "
                "the two.",
                (
                    ("F.relu(self.linear1(x))", "self.linear1(x)"),
                    ("self.linear2(self.dropout(hidden))", "F.relu(self.linear2(self.dropout(hidden)))"),
                ),
            ),
            "no-residual": Mistake(
                "x itself is missing from the sum: the sublayer only says what to change.",
                (
                    ("return x + self.dropout(sublayer(self.norm(x)))", "return self.dropout(sublayer(self.norm(x)))"),
                    ("self.norm(x + self.dropout(sublayer(x)))", "self.norm(self.dropout(sublayer(x)))"),
                ),
            ),
            "norm-of-the-change-alone": Mistake(
                "the norm covers the sublayer's answer alone. In post-norm it comes last, over the sum of both.",
                (("self.norm(x + self.dropout(sublayer(x)))", "x + self.norm(self.dropout(sublayer(x)))"),),
            ),
            "norm-first-ignored": Mistake(
                "your connection does the same whether norm_first is True or False.",
                (("        if self.norm_first:\n", "        if False:\n"),),
            ),
        },
    ),
    "encoder-layer": Proofs(
        observe="""
layer = check.new(EncoderLayer, TransformerConfig(vocab_size=20, d_model=8, num_heads=2, d_ff=16))
check.fill(layer)
x = check.formula("x", (2, 5, 8)) * 5
mask = (torch.arange(5) < 3).reshape(1, 1, 1, 5)
out = check.observe(layer, x)
masked = check.observe(layer, x, mask)
""",
        alternative='''
class EncoderLayer(nn.Module):
    """The same with the pieces of both connections spelt out in order."""

    def __init__(self, config):
        super().__init__()
        self.self_attention = MultiHeadAttention(config.d_model, config.num_heads)
        self.feed_forward = PositionwiseFeedForward(config.d_model, config.d_ff)
        sizes = (config.d_model, config.dropout, config.norm_first, config.layer_norm_eps)
        self.sublayers = nn.ModuleList([SublayerConnection(*sizes), SublayerConnection(*sizes)])

    def forward(self, x, mask=None):
        def attend(y):
            output, _ = self.self_attention(y, y, y, mask=mask)
            return output

        for connection, sublayer in zip(self.sublayers, (attend, self.feed_forward)):
            x = connection(x, sublayer)
        return x
''',
        mistakes={
            "mask-lost": Mistake(
                "the layer was given a mask, and its result does not depend on it: the attention has to get it.",
                (("self.self_attention(x, x, x, mask)", "self.self_attention(x, x, x)"),),
            ),
            "feed-forward-first": Mistake(
                "the two sublayers have changed places: attention comes first.",
                (
                    (
                        "        x = self.sublayers[0](x, lambda x: self.self_attention(x, x, x, mask)[0])\n"
                        "        return self.sublayers[1](x, self.feed_forward)",
                        "        x = self.sublayers[0](x, self.feed_forward)\n"
                        "        return self.sublayers[1](x, lambda x: self.self_attention(x, x, x, mask)[0])",
                    ),
                ),
            ),
            "one-connection-for-both": Mistake(
                "both sublayers pass through the same connection. Each has one of its own, with its own norm.",
                (("self.sublayers[1](x, self.feed_forward)", "self.sublayers[0](x, self.feed_forward)"),),
            ),
            "feed-forward-reads-the-input": Mistake(
                "the feed-forward network reads the layer's input, not what the attention's connection returns.",
                (("        x = self.sublayers[0](x, lambda", "        self.sublayers[0](x, lambda"),),
            ),
        },
    ),
    "decoder-layer": Proofs(
        observe="""
layer = check.new(DecoderLayer, TransformerConfig(vocab_size=20, d_model=8, num_heads=2, d_ff=16))
check.fill(layer)
x, memory = check.formula("x", (2, 5, 8)) * 5, check.formula("memory", (2, 5, 8)) * 5
mask = torch.ones(5, 5).tril().bool()
memory_mask = (torch.arange(5) < 3).reshape(1, 1, 1, 5)
out = check.observe(layer, x, memory)
masked = check.observe(layer, x, memory, mask)
both = check.observe(layer, x, memory, mask, memory_mask)
gradients = check.observe(check.grads, layer, x, memory, weight=check.formula("direction", (2, 5, 8)))
""",
        alternative='''
class DecoderLayer(nn.Module):
    """The same as a loop over the three sublayers."""

    def __init__(self, config):
        super().__init__()
        self.self_attention = MultiHeadAttention(config.d_model, config.num_heads)
        self.cross_attention = MultiHeadAttention(config.d_model, config.num_heads)
        self.feed_forward = PositionwiseFeedForward(config.d_model, config.d_ff)
        sizes = (config.d_model, config.dropout, config.norm_first, config.layer_norm_eps)
        self.sublayers = nn.ModuleList(SublayerConnection(*sizes) for _ in range(3))

    def forward(self, x, memory, mask=None, memory_mask=None):
        def attend(y):
            return self.self_attention(query=y, key=y, value=y, mask=mask)[0]

        def cross(y):
            return self.cross_attention(query=y, key=memory, value=memory, mask=memory_mask)[0]

        for connection, sublayer in zip(self.sublayers, (attend, cross, self.feed_forward)):
            x = connection(x, sublayer)
        return x
''',
        mistakes={
            "cross-attention-to-itself": Mistake(
                "the result does not depend on the memory: cross-attention takes its keys and values from there.",
                (("self.cross_attention(x, memory, memory, memory_mask)", "self.cross_attention(x, x, x)"),),
            ),
            "queries-from-memory": Mistake(
                "cross-attention is the wrong way round: the decoder asks (its x are the queries), the memory answers.",
                (("self.cross_attention(x, memory, memory, memory_mask)", "self.cross_attention(memory, x, x)"),),
            ),
            "memory-mask-lost": Mistake(
                "cross-attention looks at the padding of the source: memory_mask has to get there.",
                (("memory, memory, memory_mask)", "memory, memory)"),),
            ),
            "causal-mask-lost": Mistake(
                "self-attention sees the future: mask has to get there.",
                (("self.self_attention(x, x, x, mask)", "self.self_attention(x, x, x)"),),
            ),
            "cross-attention-first": Mistake(
                "the two attentions have changed places: the decoder first looks at itself, then at the memory.",
                (
                    ("self.sublayers[0](x, lambda x: self.self", "self.sublayers[1](x, lambda x: self.self"),
                    ("self.sublayers[1](x, lambda x: self.cross", "self.sublayers[0](x, lambda x: self.cross"),
                ),
            ),
        },
    ),
    "schedule": Proofs(
        observe="""
rates = check.observe(learning_rate, 30, 64, 100)
later = check.observe(learning_rate, 1000, 64, 100)
peak = check.observe(learning_rate, 100, 64, 100)
zero = check.observe(learning_rate, 0, 64, 100)
""",
        alternative='''
def learning_rate(step, d_model, warmup_steps=4000):
    """The same as two cases."""
    if step <= 0:
        raise ValueError(f"steps count from 1, found {step}")
    if step < warmup_steps:
        return step / (warmup_steps * math.sqrt(d_model * warmup_steps))
    return 1 / math.sqrt(d_model * step)
''',
        mistakes={
            "maximum": Mistake(
                "you take the larger of the two terms. The smaller one is the climb before the peak and the fall after "
                "it.",
                (("min(", "max("),),
            ),
            "width-the-wrong-way": Mistake(
                "your rate grows with the width of the model. A wide model takes smaller steps: look at the sign of "
                "the width's exponent.",
                (("d_model**-0.5", "d_model**0.5"),),
            ),
            "warm-up-exponent": Mistake(
                "the straight line does not meet the curve at the end of the warm-up: look at the exponent of "
                "warmup_steps.",
                (("warmup_steps**-1.5", "warmup_steps**-0.5"),),
            ),
            "counted-from-zero": Mistake(
                "your steps count from 0. They count from 1, and anything less deserves an error.",
                (
                    (
                        "    if step < 1:\n"
                        '        raise ValueError(f"step={step}: expected 1 or more, steps count from 1")\n',
                        "    step = step + 1\n",
                    ),
                ),
            ),
        },
    ),
    "learning": Proofs(
        observe="""
config = TransformerConfig(
    vocab_size=12, d_model=8, num_heads=2, num_encoder_layers=1, num_decoder_layers=1, d_ff=16, label_smoothing=0.2
)
model = check.new(Transformer, config)
check.fill(model)
source = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0]])
target = torch.tensor([[1, 6, 5, 4, 2], [1, 2, 0, 0, 0]])
memory = check.observe(model.encode, source, pick=0)
mask = check.observe(model.encode, source, pick=1)
logits = check.observe(model, source, target)
loss = check.observe(model.loss, source, target)
gradients = check.observe(check.grads, model.loss, source, target, wrt=model)
""",
        alternative='''
class Transformer(nn.Module):
    """The same with the encoder inside `forward`, and the loss by PyTorch's own cross-entropy."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.source_embeddings, self.target_embeddings = TransformerEmbeddings(config), TransformerEmbeddings(config)
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.output = nn.Linear(config.d_model, config.vocab_size, bias=False)
        for parameter in [*self.encoder.parameters(), *self.decoder.parameters()]:
            if parameter.dim() == 2:
                nn.init.xavier_uniform_(parameter)
        if config.tie_embeddings:
            self.output.weight = self.target_embeddings.tokens.weight = self.source_embeddings.tokens.weight

    def encode(self, source):
        may_see = padding_mask(source, pad_id=self.config.pad_token_id)
        return self.encoder(self.source_embeddings(source), mask=may_see), may_see

    def decode(self, target, memory, memory_mask):
        may_see = padding_mask(target, self.config.pad_token_id) & causal_mask(target.shape[-1])
        x = self.decoder(self.target_embeddings(target), memory, mask=may_see, memory_mask=memory_mask)
        return x @ self.output.weight.T

    def forward(self, source, target):
        return self.decode(target, *self.encode(source))

    def loss(self, source, target):
        read, wanted = target.narrow(1, 0, target.size(1) - 1), target.narrow(1, 1, target.size(1) - 1)
        return F.cross_entropy(
            self(source, read).flatten(0, 1),
            wanted.flatten(),
            ignore_index=self.config.pad_token_id,
            label_smoothing=self.config.label_smoothing,
        )
''',
        mistakes={
            "target-not-shifted": Mistake(
                "the decoder is compared with the very tokens that it reads, so it learns to repeat its input, and has "
                "nothing to say when it must write. It reads the target without its last token and is compared with "
                "the target without its first.",
                (
                    ("self(source, target[:, :-1])", "self(source, target)"),
                    ("labels = target[:, 1:]", "labels = target"),
                ),
            ),
            "sees-the-future": Mistake(
                "the decoder sees the whole target, so in training it can look up the next token, and when it writes "
                "there is nothing to look up: the causal mask is missing.",
                (("        mask = mask & causal_mask(target.size(1), target.device)  # [B, 1, T, T]\n", ""),),
            ),
            "source-padding-seen": Mistake(
                "the encoder looks at padding: the mask has to reach it, not the decoder alone.",
                (
                    (
                        "self.encoder(self.source_embeddings(source), mask)",
                        "self.encoder(self.source_embeddings(source))",
                    ),
                ),
            ),
            "padding-counted": Mistake(
                "the loss counts the padding of the target as if it were to be learnt: tell it which id is padding.",
                (
                    (
                        "self.config.label_smoothing, self.config.pad_token_id",
                        "self.config.label_smoothing, -1",
                    ),
                ),
            ),
        },
    ),
}
