"""The first process of a node: it gives the node its own /proc, /sys, /run, /var/lib and /var/log, and then only
buries the dead. Run as the first process of new mount, pid, uts, ipc and cgroup namespaces: node_init.py FOLDER NAME.
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")
OWN = ("/var/lib", "/var/log")
# What a kubelet wants to set, and only the whole machine has: the node's own files stand in their places.
SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def prepare(folder):
    mount("--make-rprivate", "/")
    mount("-t", "proc", "proc", "/proc")
    mount("-t", "sysfs", "sysfs", "/sys")
    mount_cgroups(Path("/sys/fs/cgroup"))
    mount("-t", "tmpfs", "tmpfs", "/run")
    for path in OWN:
        own = folder / path.lstrip("/").replace("/", "-")
        own.mkdir(exist_ok=True)
        mount("--bind", str(own), path)
    for key, value in SETTINGS.items():
        own = folder / "sys" / key.replace("/", "-")
        own.parent.mkdir(exist_ok=True)
        own.write_text(f"{value}\n")
        mount("--bind", str(own), f"/proc/sys/{key}")
    mount("--make-rshared", "/")


def mount_cgroups(top):
    mount("-t", "tmpfs", "tmpfs", str(top))
    for name in CONTROLLERS:
        (top / name).mkdir()
        mount("-t", "cgroup", "-o", name, "cgroup", str(top / name))
    (top / "systemd").mkdir()
    mount("-t", "cgroup", "-o", "none,name=systemd", "cgroup", str(top / "systemd"))
    (top / "unified").mkdir()
    mount("-t", "cgroup2", "cgroup2", str(top / "unified"))


def bury():
    while True:
        signal.sigwait({signal.SIGCHLD})
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            pass


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    socket.sethostname(sys.argv[2])
    prepare(Path(sys.argv[1]))
    print("ready", flush=True)
    bury()
