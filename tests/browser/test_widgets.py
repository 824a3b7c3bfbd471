"""Every widget in JupyterLab: it is there, each of its controls moves, the picture follows, nothing asks for a network."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, Locator, Page

from tools import browser

SHOTS = os.environ.get("LECTUREKIT_SHOTS", "")  # a folder for pictures of what was seen
SETUP = """\
import time, torch
from lecturekit import pretrained, widgets
torch.manual_seed(0)
gpt, gpt_tokenizer = pretrained.load("gpt")
bert, bert_tokenizer = pretrained.load("bert")
seq2seq, seq2seq_tokenizer = pretrained.load("seq2seq")
ids = gpt_tokenizer.encode("Князь Андрей сказал, что")
words = [gpt_tokenizer.decode([index]) for index in ids]
text = "Князь Андрей вышел из превосходнейшей комнаты."
split = [token.startswith("##") for token in bert_tokenizer.tokenize(text)].index(True)  # a word of several tokens
def steps():
    for number in range(100_000):
        time.sleep(0.01)
        yield 1 + 2 / (1 + number)
"""
CELLS = {  # a widget's title, as it begins, and the cell that shows it
    "Sampling": 'widgets.sampling(gpt, gpt_tokenizer, "Князь Андрей")',
    "Attention": "widgets.attention_map(gpt, words, ids=ids)",
    "Alignment": "widgets.alignment(seq2seq, seq2seq_tokenizer, ids=seq2seq_tokenizer.encode('3 мая 2021 года'))",
    "Beam": 'widgets.beam_tree(gpt, gpt_tokenizer, "Князь Андрей")',
    "Greedy": 'widgets.strategies(gpt, gpt_tokenizer, "Князь Андрей", new_tokens=12, num_beams=1)',
    "The masked word": "widgets.masked_words(bert, bert_tokenizer, text, token=1 + split)",
    "BPE": "widgets.bpe_steps()",
    "WordPiece": "widgets.wordpiece_steps()",
    "One text": "widgets.tokenizers_side_by_side()",
    "Positions": "widgets.positional_encodings()",
    "The parameters": "widgets.parameters()",
    "Training": "widgets.watch(steps())",
}
VIEWS = {
    "Head view": "widgets.head_view(gpt, words, ids=ids)",
    "Model view": "widgets.model_view(gpt, words, ids=ids)",
    "Neuron view": "widgets.neuron_view(gpt, words, ids=ids)",
}


def write_notebook(root: Path, sources: list[str]) -> str:
    """A course whose only lab is a notebook of these cells; the notebook's path in JupyterLab."""
    path = root / "labs" / "widgets" / "widgets.ipynb"
    path.parent.mkdir(parents=True)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [new_code_cell(source) for source in sources]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return "widgets/widgets.ipynb"


@pytest.fixture(scope="module")
def notebook(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, list[str]]]:
    """A notebook with every widget, all of whose cells have run."""
    root = tmp_path_factory.mktemp("widgets")
    path = write_notebook(root, [SETUP, *CELLS.values(), *VIEWS.values()])
    trouble: list[str] = []
    with browser.jupyterlab(root) as address, browser.new_page(chromium, trouble) as page:
        browser.open_notebook(page, address, path)
        browser.run_all(page)
        yield page, trouble


def look(found: Locator, name: str) -> None:
    """Keep a picture, if pictures are wanted."""
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        found.screenshot(path=Path(SHOTS) / f"{name}.png")


def settle(page: Page, picture: Locator) -> None:
    """Wait for the answer to the last request."""
    page.wait_for_function("picture => !picture.dataset.waiting", arg=picture.element_handle(), timeout=20_000)


def moves(field: Locator) -> tuple[Callable[[], object], Callable[[], object]]:
    """How a hand at the keyboard moves a control, and how it takes that back."""
    kind = field.evaluate("field => field.type")
    if kind == "range":
        keys = ["ArrowRight", "ArrowLeft"]
        if field.evaluate("field => field.value === field.max"):
            keys.reverse()
        return lambda: field.press(keys[0]), lambda: field.press(keys[1])
    if kind == "checkbox":
        return lambda: field.press("Space"), lambda: field.press("Space")
    if kind == "button":
        return lambda: field.press("Enter"), lambda: None
    if kind == "select-one":
        now, count = field.evaluate("field => field.selectedIndex"), field.locator("option").count()
        return lambda: field.select_option(index=(now + 1) % count), lambda: field.select_option(index=now)
    text = field.input_value()
    return lambda: field.fill(f"{text} кот"), lambda: field.fill(text)


