study = "a module of my own"
