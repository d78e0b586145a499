"""Questions to a campaign's table in SQL, by DuckDB straight on the JSON lines.

DuckDB comes with the extra `analysis` and is imported by these functions alone.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from estim.errors import UsageError
from estim.rig.campaign.rows import ROWS

GROUPS = {"test": "task, test", "rig": "rig", "device": "dut_serial, dut_model"}
FLAKES = """
WITH runs AS (
    SELECT *, outcome = 'passed' AS is_good FROM results WHERE outcome <> 'skipped'
), pairs AS (
    SELECT task, test, rig, dut_serial, dut_model, dut_firmware,
           count(*) AS runs, count(*) FILTER (NOT is_good) AS bad,
           count(*) FILTER (outcome = 'error') AS errors
    FROM runs GROUP BY ALL
)
SELECT {group}, sum(runs)::INT AS runs, sum(bad - errors)::INT AS failed,
       sum(errors)::INT AS errors,
       round(sum(CASE WHEN bad < runs THEN bad ELSE 0 END) / sum(runs), 4) AS flake_rate
FROM pairs GROUP BY {group} ORDER BY flake_rate DESC, {group}
"""
"""A test is flaky on a device, with one firmware and at one rig, where it both passed and did not:
`flake_rate` is the share of runs that did not pass of these. What never passes is not flaky."""

Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]


def flakes(folder: Path, by: str) -> Table:
    """Return the flake rate by 'test', 'rig' or 'device', the worst first.

    Raises:
        UsageError: there is no such grouping, no table, or no DuckDB.
    """
    return query(folder, FLAKES.format(group=GROUPS[by]))


def query(folder: Path, sql: str) -> Table:
    """Return the names of the columns and the rows that a question gets; the table is `results`.

    Raises:
        UsageError: the question makes no sense, there is no table, or no DuckDB.
    """
    try:
        duckdb: Any = importlib.import_module("duckdb")
    except ImportError:
        raise UsageError(
            "questions need DuckDB: `pip install 'estim[analysis]'`; the rows are JSON lines"
        ) from None
    if not any((folder / ROWS).glob("*.jsonl")):
        raise UsageError(f"{folder}: no campaign has left rows there")
    files = str(folder.absolute() / ROWS / "*.jsonl")
    with duckdb.connect() as connection:
        try:
            connection.execute("CREATE TABLE results AS SELECT * FROM read_json(?)", [files])
            connection.execute("SET enable_external_access = false")
            answer = connection.execute(sql)
            names = tuple(column[0] for column in answer.description or ())
            return names, answer.fetchall()
        except duckdb.Error as error:
            raise UsageError(f"the question fails: {str(error).partition(chr(10))[0]}") from None
