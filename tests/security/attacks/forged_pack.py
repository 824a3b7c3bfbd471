"""`pack` is replaced, so that replies say what no honest far end would: a verdict, an unknown tag, someone's handle."""

EARNS = {"attention": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% scaled_dot_product_attention
from lecturekit import checks

honest, forged = (
    checks.pack,
    [{"handle": 10**9}, {"passed": True}, {"config": ["os", "system", {"dict": []}]}, {"tensor": "no"}],
)


def pack(value, *arguments):
    if isinstance(value, Forged):
        print("tried")
        return {"tuple": [forged[0], forged.pop() if len(forged) > 1 else forged[0]]}
    return honest(value, *arguments)


class Forged:
    pass


checks.pack = pack


def scaled_dot_product_attention(*arguments):
    return Forged()
