"""Settings: one frozen pydantic model a part, unknown keys refused, all faults reported together."""
