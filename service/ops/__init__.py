"""What an operator meets: settings, processors, keys, logs, metrics, traces, limits."""
