"""Statistical tests on final values: their p values, intervals, effect sizes and power."""
