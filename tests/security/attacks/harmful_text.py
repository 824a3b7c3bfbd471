"""Script, terminal escapes, turned writing and formulas, in code, output and exceptions: the pages stay harmless."""

EARNS = {"schedule": 0, "attention": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% learning_rate
print("tried <script>alert(1)</script> \x1b[2J\x1b]0;title\x07 \u202egnp.exe")


def learning_rate(step, d_model, warmup_steps=4000):
    """</pre></code><script>alert(2)</script>"""
    raise ValueError('=HYPERLINK("http://127.0.0.1/") <img src=x onerror=alert(3)> \x1b[31m \u202e')


# %% scaled_dot_product_attention
def scaled_dot_product_attention(*arguments):
    raise type("<script>alert(4)</script>", (Exception,), {})("`<script>alert(5)</script>`")
