"""Units, in one table: the factor from the units of records (fractions, bytes, seconds), and decimals shown."""

from collections.abc import Mapping

# The paper's MB are MiB (1,048,576 bytes): MB stands only for 1,000,000 bytes.
UNITS: Mapping[str, tuple[float, int]] = {
    "%": (100, 2),
    "points": (100, 2),
    "gap": (100, 2),
    "% completed": (100, 0),
    "MiB": (1 / 2**20, 2),
    "MB": (1e-6, 3),
    "h": (1 / 3600, 1),
    "ms": (1e3, 2),
    "ppm": (1e6, 2),
    "million": (1e-6, 3),
    "×": (1, 2),
    "ratio": (1, 2),
    "bits": (1, 0),
    "rank": (1, 0),
    "epoch": (1, 1),
    "epochs": (1, 0),
    "levels": (1, 1),
    "mean levels": (1, 2),
    "orders of magnitude": (1, 2),
    "rank correlation": (1, 2),
    "of the initial rate": (1, 3),
    "weight units": (1, 2),
    "log units": (1, 3),
    "nats": (1, 3),
    "parameters": (1, 0),
    "images": (1, 0),
    "count": (1, 0),
    "images/s": (1, 0),
    "MFLOP": (1e-6, 0),
    "GFLOP/s": (1e-9, 0),
    "p": (1, 3),
    "epochs with NaN or Inf": (1, 0),
    "of 6 equal": (1, 0),
    "text": (1, 0),
}
# Figures that come in steps: a mean over the paper's eight weight layers moves by an eighth of a level. Two seeds with
# one figure say that they differ by less than a step, not that no seed ever does.
STEPS: Mapping[str, float] = {"mean levels": 1 / 8}
WHOLE = ("epoch", "rank", "levels", "×")  # shown without decimals where the figure has none
