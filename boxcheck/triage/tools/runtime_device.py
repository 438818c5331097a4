"""GPUs as a program of the CUDA or HIP runtime numbers them.

The runtime's number is none of nvidia-smi's or rocm-smi's: CUDA_VISIBLE_DEVICES, HIP_VISIBLE_DEVICES and
CUDA_DEVICE_ORDER choose and sort, and CUDA counts the fastest card first unless told otherwise.
"""

from __future__ import annotations

from boxcheck.model import Bdf
from boxcheck.triage.evidence import Device, fields_of
from boxcheck.triage.tools.matrix_cards import AMD, CLASS, vendor_named


def runtime_device(
    *, line: int, index: int | None, name: str | None = None, bdf: Bdf | None = None, vendor: int | None = None,
    device: int | None = None, serial: str | None = None, vram_bytes: int | None = None, driver: str | None = None,
    uuid: str | None = None, chosen: bool = False,
) -> Device:
    """One GPU that such a program lists.

    `index` is the runtime's, `more["cuda_index"]` of the device; None where it is not known. `vendor` is taken from the
    name where the tool does not tell it. `chosen`: the text shows that not all cards were numbered, or in another
    order, so that no other tool's number says which card it is.
    """
    vendor = vendor if vendor is not None else vendor_named(name)
    number = "hip_index" if vendor == AMD else "cuda_index"
    return Device(
        line=line, bdf=bdf, name=name, vendor=vendor, device=device, class_code=CLASS, serial=serial, uuid=uuid,
        vram_bytes=vram_bytes, driver=driver, more=fields_of(((number, index), ("chosen", chosen or None))))
