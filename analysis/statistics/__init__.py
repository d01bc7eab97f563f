"""The machinery of the tests: grids, sums of squares, resampling, AR(1), intervals, calibration."""
