"""`python -m tests.kernels PACKAGE.deb [PYTEST ARGUMENT...]`: run kernel tests under the kernel of a Debian package.

QEMU boots it with this machine's own file system beneath, read-only, and what is written above it in memory. By hand:
without hardware virtualisation a test takes some twenty times as long. Needs Debian's qemu-system-x86, busybox-static
and kmod; packages are fetched with `apt-get download linux-image-6.1.0-56-amd64`, for example.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
BUSYBOX = Path("/bin/busybox")
MEMORY_MB = 3072
# What is needed until modules can be read from the file system beneath; all others are loaded by name on demand.
EARLY = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
# What nothing loads by itself in a new namespace.
NEEDED = ("nf_tables", "nfnetlink_log", "nf_conntrack_netlink", "veth", "bridge", "br_netfilter", "xt_mark")
# Loading the ruleset, sets, the log, labels for ends, every connection between pods, drift, restarts.
TESTS = (
    "tests/enforcer/kernel/test_kernelfit.py",
    "tests/enforcer/kernel/test_reconcile.py",
    "tests/enforcer/test_verdicts.py",
    "tests/enforcer/test_enforcement.py",
    "tests/enforcer/test_ends.py",
    "tests/enforcer/test_links.py",
    "tests/enforcer/test_marks.py",
    "tests/enforcer/test_conversations.py",
)
LINE = "zonebridge kernel tests ended with"

INIT = """#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in {early}; do modprobe $module; done
mkdir -p /below /above /new
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose beneath /below || echo no file system
mount -t tmpfs -o size=80% above /above; mkdir /above/upper /above/work
mount -t overlay -o lowerdir=/below,upperdir=/above/upper,workdir=/above/work root /new || echo no root
mkdir -p /new/lib/modules/{version}
mount --bind /below{modules} /new/lib/modules/{version}
for each in proc sys dev; do mount --move /$each /new/$each; done
mount -t tmpfs tmp /new/tmp; mount -t tmpfs run /new/run
cat > /new/run/second <<'END'
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 CI=true
mkdir -p /dev/shm /dev/pts; mount -t tmpfs shm /dev/shm; mount -t devpts pts /dev/pts
ln -sf /proc/self/fd /dev/fd
for module in {needed}; do modprobe $module || echo "no module $module"; done
ip link set lo up
{command}
echo "{line} $?"
sync; echo o > /proc/sysrq-trigger; sleep 60
END
exec switch_root /new /bin/sh /run/second
"""


def main(arguments: list[str]) -> int:
    if not arguments or not BUSYBOX.exists() or shutil.which("qemu-system-x86_64") is None:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    package, tests = Path(arguments[0]).resolve(), arguments[1:] or list(TESTS)
    # Not in /tmp: that is another file system in the machine that is booted.
    place = REPOSITORY / "build"
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix="kernel-") as made:
        folder = Path(made)
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder / "package")], check=True)
        return boot(folder, tests)


def boot(folder: Path, tests: list[str]) -> int:
    """Boot the unpacked package, run the tests, and return pytest's exit code."""
    kernel = next((folder / "package" / "boot").glob("vmlinuz-*"))
    version = kernel.name.removeprefix("vmlinuz-")
    modules = _modules(folder / "package", version)
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=1800", *tests]
    command = f"cd {shlex.quote(str(REPOSITORY))} && uname -r && {shlex.join(pytest)}"
    init = INIT.format(
        early=" ".join(EARLY),
        needed=" ".join(NEEDED),
        version=version,
        modules=modules,
        command=command,
        line=LINE,
    )
    image = _image(folder, modules, version, init)
    share = "local,path=/,mount_tag=beneath,security_model=none,readonly=on,multidevs=remap"
    qemu = ["qemu-system-x86_64", "-accel", os.environ.get("ACCEL", "tcg,thread=multi"), "-cpu", "max", "-smp", "2"]
    qemu += ["-m", str(MEMORY_MB), "-nographic", "-no-reboot", "-virtfs", share, "-nic", "none"]
    qemu += ["-kernel", str(kernel), "-initrd", str(image), "-append", "console=ttyS0 panic=-1 edd=off quiet"]
    result = 1
    with subprocess.Popen(
        qemu, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as machine:
        for line in machine.stdout or ():
            print(line, end="", flush=True)
            if LINE in line:
                result = int(line.split()[-1])
    return result


def _modules(package: Path, version: str) -> Path:
    """Where the package's modules are, with their dependencies worked out."""
    modules = next(package.glob(f"**/lib/modules/{version}"))
    subprocess.run(["depmod", "-b", str(modules.parents[2]), version], check=True)
    return modules


def _image(folder: Path, modules: Path, version: str, init: str) -> Path:
    """A first file system of busybox, what the real one needs to be mounted, and `init`."""
    root = folder / "root"
    for each in ("bin", "proc", "sys", "dev", f"lib/modules/{version}"):
        (root / each).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    for name in ("sh", "mount", "mkdir", "modprobe", "cat", "switch_root", "echo"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "init").write_text(init)
    (root / "init").chmod(0o755)
    for path in modules.glob("modules.*"):
        shutil.copy(path, root / "lib/modules" / version)
    for path in _files(modules.parents[2], version):
        target = root / path.relative_to(modules.parents[2])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    image = folder / "image.cpio"
    with image.open("wb") as output:
        names = subprocess.run(["find", "."], cwd=root, capture_output=True, check=True).stdout
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names, stdout=output, check=True)
    return image


def _files(base: Path, version: str) -> list[Path]:
    """The early modules and all that they need, as modprobe would load them."""
    found: dict[Path, None] = {}
    for module in EARLY:
        shown = subprocess.run(
            ["modprobe", "-d", str(base), "-S", version, "--show-depends", module],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        found |= dict.fromkeys(Path(line.split()[1]) for line in shown.splitlines() if line.startswith("insmod"))
    return list(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
