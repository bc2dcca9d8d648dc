raise RuntimeError("not the random that you look for")
