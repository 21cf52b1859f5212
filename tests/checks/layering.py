"""The layers hold: what DESIGN forbids does not compile, and what it allows does.

A rule that is never seen to refuse may have stopped working, so this is a negative test: it takes the
very command that compiles a library, gives it a file that breaks the rule, and expects an error.
"""
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile

from checks.context import Outcome

FORBIDDEN_IN_PURE = ["sys/socket.h", "netinet/in.h", "liburing.h", "numa.h", "rte_mbuf.h", "rte_ethdev.h",
                     "infiniband/verbs.h", "rdma/rdma_cma.h", "isa-l/crc.h", "openssl/evp.h", "curl/curl.h"]


def check(context):
    outcome = Outcome()
    folder = context.build / "gcc"
    layers = layer_lists(context.root / "lib" / "meson.build")
    commands = library_commands(folder)
    for index, (layer, pure) in enumerate(layers):
        if layer not in commands:
            continue  # header only: nothing is compiled for it
        for other, _ in layers[index + 1:]:
            header = first_header(context.root / "lib" / other)
            if header:
                expect(context, outcome, commands[layer], f'#include "{header}"', compiles=False,
                       what=f"lib/{layer} must not see lib/{other}")
        own = first_header(context.root / "lib" / layer)
        expect(context, outcome, commands[layer], f'#include "{own}"', compiles=True, what=f"lib/{layer} sees itself")
        if pure:
            for header in FORBIDDEN_IN_PURE:
                expect(context, outcome, commands[layer], f"#include <{header}>", compiles=False,
                       what=f"lib/{layer} is pure and must not see <{header}>")
    for program, needle in (("sluicectl", "librte_"),):
        outcome.add(links_without(context, folder / "app" / program, needle))
    outcome.add(upward_use_stops_configuration(context))
    return outcome


def layer_lists(path):
    text = path.read_text()
    names = []
    for variable, pure in (("pure_layers", True), ("edge_layers", False)):
        inside = re.search(variable + r" = \[(.*?)\]", text, re.DOTALL).group(1)
        names += [(name, pure) for name in re.findall(r"'(\w+)'", inside)]
    return names


def library_commands(folder):
    """The arguments, up to the input, with which one source of each library is compiled."""
    found = {}
    for entry in json.loads((folder / "compile_commands.json").read_text()):
        match = re.search(r"libsluice_(\w+)\.a\.p", entry["output"])
        if match and match.group(1) not in found:
            words = shlex.split(entry["command"])
            words = words[words.index("ccache") + 1:] if "ccache" in words else words
            kept, skip = [], False
            for word in words:
                if skip:
                    skip = False
                elif word in ("-o", "-MF", "-MQ", "-c"):
                    skip = True
                elif word != "-MD":
                    kept.append(word)
            found[match.group(1)] = (entry["directory"], kept)
    return found


def first_header(folder):
    headers = sorted(folder.glob("*.h"))
    return f"{folder.name}/{headers[0].name}" if headers else None


def expect(context, outcome, command, line, *, compiles, what):
    directory, words = command
    with tempfile.NamedTemporaryFile("w", suffix=".cc") as source:
        source.write(line + "\n")
        source.flush()
        done = subprocess.run([*words, "-fsyntax-only", source.name], cwd=directory, capture_output=True, text=True)
    if (done.returncode == 0) == compiles:
        outcome.passed += 1
        return
    context.log(f"{what}: {line} {'does not compile' if compiles else 'compiles'}\n{done.stderr}")
    outcome.failed.append(f"layering: {what}")


def links_without(context, program, needle):
    if not program.exists():
        return Outcome(failed=[f"layering: {program.name} was not built"])
    needed = subprocess.run(["objdump", "-p", program], capture_output=True, text=True, check=True).stdout
    if needle in needed:
        context.log(needed)
        return Outcome(failed=[f"layering: {program.name} links {needle}*"])
    return Outcome(passed=1)


def upward_use_stops_configuration(context):
    """Declares an upward dependency in a copy of the tree; configuring it must fail and say why."""
    with tempfile.TemporaryDirectory(prefix="sluice-layering-") as copy:
        for name in context.files("lib/*", "meson.build", "meson_options.txt"):
            target = pathlib.Path(copy) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(context.root / name, target)
        for subdir in ("app", "perf", "tests", "docs", "drivers_config", "scripts", "dts"):
            (pathlib.Path(copy) / subdir).mkdir(exist_ok=True)
            (pathlib.Path(copy) / subdir / "meson.build").write_text("")
        victim = pathlib.Path(copy) / "lib" / "wire" / "meson.build"
        victim.write_text(victim.read_text() + "\nuses += ['tcp']\n")
        done = subprocess.run(
            ["meson", "setup", "-Dedges=false", "-Dtests=false", "-Dperf=false", f"{copy}/build", copy],
            capture_output=True, text=True)
    if done.returncode != 0 and "does not stand above" in done.stdout:
        return Outcome(passed=1)
    context.log(done.stdout + done.stderr)
    return Outcome(failed=["layering: an upward 'uses' does not stop at configure time"])
