#!/bin/sh
# Records what `boxcheck doctor` reads, on a machine without Python: from a rescue stick, an installer's shell, a
# stranger's box. Reads only; needs no root, and records more with it.
#
#     sh boxcheck-capture.sh [OUT.tar.gz]        then, anywhere:  boxcheck doctor --sysroot OUT.tar.gz
#
# POSIX sh with cat, cp, ln, mkdir, mv, rm, sed, tr, date and id; uses tar, gzip, timeout, stat, readlink, dmesg and
# journalctl where they are. The capture holds serial numbers, addresses and user names: before it goes to others,
# `boxcheck capture --sysroot OUT.tar.gz --redact PUBLIC.tar.gz`.
# Format: docs/reference/captures.md.

set -u
had_lc_all=${LC_ALL+x} lc_all=${LC_ALL-}
LC_ALL=C
export LC_ALL
umask 077
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/rocm/bin
read_seconds=5
program_seconds=10

# What is looked for: a directory, then names in it. Both may hold * ? [...], none of which matches a slash.
#   name   a regular file is copied, a device node is looked at and opened, a symbolic link is kept and followed
#   ?name  only whether it is there, and what it is
#   >name  only where the link leads
#   .      all names in the directory
# boxcheck itself reads this list too (boxcheck/host/evidence.py), and a test holds every probe against it.
paths='
/ ?.dockerenv
/proc cmdline config.gz cpuinfo interrupts iomem ioports loadavg mdstat meminfo modules mounts mtrr partitions swaps uptime version version_signature
/proc/self limits mountinfo
/proc/sys/kernel dmesg_restrict hostname numa_balancing osrelease perf_event_paranoid tainted
/proc/sys/vm max_map_count nr_hugepages overcommit_memory swappiness
/proc/driver/nvidia params registry version
/proc/driver/nvidia/gpus .
/proc/driver/nvidia/gpus/* information power
/etc environment group modules os-release passwd
/etc/default grub
/etc/kernel cmdline
/etc/modprobe.d . *.conf
/etc/modules-load.d . *.conf
/etc/security limits.conf
/etc/security/limits.d . *.conf
/etc/tuned active_profile
/etc/udev/rules.d . *.rules
/lib/modprobe.d . *.conf
/lib/udev/rules.d . *.rules
/run/modprobe.d . *.conf
/run/udev/rules.d . *.rules
/usr/lib/modprobe.d . *.conf
/usr/lib/udev/rules.d . *.rules
/run ?.containerenv ?reboot-required reboot-required.pkgs
/run/nvidia-persistenced ?socket
/run/systemd container
/run/systemd/timesync ?synchronized
/boot . config-*
/lib/modules .
/lib/modules/* ?vmlinuz config
/opt . >rocm*
/opt/rocm*/.info version
/opt/rocm*/lib . >libamdhip64.so* >libhsa-runtime64.so*
/usr/lib/x86_64-linux-gnu >libamdhip64.so* >libcuda.so.1 >libhsa-runtime64.so* >libnvidia-ml.so.1
/usr/lib64 >libamdhip64.so* >libcuda.so.1 >libhsa-runtime64.so* >libnvidia-ml.so.1
/usr/lib >libamdhip64.so* >libcuda.so.1 >libhsa-runtime64.so* >libnvidia-ml.so.1
/usr/lib/aarch64-linux-gnu >libamdhip64.so* >libcuda.so.1 >libhsa-runtime64.so* >libnvidia-ml.so.1
/lib/x86_64-linux-gnu >libamdhip64.so* >libcuda.so.1 >libhsa-runtime64.so* >libnvidia-ml.so.1
/usr/local/lib >libamdhip64.so* >libcuda.so.1 >libhsa-runtime64.so* >libnvidia-ml.so.1
/run/opengl-driver/lib >libamdhip64.so* >libcuda.so.1 >libhsa-runtime64.so* >libnvidia-ml.so.1
/usr/bin ?nvidia-modprobe ?nvidia-smi
/usr/lib/sysimage ?rpm
/var/lib ?rpm
/var/lib/dkms .
/var/lib/dkms/* . >kernel-*
/var/lib/dkms/*/* .
/var/lib/dpkg status
/var/lib/pacman/local .
/var/lib/systemd/pstore .
/sys/fs/pstore .
/dev kfd ?ipmi0 nvidia[0-9]* nvidiactl nvidia-uvm nvidia-uvm-tools nvidia-modeset
/dev/dri . card[0-9]* renderD[0-9]*
/dev/ipmi ?0
/dev/ipmidev ?0
/dev/vfio .
/sys/block . >*
/sys/block/*/md . array_state degraded level metadata_version mismatch_cnt raid_disks sync_action sync_completed
/sys/block/*/md/dev-* errors slot state
/sys/block/*/queue logical_block_size rotational scheduler
/sys/bus/pci/devices . >*
/sys/bus/pci/devices/* . aer_dev_correctable aer_dev_fatal aer_dev_nonfatal aer_rootport_total_err_* ari_enabled boot_vga class config current_compute_partition current_link_speed current_link_width current_memory_partition d3cold_allowed device enable gpu_busy_percent gpu_metrics irq label local_cpulist max_link_speed max_link_width mem_info_* modalias numa_node pcie_replay_count pp_dpm_* power_dpm_* power_state product_name product_number reset_method resource resource[0-5]_resize revision serial_number sriov_numvfs sriov_totalvfs subsystem_device subsystem_vendor thermal_throttling_logging uevent unique_id vbios_version vendor >driver >iommu_group >physfn
/sys/bus/pci/devices/*/drm .
/sys/bus/pci/devices/*/link *
/sys/bus/pci/devices/*/power control runtime_status
/sys/bus/pci/devices/*/ras .
/sys/bus/pci/slots .
/sys/bus/pci/slots/* address cur_bus_speed max_bus_speed power
/sys/bus/pci_express/drivers .
/sys/bus/pci_express/drivers/aer .
/sys/bus/usb/devices . >*
/sys/bus/usb/devices/* bcdDevice idProduct idVendor manufacturer product speed version
/sys/class/block . >*
/sys/class/block/* dev partition removable ro size >subsystem
/sys/class/block/*/device model rev state vendor
/sys/class/block/*/slaves . >*
/sys/class/dmi >id
/sys/class/dmi/id bios_date bios_release bios_vendor bios_version board_name board_vendor board_version chassis_type chassis_vendor chassis_version product_family product_name product_sku product_version sys_vendor
/sys/class/drm . >*
/sys/class/drm/* status >device
/sys/class/hwmon . >*
/sys/class/hwmon/* . curr*_* fan*_* freq*_* in[0-9]*_* name power*_* pwm* temp*_* >device
/sys/class/hwmon/*/device gpu_busy_percent name temp*_*
/sys/class/hwmon/*/device/power runtime_status
/sys/class/iommu . >*
/sys/class/kfd >kfd
/sys/class/kfd/kfd/topology generation_id system_properties
/sys/class/kfd/kfd/topology/nodes .
/sys/class/kfd/kfd/topology/nodes/* . gpu_id name properties
/sys/class/kfd/kfd/topology/nodes/*/io_links .
/sys/class/kfd/kfd/topology/nodes/*/io_links/* properties
/sys/class/kfd/kfd/topology/nodes/*/mem_banks .
/sys/class/kfd/kfd/topology/nodes/*/mem_banks/* properties used_memory
/sys/class/kfd/kfd/topology/nodes/*/p2p_links .
/sys/class/kfd/kfd/topology/nodes/*/p2p_links/* properties
/sys/class/net . >*
/sys/class/net/* address carrier duplex mtu operstate speed type >device
/sys/class/nvme . >*
/sys/class/nvme/* . address cntlid firmware_rev model numa_node serial state transport >device
/sys/class/nvme/*/nvme* size
/sys/class/thermal . >*
/sys/class/thermal/* . >cdev* cdev*_trip_point cur_state max_state mode policy temp trip_point_*_temp trip_point_*_type type
/sys/dev/block >*
/sys/devices/system/clocksource/clocksource0 available_clocksource current_clocksource
/sys/devices/system/cpu isolated kernel_max online possible present
/sys/devices/system/cpu/amd_pstate prefcore status
/sys/devices/system/cpu/cpu0/microcode version
/sys/devices/system/cpu/cpufreq . boost
/sys/devices/system/cpu/cpufreq/policy* affected_cpus cpuinfo_max_freq cpuinfo_min_freq energy_performance_preference scaling_cur_freq scaling_driver scaling_governor scaling_max_freq scaling_min_freq
/sys/devices/system/cpu/intel_pstate no_turbo status
/sys/devices/system/cpu/smt active control
/sys/devices/system/edac/mc .
/sys/devices/system/edac/mc/mc* . ce_count ce_noinfo_count mc_name seconds_since_reset size_mb ue_count ue_noinfo_count
/sys/devices/system/edac/mc/mc*/csrow* . ce_count ch*_ce_count ch*_dimm_label dev_type edac_mode mem_type size_mb ue_count
/sys/devices/system/edac/mc/mc*/dimm* . dimm_* size
/sys/devices/system/edac/mc/mc*/rank* . dimm_* size
/sys/devices/system/node . has_cpu has_memory online possible
/sys/devices/system/node/node* cpulist distance meminfo
/sys/firmware ?efi
/sys/firmware/acpi/tables ?BERT ?DMAR ?EINJ ?ERST ?HEST ?IVRS ?MCFG
/sys/firmware/dmi/tables DMI smbios_entry_point
/sys/firmware/efi fw_platform_size
/sys/firmware/efi/efivars SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
/sys/hypervisor type
/sys/kernel/iommu_groups .
/sys/kernel/iommu_groups/* reserved_regions type
/sys/kernel/iommu_groups/*/devices . >*
/sys/kernel/mm/transparent_hugepage defrag enabled
/sys/kernel/security . lockdown
/sys/module .
/sys/module/* srcversion version
/sys/module/*/parameters .
/sys/module/amd*/parameters *
/sys/module/nouveau/parameters *
/sys/module/nvidia*/parameters *
/sys/module/nvme*/parameters *
/sys/module/pci*/parameters *
/sys/module/ttm/parameters *
/sys/module/vfio*/parameters *
'

