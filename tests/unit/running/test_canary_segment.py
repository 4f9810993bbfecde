"""The segment that the package ships holds the one row that the canary counts on."""

from __future__ import annotations

from importlib import resources

from migrator.adapters.binlogs import read_values
from migrator.running.canary import SEGMENT_FOLDER
from tests.support import canary_files


def test_each_file_holds_one_row_and_can_be_made_anew() -> None:
    folder = resources.files("migrator.running") / SEGMENT_FOLDER
    shipped = {file.name: file.read_bytes() for file in folder.iterdir()}
    made = canary_files.files()

    assert shipped.keys() == made.keys()
    for field_id, (data_type, _, _) in canary_files.COLUMNS.items():
        values, again = (read_values(files[str(field_id)], data_type, key=str(field_id)) for files in (shipped, made))
        assert len(values) == 1
        assert values == again
