"""The loopback server: what it answers, whom it refuses, how it ends; the page that it serves."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser
from starlette.testclient import TestClient

from browser import opened
from hosted_pages import LOOKS, serious, sideways
from viewer_circuits import quote_task, random_circuit
from wirework.circuit import Circuit
from wirework.core import WireworkError
from wirework.data import Tokenizer
from wirework.engine import forward
from wirework.viewer import render_page
from wirework.viewer.live import WholeModel
from wirework.viewer.server import (
    ASK,
    MAX_BODY,
    MAX_PROMPT,
    address_of,
    create_app,
    open_socket,
    serve,
)

PORT = 8123
BASE = f"http://127.0.0.1:{PORT}"
HOSTILE = "</script><img src=x onerror=alert(1)><b>\u202e"


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return random_circuit(22, keep=0.32, task=quote_task(4))


@pytest.fixture(scope="module")
def whole(circuit: Circuit) -> WholeModel:
    """A model with every node of the circuit's network, and another bias to its answers."""
    network = replace(
        circuit.network,
        gates={},
        unembedding_bias=np.linspace(-1, 1, len(circuit.network.answers)),
    )
    return WholeModel(circuit, network, context=60)


@pytest.fixture(scope="module")
def client(whole: WholeModel) -> TestClient:
    app = create_app({"/": lambda: "<h1>here</h1>"}, PORT, whole.answer)
    return TestClient(app, base_url=BASE, raise_server_exceptions=False)


def ask(client: TestClient, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Origin": BASE, "Content-Type": "application/json", **headers}
    response = client.post(ASK, content=content, headers=sent)
    found: dict[str, Any] = response.json()
    return response.status_code, found


def test_a_prompt_is_answered_by_both(
    client: TestClient, whole: WholeModel, circuit: Circuit
) -> None:
    prompt = quote_task(4).report[0].prompt
    status, found = ask(client, {"prompt": prompt})
    assert status == 200
    tokenizer = Tokenizer.from_json(circuit.tokenizer)
    ids = tokenizer.encode(prompt)
    assert found["tokens"] == [tokenizer.token_text(token) for token in ids]
    rows = np.array([ids])
    logits = {
        "model": forward(whole.network, rows, dtype=np.float64).logits[0, -1],
        "circuit": circuit.logits(rows, np.float64)[0, -1],
    }
    assert {one["set"] for one in found["answers"]} == {one["name"] for one in found["sets"]}
    for who, values in logits.items():
        for one in found["answers"]:
            (token,) = [
                t for t in circuit.network.answers if tokenizer.token_text(t) == one["text"]
            ]
            expected = values[list(circuit.network.answers).index(token)]
            assert one[who] == pytest.approx(expected, abs=2e-3)
        for one in found["sets"]:
            parts = [answer[who] for answer in found["answers"] if answer["set"] == one["name"]]
            assert one[who] == pytest.approx(np.logaddexp.reduce(parts), abs=5e-3)
    shares = [one["share"] for one in found["top"]]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1.001
    assert found["top"][0]["logit"] == pytest.approx(logits["model"].max(), abs=2e-3)


def test_a_circuit_that_needs_its_model_lets_the_model_answer_alone(whole: WholeModel) -> None:
    needy = random_circuit(22, keep=0.32, task=quote_task(4), runs_alone=False, ablation="resample")
    found = WholeModel(needy, whole.network, 60).answer("print('x")
    assert all(one["circuit"] is None and one["model"] is not None for one in found["sets"])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "request-malformed"),
        (b"{", 400, "request-malformed"),
        (b"\xff\xfe", 400, "request-malformed"),
        (b"[" * 20_000, 400, "request-malformed"),
        ([], 400, "request-malformed"),
        ({"prompt": 5}, 400, "request-malformed"),
        ({"prompt": "a", "file": "/etc/passwd"}, 400, "request-malformed"),
        ({"prompt": "a" * (MAX_PROMPT + 1)}, 400, "request-malformed"),
        ({"prompt": ""}, 400, "prompt-empty"),
        ({"prompt": "x = 1\n" * 200}, 400, "prompt-too-long"),
        (b'{"prompt": "\\ud800"}', 400, "text-not-unicode"),
        (b"a" * (MAX_BODY + 1), 413, "request-too-large"),
    ],
)
def test_malformed_questions_are_refused_with_a_code(
    client: TestClient, body: Any, status: int, code: str
) -> None:
    found = ask(client, body)
    assert (found[0], found[1]["error"]["code"]) == (status, code)
    assert "Traceback" not in json.dumps(found[1])


