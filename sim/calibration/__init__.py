"""Measurements of real codecs and the curves fitted to them."""
