"""What kinds of questions there are: how data are shown, asked and scored. The catalog's registry names them."""
