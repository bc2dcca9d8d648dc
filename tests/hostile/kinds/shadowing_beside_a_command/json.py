raise RuntimeError("not the json that you look for")
