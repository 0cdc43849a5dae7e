"""The page of dev mode in chromium: over made-up data (tests/ui/page.mjs) and over the agent (tests/ui/agent.mjs); its types by
the TypeScript compiler."""

import os
import pathlib
import subprocess
import sys

import agent

UI = pathlib.Path(__file__).resolve().parents[1] / "ui"


def main():
    compiler = pathlib.Path(os.environ["COMPAT_NODE_MODULES"]) / "typescript" / "bin" / "tsc"
    if compiler.exists():
        subprocess.run(["node", str(compiler), "-p", str(UI / "tsconfig.json")], check=True, timeout=300)
        print("types of the page: sound")
    else:
        print("types of the page: skipped, typescript is not installed")
    code = subprocess.run(["node", str(UI / "page.mjs")], timeout=600).returncode
    if subprocess.run([agent.binary(), "dev", "--help"], capture_output=True).returncode != 0:
        print("the page of the agent: this binary has no `dev`")
        sys.exit(1)
    code |= subprocess.run(["node", str(UI / "agent.mjs"), agent.binary()], timeout=600).returncode
    sys.exit(code)


if __name__ == "__main__":
    main()
