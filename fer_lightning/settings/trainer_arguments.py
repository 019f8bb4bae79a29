"""Lightning's arguments, as `trainer.*`: the range of those that are passed on, and why the others are not."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, model_validator

from fer_lightning.settings.groups import OptionalSwitch, Text
from fer_lightning.settings.validation import Settings, conflict, expected, number, whole

REFUSED = {
    "barebones": "a run keeps its figures and checkpoints. For a bare measurement: benchmarks/epoch.py",
    "check_val_every_n_epoch": "each epoch is validated, since the best epoch is chosen by its validation",
    "callbacks": "callbacks are code. In Python: fer_lightning.training.fit(..., callbacks=[...])",
    "default_root_dir": "the run folder is hydra.run.dir",
    "enable_autolog_hparams": "all settings are logged by the project itself. draw.every=0 leaves out pictures",
    "enable_checkpointing": "a run always keeps best.ckpt and last.ckpt",
    "enable_model_summary": "the first line of a run says the number of parameters",
    "enable_progress_bar": "the run prints a line an epoch, and a bar on a terminal alone: `| cat` leaves it out",
    "fast_dev_run": "Lightning would switch the loggers off. For a trial run with them: trainer.max_epochs=1 "
    "+trainer.limit_train_batches=1 +trainer.limit_val_batches=1",
    "limit_predict_batches": "training does not predict. Use python -m fer_lightning.predict",
    "limit_test_batches": "training does not test. Use python -m fer_lightning.evaluate split=test",
    "log_every_n_steps": "figures are logged once an epoch. Shorter epochs: +trainer.limit_train_batches",
    "logger": "loggers are chosen by logger=tensorboard, csv, mlflow or wandb",
    "model_registry": "no registry is used. python -m fer_lightning.export writes the weights for others",
    "num_sanity_val_steps": "settings and faces are checked before the first step",
    "overfit_batches": "batches are drawn anew in each epoch. Give a small set: data.path=..., or data.images=70",
    "plugins": "plugins are code; precision and strategy are trainer.precision and trainer.strategy",
    "reload_dataloaders_every_n_epochs": "the faces stay in memory, and their order is drawn anew in each epoch",
    "use_distributed_sampler": "each batch is divided among the processes by the project itself",
    "val_check_interval": "an epoch ends with its one validation. For shorter epochs: +trainer.limit_train_batches=0.5",
}
"""Arguments of `lightning.Trainer` that a run does not take: why, and what to do instead."""

WITHOUT_EFFECT = frozenset({"log_every_n_steps", "use_distributed_sampler", "val_check_interval"})
"""Those of them that earlier versions took, and that the settings of their runs may hold."""

Limit: TypeAlias = Annotated[
    int | float | None,
    expected("a number of batches, 1 or more, or a share of them, above 0 to 1.0, or null", lambda value: value is None
    or (value > 0 and (isinstance(value, int) or value <= 1))),
]  # fmt: skip

ONE_DEVICE = (
    "folds, and so the trials of a search, run in one process on one device each. Leave trainer.devices at 1, or name "
    "one device, as in trainer.devices=[1]; a search uses all devices by hydra.sweeper.workers=auto"
)


class TrainerSettings(Settings):
    """Lightning's own arguments. Those without a default in conf/trainer are passed on where they are given."""

    max_epochs: Annotated[int, whole(1)]
    accelerator: Text
    devices: Annotated[
        int | str | list[int],
        AfterValidator(lambda devices: 1 if devices == "auto" else devices),
        expected("a number of devices, a list of their numbers, or auto", lambda devices: devices not in (0, "", [])),
    ]
    precision: Annotated[int | str, expected("auto, or one of Lightning's precisions, such as 32-true or bf16-mixed")]
    deterministic: Annotated[bool | Literal["warn"], expected("true, false or warn")]
    gradient_clip_val: Annotated[float | None, number(0, null=True)]
    accumulate_grad_batches: Annotated[int, whole(1)]
    benchmark: OptionalSwitch = None
    detect_anomaly: OptionalSwitch = None
    gradient_clip_algorithm: Literal["norm", "value"] | None = None
    inference_mode: OptionalSwitch = None
    limit_train_batches: Limit = None
    limit_val_batches: Limit = None
    max_steps: Annotated[
        int | None,
        expected(
            "a whole number of 1 or more, or -1 or null for no limit", lambda value: value in (None, -1) or value > 0
        ),
    ] = None
    max_time: Annotated[str | dict[str, int] | None, expected("a time such as 00:12:00:00, or {hours: 12}")] = None
    min_epochs: Annotated[int | None, whole(0, null=True)] = None
    min_steps: Annotated[int | None, whole(0, null=True)] = None
    num_nodes: Annotated[int | None, whole(1, null=True)] = None
    profiler: Annotated[
        Literal["simple", "advanced", "pytorch"] | None,
        expected("simple, advanced, pytorch or null; a profile is written to the run folder"),
    ] = None
    strategy: Annotated[
        Literal["auto", "ddp"] | None, expected("auto, ddp or null: each device holds the whole network")
    ] = None
    sync_batchnorm: OptionalSwitch = None

    @model_validator(mode="before")
    @classmethod
    def _say_why_others_are_refused(cls, values: Any) -> Any:
        for key in values if isinstance(values, Mapping) else ():
            if key in REFUSED:
                raise conflict(f"{key}: without effect here: {REFUSED[key]}")
        return values

    @model_validator(mode="after")
    def _arguments_go_together(self) -> Self:
        for least in ("min_epochs", "min_steps"):
            if getattr(self, least) and (self.max_time or (self.max_steps or -1) > 0):
                raise conflict(f"{least}: not together with trainer.max_steps or trainer.max_time. Give one of them")
        return self

    @property
    def has_one_device(self) -> bool:
        """Whether a run of these settings has one process on one device; -1 (all devices) counts as several."""
        return self.processes == 1

    @property
    def devices_per_node(self) -> int | None:
        """How many devices are used on each machine; None: all that it has."""
        if isinstance(self.devices, list):
            return len(self.devices)
        if isinstance(self.devices, str) and "," in self.devices:
            return len([name for name in self.devices.split(",") if name.strip()])
        try:
            number = int(self.devices)
        except ValueError:  # no number: Lightning says what is wrong with it
            return None
        return None if number == -1 else number

    @property
    def processes(self) -> int | None:
        """How many processes a run has, one for each device of each machine; None where all devices are used."""
        return None if self.devices_per_node is None else self.devices_per_node * (self.num_nodes or 1)
