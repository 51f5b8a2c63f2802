"""Authoring: the words of recipes, their loading, fingerprints and guard."""
