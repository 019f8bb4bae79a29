"""A small FER+ set: a csv of faces and the csv of votes on them."""

from pathlib import Path

from small_sets import USAGES, Picture, csv_text, in_csv_order, pictures

from fer_lightning.data.faces import TRAIN, VAL
from fer_lightning.expressions import EXPRESSIONS

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
COLUMNS = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt", "unknown", "NF")


def ballot(**votes: int) -> list[int]:
    """The ten cells of a row, in the order of the file."""
    return [votes.get(column, 0) for column in COLUMNS]


def votes_text(rows: list[tuple[str, list[int]]]) -> str:
    lines = [f"{usage},fer{number:07d}.png,{','.join(map(str, cells))}" for number, (usage, cells) in enumerate(rows)]
    return "\n".join([HEADER, *lines]) + "\n"


def write_ferplus(folder: Path) -> tuple[list[Picture], list[tuple[str, list[int]]]]:
    """Write fer2013.csv of 70 faces, and votes.csv: most votes as FER2013's labels, some otherwise."""
    made = in_csv_order(pictures(seed=2, counts=(6, 2, 2)))
    rows = [(USAGES[one.split], ballot(**{EXPRESSIONS[one.label]: 8, "unknown": 2})) for one in made]
    rows[0] = (USAGES[TRAIN], ballot(contempt=8, sad=2))
    rows[1] = (USAGES[TRAIN], ballot(NF=10))
    rows[2] = (USAGES[TRAIN], ballot(fear=5, surprise=5))  # no majority
    rows[3] = (USAGES[TRAIN], ballot(**{EXPRESSIONS[(made[3].label + 1) % 7]: 10}))
    rows[45] = (USAGES[VAL], ballot(fear=5, surprise=5))
    (folder / "fer2013.csv").write_text(csv_text(made))
    (folder / "votes.csv").write_text(votes_text(rows))
    return made, rows


def ferplus_overrides(folder: Path, *more: str) -> list[str]:
    paths = [f"data.path={folder / 'fer2013.csv'}", f"data.votes={folder / 'votes.csv'}"]
    return ["data=ferplus", *paths, "data.check_counts=false", *more]
