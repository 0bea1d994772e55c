"""Segmentation of volumes: a class for every voxel."""
