"""bertviz's head, model and neuron view, with no network: one call on the weights of any model.

    BertViz    Vig, 2019, A Multiscale Visualization of Attention in the Transformer Model
               https://arxiv.org/abs/1906.05714, https://github.com/jessevig/bertviz

bertviz fetches d3, jQuery and require.js from a content network. Here they come from packages that have them: d3 from
mpld3, jQuery from sphinxcontrib-jquery; a few lines stand in for require.js. Each view is a frame of its own, so that
two of them, or the notebook's own scripts, can't get into each other's way. If an update of bertviz changes what is
replaced here, a RuntimeError says so, and nothing silently waits for a network.
"""

import html
import json
import re
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from markupsafe import Markup
from torch import Tensor

from lecturekit.widgets.attention import MOST_TOKENS, cut_words, map_of, quoted, seen_keys
from lecturekit.widgets.base import Table, live, style, tag, visible
from lecturekit.widgets.reading import Attention, layers_of, read_attentions

LONGEST = 12  # characters of a token: bertviz leaves no room for more
LIBRARIES = (("mpld3", "js/d3.v5.min.js", "d3js.org v5."), ("sphinxcontrib.jquery", "jquery.js", "jQuery v3."))
LOADER = re.compile(r"require\.config\(\{.*?\}\s*\);", re.DOTALL)  # where the views say what to fetch
REQUIRE = re.compile(r'<script src="https://cdnjs\.cloudflare\.com/[^"]*require[^"]*"></script>')
ADDRESS = re.compile(r"""https?://|["']//|<(script|link|img|iframe)\b[^>]*\s(src|href)=""")
# Characters that stand in for those of a text that could end a script or look like an address; as JSON writes them.
HIDDEN = {"<": "\ue000", "/": "\ue001"}

# What stands in for require.js; Okabe and Ito's colours, some darker ones after them; and the keyboard's way to what
# bertviz has for a mouse alone: clicks, and tokens that the pointer rests on.
BEFORE = """
window.requirejs = (names, start) => start(window.jQuery, window.d3);
d3.schemeCategory10 = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#666666", "#a89400",
  "#003f63", "#7a3600"];
const on = d3.selection.prototype.on;
const mouse = (type) => function () { this.dispatchEvent(new MouseEvent(type, { bubbles: true })); };
const place = (cell) => { const [layer, head] = cell.id.split("_").slice(-2); return `layer ${layer}, head ${head}`; };
d3.selection.prototype.on = function (type, listener) {
  if (type === "click" && listener) {
    this.attr("tabindex", 0).attr("role", "button").attr("aria-label", function (_, index) {
      const cell = this.parentNode.querySelector("[id^=attn_background]");
      if (cell) return place(cell);
      return this.closest("#leftText") ? `token ${index}: how its weights are made` : `head ${index}`;
    });
    on.call(this, "keydown", function () {
      if (d3.event.key !== "Enter" && d3.event.key !== " ") return;
      d3.event.preventDefault();
      mouse("click").call(this);
    });
  }
  if (type === "mouseover" && listener && !this.empty() && this.node().nodeName === "g") {
    this.attr("tabindex", 0).attr("role", "group").attr("aria-label", function () { return this.textContent; });
    on.call(this, "focusin", mouse("mouseover"));
    on.call(this, "focusout", mouse("mouseout"));
  }
  return on.apply(this, arguments);
};
"""
# The frame is as high as what is in it.
AFTER = """
const fit = () => {
  const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
  if (window.frameElement) window.frameElement.style.height = document.body.offsetHeight + (wide ? 20 : 4) + "px";
};
new ResizeObserver(fit).observe(document.body);
fit();
"""
STYLE = (
    "body { margin: 0; padding: 2px; background: white; color: black; overflow: auto hidden; display: flow-root } "
    "svg { min-width: %dpx; display: block } :focus-visible { outline: 2px solid #d55e00 }"
)


