"""The tree of beam search against trees worked out by hand and against `generate`; three strategies against theirs."""

import itertools
import math
import re
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from lecturekit.generation import generate
from lecturekit.models.gpt import GPT2Config, GPT2LMHeadModel
from lecturekit.widgets.base import Picture, plain
from lecturekit.widgets.beam import MOST_BEAMS, Next, beam_tree, grow, readable, repeated_trigrams, strategies

INF = math.inf
LETTERS = " abcdeкошка."


class Letters:
    """A tokenizer of one letter a token."""

    def __init__(self, letters: str = LETTERS) -> None:
        self.letters = list(dict.fromkeys(letters))

    def encode(self, text: str) -> list[int]:
        return [self.letters.index(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.letters[index] for index in ids)


def bigrams(rows: dict[str, dict[str, float]], letters: str) -> object:
    """A student's model: a function that gives the next letter by the last, a plain tensor, one text at a time."""
    table = torch.full((len(letters), len(letters)), -INF)
    for last, following in rows.items():
        for letter, probability in following.items():
            table[letters.index(last), letters.index(letter)] = math.log(probability)

    def model(ids: Tensor) -> Tensor:
        assert ids.shape[0] == 1
        return table[ids] + 3  # logits, no log-probabilities

    return model


# From a the likelier way is b, but the likeliest text of two letters goes by к: 0.4 * 0.9 against 0.6 * 0.5.
TRAP = {"a": {"b": 0.6, "к": 0.4}, "b": {"a": 0.5, "b": 0.3, "к": 0.2}, "к": {"a": 0.9, "b": 0.05, "к": 0.05}}


def gpt(seed: int = 0, **changes: object) -> GPT2LMHeadModel:
    """Weights so large, and a head of its own, that texts do not repeat one token."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": len(Letters().letters), "n_embd": 16, "n_head": 2, "n_layer": 2, "n_positions": 32}
    config = GPT2Config(**sizes | {"initializer_range": 0.6, "eos_token_id": None, "pad_token_id": None} | changes)
    model = GPT2LMHeadModel(config).eval()
    model.lm_head.weight = nn.Parameter(0.6 * torch.randn_like(model.lm_head.weight))
    return model


def cells(picture: Picture, name: str) -> list:
    place = list(picture.table.head).index(name)
    return [row[place] for row in picture.table.rows]


# ---- the tree --------------------------------------------------------------------------------------------------------
def test_a_tree_by_hand() -> None:
    following = Next(bigrams(TRAP, "abк"))
    levels, found = grow(following.log_probs, [0], new_tokens=2, num_beams=2)
    told = [[("abк"[n.token], round(math.exp(n.total), 4), n.fate) for n in level] for level in levels]
    assert told == [
        [("b", 0.6, "kept"), ("к", 0.4, "kept")],
        [("a", 0.36, "ended"), ("a", 0.3, "ended"), ("b", 0.18, "dropped"), ("к", 0.12, "dropped")],
    ]
    assert [levels[1][0].parent, levels[1][1].parent] == [levels[0][1], levels[0][0]]
    assert levels[1][0].log_prob == pytest.approx(math.log(0.9))
    assert levels[1][0].score(1.0) == pytest.approx(math.log(0.36) / 2)
    assert [(pytest.approx(score), ids) for score, ids in found] == [
        (math.log(0.36) / 2, [2, 0]),
        (math.log(0.3) / 2, [1, 0]),
    ]


def test_one_beam_falls_into_the_trap() -> None:
    _, found = grow(Next(bigrams(TRAP, "abк")).log_probs, [0], new_tokens=2, num_beams=1)
    assert found[0][1] == [1, 0]


def test_an_end_token_finishes_a_text_and_what_is_impossible_is_left_out() -> None:
    rows = {"a": {"b": 0.5, ".": 0.35, "a": 0.15}, "b": {".": 1.0}}
    following = Next(bigrams(rows, "ab."))
    levels, found = grow(following.log_probs, [0], new_tokens=4, num_beams=2, eos_token_ids=[2])
    told = [[("ab."[n.token], round(math.exp(n.total), 4), n.fate) for n in level] for level in levels]
    assert told[0] == [("b", 0.5, "kept"), (".", 0.35, "ended"), ("a", 0.15, "kept")]
    assert told[1][:2] == [(".", 0.5, "ended"), ("b", 0.075, "dropped")]  # it is over: √0.075 < 0.35
    assert len(levels) == 2
    assert [ids for _, ids in found] == [[1, 2], [2]]


def models() -> dict:
    return {
        "no end": ({}, ()),
        "an end": ({"eos_token_id": 3, "pad_token_id": 3}, (3,)),
        "two ends": ({"eos_token_id": 3, "pad_token_id": 3}, (3, 5)),
        "few tokens": ({"vocab_size": 2}, ()),
        "few and an end": ({"vocab_size": 3, "eos_token_id": 1, "pad_token_id": 1}, (1,)),
    }


@pytest.mark.parametrize("name", models())
@pytest.mark.parametrize("num_beams", [2, 3, 5])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
def test_it_is_the_search_of_generate(name: str, num_beams: int, length_penalty: float) -> None:
    changes, ends = models()[name]
    for seed in range(3):
        model = gpt(seed, **changes)
        prompt = [1, 0, 1]
        levels, found = grow(Next(model).log_probs, prompt, 5, num_beams, ends, length_penalty)
        expected = generate(
            model,
            torch.tensor([prompt]),
            5,
            num_beams,
            eos_token_id=ends,
            length_penalty=length_penalty,
            num_return_sequences=len(found),
        )[:, len(prompt) :].tolist()
        for ids, row in zip([ids for _, ids in found], expected, strict=True):
            assert row[: len(ids)] == ids
            assert all(token in ends for token in row[len(ids) :])  # padding
        ended = {tuple(n.ids): n for level in levels for n in level if n.fate == "ended"}
        for score, ids in found:
            assert ended[tuple(ids)].score(length_penalty) == score  # to the last bit: nothing is computed twice


@pytest.mark.parametrize("num_beams", range(1, MOST_BEAMS + 1))
def test_what_holds_for_every_tree(num_beams: int) -> None:
    model = gpt(num_beams, eos_token_id=3)
    levels, _ = grow(Next(model).log_probs, [1, 2], 6, num_beams, [3])
    for length, level in enumerate(levels, start=1):
        totals = [node.total for node in level]
        assert totals == sorted(totals, reverse=True)
        kept = [node for node in level if node.fate == "kept"]
        assert len(kept) <= num_beams
        goes_on = [node for node in level if node.token != 3]
        assert kept in (goes_on[: len(kept)], [])  # none but the best
        for node in level:
            assert len(node.path) == length
            assert node.total == pytest.approx(sum(one.log_prob for one in node.path), abs=1e-4)
            assert node.parent is None or node.parent.fate == "kept"
            whole = model(torch.tensor([[1, 2, *node.ids]])).logits[0].log_softmax(-1)  # [T, V]
            said = [whole[1 + place, token].item() for place, token in enumerate(node.ids)]
            assert [one.log_prob for one in node.path] == pytest.approx(said, abs=1e-4)


def test_enough_beams_find_the_best_of_all_texts() -> None:
    model = gpt(4, vocab_size=5)
    levels, found = grow(Next(model).log_probs, [1], 2, 5)
    texts = list(itertools.product(range(5), repeat=2))
    logs = model(torch.tensor([[1, *text] for text in texts])).logits.log_softmax(-1)
    totals = [logs[i, 0, one].item() + logs[i, 1, two].item() for i, (one, two) in enumerate(texts)]
    assert tuple(found[0][1]) == texts[max(range(25), key=totals.__getitem__)]
    assert len(levels[0]) == 5


def test_no_text_is_read_twice() -> None:
    asked: list[tuple[int, ...]] = []
    model = gpt()

    def student(ids: Tensor) -> tuple[Tensor]:
        if len(ids) > 1:
            raise RuntimeError("one text at a time")
        asked.append(tuple(ids[0].tolist()))
        return (model(ids).logits,)

    widget = beam_tree(student, Letters(), "кош", 4)
    widget.html()
    calls = len(asked)
    widget.set(length_penalty=0.5)
    widget.set(step=2)
    widget.set(num_beams=2)
    assert len(set(asked)) == len(asked)
    assert len(asked) <= calls + 4  # what other beams see
    widget.set(prompt="abc")
    assert asked[calls:]


def test_texts_are_read_together_where_that_changes_nothing() -> None:
    model, calls = gpt(), []

    def right(ids: Tensor) -> Tensor:
        calls.append(len(ids))
        return model(ids).logits

    def wrong(ids: Tensor) -> Tensor:
        """Each row gets what the first should have."""
        return model(ids).logits[:1].expand(len(ids), -1, -1)

    def refusing(ids: Tensor) -> Tensor:
        return model(ids).logits.view(1, ids.size(1), -1)

    trees = [grow(Next(one).log_probs, [1, 2], 5, 4) for one in (right, wrong, refusing)]
    for levels, found in trees[1:]:
        assert [ids for _, ids in found] == [ids for _, ids in trees[0][1]]
        assert [score for score, _ in found] == pytest.approx([score for score, _ in trees[0][1]], abs=1e-4)
        assert [[n.ids for n in level] for level in levels] == [[n.ids for n in level] for level in trees[0][0]]
    assert sorted(calls) == [1, 1, 1, 4, 4, 4, 4]  # the prompt, two to compare with, and four steps


# ---- the picture -----------------------------------------------------------------------------------------------------
def test_the_picture_of_the_tree_and_its_table() -> None:
    widget = beam_tree(bigrams(TRAP, "abк"), Letters("abк"), "a", 2, num_beams=2)
    page = widget.html()
    picture = widget.picture
    assert cells(picture, "token") == ["b", "к", "a", "a", "b", "к"]
    assert cells(picture, "best path") == ["", "yes", "yes", "", "", ""]
    assert cells(picture, "text so far") == ["b", "к", "кa", "ba", "bb", "bк"]
    assert cells(picture, "what becomes of it") == ["goes on"] * 2 + ["finished"] * 2 + ["dropped"] * 2
    assert cells(picture, "score")[2] == pytest.approx(math.log(0.36) / 2)
    assert "the best text is “кa”, with the score -0.511 = -1.022 / 2^1" in picture.caption
    assert page.count("■") == 3  # two nodes and the legend
    assert page.count('stroke-width="2.5"') == 4  # two boxes and two branches of the best path
    words = plain(picture.markup)
    for part in ("step 1", "step 2", "-0.92 · -0.92", "-0.11 · -0.51", "found, best first:"):
        assert part in words
    assert set(re.findall(r"https?://[^\"]+", page)) == {"http://www.w3.org/2000/svg"}
    assert "data-sets" in str(picture.markup)
    assert "data-sets=" not in page


def test_the_tree_grows_and_is_cut() -> None:
    widget = beam_tree(gpt(), Letters(), "кош", 5, num_beams=3)
    seen = []
    for step in range(1, 6):
        picture = widget.set(step=step).picture
        seen.append(len(picture.table.rows))
        assert max(cells(picture, "step")) == step
        assert f"3 beams, step {step};" in picture.caption
        assert ("best text is" in picture.caption) == (step == 5)
    assert seen == sorted(set(seen))
    assert len(widget.set(num_beams=1).picture.table.rows) == 10


def test_the_best_path_in_the_picture_is_what_generate_writes() -> None:
    letters = Letters()
    for seed in range(4):
        model = gpt(seed, eos_token_id=3, pad_token_id=3)
        widget = beam_tree(model, letters, "abк", 6, num_beams=4)
        widget.html()
        written = generate(model, torch.tensor([letters.encode("abк")]), 6, num_beams=4)[0, 3:].tolist()
        rows = widget.picture.table.rows
        path = [letters.letters.index(row[1].replace("␣", " ")) for row in rows if row[6] == "yes"]
        assert path == written
        assert sorted(row[0] for row in rows if row[6] == "yes") == list(range(1, len(path) + 1))


def test_a_search_that_is_over_early_says_so() -> None:
    rows = {"a": {".": 0.98, "a": 0.02}, ".": {"a": 1.0}}
    widget = beam_tree(bigrams(rows, "a."), Letters("a."), "a", 6, num_beams=1, eos_token_ids=1)
    widget.html()
    assert "1 beam, step 1 (here the search was over); the best text is “.”" in widget.picture.caption


def test_the_length_penalty_chooses() -> None:
    rows = {"a": {".": 0.3, "a": 0.7}, ".": {"a": 1.0}}
    widget = beam_tree(bigrams(rows, "a."), Letters("a."), "a", 3, num_beams=2, eos_token_ids=[1], length_penalty=0)
    assert "best text is “aaa”" in widget.set(length_penalty=2.0).picture.caption
    short = beam_tree(bigrams({"a": {".": 0.6, "a": 0.4}}, "a."), Letters("a."), "a", 3, eos_token_ids=1)
    assert "best text is “.”" in short.set(length_penalty=0).picture.caption


def test_the_models_own_end_and_one_that_is_given() -> None:
    first = int(gpt(2)(torch.tensor([[1, 2]])).logits[0, -1].argmax())
    model = gpt(2, eos_token_id=first)
    own, given, none = (beam_tree(model, Letters(), "ab", 4, eos_token_ids=ends) for ends in (None, first, ()))
    assert own.html() == given.html()
    assert own.html() != none.html()
    outside = gpt(2, eos_token_id=None)
    outside.config = SimpleNamespace(eos_token_id=50256)
    assert (
        beam_tree(outside, Letters(), "ab", 4).html() == beam_tree(outside, Letters(), "ab", 4, eos_token_ids=()).html()
    )


# ---- side by side ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("ids", "share"),
    [
        ([], 0),
        ([1, 1], 0),
        ([1, 1, 1, 1], 0.5),
        ([1, 2, 3, 1, 2, 3], 0.25),
        ([1, 2, 3, 4], 0),
        ([5] * 12, 0.9),
    ],
)
def test_repeated_trigrams(ids: list[int], share: float) -> None:
    assert repeated_trigrams(ids) == pytest.approx(share)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_three_texts_are_those_of_generate(seed: int) -> None:
    model, letters = gpt(seed, eos_token_id=3, pad_token_id=3), Letters()
    widget = strategies(model, letters, "кош", 9)
    picture = widget.set(num_beams=3, temperature=1.3, top_p=0.9, seed=seed).picture
    ids = torch.tensor([letters.encode("кош")])
    expected = {
        "greedy": generate(model, ids, 9),
        "beam search": generate(model, ids, 9, num_beams=3),
        "sampling": generate(model, ids, 9, do_sample=True, temperature=1.3, top_p=0.9, seed=seed),
    }
    for strategy, out in expected.items():
        new = out[0, 3:].tolist()
        rows = [row for row in picture.table.rows if row[0] == strategy]
        assert [row[2].replace("␣", " ") for row in rows[1:]] == [letters.decode([token]) for token in new]
        logs = model(out).logits[0].log_softmax(-1)  # [T, V]
        said = [logs[2 + place, token].item() for place, token in enumerate(new)]
        assert [row[3] for row in rows[1:]] == pytest.approx(said, abs=1e-4)
        assert rows[0][1:3] == ("all", f"{len(new)} tokens")
        assert rows[0][3:] == pytest.approx((sum(said), sum(said) / len(said), repeated_trigrams(new)), abs=1e-4)
        assert f"{sum(said):.2f} in all, {sum(said) / len(said):.2f} a token" in plain(picture.markup)


def test_one_beam_is_greedy_and_both_are_named() -> None:
    picture = strategies(gpt(), Letters(), "abc", 6).set(num_beams=1, seed=1).picture
    assert "that of greedy and beam search is the most probable" in picture.caption
    texts = {row[0]: row for row in picture.table.rows if row[1] == "all"}
    assert texts["greedy"][1:] == texts["beam search"][1:]


def test_side_by_side_as_a_page() -> None:
    page = strategies(gpt(), Letters(), "кошка ", 5).html()
    words = plain(page)
    for part in ("greedy", "beam search", "sampling", "кошка", "as a table", "temperature: 1", "of trigrams repeated"):
        assert part in words
    assert not re.findall(r"https?://[^\"]+", page)
    assert "auto-fit" in page  # columns that stand below one another in a narrow window


def test_the_seed_draws_again_and_the_same_seed_the_same() -> None:
    widget = strategies(gpt(), Letters(), "ab", 12)
    state = torch.get_rng_state()
    pages = [str(widget.set(seed=seed).picture.markup) for seed in (1, 2, 1)]
    assert pages[0] == pages[2] != pages[1]
    assert torch.equal(state, torch.get_rng_state())


def test_letters_of_several_bytes_are_shown_whole() -> None:
    @dataclass
    class Bytes:
        def encode(self, text: str) -> list[int]:
            return list(text.encode())

        def decode(self, ids: list[int]) -> str:
            return bytes(ids).decode(errors="replace")

    tokenizer = Bytes()
    groups = readable(tokenizer, tokenizer.encode("a кот €"))
    assert [tokenizer.decode(group) for group in groups] == list("a кот €")
    assert readable(tokenizer, [0xD0, 0xD0, 0xD0, 0xD0, 0x61]) == [[0xD0] * 4, [0x61]]
    assert readable(tokenizer, [0x61, 0xD0]) == [[0x61], [0xD0]]
    assert readable(tokenizer, []) == []


# ---- models of every kind, and what a caller may get wrong -----------------------------------------------------------
class Own(nn.Module):
    """A student's model: another form of answer each time."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.table, self.form = nn.Embedding(len(Letters().letters), len(Letters().letters)), form
        self.dropout = nn.Dropout(0.5)

    def forward(self, ids: Tensor) -> object:
        logits = self.dropout(self.table(ids))
        forms = {"tensor": logits, "tuple": (logits, None), "dictionary": {"logits": logits}}
        return forms.get(self.form, SimpleNamespace(hidden=logits))


def test_the_three_texts_are_seen_while_they_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lecturekit.widgets.beam.EVERY", 0)
    widget = strategies(gpt(), Letters(), "ab", 5, num_beams=2)
    *growing, last = widget.pictures()
    assert len(growing) == 6 + 1 + 5  # each token and the end of greedy, beam search at once, each token
    lengths = [[row[2] for row in picture.table.rows[:3]] for picture in [*growing, last]]
    assert lengths[0] == ["1 tokens", "0 tokens", "0 tokens"]
    assert lengths[6] == ["5 tokens", "5 tokens", "0 tokens"]
    assert lengths[-1] == ["5 tokens", "5 tokens", "5 tokens"]
    assert {picture.caption for picture in growing} == {"They are being written."}
    assert last.caption.startswith("Of the three texts that of ")
    monkeypatch.setattr("lecturekit.widgets.beam.EVERY", 3600)
    assert [picture.table for picture in widget.pictures()][-1] == last.table


@pytest.mark.parametrize("show", [beam_tree, strategies])
@pytest.mark.parametrize("form", ["tensor", "tuple", "dictionary"])
def test_a_students_model(show: object, form: str) -> None:
    model = Own(form).train()
    widget = show(model, Letters(), "кош", 4)
    assert widget.html() == widget.html()  # no dropout
    assert model.training


@pytest.mark.parametrize("show", [beam_tree, strategies])
def test_what_is_missing_is_said_at_once(show: object) -> None:
    model, letters = gpt(), Letters()
    with pytest.raises(TypeError, match="returned SimpleNamespace without logits: expected logits"):
        show(Own("other"), letters, "ab")
    with pytest.raises(TypeError, match="object without encode: expected encode and decode"):
        show(model, object(), "ab")
    with pytest.raises(ValueError, match="an empty text: expected at least one token"):
        show(model, letters, "")
    with pytest.raises(ValueError, match="new_tokens=0: expected 1 or more"):
        show(model, letters, "ab", 0)
    with pytest.raises(ValueError, match=r"num_beams=6: expected 1 \.\.\. 5"):
        show(model, letters, "ab", num_beams=6)
    with pytest.raises(ValueError, match=r"eos_token_ids=99: expected 0 \.\.\. "):
        show(model, letters, "ab", eos_token_ids=99)
    with pytest.raises(ValueError, match="an empty text"):
        show(model, letters, "ab").set(prompt="")
