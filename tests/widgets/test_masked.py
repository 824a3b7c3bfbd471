"""The masked-token game against the model's own parts, one after the other, and against Hugging Face's twin."""

import re
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from lecturekit.models.bert import BertConfig, BertForMaskedLM, BertForPreTraining
from lecturekit.tokenizers import WordPiece
from lecturekit.tokenizers.wordpiece import SPECIAL
from lecturekit.widgets.base import Picture, plain
from lecturekit.widgets.masked import BEST, Pieces, guesses, lens, mask_of, masked_words

TOKENS = [*SPECIAL, "the", "cat", "sat", "on", "mat", ".", "кош", "##ка", "сид", "##ела", "##s", "dog", "на", "ковре"]
TEXT = "The cats sat. Кошка сидела на ковре."
READ = ["[CLS]", "the", "cat", "##s", "sat", ".", "кош", "##ка", "сид", "##ела", "на", "ковре", ".", "[SEP]"]
MASK, LAYERS = TOKENS.index("[MASK]"), 3
SIZES = {"vocab_size": len(TOKENS), "hidden_size": 16, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
CONFIG = BertConfig(**SIZES, intermediate_size=32, max_position_embeddings=32, initializer_range=0.4)


@pytest.fixture
def tokenizer() -> WordPiece:
    return WordPiece(TOKENS)


@pytest.fixture
def bert() -> BertForMaskedLM:
    model = BertForMaskedLM(CONFIG).eval()
    nn.init.normal_(model.cls.predictions.bias)
    return model


def rows_of(picture: Picture, layer: str) -> list[tuple]:
    return [row for row in picture.table.rows if row[0] == layer]


# ---- the text --------------------------------------------------------------------------------------------------------
def test_a_text_is_read_as_the_model_reads_it(tokenizer: WordPiece) -> None:
    pieces = Pieces(tokenizer)(TEXT)
    assert [piece.name for piece in pieces] == READ
    assert [piece.word for piece in pieces] == [-1, 0, 1, 1, 2, 3, 4, 4, 5, 5, 6, 7, 8, -1]
    assert [piece.name for piece in pieces if piece.glued] == ["##s", "##ка", "##ела"]


def test_a_mark_is_no_part_of_the_word_before_it() -> None:
    class Spaces:
        """As SentencePiece writes words: a sign before each that begins."""

        def __init__(self) -> None:
            tokens = ["<mask>", "▁мама", "▁мы", "ла", ",", "▁раму", "▁"]
            self.vocab = {token: index for index, token in enumerate(tokens)}

        def encode(self, text: str) -> list[int]:
            return [self.vocab[token] for token in text.split()]

        def decode(self, ids: list[int]) -> str:
            return "".join(list(self.vocab)[index] for index in ids).replace("▁", " ").strip()

    pieces = Pieces(Spaces())("▁мама ▁мы ла , ▁раму ла")
    assert [piece.word for piece in pieces] == [0, 1, 1, 2, 3, 3]
    assert [piece.name for piece in pieces] == ["мама", "мы", "ла", ",", "раму", "ла"]
    assert [piece.glued for piece in pieces] == [False, False, True, True, False, True]


@pytest.mark.parametrize(
    ("given", "mask"),
    [
        (SimpleNamespace(mask_token_id=7), 7),
        (SimpleNamespace(mask_token="<m>", vocab={"<m>": 5, "[MASK]": 2}), 5),
        (SimpleNamespace(vocab={"[MASK]": 2}), 2),
        (SimpleNamespace(mask_token=None, get_vocab=lambda: {"<mask>": 9}), 9),
    ],
)
def test_where_the_mask_token_is_found(given: object, mask: int) -> None:
    assert mask_of(given) == mask


# ---- the layers ------------------------------------------------------------------------------------------------------
def test_each_layer_by_its_parts(bert: BertForMaskedLM) -> None:
    ids = torch.tensor([[2, 5, MASK, 7, 3]])
    layers, missing = lens(bert, ids[0].tolist(), 2)
    assert missing == ""
    x = bert.bert.embeddings(ids)
    expected = [bert.cls.predictions.decoder(bert.cls.predictions.transform(x))[0, 2]]
    for layer in bert.bert.encoder.layer:
        x, _ = layer(x)
        expected.append(bert.cls.predictions.decoder(bert.cls.predictions.transform(x))[0, 2])
    assert len(layers) == LAYERS + 1
    for got, wanted in zip(layers, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(layers[-1], bert(ids).logits[0, 2])  # the model's real answer


def test_ours_and_hugging_faces_say_the_same(bert: BertForMaskedLM, tokenizer: WordPiece) -> None:
    twin = bert.to_huggingface().eval()
    ids = [2, 5, 6, MASK, 7, 3]
    (ours, _), (theirs, missing) = lens(bert, ids, 3), lens(twin, ids, 3)
    assert missing == ""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    one, other = (masked_words(model, tokenizer, TEXT).set(token=3).picture for model in (bert, twin))
    assert one.caption == other.caption
    assert [row[:3] for row in one.table.rows] == [row[:3] for row in other.table.rows]


def test_a_tokenizer_of_hugging_face(bert: BertForMaskedLM, tokenizer: WordPiece) -> None:
    from transformers import PreTrainedTokenizerFast

    names = {f"{name}_token": f"[{name.upper()}]" for name in ("mask", "cls", "sep", "pad", "unk")}
    theirs = PreTrainedTokenizerFast(tokenizer_object=tokenizer.to_huggingface(), **names)
    assert masked_words(bert, theirs, TEXT, token=3).html() == masked_words(bert, tokenizer, TEXT, token=3).html()


def test_the_model_of_pre_training(tokenizer: WordPiece) -> None:
    model = BertForPreTraining(CONFIG).eval()
    layers, missing = lens(model, [2, MASK, 3], 1)
    assert (len(layers), missing) == (LAYERS + 1, "")
    torch.testing.assert_close(layers[-1], model(torch.tensor([[2, MASK, 3]])).prediction_logits[0, 1])
    masked_words(model, tokenizer, TEXT).html()


def test_ranks_by_hand() -> None:
    one, two = torch.tensor([0.1, 0.2, 0.3, 0.4]).log(), torch.tensor([0.25, 0.5, 0.125, 0.125]).log()
    first, last = guesses([one, two], truth=2)
    assert (first.layer, first.ids, first.rank, first.probability) == (
        "embeddings",
        [3, 2, 1, 0],
        2,
        pytest.approx(0.3),
    )
    assert (last.layer, last.rank, last.probability) == ("answer", 3, pytest.approx(0.125))  # equals come together
    assert last.probabilities == pytest.approx([0.5, 0.25, 0.125, 0.125])
    assert [guess.layer for guess in guesses([one] * 4, 0)] == ["embeddings", "layer 1", "layer 2", "answer"]
    assert [guess.layer for guess in guesses([one], 0)] == ["answer"]


# ---- the game --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", [1, 4, 8, 12])
@pytest.mark.parametrize("whole", [False, True])
def test_the_table_holds_what_the_model_says(
    bert: BertForMaskedLM, tokenizer: WordPiece, place: int, whole: bool
) -> None:
    picture = masked_words(bert, tokenizer, TEXT).set(token=place, whole=whole).picture
    ids = tokenizer(TEXT)["input_ids"]
    words = [1, 2, 2, 3, 4, 5, 5, 6, 6, 7, 8, 9]
    masked = [
        MASK if other == place or (whole and words[other - 1] == words[place - 1]) else ids[other]
        for other in range(1, 13)
    ]
    probabilities = bert(torch.tensor([[ids[0], *masked, ids[-1]]])).logits[0, place].softmax(-1)
    order = probabilities.argsort(descending=True).tolist()
    rows = rows_of(picture, "answer")
    assert [row[2] for row in rows[:BEST]] == [TOKENS[index] for index in order[:BEST]]
    assert [row[3] for row in rows[:BEST]] == pytest.approx(probabilities[order[:BEST]].tolist(), rel=1e-4)
    truth = ids[place]
    said = [row for row in rows if row[4] == "true"]
    assert [(row[1], row[2]) for row in said] == [(order.index(truth) + 1, READ[place])]
    assert said[0][3] == pytest.approx(probabilities[truth].item(), rel=1e-4)
    assert f"Token {place} of 12, “{READ[place]}”, is masked." in picture.caption
    assert plain(picture.markup).split(" embeddings ")[0].count("[MASK]") == 1 + (
        whole and words.count(words[place - 1]) - 1
    )
    assert {row[0] for row in picture.table.rows} == {"embeddings", "layer 1", "layer 2", "answer"}


def test_words_are_clicked(bert: BertForMaskedLM, tokenizer: WordPiece) -> None:
    widget = masked_words(bert, tokenizer, TEXT, token=2)
    drawn = str(widget.set(whole=False).picture.markup)
    assert re.findall(r'data-sets="{&quot;token&quot;: (\d+)}" tabindex="0" role="button"', drawn) == [
        str(number) for number in range(1, 13)
    ]
    assert plain(drawn).startswith("[CLS] the [MASK] s sat . кош ка сид ела на ковре . [SEP]")
    page = widget.html()
    assert "data-sets=" not in page
    assert not re.findall(r"https?://[^\"]+", page)
    assert "masked token: 2" in plain(page)


def test_another_text_may_be_shorter(bert: BertForMaskedLM, tokenizer: WordPiece) -> None:
    widget = masked_words(bert, tokenizer, TEXT, token=12)
    assert "Token 2 of 2, “dog”" in widget.set(text="the dog").picture.caption
    assert "Token 12 of 12" in widget.set(text=TEXT).picture.caption
    with pytest.raises(ValueError, match=r"nothing to mask in '\[SEP\]': expected a token that is not a special one"):
        widget.set(text="[SEP]")


def test_an_unknown_word_is_not_asked_for(bert: BertForMaskedLM, tokenizer: WordPiece) -> None:
    widget = masked_words(bert, tokenizer, "the слон sat")
    assert "of 2" in widget.set(token=2).picture.caption
    assert "“sat”" in widget.picture.caption


def test_a_right_answer_is_called_one(tokenizer: WordPiece) -> None:
    def oracle(ids: Tensor) -> Tensor:
        logits = torch.zeros(1, ids.size(1), len(TOKENS))
        logits[..., TOKENS.index("cat")] = 9.0
        return logits

    widget = masked_words(oracle, tokenizer, "the cat sat", token=2)
    widget.html()
    assert "“cat”, is masked. The model finds it (0.998)" in widget.picture.caption
    picture = widget.set(token=3).picture
    assert re.search(r"The model says “cat” \(0\.998\); the true one has rank 2 \(0.000123\)", picture.caption)


def test_the_model_is_asked_once_and_keeps_its_mode(bert: BertForMaskedLM, tokenizer: WordPiece) -> None:
    calls = []
    bert.register_forward_hook(lambda *_: calls.append(1))
    bert.train()
    widget = masked_words(bert, tokenizer, TEXT)
    assert widget.html() == widget.html()
    assert len(calls) == 1
    assert bert.training
    widget.set(token=5)
    assert len(calls) == 2


# ---- a student's model, and what a caller may get wrong --------------------------------------------------------------
class Own(nn.Module):
    """A student's model, that returns in its own way."""

    def __init__(self, form: str, head: bool = False) -> None:
        super().__init__()
        self.embed, self.form = nn.Embedding(len(TOKENS), 8), form
        self.out = nn.Linear(8, len(TOKENS))
        if head:
            self.lm_head = self.out

    def forward(self, ids: Tensor, **asked: object) -> object:
        if asked and self.form == "refuses":
            raise TypeError(f"forward() got an unexpected keyword argument {next(iter(asked))!r}")
        x = self.embed(ids)
        logits = self.out(x.tanh() if self.form == "more between" else x)
        if self.form in ("states", "more between"):
            return SimpleNamespace(logits=logits, hidden_states=(x, x))
        forms = {
            "tuple": (logits, None),
            "dictionary": {"logits": logits},
            "flat": logits[0],
            "none": SimpleNamespace(),
        }
        return forms.get(self.form, logits)


@pytest.mark.parametrize(
    ("form", "head", "missing"),
    [
        ("tensor", False, "the model has no head (`cls` or `lm_head`) to apply to the others."),
        ("tuple", False, "the model has no head (`cls` or `lm_head`) to apply to the others."),
        ("dictionary", False, "the model has no head (`cls` or `lm_head`) to apply to the others."),
        ("tensor", True, "the model returns no `hidden_states` of the others."),
        ("refuses", True, "the model returns no `hidden_states` of the others."),
        ("more between", True, "more than the head lies between the model's hidden states and logits."),
    ],
)
def test_a_students_model_has_its_last_layer_at_least(
    tokenizer: WordPiece, form: str, head: bool, missing: str
) -> None:
    model = Own(form, head)
    widget = masked_words(model, tokenizer, TEXT)
    widget.html()
    assert widget.picture.caption.endswith(f"Only the last layer: {missing}")
    assert {row[0] for row in widget.picture.table.rows} == {"answer"}


def test_a_students_model_that_tells_its_states(tokenizer: WordPiece) -> None:
    widget = masked_words(Own("states", head=True), tokenizer, TEXT)
    widget.html()
    assert {row[0] for row in widget.picture.table.rows} == {"embeddings", "answer"}


def test_what_is_missing_is_said_at_once(bert: BertForMaskedLM, tokenizer: WordPiece) -> None:
    letters = SimpleNamespace(encode=lambda text: [1], decode=lambda ids: "a", vocab={"a": 1})
    with pytest.raises(ValueError, match=r"the tokenizer has no mask token: expected `mask_token`, or \[MASK\]"):
        masked_words(bert, letters, "a")
    with pytest.raises(TypeError, match="SimpleNamespace without encode: expected encode and decode"):
        masked_words(bert, SimpleNamespace(vocab={"[MASK]": 1}), "a")
    with pytest.raises(TypeError, match="returned SimpleNamespace without logits"):
        masked_words(Own("none"), tokenizer, TEXT)
    with pytest.raises(ValueError, match=r"logits for ids \[1, 14\] have the shape \[14, 19\]: expected logits"):
        masked_words(Own("flat"), tokenizer, TEXT)
    with pytest.raises(ValueError, match=r"nothing to mask in ''"):
        masked_words(bert, tokenizer, "")
    with pytest.raises(ValueError, match=r"token=13: expected 1 \.\.\. 12"):
        masked_words(bert, tokenizer, TEXT, token=13)
