from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from hpo.cli.dashboard import guarded
from hpo.machine.page_access import PageAccess
from hpo.storage.load_study import load_study

from .conftest import Hpo, environment


@pytest.fixture
def served(finished):
    command = [sys.executable, "-m", "hpo", "dashboard", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    lines = [server.stdout.readline() for _ in range(4)]
    yield server, "".join(lines)
    server.send_signal(signal.SIGINT)
    _, err = server.communicate(timeout=300)
    assert server.returncode == 0
    assert err == ""


def opened(link):
    """A browser that has opened the link, and the address of the server."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with browser.open(link, timeout=300) as answer:
        assert b"Optuna Dashboard" in answer.read()
        assert "token" not in answer.url
    return browser, link.partition("/dashboard/")[0]


def test_it_serves_the_study_on_this_machine_alone(served, runs):
    _, said = served
    page, *rest = said.splitlines()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/dashboard/studies/0\?token=[\w-]{40,}", page)
    assert f"Without a login: optuna-dashboard {runs / 'journal.log'}" in rest
    browser, root = opened(page)
    with browser.open(f"{root}/api/studies", timeout=300) as answer:
        (study,) = json.load(answer)["study_summaries"]
    assert study["study_name"] == "toy"
    with browser.open(f"{root}/api/studies/0", timeout=300) as answer:
        detail = json.load(answer)
    trials = detail["trials"]
    assert [trial["state"] for trial in trials] == ["Complete"] * 4
    assert all(len(trial["intermediate_values"]) == 10 for trial in trials)
    (best,) = detail["best_trials"]
    assert best["number"] == max(trials, key=lambda trial: trial["values"][0])["number"]
    (row,) = [line for line in detail["note"]["body"].splitlines() if line.startswith("| all trials ")]
    assert row.split("|")[3].strip() == str(best["number"])


def refusal(opener, url, method="GET", **headers):
    """What the server says as it refuses a request."""
    request = urllib.request.Request(url, method=method, headers=headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(request, timeout=300)
    assert caught.value.code == 403
    return caught.value.read().decode()


def test_nobody_else_reads_or_deletes_anything(served, runs):
    link = served[1].splitlines()[0]
    browser, root = opened(link)
    stranger = urllib.request.build_opener()
    port = root.rpartition(":")[2]
    for url in (root, link.partition("?")[0], f"{root}/api/studies", f"{root}/static/bundle.js", f"{root}/?token="):
        assert "`hpo dashboard` prints it where it was started" in refusal(stranger, url)
    assert "the token of this link is not that of the server" in refusal(stranger, f"{link}x").lower()
    for cookie in ("", "hpo", f"hpo-{port}=", f"hpo-{port}=x; hpo-{port}", f"x{link.partition('=')[2]}", "=;;="):
        assert "needs the printed link" in refusal(stranger, f"{root}/api/studies", Cookie=cookie)
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        f"127.0.0.1.evil.example:{port}",
        "",
    ):
        for opener, url in ((browser, f"{root}/api/studies"), (stranger, link)):
            assert f"This server is not called '{host}'" in refusal(opener, url, Host=host)
    for origin in (
        "http://evil.example",
        "null",
        f"https://127.0.0.1:{port}",
        "http://127.0.0.1:1",
        "http://127.0.0.1",
    ):
        assert "may change nothing here" in refusal(browser, f"{root}/api/studies/0", "DELETE", Origin=origin)
    assert len(load_study(runs, "toy")[1].trials) == 4
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}", f"127.0.0.1:{port}"):
        request = urllib.request.Request(f"{root}/api/studies", headers={"Host": host})
        with browser.open(request, timeout=300) as answer:
            assert b"toy" in answer.read()


@pytest.mark.slow
def test_its_own_page_deletes_a_study(served, runs):
    browser, root = opened(served[1].splitlines()[0])
    request = urllib.request.Request(f"{root}/api/studies/0", method="DELETE", headers={"Origin": root})
    with browser.open(request, timeout=300) as answer:
        assert answer.status == 204


def test_the_cookie_is_for_this_server_and_for_no_script(served):
    link = served[1].splitlines()[0]
    root, _, path = link.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(root, timeout=300)
    connection.request("GET", f"/{path.replace('?', '?tab=1&')}&x=%20")
    answer = connection.getresponse()
    assert answer.status == 303
    assert answer.headers["Location"] == "/dashboard/studies/0?tab=1&x=+"
    name, *rest = answer.headers["Set-Cookie"].split("; ")
    assert name == f"hpo-{root.rpartition(':')[2]}={path.partition('=')[2]}"
    assert set(rest) == {"HttpOnly", "SameSite=Strict", "Path=/"}
    connection.close()
    connection.request("GET", f"//evil.example/{path[path.index('?') :]}")
    assert connection.getresponse().headers["Location"] == "/evil.example/", "no other server is led to"
    connection.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", socket.gethostname()])
def test_it_answers_to_the_names_of_the_address_that_it_listens_on(host):
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"inside"]

    access = PageAccess(host, 8080, "x")
    query = access.link("/").partition("?")[2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1", "::1": "[::1]"}.get(host, host)
    assert access.link("/").startswith(f"http://{shown}:8080/?token=")
    said = []
    names = {f"{shown}:8080", "localhost:8080"} | ({f"{socket.gethostname()}:8080"} if host != "::1" else set())
    for name, status in [*((name, "303 See Other") for name in names), ("0.0.0.0:8080", "403 Forbidden")]:
        environ = {"REQUEST_METHOD": "GET", "HTTP_HOST": name, "QUERY_STRING": query, "PATH_INFO": "/"}
        guarded(application, access)(environ, lambda status, headers: said.append(status))
        assert said.pop() == status, name


@pytest.mark.slow
def test_a_taken_port_is_a_sentence(served, hpo: Hpo):
    port = int(served[1].split("/")[2].split(":")[1])
    said = hpo("dashboard", "toy", "--port", port)
    assert said.code == 1
    assert f"cannot listen on 127.0.0.1, port {port}: " in said.err
    assert f"Try --port {port + 1}" in said.err
