-- One row a lap of the split @split ('train', 'validation', 'test', or 'all' for every lap of the table). The job
-- writes it with WRITE_TRUNCATE, which swaps the table atomically.
--
-- Seasons from @test_season on are test rows, from @validation_season on validation rows, earlier ones are trained on;
-- with @by_season false a lap's own `split`, where it has one, comes first.
--
-- Leakage: a feature may only hold what is known when the lap starts. Position and gaps are measured at the END of a
-- lap, so they are taken from the driver's lap before; the races' real length (shortened by a red flag) and share of
-- wet tyres are hindsight, so the scheduled length is used and `dry_race` is a flag to select rows by, no feature.
WITH

split_laps AS (
    -- A race lies in one split as a whole (the checks refuse anything else), so no window below is cut by this filter.
    SELECT
        race_id,
        season,
        circuit_id,
        driver_id,
        lap_number,
        lap_time_ms,
        position,
        order_at_line,
        interval_ahead_ms,
        line_gap_any_car_ms,
        compound,
        compound_pirelli,
        tire_age,
        fresh_tyre,
        stint,
        scheduled_laps,
        course_length_km,
        turns,
        circuit_type,
        pole_time_ms,
        quali_best_ms,
        grid_position,
        race_wet_share,
        COALESCE(clean_lap AND lap_time_ms IS NOT NULL, FALSE) AS clean_lap
    FROM ${laps_table}
    WHERE
        @split = 'all'
        OR @split = COALESCE(
            IF(@by_season, NULL, split),
            CASE
                WHEN season >= @test_season THEN 'test'
                WHEN season >= @validation_season THEN 'validation'
                ELSE 'train'
            END
        )
),

windowed AS (
    SELECT
        *,
        LAG(position) OVER driver_race AS previous_lap_position,
        LAG(order_at_line) OVER driver_race AS previous_lap_order,
        LAG(interval_ahead_ms) OVER driver_race AS previous_lap_interval_ms,
        LAG(line_gap_any_car_ms) OVER driver_race AS previous_lap_line_gap_ms,
        COUNTIF(clean_lap) OVER (PARTITION BY race_id, driver_id) AS clean_laps,
        PERCENTILE_CONT(IF(clean_lap, lap_time_ms, NULL), 0.5) OVER (PARTITION BY race_id, driver_id)
            AS clean_median_ms,
        PERCENTILE_CONT(IF(clean_lap, lap_time_ms, NULL), 0.5) OVER (PARTITION BY race_id, lap_number)
            AS field_median_ms
    FROM split_laps
    WINDOW driver_race AS (PARTITION BY race_id, driver_id ORDER BY lap_number)
),

-- What the driver's laps before this one were like.
paced AS (
    SELECT
        *,
        LAG(lap_time_ms) OVER driver_race AS previous_lap_ms,
        LAG(clean_lap) OVER driver_race AS previous_lap_clean,
        LAG(field_median_ms) OVER driver_race AS previous_field_ms,
        AVG(IF(clean_lap, lap_time_ms, NULL)) OVER (
            PARTITION BY race_id, driver_id, stint ORDER BY lap_number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS stint_mean_ms,
        AVG(IF(clean_lap, lap_time_ms, NULL)) OVER (
            PARTITION BY race_id, driver_id, stint ORDER BY lap_number ROWS BETWEEN 5 PRECEDING AND 1 PRECEDING
        ) AS last_5_mean_ms,
        AVG(IF(clean_lap, lap_time_ms, NULL)) OVER (
            PARTITION BY race_id, driver_id, stint ORDER BY lap_number ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING
        ) AS last_3_mean_ms
    FROM windowed
    WINDOW driver_race AS (PARTITION BY race_id, driver_id ORDER BY lap_number)
)

-- Columns are grouped by meaning, not plain ones first.
SELECT -- noqa: ST06
    -- Keys.
    race_id,
    season,
    circuit_id,
    driver_id,
    lap_number,

    -- Flags to select rows by. Hindsight: none of them is a feature.
    clean_lap,
    COALESCE(race_wet_share < 0.05, FALSE) AS dry_race,

    -- Tyres. `tire_age` counts the lap itself, so it is known when the lap starts.
    compound,
    tire_age AS tire_age_laps,
    stint,
    CAST(fresh_tyre AS INT64) AS fresh_tyre,
    CAST(compound = 'SOFT' AS INT64) AS compound_soft,
    CAST(compound = 'MEDIUM' AS INT64) AS compound_medium,
    CAST(compound = 'HARD' AS INT64) AS compound_hard,
    -- Softness on Pirelli's scale C1 (hardest) to C6. The names of 2018 are put where Pirelli put them in 2019;
    -- the supersoft, dropped then, lies between C3 (the soft of 2018) and C4 (the ultrasoft).
    CAST(
        CASE
            WHEN compound_pirelli IN ('C1', 'HARD') THEN 1
            WHEN compound_pirelli IN ('C2', 'MEDIUM') THEN 2
            WHEN compound_pirelli IN ('C3', 'SOFT') THEN 3
            WHEN compound_pirelli = 'SUPERSOFT' THEN 3.5
            WHEN compound_pirelli IN ('C4', 'ULTRASOFT') THEN 4
            WHEN compound_pirelli IN ('C5', 'HYPERSOFT') THEN 5
            WHEN compound_pirelli = 'C6' THEN 6
        END AS FLOAT64
    ) AS compound_softness,

    -- Where in the race: fuel is not measured in public; burnt linearly over the scheduled distance, half of a lap's
    -- fuel gone in the middle of the lap.
    scheduled_laps AS race_laps,
    1 - SAFE_DIVIDE(lap_number - 0.5, scheduled_laps) AS fuel_fraction,

    -- Traffic at the start of the lap. Before lap 1 the position is the grid's. A leader has no car ahead: 60 s stands
    -- for free air, and larger gaps say no more than that either.
    COALESCE(previous_lap_position, IF(lap_number = 1, grid_position, NULL)) AS previous_position,
    IF(previous_lap_order = 1, 60000, LEAST(previous_lap_interval_ms, 60000)) AS previous_interval_ahead_ms,
    LEAST(previous_lap_line_gap_ms, 60000) AS previous_line_gap_ms,

    -- Circuit and weekend.
    grid_position,
    course_length_km AS course_km,
    turns,
    CAST(circuit_type = 'STREET' AS INT64) AS street_circuit,
    pole_time_ms,
    quali_best_ms - pole_time_ms AS quali_gap_ms,

    -- Pace so far: the lap before against the stint's clean laps, and against the field's on the same lap.
    previous_lap_ms - stint_mean_ms AS previous_minus_stint_ms,
    previous_lap_ms - last_5_mean_ms AS previous_minus_last_5_ms,
    previous_lap_ms - last_3_mean_ms AS previous_minus_last_3_ms,
    previous_lap_ms - previous_field_ms AS previous_minus_field_ms,

    -- Outcome of the lap.
    lap_time_ms,
    lap_time_ms - clean_median_ms AS lap_delta_ms,
    COALESCE(clean_lap AND race_wet_share < 0.05 AND clean_laps >= 10, FALSE) AS lap_delta_eligible,
    lap_time_ms - previous_lap_ms AS lap_change_ms,
    COALESCE(clean_lap AND previous_lap_clean AND race_wet_share < 0.05, FALSE) AS lap_change_eligible
FROM paced
