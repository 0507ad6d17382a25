"""The schema of a config: every key with its type, unit, bounds and meaning. Values live in conf/*.yaml.

OmegaConf reads the bare type of a field; pydantic checks the bounds that stand beside it (`config.bounds`). They are written
with `annotated_types`, which pydantic reads as well as its own `Field` and which is imported in a few milliseconds.
The comment of a field says what it means: docs/config.md and messages about bad values quote it.

The dataclasses are not frozen because Hydra fills them field by field.
`optimizer` and `scheduler` stay plain mappings: their keys are the arguments of third-party classes and are bound
against the real signatures (`optim`), which no list here could keep up with.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge, Gt, Interval, Unit
from omegaconf import MISSING

from fer_ablate.config.choices import (
    LOSSES,
    MONITORS,
    PRETRAINED,
    Activation,
    AverageOver,
    Balance,
    Block,
    ClassWeight,
    DivideBy,
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
    SeedsUntil,
    Source,
    TestTimeAugmentation,
    Tracker,
    ValDraw,
)
from fer_ablate.config.constraints import (
    DIFFERENT,
    FOLDER_NAME,
    HASH_START,
    NOT_BLANK,
    NUMBERS,
    NUMBERS_ABOVE_0,
    PART_ABOVE_0,
    PART_OF_BATCHES,
    PATTERN,
    SIZE,
    STORE_ADDRESS,
    one_of,
    one_of_or_path,
)

Natural = Annotated[int, Ge(0)]
Positive = Annotated[int, Ge(1)]
Seed = Annotated[int, Interval(ge=0, le=2**32 - 1)]  # numpy's generators take no other
Rate = Annotated[float, Interval(ge=0, lt=1)]
Share = Annotated[float, Interval(gt=0, le=1)]
Steps = list[dict[str, Any]]  # each with `op`, `p` and the op's own arguments, which `data.ops` checks

EXPRESSIONS = 7
FEWEST_FOLDS = 2
MOST_DRAWN = 1_000_000


@dataclass(kw_only=True)
class SyntheticConfig:
    """Size and difficulty of the drawn faces."""

    train: Annotated[int, Interval(ge=EXPRESSIONS, le=MOST_DRAWN), Unit("images")] = 2800  # images in the split Training
    val: Annotated[int, Interval(ge=EXPRESSIONS, le=MOST_DRAWN), Unit("images")] = 700  # images in PublicTest
    test: Annotated[int, Interval(ge=EXPRESSIONS, le=MOST_DRAWN), Unit("images")] = 700  # images in PrivateTest
    label_noise: Annotated[Rate, Unit("fraction")] = 0.05  # fraction of training labels replaced by a random other class
    pixel_noise: Annotated[float, Ge(0), Unit("gray levels")] = 8.0  # standard deviation of the sensor noise
    seed: Seed = 0  # seed of the drawing; independent of the run's seed


@dataclass(kw_only=True)
class BalanceConfig:
    """Equal classes by transformed copies, made once before training."""

    kind: Balance = Balance.none  # how the classes are made equal
    copies: Annotated[Positive, Unit("copies")] = 10  # copies of every original, where kind is `copies`
    steps: Steps = field(default_factory=list)  # how a copy differs from its original; written as augment.steps
    seed: Seed = 0  # seed that draws originals and changes copies; independent of the run's seed


@dataclass(kw_only=True)
class ColumnsConfig:
    """Names of the columns of a list of images (data=list); null: found by their usual names."""

    file: str | None = None  # column with the path of the image, relative to the list
    label: str | None = None  # column with the class
    split: str | None = None  # column with the split
    group: str | None = None  # column whose images stay together where splits or folds are drawn, such as the person


@dataclass(kw_only=True)
class DataConfig:
    """Which images, with which labels, in which role."""

    source: Source = MISSING  # where the images come from
    reader: str | None = None  # function that gives the images of data=own, `package.module.function` with plugins=[package]
    arguments: dict[str, Any] = field(default_factory=dict)  # arguments of that function
    path: str | None = None  # file or folder of the images; null: the environment variable FER_ABLATE_DATA
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    size: Annotated[Any, SIZE, Unit("pixels")] = None  # size of the stored images; null: as they are, else the most frequent
    fit: Fit = Fit.pad  # how images of another shape get that size
    channels: Annotated[int, one_of(1, 3)] | None = None  # 1 gray, 3 colour; null: gray if all images are
    merge: dict[str, list[str]] = field(default_factory=dict)  # new class -> old ones; classes not listed are left out
    # Pattern on file names, whose first group names the person; auto: as the data set says; null: persons are ignored.
    group: Annotated[str, PATTERN] | None = "auto"
    ferplus_path: str | None = None  # file with the FER+ votes, fer2013new.csv; null: beside the faces
    cache_dir: str = MISSING  # folder of parsed images, shared by all runs
    download: bool = False  # whether kagglehub fetches the public copy of FER2013
    roles: Roles = MISSING  # which split is used for training, validation and test
    train_fraction: Annotated[Share, Unit("fraction")] = 1.0  # fraction of the train role that is used, stratified
    # Fraction of the images to train on that become val where no val split is used.
    val_fraction: Annotated[Share, Unit("fraction")] = 0.1
    val_draw: ValDraw = ValDraw.nearest  # how that fraction is drawn; groups stay whole only with `nearest`
    test_fraction: Annotated[Share, Unit("fraction")] = 0.2  # fraction of all images that becomes test under `drawn`, stratified
    # Number of parts for cross-validation, in place of roles; null: none.
    folds: Annotated[int, Ge(FEWEST_FOLDS), Unit("folds")] | None = None
    fold: Natural = 0  # the part that is tested, from 0
    split_seed: Seed = 0  # seed of all these draws; independent of the run's seed
    labels: Labels = Labels.hard  # what the training target of an image is
    num_classes: Annotated[int, one_of(7, 8)] | None = None  # classes of FER+: 7, or 8 with contempt; null: as the data set says
    drop: list[Drop] = field(default_factory=list)  # kinds of flawed images that are left out
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    mean: Annotated[Any, NUMBERS] = 0.5  # subtracted from pixels in [0, 1]; one number, or one for each channel of the network
    std: Annotated[Any, NUMBERS_ABOVE_0] = 0.5  # divisor after that; one number, or one for each channel of the network
    prepare: Steps = field(default_factory=list)  # fixed changes of every image, before augmentation and tests
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)


@dataclass(kw_only=True)
class AugmentConfig:
    """Random changes of training batches."""

    steps: Steps = field(default_factory=list)  # changes in order, each a mapping of `op`, `p` and the op's own arguments


@dataclass(kw_only=True)
class StageConfig:
    """One row of a network: `depth` equal blocks, the first of which strides, then a pool, then dropout."""

    block: Block = Block.conv  # body of the stage
    channels: Annotated[Positive, Unit("channels")] = MISSING  # output channels of every block
    # Channels inside a block; null: a quarter of `channels` in a bottleneck, six times the input in an inverted residual.
    inner: Annotated[Positive, Unit("channels")] | None = None
    depth: Annotated[Natural, Unit("blocks")] = 1  # number of blocks; 0 leaves the stage out
    kernel: Annotated[Positive, Unit("pixels")] = 3  # side of the kernels
    stride: Annotated[Positive, Unit("pixels")] = 1  # stride of the first block
    # Padding of the kernels; null: kernel // 2, which keeps the size where the kernel is odd.
    padding: Annotated[Natural, Unit("pixels")] | None = None
    norm: Norm | None = None  # normalisation layer; null: model.norm
    pool: Pool = Pool.none  # pooling that ends the stage
    pool_kernel: Annotated[Positive, Unit("pixels")] = 2  # side of the pool's window; for adaptive pools: side of the result
    pool_stride: Annotated[Positive, Unit("pixels")] | None = None  # stride of the pool; null: as pool_kernel
    pool_padding: Annotated[Natural, Unit("pixels")] = 0  # padding of the pool
    dropout: Rate = 0.0  # dropout rate at the end of the stage


@dataclass(kw_only=True)
class HiddenConfig:
    """One hidden linear layer."""

    features: Annotated[Positive, Unit("features")] = MISSING  # outputs of the layer
    norm: Norm | None = None  # normalisation layer; null: model.norm
    dropout: Rate = 0.0  # dropout rate at the end of the layer


@dataclass(kw_only=True)
class ModelConfig:
    """A network as a list of stages, or one of the user's own by dotted path."""

    name: str = "stages"  # `stages`, or `package.module.Class` with plugins=[package]
    arguments: dict[str, Any] = field(default_factory=dict)  # arguments of a plugin network
    # Channels of the network's input: a gray image is repeated to three, a colour image averaged to one.
    in_channels: Annotated[int, one_of(1, 3), Unit("channels")] = 1
    stages: list[StageConfig] = field(default_factory=list)
    head_pool: Pool = Pool.none  # pooling between the last stage and the linear layers
    head_pool_size: Annotated[Positive, Unit("pixels")] = 1  # window of that pool; for adaptive pools: side of the result
    hidden: list[HiddenConfig] = field(default_factory=list)
    # Blocks of each stage, in place of the listed ones; a shorter list and 0 leave stages out; null: as listed.
    depths: list[Natural] | None = None
    conv_layers: Annotated[Natural, Unit("blocks")] | None = None  # number of blocks of the stages that are kept; null: all
    fc_layers: Annotated[Natural, Unit("layers")] | None = None  # number of hidden linear layers that are kept; null: all
    width: Annotated[float, Interval(gt=0, le=100)] = 1.0  # factor of all channels and hidden features; 0.5 halves them
    dropout: Rate | None = None  # rate in place of every nonzero one; null: as listed
    head_dropout: Rate = 0.0  # dropout rate before the output layer
    norm: Norm = Norm.batch  # normalisation of all stages and hidden layers that name none
    norm_position: NormPosition = NormPosition.before_activation  # place of the normalisation in a block
    # Share of the newest batch in the running statistics of batch normalisation, as PyTorch counts it: 0.1 is Keras' 0.9, and
    # Keras' default of 0.99 is 0.01.
    norm_momentum: Annotated[Share, Unit("fraction")] = 0.1
    norm_eps: Annotated[float, Gt(0)] = 1e-5  # added to the variance by every normalisation; Keras' default is 1e-3
    conv_bias: bool = True  # whether convolutions add a bias
    activation: Activation = Activation.relu  # nonlinearity after every convolution and hidden linear layer
    init: Init = Init.torch  # initial weights of convolutions and linear layers
    pretrained: Annotated[str, one_of(*PRETRAINED)] | None = None  # ImageNet weights of the stages, from torchvision's files
    pretrained_path: str | None = None  # file of these weights; null: from the cache, or fetched into it
    pretrained_sha256: Annotated[str, HASH_START] | None = None  # hash of that file, where it is not the published one
    # Convolutions of the stages, counted from the last, that are trained beside the head; null: everything is.
    trainable_convs: Annotated[Natural, Unit("convolutions")] | None = None


