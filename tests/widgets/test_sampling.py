"""The sampling widget against hand-computed distributions, and with models of every kind."""

import math
import re
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from lecturekit.models.gpt import GPT2Config, GPT2LMHeadModel
from lecturekit.tokenizers import ByteLevelBPE
from lecturekit.widgets import sampling
from lecturekit.widgets.base import Picture
from lecturekit.widgets.sampling import entropy

WORDS = ["кот", "dog", " sat", "<s>"]
LOGITS = torch.tensor([8.0, 4.0, 2.0, 1.0]).log()  # probabilities in fifteenths


def column(picture: Picture, name: str) -> list[object]:
    index = list(picture.table.head).index(name)
    return [row[index] for row in picture.table.rows]


def shown(widget: object, **values: object) -> Picture:
    return widget.set(**values).picture


def test_entropy_is_in_bits() -> None:
    assert entropy(torch.full((8,), 1 / 8)) == pytest.approx(3)
    assert entropy(torch.tensor([1.0, 0.0])) == 0


def test_logits_alone() -> None:
    picture = shown(sampling(LOGITS, WORDS))
    assert column(picture, "token") == ["кот", "dog", "␣sat", "<s>"]
    assert column(picture, "before") == pytest.approx([8 / 15, 4 / 15, 2 / 15, 1 / 15])
    assert column(picture, "after") == column(picture, "before")
    bits = -sum(p / 15 * math.log2(p / 15) for p in (8, 4, 2, 1))
    assert f"entropy {bits:.2f} → {bits:.2f} bits; 4 of 4 tokens are left" in picture.caption


@pytest.mark.parametrize(
    ("values", "after"),
    [
        ({"temperature": 0.5}, [64 / 85, 16 / 85, 4 / 85, 1 / 85]),
        ({"top_k": 2}, [2 / 3, 1 / 3, 0, 0]),
        ({"top_p": 0.79}, [2 / 3, 1 / 3, 0, 0]),
        ({"top_p": 0.81}, [8 / 14, 4 / 14, 2 / 14, 0]),
        ({"top_k": 3, "temperature": 0.5}, [64 / 84, 16 / 84, 4 / 84, 0]),
    ],
)
def test_what_each_slider_does(values: dict, after: list[float]) -> None:
    assert column(shown(sampling(LOGITS, WORDS), **values), "after") == pytest.approx(after)


def test_the_cut_mass_is_said() -> None:
    assert (
        "2 of 4 tokens are left, and 0.200 of the probability was cut"
        in shown(sampling(LOGITS, WORDS), top_k=2).caption
    )


@pytest.fixture
def tokenizer() -> ByteLevelBPE:
    return ByteLevelBPE.train(["the cat sat on the mat", "кот сидел на ковре"], 300)


@pytest.fixture
def gpt(tokenizer: ByteLevelBPE) -> GPT2LMHeadModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=1, n_head=2))


class Own(nn.Module):
    """A student's model: another form of answer each time."""

    def __init__(self, vocab_size: int, form: str) -> None:
        super().__init__()
        self.table, self.form = nn.Embedding(vocab_size, vocab_size), form

    def forward(self, ids: Tensor) -> object:
        logits = self.table(ids)
        return {
            "tensor": logits,
            "tuple": (logits, None),
            "field": SimpleNamespace(logits=logits),
            "dictionary": {"logits": logits},
            "last": logits[:, -1],
            "nothing": SimpleNamespace(hidden=logits),
            "numbers": (logits.tolist(),),
        }[self.form]


@pytest.mark.parametrize("form", ["tensor", "tuple", "field", "dictionary"])
def test_models_of_every_form(tokenizer: ByteLevelBPE, form: str) -> None:
    model = Own(len(tokenizer), form).train()
    picture = shown(sampling(model, tokenizer, "кот"))
    expected = model.table.weight[tokenizer.encode("кот")[-1]].softmax(-1)
    assert column(picture, "before") == pytest.approx(expected.topk(20).values.tolist())
    assert model.training


@pytest.mark.parametrize(
    ("form", "error", "message"),
    [
        ("last", ValueError, r"have the shape \[1, \d+\]: expected logits \[1, T, V\]"),
        ("nothing", TypeError, "returned SimpleNamespace without logits: expected logits"),
        ("numbers", TypeError, "returned list: expected logits"),
    ],
)
def test_what_is_missing_is_one_sentence(tokenizer: ByteLevelBPE, form: str, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        sampling(Own(len(tokenizer), form), tokenizer, "кот")


def test_an_empty_prompt_and_a_tokenizer_that_is_none(gpt: GPT2LMHeadModel, tokenizer: ByteLevelBPE) -> None:
    with pytest.raises(ValueError, match="an empty text: expected at least one token"):
        sampling(gpt, tokenizer, "")
    with pytest.raises(ValueError, match=r"logits of shape \[1, 4\]: expected \[V\]"):
        sampling(LOGITS[None], WORDS)
    with pytest.raises(TypeError, match="a tokenizer of type object without encode"):
        sampling(gpt, object(), "кот")


def test_dropout_rests_meanwhile(gpt: GPT2LMHeadModel, tokenizer: ByteLevelBPE) -> None:
    gpt.train()
    first = column(shown(sampling(gpt, tokenizer, "the cat")), "before")
    assert column(shown(sampling(gpt, tokenizer, "the cat")), "before") == first


def written(picture: Picture) -> list[tuple[str, float]]:
    return [(row[0], row[3]) for row in picture.table.rows if row[1] == "written"]


def test_the_text_is_drawn_again_and_alike_with_the_same_seed(gpt: GPT2LMHeadModel, tokenizer: ByteLevelBPE) -> None:
    widget, other = (sampling(gpt, tokenizer, "the cat", new_tokens=8) for _ in range(2))
    assert written(shown(widget)) == []
    one = written(shown(widget, write=1))
    assert len(one) == 8
    assert all(0 < probability < 1 for _, probability in one)
    assert written(shown(widget, temperature=0.5)) == one  # the text stays while the bars move
    assert written(shown(other, write=1)) == one
    assert written(shown(widget, write=2)) != one
    assert written(shown(other, seed=1)) not in (one, [], written(widget.picture))
    assert written(shown(widget, prompt="кот")) == []


def test_a_token_that_was_cut_is_never_written(gpt: GPT2LMHeadModel, tokenizer: ByteLevelBPE) -> None:
    widget = sampling(gpt, tokenizer, "кот", new_tokens=12)
    probabilities = [probability for _, probability in written(shown(widget, top_k=1, write=1))]
    assert probabilities == [1.0] * 12


def test_the_page_shades_what_was_written(gpt: GPT2LMHeadModel, tokenizer: ByteLevelBPE) -> None:
    widget = sampling(gpt, tokenizer, "<s> кот", new_tokens=3)
    page = str(shown(widget, write=1).html())
    assert len(re.findall(r'<span title="probability 0\.\d+"', page)) == 3
    assert "&lt;s&gt; кот" in page
