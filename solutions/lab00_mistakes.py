"""Lab 0: mistakes that students make, the hint each deserves, and other right ways. See `autograder/mistakes.py`.

A hint names the misunderstanding and where to look. It never shows code.
"""

from autograder.mistakes import Mistake, Proofs

EXERCISES = {
    "tokens": Proofs(
        observe="""
ids = torch.tensor([[3, 1, 0, 2], [1, 0, 0, 0], [2, 2, 1, 3]])
zero = check.observe(count_tokens, ids)
one = check.observe(count_tokens, ids, 1)
""",
        alternative='''
def count_tokens(ids, pad_id=0):
    """The same by taking away the padding."""
    return ids.size(1) - ids.eq(pad_id).long().sum(-1)
''',
        mistakes={
            "columns": Mistake(
                "you count the tokens of each column. The axis that you name in a sum is the one that vanishes, and "
                "the rows should stay.",
                (("sum(dim=1)", "sum(dim=0)"),),
            ),
            "all-at-once": Mistake(
                "you count the tokens of the whole batch. A sum that is told no axis adds up everything; here one "
                "number a row is wanted.",
                (("sum(dim=1)", "sum()"),),
            ),
            "counts-padding": Mistake(
                "you count the padding. What is wanted is the number of the other tokens.",
                (("ids != pad_id", "ids == pad_id"),),
            ),
            "padding-is-always-zero": Mistake(
                "your function takes 0 for padding whatever pad_id says.",
                (("ids != pad_id", "ids != 0"),),
            ),
            "adds-the-ids": Mistake(
                "you add up the ids themselves. First ask of each id whether it is padding; the answers, True and "
                "False, count as 1 and 0 in a sum.",
                (("(ids != pad_id).sum", "(ids * (ids != pad_id)).sum"),),
            ),
        },
    ),
    "means": Proofs(
        observe="""
x = check.formula("x", (2, 4, 3)) * 5
mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
mean = check.observe(masked_mean, x, mask)
empty = check.observe(masked_mean, x, mask & torch.tensor([[True], [False]]))
narrow = check.observe(masked_mean, x, torch.ones(2, 1).bool())
""",
        alternative='''
def masked_mean(x, mask):
    """The same by weights, one matrix product a row."""
    if tuple(mask.shape) != (x.size(0), x.size(1)):
        raise ValueError(f"a mask of shape {tuple(mask.shape)} for x of shape {tuple(x.shape)}")
    weights = mask.to(x.dtype)
    weights = weights / torch.maximum(weights.sum(1, keepdim=True), torch.ones(1))
    return torch.einsum("bt,btd->bd", weights, x)
''',
        mistakes={
            "mask-unused": Mistake(
                "your mean runs over all positions, padding included: the mask has no effect on it.",
                (
                    ("total = (x * mask[:, :, None]).sum(dim=1)", "total = x.sum(dim=1)"),
                    ("mask.sum(dim=1, keepdim=True).clamp(min=1)", "x.size(1)"),
                ),
            ),
            "divided-by-the-length": Mistake(
                "you leave padding out of the sum and count it in the divisor. Each row's sum is divided by the number "
                "of its own tokens, not by T.",
                (("mask.sum(dim=1, keepdim=True).clamp(min=1)", "x.size(1)"),),
            ),
            "divided-by-all-tokens": Mistake(
                "you divide by the number of tokens in the whole batch. Each row has its own.",
                (("mask.sum(dim=1, keepdim=True).clamp(min=1)", "mask.sum().clamp(min=1)"),),
            ),
            "mask-inverted": Mistake(
                "your mean is that of the padding. Here True means a token.",
                (
                    ("x * mask[:, :, None]", "x * ~mask[:, :, None]"),
                    ("total / mask.sum", "total / (~mask).sum"),
                ),
            ),
            "nothing-by-nothing": Mistake(
                "a row that is all padding gives nan: its sum 0 is divided by its number of tokens, 0. Such a row "
                "should give zeros, so keep the divisor from being 0.",
                ((".clamp(min=1)", ""),),
            ),
            "shape-not-checked": Mistake(
                "a mask of another shape passes unnoticed: broadcasting repeats an axis of length 1 without asking. "
                "The docstring says what to do with a mask that has not exactly the shape [B, T].",
                (("if mask.shape != x.shape[:2]:", "if mask.dim() != 2:"),),
            ),
        },
    ),
    "distances": Proofs(
        observe="""
x, y = check.formula("x", (3, 4)) * 3, check.formula("y", (5, 4)) * 3
distances = check.observe(pairwise_distances, x, y)
itself = check.observe(pairwise_distances, x, x)
""",
        alternative='''
def pairwise_distances(x, y):
    """The same with the formula written out, the axes made by unsqueeze."""
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(f"widths {x.shape[-1]} and {y.shape[-1]}")
    return (x.unsqueeze(1) - y.unsqueeze(0)).pow(2).sum(2).sqrt()
''',
        mistakes={
            "without-root": Mistake(
                "these are the squares of the distances: the formula ends with a root.",
                (("torch.linalg.vector_norm(difference, dim=-1)", "difference.square().sum(dim=-1)"),),
            ),
            "city-blocks": Mistake(
                "you add the sizes of the differences, the way along the streets of a town. As the crow flies, the "
                "squares are added and the root is taken of their sum.",
                (("torch.linalg.vector_norm(difference, dim=-1)", "difference.abs().sum(dim=-1)"),),
            ),
            "transposed": Mistake(
                "rows and columns have changed places: row i of the result belongs to row i of x. Which of the two "
                "gets its axis of length one in the middle?",
                (("x[:, None, :] - y[None, :, :]", "x[None, :, :] - y[:, None, :]"),),
            ),
            "added-before-squared": Mistake(
                "you add the differences and square the sum, so that those of opposite sign cancel. Each difference "
                "is squared first.",
                (("torch.linalg.vector_norm(difference, dim=-1)", "difference.sum(dim=-1).square().sqrt()"),),
            ),
            "row-by-row": Mistake(
                "you subtract row i of y from row i of x. Every row of x is wanted against every row of y: give both "
                "a third axis, of length one, at different places.",
                (("x[:, None, :] - y[None, :, :]", "x - y"),),
            ),
        },
    ),
    "gradients": Proofs(
        observe="""
x, y, weight = check.formula("x", (5, 3)) * 2, check.formula("y", (5,)) * 4, check.formula("weight", (3,))
gradient = check.observe(gradient_by_hand, weight, x, y)
once = check.observe(descend, weight, x, y, 0.1, 1)
often = check.observe(descend, weight, x, y, 0.1, 4)
purity = check.observe(check.pure, descend, weight, x, y, 0.1, 2)
""",
        alternative='''
def gradient_by_hand(weight, x, y):
    """The same, the mean of what each row contributes."""
    errors = torch.mv(x, weight) - y
    return (2 * errors.unsqueeze(1) * x).mean(0)


def descend(weight, x, y, lr, steps):
    """The same by torch.autograd.grad, with a new tensor for each step."""
    for _ in range(steps):
        leaf = weight.clone().detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(squared_error(leaf, x, y), [leaf])
        weight = leaf.detach() - lr * gradient
    return weight.detach().clone()
''',
        mistakes={
            "factor-two": Mistake(
                "your formula is too small by a factor: what is the derivative of a square?",
                (("return 2 * (x @ weight - y) @ x", "return (x @ weight - y) @ x"),),
            ),
            "sum-of-errors": Mistake(
                "your formula is the gradient of the sum of the squared errors. The loss is their mean.",
                ((" @ x / len(y)", " @ x"),),
            ),
            "sign": Mistake(
                "your formula points the other way: the error is what the map says minus what was wanted.",
                (("2 * (x @ weight - y) @ x", "2 * (y - x @ weight) @ x"),),
            ),
            "accumulated": Mistake(
                "the first step is right, later ones are too long: backward adds to the gradient that the step before "
                "has left. Empty it before each step.",
                (("        weight.grad = None\n", ""),),
            ),
            "uphill": Mistake(
                "your steps go uphill. The gradient points to where the error grows.",
                (("weight -= lr", "weight += lr"),),
            ),
            "one-step": Mistake(
                "your function returns after its first step, whatever steps says: look at how far the return is "
                "indented.",
                (("\n    return weight.detach()", "\n        return weight.detach()\n    return weight.detach()"),),
            ),
            "shares-memory": Mistake(
                "the caller's weight has changed. detach gives the same numbers in the same memory, and a step in "
                "place writes there: work on a copy.",
                (("weight.detach().clone().requires_grad_()", "weight.detach().requires_grad_()"),),
            ),
            "gradient-of-another-tensor": Mistake(
                "grad is None: the gradient has gone to another tensor than the one that you look at. detach, clone "
                "and arithmetic make new tensors, and only one that you made yourself, and computed the loss "
                "from, gets a grad.",
                (("squared_error(weight, x, y)", "squared_error(weight.detach().requires_grad_(), x, y)"),),
            ),
            "step-is-recorded": Mistake(
                "torch refuses (RuntimeError). Two causes are usual: the step writes into a tensor that torch keeps "
                "the history of, so take it where no history is kept; or the loss was computed from a detached "
                "tensor. The message above says which.",
                (("        with torch.no_grad():\n", "        if True:\n"),),
            ),
        },
    ),
    "seeds": Proofs(
        observe="""
probabilities = torch.tensor([0.1, 0.2, 0.3, 0.4])
certain = check.observe(draw_tokens, torch.tensor([0.0, 0.0, 1.0]), 1, 5)
draw = check.call(draw_tokens, probabilities, 40, 7)
repeatable = check.observe(check.equal, draw_tokens(probabilities, 40, 7), draw)
moved = check.observe(check.equal, draw_tokens(probabilities, 40, 8), draw)
check.seed(11)
undisturbed = noise(20)
check.seed(11)
again = check.call(draw_tokens, probabilities, 40, 7)
quiet = check.observe(check.equal, noise(20), undisturbed)
""",
        alternative='''
def draw_tokens(probabilities, count, seed):
    """The same by numbers between 0 and 1, each looked up in the sums of the probabilities."""
    generator = torch.Generator()
    generator.manual_seed(seed)
    ends = probabilities.double().cumsum(0)
    numbers = torch.rand(count, generator=generator, dtype=torch.float64) * ends[-1]
    return torch.searchsorted(ends, numbers, right=True)
''',
        mistakes={
            "global-seed": Mistake(
                "you seed torch's global generator. Your draw repeats, but so does what everybody else draws after "
                "it: seed a generator of your own.",
                (
                    ("generator = torch.Generator().manual_seed(seed)", "torch.manual_seed(seed)"),
                    (", generator=generator", ""),
                ),
            ),
            "generator-not-handed-over": Mistake(
                "your draw comes from torch's global generator, and the seed has no effect on it. Whoever draws has "
                "to be told which generator to draw from.",
                ((", generator=generator", ""),),
            ),
            "seed-unused": Mistake(
                "every seed gives the same draw: a new generator always begins in the same state. Where does the seed "
                "go?",
                (("torch.Generator().manual_seed(seed)", "torch.Generator()"),),
            ),
            "without-replacement": Mistake(
                "no id is drawn twice, so there are soon none left. Each draw should have all the ids again: look at "
                "what the drawing function says about replacement.",
                ((", replacement=True", ""),),
            ),
        },
    ),
    "text": Proofs(
        observe="""
numbers = check.observe(number_characters, ["ток", "cat", "и"])
vocabulary = {"a": 1, "c": 2, "t": 3, "к": 4, "о": 5, "т": 6}
ids = check.observe(to_ids, ["кот", "cat"], vocabulary)
padded = check.observe(to_ids, ["cat", "к", "ток"], vocabulary)
texts = check.observe(to_texts, torch.tensor([[2, 1, 3, 0], [4, 5, 6, 4]]), vocabulary)
unpadded = check.observe(to_texts, torch.tensor([[2, 1, 3], [4, 5, 6]]), vocabulary)
""",
        alternative='''
def number_characters(texts):
    """The same, one new character after another."""
    vocabulary = {}
    for character in sorted(character for text in texts for character in text):
        vocabulary.setdefault(character, len(vocabulary) + 1)
    return vocabulary


def to_ids(texts, vocabulary):
    """The same by torch's own padding."""
    rows = [torch.tensor([vocabulary[character] for character in text], dtype=torch.int64) for text in texts]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def to_texts(ids, vocabulary):
    """The same by a list in which the place of padding is empty."""
    characters = [""] * (len(vocabulary) + 1)
    for character, i in vocabulary.items():
        characters[i] = character
    return ["".join([characters[i] for i in row]) for row in ids.tolist()]
''',
        mistakes={
            "counted-from-zero": Mistake(
                "your first character has the id 0, which is padding's. Ids begin with 1.",
                ((", start=1)", ")"),),
            ),
            "not-sorted": Mistake(
                "your ids follow the order in which the characters come up, so other texts in another order would get "
                "others. They follow the code points.",
                (('sorted(set("".join(texts)))', 'dict.fromkeys("".join(texts))'),),
            ),
            "counts-bytes": Mistake(
                "your rows are too long: a Russian letter is two bytes, and one character. It is characters that get "
                "an id.",
                (("max(len(text) for text in texts)", "max(len(text.encode()) for text in texts)"),),
            ),
            "padding-in-front": Mistake(
                "your padding stands before the text. It belongs behind it.",
                (
                    (
                        "[vocabulary[character] for character in text] + [0] * (length - len(text))",
                        "[0] * (length - len(text)) + [vocabulary[character] for character in text]",
                    ),
                ),
            ),
            "no-padding": Mistake(
                "your rows differ in length, and a tensor has no such thing. Fill the short ones up with padding.",
                ((" + [0] * (length - len(text))", ""),),
            ),
            "padding-looked-up": Mistake(
                "your to_texts looks padding up in the vocabulary, which has no character for it. Leave it out.",
                ((" if i != 0", ""),),
            ),
            "ids-for-characters": Mistake(
                "your to_texts takes an id for a code point. An id is the place in this vocabulary: turn the "
                "vocabulary round.",
                (('"".join(characters[i] for', '"".join(chr(i) for'),),
            ),
        },
    ),
}