@dataclass(kw_only=True)
class LossConfig:
    """Training loss; `val/loss` and those of the test splits are the plain cross entropy, whatever this is."""

    name: Annotated[str, one_of_or_path(*LOSSES)] = MISSING  # kind of the loss, or `package.module.Class` with plugins=[package]
    arguments: dict[str, Any] = field(default_factory=dict)  # arguments of a plugin loss
    label_smoothing: Annotated[Rate, Unit("fraction")] = 0.0  # fraction of the target that is spread over all classes
    class_weight: ClassWeight = ClassWeight.none  # weights of the classes
    divide_by: DivideBy = DivideBy.weights  # what the sum of the weighted losses of a batch is divided by
    gamma: Annotated[float, Ge(0)] = 2.0  # focus of the focal loss on hard images; 0 is plain cross entropy, 2 usual


@dataclass(kw_only=True)
class EarlyStoppingConfig:
    """Stop when `monitor` has not improved by `min_delta` for `patience` epochs."""

    patience: Annotated[Positive, Unit("epochs")] | None = None  # epochs without improvement; null never stops early
    monitor: Annotated[str, one_of(*MONITORS)] = "val/loss"  # metric that has to improve
    mode: Mode = Mode.min  # whether more or less of it is better
    min_delta: Annotated[float, Ge(0)] = 0.0  # smallest change that counts as an improvement, in the unit of the metric