# Programs, one a line, with the arguments that doctor uses; a ~ stands for a space within a word, and a device node with
# [0-9] for each node of that kind. Nothing here is read as shell. The first word says when: `any` time, as `root`, or as
# root where there is a BMC.
programs='
any nvidia-smi --query-gpu=pci.bus_id,name,uuid,serial,vbios_version,persistence_mode,memory.total,power.limit,power.default_limit,temperature.gpu --format=csv,noheader,nounits
any nvidia-smi -q
any nvidia-smi topo -m
any timedatectl show -p NTPSynchronized --value
any chronyc -n tracking
any rpm -q linux-firmware
any rpm -q amd-gpu-firmware
root nvme smart-log /dev/nvme[0-9] -o json
root nvme smart-log /dev/nvme[0-9][0-9] -o json
bmc ipmitool mc info
bmc ipmitool sdr type Power~Supply
bmc ipmitool sdr type Fan
bmc ipmitool sel elist last 100
'

# The only environment variables that are recorded.
variables='
HSA_OVERRIDE_GFX_VERSION HSA_ENABLE_SDMA HSA_XNACK HSA_ENABLE_PEER_SDMA HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES
GPU_DEVICE_ORDINAL GPU_MAX_HW_QUEUES AMD_SERIALIZE_KERNEL CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER CUDA_LAUNCH_BLOCKING
NVIDIA_VISIBLE_DEVICES NCCL_P2P_DISABLE NCCL_P2P_LEVEL NCCL_SHM_DISABLE NCCL_IB_DISABLE NCCL_DEBUG RCCL_MSCCL_ENABLE
PYTORCH_HIP_ALLOC_CONF PYTORCH_CUDA_ALLOC_CONF ROCBLAS_USE_HIPBLASLT TORCH_BLAS_PREFER_HIPBLASLT LD_LIBRARY_PATH
LD_PRELOAD OCL_ICD_VENDORS LANG LC_ALL container
'

