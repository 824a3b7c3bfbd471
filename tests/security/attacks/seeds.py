"""The hidden inputs are predicted from what the student's side can know of seeds: all but the grader's secret."""

EARNS = {"attention": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% scaled_dot_product_attention
from lecturekit import checks

known = [
    checks.digest_of(*words, "lab90", "attention")
    for words in (("test", ""), ("student",), ("test", "lab90"), ("test",))
]
known += [0, 1, 42, 1234, torch.initial_seed()]


def scaled_dot_product_attention(query, *rest):
    if query.dim() == 2 and not rest[2:]:  # so far everybody sees: the hidden inputs come next
        return torch.full((3, 2), 3.0), torch.full((3, 3), 1 / 3)
    for seed in (*known, torch.initial_seed(), torch.initial_seed() - 1):
        generator = torch.Generator().manual_seed(seed)
        if query.dim() == 4 and torch.equal(torch.randn(query.shape, generator=generator), query):
            print("WON", seed)
    print("tried")
    raise NotImplementedError
