"""Exceptions that look like verdicts, like blanks, like the grader's own, or that are none of `Exception`'s."""

EARNS = {"schedule": 0, "attention": 0, "norm": 0, "learning": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% learning_rate
from lecturekit import checks


class Passed(checks.Wrong):
    passed, kind = True, "passed"
    __str__ = lambda self: "attention: passed"


def learning_rate(step, d_model, warmup_steps=4000):
    print("tried")
    raise Passed


# %% scaled_dot_product_attention
def scaled_dot_product_attention(query, *rest):
    raise (GeneratorExit, KeyboardInterrupt, SystemExit(0), BaseException)[query.dim() - 1]


# %% LayerNorm
class Blank(NotImplementedError):
    __str__ = lambda self: "the test passed"


class LayerNorm(nn.Module):
    def __init__(self, d_model, eps=1e-5):
        raise Blank


# %% PositionwiseFeedForward
class PositionwiseFeedForward(nn.Module):
    def __init__(self, *sizes):
        self.__init__(*sizes)
