"""What single values must be: endpoints, URLs, hosts, names, header lines.

Each function takes a string, raises ``ValueError`` with a phrase that says what is wrong
with it, and never repeats a part that may hold a secret. Nothing is resolved or opened.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

MAX_MODEL_NAME = 256

# What Twisted's server endpoints take, in the order in which they may stand unnamed: the
# signatures of the parsers in twisted.internet.endpoints.
_ENDPOINTS: dict[str, tuple[str, ...]] = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": (
        "port",
        "privateKey",
        "certKey",
        "sslmethod",
        "interface",
        "backlog",
        "extraCertChain",
        "dhParameters",
    ),
    "tls": ("path", "port", "backlog", "interface"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
}
_EXAMPLE = "expected a Twisted endpoint such as tcp:8088:interface=127.0.0.1"

_NAME = re.compile(r"[A-Za-z0-9._@+-]{1,64}")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, section 5.6.2
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")
_OUR_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "anthropic-version",
        "api-key",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-api-key",
        "x-goog-api-key",
    }
)
_APPENDED = ("/chat/completions", "/messages", "/responses")


def is_private(description: str) -> bool:
    """Whether nobody but this machine can reach what listens so, for certain. Raises
    ``ValueError`` for what is no Twisted server endpoint string that we take."""
    kind, *pieces = _pieces(description)
    known = _ENDPOINTS.get(kind.value)
    if kind.name is not None or known is None or not pieces:
        raise ValueError(f'cannot listen on "{description}": {_EXAMPLE} (types: {", ".join(_ENDPOINTS)})')
    arguments: dict[str, str] = {}
    unnamed = iter(known)
    for piece in pieces:
        name = piece.name if piece.name is not None else next(unnamed, "")
        if name in known and name not in arguments:
            arguments[name] = piece.value
            continue
        if name in arguments:
            wrong = f"{name} is there twice"
        else:
            wrong = f'"{piece.name or piece.value}" is not known{nearest(name, known)}'
        colons = " (write the colons of an IPv6 address as \\:)" if "::" in description else ""
        raise ValueError(f'"{description}": {wrong}; {kind.value}: takes {", ".join(known)}{colons}')
    if "port" in known:
        port = arguments.get("port", "443" if kind.value == "tls" else "")
        if not (port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ValueError(f'"{description}" has no port from 0 to 65535: {_EXAMPLE}')
        return is_loopback(arguments.get("interface", ""))
    if kind.value == "unix" and not arguments.get("address"):
        raise ValueError(f'"{description}" names no path: expected unix:/run/aigateway.sock')
    # A socket that systemd hands over may be bound to anything.
    return kind.value == "unix"


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine's loopback, as far as its spelling shows."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def base_url(text: str) -> str:
    """An http or https URL to which paths are appended, without its last slash."""
    url = _url(text)
    for ending in _APPENDED:
        if url.endswith(ending):
            raise ValueError(f"ends in {ending}, which the gateway appends itself: leave it out")
    return url


def token_url(text: str) -> str:
    """An http or https URL."""
    return _url(text)


def in_clear(url: str) -> bool:
    """Whether a credential sent to ``url`` crosses a network unencrypted."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def host(text: str) -> str:
    """A host name or address as the Host header has it, lower case, without a port."""
    name = text.lower()
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        if not _HOST.fullmatch(name):
            raise ValueError(
                f'"{text}" is no host name: expected one without scheme, port or path, such as gw.example.com'
            ) from None
        return name
    return f"[{address}]" if address.version == 6 else str(address)


def name(text: str) -> str:
    """A name for a provider, an account or a key: it goes into headers, metrics and targets."""
    if not _NAME.fullmatch(text):
        raise ValueError("expected a name of up to 64 letters, digits and . _ - @ +")
    return text


def model(text: str) -> str:
    """A model's name, or a pattern for some."""
    if len(text) > MAX_MODEL_NAME or not text.isprintable():
        raise ValueError(f"expected at most {MAX_MODEL_NAME} printable characters")
    return text


def digest(text: str) -> bytes:
    """A SHA-256 in hexadecimal digits, with or without ``sha256:`` before it."""
    digits = _DIGEST.fullmatch(text)
    if digits is None:
        raise ValueError("expected sha256: and the 64 hexadecimal digits of the key's SHA-256")
    return bytes.fromhex(digits[1])


def store_url(text: str) -> str:
    """Where state is kept."""
    if not re.fullmatch(r"sqlite:///.+", text):
        raise ValueError("expected a URL such as sqlite:////var/lib/aigateway/state.db")
    return text


def header_name(text: str) -> str:
    """The name of a header that a provider may be sent besides the gateway's own."""
    if not _HEADER_NAME.fullmatch(text):
        raise ValueError("is no name that an HTTP header may have")
    if text.lower() in _OUR_HEADERS:
        raise ValueError("is a header that the gateway sets itself; leave it out")
    return text


def header_value(text: str) -> str:
    if not _HEADER_VALUE.fullmatch(text):
        raise ValueError("is empty, or holds a character that no HTTP header may hold")
    return text


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a message about ``word``: the known one that may be meant, if any is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""


def _url(text: str) -> str:
    # urlsplit drops tabs and line ends without a word, and its own errors quote the URL.
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("holds a character that no URL may hold")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is no URL: its host or port cannot be read") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("expected a URL that begins with http:// or https:// and a host")
    if "@" in parts.netloc:
        raise ValueError("holds a user name or password; credentials go into accounts")
    if len(parts.hostname) > 253 or any(not 0 < len(label) < 64 for label in parts.hostname.split(".")):
        raise ValueError("its host is no name: each part has 1 to 63 characters")
    if "?" in text or "#" in text:
        raise ValueError("holds a query or a fragment; expected none, since paths are appended")
    return text.rstrip("/")


class _Piece(msgspec.Struct, frozen=True):
    name: str | None
    value: str


def _pieces(description: str) -> list[_Piece]:
    """An endpoint string cut at its colons, as twisted.internet.endpoints._tokenize does:
    a backslash takes the next character as it is, the first ``=`` of a piece ends its name."""
    pieces: list[_Piece] = []
    name: str | None = None
    current = ""
    characters = iter(description)
    for character in characters:
        if character == "\\":
            current += next(characters, "")
        elif character == ":":
            pieces.append(_Piece(name, current))
            name, current = None, ""
        elif character == "=" and name is None:
            name, current = current, ""
        else:
            current += character
    pieces.append(_Piece(name, current))
    return pieces
