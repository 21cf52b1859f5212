"""The rate of this host's time stamp counter, which an emulated machine's counter has too (QEMU's cpu_get_host_ticks()).

A guest's kernel takes it by its timer, over some milliseconds: on busy cores it was found wrong twentyfold, and the machine's clock with
it, and every time limit inside. So it is told.
"""
import ctypes
import functools
import mmap
import platform
import time

RDTSC = bytes.fromhex("0f31" "48c1e220" "4809d0" "c3")  # rdtsc; shl rdx, 32; or rax, rdx; ret
MEASURED_S = 0.2
APART_NS_MAX = 20_000  # of the clock's readings before and after the counter's: else something came between


@functools.cache
def host_tsc_khz():
    """Ticks a millisecond; None where the host is no x86."""
    if platform.machine() != "x86_64":
        return None
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(RDTSC)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))

    def sample():
        while True:
            before, ticks, after = time.monotonic_ns(), read(), time.monotonic_ns()
            if after - before < APART_NS_MAX:
                return (before + after) / 2, ticks

    first, ticks = sample()
    time.sleep(MEASURED_S)
    last, more_ticks = sample()
    return round((more_ticks - ticks) / (last - first) * 1e6)
