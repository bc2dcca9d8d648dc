"""The process that trains: it takes jobs, calls the objective and sends reports and outcomes."""
