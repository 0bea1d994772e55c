"""Single-label classification of images."""
