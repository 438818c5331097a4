"""The vendor's library, looked for, and proven before it multiplies: on a small product, then on ones of full size."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

from boxcheck.gpu import GpuError
from boxcheck.gpu.vendor_blas import Library, LibraryError, LibraryProduct, open_library
from boxcheck.gpu.vendor_library import say
from boxcheck.kernels.matrix import MatrixKernel
from boxcheck.model import Unread
from boxcheck.stress import Rig, Sample, WrongWord
from boxcheck.stress.exact_products import Exact
from boxcheck.stress.kernel_choice import prove
from boxcheck.stress.locate import locate
from boxcheck.stress.products import Engine, Shape

State = Literal[
    "absent",  # there is no such library
    "unsupported",  # it does not do this element, or not on this GPU
    "unusable",  # it is there and refuses
    "wrong",  # its products are wrong
    "unsteady",  # its products of the same data differ
    "right",
]


class Candidates(msgspec.Struct, frozen=True, kw_only=True):
    """What can multiply one element."""

    own: tuple[MatrixKernel, ...]
    """Kernels that proved themselves, the preferred one first."""
    library: LibraryProduct | None = None
    state: State | None = None
    """None where the library was not looked for."""
    says: str = ""
    """The library with its version, or why it is not used."""

    def without_library(self, state: State, says: str) -> Candidates:
        return msgspec.structs.replace(self, library=None, state=state, says=says)


def look_for_library(rig: Rig) -> Library | Unread | None:
    """The vendor's library where it is to be looked for: on GPUs at full size, unless option `engine=own` or one kernel
    was asked for, and with no fault put in, which happens in kernels. None where not.

    GpuError when `engine=library` was asked for and there is none.
    """
    asked = rig.options.get("engine")
    if asked not in (None, "own", "library"):
        raise GpuError("unsupported", f"engine={asked} is neither own nor library")
    plain = getattr(rig.gpu, "real", rig.gpu) is rig.gpu
    wanted = asked == "library" or (asked is None and "kernel" not in rig.options)
    timed = rig.full_size and rig.options.get("phase") != "exact"
    found = None
    if wanted and plain and timed:
        rig.working("the vendor's library")
        found = open_library(rig.gpu)
        rig.working(None)
    if asked == "library" and (found is None or isinstance(found, Unread)):
        why = "it needs a GPU, full size, no injected fault and a power phase" if found is None else found.why
        raise GpuError("unsupported", f"engine=library: {why}")
    return found


def with_library(rig: Rig, own: tuple[MatrixKernel, ...], library: Library | Unread | None) -> Generator[
        Sample, None, Candidates]:
    """The kernels, and the library where its small product is right."""
    candidates = Candidates(own=own)
    if library is None:
        return candidates
    if isinstance(library, Unread):
        states: dict[str, State] = {"absent": "absent", "unsupported": "unsupported"}
        return candidates.without_library(states.get(library.kind, "unusable"), library.why)
    engine = f"{library.name} {library.version}"
    element = own[0].element
    if element not in library.elements:
        return candidates.without_library("unsupported", f"{engine} has no products of {element} that boxcheck calls")
    product = LibraryProduct(library, element)
    rig.beat(f"{element}: proving {engine}", 0.0)
    with naming(rig, product):
        sample, refused = prove(rig.gpu, product)
        if refused is not None and not isinstance(refused, LibraryError):
            raise refused
    if sample is None:
        assert refused is not None
        return candidates.without_library(state_of(refused), refused.says)
    yield _proof(sample, product)
    say(f"{engine} was {'wrong' if sample.wrong else 'right'} on a small product of {element}")
    if sample.wrong:
        return candidates.without_library("wrong", f"{engine} is wrong on a small product")
    return Candidates(own=own, library=product, state="right", says=engine)


def state_of(error: GpuError) -> State:
    return "unsupported" if error.kind == "unsupported" else "unusable"


def _proof(sample: Sample, product: LibraryProduct) -> Sample:
    """A proof as a library's: it is judged apart from those of boxcheck's kernels."""
    return msgspec.structs.replace(sample, what=f"matmul.{product.element}.library", notes={
        **sample.notes, "engine": product.engine, "verdict": "wrong" if sample.wrong else "right"})


@contextmanager
def naming(rig: Rig, engine: Engine) -> Iterator[None]:
    """Says of what breaks the device while a library multiplies that it did, for the driver names no kernel; and tells
    the supervisor that it works, for its crash would be none of the GPU's."""
    if isinstance(engine, LibraryProduct):
        rig.working(engine.engine)
    try:
        yield
        if isinstance(engine, LibraryProduct):
            rig.working(None)
    except LibraryError:
        rig.working(None)
        raise
    except GpuError as error:
        if not isinstance(engine, LibraryProduct):
            raise
        help = "; ".join(filter(None, (error.help, "--option engine=own leaves the library out")))
        raise GpuError(error.kind, f"{error.says}, while {engine.engine} multiplied", help) from None


def at_full_size(rig: Rig, candidates: Candidates, shape: Shape) -> Generator[Sample, None, Candidates]:
    """The library's products of this shape, one of each parity, verified whole.

    A product that is wrong twice is the library's; one that is right when repeated was the GPU's, and is judged as any
    wrong product.
    """
    product = candidates.library
    if product is None:
        return candidates
    m, n, k = shape
    began = time.monotonic()
    rig.beat(f"{product.element}: verifying {product.engine}", 0.0)
    wrong = again = number = 0
    words: list[WrongWord] = []
    try:
        with naming(rig, product), Exact(rig.gpu, product, shape, rig.seed) as exact:
            for number in (0, 1):
                exact.clear()
                exact.multiply(number)
                if exact.verify(number):
                    wrong, words = locate(exact, number, rig.beat)
                    exact.clear()
                    exact.multiply(number)
                    again = exact.verify(number)
                    break
    except LibraryError as error:
        return candidates.without_library(state_of(error), error.says)
    sample = Sample(
        what=f"matmul.{product.element}.exact", gpu=rig.gpu.info.key, seconds=time.monotonic() - began,
        checked=(number + 1) * m * n, of="elements", wrong=wrong, words=tuple(words),
        notes={"kernel": product.name, "engine": product.engine, "shape": f"{m}x{n}x{k}"})
    yield sample if wrong and not again else _proof(sample, product)
    if wrong:
        says = f"{product.engine} is wrong on a product of {m}x{n}x{k}"
        return candidates.without_library("wrong" if again else "unsteady", says)
    return candidates