tab=$(printf '\t')

say() { printf '%s\n' "boxcheck-capture: $*" >&2; }

die() {
    say "$*"
    exit 1
}

usage() {
    say "usage: sh boxcheck-capture.sh [OUT.tar.gz | OUT.tar | OUT]"
    exit "$1"
}

have() { command -v "$1" >/dev/null 2>&1; }

# `limited SECONDS command...` runs a command with a time limit, where this system knows one.
limited() {
    l_seconds=$1
    shift
    case $timeout in
        posix) timeout "$l_seconds" "$@" ;;
        old) timeout -t "$l_seconds" "$@" ;;
        *) "$@" ;;
    esac
}

# Puts $1, as the inside of a JSON string, into $js.
js() {
    case $1 in
        *[!A-Za-z0-9_./:@+=,%~\ -]*) js=$(printf '%s' "$1" | escape) ;;
        *) js=$1 ;;
    esac
}

# Text to the inside of a JSON string: no control characters, only whole UTF-8.
escape() {
    tr '\r' ' ' | tr -d '\000-\010\013-\037\177' | utf8 |
        sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e "s/$tab/\\\\t/g" -e '$!s/$/\\n/' | tr -d '\n'
}

utf8() {
    if have iconv; then iconv -c -f UTF-8 -t UTF-8 2>/dev/null; else tr -d '\200-\377'; fi
}

