"""The peer of `inference_speed.py`, in a process and an environment of its own.

    python benchmarks/inference_worker.py FOLDER SAMPLES SEED [--realtime]

Makes a torchlogix network, writes model.pth, rows.npy (samples, 784) of bits and the classes that the network answers
into the folder, compiles it to C, and then answers every line on standard input by
runs of a tenth of a second and their samples per second.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torchlogix import CompiledLogicNet
from torchlogix.layers import GroupSum, LogicDense

FEATURES, WIDTH, CLASSES, WORD_BITS = 784, 4000, 10, 64
TURN_SECONDS = 0.1


def main() -> None:
    """Compile and measure until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("samples", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--realtime", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    layers = [LogicDense(a, b, parametrization="raw") for a, b in ((FEATURES, WIDTH), (WIDTH, WIDTH))]
    model = torch.nn.Sequential(*layers, GroupSum(CLASSES, 1.0)).eval()
    for layer in layers:
        torch.nn.init.normal_(layer.weight)
    wiring = {f"{place}.connections.indices": layer.connections.indices for place, layer in enumerate(layers)}
    torch.save(model.state_dict() | wiring, arguments.folder / "model.pth")  # version 0.1.1 does not save the wiring
    compiled = CompiledLogicNet(model, (FEATURES,), num_bits=WORD_BITS, apply_groupsum_scaling=False)
    started = time.perf_counter()
    compiled.compile()
    seconds = time.perf_counter() - started
    rows = torch.randint(0, 2, (arguments.samples, FEATURES), dtype=torch.bool)
    np.save(arguments.folder / "rows.npy", rows.numpy())
    np.save(arguments.folder / "classes.npy", compiled(rows).argmax(dim=1).numpy())
    print(json.dumps({"version": version("torchlogix"), "seconds_to_compile": seconds}), flush=True)
    if arguments.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    for _ in sys.stdin:
        runs, started = 0, time.process_time()
        while time.process_time() - started < TURN_SECONDS:
            compiled(rows)
            runs += 1
        print(runs * len(rows) / (time.process_time() - started), flush=True)


if __name__ == "__main__":
    main()
