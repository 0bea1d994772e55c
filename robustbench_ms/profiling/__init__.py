"""What networks cost in time, memory and energy on the device at hand."""
