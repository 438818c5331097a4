"""Compiles the mock drivers, and kernels for the host, with the C compiler of the machine.

A kernel's text is compiled as C++ with BC_HOST, and with a struct of its parameters behind it, so that the compiler and
not boxcheck says where each argument lies.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from boxcheck.kernels import Kernel, Param, Source

HERE = Path(__file__).parent
C_TYPES: dict[Param, tuple[str, str]] = {
    "buffer": ("b", "struct bc_any"), "u64": ("q", "unsigned long long"), "u32": ("u", "unsigned"), "i32": ("i", "int"),
    "f32": ("f", "float"), "map": ("m", "struct bc_map"),
}
"""Letter for core.h, and the type."""
LIBRARIES = {
    "cuda": {"libcuda.so.1": ("core.c", "cuda.c")},
    "hip": {"libamdhip64.so": ("core.c", "hip.c"), "libhiprtc.so": ("hiprtc.c",)},
}


def has_compiler() -> bool:
    return shutil.which("gcc") is not None and shutil.which("g++") is not None


def build_drivers(backend: str, folder: Path) -> None:
    """The vendor's libraries, by the names under which the binding looks for them."""
    for name, files in LIBRARIES[backend].items():
        exported = folder / f"{name}.exports"  # the core's short names must not be found by libraries loaded later
        exported.write_text("{ global: cu*; hip*; mock_*; local: *; };\n")
        _compile(
            "gcc", ["-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-Wl,--version-script={exported}",
                    *(str(HERE / file) for file in files), "-ldl"], folder / name)


def build_kernels(source: Source, folder: Path) -> Path:
    """A library of the source's kernels, for `mock_kernels`."""
    text = folder / f"{source.name}.cpp"
    text.write_text("\n".join((
        (HERE / "host.h").read_text(), "#define BC_HOST 1", *(f"#define {name} {value}" for name, value in source.defines),
        source.text, *(thunk(kernel) for kernel in source.kernels),
        'extern "C" const struct entry mock_entries[] = {', *(row(kernel) for kernel in source.kernels),
        "    {0, 0, 0, 0, 0},\n};\n",
    )))
    library = folder / f"{source.name}.so"
    _compile("g++", ["-std=c++17", "-w", str(text)], library)
    return library


def thunk(kernel: Kernel) -> str:
    """C++ that calls a kernel with the members of a struct."""
    members = "".join(f" {C_TYPES[param][1]} p{number};" for number, param in enumerate(kernel.params))
    offsets = ", ".join(f"offsetof(struct args_{kernel.name}, p{number})" for number in range(len(kernel.params)))
    values = ", ".join(f"a->p{number}" for number in range(len(kernel.params)))
    return f"""
struct args_{kernel.name} {{{members} }};
static const size_t offsets_{kernel.name}[] = {{{offsets}}};
static void body_{kernel.name}(void *at) {{
    struct args_{kernel.name} *a = (struct args_{kernel.name} *)at;
    {kernel.name}({values});
}}
static void run_{kernel.name}(unsigned groups, void *at) {{ run_groups(groups, body_{kernel.name}, at); }}
"""


def row(kernel: Kernel) -> str:
    kinds = "".join(C_TYPES[param][0] for param in kernel.params)
    name = kernel.name
    return f'    {{"{name}", "{kinds}", offsets_{name}, sizeof(struct args_{name}), run_{name}}},'


def _compile(compiler: str, arguments: list[str], out: Path) -> None:
    done = subprocess.run(
        [compiler, "-O1", "-fPIC", "-shared", "-o", str(out), *arguments], capture_output=True, text=True, timeout=120,
        check=False)
    assert done.returncode == 0, f"{out.name} does not compile:\n{done.stderr[:4000]}"
