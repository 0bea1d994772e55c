"""Single-label classification of windows of sensor signals."""
