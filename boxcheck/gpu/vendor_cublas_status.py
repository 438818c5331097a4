"""What cuBLAS and cuBLASLt answer, in words."""

from __future__ import annotations

from boxcheck.gpu import GpuErrorKind
from boxcheck.gpu.vendor_library import LibraryError

STATUSES: dict[int, tuple[GpuErrorKind, str]] = {
    1: ("version", "it does not start: the driver may be too old for it"),
    3: ("out-of-memory", "it got no memory"),
    7: ("error", "it refuses how it is called"),
    8: ("unsupported", "it was not built for this GPU"),
    11: ("error", "it cannot reach the GPU's memory"),
    13: ("error", "its kernel did not run"),
    14: ("error", "it failed inside"),
    15: ("unsupported", "it has no such product for this GPU"),
    16: ("error", "it finds no licence"),
}
"""cublasStatus_t, cublas_api.h."""


def must(status: int, name: str, call: str) -> None:
    """LibraryError for every status but success."""
    if status:
        kind, says = STATUSES.get(status, ("error", "it reports an error that boxcheck does not know"))
        raise LibraryError(kind, f"{name}: {says} ({call}: status {status})")
