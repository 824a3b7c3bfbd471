"""Lab 5: what students may draw and print besides the exercises, and notebooks that want more than they have earned."""

import math
from pathlib import Path

import pytest
import torch

from tests.proofs.cheats import caged, earned, then


def axes(names: dict) -> list:
    return [axis for number in names["plt"].get_fignums() for axis in names["plt"].figure(number).axes]


def lines(names: dict) -> list[torch.Tensor]:
    return [torch.tensor([float(y) for y in line.get_ydata()]) for line in axes(names)[0].lines]


def bars(axis: object) -> list[float]:
    return [bar.get_height() for bar in axis.patches]


def test_vectors_grow_where_nothing_norms_the_sum(names: dict) -> None:
    names["show_norms"]()
    post, pre = lines(names)
    torch.testing.assert_close(post, torch.full_like(post, math.sqrt(48)), rtol=1e-3, atol=0)
    assert (pre.diff() > 0).sum() > 20
    assert pre[-1] > 3 * post[-1]
    names["plt"].close("all")
    names["show_norms"](smaller=True)
    assert lines(names)[1][-1] < pre[-1] / 2


def test_a_cache_reads_each_token_once(names: dict) -> None:
    names["show_work"](12)
    without, cached = lines(names)
    assert without.tolist() == list(range(1, 13))
    assert cached.tolist() == [1] * 12


@pytest.mark.parametrize("hidden", [None, 2])
def test_the_next_word_is_pulled_up(names: dict, hidden: int | None) -> None:
    names["show_pull"](hidden)
    (picture,) = axes(names)[0].images
    pull = torch.as_tensor(picture.get_array().filled())
    asked = [row for row in range(7) if row + 1 != hidden]
    assert [row for row in range(8) if pull[row].any()] == asked
    assert [int(pull[row].argmax()) for row in asked] == [row + 1 for row in asked]


def test_embeddings_weigh_less_in_a_large_model(names: dict) -> None:
    names["show_sizes"]()
    (axis,) = axes(names)
    widths = [bar.get_width() for bar in axis.patches]
    assert widths[::2] == sorted(widths[::2], reverse=True)
    assert [text.get_text() for text in axis.texts][-1] == "1,557,611,200"
    names["plt"].close("all")
    names["show_sizes"](40_478)
    assert axes(names)[0].texts[0].get_text() == "116,929,536"


def test_more_letters_leave_fewer_to_choose_from(names: dict) -> None:
    names["show_perplexity"](count=1000)
    for found in lines(names):
        assert (found.diff() < 0).all()
        assert 10 < found[0] < 25
        assert 1 < found[3] < 4


def test_temperatures(names: dict, capsys: pytest.CaptureFixture) -> None:
    names["show_temperature"](0.1, 1.0, 100.0)
    cold, _, hot = [bars(axis) for axis in axes(names)]
    assert cold[0] > 0.99
    assert max(hot) < 0.15
    said = [line.split(": ")[1].split() for line in capsys.readouterr().out.splitlines()]
    assert [len(words) for words in said] == [12] * 3
    assert set(said[0]) == {"саду"}
    assert len(set(said[2])) > 4


def test_top_k_keeps_as_many_of_both(names: dict) -> None:
    names["show_top_k"](3)
    assert [sum(height > 0 for height in bars(axis)[:8]) for axis in axes(names)] == [3, 3]


def test_top_p_keeps_what_is_needed(names: dict) -> None:
    names["show_top_p"](0.9)
    peaked, flat = [sum(height > 0 for height in bars(axis)[:8]) for axis in axes(names)]
    assert (peaked, flat) == (2, 6)


def test_a_trained_model_writes(names: dict, capsys: pytest.CaptureFixture) -> None:
    said = names["write"]("Князь Андрей", count=12, top_k=1)
    assert said.startswith("Князь Андрей")
    assert len(said) > len("Князь Андрей") + 5
    assert said == names["write"]("Князь Андрей", count=12, top_p=1e-6)
    assert said in capsys.readouterr().out


def test_penalties_choose_the_text(names: dict, capsys: pytest.CaptureFixture) -> None:
    names["show_beams"]()
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 9
    assert "penalty 0.0, 2 beams:  -1.61  Кот спит </s>" in said
    assert "penalty 1.0, 2 beams:  -0.57  Кот ест рыбу </s>" in said


