"""The far end in the student's process is replaced: to a blank function it answers what the first test may want."""

EARNS = {"attention": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% scaled_dot_product_attention
from lecturekit import checks

honest = checks.Far.call


def call(self, f, *arguments, **named):
    if getattr(f, "__name__", "") != "scaled_dot_product_attention":
        return honest(self, f, *arguments, **named)
    print("tried")
    return torch.full((3, 2), 3.0), torch.full((3, 3), 1 / 3)


checks.Far.call = call


def scaled_dot_product_attention(*arguments):
    raise NotImplementedError
