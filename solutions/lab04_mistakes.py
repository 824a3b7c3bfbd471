"""Lab 4: mistakes that students make, the hint each deserves, and other right ways. See `autograder/mistakes.py`.

A hint names the misunderstanding and where to look. It never shows code.
"""

from autograder.mistakes import Mistake, Proofs

EXERCISES = {
    "embeddings": Proofs(
        observe="""
embeddings = check.new(BertEmbeddings, BertConfig(vocab_size=20, hidden_size=6, num_attention_heads=2))
check.fill(embeddings)
ids = torch.tensor([[2, 5, 7, 3], [2, 9, 3, 0]])
types = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0]])
plain = check.observe(embeddings, ids)
typed = check.observe(embeddings, ids, types)
placed = check.observe(embeddings, ids, types, torch.tensor([[3, 1, 0, 2]]))
unknown = check.observe(embeddings, torch.tensor([[2, 20]]))
""",
        alternative='''
class BertEmbeddings(nn.Module):
    """The same with rows picked by indexing, and what is missing filled in first."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids, token_type_ids=None, position_ids=None):
        check_input(input_ids, self.config.vocab_size, self.config.max_position_embeddings)
        batch, length = input_ids.shape
        types = torch.zeros(batch, length).long() if token_type_ids is None else token_type_ids
        positions = torch.arange(length) if position_ids is None else position_ids
        if types.min() < 0 or types.max() >= self.config.type_vocab_size:
            raise ValueError(f"token types from {types.min()} to {types.max()}")
        if positions.min() < 0 or positions.max() >= self.config.max_position_embeddings:
            raise ValueError(f"positions from {positions.min()} to {positions.max()}")
        positions = positions.expand(batch, length)
        vectors = [self.word_embeddings(input_ids), self.position_embeddings.weight[positions]]
        vectors.append(self.token_type_embeddings.weight[types])
        return self.dropout(self.LayerNorm(torch.stack(vectors).sum(0)))
''',
        mistakes={
            "no-positions": Mistake(
                "the sum has no positions in it: the same token gets the same vector wherever it stands, so that no "
                "order is known to anybody.",
                (("        x = x + self.position_embeddings(position_ids)\n", ""),),
            ),
            "no-types": Mistake(
                "the sum has no token types in it: first and second sentence can't be told apart.",
                ((" + self.token_type_embeddings(token_type_ids)", ""),),
            ),
            "types-ignored": Mistake(
                "the token types that are given are not used: yours are always zero.",
                (("        if token_type_ids is None:\n            token_type_ids", "        token_type_ids"),),
            ),
            "positions-ignored": Mistake(
                "the positions that are given are not used: yours always count from zero.",
                (("        if position_ids is None:\n            position_ids", "        position_ids"),),
            ),
            "positions-from-one": Mistake(
                "your positions count from 1; they count from 0, or the last row of a full text has no vector.",
                (("torch.arange(input_ids.size(1)", "torch.arange(1, 1 + input_ids.size(1)"),),
            ),
            "no-norm": Mistake(
                "the sum comes out as it is. A LayerNorm follows it.",
                (("self.dropout(self.LayerNorm(x))", "self.dropout(x)"),),
            ),
            "norm-too-early": Mistake(
                "the LayerNorm comes before all three vectors are in the sum. It belongs behind the whole sum.",
                (
                    ("x = x + self.position", "x = self.LayerNorm(x) + self.position"),
                    ("self.dropout(self.LayerNorm(x))", "self.dropout(x)"),
                ),
            ),
        },
    ),
    "count": Proofs(
        observe="""
sizes = {"hidden_size": 6, "num_attention_heads": 2, "intermediate_size": 11, "num_hidden_layers": 3}
config = BertConfig(vocab_size=17, max_position_embeddings=5, type_vocab_size=7, **sizes)
counts = check.observe(count_parameters, config)
""",
        alternative='''
def count_parameters(config):
    """The same by the shapes of all tensors."""
    D, F = config.hidden_size, config.intermediate_size
    layer = [(D, D), (D,)] * 4 + [(F, D), (F,), (D, F), (D,)] + [(D,)] * 4
    tables = [config.vocab_size, config.max_position_embeddings, config.type_vocab_size]
    counts = {
        "projection": math.prod((D, D)) + D,
        "layer": sum(math.prod(shape) for shape in layer),
        "embeddings": sum(rows * D for rows in tables) + D + D,
    }
    counts["encoder"] = config.num_hidden_layers * counts["layer"]
    counts["pooler"] = counts["projection"]
    counts["total"] = counts["embeddings"] + counts["encoder"] + counts["pooler"]
    return counts
''',
        mistakes={
            "no-bias": Mistake(
                "your projection has no bias: a linear map to D numbers adds one number to each of them.",
                (("width * width + width\n", "width * width\n"),),
            ),
            "three-projections": Mistake(
                "your layer counts three projections. Query, key and value are three; what follows attention has one "
                "more.",
                (("4 * projection", "3 * projection"),),
            ),
            "one-norm": Mistake(
                "your layer counts one LayerNorm; it has two, one behind attention and one behind the feed-forward "
                "network.",
                (("+ 2 * norm", "+ norm"),),
            ),
            "norm-without-bias": Mistake(
                "a LayerNorm counts too little: it has a weight and a bias, D numbers each.",
                (("norm = 2 * width", "norm = width"),),
            ),
            "norm-of-embeddings-forgotten": Mistake(
                "the embeddings count their tables alone; a LayerNorm follows them.",
                (("rows * width + norm", "rows * width"),),
            ),
            "no-types": Mistake(
                "the embeddings lack a table: words, positions, and which.",
                ((" + config.type_vocab_size", ""),),
            ),
            "by-heads": Mistake(
                "your count of a projection hangs on the number of heads. The heads cut one projection into parts and "
                "add nothing.",
                (
                    (
                        "projection = width * width + width",
                        "projection = config.num_attention_heads * (width * width + width)",
                    ),
                ),
            ),
            "pooler-forgotten": Mistake(
                "the total lacks the pooler.",
                (('"total": embeddings + encoder + projection', '"total": embeddings + encoder'),),
            ),
        },
    ),
    "layer": Proofs(
        observe="""
config = BertConfig(vocab_size=9, hidden_size=6, num_attention_heads=3, intermediate_size=10)
x, residual = check.formula("x", (2, 4, 6)) * 3, check.formula("residual", (2, 4, 6)) * 3
mask = (torch.arange(4) < 3).reshape(1, 1, 1, 4)
looking = check.new(BertSelfAttention, config)
check.fill(looking)
context = check.observe(looking, x, pick=0)
masked = check.observe(looking, x, mask, True, pick=1)
unasked = check.observe(looking, x, pick=1)
output = check.new(BertSelfOutput, config)
check.fill(output)
first = check.observe(output, x, residual)
wide = check.new(BertIntermediate, config)
check.fill(wide)
inner = check.observe(wide, x)
narrow = check.new(BertOutput, config)
check.fill(narrow)
second = check.observe(narrow, check.formula("inner", (2, 4, 10)) * 3, residual)
layer = check.new(BertLayer, config)
check.fill(layer)
whole = check.observe(layer, x, pick=0)
whole_masked = check.observe(layer, x, mask, True)
""",
        alternative='''
class BertSelfAttention(nn.Module):
    """The same with all three projections in one product."""

    def __init__(self, config):
        super().__init__()
        self.heads, self.dropout = config.num_attention_heads, config.attention_probs_dropout_prob
        self.query, self.key, self.value = (nn.Linear(config.hidden_size, config.hidden_size) for _ in range(3))

    def forward(self, x, mask=None, need_weights=False):
        maps = (self.query, self.key, self.value)
        weight, bias = torch.cat([m.weight for m in maps]), torch.cat([m.bias for m in maps])
        query, key, value = F.linear(x, weight, bias).chunk(3, dim=-1)
        query, key, value = (split_heads(part, self.heads) for part in (query, key, value))
        scores = torch.einsum("bhqd,bhkd->bhqk", query, key) * query.size(-1) ** -0.5
        if mask is not None:
            scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
        weights = F.dropout(scores.softmax(-1), self.dropout, self.training)
        context = torch.einsum("bhqk,bhkd->bqhd", weights, value).flatten(2)
        return context, weights if need_weights else None


class BertSelfOutput(nn.Module):
    """The same in single steps."""

    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x, residual):
        x = self.dense(x)
        x = self.dropout(x)
        x = torch.add(residual, x)
        return self.LayerNorm(x)


class BertIntermediate(nn.Module):
    """The same with the weights applied by hand."""

    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.bend = activation(config.hidden_act)

    def forward(self, x):
        return self.bend(x @ self.dense.weight.T + self.dense.bias)


class BertOutput(nn.Module):
    """The same in single steps."""

    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x, residual):
        total = residual + self.dropout(self.dense(x))
        return self.LayerNorm(total)


class BertLayer(nn.Module):
    """The same with a name for each step."""

    def __init__(self, config):
        super().__init__()
        self.attention, self.intermediate = BertAttention(config), BertIntermediate(config)
        self.output = BertOutput(config)

    def forward(self, x, mask=None, need_weights=False):
        attended = self.attention(x, mask=mask, need_weights=need_weights)
        wide = self.intermediate(attended[0])
        return self.output(wide, residual=attended[0]), attended[1]
''',
        mistakes={
            "mask-lost": Mistake(
                "the attention was given a mask, and its weights do not depend on it.",
                (("attention(query, key, value, mask, dropout", "attention(query, key, value, None, dropout"),),
            ),
            "key-as-query": Mistake(
                "queries and keys pass through the same projection, so that every score is a vector with itself or "
                "its like. There are three maps, one for each part.",
                (("split_heads(self.query(x)", "split_heads(self.key(x)"),),
            ),
            "weights-always": Mistake(
                "your attention gives weights that nobody asked for.",
                (("mask, dropout, need_weights)", "mask, dropout, True)"),),
            ),
            "heads-not-merged": Mistake(
                "the heads are joined in the wrong order: a token's numbers must stand together again. Lab 3 has a "
                "function that undoes the splitting.",
                (("merge_heads(context), weights", "context.reshape(x.shape), weights"),),
            ),
            "no-residual": Mistake(
                "the residual is missing from the sum behind attention: attention only has to say what changes.",
                (
                    (
                        'both [B, T, D] -> [B, T, D]."""\n'
                        "        return self.LayerNorm(self.dropout(self.dense(x)) + residual)",
                        'both [B, T, D] -> [B, T, D]."""\n        return self.LayerNorm(self.dropout(self.dense(x)))',
                    ),
                ),
            ),
            "norm-before-the-sum": Mistake(
                "behind the feed-forward network you normalise the change alone and then add the residual. In BERT "
                "the LayerNorm comes last, over the sum (post-norm).",
                (
                    (
                        '`residual` [B, T, D] -> [B, T, D]."""\n'
                        "        return self.LayerNorm(self.dropout(self.dense(x)) + residual)",
                        '`residual` [B, T, D] -> [B, T, D]."""\n'
                        "        return self.LayerNorm(self.dropout(self.dense(x))) + residual",
                    ),
                ),
            ),
            "feed-forward-reads-x": Mistake(
                "the second residual is the layer's input. The feed-forward network changes what attention has made, "
                "so that is what is added to its answer.",
                (
                    (
                        "        x, weights = self.attention(x, mask, need_weights)\n"
                        "        return self.output(self.intermediate(x), x), weights",
                        "        y, weights = self.attention(x, mask, need_weights)\n"
                        "        return self.output(self.intermediate(y), x), weights",
                    ),
                ),
            ),
            "layer-loses-the-mask": Mistake(
                "the layer was given a mask, and its result does not depend on it: its attention has to get it.",
                (("self.attention(x, mask, need_weights)", "self.attention(x, None, need_weights)"),),
            ),
            "relu": Mistake(
                "the feed-forward network bends with ReLU whatever the configuration says. BERT's has GELU, and the "
                "constructor has looked it up.",
                (("self.activation(self.dense(x))", "torch.relu(self.dense(x))"),),
            ),
            "no-activation": Mistake(
                "nothing bends between the two maps of the feed-forward network, and two maps in a row are only one.",
                (("self.activation(self.dense(x))", "self.dense(x)"),),
            ),
        },
    ),
    "features": Proofs(
        observe="""
hidden = [check.formula(f"hidden {k}", (1, 2, 3)) + k for k in range(7)]
last = check.observe(token_features, hidden)
before = check.observe(token_features, hidden, "second-to-last")
first = check.observe(token_features, hidden, "embeddings")
four = check.observe(token_features, hidden, "sum-last-four")
side = check.observe(token_features, hidden, "concat-last-four")
every = check.observe(token_features, hidden, "sum-all")
few = check.observe(token_features, hidden[:4], "sum-last-four")
sizes = {"hidden_size": 6, "num_attention_heads": 2, "intermediate_size": 10, "num_hidden_layers": 2}
encoder = check.new(BertEncoder, BertConfig(vocab_size=9, **sizes))
check.fill(encoder)
x = check.formula("x", (1, 4, 6)) * 3
mask = (torch.arange(4) < 3).reshape(1, 1, 1, 4)
states = check.observe(encoder, x, mask, need_hidden=True)
weights = check.observe(encoder, x, mask, need_weights=True)
""",
        alternative='''
class BertEncoder(nn.Module):
    """The same, with everything kept and what nobody wants thrown away."""

    def __init__(self, config):
        super().__init__()
        self.layer = nn.ModuleList([BertLayer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, x, mask=None, need_weights=False, need_hidden=False):
        hidden, looked = [x], []
        for layer in self.layer:
            y, weights = layer(hidden[-1], mask=mask, need_weights=need_weights)
            hidden.append(y)
            looked.append(weights)
        return hidden[-1], tuple(hidden) if need_hidden else None, tuple(looked) if need_weights else None


def token_features(hidden_states, how="last"):
    """The same, each way on its own line."""
    count = len(hidden_states) - 1
    if how in ("sum-last-four", "concat-last-four") and count < 4 or how == "second-to-last" and count < 2:
        raise ValueError(f"{count} layers are too few for {how}")
    if how == "embeddings":
        return hidden_states[0]
    if how == "last":
        return hidden_states[count]
    if how == "second-to-last":
        return hidden_states[count - 1]
    if how == "sum-last-four":
        return sum(hidden_states[count - k] for k in range(4))
    if how == "concat-last-four":
        return torch.cat([hidden_states[count - k] for k in (3, 2, 1, 0)], dim=2)
    if how == "sum-all":
        total = torch.zeros_like(hidden_states[0])
        for layer in range(1, count + 1):
            total = total + hidden_states[layer]
        return total
    raise ValueError(f"no features {how!r}")
''',
        mistakes={
            "embeddings-missing": Mistake(
                "your hidden states are one too few: what goes into the first layer is missing.",
                (("(x,) if need_hidden else None", "() if need_hidden else None"),),
            ),
            "last-missing": Mistake(
                "your hidden states are kept before each layer instead of behind it: the first comes twice, and what "
                "the last layer says is missing.",
                (
                    (
                        "            x, weights = layer(x, mask, need_weights)\n"
                        "            if need_hidden:\n                hidden_states += (x,)\n",
                        "            if need_hidden:\n                hidden_states += (x,)\n"
                        "            x, weights = layer(x, mask, need_weights)\n",
                    ),
                ),
            ),
            "mask-lost": Mistake(
                "the encoder was given a mask, and its result does not depend on it: every layer has to get it.",
                (("layer(x, mask, need_weights)", "layer(x, None, need_weights)"),),
            ),
            "off-by-one": Mistake(
                "your sums and your concatenation are one layer off: hidden state number 0 is what goes into the first "
                "layer, and what layer L says is number L.",
                (("layers = tuple(hidden_states[1:])", "layers = tuple(hidden_states[:-1])"),),
            ),
            "all-with-embeddings": Mistake(
                "the sum of all layers has the embeddings in it. The paper's row adds up all twelve *layers*.",
                (("torch.stack(layers).sum(dim=0)", "torch.stack(tuple(hidden_states)).sum(dim=0)"),),
            ),
            "second-to-last-is-another": Mistake(
                "what you give as second-to-last is another layer's answer. The last is hidden state L: count back "
                "by one.",
                (('"second-to-last": -2', '"second-to-last": -3'),),
            ),
            "joined-along-the-tokens": Mistake(
                "the last four layers are joined along the tokens. Side by side means that each token's vector gets "
                "four times as wide.",
                (("torch.cat(layers[-4:], dim=-1)", "torch.cat(layers[-4:], dim=1)"),),
            ),
        },
    ),
    "pooler": Proofs(
        observe="""
pooler = check.new(BertPooler, BertConfig(hidden_size=6, num_attention_heads=2))
check.fill(pooler)
pooled = check.observe(pooler, check.formula("x", (2, 4, 6)) * 3)
sizes = {"hidden_size": 6, "num_attention_heads": 2, "intermediate_size": 10, "num_hidden_layers": 2}
model = check.new(BertModel, BertConfig(vocab_size=20, max_position_embeddings=10, **sizes))
check.fill(model)
ids, types = torch.tensor([[2, 5, 3, 6], [2, 7, 3, 0]]), torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])
bare = check.observe(model, ids)
typed = check.observe(model, ids, None, types)
masked = check.observe(model, ids, (ids != 0).long(), types)
moved = check.observe(model, ids, None, None, torch.tensor([[3, 1, 0, 2]]))
states = check.observe(model, ids, output_hidden_states=True)
weights = check.observe(model, ids, output_attentions=True)
""",
        alternative='''
class BertPooler(nn.Module):
    """The same by hand."""

    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x):
        first = x.select(1, 0)
        return (first @ self.dense.weight.T + self.dense.bias).tanh()


class BertModel(BertPreTrainedModel):
    """The same, with everything asked for and handed on by choice."""

    def __init__(self, config, add_pooling_layer=True):
        super().__init__(config)
        self.embeddings, self.encoder = BertEmbeddings(config), BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        self.init_weights(self)

    def forward(
        self,
        input_ids,
        attention_mask=None,
        token_type_ids=None,
        position_ids=None,
        output_attentions=False,
        output_hidden_states=False,
    ):
        x = self.embeddings(input_ids, token_type_ids=token_type_ids, position_ids=position_ids)
        mask = None if attention_mask is None else key_mask(attention_mask, len(input_ids), input_ids.size(1))
        last, hidden, weights = self.encoder(x, mask, need_weights=True, need_hidden=True)
        pooled = self.pooler(last) if self.pooler else None
        hidden = hidden if output_hidden_states else None
        return BertModelOutput(last, pooled, hidden, weights if output_attentions else None)
''',
        mistakes={
            "last-token": Mistake(
                "the pooler reads the last token, which may be padding. [CLS] is the first.",
                (("x[:, 0]", "x[:, -1]"),),
            ),
            "mean": Mistake(
                "the pooler takes the mean of all tokens. Others do that; BERT's reads [CLS] alone.",
                (("x[:, 0]", "x.mean(dim=1)"),),
            ),
            "first-text": Mistake(
                "the pooler picks along the wrong axis: the first axis is the batch, and each of its texts has a first "
                "token.",
                (("x[:, 0]", "x[0]"),),
            ),
            "no-tanh": Mistake(
                "your pooled numbers leave the range from -1 to 1: something is missing behind the projection.",
                (("torch.tanh(self.dense(x[:, 0]))", "self.dense(x[:, 0])"),),
            ),
            "mask-lost": Mistake(
                "the model was given an attention mask, and padding is looked at all the same.",
                (("self.encoder(x, mask, output", "self.encoder(x, None, output"),),
            ),
            "types-lost": Mistake(
                "the model was given token types, and its result does not depend on them.",
                (("(input_ids, token_type_ids, position_ids)", "(input_ids, None, position_ids)"),),
            ),
            "pools-embeddings": Mistake(
                "what you pool is not what the encoder says last.",
                (
                    ("        mask = key_mask", "        embedded = x\n        mask = key_mask"),
                    ("else self.pooler(x)", "else self.pooler(embedded)"),
                ),
            ),
            "swapped": Mistake(
                "hidden states and attention weights have changed places, on their way into the encoder or out of it.",
                (("mask, output_attentions, output_hidden_states)", "mask, output_hidden_states, output_attentions)"),),
            ),
        },
    ),
    "masking": Proofs(
        observe="""
ids = torch.arange(250_000).reshape(500, 500) % 995 + 5
ids[:, ::10] = 2
inputs, labels = check.call(mask_tokens, ids, 4, 1000, [0, 2, 3, 4], draws(0))
ordinary, chosen = ids != 2, labels != -100
share = check.observe(round, 20 * chosen[ordinary].double().mean().item())
special = check.observe(bool, chosen[~ordinary].any().item())
rest = check.observe(bool, (inputs[~chosen] == ids[~chosen]).all().item())
right = check.observe(bool, (labels[chosen] == ids[chosen]).all().item())
seen, true = inputs[chosen], ids[chosen]
masked = check.observe(round, 10 * (seen == 4).double().mean().item())
same = check.observe(round, 10 * (seen == true).double().mean().item())
again = check.call(mask_tokens, ids, 4, 1000, [0, 2, 3, 4], draws(0))
repeats = check.observe(bool, ((again[0] == inputs).all() & (again[1] == labels).all()).item())
even = check.observe(bool, (chosen.double().sum(1).std() < 1).item())
purity = check.observe(check.pure, mask_tokens, ids, 4, 1000, [0, 2, 3, 4], draws(0))
""",
        alternative='''
def mask_tokens(ids, mask_id, vocab_size, special_ids, generator, rate=0.15):
    """The same with two numbers a token: one says whether it is chosen, one what becomes of it."""
    check_tokens(ids, "[B, T]")
    check_rate("rate", rate)
    if mask_id not in range(vocab_size):
        raise ValueError(f"mask_id={mask_id}: the vocabulary has {vocab_size} tokens")
    chosen = torch.rand(ids.shape, generator=generator) < rate
    for special in special_ids:
        chosen &= ids != special
    fate = torch.rand(ids.shape, generator=generator)
    inputs, labels = ids.clone(), torch.full_like(ids, IGNORED)
    labels[chosen] = ids[chosen]
    inputs[chosen & (fate < 0.8)] = mask_id
    replaced = chosen & (fate >= 0.9)
    inputs[replaced] = torch.randint(vocab_size, (int(replaced.sum()),), generator=generator)
    return inputs, labels
''',
        mistakes={
            "nested-draws": Mistake(
                "of the chosen tokens hardly any become random: a tenth of what [MASK] has left over is two in a "
                "hundred of all. The shares 80, 10 and 10 are all shares of the chosen tokens.",
                (
                    (
                        "ordinary & (draw < 0.9 * rate), random_ids",
                        "ordinary & (draw < rate) & (torch.rand(ids.shape, generator=generator) < 0.1), random_ids",
                    ),
                ),
            ),
            "masks-all": Mistake(
                "every chosen token becomes [MASK]. One in ten becomes a random token, one in ten stays.",
                (("draw < 0.8 * rate", "draw < rate"),),
            ),
            "none-stays": Mistake(
                "no chosen token stays as it is: the random ones have taken the share of those that should stay.",
                (("draw < 0.9 * rate", "draw < rate"),),
            ),
            "labels-of-the-inputs": Mistake(
                "your labels are taken from the text with its blanks, so the model would be asked for [MASK]. They "
                "hold the tokens that were there.",
                (("labels = ids.masked_fill", "labels = inputs.masked_fill"),),
            ),
            "labels-everywhere": Mistake(
                "every token has a label, so the model is mostly asked to copy what it sees. Where nothing is chosen "
                "the label is -100.",
                (("labels = ids.masked_fill(~(ordinary & (draw < rate)), IGNORED)", "labels = ids.clone()"),),
            ),
            "no-label-for-what-stays": Mistake(
                "the labels leave out the chosen tokens that stay as they are. The model is asked for them too: they "
                "are why it must know every token.",
                (("(ordinary & (draw < rate))", "(ordinary & (draw < 0.9 * rate))"),),
            ),
            "special-tokens-chosen": Mistake(
                "special tokens are chosen too. There is nothing to be learnt from a blank at [CLS], [SEP] or [PAD].",
                (
                    (
                        "~torch.isin(ids, torch.tensor(special_ids, dtype=ids.dtype, device=ids.device))",
                        "torch.ones_like(ids).bool()",
                    ),
                ),
            ),
            "another-source-of-chance": Mistake(
                "with one seed your batch comes out differently each time: some number is drawn from another source "
                "than the generator that was given.",
                (("torch.randint(vocab_size, ids.shape, generator=generator", "torch.randint(vocab_size, ids.shape"),),
            ),
            "two-choices": Mistake(
                "labels and changes hang on different draws: there are changed tokens without a label, and labels "
                "where nothing was chosen. Draw once who is chosen.",
                (
                    (
                        "(ordinary & (draw < rate))",
                        "(ordinary & (torch.rand(ids.shape, generator=generator) < rate))",
                    ),
                ),
            ),
            "in-place": Mistake(
                "your function writes into the ids that it was given. The caller will mask them again next time: make "
                "new tensors.",
                (("    return inputs, labels", "    ids.copy_(inputs)\n    return inputs, labels"),),
            ),
        },
    ),
    "blanks": Proofs(
        observe="""
config = BertConfig(vocab_size=20, hidden_size=6, num_attention_heads=2, intermediate_size=10, num_hidden_layers=1)
transform = check.new(BertPredictionHeadTransform, config)
check.fill(transform)
turned = check.observe(transform, check.formula("x", (2, 3, 6)) * 3)
logits = check.formula("logits", (2, 3, 5)) * 6
labels = torch.tensor([[-100, 3, 0], [-100, -100, 1]])
loss = check.observe(token_loss, logits, labels)
gradient = check.observe(check.grads, token_loss, logits, labels)
model = check.new(BertForMaskedLM, config)
tied = check.observe(check.shared, model, "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight")
check.fill(model)
ids, types = torch.tensor([[2, 5, 4, 9], [2, 4, 8, 0]]), torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0]])
answers = torch.tensor([[-100, 5, 7, -100], [-100, 6, -100, -100]])
cost = check.observe(model, ids, ids != 0, types, answers, pick=0)
scores = check.observe(model, ids, ids != 0, types, pick=1)
unasked = check.observe(model, ids, pick=0)
""",
        alternative='''
class BertPredictionHeadTransform(nn.Module):
    """The same in single steps."""

    def __init__(self, config):
        super().__init__()
        self.dense, self.bend = nn.Linear(config.hidden_size, config.hidden_size), activation(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x):
        x = x @ self.dense.weight.T + self.dense.bias
        x = self.bend(x)
        return self.LayerNorm(x)


def token_loss(logits, labels):
    """The same by picking out the labels that count."""
    asked = labels != -100
    log_probs = logits[asked].log_softmax(dim=-1)
    return -log_probs[torch.arange(len(log_probs)), labels[asked]].mean()


class BertForMaskedLM(BertPreTrainedModel):
    """The same with the head's parameters set by their names."""

    def __init__(self, config):
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = BertOnlyMLMHead(config)
        self.init_weights(self.cls)
        self.tie_weights()

    def tie_weights(self):
        head = self.cls.predictions
        head.decoder.register_parameter("weight", self.bert.embeddings.word_embeddings.weight)
        head.register_parameter("bias", head.decoder.bias)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None, **more):
        said = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, **more)
        logits = self.cls(said[0])
        return BertHeadOutput(token_loss(logits, labels) if labels is not None else None, logits, *said[2:])
''',
        mistakes={
            "no-activation": Mistake(
                "nothing bends in your transform: the activation belongs between its projection and its LayerNorm.",
                (("self.activation(self.dense(x))", "self.dense(x)"),),
            ),
            "norm-first": Mistake(
                "the transform's LayerNorm comes before its activation; it comes last.",
                (("self.LayerNorm(self.activation(self.dense(x)))", "self.activation(self.LayerNorm(self.dense(x)))"),),
            ),
            "unmasked-tokens-count": Mistake(
                "tokens that nobody asks for count in your loss, as if their label were 0. Leave out where the label "
                "is -100.",
                (("labels.flatten(), ignore_index=-100", "labels.flatten().clamp(min=0)"),),
            ),
            "divided-by-all": Mistake(
                "the sum is divided by all tokens. Divide by those that have a label, or a batch with few blanks would "
                "hardly teach anything.",
                (("ignore_index=-100)", 'ignore_index=-100, reduction="sum") / labels.numel()'),),
            ),
            "sum": Mistake(
                "your loss grows with the number of blanks: it is their sum, and the mean is wanted.",
                (("ignore_index=-100)", 'ignore_index=-100, reduction="sum")'),),
            ),
            "softmax-twice": Mistake(
                "the logits pass through two softmaxes. The cross-entropy makes its own.",
                (("logits.flatten(0, 1)", "logits.softmax(-1).flatten(0, 1)"),),
            ),
            "not-tied": Mistake(
                "the decoder has a weight of its own. It has to be the very Parameter of the word embeddings.",
                (("        self.cls.predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight\n", ""),),
            ),
            "tied-by-copy": Mistake(
                "the decoder's weight has the numbers of the word embeddings and yet is another Parameter, which gets "
                "a gradient of its own. Equal numbers, or the same memory, are not enough.",
                (
                    (
                        "self.cls.predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight",
                        "self.cls.predictions.decoder.weight.data = self.bert.embeddings.word_embeddings.weight.data",
                    ),
                ),
            ),
            "mask-lost": Mistake(
                "the model for blanks was given an attention mask or token types, and BERT does not get them.",
                (("self.bert(input_ids, attention_mask, token_type_ids, **more)", "self.bert(input_ids, **more)"),),
            ),
        },
    ),
    "pairs": Proofs(
        observe="""
documents = [[10_000 * d + s for s in range(length)] for d, length in enumerate([6000, 50, 2, 2])]
pairs = [tuple(pair) for pair in check.call(next_sentence_pairs, documents, draws(0))]
count = check.observe(int, len(pairs))
true = [pair for pair in pairs if pair[1] == pair[0] + 1]
share = check.observe(round, 8 * len(true) / len(pairs))
labels = check.observe(list, sorted({pair[2] for pair in true}))
own = check.observe(bool, any(a // 10_000 == b // 10_000 and b != a + 1 for a, b, _ in pairs))
others = [b for a, b, _ in pairs if a < 10_000 and b >= 10_000]
long_one = check.observe(round, 6 * len([b for b in others if b < 20_000]) / max(len(others), 1))
last_one = check.observe(round, 6 * len([b for b in others if b >= 30_000]) / max(len(others), 1))
starts = check.observe(bool, all(b % 10_000 == 0 for b in others))
again = [tuple(pair) for pair in check.call(next_sentence_pairs, documents, draws(0))]
repeats = check.observe(bool, again == pairs)
alone = check.observe(next_sentence_pairs, [[1, 2, 3]], draws(0))
""",
        alternative='''
def next_sentence_pairs(documents, generator):
    """The same by places, with strangers drawn from a list of the other documents."""
    if len(documents) < 2 or any(len(document) == 0 for document in documents):
        raise ValueError(f"{len(documents)} documents, of {[len(document) for document in documents]} sentences")
    pairs = []
    for number in range(len(documents)):
        own, others = documents[number], [*documents[:number], *documents[number + 1 :]]
        for place in range(len(own) - 1):
            is_next = bool(torch.rand((), generator=generator) < 0.5)
            stranger = others[draw_below(len(others), generator)]
            second = own[place + 1] if is_next else stranger[draw_below(len(stranger), generator)]
            pairs.append((own[place], second, int(not is_next)))
    return pairs
''',
        mistakes={
            "labels-swapped": Mistake(
                "your labels are the wrong way round: 0 says that the second sentence follows, 1 that it does not.",
                (
                    ("SentencePair(first, successor, 0)", "SentencePair(first, successor, 1)"),
                    ("generator)], 1)", "generator)], 0)"),
                ),
            ),
            "own-document": Mistake(
                "some strangers come from the first sentence's own document, where one may even be the true successor. "
                "Draw among the other documents.",
                (
                    ("draw_below(len(documents) - 1, generator)", "draw_below(len(documents), generator)"),
                    ("documents[other + (other >= number)]", "documents[other]"),
                ),
            ),
            "always-true": Mistake(
                "every pair is a true one. Half of them are to have a stranger.",
                (("if draw_below(2, generator):", "if draw_below(2, generator) >= 0:"),),
            ),
            "too-few-true": Mistake(
                "far less than half of your pairs are true ones: look at what you draw, and how many values it has.",
                (("if draw_below(2, generator):", "if not draw_below(4, generator):"),),
            ),
            "long-documents-favoured": Mistake(
                "a long document gives more strangers than a short one: you draw among all sentences. First draw the "
                "document, then a sentence of it.",
                (
                    (
                        "            other = draw_below(len(documents) - 1, generator)\n"
                        "            stranger = documents[other + (other >= number)]\n",
                        "            stranger = [s for i, d in enumerate(documents) if i != number for s in d]\n",
                    ),
                ),
            ),
            "first-sentence-only": Mistake(
                "your strangers are always the first sentence of a document, which a model would soon recognise.",
                (("stranger[draw_below(len(stranger), generator)]", "stranger[0]"),),
            ),
            "next-document-only": Mistake(
                "your strangers always come from the same document, the one behind or before the first sentence's own. "
                "Each other one is equally likely.",
                (("stranger = documents[other + (other >= number)]", "stranger = documents[number - 1]"),),
            ),
        },
    ),
    "heads": Proofs(
        observe="""
config = BertConfig(vocab_size=20, hidden_size=6, num_attention_heads=2, intermediate_size=10, num_hidden_layers=2)
ids, types = torch.tensor([[2, 5, 4, 9], [2, 4, 8, 0]]), torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0]])
labels = torch.tensor([[-100, 0, 1, -100], [-100, 1, -100, -100]])
tags = check.new(BertForTokenClassification, config)
check.fill(tags)
tag_logits = check.observe(tags, ids, ids != 0, types, pick=1)
tag_loss = check.observe(tags, ids, ids != 0, types, labels, pick=0)
place = check.observe(position_loss, check.formula("places", (4, 5)) * 4, torch.tensor([3, 0, 5, 8]))
spans = check.new(BertForQuestionAnswering, config)
check.fill(spans)
begin = check.observe(spans, ids, ids != 0, types, pick=1)
end = check.observe(spans, ids, ids != 0, types, pick=2)
cost = check.observe(spans, ids, ids != 0, types, torch.tensor([1, 2]), torch.tensor([2, 3]), pick=0)
starts, ends = torch.tensor([[1.0, 5, 2, 0], [0, 6, 1, 1]]), torch.tensor([[9.0, 1, 3, 7], [8, 1, 1, 5]])
allowed = torch.tensor([[False, True, True, True], [True, True, False, True]])
best = check.observe(best_spans, starts, ends)
short = check.observe(best_spans, starts, ends, max_length=2)
single = check.observe(best_spans, starts, ends, max_length=1)
free = check.observe(best_spans, starts, ends, allowed, 2)
ending = check.observe(best_spans, torch.tensor([[1.0, 2, 0]]), torch.tensor([[0.0, 1, 9]]), torch.arange(3)[None] < 2)
lower = check.observe(best_spans, starts - 50, ends - 50, allowed, 2)
""",
        alternative='''
class BertForTokenClassification(BertPreTrainedModel):
    """The same by the places of BertModel's outputs."""

    def __init__(self, config):
        super().__init__(config)
        self.bert, self.dropout = BertModel(config, add_pooling_layer=False), nn.Dropout(head_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.init_weights(self.classifier)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None, **more):
        last, _, hidden, weights = self.bert(input_ids, attention_mask, token_type_ids, **more)
        logits, loss = self.classifier(self.dropout(last)), None
        if labels is not None:
            loss = token_loss(logits, labels)
        return BertHeadOutput(loss, logits, hidden, weights)


def position_loss(logits, positions):
    """The same with the rows that count picked first."""
    inside = positions < logits.size(1)
    log_probs = logits[inside].log_softmax(dim=1)
    return -log_probs.gather(1, positions[inside][:, None]).mean()


class BertForQuestionAnswering(BertPreTrainedModel):
    """The same with each score picked by its place."""

    def __init__(self, config):
        super().__init__(config)
        self.bert, self.qa_outputs = BertModel(config, add_pooling_layer=False), nn.Linear(config.hidden_size, 2)
        self.init_weights(self.qa_outputs)

    def forward(
        self, input_ids, attention_mask=None, token_type_ids=None, start_positions=None, end_positions=None, **more
    ):
        last, _, hidden, weights = self.bert(input_ids, attention_mask, token_type_ids, **more)
        both = self.qa_outputs(last)
        start, end, loss = both[..., 0], both[..., 1], None
        if start_positions is not None and end_positions is not None:
            loss = 0.5 * position_loss(start, start_positions) + 0.5 * position_loss(end, end_positions)
        return BertSpanOutput(loss, start, end, hidden, weights)


def best_spans(start_logits, end_logits, allowed=None, max_length=30):
    """The same, span by span."""
    if start_logits.shape != end_logits.shape or max_length < 1:
        raise ValueError(f"{start_logits.shape}, {end_logits.shape}, {max_length}")
    found = []
    for row, (starts, ends) in enumerate(zip(start_logits.tolist(), end_logits.tolist())):
        places = [i for i in range(len(starts)) if allowed is None or bool(allowed[row, i])]
        spans = [(i, j) for i in places for j in places if i <= j < i + max_length]
        found.append(max(spans, key=lambda span: starts[span[0]] + ends[span[1]], default=(0, 0)))
    return torch.tensor(found)
''',
        mistakes={
            "tags-from-cls": Mistake(
                "every token of a text gets the same scores: you read [CLS] for all of them. Each token has a last "
                "hidden state of its own.",
                (
                    (
                        "self.dropout(out.last_hidden_state)",
                        "self.dropout(out.last_hidden_state[:, :1].expand_as(out.last_hidden_state))",
                    ),
                ),
            ),
            "tags-with-padding": Mistake(
                "the head for tokens was given an attention mask or token types, and BERT does not get them.",
                (
                    (
                        "out = self.bert(input_ids, attention_mask, token_type_ids, **more)\n        logits",
                        "out = self.bert(input_ids, **more)\n        logits",
                    ),
                ),
            ),
            "cut-off-answers-count": Mistake(
                "an answer that was cut off counts in your loss, as if it were at the last token. It should not count "
                "at all.",
                (("clamp(0, length)", "clamp(0, length - 1)"),),
            ),
            "start-and-end-swapped": Mistake(
                "start and end have changed places: the first of the two scores is for the start.",
                (("start, end = self.qa_outputs", "end, start = self.qa_outputs"),),
            ),
            "losses-added": Mistake(
                "your loss for spans is the sum of the losses for start and end; the docstring wants their mean.",
                (("position_loss(end, end_positions)) / 2", "position_loss(end, end_positions))"),),
            ),
            "best-of-each": Mistake(
                "your answers may end before they start: you take the best start and the best end apart. Compare sums, "
                "and only of pairs that make a span.",
                ((".triu().tril(max_length - 1)", ""),),
            ),
            "length-ignored": Mistake(
                "your answers are longer than max_length allows.",
                ((".triu().tril(max_length - 1)", ".triu()"),),
            ),
            "one-too-long": Mistake(
                "your answers may be one token too long: first and last token both count.",
                ((".tril(max_length - 1)", ".tril(max_length)"),),
            ),
            "allowed-start-alone": Mistake(
                "an answer may not end either where nothing is allowed; you look at its start alone.",
                (("& allowed[:, :, None] & allowed[:, None, :]", "& allowed[:, :, None]"),),
            ),
            "masked-with-zero": Mistake(
                "what is no span counts as a sum of 0, which beats every sound span whose sum is negative.",
                (("torch.finfo(sums.dtype).min", "0.0"),),
            ),
        },
    ),
    "learning": Proofs(
        observe="""
config = BertConfig(vocab_size=20, hidden_size=6, num_attention_heads=2, intermediate_size=10, num_hidden_layers=2)
ids, types = torch.tensor([[2, 5, 4, 9], [2, 4, 8, 0]]), torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0]])
model = check.new(BertForSequenceClassification, config)
check.fill(model)
logits = check.observe(model, ids, ids != 0, types, pick=1)
loss = check.observe(model, ids, ids != 0, types, torch.tensor([1, 0]), pick=0)
frozen = check.observe(freeze, model)
reached = check.observe(check.grads, model, ids, ids != 0, types, torch.tensor([1, 0]), pick=0)
state = check.observe(check.state, model)
upper = check.observe(freeze, model, ["bert.pooler.", "classifier."])
thawed = check.observe(freeze, model, [""])
unknown = check.observe(freeze, model, ["cls."])
truth, judged = torch.tensor([1, 1, 1, 1, 0, 0]), torch.tensor([1, 1, 0, 1, 0, 1])
some = check.observe(matthews_correlation, judged, truth)
every = check.observe(matthews_correlation, torch.ones(6).long(), truth)
turned = check.observe(matthews_correlation, 1 - truth, truth)
""",
        alternative='''
class BertForSequenceClassification(BertPreTrainedModel):
    """The same by the places of BertModel's outputs."""

    def __init__(self, config):
        super().__init__(config)
        self.bert, self.dropout = BertModel(config), nn.Dropout(head_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.init_weights(self.classifier)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None, **more):
        _, pooled, hidden, weights = self.bert(input_ids, attention_mask, token_type_ids, **more)
        logits = self.classifier(self.dropout(pooled))
        if labels is None:
            return BertHeadOutput(None, logits, hidden, weights)
        return BertHeadOutput(text_loss(logits, labels), logits, hidden, weights)


def freeze(model, but=("classifier.",)):
    """The same, one beginning after the other."""
    for parameter in model.parameters():
        parameter.requires_grad = False
    for beginning in but:
        chosen = [parameter for name, parameter in model.named_parameters() if name[: len(beginning)] == beginning]
        if not chosen:
            raise ValueError(f"no parameter begins with {beginning!r}")
        for parameter in chosen:
            parameter.requires_grad = True
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def matthews_correlation(predicted, truth):
    """The same as the correlation of two rows of zeros and ones."""
    found = predicted.unique().tolist() + truth.unique().tolist()
    if predicted.shape != truth.shape or any(label not in (0, 1) for label in found):
        raise ValueError(f"{predicted.shape} and {truth.shape}: expected zeros and ones in one shape")
    x, y = predicted.double() - predicted.double().mean(), truth.double() - truth.double().mean()
    root = float((x.square().sum() * y.square().sum()).sqrt())
    return float((x * y).sum()) / root if root > 1e-12 else 0.0
''',
        mistakes={
            "not-pooled": Mistake(
                "the classifier reads the last hidden state of [CLS] as it is. It should get what the pooler makes of "
                "it.",
                (("self.dropout(out.pooler_output)", "self.dropout(out.last_hidden_state[:, 0])"),),
            ),
            "padding-read": Mistake(
                "the classifier was given an attention mask or token types, and BERT does not get them.",
                (("self.bert(input_ids, attention_mask, token_type_ids, **more)", "self.bert(input_ids, **more)"),),
            ),
            "head-frozen": Mistake(
                "you freeze what should learn, and let learn what should be frozen.",
                (
                    (
                        "parameter.requires_grad_(name.startswith(tuple(but)))",
                        "parameter.requires_grad_(not name.startswith(tuple(but)))",
                    ),
                ),
            ),
            "never-thawed": Mistake(
                "what was frozen once stays frozen. Called with another list, the function must let those learn that "
                "it names.",
                (
                    (
                        "        parameter.requires_grad_(name.startswith(tuple(but)))",
                        "        if not name.startswith(tuple(but)):\n            parameter.requires_grad_(False)",
                    ),
                ),
            ),
            "nothing-frozen": Mistake(
                "you name what should learn, and yet a gradient reaches everything: nothing has been frozen.",
                (
                    ("        parameter.requires_grad_(name.startswith(tuple(but)))", "        pass"),
                    (
                        "parameters.items() if parameter.requires_grad]",
                        "parameters.items() if name.startswith(tuple(but))]",
                    ),
                ),
            ),
            "accuracy": Mistake(
                "this is the share of right answers. Who says yes to all would be praised for it where most are yes.",
                (("(tp * tn - fp * fn) / root if root else 0.0", "(tp + tn) / max(tp + tn + fp + fn, 1)"),),
            ),
            "no-root": Mistake(
                "your denominator is too large: a root is taken of the product of the four sums.",
                (
                    (
                        "math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))",
                        "(tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)",
                    ),
                ),
            ),
            "division-by-zero": Mistake(
                "where all answers are the same the root is 0, and you divide by it. Such a judge knows nothing: the "
                "correlation is 0.",
                (("(tp * tn - fp * fn) / root if root else 0.0", "(tp * tn - fp * fn) / root"),),
            ),
        },
    ),
}
