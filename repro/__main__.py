"""``python -m repro``."""

import sys

from repro.forking import hand_over

status = hand_over(sys.argv[1:])
if status is None:
    from repro.cli import main

    status = main()
sys.exit(status)
