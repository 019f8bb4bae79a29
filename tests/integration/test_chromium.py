"""TensorBoard and the report as people see them: in a real Chromium, without a word on its console.

Skipped where there is no Chromium, see chromium_browser.
"""

import re
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from chromium_browser import started_chromium

from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.report.events import read_events
from fer_lightning.report.page import write_report


@pytest.fixture(scope="module")
def browser():
    with started_chromium() as chromium:
        yield chromium


@contextmanager
def opened(browser, address, **settings):
    """A page in a window of its own; at the end its console was silent and nothing was asked of the network."""
    context = browser.new_context(viewport={"width": 1300, "height": 900}, **settings)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(f"failed: {request.url}"))
    outside = ("http://127.0.0.1", "file:", "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(outside) else said.append(request.url))
    page.goto(address)
    yield page
    assert said == []
    context.close()


@pytest.fixture(scope="module")
def tensorboard(drawn_runs):
    """The address of a TensorBoard on the run `deep`, as `make tensorboard` starts it."""
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        "--logdir",
        str(drawn_runs / "deep"),
        "--port",
        "0",
        "--load_fast=false",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            if found := re.search(r"http://\S+:(\d+)/", line):
                yield f"http://127.0.0.1:{found[1]}/"
                break
        else:
            pytest.fail("TensorBoard did not start")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_the_images_tab_shows_every_picture_that_was_drawn(browser, tensorboard, drawn_runs):
    drawn = read_events(drawn_runs / "deep" / "tensorboard").pictures
    shown = {
        "confusion_matrix/train",
        "confusion_matrix/val",
        "filters/conv1",
        "activations/conv1",
        "activations/conv2",
    }
    shown |= {f"deepdream/{name}" for name in EXPRESSIONS}
    assert drawn.keys() == shown
    with opened(browser, f"{tensorboard}#images") as page:
        page.locator("tf-image-loader").first.wait_for(timeout=60_000)
        for section in ("activations", "confusion_matrix", "deepdream", "filters"):
            heading = page.locator("tf-category-paginated-view button.heading", has_text=section)
            if heading.get_attribute("open-button") is None:
                heading.click()
        images = page.locator("tf-image-loader #main-image-container img")
        until(lambda: images.count() == len(shown) and all(images.evaluate_all(WIDTHS)), page)
        served = {
            page.request.get(source).body() for source in images.evaluate_all("all => all.map(image => image.src)")
        }
        assert served == {pictures[max(pictures)] for pictures in drawn.values()}
        named = page.locator("tf-image-loader").evaluate_all("all => all.map(one => one.tag)")
        assert set(named) == shown


WIDTHS = "all => all.map(image => image.complete ? image.naturalWidth : 0)"


def until(condition, page, seconds=60):
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, "the page did not show it in time"
        page.wait_for_timeout(200)


def test_train_and_val_share_a_chart_and_the_run_has_its_hyperparameters(browser, tensorboard):
    with opened(browser, f"{tensorboard}#custom_scalars") as page:
        for chart in ("accuracy", "loss", "share of zero activations", "locality (Hoyer)"):
            page.get_by_text(chart, exact=True).first.wait_for(timeout=60_000)
        assert page.get_by_text("Matches (2)").count() >= 2
    with opened(browser, f"{tensorboard}#hparams") as page:
        page.get_by_text("optimizer.lr", exact=True).first.wait_for(timeout=60_000)
        page.get_by_text("val/accuracy", exact=True).first.wait_for(timeout=60_000)


def brightness(colour: str) -> float:
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3


def test_the_report_reads_well_in_light_in_dark_on_a_phone_and_on_paper(browser, drawn_runs, tmp_path):
    made = write_report([drawn_runs / "deep"], tmp_path / "report")
    papers = {}
    for scheme in ("light", "dark"):
        with opened(browser, made.as_uri(), color_scheme=scheme) as page:
            style = "getComputedStyle(document.body)"
            paper, ink = (brightness(page.evaluate(f"{style}.{key}")) for key in ("backgroundColor", "color"))
            assert abs(paper - ink) > 150
            papers[scheme] = paper
            axis = page.locator("svg text").first
            assert axis.evaluate("text => getComputedStyle(text).fill") == page.evaluate(f"{style}.color")
            assert all(page.locator("img").evaluate_all(WIDTHS))
            assert page.locator("table.matrix td").count() == 49
            assert page.evaluate("document.documentElement.scrollWidth") <= 1300
            page.set_viewport_size({"width": 390, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            page.emulate_media(media="print")
            assert brightness(page.evaluate(f"{style}.backgroundColor")) == 255
            assert brightness(page.evaluate(f"{style}.color")) == 0
            assert page.pdf().startswith(b"%PDF")
    assert papers["light"] > 200 > 60 > papers["dark"]


def test_every_entry_of_the_contents_leads_to_its_section(browser, drawn_runs, tmp_path):
    with opened(browser, write_report([drawn_runs / "deep"], tmp_path / "report").as_uri()) as page:
        entries = page.locator("nav a")
        assert entries.count() == page.locator("section").count() == 10
        for number in range(entries.count()):
            entries.nth(number).click()
            title = page.locator("section:target h2")
            assert title.text_content() == entries.nth(number).text_content()
            assert 0 <= title.bounding_box()["y"] < 900
