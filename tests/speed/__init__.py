"""Measurements, run by hand: `make speed`. Nothing here is part of the test suite, and no test has a timed assertion."""
