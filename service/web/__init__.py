"""Shared by routes: access, the path of whole requests, stream sessions, OpenAPI."""
