"""The page of `python -m fer_lightning.demo` as people use it: in a real Chromium, and by its API.

The browser resolves no name and may reach this machine alone, and every socket that the page's process opens is
recorded: nothing may leave the machine.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from chromium_browser import started_chromium
from PIL import Image
from skimage import data

from fer_lightning import EXPRESSIONS
from fer_lightning.errors import InputError
from fer_lightning.weights import bundled

pytest.importorskip("gradio", reason="gradio is not installed: pip install 'fer_lightning[demo]'")
httpx = pytest.importorskip("httpx")
pytestmark = pytest.mark.timeout(600)

WAIT = 120_000
"""For the page to answer, milliseconds: other tests run at the same time."""

RECORDER = """
import json, os, sys
def record(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        where = arguments[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        where = arguments[0]
    else:
        return
    with open(os.environ["SOCKETS"], "a") as file:
        file.write(json.dumps([event, str(where)]) + "\\n")
sys.addaudithook(record)
"""


@dataclass
class Server:
    process: subprocess.Popen
    address: str
    folder: Path

    @property
    def kept(self):
        """Folders of the page's temporary files."""
        return list((self.folder / "tmp").glob("fer_lightning-demo-*"))

    def sockets(self):
        """Where the process connected to, or what name it looked up."""
        file = self.folder / "sockets"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(data.astronaut()).save(folder / "astronaut.jpg", quality=95)
    Image.fromarray(data.coffee()).save(folder / "coffee.png")
    (folder / "broken.jpg").write_bytes((folder / "astronaut.jpg").read_bytes()[:4000])
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    frames = io.BytesIO()
    for shift in range(20):  # the astronaut moves
        camera = Image.new("RGB", (640, 480), (90, 90, 90))
        camera.paste(Image.fromarray(data.astronaut()).resize((480, 480)), (70 + shift, 0))
        camera.save(frames, "JPEG", quality=92)
    (folder / "camera.mjpeg").write_bytes(frames.getvalue())
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The command, started as a user does, in an empty folder."""
    try:
        bundled()
    except InputError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("server")
    for name in ("tmp", "cwd", "site"):
        (folder / name).mkdir()
    (folder / "site" / "sitecustomize.py").write_text(RECORDER)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "tmp")}
    environment |= {"PYTHONPATH": str(folder / "site"), "SOCKETS": str(folder / "sockets")}
    command = [sys.executable, "-m", "fer_lightning.demo", "--port", "0"]
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            command, cwd=folder / "cwd", env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    line = process.stdout.readline()
    found = re.match(r"http://127\.0\.0\.1:\d+/", line)
    assert found, line + (folder / "errors").read_text()
    yield Server(process, found[0], folder)
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def browser(photos):
    camera = (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={photos / 'camera.mjpeg'}",
    )
    with started_chromium(*camera, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1") as chromium:
        yield chromium


@contextmanager
def opened(browser, server, **settings):
    """The page in a window of its own; at the end nothing was asked of the network and no script has failed."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, permissions=["camera"], **settings)
    page, said = context.new_page(), []
    page.set_default_timeout(WAIT)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    outside = (server.address, "data:", f"blob:{server.address}")
    page.on("request", lambda request: None if request.url.startswith(outside) else said.append(request.url))
    page.goto(server.address, timeout=WAIT)
    page.locator("#photo input[type=file]").wait_for(state="attached")
    yield page
    assert said == []
    context.close()


def drop(page, where, photo):
    page.locator(f"{where} input[type=file]").set_input_files(str(photo))


def test_a_photo_is_dropped_and_its_emotion_read(browser, server, photos):
    with opened(browser, server) as page:
        drop(page, "#photo", photos / "astronaut.jpg")
        face = page.locator("#cards .face")
        face.wait_for()
        assert face.count() == 1
        assert "happy" in face.locator("h3").inner_text()
        assert face.locator(".bars th").all_inner_texts() == list(EXPRESSIONS)
        shares = [float(text.split()[0]) for text in face.locator(".bars .value").all_inner_texts()]
        assert max(shares) == shares[EXPRESSIONS.index("happy")] > 80
        assert abs(sum(shares) - 100) < 1
        assert face.locator("img").count() == 2  # the crop, and Grad-CAM
        page.locator("#faces img").wait_for()
        assert page.locator("#faces img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 512


def test_what_is_no_photo_of_a_face_is_answered_in_words(browser, server, photos):
    with opened(browser, server) as page:
        for name, words in (
            ("coffee.png", "No face found."),
            ("broken.jpg", "broken.jpg: broken or cut off JPEG"),
            ("photo.heic", "photo.heic: an HEIC picture; expected JPEG"),
        ):
            drop(page, "#photo", photos / name)
            page.locator("#cards .message", has_text=words).wait_for()
            page.locator("#photo button[aria-label=Clear], #photo button[aria-label='Remove Image']").first.click()
            page.locator("#cards .message").wait_for(state="detached")
        page.locator("button.gallery-item").nth(1).click()  # the drawn group
        page.locator("#cards .face").nth(3).wait_for()


def test_the_law_and_the_model_card_are_at_hand(browser, server):
    with opened(browser, server) as page:
        law = page.locator(".law")
        assert "Regulation (EU) 2024/1689" in law.inner_text()
        assert "5(1)(f)" in law.inner_text()
        page.get_by_role("tab", name="Model card").click()
        page.get_by_role("heading", name="Limits").wait_for()
        assert law.is_visible()


def test_the_camera_is_read_while_it_runs(browser, server):
    before = {file for folder in server.kept for file in folder.rglob("*") if file.is_file()}
    with opened(browser, server) as page:
        page.get_by_role("tab", name="Camera").click()
        page.get_by_role("button", name="Click to Access Webcam").click()
        page.locator("#camera button", has_text="Record").click()
        page.locator("#live .face h3", has_text="happy").wait_for()
        first = page.locator("#live img.live").get_attribute("src")
        page.wait_for_function("first => document.querySelector('#live img.live').src !== first", arg=first)
        page.locator("#camera button", has_text="Stop").click()
    assert {file for folder in server.kept for file in folder.rglob("*") if file.is_file()} <= before  # none is kept


def write_video(path, seconds, rate=6):
    av = pytest.importorskip("av")
    astronaut = Image.fromarray(data.astronaut()).resize((320, 320))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuv420p"
        for number in range(int(seconds * rate)):
            frame = Image.new("RGB", (320, 320))
            frame.paste(astronaut, (int(20 * np.sin(number / 4)), 0))
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode(None))


def test_a_video_is_dropped_and_its_faces_followed(browser, server, tmp_path):
    write_video(tmp_path / "astronaut.mp4", seconds=2)
    with opened(browser, server) as page:
        page.get_by_role("tab", name="Video").click()
        drop(page, "#video", tmp_path / "astronaut.mp4")
        row = page.locator("#video-summary .seen tbody tr")
        row.wait_for()
        assert row.count() == 1
        assert row.locator("td").nth(3).inner_text() == "happy"
        page.wait_for_function("document.querySelector('#video-faces video').duration > 0")
        assert page.locator("#video-faces video").evaluate("video => video.duration") == pytest.approx(2, abs=0.2)
        page.locator("#timeline img").wait_for()
        with page.expect_download() as download:
            page.locator("#video-table a").first.click()
        assert Path(download.value.path()).read_text().startswith("path,frame,seconds,face,")


def test_two_users_at_once_get_their_own_answers(browser, server, photos):
    with opened(browser, server) as first, opened(browser, server) as second:
        drop(first, "#photo", photos / "astronaut.jpg")
        drop(second, "#photo", photos / "coffee.png")
        first.locator("#cards .face h3", has_text="happy").wait_for()
        second.locator("#cards .message", has_text="No face found.").wait_for()


def test_it_can_be_read_on_a_phone(browser, server, photos):
    with opened(browser, server, color_scheme="dark") as page:
        page.set_viewport_size({"width": 390, "height": 844})
        drop(page, "#photo", photos / "astronaut.jpg")
        page.locator("#cards .face").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.get_by_role("tab", name="Model card").is_visible()


SETTINGS = {"photo": ["cascade"], "video": ["cascade", 1, 0.5]}
"""Of the endpoints, after the file."""


def upload(server, path):
    with path.open("rb") as file:
        answer = httpx.post(f"{server.address}gradio_api/upload", files={"files": (path.name, file)}, timeout=60)
    return answer.raise_for_status().json()[0]


def call(server, name, file):
    """The last event of an endpoint, and its data."""
    address = f"{server.address}gradio_api/call/{name}"
    event_id = (
        httpx.post(address, json={"data": [file, *SETTINGS[name]]}, timeout=60).raise_for_status().json()["event_id"]
    )
    lines = httpx.get(f"{address}/{event_id}", timeout=300).raise_for_status().text.strip().splitlines()
    return lines[-2].removeprefix("event: "), json.loads(lines[-1].removeprefix("data: "))


def file_data(path):
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def test_the_api_documents_itself(server):
    endpoints = httpx.get(f"{server.address}gradio_api/info", timeout=60).json()["named_endpoints"]
    assert set(endpoints) == {"/photo", "/video"}
    assert all(endpoint["description"] for endpoint in endpoints.values())
    assert [one["parameter_name"] for one in endpoints["/photo"]["parameters"]] == ["photo", "detector"]
    assert "http" not in json.dumps([one["example_input"] for one in endpoints["/photo"]["parameters"]])


def test_the_readmes_lines_read_a_photo(server, photos):
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    (lines,) = (block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "gradio_client" in block)
    code = lines.replace("http://127.0.0.1:7860/", server.address) + "\nimport json; print(json.dumps(faces))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=photos, capture_output=True, text=True, check=True)
    (face,) = json.loads(ended.stdout.splitlines()[-1])
    assert face["emotion"] == "happy"
    assert list(face["probabilities"]) == list(EXPRESSIONS)


def test_many_requests_at_once_each_get_their_own_answer(server, photos):
    paths = {name: upload(server, photos / name) for name in ("astronaut.jpg", "coffee.png", "broken.jpg")}
    answers = []
    threads = [
        threading.Thread(
            target=lambda name=name: answers.append((name, *call(server, "photo", file_data(paths[name]))))
        )
        for name in [*paths] * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 12
    for name, event, content in answers:
        if name == "broken.jpg":
            assert event == "error"
            assert content["error"].startswith("broken.jpg: broken or cut off JPEG")
        else:
            assert event == "complete", content
            assert [face["emotion"] for face in content[1]] == (["happy"] if name == "astronaut.jpg" else [])


@pytest.mark.parametrize("path", [__file__, "/etc/hostname", "https://example.com/a.png", "http://127.0.0.1:1/a.png"])
def test_only_uploaded_files_are_read(server, path):
    for name in ("photo", "video"):
        event, content = call(server, name, file_data(path))
        assert event == "error"
        assert "Traceback" not in content["error"]
        assert re.search("not uploaded by a user|nothing outside this machine|failed validation", content["error"])
    assert httpx.get(f"{server.address}gradio_api/file={path}", timeout=60).status_code in (403, 404)


def test_other_pages_cannot_use_it(server):
    assert httpx.get(server.address, headers={"Host": "example.com"}, timeout=60).status_code == 400
    answer = httpx.get(server.address, headers={"Origin": "https://example.com"}, timeout=60)
    assert "https://example.com" not in str(answer.headers)
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_it_stops_at_once_and_leaves_nothing(server, photos, tmp_path):
    """Also while a video is read. Last in this file, because it ends the page."""
    (kept,) = server.kept
    assert kept.stat().st_mode & 0o777 == 0o700
    write_video(tmp_path / "long.mp4", seconds=120)
    path = upload(server, tmp_path / "long.mp4")
    httpx.post(
        f"{server.address}gradio_api/call/video", json={"data": [file_data(path), *SETTINGS["video"]]}, timeout=60
    )
    deadline = time.monotonic() + 60
    while not list(kept.rglob("video-*/*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(kept.rglob("video-*/*"))
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=60) == 0
    assert server.process.stdout.read() == ""
    errors = (server.folder / "errors").read_text()
    assert errors.splitlines()[-1] == "stopped by SIGTERM; the page's folder is deleted"
    assert server.kept == []
    assert list((server.folder / "tmp").iterdir()) == []
    assert list((server.folder / "cwd").iterdir()) == []
    connected = [where for event, where in server.sockets() if event != "socket.getaddrinfo"]
    assert [where for where in connected if not where.startswith("('127.0.0.1', ")] == []
    names = {where.strip("b'") for event, where in server.sockets() if event == "socket.getaddrinfo"}
    # those of the URL that a test above gives, by gradio, and refused
    assert names <= {"127.0.0.1", "localhost", "example.com", "dns.google"}
