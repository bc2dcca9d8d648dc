"""Red flags: rules that stop a trial which is faulty in itself, or warn of it."""