full() { die "cannot write to ${stage%/*}: is the disk full?"; }

# unread PATH KIND WHY
unread() {
    js "$1"
    u_path=$js
    js "$3"
    printf '{"path":"%s","kind":"%s","why":"%s"}\n' "$u_path" "$2" "$js" >>"$inside/unread.jsonl" || full
}

# why STDERR-TEXT puts the kind and the words for a failed reading into $kind and $why. The words are those of the C
# library's English, which boxcheck uses too.
why() {
    why=${1##*: }
    why=$(printf '%s' "$why" | tr 'A-Z\n' 'a-z ')
    case $why in
        *'permission denied'*) kind=permission why='permission denied' ;;
        *'operation not permitted'*) kind=permission why='operation not permitted' ;;
        *'no space left'*) full ;;
        *'not supported'*) kind=unsupported why='operation not supported' ;;
        *'not implemented'*) kind=unsupported why='function not implemented' ;;
        *'no data available'*) kind=unsupported why='no data' ;;
        *'timed out'*) kind=timeout why='no answer in time' ;;
        *'no such device or address'*) kind=error why='its driver answers ENXIO' ;;
        *'no such device'*) kind=error why='its driver answers ENODEV' ;;
        *'no such file'*) kind=error why='its driver answers ENOENT' ;;
        *'resource temporarily unavailable'*) kind=error why='would block' ;;
        '') kind=error why='not read' ;;
        *) kind=error ;;
    esac
}

# stat_entry PATH TYPE [MORE-FIELDS]
stat_entry() {
    js "$1"
    printf '%s"%s":{"type":"%s"%s}' "$stat_comma" "$js" "$2" "${3-}" >>"$inside/stat.json" || full
    stat_comma=',
'
}

type_of() {
    if [ -d "$1" ]; then type='dir'; elif [ -c "$1" ]; then type='char'; elif [ -b "$1" ]; then type='block'
    elif [ -p "$1" ]; then type='fifo'; elif [ -S "$1" ]; then type='socket'; else type='file'; fi
}

