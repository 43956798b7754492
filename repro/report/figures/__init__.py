"""Figures: each one function from the records of a scale to a drawing."""
