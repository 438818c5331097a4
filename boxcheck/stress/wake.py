"""Copies in both directions, so that links leave their idle speed while doctor reads them.

Part of doctor and capture; `boxcheck stress run wake` runs it alone. What came back is compared with what was sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample

FULL_BYTES, TEST_BYTES = 64 << 20, 1 << 20


@stress("wake", faults=("flip-payload", "drop-write", "hang"))
def wake(rig: Rig) -> Iterator[Sample]:
    """Copies from and to the host without a pause, what doctor does to see links under load.

    Options: `size=test`.
    """
    from boxcheck.kernels import reference

    gpu, size = rig.gpu, FULL_BYTES if rig.full_size else TEST_BYTES
    sent, back = gpu.host_buffer(size), gpu.host_buffer(size)
    there = [gpu.allocate(size) for _ in range(2)]
    words = reference.pattern(0, size // 16, 0, rig.seed)
    sent.array.view("u4")[:] = words
    for buffer in there:
        gpu.copy(buffer, sent, size)
    gpu.finish()
    began = time.monotonic()
    rounds = wrong = checked = 0
    while not rounds or (time.monotonic() - began < rig.seconds and not rig.stopping()):
        back.array[:] = 0xA5
        gpu.copy(there[rounds % 2], sent, size, queue=0)
        gpu.copy(back, there[(rounds + 1) % 2], size, queue=1)
        gpu.finish()
        rounds += 1
        if rounds % 16 == 1:  # comparing takes the host longer than copying takes the link
            wrong += int((back.array.view("u4") != words).sum())
            checked += len(words)
        rig.beat(f"{rounds} copies each way", (time.monotonic() - began) / rig.seconds)
    spent = time.monotonic() - began
    wrong += int((back.array.view("u4") != words).sum())
    checked += len(words)
    key = gpu.info.key
    yield Sample(
        what="wake.copies", gpu=key, peer="host", seconds=spent, unit="GB/s",
        value=2 * rounds * size / max(spent, 1e-9) / 1e9, checked=checked, of="words", wrong=wrong,
        moved={f"host>{key}": rounds * size, f"{key}>host": rounds * size})
