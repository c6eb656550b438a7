"""The sidecar from Python, with the standard library only.

Usage: python3 client.py [URL [WAIT_SECONDS]]
"""

import http.client
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

URL = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8081"
WAIT_S = int(sys.argv[2]) if len(sys.argv) > 2 else 30
NO_ANSWER = (OSError, http.client.HTTPException)


def ask(method, path, body=None, headers={}):
    """Status, headers and body."""
    request = urllib.request.Request(URL + path, method=method, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S + 10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read()


def path_of(key):
    return "/map/" + urllib.parse.quote(key, safe="")


def put(key, value, ttl=None):
    path = path_of(key) + (f"?ttl={ttl}" if ttl else "")
    status, _, reason = ask("PUT", path, value.encode())
    if status not in (201, 204):
        raise RuntimeError(f"{status} {reason.decode()}")


def get(key):
    """The value, or None."""
    status, _, value = ask("GET", path_of(key))
    return value.decode() if status == 200 else None


def delete(key):
    """Whether it was there."""
    return ask("DELETE", path_of(key))[0] == 204


def watch(key):
    """Yields the value now and after each change, None while the key is not there."""
    tag, wait = None, 0
    while True:
        known = {"If-None-Match": tag} if tag else {}
        try:
            status, headers, value = ask("GET", f"{path_of(key)}?wait={wait}s", headers=known)
        except NO_ANSWER:
            print("no answer, trying again", flush=True)
            wait_until_ready()
            continue
        if status == 200:
            tag = headers["ETag"]
            yield value.decode()
        elif status == 404:
            if tag or wait == 0:
                yield None
            tag = None
        elif status != 304:  # 503: too many wait already, or it has just started
            time.sleep(1)
        wait = WAIT_S


def wait_until_ready():
    """A sidecar has nothing after its start, until it has met another one."""
    while True:
        try:
            if ask("GET", "/readyz")[0] == 200:
                return
        except NO_ANSWER:
            pass
        time.sleep(0.2)


put("demo/python", "blue")
print("demo/python =", get("demo/python"))
put("demo/python", "red", ttl="60s")
print("demo/python =", get("demo/python"))
delete("demo/python")
print("demo/python =", get("demo/python"))

for flag in watch("flag"):
    print("flag =", flag, flush=True)
    if flag == "end":
        break
