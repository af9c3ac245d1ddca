"""Error, calibration, intervals, recovery, latency percentiles and traces, on plain data."""
