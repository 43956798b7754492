import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from repro.analysis import load_evidence
from repro.claims import judge_claims
from repro.config import load_config

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))  # one factory of records for all folders

from report_factory import CONFIG, RecordFactory


@pytest.fixture
def factory(tmp_path: Path) -> RecordFactory:
    return RecordFactory(load_config(CONFIG), tmp_path / "results")


@pytest.fixture
def judged(factory: RecordFactory) -> Callable[[], pd.DataFrame]:
    """The ledger over the factory's records so far, by id."""
    return lambda: judge_claims(load_evidence(factory.config, factory.results)).set_index("claim")
