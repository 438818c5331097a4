"""What a run reads of every GPU, the PCI links above it and the host, once or several times a second under load.

`instruments.Instruments` opens everything once and reads it all again at each call; `readings` has the values. The rest
is one subject a file: `nvml` and `amdgpu` for GPUs, `links` for PCI ports, `system` (with `cpu` and `rapl`) for the
host. `gpu_metrics` and `throttle` are pure: bytes or bits in, values out.

Three answers are kept apart: a value; None, where the device or its driver has no such thing; and Unread, where it may
have it and it could not be read. Nothing becomes 0 because it is missing.
"""
