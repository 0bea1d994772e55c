"""Heat maps of what a network's answer hangs on: class activation mapping at one of its layers."""
