"""Lab 6: mistakes that students make, the hint each deserves, and other right ways. See `autograder/mistakes.py`.

A hint names the misunderstanding and where to look. It never shows code.
"""

from autograder.mistakes import Mistake, Proofs

EXERCISES = {
    "norm": Proofs(
        observe="""
norm = check.new(T5LayerNorm, 6, eps=0.5)
check.fill(norm)
x = check.formula("x", (3, 6, 6)) * 4 + 1
value = check.observe(norm, x)
purity = check.observe(check.pure, norm, x)
half = check.observe(check.new(T5LayerNorm, 2).half(), torch.tensor([[300.0, 400.0]]).half())
mixed = check.observe(check.new(T5LayerNorm, 2), torch.tensor([3.0, 4.0]).bfloat16())
""",
        alternative='''
class T5LayerNorm(nn.Module):
    """The same as a division by the root, with the sum of squares as a product."""

    def __init__(self, d_model, eps=1e-6):
        super().__init__()
        self.eps, self.weight = eps, nn.Parameter(torch.ones(d_model))

    def forward(self, x):
        wide = x.float()
        mean_square = torch.einsum("...i,...i->...", wide, wide)[..., None] / x.shape[-1]
        return (wide / (mean_square + self.eps).sqrt() * self.weight).type(self.weight.dtype)
''',
        mistakes={
            "mean-subtracted": Mistake(
                "your norm moves each token to mean zero first, as the one of lab 3 does. T5's only scales.",
                (
                    (
                        "        mean_square = wide.square()",
                        "        wide = wide - wide.mean(dim=-1, keepdim=True)\n        mean_square = wide.square()",
                    ),
                ),
            ),
            "eps-outside-the-root": Mistake(
                "epsilon stands outside the root. It is added to the mean square, before the root is taken.",
                (("torch.rsqrt(mean_square + self.eps)", "(1 / (mean_square.sqrt() + self.eps))"),),
            ),
            "sum-of-squares": Mistake(
                "you divide by the length of the token, the root of the sum of its squares. It is their mean that must "
                "become one.",
                (("square().mean(dim=-1", "square().sum(dim=-1"),),
            ),
            "no-root": Mistake(
                "you divide by the mean square. Its root has the unit of x.",
                (("torch.rsqrt(mean_square + self.eps)", "(1 / (mean_square + self.eps))"),),
            ),
            "over-the-sequence": Mistake(
                "the mean runs over the tokens. Each token is scaled on its own, over its D numbers, or it would know "
                "what stands after it.",
                (
                    (
                        "wide.square().mean(dim=-1, keepdim=True)",
                        "wide.square().mean(dim=-2 if wide.dim() > 2 else 0, keepdim=True)",
                    ),
                ),
            ),
            "weight-unused": Mistake(
                "the result does not depend on the weight: the norm ends with a learnt scale.",
                (("self.weight * (wide", "(wide"),),
            ),
            "squares-overflow": Mistake(
                "in half precision your squares leave the range of the dtype, and the result is no number, or zero. "
                "In which dtype does the docstring want them?",
                (("wide = x.to(torch.promote_types(x.dtype, torch.float32))", "wide = x"),),
            ),
        },
    ),
    "buckets": Proofs(
        observe="""
relative = torch.tensor([-200, -100, -90, -40, -20, -15, -11, -9, -7, -3, -1, 0, 1, 3, 7, 9, 11, 15, 20, 40, 90, 200])
both = check.observe(relative_position_bucket, relative)
one = check.observe(relative_position_bucket, relative, False)
few = check.observe(relative_position_bucket, relative, True, 8, 21)
purity = check.observe(check.pure, relative_position_bucket, relative)
""",
        alternative='''
def relative_position_bucket(relative_position, bidirectional=True, num_buckets=32, max_distance=128):
    """The same by the places at which the wide buckets begin."""
    own = num_buckets // 2 if bidirectional else num_buckets
    exact = own // 2
    growth = (max_distance / exact) ** (1 / (own - exact))
    starts = torch.tensor([exact * growth**i for i in range(1, own - exact)], dtype=torch.float64)
    distance = relative_position.abs() if bidirectional else torch.relu(-relative_position)
    wide = exact + (distance[..., None] >= starts).sum(-1)
    offset = own if bidirectional else 0
    return torch.where(distance < exact, distance, wide) + offset * (relative_position > 0)
''',
        mistakes={
            "both-ways-in-the-decoder": Mistake(
                "your buckets look both ways though bidirectional is False. A decoder has no key after its query to "
                "tell apart: all its buckets are for keys before it.",
                (("    if bidirectional:\n", "    if True:\n"),),
            ),
            "later-keys-in-the-decoder": Mistake(
                "one way, your distance does not ask on which side the key stands. A key after its query counts as "
                "distance 0.",
                (("distance = (-relative_position).clamp(min=0)", "distance = relative_position.abs()"),),
            ),
            "sign": Mistake(
                "before and after have changed places. The relative position is that of the key minus that of the "
                "query: negative for a key before its query.",
                (
                    ("(relative_position > 0)", "(relative_position < 0)"),
                    ("(-relative_position).clamp(min=0)", "relative_position.clamp(min=0)"),
                ),
            ),
            "halves-exchanged": Mistake(
                "the two halves have changed places: the lower half of the buckets is for keys at the query's place "
                "and before it.",
                (("(relative_position > 0) * num_buckets", "(relative_position <= 0) * num_buckets"),),
            ),
            "not-halved": Mistake(
                "both ways, each direction has only half of the buckets, and both their near and their far part "
                "shrink with it.",
                (
                    ("        num_buckets //= 2\n", ""),
                    ("(relative_position > 0) * num_buckets", "(relative_position > 0) * (num_buckets // 2)"),
                ),
            ),
            "steps-of-equal-size": Mistake(
                "your far buckets are all equally wide. They are equal in the logarithm: each is wider than the one "
                "before it.",
                (
                    (
                        "torch.log(distance.clamp(min=exact).float() / exact) / math.log(max_distance / exact)",
                        "(distance.clamp(min=exact).float() - exact) / (max_distance - exact)",
                    ),
                ),
            ),
            "no-last-bucket": Mistake(
                "your buckets go on beyond the last one. Whatever is further away than max_distance shares it.",
                (("far.clamp(max=num_buckets - 1)", "far"),),
            ),
            "rounded": Mistake(
                "your far buckets begin too early: the formula rounds down.",
                (("(steps * (num_buckets - exact)).long()", "(steps * (num_buckets - exact)).round().long()"),),
            ),
        },
    ),
    "attention": Proofs(
        observe="""
q, k, v = [check.formula(name, (2, 5, 4)) * 4 for name in ["q", "k", "v"]]
bias, mask = check.formula("bias", (2, 5, 5)) * 3, check.formula("mask", (2, 5, 5)) > -0.2
weights = check.observe(biased_attention, q, k, v, pick=1)
context = check.observe(biased_attention, q, k, v, pick=0)
biased = check.observe(biased_attention, q, k, v, bias, pick=0)
masked = check.observe(biased_attention, q, k, v, bias, mask, pick=0)
purity = check.observe(check.pure, biased_attention, q, k, v, bias, mask)
gradients = check.observe(check.grads, biased_attention, q, k, v, bias, pick=0)
large = [torch.full((n, 1), 16.0).bfloat16() for n in (1, 2)]
digits = check.observe(biased_attention, large[0], large[1], large[1], torch.tensor([[0.0, 0.5]]).bfloat16(), pick=1)
""",
        alternative='''
def biased_attention(query, key, value, bias=None, mask=None, dropout=0.0):
    """The same with einsum, all that is added put together first, and a softmax written out."""
    check_bias(query, key, value, bias, mask)
    scores = torch.einsum("...qd,...kd->...qk", query, key)
    dtype, scores = scores.dtype, scores.float()
    total = scores + (0.0 if bias is None else bias)
    if mask is not None:
        total = torch.where(mask, total, torch.full_like(total, torch.finfo(total.dtype).min))
    raised = torch.exp(total - total.amax(dim=-1, keepdim=True))
    weights = (raised / raised.sum(dim=-1, keepdim=True)).to(dtype)
    return torch.einsum("...qk,...kv->...qv", F.dropout(weights, dropout), value), weights
''',
        mistakes={
            "scaled": Mistake(
                "your scores are divided by the root of the width, as in lab 3 (and on some slides about T5). T5 does "
                "not scale its scores: the factor is in the weights with which the queries start.",
                (("query @ key.transpose(-2, -1)", "query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))"),),
            ),
            "bias-after-the-softmax": Mistake(
                "the bias is added to the weights, after the softmax, and their rows no longer sum to one. It belongs "
                "to the scores.",
                (
                    ("    if bias is not None:\n        scores = scores + bias\n", ""),
                    (
                        "    context = F.dropout",
                        "    if bias is not None:\n        weights = weights + bias\n    context = F.dropout",
                    ),
                ),
            ),
            "bias-lost": Mistake(
                "your result does not depend on the bias.",
                (("    if bias is not None:\n        scores = scores + bias\n", ""),),
            ),
            "bias-subtracted": Mistake(
                "your bias works the wrong way round: a large one must draw attention to its key.",
                (("scores = scores + bias", "scores = scores - bias"),),
            ),
            "mask-inverted": Mistake(
                "your mask hides what may be looked at and shows what may not. Here True means that a key may be "
                "looked at.",
                (("masked_fill(~mask", "masked_fill(mask"),),
            ),
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
            "softmax-over-queries": Mistake(
                "the softmax runs along the wrong axis. The weights of each query, over all keys, must sum to one.",
                (("scores.softmax(dim=-1)", "scores.softmax(dim=-2)"),),
            ),
            "rounded-scores": Mistake(
                "in half precision a small bias gets lost beside a large score. Where does the docstring want float32, "
                "and where the dtype of the product again?",
                (("scores = product.to(torch.promote_types(product.dtype, torch.float32))", "scores = product"),),
            ),
        },
    ),
    "bias": Proofs(
        observe="""
table = check.formula("table", (8, 2)) * 3
both = check.observe(relative_bias, table, 4, 4, True, 16)
one = check.observe(relative_bias, table, 4, 4, False, 16)
last = check.observe(relative_bias, table, 2, 4, True, 16)
few = check.observe(relative_bias, table[:4], 4, 4, False, 4)
gradients = check.observe(check.grads, relative_bias, table, 4, 4, False)
""",
        alternative='''
def relative_bias(table, query_length, key_length, bidirectional, max_distance=128):
    """The same pair by pair of distances: a row for each, cut out and stacked."""
    distances = torch.arange(1 - key_length, key_length)  # of a key from a query
    rows = table[relative_position_bucket(distances, bidirectional, len(table), max_distance)].T  # [H, 2 Tk - 1]
    queries = range(key_length - query_length, key_length)
    return torch.stack([rows[:, key_length - 1 - i : 2 * key_length - 1 - i] for i in queries], dim=1)[None]
''',
        mistakes={
            "query-minus-key": Mistake(
                "your relative positions have the wrong sign: they are the place of the key minus that of the query.",
                (
                    (
                        "places - places[key_length - query_length :, None]",
                        "places[key_length - query_length :, None] - places",
                    ),
                ),
            ),
            "queries-come-first": Mistake(
                "your queries are the first Tq places. When a cache holds the past, they are the last ones.",
                (("places[key_length - query_length :, None]", "places[:query_length, None]"),),
            ),
            "both-ways-in-the-decoder": Mistake(
                "your bias is that of an encoder whatever `bidirectional` says. A decoder puts all its buckets before "
                "the query.",
                (("(relative, bidirectional, table", "(relative, True, table"),),
            ),
            "furthest-ignored": Mistake(
                "your buckets are those of the default max_distance, whatever number is given.",
                (("table.size(0), max_distance)", "table.size(0))"),),
            ),
            "heads-last": Mistake(
                "your heads lie along the last axis, where attention expects keys.",
                ((".permute(2, 0, 1)[None]", "[None]"),),
            ),
            "queries-and-keys-exchanged": Mistake(
                "rows and columns of your bias have changed places: behind the heads come the queries, then the keys.",
                ((".permute(2, 0, 1)[None]", ".permute(2, 1, 0)[None]"),),
            ),
            "cut-off-from-the-table": Mistake(
                "the values are right, but no gradient reaches the table, so its numbers would never be learnt. Where "
                "are they cut off from it (detached, copied, made of plain numbers)?",
                (("F.embedding(buckets, table)", "F.embedding(buckets, table.detach())"),),
            ),
        },
    ),
    "cross-attention": Proofs(
        observe="""
config = T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_heads=2)
attention = check.new(T5Attention, config)
check.fill(attention)
x, memory = check.formula("x", (2, 4, 8)) * 5, check.formula("memory", (2, 4, 8)) * 5
bias, mask = check.formula("bias", (1, 2, 4, 4)) * 4, (torch.arange(4) < 3).reshape(1, 1, 1, 4)
alone = check.observe(attention, x, need_weights=True)
biased = check.observe(attention, x, bias, need_weights=True)
masked = check.observe(attention, x, None, mask, need_weights=True)
crossed = check.observe(attention, x, None, None, memory)
layer = check.new(T5LayerCrossAttention, config)
check.fill(layer)
both = check.observe(layer, x, memory, need_weights=True)
covered = check.observe(layer, x, memory, mask)
""",
        alternative='''
class T5Attention(nn.Module):
    """The same with the heads cut by hand, and the weights always computed."""

    def __init__(self, config, has_relative_attention_bias=False, bidirectional=True, layer_idx=0):
        super().__init__()
        self.config, self.bidirectional, self.layer_idx = config, bidirectional, layer_idx
        inner = config.num_heads * config.d_kv
        self.q, self.k, self.v = (Linear(config.d_model, inner, bias=False) for _ in range(3))
        self.o = Linear(inner, config.d_model, bias=False)
        if has_relative_attention_bias:
            self.relative_attention_bias = nn.Embedding(config.relative_attention_num_buckets, config.num_heads)

    def compute_bias(self, query_length, key_length):
        furthest = self.config.relative_attention_max_distance
        return relative_bias(
            self.relative_attention_bias.weight, query_length, key_length, self.bidirectional, furthest
        )

    def heads(self, linear, x):
        return linear(x).unflatten(-1, (self.config.num_heads, self.config.d_kv)).transpose(1, 2)

    def keys_and_values(self, x, memory=None, cache=None):
        def both():
            source = x if memory is None else memory
            return self.heads(self.k, source), self.heads(self.v, source)

        if cache is None:
            return both()
        return cache.append(self.layer_idx, *both()) if memory is None else cache.once(self.layer_idx, both)

    def forward(self, x, bias=None, mask=None, memory=None, cache=None, need_weights=False):
        keys, values = self.keys_and_values(x, memory, cache)
        dropout = self.config.dropout_rate * self.training
        context, weights = biased_attention(self.heads(self.q, x), keys, values, bias, mask, dropout)
        output = self.o(context.transpose(1, 2).flatten(2))
        return output, weights if need_weights else None


class T5LayerCrossAttention(nn.Module):
    """The same in three lines."""

    def __init__(self, config, layer_idx=0):
        super().__init__()
        self.EncDecAttention = T5Attention(config, layer_idx=layer_idx)
        self.layer_norm = T5LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(self, x, memory, mask=None, cache=None, need_weights=False):
        normed = self.layer_norm(x)
        change, weights = self.EncDecAttention(
            normed, memory=memory, mask=mask, cache=cache, need_weights=need_weights
        )
        return torch.add(self.dropout(change), x), weights
''',
        mistakes={
            "memory-ignored": Mistake(
                "your attention module takes keys and values from x though there is a memory.",
                (("self.keys_and_values(x, memory, cache)", "self.keys_and_values(x, None, cache)"),),
            ),
            "queries-from-the-memory": Mistake(
                "your attention module is the wrong way round: x asks (it makes the queries), the memory answers.",
                (
                    (
                        "split_heads(self.q(x), self.config.num_heads)",
                        "split_heads(self.q(x if memory is None else memory), self.config.num_heads)",
                    ),
                ),
            ),
            "bias-lost": Mistake(
                "the attention module was given a bias, and its result does not depend on it.",
                (
                    (
                        "biased_attention(query, key, value, bias, mask, dropout)  #",
                        "biased_attention(query, key, value, None, mask, dropout)  #",
                    ),
                    (
                        "fused_biased_attention(query, key, value, bias,",
                        "fused_biased_attention(query, key, value, None,",
                    ),
                ),
            ),
            "mask-lost": Mistake(
                "the attention module was given a mask, and its result does not depend on it.",
                (
                    (
                        "biased_attention(query, key, value, bias, mask, dropout)  #",
                        "biased_attention(query, key, value, bias, None, dropout)  #",
                    ),
                    (
                        "fused_biased_attention(query, key, value, bias, mask,",
                        "fused_biased_attention(query, key, value, bias, None,",
                    ),
                ),
            ),
            "heads-not-merged": Mistake(
                "numbers of different tokens get into one: before the last projection, the axis of heads goes back "
                "behind the tokens, and then the two are joined.",
                (("self.o(merge_heads(context))", "self.o(context.reshape(x.size(0), x.size(1), -1))"),),
            ),
            "weights-never-returned": Mistake(
                "your attention module keeps its weights to itself, though need_weights asks for them.",
                (("return self.o(merge_heads(context)), weights", "return self.o(merge_heads(context)), None"),),
            ),
            "no-residual": Mistake(
                "x itself is missing from the sum in your cross-attention's part of the block: attention only says "
                "what to change.",
                (("return x + self.dropout(attended), weights", "return self.dropout(attended), weights"),),
            ),
            "not-normed": Mistake(
                "in your cross-attention's part of the block, the queries come from x as it is. T5 is pre-norm: the "
                "norm stands before the attention.",
                (("self.EncDecAttention(self.layer_norm(x), None", "self.EncDecAttention(x, None"),),
            ),
            "memory-normed": Mistake(
                "your cross-attention's part of the block norms the memory as well. The encoder's last norm has done "
                "that; this one is for x.",
                (
                    (
                        "None, mask, memory, cache, need_weights)",
                        "None, mask, self.layer_norm(memory), cache, need_weights)",
                    ),
                ),
            ),
            "memory-mask-lost": Mistake(
                "your cross-attention's part of the block looks at the padding of the source: the mask has to reach "
                "the attention.",
                (("None, mask, memory, cache, need_weights)", "None, None, memory, cache, need_weights)"),),
            ),
            "normed-sum": Mistake(
                "in your cross-attention's part of the block the norm covers the path that should stay free: to what "
                "attention says, x itself is added, not its norm.",
                (
                    (
                        "return x + self.dropout(attended), weights",
                        "return self.layer_norm(x) + self.dropout(attended), weights",
                    ),
                ),
            ),
        },
    ),
    "stack": Proofs(
        observe="""
config = T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_heads=2)
encoder, decoder = check.new(new_stack, config), check.new(new_stack, config, True)
check.fill(encoder)
check.fill(decoder)
padding = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
sees = check.observe(encoder.self_mask, padding, 2, 4)
sees_back = check.observe(decoder.self_mask, padding, 2, 4)
sees_past = check.observe(decoder.self_mask, padding, 2, 2, 2)
ids, memory = torch.tensor([[3, 4, 5, 0], [6, 7, 8, 9]]), check.formula("memory", (2, 4, 8)) * 5
encoded = check.observe(encoder, ids, padding, pick=0)
decoded = check.observe(decoder, ids, None, memory, pick=0)
covered = check.observe(decoder, ids, None, memory, padding, pick=0)
past = check.new(Past, 2, check.formula("pair", (2, 2, 4, 4)) * 3)
after = check.observe(decoder, ids[:, :2], None, memory, None, past, pick=0)
asked = check.observe(encoder, ids, padding, output_attentions=True)
""",
        alternative='''
class T5Stack(nn.Module):
    """The same with the mask made of places, and all that comes out kept in lists."""

    def __init__(self, config, embed_tokens, num_layers, is_decoder=False):
        super().__init__()
        self.config, self.is_decoder, self.embed_tokens = config, is_decoder, embed_tokens
        self.block = nn.ModuleList(T5Block(config, is_decoder, i == 0, i) for i in range(num_layers))
        self.final_layer_norm = T5LayerNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)

    def self_mask(self, attention_mask, batch, length, past=0):
        padding = key_mask(attention_mask, batch, past + length)
        mask = torch.ones(batch, 1, length, past + length).bool() if padding is None else padding
        if self.is_decoder:
            places = torch.arange(past + length)
            mask = mask & (places <= places[past:].unsqueeze(1))
        return mask

    def forward(
        self,
        input_ids,
        attention_mask=None,
        memory=None,
        memory_mask=None,
        past_key_values=None,
        output_attentions=False,
        output_hidden_states=False,
    ):
        check_text(input_ids, self.config.vocab_size)
        batch, length = input_ids.shape
        past = past_key_values.length if past_key_values is not None else 0
        arguments = {"mask": self.self_mask(attention_mask, batch, length, past), "cache": past_key_values}
        if memory is not None:
            arguments |= {"memory": memory, "memory_mask": key_mask(memory_mask, batch, memory.size(1))}
        bias = self.block[0].layer[0].SelfAttention.compute_bias(past + length, past + length)[:, :, past:]
        states, seen, crossed = [self.dropout(self.embed_tokens(input_ids))], [], []
        for block in self.block:
            x, weights, cross = block(states[-1], bias=bias, need_weights=output_attentions, **arguments)
            states, seen, crossed = [*states, x], [*seen, weights], [*crossed, cross]
        states[-1] = self.dropout(self.final_layer_norm(states[-1]))
        return T5StackOutput(
            states[-1],
            tuple(states) if output_hidden_states else None,
            tuple(seen) if output_attentions else None,
            tuple(crossed) if output_attentions and self.is_decoder else None,
        )
''',
        mistakes={
            "encoder-looks-back-only": Mistake(
                "your encoder does not see what comes after a token. Only a decoder has to be kept from that.",
                (("if not self.is_decoder or length == 1:", "if length == 1:"),),
            ),
            "decoder-sees-the-future": Mistake(
                "your decoder sees what comes after a token: in training it could look up what it is to say.",
                (("if not self.is_decoder or length == 1:", "if True:"),),
            ),
            "padding-seen-by-the-decoder": Mistake(
                "your decoder forgets the padding where it hides the future. A key must be allowed by both masks.",
                (("return causal if padding is None else causal & padding", "return causal"),),
            ),
            "first-rows-of-the-mask": Mistake(
                "after a past your mask takes the first rows of the triangle. The new tokens are the last places, and "
                "see all that came before them.",
                (("[past:]  # [T, P + T]", "[:length]"),),
            ),
            "bias-in-the-first-layer-alone": Mistake(
                "only the first layer gets the bias. The others have no table, but they use the same bias: without it "
                "they would not know where a token stands.",
                (("block(x, bias, mask,", "block(x, bias if block is self.block[0] else None, mask,"),),
            ),
            "bias-without-the-past": Mistake(
                "after a past your bias has no columns for it: there are as many keys as there are places, old and "
                "new.",
                (
                    (
                        "places = input_ids.size(1), past + input_ids.size(1)",
                        "places = input_ids.size(1), input_ids.size(1)",
                    ),
                ),
            ),
            "bias-of-the-first-places": Mistake(
                "after a past your bias is that of the first places. The queries are the last ones: exercise 4 counts "
                "them so, if it is told how many queries and how many keys there are.",
                (("compute_bias(*places)  #", "compute_bias(places[1], places[1])[:, :, : places[0]]  #"),),
            ),
            "mask-lost": Mistake(
                "your blocks never see the mask.",
                (("block(x, bias, mask, memory", "block(x, bias, None, memory"),),
            ),
            "memory-mask-lost": Mistake(
                "your blocks look at the padding of the source: memory_mask has to reach them.",
                (
                    (
                        "memory, memory_mask, past_key_values, output_attentions)",
                        "memory, None, past_key_values, output_attentions)",
                    ),
                ),
            ),
            "weights-never-asked-for": Mistake(
                "your stack returns no weights though output_attentions asks for them: the blocks have to be asked.",
                (
                    (
                        "memory, memory_mask, past_key_values, output_attentions)",
                        "memory, memory_mask, past_key_values)",
                    ),
                ),
            ),
        },
    ),
    "spans": Proofs(
        observe="""
counts = check.observe(noise_counts, 100)
little = check.observe(noise_counts, 3)
much = check.observe(noise_counts, 4, 0.9)
half = check.observe(noise_counts, 16, 0.5, 2.0)
uneven = check.observe(noise_counts, 35)
noise = span_noise(1000, seeded(0))
hidden = check.observe(int, noise.sum())
begins = check.observe(int, noise[0])
ends = check.observe(int, noise[-1])
again = check.observe(int, (span_noise(1000, seeded(0)) ^ noise).any())
other = check.observe(int, (span_noise(1000, seeded(1)) ^ noise).any())
spans = check.observe(int, (noise[1:] & ~noise[:-1]).sum() > 45)
ids, mask = torch.arange(11, 20), torch.tensor([False, True, True, False, False, False, True, True, True])
texts = check.observe(hide_spans, ids, mask, 99)
first = check.observe(hide_spans, ids, ~mask, 50)
purity = check.observe(check.pure, hide_spans, ids, mask, 99)
""",
        alternative='''
def noise_counts(length, rate=0.15, mean_span=3.0):
    """The same with the bounds one after the other."""
    check_rate("rate", rate)
    if length < 2 or mean_span < 1:
        raise ValueError(f"length={length}, mean_span={mean_span}: expected at least 2 and 1")
    tokens = round(length * rate)
    tokens = 1 if tokens < 1 else length - 1 if tokens >= length else tokens
    spans = max(1, round(tokens / mean_span))
    return tokens, min(spans, length - tokens)


def span_noise(length, generator, rate=0.15, mean_span=3.0):
    """The same span by span."""
    tokens, spans = noise_counts(length, rate, mean_span)
    noise = []
    lengths = [random_partition(total, spans, generator).tolist() for total in (length - tokens, tokens)]
    for kept, hidden in zip(*lengths, strict=True):
        noise += [False] * kept + [True] * hidden
    return torch.tensor(noise)


def hide_spans(ids, noise, first_sentinel):
    """The same token by token."""
    check_tokens(ids, "[T]")
    if noise.dtype != torch.bool:
        raise TypeError(f"noise has dtype {noise.dtype}: expected torch.bool")
    if noise.shape != ids.shape:
        raise ValueError(f"noise of shape {list(noise.shape)}: expected {list(ids.shape)}")
    inputs, targets, sentinel, inside = [], [], first_sentinel, False
    for token, hidden in zip(ids.tolist(), noise.tolist(), strict=True):
        if hidden and not inside:
            inputs.append(sentinel)
            targets.append(sentinel)
            sentinel -= 1
        (targets if hidden else inputs).append(token)
        inside = hidden
    if sentinel < 0 or any(sentinel <= token <= first_sentinel for token in ids.tolist()):
        raise ValueError(f"first_sentinel={first_sentinel}: expected room for the sentinels")
    return torch.tensor(inputs, dtype=ids.dtype), torch.tensor([*targets, sentinel], dtype=ids.dtype)
''',
        mistakes={
            "one-sentinel-a-token": Mistake(
                "you put a sentinel for every hidden token. One stands for a whole span: that is what makes the input "
                "shorter than the text, and leaves it to the model how many words are missing.",
                (("starts = noise & ~torch.cat([noise.new_zeros(1), noise[:-1]])", "starts = noise.clone()"),),
            ),
            "sentinels-count-up": Mistake(
                "your sentinels count up. The first is the last id of the vocabulary, and from there they count down.",
                (
                    (
                        "sentinels = first_sentinel + 1 - starts.cumsum(0)",
                        "sentinels = first_sentinel - 1 + starts.cumsum(0)",
                    ),
                    ("ids.new_tensor([last_sentinel])", "ids.new_tensor([first_sentinel + int(starts.sum())])"),
                ),
            ),
            "no-last-sentinel": Mistake(
                "the last sentinel is missing: one more ends the target.",
                (("return inputs, torch.cat([targets, ids.new_tensor([last_sentinel])])", "return inputs, targets"),),
            ),
            "one-sentinel-for-all": Mistake(
                "all your spans have the same sentinel, so the model could not say which of them it is filling.",
                (("first_sentinel + 1 - starts.cumsum(0)", "first_sentinel + 0 * starts.cumsum(0)"),),
            ),
            "target-is-the-whole-text": Mistake(
                "your target holds tokens that were never hidden. It has only the sentinels and what they stand for.",
                (
                    (
                        "targets = choices[torch.stack([starts, noise], dim=1)]",
                        "targets = choices[torch.stack([starts, noise | True], dim=1)]",
                    ),
                ),
            ),
            "span-not-removed": Mistake(
                "your input still holds what it should hide: the sentinel stands in place of the span, not before it.",
                (
                    (
                        "inputs = choices[torch.stack([starts, ~noise], dim=1)]",
                        "inputs = choices[torch.stack([starts, noise | True], dim=1)]",
                    ),
                ),
            ),
            "a-span-for-every-token": Mistake(
                "you count as many spans as hidden tokens. mean_span says how many tokens a span has on average.",
                (("max(round(tokens / mean_span)", "max(tokens"),),
            ),
            "rounded-up": Mistake(
                "your numbers of tokens and spans are rounded up. The nearest whole number is wanted.",
                (
                    ("max(round(length * rate)", "max(math.ceil(length * rate)"),
                    ("max(round(tokens / mean_span)", "max(math.ceil(tokens / mean_span)"),
                ),
            ),
            "everything-hidden": Mistake(
                "in a short text your numbers leave no token to stand between the spans, or none at all.",
                (
                    ("max(round(length * rate), 1), length - 1)", "max(round(length * rate), 1), length)"),
                    ("1), length - tokens)", "1), length)"),
                ),
            ),
            "hidden-first": Mistake(
                "your text begins with a hidden span and ends with a kept one. It is the other way round.",
                (
                    ("torch.tensor([False, True]).repeat(spans)", "torch.tensor([True, False]).repeat(spans)"),
                    ("torch.stack([kept, hidden], dim=1)", "torch.stack([hidden, kept], dim=1)"),
                ),
            ),
            "each-token-by-chance": Mistake(
                "you hide each token by chance, on its own, as BERT does. Here the numbers of hidden tokens and of "
                "spans are fixed, and only the lengths of the spans are drawn.",
                (
                    (
                        "    return kinds.repeat_interleave(torch.stack([kept, hidden], dim=1).flatten())  # [T]",
                        "    return torch.rand(length, generator=generator) < rate",
                    ),
                ),
            ),
            "chance-from-elsewhere": Mistake(
                "the same seed gives you other spans each time. All chance has to come from the generator that is "
                "passed in.",
                (
                    (
                        "    kept = random_partition(",
                        "    generator = torch.Generator()\n    generator.seed()\n    kept = random_partition(",
                    ),
                ),
            ),
        },
    ),
    "tasks": Proofs(
        observe="""
pair = check.observe(glue_input, "mnli", premise="It rains.", hypothesis="It is dry.")
single = check.observe(glue_input, "sst2", sentence="Скучно!")
other = check.observe(glue_input, "cola", sentence1="One.")
scores = [check.observe(similarity_words, score) for score in (1, 2.57, 3.75, 4.87, 4.95, 0.04)]
words = check.observe(list, [part for score in scores for part in score])
beyond = check.observe(similarity_words, 5.3)
positive = check.observe(read_glue_target, "sst2", "positive")
spaced = check.observe(read_glue_target, "mnli", " entailment ")
hamburger = check.observe(read_glue_target, "sst2", "hamburger")
foreign = check.observe(read_glue_target, "cola", "positive")
number = check.observe(read_glue_target, "stsb", "3.8")
much = check.observe(read_glue_target, "stsb", "very much")
large = check.observe(read_glue_target, "stsb", "7.2")
""",
        alternative='''
def glue_input(task, **fields):
    """The same, field by field."""
    check_task(task)
    if sorted(fields) != sorted(GLUE_FIELDS[task]):
        raise ValueError(f"fields {sorted(fields)}: expected {GLUE_FIELDS[task]}")
    text = task
    for name in GLUE_FIELDS[task]:
        text += f" {name}: {fields[name]}"
    return text


def similarity_words(score):
    """The same in whole fifths: 18 of them are 3.6."""
    if score < 0 or score > 5:
        raise ValueError(f"score {score}: expected 0 ... 5")
    whole, fifths = divmod(math.floor(5 * score + 0.5), 5)
    return f"{whole}.{2 * fifths}"


def read_glue_target(task, answer):
    """The same with a table of answers."""
    check_task(task)
    words = answer.strip()
    if task in GLUE_WORDS:
        return {word: label for label, word in enumerate(GLUE_WORDS[task])}.get(words)
    try:
        number = float(words)
    except ValueError:
        number = -1.0
    return number if 0 <= number <= 5 else None
''',
        mistakes={
            "fields-as-they-come": Mistake(
                "your fields stand in the order of the call. The task's own order, in GLUE_FIELDS, is what the model "
                "has been trained on.",
                (
                    (
                        '*(f"{name}: {fields[name]}" for name in GLUE_FIELDS[task])',
                        '*(f"{name}: {text}" for name, text in fields.items())',
                    ),
                ),
            ),
            "no-task": Mistake(
                "the task's name is missing in front: without it the model cannot know what it is asked.",
                (('" ".join([task, *(f"', '" ".join([*(f"'),),
            ),
            "no-field-names": Mistake(
                "the names of the fields are missing before their texts.",
                (('f"{name}: {fields[name]}"', "fields[name]"),),
            ),
            "any-fields": Mistake(
                "you take any fields. Those that are not the task's deserve an error.",
                (
                    ("    if set(fields) != set(GLUE_FIELDS[task]):\n", "    if not fields:\n"),
                    ('{fields[name]}" for name in GLUE_FIELDS[task])', '{fields[name]}" for name in fields)'),
                ),
            ),
            "rounded-to-tenths": Mistake(
                "you round to one digit: that makes 41 classes from 1 to 5. The nearest 0.2 is wanted.",
                (("round(score * 5) / 5", "score"),),
            ),
            "rounded-down": Mistake(
                "your scores are rounded down. The nearest 0.2 may lie above.",
                (("round(score * 5)", "int(score * 5)"),),
            ),
            "rounded-to-whole-numbers": Mistake(
                "you round to whole numbers: five classes, where the paper has 21.",
                (("round(score * 5) / 5", "round(score)"),),
            ),
            "no-digit-after-the-point": Mistake(
                "a whole score loses its digit after the point. Its text is one of 21 words, and the model knows it "
                "in one spelling only.",
                (('return f"{round(score * 5) / 5:.1f}"', 'return f"{round(score * 5) / 5:g}"'),),
            ),
            "stranger-is-a-label": Mistake(
                "an answer that stands for no label is counted as a label. It is wrong, and None says so.",
                (("if answer in GLUE_WORDS[task] else None", "if answer in GLUE_WORDS[task] else 0"),),
            ),
            "stranger-breaks": Mistake(
                "your reader breaks off at an answer that stands for no label. A model may say anything; such an "
                "answer is None.",
                ((" if answer in GLUE_WORDS[task] else None", ""),),
            ),
            "space-counts": Mistake(
                "white space around an answer makes it a wrong one. It does not count.",
                (("answer = answer.strip()", "answer = str(answer)"),),
            ),
            "any-number": Mistake(
                "you take any number for a score. Only those from 0 to 5 are.",
                (("return score if 0 <= score <= 5 else None", "return score"),),
            ),
        },
    ),
    "caches": Proofs(
        observe="""
key, value = check.formula("key", (2, 3, 4, 4)), check.formula("value", (2, 3, 4, 4)) * 2
other = check.formula("other", (2, 3, 4, 4)) * 3
cache = check.new(KeyValueCache)
piece = check.observe(cache.append, 0, key, value)
second = check.observe(cache.append, 1, other, other)
longer = check.observe(cache.append, 0, other[:, :, :2], value[:, :, :2])
likewise = check.observe(cache.append, 1, key[:, :, :2], value[:, :, :2])
length = check.observe(int, cache.length)
memory, another = check.new(Projections, key, value), check.new(Projections, other, value)
fixed = check.observe(cache.once, 0, memory)
later = check.observe(cache.once, 0, memory)
calls = check.observe(int, memory.calls)
elsewhere = check.observe(cache.once, 1, another)
small = check.new(KeyValueCache)
grown = check.observe(small.append, 0, key, value)
kept = check.observe(small.once, 0, memory)
moved = check.observe(small.reorder, torch.tensor([1, 0]), False)
after_fixed = check.observe(small.once, 0, another)
moved_again = check.observe(small.reorder, torch.tensor([1, 1]))
after = check.observe(small.append, 0, other, other)
last_fixed = check.observe(small.once, 0, another)
""",
        alternative='''
class KeyValueCache:
    """The same with lists of pieces, joined when they are asked for, and rows moved one by one."""

    def __init__(self):
        self.pairs, self.fixed = {}, {}

    @property
    def length(self):
        return max((key.shape[2] for key, _ in self.pairs.values()), default=0)

    def append(self, layer, key, value):
        past = [self.pairs[layer]] if layer in self.pairs else []
        joined = tuple(torch.cat(parts, dim=2) for parts in zip(*past, (key, value), strict=True))
        self.pairs[layer] = joined
        return joined

    def once(self, layer, compute):
        found = self.fixed.get(layer)
        if found is None:
            found = self.fixed[layer] = compute()
        return found

    def reorder(self, rows, fixed=True):
        def moved(pairs):
            return {layer: tuple(part[rows] for part in pair) for layer, pair in pairs.items()}

        self.pairs = moved(self.pairs)
        if fixed:
            self.fixed = moved(self.fixed)
''',
        mistakes={
            "past-forgotten": Mistake(
                "your append returns the new tokens alone: what came before is forgotten.",
                (("        if layer in self.pairs:\n", "        if False:\n"),),
            ),
            "not-stored": Mistake(
                "your append joins past and present, but does not store the result: the next token will not find it.",
                (
                    (
                        "        self.pairs[layer] = key, value\n        return key, value",
                        "        self.pairs.setdefault(layer, (key, value))\n        return key, value",
                    ),
                ),
            ),
            "new-tokens-first": Mistake(
                "your append puts the new tokens before the past. They come last.",
                (
                    ("torch.cat([past_key, key], dim=-2)", "torch.cat([key, past_key], dim=-2)"),
                    ("torch.cat([past_value, value], dim=-2)", "torch.cat([value, past_value], dim=-2)"),
                ),
            ),
            "joined-along-the-width": Mistake(
                "your append joins along the wrong axis: in [B, H, T, d] it is the number of tokens that grows.",
                (
                    ("torch.cat([past_key, key], dim=-2)", "torch.cat([past_key, key], dim=-1)"),
                    ("torch.cat([past_value, value], dim=-2)", "torch.cat([past_value, value], dim=-1)"),
                ),
            ),
            "values-forgotten": Mistake(
                "your append lets the keys grow and not the values.",
                (("            value = torch.cat([past_value, value], dim=-2)\n", ""),),
            ),
            "one-pair-for-all-layers": Mistake(
                "all your layers share one pair. Each layer has keys and values of its own.",
                (
                    ("        if layer in self.pairs:\n", "        layer = 0\n        if layer in self.pairs:\n"),
                    (
                        "        if layer not in self.fixed:\n",
                        "        layer = 0\n        if layer not in self.fixed:\n",
                    ),
                ),
            ),
            "computed-every-time": Mistake(
                "your once computes the memory's keys and values again for every token. The memory does not change: "
                "the first result is kept.",
                (("        if layer not in self.fixed:\n", "        if True:\n"),),
            ),
            "memory-counted-as-text": Mistake(
                "your once keeps the memory's pair among those of the text that is written, where append will let it "
                "grow. The two are apart.",
                (
                    ("        if layer not in self.fixed:\n", "        if layer not in self.pairs:\n"),
                    ("            self.fixed[layer] = compute()\n", "            self.pairs[layer] = compute()\n"),
                    ("        return self.fixed[layer]", "        return self.pairs[layer]"),
                ),
            ),
            "memory-stays-behind": Mistake(
                "your reorder never moves the memory's pairs. Rows may belong to different texts: unless fixed is "
                "False, they follow too.",
                (("(self.pairs, self.fixed) if fixed else (self.pairs,)", "(self.pairs,)"),),
            ),
            "memory-always-moves": Mistake(
                "your reorder moves the memory's pairs even where fixed is False.",
                (("(self.pairs, self.fixed) if fixed else (self.pairs,)", "(self.pairs, self.fixed)"),),
            ),
            "rows-the-wrong-way": Mistake(
                "your reorder sends row b to the place rows[b]. It is the other way round: in place b goes on what was "
                "row rows[b].",
                (
                    (
                        "key.index_select(0, rows), value.index_select(0, rows)",
                        "key.clone().index_copy_(0, rows, key), value.clone().index_copy_(0, rows, value)",
                    ),
                ),
            ),
        },
    ),
    "learning": Proofs(
        observe="""
labels = torch.tensor([[5, 6, 1], [7, -100, -100]])
read = check.observe(shift_right, labels, 3, 2)
purity = check.observe(check.pure, shift_right, labels, 3, 2)
sizes = {"vocab_size": 20, "d_model": 8, "d_kv": 3, "d_ff": 16, "num_layers": 2, "num_heads": 2}
model = check.new(T5ForConditionalGeneration, T5Config(**sizes))
tied = check.observe(check.shared, model, "shared.weight", "lm_head.weight")
check.fill(model)
source, target = torch.tensor([[3, 4, 5, 1], [6, 1, 2, 2]]), torch.tensor([[0, 7, 8], [0, 9, 1]])
logits = check.observe(model, source, None, target, pick=1)
untied = check.new(T5ForConditionalGeneration, T5Config(**sizes, tie_word_embeddings=False))
count = check.observe(len, check.params(untied))
check.fill(untied)
other_logits = check.observe(untied, source, None, target, pick=1)
""",
        alternative='''
def shift_right(labels, start_id, pad_id):
    """The same by padding on the left."""
    known = torch.where(labels == -100, torch.full_like(labels, pad_id), labels)
    return F.pad(known, (1, -1), value=start_id)


class T5ForConditionalGeneration(HuggingFaceModel):
    """The same without the door to Hugging Face, the factor on the logits."""

    config_class = T5Config

    def __init__(self, config):
        super().__init__(config)
        decoder_layers = config.num_decoder_layers or config.num_layers
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = T5Stack(config, self.shared, config.num_layers)
        self.decoder = T5Stack(config, self.shared, decoder_layers, is_decoder=True)
        self.lm_head = Linear(config.d_model, config.vocab_size, bias=False)
        self.tie_weights()
        for name, parameter in self.named_parameters():
            if not name.endswith("layer_norm.weight"):
                fan = {"shared": 1, "lm_head": 1, "q": config.d_model * config.d_kv}.get(name.split(".")[-2])
                fan = config.d_model if "relative" in name else fan or parameter.shape[-1]
                nn.init.normal_(parameter, std=config.initializer_factor / math.sqrt(fan))
            else:
                nn.init.constant_(parameter, config.initializer_factor)

    def tie_weights(self):
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.shared.weight

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        decoder_input_ids=None,
        decoder_attention_mask=None,
        encoder_outputs=None,
        past_key_values=None,
        labels=None,
        output_attentions=False,
        output_hidden_states=False,
    ):
        asked = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        if decoder_input_ids is None:
            decoder_input_ids = shift_right(labels, self.config.decoder_start_token_id, self.config.pad_token_id)
        if encoder_outputs is None:
            encoder_outputs = self.encoder(input_ids, attention_mask, **asked)
        encoded = T5StackOutput(*encoder_outputs)
        decoded = self.decoder(
            decoder_input_ids, decoder_attention_mask, encoded[0], attention_mask, past_key_values, **asked
        )
        logits = decoded[0] @ self.lm_head.weight.T
        if self.config.tie_word_embeddings:
            logits = logits / math.sqrt(self.config.d_model)
        loss = None if labels is None else F.cross_entropy(logits.transpose(1, 2), labels)
        return T5Output(loss, logits, *encoded[:3], *decoded[1:])
''',
        mistakes={
            "not-scaled": Mistake(
                "what goes into the tied head is not scaled: embeddings start √D times larger than a head would, and "
                "so do your logits.",
                (("            x = x * self.config.d_model**-0.5\n", "            x = x * 1.0\n"),),
            ),
            "scaled-up": Mistake(
                "what goes into the tied head is made larger. Look at the sign of the exponent of D.",
                (("self.config.d_model**-0.5", "self.config.d_model**0.5"),),
            ),
            "always-scaled": Mistake(
                "a head that is not tied is scaled as well. The factor makes up for the size of embeddings; a head of "
                "its own learns its own size.",
                (
                    (
                        "        if self.config.tie_word_embeddings:\n            x = x",
                        "        if True:\n            x = x",
                    ),
                ),
            ),
            "tied-by-copy": Mistake(
                "embeddings and head begin alike, but they are two parameters, and training will part them. One "
                "parameter must have both names.",
                (
                    (
                        "self.lm_head.weight = self.shared.weight",
                        "self.lm_head.weight = nn.Parameter(self.shared.weight.detach().clone())",
                    ),
                ),
            ),
            "always-tied": Mistake(
                "your head is tied whatever the configuration says.",
                (
                    (
                        "        if self.config.tie_word_embeddings:\n            self.lm_head",
                        "        if True:\n            self.lm_head",
                    ),
                ),
            ),
            "not-shifted": Mistake(
                "the decoder reads the very tokens that it is to say, so it learns to repeat what it reads and has "
                "nothing to say when it must write. What it reads is one place behind.",
                (("torch.cat([start, labels[:, :-1]], dim=1)", "labels.clone()"),),
            ),
            "first-label-lost": Mistake(
                "your shift drops the first label and keeps the last. Behind the start come all labels but the last.",
                (("labels[:, :-1]", "labels[:, 1:]"),),
            ),
            "holes-read": Mistake(
                "the decoder reads labels of -100, which is no token. Padding stands in their place.",
                (("return ids.masked_fill(ids == -100, pad_id)", "return ids"),),
            ),
            "start-is-always-zero": Mistake(
                "your decoder starts with 0 whatever start_id says.",
                (
                    (
                        "start = labels.new_full((labels.size(0), 1), start_id)",
                        "start = labels.new_zeros((labels.size(0), 1))",
                    ),
                ),
            ),
        },
    ),
}
