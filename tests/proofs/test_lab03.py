"""Lab 3: what students may draw besides the exercises."""

import matplotlib
import pytest
import torch

matplotlib.use("Agg")

from autograder.hints import namespace
from autograder.mistakes import source_of


@pytest.fixture(scope="module")
def names() -> dict:
    return namespace(source_of("lab03"), {})


def test_the_pictures(names: dict) -> None:
    plt = names["plt"]
    names["show_sentence"](torch.eye(3))
    names["show_positions"](60, 64)
    names["show_schedule"](128, 512)
    assert [len(plt.figure(number).axes) for number in plt.get_fignums()] == [1, 1, 1]
    plt.close("all")


def test_the_reverser_looks_at_the_other_end(names: dict, capsys: pytest.CaptureFixture) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model = names["train_reverser"](steps=300)
    torch.set_num_threads(before)
    names["plt"].close("all")
    source = torch.randint(3, 13, (100, 8), generator=torch.Generator().manual_seed(1))
    assert (model.generate(source, 8) == source.flip(-1)).all(-1).float().mean() > 0.95
    bos = torch.full((100, 1), 1)
    weights = model.attention_weights(source, torch.cat([bos, source.flip(-1)], 1)).cross[0].mean((0, 1))  # [9, 8]
    assert weights[:8].argmax(-1).tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
