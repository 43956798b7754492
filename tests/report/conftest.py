from pathlib import Path

import pytest
from report_factory import CONFIG, RecordFactory

from repro.config import load_config


@pytest.fixture
def factory(tmp_path: Path) -> RecordFactory:
    return RecordFactory(load_config(CONFIG), tmp_path / "results")