# ---- a page without addresses ----------------------------------------------------------------------------------------
@cache
def libraries() -> str:
    """d3 and jQuery as scripts. RuntimeError if a package does not have them."""
    scripts = []
    for package, file, known in LIBRARIES:
        try:
            found = find_spec(package)  # which does not import it
        except ModuleNotFoundError:  # nor is there what it is in
            found = None
        path = Path(found.origin).parent / file if found and found.origin else None
        if path is None or not path.is_file():
            raise RuntimeError(f"the package {package} has no {file}: expected one, which the views of bertviz need")
        script = path.read_text(encoding="utf-8")
        if known not in script[:300]:
            raise RuntimeError(f"{file} of {package} begins with {script[:60]!r}: expected {known}…")
        scripts.append(script.replace("</script", "<\\/script"))
    return "".join(f"<script>{script}</script>" for script in scripts)


def without_network(page: str) -> str:
    """A view's page, less what it would fetch and its comments.

    RuntimeError unless the addresses are where they are known to be, and nothing else is left to be fetched.
    """
    page, tags = REQUIRE.subn("", page)
    loaders = LOADER.findall(page)
    if (
        tags != 1
        or len(loaders) != 1
        or not all(f"cdnjs.cloudflare.com/ajax/libs/{lib}" in loaders[0] for lib in ("d3", "jquery"))
    ):
        raise RuntimeError(
            "bertviz no longer fetches require.js, d3 and jQuery as it did in 1.4: expected one script and one "
            "require.config, which lecturekit.widgets.bertviz_views takes out"
        )
    page = re.sub(r"/\*\*.*?\*/", "", LOADER.sub("", page), flags=re.DOTALL)
    if left := ADDRESS.search(page):
        raise RuntimeError(f"a view of bertviz fetches {page[left.start() : left.start() + 60]!r}: expected no address")
    return page


def framed(page: str, title: str, width: int, height: int) -> Markup:
    """A view's page as bertviz returns it, in a frame that needs nothing from outside.

    Where there is less room than `width` the frame scrolls; `height` is what it has until it knows better.
    """
    page = without_network(page)
    for letter, hidden in HIDDEN.items():
        page = page.replace(json.dumps(hidden)[1:-1], f"\\u{ord(letter):04x}")
    inside = f"<style>{STYLE % width}</style><body>{libraries()}<script>{BEFORE}</script>{page}<script>{AFTER}</script>"
    srcdoc = html.escape(f"<!doctype html><meta charset=utf-8>{inside}")
    size = f"width: 100%; height: {height}px; border: 0"
    return Markup(f'<iframe title="{html.escape(title)}" style="{size}" srcdoc="{srcdoc}"></iframe>')


def short(token: str) -> str:
    """A token that fits into bertviz's columns and can't be taken for markup or an address."""
    for letter, hidden in HIDDEN.items():
        token = token.replace(letter, hidden)
    shown = visible(token.replace("Ġ", " ").replace("▁", " "))
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def cut(one: Attention) -> tuple[list[Tensor], list[str], list[str]]:
    """What is drawn: L times [1, H, T, S] with four decimals, queries and keys."""
    drawn = [torch.round(layer[None, :, :MOST_TOKENS, :MOST_TOKENS].double(), decimals=4) for layer in one.weights]
    return (
        drawn,
        [short(token) for token in one.queries[:MOST_TOKENS]],
        [short(token) for token in one.keys[:MOST_TOKENS]],
    )


