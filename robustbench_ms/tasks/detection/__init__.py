"""Detection of objects: boxes, and masks where a suite asks for them."""
