print("a script of my own for hyperparameters")
