"""Errors that are addressed to the user: the command line prints them without a traceback."""


class ReproError(Exception):
    """Something the user can mend: the message says what is wrong, where, and what to do."""
