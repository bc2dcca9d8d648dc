Queue = None
