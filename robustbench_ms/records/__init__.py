"""What came out: records and their files, and what is read off them."""
