"""Artefacts of scanners: twelve at five levels; float32 volumes in, float32 volumes out.

They are "our protocol 1": nobody publishes one for volumes that are classified. `table` is its numbers, `elementary`
functions whose bits are the same on every machine, `along` matrices along one axis, `resampled` what moves, `spectral`
and `pointwise` the artefacts, `api` the one way in.
"""
