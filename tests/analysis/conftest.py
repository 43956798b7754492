import sys
from pathlib import Path

import pytest

from repro.config import load_config

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))  # one factory of records for both folders

from report_factory import CONFIG, RecordFactory


@pytest.fixture
def factory(tmp_path: Path) -> RecordFactory:
    return RecordFactory(load_config(CONFIG), tmp_path / "results")
