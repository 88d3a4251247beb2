"""Operation: settings, processors, keys, logs, metrics, traces, limits."""
