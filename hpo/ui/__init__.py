"""`hpo ui`: the studies of a runs folder as pages, live, with buttons that steer them."""
