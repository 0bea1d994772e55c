"""Stripes in four directions, damage of film, and by how much an answer is turned."""
