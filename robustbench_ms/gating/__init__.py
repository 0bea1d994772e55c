"""May this change get in? Rules, verdicts, references, the two ways in; and whether numbers come out again."""
