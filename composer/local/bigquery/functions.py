"""What both engines agree on: BigQuery functions that may be used, and DuckDB macros for those that differ.

A function outside :data:`ALLOWED` is refused with an error that names it: an unknown function could be translated into
something that means something else, and a test would then pass for the wrong reason.
"""

from __future__ import annotations

from typing import Any

import duckdb
import farmhash
import pyarrow as pa
import pyarrow.compute as pc

#: Names as sqlglot's BigQuery parser knows them (its ``sql_name``), and anonymous ones.
ALLOWED = frozenset(
    """
    ABS AND ANY_VALUE ARRAY ARRAY_AGG ARRAY_CONCAT ARRAY_LENGTH ARRAY_SIZE AVG BITWISE_XOR_AGG BIT_XOR CASE CAST CEIL
    COALESCE CONCAT CONCAT_WS CONTAINS CORR COS COUNT COUNTIF COUNT_IF COVAR_POP COVAR_SAMP CURRENT_DATE
    CURRENT_TIMESTAMP DATE DATE_ADD DATE_DIFF DATE_SUB DATE_TRUNC DENSE_RANK ENDS_WITH EXISTS EXP EXPLODE EXTRACT
    FARM_FINGERPRINT FIRST_VALUE FLOOR GENERATE_ARRAY GENERATE_SERIES GREATEST GROUP_CONCAT IF IFNULL ISINF
    ISNAN IS_INF IS_NAN LAG LAST_VALUE LEAD LEAST LENGTH LN LOG LOGICAL_AND LOGICAL_OR LOWER LPAD LTRIM MAX MIN
    MOD NTILE NULLIF OR PERCENTILE_CONT PI POW POWER RANK REGEXP_CONTAINS REGEXP_LIKE REPLACE REVERSE ROUND
    ROW_NUMBER RTRIM SAFE_CAST SAFE_DIVIDE SIN SPLIT SQRT STARTS_WITH STDDEV STDDEV_POP STDDEV_SAMP
    STRING_AGG STRUCT SUBSTR SUBSTRING SUM TAN TIMESTAMP_DIFF TO_HEX TRIM TRY_CAST UNNEST UPPER VARIANCE
    VARIANCE_POP VAR_POP VAR_SAMP XOR
    """.split()
)

MACROS = """
SET TimeZone = 'UTC';
CREATE OR REPLACE TEMP MACRO bq_divide(a, b) AS
    CASE WHEN b = 0 THEN error('division by zero: ' || a || ' / ' || b) ELSE CAST(a AS DOUBLE) / CAST(b AS DOUBLE) END;
CREATE OR REPLACE TEMP MACRO bq_mod(a, b) AS
    CASE WHEN b = 0 THEN error('division by zero: MOD(' || a || ', ' || b || ')') ELSE a % b END;
CREATE OR REPLACE TEMP MACRO bq_no_nulls(a) AS
    CASE WHEN len(a) > list_count(a) THEN error('Array cannot have a null element') ELSE a END;
"""


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Make functions and macros known to a connection."""
    connection.execute(MACROS).fetchall()
    connection.create_function("farm_fingerprint", _fingerprint, ["VARCHAR"], "BIGINT", type="arrow")


def _fingerprint(values: pa.Array) -> Any:
    """FarmHash's fingerprint64 as BigQuery shows it: the unsigned number's bits read as a signed one."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    encoded = pc.dictionary_encode(values)
    distinct = [_signed(farmhash.fingerprint64(v)) for v in encoded.dictionary.to_pylist()]
    return pc.take(pa.array(distinct, pa.int64()), encoded.indices)


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number