# mode_of PATH puts the fields mode, uid and gid into $fields.
mode_of() {
    fields=
    m_line=$(limited "$read_seconds" stat -c '%a %u %g' "$1" 2>/dev/null </dev/null) || m_line=
    if [ -z "$m_line" ]; then
        # ls -ln: type and permissions, links, user, group
        m_line=$(limited "$read_seconds" ls -lnd "$1" 2>/dev/null </dev/null) || return 0
        # shellcheck disable=SC2086
        set -f && set -- $m_line && set +f
        [ $# -ge 4 ] || return 0
        m_line="$(printf '%s' "$1" | octal) $3 $4"
    fi
    # shellcheck disable=SC2086
    set -- $m_line
    [ $# -eq 3 ] && fields=",\"mode\":\"$1\",\"uid\":$2,\"gid\":$3"
}

# `crw-rw----` to `660`.
octal() {
    sed -e 's/^.\(...\)\(...\)\(...\).*/\1 \2 \3/' -e 's/[st]/x/g' -e 's/[ST]/-/g' \
        -e 's/rwx/7/g' -e 's/rw-/6/g' -e 's/r-x/5/g' -e 's/r--/4/g' -e 's/-wx/3/g' -e 's/-w-/2/g' -e 's/--x/1/g' \
        -e 's/---/0/g' -e 's/ //g'
}

parent() {
    p_dir=${1%/*}
    [ -d "$stage$p_dir" ] || mkdir -p "$stage$p_dir" || full
}

save_link() {
    [ -L "$stage$1" ] && return 0
    parent "$1"
    ln -s "$2" "$stage$1" 2>/dev/null
    return 0
}

link_target() {
    # shellcheck disable=SC2012
    if have readlink; then readlink "$1"; else ls -ld "$1" | sed -n 's/^.* -> //p'; fi
}

# follow PATH keeps every symbolic link on the way, and puts where the path really leads into $real. Fails where links go
# in a circle.
follow() {
    f_rest=${1#/}
    f_here=
    f_hops=0
    while [ -n "$f_rest" ]; do
        f_name=${f_rest%%/*}
        case $f_rest in */*) f_rest=${f_rest#*/} ;; *) f_rest= ;; esac
        case $f_name in
            '' | .) continue ;;
            ..) f_here=${f_here%/*} && continue ;;
        esac
        case $f_here/$f_name in
            /proc/self | /proc/thread-self) ;;
            *) if [ -L "$f_here/$f_name" ]; then
                f_target=$(link_target "$f_here/$f_name") || return 1
                save_link "$f_here/$f_name" "$f_target"
                f_hops=$((f_hops + 1))
                [ "$f_hops" -gt 40 ] && return 1
                case $f_target in /*) f_here= ;; esac
                f_rest=$f_target/$f_rest
                continue
            fi ;;
        esac
        f_here=$f_here/$f_name
    done
    real=$f_here
}

# read_one REAL-PATH copies one regular file, or says why not.
read_one() {
    [ -e "$stage$1" ] && return 0
    parent "$1"
    if limited "$read_seconds" cat "$1" >"$stage$1.part$$" 2>"$stage.err" </dev/null; then
        mv "$stage$1.part$$" "$stage$1" || full
        return 0
    fi
    r_status=$?
    rm -f "$stage$1.part$$"
    r_text=$(cat "$stage.err")
    if [ "$r_status" -ge 124 ]; then
        kind=timeout why="no answer within $read_seconds s"
    else
        why "$r_text"
    fi
    unread "$1" "$kind" "$why"
    mode_of "$1"
    stat_entry "$1" file "$fields"
}

# node REAL-PATH MARK looks at what is no file, and opens a device node.
node() {
    type_of "$1"
    mode_of "$1"
    if [ -z "$2" ] && { [ "$type" = char ] || [ "$type" = block ]; }; then
        # shellcheck disable=SC2016
        n_text=$(limited "$read_seconds" sh -c ': <>"$1"' sh "$1" 2>&1 </dev/null)
        n_status=$?
        case $n_status,$n_text in
            0,*) n_open=ok ;;
            124,* | 137,* | 143,*) n_open=ETIMEDOUT ;;
            *[Pp]'ermission denied'*) n_open=EACCES ;;
            *'not permitted'*) n_open=EPERM ;;
            *'o such device or address'*) n_open=ENXIO ;;
            *'o such device'*) n_open=ENODEV ;;
            *busy*) n_open=EBUSY ;;
            *'nvalid argument'*) n_open=EINVAL ;;
            *'nput/output error'*) n_open=EIO ;;
            *'annot allocate memory'*) n_open=ENOMEM ;;
            *'ead-only file system'*) n_open=EROFS ;;
            *) n_open="it could not be opened" ;;
        esac
        fields="$fields,\"open\":\"$n_open\""
    fi
    stat_entry "$1" "$type" "$fields"
}

# list REAL-PATH writes the names in the current directory.
list() {
    js "$1"
    printf '{"path":"%s","names":[' "$js" >>"$inside/list.jsonl" || full
    l_comma=
    for l_name in * .[!.]* ..?*; do
        [ -e "$l_name" ] || [ -L "$l_name" ] || continue
        js "$l_name"
        printf '%s"%s"' "$l_comma" "$js" >>"$inside/list.jsonl" || full
        l_comma=,
    done
    printf ']}\n' >>"$inside/list.jsonl" || full
}

# visit DIRECTORY "NAMES" looks for the names of one line of the list in one directory.
visit() {
    follow "$1" || return 0
    v_here=$real
    if ! cd -P "$1" 2>/dev/null; then
        [ -d "$1" ] && unread "$v_here" permission 'permission denied'
        return 0
    fi
    v_names=$2
    set --
    set -f
    for v_pattern in $v_names; do
        v_mark=
        case $v_pattern in
            '?'*) v_mark='?' v_pattern=${v_pattern#?} ;;
            '>'*) v_mark='>' v_pattern=${v_pattern#?} ;;
            .)
                set +f
                if [ -r . ]; then list "${v_here:-/}"; else unread "${v_here:-/}" permission 'permission denied'; fi
                set -f
                continue ;;
        esac
        set +f
        for v_name in $v_pattern; do
            v_path=$v_here/$v_name
            if [ -L "$v_name" ]; then
                save_link "$v_path" "$(link_target "$v_name")"
                [ "$v_mark" = '>' ] && continue
                follow "$v_path" || continue
                v_path=$real
            fi
            [ -e "$v_path" ] || continue
            if [ -n "$v_mark" ]; then
                if [ -f "$v_path" ] || [ -d "$v_path" ]; then
                    type_of "$v_path"
                    stat_entry "$v_path" "$type"
                else
                    node "$v_path" '?'
                fi
            elif [ -f "$v_path" ]; then
                if [ ! -r "$v_path" ]; then
                    unread "$v_path" permission 'permission denied'
                    mode_of "$v_path"
                    stat_entry "$v_path" file "$fields"
                elif [ "$v_path" = "$v_here/$v_name" ]; then
                    [ -e "$stage$v_path" ] || set -- "$@" "$v_name"
                else
                    read_one "$v_path"
                fi
            elif [ -d "$v_path" ]; then
                stat_entry "$v_path" dir
            else
                node "$v_path" ''
            fi
        done
        set -f
    done
    set +f
    [ $# -eq 0 ] || copy "$v_here" "$@"
}

# copy REAL-DIRECTORY NAMES... from the current directory: all at once, then one by one what did not come.
copy() {
    c_here=$1
    shift
    [ -d "$stage$c_here" ] || mkdir -p "$stage$c_here" || full
    if limited "$read_seconds" cp -- "$@" "$stage$c_here/" 2>/dev/null </dev/null; then c_bad=; else c_bad=1; fi
    for c_name in "$@"; do
        # An empty file is read once more: some kernels give `cp` nothing where `cat` gets all.
        if [ -n "$c_bad" ] || [ ! -s "$stage$c_here/$c_name" ]; then
            rm -f "$stage$c_here/$c_name"
            read_one "$c_here/$c_name"
        fi
    done
}

# closed DIRECTORY-GLOB notes every directory on the way that this user may not look into: below it nothing is absent.
closed() {
    o_rest=${1#/}
    o_glob=
    while [ -n "$o_rest" ]; do
        o_glob=$o_glob/${o_rest%%/*}
        case $o_rest in */*) o_rest=${o_rest#*/} ;; *) o_rest= ;; esac
        case $checked in *"|$o_glob|"*) continue ;; esac
        checked="$checked$o_glob|"
        for o_dir in $o_glob; do
            if [ -d "$o_dir" ] && { [ ! -x "$o_dir" ] || [ ! -r "$o_dir" ]; } && follow "$o_dir"; then
                unread "$real" permission 'permission denied'
            fi
        done
    done
}

# run_program WORD...
run_program() {
    number=$((number + 1))
    g_file=$(printf '%s/run/%04d.json' "$inside" "$number")
    g_argv=
    for g_word in "$@"; do
        js "$g_word"
        g_argv="$g_argv,\"$js\""
    done
    printf '{"argv":[%s],' "${g_argv#,}" >"$g_file" || full
    if ! have "$1"; then
        js "$1 is not installed"
        printf '"unread":{"kind":"absent","why":"%s"}}\n' "$js" >>"$g_file" || full
        return 0
    fi
    limited "$program_seconds" "$@" >"$stage.out" 2>"$stage.err" </dev/null
    g_status=$?
    if [ -n "$timeout" ] && { [ "$g_status" = 124 ] || [ "$g_status" = 143 ]; }; then
        printf '"unread":{"kind":"timeout","why":"%s did not end within %s s"}}\n' "$1" "$program_seconds" >>"$g_file" || full
        return 0
    fi
    { printf '"exit":%s,"stdout":"' "$g_status" && escape <"$stage.out" && printf '","stderr":"' && escape <"$stage.err" &&
        printf '"}\n'; } >>"$g_file" || full
}

# program_line WORD... expands a device node in the words, and the spaces.
program_line() {
    set +f
    for g_node in '' /dev/nvme[0-9] /dev/nvme[0-9][0-9]; do
        g_glob=
        for g_word in "$@"; do
            case $g_word in /dev/*'['*) g_glob=$g_word ;; esac
        done
        if [ -z "$g_glob" ]; then
            [ -z "$g_node" ] || continue
        else
            # shellcheck disable=SC2254
            case $g_node in $g_glob) [ -c "$g_node" ] || continue ;; *) continue ;; esac
        fi
        g_count=$#
        g_done=0
        while [ "$g_done" -lt "$g_count" ]; do
            g_word=$1
            shift
            case $g_word in
                /dev/*'['*) set -- "$@" "$g_node" ;;
                *'~'*) set -- "$@" "$(printf '%s' "$g_word" | tr '~' ' ')" ;;
                *) set -- "$@" "$g_word" ;;
            esac
            g_done=$((g_done + 1))
        done
        run_program "$@"
        [ -z "$g_glob" ] && return 0
        # The words again, for the next node.
        g_done=0
        while [ "$g_done" -lt "$g_count" ]; do
            g_word=$1
            shift
            if [ "$g_word" = "$g_node" ]; then set -- "$@" "$g_glob"; else set -- "$@" "$g_word"; fi
            g_done=$((g_done + 1))
        done
    done
}

# space PATH writes the size of a file system, as statvfs tells it.
space() {
    number=$((number + 1))
    s_file=$inside/lib/$(printf %04d "$number").json
    if [ ! -e "$1" ]; then
        js "$1"
        printf '{"library":"statvfs","request":"%s","unread":{"kind":"absent","why":"statvfs %s: no such file"}}\n' \
            "$js" "$js" >"$s_file" || full
        return 0
    fi
    s_line=$(limited "$read_seconds" stat -f -c '%b %a %S' "$1" 2>/dev/null </dev/null) || s_line=
    if [ -z "$s_line" ]; then
        # df -P: file system, blocks, used, available
        s_line=$(limited "$read_seconds" df -Pk "$1" 2>/dev/null </dev/null |
            sed -n '2s/^[^ ]* *\([0-9]*\) *[0-9]* *\([0-9]*\) .*/\1 \2 1024/p')
    fi
    # shellcheck disable=SC2086
    set -- "$1" $s_line
    [ $# -eq 4 ] || return 0
    js "$1"
    printf '{"library":"statvfs","request":"%s","value":{"total_bytes":%s,"free_bytes":%s}}\n' \
        "$js" "$(($2 * $4))" "$(($3 * $4))" >"$s_file" || full
}

kernel_log() {
    mkdir -p "$stage/var/log" || full
    # busybox asks for as much as the kernel keeps, and prints more than that: without a size it loses the first lines.
    limited "$program_seconds" dmesg -s 16777216 >"$stage.out" 2>"$stage.err" </dev/null
    k_status=$?
    # The first part of a log holds no later fault: only one that was read to its end counts.
    if [ "$k_status" = 0 ] && [ -s "$stage.out" ]; then
        sed -e 's/^<[0-9]*>//' "$stage.out" >"$stage/var/log/dmesg" || full
    elif ! journal 0 dmesg; then
        why "$(cat "$stage.err")"
        case $timeout,$k_status in ?*,124 | ?*,137 | ?*,143) kind=timeout why="dmesg did not end within $program_seconds s" ;; esac
        unread /var/log/dmesg "$kind" "$why"
    fi
    journal -1 dmesg.0 && return 0
    if ! have journalctl; then
        unread /var/log/dmesg.0 absent 'journalctl is not installed'
    elif [ "$uid" = 0 ]; then
        unread /var/log/dmesg.0 absent 'the journal holds none'
    else
        unread /var/log/dmesg.0 permission 'the journal holds none that this user may read'
    fi
}

# journal BOOT NAME
journal() {
    have journalctl || return 1
    limited 30 journalctl -k -b "$1" -o short-monotonic --no-pager -q --no-hostname >"$stage.out" 2>"$stage.err2" </dev/null ||
        return 1
    [ -s "$stage.out" ] || return 1
    cp "$stage.out" "$stage/var/log/$2" || full
}

description() {
    printf '{"schema":"boxcheck.capture/1","kind":"script","tool":{"name":"boxcheck-capture.sh","version":"1"},\n'
    printf '"start":"%s","end":"%s","redacted":false,\n' "$start" "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    js "$(id -un 2>/dev/null || printf '%s' "$uid")"
    printf '"user":{"name":"%s","uid":%s,"gid":%s,"groups":[' "$js" "$uid" "$(id -g)"
    d_comma=
    for d_group in $(id -G 2>/dev/null || id -g); do
        printf '%s%s' "$d_comma" "$d_group"
        d_comma=,
    done
    case $uid,${SUDO_UID-} in
        0,[0-9]*) printf '],"invoked_by":%s},\n"env":{' "$SUDO_UID" ;;
        *) printf ']},\n"env":{' ;;
    esac
    d_comma=
    for d_name in $variables; do
        eval "d_set=\${$d_name+x} d_value=\${$d_name-}"
        case $d_name in
            LC_ALL) d_set=$had_lc_all d_value=$lc_all ;;
        esac
        if [ -n "$d_set" ]; then
            js "$d_value"
            printf '%s"%s":"%s"' "$d_comma" "$d_name" "$js"
            d_comma=,
        fi
    done
    printf '},\n"covers":['
    d_comma=
    set -f
    while read -r d_dir d_names; do
        for d_name in $d_names; do
            case $d_name in
                .) d_name=${d_dir} ;;
                '?'* | '>'*) d_name=${d_dir%/}/${d_name#?} ;;
                *) d_name=${d_dir%/}/$d_name ;;
            esac
            # A bare * at the end would claim all that lies below, too.
            case $d_name in */'*') d_name=${d_name%'*'}'?*' ;; esac
            printf '%s"%s"' "$d_comma" "$d_name"
            d_comma=,
        done
    done <<LINES
