"""An endpoint is asked politely and patiently, whatever it does."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lorecraft.data.teller.cache import Reply
from lorecraft.data.teller.endpoint import TRIES, Endpoint
from lorecraft.data.teller.passages import Passage
from lorecraft.data.teller.requests import Request, rewrite
from lorecraft.errors import DataError
from lorecraft.recipe import TellerSection

Server = Any


def section(server: Server, **changes: Any) -> TellerSection:
    return TellerSection(**{"endpoint": server.url, "model": "big", "timeout": 5.0} | changes)


def requests(count: int = 1) -> list[Request]:
    return [
        rewrite(Passage(f"p{n}", f"Light {n} was lit in {1900 + n}.", f"p{n}"), "list")
        for n in range(count)
    ]


def ask(server: Server, count: int = 1, **changes: Any) -> dict[str, Reply]:
    endpoint = Endpoint(section(server, **changes), back_off=0.01)
    return {request.sources[0].id: reply for request, reply in endpoint.ask(requests(count))}


def test_every_request_gets_its_own_reply_and_is_asked_once(server: Server) -> None:
    server.say = lambda body: body["messages"][1]["content"].split("Light ")[1].split(" ")[0]
    replies = ask(server, 10)
    assert {name: reply.text for name, reply in replies.items()} == {
        f"p{n}": str(n) for n in range(10)
    }
    assert replies["p0"] == Reply("0", 100, 20)
    assert len(server.asked) == 10
    body = server.asked[0]
    assert (body["model"], body["temperature"]) == ("big", 0.7)
    assert body["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_asked_again(server: Server, status: int) -> None:
    server.statuses = [status] * (TRIES - 1)
    assert len(ask(server)) == 1
    assert len(server.asked) == TRIES


def test_a_server_may_say_when_to_come_back(server: Server) -> None:
    server.statuses, server.headers = [429], {"Retry-After": "0.3"}
    ask(server)
    assert server.times[1] - server.times[0] >= 0.3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"statuses": [500] * 99}, "no answer in 5 tries .500"),
        ({"statuses": [401]}, "401 .*look at teller.endpoint, teller.model and teller.key"),
        ({"statuses": [404] * 3}, "404"),
        ({"statuses": [302], "headers": {"Location": "http://127.0.0.1:9/"}}, "302"),
        ({"raw": b"<html>Welcome</html>"}, "no chat completion: '<html>Welcome</html>'"),
        ({"raw": b'{"choices": []}'}, "no chat completion"),
        ({"raw": b"[" * 100_000}, "no chat completion"),
        ({"raw": b'{"choices": [{"message": {"content": [1]}}]}'}, "no chat completion"),
        ({"raw": b'{"choices": [{"message": {"content": "a"}}], "usage": [1]}'}, "no chat"),
        ({"raw": b" " * (2 << 20)}, "an answer without end"),
    ],
)
def test_what_will_not_pass_is_told(server: Server, changes: dict[str, Any], said: str) -> None:
    for name, value in changes.items():
        setattr(server, name, value)
    with pytest.raises(DataError, match=f"(?s){server.url}: .*{said}"):
        ask(server)


@pytest.mark.parametrize("drip", [False, True])
def test_a_slow_server_is_not_waited_for_without_end(server: Server, drip: bool) -> None:
    if drip:
        server.drip = 0.05
        server.say = lambda body: "x" * 2000
    else:
        server.say = lambda body: time.sleep(1) or ""
    began = time.monotonic()
    with pytest.raises(DataError, match=r"no answer in 5 tries .*(timed out|not done)"):
        ask(server, timeout=0.1)
    assert time.monotonic() - began < 3


def test_no_server_is_told_soon(server: Server) -> None:
    server.close()
    with pytest.raises(DataError, match=r"no answer in 5 tries .*refused"):
        ask(server)


def test_what_was_answered_before_the_end_is_given(server: Server) -> None:
    server.statuses = [200, 200, 200, *[500] * 99]
    given = []
    with pytest.raises(DataError):
        for pair in Endpoint(section(server, at_once=1), back_off=0.01).ask(requests(6)):
            given.append(pair)
    assert [request.sources[0].id for request, _ in given] == ["p0", "p1", "p2"]


def test_a_server_that_knows_no_schema_is_asked_without_one(server: Server) -> None:
    server.statuses, server.say = [400, 422], lambda body: "{}"
    assert len(ask(server, 3, at_once=1)) == 3
    formats = [body.get("response_format", {}).get("type") for body in server.asked]
    assert formats == ["json_schema", "json_object", None, None, None]


def test_tokens_are_estimated_where_they_are_not_counted(server: Server) -> None:
    server.usage, server.say = None, lambda body: "twelve bytes"
    (reply,) = ask(server).values()
    assert reply.completion_tokens == 4 and 200 < reply.prompt_tokens < 500


@pytest.mark.parametrize("count", [-5, 0, float("inf"), 10**400, "many", None])
def test_tokens_that_cannot_be_are_estimated(server: Server, count: Any) -> None:
    server.usage, server.say = {"completion_tokens": count}, lambda body: "twelve bytes"
    (reply,) = ask(server).values()
    assert reply.completion_tokens == 4


def test_an_answer_that_is_declined_is_an_empty_one(server: Server) -> None:
    server.raw = b'{"choices": [{"message": {"role": "assistant", "refusal": "No."}}]}'
    assert [reply.text for reply in ask(server, 3).values()] == [""] * 3


def test_half_a_character_becomes_a_question_mark(server: Server) -> None:
    server.raw = b'{"choices": [{"message": {"content": "caf\\ud83d"}}]}'
    (reply,) = ask(server).values()
    assert reply.text == "caf?"


def test_a_proxy_is_for_other_machines(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
    assert len(ask(server, endpoint="http://models.invalid/v1")) == 1
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert len(ask(server)) == 1


def test_an_endpoint_can_be_asked_again(server: Server) -> None:
    endpoint = Endpoint(section(server), back_off=0.01)
    for _ in range(2):
        server.statuses = [500]
        assert len(list(endpoint.ask(requests(1)))) == 1


def test_after_a_failure_those_that_wait_for_their_turn_are_not_asked(server: Server) -> None:
    server.statuses = [401] * 99
    with pytest.raises(DataError, match="401"):
        ask(server, 8, requests_per_minute=60, at_once=4)
    assert len(server.asked) == 1


def test_requests_start_no_faster_than_asked(server: Server) -> None:
    ask(server, 4, requests_per_minute=600)
    assert min(b - a for a, b in zip(server.times, server.times[1:], strict=False)) > 0.07


def test_the_key_is_sent_and_never_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"\$TELLER_KEY is not set"):
        ask(server, key="$TELLER_KEY")
    monkeypatch.setenv("TELLER_KEY", "sk-secret")
    ask(server, key="$TELLER_KEY")
    assert server.keys == ["Bearer sk-secret"]
    server.statuses = [401]
    with pytest.raises(DataError) as refused:
        ask(server, key="$TELLER_KEY")
    assert "sk-secret" not in str(refused.value) and "..., no" in str(refused.value)
    server.raw = b"x" * 190 + b" sk-secret"
    with pytest.raises(DataError, match="no chat completion") as garbage:
        ask(server, key="$TELLER_KEY")
    assert "sk-" not in str(garbage.value)


@pytest.mark.parametrize("key", ["sk-\nsecret", "sk secret", "sk-sécret"])
def test_what_cannot_be_a_key_is_refused_unseen(
    server: Server, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("TELLER_KEY", key)
    with pytest.raises(DataError, match=r"what \$TELLER_KEY holds is no key") as refused:
        ask(server, key="$TELLER_KEY")
    assert "cret" not in str(refused.value) and not server.asked
