"""What the corruptions' loops on a CPU are made of: compiled functions, their threads and their random words."""
