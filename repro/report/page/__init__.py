"""The page: what stands on it, its words, and its files."""