@dataclass(kw_only=True)
class TrainerConfig:
    """How long, how, and on what a run trains."""

    # Images of a batch, over all devices together; batch normalisation needs two.
    batch_size: Annotated[int, Ge(2), Unit("images")] = MISSING
    max_epochs: Annotated[Positive, Unit("epochs")] = MISSING  # length of the training
    monitor: Annotated[str, one_of(*MONITORS)] = "val/acc"  # metric that chooses the best epoch
    mode: Mode = Mode.max  # whether more or less of it is better
    # Smallest change that makes an epoch the best one, in the unit of the metric; `restore_best_weights` of Keras takes that of
    # its early stopping.
    min_delta: Annotated[float, Ge(0)] = 0.0
    keep: Keep = Keep.best  # which weights are tested
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    gradient_clip: Annotated[float, Gt(0)] | None = None  # largest norm of the whole gradient; null switches it off
    # Batches per optimizer step; the last step of an epoch may have fewer, and as much less weight.
    accumulate: Annotated[Positive, Unit("batches")] = 1
    # Decay per step of averaged weights, which are then validated and tested; 0.999 is usual, null switches it off.
    ema_decay: Annotated[float, Interval(gt=0, lt=1)] | None = None
    accelerator: Annotated[str, one_of("auto", "cpu", "gpu")] = "auto"  # hardware; auto takes a GPU where there is one
    devices: Annotated[Positive, Unit("devices")] = 1  # devices that share a run
    strategy: Annotated[str, one_of("auto", "ddp")] = "auto"  # how several devices share it
    precision: Precision = Precision.auto  # number format of the matrix products
    channels_last: bool = True  # whether images lie in memory with their channels last, which is faster
    compile: bool = False  # whether torch.compile translates the network
    deterministic: bool = False  # whether GPUs use deterministic kernels only; CPU runs are deterministic anyway
    # Threads of a process; null: OMP_NUM_THREADS, else SLURM_CPUS_PER_TASK, else the cores it may use, over a run's processes.
    num_threads: Annotated[int, Interval(ge=1, le=1024), Unit("threads")] | None = None
    evaluation_batch_size: Annotated[Positive, Unit("images")] = 256  # images of a batch where nothing is trained
    fast_dev_run: Annotated[Natural, Unit("batches")] = 0  # batches of a trial run that keeps nothing; 0: a real run
    # Share of the training batches, or their number if above 1; null takes all.
    limit_train_batches: Annotated[float, PART_ABOVE_0, Unit("batches")] | None = None
    # Share of the val batches, or their number if above 1; 0 validates nothing, null takes all.
    limit_val_batches: Annotated[float, PART_OF_BATCHES, Unit("batches")] | None = None
    # Share of the batches of every part that finished weights are tested on, or their number if above 1; null takes all.
    limit_test_batches: Annotated[float, PART_ABOVE_0, Unit("batches")] | None = None
    # Share of the batches, or their number if above 1, that are trained on again and again, to see whether a network can learn
    # them; 0: all images.
    overfit_batches: Annotated[float, PART_OF_BATCHES, Unit("batches")] = 0.0
    profiler: Annotated[str, one_of("simple", "advanced", "pytorch")] | None = None  # Lightning's profiler
    # Whether a finished run keeps last.ckpt, its whole state, so that a run with more epochs continues it (docs/training.md).
    save_last: bool = False
    # Lightning callbacks of plugins: `package.module.Class`, or a mapping of `name` and the arguments of the class.
    callbacks: list[Any] = field(default_factory=list)


