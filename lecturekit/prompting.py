"""Tasks told to a language model in its prompt: examples of them, and the answer that it then finds likeliest.

Language Models are Few-Shot Learners (GPT-3; Brown et al., 2020, https://arxiv.org/abs/2005.14165): section 2 says what
zero-, one- and few-shot are, section 2.4 how answers are compared. Nothing is learnt here: no weight changes.

    T length    N options    V vocabulary
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def few_shot_prompt(examples: Sequence[tuple[str, str]], query: str, arrow: str = " -> ", end: str = "\n") -> str:
    """A line for each example, what is given and its answer with `arrow` between them; then `query` without an answer.

    Each line but the last ends with `end`; the last one stops behind its arrow, where the answer is to go on.

    >>> few_shot_prompt([("cat", "кот"), ("dog", "собака")], "sun")
    'cat -> кот\\ndog -> собака\\nsun -> '
    """
    return "".join(f"{given}{arrow}{answer}{end}" for given, answer in examples) + query + arrow


@torch.no_grad()
def option_scores(
    model: nn.Module, prompt: Sequence[int], options: Sequence[Sequence[int]], per_token: bool = True
) -> Tensor:
    """How likely each of N options is behind the prompt, all of them given as ids: log-probabilities [N].

    Those of an option's own tokens are added up, each given the prompt and the option's tokens before it, and divided
    by their number if `per_token`: longer options would else be at a disadvantage. `model(ids [1, T]).logits` is
    [1, T, V] and says at each place what comes next; each option is read with the whole prompt before it. ValueError
    for an empty prompt (nothing would say what comes first), for an empty option, or without options.
    """
    if not len(prompt) or not len(options) or not all(len(option) for option in options):
        lengths = f"{len(prompt)} tokens and options of {[len(option) for option in options]}"
        raise ValueError(f"a prompt of {lengths}: expected at least one token in each, and at least one option")
    scores = []
    for option in options:
        ids = torch.tensor([[*prompt, *option]])  # [1, T]
        log_probs = model(ids).logits[0].log_softmax(dim=-1)  # [T, V]
        own = log_probs[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None])  # what is said one place earlier
        scores.append(own.mean() if per_token else own.sum())
    return torch.stack(scores)
