"""Records of runs: what training writes and everything else reads. Needs the standard library alone."""

from repro.records.files import StorageError, atomic_write, delete_temporary_files
from repro.records.record import (
    CHECKPOINT_NAME,
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
    restore_record,
    write_progress,
    write_record,
)

__all__ = [
    "CHECKPOINT_NAME",
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
    "delete_temporary_files",
    "find_records",
    "read_csv_rows",
    "read_record",
    "restore_record",
    "write_progress",
    "write_record",
]
