"""Heat maps against objects: where a classifier looks, under corruption too."""
