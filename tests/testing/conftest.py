"""Fault makers stand in files of their own, which the tests import from here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
