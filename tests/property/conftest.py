"""Lets the tests here import the worlds and laws that they share with ``benchmarks/``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
