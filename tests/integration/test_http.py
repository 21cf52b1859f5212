"""HTTP/1.1 on the wire, byte by byte (RFC 9110, RFC 9112), with and without sanitizers."""
import time

import pytest

from rig.client import Closed, read_all, request
from rig.content import sha256

OK = {200}


def statuses(site, data, timeout=10):
    """The statuses answered to some bytes, and whether the server then closed."""
    with site.connect(timeout=timeout) as connection:
        connection.send(data)
        found = []
        try:
            while True:
                found.append(connection.read_response().status)
        except Closed:
            return found, True
        except TimeoutError:
            return found, False


BAD_REQUESTS = {
    # name: (bytes, the status that the first response must have)
    "no version": (b"GET /\r\nHost: a\r\n\r\n", {400, 505}),
    "http/2": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", {505, 400}),
    "http/3.7": (b"GET / HTTP/3.7\r\nHost: a\r\n\r\n", {505, 400}),
    "not http": (b"GET / FTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "lower-case version": (b"GET / http/1.1\r\nHost: a\r\n\r\n", {400}),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "tab for space": (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", {400}),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", {400}),
    "bad host": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", {400}),
    "space before colon": (b"GET / HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n", {400}),
    "space in name": (b"GET / HTTP/1.1\r\nHost: a\r\nX A: b\r\n\r\n", {400}),
    "no colon": (b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", {400}),
    "empty name": (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", {400}),
    "folded line": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", {400}),
    "first line folded": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", {400}),
    "nul in value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", {400}),
    "bare cr in value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", {400}),
    "bare lf ends": (b"GET / HTTP/1.1\nHost: a\n\n", {400}),
    "content-length twice": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", {400}),
    "content-length and chunked": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    "content-length with plus": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde", {400}),
    "content-length negative": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", {400}),
    "content-length hexadecimal": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nabcde", {400}),
    "content-length overflow": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                                {400, 413, 405}),
    "unknown transfer coding": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: sparse\r\n\r\n", {501, 400}),
    "chunked not last": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", {400, 501}),
    "transfer-encoding in 1.0": (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                                 {400, 501, 405}),
    "bad percent": (b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "short percent": (b"GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "nul in path": (b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", {400, 404}),
    "control in target": (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "relative target": (b"GET hello.txt HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "star with get": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "connect": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", {405, 501, 400}),
    "unknown method": (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", {501, 405}),
    "lower-case method": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", {501, 400, 405}),
    "delete": (b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", {405}),
    "put": (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", {405}),
    "unknown expectation": (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", {417}),
    "long target": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", {414}),
    "64 KiB of fields": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 65536 + b"\r\n\r\n", {431}),
    "thousands of fields": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 10000 + b"\r\n", {431}),
    "tls": (bytes.fromhex("1603010200010001fc0303") + bytes(range(200)), {400}),
    "http/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {505, 400}),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_is_refused(checked_site, name):
    data, expected = BAD_REQUESTS[name]
    with checked_site.connect(timeout=5) as connection:
        connection.send(data)
        response = connection.read_response()
        assert response.status in expected
        assert response.get("Date")
        assert response.complete
        if response.status == 405:
            assert {"GET", "HEAD"} <= {word.strip() for word in response.get("Allow").split(",")}


FRAMING_ERRORS = ["content-length twice", "content-length and chunked", "space before colon", "folded line",
                  "unknown transfer coding", "content-length negative", "chunked not last", "bare lf ends", "nul in value"]


@pytest.mark.parametrize("name", FRAMING_ERRORS)
def test_after_a_framing_error_nothing_more_is_parsed(checked_site, name):
    """What follows could be read differently by another parser: request smuggling."""
    data, _ = BAD_REQUESTS[name]
    found, closed = statuses(checked_site, data + request("/hello.txt"), timeout=5)
    assert len(found) == 1 and closed, found


GOOD_REQUESTS = {
    "plain": (b"GET /hello.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    "absolute form": (b"GET http://other/hello.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    "host empty": (b"GET /hello.txt HTTP/1.1\r\nHost: \r\n\r\n", 200),
    "host with port": (b"GET /hello.txt HTTP/1.1\r\nHost: a:8080\r\n\r\n", 200),
    "host ipv6": (b"GET /hello.txt HTTP/1.1\r\nHost: [fd09::2]:80\r\n\r\n", 200),
    "leading empty line": (b"\r\nGET /hello.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    "no space after colon": (b"GET /hello.txt HTTP/1.1\r\nHost:a\r\n\r\n", 200),
    "spaces and tabs around value": (b"GET /hello.txt HTTP/1.1\r\nHost: \t a \t\r\n\r\n", 200),
    "query": (b"GET /hello.txt?a=b&c HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    "percent-encoded": (b"GET /%68ello%2etxt HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    "odd name": (b"GET /name%20with%20spaces%20&%20100%25.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    "unicode name": ("GET /unicode/gr%C3%BC%C3%9F.txt HTTP/1.1\r\nHost: a\r\n\r\n".encode(), 200),
    "dot segments within": (b"GET /directory/../hello.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    "http/1.0": (b"GET /hello.txt HTTP/1.0\r\n\r\n", 200),
    "http/1.9 is 1.1": (b"GET /hello.txt HTTP/1.9\r\nHost: a\r\n\r\n", 200),
    "options": (b"OPTIONS /hello.txt HTTP/1.1\r\nHost: a\r\n\r\n", {200, 204}),
    "options star": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", {200, 204}),
    "absent": (b"GET /absent HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "absent directory": (b"GET /absent/file HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "file as directory": (b"GET /hello.txt/ HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "below a file": (b"GET /hello.txt/x HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "no index": (b"GET /no-index/ HTTP/1.1\r\nHost: a\r\n\r\n", {403, 404}),
    "fifo": (b"GET /fifo HTTP/1.1\r\nHost: a\r\n\r\n", {403, 404}),
    "symlink loop": (b"GET /loop HTTP/1.1\r\nHost: a\r\n\r\n", {403, 404}),
    "symlink within": (b"GET /link-within.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    "unsatisfiable range": (b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=13-\r\n\r\n", 416),
    "suffix of nothing": (b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=-0\r\n\r\n", 416),
    "range of an empty file": (b"GET /empty.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-\r\n\r\n", {416, 200}),
    "suffix longer than the file": (b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=-99\r\n\r\n", 206),
    "range past the end": (b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=5-99\r\n\r\n", 206),
    "backward range is ignored": (b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=5-2\r\n\r\n", 200),
    "unknown range unit": (b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nRange: lines=1-2\r\n\r\n", 200),
    "range syntax error": (b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=a-b\r\n\r\n", 200),
    "huge range numbers": (
        b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-99999999999999999999999999\r\n\r\n", {206, 200}),
    "if-none-match star": (b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n", 304),
    "if-match star": (b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nIf-Match: *\r\n\r\n", 200),
    "bad date is ignored": (b"GET /hello.txt HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: yesterday\r\n\r\n", 200),
}


@pytest.mark.parametrize("name", GOOD_REQUESTS)
def test_a_request_is_answered(checked_site, name):
    data, expected = GOOD_REQUESTS[name]
    found, _ = statuses(checked_site, data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1), timeout=5)
    assert len(found) == 1
    assert found[0] in (expected if isinstance(expected, set) else {expected})


def test_416_tells_the_length(checked_site):
    response = checked_site.exchange(request("/hello.txt", Range="bytes=100-"))
    assert (response.status, response.get("Content-Range")) == (416, "bytes */13")


def test_206_tells_the_range(checked_site):
    response = checked_site.exchange(request("/hello.txt", Range="bytes=7-11"))
    assert (response.status, response.get("Content-Range"), response.body) == (206, "bytes 7-11/13", b"world")


def test_304_has_the_validators_and_no_body(checked_site):
    first = checked_site.exchange(request("/hello.txt"))
    with checked_site.connect() as connection:
        connection.send(request("/hello.txt", If_None_Match=first.get("ETag")) + request("/one.txt"))
        response = connection.read_response()
        assert (response.status, response.get("ETag")) == (304, first.get("ETag"))
        assert connection.read_response().body == b"1"


def test_conditional_precedence(checked_site):
    """If-None-Match wins over If-Modified-Since, If-Match over If-Unmodified-Since (RFC 9110 13.2.2)."""
    first = checked_site.exchange(request("/hello.txt"))
    modified, etag = first.get("Last-Modified"), first.get("ETag")
    assert checked_site.exchange(
        request("/hello.txt", If_None_Match='"x"', If_Modified_Since=modified)).status == 200
    assert checked_site.exchange(request(
        "/hello.txt", If_Match=etag, If_Unmodified_Since="Thu, 01 Jan 1998 00:00:00 GMT")).status == 200
    assert checked_site.exchange(
        request("/hello.txt", If_None_Match=f'"a", W/{etag}, "b"')).status == 304
    assert checked_site.exchange(request("/hello.txt", If_Match=f"W/{etag}")).status == 412
    assert checked_site.exchange(
        request("/hello.txt", Range="bytes=0-1", If_Range=f"W/{etag}")).status == 200


def test_media_types(checked_site):
    for name, kind in (("hello.txt", "text/plain"), ("index.html", "text/html"), ("medium.bin", "application/octet-stream")):
        assert checked_site.exchange(request("/" + name, method="HEAD"), method="HEAD").get(
            "Content-Type", "").split(";")[0] == kind


def test_head_has_the_fields_of_get(checked_site):
    def stable(response):
        return sorted((k.lower(), v) for k, v in response.fields if k.lower() != "date")

    get = checked_site.exchange(request("/hello.txt"))
    head = checked_site.exchange(request("/hello.txt", method="HEAD"), method="HEAD")
    assert stable(get) == stable(head)


def test_pipelined_requests_are_answered_in_order(checked_site, tree):
    names = ["hello.txt", "sizes/102400.bin", "absent", "one.txt", "sizes/2097153.bin", "empty.txt"] * 10
    with checked_site.connect() as connection:
        connection.send(b"".join(request("/" + name) for name in names))
        for name in names:
            response = connection.read_response()
            if name == "absent":
                assert response.status == 404
            else:
                assert (response.status, sha256(response.body)) == (200, tree.digests[name])


def test_a_request_in_single_bytes(checked_site):
    with checked_site.connect() as connection:
        for byte in request("/hello.txt"):
            connection.send(bytes([byte]))
            time.sleep(0.0005)
        assert connection.read_response().body == b"hello, world\n"


def test_http10_closes_and_can_be_kept_alive(checked_site):
    with checked_site.connect() as connection:
        connection.send(b"GET /hello.txt HTTP/1.0\r\n\r\n")
        assert [r.body for r in read_all(connection)] == [b"hello, world\n"]
    with checked_site.connect() as connection:
        for _ in range(2):
            connection.send(b"GET /hello.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            response = connection.read_response()
            assert (response.body, response.get("Connection", "").lower()) == (b"hello, world\n", "keep-alive")


def test_connection_close_is_obeyed(checked_site):
    with checked_site.connect() as connection:
        connection.send(request("/hello.txt", Connection="close") + request("/one.txt"))
        responses = read_all(connection)
        assert [r.body for r in responses] == [b"hello, world\n"]
        assert responses[0].get("Connection", "").lower() == "close"


def test_half_closed_client_gets_its_answer(checked_site, tree):
    import socket
    with checked_site.connect() as connection:
        connection.send(request("/sizes/2097152.bin"))
        connection.socket.shutdown(socket.SHUT_WR)
        response = connection.read_response()
        assert sha256(response.body) == tree.digests["sizes/2097152.bin"]
        assert connection.read_to_end() == b""


@pytest.mark.parametrize("body, fields", [
    (b"hello", {"Content_Length": "5"}),
    (b"5\r\nhello\r\n0\r\n\r\n", {"Transfer_Encoding": "chunked"}),
    (b"5;ext=1\r\nhello\r\n0\r\nTrailer: x\r\n\r\n", {"Transfer_Encoding": "chunked"})],
    ids=["length", "chunked", "chunked-with-trailer"])
def test_a_body_is_refused_or_drained_without_losing_step(checked_site, body, fields):
    """A GET may carry a body. Either the connection closes after the answer, or the next request is understood."""
    with checked_site.connect() as connection:
        connection.send(request("/hello.txt", **fields) + body + request("/one.txt"))
        first = connection.read_response()
        assert first.status in (200, 400, 413)
        try:
            second = connection.read_response()
        except Closed:
            return
        assert (second.status, second.body) == (200, b"1")


def test_a_body_that_looks_like_a_request_is_not_one(checked_site):
    inner = request("/one.txt")
    with checked_site.connect(timeout=3) as connection:
        connection.send(request("/absent", method="POST", Content_Length=str(len(inner))) + inner)
        first = connection.read_response()
        assert first.status in (404, 405, 413)
        with pytest.raises((Closed, TimeoutError)):
            connection.read_response()


def test_expect_continue(checked_site):
    """Either 100 and then an answer, or a final answer at once (RFC 9110 10.1.1)."""
    with checked_site.connect() as connection:
        connection.send(request("/hello.txt", method="POST", Content_Length="5", Expect="100-continue"))
        response = connection.read_response()
        if response.status == 100:
            connection.send(b"hello")
            response = connection.read_response()
        assert response.status in (405, 413, 417)


def test_a_large_body_is_not_swallowed_for_ever(checked_site):
    with checked_site.connect(timeout=15) as connection:
        try:
            connection.send(request("/hello.txt", method="POST", Content_Length=str(1 << 40)))
            assert connection.read_response().status in (405, 413)
            for _ in range(64):
                connection.send(bytes(1 << 20))
            seen = connection.read_to_end()
            assert seen == b""
        except (Closed, BrokenPipeError, ConnectionResetError):
            pass


def test_the_head_of_a_small_response_leaves_in_one_segment(checked_site):
    """One recv gives head and body of a small file."""
    with checked_site.connect() as connection:
        connection.send(request("/hello.txt"))
        data = connection.socket.recv(65536)
        assert data.endswith(b"hello, world\n")


def test_date_is_now(checked_site):
    import email.utils
    response = checked_site.exchange(request("/hello.txt"))
    stamp = email.utils.parsedate_to_datetime(response.get("Date")).timestamp()
    assert abs(stamp - time.time()) < 3


ESCAPES = [
    "/../../../../../../etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/directory/../../etc/passwd",
    "/directory/%2e%2e%2f%2e%2e%2fetc/passwd", "/..%2f..%2f..%2fetc%2fpasswd", "//etc/passwd", "/%2fetc/passwd",
    "/link-out.txt", "/link-up/passwd", "/link-root/etc/passwd", "/./../etc/passwd", "/directory/..;/etc/passwd",
    "/proc/self/root/etc/passwd", "/%2e%2e%5c%2e%2e%5cetc/passwd",
]


@pytest.mark.parametrize("target", ESCAPES)
def test_nothing_outside_the_root_is_served(checked_site, target):
    response = checked_site.exchange(request(target))
    assert response.status in (400, 403, 404), response.status
    assert b"root:" not in response.body
