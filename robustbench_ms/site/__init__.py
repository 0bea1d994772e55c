"""Static pages of records: opened from the disk, without a network, with the numbers that every other table has."""
