"""Studies as jobs of SLURM and PBS: requests, scripts, submission and states."""
