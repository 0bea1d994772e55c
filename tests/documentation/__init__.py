"""The documentation's pages as tests read them: what they link to, what they run, what came of it."""
