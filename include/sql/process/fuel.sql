-- One row a lap of the split @split, with what is known of the car's fuel when the lap starts, and what the lap burns.
-- Splits are those of process/split.sql.
--
-- Leakage: the fuel that a lap has burnt is known when it is over, so it is a feature of later laps only.
WITH

split_laps AS (
    SELECT
        laps.race_id,
        laps.season,
        laps.circuit_id,
        laps.driver_id,
        laps.lap_number,
        laps.order_at_line,
        laps.interval_ahead_ms,
        laps.compound,
        laps.tire_age,
        laps.stint,
        laps.scheduled_laps,
        laps.course_length_km,
        laps.turns,
        laps.circuit_type,
        laps.race_wet_share,
        car_laps.fuel_used_kg,
        COALESCE(laps.clean_lap AND laps.lap_time_ms IS NOT NULL, FALSE) AS clean_lap
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
    -- Columns are grouped by meaning, not plain ones first.
    SELECT -- noqa: ST06
        *,
        LAG(order_at_line) OVER driver_race AS previous_lap_order,
        LAG(interval_ahead_ms) OVER driver_race AS previous_lap_interval_ms,
        LAG(fuel_used_kg) OVER driver_race AS previous_fuel_kg,
        -- Exact numbers: sums of fractions would depend on the order in which a query adds them up.
        CAST(AVG(IF(clean_lap, CAST(fuel_used_kg AS NUMERIC), NULL)) OVER (
            PARTITION BY race_id, driver_id ORDER BY lap_number ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING
        ) AS FLOAT64) AS fuel_last_3_kg,
        CAST(AVG(IF(clean_lap, CAST(fuel_used_kg AS NUMERIC), NULL)) OVER (
            PARTITION BY race_id, driver_id ORDER BY lap_number ROWS BETWEEN 10 PRECEDING AND 1 PRECEDING
        ) AS FLOAT64) AS fuel_last_10_kg,
        CAST(AVG(IF(clean_lap, CAST(fuel_used_kg AS NUMERIC), NULL)) OVER earlier_in_stint AS FLOAT64) AS fuel_stint_kg,
        COUNTIF(clean_lap) OVER earlier_in_stint AS clean_laps_in_stint
    FROM split_laps
    WINDOW
        driver_race AS (PARTITION BY race_id, driver_id ORDER BY lap_number),
        earlier_in_stint AS (
            PARTITION BY race_id, driver_id, stint ORDER BY lap_number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        )
)

-- Columns are grouped by meaning, not plain ones first.
SELECT -- noqa: ST06
    -- Keys.
    race_id,
    season,
    circuit_id,
    driver_id,
    lap_number,
    compound,

    -- Fuel so far. Means are of clean laps: behind a safety car a lap burns half.
    previous_fuel_kg,
    fuel_last_3_kg,
    fuel_last_10_kg,
    fuel_stint_kg,
    clean_laps_in_stint,

    -- Where in the race.
    scheduled_laps AS race_laps,
    1 - SAFE_DIVIDE(lap_number - 0.5, scheduled_laps) AS fuel_fraction,
    stint,
    tire_age AS tire_age_laps,

    -- Slipstream at the start of the lap. A leader has no car ahead: 60 s stands for free air.
    IF(previous_lap_order = 1, 60000, LEAST(previous_lap_interval_ms, 60000)) AS previous_interval_ahead_ms,

    -- Circuit.
    course_length_km AS course_km,
    SAFE_DIVIDE(turns, course_length_km) AS turns_per_km,
    CAST(circuit_type = 'STREET' AS INT64) AS street_circuit,

    -- Outcome of the lap.
    fuel_used_kg,
    COALESCE(clean_lap AND race_wet_share < 0.05 AND previous_fuel_kg IS NOT NULL, FALSE) AS fuel_eligible
FROM windowed
