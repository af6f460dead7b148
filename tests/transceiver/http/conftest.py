"""What holds for every test of signalling."""

import logging

import pytest


@pytest.fixture(autouse=True)
def no_fault_of_ours(caplog):
    """Whatever clients do, no handler fails: the server would log its traceback."""
    yield
    for when in ("setup", "call"):
        for record in caplog.get_records(when):
            assert not (record.name.startswith("uvicorn") and record.levelno >= logging.ERROR), (
                record.getMessage()
            )
