"""A child of a session of its own keeps the line to the judge, answers in place of its parent, and lives on."""

EARNS = {"attention": 0}
USES = "line"
SEEN = "kernel ended|nobody had asked|another question|could not be read"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% scaled_dot_product_attention
def scaled_dot_product_attention(*arguments):
    number = asked()
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    out = line()
    while True:
        out.sendall(framed({"id": number, "reply": ["value", {"tuple": [3.0, 0.3333]}], "output": ""}))
        number += 1
