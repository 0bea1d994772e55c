"""Seventy models that misbehave, and a driver that runs each beside a good one, in a process of its own.

python -m tests.strangers           all of them, a line each, some minutes
python -m tests.strangers NAME ...  these
"""
