"""What students move and look at: one call on any model that returns attentions or logits."""

from lecturekit.widgets.sampling import sampling

__all__ = ["sampling"]
