"""What a machine lacks and where it comes from: data sets and weights from their publishers."""
