"""What a process has used, as the kernel counts it."""

import os
import time

PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_s(pid):
    # The kernel's own name for the CPU clock of a process (its clock_getcpuclockid): exact, where
    # the counts in /proc are in hundredths of a second.
    return time.clock_gettime((~pid << 3) | 2)


def memory_mib(pid):
    """What is resident."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * PAGE / 2**20


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
