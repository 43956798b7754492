"""Records of runs: what training writes and everything else reads. Needs the standard library alone."""

from repro.records.files import StorageError, atomic_write
from repro.records.record import (
    COMPLETED,
    DIVERGED,
    EPOCH_COLUMNS,
    EPOCHS_NAME,
    LAYER_COLUMNS,
    LAYERS_NAME,
    LOCK_NAME,
    Record,
    RecordError,
    find_records,
    read_csv_rows,
    read_record,
    write_progress,
    write_record,
)

__all__ = [
    "COMPLETED",
    "DIVERGED",
    "EPOCHS_NAME",
    "EPOCH_COLUMNS",
    "LAYERS_NAME",
    "LAYER_COLUMNS",
    "LOCK_NAME",
    "Record",
    "RecordError",
    "StorageError",
    "atomic_write",
    "find_records",
    "read_csv_rows",
    "read_record",
    "write_progress",
    "write_record",
]
