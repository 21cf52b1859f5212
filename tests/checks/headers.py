"""Each header of lib/ compiles alone, with the flags of its own library's users."""
import concurrent.futures
import subprocess

from checks.context import Outcome


def check(context):
    outcome = Outcome()
    outside = subprocess.run(
        ["pkg-config", "--cflags", "libdpdk", "liburing"], capture_output=True, text=True, check=True).stdout.split()
    headers = [name for name in context.files("lib/*.h") if not name.startswith("lib/forbidden/")]

    def compile_alone(name):
        include = name.removeprefix("lib/")
        done = subprocess.run(
            ["clang++", "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-c99-designator",
             "-I", "lib", *[flag.replace("-I/", "-isystem/") for flag in outside], "-x", "c++", "-"],
            input=f'#include "{include}"\n#include "{include}"\n', capture_output=True, text=True, cwd=context.root)
        return name, done

    with concurrent.futures.ThreadPoolExecutor(context.jobs) as pool:
        for name, done in pool.map(compile_alone, headers):
            if done.returncode == 0:
                outcome.passed += 1
            else:
                context.log(f"{name}\n{done.stderr}")
                outcome.failed.append(f"headers: {name} does not compile alone")
    return outcome
