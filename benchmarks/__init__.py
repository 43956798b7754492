"""Measurements: how fast the suite is, and where the time goes."""
