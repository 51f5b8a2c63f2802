"""The graph: declarations, their expansion into steps, selections. Pure."""
