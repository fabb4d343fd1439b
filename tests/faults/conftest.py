import os

import pytest

from tests.faults.processes import Server

if not hasattr(os, "fork"):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Starts processes that have imported everything."""
    pytest.importorskip("lightning", reason="needs the extra train")
    server = Server(tmp_path_factory.mktemp("logs"))
    yield server
    server.close()
