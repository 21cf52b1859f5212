"""A short run of each fuzz target from its checked-in corpus, under the sanitizers."""
import concurrent.futures
import os
import shutil
import subprocess

from checks.builds import ASAN, SANITIZER_ENVIRONMENT
from checks.context import Outcome

SECONDS = 20
SECONDS_QUICK = 5


def check(context):
    outcome = Outcome()
    folder = context.build / ASAN / "tests" / "fuzz"
    targets = sorted(path for path in folder.glob("fuzz_*") if path.is_file() and os.access(path, os.X_OK))
    if not targets:
        return Outcome(failed=["fuzz: no targets were built (the clang stage comes first)"])
    seconds = SECONDS_QUICK if context.quick else SECONDS

    def fuzz(target):
        name = target.name.removeprefix("fuzz_")
        found = context.build / "fuzz" / name
        shutil.rmtree(found, ignore_errors=True)
        (found / "new").mkdir(parents=True)
        seeds = context.root / "tests" / "fuzz" / "corpus" / name
        done = subprocess.run(
            [target, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=3000", "-print_final_stats=1",
             f"-artifact_prefix={found}/", found / "new", *([seeds] if seeds.is_dir() else [])],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **SANITIZER_ENVIRONMENT},
            timeout=seconds + 300, cwd=context.root)
        return name, done

    with concurrent.futures.ThreadPoolExecutor(context.jobs) as pool:
        for name, done in pool.map(fuzz, targets):
            output = done.stdout.decode(errors="replace")
            context.log(f"== {name}\n{output[-8000:]}")
            if done.returncode == 0:
                outcome.passed += 1
            else:
                outcome.failed.append(f"fuzz: {name} (the input is in build/fuzz/{name})")
    return outcome
