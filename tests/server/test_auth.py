"""``dev`` auth: this machine alone, and nothing that another web page can make a browser send."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keepsay import ConfigurationError, Keepsay
from keepsay.server.auth import check_bind

from .client import Client, connect, new_user


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:80", "LOCALHOST"]
)
async def test_loopback_hosts_are_answered(ada: Client, host: str) -> None:
    assert (await ada.get("/api/conversations", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.2", "testserver", "localhost:x",
     "[::1", "::1", "user@localhost", "localhost,evil.example", "localhost/"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/healthz", "/docs", "/api/conversations", "/nope"])
async def test_other_hosts_are_refused_everywhere(ada: Client, host: str, path: str) -> None:
    """DNS rebinding: a page of another name that points here."""
    answer = await ada.get(path, headers={"Host": host or "x"})
    assert (answer.status, answer.code) == (403, "forbidden")


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:8080", "https://[::1]"])
async def test_pages_of_this_machine_are_answered(ada: Client, origin: str) -> None:
    assert (await ada.post("/api/conversations", {}, headers={"Origin": origin})).status == 201


@pytest.mark.parametrize(
    "origin",
    ["null", "http://evil.example", "https://localhost.evil.example", "file://localhost", "localhost", "http://"],
)
async def test_pages_of_others_are_refused(ada: Client, origin: str) -> None:
    answer = await ada.post("/api/conversations", {}, headers={"Origin": origin})
    assert (answer.status, answer.code, answer.json["outcome"]) == (403, "forbidden", "not_applied")
    assert (await ada.get("/api/conversations")).json["items"] == []


@pytest.mark.parametrize(
    ("site", "status"),
    [("cross-site", 403), ("Cross-Site", 403), ("same-site", 200), ("same-origin", 200), ("none", 200)],
)
async def test_what_a_page_of_another_site_makes_a_browser_send_is_refused(ada: Client, site: str, status: int) -> None:
    """Links, images and scripts of such a page come without an Origin."""
    assert (await ada.get("/api/conversations", headers={"Sec-Fetch-Site": site})).status == status


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "application/jsonx",
    ],
)
async def test_a_body_that_is_not_declared_as_json_is_not_read(ada: Client, kind: str) -> None:
    """A form, or a fetch without preflight, can be sent from any web page."""
    for path in ("/api/conversations", f"/api/{ada.user}/chat", "/api/session"):
        answer = await ada.post(path, raw=b'{"message": "x"}', headers={"Content-Type": kind})
        assert (answer.status, answer.code) == (415, "not_json")


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_is_json_in_any_spelling(ada: Client, kind: str) -> None:
    assert (await ada.post("/api/conversations", raw=b"{}", headers={"Content-Type": kind})).status == 201


async def test_compressed_bodies_are_not_read(ada: Client) -> None:
    answer = await ada.post("/api/conversations", raw=b"{}", headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.code) == (415, "not_json")


async def test_other_machines_are_refused_whatever_they_say(ada: Client) -> None:
    """The app may be run by another server, on another address, where ``check_bind`` is not asked."""
    for address in ("10.0.0.1", "::2", "testclient"):
        answer = await replace(ada, client=(address, 1)).get("/healthz")
        assert (answer.status, answer.code) == (403, "forbidden")
    assert (await replace(ada, client=("::1", 1)).get("/healthz")).status == 200


async def test_a_setting_lets_in_the_names_that_test_clients_use(keepsay: Keepsay) -> None:
    ada = connect(keepsay, allowed_hosts=("testserver", "testclient"))
    answer = await replace(ada, client=("testclient", 50000)).get("/healthz", headers={"Host": "testserver"})
    assert answer.status == 200


async def test_the_user_comes_from_the_header_the_path_or_is_local(ada: Client) -> None:
    other = f"zoë {new_user()}"
    assert (await Client(ada.app, other).post("/api/conversations", {})).json["user_id"] == other
    chatted = await Client(ada.app, None).post(f"/api/{ada.user}/chat", {"message": "Hello"})
    assert chatted.status == 200
    assert len((await ada.get("/api/conversations")).json["items"]) == 1
    assert (await Client(ada.app, None).post("/api/conversations", {})).json["user_id"] == "local"


@pytest.mark.parametrize("user", ["a/b", "..", "e\u0301", "x" * 256, "\x7f"])
async def test_what_cannot_be_a_user_is_refused(ada: Client, user: str) -> None:
    answer = await Client(ada.app, user).get("/api/conversations")
    assert (answer.status, answer.code in ("invalid_input", "too_large"), answer.json["field"]) == (
        422,
        True,
        "user_id",
    )


async def test_an_empty_or_undecodable_user_is_not_taken_for_local(ada: Client) -> None:
    for raw in (b"", b"\xff"):
        answer = await _with_user_bytes(ada, [raw])
        assert answer == 422
    assert await _with_user_bytes(ada, [b"a", b"a"]) == 422


async def _with_user_bytes(ada: Client, values: list[bytes]) -> int:
    import httpx

    async with httpx.AsyncClient(transport=httpx.ASGITransport(ada.app), base_url="http://localhost") as http:
        headers = [(b"X-Keepsay-User", value) for value in values]
        return (await http.get("/api/conversations", headers=headers)).status_code


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_dev_auth_may_listen_on_loopback(host: str) -> None:
    check_bind(host, "dev")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "example.com", "localhost.example.com"])
def test_dev_auth_may_listen_nowhere_else(host: str) -> None:
    with pytest.raises(ConfigurationError, match="dev"):
        check_bind(host, "dev")
