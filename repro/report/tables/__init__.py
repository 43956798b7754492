"""Tables: each one declaration of rows and columns."""

from repro.report.tables.ablation import TABLE7
from repro.report.tables.accuracy import MAIN, PARITY, TABLE2
from repro.report.tables.cost import COST, INFERENCE
from repro.report.tables.groups import DIGITS, group_table
from repro.report.tables.published import PUBLISHED_NUMBERS
from repro.report.tables.records import LISTINGS, Listing
from repro.report.tables.related import TABLE1, TABLE6
from repro.report.tables.table import Column, Grid, Row, Table
from repro.report.tables.training import TABLE3, TABLE4, TABLE5

__all__ = [
    "COST", "DIGITS", "INFERENCE", "LISTINGS", "MAIN", "PARITY", "PUBLISHED_NUMBERS", "TABLE1", "TABLE2", "TABLE3",
    "TABLE4", "TABLE5", "TABLE6", "TABLE7", "Column", "Grid", "Listing", "Row", "Table", "group_table",
]  # fmt: skip
