"""Intervals and differences, and how sure they are; pure functions on numpy arrays."""
