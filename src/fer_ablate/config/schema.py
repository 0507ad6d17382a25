"""The schema of a config: names, types, units. Values live in conf/*.yaml, meaning lives where `build_x` reads it.

The dataclasses are not frozen because Hydra fills them field by field.
`optimizer` and `scheduler` stay plain mappings: their keys are the arguments of third-party classes and are bound
against the real signatures (`optim`), which no list here could keep up with.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from fer_ablate.config.choices import (
    Activation,
    Balance,
    Block,
    ClassWeight,
    Drop,
    Fit,
    Init,
    Keep,
    Labels,
    Mode,
    Norm,
    NormPosition,
    Only,
    Pool,
    Precision,
    Roles,
    Source,
    TestTimeAugmentation,
)


@dataclass(kw_only=True)
class SyntheticConfig:
    """Size and difficulty of the drawn faces."""

    train: int = 2800  # images in the split Training
    val: int = 700  # images in PublicTest
    test: int = 700  # images in PrivateTest
    label_noise: float = 0.05  # fraction of training labels replaced by a random other class
    pixel_noise: float = 8.0  # standard deviation of the sensor noise, in gray levels
    seed: int = 0  # of the drawing; independent of the run's seed


@dataclass(kw_only=True)
class BalanceConfig:
    """Equal classes by transformed copies, made once before training."""

    kind: Balance = Balance.none
    copies: int = 10  # of every original, where kind is `copies`
    steps: list[dict[str, Any]] = field(default_factory=list)  # how a copy differs from its original; as augment.steps
    seed: int = 0  # of originals and copies; independent of the run's seed


@dataclass(kw_only=True)
class ColumnsConfig:
    """Names of the columns of a list of images (data=list); None: found by their usual names."""

    file: str | None = None  # path of the image, relative to the list
    label: str | None = None
    split: str | None = None
    group: str | None = None  # images of one group, such as a person, stay together where splits or folds are drawn


@dataclass(kw_only=True)
class DataConfig:
    """Which images, with which labels, in which role."""

    source: Source = MISSING
    path: str | None = None  # file or folder; defaults to the environment variable FER_ABLATE_DATA
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)  # of data=list
    size: Any = None  # pixels, N or [height, width]; None: as stored, of several sizes the most frequent
    fit: Fit = Fit.pad  # how images of another shape get there
    channels: int | None = None  # 1 gray, 3 colour; None: gray if all images are
    merge: dict[str, list[str]] = field(default_factory=dict)  # new class -> old ones; classes not listed are left out
    group: str | None = "auto"  # a pattern on file names, whose first group names the person; auto: as the data set says
    ferplus_path: str | None = None  # fer2013new.csv; defaults to the folder of the faces
    cache_dir: str = MISSING  # parsed arrays, shared by all runs
    download: bool = False  # fetch the public Kaggle copy with kagglehub
    roles: Roles = MISSING
    train_fraction: float = 1.0  # of the train role that is used, stratified
    val_fraction: float = 0.1  # of the images to train on that become val where no val split is used, stratified
    test_fraction: float = 0.2  # of all images that become test under `drawn`, stratified
    folds: int | None = None  # parts for cross-validation, in place of roles; None: none
    fold: int = 0  # the part that is tested, from 0
    split_seed: int = 0  # of all these draws; independent of the run's seed
    labels: Labels = Labels.hard
    num_classes: int | None = None  # FER+ only: 7, or 8 with contempt
    drop: list[Drop] = field(default_factory=list)
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    mean: Any = 0.5  # subtracted from pixels in [0, 1]; a number, or one for each channel of the network
    std: Any = 0.5  # then divided by; likewise
    prepare: list[dict[str, Any]] = field(default_factory=list)  # fixed changes of every image, before augmentation and tests
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)


@dataclass(kw_only=True)
class AugmentConfig:
    """Steps applied in order to training batches, each a mapping of `op`, `p` and the op's own arguments."""

    steps: list[dict[str, Any]] = field(default_factory=list)