# ---- a view ----------------------------------------------------------------------------------------------------------
class View:
    """One of bertviz's views, with a caption and a table; where there is no browser, a picture of `attention_map`.

    `page()` is what bertviz returns, called when the view is shown, so that a test or a grader never waits for it.
    """

    def __init__(
        self, title: str, found: list[Attention], page: Callable[[], str], width: int, height: int, more: str = ""
    ) -> None:
        self.title, self.found, self.page, self.width, self.height = title, found, page, width, height
        first = found[0]
        layer, head, query, key = first.strongest()
        weight = float(first.weights[layer][head, query, key])
        counts = [f"{one.kind} {len(one.weights)} x {one.weights[0].size(0)}" for one in found]
        self.caption = (
            f"Layers x heads: {', '.join(counts)}. The strongest link{' of the first' if len(found) > 1 else ''} is "
            f"{quoted(first.queries[query])} → {quoted(first.keys[key])}, {weight:.3f}, in layer {layer}, head {head}."
            + more
            + cut_words(max(len(one.queries) for one in found), max(len(one.keys) for one in found))
        )

    def table(self) -> Table:
        """The strongest link of each head."""
        rows = []
        for one in self.found:
            for number, layer in enumerate(one.weights):
                for head, matrix in enumerate(layer):
                    query, key = divmod(int(matrix.argmax()), matrix.size(1))
                    names = visible(one.queries[query]), visible(one.keys[key])
                    rows.append((one.kind, number, head, *names, float(matrix[query, key])))
        return Table(("attention", "layer", "head", "query", "strongest key", "weight"), rows)

    def frame(self) -> Markup:
        """The view itself, an iframe that fetches nothing. RuntimeError if bertviz or a package has changed."""
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # bertviz leaves its scripts open
            page = self.page()
        return framed(page, self.title, self.width, self.height)

    def html(self) -> str:
        """The static form: no script, no frame."""
        return map_of(self.found).html()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        if not live():
            return {"text/html": self.html(), "text/plain": f"{self.title}. {self.caption}"}
        table = tag("details", tag("summary", "as a table"), self.table().html())
        figure = tag("figure", self.frame(), tag("figcaption", self.caption))
        heading = tag("p", self.title, class_="lk-title")
        page = tag("style", Markup(style())) + tag("div", heading, figure, table, class_="lk")
        return {"text/html": page, "text/plain": f"{self.title}. {self.caption}"}


def check_choice(name: str, chosen: Sequence[int], count: int) -> None:
    """ValueError for a layer or a head that there is not."""
    for one in chosen:
        if not 0 <= one < count:
            raise ValueError(f"{name} {one}: expected 0 ... {count - 1}")


def arguments(found: list[Attention]) -> dict[str, Any]:
    """What bertviz's head_view and model_view want."""
    if [one.kind for one in found] == ["self"]:
        drawn, tokens, _ = cut(found[0])
        return {"attention": drawn, "tokens": tokens}
    given: dict[str, Any] = {}
    for one in found:
        given[f"{one.kind}_attention"], queries, keys = cut(one)
        given["decoder_tokens" if one.kind != "encoder" else "encoder_tokens"] = queries
        given["encoder_tokens" if one.kind != "decoder" else "decoder_tokens"] = keys
    return given


def check_kinds(found: list[Attention]) -> None:
    """ValueError where bertviz, which has one list of layers for all kinds, would draw the wrong ones."""
    sizes = {(len(one.weights), one.weights[0].size(0)) for one in found}
    if len(sizes) > 1:
        said = ", ".join(f"{one.kind} {len(one.weights)} x {one.weights[0].size(0)}" for one in found)
        raise ValueError(f"layers x heads differ ({said}): expected the same, so call the view for one kind at a time")


def head_view(
    attentions: Any = None,
    tokens: Sequence[str] | Any = None,
    target_tokens: Sequence[str] | Any = None,
    *,
    layer: int = 0,
    heads: Sequence[int] | None = None,
    **more: Any,
) -> View:
    """bertviz's head view: lines between tokens, a colour for each head; squares above switch heads on and off.

    Args:
        attentions, tokens, target_tokens, more: those of `attention_map`, errors included; of an encoder-decoder
            encoder_attentions, decoder_attentions and cross_attentions.
        layer, heads: what is shown first; all heads if they are None.

    Raises:
        RuntimeError: bertviz has changed, or a package lacks its script.
    """
    found = read_attentions(attentions, tokens, target_tokens, **more)
    check_kinds(found)
    check_choice("layer", [layer], len(found[0].weights))
    check_choice("head", heads or [], found[0].weights[0].size(0))

    def page() -> str:
        from bertviz import head_view as view

        heads_ = None if heads is None else list(heads)
        return view(**arguments(found), layer=layer, heads=heads_, prettify_tokens=False, html_action="return").data

    return View(
        "Head view: lines between tokens, a colour for each head",
        found,
        page,
        max(340, 20 * found[0].weights[0].size(0)),
        60 + 23 * longest(found),
    )


