"""Kinds of events that outputs of tools yield, beside those of kernel logs. `--only KIND` takes both.

Where a tool's event means the same as a log's (gpu-lost, aer-correctable, driver-mismatch ...), it has the log's kind.
"""

from __future__ import annotations

from boxcheck.decode.klog.kinds import KINDS

TOOL_SECTIONS: dict[str, dict[str, str]] = {
    "Links": {
        "link-width": "a link narrower than both ends can do, or than the card where the other end was not read",
        "link-speed": "a link slower than both ends can do: capped, under load, or at rest (harmless)",
        "link-ends-disagree": "the two ends of a link print different widths; not judged",
        "link-replays": "packets were sent again since the counter was reset",
        "lane-errors": "lanes that saw errors",
        "lane-margin": "lanes with small eyes: below the smallest that is allowed, or below their like",
        "nvlink-down": "an NVLink is inactive",
        "nvlink-errors": "NVLinks counted errors",
        "acs-redirect": "peer traffic is sent up to the root complex",
        "topology": "how GPUs are connected to each other",
        "numa": "how GPUs and processors belong together",
    },
    "Cards": {
        "gpu-missing": "a tool finds no GPU, or fewer than there are",
        "gpu-unreadable": "readings of a GPU were refused, or gave nothing",
        "gpu-reset-needed": "a GPU asks for a reset",
        "gpu-hot": "a GPU near its limit",
        "hot": "a GPU above 95 °C in a burn-in",
        "gpu-asleep": "a GPU was asleep when it was read",
        "gpus-differ": "cards of one name differ in VBIOS or power limit",
        "power-limit-set": "a power limit below the card's default",
        "throttled": "a GPU was slowed down, with the reason",
        "ecc-errors": "a GPU's memory had errors",
        "inforom-corrupt": "a card's information memory is damaged",
        "bar-small": "the processor reaches a part of a card's memory only",
        "bar-lost": "a card's memory window is empty: it was reset and not restored",
        "memory-small": "a card shows less memory than its model has",
        "apu-memory": "a GPU in the processor may use less than half of the memory",
    },
    "Drivers": {
        "driver-missing": "a GPU's driver is not loaded or not bound",
        "driver-other": "another driver holds a GPU",
        "nvml-failed": "NVIDIA's library could not start",
        "cuda-failed": "CUDA reported an error",
        "cuda-not-ready": "CUDA waits for the fabric manager",
        "kfd-permission": "/dev/kfd may not be opened by this user",
        "kfd-open": "/dev/kfd could not be opened",
        "hsa-failure": "ROCm's runtime reported an error",
        "p2p-unavailable": "GPUs have no access to each other's memory",
    },
    "Results": {
        "wrong-results": "a program computed wrong values",
        "validation-failed": "a copy arrived wrong",
        "worker-died": "a burn-in's worker died",
        "p2p-slow": "copies between GPUs below their peers or their link",
        "copy-slow": "copies to and from the host below their peers or their link",
        "p2p-latency": "a pair of GPUs with several times the others' latency",
        "slow": "a card slower than others of its model",
        "not-tested": "called OK, and nothing was computed",
        "test-failed": "a test missed its target",
        "tool-waived": "a test was left out; left out is not passed",
        "tool-error": "a tool stopped with an error, so it says nothing",
    },
    "The machine": {
        "memory-missing": "a memory channel is empty where its neighbours are not",
        "memory-population": "memory channels are empty",
        "memory-mixed": "memory modules differ",
        "memory-slow": "memory runs below its rating",
        "memory-ecc-off": "modules with ECC, and the firmware does not use it",
        "boot-status": "the firmware reports trouble at boot",
    },
    "The evidence itself": {
        "evidence-disagrees": "words and hex dump of a device differ",
        "lspci-changed": "a device stands in a text twice, and differs",
    },
}
TOOL_KINDS: dict[str, str] = {name: title for section in TOOL_SECTIONS.values() for name, title in section.items()}
ALL_KINDS = frozenset((*KINDS, *TOOL_KINDS))
