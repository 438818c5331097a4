"""Cores that are left to others while the host works beside GPUs: each GPU has a worker that must feed it in time."""

from __future__ import annotations

import msgspec

from boxcheck.engine.messages import Run

TAKES_CORES = frozenset(("cpu", "dram"))
"""Modules with a process on every core."""
ENGINE = 1
"""A core for the engine, its guard and what they write."""


def spare(order: Run, gpu_workers: int) -> Run:
    """The order, with the number of cores to leave free where it would take them all beside workers of GPUs."""
    if order.module not in TAKES_CORES or not gpu_workers or "spare" in order.options:
        return order
    return msgspec.structs.replace(order, options={**order.options, "spare": str(gpu_workers + ENGINE)})
