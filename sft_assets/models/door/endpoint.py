"""Where a model answers, and the key that it is asked with. The key is in no message, log line, stored reply or repr.

    Endpoint.of_environment("gpt-5-mini")   ->   Endpoint(base_url='https://api.openai.com/v1', model='gpt-5-mini')

OPENAI_BASE_URL and OPENAI_API_KEY must be set for every model but `embedded`: no address is taken for granted. A user and
password in the address go as basic authentication, in the place of the key. Proxies of the environment are used, but never for
an address of this machine; redirects are not followed, so that data goes nowhere else.
"""

from __future__ import annotations

import base64
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address

import httpx2
from openai import AsyncOpenAI
from pydantic import SecretStr

from sft_assets.errors import SftError

OPENAI = "https://api.openai.com/v1"
LOGGERS = (  # a filter counts for its own logger only, not for those below it
    "openai", "openai._base_client", "openai._response", "openai._legacy_response", "httpx2", "httpcore2",
    "httpcore2.connection", "httpcore2.http11", "httpcore2.http2", "httpcore2.proxy", "httpcore2.socks", "asyncio",
)  # fmt: skip
IN_WORDS = 4  # characters from which a secret is taken out of messages and logs
IN_REPLIES = 16  # the same for replies, where "EMPTY" and "lm-studio", the keys of servers that need none, are words
HEADER = re.compile(r"(?i)(\bauthorization\W{1,4}(?:basic\s+|bearer\s+)?|\bbearer\s+)[\w.~+/=-]{4,}")
USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
REDACTED = "[redacted]"


@dataclass(frozen=True)
class Endpoint:
    """An address with a key. base_url holds neither user and password (`basic`, "user:password") nor `query`."""

    base_url: str
    model: str
    key: SecretStr = field(repr=False)
    basic: SecretStr = field(default=SecretStr(""), repr=False)
    query: SecretStr = field(default=SecretStr(""), repr=False)

    @classmethod
    def of_environment(cls, model: str) -> Endpoint:
        """The endpoint of OPENAI_BASE_URL and OPENAI_API_KEY.

        Raises:
            SftError: address or key is not set, or the address is none.
        """
        key, address = (os.environ.get(name, "").strip() for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"))
        absent = [name for name, value in (("OPENAI_API_KEY", key), ("OPENAI_BASE_URL", address)) if not value]
        if absent:  # no address is taken for granted: rows go nowhere that nobody named
            raise SftError(
                f"the recipe names the model {model!r}, but {' and '.join(absent)} is not set. Set OPENAI_BASE_URL to its "
                f"address ({OPENAI} for OpenAI's own) and OPENAI_API_KEY to its key (any word where it needs none); or name "
                "the model `embedded`, which comes with the package"
            )
        return cls.at(address, key, model)

    @classmethod
    def at(cls, address: str, key: str, model: str) -> Endpoint:
        """The endpoint at an address, which may hold user, password and query."""
        try:
            url = httpx2.URL(address)
        except (httpx2.InvalidURL, ValueError):
            url = httpx2.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise SftError("OPENAI_BASE_URL is no address: it looks like https://host/v1")
        user = f"{url.username}:{url.password}" if url.userinfo else ""
        clean = url.copy_with(userinfo=b"", query=None, fragment=None)
        if not re.fullmatch(r"[!-~]+", key):
            raise SftError("OPENAI_API_KEY holds characters that no key has: spaces, line breaks, or others than ASCII")
        return cls(str(clean), model, SecretStr(key), SecretStr(user), SecretStr(url.query.decode()))

    def client(self, timeout: float, concurrency: int) -> AsyncOpenAI:
        """The openai client, with its own retries off."""
        http = httpx2.AsyncClient(
            timeout=timeout,
            limits=httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            trust_env=not _is_this_machine(httpx2.URL(self.base_url).host),
            follow_redirects=False,
        )
        return AsyncOpenAI(
            api_key=self.key.get_secret_value(),
            base_url=self.base_url,
            max_retries=0,
            timeout=timeout,
            default_headers={"Authorization": f"Basic {self._basic_token}"} if self._basic_token else None,
            default_query=dict(httpx2.QueryParams(self.query.get_secret_value())),
            http_client=http,
        )

    @property
    def _basic_token(self) -> str:
        return base64.b64encode(self.basic.get_secret_value().encode()).decode()

    @cached_property
    def _secrets(self) -> list[SecretStr]:
        """What must not be seen, the longest first: one may stand in another."""
        password = self.basic.get_secret_value().partition(":")[2]
        values = [self.key.get_secret_value(), password, self._basic_token]
        values += [value for _, value in httpx2.QueryParams(self.query.get_secret_value()).multi_items()]
        values += [line.partition(":")[2] for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")]
        return [SecretStr(value) for value in sorted({value.strip() for value in values}, key=len, reverse=True)]

    def clean_reply(self, text: str) -> str:
        """A reply without the endpoint's secrets; nothing else of it is touched."""
        return self._clean(text, IN_REPLIES)

    def clean_words(self, text: str) -> str:
        """A message or log line without secrets, and without anything that has the form of one."""
        return USERINFO.sub(f"{REDACTED}@", HEADER.sub(rf"\1{REDACTED}", self._clean(text, IN_WORDS)))

    def _clean(self, text: str, shortest: int) -> str:
        for secret in self._secrets:
            if len(secret) >= shortest:
                text = text.replace(secret.get_secret_value(), REDACTED)
        return text

    @contextmanager
    def clean_logs(self) -> Iterator[None]:
        """While this lasts, the client's log lines go through `clean_words`, at every level."""
        names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in LOGGERS]
        loggers = [logging.getLogger(name) for name in {*names, *LOGGERS}]

        def clean(record: logging.LogRecord) -> bool:
            try:
                words = self.clean_words(record.getMessage())
            except (TypeError, ValueError):  # a line that cannot be put together
                words = REDACTED
            record.msg, record.args, record.exc_info, record.exc_text = words, None, None, None
            return True

        for logger in loggers:
            logger.addFilter(clean)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(clean)


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
