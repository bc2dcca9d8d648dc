raise RuntimeError("not the socket that you look for")
