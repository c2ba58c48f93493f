"""Who may come in, by a request's head alone: Host, path, method, key.

The routes are the web's; here they are only looked up, so that a request to nowhere, or
without a key, is refused before its body is read.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from urllib.parse import parse_qs, unquote_to_bytes

from twisted.internet.interfaces import IReactorTime
from werkzeug.routing import Map

from .client_request import GatewayRequest
from .config import Config
from .errors import (
    HostNotAllowed,
    LimitReached,
    MalformedRequest,
    MethodNotAllowed,
    Unauthorized,
    UnknownPath,
)
from .overload import Capacity
from .throttle import WrongKeys, source

PUBLIC = {(b"GET", b"/health"), (b"HEAD", b"/health"), (b"HEAD", b"/")}
"""Methods and paths that need no key; every other one does, once there are keys."""


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+;=%-]+)(?::[0-9]*)?")
"""RFC 9110, 7.2, by way of RFC 3986, 3.2.2, without the comma that joins two of them."""


_PEPPER = os.urandom(32)
"""Makes of a key's digest the one that it is looked up by, which nobody outside can work towards."""


class Admission:
    """Looks at heads. ``routes`` is the map of the paths that there are; ``wrong_keys`` and
    ``capacity`` outlive a configuration."""

    def __init__(
        self,
        config: Config,
        routes: Map,
        wrong_keys: WrongKeys,
        capacity: Capacity,
        clock: IReactorTime,
    ) -> None:
        self._keys = {_keyed(key.digest): key for key in config.keys}
        self._wrong_keys = wrong_keys
        self._capacity = capacity
        self._clock = clock
        self._hosts = frozenset(host.lower() for host in config.hosts)
        self._paths: dict[bytes, frozenset[bytes]] = {}
        self._prefixes: dict[bytes, frozenset[bytes]] = {}  # of the paths that end in a name
        self._shown: set[str] = set()
        found: dict[str, set[bytes]] = {}
        for rule in routes.iter_rules():
            methods = {method.encode() for method in rule.methods or ()} - {b"OPTIONS"}
            found.setdefault(rule.rule, set()).update(methods)
        for path, allowed in found.items():
            prefix, has_name, _ = path.partition("<")
            self._shown.add(f"{prefix}..." if has_name else path)
            (self._prefixes if has_name else self._paths)[prefix.encode()] = frozenset(allowed)

    def screen(self, request: GatewayRequest, method: bytes, target: bytes) -> None:
        """Look at a request's head, before its body. Raises the `GatewayError` that refuses it."""
        self._check_host(request)
        path = target.partition(b"?")[0]
        methods = self._methods(path)
        if methods is None:
            self._authenticate(request, target)  # who has no key learns nothing of the paths
            raise UnknownPath(self.no_path(path))
        if (method, path) not in PUBLIC:
            self._authenticate(request, target)
        if method not in methods:
            allowed = tuple(sorted(name.decode() for name in methods))
            raise MethodNotAllowed(
                f"{_shown(method)} is not for {_shown(path)}; use {' or '.join(allowed)}", allowed
            )
        try:
            unquote_to_bytes(path).decode()
        except UnicodeDecodeError:
            raise MalformedRequest("the path, its percent-encoding undone, is not UTF-8") from None
        # All that is asked with a body costs some; what is asked without is answered in any case.
        if method == b"POST" and (overloaded := self._capacity.hopeless()) is not None:
            raise overloaded

    def no_path(self, path: bytes) -> str:
        """What to say of a path that is none."""
        return f"no such path: {_shown(path)}; there are {', '.join(sorted(self._shown))}"

    def _methods(self, path: bytes) -> frozenset[bytes] | None:
        if (methods := self._paths.get(path)) is not None:
            return methods
        for prefix, methods in self._prefixes.items():
            if path.startswith(prefix) and len(path) > len(prefix):
                return methods
        return None

    def _check_host(self, request: GatewayRequest) -> None:
        """Exactly one Host, and one that this gateway goes by: a page in a browser must not
        reach it under a name of its own (DNS rebinding)."""
        hosts = request.requestHeaders.getRawHeaders(b"host") or []
        if len(hosts) > 1 or (not hosts and request.channel.version == b"HTTP/1.1"):
            raise MalformedRequest("the request needs exactly one Host header")
        if not hosts:
            return
        found = _HOST.fullmatch(hosts[0].decode("latin-1").lower())
        if found is None:
            raise MalformedRequest("the Host header is not a host")
        name = found[1]
        if name not in self._hosts:
            raise HostNotAllowed(
                f"this gateway does not go by the name {name[:100]!r}; add it to `hosts` in [gateway]"
            )

    def _authenticate(self, request: GatewayRequest, target: bytes) -> None:
        """Find the client's key and leave it on the request. Unknown, revoked and missing sound alike."""
        if not self._keys:
            return
        now = self._clock.seconds()
        wrong_keys, address = self._wrong_keys, source(getattr(request.client, "host", None) or "")
        digest = hashlib.sha256(_credential(request, target)).digest()
        keyed = _keyed(digest)
        wait = wrong_keys.wait(address, now)
        key = None
        if not wait or wrong_keys.is_familiar(address, keyed, now):
            key = self._keys.get(keyed)
        if key is not None and hmac.compare_digest(key.digest, digest):
            wrong_keys.right(address, keyed, now)
            request.client_key = key
            return
        if wait:
            raise LimitReached(
                "too many wrong keys came from this address; try again later", retry_after=wait
            )
        wrong_keys.wrong(address, now)
        raise Unauthorized(
            "a key of this gateway is needed: send it as `Authorization: Bearer`, `x-api-key`"
            " or `x-goog-api-key`"
        )


def _keyed(digest: bytes) -> bytes:
    return hashlib.blake2b(digest, key=_PEPPER, digest_size=32).digest()


def _credential(request: GatewayRequest, target: bytes) -> bytes:
    """The client's key, wherever its SDK puts it. Gemini's may be in the query, ``?key=``."""
    for name in (b"x-api-key", b"x-goog-api-key"):
        if (credential := request.getHeader(name)) is not None:
            return credential
    scheme, _, token = (request.getHeader(b"authorization") or b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return token.strip()
    path, _, query = target.partition(b"?")
    if b"key=" in query and path.startswith((b"/v1beta/", b"/v1/models")):
        # As Latin-1, which has a character for every byte: given bytes, it raises at any beyond ASCII.
        found = parse_qs(query.decode("latin-1"), encoding="latin-1").get("key", [""])
        return found[-1].encode("latin-1")
    return b""


def _shown(text: bytes) -> str:
    """Bytes of a client's, fit for a message."""
    return text[:200].decode("ascii", "backslashreplace")
