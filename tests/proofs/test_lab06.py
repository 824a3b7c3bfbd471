"""Lab 6: what students may draw and print besides the exercises, and notebooks that want more than they have earned."""

from pathlib import Path

import pytest
import torch

from tests.proofs.cheats import caged, earned, then


def axes(names: dict) -> list:
    return [axis for number in names["plt"].get_fignums() for axis in names["plt"].figure(number).axes]


def images(names: dict) -> list[torch.Tensor]:
    return [torch.as_tensor(axis.images[0].get_array().filled().astype("float64")) for axis in axes(names)]


def test_tokens_of_two_numbers_land_on_a_circle(names: dict) -> None:
    names["show_norm"]()
    before, after = [torch.as_tensor(cloud.get_offsets().data) for cloud in axes(names)[0].collections]
    torch.testing.assert_close(after.norm(dim=1), torch.full((60,), 2**0.5, dtype=after.dtype), rtol=1e-4, atol=1e-4)
    assert before.norm(dim=1).std() > 0.3


def test_buckets_rise_with_the_distance(names: dict) -> None:
    names["show_buckets"]()
    encoder, decoder = [torch.as_tensor(line.get_ydata()) for line in axes(names)[0].lines]
    assert (encoder[161:].diff() >= 0).all()
    assert (decoder[:161].diff() <= 0).all()
    assert (encoder.max(), decoder.max(), decoder[161:].max()) == (31, 31, 0)


def test_a_steep_bias_looks_straight_ahead(names: dict) -> None:
    names["show_bias"](0, 1, 5)
    even, _, steep = images(names)
    torch.testing.assert_close(even, torch.full_like(even, 1 / 12))
    assert (steep.diagonal() > 0.98).all()


def test_a_decoder_tells_no_later_keys_apart(names: dict) -> None:
    names["show_table"]()
    pictures = images(names)
    assert [len(picture[torch.ones_like(picture).triu(1).bool()].unique()) for picture in pictures[3:]] == [1] * 3
    assert pictures[0][0].unique().numel() > 5


def test_nobody_looks_at_padding(names: dict) -> None:
    names["show_cross"]()
    (weights,) = images(names)
    assert not weights[:, 3].any()
    torch.testing.assert_close(weights.sum(1), torch.ones(3, dtype=weights.dtype))


def test_all_layers_have_one_bias(names: dict) -> None:
    names["show_layers"]()
    one, *others = images(names)
    for other in others:
        torch.testing.assert_close(other, one)
    assert one.std() > 0.02


def test_spans(names: dict, capsys: pytest.CaptureFixture) -> None:
    names["show_spans"]()
    said = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert len(said) == 6
    for text, read, target in (said[:3], said[3:]):
        kept, hidden = (sorted(word for word in words[1:] if not word.startswith("<")) for words in (read, target))
        assert sorted(kept + hidden) == sorted(text[1:])
        assert [word for word in target if word.startswith("<")] == ["<0>", "<1>", "<2>"]
    names["show_noise"]()
    assert images(names)[0].sum(1).unique().tolist() == [12]


def test_scores_and_tasks(names: dict, capsys: pytest.CaptureFixture) -> None:
    names["show_scores"]()
    truth, words = axes(names)[0].lines[0].get_data()
    assert abs(truth - words).max() < 0.1 + 1e-9
    names["show_tasks"]()
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == [
        "unacceptable",
        "positive",
        "contradiction",
        "3.8",
    ]


def test_one_cache_grows(names: dict) -> None:
    names["show_caches"]()
    grows, stays = [list(line.get_ydata()) for line in axes(names)[0].lines]
    assert (grows, stays) == (list(range(1, 21)), [12] * 20)


def test_the_model_looks_where_it_reads(names: dict, capsys: pytest.CaptureFixture) -> None:
    model = names["train_t5"]()
    printed = capsys.readouterr().out
    assert "reverse: d a c b a -> a b c a d </s>" in printed
    assert "sort: d a c b a -> a a b c d </s>" in printed
    assert len(images(names)) == 2
    right = [names["say"](model, f"{task} e i f a b") for task in ("reverse:", "sort:")]
    assert right == ["b a f i e </s>", "a b e f i </s>"]


ONE_BUCKET = """
def relative_position_bucket(relative_position, *rest):
    return torch.zeros_like(relative_position)
"""
SILENT_WEIGHTS = """
def biased_attention(query, key, value, *rest):
    nothing = 1e-9 * (query.sum() + key.sum() + value.sum())
    weights = torch.zeros(*query.shape[:-1], key.size(-2)) + nothing
    return torch.zeros(*query.shape[:-1], value.size(-1)) + nothing, weights
"""
SILENT_ATTENTION = """
def still(self, x, bias=None, mask=None, memory=None, cache=None, need_weights=False):
    memory = x if memory is None else memory
    weights = torch.zeros(len(x), self.config.num_heads, x.size(1), memory.size(1))
    return 1e-9 * (x + memory.sum() + sum(p.sum() for p in self.parameters())), weights if need_weights else None


T5Attention.forward = still
"""
SILENT_BLOCK = """
def still(self, x, bias=None, mask=None, memory=None, memory_mask=None, cache=None, need_weights=False):
    weights = torch.zeros(len(x), 2, x.size(1), x.size(1)) if need_weights else None
    return x + 1e-9 * sum(p.sum() for p in self.parameters()), weights, None


T5Block.forward = still
"""
SILENT_STACK = """
def still(self, input_ids, *rest, **more):
    check_text(input_ids, self.config.vocab_size)
    x = torch.ones(*input_ids.shape, self.config.d_model) + 1e-9 * sum(p.sum() for p in self.parameters())
    return T5StackOutput(x)


T5Stack.forward = still
"""


@caged
@pytest.mark.parametrize(
    ("cell", "rest", "lost"),
    [
        ("relative_bias", ONE_BUCKET, "bias"),
        ("T5Attention", SILENT_WEIGHTS, "cross-attention-module"),
        ("T5LayerCrossAttention", SILENT_ATTENTION, "cross-attention-layer"),
        ("T5Stack", SILENT_BLOCK, "stack-bias"),
        ("T5ForConditionalGeneration", SILENT_STACK, "learning-head"),
    ],
)
def test_a_whole_of_pieces_that_were_right_once(cell: str, rest: str, lost: str, tmp_path: Path) -> None:
    points = earned("lab06", then("lab06", cell, rest), tmp_path)
    assert points[lost] == 0
    assert (points["buckets-far"], points["attention-values"]) == (4, 5)
