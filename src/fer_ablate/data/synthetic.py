"""stub"""
from fer_ablate.config.schema import SyntheticConfig
from fer_ablate.data.faces import Parsed, Progress
DRAWING = 1
def draw_faces(config: SyntheticConfig, progress: Progress | None = None) -> Parsed:
    raise NotImplementedError
