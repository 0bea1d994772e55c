"""What each corruption is: its draws, its definition in torch operations, and its compiled loop for the CPU."""