def move(page: Page, found: Locator, field: Locator, problems: tuple[str, ...]) -> None:
    """Move a control until the picture changes, at most five steps, and back, so that it hides nothing of the next."""
    there, back = moves(field)
    picture, name = found.locator(".lk-picture"), field.get_attribute("data-name")
    before, steps = picture.inner_html(), 0
    while picture.inner_html() == before:
        assert steps < 5, f"{name} moves nothing"
        there()
        steps += 1
        settle(page, picture)
    assert name in problems or "lk-problem" not in picture.inner_html(), picture.inner_html()
    for _ in range(steps):
        back()
        settle(page, picture)


@pytest.mark.parametrize("title", CELLS)
def test_a_widget_is_there_and_each_control_moves_it(notebook: tuple[Page, list[str]], title: str) -> None:
    page, trouble = notebook
    found = browser.widget(page, title)
    found.scroll_into_view_if_needed()
    assert found.locator(".lk-drawing").first.is_visible()
    assert found.locator("details table").count() == 1
    name = title.lower().replace(" ", "-")
    look(found, name)
    problems = {"The parameters": ("width", "heads")}.get(title, ())  # a width that is no multiple of the heads
    moved, fields = set(), found.locator(".lk-controls [data-name]")
    choices = [field for field in fields.all() if field.evaluate("field => field.type") == "select-one"]
    for turn in range(max([1, *(field.locator("option").count() for field in choices)])):
        for field in fields.all():
            if field.is_visible() and field.get_attribute("data-name") not in moved:
                move(page, found, field, problems)
                moved.add(field.get_attribute("data-name"))
        if len(moved) == fields.count():
            break
        for field in choices:  # others may be there now
            field.select_option(index=(turn + 1) % field.locator("option").count())
            settle(page, found.locator(".lk-picture"))
    assert len(moved) == fields.count()
    for target in found.locator("[data-sets]").all()[-1:]:
        before = found.locator(".lk-picture").inner_html()
        target.press("Enter")
        settle(page, found.locator(".lk-picture"))
        assert found.locator(".lk-picture").inner_html() != before
    look(found, f"{name}-moved")
    assert trouble == []


@pytest.mark.parametrize("title", VIEWS)
def test_a_view_of_bertviz_is_there_and_answers(notebook: tuple[Page, list[str]], title: str) -> None:
    page, trouble = notebook
    found = browser.widget(page, title)
    found.scroll_into_view_if_needed()
    frame = found.frame_locator("iframe")
    drawn = frame.locator("#vis")
    drawn.locator("svg").first.wait_for()
    look(found, title.lower().replace(" ", "-"))
    before = drawn.inner_html()
    if title == "Model view":
        frame.get_by_label("layer 1, head 1").press("Enter")
    else:
        frame.locator("#layer").select_option("1")
    assert drawn.inner_html() != before
    if title == "Head view":
        before = drawn.inner_html()
        frame.get_by_label("head 1").press("Enter")
        assert drawn.inner_html() != before
    assert trouble == []


def test_the_theme_and_a_narrow_window(notebook: tuple[Page, list[str]]) -> None:
    page, trouble = notebook
    text = browser.widget(page, "Sampling").locator("svg text").first
    light = text.evaluate("part => getComputedStyle(part).fill")
    page.locator(".jp-NotebookPanel-toolbar").first.click()  # out of the frames, which keep keys to themselves
    page.keyboard.press("Control+Shift+C")
    page.get_by_placeholder("SEARCH", exact=True).fill("JupyterLab Dark")
    page.keyboard.press("Enter")
    page.locator('body[data-jp-theme-light="false"]').wait_for(state="attached")
    assert text.evaluate("part => getComputedStyle(part).fill") != light
    page.set_viewport_size({"width": 640, "height": 1000})
    for title in (*CELLS, *VIEWS):
        found = browser.widget(page, title)
        found.scroll_into_view_if_needed()
        look(found, f"{title.lower().replace(' ', '-')}-narrow")
        assert found.evaluate("part => part.scrollWidth <= part.clientWidth + 1"), title
    assert trouble == []
