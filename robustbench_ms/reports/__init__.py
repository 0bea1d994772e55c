"""Records, verdicts and comparisons for people and programs."""
