#!/usr/bin/python3
"""Makes the demo tree of scripts/quickstart, once.

  demo_tree.py STATE MIB     STATE/tree is what is served, STATE/large.sha256 the digest of its large file

The bytes are pseudo-random and the same on every machine. The tree appears under its name only when it
is whole, so that an interrupted run leaves no half of one.
"""
import hashlib
import os
import pathlib
import random
import shutil
import sys
import time

SEGMENTS = 60
SEGMENT_SECONDS = 4
BLOCK_BYTES = 1 << 20

INDEX = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>sluice</title>
<h1>sluice is serving this page</h1>
<p>It came through DPDK and sluice's own TCP.</p>
<ul>
<li><a href="large.bin">large.bin</a>: {mib} MiB of pseudo-random bytes
<li><a href="video/index.m3u8">video/</a>: a playlist and {segments} segments, as a player would ask for them
</ul></html>
"""


def write_random(path, mib, seed):
    """Writes MIB mebibytes; returns their SHA-256."""
    source = random.Random(seed)
    digest = hashlib.sha256()
    spoken = time.monotonic()
    with open(path, "wb") as file:
        for done in range(mib):
            block = source.randbytes(BLOCK_BYTES)
            digest.update(block)
            file.write(block)
            if time.monotonic() - spoken > 2:
                spoken = time.monotonic()
                print(f"  {path.name}: {done + 1} of {mib} MiB", flush=True)
    return digest.hexdigest()


def make_tree(tree, mib):
    tree.mkdir()
    (tree / "index.html").write_text(INDEX.format(mib=mib, segments=SEGMENTS))
    video = tree / "video"
    video.mkdir()
    playlist = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{SEGMENT_SECONDS}", "#EXT-X-PLAYLIST-TYPE:VOD"]
    for number in range(SEGMENTS):
        name = f"segment{number:03d}.ts"
        write_random(video / name, 1, f"segment {number}")
        playlist += [f"#EXTINF:{SEGMENT_SECONDS}.0,", name]
    (video / "index.m3u8").write_text("\n".join([*playlist, "#EXT-X-ENDLIST", ""]))
    return write_random(tree / "large.bin", mib, "large")


def main():
    state, mib = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    tree, digest = state / "tree", state / "large.sha256"
    if tree.is_dir() and digest.exists() and (tree / "large.bin").stat().st_size == mib * BLOCK_BYTES:
        return 0
    needed = (mib + SEGMENTS + 16) * BLOCK_BYTES
    if shutil.disk_usage(state).free < needed:
        print(f"demo tree: {state} needs {needed >> 20} MiB free (or set SLUICE_DEMO_MIB to less)", file=sys.stderr)
        return 1
    print(f"\n== making a demo tree in {tree}, once: {mib} MiB", flush=True)
    for left_over in state.glob("tree.*"):
        shutil.rmtree(left_over, ignore_errors=True)
    fresh = state / f"tree.{os.getpid()}"
    sha256 = make_tree(fresh, mib)
    shutil.rmtree(tree, ignore_errors=True)
    digest.write_text(sha256 + "\n")
    fresh.rename(tree)
    return 0


if __name__ == "__main__":
    sys.exit(main())
