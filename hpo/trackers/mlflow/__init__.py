"""A study in MLflow.

tracker     the driver's end: starts the process that writes, and hears what it says
process     the process that writes while a study runs
mirror      the runs of a study, as the truth has them: the one writer
records     what MLflow is told of a study and its trials, as plain data
place       where the runs are, and by what they are known
client      the one module that imports mlflow
store       a SQLite file made whole, or not at all
sync        what commands do: write what is missing, throw all away
audit, points, artifacts   what differs between the truth and the runs, for `hpo doctor`
repair      mends it, by the mirror
restore, files             what only MLflow still has: a history, study.yaml
provenance  the state of the code, as tags
"""
