"""What hides parts of pictures: uint8 in, uint8 out."""
