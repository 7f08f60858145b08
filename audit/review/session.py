"""Who may speak to the server: one browser for each address given out, from this page alone, by this name alone."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from types import MappingProxyType

from audit.review.errors import RefusedError
from audit.review.store import Store

LIFETIME = 7 * 24 * 3600
"""Seconds that a browser may stay away."""
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "cache-control": "no-store",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }
)
"""What goes out with every reply."""


def digest(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def addresses(host: str, port: int) -> frozenset[str]:
    """Return what the header Host may say where a server listens at an address.

    A page of another site that has its own name point here (DNS rebinding) sends that name.

    Examples
    --------
    >>> sorted(addresses("127.0.0.1", 8321)), sorted(addresses("::1", 80))
    (['127.0.0.1:8321', 'localhost:8321'], ['[::1]:80', 'localhost:80'])
    """
    names = {f"[{host}]" if ":" in host else host}
    if is_local(host):
        names.add("localhost")
    return frozenset(f"{name.lower()}:{port}" for name in names)


def is_local(host: str) -> bool:
    """Tell whether only this machine can reach an address.

    Examples
    --------
    >>> is_local("127.0.0.1"), is_local("192.168.1.7"), is_local("laptop")
    (True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Visitor:
    """A browser that opened one of the addresses given out.

    Parameters
    ----------
    digest : str
        Of its secret.
    annotator : str or None
        Who answers in it.
    """

    digest: str
    annotator: str | None

    def name(self) -> str:
        """Return the annotator, or refuse where nobody has said a name yet."""
        if self.annotator is None:
            raise RefusedError("Enter your name first.", 428)
        return self.annotator


@dataclass(frozen=True)
class Gate:
    """Checks every request before anything is done for it.

    Parameters
    ----------
    store : Store
        Keeps the sessions, so that they outlive the server.
    hosts : frozenset of str
        As `addresses` gives them.
    """

    store: Store
    hosts: frozenset[str]
    _tokens: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def cookie(self) -> str:
        """The cookie's name. Cookies do not know ports, so each review has its own."""
        return f"review-{self.store.get('id')}"

    def token(self) -> str:
        """Return a new token that opens the page once."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._tokens.add(digest(token))
        return token

    def exchange(self, token: str) -> str:
        """Return the secret of a new session for a token, which is used up by this.

        Raises
        ------
        RefusedError
            If it was never given out, or used before.
        """
        with self._lock:
            if digest(token) not in self._tokens:
                raise RefusedError("This address was used before, or is not of this review.", 403)
            self._tokens.remove(digest(token))
        secret = secrets.token_urlsafe(32)
        self.store.add_session(digest(secret), time.time() + LIFETIME)
        return secret

    def check_host(self, headers: Mapping[str, str]) -> None:
        """Refuse a request that was sent to another name."""
        if headers.get("host", "").lower() not in self.hosts:
            raise RefusedError("This review is not at this address.", 421)

    def check_source(self, headers: Mapping[str, str], *, writes: bool) -> None:
        """Refuse a request that another page made, be it of another site or of another port here.

        Parameters
        ----------
        headers : mapping of str to str
            Of the request.
        writes : bool
            Whether it changes something; then it must say where it comes from, and be JSON, which no form can send.
        """
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        # "none" is a visit by the person, such as a bookmark; that cannot write.
        sites = (None, "same-origin") if writes else (None, "same-origin", "none")
        if site not in sites or origin not in (None, f"http://{headers.get('host')}"):
            raise RefusedError("Another page made this request.", 403)
        if writes and (site is None and origin is None):
            raise RefusedError("This request does not say which page made it.", 403)
        if writes and headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise RefusedError("Only JSON is taken.", 415)

    def visitor(self, headers: Mapping[str, str]) -> Visitor:
        """Return whose request it is.

        Raises
        ------
        RefusedError
            If it has no cookie of this review, or one that is over.
        """
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            found = None
        if found is not None:
            known, annotator = self.store.session(digest(found.value))
            if known:
                return Visitor(digest(found.value), annotator)
        raise RefusedError("Open the address that audit-labels review printed.", 401)
