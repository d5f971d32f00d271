-- One row a lap of the split @split, with what moves the brake bias, and the bias that the driver has set.
-- Splits are those of process/split.sql.
--
-- A linear model is trained on it, so that columns are scaled to about -1 to 1, and rows with a gap are not eligible.
-- Leakage: the bias of a lap is a feature of later laps only.
WITH

split_laps AS (
    -- Columns are grouped by meaning, not plain ones first.
    SELECT -- noqa: ST06
        laps.race_id,
        laps.season,
        laps.circuit_id,
        laps.driver_id,
        laps.lap_number,
        laps.compound,
        laps.race_wet_share,
        -- 56 % on the front axle is usual.
        car_laps.front_brake_bias_pct - 56 AS bias_offset_pct,
        laps.tire_age / 10 AS tire_age_tens,
        COALESCE(laps.clean_lap AND laps.lap_time_ms IS NOT NULL, FALSE) AS clean_lap,
        SAFE_DIVIDE(laps.turns, laps.course_length_km) - 3.2 AS corners_per_km,
        0.5 - SAFE_DIVIDE(laps.lap_number - 0.5, laps.scheduled_laps) AS fuel_balance,
        CAST(laps.circuit_type = 'STREET' AS INT64) AS street_circuit,
        SAFE_CAST(SUBSTR(laps.compound_pirelli, 2) AS INT64) - 3 AS softness
    FROM ${laps_table} AS laps
    LEFT JOIN ${car_laps_table} AS car_laps
        ON
            laps.race_id = car_laps.race_id
            AND laps.driver_id = car_laps.driver_id
            AND laps.lap_number = car_laps.lap_number
    WHERE
        @split = 'all'
        OR @split = COALESCE(
            IF(@by_season, NULL, laps.split),
            CASE
                WHEN laps.season >= @test_season THEN 'test'
                WHEN laps.season >= @validation_season THEN 'validation'
                ELSE 'train'
            END
        )
),

windowed AS (
    SELECT
        *,
        -- Exact numbers: sums of fractions would depend on the order in which a query adds them up.
        CAST(AVG(CAST(bias_offset_pct AS NUMERIC)) OVER earlier AS FLOAT64) AS bias_so_far_pct,
        CAST(AVG(CAST(tire_age_tens AS NUMERIC)) OVER earlier AS FLOAT64) AS tire_age_so_far_tens,
        AVG(softness) OVER earlier AS softness_so_far,
        COUNT(bias_offset_pct) OVER earlier AS laps_so_far
    FROM split_laps
    WINDOW earlier AS (
        PARTITION BY race_id, driver_id ORDER BY lap_number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
)

SELECT
    -- Keys.
    race_id,
    season,
    circuit_id,
    driver_id,
    lap_number,
    compound,

    -- What loads the axles.
    fuel_balance,
    tire_age_tens,
    softness,
    corners_per_km,
    street_circuit,

    -- How the driver has driven so far, and on what.
    bias_so_far_pct,
    tire_age_so_far_tens,
    softness_so_far,

    -- Outcome of the lap.
    bias_offset_pct,
    COALESCE(
        clean_lap
        AND race_wet_share < 0.05
        AND laps_so_far >= 5
        AND tire_age_tens IS NOT NULL
        AND softness IS NOT NULL
        AND softness_so_far IS NOT NULL
        AND corners_per_km IS NOT NULL,
        FALSE
    ) AS bias_eligible
FROM windowed
