"""All the disk there is: one endless file, then many, then their names alone."""

EARNS = {"attention": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% scaled_dot_product_attention
import os


def scaled_dot_product_attention(*arguments):
    written = 0
    for number in range(1000):
        try:
            with open(f"large{number}", "wb") as file:
                while written < 4 * 2**30:
                    written += file.write(b"x" * 2**24)
        except OSError:
            pass
    print("WON" if written > 2**29 else "tried", written)
    os.makedirs("many", exist_ok=True)
    try:
        for number in range(10**6):
            os.link("large0", f"many/{number}")
        print("WON: a million names")
    except OSError:
        pass
    raise NotImplementedError
