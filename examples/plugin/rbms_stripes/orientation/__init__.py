"""The task: which direction stripes have."""
