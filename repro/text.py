"""Numbers as people read them, and values from files as they may be shown."""

import reprlib
from collections.abc import Iterable

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 4, 100, 100, 60
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = 12


def duration(seconds: float) -> str:
    """Seconds as ``45 s``, ``12 min``, ``3 h 05 min`` or ``4.2 days``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes >= 48 * 60:
        return f"{minutes / (24 * 60):.1f} days"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def printable(text: object, most: int = 400) -> str:
    """Text as one line that a terminal may be given: files may hold escape sequences, and more than anyone reads.

    Args:
        text: Anything.
        most: Characters after which it is cut.
    """
    line = harmless(" ".join(str(text).split())[: most + 1])
    return line if len(line) <= most else f"{line[:most]}…"


def harmless(text: str) -> str:
    """Text whose control characters but line feeds are spelt out."""
    return "".join(
        one if one.isprintable() or one in "\n\u00a0" else one.encode("unicode_escape").decode() for one in text
    )


def shown(value: object) -> str:
    """A value from a file in a message: cut short, whatever its size, its depth or its references to itself."""
    try:
        return harmless(_SHORT.repr(value))
    except ValueError:  # a whole number of thousands of digits
        return f"a {type(value).__name__} that is too long to show"


def did_you_mean(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """``; did you mean 'NEAREST'?``, to follow an unknown name in a message; empty where none is near."""
    import difflib  # only on the way to an error

    near = difflib.get_close_matches(name, list(names), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""


def points(difference: float) -> str:
    """A difference of two fractions as ``+0.12 points``; ``no difference`` where two decimals show none."""
    text = f"{100 * difference:+.2f}"
    return "no difference" if float(text) == 0 else f"{text} points"


def span(numbers: Iterable[float], noun: str = "") -> str:
    """``9`` or ``6 to 9`` whole numbers, with their noun."""
    known = sorted({int(number) for number in numbers})
    if not known:
        return ""
    text = f"{known[0]}" if len(known) == 1 else f"{known[0]} to {known[-1]}"
    return f"{text} {noun if known[-1] == 1 else noun + 's'}" if noun else text
