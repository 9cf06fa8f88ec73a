"""Joins without end: for tests that end a rank in the middle. Prints its process id when it begins."""

import os

import numpy as np

import pycylon as cy

with cy.CylonEnv() as env:
    rng = np.random.default_rng(env.rank)
    left = cy.DataFrame({"k": rng.integers(0, 200_000, 150_000), "x": rng.random(150_000)}, env=env)
    right = cy.DataFrame({"k": rng.integers(0, 200_000, 150_000), "y": rng.random(150_000)}, env=env)
    env.barrier()
    print(f"working {os.getpid()}", flush=True)
    while True:
        left.merge(right, on="k")
