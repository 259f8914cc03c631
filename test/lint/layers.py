#!/usr/bin/env python3
"""Includes point downward only: a layer includes headers of itself and of earlier layers.

The order is the Makefile's LAYERS. st-local (src/local) stands beside them: it may use base, net and google, and no layer may use it.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
LAYERS = re.search(r"^LAYERS := (.*)$", MAKEFILE, re.M).group(1).split()
LOCAL_MAY_USE = {"base", "net", "google", "local"}


def layer_of(path):
    parts = path.relative_to(ROOT).parts
    if path.name == "local_main.c":
        return "local"
    return parts[1] if len(parts) > 2 else None


def allowed(layer):
    if layer == "local":
        return LOCAL_MAY_USE
    return set(LAYERS[: LAYERS.index(layer) + 1])


def main():
    bad = 0
    files = [p for top in ("src", "include") for p in (ROOT / top).rglob("*.[ch]")]
    for path in sorted(files):
        layer = layer_of(path)
        if layer not in LAYERS and layer != "local":
            print(f"{path.relative_to(ROOT)}: folder is no layer")
            bad += 1
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"/]+)/[^"]+"', line)
            if match and match.group(1) not in allowed(layer):
                print(f"{path.relative_to(ROOT)}:{number}: layer {layer} may not include from {match.group(1)}")
                bad += 1
    print(f"layers: {len(files)} files, {bad} wrong includes")
    return 1 if bad else 0


sys.exit(main())
