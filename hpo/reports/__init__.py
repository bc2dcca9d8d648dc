"""Reports of studies, comparisons and single trainings: their sections and figures, and the files they become."""
