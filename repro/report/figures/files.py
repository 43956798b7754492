"""A drawn figure as a file, and as part of a page."""

import io
import re
from typing import Any

from matplotlib.figure import Figure

from repro.report.figures.style import figure_style
from repro.report.vocabulary import COLORS

NO_METADATA: dict[str, dict[str, Any]] = {
    "svg": dict.fromkeys(("Creator", "Date", "Format", "Type")),
    "png": {"Software": None},
}


def to_bytes(figure: Figure, kind: str) -> bytes:
    """A figure as ``svg`` or ``png``, without a date in it."""
    buffer = io.BytesIO()
    with figure_style():
        figure.savefig(buffer, format=kind, dpi=200, metadata=NO_METADATA[kind])
    return buffer.getvalue()


_VARIABLES = {light: f"var(--{name})" for name, (light, _) in COLORS.items()}


def inline_svg(svg: bytes, name: str) -> str:
    """An SVG file as part of a page: no prolog, ids of its own, the page's colours and type, short numbers.

    Args:
        svg: The file.
        name: Prefix that keeps the ids of several figures apart.
    """
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r" font-family: [^;\"]*;?", "", text)  # the page's own
    text = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), text)
    text = re.sub(r"\n\s*", "\n", text)
    text = re.sub(r'(<image [^>]*?) id="[^"]*"', r"\1", text)  # matplotlib gives it to the picture and its group
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    for light, variable in _VARIABLES.items():
        text = text.replace(light, variable)
    return text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
