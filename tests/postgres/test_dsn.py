"""URLs as people have them, what they mean, and that no password gets out."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import ssl
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsay.embedded import EmbeddedPostgres
from keepsay.errors import ConfigurationError
from keepsay.store.postgres.dsn import Dsn, parse_dsn

NEON = (
    "postgresql://owner:npg_S3cret@ep-cool-sun-123-pooler.eu-central-1.aws.neon.tech/neondb"
    "?sslmode=require&channel_binding=require"
)


def test_the_url_that_neon_prints_works_as_it_is() -> None:
    dsn = parse_dsn(NEON)
    assert (dsn.user, dsn.password, dsn.database, dsn.port) == ("owner", "npg_S3cret", "neondb", 5432)
    assert dsn.is_pooled
    assert dsn.direct().host == "ep-cool-sun-123.eu-central-1.aws.neon.tech"
    assert dsn.direct() == dataclasses.replace(dsn, host="ep-cool-sun-123.eu-central-1.aws.neon.tech")
    arguments = dsn.connect_arguments()
    assert arguments["server_settings"] == {"application_name": "keepsay"}
    context = arguments["ssl"]
    assert isinstance(context, ssl.SSLContext)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "POSTGRESQL"])
def test_every_usual_scheme_is_read(scheme: str) -> None:
    assert parse_dsn(f"{scheme}://u@h/d") == Dsn(host="h", user="u", database="d")


@pytest.mark.parametrize(
    ("query", "tls"),
    [
        ("", "prefer"),
        ("?sslmode=disable", "off"),
        ("?sslmode=allow", "prefer"),
        ("?sslmode=prefer", "prefer"),
        ("?sslmode=require", "verify"),
        ("?sslmode=verify-ca", "verify"),
        ("?sslmode=verify-full", "verify"),
        ("?ssl=require", "verify"),
        ("?channel_binding=require", "verify"),
        ("?channel_binding=prefer", "prefer"),
        ("?sslrootcert=system", "verify"),
    ],
)
def test_a_url_that_asks_for_tls_gets_it_verified(query: str, tls: str) -> None:
    assert parse_dsn(f"postgresql://h/d{query}").tls == tls


def test_neon_is_verified_even_when_its_url_does_not_ask_for_tls() -> None:
    assert parse_dsn("postgresql://u@ep-a-1.eu-central-1.aws.neon.tech/d").tls == "verify"


def test_an_unencrypted_connection_is_asked_of_the_driver_as_such() -> None:
    assert parse_dsn("postgresql://h/d?sslmode=disable").connect_arguments()["ssl"] is False
    assert parse_dsn("postgresql://h/d").connect_arguments()["ssl"] == "prefer"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql:///d?host=/run/pg", Dsn(host="/run/pg", database="d", tls="off")),
        ("postgresql://postgres:@/d?host=/Tmp/X&port=5433", Dsn("/Tmp/X", 5433, "postgres", database="d", tls="off")),
        ("postgresql://u@%2Frun%2Fpg/d", Dsn(host="/run/pg", user="u", database="d", tls="off")),
        ("postgresql://", Dsn(host=None)),
        ("postgresql://h", Dsn(host="h")),
        ("postgresql://h:5433/", Dsn(host="h", port=5433)),
        ("postgresql://[::1]:5433/d", Dsn(host="::1", port=5433, database="d")),
        ("postgresql://[::1]/d", Dsn(host="::1", database="d")),
        ("postgresql:///?user=u&password=p+%2B&dbname=d", Dsn(host=None, user="u", password="p++", database="d")),
        ("postgresql://h/d?application_name=mine&connect_timeout=10", Dsn("h", database="d", application_name="mine")),
        (" postgresql://h/d\n", Dsn(host="h", database="d")),
    ],
)
def test_places_ports_and_defaults(url: str, expected: Dsn) -> None:
    assert parse_dsn(url) == expected


@given(user=st.text(min_size=1), password=st.text(min_size=1), database=st.text(min_size=1))
def test_names_and_passwords_come_through_percent_encoding(user: str, password: str, database: str) -> None:
    dsn = parse_dsn(f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@h/{quote(database, safe='')}")
    assert (dsn.user, dsn.password, dsn.database) == (user, password, database)


def test_an_at_sign_in_a_password_is_understood() -> None:
    assert parse_dsn("postgresql://u:p@ss@h/d") == Dsn("h", user="u", password="p@ss", database="d")


def test_the_endpoint_option_is_sent_only_where_the_host_name_does_not_say_it() -> None:
    in_host = parse_dsn("postgresql://ep-a-1-pooler.eu.aws.neon.tech/d?options=endpoint%3Dep-a-1")
    assert in_host.endpoint is None
    tunnel = parse_dsn("postgresql://127.0.0.1/d?options=endpoint%3Dep-a-1")
    assert tunnel.connect_arguments()["server_settings"]["options"] == "endpoint=ep-a-1"


@pytest.mark.parametrize(
    "url", ["postgresql://h/d", "postgresql:///d?host=/run/x-pooler", "postgresql://my-poolers.x/d"]
)
def test_only_a_pooler_host_has_another_direct_one(url: str) -> None:
    dsn = parse_dsn(url)
    assert not dsn.is_pooled
    assert dsn.direct() is dsn


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "must begin"),
        ("mysql://h/d", "must begin"),
        ("host=h dbname=d password=S3cret", "must begin"),
        ("postgresql+psycopg://u:S3cret@h/d", "must begin"),
        ("postgresql://u:S3cret#1@h/d", "%23"),
        ("postgresql://u:S3cret/1@h/d", "%2F"),
        ("postgresql://u:S3c\nret@h/d", "unprintable"),
        ("postgresql://u:%ffS3cret@h/d", "UTF-8"),
        ("postgresql://u:S3cret@h:S3cret/d", "port"),
        ("postgresql://u:S3cret@h:0/d", "port"),
        ("postgresql://u:S3cret@h:70000/d", "port"),
        ("postgresql://u:S3cret@a,b/d", "several hosts"),
        ("postgresql://u:S3cret@h/d?sslmode=always", "sslmode must be one of"),
        ("postgresql://u:S3cret@h/d?sslmode=disable&channel_binding=require", "sslmode=disable"),
        ("postgresql://u:S3cret@h/d?options=-c%20jit%3Doff", "options"),
        ("postgresql://u:S3cret@h/d?statement_timeout=5", "statement_timeout"),
        ("postgresql://u:S3cret@h/d?oops", "name=value"),
        ("postgresql://u:S3cret@h/d?host=/run/pg", "host twice"),
    ],
)
def test_junk_is_a_clear_error_that_does_not_tell_the_password(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        parse_dsn(url)
    assert "S3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.text())
def test_any_text_is_a_dsn_or_a_configuration_error(text: str) -> None:
    for url in (text, f"postgresql://{text}"):
        with contextlib.suppress(ConfigurationError):
            parse_dsn(url)


def test_no_text_of_a_dsn_shows_the_password() -> None:
    dsn = parse_dsn(NEON)
    for text in (repr(dsn), str(dsn), f"{dsn}", dsn.redacted(), repr([dsn]), repr(copy.copy(dsn))):
        assert "S3cret" not in text
        assert "ep-cool-sun-123-pooler" in text


def test_a_certificate_file_that_is_missing_is_a_configuration_error(tmp_path: Path) -> None:
    dsn = parse_dsn(f"postgresql://h/d?sslrootcert={tmp_path}/absent.crt")
    with pytest.raises(ConfigurationError, match="certificate"):
        dsn.connect_arguments()


async def test_the_driver_takes_the_arguments_by_socket_and_by_tcp(running_server: EmbeddedPostgres) -> None:
    for url in (running_server.dsn, running_server.tcp_dsn):
        dsn = parse_dsn(url)
        connection = await asyncpg.connect(**dsn.connect_arguments())
        assert await connection.fetchval("SHOW application_name") == "keepsay"
        await connection.close()


async def test_a_server_without_tls_is_refused_when_the_url_asks_for_it(running_server: EmbeddedPostgres) -> None:
    dsn = parse_dsn(running_server.tcp_dsn.replace("sslmode=disable", "sslmode=require"))
    with pytest.raises(ConnectionError):
        await asyncpg.connect(**dsn.connect_arguments())
