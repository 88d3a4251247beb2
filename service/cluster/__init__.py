"""Unmel on Ray Serve."""
