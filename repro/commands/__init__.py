"""The commands of ``python -m repro``, a file each: ``HELP``, ``add_arguments``, ``run`` that gives the exit status.

Each imports what it needs when it runs, so that ``list`` answers at once.
"""