@dataclass(kw_only=True)
class EvaluationConfig:
    """How finished weights are tested."""

    tta: TestTimeAugmentation = TestTimeAugmentation.none  # views of an image whose probabilities are averaged
    crop: Annotated[Any, SIZE, Unit("pixels")] = None  # size of the tested crop; null tests at the size trained on
    # Whether the test predictions of all epochs are also scored together (`test_pooled`, `train_pooled`).
    pool_epochs: bool = False
    # Whether the finished weights are also tested on the train role, without augmentation and dropout (`train_eval`).
    train: bool = False
    # Metrics of plugins that finished weights are tested with, by their names in tables: `package.module.Class`, or a mapping of
    # `name` and the arguments of the class.
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class TrackingConfig:
    """Where MLflow records runs."""

    enabled: bool = True  # whether MLflow records anything; tracking=none switches it off
    # Address of the store, such as sqlite:///runs/mlflow.db or http://...; MLFLOW_TRACKING_URI gives the default.
    uri: Annotated[str, STORE_ADDRESS] = MISSING
    experiment: Annotated[str, FOLDER_NAME] = MISSING  # name of the experiment
    # Time a server may take to answer before the run goes on without it.
    timeout: Annotated[int, Interval(ge=1, le=86400), Unit("seconds")] = 5
    parent: str | None = None  # MLflow run below which this one is shown
    log_model: bool = False  # whether the tested weights are logged as a model that MLflow can serve
    register: str | None = None  # name under which that model is registered; implies log_model
    pictures: bool = True  # whether runs and studies get figures, which take longer than the training of a small run
    contact_sheets: bool = False  # whether pictures of samples, augmented copies and classes are logged
    # Whether the load of the processor, the memory, the disks, the network and NVIDIA GPUs is recorded while a run trains.
    system_metrics: bool = False
    tags: dict[str, str] = field(default_factory=dict)  # further tags of the runs and of their study, as in {owner: ada}
    also: list[Tracker] = field(default_factory=list)  # other trackers that record runs, beside MLflow or without it


