"""Tests. What must hold before any of them imports numpy stands here."""

import os

# BLAS threads that wait for each other on a busy machine make small products a hundred times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
