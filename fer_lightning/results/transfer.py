"""docs/results/transfer/transfer.json: what benchmarks/transfer.py measured, as RESULTS.md shows it."""

from pathlib import Path

from fer_lightning.report.runs import Record
from fer_lightning.results.record import Machine

FOLDER = "transfer"


class Arm(Record):
    """Networks of one kind on one share of the training images: mean and standard deviation over the seeds."""

    kind: str
    share: float
    images: int
    epochs: int
    accuracy: float
    sd: float | None
    seeds: int


class Transfer(Record):
    """Fine-tuned networks and those from scratch, by share; settings: the overrides of all, and of each kind."""

    rows: list[Arm]
    settings: dict[str, list[str]]
    machine: Machine
    commit: str | None

    @property
    def pairs(self) -> list[tuple[Arm, Arm]]:
        """Networks from scratch and fine-tuned ones, for each share that has both."""
        scratch, tuned = (
            {arm.share: arm for arm in self.rows if arm.kind == kind} for kind in ("from scratch", "fine-tuned")
        )
        return [(scratch[share], tuned[share]) for share in scratch if share in tuned]


def read_transfer(folder: Path) -> Transfer | None:
    """What a docs/results holds of it; None for nothing. Raises InputError where the file is damaged."""
    path = folder / FOLDER / "transfer.json"
    return Transfer.read(path, {}) if path.exists() else None
