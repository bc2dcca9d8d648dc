"""`hpo doctor`: checks that find what is wrong with studies, their storages and the machine, and fixes for it."""
