"""Numbers and foreign text as people read them."""


def duration(seconds: float) -> str:
    """Seconds as ``45 s``, ``12 min``, ``3 h 05 min`` or ``4.2 days``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes >= 48 * 60:
        return f"{minutes / (24 * 60):.1f} days"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def plain(text: str) -> str:
    """Text from a file on one line, without the control characters by which it could steer a terminal."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
