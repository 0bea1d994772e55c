"""Faults of sensors."""
