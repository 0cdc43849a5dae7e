"""A page in chromium exports over CORS; exactly the span of the allowed page must come out."""

import json
import os
import pathlib
import subprocess

import agent as A

HERE = pathlib.Path(__file__).parent


def main():
    with A.Agent(A.FILE_CONFIG) as agent:
        done = subprocess.run(
            ["node", str(HERE / "browser.mjs"), str(agent.http)],
            stdout=subprocess.PIPE, check=True, timeout=120, env=os.environ,
        )
        sent = json.loads(done.stdout)
        A.expect("exit code", agent.stop(), 0)
        names = [span["name"] for _, _, span in A.spans(agent.lines())]
        A.expect("spans", names, [sent["name"]])
    print("browser, CORS: exact")


if __name__ == "__main__":
    main()
