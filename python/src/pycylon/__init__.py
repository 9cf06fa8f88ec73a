"""Cylon: a distributed dataframe with pandas' names.

The same program runs in one process and, under ``cylon run -n 4``, on many ranks.
"""

from pycylon.env import CylonEnv
from pycylon.errors import (
    AuthenticationError,
    CollectiveMismatchError,
    CylonError,
    DeadlineError,
    InputOutputError,
    IsolatedError,
    LinkLostError,
    OutOfMemoryError,
    ProtocolError,
    RankFailedError,
    RankTakenError,
)
from pycylon.files import read_csv, read_parquet
from pycylon.frame import DataFrame, concat
from pycylon.series import Series
from pycylon.serverless import FMIConfig, ServerlessConfig

__all__ = [
    "AuthenticationError",
    "CollectiveMismatchError",
    "CylonEnv",
    "CylonError",
    "DataFrame",
    "DeadlineError",
    "FMIConfig",
    "InputOutputError",
    "IsolatedError",
    "LinkLostError",
    "OutOfMemoryError",
    "ProtocolError",
    "RankFailedError",
    "RankTakenError",
    "Series",
    "ServerlessConfig",
    "concat",
    "read_csv",
    "read_parquet",
]
