"""Writes src/dev/ui/assets.list, which build.rs holds the page's files to: after every change of a file there.

A line a file: the FNV-1a (64 bit) of its bytes, its size, its path.
"""

import pathlib

UI = pathlib.Path(__file__).resolve().parents[2] / "src" / "dev" / "ui"
KINDS = {".js", ".css", ".html", ".svg"}


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def lines():
    files = sorted(path for path in UI.rglob("*") if path.suffix in KINDS)
    for path in files:
        data = path.read_bytes()
        yield f"{fnv(data):016x} {len(data)} {path.relative_to(UI).as_posix()}\n"


if __name__ == "__main__":
    (UI / "assets.list").write_text("".join(lines()))
