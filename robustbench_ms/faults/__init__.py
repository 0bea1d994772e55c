"""Faults of sensors: 18 at five levels, and the loss of a whole sensor; float32 windows in, float32 windows out.

They are "our protocol 1": nobody publishes one for activity recognition. `table` is its numbers, `frame` what belongs
together among channels, `draws` keyed randomness, `touching` and `moving` the faults, `api` the one way
in. `volumes` are the artefacts of scanners.
"""
