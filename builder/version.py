"""The version of this package, readable without importing anything else."""

VERSION = "0.1.0"
