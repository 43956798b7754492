"""The tables of a page as a reader with nothing but its HTML has them."""

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class PageCell:
    """A cell: its text, its HTML attributes and where it stands."""

    table: str
    scale: str
    attributes: dict[str, str | None]
    column: int
    text: str = ""


@dataclass
class PageTables(HTMLParser):
    """All body cells of all tables, row by row; ``words`` is every text that a reader sees."""

    rows: list[list[PageCell]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows, self.words = [], []
        self._table, self._scale, self._body, self._cell, self._unseen = "", "", False, None, 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self._unseen += tag in ("style", "script")
        if tag == "section":
            self._table = attributes.get("id") or ""
        elif tag == "tbody":
            self._body, self._scale = True, attributes.get("data-scale") or ""
        elif tag == "tr" and self._body:
            self.rows.append([])
        elif tag in ("td", "th") and self._body:
            self._cell = PageCell(self._table, self._scale, attributes, len(self.rows[-1]))
            self.rows[-1].append(self._cell)

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in ("style", "script")
        if tag == "tbody":
            self._body = False
        elif tag in ("td", "th"):
            self._cell = None

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.words.append(data)
        if self._cell:
            self._cell.text += data
