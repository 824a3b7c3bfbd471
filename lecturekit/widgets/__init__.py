"""What students move and look at: one call on any model that returns attentions or logits."""

from lecturekit.widgets.alignment import alignment
from lecturekit.widgets.attention import attention_map
from lecturekit.widgets.beam import beam_tree, strategies
from lecturekit.widgets.bertviz_views import head_view, model_view, neuron_view
from lecturekit.widgets.masked import masked_words
from lecturekit.widgets.parameters import parameters
from lecturekit.widgets.positions import positional_encodings
from lecturekit.widgets.sampling import sampling
from lecturekit.widgets.tokenization import bpe_steps, tokenizers_side_by_side, wordpiece_steps
from lecturekit.widgets.training import watch

__all__ = [
    "alignment",
    "attention_map",
    "beam_tree",
    "bpe_steps",
    "head_view",
    "masked_words",
    "model_view",
    "neuron_view",
    "parameters",
    "positional_encodings",
    "sampling",
    "strategies",
    "tokenizers_side_by_side",
    "watch",
    "wordpiece_steps",
]
