"""export.json: written, read back, and as one row of numbers."""

import math

import pytest

from repro.records import Export, RecordError, export_numbers, read_export, write_export
from repro.records.export import EXPORT_NUMBERS


def make(**changes) -> Export:
    fields = {
        "spec_hash": "0123abcd", "seed": 1, "environment": {}, "onnx": None, "latency": None,
        "packed": {"bytes": 20, "payload_bytes": 12, "metadata_bytes": 8, "test_accuracy": 0.5,
                   "fp32_test_accuracy": 0.4, "logit_difference": 0.0},
    }  # fmt: skip
    return Export(**(fields | changes))


def test_round_trip(tmp_path):
    write_export(tmp_path, make())
    assert read_export(tmp_path, "0123abcd", 1) == make()
    assert read_export(tmp_path / "elsewhere", "0123abcd", 1) is None


@pytest.mark.parametrize(("spec_hash", "seed"), [("0123abcd", 2), ("ffffffff", 1)])
def test_an_export_of_another_run_is_refused(tmp_path, spec_hash, seed):
    write_export(tmp_path, make())
    with pytest.raises(RecordError, match="not of the record beside it"):
        read_export(tmp_path, spec_hash, seed)


def test_text_that_is_no_json_is_named(tmp_path):
    (tmp_path / "export.json").write_text("{")
    with pytest.raises(RecordError, match=r"export\.json: not a readable export"):
        read_export(tmp_path, "0123abcd", 1)


def test_numbers_are_medians_and_what_was_not_measured_is_no_number():
    seconds = {"torch_fp32": {"1": [3.0, 1.0, 2.0], "128": [5.0, 4.0, 9.0]}}
    numbers = export_numbers(make(latency={"seconds": seconds}))
    assert tuple(numbers) == EXPORT_NUMBERS
    assert (numbers["torch_fp32_seconds_1"], numbers["torch_fp32_seconds_128"]) == (2.0, 5.0)
    assert (numbers["file_bytes"], numbers["file_test_accuracy"]) == (20, 0.5)
    assert math.isnan(numbers["onnx_bytes"])
    assert math.isnan(numbers["onnx_int4_seconds_1"])
    assert all(math.isnan(value) for value in export_numbers(None).values())
