"""Sensing: the only phase that looks at the world."""
