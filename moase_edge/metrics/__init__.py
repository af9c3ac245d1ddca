"""Error, uncertainty, latency percentiles and traces, on plain data."""
