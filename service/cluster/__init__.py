"""Unmel on Ray Serve: replicas, routing, and the proxy's middleware."""
