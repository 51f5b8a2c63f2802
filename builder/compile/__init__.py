"""Schedules: the plan with lanes, slots and predicted times. Pure."""
