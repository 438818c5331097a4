"""What Linux shows of processor, memory, kernel, people and packages. Formats: fs/proc, drivers/base, drivers/edac."""

from __future__ import annotations

from collections.abc import Iterable

from tests.boxes.machine import Machine
from tests.boxes.tree import MONOTONIC_AT_START_SECONDS, Tree


def render(machine: Machine, out: Tree) -> None:
    _kernel(machine, out)
    _cpu(machine, out)
    _numa(machine, out)
    _memory(machine, out)
    _edac(machine, out)
    _dmi(machine, out)
    _sensors(machine, out)
    _modules(machine, out)


def _kernel(machine: Machine, out: Tree) -> None:
    kernel = machine.kernel
    out.put("/proc/version", f"Linux version {kernel.release} ({kernel.compiler}) {kernel.build}")
    out.put("/proc/sys/kernel/osrelease", kernel.release)
    out.put("/proc/sys/kernel/version", kernel.build)
    out.put("/proc/sys/kernel/ostype", "Linux")
    out.put("/proc/sys/kernel/hostname", machine.name)
    out.put("/proc/cmdline", kernel.cmdline)
    out.put(
        "/proc/uptime",
        f"{MONOTONIC_AT_START_SECONDS:.2f} {MONOTONIC_AT_START_SECONDS * machine.cpu.threads * 0.98:.2f}",
    )
    out.put("/proc/loadavg", "0.08 0.05 0.01 1/1512 20481")
    out.put("/proc/sys/kernel/tainted", kernel.taint)
    out.put("/proc/sys/kernel/panic", 2 if "kernel.panic=2" in kernel.parameters else 0)
    out.put("/proc/sys/kernel/nmi_watchdog", 1)
    out.put("/proc/sys/kernel/dmesg_restrict", 1)
    out.put("/proc/sys/kernel/numa_balancing", kernel.numa_balancing)
    out.put("/proc/sys/kernel/perf_event_paranoid", 4)
    out.put("/proc/sys/kernel/random/boot_id", "7b0c2f66-0000-4000-8000-00000000b007")
    out.put("/proc/sys/vm/overcommit_memory", 0)
    out.put("/proc/sys/vm/nr_hugepages", 0)
    out.put("/sys/kernel/security/lockdown", kernel.lockdown)
    out.put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never")
    identity, version, pretty = machine.os_release
    out.put(
        "/usr/lib/os-release",
        f'PRETTY_NAME="{pretty}"\nNAME="{pretty.split()[0]}"\nVERSION_ID="{version}"\nID={identity}\n'
        + ("ID_LIKE=debian" if identity == "ubuntu" else "ID_LIKE=fedora"),
    )
    out.link("/etc/os-release", "../usr/lib/os-release")
    config = {
        "CONFIG_PCIEAER": "y",
        "CONFIG_PCIEPORTBUS": "y",
        "CONFIG_HSA_AMD": "y",
        "CONFIG_HSA_AMD_P2P": "y",
        "CONFIG_PCI_P2PDMA": "y",
        "CONFIG_DMABUF_MOVE_NOTIFY": "y",
        "CONFIG_PCIE_DPC": "y",
        **kernel.config,
    }
    out.put(
        f"/boot/config-{kernel.release}",
        "\n".join(
            f"{name}={value}" if value != "n" else f"# {name} is not set" for name, value in sorted(config.items())
        ),
    )
    out.put(f"/boot/vmlinuz-{kernel.release}", b"MZ")
    out.link("/lib", "usr/lib")
    out.put(f"/usr/lib/modules/{kernel.release}/modules.builtin", "kernel/drivers/pci/pcieport.ko")
    _dkms(machine, out)
    out.put("/sys/firmware/efi/fw_platform_size", 64)
    out.put("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", b"\x06\0\0\0\0")
    if kernel.newest_installed:
        out.put(f"/boot/vmlinuz-{kernel.newest_installed}", b"MZ")
        out.put("/run/reboot-required", "*** System restart required ***")
    out.put("/proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority")
    out.directory("/sys/fs/pstore")


