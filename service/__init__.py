"""Unmel over HTTP: codecs, the batching queue and the routes around the engine."""
