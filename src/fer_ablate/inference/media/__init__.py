"""Pictures, videos and cameras: found, read, annotated."""

from fer_ablate.extras import extra_named

# Every module of this package needs OpenCV; this one is imported before any of them.
with extra_named():
    import cv2  # noqa: F401
