"""What lectures put on a page beside prose and widgets: figures that say in words what they show, diagrams, tables."""

import html
import io
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

PIXELS_PER_INCH = 110


def show(description: str, figure: Any = None) -> None:
    """Show a figure of matplotlib, the present one if none is given, with its description for those who can't see it.

    It is closed afterwards, so that nothing shows it again. ValueError for an empty description.
    """
    import matplotlib.pyplot as plt
    from IPython.display import HTML, display

    if not description.strip():
        raise ValueError("an empty description: expected what the figure shows, in words")
    figure = plt.gcf() if figure is None else figure
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=PIXELS_PER_INCH, bbox_inches="tight")
    plt.close(figure)
    source = f"data:image/png;base64,{b64encode(picture.getvalue()).decode()}"
    display(HTML(f'<img alt="{html.escape(description)}" style="max-width: 100%" src="{source}">'))


def sketch(
    size: tuple[float, float],
    boxes: Mapping[str, tuple[float, float, str, str]],
    arrows: Sequence[str],
    description: str,
    dashed: Sequence[str] = (),
    around: Sequence[str] = (),
) -> None:
    """Show a diagram of boxes {name: (x, y, text, colour)} and arrows between them.

    An arrow is "a b", or "a b words" with a label; those in `dashed` are drawn so, those in `around` lead past what
    lies between. The colour "none" stands for a text without a box. `size` is in inches, x and y are in boxes.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=size)
    drawn = {}
    for name, (x, y, words, colour) in boxes.items():
        edge = {"boxstyle": "round,pad=0.35", "fc": colour, "ec": "none" if colour == "none" else "#444444"}
        drawn[name] = axes.text(x, y, words, ha="center", va="center", fontsize=10, bbox=edge)
    for arrow in [*arrows, *dashed, *around]:
        start, end, *words = arrow.split(maxsplit=2)
        style = {"arrowstyle": "-|>", "color": "#444444", "linestyle": "--" if arrow in dashed else "-"}
        style |= {"patchA": drawn[start].get_bbox_patch(), "patchB": drawn[end].get_bbox_patch()}
        style |= {"connectionstyle": "arc3,rad=1.6"} if arrow in around else {}
        (x0, y0), (x1, y1) = boxes[start][:2], boxes[end][:2]
        axes.annotate("", (x1, y1), (x0, y0), arrowprops=style)
        if words and x0 == x1:
            axes.text(x0 + 0.1, (y0 + y1) / 2, words[0], ha="left", va="center", fontsize=9)
        elif words:
            axes.text((x0 + x1) / 2, (y0 + y1) / 2 + 0.08, words[0], ha="center", va="bottom", fontsize=9)
    xs, ys = zip(*((x, y) for x, y, *_ in boxes.values()), strict=True)
    axes.set(xlim=(min(xs) - 0.8, max(xs) + 0.8), ylim=(min(ys) - 0.5, max(ys) + 0.5))
    axes.axis("off")
    show(description, figure)


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> None:
    """Show rows under a head as a table, its cells in Markdown. ValueError for a row of another length."""
    from IPython.display import Markdown, display

    lines = [list(head), ["---"] * len(head), *(list(row) for row in rows)]
    for line in lines:
        if len(line) != len(head):
            raise ValueError(f"a row of {len(line)} cells {line}: expected {len(head)}, as the head has")
    display(Markdown("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)))
