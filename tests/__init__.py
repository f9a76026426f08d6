"""Tests of atri. Run with `make test`, or `python -m pytest`."""
