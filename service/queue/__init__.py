"""The queue between requests and the engine, without HTTP."""