def test_a_body_without_a_stated_length_is_bounded_too(client: TestClient) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(200):
            yield b"a" * 1024

    headers = {"Origin": BASE, "Content-Type": "application/json"}
    response = client.post(ASK, content=parts(), headers=headers)
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Origin": "https://example.org"}, 403, "server-origin-foreign"),
        ({"Origin": "null"}, 403, "server-origin-foreign"),
        ({"Origin": f"http://127.0.0.1:{PORT + 1}"}, 403, "server-origin-foreign"),
        ({"Origin": ""}, 403, "server-origin-foreign"),
        ({"Content-Type": "text/plain"}, 415, "request-not-json"),
        ({"Host": "example.org"}, 403, "server-host-foreign"),
        ({"Host": f"example.org:{PORT}"}, 403, "server-host-foreign"),
        ({"Host": "127.0.0.1"}, 403, "server-host-foreign"),
        ({"Host": f"127.0.0.1:{PORT}.example.org"}, 403, "server-host-foreign"),
    ],
)
def test_only_pages_of_this_server_may_ask(
    client: TestClient, headers: dict[str, str], status: int, code: str
) -> None:
    found = ask(client, {"prompt": "a"}, **headers)
    assert (found[0], found[1]["error"]["code"]) == (status, code)


def test_pages_too_are_only_shown_under_the_own_name(client: TestClient) -> None:
    assert client.get("/", headers={"Host": "rebound.example"}).status_code == 403
    for host in (f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"LOCALHOST:{PORT}"):
        assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd", "/page.html", "/circuit/../x", "/\\..\\windows", "/%00",
        "/?file=/etc/passwd#", "/" + "a" * 5000,
    ],
)  # fmt: skip
def test_no_path_leads_to_the_disk(client: TestClient, path: str) -> None:
    response = client.get(path)
    if path.startswith("/?"):
        assert response.text == "<h1>here</h1>"
    else:
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "page-unknown"
    assert "root:" not in response.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "POST"])
def test_it_is_read_only(client: TestClient, method: str) -> None:
    assert client.request(method, "/").status_code == 405


def test_every_answer_has_the_safe_headers(client: TestClient) -> None:
    for response in (
        client.get("/"),
        client.get("/nothing"),
        client.get("/", headers={"Host": "x"}),
    ):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert "access-control-allow-origin" not in response.headers


def test_without_a_model_there_is_nothing_to_ask() -> None:
    client = TestClient(create_app({"/": lambda: ""}, PORT), base_url=BASE)
    assert ask(client, {"prompt": "a"})[0] == 405


def test_pages_are_made_once_when_they_are_asked_for() -> None:
    made = []

    def page() -> str:
        made.append(1)
        return "page"

    client = TestClient(create_app({"/": lambda: "", "/circuit/a": page}, PORT), base_url=BASE)
    assert client.get("/").text == "" and not made
    assert client.get("/circuit/a").text == client.get("/circuit/a").text == "page"
    assert len(made) == 1


def test_it_listens_to_this_machine_alone() -> None:
    taken = open_socket()
    try:
        host, port = taken.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), timeout=2):
            pass
        with pytest.raises(WireworkError) as caught:
            open_socket(port)
        assert caught.value.code == "port-taken"
    finally:
        taken.close()


# -- in a browser


@contextlib.contextmanager
def served(page: str, whole: WholeModel | None) -> Iterator[str]:
    """A real server in a thread of its own."""
    taken = open_socket()
    address = address_of(taken)
    ready = threading.Event()
    answer = None if whole is None else whole.answer
    app = create_app({"/": lambda: page}, taken.getsockname()[1], answer)
    thread = threading.Thread(target=serve, args=(app, taken, ready.set), daemon=True)
    thread.start()
    assert ready.wait(20)
    yield address


