"""The page to try a model on: in a real browser, by clicking and by keyboard, against real models."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import Server
from browsing import Browser, browsing
from described import HEART, KINDS, PARAMS, column, serving, write_signed
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from waiting import eventually

INPUT = json.loads(HEART.with_name("heart.input.json").read_text())
EVIL = '</script><img src=x onerror="window.broken=1"><b>\'"'


@pytest.fixture(scope="module")
def heart(shared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(HEART, shared_home, tmp_path_factory.mktemp("heart")) as server:
        yield server


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """Afterwards nothing stands in its console, and nobody else was asked for anything."""
    chromium.open("about:blank")
    chromium.complaints()
    chromium.requested()
    yield chromium
    assert chromium.complaints() == []
    origins = {url.split("/")[2] for url in chromium.requested() if not url.startswith(("data:", "about:"))}
    assert len(origins) <= 1, origins


def opened(browser: Browser, server: Server, path: str = "/") -> Browser:
    browser.open(f"http://127.0.0.1:{server.port}{path}")
    eventually(lambda: browser.is_shown("#ask"), "the page knows the model")
    return browser


def example(server: Server) -> tuple[list[str], list[list[Any]]]:
    """The columns that the page has, and the rows that it begins with."""
    known = server.ask("GET", "/facts.json").json["input"]
    return [one["name"] for one in known["columns"]], [[json.loads(cell) for cell in row] for row in known["rows"]]


def asked(server: Server, body: Any) -> Any:
    return server.ask("POST", "/invocations", json.dumps(body).encode(), "application/json").predictions


def shown(browser: Browser) -> list[Any]:
    return [json.loads(cell) for (cell,) in browser.table("#table")]


@pytest.mark.slow
def test_the_page_is_small_and_runs_nothing_but_its_own_script(heart: Server) -> None:
    answer = heart.ask("GET", "/")
    assert answer.status == 200
    assert len(answer.body) < 40_000
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert b"http://" not in answer.body.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"https://" not in answer.body
    assert b"innerHTML" not in answer.body


def test_the_facts_are_those_of_the_environment(heart: Server) -> None:
    facts = heart.ask("GET", "/facts.json").json
    assert facts["model"]["mlflow"] == "3.17.2"
    packages = {one["name"]: one["version"] for one in facts["environment"]["packages"]}
    assert packages["scikit-learn"] == "1.9.1"
    assert facts["environment"]["python"].startswith("3.11")
    assert len(facts["environment"]["lock_hash"]) == 64


def test_a_prediction_by_clicking(heart: Server, browser: Browser) -> None:
    opened(browser, heart)
    names, rows = example(heart)
    browser.find("#predict").click()
    browser.wait_for_answer()
    assert shown(browser) == asked(heart, {"dataframe_split": {"columns": names, "data": rows}})
    assert len(browser.all("#plot svg rect")) == len(rows) + 1
    browser.find("#add").click()
    browser.find('[aria-label="Remove row 1"]').click()
    age = browser.find('[aria-label="age, row 1"]')
    age.clear()
    age.send_keys("61")
    browser.find("#predict").click()
    browser.wait_for_answer()
    rows = [[61, *rows[1][1:]], *rows[2:], rows[-1]]
    assert shown(browser) == asked(heart, {"dataframe_split": {"columns": names, "data": rows}})


@pytest.mark.slow
def test_a_prediction_by_keyboard_alone(heart: Server, browser: Browser) -> None:
    opened(browser, heart)
    browser.find("body").click()
    browser.tab_to('[aria-label="age, row 1"]')
    browser.select_all()
    browser.press("70", Keys.ENTER)
    browser.wait_for_answer()
    names, rows = example(heart)
    rows[0][0] = 70
    assert shown(browser) == asked(heart, {"dataframe_split": {"columns": names, "data": rows}})
    browser.tab_to("#predict")
    browser.press(Keys.SPACE)
    browser.wait_for_answer()


@pytest.mark.slow
def test_the_line_for_a_shell_gives_the_same_answer(heart: Server, browser: Browser) -> None:
    opened(browser, heart)
    thal = browser.find('[aria-label="thal, row 1"]')
    original = thal.get_attribute("value")
    thal.clear()
    thal.send_keys('it\'s $HOME `id` \\ "x"')
    browser.find("#copy").click()
    eventually(lambda: browser.text("#copied") == "copied", "it was copied")
    done = subprocess.run(browser.text("#curl"), shell=True, capture_output=True, text=True, check=True)
    thal.clear()
    thal.send_keys(original or "")
    browser.find("#predict").click()
    browser.wait_for_answer()
    again = subprocess.run(browser.text("#curl"), shell=True, capture_output=True, text=True, check=True)
    assert json.loads(again.stdout) == json.loads(browser.text("#raw"))
    # What scikit-learn's encoder makes of a category that it has not seen is its own affair; it got there whole.
    assert "predictions" in json.loads(done.stdout) or "it's $HOME `id`" in json.loads(done.stdout)["message"]


@pytest.mark.slow
def test_a_csv_and_a_json_that_are_uploaded(heart: Server, browser: Browser, tmp_path: Path) -> None:
    opened(browser, heart)
    split = INPUT["dataframe_split"]
    lines = [",".join(map(str, row)) for row in (split["columns"], *split["data"])]
    wanted = asked(heart, INPUT)
    (tmp_path / "short.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "long.csv").write_text("\n".join([lines[0], *lines[1:] * 2000]) + "\n")
    (tmp_path / "input.json").write_text(json.dumps(INPUT))
    for name, times in (("short.csv", 1), ("long.csv", 2000), ("input.json", 1)):
        browser.find("#upload").send_keys(str(tmp_path / name))
        eventually(lambda: name in browser.text("#file"), "it was read")  # noqa: B023
        assert Select(browser.find("#kind")).first_selected_option.text == (
            "text/csv" if name.endswith("csv") else "application/json"
        )
        browser.find("#predict").click()
        eventually(
            lambda: shown(browser) == (wanted * times)[:500],  # noqa: B023
            "the answer",
        )
        assert browser.text("#status").startswith("200")
    line = browser.text("#curl")
    assert "--data-raw" in line


@pytest.mark.slow
def test_a_long_answer_is_drawn_as_a_line(heart: Server, browser: Browser) -> None:
    opened(browser, heart)
    browser.find("#way-text").click()
    split = INPUT["dataframe_split"]
    body = json.dumps({"dataframe_split": {**split, "data": split["data"] * 20}})
    area = browser.find("#text")
    browser.run("arguments[0].value = arguments[1]", area, body)
    area.send_keys(Keys.CONTROL, Keys.ENTER)
    browser.wait_for_answer()
    assert len(browser.table("#table")) == 100
    assert browser.all("#plot polyline")


@pytest.mark.slow
def test_what_is_wrong_is_said(heart: Server, browser: Browser) -> None:
    opened(browser, heart)
    age = browser.find('[aria-label="age, row 2"]')
    age.clear()
    browser.find("#predict").click()
    assert browser.text("#failure") == "age, row 2 is empty"
    assert age == browser.driver.switch_to.active_element
    assert age.get_attribute("aria-invalid") == "true"
    browser.find("#way-text").click()
    browser.find("#text").clear()
    browser.find("#text").send_keys('{"inputs": ')
    browser.find("#predict").click()
    browser.wait_for_answer("400")
    assert browser.text("#failure").startswith("BAD_REQUEST: ")
    assert [line for line in browser.complaints() if "400" not in line] == []
    browser.find("#reset").click()
    browser.find("#predict").click()
    browser.wait_for_answer()
    assert not browser.is_shown("#failure")


@pytest.mark.slow
def test_every_type_and_every_param_is_sent_as_it_is(shared_home: Path, browser: Browser, tmp_path: Path) -> None:
    with serving(write_signed(tmp_path / "model", KINDS["every-type"]), shared_home, tmp_path / "log") as server:
        opened(browser, server)
        for name, text in (("long", "9007199254740993"), ("double", "0.1"), ("string", "a,'\"b")):
            field = browser.find(f'[aria-label="{name}, row 1"]')
            field.clear()
            field.send_keys(text)
        browser.find('[aria-label="boolean, row 1"]').click()
        for field in browser.all('[aria-label^="maybe, "]'):
            field.clear()
        assert browser.find("#param-0").get_attribute("value") == "0.5"
        browser.find("#predict").click()
        browser.wait_for_answer()
        (first, *_) = json.loads(browser.text("#raw"))["predictions"]
        assert (first["long"], first["double"], first["string"]) == (9007199254740993, 0.1, "a,'\"b")
        assert first["boolean"] is False
        assert "maybe" not in first
        assert "9007199254740993" in browser.table("#table")[0]
        done = subprocess.run(browser.text("#curl"), shell=True, capture_output=True, text=True, check=True)
        assert done.stdout == browser.text("#raw")
        sent = json.loads(browser.text("#curl").partition("--data-raw '")[2].rstrip("'").replace("'\\''", "'"))
        assert sent["params"] == {one["name"]: one["default"] for one in PARAMS}
        for value, status in (("[1", "200"), ('["c"]', "200")):
            words = browser.find("#param-2")
            words.clear()
            words.send_keys(value)
            browser.find("#predict").click()
            if value == "[1":
                eventually(lambda: browser.text("#status").startswith("400"), "it is no list")
                browser.complaints()
            else:
                browser.wait_for_answer(status)


@pytest.mark.slow
def test_a_tensor_is_asked_as_json(shared_home: Path, browser: Browser, tmp_path: Path) -> None:
    with serving(HEART.with_name("tensor"), shared_home, tmp_path) as server:
        opened(browser, server)
        assert not browser.is_shown("#ways")
        body = json.loads(browser.run("return document.querySelector('#text').value"))
        browser.find("#predict").click()
        browser.wait_for_answer()
        wanted = asked(server, body)
        assert [[json.loads(cell) for cell in row] for row in browser.table("#table")] == wanted
        assert browser.all("#plot svg rect")


@pytest.mark.slow
def test_nothing_that_a_model_says_is_more_than_text(shared_home: Path, browser: Browser, tmp_path: Path) -> None:
    specs = [column("string", EVIL), column("double", f"${{x}} {EVIL}")]
    signature = {"inputs": specs, "params": [{"name": EVIL, "type": "string", "default": EVIL, "shape": None}]}
    model = write_signed(tmp_path / "model", signature)
    with serving(model, shared_home, tmp_path / "log", ENVBUILD_NAME=EVIL) as server:
        opened(browser, server)
        field = browser.find("#grid tbody tr input")
        field.clear()
        field.send_keys(EVIL)
        browser.find("#predict").click()
        browser.wait_for_answer()
        assert browser.text("h1") == EVIL
        assert browser.table("#table")[0][0] == EVIL
        assert EVIL in browser.run("return [...document.querySelectorAll('#table th')].map((one) => one.textContent)")
        assert browser.run("return window.broken") is None
        assert browser.all("img, main b") == []
        done = subprocess.run(browser.text("#curl"), shell=True, capture_output=True, text=True, check=True)
        assert done.stdout == browser.text("#raw")


@pytest.mark.slow
def test_a_token_is_asked_for_and_stays_in_memory(shared_home: Path, browser: Browser, tmp_path: Path) -> None:
    with serving(HEART, shared_home, tmp_path, ENVBUILD_TOKEN="canary-1") as server:
        browser.open(f"http://127.0.0.1:{server.port}/")
        eventually(lambda: browser.is_shown("#access"), "it asks for the token")
        assert server.ask("GET", "/facts.json").status == 401
        assert b"heart" not in server.ask("GET", "/").body
        browser.find("#token").send_keys("wrong", Keys.ENTER)
        eventually(lambda: browser.text("#state") == "this is not the token", "it says so")
        assert not browser.is_shown("#ask")
        browser.find("#token").clear()
        browser.find("#token").send_keys("canary-1", Keys.ENTER)
        eventually(lambda: browser.is_shown("#ask"), "the page knows the model")
        assert [line for line in browser.complaints() if "401" not in line] == []
        browser.find("#predict").click()
        browser.wait_for_answer()
        line = browser.text("#curl")
        assert "canary-1" not in line
        done = subprocess.run(
            line, shell=True, capture_output=True, text=True, check=True, env={"ENVBUILD_TOKEN": "canary-1"}
        )
        assert json.loads(done.stdout) == json.loads(browser.text("#raw"))
        assert browser.run("return [document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
        assert "canary-1" not in server.stderr


@pytest.mark.slow
def test_under_a_proxys_path_the_page_asks_there(shared_home: Path, browser: Browser, tmp_path: Path) -> None:
    with serving(HEART, shared_home, tmp_path, ENVBUILD_ROOT_PATH="/models/heart") as server:
        for path in ("/", "/models/heart/"):
            opened(browser, server, path)
            browser.find("#predict").click()
            browser.wait_for_answer()
            assert f"{server.port}{path}invocations" in browser.text("#curl")


@pytest.mark.slow
def test_light_and_dark_are_readable(heart: Server, browser: Browser, tmp_path: Path) -> None:
    opened(browser, heart)
    browser.find("#predict").click()
    browser.wait_for_answer()
    for scheme in ("light", "dark"):
        browser.media(scheme)
        for css in ("h1", "#predict", "#summary", "td input", "td.number", "#status", "svg text"):
            assert contrast(browser, css) >= 4.5, (scheme, css)
    browser.media("light")


def contrast(browser: Browser, css: str) -> float:
    """The contrast of a text (Web Content Accessibility Guidelines 2.2, contrast ratio)."""
    script = """
    const element = document.querySelector(arguments[0]);
    const style = getComputedStyle(element);
    let ground = element;
    while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
    return [element instanceof SVGElement ? style.fill : style.color, getComputedStyle(ground).backgroundColor];
    """
    ink, ground = (_luminance(text) for text in browser.run(script, css))
    return (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05)


def _luminance(text: str) -> float:
    parts = [int(part) / 255 for part in text.partition("(")[2].rstrip(")").split(",")[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_there_is_no_page_where_none_is_wanted(serve: Callable[..., Server]) -> None:
    server = serve(ENVBUILD_NO_PAGE="1")
    assert server.ask("GET", "/").status == 404
    assert server.ask("GET", "/facts.json").status == 404
    assert server.ask("GET", "/openapi.json").status == 200
