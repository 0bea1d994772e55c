"""Detection as a stranger would use it: a data set in memory, one in COCO's format, and detectors of a few lines."""
