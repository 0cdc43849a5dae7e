"""The page of dev mode in chromium: tests/ui/page.mjs over made-up data; its types by the TypeScript compiler."""

import os
import pathlib
import subprocess
import sys

UI = pathlib.Path(__file__).resolve().parents[1] / "ui"


def main():
    compiler = pathlib.Path(os.environ["COMPAT_NODE_MODULES"]) / "typescript" / "bin" / "tsc"
    if compiler.exists():
        subprocess.run(["node", str(compiler), "-p", str(UI / "tsconfig.json")], check=True, timeout=300)
        print("types of the page: sound")
    else:
        print("types of the page: skipped, typescript is not installed")
    sys.exit(subprocess.run(["node", str(UI / "page.mjs")], timeout=600).returncode)


if __name__ == "__main__":
    main()
