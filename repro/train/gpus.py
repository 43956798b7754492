"""A GPU a training where a machine has several: the first that no other training of this machine holds."""

import os
import tempfile
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICES = Path("/dev")

_held: list[int] = []


def hold_a_gpu() -> int | None:
    """Show this process one GPU of several for as long as it lives; to be called before CUDA starts.

    Returns:
        Which; ``None`` where there are not several, where the user or a cluster has chosen already, and where others
        hold all of them.
    """
    count = len(list(DEVICES.glob("nvidia[0-9]*")))
    if count < 2 or VISIBLE in os.environ:
        return None
    import fcntl  # Linux, as NVIDIA's devices are

    for number in range(count):
        try:
            file = os.open(Path(tempfile.gettempdir(), f"repro-{os.getuid()}-gpu{number}.lock"), os.O_RDWR | os.O_CREAT)
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            continue
        _held.append(file)
        os.environ[VISIBLE] = str(number)
        return number
    return None
