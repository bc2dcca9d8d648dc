"""Passwords are kept out of every text, and what is printable stays as it is."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from hpo.text import redact, show

# Found in a text only if a password is.
MARK = "S3cr3t"
USERS = st.text("abz019._-@%+", min_size=1, max_size=8)
PASSWORDS = st.builds(
    lambda before, after: f"{before}{MARK}{after}",
    *[st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=6)] * 2,
)
WORDS = (
    "{}",
    "cannot reach {} today",
    "'{}' is wrong, expected {}.",
    "(sqlalchemy.exc.E) {}: refused",
    "--set storage={}",
)


@given(USERS, PASSWORDS, st.sampled_from([None, 5432]), st.sampled_from(WORDS))
@settings(deadline=None)
def test_no_password_is_left_of_a_url_and_sqlalchemy_reads_the_rest_as_before(user, password, port, words) -> None:
    query = {"sslpassword": password, "target_session_attrs": "any"}
    url = URL.create("postgresql+psycopg", user, password, "db.lab", port, "hpo", query)
    written = url.render_as_string(hide_password=False)
    shown = redact(words.replace("{}", written))
    assert MARK not in shown
    assert "db.lab" in shown
    if words == "{}":
        left = {"target_session_attrs": "any"}
        assert make_url(shown) == URL.create("postgresql+psycopg", user, None, "db.lab", port, "hpo", left)


@given(USERS, PASSWORDS, st.sampled_from(WORDS))
@settings(deadline=None)
def test_what_sqlalchemy_takes_for_a_password_is_removed_as_it_is_written(user, password, words) -> None:
    written = f"mysql+pymysql://{user}:{password}@db.lab/hpo"
    try:
        read = make_url(written).password
    except (ArgumentError, ValueError):
        read = None
    # In a sentence, digits and a space are a port and the next word.
    port = re.match(r"\d+\W*\s", password) and words != "{}"
    if read is not None and "://" not in password and not port:
        assert MARK not in redact(words.replace("{}", written))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u@corp:S3cr3t@h/db", "postgresql://u@corp@h/db"),
        ("mysql://u:@S3cr3t @h/db", "mysql://u@h/db"),
        ("mysql://u:a@S3cr3t b@h/db", "mysql://u@h/db"),
        ("cannot reach mysql://u:@S3cr3t @h/db today", "cannot reach mysql://u@h/db today"),
        ("cannot reach mysql://u:a@S3cr3t b@h/db today", "cannot reach mysql://u@h/db today"),
        ("mysql://u: @S3cr3t @h/db", "mysql://u@h/db"),
        ("mysql://u:S3cr3t@h/db is not a@b.org/x", "mysql://u@h/db is not a@b.org/x"),
        ("mysql://u:S3cr3t@h/db and mysql://v:S3cr3t@k/db", "mysql://u@h/db and mysql://v@k/db"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BO%7D%3BUID%3Du%3BPWD%3DS3cr3t%3BX%3D1",
         "mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BO%7D%3BUID%3Du%3BX%3D1"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER={ODBC 17};UID=u;PWD={S3cr}};3t};X=1",
         "mssql+pyodbc:///?odbc_connect=DRIVER={ODBC 17};UID=u;X=1"),
        ("Server=h;Uid=u;Pwd=S3cr3t S3cr3t;Encrypt=yes", "Server=h;Uid=u;Encrypt=yes"),
        ("http://h/?token=S3cr3t", "http://h/"),
        ("http://h/?a=1&ACCESS_TOKEN=S3cr3t&b=2#api_key=S3cr3t", "http://h/?a=1&b=2"),
        ("https://h/x?X-Amz-Signature=S3cr3t&X-Amz-Credential=S3cr3t&v=1", "https://h/x?v=1"),
        ("https://h/x?sig=S3cr3t&sv=2", "https://h/x?sv=2"),
        ("https://h/x?key=S3cr3t", "https://h/x"),
        ("postgresql://h/db?sslkey=/home/u/client.key", "postgresql://h/db?sslkey=/home/u/client.key"),
        ("Max retries exceeded with url: /api?token=S3cr3t (Caused by x)",
         "Max retries exceeded with url: /api (Caused by x)"),
        ("is 'http://h/?token=S3cr3t' right? Did you mean it?", "is 'http://h/' right? Did you mean it?"),
        ("http://h/?next=postgresql%3A%2F%2Fu%3AS3cr3t%40db&y=1", "http://h/?next=postgresql%3A%2F%2Fu%40db&y=1"),
        ("mlflow={tracking_uri: http://u:S3cr3t@h:5000}", "mlflow={tracking_uri: http://u@h:5000}"),
        ("https://u@corp.com:S3cr3t@h", "https://u@corp.com@h"),
        ("https://:S3cr3t@h", "https://@h"),
        ("postgresql://u:12/S3cr3t@h", "postgresql://u@h"),
        ("postgresql://u: S3cr3t@h", "postgresql://u@h"),
        ("redis://u:S3cr3t@[::1]:6379/0", "redis://u@[::1]:6379/0"),
        ("cut off: postgresql://u:S3cr...", "cut off: postgresql://u"),
        ("connection failed: host=h user=u password=S3cr3t dbname=x", "connection failed: host=h user=u  dbname=x"),
        ("connect('host=h', password='S3cr3t S3cr3t')", "connect('host=h', )"),
        ("a://u:S3cr3t@h and b://v:S3cr3t@h", "a://u@h and b://v@h"),
    ],
)  # fmt: skip
def test_secrets_in_other_places_go_too(text, shown) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000, or http://[::1]:5000/x@y",
        "http://h:5000/#/x?email=a@b",
        "postgresql://h:5432/db?options=a@b",
        "sqlite:////home/ann/x.db?mode=ro&uri=true",
        "journal:/home/ann/journal.log",
        "--set constants.key=5 --set search_space.token=x",
        "Did you mean 'x'? a = b; key=3",
        "file:///C:/a@b",
        "ann@example.org: see https://example.org:443",
    ],
)
def test_all_else_stays(text) -> None:
    assert redact(text) == text


def test_messages_need_no_database_library() -> None:
    code = "import sys, hpo.cli.main; hpo.cli.main.main(['--help']); sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-5, "1e-5"), (0.0001, "1e-4"), (0.00031623, "3.1623e-4"), (0.001, "0.001"), (1e20, "1e20"), (0.0, "0.0")],
)
def test_a_parameter_is_written_with_all_its_digits_in_the_form_of_reports(value, text):
    assert show(value) == text
    assert float(text) == value


@given(st.floats(allow_nan=False))
def test_no_digit_of_a_number_is_lost(value):
    assert float(show(value)) == value
