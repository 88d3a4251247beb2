"""Tests: one sentence each of what is promised."""