@dataclass(kw_only=True)
class StageConfig:
    """One row of a network: `depth` equal blocks, the first of which strides, then a pool, then dropout."""

    block: Block = Block.conv
    channels: int = MISSING  # output channels of every block
    inner: int | None = None  # channels inside a bottleneck (None: channels / 4) or an inverted residual (None: 6 x input)
    depth: int = 1  # number of blocks; 0 leaves the stage out
    kernel: int = 3
    stride: int = 1  # of the first block
    padding: int | None = None  # None keeps the size (kernel // 2)
    norm: Norm | None = None  # None takes model.norm
    pool: Pool = Pool.none
    pool_kernel: int = 2  # for adaptive pools: side of the result
    pool_stride: int | None = None  # None: as pool_kernel
    pool_padding: int = 0
    dropout: float = 0.0  # rate at the end of the stage


@dataclass(kw_only=True)
class HiddenConfig:
    """One hidden linear layer."""

    features: int = MISSING
    norm: Norm | None = None  # None takes model.norm
    dropout: float = 0.0  # rate at the end of the layer


@dataclass(kw_only=True)
class ModelConfig:
    """A network as a list of stages, or one of the user's own by dotted path."""

    name: str = "stages"  # or `package.module.Class` with plugins=[package]
    arguments: dict[str, Any] = field(default_factory=dict)  # of a plugin network only
    in_channels: int = 1  # a gray image is repeated to three, a colour image averaged to one
    stages: list[StageConfig] = field(default_factory=list)
    head_pool: Pool = Pool.none  # between the last stage and the linear layers
    head_pool_size: int = 1
    hidden: list[HiddenConfig] = field(default_factory=list)
    depths: list[int] | None = None  # blocks of each stage, in place of the listed ones; None: as listed
    conv_layers: int | None = None  # keep the first N blocks of the stages; None: all
    fc_layers: int | None = None  # keep the first N hidden linears; None: all
    width: float = 1.0  # multiplies all channels and hidden features
    dropout: float | None = None  # replaces every nonzero rate
    head_dropout: float = 0.0  # before the output layer
    norm: Norm = Norm.batch
    norm_position: NormPosition = NormPosition.before_activation
    conv_bias: bool = True  # convolutions add a bias
    activation: Activation = Activation.relu
    init: Init = Init.torch
    pretrained: str | None = None  # ImageNet weights of the stages: vgg16, vgg19, resnet50, from torchvision's files
    pretrained_path: str | None = None  # such a file; None: from the cache, or fetched into it
    pretrained_sha256: str | None = None  # beginning of the hash of another file than the published one
    trainable_convs: int | None = None  # train only the last N convolutions of the stages and the head; None: everything


@dataclass(kw_only=True)
class LossConfig:
    """Training loss; `val/loss` and those of the test splits are the plain cross entropy, whatever this is."""

    name: str = MISSING
    label_smoothing: float = 0.0
    class_weight: ClassWeight = ClassWeight.none
    gamma: float = 2.0  # of focal loss only


@dataclass(kw_only=True)
class EarlyStoppingConfig:
    """Stop when `monitor` has not improved by `min_delta` for `patience` epochs; patience null: never."""

    patience: int | None = None
    monitor: str = "val/loss"
    mode: Mode = Mode.min
    min_delta: float = 0.0


@dataclass(kw_only=True)
class TrainerConfig:
    """How long, how, and on what a run trains."""

    batch_size: int = MISSING  # images per optimizer step of one accumulation, over all devices together
    max_epochs: int = MISSING
    monitor: str = "val/acc"
    mode: Mode = Mode.max
    keep: Keep = Keep.best
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    gradient_clip: float | None = None  # largest norm of the whole gradient
    accumulate: int = 1  # batches per optimizer step
    ema_decay: float | None = None  # per step; the averaged weights are validated and tested
    accelerator: str = "auto"  # auto, cpu, gpu
    devices: int = 1
    strategy: str = "auto"  # auto, ddp
    precision: Precision = Precision.auto
    channels_last: bool = True
    compile: bool = False
    deterministic: bool = False
    # Threads of a process; None: OMP_NUM_THREADS, else SLURM_CPUS_PER_TASK, else the cores it may use, over a run's processes.
    num_threads: int | None = None
    evaluation_batch_size: int = 256
    fast_dev_run: int = 0  # N: run N batches of everything and keep nothing
    limit_train_batches: float | None = None  # a fraction, or a number of batches if above 1
    limit_val_batches: float | None = None
    limit_test_batches: float | None = None  # likewise, of every part that the finished weights are tested on
    overfit_batches: float = 0.0
    profiler: str | None = None  # simple, advanced, pytorch


