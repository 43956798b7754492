"""The commands of ``python -m repro``, a file each: its help, ``add_arguments`` and ``run``, which gives the status.

Each imports what it needs when it runs, so that ``list`` answers at once.
"""
