"""A copy of classification with two more metrics, which stand in its rows and its measures and nowhere else."""
