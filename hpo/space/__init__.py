"""The search space: its parameters, how it is read, and how configurations are encoded as points."""
