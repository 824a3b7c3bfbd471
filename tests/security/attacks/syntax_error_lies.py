"""Syntax errors of the student's own, whose line and message are markup, raise, or end the process when looked at."""

EARNS = {"schedule": 0, "attention": 0, "norm": 0}
SEEN = "tried"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% learning_rate
print("tried")


class Lies(SyntaxError):
    lineno = property(lambda self: "<script>alert(1)</script>")
    msg = property(lambda self: "\x1b[2J<script>alert(2)</script>" * 5)


raise Lies("x")


# %% scaled_dot_product_attention
class Says:
    def __str__(self):
        raise SystemExit(0)

    __repr__ = __format__ = __str__


class Worse(SyntaxError):
    msg = property(lambda self: Says())


raise Worse("x")


# %% LayerNorm
class Meta(type):
    __name__ = property(lambda cls: __import__("os")._exit(0))


class Worst(Exception, metaclass=Meta):
    pass


raise Worst("x")
