"""Scene labelling: a class for every pixel."""
