"""Single-label classification of volumes."""