def model_view(
    attentions: Any = None,
    tokens: Sequence[str] | Any = None,
    target_tokens: Sequence[str] | Any = None,
    **more: Any,
) -> View:
    """bertviz's model view: all heads of all layers as small pictures; a click makes one large.

    Arguments and errors are those of `head_view`, `layer` and `heads` apart.
    """
    found = read_attentions(attentions, tokens, target_tokens, **more)
    check_kinds(found)

    def page() -> str:
        from bertviz import model_view as view

        return view(**arguments(found), display_mode="light", prettify_tokens=False, html_action="return").data

    return View("Model view: every head of every layer", found, page, 970, 90 + 18 * longest(found))


def neuron_view(
    attentions: Any = None,
    tokens: Sequence[str] | Any = None,
    queries: Any = None,
    keys: Any = None,
    *,
    layer: int = 0,
    head: int = 0,
    ids: Any = None,
) -> View:
    """bertviz's neuron view: how a query and a key, number by number, make a weight of self-attention.

    Args:
        attentions, tokens, ids: those of `attention_map`. Of a model and its ids queries and keys are gathered where
            its attention has maps called `query` and `key`, `q` and `k`, or `c_attn`.
        queries, keys: for each layer [H, T, d] or [1, H, T, d].
        layer, head: what is shown first.

    Raises:
        TypeError: no queries and keys, and no model that shows them.
        ValueError: they do not fit the weights; more than self-attention. Other errors as in `head_view`.
    """
    found = read_attentions(attentions, tokens, ids=ids)
    if [one.kind for one in found] != ["self"]:
        raise ValueError(f"attention of {', '.join(one.kind for one in found)}: expected self-attention of one text")
    one = found[0]
    vectors = {}
    for name, given in (("query", queries), ("key", keys)):
        vectors[name] = one.projected.get(name) if given is None else layers_of(given, f"{name} vectors", last="d")
        if vectors[name] is None:
            raise TypeError(
                f"no {name} vectors: expected queries and keys for each layer, [H, T, d], or a model whose attention "
                "has query and key, q and k, or c_attn"
            )
    wanted = [len(one.weights), *one.weights[0].shape[:2]]
    for name, layers in vectors.items():
        if [len(layers), *layers[0].shape[:2]] != wanted or layers[0].size(2) != vectors["query"][0].size(2):
            raise ValueError(
                f"{len(layers)} layers of {name} vectors {list(layers[0].shape)}: expected [H, T, d] = "
                f"[{wanted[1]}, {wanted[2]}, {vectors['query'][0].size(2)}] for each of {wanted[0]} layers"
            )
    check_choice("layer", [layer], wanted[0])
    check_choice("head", [head], wanted[1])
    words = "" if computed(one, vectors) else " The weights are not the softmax of the q · k / √d that the view shows."

    def page() -> str:
        from bertviz import neuron_view as view

        drawn, names, _ = cut(one)
        cut_vectors = {
            name: [torch.round(x[:, :MOST_TOKENS].double(), decimals=4).tolist() for x in layers]
            for name, layers in vectors.items()
        }
        data = {
            "all": {
                "attn": [weights[0].tolist() for weights in drawn],
                "queries": cut_vectors["query"],
                "keys": cut_vectors["key"],
                "left_text": names,
                "right_text": names,
            }
        }
        causal = all(seen is not None and not seen.triu(1).any() for seen in map(seen_keys, one.weights))
        with mock.patch.object(view, "get_attention", return_value=data):  # which calls a model of bertviz's own
            page = view.show(
                None,
                "gpt2" if causal else "bert",
                None,
                "",
                display_mode="light",
                layer=layer,
                head=head,
                html_action="return",
            )
        return page.data

    return View("Neuron view: how queries and keys make a weight", found, page, 1010, 130 + 26 * longest(found), words)


def computed(one: Attention, vectors: dict[str, list[Tensor]]) -> bool:
    """Whether the weights are the softmax of q · k / √d over the keys that are seen."""
    for weights, query, key in zip(one.weights, vectors["query"], vectors["key"], strict=True):
        scores = query @ key.transpose(1, 2) * query.size(-1) ** -0.5  # [H, T, T]
        seen = seen_keys(weights)
        if seen is not None:
            scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
        if (scores.softmax(dim=-1) - weights).abs().max() > 0.02:
            return False
    return True


def longest(found: list[Attention]) -> int:
    """How many tokens are drawn one below the other."""
    return min(max(max(len(one.queries), len(one.keys)) for one in found), MOST_TOKENS)