@dataclass(kw_only=True)
class SearchConfig:
    """What a search (`hydra/sweeper=optuna`) looks for; a run that is no trial of one has no study_name."""

    # A val metric or a cost (run/parameters, run/macs, run/seconds); a list of several; null: val/acc, or val/loss where
    # hydra.sweeper.direction is minimize.
    objective: Annotated[str | list[str], DIFFERENT] | None = None
    storage: str | None = None  # SQLAlchemy address of the trials; set by the search itself
    study_name: str | None = None  # name of the search; set by the search itself
    trial: Natural | None = None  # number within the search, from 0; set by the search itself


@dataclass(kw_only=True)
class RowConfig:
    """A named row of a study."""

    label: str = MISSING  # name of the row, unique in its study
    overrides: list[str] = field(default_factory=list)  # Hydra overrides, on top of those of the study
    start_from: str | None = None  # label of the row whose weights of the same seed this one starts with
    # Whether the row is trained only because another one starts from it or averages it, and stands in no table.
    auxiliary: bool = False
    # Labels of rows whose networks this one averages, image by image; it is not trained itself.
    average_of: list[str] = field(default_factory=list)
    # Whether each seed has an average of its own (rows), or all seeds have one together (seeds).
    average_over: AverageOver = AverageOver.rows
    published: dict[str, Any] = field(default_factory=dict)  # split/metric -> number as printed, or {value, note}
    # Printed classification report: split -> class -> [precision, recall, F1, images]; also accuracy, macro avg, weighted avg.
    by_class: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class StudyConfig:
    """A study as its file describes it: a baseline, named rows, seeds, and the columns of its table."""

    source: str = ""  # document and table that the study follows
    base: list[str] = field(default_factory=list)  # overrides of all rows, such as experiment=fer_kd
    baseline: str | None = None  # label of the row that the others are compared with; null: the first row
    rows: list[RowConfig] = field(default_factory=list)
    one_factor: dict[str, Any] = field(default_factory=dict)  # key -> values; a row for each, all else as the baseline
    zipped: dict[str, Any] = field(default_factory=dict)  # key -> values; row k takes the k-th value of every key
    crossed: dict[str, Any] = field(default_factory=dict)  # key -> values; a row for every combination
    # Rows that are left out: all conditions of a mapping hold, as in {optimizer: [adam, adamw], optimizer.lr: '>0.01'}.
    exclude: list[Any] = field(default_factory=list)
    published: dict[str, Any] = field(default_factory=dict)  # label -> as `published` of a row
    seeds: Annotated[list[Seed], DIFFERENT] = field(default_factory=lambda: [0])  # seeds of every row
    # Whether rows get more than these seeds until they are decided (judged again and again, at 5 % over all looks); null: no.
    seeds_until: SeedsUntil | None = None
    max_seeds: Annotated[int, Ge(2), Unit("seeds")] = 20  # of a row, with seeds_until
    # Hours of training, all runs together, after which seeds_until adds no more seeds; null: as many as it needs.
    budget_hours: Annotated[float, Gt(0), Unit("hours")] | None = None
    # Folds that every row is trained on for each seed, which sets data.folds and data.fold; null: none.
    folds: Annotated[int, Ge(FEWEST_FOLDS), Unit("folds")] | None = None
    columns: list[str] = field(default_factory=lambda: ["val/acc", "test/acc"])  # metrics that the table shows, as split/metric
    protocol: dict[str, str] = field(default_factory=dict)  # what all rows must have, such as roles: swapped
    # Difference to the baseline, in points, within which rows count as the same; null: the table does not judge that.
    margin: Annotated[float, Interval(gt=0, le=100), Unit("points")] | None = None
    # Whether a column may hold rows of different evaluation protocols; the table then says so.
    mixed_protocols: bool = False
    # Key on the horizontal axis of the plot; null: the one key that all rows set, if there is one.
    factor: str | None = None


