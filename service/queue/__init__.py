"""The queue between requests and the engine; it knows no HTTP."""
