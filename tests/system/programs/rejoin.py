"""Counts rows with whoever is left: the rank that was started as 1 kills itself in its first attempt."""

import os
import signal

import pycylon as cy

ROWS = 1200

env = cy.CylonEnv()
dies = env.rank == 1
while True:
    try:
        mine = [row for row in range(ROWS) if row % env.world_size == env.rank]
        frame = cy.DataFrame({"row": mine}, env=env)
        env.barrier()
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        rows = frame.drop_duplicates().count_rows()
        break
    except cy.RankFailedError as error:
        print(f"lost rank {error.rank}", flush=True)
        env = env.rejoin(window_s=30)
print(f"rank {env.rank} of {env.world_size} counts {rows} rows", flush=True)
env.finalize()
