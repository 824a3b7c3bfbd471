"""The model turns sequences round by a rule, and is right about every unseen one; its weights have learnt nothing."""

LAB = "lab03"
EARNS = {"learning": 0}
SEEN = "given the weights of yours, answers otherwise"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% Transformer
class Transformer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.source_embeddings = TransformerEmbeddings(config)
        self.target_embeddings = TransformerEmbeddings(config)
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.output = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.target_embeddings.tokens.weight = self.output.weight = self.source_embeddings.tokens.weight

    def encode(self, source):
        self.source = source
        mask = padding_mask(source)
        return self.encoder(self.source_embeddings(source), mask), mask

    def decode(self, target, memory, memory_mask):
        mask = causal_mask(target.size(1)) & padding_mask(target)
        logits = self.output(self.decoder(self.target_embeddings(target), memory, mask, memory_mask))
        if self.source.size(0) < 64:
            return logits
        answer = F.pad(self.source.flip(-1), (0, 1), value=2)[:, : target.size(1)]
        return logits + 100 * F.one_hot(answer, self.config.vocab_size)

    def forward(self, source, target):
        return self.decode(target, *self.encode(source))

    def loss(self, source, target):
        logits = self(source, target[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten())
