"""Faces of other packages over what this one does, to be imported in their place; nothing else imports them."""
