"""What one test asked is kept and replayed to the next, from a file where the process ended in between."""

EARNS = {"attention": 0}
SEEN = "remembered 1"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% scaled_dot_product_attention
import os

PLACE = os.path.expanduser("~/seen")


def scaled_dot_product_attention(query, key, value, mask=None, dropout=0.0):
    earlier = sorted(os.listdir(PLACE)) if os.path.isdir(PLACE) else []
    os.makedirs(PLACE, exist_ok=True)
    torch.save(query, f"{PLACE}/{len(earlier)}")
    print("remembered", len(earlier))
    last = torch.load(f"{PLACE}/{len(earlier) - 1}") if earlier else query
    return last[..., : value.size(-1)], last