@pytest.fixture(scope="module")
def address(circuit: Circuit, whole: WholeModel) -> Iterator[str]:
    page = render_page(circuit, examples=4, more={"live": ASK})
    with served(page, whole) as address:
        yield address


def test_the_page_shows_what_the_whole_model_says(
    browser: Browser, address: str, whole: WholeModel
) -> None:
    with opened(browser, address) as visit:
        page = visit.page
        live = page.locator(".live")
        live.locator(".live-verdict").wait_for()
        page.wait_for_selector("html[data-engine=ready]", state="attached")
        for text in ("x = 'a", f"value = '{HOSTILE}"):
            page.get_by_label("text of the prompt").fill(text)
            expected = whole.answer(text)
            page.get_by_text(f"After {len(expected['tokens'])} tokens").wait_for()
            count = len(expected["answers"]) + len(expected["top"])
            assert live.locator("tbody tr").count() == count
            rows = live.locator("table").last.locator("tbody tr")
            first = rows.first.locator("td").all_text_contents()[-2:]
            numbers = [float(number.replace("−", "-")) for number in first]
            best = max(expected["answers"], key=lambda one: one["model"])
            assert numbers == pytest.approx([best["circuit"], best["model"]], rel=0.01)
        assert page.locator("img").count() == 0 and visit.dialogs == []
        page.get_by_label("text of the prompt").fill("x = 1\n" * 200)
        assert "more tokens" in live.get_by_role("alert").inner_text()
        asked = [url for url in visit.requests if url != "data:,"]
        assert all(url.startswith(address) for url in asked) and len(asked) == 5
        # The browser's own note about the refused prompt is all that there is to complain of.
        assert all("400" in text for text in visit.complaints)


def test_the_served_page_may_ask_no_other_server(browser: Browser, address: str) -> None:
    with opened(browser, address) as visit:
        visit.page.evaluate("fetch('https://example.org/').catch(() => null)")
        assert any("Content Security Policy" in text for text in visit.complaints)


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_panel_fits_and_can_be_read(
    browser: Browser, address: str, size: tuple[int, int], scheme: Any
) -> None:
    with opened(browser, address, size=size, scheme=scheme) as visit:
        visit.page.locator(".live-verdict").wait_for()
        visit.page.locator(".live-numbers summary").click()
        assert sideways(visit.page) <= 0
        assert [found for found in serious(visit.page) if "live" in found] == []


def test_a_page_of_another_site_can_neither_read_nor_ask(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    (tmp_path / "evil.html").write_text("<!doctype html><html data-ready><body>evil</body></html>")
    with opened(browser, (tmp_path / "evil.html").as_uri()) as visit:
        script = """async address => {
          const get = await fetch(address).then(r => r.text(), () => 'refused');
          const options = { method: 'POST', body: '{"prompt": "a"}', mode: 'no-cors' };
          const post = await fetch(address + 'ask', options).then(r => r.type, () => 'refused');
          return [get, post];
        }"""
        assert visit.page.evaluate(script, address) == ["refused", "refused"]


def test_where_no_circuit_runs_the_panel_has_a_field_of_its_own(
    browser: Browser, whole: WholeModel
) -> None:
    needy = random_circuit(22, keep=0.32, task=quote_task(4), runs_alone=False, ablation="resample")
    page = render_page(needy, examples=2, more={"live": ASK})
    model = WholeModel(needy, whole.network, 60)
    with served(page, model) as address, opened(browser, address) as visit:
        live = visit.page.locator(".live")
        live.locator(".live-verdict").wait_for()
        live.locator(".own-prompt summary").click()
        live.get_by_label("own prompt").fill("value = 1")
        live.get_by_role("button", name="ask").click()
        tokens = whole.answer("value = 1")["tokens"]
        live.get_by_text(f"After {len(tokens)} tokens").wait_for()
        assert serious(visit.page) == []
        visit.page.context.set_offline(True)
        live.get_by_role("button", name="ask").click()
        live.get_by_text("The server does not answer").wait_for()
