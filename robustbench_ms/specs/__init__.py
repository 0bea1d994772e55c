"""Frozen facts: suites, cards, conditions, what numbers there are, where things lie. No reader, no numpy, no torch."""
