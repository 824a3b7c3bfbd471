"""A dictionary whose keys all have one hash: who rebuilds it compares each with all others."""

EARNS = {"attention": 0}
SECONDS = 5
SEEN = "stopped after 5 s"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% scaled_dot_product_attention
def scaled_dot_product_attention(*arguments):
    import lecturekit.checks

    pairs = [[i * (2**61 - 1), 0] for i in range(150_000)]
    lecturekit.checks.pack = lambda *arguments, **named: {"dict": pairs}
    return {}
