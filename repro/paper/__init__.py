"""What the paper printed, and what its author's published logs show. Data files, and readers for them."""

from repro.paper.logs import authors_log, log_levels, log_summary, paper_length
from repro.paper.published import Anchor, read_anchors
from repro.paper.values import Printed, parse_printed, read_logs, read_numbers, read_table

__all__ = [
    "Anchor",
    "Printed",
    "authors_log",
    "log_levels",
    "log_summary",
    "paper_length",
    "parse_printed",
    "read_anchors",
    "read_logs",
    "read_numbers",
    "read_table",
]
