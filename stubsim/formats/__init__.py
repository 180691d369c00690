"""Bytes to values and back: one module a format, parse and build side by side."""
