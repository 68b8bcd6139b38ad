"""Phantoms with known truth and measures of agreement."""
