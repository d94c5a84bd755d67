"""What every test runs under: one thread, and the same Hypothesis examples each time."""

import os

from hypothesis import settings

# Before anything loads torch or BLAS: they read it once, and two test processes share two cores.
os.environ["OMP_NUM_THREADS"] = "1"

settings.register_profile("house", derandomize=True, deadline=None, database=None)
settings.load_profile("house")
