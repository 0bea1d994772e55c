"""What everything that is shipped obeys, asked of what others bring: `rbms check` of a card, a suite or a package.

Each part collects `Findings`: a line a fault, with its place and what mends it.
"""
