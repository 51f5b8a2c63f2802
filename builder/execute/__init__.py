"""Execution: the driver, its runners, and what workers do."""
