"""Unmodified clients on every port, with one and two workers, over IPv4 and IPv6; every byte by digest."""
import re
import subprocess

import pytest

from rig.client import request
from rig.content import sha256


def head_fields(output):
    lines = output.decode("latin-1").replace("\r", "").strip().split("\n")
    return int(lines[0].split()[1]), {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}


def test_curl_gets_files_of_every_size(site, family, tree):
    for name in ("empty.txt", "one.txt", "hello.txt", *(n for n in tree.digests if n.startswith("sizes/")), "medium.bin"):
        got = site.curl(site.url(name, family)).stdout
        assert sha256(got) == tree.digests[name], name


def test_curl_head(site, family, tree):
    status, fields = head_fields(site.curl("--head", site.url("medium.bin", family)).stdout)
    assert status == 200
    assert int(fields["content-length"]) == (tree.root / "medium.bin").stat().st_size
    assert fields["accept-ranges"] == "bytes"
    assert fields["etag"].startswith('"') and "last-modified" in fields and "date" in fields


@pytest.mark.parametrize("asked, first, last", [
    ("0-0", 0, 0), ("100-199", 100, 199), ("1048570-2097160", 1048570, 2097160), ("67108000-", 67108000, None),
    ("-500", -500, None), ("0-", 0, None)])
def test_curl_ranges(site, family, tree, asked, first, last):
    whole = tree.read("medium.bin")
    expected = whole[first:] if last is None else whole[first:last + 1]
    done = site.curl("-r", asked, "-w", "%{stderr}%{http_code}", site.url("medium.bin", family))
    assert done.stderr == b"206"
    assert sha256(done.stdout) == sha256(expected)


def test_curl_conditionals(site, family, tree):
    url = site.url("hello.txt", family)
    _, fields = head_fields(site.curl("--head", url).stdout)

    def status(*words):
        return site.curl("-o", "/dev/null", "-w", "%{http_code}", *words, url).stdout.decode()

    assert status("-H", f"If-None-Match: {fields['etag']}") == "304"
    assert status("-H", 'If-None-Match: "other"') == "200"
    assert status("-H", f"If-Modified-Since: {fields['last-modified']}") == "304"
    assert status("-H", f"If-Match: {fields['etag']}") == "200"
    assert status("-H", 'If-Match: "other"') == "412"
    assert status("-H", "If-Unmodified-Since: Thu, 01 Jan 1998 00:00:00 GMT") == "412"
    assert status("-H", f"If-Range: {fields['etag']}", "-r", "0-3") == "206"
    assert status("-H", 'If-Range: "other"', "-r", "0-3") == "200"


def test_curl_keeps_a_connection_alive(site, family, tree):
    urls = []
    for _ in range(30):
        urls += ["-o", "/dev/null", site.url("hello.txt", family)]
    done = site.curl("-w", "%{num_connects} %{http_code}\n", *urls)
    lines = done.stdout.decode().split("\n")[:30]
    assert sum(int(line.split()[0]) for line in lines) == 1
    assert {line.split()[1] for line in lines} == {"200"}


def test_wget(site, family, tree, tmp_path):
    target = tmp_path / "got"
    # A part is there already: wget -c asks for the rest.
    target.write_bytes(tree.read("medium.bin")[:1000000])
    site.client.run("wget", "-q", "-c", "-O", target, site.url("medium.bin", family))
    assert sha256(target.read_bytes()) == tree.digests["medium.bin"]


def test_aria2_sixteen_connections(site, family, tree, tmp_path):
    site.client.run("aria2c", "-q", "-x16", "-s16", "-k1M", "--file-allocation=none", "--no-conf", "-d", tmp_path,
                    "-o", "got", site.url("medium.bin", family), timeout=120)
    assert sha256((tmp_path / "got").read_bytes()) == tree.digests["medium.bin"]


def test_ffprobe_and_ffmpeg_seek(site, family, video):
    url = site.url("video.mp4", family)
    probe = site.client.run("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", url).stdout
    assert abs(float(probe) - 30) < 0.1

    def frame(source):
        return ["ffmpeg", "-v", "error", "-ss", "17.4", "-i", source, "-frames:v", "3", "-f", "framemd5", "-"]

    got = site.client.run(*frame(url), stdin=subprocess.DEVNULL).stdout
    expected = subprocess.run(list(map(str, frame(video))), capture_output=True, check=True, stdin=subprocess.DEVNULL)
    assert got == expected.stdout


def test_wrk_256_connections(site, family, tree, quick):
    done = site.client.run("wrk", "-t", "2", "-c", "256", "-d", "2s" if quick else "4s", "--timeout", "5s",
                           "--latency", site.url("sizes/1024.bin", family))
    output = done.stdout.decode()
    print(output)
    assert "Socket errors" not in output, output
    assert "Non-2xx" not in output, output
    requests = int(re.search(r"(\d+) requests in", output).group(1))
    assert requests > 1000, output


def test_one_keep_alive_connection_mixes_everything(site, family, tree):
    with site.connect(family) as connection:
        for _ in range(3):
            for name in ("hello.txt", "sizes/4097.bin", "empty.txt", "sizes/102400.bin"):
                connection.send(request("/" + name))
                response = connection.read_response()
                assert (response.status, sha256(response.body)) == (200, tree.digests[name])
            connection.send(request("/absent"))
            assert connection.read_response().status == 404
            connection.send(request("/hello.txt", method="HEAD"))
            assert connection.read_response("HEAD").status == 200


def test_directories(site, family, tree):
    assert site.curl(site.url("", family)).stdout == tree.read("index.html")
    assert site.curl(site.url("directory/", family)).stdout == tree.read("directory/index.html")
    status, fields = head_fields(site.curl("--head", site.url("directory", family)).stdout)
    assert status == 301
    assert fields["location"].endswith("/directory/")
    assert site.curl("-L", site.url("directory", family)).stdout == tree.read("directory/index.html")
