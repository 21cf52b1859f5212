#!/usr/bin/python3
"""Configures one of the project's build folders: build/gcc, build/asan or build/release-perf.

One place for the options, so that scripts/dev and the test runner never disagree on what a folder is.
"""
import os
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

FOLDERS = {
    # Integration tests run its sluiced. -O2: at -O3 g++ 12 warns of overflows inside the standard library.
    "gcc": ({"CC": "gcc", "CXX": "g++"}, ["-Dbuildtype=release", "-Doptimization=2"]),
    # Everything under AddressSanitizer and UndefinedBehaviorSanitizer, and the libFuzzer targets.
    "asan": ({"CC": "clang", "CXX": "clang++"},
             ["-Dbuildtype=plain", "-Doptimization=1", "-Dcpp_args=-gline-tables-only",
              "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dfuzz=true", "-Dperf=false"]),
    # Benchmarks (perf/micro, which takes its content from tests/sim). Its -O3 is what the warnings are left out for.
    "release-perf": ({"CC": "gcc", "CXX": "g++"}, ["-Dbuildtype=release", "-Dwerror=false"]),
}


def command(name):
    """The words that configure a folder, and the environment that goes with them."""
    compilers, options = FOLDERS[name]
    # Meson adds ccache by itself only where no compiler is named.
    cached = "ccache " if shutil.which("ccache") else ""
    environment = {variable: cached + compiler for variable, compiler in compilers.items()}
    return ["meson", "setup", str(ROOT / "build" / name), str(ROOT), *options], environment


if __name__ == "__main__":
    words, extra = command(sys.argv[1])
    os.execvpe(words[0], words, {**os.environ, **extra})
