"""Formats: sources become tables."""
