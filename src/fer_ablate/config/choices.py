"""Values of a config that come from a closed list: YAML files name a member, and a message about a wrong name lists them."""

from enum import Enum

LOSSES = ("cross_entropy", "focal", "soft_target")

MONITORS = tuple(f"{split}/{name}" for split in ("val", "train") for name in ("loss", "acc", "top2", "macro_f1"))
"""Metrics that are measured after every epoch, so that they can choose the best one."""

PRETRAINED = ("vgg16", "vgg19", "resnet50")
"""Networks of conf/model with published ImageNet weights."""


class Source(Enum):
    """Where the images come from: drawn faces, FER2013, a folder of images, a list of them, or a function of the user's own."""

    synthetic = "synthetic"
    fer2013 = "fer2013"
    folder = "folder"
    list = "list"
    own = "own"


class Roles(Enum):
    """Which split is train, val and test.

    `official` validates on PublicTest and tests on PrivateTest, `swapped` the other way round; `combined` and
    `combined_swapped` also train on the split that they validate on. `holdout` draws val from the training split and tests on
    the other known ones; `drawn` draws val and test from the training split, or from all images where there are no splits.
    `auto` is `official` where val and test exist, `holdout` where one of them does, else `drawn`.
    """

    official = "official"
    swapped = "swapped"
    holdout = "holdout"
    drawn = "drawn"
    combined = "combined"
    combined_swapped = "combined_swapped"
    auto = "auto"


class ValDraw(Enum):
    """How val is drawn by `data.val_fraction`.

    `nearest`: that fraction of each class, rounded to the nearest number of images; `up`: rounded up, as scikit-learn's
    `train_test_split` does for one class at a time; `mixed`: that fraction of all images together, rounded up, with as many of
    each class as the draw gives, as `train_test_split` does without `stratify`.
    """

    nearest = "nearest"
    up = "up"
    mixed = "mixed"


class Fit(Enum):
    """How an image takes another shape: a border of its edge pixels, a crop of its middle, or other proportions."""

    pad = "pad"
    crop = "crop"
    stretch = "stretch"


class Labels(Enum):
    """Training target of an image: the label of the file, or one of the three targets that FER+ derives from its votes."""

    hard = "hard"
    majority = "majority"
    probability = "probability"
    cross_entropy = "cross_entropy"


class Drop(Enum):
    """Kinds of flawed images that can be left out."""

    duplicates_of_train = "duplicates_of_train"
    conflicts = "conflicts"
    blank = "blank"


class Balance(Enum):
    """How classes are made equally large with transformed copies.

    `majority` fills each class of the train role up to the largest one. `copies` takes as many originals of each class as the
    smallest has, in train and in test, and makes the same number of copies of every original.
    """

    none = "none"
    majority = "majority"
    copies = "copies"


class Block(Enum):
    """The body of one stage.

    `conv`: convolution, norm and activation. `basic` and `bottleneck`: residual blocks of two 3x3 convolutions or of 1x1, 3x3,
    1x1 (He et al. 2016, arXiv:1512.03385). `inverted_residual`: that of MobileNetV2 (arXiv:1801.04381).
    """

    conv = "conv"
    basic = "basic"
    bottleneck = "bottleneck"
    inverted_residual = "inverted_residual"


WITH_INNER = (Block.bottleneck, Block.inverted_residual)
"""Blocks that have channels inside: `inner` of a stage, or `expansion` in a search."""


class Pool(Enum):
    """Pooling at the end of a stage or of all stages; `adaptive_*` pools to a map of `pool_kernel` x `pool_kernel`."""

    none = "none"
    max = "max"
    avg = "avg"
    adaptive_max = "adaptive_max"
    adaptive_avg = "adaptive_avg"


class Norm(Enum):
    """Normalisation layer; `layer` normalises over channels and pixels of an image together."""

    none = "none"
    batch = "batch"
    instance = "instance"
    layer = "layer"


class NormPosition(Enum):
    """Place of the normalisation in a block; with `after_pool`, the last block of a stage normalises after the pool."""

    before_activation = "before_activation"
    after_activation = "after_activation"
    after_pool = "after_pool"


class Activation(Enum):
    """Nonlinearity after every convolution and hidden linear layer."""

    relu = "relu"
    leaky_relu = "leaky_relu"
    elu = "elu"
    gelu = "gelu"
    silu = "silu"


class Init(Enum):
    """Initial weights: the default of torch, Glorot's uniform distribution (the default of Keras), or He's normal one."""

    torch = "torch"
    xavier = "xavier"
    kaiming = "kaiming"


class DivideBy(Enum):
    """What the sum of a batch's losses is divided by where classes have weights.

    `weights`: the sum of the weights of its images, as in PyTorch; `images`: their number, as in Keras. Losses against
    distributions are always divided by the number of images.
    """

    weights = "weights"
    images = "images"


class ClassWeight(Enum):
    """Weights of the classes; `balanced`: n / (K n_k) for class k, as in scikit-learn, over the training images."""

    none = "none"
    balanced = "balanced"


class TestTimeAugmentation(Enum):
    """Views whose probabilities are averaged: the image; with its mirror; four corners and the centre, with mirrors."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    none = "none"
    flip = "flip"
    ten_crop = "ten_crop"


class Mode(Enum):
    """Whether more or less of a metric is better."""

    max = "max"
    min = "min"


class Keep(Enum):
    """Which weights are tested: those of the best epoch by `trainer.monitor`, or of the last one."""

    best = "best"
    last = "last"


class Precision(Enum):
    """Number format of matrix products; `auto`: bf16 where the hardware multiplies it fast, else 32-bit floats."""

    auto = "auto"
    bf16 = "bf16"
    fp16 = "fp16"
    fp32 = "fp32"


class Only(Enum):
    """Which runs of a study to train: those that failed before, or those that never began."""

    failed = "failed"
    missing = "missing"


class SeedsUntil(Enum):
    """When a study stops to add seeds: once each row is judged to differ from the baseline or not, or is not worth more."""

    decided = "decided"


class AverageOver(Enum):
    """What a row of averages pairs: its rows, seed by seed; or all their seeds as well, as one network."""

    rows = "rows"
    seeds = "seeds"


class Tracker(Enum):
    """Other trackers that record runs beside MLflow: TensorBoard, a table of Lightning's CSVLogger, Weights & Biases."""

    tensorboard = "tensorboard"
    csv = "csv"
    wandb = "wandb"
