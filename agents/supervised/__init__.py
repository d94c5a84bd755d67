"""Supervised selectors: they imitate the one-step oracle."""
