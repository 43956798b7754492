"""MLflow as a mirror of the records: derived, repeatable, and never in the way of a training.

The records under ``results/`` are the truth; ``sync_records`` makes MLflow agree with them, as often
as one likes. ``LiveTracker`` shows a long run while it trains; the sync completes or replaces what it
left. So the database may be deleted at any time. Delete it too after moving its folder, since it
stores where the artifacts lie as absolute paths.

Importing this package does not import mlflow, which takes seconds and is absent on some machines.
"""

from repro.tracking.database import TrackingError
from repro.tracking.live import LiveTracker
from repro.tracking.store import DEFAULT_URI, pages
from repro.tracking.sync import SyncResult, sync_records

__all__ = ["DEFAULT_URI", "LiveTracker", "SyncResult", "TrackingError", "pages", "sync_records"]
