"""A claim and a table of a user's own: an entry in a data file; a file, and a line in the page's contents."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from report_factory import RecordFactory

from repro.claims import ledger
from repro.report import build_report
from repro.report.page import build
from repro.report.page.contents import Block, Part, contents

TABLE = """
from repro.report.experiments import members, title_of
from repro.report.tables.columns import accuracy
from repro.report.tables.table import Row, Table

def rows(view):
    for member in members(view.config, "bit_width"):
        yield Row(title_of(view, member.name), member.name)

OWN_TABLE = Table("own", "How do bit widths end?", "The last epoch alone.", rows, (accuracy("final_test_accuracy"),))
"""
CLAIM = """
A user's own:
  - id: own_claim
    place: nowhere
    statement: Two bits reach 80 % on CIFAR-10
    kind: number
    value: "80"
    unit: "%"
    rule: value
    tolerance: accuracy
    query: {name: best_test_accuracy}
    experiments: [bits2_cifar10]
"""


def test_a_table_and_a_claim_from_outside_stand_on_the_page(
    factory: RecordFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "table_of_a_user.py").write_text(TABLE)
    monkeypatch.syspath_prepend(tmp_path)
    from table_of_a_user import OWN_TABLE  # type: ignore[import-not-found]

    monkeypatch.setattr(build, "contents", lambda config: [*contents(config), Part("own", "Own", [Block(OWN_TABLE)])])
    data = Path(shutil.copytree(ledger.FOLDER, tmp_path / "data"))
    with (data / "front.yaml").open("a") as file:
        file.write(CLAIM)
    monkeypatch.setattr(ledger, "FOLDER", data)
    ledger.load_claims.cache_clear()
    try:
        for seed, best in enumerate((0.80, 0.801, 0.799)):
            factory.write("bits2_cifar10", "paper_bf16", seed, best)
        page = build_report(factory.config, factory.results, tmp_path / "report").read_text()
    finally:
        ledger.load_claims.cache_clear()
    assert "How do bit widths end?" in page
    assert "Two bits reach 80 % on CIFAR-10" in page
    cells = pd.read_csv(tmp_path / "report" / "tables" / "own.csv").set_index("experiment")
    assert cells.loc["bits2_cifar10", "value"] == pytest.approx(79, abs=0.1)
    claims = pd.read_csv(tmp_path / "report" / "tables" / "claims.csv").set_index("claim")
    assert claims.loc["own_claim", "verdict"] == "reproduced"
