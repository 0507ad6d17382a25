"""What goes out to the nodes of a Ray cluster with a run: images, weights, plugins, and what an earlier part of the run has left.

Images and files are put into Ray's object store once, however many runs and nodes need them.
"""

import os
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray

from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.config.behaviour import plugin_files
from fer_ablate.config.choices import Source
from fer_ablate.config.schema import DataConfig
from fer_ablate.data.load import load_faces
from fer_ablate.execution.continuing import take_up_shorter
from fer_ablate.execution.ray_node import Expected, Request, SentImages
from fer_ablate.execution.received import description, pixel_digest
from fer_ablate.execution.run_parcels import pack_unfinished
from fer_ablate.paths import expanded
from fer_ablate.tracking.disk.lookup import resolve_start
from fer_ablate.tracking.disk.run_folder import RunFolder

BLOCK_BYTES = 256 << 20
"""Images travel in blocks of this size, so that a node needs no more memory for them."""


class Sent:
    """What has been put into Ray's object store, images by data config and files by name and time, and the requests that name it.

    Attributes:
        always: whether requests bring what a node without the disk of the sweep needs.
    """

    def __init__(self) -> None:
        self.always = False
        self._pixels: dict[str, list[Any]] = {}
        self._images: dict[str, SentImages] = {}
        self._files: dict[tuple[str, int], Any] = {}

    def images(self, config: DataConfig, plugins: Sequence[str] = ()) -> SentImages:
        """The images of a data config; `plugins` may be imported for a source of the user's own."""
        name = repr(config)
        if name not in self._images:
            faces = load_faces(config, plugins=plugins)
            digest = pixel_digest(faces.faces)
            if digest not in self._pixels:
                step = max(BLOCK_BYTES * len(faces.faces) // max(faces.faces.nbytes, 1), 1)
                blocks = (faces.faces[first : first + step] for first in range(0, len(faces.faces), step))
                self._pixels[digest] = [ray.put(np.array(block)) for block in blocks]
            self._images[name] = SentImages(digest, faces.faces.nbytes, self._pixels[digest], ray.put(description(faces)))
        return self._images[name]

    def file(self, path: Path) -> Any:
        """A file, as bytes."""
        name = (str(path), path.stat().st_mtime_ns)
        if name not in self._files:
            self._files[name] = ray.put(np.fromfile(path, np.uint8))
        return self._files[name]

    def request(self, spec: RunSpec, expected: Expected) -> tuple[bytes, list[Any]]:
        """The pickled request of a run, with numbers in place of references, which Ray has to see, and these references.

        Raises:
            UserError: of the images or the weights to begin with.
        """
        references: list[Any] = []

        def number(reference: Any) -> int:
            references.append(reference)
            return len(references) - 1

        images, start, pretrained, state = None, None, None, None
        if self.always:
            sent = self.images(spec.config.data, spec.config.plugins)
            images = replace(sent, blocks=[number(one) for one in sent.blocks], description=number(sent.description))
            if spec.config.init_from is not None:
                found = resolve_start(spec.config.init_from, Path(spec.config.runs_dir))
                start = (found, number(self.file(found.path)))
            if spec.config.model.pretrained is not None and spec.config.model.pretrained_path is not None:
                pretrained = number(self.file(Path(spec.config.model.pretrained_path)))
            take_up_shorter(spec)
            if not spec.config.force and (left := pack_unfinished(RunFolder(Path(spec.folder)))) is not None:
                state = number(ray.put(left))
        request = Request(pickle.dumps(spec), spec.key, str(Path.cwd()), expected, images, start, pretrained, state)
        return pickle.dumps(request), references


def places(specs: Sequence[RunSpec]) -> tuple[str, ...]:
    """What the runs read beside the folders of runs: images, and files of weights."""
    found: set[str | None] = set()
    for spec in specs:
        config = spec.config
        found |= {config.data.path, config.data.ferplus_path} if config.data.source is not Source.synthetic else set()
        found |= {config.model.pretrained_path, config.init_from}
    paths = (expanded(one).absolute() for one in found if one is not None)
    return tuple(sorted(str(path) for path in paths if path.exists()))  # `init_from` may name a run instead


@contextmanager
def staged_plugins(specs: Sequence[RunSpec]) -> Iterator[dict[str, Any]]:
    """Options that bring the plugins of the runs, and the modules of the user's own that they import, to every node."""
    files = plugin_files({name for spec in specs for name in spec.config.plugins})
    if not files:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(os.path.commonpath([file.parent for file in files]))
        while (root / "__init__.py").is_file():
            root = root.parent
        for file in files:
            target = Path(folder) / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
        yield {"runtime_env": {"working_dir": folder}}
