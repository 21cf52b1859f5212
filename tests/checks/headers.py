"""Each header of lib/ compiles alone, with the flags of its own library's users; each has `#pragma once`.

A header that a source of lib/ includes before everything else was compiled alone when the gcc stage
built that source: only the others are compiled here.
"""
import concurrent.futures
import re
import subprocess

from checks.builds import GCC
from checks.context import Outcome

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.MULTILINE)


def check(context):
    outcome = Outcome()
    outside = subprocess.run(
        ["pkg-config", "--cflags", "libdpdk", "liburing"], capture_output=True, text=True, check=True).stdout.split()
    headers = [name for name in context.files("lib/*.h") if not name.startswith("lib/forbidden/")]
    leading = led_by_a_source(context)

    def compile_alone(name):
        include = name.removeprefix("lib/")
        done = subprocess.run(
            ["clang++", "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-c99-designator",
             "-I", "lib", *[flag.replace("-I/", "-isystem/") for flag in outside], "-x", "c++", "-"],
            input=f'#include "{include}"\n#include "{include}"\n', capture_output=True, text=True, cwd=context.root)
        return name, done

    alone = []
    for name in headers:
        source = leading.get(name.removeprefix("lib/"))
        if "#pragma once" not in (context.root / name).read_text().splitlines():
            outcome.failed.append(f"headers: {name} has no #pragma once")
        elif source:
            context.log(f"{name}: first in {source}")
            outcome.passed += 1
        else:
            alone.append(name)
    with concurrent.futures.ThreadPoolExecutor(context.jobs) as pool:
        for name, done in pool.map(compile_alone, alone):
            if done.returncode == 0:
                context.log(f"{name}: compiled")
                outcome.passed += 1
            else:
                context.log(f"{name}\n{done.stderr}")
                outcome.failed.append(f"headers: {name} does not compile alone")
    return outcome


def led_by_a_source(context):
    """The header that each built source includes first, and the source."""
    leading = {}
    for source in context.files("lib/*.cc"):
        first = INCLUDE.search((context.root / source).read_text())
        header = context.root / "lib" / first.group(1) if first else None
        if header and header.exists() and is_newer(object_of(context, source), context.root / source, header):
            leading.setdefault(first.group(1), source)
    return leading


def object_of(context, source):
    """What the gcc stage made of it: of lib/tcp/rack.cc lib/libsluice_tcp.a.p/tcp_rack.cc.o."""
    layer, file = source.removeprefix("lib/").split("/", 1)
    return context.build / GCC / "lib" / f"libsluice_{layer}.a.p" / f"{layer}_{file.replace('/', '_')}.o"


def is_newer(made, *sources):
    return made.exists() and made.stat().st_mtime >= max(source.stat().st_mtime for source in sources)
