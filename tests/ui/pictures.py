"""Makes src/dev/ui/screenshots: every page, light and dark, small. Needs Pillow and what page.mjs needs.

`python3 tests/ui/pictures.py`
"""

import os
import pathlib
import subprocess
import tempfile

from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "src" / "dev" / "ui" / "screenshots"
PAGES = {
    "traces": "/traces", "waterfall": "/trace/BAD", "span": "/trace/BAD?span=FX", "critical-path": "/trace/BAD/critical-path",
    "flame": "/flame", "compare": "/compare?a=r-17&b=r-18", "live": "/live", "logs": "/logs?id=LOG", "metrics": "/metrics?name=process.runtime.nodejs.memory.heap",
    "heatmap": "/metrics", "map": "/map", "alerts": "/alerts?id=a1", "genai": "/genai", "conversation": "/genai/BAD/x", "pipeline": "/pipeline", "aws": "/aws",
    "keys": "/keys", "runs": "/runs",
}


def main():
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, WIDTH="1280", HEIGHT="760")
        subprocess.run(["node", str(HERE / "shots.mjs"), folder, *(f"{name}={path}" for name, path in PAGES.items())], check=True, env=environment)
        TARGET.mkdir(exist_ok=True)
        for path in sorted(pathlib.Path(folder).glob("*.png")):
            picture = Image.open(path).convert("RGB").quantize(colors=256, kmeans=2, dither=Image.Dither.NONE)
            picture.save(TARGET / path.name, optimize=True)
            size = (TARGET / path.name).stat().st_size
            assert size <= 120_000, f"{path.name}: {size} bytes"


if __name__ == "__main__":
    main()
