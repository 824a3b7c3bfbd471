"""bertviz's views in a real browser: a layer, a head and a token answer, by mouse and by keyboard, with no network."""

import pytest
import torch
from playwright.sync_api import Frame, Page

from lecturekit.widgets.bertviz_views import View, head_view, model_view, neuron_view

TOKENS = ["[CLS]", "кот", "sat", "</script>", "https://x.org"]
LAYERS = [torch.softmax(3 * torch.randn(4, 5, 5, generator=torch.Generator().manual_seed(n)), -1) for n in range(3)]
VECTORS = [torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(n)) for n in range(3)]


def opened(page: Page, view: View, monkeypatch: pytest.MonkeyPatch) -> Frame:
    monkeypatch.setenv("LECTUREKIT_WIDGETS", "live")
    page.set_content(str(view._repr_mimebundle_()["text/html"]))
    frame = page.frames[1]
    frame.locator("#vis svg").wait_for()
    return frame


def changes(frame: Frame, act: object) -> bool:
    before = frame.locator("#vis").inner_html()
    act()
    return frame.locator("#vis").inner_html() != before


def test_the_head_view(page: Page, trouble: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    frame = opened(page, head_view(LAYERS, TOKENS), monkeypatch)
    assert changes(frame, lambda: frame.select_option("#layer", "2"))
    assert changes(frame, lambda: frame.get_by_label("head 1").click())
    assert changes(frame, lambda: frame.get_by_label("head 2").press("Enter"))
    assert changes(frame, lambda: frame.get_by_role("group").nth(1).focus())
    assert trouble == []


def test_encoder_decoder_and_cross(page: Page, trouble: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    view = head_view(encoder_attentions=LAYERS, cross_attentions=LAYERS, tokens=TOKENS, target_tokens=list("abcde"))
    frame = opened(page, view, monkeypatch)
    assert frame.locator("#filter option").all_inner_texts() == ["Encoder", "Cross"]
    assert changes(frame, lambda: frame.select_option("#filter", "1"))
    assert trouble == []


def test_the_model_view(page: Page, trouble: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    frame = opened(page, model_view(LAYERS, TOKENS), monkeypatch)
    assert changes(frame, lambda: frame.get_by_label("layer 1, head 2").press(" "))
    assert frame.get_by_text("Layer 1, Head 2").is_visible()
    assert changes(frame, lambda: frame.get_by_label("layer 0, head 3").click())
    assert trouble == []


def test_the_neuron_view(page: Page, trouble: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    frame = opened(page, neuron_view(LAYERS, TOKENS, VECTORS, VECTORS), monkeypatch)
    assert changes(frame, lambda: frame.select_option("#layer", "2"))
    assert changes(frame, lambda: frame.select_option("#att_head", "3"))
    assert changes(frame, lambda: frame.locator("#collapsed").get_by_label("token 1").press("Enter"))
    assert frame.get_by_text("q × k (elementwise)").is_visible()
    assert trouble == []


@pytest.mark.parametrize("width", [1200, 420])
def test_the_frame_is_as_high_as_what_is_in_it(page: Page, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for view in (head_view(LAYERS, TOKENS), model_view(LAYERS, TOKENS)):
        frame = opened(page, view, monkeypatch)
        page.wait_for_function(
            "() => Math.abs(frames[0].frameElement.offsetHeight - frames[0].document.body.offsetHeight) < 25"
        )
        assert frame.evaluate("document.body.offsetHeight") > 100
