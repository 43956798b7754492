"""Numbers as people read them."""


def duration(seconds: float) -> str:
    """Seconds as ``45 s``, ``12 min``, ``3 h 05 min`` or ``4.2 days``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes >= 48 * 60:
        return f"{minutes / (24 * 60):.1f} days"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def points(difference: float) -> str:
    """A difference of two fractions as ``+0.12 points``; ``no difference`` where two decimals show none."""
    text = f"{100 * difference:+.2f}"
    return "no difference" if float(text) == 0 else f"{text} points"
