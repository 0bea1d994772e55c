"""From a suite and its cards to finished cells and records."""
