"""What students move and look at: one call on any model that returns attentions or logits."""

from lecturekit.widgets.alignment import alignment
from lecturekit.widgets.attention import attention_map
from lecturekit.widgets.bertviz_views import head_view, model_view, neuron_view
from lecturekit.widgets.sampling import sampling

__all__ = ["alignment", "attention_map", "head_view", "model_view", "neuron_view", "sampling"]