@dataclass(kw_only=True)
class EvaluationConfig:
    """How finished weights are tested."""

    tta: TestTimeAugmentation = TestTimeAugmentation.none
    crop: Any = None  # pixels of the tested crop, N or [height, width]; None: the size trained on
    pool_epochs: bool = False  # also score the test predictions of all epochs together (`test_pooled`, `train_pooled`)


@dataclass(kw_only=True)
class TrackingConfig:
    """Where MLflow records runs."""

    enabled: bool = True
    uri: str = MISSING
    experiment: str = MISSING
    timeout: int = 5  # seconds a server may take to answer before the run goes on without it
    parent: str | None = None  # MLflow run below which this one is shown
    log_model: bool = False  # the tested weights as a model that MLflow can serve
    register: str | None = None  # name under which that model is registered; implies log_model
    contact_sheets: bool = False  # pictures of samples, augmented copies and classes among the run's artifacts


@dataclass(kw_only=True)
class SearchConfig:
    """What a search (`hydra/sweeper=optuna`) looks for; a run that is no trial of one has no study_name."""

    objective: str | list[str] = "val/acc"  # a val metric or a cost (run/parameters, run/macs, run/seconds); a list of several
    storage: str | None = None  # SQLAlchemy address of the trials; the search itself sets this and the two below
    study_name: str | None = None
    trial: int | None = None  # number within the search, from 0


@dataclass(kw_only=True)
class RowConfig:
    """A named row of a study."""

    label: str = MISSING
    overrides: list[str] = field(default_factory=list)  # of Hydra, on top of those of the study
    start_from: str | None = None  # label of the row whose weights this one starts with, seed by seed
    auxiliary: bool = False  # trained because another row starts from it; stands in no table
    published: dict[str, Any] = field(default_factory=dict)  # split/metric -> number as printed, or {value, note}


@dataclass(kw_only=True)
class StudyConfig:
    """A baseline, named rows, and seeds; and, from the command line, which of them to run."""

    source: str = ""  # document and table
    base: list[str] = field(default_factory=list)  # overrides of all rows, such as experiment=fer_kd
    baseline: str | None = None  # label; None: the first row
    rows: list[RowConfig] = field(default_factory=list)
    one_factor: dict[str, Any] = field(default_factory=dict)  # key -> values; a row for each, all else as the baseline
    zipped: dict[str, Any] = field(default_factory=dict)  # key -> values; row k takes the k-th of every key
    crossed: dict[str, Any] = field(default_factory=dict)  # key -> values; a row for every combination
    published: dict[str, Any] = field(default_factory=dict)  # label -> as `published` of a row
    seeds: list[int] = field(default_factory=lambda: [0])
    folds: int | None = None  # every row is trained on each of so many folds, for each seed; sets data.folds and data.fold
    columns: list[str] = field(default_factory=lambda: ["val/acc", "test/acc"])
    protocol: dict[str, str] = field(default_factory=dict)  # what all rows must have, such as roles: swapped
    mixed_protocols: bool = False  # allow columns whose rows were not tested alike; the table then says so
    factor: str | None = None  # key on the horizontal axis of the plot; None: the one key that all rows set, if there is one
    select: list[str] = field(default_factory=list)  # labels to run and show; typed as study.rows=[...]
    only: Only | None = None
    force: bool = False  # train what is finished again
    accept_stale: bool = False  # show finished runs of an earlier config, data or code instead of training anew


@dataclass(kw_only=True)
class Config:
    """One run."""

    name: str | None = None  # label of the run in tables and in MLflow; None: what differs from the defaults
    seed: int = MISSING
    runs_dir: str = MISSING
    force: bool = False  # train again although this very run is finished
    plugins: list[str] = field(default_factory=list)  # packages of the user's own whose code may run
    init_from: str | None = None  # weights to start with: a checkpoint file, or a run by key, folder or MLflow id
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)
    loss: LossConfig = field(default_factory=LossConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    study: StudyConfig | None = None
