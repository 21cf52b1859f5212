"""clang-tidy (.clang-tidy) over what we compile, in parallel; files unchanged since they passed are not read again."""
import concurrent.futures
import hashlib
import json
import pathlib
import subprocess

from checks.context import Outcome


def check(context):
    outcome = Outcome()
    folder = context.build / "asan"
    database = folder / "compile_commands.json"
    if not database.exists():
        return Outcome(failed=["tidy: build/asan is not configured (the clang stage comes first)"])
    wanted = set(context.files("lib/*.cc", "app/*.cc"))
    sources = []
    for entry in json.loads(database.read_text()):
        path = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if path.is_relative_to(context.root) and str(path.relative_to(context.root)) in wanted:
            sources.append((str(path.relative_to(context.root)), entry))
    passed = context.build / "tidy-passed"
    passed.mkdir(exist_ok=True)
    # Any header may matter to any source: one digest over them all keeps the reuse honest.
    headers = digest(context, context.files("lib/*.h", "app/*.h", ".clang-tidy"))

    def tidy(item):
        name, entry = item
        key = passed / hashlib.sha256(
            (headers + digest(context, [name]) + entry["command"]).encode()).hexdigest()
        if key.exists():
            return name, None
        done = subprocess.run(["clang-tidy", "-p", folder, "--quiet", "--warnings-as-errors=*", name],
                              capture_output=True, text=True, cwd=context.root)
        if done.returncode == 0:
            key.touch()
        return name, done

    with concurrent.futures.ThreadPoolExecutor(context.jobs) as pool:
        for number, (name, done) in enumerate(pool.map(tidy, sources), 1):
            context.log(f"[{number}/{len(sources)}] {name}")
            if number % 20 == 0:
                print(f"      {number}/{len(sources)} files", flush=True)
            if done is None or done.returncode == 0:
                outcome.passed += 1
            else:
                context.log(done.stdout)
                outcome.failed.append(f"tidy: {name}")
    return outcome


def digest(context, names):
    total = hashlib.sha256()
    for name in names:
        total.update(name.encode() + b"\0" + (context.root / name).read_bytes())
    return total.hexdigest()
