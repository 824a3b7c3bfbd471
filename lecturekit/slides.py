"""What lectures put on a page beside prose and widgets: a figure that says in words what it shows, and a table."""

import html
import io
from base64 import b64encode
from collections.abc import Iterable, Sequence
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


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> None:
    """Show rows under a head as a table, its cells in Markdown. ValueError for a row of another length."""
    from IPython.display import Markdown, display

    lines = [list(head), ["---"] * len(head), *(list(row) for row in rows)]
    for line in lines:
        if len(line) != len(head):
            raise ValueError(f"a row of {len(line)} cells {line}: expected {len(head)}, as the head has")
    display(Markdown("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)))
