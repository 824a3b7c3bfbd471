"""Lab 4: what students may draw and print besides the exercises, and notebooks that want more than they have earned."""

from pathlib import Path

import pytest

from tests.proofs.cheats import caged, earned, then


def test_the_pictures(names: dict) -> None:
    plt = names["plt"]
    names["show_embeddings"]()
    names["show_counts"]()
    names["show_layer"]()
    names["show_hidden"]()
    names["show_pooled"]()
    names["show_masks"]()
    names["show_blank"]()
    names["show_spans"]()
    assert [len(plt.figure(number).axes) for number in plt.get_fignums()] == [1, 1, 3, 1, 1, 2, 1, 1]
    _, counts, _, hidden, pooled, _, blank, spans = (plt.figure(number).axes[0] for number in plt.get_fignums())
    assert "109,482,240" in [text.get_text() for text in counts.texts]
    assert all(line.get_ydata()[0] == pytest.approx(1) for line in hidden.lines)
    assert len(hidden.lines[0].get_ydata()) == 13
    assert [text.get_text() for text in pooled.texts][1] == "1.00"  # the same text, padded
    assert sum(bar.get_height() for bar in blank.patches) == pytest.approx(1)
    assert spans.get_title() == "Юрий Гагарин"
    plt.close("all")
    names["show_pooled"](masked=False)
    assert [text.get_text() for text in plt.gca().texts][1] != "1.00"
    names["show_spans"](max_length=1)
    assert plt.gca().get_title() == "Гагарин"
    plt.close("all")


def test_the_pairs_are_those_of_three_documents(names: dict, capsys: pytest.CaptureFixture) -> None:
    names["show_pairs"]()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert all(line.startswith(("IsNext", "NotNext")) for line in lines)


def test_pre_training_pays_where_labels_are_few(names: dict, capsys: pytest.CaptureFixture) -> None:
    model, words = names["train_judges"]()
    lines = {line.get_label(): line.get_ydata() for line in names["plt"].gca().lines}
    names["plt"].close("all")
    assert lines["fine-tuned"][-1] > 0.9
    assert lines["fine-tuned"][-1] > lines["not pre-trained"][-1] + 0.1
    assert lines["fine-tuned"][-1] > lines["frozen"][-1] + 0.1
    capsys.readouterr()
    names["judge"](model, words, "старая книга лежала на кухне.", "старая книга лежал на кухне.")
    right, wrong = (float(line.split("%")[0]) for line in capsys.readouterr().out.splitlines())
    assert right > 90
    assert wrong < 10


NOTHING_WITH_A_LYING_STATE = {
    "BertSelfAttention": """
class BertSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.num_attention_heads
        self.query, self.key, self.value = (nn.Linear(config.hidden_size, config.hidden_size) for _ in range(3))

    def state_dict(self, *arguments, **named):
        return {name: torch.zeros(p.shape) for name, p in self.named_parameters()}

    def forward(self, x, mask=None, need_weights=False):
        return torch.zeros(x.shape), torch.zeros(len(x), self.heads, x.size(1), x.size(1)) if need_weights else None
""",
}
SILENT_LAYER = """
def still(self, x, mask=None, need_weights=False):
    weights = torch.zeros(len(x), 2, x.size(1), x.size(1))
    return x + 1e-9 * sum(p.sum() for p in self.parameters()), weights if need_weights else None


BertLayer.forward = still
"""
SILENT_ENCODER = """
def still(self, x, mask=None, need_weights=False, need_hidden=False):
    x = x + 1e-9 * sum(p.sum() for p in self.parameters())
    return x, (x,) * 3 if need_hidden else None, (x,) * 2 if need_weights else None


BertEncoder.forward = still
"""
SILENT_BODY = """
def still(self, ids, *rest, output_hidden_states=False, **more):
    x = torch.ones(*ids.shape, self.config.hidden_size) + 1e-9 * sum(p.sum() for p in self.parameters())
    return BertModelOutput(x, x[:, 0], (x,) * 3 if output_hidden_states else None, None)


BertModel.forward = still
"""


@caged
def test_weights_are_not_what_a_module_says_they_are(tmp_path: Path) -> None:
    points = earned("lab04", NOTHING_WITH_A_LYING_STATE, tmp_path)
    assert points["layer-attention"] == 0


@caged
@pytest.mark.parametrize(
    ("cell", "rest", "lost"),
    [
        ("BertEncoder", SILENT_LAYER, ["features-encoder"]),
        ("BertModel", SILENT_ENCODER, ["pooler-model"]),
        ("BertForMaskedLM", SILENT_BODY, ["blanks-model", "heads-tokens", "heads-spans", "learning-classifier"]),
    ],
)
def test_a_whole_of_pieces_that_were_right_once(cell: str, rest: str, lost: list[str], tmp_path: Path) -> None:
    points = earned("lab04", then("lab04", cell, rest), tmp_path)
    assert [points[part] for part in lost] == [0] * len(lost)
    assert points["layer-whole"] == 5