$paths
LINES
    set +f
    printf ']}\n'
}

pack() {
    case $out in
        *.tar.gz | *.tgz)
            have tar && have gzip || return 1
            { tar -C "$stage" -cf - . || : >"$stage.failed"; } | gzip >"$stage.tar" || return 1
            [ ! -e "$stage.failed" ] ;;
        *.tar)
            have tar || return 1
            tar -C "$stage" -cf "$stage.tar" . ;;
        *) return 1 ;;
    esac
}

clean_up() {
    if [ -n "$stage" ]; then
        chmod -R u+rwX "$stage" 2>/dev/null
        rm -rf "$stage" "$stage.out" "$stage.err" "$stage.err2" "$stage.tar" "$stage.failed"
    fi
}

case ${1-} in
    -h | --help) usage 0 ;;
    -*) usage 2 ;;
esac
[ $# -le 1 ] || usage 2
out=${1-boxcheck-$(date -u +%Y%m%dT%H%M%SZ).tar.gz}
case $out in /*) ;; *) out=$PWD/$out ;; esac
case $out in
    *.tar.gz | *.tgz | *.tar) ;;
    *) [ -e "$out" ] && die "$out exists" ;;
esac

timeout=
if have timeout; then
    if timeout 1 true 2>/dev/null; then timeout=posix; elif timeout -t 1 true 2>/dev/null; then timeout=old; fi
fi
uid=$(id -u)
start=$(date -u +%Y-%m-%dT%H:%M:%SZ)
stage=
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
stage=$out.part$$
mkdir "$stage" || { stage='' && die "cannot write beside $out"; }
inside=$stage/boxcheck
mkdir -p "$inside/run" "$inside/lib" || full
checked='|'
stat_comma=
number=0
printf '{' >"$inside/stat.json" || full

say "reading this machine; nothing is changed"
set -f
while read -r line_dir line_names <&9; do
    [ -n "$line_dir" ] || continue
    set +f
    [ "$uid" = 0 ] || closed "$line_dir"
    for one_dir in $line_dir; do
        [ -d "$one_dir" ] && visit "$one_dir" "$line_names"
    done
    set -f
done 9<<LINES
$paths
LINES
set +f
cd / || exit 1
printf '}\n' >>"$inside/stat.json" || full

set -f
while read -r line_when line_words <&9; do
    case $line_when,$uid in
        any,* | root,0) ;;
        bmc,0) [ -e /dev/ipmi0 ] || [ -e /dev/ipmi/0 ] || [ -e /dev/ipmidev/0 ] || continue ;;
        *) continue ;;
    esac
    # shellcheck disable=SC2086
    program_line $line_words
    set -f
done 9<<LINES
$programs
LINES
set +f

space /dev/shm
while read -r _ _ _ _ mount_point _ rest <&9; do
    case $rest in
        *' - proc '* | *' - sysfs '* | *' - cgroup'* | *' - autofs '* | *' - nfs'* | *' - cifs '* | *' - fuse'* | *' - devpts '*) ;;
        *) case $mount_point in *\\*) ;; *) space "$mount_point" ;; esac ;;
    esac
done 9</proc/self/mountinfo

kernel_log
description >"$inside/capture.json" || full
[ -s "$inside/capture.json" ] || full

if pack; then
    mv "$stage.tar" "$out" || die "cannot write $out"
    case $uid,${SUDO_UID-},${SUDO_GID-} in 0,[0-9]*,[0-9]*) chown "$SUDO_UID:$SUDO_GID" "$out" 2>/dev/null ;; esac
    say "wrote $out"
else
    case $out in
        *.tar.gz | *.tgz | *.tar)
            have tar && { [ "${out%.tar}" != "$out" ] || have gzip; } && die "cannot write $out: is the disk full?"
            out=${out%.tar.gz} out=${out%.tgz} out=${out%.tar}
            [ -e "$out" ] && die "$out exists" ;;
    esac
    mv "$stage" "$out" || die "cannot write $out"
    say "wrote the directory $out"
fi
say "it holds serial numbers, addresses and user names: boxcheck capture --sysroot ... --redact replaces them"
