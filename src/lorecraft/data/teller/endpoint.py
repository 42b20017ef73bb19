"""Any endpoint that speaks OpenAI's chat completions: asked politely, patiently and in time."""

from __future__ import annotations

import http.client
import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from lorecraft.data.chunks import BYTES_PER_TOKEN
from lorecraft.data.teller.cache import Reply
from lorecraft.data.teller.requests import Request
from lorecraft.errors import DataError
from lorecraft.recipe import TellerSection

TRIES = 5
LARGEST = 2**20
"""Bytes of a response; an answer has some thousand."""
_LONGEST_PAUSE = 60.0
"""Seconds between two tries."""
_LATER = (408, 409, 429, 500, 502, 503, 504, 529)
_FORMATS = ("json_schema", "json_object", "none")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key is not carried to wherever an endpoint points."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Later(Exception):
    """It may answer if asked again, after ``seconds`` if it said so."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


class Endpoint:
    """Asks an endpoint, several requests at a time.

    Args:
        section: where it is, which model, how fast it may be asked.
        back_off: seconds before the second try of a request, then twice as many each time.
    """

    def __init__(self, section: TellerSection, back_off: float = 1.0) -> None:
        self._section, self._back_off = section, back_off
        self._key = _key_of(section)
        self._opener = urllib.request.build_opener(_NoRedirect, *_proxies(section.endpoint))
        self._format = 0  # which of _FORMATS it takes; found out by asking
        self._gate = threading.Lock()
        self._next = 0.0
        self._stopped = threading.Event()

    def ask(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Reply]]:
        """Each request with its reply, as they come; a request is taken when there is room for it.

        Raises DataError when the endpoint cannot be reached, refuses or gives no answer; by then
        all that it did answer was given.
        """
        left = iter(requests)
        waiting: dict[Future[Reply], Request] = {}
        failed: BaseException | None = None
        self._stopped.clear()
        with ThreadPoolExecutor(self._section.at_once) as pool:
            try:
                while True:
                    room = 0 if failed else self._section.at_once - len(waiting)
                    for request in islice(left, room):
                        waiting[pool.submit(self._patiently, request)] = request
                    if not waiting:
                        break
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        request = waiting.pop(future)
                        if error := future.exception():
                            failed = failed or error
                            self._stopped.set()
                        else:
                            yield request, future.result()
            finally:
                self._stopped.set()  # those that wait for their turn give up
        if failed:
            raise failed

    def _patiently(self, request: Request) -> Reply:
        """Asked again, later and later, as long as that may help."""
        why = "given up before"
        for number in range(TRIES):
            self._wait_for_turn()
            if self._stopped.is_set():
                break
            try:
                return self._once(request)
            except _Later as error:
                why, pause = self._shown(str(error)), error.seconds
            if number + 1 < TRIES:
                pause = self._back_off * 2**number if pause is None else pause
                self._stopped.wait(min(_LONGEST_PAUSE, pause))
        raise DataError(
            f"{self._section.endpoint}: no answer in {TRIES} tries ({why})",
            "an endpoint that answers",
            "start it, or try later: what it has answered is kept and not asked again",
        )

    def _wait_for_turn(self) -> None:
        """So many requests a minute start, evenly."""
        per_minute = self._section.requests_per_minute
        if per_minute is None:
            return
        with self._gate:
            turn = max(time.monotonic(), self._next)
            self._next = turn + 60 / per_minute
        self._stopped.wait(max(0.0, turn - time.monotonic()))

    def _once(self, request: Request) -> Reply:
        format = self._format
        try:
            response = self._post(self._body(request, format))
        except urllib.error.HTTPError as error:
            said = self._shown(_body_of(error))
            if error.code in _LATER:
                raise _Later(f"{error.code} {said}", _retry_after(error)) from error
            if error.code in (400, 422) and format + 1 < len(_FORMATS):
                self._format = max(self._format, format + 1)  # it may not know this way
                return self._once(request)
            raise DataError(
                f"{self._section.endpoint}: {error.code} {said}",
                "an endpoint that takes chat completions of this model, with this key",
                "look at teller.endpoint, teller.model and teller.key",
            ) from error
        except (OSError, http.client.HTTPException) as error:  # refused, reset, too slow
            raise _Later(str(getattr(error, "reason", error)) or type(error).__name__) from error
        try:
            return _reply(request, response)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            said = self._shown(response.decode("utf-8", "replace"))
            raise _Later(f"what it says is no chat completion: {said!r}") from error

    def _body(self, request: Request, format: int) -> bytes:
        body: dict[str, Any] = {
            "model": self._section.model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "temperature": self._section.temperature,
            "max_tokens": request.room,
        }
        if _FORMATS[format] == "json_schema":
            schema = {"name": request.kind, "strict": True, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif _FORMATS[format] == "json_object":
            body["response_format"] = {"type": "json_object"}
        return json.dumps(body).encode()

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "User-Agent": "lorecraft"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        url = f"{self._section.endpoint.rstrip('/')}/chat/completions"
        asked = urllib.request.Request(url, body, headers)
        end = time.monotonic() + self._section.timeout
        with self._opener.open(asked, timeout=self._section.timeout) as response:
            parts: list[bytes] = []
            while part := response.read1(1 << 16):
                parts.append(part)
                if sum(map(len, parts)) > LARGEST:
                    raise _Later("an answer without end")
                if time.monotonic() > end:
                    raise TimeoutError(f"not done after {self._section.timeout:g} s")
            return b"".join(parts)

    def _shown(self, text: str) -> str:
        """The beginning of what it said, without the key."""
        text = text.replace(self._key, "...") if self._key else text
        return " ".join(text[:200].split())


def _proxies(endpoint: str) -> list[urllib.request.ProxyHandler]:
    """None for a server on this machine; those of the environment for any other."""
    host = urlsplit(endpoint).hostname or ""
    here = host in ("localhost", "::1") or host.startswith("127.")
    return [urllib.request.ProxyHandler({})] if here else []


def _key_of(section: TellerSection) -> str:
    if section.key is None:
        return ""
    key = os.environ.get(section.key.removeprefix("$"), "").strip()
    if not key:
        raise DataError(
            f"{section.key} is not set", "the endpoint's key", f"export {section.key[1:]}=..."
        )
    if not re.fullmatch(r"[!-~]+", key):  # a header that is refused would be shown with it
        raise DataError(
            f"what {section.key} holds is no key", "letters, digits and signs, no spaces within"
        )
    return key


def _body_of(error: urllib.error.HTTPError) -> str:
    try:
        said = error.read(2000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        said = ""
    return said.strip() or str(error.reason)


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    try:
        return max(0.0, float(error.headers.get("Retry-After", "")))
    except ValueError:
        return None


def _reply(request: Request, response: bytes) -> Reply:
    """Tokens are estimated where the endpoint does not count them, or counts nonsense."""
    value = json.loads(response)
    text = value["choices"][0]["message"].get("content") or ""  # nothing, where it declines
    text = text.encode("utf-8", "replace").decode()
    usage = value.get("usage") or {}
    asked = "".join(message.content for message in request.messages)
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return Reply(text, _count(prompt, asked), _count(completion, text))


def _count(told: Any, text: str) -> int:
    if isinstance(told, int) and 0 < told <= LARGEST:
        return told
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
