"""The closed choices of a config: YAML files name a member, and a wrong name is answered with the right ones."""

from enum import Enum


class Source(Enum):
    """Where faces come from."""

    synthetic = "synthetic"
    fer2013 = "fer2013"
    folder = "folder"
    list = "list"


class Roles(Enum):
    """Which split is train, val and test.

    `holdout` draws val from the training split and tests on the other known ones; `drawn` draws val and test from the training
    split, or from all images where there are no splits. `auto` is `official` where val and test exist, `holdout` where one of
    them does, else `drawn`.
    """

    official = "official"
    swapped = "swapped"
    holdout = "holdout"
    drawn = "drawn"
    combined = "combined"
    combined_swapped = "combined_swapped"
    auto = "auto"


class Fit(Enum):
    """How an image takes another shape: a border of its edge pixels, its middle, or another ratio of its sides."""

    pad = "pad"
    crop = "crop"
    stretch = "stretch"


class Labels(Enum):
    """What the training target of an image is: the file's label, or one of the three readings of the FER+ votes."""

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
    """How classes are made equal with transformed copies.

    `majority` fills all up to the largest of the train role; `copies` takes as many originals of each as the smallest has, and
    so many copies of every one, in train and in test.
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


class Pool(Enum):
    """The pooling that ends a stage, or the network's feature map (`adaptive_*`: to `pool_kernel` x `pool_kernel`)."""

    none = "none"
    max = "max"
    avg = "avg"
    adaptive_max = "adaptive_max"
    adaptive_avg = "adaptive_avg"


class Norm(Enum):
    """Normalisation layer."""

    none = "none"
    batch = "batch"
    instance = "instance"
    layer = "layer"


class NormPosition(Enum):
    """Where the normalisation of a block stands; `after_pool`: the last block of a stage normalises behind its pool."""

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
    """Initial weights of convolutions and linears: torch's default, Glorot's uniform (Keras' default), or He's normal."""

    torch = "torch"
    xavier = "xavier"
    kaiming = "kaiming"


class ClassWeight(Enum):
    """`balanced`: n / (K n_k) for class k, as scikit-learn counts it, over the training images."""

    none = "none"
    balanced = "balanced"


class TestTimeAugmentation(Enum):
    """Views whose probabilities are averaged: the image, with its mirror, or four corners + centre with mirrors."""

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
    """`auto`: bf16 where the hardware multiplies it fast, else 32-bit floats."""

    auto = "auto"
    bf16 = "bf16"
    fp16 = "fp16"
    fp32 = "fp32"


class Only(Enum):
    """Which runs of a study to train: those that failed before, or those never begun."""

    failed = "failed"
    missing = "missing"
