"""Detection: boxes, and masks where a suite wants them, with a score and a class each."""