def _dkms(machine: Machine, out: Tree) -> None:
    """/var/lib/dkms: source, build for each kernel, and the link by which dkms says what is installed."""
    for name, version in machine.dkms.items():
        home = f"/var/lib/dkms/{name}/{version}"
        out.link(f"{home}/source", f"/usr/src/{name}-{version}")
        out.put(f"/usr/src/{name}-{version}/dkms.conf", f'PACKAGE_NAME="{name}"\nPACKAGE_VERSION="{version}"')
        for release in machine.dkms_kernels if machine.dkms_kernels is not None else [machine.kernel.release]:
            out.put(f"{home}/{release}/x86_64/module/{name}.ko.zst", b"\x28\xb5\x2f\xfd")
            out.link(f"/var/lib/dkms/{name}/kernel-{release}-x86_64", f"{version}/{release}/x86_64")
            out.put(f"/usr/lib/modules/{release}/updates/dkms/{name}.ko.zst", b"\x28\xb5\x2f\xfd")


def cpu_list(numbers: Iterable[int]) -> str:
    """As the kernel prints a set of processors: `0-7,40`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _cpu(machine: Machine, out: Tree) -> None:
    cpu = machine.cpu
    blocks = []
    here = "/sys/devices/system/cpu"
    for thread in range(cpu.threads):
        out.put(f"{here}/cpu{thread}/online", int(thread not in cpu.offline))
        if thread in cpu.offline:
            continue
        per_pass = cpu.cores * cpu.sockets
        core_index = thread % per_pass
        socket, core = divmod(core_index, cpu.cores)
        siblings = [core_index + one * per_pass for one in range(cpu.threads_per_core)]
        blocks.append(
            "\n".join(
                f"{name}\t: {value}"
                for name, value in (
                    ("processor", thread),
                    ("vendor_id", cpu.vendor),
                    ("cpu family", cpu.family),
                    ("model\t", cpu.model),
                    ("model name", cpu.model_name),
                    ("stepping", cpu.stepping),
                    ("microcode", "0x830107c"),
                    ("cpu MHz\t", f"{cpu.base_mhz}.000"),
                    ("cache size", "512 KB"),
                    ("physical id", socket),
                    ("siblings", cpu.cores * cpu.threads_per_core),
                    ("core id\t", core),
                    ("cpu cores", cpu.cores),
                    ("apicid\t", thread),
                    ("flags\t", cpu.flags),
                    ("bogomips", f"{cpu.base_mhz * 2}.00"),
                )
            )
            + "\n"
        )
        put = f"{here}/cpu{thread}"
        out.put(f"{put}/topology/core_id", core)
        out.put(f"{put}/topology/physical_package_id", socket)
        out.put(f"{put}/topology/die_id", socket)
        out.put(f"{put}/topology/thread_siblings_list", ",".join(map(str, siblings)))
        out.put(f"{put}/topology/core_cpus_list", ",".join(map(str, siblings)))
        policy = f"{here}/cpufreq/policy{thread}"
        out.put(f"{policy}/scaling_governor", cpu.governor)
        out.put(f"{policy}/scaling_driver", cpu.scaling_driver)
        out.put(
            f"{policy}/scaling_available_governors",
            "performance powersave"
            if cpu.scaling_driver in ("amd-pstate-epp", "intel_pstate")
            else "conservative ondemand userspace powersave performance schedutil ",
        )
        out.put(f"{policy}/scaling_cur_freq", cpu.base_mhz * 1000)
        out.put(f"{policy}/scaling_min_freq", 1500000)
        out.put(f"{policy}/scaling_max_freq", (cpu.allowed_mhz or cpu.max_mhz) * 1000)
        out.put(f"{policy}/cpuinfo_min_freq", 1500000)
        out.put(f"{policy}/cpuinfo_max_freq", cpu.max_mhz * 1000)
        out.put(f"{policy}/affected_cpus", thread)
        out.link(f"{put}/cpufreq", policy)
    out.put("/proc/cpuinfo", "\n".join(blocks))
    for name in ("present", "possible"):
        out.put(f"{here}/{name}", f"0-{cpu.threads - 1}")
    out.put(f"{here}/online", cpu_list(one for one in range(cpu.threads) if one not in cpu.offline))
    out.put(f"{here}/offline", cpu_list(cpu.offline))
    out.put(f"{here}/kernel_max", 8191)
    control = cpu.smt or ("on" if cpu.threads_per_core > 1 else "notsupported")
    out.put(f"{here}/smt/active", int(control == "on"))
    out.put(f"{here}/smt/control", control)
    out.put(
        f"{here}/vulnerabilities/spectre_v2", "Mitigation: Retpolines; IBPB: conditional; STIBP: always-on; RSB filling"
    )
    if cpu.scaling_driver == "amd-pstate-epp":
        out.put(f"{here}/amd_pstate/status", "active")


def _numa(machine: Machine, out: Tree) -> None:
    nodes = machine.numa_nodes()
    span = ",".join(map(str, nodes)) if len(nodes) < 2 else f"{nodes[0]}-{nodes[-1]}"
    for name in ("online", "possible", "has_cpu", "has_memory"):
        out.put(f"/sys/devices/system/node/{name}", span)
    share = machine.mem_total_kib // len(nodes)
    for node in nodes:
        here = f"/sys/devices/system/node/node{node}"
        out.put(f"{here}/cpulist", machine.node_cpulist(node))
        out.put(f"{here}/distance", " ".join("10" if other == node else "32" for other in nodes))
        out.put(
            f"{here}/meminfo",
            f"Node {node} MemTotal:       {share} kB\nNode {node} MemFree:        {share * 9 // 10} kB",
        )


def _memory(machine: Machine, out: Tree) -> None:
    total = machine.mem_total_kib
    rows = {
        "MemTotal": total,
        "MemFree": total * 93 // 100,
        "MemAvailable": total * 96 // 100,
        "Buffers": 184320,
        "Cached": 3145728,
        "SwapCached": 0,
        "SwapTotal": 0,
        "SwapFree": 0,
        "Shmem": 12288,
        "CommitLimit": total // 2,
        "AnonHugePages": 0,
        "ShmemHugePages": 0,
    }
    text = [f"{name + ':':16s}{value:8d} kB" for name, value in rows.items()]
    text += [
        "HardwareCorrupted:     0 kB",
        "HugePages_Total:       0",
        "HugePages_Free:        0",
        "HugePages_Rsvd:        0",
        "HugePages_Surp:        0",
        "Hugepagesize:       2048 kB",
    ]
    out.put("/proc/meminfo", "\n".join(text))
    shm = machine.shm_bytes
    out.answer("statvfs", "/dev/shm", {"total_bytes": shm, "free_bytes": shm})


def _edac(machine: Machine, out: Tree) -> None:
    """EDAC of amd64_edac: one controller a socket, a rank directory per chip select and channel."""
    out.directory("/sys/devices/system/edac/mc")
    if not machine.edac:
        return
    name = {25: "F19h", 23: "F17h_M30h"}.get(machine.cpu.family, "F1Ah")
    populated = [dimm for dimm in machine.memory if dimm.size_mib]
    per_socket = max(1, len(machine.memory) // machine.cpu.sockets)
    for socket in range(machine.cpu.sockets):
        mine = [dimm for dimm in populated if machine.memory.index(dimm) // per_socket == socket]
        here = f"/sys/devices/system/edac/mc/mc{socket}"
        out.put(f"{here}/mc_name", name)
        out.put(f"{here}/ce_count", sum(dimm.corrected_errors for dimm in mine))
        out.put(f"{here}/ue_count", sum(dimm.uncorrected_errors for dimm in mine))
        out.put(f"{here}/ce_noinfo_count", 0)
        out.put(f"{here}/ue_noinfo_count", machine.unplaced_uncorrected if socket == 0 else 0)
        out.put(f"{here}/size_mb", sum(dimm.size_mib for dimm in mine))
        out.put(f"{here}/seconds_since_reset", int(MONOTONIC_AT_START_SECONDS) - 8)
        number = 0
        for dimm in mine:
            for rank in range(dimm.ranks):
                rank_dir = f"{here}/rank{number}"
                number += 1
                out.put(f"{rank_dir}/dimm_label", f"mc#{socket}csrow#{rank}channel#{dimm.channel}")
                out.put(f"{rank_dir}/dimm_location", f"csrow {rank} channel {dimm.channel} ")
                out.put(
                    f"{rank_dir}/dimm_mem_type", f"{'Registered-' if dimm.registered else 'Unbuffered-'}{dimm.kind}"
                )
                out.put(f"{rank_dir}/dimm_edac_mode", machine.edac_mode or ("SECDED" if not dimm.registered else "S4ECD4ED"))
                out.put(f"{rank_dir}/dimm_dev_type", "x4")
                out.put(f"{rank_dir}/size", dimm.size_mib // dimm.ranks)
                out.put(f"{rank_dir}/dimm_ce_count", dimm.corrected_errors if rank == 0 else 0)
                out.put(f"{rank_dir}/dimm_ue_count", dimm.uncorrected_errors if rank == 0 else 0)


def _dmi(machine: Machine, out: Tree) -> None:
    dmi = machine.dmi
    here = "/sys/devices/virtual/dmi/id"
    out.link("/sys/class/dmi/id", here)
    for name, value in (
        ("board_vendor", dmi.board_vendor),
        ("board_name", dmi.board_name),
        ("board_version", dmi.board_version),
        ("sys_vendor", dmi.sys_vendor),
        ("product_name", dmi.product_name),
        ("product_family", dmi.product_family),
        ("product_sku", dmi.product_sku),
        ("bios_vendor", dmi.bios_vendor),
        ("bios_version", dmi.bios_version),
        ("bios_date", dmi.bios_date),
        ("bios_release", dmi.bios_release),
        ("chassis_type", dmi.chassis_type),
        ("chassis_vendor", dmi.chassis_vendor),
        ("product_serial", dmi.product_serial),
        ("board_serial", dmi.board_serial),
        ("product_uuid", dmi.product_uuid),
    ):
        out.put(f"{here}/{name}", value)
    from tests.boxes import render_smbios

    render_smbios.render(machine, out)


def _sensors(machine: Machine, out: Tree) -> None:
    """hwmon of the processor: k10temp on the data fabric function 00:18.3, coretemp elsewhere."""
    fabric = next(
        (one for one in machine.functions() if one.bus == 0 and one.device_number == 0x18 and one.function_number == 3),
        None,
    )
    home = f"{fabric.path}/hwmon/hwmon0" if fabric else "/sys/devices/platform/coretemp.0/hwmon/hwmon0"
    out.put(f"{home}/name", "k10temp" if fabric else "coretemp")
    out.put(f"{home}/temp1_label", "Tctl" if fabric else "Package id 0")
    out.put(f"{home}/temp1_input", round(machine.cpu_celsius * 1000))
    if fabric:
        out.put(f"{home}/temp3_label", "Tccd1")
        out.put(f"{home}/temp3_input", round(machine.cpu_celsius * 1000) - 2000)
        out.link(f"{home}/device", fabric.path)
    else:
        out.put(f"{home}/temp1_crit", 100000)
        out.put(f"{home}/temp1_max", 100000)
        out.put(f"{home}/temp1_crit_alarm", 0)
    out.link("/sys/class/hwmon/hwmon0", home)


def _modules(machine: Machine, out: Tree) -> None:
    rows = []
    from tests.boxes.render_gpu import gpu_modules

    for module in (*machine.modules, *gpu_modules(machine)):
        users = ",".join(module.used_by) + "," if module.used_by else "-"
        taint = f" ({module.taint})" if module.taint else ""
        rows.append(f"{module.name} {module.size} {len(module.used_by)} {users} Live 0x0000000000000000{taint}")
        here = f"/sys/module/{module.name}"
        out.put(f"{here}/initstate", "live")
        out.put(f"{here}/refcnt", len(module.used_by))
        out.put(f"{here}/taint", module.taint)
        out.put(f"{here}/coresize", module.size)
        if module.version:
            out.put(f"{here}/version", module.version)
        for name, value in module.parameters.items():
            out.put(f"{here}/parameters/{name}", value)
    out.put("/proc/modules", "\n".join(rows))