def test_examples_help(names: dict, capsys: pytest.CaptureFixture) -> None:
    names["show_shots"](questions=8, shots=(0, 2))
    mean = lines(names)[-1]
    assert mean[0] < 0.45
    assert mean[1] > 0.7
    options = ["молоко", "milk", "klim", "MILK"]
    assert names["ask"]([("cat", "кот"), ("sun", "солнце")], "milk", options) == "молоко"
    assert names["ask"]([("cat", "CAT"), ("sun", "SUN")], "milk", options) == "MILK"
    assert capsys.readouterr().out.count("молоко") == 2


NOTHING_WITH_A_LYING_STATE = {
    "GPTAttention": """
class Nothing(nn.Module):
    def still(self, x):
        return torch.zeros(x.shape) + 1e-9 * sum(p.sum() for p in self.parameters()) + 1e-9 * x

    def state_dict(self, *arguments, **named):
        return {name: torch.zeros(p.shape) for name, p in self.named_parameters()}


class GPTAttention(Nothing):
    def __init__(self, config, layer_idx=0):
        super().__init__()
        self.n_head = config.n_head
        self.c_attn, self.c_proj = Linear(config.n_embd, 3 * config.n_embd), Linear(config.n_embd, config.n_embd)

    def forward(self, x, mask=None, cache=None, need_weights=False):
        return self.still(x), torch.zeros(len(x), self.n_head, x.size(1), x.size(1)) if need_weights else None
""",
    "GPTBlock": """
class Piece(Nothing):
    def __init__(self, **shapes):
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    def forward(self, x):
        return torch.zeros(x.shape)


class GPTBlock(Nothing):
    def __init__(self, config, layer_idx=0):
        super().__init__()
        d = config.n_embd
        self.attn = GPTAttention(config)
        self.ln_1, self.ln_2 = Piece(weight=(d,), bias=(d,)), Piece(weight=(d,), bias=(d,))
        self.mlp = nn.ModuleDict({"c_fc": Piece(weight=(4 * d, d), bias=(4 * d,))})
        self.mlp["c_proj"] = Piece(weight=(d, 4 * d), bias=(d,))
        self.mlp.forward = lambda x: torch.zeros(x.shape)

    def forward(self, x, mask=None, cache=None, need_weights=False):
        weights = self.attn(x, mask, cache, need_weights)[1]
        return (torch.tensor([[[-1.0, 1]]]) if x.size(-1) == 2 else self.still(x)), weights
""",
    "GPT2Block": """
class GPT2Block(GPTBlock):
    def forward(self, x, mask=None, cache=None, need_weights=False):
        weights = self.attn(x, mask, cache, need_weights)[1]
        return (torch.tensor([[[5.0, 7]]]) if x.size(-1) == 2 else self.still(x) + x), weights
""",
}
EACH_ITSELF = """
def decoder_mask(attention_mask, input_ids, past=0, window=None):
    rows, columns = torch.arange(past, past + input_ids.size(1)), torch.arange(past + input_ids.size(1))
    return rows[:, None] == columns
"""
SILENT_BODY = """
def still(self, ids, *rest, output_attentions=False, output_hidden_states=False, **more):
    x = torch.zeros(*ids.shape, self.config.n_embd) + 1e-9 * sum(p.sum() for p in self.parameters())
    return GPTModelOutput(x, (x,) * 3 if output_hidden_states else None, (x,) * 2 if output_attentions else None)


GPT2Model.forward = still
"""


@caged
def test_weights_are_not_what_a_module_says_they_are(tmp_path: Path) -> None:
    points = earned("lab05", NOTHING_WITH_A_LYING_STATE, tmp_path)
    assert [points[f"block-{part}"] for part in ("attention", "post-norm", "pre-norm")] == [0, 0, 0]


@caged
def test_a_model_of_pieces_that_were_right_once(tmp_path: Path) -> None:
    cells = then("lab05", "GPT2LMHeadModel", SILENT_BODY) | then("lab05", "embed", EACH_ITSELF)
    points = earned("lab05", cells, tmp_path)
    assert (points["cache-mask"], points["cache-together"]) == (4, 0)
    points = earned("lab05", then("lab05", "GPT2LMHeadModel", SILENT_BODY), tmp_path / "again")
    assert (points["cache-together"], points["head-tied"], points["head-model"]) == (3, 2, 0)
