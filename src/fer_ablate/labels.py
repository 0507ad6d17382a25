"""Names and facts of FER2013 and FER+: classes, official splits, sizes."""

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The seven classes in the order of the `emotion` column of fer2013.csv."""

EMOTIONS_8 = (*EMOTIONS, "contempt")
"""FER+ has an eighth class; it comes last, so that the first seven keep their index."""

FERPLUS_COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
"""Vote columns of fer2013new.csv in file order; the last two are votes for `unknown` and `not a face`."""

FERPLUS_TO_EMOTION = (6, 3, 5, 4, 0, 1, 2, 7)
"""Index into EMOTIONS_8 of each of the first eight vote columns."""

TRAINING, PUBLIC, PRIVATE = "Training", "PublicTest", "PrivateTest"
USAGES = (TRAINING, PUBLIC, PRIVATE)
"""The official splits (28,709 / 3,589 / 3,589 images), as the `Usage` column spells them."""

METRIC_NAMES = {PUBLIC: "public", PRIVATE: "private"}
"""Prefix of an official split in metric names (`public/acc`)."""

SIDE = 48
"""Pixels along each side of a FER2013 face; one gray channel."""