@dataclass(kw_only=True)
class StudySwitches:
    """What one command does with a study. Only a command line may give these, never a study's file."""

    select: list[str] = field(default_factory=list)  # labels of the rows to run and show; typed as study.rows=[...]
    only: Only | None = None  # which of the unfinished runs to train; null: all
    force: bool = False  # whether finished runs are trained again
    # Whether finished runs of an earlier config, data or code are shown instead of being trained again.
    accept_stale: bool = False


@dataclass(kw_only=True)
class StudyKeys(StudySwitches, StudyConfig):
    """A study as its file describes it, and the switches of a command, which only a command line may give."""


@dataclass(kw_only=True)
class Config:
    """One run."""

    name: str | None = None  # label of the run in tables and in MLflow; null: what differs from the defaults
    seed: Seed = MISSING  # seed of the weights, the order of the images and their augmentation
    runs_dir: Annotated[str, NOT_BLANK] = MISSING  # folder of all runs
    force: bool = False  # whether the run is trained again although it is finished
    plugins: list[str] = field(default_factory=list)  # packages of the user's own whose code may run; command line only
    init_from: str | None = None  # weights to start with: a checkpoint file, or a run by key, folder or MLflow id
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: dict[str, Any] = field(default_factory=dict)  # name and arguments of the optimizer
    scheduler: dict[str, Any] = field(default_factory=dict)  # name and arguments of the learning-rate schedule
    loss: LossConfig = field(default_factory=LossConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    study: StudyKeys | None = None
