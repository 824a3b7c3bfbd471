"""Lab 5: mistakes that students make, the hint each deserves, and other right ways. See `autograder/mistakes.py`.

A hint names the misunderstanding and where to look. It never shows code.
"""

from autograder.mistakes import Mistake, Proofs

EXERCISES = {
    "block": Proofs(
        observe="""
config = GPT2Config(vocab_size=9, n_embd=6, n_head=3, n_positions=8, attn_pdrop=0.9999999)
x, mask = check.formula("x", (2, 4, 6)) * 3, torch.ones(4, 4).tril().bool()
layer = check.new(GPTAttention, config)
check.fill(layer)
free = check.observe(layer, x, pick=0)
masked = check.observe(layer, x, mask, pick=0)
asked = check.observe(layer, x, mask, need_weights=True)
sizes = {"vocab_size": 9, "n_embd": 6, "n_head": 3, "n_positions": 8}
post = check.new(GPTBlock, GPTConfig(**sizes))
check.fill(post)
after = check.observe(post, x, pick=0)
after_masked = check.observe(post, x, mask, pick=0)
after_asked = check.observe(post, x, mask, need_weights=True, pick=1)
pre = check.new(GPT2Block, GPT2Config(**sizes))
check.fill(pre)
before = check.observe(pre, x, pick=0)
before_masked = check.observe(pre, x, mask, pick=0)
before_asked = check.observe(pre, x, mask, need_weights=True, pick=1)
""",
        alternative='''
class GPTAttention(nn.Module):
    """The same with the thirds cut out by hand and a softmax written out."""

    def __init__(self, config, layer_idx=0):
        super().__init__()
        self.layer_idx, self.n_head, self.dropout = layer_idx, config.n_head, config.attn_pdrop
        self.c_attn = Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = Linear(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x, mask=None, cache=None, need_weights=False):
        batch, length, width = x.shape
        parts = self.c_attn(x).reshape(batch, length, 3, self.n_head, width // self.n_head)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if cache is not None:
            key, value = cache.append(self.layer_idx, key, value)
        scores = query @ key.mT * query.size(-1) ** -0.5
        if mask is not None:
            scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1)
        context = torch.einsum("bhqk,bhkd->bqhd", F.dropout(weights, self.dropout, self.training), value)
        output = self.c_proj(context.reshape(batch, length, width))
        return self.resid_dropout(output), weights if need_weights else None


class GPTBlock(nn.Module):
    """The same with a name for each sum."""

    def __init__(self, config, layer_idx=0):
        super().__init__()
        self.attn = GPTAttention(config, layer_idx)
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = GPTMLP(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(self, x, mask=None, cache=None, need_weights=False):
        attended = self.attn(x, mask=mask, cache=cache, need_weights=need_weights)
        middle = self.ln_1(attended[0] + x)
        last = self.ln_2(self.mlp(middle) + middle)
        return last, attended[1]


class GPT2Block(nn.Module):
    """The same with a name for each norm."""

    def __init__(self, config, layer_idx=0):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = GPTAttention(config, layer_idx)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = GPTMLP(config)

    def forward(self, x, mask=None, cache=None, need_weights=False):
        normed = self.ln_1(x)
        change, weights = self.attn(normed, mask=mask, cache=cache, need_weights=need_weights)
        middle = torch.add(x, change)
        normed = self.ln_2(middle)
        return torch.add(middle, self.mlp(normed)), weights
''',
        mistakes={
            "mask-lost": Mistake(
                "your attention was given a mask, and its result does not depend on it: every token sees the future.",
                (("attention(query, key, value, mask, dropout", "attention(query, key, value, None, dropout"),),
            ),
            "queries-and-keys-exchanged": Mistake(
                "the thirds of c_attn are taken in another order: queries come first, then keys, then values.",
                (("        query, key, value = (split_heads", "        key, query, value = (split_heads"),),
            ),
            "heads-before-thirds": Mistake(
                "you cut into heads first and take thirds of each head. c_attn lays all queries side by side, then "
                "all keys, then all values: thirds first.",
                (
                    (
                        "(split_heads(part, self.n_head) for part in self.c_attn(x).chunk(3, dim=-1))",
                        "split_heads(self.c_attn(x), self.n_head).chunk(3, dim=-1)",
                    ),
                ),
            ),
            "heads-not-merged": Mistake(
                "numbers of different tokens get into one: before c_proj, the axis of heads goes back behind the "
                "tokens, and then the two are joined.",
                (("self.c_proj(merge_heads(context))", "self.c_proj(context.reshape(x.shape))"),),
            ),
            "no-last-projection": Mistake(
                "the heads come out side by side, as they are: c_proj, which mixes them, is missing.",
                (
                    (
                        "self.resid_dropout(self.c_proj(merge_heads(context)))",
                        "self.resid_dropout(merge_heads(context))",
                    ),
                ),
            ),
            "dropout-while-reading": Mistake(
                "attention weights are dropped outside training too. Who tells a module whether it trains?",
                (("dropout = self.dropout if self.training else 0.0", "dropout = self.dropout"),),
            ),
            "weights-never-returned": Mistake(
                "your attention keeps its weights to itself, though need_weights asks for them.",
                (("(merge_heads(context))), weights", "(merge_heads(context))), None"),),
            ),
            "post-norm-everywhere": Mistake(
                "your block of GPT-2 is that of GPT-1, with each norm after its sum. In GPT-2 a norm stands before "
                "each part, and the sum has none.",
                (
                    (
                        "self.attn(self.ln_1(x), mask, cache, need_weights)\n        x = x + attended\n"
                        "        return x + self.mlp(self.ln_2(x)), weights",
                        "self.attn(x , mask, cache, need_weights)\n        x = self.ln_1(x + attended)\n"
                        "        return self.ln_2(x + self.mlp(x)), weights",
                    ),
                ),
            ),
            "pre-norm-everywhere": Mistake(
                "your block of GPT-1 is that of GPT-2, with each norm before its part. In GPT-1 a norm comes after "
                "each sum.",
                (
                    (
                        "        attended, weights = self.attn(x, mask, cache, need_weights)\n"
                        "        x = self.ln_1(x + attended)\n        return self.ln_2(x + self.mlp(x)), weights",
                        "        attended, weights = self.attn(self.ln_1( x), mask, cache, need_weights)\n"
                        "        x = x + attended\n        return x + self.mlp(self.ln_2(x)), weights",
                    ),
                ),
            ),
            "norm-on-the-path": Mistake(
                "in your block of GPT-2 the sum takes the norm of x for x: the path that should stay free is normed.",
                (
                    (
                        "attended, weights = self.attn(self.ln_1(x), mask",
                        "x = self.ln_1(x)\n        attended, weights = self.attn(x , mask",
                    ),
                ),
            ),
            "second-norm-forgotten": Mistake(
                "in your block of GPT-2 the feed-forward network reads the sum as it is; it has a norm of its own.",
                (("x + self.mlp(self.ln_2(x))", "x + self.mlp(x)"),),
            ),
            "both-parts-read-x": Mistake(
                "in your block of GPT-2 the feed-forward network reads what attention read. It comes after attention, "
                "and reads the sum that attention has changed.",
                (
                    (
                        "        x = x + attended\n        return x + self.mlp(self.ln_2(x)), weights",
                        "        return x + attended + self.mlp(self.ln_2(x)), weights",
                    ),
                ),
            ),
            "second-sum-forgotten": Mistake(
                "your block of GPT-2 ends with what the feed-forward network says. It is added to what was there.",
                (("return x + self.mlp(self.ln_2(x)), weights", "return self.mlp(self.ln_2(x)), weights"),),
            ),
            "old-residual": Mistake(
                "in your block of GPT-1 the second sum goes back to what entered the block. It starts from what the "
                "first norm has made.",
                (
                    (
                        "        x = self.ln_1(x + attended)\n        return self.ln_2(x + self.mlp(x)), weights",
                        "        return self.ln_2(x + self.mlp(self.ln_1(x + attended))), weights",
                    ),
                ),
            ),
            "mask-not-handed-on": Mistake(
                "your block of GPT-2 does not hand its mask to attention: every token sees the future.",
                (("self.attn(self.ln_1(x), mask, cache", "self.attn(self.ln_1(x), None, cache"),),
            ),
        },
    ),
    "cache": Proofs(
        observe="""
key, value = check.formula("key", (2, 3, 4, 4)), check.formula("value", (2, 3, 4, 4)) * 2
other = check.formula("other", (2, 3, 4, 4)) * 3
cache = check.new(KeyValueCache)
piece = check.observe(cache.append, 0, key, value)
second = check.observe(cache.append, 1, other, other)
longer = check.observe(cache.append, 0, other[:, :, :2], value[:, :, :2])
moved = check.observe(cache.reorder, torch.tensor([1, 1]))
first_again = check.observe(cache.append, 0, key, value)
second_again = check.observe(cache.append, 1, value, key)
small = check.new(KeyValueCache)
grown = check.observe(small.append, 5, key[:1, :, :3], value[:1, :, :3])
length = check.observe(int, small.length)
ids, padding = torch.ones(2, 3).long(), torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
sees = check.observe(decoder_mask, None, ids)
sees_past = check.observe(decoder_mask, None, ids, 2)
sees_near = check.observe(decoder_mask, None, ids, 2, 2)
sees_tokens = check.observe(decoder_mask, padding, ids, 2)
alone = check.observe(decoder_mask, padding, ids[:, :1], 4)
config = GPT2Config(vocab_size=9, n_positions=8, n_embd=4, n_head=2)
reader = check.new(Reader, config)
check.fill(reader)
starts = check.observe(embed, config, reader.wte, reader.wpe, ids)
goes_on = check.observe(embed, config, reader.wte, reader.wpe, ids, None, 3)
given = check.observe(embed, config, reader.wte, reader.wpe, ids, torch.tensor([[4, 0, 2]]), 3)
outside = check.observe(embed, config, reader.wte, reader.wpe, ids, torch.tensor([[8, 0, 2]]))
too_long = check.observe(embed, config, reader.wte, reader.wpe, ids, None, 6)
""",
        alternative='''
class KeyValueCache:
    """The same with lists of pieces, joined when they are asked for, and rows moved one by one."""

    def __init__(self):
        self.pairs, self.fixed = {}, {}

    @property
    def length(self):
        return min((key.shape[2] for key, _ in self.pairs.values()), default=0)

    def append(self, layer, key, value):
        past = [self.pairs[layer]] if layer in self.pairs else []
        joined = tuple(torch.cat(parts, dim=2) for parts in zip(*past, (key, value), strict=True))
        self.pairs[layer] = joined
        return joined

    def once(self, layer, compute):
        if layer not in self.fixed:
            self.fixed[layer] = compute()
        return self.fixed[layer]

    def reorder(self, rows, fixed=True):
        def moved(pairs):
            return {layer: tuple(part[rows] for part in pair) for layer, pair in pairs.items()}

        self.pairs = moved(self.pairs)
        if fixed:
            self.fixed = moved(self.fixed)


def decoder_mask(attention_mask, input_ids, past=0, window=None):
    """The same by how far the key lies behind the query."""
    batch, length = input_ids.shape
    behind = torch.arange(past, past + length)[:, None] - torch.arange(past + length)
    mask = (behind >= 0) & (behind < (past + length if window is None else window))
    padding = key_mask(attention_mask, batch, past + length)
    return mask[None, None] if padding is None else torch.logical_and(padding, mask)


def embed(config, tokens, positions, input_ids, position_ids=None, past=0):
    """The same with rows picked by indexing, and positions for all texts."""
    check_input(input_ids, config.vocab_size, config.n_positions, past)
    if position_ids is None:
        position_ids = past + torch.ones_like(input_ids).cumsum(dim=1) - 1
    if position_ids.min() < 0 or position_ids.max() >= config.n_positions:
        raise ValueError(f"positions up to {position_ids.max()}: expected less than {config.n_positions}")
    return tokens.weight[input_ids] + positions.weight[position_ids]
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
                (("        if layer in self.pairs:\n", "        layer = 0\n        if layer in self.pairs:\n"),),
            ),
            "length-counts-layers": Mistake(
                "your length is the number of layers. It is the number of tokens that one layer holds.",
                (("next(iter(self.pairs.values()))[0].size(-2) if self.pairs else 0", "len(self.pairs)"),),
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
            "future-visible": Mistake(
                "your mask shows every token what comes after it. Itself and what came before is all that it may see.",
                ((".tril(past)", ""),),
            ),
            "first-rows-of-the-mask": Mistake(
                "after a past your mask begins as if there were none. The new tokens are the last places, and see all "
                "that came before them.",
                ((".tril(past)", ".tril()"),),
            ),
            "blind-to-itself": Mistake(
                "your mask hides every token from itself.",
                ((".tril(past)", ".tril(past - 1)"),),
            ),
            "padding-visible": Mistake(
                "your mask forgets the padding where it hides the future. A key must be allowed by both.",
                (("return mask if padding is None else mask & padding", "return mask"),),
            ),
            "padding-visible-to-one": Mistake(
                "a single token after a past needs no triangle, but padding has to stay hidden from it all the same.",
                (
                    (
                        "    if length == 1 and window is None:\n        return padding\n",
                        "    if length == 1 and window is None:\n        return None\n",
                    ),
                ),
            ),
            "window-too-wide": Mistake(
                "your window shows one token too many: a token itself is one of those that it counts.",
                (("mask.triu(past + 1 - window)", "mask.triu(past - window)"),),
            ),
            "window-ignored": Mistake(
                "your mask does not depend on the window.",
                (("    if window is not None:\n        mask = mask.triu(past + 1 - window)\n", ""),),
            ),
            "window-without-the-past": Mistake(
                "after a past your window stands too far left: it counts from the new tokens as if they were first.",
                (("mask.triu(past + 1 - window)", "mask.triu(1 - window)"),),
            ),
            "positions-restart": Mistake(
                "after a past your positions begin at 0 again, so that new tokens stand where old ones do. They go on.",
                (("torch.arange(past, past + input_ids.size(1)", "torch.arange(input_ids.size(1)"),),
            ),
            "positions-from-one": Mistake(
                "your positions are one too high: the first token of a text is at position 0.",
                (
                    (
                        "torch.arange(past, past + input_ids.size(1), device=input_ids.device)",
                        "torch.arange(past, past + input_ids.size(1)).add(1).clamp(max=config.n_positions - 1)",
                    ),
                ),
            ),
            "positions-ignored": Mistake(
                "positions that are given are not used: yours always count on from the past.",
                (("    if position_ids is None:\n        position_ids", "    position_ids"),),
            ),
            "no-positions": Mistake(
                "your embeddings have no positions in them: the same token gets the same vector wherever it stands.",
                ((" + positions(position_ids)", " + 0 * positions(position_ids)"),),
            ),
            "too-long-a-text": Mistake(
                "a text that outgrows the table of positions has to be refused with a ValueError, its past included.",
                (
                    ("config.n_positions, past)", "config.n_positions)"),
                    (
                        '    check_ids(position_ids, config.n_positions, "position", "the positions of the model")\n',
                        "    position_ids = position_ids.clamp(max=config.n_positions - 1)\n",
                    ),
                ),
            ),
        },
    ),
    "head": Proofs(
        observe="""
logits, labels = check.formula("logits", (2, 4, 5)) * 6, torch.tensor([[1, 2, 3, 4], [4, 0, -100, 2]])
loss = check.observe(next_token_loss, logits, labels)
gradient = check.observe(check.grads, next_token_loss, logits, labels)
asked = check.observe(next_token_loss, logits, labels.clamp(min=0))
config = GPT2Config(vocab_size=20, n_positions=10, n_embd=6, n_head=2, n_layer=1)
model = check.new(GPT2LMHeadModel, config)
tied = check.observe(check.shared, model, "transformer.wte.weight", "lm_head.weight")
begins = check.state(model)
alike = check.observe(torch.equal, begins["transformer.wte.weight"], begins["lm_head.weight"])
check.fill(model)
ids, real = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 0]]), torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1]])
said = check.observe(model, ids, pick=1)
beside = check.observe(model, ids, real, pick=1)
last = check.observe(model, ids, logits_to_keep=1, pick=1)
placed = check.observe(model, ids, position_ids=torch.tensor([[4, 3, 2, 1]]), pick=1)
cost = check.observe(model, ids, labels=torch.tensor([[3, 4, 5, 6], [7, 8, 9, -100]]), pick=0)
free = check.observe(model, ids, pick=0)
states = check.observe(model, ids, output_hidden_states=True, pick=2)
""",
        alternative='''
def next_token_loss(logits, labels):
    """The same with the log-probabilities picked by hand."""
    target = labels[:, 1:]
    asked = target != -100
    log_probs = logits[:, :-1].log_softmax(dim=-1)
    picked = log_probs.gather(-1, target.masked_fill(~asked, 0).unsqueeze(-1)).squeeze(-1)
    return -(picked * asked).sum() / asked.sum()


class GPT2LMHeadModel(GPT2PreTrainedModel):
    """The same with the product written out."""

    def __init__(self, config):
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.lm_head = Linear(config.n_embd, config.vocab_size, bias=False)
        self.tie_weights()

    def tie_weights(self):
        setattr(self.lm_head, "weight", self.transformer.wte.weight)  # noqa: B010

    def forward(self, input_ids, attention_mask=None, labels=None, logits_to_keep=0, **more):
        x, hidden_states, attentions = self.transformer(input_ids, attention_mask=attention_mask, **more)
        if logits_to_keep:
            x = x[:, x.size(1) - logits_to_keep :]
        logits = torch.einsum("btd,vd->btv", x, self.transformer.wte.weight)
        if labels is None:
            return GPTHeadOutput(None, logits, hidden_states, attentions)
        return GPTHeadOutput(next_token_loss(logits, labels), logits, hidden_states, attentions)
''',
        mistakes={
            "not-shifted": Mistake(
                "your loss compares the logits at a position with the label there. A model that repeats what it reads "
                "would win; the logits are about the token that comes next.",
                (("token_loss(logits[:, :-1], labels[:, 1:])", "token_loss(logits, labels)"),),
            ),
            "shifted-the-wrong-way": Mistake(
                "your loss asks for the token before, which the model has read already. Which of the two loses its "
                "first place, and which its last?",
                (("token_loss(logits[:, :-1], labels[:, 1:])", "token_loss(logits[:, 1:], labels[:, :-1])"),),
            ),
            "shifted-twice": Mistake(
                "your loss asks for the token after the next: one shift is enough.",
                (("token_loss(logits[:, :-1], labels[:, 1:])", "token_loss(logits[:, :-2], labels[:, 2:])"),),
            ),
            "holes-are-asked": Mistake(
                "labels of -100 count in your loss. Nothing is asked there.",
                (("labels[:, 1:])", "labels[:, 1:].clamp(min=0))"),),
            ),
            "divided-by-all": Mistake(
                "your loss is divided by all positions. Labels of -100 are not asked, and do not count there either.",
                (
                    (
                        "return token_loss(logits[:, :-1], labels[:, 1:])",
                        "return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), "
                        'reduction="sum") / labels[:, 1:].numel()',
                    ),
                ),
            ),
            "mean-of-texts": Mistake(
                "your loss is the mean of each text's mean. A long text has more tokens, and so more weight.",
                (
                    (
                        "return token_loss(logits[:, :-1], labels[:, 1:])",
                        "each = [token_loss(x[None, :-1], y[None, 1:]) for x, y in zip(logits, labels)]\n"
                        "    return torch.stack(each).mean()",
                    ),
                ),
            ),
            "tied-by-copy": Mistake(
                "embeddings and head begin alike, but they are two parameters, and training will part them. One "
                "parameter must have both names.",
                (
                    (
                        "self.lm_head.weight = self.transformer.wte.weight",
                        "self.lm_head.weight = nn.Parameter(self.transformer.wte.weight.detach().clone())",
                    ),
                ),
            ),
            "tied-by-memory": Mistake(
                "embeddings and head share their numbers, but as two parameters: an optimizer would move them twice, "
                "each with half of the gradient. One parameter must have both names.",
                (
                    (
                        "self.lm_head.weight = self.transformer.wte.weight",
                        "self.lm_head.weight.data = self.transformer.wte.weight.data",
                    ),
                ),
            ),
            "not-tied": Mistake(
                "your head has a matrix of its own, with numbers of its own.",
                (("self.lm_head.weight = self.transformer.wte.weight", "pass"),),
            ),
            "keeps-all": Mistake(
                "your model ignores logits_to_keep: it asks for the last so many positions alone.",
                (("out.last_hidden_state[:, -logits_to_keep:]", "out.last_hidden_state"),),
            ),
            "keeps-the-first": Mistake(
                "logits_to_keep keeps the first positions in your model. A model that writes needs the last ones.",
                (
                    (
                        "out.last_hidden_state[:, -logits_to_keep:]",
                        "out.last_hidden_state[:, : logits_to_keep or None]",
                    ),
                ),
            ),
            "mask-lost": Mistake(
                "your model does not hand attention_mask to the transformer: padding is read as text.",
                (("self.transformer(input_ids, attention_mask, **more)", "self.transformer(input_ids, **more)"),),
            ),
            "rest-lost": Mistake(
                "what your model is given besides (positions, a cache ...) does not reach the transformer.",
                (
                    (
                        "self.transformer(input_ids, attention_mask, **more)",
                        "self.transformer(input_ids, attention_mask, "
                        'output_hidden_states=more.get("output_hidden_states", False))',
                    ),
                ),
            ),
            "always-a-loss": Mistake(
                "your model returns a loss though there are no labels.",
                (
                    (
                        "loss = None if labels is None else",
                        "labels = input_ids if labels is None else labels\n        loss =",
                    ),
                ),
            ),
            "states-lost": Mistake(
                "hidden states and weights are lost on the way: what the transformer returns goes into the result.",
                (("GPTHeadOutput(loss, logits, out.hidden_states, out.attentions)", "GPTHeadOutput(loss, logits)"),),
            ),
        },
    ),
    "count": Proofs(
        observe="""
config = GPT2Config(vocab_size=17, n_positions=5, n_embd=6, n_head=2, n_layer=3, n_inner=11)
counts = check.observe(count_parameters, config)
tiny = GPT2Config(vocab_size=2, n_positions=1, n_embd=2, n_head=2, n_layer=1, n_inner=1)
little = check.observe(count_parameters, tiny)
plain = check.observe(count_parameters, GPT2Config(vocab_size=17, n_positions=5, n_embd=6, n_head=2, n_layer=3))
""",
        alternative='''
def count_parameters(config):
    """The same by the shapes of all tensors."""
    D, F = config.n_embd, config.n_inner or 4 * config.n_embd
    shapes = [(3 * D, D), (3 * D,), (D, D), (D,), (F, D), (F,), (D, F), (D,), (D,), (D,), (D,), (D,)]
    counts = {"block": sum(math.prod(shape) for shape in shapes)}
    counts["embeddings"] = config.vocab_size * D + config.n_positions * D
    counts["blocks"] = counts["block"] * config.n_layer
    counts["total"] = D + D + counts["embeddings"] + counts["blocks"]
    return counts
''',
        mistakes={
            "no-bias": Mistake(
                "the maps of your attention have no biases: c_attn adds one number to each of its 3 D, c_proj to each "
                "of its D.",
                (("(width * 3 * width + 3 * width) + (width * width + width)", "width * 3 * width + width * width"),),
            ),
            "one-third-of-c-attn": Mistake(
                "your c_attn leads from D to D. It makes queries, keys and values at once.",
                (("(width * 3 * width + 3 * width) +", "(width * width + width) +"),),
            ),
            "by-heads": Mistake(
                "your count hangs on the number of heads. The heads cut one projection into parts and add nothing.",
                (
                    (
                        "attention = (width * 3 * width + 3 * width)",
                        "attention = config.n_head * (width * 3 * width + 3 * width)",
                    ),
                ),
            ),
            "one-norm": Mistake(
                "your block counts one LayerNorm. It has two, one before attention and one before the feed-forward "
                "network.",
                (("+ 2 * norm", "+ norm"),),
            ),
            "norm-without-bias": Mistake(
                "a LayerNorm counts too little: it has a weight and a bias, D numbers each.",
                (("norm = 2 * width", "norm = width"),),
            ),
            "last-norm-forgotten": Mistake(
                "the total lacks the LayerNorm after the last block.",
                (("embeddings + blocks + norm}", "embeddings + blocks}"),),
            ),
            "head-counted-twice": Mistake(
                "the total counts the head beside the embeddings. They are tied, one matrix under two names.",
                (("embeddings + blocks + norm}", "embeddings + blocks + norm + config.vocab_size * width}"),),
            ),
            "no-positions": Mistake(
                "your embeddings are those of the tokens alone. Positions have a table too.",
                (("(config.vocab_size + config.n_positions) * width", "config.vocab_size * width"),),
            ),
            "always-four-times": Mistake(
                "your feed-forward network is 4 D wide whatever n_inner says.",
                (("config.n_embd, config.inner_width", "config.n_embd, 4 * config.n_embd"),),
            ),
        },
    ),
    "perplexity": Proofs(
        observe="""
labels = torch.tensor([[5, 6, 7, 8], [5, -100, 7, -100], [6, 5, 6, -100]])
counted = check.observe(label_count, labels)
plain = check.observe(label_count, labels[:1])
value = check.observe(perplexity, [math.log(8), math.log(2)], [1, 2])
even = check.observe(perplexity, [math.log(3), math.log(5)], [4, 4])
spoilt = torch.tensor(check.call(perplexity, [math.log(8), math.nan, math.log(2)], [1, 0, 2]))
hole = check.observe(torch.nan_to_num, spoilt, -7.0)
empty = check.observe(perplexity, [math.nan], [0])
uneven = check.observe(perplexity, [1.0, 2.0], [3])
""",
        alternative='''
def label_count(labels):
    """The same, all labels but those that are not asked or come first."""
    rows, columns = labels.shape
    asked = (labels.flatten() != -100).reshape(rows, columns)
    return asked.sum().item() - asked[:, 0].sum().item()


def perplexity(losses, counts):
    """The same with shares in place of a division at the end."""
    pairs = [(loss, count) for loss, count in zip(losses, counts, strict=True) if count > 0]
    tokens = sum(count for _, count in pairs)
    if not pairs:
        raise ValueError("no labels")
    return math.exp(math.fsum(loss * (count / tokens) for loss, count in pairs))
''',
        mistakes={
            "mean-of-batches": Mistake(
                "your mean is over batches, so a batch of one label weighs as much as one of a thousand. The mean is "
                "over tokens.",
                (
                    (
                        "    return math.exp(total / sum(counts))",
                        "    full = [loss for loss, count in zip(losses, counts) if count]\n"
                        "    return math.exp(sum(full) / len(full))",
                    ),
                ),
            ),
            "mean-of-perplexities": Mistake(
                "you take the mean of the batches' perplexities. The mean is taken of the losses, and exp once of it.",
                (
                    (
                        "    return math.exp(total / sum(counts))",
                        "    return sum(math.exp(x) * n for x, n in zip(losses, counts) if n) / sum(counts)",
                    ),
                ),
            ),
            "base-two": Mistake(
                "you raise 2 to the loss. The loss is a natural logarithm, and its inverse is exp.",
                (("math.exp(total / sum(counts))", "2.0 ** (total / sum(counts))"),),
            ),
            "loss-itself": Mistake(
                "what you return is the mean loss. Perplexity is exp of it.",
                (("math.exp(total / sum(counts))", "total / sum(counts)"),),
            ),
            "sum-not-mean": Mistake(
                "you take exp of the sum of all losses, which grows with the text. It is their mean per token.",
                (("math.exp(total / sum(counts))", "math.exp(total)"),),
            ),
            "means-not-weighted": Mistake(
                "a batch's loss is a mean over its labels. To add up what its tokens cost, it has to be multiplied by "
                "their number.",
                (("sum(loss * count for loss, count", "sum(loss for loss, count"),),
            ),
            "nothing-is-nan": Mistake(
                "a batch without a label spoils your result: the mean over nothing is NaN, and so is all that it is "
                "added to, even 0 times.",
                ((" if count)", ")"),),
            ),
            "no-label-at-all": Mistake(
                "without any label there is no perplexity. What does the docstring want then?",
                (
                    (
                        "    if not sum(counts):\n"
                        '        raise ValueError("no label in any batch: expected at least one")\n',
                        "",
                    ),
                ),
            ),
            "first-label-counted": Mistake(
                "your count has the first label of each row in it. Nothing comes before it, and the loss leaves it "
                "out.",
                (("(labels[:, 1:] != -100)", "(labels != -100)"),),
            ),
            "last-label-left-out": Mistake(
                "your count leaves out the last label of each row. It is the first one that is never asked.",
                (("(labels[:, 1:] != -100)", "(labels[:, :-1] != -100)"),),
            ),
            "holes-counted": Mistake(
                "your count has labels of -100 in it. They are not asked.",
                (("(labels[:, 1:] != -100)", "(labels[:, 1:] == labels[:, 1:])"),),
            ),
        },
    ),
    "greedy": Proofs(
        observe="""
logits = check.formula("logits", (3, 4)) * 5
chosen = check.observe(greedy, logits)
likely = torch.full((6, 6), -9.0)
for token, following in [(2, 3), (3, 4), (4, 5), (5, 2)]:
    likely[token, following] = 9.0
table = check.new(Table, likely)
columns = list(check.call(extend, table, torch.tensor([[2, 2], [2, 3], [3, 5]]), greedy, 6, (4,), 0))
written = check.observe(torch.stack, columns, 1)
lengths = check.observe(torch.tensor, table.lengths)
columns = list(check.call(extend, check.new(Table, likely), torch.tensor([[2], [3]]), greedy, 4))
endless = check.observe(torch.stack, columns, 1)
half = check.observe(apply_temperature, logits, 0.5)
double = check.observe(apply_temperature, logits, 2.0)
cold = check.observe(apply_temperature, logits, 0.0)
below = check.observe(apply_temperature, logits, -1.0)
purity = check.observe(check.pure, apply_temperature, logits, 2.0)
""",
        alternative='''
def greedy(logits):
    """The same by sorting."""
    return logits.sort(dim=-1, descending=True, stable=True).indices[..., 0]


def extend(next_logits, input_ids, choose, max_new_tokens, eos_token_ids=(), pad_token_id=0):
    """The same text by text."""
    rows, done = [row.tolist() for row in input_ids], [False] * len(input_ids)
    with torch.no_grad():
        while max_new_tokens > 0 and not all(done):
            wanted = choose(next_logits(torch.tensor(rows))).tolist()
            column = [pad_token_id if over else token for token, over in zip(wanted, done, strict=True)]
            yield torch.tensor(column)
            rows = [[*row, token] for row, token in zip(rows, column, strict=True)]
            done = [over or token in tuple(eos_token_ids) for token, over in zip(column, done, strict=True)]
            max_new_tokens -= 1


def apply_temperature(logits, temperature):
    """The same with the inverse."""
    if temperature <= 0:
        raise ValueError(f"temperature={temperature}: expected more than 0")
    return torch.mul(logits, 1.0 / temperature)
''',
        mistakes={
            "over-the-batch": Mistake(
                "your greedy choice looks for the best text at each token. The best token of each text is wanted: mind "
                "the axis.",
                (("logits.argmax(dim=-1)", "logits.argmax(dim=0)"),),
            ),
            "value-not-token": Mistake(
                "your greedy choice returns the largest logit itself. Its place is the token.",
                (("logits.argmax(dim=-1)", "logits.amax(dim=-1).long()"),),
            ),
            "column-not-row": Mistake(
                "your greedy choice has the wrong shape: a token of each text is [B].",
                (("logits.argmax(dim=-1)", "logits.argmax(dim=-1, keepdim=True).expand(-1, 1)"),),
            ),
            "multiplied": Mistake(
                "your temperature works the wrong way round: a small one makes the distribution flat. Logits are "
                "divided by it.",
                (("return logits / temperature", "return logits * temperature"),),
            ),
            "probabilities-divided": Mistake(
                "you divide probabilities by the temperature. It divides the logits, before any softmax.",
                (("return logits / temperature", "return logits.softmax(dim=-1) / temperature"),),
            ),
            "softmax-included": Mistake(
                "what you return are probabilities. Logits are wanted; whoever draws takes the softmax.",
                (("return logits / temperature", "return (logits / temperature).softmax(dim=-1)"),),
            ),
            "logits-changed": Mistake(
                "your temperature changes the logits that it was given, in place.",
                (("return logits / temperature", "return logits.div_(temperature)"),),
            ),
            "any-temperature": Mistake(
                "you take any temperature. What does the docstring want for 0 and below?",
                (("    if not temperature > 0:\n", "    if temperature is None:\n"),),
            ),
            "matrix-at-the-end": Mistake(
                "your extend returns one matrix when all is written. It is a generator: it hands out each column of "
                "new tokens as soon as it is there.",
                (
                    ("    ids = input_ids\n", "    ids, columns = input_ids, []\n"),
                    ("        yield token\n", "        columns.append(token)\n"),
                    ("                return", "                break\n    return torch.stack(columns, dim=1)"),
                ),
            ),
            "goes-on-after-the-end": Mistake(
                "a text that has ended goes on while the others are written. From its end on it is filled up.",
                ((".masked_fill(ended, pad_token_id)", ""),),
            ),
            "end-replaced": Mistake(
                "your end token is replaced by padding. It belongs to the text; only what follows is filled up.",
                (
                    (
                        "        yield token\n",
                        "        token = token.masked_fill(torch.isin(token, stop), pad_token_id)\n"
                        "        yield token\n",
                    ),
                    ("torch.isin(token, stop)\n            if", "token == pad_token_id\n            if"),
                ),
            ),
            "stops-with-the-first": Mistake(
                "your loop stops as soon as one text has ended. The others are not finished.",
                (("if ended.all()", "if ended.any()"),),
            ),
            "never-stops": Mistake(
                "your loop goes on though all texts have ended.",
                (("if ended.all()", "if False"),),
            ),
            "forgets-the-prompt": Mistake(
                "your model is asked about the last token alone. It needs the whole text so far.",
                (("ids = torch.cat([ids, token[:, None]], dim=1)", "ids = token[:, None]"),),
            ),
            "nothing-appended": Mistake(
                "your model is asked about the same text each time: new tokens have to be appended to it.",
                (("        ids = torch.cat([ids, token[:, None]], dim=1)  # [B, T + 1]\n", ""),),
            ),
        },
    ),
    "top-k": Proofs(
        observe="""
logits, ties = check.formula("logits", (3, 6)) * 5, torch.tensor([[1.0, 4, 3, 2], [5, 5, 5, 0]])
purity = check.observe(check.pure, top_k_filter, logits, 2)
none = check.observe(top_k_filter, ties, 0)
raw = check.observe(top_k_filter, ties[:1], 4)
beyond = check.observe(top_k_filter, ties, 99)
shape = check.observe(list, check.call(top_k_filter, ties, 2).shape)
two = check.observe(torch.nan_to_num, check.call(top_k_filter, logits, 2), neginf=-77.0)
tied = check.observe(torch.nan_to_num, check.call(top_k_filter, ties, 2), neginf=-77.0)
""",
        alternative='''
def top_k_filter(logits, top_k):
    """The same by counting how many are more probable."""
    if not top_k >= 1:
        raise ValueError(f"top_k={top_k}: expected 1 or more")
    better = (logits.unsqueeze(-2) > logits.unsqueeze(-1)).sum(dim=-1)  # [B, V]
    return torch.where(better < top_k, logits, torch.full_like(logits, float("-inf")))
''',
        mistakes={
            "least-probable": Mistake(
                "you keep the least probable tokens, not the most probable ones.",
                (
                    (
                        "logits.topk(min(top_k, logits.size(-1)), dim=-1)",
                        "logits.topk(min(top_k, logits.size(-1)), dim=-1, largest=False)",
                    ),
                    ("logits < least", "logits > least"),
                ),
            ),
            "one-too-few": Mistake(
                "the k-th token is lost: it belongs to those that stay.",
                (("logits < least", "logits <= least"),),
            ),
            "zero-is-not-out": Mistake(
                "the tokens that are out get a logit of 0, and with it a probability, often a large one. What must a "
                "logit be for the probability to be 0?",
                (("-math.inf)", "0.0)"),),
            ),
            "ties-broken": Mistake(
                "of tokens as probable as the k-th you keep some and drop others. They all stay.",
                (
                    (
                        "    return logits.masked_fill(logits < least, -math.inf)",
                        "    best = logits.topk(min(top_k, logits.size(-1)), dim=-1).indices\n"
                        "    return torch.full_like(logits, -math.inf).scatter(-1, best, logits.gather(-1, best))",
                    ),
                ),
            ),
            "only-the-k": Mistake(
                "what you return are the k logits themselves. All V are wanted, or nobody knows which tokens they are.",
                (
                    (
                        "return logits.masked_fill(logits < least, -math.inf)",
                        "return logits.topk(min(top_k, logits.size(-1)), dim=-1).values",
                    ),
                ),
            ),
            "one-threshold-for-all": Mistake(
                "all texts share one threshold. Each row has its own k-th token.",
                (("logits < least", "logits < least.max()"),),
            ),
            "beyond-the-vocabulary": Mistake(
                "a k beyond the vocabulary breaks your filter. It keeps all tokens.",
                (("min(top_k, logits.size(-1))", "top_k"),),
            ),
            "no-token-left": Mistake(
                "a top_k of 0 leaves nothing to draw from. What does the docstring want?",
                (
                    ("    if top_k < 1:\n", "    if top_k is None:\n"),
                    ("logits.topk(min(top_k,", "logits.topk(min(max(top_k, 1),"),
                ),
            ),
            "logits-changed": Mistake(
                "your filter changes the logits that it was given, in place.",
                (("logits.masked_fill(", "logits.masked_fill_("),),
            ),
            "probabilities": Mistake(
                "what you return are probabilities. Logits are wanted, those inside as they were.",
                (
                    (
                        "return logits.masked_fill(logits < least, -math.inf)",
                        "return logits.masked_fill(logits < least, -math.inf).softmax(dim=-1)",
                    ),
                ),
            ),
        },
    ),
    "top-p": Proofs(
        observe="""
logits = torch.tensor([[0.125, 0.5, 0.0625, 0.3125], [0.05, 0.1, 0.8, 0.05]]).log()
purity = check.observe(check.pure, top_p_filter, logits, 0.6)
whole = check.observe(top_p_filter, logits, 1.0)
nothing = check.observe(top_p_filter, logits, 0.0)
half = check.call(top_p_filter, torch.zeros(1, 4096).half(), 0.5)
digits = check.observe(int, (half > -math.inf).sum() // 8)
little = check.observe(torch.nan_to_num, check.call(top_p_filter, logits, 0.4), neginf=-77.0)
medium = check.observe(torch.nan_to_num, check.call(top_p_filter, logits, 0.6), neginf=-77.0)
much = check.observe(torch.nan_to_num, check.call(top_p_filter, logits, 0.9), neginf=-77.0)
moved = check.observe(torch.nan_to_num, check.call(top_p_filter, logits + 2, 0.6), neginf=-77.0)
""",
        alternative='''
def top_p_filter(logits, top_p):
    """The same from the most probable token on: out is what comes after the sum has been reached."""
    if top_p <= 0 or top_p > 1:
        raise ValueError(f"top_p={top_p}: expected 0 < top_p <= 1")
    likely, order = logits.double().softmax(dim=-1).sort(dim=-1, descending=True)
    before = likely.cumsum(dim=-1) - likely  # the probability of all that is more probable
    out = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, (before >= top_p) & (top_p < 1))
    return torch.where(out, torch.full_like(logits, -math.inf), logits)
''',
        mistakes={
            "crossing-token-dropped": Mistake(
                "your nucleus stops before it reaches top_p: the token with which the sum gets there belongs to it.",
                (("drop = tail <= 1 - top_p\n", "drop = tail - ascending.softmax(dim=-1) < 1 - top_p\n"),),
            ),
            "one-too-many": Mistake(
                "your nucleus goes on after it has reached top_p: the token after that is out.",
                (
                    (
                        "    drop[..., -1] = False\n",
                        "    drop = drop & torch.cat([drop[..., 1:], torch.ones_like(drop[..., :1])], dim=-1)\n"
                        "    drop[..., -1] = False\n",
                    ),
                ),
            ),
            "nucleus-of-the-least": Mistake(
                "your nucleus begins with the least probable token. It takes the most probable ones first.",
                (("logits.sort(dim=-1)", "logits.sort(dim=-1, descending=True)"),),
            ),
            "not-sorted": Mistake(
                "your sums run over the tokens as they stand in the vocabulary. They run from the most probable one "
                "on.",
                (
                    (
                        "ascending, order = logits.sort(dim=-1)",
                        "ascending, order = logits, torch.arange(logits.size(-1)).expand_as(logits)",
                    ),
                ),
            ),
            "not-put-back": Mistake(
                "what is out was found in sorted order, and is applied in the order of the vocabulary. It has to be "
                "put back in place first.",
                (("drop.scatter(-1, order, drop)", "drop"),),
            ),
            "put-back-backwards": Mistake(
                "on the way back from sorted order you pick where you should place: order says which token each "
                "place in the sorted row came from.",
                (("drop.scatter(-1, order, drop)", "drop.gather(-1, order)"),),
            ),
            "each-on-its-own": Mistake(
                "you compare each token's own probability with a threshold. It is the sum from the most probable one "
                "on that counts.",
                (
                    (
                        "tail = ascending.softmax(dim=-1, dtype=wide).cumsum(dim=-1)",
                        "tail = ascending.softmax(dim=-1, dtype=wide)",
                    ),
                ),
            ),
            "logits-summed": Mistake(
                "your sums are of logits. It is probabilities that have to reach top_p.",
                (("ascending.softmax(dim=-1, dtype=wide).cumsum(dim=-1)", "ascending.cumsum(dim=-1)"),),
            ),
            "the-rest": Mistake(
                "you keep what should go and drop what should stay: outside the nucleus, not inside, it is -inf.",
                (
                    (
                        "logits.masked_fill(drop.scatter(-1, order, drop)",
                        "logits.masked_fill(~drop.scatter(-1, order, drop)",
                    ),
                ),
            ),
            "p-of-the-tail": Mistake(
                "your nucleus leaves out a probability of top_p. That is what it has to keep.",
                (("tail <= 1 - top_p", "tail <= top_p"),),
            ),
            "zero-is-not-out": Mistake(
                "the tokens that are out get a logit of 0, and with it a probability. What must a logit be for the "
                "probability to be 0?",
                (("-math.inf)", "0.0)"),),
            ),
            "probabilities": Mistake(
                "what you return are probabilities. Logits are wanted, those inside as they were.",
                (
                    (
                        "return logits.masked_fill(drop.scatter(-1, order, drop), -math.inf)",
                        "return logits.masked_fill(drop.scatter(-1, order, drop), -math.inf).softmax(dim=-1)",
                    ),
                ),
            ),
            "half-precision": Mistake(
                "in half precision your sums stop growing: a small probability beside a large sum is rounded away.",
                (
                    (
                        "ascending.softmax(dim=-1, dtype=wide).cumsum(dim=-1)",
                        "ascending.softmax(dim=-1).flip(-1).cumsum(dim=-1).flip(-1).neg().add(1)",
                    ),
                    ("tail <= 1 - top_p", "tail < 1 - top_p"),
                ),
            ),
            "any-p": Mistake(
                "you take any top_p. What does the docstring want for 0?",
                (("    if not 0 < top_p <= 1:\n", "    if top_p is None:\n"),),
            ),
            "logits-changed": Mistake(
                "your filter changes the logits that it was given, in place.",
                (("logits.masked_fill(", "logits.masked_fill_("),),
            ),
        },
    ),
    "beam": Proofs(
        observe="""
scores = torch.tensor([[-1.0, -2.0], [-0.5, -3.0]])
after = torch.tensor([[-1.0, -5.0, -3.5], [-0.5, -2.25, -9.0], [-4.0, -1.0, -2.0], [-0.25, -7.0, -8.0]])
best = check.observe(beam_candidates, scores, after, 3)
all_of_them = check.observe(beam_candidates, scores, after, 99)
likely = torch.zeros(5, 5)
likely[1, [0, 2, 3]] = torch.tensor([0.1, 0.5, 0.4])
likely[2] = torch.tensor([0.4, 0.0, 0.2, 0.3, 0.1])
likely[3, [0, 4]] = torch.tensor([0.1, 0.9])
likely[4, [0, 2, 3]] = torch.tensor([0.5, 0.3, 0.2])
table = check.new(Table, likely.log())
plain = check.observe(beam_search, table, torch.tensor([[1]]), 4, 2, (0,), 0.0)
sound = check.observe(int, table.sound)
normed = check.observe(beam_search, check.new(Table, likely.log()), torch.tensor([[2, 3, 1]]), 3, 2, (0,), 1.0)
steep = check.observe(beam_search, check.new(Table, likely.log()), torch.tensor([[1]]), 3, 3, (0,), 2.0)
both = check.observe(beam_search, check.new(Table, likely.log()), torch.tensor([[1], [3]]), 3, 2, (0,), 1.0)
""",
        alternative='''
def beam_candidates(scores, log_probs, count):
    """The same by sorting all sums."""
    batch, beams = scores.shape
    totals = (log_probs + scores.reshape(-1, 1)).reshape(batch, -1)  # [B, K * V]
    index = totals.argsort(dim=1, descending=True, stable=True)[:, :count]
    return totals.gather(1, index), index.div(log_probs.shape[1], rounding_mode="floor"), index % log_probs.shape[1]


def beam_search(
    next_log_probs,
    input_ids,
    max_new_tokens,
    num_beams,
    eos_token_ids=(),
    length_penalty=1.0,
    early_stopping=False,
):
    """The same with the texts of all candidates made first."""
    with torch.no_grad():
        batch, start = input_ids.shape
        stop = torch.tensor(list(eos_token_ids), dtype=torch.long)
        count = max(2, 1 + len(eos_token_ids)) * num_beams
        finished, searching = [[] for _ in range(batch)], [True] * batch
        ids, scores = input_ids, torch.zeros(batch, 1)
        log_probs = next_log_probs(ids)
        for length in range(1, max_new_tokens + 1):
            first_rows = torch.arange(batch)[:, None] * scores.size(1)
            scores, beams, tokens = beam_candidates(scores, log_probs, count)
            rows = first_rows + beams
            texts = torch.cat([ids[rows], tokens[..., None]], dim=2)  # [B, C, T + 1]
            ends = torch.isin(tokens, stop) | (length == max_new_tokens)
            for text in range(batch):
                for rank in range(min(num_beams, scores.size(1))):
                    if searching[text] and ends[text, rank] and scores[text, rank] > -math.inf:
                        score = float(scores[text, rank]) * length**-length_penalty
                        finished[text].append((score, texts[text, rank, start:]))
            going = torch.where(ends, -math.inf, scores)
            kept = going.argsort(dim=1, descending=True, stable=True)[:, :num_beams]  # [B, K]
            scores, rows = going.gather(1, kept), rows.gather(1, kept).reshape(-1)
            ids = torch.cat([texts[text, kept[text]] for text in range(batch)])
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
''',
        mistakes={
            "past-not-added": Mistake(
                "your candidates go by their last token alone: what a beam has cost so far is added to it.",
                (("totals = scores[:, :, None] + log_probs", "totals = 0 * scores[:, :, None] + log_probs"),),
            ),
            "multiplied": Mistake(
                "you multiply what a beam has cost with what the next token costs. They are logarithms: they add up.",
                (("scores[:, :, None] + log_probs", "scores[:, :, None] * log_probs"),),
            ),
            "beam-and-token-exchanged": Mistake(
                "beam and token have changed places in your candidates. In a row of K * V sums, which of the two "
                "moves on with every step, and which every V steps?",
                (
                    (
                        "return best, index // vocab_size, index % vocab_size",
                        "return best, index % vocab_size, index // vocab_size",
                    ),
                ),
            ),
            "divided-by-the-beams": Mistake(
                "you take places in a row of K * V sums apart by the number of beams. Each beam has V of them.",
                (
                    ("index // vocab_size", "index // beams"),
                    ("index % vocab_size", "index % beams"),
                ),
            ),
            "each-beam-its-own": Mistake(
                "each of your beams sends its own best tokens, as many as any other. All beams of a text compete.",
                (
                    (
                        "    best, index = totals.flatten(start_dim=1).topk(min(count, beams * vocab_size))  # [B, C]\n"
                        "    return best, index // vocab_size, index % vocab_size",
                        "    each = min(max(1, -(-count // beams)), vocab_size)\n"
                        "    best, tokens = totals.topk(each)\n"
                        "    origin = torch.arange(beams)[:, None].expand(batch, beams, each)\n"
                        "    parts = [part.flatten(1)[:, :count] for part in (best, origin, tokens)]\n"
                        "    return tuple(part.gather(1, parts[0].argsort(1, descending=True)) for part in parts)",
                    ),
                ),
            ),
            "more-than-there-are": Mistake(
                "where fewer ways to go on exist than are wanted, your candidates break. All that there are is enough.",
                (("topk(min(count, beams * vocab_size))", "topk(count)"),),
            ),
            "penalty-the-wrong-way": Mistake(
                "your length penalty makes long texts worse. The sums are negative: they are divided by a power of the "
                "length, not multiplied.",
                (("/ length**length_penalty", "* length**length_penalty"),),
            ),
            "penalty-ignored": Mistake(
                "your scores do not depend on the length penalty.",
                (("scores[text, rank].item() / length**length_penalty", "scores[text, rank].item()"),),
            ),
            "always-the-mean": Mistake(
                "your scores are divided by the length, whatever the penalty: it is the exponent of the length.",
                (("/ length**length_penalty", "/ length"),),
            ),
            "prompt-counted": Mistake(
                "your scores count the prompt as part of the length. Only new tokens count.",
                (("/ length**length_penalty", "/ (start + length) ** length_penalty"),),
            ),
            "prompt-returned": Mistake(
                "what you return of a finished text begins with its prompt. Only its new tokens are wanted.",
                (("ids[rows[text, rank], start:]", "ids[rows[text, rank]]"),),
            ),
            "last-token-lost": Mistake(
                "a finished text of yours lacks its last token, the one with which it ended.",
                (
                    (
                        "new = torch.cat([ids[rows[text, rank], start:], tokens[text, rank, None]])",
                        "new = ids[rows[text, rank], start:]",
                    ),
                ),
            ),
            "finished-beams-go-on": Mistake(
                "beams that have ended go on: they take the place of others, and texts have an end in their middle.",
                (("scores.masked_fill(ends, -math.inf).topk", "scores.topk"),),
            ),
            "texts-not-moved": Mistake(
                "your beams go on with the text that stands in their place. Each goes on from the row that its "
                "candidate came from.",
                (
                    (
                        "torch.cat([ids[rows], tokens[:, None]], dim=1)",
                        "torch.cat([ids.repeat_interleave(len(rows) // len(ids), 0), tokens[:, None]], dim=1)",
                    ),
                ),
            ),
            "rows-of-others": Mistake(
                "rows and tokens are those of the first candidates, not of those that are kept: the two lists no "
                "longer belong together.",
                (
                    (
                        "rows, tokens = rows.gather(1, kept).flatten(), tokens.gather(1, kept).flatten()",
                        "rows, tokens = rows[:, : kept.size(1)].flatten(), tokens[:, : kept.size(1)].flatten()",
                    ),
                ),
            ),
        },
    ),
    "learning": Proofs(
        observe="""
said = check.observe(few_shot_prompt, [("cat", "кот"), ("house", "дом")], "dog")
unaided = check.observe(few_shot_prompt, [], "dog")
table = check.formula("table", (16, 4)) * 6
model = check.new(Adder, table)
each = check.observe(option_scores, model, [2, 3, 1], [[1], [3, 1, 2], [2, 2]])
sums = check.observe(option_scores, model, [2, 3, 1], [[1], [3, 1, 2], [2, 2]], per_token=False)
other = check.observe(option_scores, model, [1, 1], [[1], [3, 1, 2], [2, 2]])
nothing = check.observe(option_scores, model, [], [[1]])
""",
        alternative='''
def few_shot_prompt(examples, query, arrow=" -> ", end="\\n"):
    """The same with the lines joined."""
    lines = [given + arrow + answer for given, answer in examples]
    return end.join([*lines, query + arrow])


def option_scores(model, prompt, options, per_token=True):
    """The same token by token."""
    prompt, options = list(prompt), [list(option) for option in options]
    if not prompt or not options or [] in options:
        raise ValueError("expected a prompt, options, and at least one token in each")
    scores = []
    for option in options:
        score = 0.0
        for place, token in enumerate(option):
            with torch.no_grad():
                said = model(torch.tensor([prompt + option[:place]])).logits[0, -1]
            score += (said[token] - said.logsumexp(dim=0)).item()
        scores.append(score / len(option) if per_token else score)
    return torch.tensor(scores)
''',
        mistakes={
            "space-at-the-end-lost": Mistake(
                "your prompt lacks the last character of its last arrow, the space behind which the answer goes on.",
                (("+ query + arrow", "+ query + arrow.rstrip()"),),
            ),
            "no-last-arrow": Mistake(
                "your prompt ends with the query. The arrow behind it says that an answer is wanted.",
                (("+ query + arrow", "+ query"),),
            ),
            "answers-forgotten": Mistake(
                "the examples in your prompt have no answers: nothing is shown.",
                (("{given}{arrow}{answer}{end}", "{given}{arrow}{end}"),),
            ),
            "one-place-late": Mistake(
                "each token of an option is judged by what the model says after reading it. What is said about a token "
                "stands one place before.",
                (("log_probs[len(prompt) - 1 : -1]", "log_probs[len(prompt) :]"),),
            ),
            "prompt-counted": Mistake(
                "the tokens of the prompt are judged too. Only the option's own are, each given all before it.",
                (
                    (
                        "log_probs[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None])",
                        "log_probs[:-1].gather(1, ids[0, 1:, None])",
                    ),
                ),
            ),
            "prompt-not-read": Mistake(
                "your options are read without the prompt, but for its last token: the model never sees the examples.",
                (
                    ("torch.tensor([[*prompt, *option]])", "torch.tensor([[*prompt[-1:], *option]])"),
                    (
                        "log_probs[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None])",
                        "log_probs[:-1].gather(1, ids[0, 1:, None])",
                    ),
                ),
            ),
            "always-the-sum": Mistake(
                "your scores are sums even where the mean per token is asked, so long options lose.",
                (("own.mean() if per_token else own.sum()", "own.sum()"),),
            ),
            "always-the-mean": Mistake(
                "your scores are means even where per_token is False.",
                (("own.mean() if per_token else own.sum()", "own.mean()"),),
            ),
            "logits-added": Mistake(
                "you add up logits. They say nothing until the softmax has compared them: log-probabilities add up.",
                (("model(ids).logits[0].log_softmax(dim=-1)", "model(ids).logits[0]"),),
            ),
            "probabilities-added": Mistake(
                "you add up probabilities. Those of several tokens multiply, so it is their logarithms that add up.",
                (("log_softmax(dim=-1)", "softmax(dim=-1)"),),
            ),
        },
    ),
}
