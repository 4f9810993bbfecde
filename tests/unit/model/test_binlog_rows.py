"""Rows of a binlog by its frame, on one that Milvus 2.3.5 wrote."""

from __future__ import annotations

import base64

import pytest

from migrator.model.binlog_rows import NoBinlog, count_rows

ONE_DELETE = base64.b64decode(
    "vPr/AAAAwOfpFogGAGcAAABrAAAAdg2b/egWiAZ3DZv96BaIBtoanv3oFogG//////////8BANTe6RaIBgEA1N7pFogGFAAAADQQEBAQEBAQFgAAAHsi"
    "b3JpZ2luYWxfc2l6ZSI6IjQzIn0AAMDn6RaIBgLhAQAATAIAAAEA1N7pFogGAQDU3ukWiAZQQVIxFQQVXhV4TBUCFQASAAAotS/9BAB5AQArAAAAeyJw"
    "ayI6NywidHMiOjQ3MDY1MTM1NDc4MTg0MzQ1NywicGtUeXBlIjo1fcNM8q0VABUGFSAsFQIVEBUGFQYcNgAWABgreyJwayI6NywidHMiOjQ3MDY1MTM1"
    "NDc4MTg0MzQ1NywicGtUeXBlIjo1fRgreyJwayI6NywidHMiOjQ3MDY1MTM1NDc4MTg0MzQ1NywicGtUeXBlIjo1fQAAACi1L/0EABkAAAECABmUmGIV"
    "BBksNQQYBnNjaGVtYRUCABUMJQAYA3ZhbCUATBwAAAAWAhkcGRwmngMcFQwZNRAABhkYA3ZhbBUMFgIW4gIWlgMmnAEmCBw2ABYAGCt7InBrIjo3LCJ0"
    "cyI6NDcwNjUxMzU0NzgxODQzNDU3LCJwa1R5cGUiOjV9GCt7InBrIjo3LCJ0cyI6NDcwNjUxMzU0NzgxODQzNDU3LCJwa1R5cGUiOjV9ABksFQQVABUC"
    "ABUAFRAVAgAAABaWAxYCJggWlgMUAAAZDBgZcGFycXVldC1nbyB2ZXJzaW9uIDEyLjAuMRkcHAAAAOkAAABQQVIx"
)


def test_a_delete_is_counted() -> None:
    assert count_rows(ONE_DELETE) == 1


def test_several_events_add_up() -> None:
    event = ONE_DELETE[107:]
    moved = event[:13] + (len(ONE_DELETE) + len(event)).to_bytes(4, "little") + event[17:]
    assert count_rows(ONE_DELETE + moved) == 2


@pytest.mark.parametrize("length", [0, 3, 4, 50, 107, 200, len(ONE_DELETE) - 1])
def test_what_is_cut_off_is_no_binlog(length: int) -> None:
    content = ONE_DELETE[:length]
    if length in {4, 107}:  # just the magic number, and what describes the file: no event, no rows
        assert count_rows(content) == 0
    else:
        with pytest.raises(NoBinlog):
            count_rows(content)


def test_other_bytes_are_no_binlog() -> None:
    with pytest.raises(NoBinlog):
        count_rows(b"not a binlog at all")
