"""Mel to magnitude."""
